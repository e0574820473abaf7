/*
 * host/memory/machine_space.c: a machine's address space and the vCPU that runs in it. It is the
 * only file above host/vm that gives a VM its memory. Slots make host memory (the arena, the
 * image's read-only part) guest-physical. Page tables decide which part of it the guest can reach.
 * The main slot has memory 0 and everything below it (space_layout.h), with some room: a change of
 * slots makes the kernel wait for other CPUs. Each further memory has one slot for its initial
 * size. A memory that grows gets more. Each new slot doubles the covered size, so a sandbox does
 * not pay for its maximum.
 */
#include "machine_space.h"

#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "image_internal.h"
#include "large.h"
#include "large_copy.h"
#include "pages.h"

/* Memory slots of a machine's VM. */
enum space_slot {
    SLOT_MAIN,
    SLOT_READONLY,                                /* of a read-only part that stands apart */
    SLOT_SYS,                                     /* SYS_SPACE_SLOTS_MAX of them */
    SLOT_REGIONS = SLOT_SYS + SYS_SPACE_SLOTS_MAX /* the other memories', and all further ones */
};

/* Of memory 0 in the main slot: at least this, or a power of two, or a multiple of the last. */
#define MAIN_MIN_BYTES (2ull << 20)
#define MAIN_STEP_BYTES (64ull << 20)

/* ---- page tables ---- */

static void add_mapping(struct page_mapping *mappings, size_t *count, uint64_t gva_value,
                        uint64_t bytes, uint32_t prot) {
    if (bytes != 0)
        mappings[(*count)++] =
            (struct page_mapping){.gva = gva_value, .bytes = bytes, .prot = prot};
}

/* The page mappings that an instance of these sizes starts with, without their places. */
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

/* The sandbox has a copy of its own, which lies apart as it has large pages. */
static bool has_own_code(const struct machine *machine, const husk_image *image) {
    return machine->limits.large_pages == HUSK_LARGE_PAGES_CONTENTS &&
           large_copy_takes_code(image->code);
}

static struct space_layout layout_with(const struct machine *machine, const husk_image *image,
                                       const struct sizing *sizes, uint64_t sys_bytes) {
    const struct space_parts parts = {.sys_bytes = sys_bytes,
                                      .stack_bytes = machine->limits.stack_bytes,
                                      .data_bytes = sizes->data_bytes,
                                      .ro_bytes = image->code->ro_bytes,
                                      .is_ro_apart = !image->code->is_ro_one_mapping ||
                                                     has_own_code(machine, image)};
    return space_layout_of(&parts);
}

static void place_mappings(const struct space_layout *layout, struct page_mapping *mappings,
                           size_t count) {
    for (size_t i = 0; i < count; i++)
        mappings[i].gpa = space_layout_gpa(layout, mappings[i].gva);
}

