/*
 * host/restore.c: make a sandbox's memory equal to an image again, in place: no mapping and no VM is changed on the hot path.
 *
 *   1. find the pages that were written since the last time (none of it if no fault was taken since); get what 2 needs
 *   ---- up to here a failure leaves everything as it was, from here on the machine is in pieces until 4 is done ----
 *   2. another image than the one mapped: lay the pieces that differ over the arena anew
 *   3. take away what grew, add what is missing
 *   4. copy the hot pages back
 *
 * Memory that is taken away goes by the rule of the design's section 4: page-table entries are cleared and the backing discarded
 * in one step, because on a shadow-paging host a translation lives until the kernel's MMU notifier drops it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"
#include "pages.h"
#include "sandbox_internal.h"
#include "x86.h"

/* More differing pieces than this are mapped as whole regions: a mapping costs some microseconds. */
#define REBASE_PIECES_MAX 16u

/* ---- what changes size ---- */

struct size_change {
    uint64_t gva, now_bytes, wanted_bytes;
};

/* One memory, or one table: pages that the guest can reach now, and those that it must reach. */
static struct size_change memory_change(const husk_sandbox *sandbox, const struct sizing *sizes,
                                        uint32_t idx) {
    return (struct size_change){husk_mem_gva(idx), sandbox->arena.memories[idx].bytes,
                                sizes->memory_bytes[idx]};
}

static struct size_change table_change(const husk_sandbox *sandbox, const struct sizing *sizes,
                                       uint32_t idx) {
    const struct husk_image_table *table = &sandbox->mapped->tables[idx];
    uint64_t base = table->base_gva & ~(uint64_t)(HUSK_PAGE_SIZE - 1);
    uint64_t now = page_up(table->base_gva + 8 * sandbox->sizes.table_entries[idx]);
    uint64_t wanted = page_up(table->base_gva + 8 * sizes->table_entries[idx]);
    return (struct size_change){base, now - base, wanted - base};
}

static uint32_t changes_count(const husk_sandbox *sandbox) {
    return sandbox->mapped->memories_count + sandbox->mapped->tables_count;
}

static struct size_change change_at(const husk_sandbox *sandbox, const struct sizing *sizes, uint32_t idx) {
    uint32_t memories = sandbox->mapped->memories_count;
    return idx < memories ? memory_change(sandbox, sizes, idx) : table_change(sandbox, sizes, idx - memories);
}

/* How much can stay mapped: what is wanted, or less if that ends within a large page-table entry, which goes as a whole. resize() maps
 * the difference anew. */
static bool find_kept(const husk_sandbox *sandbox, const struct size_change *change, uint64_t *ret_bytes) {
    const uint64_t end = change->gva + change->now_bytes, wanted = change->gva + change->wanted_bytes;
    uint64_t from = wanted;
    if (!sys_space_can_unmap(sandbox->space, gva(from), end - from))
        from = wanted & ~(X86_LARGE_PAGE_BYTES - 1);
    if (from < change->gva || !sys_space_can_unmap(sandbox->space, gva(from), end - from))
        return false;
    *ret_bytes = from - change->gva;
    return true;
}

bool restore_is_possible(const husk_sandbox *sandbox, const husk_image *image, const struct sizing *sizes) {
    const struct arena *arena = &sandbox->arena;
    if (!machine_is_whole(sandbox) || sandbox->mapped == NULL ||
        image_code(sandbox->mapped) != image_code(image) || sizes->data_bytes != arena->data_bytes ||
        sandbox->sizes.table_entries == NULL)
        return false;
    for (uint32_t i = 0; i < arena->memories_count; i++) {
        if (arena->memories[i].reserve_bytes != sizes->memory_max_pages[i] * HUSK_WASM_PAGE_SIZE)
            return false;
    }
    for (uint32_t i = 0; i < changes_count(sandbox); i++) {
        struct size_change change = change_at(sandbox, sizes, i);
        uint64_t kept_bytes;
        if (change.now_bytes > change.wanted_bytes && !find_kept(sandbox, &change, &kept_bytes))
            return false;
    }
    return true;
}

/* Before rebase(), so that it finds room for the image's contents. What is covered only is nothing to the guest: no page-table entry
 * leads to it. */
