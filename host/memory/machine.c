/*
 * host/memory/machine.c: see machine.h. Loading another module builds new memory and page tables
 * and gives them to the existing VM. A VM is created only if there is none.
 */
#include "machine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"
#include "image_internal.h"
#include "large.h"
#include "large_copy.h"
#include "machine_space.h"
#include "machine_written.h"
#include "pages.h"
#include "hot.h"

/* Memory and page tables, not yet in any VM. */
struct memory_set {
    struct arena arena;
    struct sys_space *tables;
};

static void memory_done(struct memory_set *set) {
    sys_space_free(set->tables);
    arena_done(&set->arena);
}

/* What memory 0 of any module may have in a sandbox with these limits: 4 GiB of addresses, if there
 * is no limit. */
static uint64_t room_bytes(const struct machine *machine) {
    const uint64_t most = (uint64_t)HUSK_MAX_MEM_PAGES * HUSK_WASM_PAGE_SIZE;
    const uint64_t limit = machine->limits.memory_max_bytes;
    return limit == 0 || limit > most ? most : page_up(limit);
}

static int memory_make(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                       struct memory_set *ret_set, struct husk_error *err) {
    uint64_t reserve[HUSK_MAX_MEMORIES];
    for (uint32_t i = 0; i < image->code->memories_count; i++)
        reserve[i] = sizes->memory_max_pages[i] * HUSK_WASM_PAGE_SIZE;
    struct arena_sizes arena_sizes = {.room_bytes = room_bytes(machine),
                                      .memory_bytes = sizes->memory_bytes,
                                      .memory_reserve_bytes = reserve,
                                      .files_bytes = sizes->files_bytes,
                                      .files_reserve_bytes = sizes->files_max_bytes};
    struct memory_set set = {0};
    struct sys_template *template;
    int status = machine_template(machine, image, sizes, &template, &arena_sizes.layout, err);
    if (status != 0)
        return status;
    status = arena_init(&set.arena, image, &arena_sizes, err);
    if (status == 0 && machine->limits.large_pages == HUSK_LARGE_PAGES_CONTENTS)
        status = large_copy(&set.arena, image, err);
    if (status == 0)
        status = machine_tables_new(template, &set.arena, &set.tables, err);
    sys_template_unref(template);
    if (status != 0)
        memory_done(&set);
    else
        *ret_set = set;
    return status;
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
    const bool is_new_vm = machine->vm == NULL;
    int status = memory_make(machine, image, sizes, &set, err);
    if (status == 0 && is_new_vm)
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
    status = machine_attach(machine, is_new_vm, err);
    if (status != 0)
        return status;
    hotset_prefill(&machine->hotset, &machine->arena, image);
    large_begin(machine); /* after the pages that are known to be written: those stay small */
    machine_count_hot(machine);
    machine_change_end(machine);
    return 0;
}

void machines_free(struct machine *list, bool is_drop) {
    while (list != NULL) {
        struct machine *next = list->next_idle;
        stat_add(&list->tally, STAT_pool_drops, is_drop);
        machine_free(list);
        list = next;
    }
}

/* `size` is what the caller was compiled with. */
bool machine_limits_equal(const struct husk_sandbox_options *own,
                          const struct husk_sandbox_options *limits) {
    return own->memory_max_bytes == limits->memory_max_bytes &&
           own->table_max_entries == limits->table_max_entries &&
           own->stack_bytes == limits->stack_bytes && own->large_pages == limits->large_pages &&
           own->host_call_depth_max == limits->host_call_depth_max;
}

#define LINE_BYTES 64u /* of the CPU's caches */
_Static_assert(sizeof(struct machine) % LINE_BYTES == 0, "aligned_alloc() wants whole lines");

struct machine *machine_new(husk_engine *engine, const struct husk_sandbox_options *limits) {
    struct machine *machine = aligned_alloc(LINE_BYTES, sizeof *machine);
    if (machine == NULL)
        return NULL;
    memset(machine, 0, sizeof *machine);
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
    tally_done(&machine->tally);
    free(machine->sandbox_room);
    free(machine);
}

/* ---- written pages ---- */

/* In locked memory (mlockall()) the kernel makes pages private when they are mapped. So the guest's
 * first write there may be a fault of no thread. MADV_COLD is refused there, and does nothing to a
 * page that is in use. */
RARE bool machine_is_locked(struct machine *machine) {
    if (!machine->was_locked)
        machine->was_locked = madvise(machine->arena.mailbox, HUSK_PAGE_SIZE, MADV_COLD) != 0;
    return machine->was_locked;
}

int machine_find_written(struct machine *machine, struct husk_error *err) {
    return written_find(machine, err);
}

int machine_copy_hot(struct machine *machine, struct hot_counts *ret_counts,
                     struct husk_error *err) {
    return written_copy(machine, ret_counts, err);
}