static int template_make(const struct machine *machine, const husk_image *image,
                         const struct sizing *sizes, struct sys_template **ret_template,
                         struct husk_error *err) {
    uint64_t sys_bytes = 0;
    size_t most =
        4u + image->data_segments_count + image->code->tables_count + image->code->memories_count;
    struct page_mapping *mappings = calloc(most, sizeof *mappings);
    if (mappings == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the list of mappings");
    size_t count = list_mappings(image, sizes, machine->limits.stack_bytes, mappings);
    /* First without the system pages, whose number depends on which parts get large entries. That
     * is decided by addresses that the number does not move (step_fits_large()). */
    struct space_layout layout = layout_with(machine, image, sizes, 0);
    place_mappings(&layout, mappings, count);
    int status = sys_template_measure(mappings, count, &sys_bytes, err);
    layout = layout_with(machine, image, sizes, sys_bytes);
    place_mappings(&layout, mappings, count);
    if (status == 0)
        status = sys_template_new(machine->engine->entry, mappings, count, ret_template, err);
    free(mappings);
    return status;
}

static bool has_default_sizes(const struct machine *machine, const husk_image *image,
                              const struct sizing *sizes) {
    if (machine->limits.stack_bytes != HUSK_STACK_DEFAULT_BYTES || has_own_code(machine, image))
        return false;
    for (uint32_t i = 0; i < image->code->memories_count; i++)
        if (sizes->memory_bytes[i] != image->memory_sizes[i] * HUSK_WASM_PAGE_SIZE)
            return false;
    for (uint32_t i = 0; i < image->code->tables_count; i++)
        if (sizes->table_entries[i] != image->table_sizes[i])
            return false;
    return true;
}

/* Sandboxes with the default sizes, and the data region of the first of them, share one template
 * per image; others get their own. */
static int template_get(const struct machine *machine, husk_image *image,
                        const struct sizing *sizes, struct sys_template **ret_template,
                        struct husk_error *err) {
    int status = 0;
    bool is_default = has_default_sizes(machine, image, sizes);
    if (is_default) {
        pthread_mutex_lock(&image->template_lock);
        if (image->default_template == NULL) {
            status = template_make(machine, image, sizes, &image->default_template, err);
            image->default_data_bytes = sizes->data_bytes;
        }
        is_default = status != 0 || image->default_data_bytes == sizes->data_bytes;
        if (status == 0 && is_default)
            *ret_template = sys_template_ref(image->default_template);
        pthread_mutex_unlock(&image->template_lock);
    }
    return is_default ? status : template_make(machine, image, sizes, ret_template, err);
}

int machine_template(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                     struct sys_template **ret_template, struct space_layout *ret_layout,
                     struct husk_error *err) {
    int status = template_get(machine, image, sizes, ret_template, err);
    if (status == 0)
        *ret_layout = layout_with(machine, image, sizes, sys_template_bytes(*ret_template));
    return status;
}

int machine_tables_new(struct sys_template *template, const struct arena *arena,
                       struct sys_space **ret_tables, struct husk_error *err) {
    return sys_space_new_at(template, arena_sys_place(arena), SLOT_SYS, ret_tables, err);
}

int machine_map(struct machine *machine, uint64_t gva_value, uint64_t bytes,
                struct husk_error *err) {
    machine->is_resized = true; /* tables grow within their last page, too */
    const struct page_mapping mapping = {.gva = gva_value,
                                         .gpa = space_layout_gpa(&machine->arena.layout, gva_value),
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

static int give_readonly(const struct machine *machine, struct vm *vm, struct husk_error *err) {
    const struct image_code *code = machine->mapped->code;
    const bool is_copied = machine->arena.code != NULL;
    return machine->engine->vm_ops->set_slot(
        vm, SLOT_READONLY, gpa(HUSK_TEXT_GVA), is_copied ? machine->arena.code : code->ro_hva,
        is_copied ? machine->arena.code_bytes : code->ro_bytes, VM_SLOT_READONLY, err);
}

static int set_slot(const struct machine *machine, struct vm *vm, uint32_t slot, uint64_t gpa_value,
                    uint8_t *hva, uint64_t bytes, struct husk_error *err) {
    return machine->engine->vm_ops->set_slot(vm, slot, gpa(gpa_value), hva, bytes, 0, err);
}

static int set_memory_slot(const struct machine *machine, struct vm *vm, uint32_t slot,
                           const struct arena_region *region, struct husk_error *err) {
    return set_slot(machine, vm, slot, gpa_of_gva(region->gva).v, region->hva, region->bytes, err);
}

/* Few different sizes, with room to grow. What is not covered is inaccessible to the host, and no
 * page-table entry leads to it. */
static uint64_t main_bytes(const struct arena *arena) {
    const uint64_t covered = arena->memories_count > 0 ? arena->memories[0].covered_bytes : 0;
    uint64_t bytes = MAIN_MIN_BYTES;
    while (bytes < covered)
        bytes += bytes < MAIN_STEP_BYTES ? bytes : MAIN_STEP_BYTES;
    return bytes < arena->room_bytes ? bytes : arena->room_bytes;
}

static int give_main_slot(struct machine *machine, struct vm *vm, struct husk_error *err) {
    const struct arena *arena = &machine->arena;
    const uint64_t mem0_bytes = main_bytes(arena);
    int status = set_slot(machine, vm, SLOT_MAIN, HUSK_MEM0_GPA - arena->low_bytes,
                          arena->mem0 - arena->low_bytes, arena->low_bytes + mem0_bytes, err);
    if (status == 0)
        machine->mem0_slot_bytes = mem0_bytes;
    return status;
}

/* A VM that has none. Some may be given when it fails. */
static int give_slots(struct machine *machine, struct vm *vm, struct husk_error *err) {
    const struct arena *arena = &machine->arena;
    machine->next_slot = SLOT_REGIONS;
    int status = give_main_slot(machine, vm, err);
    if (status == 0 && arena->layout.parts.is_ro_apart)
        status = give_readonly(machine, vm, err);
    for (uint32_t i = 1; i < arena->memories_count && status == 0; i++) {
        const struct arena_memory *memory = &arena->memories[i];
        const struct arena_region region = {memory->hva, husk_mem_gva(i), memory->covered_bytes,
                                            false};
        if (region.bytes != 0)
            status = set_memory_slot(machine, vm, machine->next_slot++, &region, err);
    }
    return status != 0 ? status
                       : sys_space_attach(machine->tables, machine->engine->vm_ops, vm, err);
}

int machine_attach(struct machine *machine, bool is_new_vm, struct husk_error *err) {
    if (!is_new_vm) /* it makes the next run bring all system registers */
        machine->vcpu_ops->set_space(machine->vcpu, sys_space_page_root(machine->tables),
                                     sys_space_exception_stack_top(machine->tables));
    return give_slots(machine, machine->vm, err);
}

int machine_detach(struct machine *machine, struct husk_error *err) {
    if (machine->vm == NULL || machine->tables == NULL)
        return 0;
    int status = set_slot(machine, machine->vm, SLOT_MAIN, 0, NULL, 0, err);
    if (status == 0 && machine->arena.layout.parts.is_ro_apart)
        status = set_slot(machine, machine->vm, SLOT_READONLY, 0, NULL, 0, err);
    for (uint32_t slot = SLOT_REGIONS; slot < machine->next_slot && status == 0; slot++)
        status = set_slot(machine, machine->vm, slot, 0, NULL, 0, err);
    return status != 0 ? status : sys_space_detach(machine->tables, err);
}

/* What is covered now, but for the part that the main slot has already. */
static int cover_slot(struct machine *machine, uint32_t mem_idx, uint64_t more_bytes,
                      struct husk_error *err) {
    const struct arena_memory *memory = &machine->arena.memories[mem_idx];
    const uint64_t end = memory->covered_bytes + more_bytes;
    uint64_t from = memory->covered_bytes;
    if (mem_idx == 0 && from < machine->mem0_slot_bytes)
        from = machine->mem0_slot_bytes;
    if (from >= end || machine->vm == NULL) /* a parked machine's VM gets its slots later */
        return 0;
    const struct arena_region region = {memory->hva + from, husk_mem_gva(mem_idx) + from,
                                        end - from, false};
    int status = set_memory_slot(machine, machine->vm, machine->next_slot, &region, err);
    if (status != 0)
        return status;
    machine->next_slot++;
    if (mem_idx == 0)
        machine->mem0_slot_bytes = end;
    return 0;
}

int machine_cover(struct machine *machine, uint32_t mem_idx, uint64_t bytes,
                  struct husk_error *err) {
    struct arena_memory *memory = &machine->arena.memories[mem_idx];
    uint64_t more_bytes;
    if (bytes <= memory->covered_bytes)
        return 0;
    int status = arena_make_room(&machine->arena, mem_idx, bytes, &more_bytes, err);
    if (status == 0)
        status = cover_slot(machine, mem_idx, more_bytes, err);
    if (status == 0)
        memory->covered_bytes += more_bytes;
    return status;
}

int machine_grow(struct machine *machine, uint32_t mem_idx, uint64_t bytes,
                 struct husk_error *err) {
    struct arena_memory *memory = &machine->arena.memories[mem_idx];
    machine->is_resized = true;
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

/* A machine that was parked has a kicker already, which other threads may use right now. */
static void vm_take(struct machine *machine, struct vm *vm, struct vcpu *vcpu) {
    machine->vm = vm;
    machine->vcpu = vcpu;
    if (machine->kicker.ops == NULL)
        kicker_init(&machine->kicker, machine->vcpu_ops, vcpu, machine->engine->kick_signal);
    else
        kicker_set_vcpu(&machine->kicker, vcpu);
}

int machine_vm_new(struct machine *machine, const struct sys_space *tables,
                   struct husk_error *err) {
    struct vm *vm;
    struct vcpu *vcpu;
    int status = vm_create(machine, tables, &vm, &vcpu, err);
    if (status == 0)
        vm_take(machine, vm, vcpu);
    return status;
}

void machine_vm_free(struct machine *machine) {
    vm_destroy(machine, machine->vm, machine->vcpu);
}

/* ---- a VM without its memory, and memory without its VM ---- */

/* The kicker first: afterwards no other thread uses the vCPU. */
static void vm_leave(struct machine *machine) {
    kicker_set_vcpu(&machine->kicker, NULL);
    sys_space_leave(machine->tables);
    machine->vm = NULL;
    machine->vcpu = NULL;
}

void machine_vm_drop(struct machine *machine) {
    struct vm *vm = machine->vm;
    struct vcpu *vcpu = machine->vcpu;
    vm_leave(machine);
    vm_destroy(machine, vm, vcpu);
}

int machine_vm_move(struct machine *machine, struct machine *bare) {
    struct vm *vm = machine->vm;
    struct vcpu *vcpu = machine->vcpu;
    int status = machine_detach(machine, NULL);
    if (status != 0)
        return status;
    vm_leave(machine);
    vm_take(bare, vm, vcpu);
    return 0;
}

int machine_vm_adopt(struct machine *machine, struct machine *bare, struct husk_error *err) {
    struct vm *vm = bare->vm;
    struct vcpu *vcpu = bare->vcpu;
    int status = give_slots(machine, vm, err);
    if (status != 0) {
        sys_space_leave(machine->tables);
        return status;
    }
    vm_leave(bare);
    machine->vcpu_ops->set_space(vcpu, sys_space_page_root(machine->tables),
                                 sys_space_exception_stack_top(machine->tables));
    vm_take(machine, vm, vcpu);
    return 0;
}

int machine_vm_make(struct machine *machine, struct husk_error *err) {
    struct vm *vm;
    struct vcpu *vcpu;
    int status = vm_create(machine, machine->tables, &vm, &vcpu, err);
    if (status != 0)
        return status;
    status = give_slots(machine, vm, err);
    if (status != 0) {
        sys_space_leave(machine->tables);
        vm_destroy(machine, vm, vcpu);
        return status;
    }
    vm_take(machine, vm, vcpu);
    return 0;
}

int machine_renew(struct machine *machine, struct husk_error *err) {
    struct vm *spoiled_vm = machine->vm, *fresh_vm;
    struct vcpu *spoiled_vcpu = machine->vcpu, *fresh_vcpu;
    const uint32_t slots = machine->next_slot;
    const uint64_t mem0_slot_bytes = machine->mem0_slot_bytes;
    int status = vm_create(machine, machine->tables, &fresh_vm, &fresh_vcpu, err);
    if (status != 0)
        return status;
    status = give_slots(machine, fresh_vm, err);
    if (status != 0) { /* the old one has its slots still; only the tables must know it again */
        machine->next_slot = slots;
        machine->mem0_slot_bytes = mem0_slot_bytes;
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
