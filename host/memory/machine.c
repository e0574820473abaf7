/*
 * host/memory/machine.c: see machine.h. Loading another module builds memory and page tables anew
 * and gives them to the VM that is there; a VM is created only where there is none.
 */
#include "machine.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "image_internal.h"
#include "pages.h"

static void add_mapping(struct page_mapping *mappings, size_t *count, uint64_t gva_value, uint64_t bytes,
                        uint32_t prot) {
    if (bytes == 0)
        return;
    mappings[(*count)++] =
        (struct page_mapping){.gva = gva_value, .gpa = gpa_of_gva(gva_value), .bytes = bytes, .prot = prot};
}

/* The page mappings that an instance of these sizes starts with. */
static size_t list_mappings(const husk_image *image, const struct sizing *sizes, uint64_t stack_bytes,
                            struct page_mapping *mappings) {
    const uint32_t rw = PAGE_READ | PAGE_WRITE;
    size_t count = 0;
    add_mapping(mappings, &count, HUSK_TEXT_GVA, image->text_bytes, PAGE_READ | PAGE_EXEC);
    add_mapping(mappings, &count, image->rodata_gva, image->rodata_bytes, PAGE_READ);
    for (uint32_t i = 0; i < image->data_segments_count; i++)
        add_mapping(mappings, &count, image->segments[i].gva, image->segments[i].mem_bytes, rw);
    for (uint32_t i = 0; i < image->tables_count; i++) { /* imported ones may start larger than declared */
        uint64_t from = page_up(image->tables[i].base_gva + 8 * image->table_sizes[i]);
        uint64_t to = page_up(image->tables[i].base_gva + 8 * sizes->table_entries[i]);
        add_mapping(mappings, &count, from, to - from, rw);
    }
    add_mapping(mappings, &count, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES, rw);
    add_mapping(mappings, &count, HUSK_STACK_TOP_GVA - stack_bytes, stack_bytes, rw);
    for (uint32_t i = 0; i < image->memories_count; i++)
        add_mapping(mappings, &count, husk_mem_gva(i), sizes->memory_bytes[i], rw);
    return count;
}

