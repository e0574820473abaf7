/*
 * host/files/privfs_blocks.c: trees of blocks. The slots of struct blocks are the upper end of the
 * tree. When they are full, they move into an index page, and the tree is one level higher. So a
 * file of up to BLOCKS_SLOTS pages has no index page. The recursion here is as deep as the tree is
 * high, at most BLOCKS_HEIGHT_MAX.
 */
#include <string.h>

#include "privfs_internal.h"

static uint32_t *index_page(const struct privfs *fs, uint32_t page) {
    return space_page(fs, page);
}

static bool has_any(const uint32_t *slots, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (slots[i] != 0)
            return true;
    return false;
}

/* log2 of the blocks below a page of this height. */
static uint32_t bits_of(uint32_t height) {
    return BLOCKS_INDEX_BITS * height;
}

/* The blocks that a tree of this height can have. */
static uint64_t capacity_of(uint32_t height) {
    return (uint64_t)BLOCKS_SLOTS << bits_of(height);
}

static uint32_t height_for(const struct blocks *blocks, uint64_t idx) {
    uint32_t height = blocks->height;
    while (idx >= capacity_of(height))
        height++;
    return height;
}

uint32_t blocks_find(const struct privfs *fs, const struct blocks *blocks, uint64_t idx) {
    uint32_t height = blocks->height;
    if (idx >= capacity_of(height))
        return 0;
    uint32_t page = blocks->slots[idx >> bits_of(height)];
    for (; height > 0 && page != 0; height--)
        page = index_page(fs, page)[idx >> bits_of(height - 1) & (BLOCKS_INDEX_SLOTS - 1)];
    return page;
}

/* Pages up to this height that stand over the blocks [from, to). */
static uint64_t pages_over(uint64_t from, uint64_t to, uint32_t height) {
    uint64_t pages = 0;
    for (uint32_t h = 0; h <= height; h++)
        pages += ((to - 1) >> bits_of(h)) - (from >> bits_of(h)) + 1;
    return pages;
}

/* Pages missing below slots, which name pages of this height. Blocks count from the first slot's
 * on. */
static uint64_t missing_below(const struct privfs *fs, const uint32_t *slots, uint32_t height,
                              uint64_t from, uint64_t to) {
    uint64_t missing = 0;
    for (uint64_t i = from >> bits_of(height); i <= (to - 1) >> bits_of(height); i++) {
        const uint64_t first = i << bits_of(height), next = (i + 1) << bits_of(height);
        const uint64_t low = from > first ? from - first : 0;
        const uint64_t high = (to < next ? to : next) - first;
        if (slots[i] == 0)
            missing += pages_over(low, high, height);
        else if (height > 0)
            missing += missing_below(fs, index_page(fs, slots[i]), height - 1, low, high);
    }
    return missing;
}

uint64_t blocks_missing(const struct privfs *fs, const struct blocks *blocks, uint64_t from,
                        uint64_t to) {
    const uint32_t height = height_for(blocks, to - 1);
    const uint64_t capacity = capacity_of(blocks->height);
    if (!has_any(blocks->slots, BLOCKS_SLOTS))
        return pages_over(from, to, height);
    uint64_t missing = 0;
    if (from < capacity)
        missing =
            missing_below(fs, blocks->slots, blocks->height, from, to < capacity ? to : capacity);
    if (to <= capacity)
        return missing;
    if (from < capacity)
        from = capacity;
    /* One index page for each new level, which is the first of its height. It may stand over the
     * range, too, but counts once. */
    missing += pages_over(from, to, height);
    for (uint32_t h = blocks->height + 1; h <= height; h++)
        missing += from >> bits_of(h) != 0;
    return missing;
}

static void raise_to(struct privfs *fs, struct blocks *blocks, uint32_t height) {
    while (blocks->height < height) {
        if (has_any(blocks->slots, BLOCKS_SLOTS)) {
            const uint32_t page = space_take_zeros(fs);
            memcpy(space_page(fs, page), blocks->slots, sizeof blocks->slots);
            memset(blocks->slots, 0, sizeof blocks->slots);
            blocks->slots[0] = page;
        }
        blocks->height++;
    }
}

uint32_t blocks_make(struct privfs *fs, struct blocks *blocks, uint64_t idx, bool *ret_is_new) {
    raise_to(fs, blocks, height_for(blocks, idx));
    uint32_t height = blocks->height;
    uint32_t *slot = &blocks->slots[idx >> bits_of(height)];
    for (; height > 0; height--) {
        if (*slot == 0)
            *slot = space_take_zeros(fs);
        slot = &index_page(fs, *slot)[idx >> bits_of(height - 1) & (BLOCKS_INDEX_SLOTS - 1)];
    }
    *ret_is_new = *slot == 0;
    if (*slot == 0)
        *slot = space_take(fs);
    return *slot;
}

/* Free a page with all below it, without a write to it. */
static void free_page(struct privfs *fs, uint32_t page, uint32_t height) {
    if (height > 0)
        for (uint32_t i = 0; i < BLOCKS_INDEX_SLOTS; i++)
            if (index_page(fs, page)[i] != 0)
                free_page(fs, index_page(fs, page)[i], height - 1);
    space_give(fs, page);
}

static void cut_below(struct privfs *fs, uint32_t *slots, uint32_t count, uint32_t height,
                      uint64_t from) {
    for (uint64_t i = from >> bits_of(height); i < count; i++) {
        const uint64_t first = i << bits_of(height);
        if (slots[i] == 0)
            continue;
        if (first < from) {
            uint32_t *below = index_page(fs, slots[i]);
            cut_below(fs, below, BLOCKS_INDEX_SLOTS, height - 1, from - first);
            if (has_any(below, BLOCKS_INDEX_SLOTS))
                continue;
            space_give(fs, slots[i]);
        } else {
            free_page(fs, slots[i], height);
        }
        slots[i] = 0;
    }
}

void blocks_cut(struct privfs *fs, struct blocks *blocks, uint64_t from) {
    cut_below(fs, blocks->slots, BLOCKS_SLOTS, blocks->height, from);
    if (!has_any(blocks->slots, BLOCKS_SLOTS))
        blocks->height = 0;
}
