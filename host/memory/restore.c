/*
 * host/memory/restore.c: makes a machine's memory equal to an image again, in place. The hot path
 * changes no mapping and no VM.
 *
 *   1. find the pages written since the last restore (skipped if no fault was taken since), and
 *      get everything that step 2 needs
 *   2. if another image is mapped: map the parts that differ over the arena (rebase.c)
 *   3. unmap the parts that grew, map the parts that are missing
 *   4. copy the hot pages back
 *
 * A failure in step 1 leaves everything as it was. From step 2 to the end of step 4, the machine is
 * incomplete.
 *
 * Unmapping follows the rule of syspages.h: it clears page-table entries and discards the backing
 * in one step. On a shadow-paging host, a translation lives until the kernel's MMU notifier drops
 * it.
 */
#include <errno.h>
#include <sys/mman.h>

#include "error.h"
#include "image_internal.h"
#include "large.h"
#include "machine_space.h"
#include "machine_written.h"
#include "pages.h"
#include "hot.h"

/* ---- what changes size ---- */

struct size_change {
    uint64_t gva, now_bytes, wanted_bytes;
};

/* One memory, or one table: pages that the guest can reach now, and those that it must reach. */
static struct size_change memory_change(const struct machine *machine, const struct sizing *sizes,
                                        uint32_t idx) {
    return (struct size_change){husk_mem_gva(idx), machine->arena.memories[idx].bytes,
                                sizes->memory_bytes[idx]};
}

static struct size_change table_change(const struct machine *machine, const struct sizing *sizes,
                                       uint32_t idx) {
    const struct husk_image_table *table = &machine->mapped->code->tables[idx];
    uint64_t base = table->base_gva & ~(uint64_t)(HUSK_PAGE_SIZE - 1);
    uint64_t now = page_up(table->base_gva + 8 * machine->sizes.table_entries[idx]);
    uint64_t wanted = page_up(table->base_gva + 8 * sizes->table_entries[idx]);
    return (struct size_change){base, now - base, wanted - base};
}

static uint32_t changes_count(const struct machine *machine) {
    return machine->mapped->code->memories_count + machine->mapped->code->tables_count;
}

static struct size_change change_at(const struct machine *machine, const struct sizing *sizes,
                                    uint32_t idx) {
    uint32_t memories = machine->mapped->code->memories_count;
    return idx < memories ? memory_change(machine, sizes, idx)
                          : table_change(machine, sizes, idx - memories);
}

/* How much can stay mapped: what is wanted, or less if that ends within a large page-table entry,
 * which goes as a whole. resize() maps the difference anew. */
static bool find_kept(const struct machine *machine, const struct size_change *change,
                      uint64_t *ret_bytes) {
    const uint64_t end = change->gva + change->now_bytes,
                   wanted = change->gva + change->wanted_bytes;
    uint64_t from = wanted;
    if (!machine_can_unmap(machine, &from, end) || from < change->gva)
        return false;
    *ret_bytes = from - change->gva;
    return true;
}

static bool restore_is_possible(const struct machine *machine, const husk_image *image,
                                const struct sizing *sizes) {
    const struct arena *arena = &machine->arena;
    if (!machine_is_whole(machine) || machine->mapped == NULL ||
        machine->mapped->code != image->code || sizes->data_bytes != arena->data_bytes ||
        sizes->files_max_bytes != arena->files.reserve_bytes ||
        machine->sizes.table_entries == NULL)
        return false;
    for (uint32_t i = 0; i < arena->memories_count; i++)
        if (arena->memories[i].reserve_bytes != sizes->memory_max_pages[i] * HUSK_WASM_PAGE_SIZE)
            return false;
    for (uint32_t i = 0; i < changes_count(machine); i++) {
        struct size_change change = change_at(machine, sizes, i);
        uint64_t kept_bytes;
        if (change.now_bytes > change.wanted_bytes && !find_kept(machine, &change, &kept_bytes))
            return false;
    }
    return true;
}

