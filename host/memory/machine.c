/*
 * host/memory/machine.c: see machine.h. Loading another module builds new memory and page tables
 * and gives them to the existing VM. A VM is created only if there is none.
 */
#include "machine.h"

#include <stdlib.h>

#include "error.h"
#include "image_internal.h"
#include "large.h"
#include "large_copy.h"
#include "machine_space.h"

/* Memory and page tables, not yet in any VM. */
struct memory_set {
    struct arena arena;
    struct sys_space *tables;
};

static void memory_done(struct memory_set *set) {
    sys_space_free(set->tables);
    arena_done(&set->arena);
}

static int memory_make(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                       struct memory_set *ret_set, struct husk_error *err) {
    uint64_t reserve[HUSK_MAX_MEMORIES];
    for (uint32_t i = 0; i < image->code->memories_count; i++)
        reserve[i] = sizes->memory_max_pages[i] * HUSK_WASM_PAGE_SIZE;
    struct arena_sizes arena_sizes = {.data_bytes = sizes->data_bytes,
                                      .stack_bytes = machine->limits.stack_bytes,
                                      .memory_bytes = sizes->memory_bytes,
                                      .memory_reserve_bytes = reserve,
                                      .files_bytes = sizes->files_bytes,
                                      .files_reserve_bytes = sizes->files_max_bytes};
    struct memory_set set = {0};
    int status = arena_init(&set.arena, image, &arena_sizes, err);
    if (status == 0 && machine->limits.large_pages == HUSK_LARGE_PAGES_CONTENTS)
        status = large_copy(&set.arena, image, err);
    if (status == 0)
        status = machine_tables_new(machine, image, sizes, &set.tables, err);
    if (status != 0)
        memory_done(&set);
    else
        *ret_set = set;
    return status;
}

/* Before the first search nothing needs to be counted. */
int machine_find_written(struct machine *machine, struct husk_error *err) {
    bool has_searched = false;
    const uint64_t faults =
        machine->vcpu != NULL ? machine->vcpu_ops->faults(machine->vcpu) : VCPU_FAULTS_UNKNOWN;
    machine->has_uncounted_faults = faults == VCPU_FAULTS_UNKNOWN;
    if (machine->has_uncounted_faults && hotset_has_large(&machine->hotset))
        hotset_doubt(&machine->hotset);
    const struct hot_view view = {.arena = &machine->arena,
                                  .image = machine->mapped,
                                  .pagemap = &machine->engine->pagemap,
                                  .guest_faults = faults};
    int status = hotset_update(&machine->hotset, &view, &has_searched, err);
    if (status == 0 && has_searched)
        stat_count(&machine->tally, STAT_memory_searches);
    return status;
}

void machine_count_hot(struct machine *machine) {
    struct tally *tally = &machine->tally;
    const uint64_t counted =
        atomic_load_explicit(&tally->values[STAT_hot_pages], memory_order_relaxed);
    if (machine->hotset.count != counted)
        stat_add(tally, STAT_hot_pages, machine->hotset.count - counted);
}

static void memory_free(struct machine *machine) {
    struct memory_set old = {machine->arena, machine->tables};
    memory_done(&old);
    hotset_done(&machine->hotset);
    machine_count_hot(machine);
    husk_image_unref(machine->mapped);
    machine->arena = (struct arena){0};
    machine->tables = NULL;
    machine->mapped = NULL;
}

int machine_build(struct machine *machine, husk_image *image, const struct sizing *sizes,
                  struct husk_error *err) {
    struct memory_set set = {0};
    int status = memory_make(machine, image, sizes, &set, err);
    if (status == 0 && machine->vm == NULL)
        status = machine_vm_new(machine, set.tables, err);
    if (status != 0) {
        memory_done(&set);
        return status;
    }
    machine_change_begin(machine);
    status = machine_detach(machine, err);
    if (status != 0) {
        memory_done(&set);
        return status;
    }
    memory_free(machine);
    machine->arena = set.arena;
    machine->tables = set.tables;
    machine->mapped = husk_image_ref(image);
    status = machine_attach(machine, err);
    if (status != 0)
        return status;
    hotset_prefill(&machine->hotset, &machine->arena, image);
    large_begin(machine); /* after the pages that are known to be written: those stay small */
    machine_count_hot(machine);
    machine_change_end(machine);
    return 0;
}

struct machine *machine_new(husk_engine *engine, const struct husk_sandbox_options *limits) {
    struct machine *machine = calloc(1, sizeof *machine);
    if (machine == NULL)
        return NULL;
    machine->engine = engine;
    machine->vcpu_ops = engine->vcpu_ops;
    tally_init(&machine->tally, &engine->stats);
    machine->limits = *limits;
    return machine;
}

/* The VM goes before the memory that it has as slots. */
void machine_free(struct machine *machine) {
    machine_vm_free(machine);
    memory_free(machine);
    sizing_done(&machine->sizes);
    free(machine);
}
