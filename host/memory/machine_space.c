/*
 * host/memory/machine_space.c: a machine's address space and the vCPU that runs in it. It is the
 * only file above host/vm that gives a VM its memory. Slots make host memory (the arena, the
 * image's read-only part) guest-physical. Page tables decide which part of it the guest can reach.
 * A memory has one slot for its initial size, and more as it grows. Each new slot doubles the
 * covered size, so a sandbox does not pay for its maximum.
 */
#include "machine_space.h"

#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "image_internal.h"
#include "large.h"
#include "pages.h"

/* Memory slots of a machine's VM. */
enum space_slot {
    SLOT_READONLY,
    SLOT_SYS,                                     /* SYS_SPACE_SLOTS_MAX of them */
    SLOT_REGIONS = SLOT_SYS + SYS_SPACE_SLOTS_MAX /* the arena's, and all further ones */
};

/* ---- page tables ---- */

static void add_mapping(struct page_mapping *mappings, size_t *count, uint64_t gva_value,
                        uint64_t bytes, uint32_t prot) {
    if (bytes == 0)
        return;
    mappings[(*count)++] = (struct page_mapping){
        .gva = gva_value, .gpa = gpa_of_gva(gva_value), .bytes = bytes, .prot = prot};
}

/* The page mappings that an instance of these sizes starts with. */
static size_t list_mappings(const husk_image *image, const struct sizing *sizes,
                            uint64_t stack_bytes, struct page_mapping *mappings) {
    const uint32_t rw = PAGE_READ | PAGE_WRITE;
    size_t count = 0;
    add_mapping(mappings, &count, HUSK_TEXT_GVA, image->code->text_bytes, PAGE_READ | PAGE_EXEC);
    add_mapping(mappings, &count, image->code->rodata_gva, image->code->rodata_bytes, PAGE_READ);
    for (uint32_t i = 0; i < image->data_segments_count; i++)
        add_mapping(mappings, &count, image->segments[i].gva, image->segments[i].mem_bytes, rw);
    /* imported ones may start larger than declared */
    for (uint32_t i = 0; i < image->code->tables_count; i++) {
        uint64_t from = page_up(image->code->tables[i].base_gva + 8 * image->table_sizes[i]);
        uint64_t to = page_up(image->code->tables[i].base_gva + 8 * sizes->table_entries[i]);
        add_mapping(mappings, &count, from, to - from, rw);
    }
    add_mapping(mappings, &count, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES, rw);
    add_mapping(mappings, &count, HUSK_STACK_TOP_GVA - stack_bytes, stack_bytes, rw);
    for (uint32_t i = 0; i < image->code->memories_count; i++)
        add_mapping(mappings, &count, husk_mem_gva(i), sizes->memory_bytes[i], rw);
    return count;
}

static int template_make(const struct machine *machine, const husk_image *image,
                         const struct sizing *sizes, struct sys_template **ret_template,
                         struct husk_error *err) {
    size_t most =
        4u + image->data_segments_count + image->code->tables_count + image->code->memories_count;
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
    for (uint32_t i = 0; i < image->code->memories_count; i++)
        if (sizes->memory_bytes[i] != image->memory_sizes[i] * HUSK_WASM_PAGE_SIZE)
            return false;
    for (uint32_t i = 0; i < image->code->tables_count; i++)
        if (sizes->table_entries[i] != image->table_sizes[i])
            return false;
    return true;
}