/* Before rebase(), so that it finds room for the image's contents. What is only covered is nothing
 * to the guest: no page-table entry leads to it. */
static int cover_memories(struct machine *machine, const struct sizing *sizes,
                          struct husk_error *err) {
    int status = 0;
    for (uint32_t i = 0; i < machine->arena.memories_count && status == 0; i++)
        status = machine_cover(machine, i, sizes->memory_bytes[i], err);
    if (status == 0)
        status = arena_cover_files(&machine->arena, sizes->files_bytes, err);
    return status;
}

static int grow(struct machine *machine, const struct size_change *change, struct husk_error *err) {
    return machine_map(machine, change->gva + change->now_bytes,
                       change->wanted_bytes - change->now_bytes, err);
}

/* What lies below the discarded pages is the image's contents, or zero pages beyond its size
 * (rebase() saw to that). */
static int shrink(struct machine *machine, struct size_change *change, struct husk_error *err) {
    uint64_t kept_bytes = 0;
    if (!find_kept(machine, change, &kept_bytes))
        return error_set(err, HUSK_E_LIMIT, "memory at 0x%llx cannot be taken away in place",
                         (unsigned long long)change->gva);
    uint64_t from = change->gva + kept_bytes, bytes = change->now_bytes - kept_bytes;
    int status = machine_unmap(machine, from, bytes, err);
    if (status != 0)
        return status;
    change->now_bytes = kept_bytes;
    return change->now_bytes < change->wanted_bytes ? grow(machine, change, err) : 0;
}

static int resize(struct machine *machine, const struct sizing *sizes, struct husk_error *err) {
    int status = 0;
    for (uint32_t i = 0; i < changes_count(machine) && status == 0; i++) {
        struct size_change change = change_at(machine, sizes, i);
        if (change.now_bytes > change.wanted_bytes)
            status = shrink(machine, &change, err);
        else if (change.now_bytes < change.wanted_bytes)
            status = grow(machine, &change, err);
        if (status != 0)
            return status;
        if (i < machine->arena.memories_count)
            machine->arena.memories[i].bytes = change.wanted_bytes;
        else
            machine->sizes.table_entries[i - machine->arena.memories_count] =
                sizes->table_entries[i - machine->arena.memories_count];
    }
    return 0;
}

/* All that can fail without having changed anything that the guest, or the next restore, can
 * see. */
static int prepare(struct machine *machine, husk_image *image, const struct sizing *sizes,
                   struct husk_error *err) {
    int status = written_find(machine, err);
    if (status == 0)
        status = cover_memories(machine, sizes, err);
    if (status == 0 && machine->arena.overlays_count > 0)
        status = machine_make_mappable(image, err);
    return status;
}

/* Step 4. The change has begun; it ends here. */
static inline int copy_hot(struct machine *machine, struct husk_error *err) {
    struct hot_counts counts;
    int status = written_copy(machine, &counts, err);
    if (UNLIKELY(status != 0))
        return status;
    machine_change_end(machine);
    if (UNLIKELY(counts.large_paid + counts.large_poor != 0))
        large_learn(machine, &counts);
    return 0;
}

RARE static int restore_in_place(struct machine *machine, husk_image *image,
                                 const struct sizing *sizes, struct husk_error *err) {
    const bool is_other = machine->mapped != image;
    int status = prepare(machine, image, sizes, err);
    if (status == 0 && is_other)
        status = machine_rebase(machine, image, 0, err);
    if (status != 0)
        return status;
    machine_change_begin(machine);
    status = machine_drop_overlays(machine, err);
    if (status == 0)
        status = resize(machine, sizes, err);
    if (status == 0)
        status = copy_hot(machine, err);
    if (status == 0 && is_other)
        large_begin(machine);
    return status;
}