static int cover_memories(husk_sandbox *sandbox, const struct sizing *sizes, struct husk_error *err) {
    int status = 0;
    for (uint32_t i = 0; i < sandbox->arena.memories_count && status == 0; i++)
        status = arena_cover(&sandbox->arena, i, sizes->memory_bytes[i], sandbox->ops, sandbox->vm, err);
    return status;
}

static int grow(husk_sandbox *sandbox, const struct size_change *change, struct husk_error *err) {
    uint64_t from = change->gva + change->now_bytes;
    struct page_mapping mapping = {.gva = gva(from),
                                   .gpa = gpa_of_gva(gva(from)),
                                   .bytes = change->wanted_bytes - change->now_bytes,
                                   .prot = PAGE_READ | PAGE_WRITE};
    return sys_space_map(sandbox->space, &mapping, err);
}

/* What lies below the discarded pages is the image's contents, or zero pages beyond its size (rebase() saw to that). */
static int shrink(husk_sandbox *sandbox, struct size_change *change, struct husk_error *err) {
    uint64_t kept_bytes = 0;
    if (!find_kept(sandbox, change, &kept_bytes))
        return error_set(err, HUSK_E_LIMIT, "memory at 0x%llx cannot be taken away in place",
                         (unsigned long long)change->gva);
    uint64_t from = change->gva + kept_bytes, bytes = change->now_bytes - kept_bytes;
    uint8_t *hva = arena_span(&sandbox->arena, from, bytes);
    sys_space_unmap(sandbox->space, gva(from), bytes);
    if (arena_discard(hva, bytes) != 0)
        return error_sys(err, errno, "cannot discard %llu bytes of grown memory", (unsigned long long)bytes);
    hotset_forget(&sandbox->hotset, hva, bytes);
    change->now_bytes = kept_bytes;
    return change->now_bytes < change->wanted_bytes ? grow(sandbox, change, err) : 0;
}

static int resize(husk_sandbox *sandbox, const struct sizing *sizes, struct husk_error *err) {
    int status = 0;
    for (uint32_t i = 0; i < changes_count(sandbox) && status == 0; i++) {
        struct size_change change = change_at(sandbox, sizes, i);
        if (change.now_bytes > change.wanted_bytes)
            status = shrink(sandbox, &change, err);
        else if (change.now_bytes < change.wanted_bytes)
            status = grow(sandbox, &change, err);
        if (status != 0)
            return status;
        if (i < sandbox->arena.memories_count)
            sandbox->arena.memories[i].bytes = change.wanted_bytes;
        else
            sandbox->sizes.table_entries[i - sandbox->arena.memories_count] =
                sizes->table_entries[i - sandbox->arena.memories_count];
    }
    return 0;
}

/* ---- another image than the one that is mapped ---- */

typedef int (*piece_fn)(husk_sandbox *sandbox, husk_image *image, uint64_t gva_value, uint64_t bytes,
                        struct husk_error *err);

static int remap_piece(husk_sandbox *sandbox, husk_image *image, uint64_t gva_value, uint64_t bytes,
                       struct husk_error *err) {
    int status = arena_map_range(&sandbox->arena, image, gva_value, bytes, err);
    if (status == 0)
        hotset_forget(&sandbox->hotset, arena_hva_of(&sandbox->arena, gva_value), bytes);
    return status;
}

/* Every piece of a region whose contents come from elsewhere in the two images. `fn` NULL: only count. */
static int differing_pieces(husk_sandbox *sandbox, husk_image *image, const struct arena_region *region,
                            piece_fn fn, uint32_t *count, struct husk_error *err) {
    const uint64_t end = region->gva + region->bytes;
    int status = 0;
    for (uint64_t at = region->gva; at < end && status == 0;) {
        uint64_t old_bytes, new_bytes;
        const uint8_t *old_source = image_source(sandbox->mapped, at, &old_bytes);
        const uint8_t *new_source = image_source(image, at, &new_bytes);
        uint64_t bytes = old_bytes < new_bytes ? old_bytes : new_bytes;
        bytes = bytes < end - at ? bytes : end - at;
        if (old_source != new_source) {
            ++*count;
            if (fn != NULL)
                status = fn(sandbox, image, at, bytes, err);
        }
        at += bytes;
    }
    return status;
}