/* Sandboxes with the default sizes share one template per image; others get their own. */
static int template_get(const struct machine *machine, husk_image *image,
                        const struct sizing *sizes, struct sys_template **ret_template,
                        struct husk_error *err) {
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

int machine_tables_new(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                       struct sys_space **ret_tables, struct husk_error *err) {
    struct sys_template *template;
    int status = template_get(machine, image, sizes, &template, err);
    if (status != 0)
        return status;
    status = sys_space_new(template, SLOT_SYS, ret_tables, err);
    sys_template_unref(template);
    return status;
}

int machine_map(struct machine *machine, uint64_t gva_value, uint64_t bytes,
                struct husk_error *err) {
    const struct page_mapping mapping = {.gva = gva_value,
                                         .gpa = gpa_of_gva(gva_value),
                                         .bytes = bytes,
                                         .prot = PAGE_READ | PAGE_WRITE};
    return bytes == 0 ? 0 : sys_space_map(machine->tables, &mapping, err);
}

bool machine_can_unmap(const struct machine *machine, uint64_t *from, uint64_t end) {
    return sys_space_can_unmap(machine->tables, from, end);
}

int machine_unmap(struct machine *machine, uint64_t gva_value, uint64_t bytes,
                  struct husk_error *err) {
    uint8_t *hva = arena_span(&machine->arena, gva_value, bytes);
    sys_space_unmap(machine->tables, gva_value, bytes);
    const uint64_t discarded_bytes = large_shrink(machine, hva, bytes);
    if (arena_discard(hva, discarded_bytes) != 0)
        return error_sys(err, errno, "cannot discard %llu bytes of grown memory",
                         (unsigned long long)discarded_bytes);
    hotset_forget(&machine->hotset, hva, discarded_bytes);
    return 0;
}

/* ---- slots ---- */

static int set_slot(const struct machine *machine, struct vm *vm, uint32_t slot,
                    const struct arena_region *region, struct husk_error *err) {
    const uint32_t flags = slot == SLOT_READONLY ? VM_SLOT_READONLY : 0;
    return machine->engine->vm_ops->set_slot(vm, slot, gpa_of_gva(region->gva), region->hva,
                                             region->bytes, flags, err);
}

/* A VM that has none. Some may be given when it fails. */
static int give_slots(struct machine *machine, struct vm *vm, struct husk_error *err) {
    const struct image_code *code = machine->mapped->code;
    const bool is_copied = machine->arena.code != NULL;
    const struct arena_region readonly = {.hva = is_copied ? machine->arena.code : code->ro_hva,
                                          .gva = HUSK_TEXT_GVA,
                                          .bytes = is_copied ? machine->arena.code_bytes
                                                             : code->ro_bytes};
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t count = arena_regions(&machine->arena, regions);
    machine->next_slot = SLOT_REGIONS;
    int status = set_slot(machine, vm, SLOT_READONLY, &readonly, err);
    for (uint32_t i = 0; i < count && status == 0; i++)
        if (!regions[i].is_hidden)
            status = set_slot(machine, vm, machine->next_slot++, &regions[i], err);
    return status != 0 ? status
                       : sys_space_attach(machine->tables, machine->engine->vm_ops, vm, err);
}

int machine_attach(struct machine *machine, struct husk_error *err) {
    machine->vcpu_ops->set_space(machine->vcpu, sys_space_page_root(machine->tables),
                                 sys_space_exception_stack_top(machine->tables));
    return give_slots(machine, machine->vm, err);
}

int machine_detach(struct machine *machine, struct husk_error *err) {
    static const struct arena_region nothing = {0};
    if (machine->vm == NULL || machine->tables == NULL)
        return 0;
    int status = set_slot(machine, machine->vm, SLOT_READONLY, &nothing, err);
    for (uint32_t slot = SLOT_REGIONS; slot < machine->next_slot && status == 0; slot++)
        status = set_slot(machine, machine->vm, slot, &nothing, err);
    return status != 0 ? status : sys_space_detach(machine->tables, err);
}

int machine_cover(struct machine *machine, uint32_t mem_idx, uint64_t bytes,
                  struct husk_error *err) {
    struct arena_memory *memory = &machine->arena.memories[mem_idx];
    const uint64_t from = memory->covered_bytes;
    if (bytes <= from)
        return 0;
    struct arena_region region = {.hva = memory->hva + from, .gva = husk_mem_gva(mem_idx) + from};
    int status = arena_make_room(&machine->arena, mem_idx, bytes, &region.bytes, err);
    if (status == 0)
        status = set_slot(machine, machine->vm, machine->next_slot, &region, err);
    if (status != 0)
        return status;
    machine->next_slot++;
    memory->covered_bytes += region.bytes;
    return 0;
}

int machine_grow(struct machine *machine, uint32_t mem_idx, uint64_t bytes,
                 struct husk_error *err) {
    struct arena_memory *memory = &machine->arena.memories[mem_idx];
    int status = machine_cover(machine, mem_idx, memory->bytes + bytes, err);
    if (status == 0)
        status = machine_map(machine, husk_mem_gva(mem_idx) + memory->bytes, bytes, err);
    if (status != 0)
        return status;
    memory->bytes += bytes;
    large_grown(machine, mem_idx, memory->bytes - bytes);
    return 0;
}

/* ---- VM and vCPU ---- */

static void vm_destroy(struct machine *machine, struct vm *vm, struct vcpu *vcpu) {
    if (vm == NULL)
        return;
    machine->vcpu_ops->destroy(vcpu);
    machine->engine->vm_ops->destroy(vm);
    stat_count(&machine->tally, STAT_vms_freed);
}

static int vm_create(struct machine *machine, const struct sys_space *tables, struct vm **ret_vm,
                     struct vcpu **ret_vcpu, struct husk_error *err) {
    husk_engine *engine = machine->engine;
    struct vcpu_config config = {.cpu_features = engine->host_info.cpu_features,
                                 .page_root = sys_space_page_root(tables),
                                 .exception_stack_top = sys_space_exception_stack_top(tables)};
    struct vm *vm;
    int status = engine->vm_ops->create(engine->backend, &vm, err);
    if (status != 0)
        return status;
    status = machine->vcpu_ops->create(vm, &config, ret_vcpu, err);
    if (status != 0) {
        machine->engine->vm_ops->destroy(vm);
        return status;
    }
    stat_count(&machine->tally, STAT_vms_made);
    *ret_vm = vm;
    return 0;
}

int machine_vm_new(struct machine *machine, const struct sys_space *tables,
                   struct husk_error *err) {
    int status = vm_create(machine, tables, &machine->vm, &machine->vcpu, err);
    if (status == 0)
        kicker_init(&machine->kicker, machine->vcpu_ops, machine->vcpu,
                    machine->engine->kick_signal);
    return status;
}

void machine_vm_free(struct machine *machine) {
    vm_destroy(machine, machine->vm, machine->vcpu);
}

int machine_renew(struct machine *machine, struct husk_error *err) {
    struct vm *spoiled_vm = machine->vm, *fresh_vm;
    struct vcpu *spoiled_vcpu = machine->vcpu, *fresh_vcpu;
    const uint32_t slots = machine->next_slot;
    int status = vm_create(machine, machine->tables, &fresh_vm, &fresh_vcpu, err);
    if (status != 0)
        return status;
    status = give_slots(machine, fresh_vm, err);
    if (status != 0) { /* the old one has its slots still; only the tables must know it again */
        machine->next_slot = slots;
        (void)sys_space_attach(machine->tables, machine->engine->vm_ops, spoiled_vm, NULL);
        vm_destroy(machine, fresh_vm, fresh_vcpu);
        return status;
    }
    machine->vm = fresh_vm;
    machine->vcpu = fresh_vcpu;
    kicker_set_vcpu(&machine->kicker, fresh_vcpu);
    hotset_doubt(&machine->hotset); /* another vCPU's faults were counted */
    vm_destroy(machine, spoiled_vm, spoiled_vcpu);
    return 0;
}
