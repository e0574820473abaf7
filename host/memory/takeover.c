/*
 * host/memory/takeover.c: gives a machine's VM to another module without any change of its memory
 * slots. Such a change waits for other CPUs and throws away all that KVM has mapped; and a new
 * module's guest would take every page fault anew.
 *
 *   kept       the slots, the reservation, system pages, mailbox, stack, and zero pages of memory
 *              0: what was written there is copied back, as by a restore
 *   replaced   the read-only part and the data, by new mappings; other contents of memory 0
 *   rewritten  the page tables, in the pages that they have
 *
 * A page-table entry that was present may only change together with its backing (syspages.h). That
 * holds here: all entries of the read-only part and of the data lead to lanes that are mapped anew
 * as a whole. All others have the same place in every layout, and memory that goes is discarded.
 *
 * A failure before the first change leaves everything as it was. After it, the machine is
 * incomplete, as in restore.c.
 */
#include "error.h"
#include "image_internal.h"
#include "large.h"
#include "machine_space.h"

/* What the machine shall become. */
struct takeover {
    husk_image *image;
    const struct sizing *sizes;
    struct sys_template *template;
    struct space_layout layout;
};

static uint64_t memory0_bytes(const struct takeover *to) {
    return to->image->code->memories_count > 0 ? to->sizes->memory_bytes[0] : 0;
}

static uint64_t memory0_reserve(const struct takeover *to) {
    return to->image->code->memories_count > 0
               ? to->sizes->memory_max_pages[0] * HUSK_WASM_PAGE_SIZE
               : 0;
}

/* The places of system pages, stack and mailbox then are the same, too. */
static bool fits(const struct machine *machine, const struct takeover *to) {
    const struct arena *arena = &machine->arena;
    return !arena->layout.parts.is_ro_apart && !to->layout.parts.is_ro_apart &&
           arena->memories_count <= 1 && to->image->code->memories_count <= 1 &&
           arena->files.reserve_bytes == to->sizes->files_max_bytes &&
           arena->layout.parts.stack_bytes == to->layout.parts.stack_bytes &&
           arena->layout.parts.sys_bytes == to->layout.parts.sys_bytes &&
           to->layout.low_bytes <= arena->low_bytes && memory0_reserve(to) <= arena->room_bytes &&
           sys_space_can_become(machine->tables, to->template);
}

/* Memory 0 may be there or not, in either module. It is there now, perhaps with no bytes. */
static int cover_memory(struct machine *machine, const struct takeover *to,
                        struct husk_error *err) {
    struct arena *arena = &machine->arena;
    const struct arena_memory old = arena->memories[0];
    const uint32_t old_count = arena->memories_count;
    if (old_count == 0) {
        arena->memories[0] = (struct arena_memory){.hva = arena->mem0};
        arena->memories_count = 1;
    }
    arena->memories[0].reserve_bytes = memory0_reserve(to);
    int status = machine_cover(machine, 0, memory0_bytes(to), err);
    if (status == 0)
        status = arena_cover_files(arena, to->sizes->files_bytes, err);
    if (status == 0)
        return 0;
    arena->memories[0].reserve_bytes = old.reserve_bytes;
    arena->memories_count = old_count;
    return status;
}

/* All that can fail without having changed anything that the guest, or the next restore, can
 * see. */
static int prepare(struct machine *machine, const struct takeover *to, struct husk_error *err) {
    int status = machine_find_written(machine, err);
    if (status == 0)
        status = machine_make_mappable(to->image, err);
    return status == 0 ? cover_memory(machine, to, err) : status;
}

/* Data and read-only part. Their pages leave the hot set before it is told of the new image. */
static void forget_lanes(struct machine *machine) {
    const struct arena *arena = &machine->arena;
    hotset_forget(&machine->hotset, arena->base,
                  (uint64_t)((uint8_t *)arena->mailbox - arena->base));
}

/* The page-table entries go as whole ones, although a large one may reach below `bytes`: all are
 * written anew. */
static int resize_memory(struct machine *machine, uint64_t bytes, struct husk_error *err) {
    struct arena_memory *memory = &machine->arena.memories[0];
    int status = bytes < memory->bytes
                     ? machine_unmap(machine, husk_mem_gva(0) + bytes, memory->bytes - bytes, err)
                     : 0;
    if (status == 0)
        memory->bytes = bytes;
    return status;
}

static int change(struct machine *machine, const struct takeover *to, struct husk_error *err) {
    struct hot_counts counts;
    machine_change_begin(machine);
    hotset_unpin(&machine->hotset); /* views of the other module's memory end here */
    forget_lanes(machine);
    int status = machine_rebase(machine, to->image, HUSK_MAILBOX_GVA, err);
    if (status == 0)
        status = machine_drop_overlays(machine, err);
    if (status == 0)
        status = resize_memory(machine, memory0_bytes(to), err);
    if (status == 0)
        status = arena_map_lanes(&machine->arena, to->image, &to->layout, err);
    if (status != 0)
        return status;
    sys_space_become(machine->tables, to->template);
    status = machine_copy_hot(machine, &counts, err);
    if (status == 0)
        hotset_prefill(&machine->hotset, &machine->arena, to->image);
    return status;
}

static int take_over(struct machine *machine, const struct takeover *to, struct husk_error *err) {
    int status = prepare(machine, to, err);
    if (status == 0)
        status = change(machine, to, err);
    if (status != 0)
        return status;
    machine->arena.memories_count = to->image->code->memories_count;
    large_begin_anew(machine);
    machine_count_hot(machine);
    machine_change_end(machine);
    return 0;
}

int machine_take_over(struct machine *machine, husk_image *image, const struct sizing *sizes,
                      bool *ret_is_possible, struct husk_error *err) {
    struct takeover to = {.image = image, .sizes = sizes};
    *ret_is_possible = false;
    if (machine->vm == NULL || machine->mapped == NULL || !machine_is_whole(machine))
        return 0;
    int status = machine_template(machine, image, sizes, &to.template, &to.layout, err);
    if (status != 0)
        return status;
    *ret_is_possible = fits(machine, &to);
    if (*ret_is_possible)
        status = take_over(machine, &to, err);
    sys_template_unref(to.template);
    return status;
}