static uint32_t count_pieces(husk_sandbox *sandbox, husk_image *image) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    uint32_t regions_count = arena_regions(&sandbox->arena, regions), pieces = 0;
    for (uint32_t i = 0; i < regions_count; i++)
        differing_pieces(sandbox, image, &regions[i], NULL, &pieces, NULL);
    return pieces;
}

/* Merging layers can fail, and must not do so between two mappings. */
static int make_mappable(husk_image *image, struct husk_error *err) {
    const struct image_run *runs;
    uint32_t count;
    return image_mapped_runs(image, &runs, &count, err);
}

static int rebase(husk_sandbox *sandbox, husk_image *image, struct husk_error *err) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t regions_count = arena_regions(&sandbox->arena, regions);
    const uint32_t pieces = count_pieces(sandbox, image);
    int status = 0;
    for (uint32_t i = 0; i < regions_count && status == 0; i++) {
        uint32_t in_region = 0;
        differing_pieces(sandbox, image, &regions[i], NULL, &in_region, NULL);
        if (in_region == 0)
            continue;
        status = pieces <= REBASE_PIECES_MAX
                     ? differing_pieces(sandbox, image, &regions[i], remap_piece, &in_region, err)
                     : remap_piece(sandbox, image, regions[i].gva, regions[i].bytes, err);
    }
    if (status != 0)
        return status;
    hotset_retarget(&sandbox->hotset, &sandbox->arena, image);
    husk_image_unref(sandbox->mapped);
    sandbox->mapped = husk_image_ref(image);
    return 0;
}

/* Memory images that were mapped into linear memory give way to the image. */
static int drop_overlays(husk_sandbox *sandbox, struct husk_error *err) {
    int status = 0;
    while (sandbox->arena.overlays_count > 0 && status == 0) {
        const struct arena_overlay *overlay = &sandbox->arena.overlays[sandbox->arena.overlays_count - 1];
        status = remap_piece(sandbox, sandbox->mapped, overlay->gva, overlay->bytes, err);
        if (status == 0)
            arena_overlay_pop(&sandbox->arena);
    }
    return status;
}

/* All that can fail without having changed anything that the guest, or the next restore, can see. */
static int prepare(husk_sandbox *sandbox, husk_image *image, const struct sizing *sizes,
                   struct husk_error *err) {
    int status =
        hotset_update(&sandbox->hotset, &sandbox->arena, sandbox->mapped, &sandbox->engine->pagemap, err);
    if (status == 0)
        status = cover_memories(sandbox, sizes, err);
    if (status == 0 && sandbox->arena.overlays_count > 0)
        status = make_mappable(sandbox->mapped, err);
    if (status == 0 && sandbox->mapped != image && count_pieces(sandbox, image) > 0)
        status = make_mappable(image, err);
    return status;
}

static int change(husk_sandbox *sandbox, husk_image *image, const struct sizing *sizes,
                  struct hot_counts *ret_counts, struct husk_error *err) {
    int status = drop_overlays(sandbox, err);
    if (status == 0 && sandbox->mapped != image)
        status = rebase(sandbox, image, err);
    if (status == 0)
        status = resize(sandbox, sizes, err);
    return status != 0 ? status : hotset_restore(&sandbox->hotset, ret_counts, err);
}

int restore_in_place(husk_sandbox *sandbox, husk_image *image, const struct sizing *sizes,
                     struct husk_error *err) {
    struct hot_counts counts = {0};
    int status = prepare(sandbox, image, sizes, err);
    if (status != 0)
        return status;
    machine_change_begin(sandbox);
    status = change(sandbox, image, sizes, &counts, err);
    if (status != 0)
        return status;
    machine_change_end(sandbox);
    stat_add(sandbox->stats, STAT_restore_pages_copied, counts.copied);
    stat_add(sandbox->stats, STAT_restore_pages_aged, counts.aged);
    stat_add(sandbox->stats, STAT_restore_pages_hot, sandbox->hotset.count);
    sandbox_count_hot(sandbox);
    return 0;
}
