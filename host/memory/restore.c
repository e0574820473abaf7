/*
 * host/memory/restore.c: makes a machine's memory equal to an image again, in place. The hot path
 * changes no mapping and no VM.
 *
 *   1. find the pages written since the last restore (skipped if no fault was taken since), and
 *      get everything that step 2 needs
 *   2. if another image is mapped: map the parts that differ over the arena
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

#include "clock.h"
#include "error.h"
#include "image_internal.h"
#include "large.h"
#include "machine_space.h"
#include "pages.h"

/* With more differing pieces than this, regions are mapped as a whole: a mapping costs some
 * microseconds. */
#define REBASE_PIECES_MAX 16u

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

/* ---- another image than the one that is mapped ---- */

/* What comes from elsewhere in the two images: to be mapped anew. */
struct pieces {
    struct piece {
        uint64_t gva, bytes;
    } rows[REBASE_PIECES_MAX + ARENA_REGIONS_MAX];
    uint32_t count;
};

/* The one walk over both images. A region whose pieces are too many is one piece. */
static void list_differing(const struct machine *machine, const husk_image *image,
                           struct pieces *ret_pieces) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t regions_count = arena_regions(&machine->arena, regions);
    uint32_t count = 0;
    for (uint32_t i = 0; i < regions_count; i++) {
        const uint64_t end = regions[i].gva + regions[i].bytes;
        const uint32_t first = count;
        for (uint64_t at = regions[i].gva, bytes; at < end; at += bytes) {
            uint64_t old_bytes, new_bytes;
            const uint8_t *old_source = image_source(machine->mapped, at, &old_bytes);
            const uint8_t *new_source = image_source(image, at, &new_bytes);
            bytes = old_bytes < new_bytes ? old_bytes : new_bytes;
            bytes = bytes < end - at ? bytes : end - at;
            if (old_source == new_source)
                continue;
            if (count >= REBASE_PIECES_MAX) {
                count = first;
                at = regions[i].gva;
                bytes = regions[i].bytes;
            }
            ret_pieces->rows[count++] = (struct piece){at, bytes};
        }
    }
    ret_pieces->count = count;
}

static int remap_piece(struct machine *machine, husk_image *image, struct piece piece,
                       struct husk_error *err) {
    int status = arena_map_range(&machine->arena, image, piece.gva, piece.bytes, err);
    if (status == 0)
        hotset_forget(&machine->hotset, arena_hva_of(&machine->arena, piece.gva), piece.bytes);
    return status;
}

/* Merging layers can fail, and must not do so between two mappings. */
static int make_mappable(husk_image *image, struct husk_error *err) {
    const struct image_run *runs;
    uint32_t count;
    return image_mapped_runs(image, &runs, &count, err);
}

/* Deliberately not inlined: its arrays would move what every restore touches 3 KiB down the
 * stack. */
__attribute__((noinline)) static int rebase(struct machine *machine, husk_image *image,
                                            struct husk_error *err) {
    struct pieces pieces;
    list_differing(machine, image, &pieces);
    int status = pieces.count > 0 ? make_mappable(image, err) : 0;
    if (status != 0)
        return status;
    machine_change_begin(machine);
    for (uint32_t i = 0; i < pieces.count && status == 0; i++)
        status = remap_piece(machine, image, pieces.rows[i], err);
    if (status != 0)
        return status;
    hotset_retarget(&machine->hotset, &machine->arena, image);
    husk_image_unref(machine->mapped);
    machine->mapped = husk_image_ref(image);
    return 0;
}

/* Memory images that were mapped into linear memory give way to the image. */
static int drop_overlays(struct machine *machine, struct husk_error *err) {
    int status = 0;
    while (machine->arena.overlays_count > 0 && status == 0) {
        const struct arena_overlay *overlay =
            &machine->arena.overlays[machine->arena.overlays_count - 1];
        status = remap_piece(machine, machine->mapped, (struct piece){overlay->gva, overlay->bytes},
                             err);
        if (status == 0)
            arena_overlay_pop(&machine->arena);
    }
    return status;
}

/* All that can fail without having changed anything that the guest, or the next restore, can
 * see. */
static int prepare(struct machine *machine, husk_image *image, const struct sizing *sizes,
                   struct husk_error *err) {
    int status = machine_find_written(machine, err);
    if (status == 0)
        status = cover_memories(machine, sizes, err);
    if (status == 0 && machine->arena.overlays_count > 0)
        status = make_mappable(image, err);
    return status;
}

static int restore_in_place(struct machine *machine, husk_image *image, const struct sizing *sizes,
                            struct husk_error *err) {
    struct hot_counts counts = {0};
    const bool is_other = machine->mapped != image;
    int status = prepare(machine, image, sizes, err);
    if (status == 0 && is_other)
        status = rebase(machine, image, err);
    if (status != 0)
        return status;
    machine_change_begin(machine);
    status = drop_overlays(machine, err);
    if (status == 0)
        status = resize(machine, sizes, err);
    if (status == 0)
        status = hotset_restore(&machine->hotset, &counts, err);
    if (status != 0)
        return status;
    machine_change_end(machine);
    large_learn(machine, &counts);
    if (is_other)
        large_begin(machine);
    stat_add(&machine->tally, STAT_restore_pages_copied, counts.copied);
    stat_add(&machine->tally, STAT_restore_pages_aged, counts.aged);
    stat_add(&machine->tally, STAT_restore_pages_hot, machine->hotset.count);
    machine_count_hot(machine);
    return 0;
}

int machine_make_equal(struct machine *machine, husk_image *image, struct sizing *take_sizes,
                       bool is_load, struct husk_error *err) {
    const uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
    const bool was_used = machine->mapped != NULL;
    const bool had_vm = machine->vm != NULL;
    const bool is_in_place = restore_is_possible(machine, image, take_sizes);
    int status = is_in_place ? restore_in_place(machine, image, take_sizes, err)
                             : machine_build(machine, image, take_sizes, err);
    if (status != 0) {
        stat_add(&machine->tally, STAT_restore_failures, was_used);
        return status;
    }
    sizing_done(&machine->sizes);
    machine->sizes = *take_sizes;
    if (is_load) {
        stat_count(&machine->tally, is_in_place ? STAT_loads_in_place
                                    : had_vm    ? STAT_loads_rebuilt
                                                : STAT_loads_new_vm);
        stat_add(&machine->tally, STAT_loads_from_snapshot, image->is_snapshot);
    }
    if (!was_used)
        return 0; /* fresh memory is equal to the image; nothing was restored */
    stat_count(&machine->tally, STAT_restores);
    if (!is_in_place)
        stat_count(&machine->tally, STAT_restores_rebuilt);
    stat_measure(&machine->tally, HUSK_HISTOGRAM_RESTORE, clock_ns(CLOCK_MONOTONIC) - start_ns);
    return 0;
}