/* Another module, or another arena is necessary. */
static int replace(struct machine *machine, husk_image *image, const struct sizing *sizes,
                   struct husk_error *err) {
    bool is_possible;
    if (image->serves_once) /* its contents move as a whole */
        return machine_build(machine, image, sizes, err);
    int status = machine_take_over(machine, image, sizes, &is_possible, err);
    return status != 0 || is_possible ? status : machine_build(machine, image, sizes, err);
}

static bool has_sizes(const struct machine *machine, const struct sizing *sizes) {
    for (uint32_t i = 0; i < changes_count(machine); i++) {
        const struct size_change change = change_at(machine, sizes, i);
        if (change.now_bytes != change.wanted_bytes)
            return false;
    }
    for (uint32_t i = 0; i < machine->mapped->code->tables_count; i++)
        if (machine->sizes.table_entries[i] != sizes->table_entries[i])
            return false;
    return sizes->files_bytes == machine->sizes.files_bytes;
}

/* A spare one for its first user: there is nothing to restore. */
static bool is_equal_already(const struct machine *machine, const husk_image *image,
                             const struct sizing *sizes) {
    return machine->is_fresh && machine_is_sized_for(machine, image) && has_sizes(machine, sizes);
}

static void count_restore(struct machine *machine, struct stopwatch_start start) {
    stat_count(&machine->tally, STAT_restores);
    stat_measure(&machine->tally, HUSK_HISTOGRAM_RESTORE, stopwatch_end(start));
}

HOT FLAT int machine_restore(struct machine *machine, struct husk_error *err) {
    const struct stopwatch_start start = stopwatch_begin(&machine->engine->stopwatch);
    hotset_prefetch(&machine->hotset); /* while the kernel counts the guest's faults */
    int status = written_find(machine, err);
    if (LIKELY(status == 0)) {
        machine_change_begin(machine);
        status = copy_hot(machine, err);
    }
    if (UNLIKELY(status != 0)) {
        stat_count(&machine->tally, STAT_restore_failures);
        return status;
    }
    count_restore(machine, start);
    return 0;
}

/* An image that serves once has not served yet, and the machine has not taken one over. */
static int check_serves(const struct machine *machine, husk_image *image, struct husk_error *err) {
    int status = image_check_keeps(machine->mapped, err);
    if (status == 0 && image->serves_once && atomic_exchange(&image->has_served, true))
        status = image_check_keeps(image, err);
    return status;
}

int machine_make_equal(struct machine *machine, husk_image *image, struct sizing *take_sizes,
                       bool is_load, struct husk_error *err) {
    const struct stopwatch_start start = stopwatch_begin(&machine->engine->stopwatch);
    int status = check_serves(machine, image, err);
    if (status != 0)
        return status;
    const bool was_used = machine->mapped != NULL;
    const bool had_vm = machine->vm != NULL;
    const bool is_in_place = restore_is_possible(machine, image, take_sizes);
    const bool is_equal = is_in_place && is_equal_already(machine, image, take_sizes);
    machine->is_fresh = false;
    status = is_equal      ? 0
             : is_in_place ? restore_in_place(machine, image, take_sizes, err)
                           : replace(machine, image, take_sizes, err);
    if (status != 0) {
        stat_add(&machine->tally, STAT_restore_failures, was_used);
        return status;
    }
    sizing_done(&machine->sizes);
    machine->sizes = *take_sizes;
    machine->is_resized = image->serves_once; /* so that a restore comes here, and is refused */
    if (is_load) {
        stat_count(&machine->tally, is_in_place ? STAT_loads_in_place
                                    : had_vm    ? STAT_loads_rebuilt
                                                : STAT_loads_new_vm);
        stat_add(&machine->tally, STAT_loads_from_snapshot, image->is_snapshot);
    }
    if (!was_used || is_equal)
        return 0; /* fresh memory is equal to the image; nothing was restored */
    if (!is_in_place)
        stat_count(&machine->tally, STAT_restores_rebuilt);
    count_restore(machine, start);
    return 0;
}