static int template_make(const struct machine *machine, const husk_image *image, const struct sizing *sizes,
                         struct sys_template **ret_template, struct husk_error *err) {
    size_t most = 4u + image->data_segments_count + image->tables_count + image->memories_count;
    struct page_mapping *mappings = calloc(most, sizeof *mappings);
    if (mappings == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the list of mappings");
    size_t count = list_mappings(image, sizes, machine->limits.stack_bytes, mappings);
    int status = sys_template_new(machine->engine->entry, mappings, count, ret_template, err);
    free(mappings);
    return status;
}

static bool has_default_sizes(const struct machine *machine, const husk_image *image,
                              const struct sizing *sizes) {
    if (machine->limits.stack_bytes != HUSK_STACK_DEFAULT_BYTES)
        return false;
    for (uint32_t i = 0; i < image->memories_count; i++) {
        if (sizes->memory_bytes[i] != image->memory_sizes[i] * HUSK_WASM_PAGE_SIZE)
            return false;
    }
    for (uint32_t i = 0; i < image->tables_count; i++) {
        if (sizes->table_entries[i] != image->table_sizes[i])
            return false;
    }
    return true;
}

/* Sandboxes with the default sizes share one template per image; others get their own. */
static int template_get(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                        struct sys_template **ret_template, struct husk_error *err) {
    if (!has_default_sizes(machine, image, sizes))
        return template_make(machine, image, sizes, ret_template, err);
    pthread_mutex_lock(&image->template_lock);
    int status = image->default_template != NULL
                     ? 0
                     : template_make(machine, image, sizes, &image->default_template, err);
    if (status == 0)
        *ret_template = sys_template_ref(image->default_template);
    pthread_mutex_unlock(&image->template_lock);
    return status;
}

/* Memory and page tables, not yet in any VM. */
struct memory_set {
    struct arena arena;
    struct sys_template *template;
    struct sys_space *space;
};

static void memory_done(struct memory_set *set) {
    sys_space_free(set->space);
    sys_template_unref(set->template);
    arena_done(&set->arena);
}

static int memory_make(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                       struct memory_set *ret_set, struct husk_error *err) {
    uint64_t reserve[HUSK_MAX_MEMORIES];
    for (uint32_t i = 0; i < image->memories_count; i++)
        reserve[i] = sizes->memory_max_pages[i] * HUSK_WASM_PAGE_SIZE;
    struct arena_sizes arena_sizes = {.data_bytes = sizes->data_bytes,
                                      .stack_bytes = machine->limits.stack_bytes,
                                      .memory_bytes = sizes->memory_bytes,
                                      .memory_reserve_bytes = reserve};
    struct memory_set set = {0};
    int status = arena_init(&set.arena, image, &arena_sizes, err);
    if (status == 0)
        status = template_get(machine, image, sizes, &set.template, err);
    if (status == 0)
        status = sys_space_new(set.template, ARENA_SLOT_SYS, &set.space, err);
    if (status != 0)
        memory_done(&set);
    else
        *ret_set = set;
    return status;
}

void machine_count_hot(struct machine *machine) {
    const uint32_t count = machine->hotset.count;
    if (count == machine->hot_pages_counted)
        return;
    stat_add(machine->stats, STAT_hot_pages, (uint64_t)count - machine->hot_pages_counted);
    machine->hot_pages_counted = count;
}

static void vm_destroy(const struct machine *machine, struct vm *vm, struct vcpu *vcpu) {
    if (vm == NULL)
        return;
    machine->vcpu_ops->destroy(vcpu);
    machine->vm_ops->destroy(vm);
    stat_count(machine->stats, STAT_vms_freed);
}

static int vm_create(const struct machine *machine, const struct sys_space *space, struct vm **ret_vm,
                     struct vcpu **ret_vcpu, struct husk_error *err) {
    husk_engine *engine = machine->engine;
    struct vcpu_config config = {.cpu_features = engine->host_info.cpu_features,
                                 .page_root = sys_space_page_root(space),
                                 .exception_stack_top = sys_space_exception_stack_top(space)};
    struct vm *vm;
    int status = machine->vm_ops->create(engine->backend, &vm, err);
    if (status != 0)
        return status;
    status = machine->vcpu_ops->create(vm, &config, ret_vcpu, err);
    if (status != 0) {
        machine->vm_ops->destroy(vm);
        return status;
    }
    stat_count(machine->stats, STAT_vms_made);
    *ret_vm = vm;
    return 0;
}

static int vm_make(struct machine *machine, const struct memory_set *set, struct husk_error *err) {
    int status = vm_create(machine, set->space, &machine->vm, &machine->vcpu, err);
    if (status == 0)
        kicker_init(&machine->kicker, machine->vcpu_ops, machine->vcpu, machine->engine->kick_signal);
    return status;
}

int machine_renew(struct machine *machine, struct husk_error *err) {
    struct vm *spoiled_vm = machine->vm, *fresh_vm;
    struct vcpu *spoiled_vcpu = machine->vcpu, *fresh_vcpu;
    const uint32_t slots = machine->arena.next_slot;
    int status = vm_create(machine, machine->space, &fresh_vm, &fresh_vcpu, err);
    if (status != 0)
        return status;
    machine->arena.next_slot = ARENA_SLOT_MEMORIES;
    status = arena_attach(&machine->arena, machine->mapped, machine->vm_ops, fresh_vm, err);
    if (status == 0)
        status = sys_space_attach(machine->space, machine->vm_ops, fresh_vm, err);
    if (status != 0) { /* the old one has its slots still; only the space must know it again */
        machine->arena.next_slot = slots;
        (void)sys_space_attach(machine->space, machine->vm_ops, spoiled_vm, NULL);
        vm_destroy(machine, fresh_vm, fresh_vcpu);
        return status;
    }
    machine->vm = fresh_vm;
    machine->vcpu = fresh_vcpu;
    kicker_set_vcpu(&machine->kicker, fresh_vcpu);
    vm_destroy(machine, spoiled_vm, spoiled_vcpu);
    return 0;
}

/* The VM lets go of the memory that it has; then it can be freed. */
static int memory_detach(struct machine *machine, struct husk_error *err) {
    if (machine->vm == NULL || machine->space == NULL)
        return 0;
    int status = arena_detach(&machine->arena, machine->vm_ops, machine->vm, err);
    return status != 0 ? status : sys_space_detach(machine->space, err);
}

static void memory_free(struct machine *machine) {
    struct memory_set old = {machine->arena, machine->template, machine->space};
    memory_done(&old);
    hotset_done(&machine->hotset);
    machine_count_hot(machine);
    husk_image_unref(machine->mapped);
    machine->arena = (struct arena){0};
    machine->template = NULL;
    machine->space = NULL;
    machine->mapped = NULL;
}

static int memory_attach(struct machine *machine, husk_image *image, struct husk_error *err) {
    machine->vcpu_ops->set_space(machine->vcpu, sys_space_page_root(machine->space),
                                 sys_space_exception_stack_top(machine->space));
    int status = arena_attach(&machine->arena, image, machine->vm_ops, machine->vm, err);
    return status != 0 ? status : sys_space_attach(machine->space, machine->vm_ops, machine->vm, err);
}

int machine_build(struct machine *machine, husk_image *image, const struct sizing *sizes,
                  struct husk_error *err) {
    struct memory_set set = {0};
    int status = memory_make(machine, image, sizes, &set, err);
    if (status == 0 && machine->vm == NULL)
        status = vm_make(machine, &set, err);
    if (status != 0) {
        memory_done(&set);
        return status;
    }
    machine_change_begin(machine);
    status = memory_detach(machine, err);
    if (status != 0) {
        memory_done(&set);
        return status;
    }
    memory_free(machine);
    machine->arena = set.arena;
    machine->template = set.template;
    machine->space = set.space;
    machine->mapped = husk_image_ref(image);
    status = memory_attach(machine, image, err);
    if (status != 0)
        return status;
    hotset_prefill(&machine->hotset, &machine->arena, image);
    machine_count_hot(machine);
    machine_change_end(machine);
    return 0;
}

int machine_map(struct machine *machine, uint64_t gva_value, uint64_t bytes, struct husk_error *err) {
    const struct page_mapping mapping = {
        .gva = gva_value, .gpa = gpa_of_gva(gva_value), .bytes = bytes, .prot = PAGE_READ | PAGE_WRITE};
    return bytes == 0 ? 0 : sys_space_map(machine->space, &mapping, err);
}

struct machine *machine_new(husk_engine *engine, const struct husk_sandbox_options *limits) {
    struct machine *machine = calloc(1, sizeof *machine);
    if (machine == NULL)
        return NULL;
    machine->engine = engine;
    machine->vm_ops = engine->vm_ops;
    machine->vcpu_ops = engine->vcpu_ops;
    machine->stats = stats_next_shard(&engine->stats);
    machine->limits = *limits;
    return machine;
}

/* The VM goes before the memory that it has as slots. */
void machine_free(struct machine *machine) {
    vm_destroy(machine, machine->vm, machine->vcpu);
    memory_free(machine);
    sizing_done(&machine->sizes);
    free(machine);
}
