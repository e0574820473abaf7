/*
 * host/files/privfs_space.c: the pages of a private layer: which are in use, and the limits. An
 * operation reserves all pages that it is going to take before it changes anything.
 */
#include <errno.h>
#include <string.h>

#include "privfs_internal.h"

#define FIRST_PAGE 2u /* behind the super page and the first map */

bool space_is_empty(const struct privfs *fs) {
    return fs->base == NULL || fs->covered_bytes < SPACE_PAGE_BYTES || space_super(fs)->magic == 0;
}

static uint64_t *map_word(const struct privfs *fs, uint32_t page) {
    uint64_t *words = space_page(fs, space_map_of(page));
    return &words[page % SPACE_GROUP_PAGES / 64];
}

static void map_set(const struct privfs *fs, uint32_t page) {
    *map_word(fs, page) |= 1ull << page % 64;
}

static int cover(struct privfs *fs, uint64_t end) {
    const uint64_t bytes = end * SPACE_PAGE_BYTES;
    if (end > UINT32_MAX || bytes > fs->region_bytes)
        return -ENOSPC;
    if (bytes <= fs->covered_bytes)
        return 0;
    return fs->cover == NULL ? -ENOSPC : fs->cover(fs, bytes);
}

int space_format(struct privfs *fs) {
    if (!space_is_empty(fs))
        return 0;
    if (fs->base == NULL || fs->limit_bytes / SPACE_PAGE_BYTES < FIRST_PAGE)
        return -ENOSPC;
    int status = cover(fs, FIRST_PAGE);
    if (status != 0)
        return status;
    memset(fs->base, 0, (size_t)FIRST_PAGE * SPACE_PAGE_BYTES);
    struct super *super = space_super(fs);
    super->version = SUPER_VERSION;
    super->end = super->used = super->free_hint = FIRST_PAGE;
    super->inodes_end = 1; /* 0 is no inode */
    map_set(fs, 0);
    map_set(fs, 1);
    super->magic = SUPER_MAGIC;
    return 0;
}

/* Maps of groups, other than the first, that begin below this page. */
static uint64_t maps_below(uint64_t end) {
    return (end - 1) / SPACE_GROUP_PAGES;
}

int space_reserve(struct privfs *fs, uint64_t pages) {
    const struct super *super = space_super(fs);
    const uint64_t limit = fs->limit_bytes / SPACE_PAGE_BYTES, unused = super->end - super->used;
    if (pages == 0)
        return 0;
    if (super->used > limit || pages > limit - super->used)
        return -ENOSPC;
    const uint64_t fresh = pages > unused ? pages - unused : 0;
    uint64_t end = super->end + fresh, maps = 0;
    if (fresh > 0)
        while (maps != maps_below(end) - maps_below(super->end)) {
            maps = maps_below(end) - maps_below(super->end);
            end = super->end + fresh + maps;
        }
    if (pages + maps > limit - super->used)
        return -ENOSPC;
    return cover(fs, end);
}

int space_reserve_entries(const struct privfs *fs, uint64_t more) {
    const uint64_t entries = space_super(fs)->entries;
    return more == 0 || (entries <= fs->limit_entries && more <= fs->limit_entries - entries)
               ? 0
               : -ENOSPC;
}

/* The first free page from this one on, or the end. */
static uint32_t find_free(const struct privfs *fs, uint32_t from) {
    const uint32_t end = space_super(fs)->end;
    while (from < end) {
        const uint64_t is_free = ~*map_word(fs, from) & UINT64_MAX << from % 64;
        if (is_free != 0) {
            const uint32_t page = from - from % 64 + (uint32_t)__builtin_ctzll(is_free);
            return page < end ? page : end;
        }
        from += 64 - from % 64;
    }
    return end;
}

uint32_t space_take(struct privfs *fs) {
    struct super *super = space_super(fs);
    uint32_t page = find_free(fs, super->free_hint);
    if (page == super->end) {
        if (page % SPACE_GROUP_PAGES == 0) {
            memset(space_page(fs, page), 0, SPACE_PAGE_BYTES);
            map_set(fs, page);
            super->used++;
            page++;
        }
        super->end = page + 1;
    }
    map_set(fs, page);
    super->used++;
    super->free_hint = page + 1;
    return page;
}

uint32_t space_take_zeros(struct privfs *fs) {
    const uint32_t page = space_take(fs);
    memset(space_page(fs, page), 0, SPACE_PAGE_BYTES);
    return page;
}

/* The end comes down to the last page in use. A map of nothing but itself is not in use. */
static void lower_end(struct privfs *fs) {
    struct super *super = space_super(fs);
    uint32_t end = super->end;
    for (;;) {
        const uint32_t last = end - 1;
        if (last != 0 && last % SPACE_GROUP_PAGES == 0) {
            super->used--;
            end = last;
            continue;
        }
        const uint64_t word = *map_word(fs, last) & UINT64_MAX >> (63 - last % 64);
        if (word == 0) {
            end = last - last % 64;
            continue;
        }
        end = last - last % 64 + 64 - (uint32_t)__builtin_clzll(word);
        if (end - 1 < SPACE_GROUP_PAGES || (end - 1) % SPACE_GROUP_PAGES != 0)
            break;
    }
    super->end = end;
    if (super->free_hint > end)
        super->free_hint = end;
}

void space_give(struct privfs *fs, uint32_t page) {
    struct super *super = space_super(fs);
    *map_word(fs, page) &= ~(1ull << page % 64);
    super->used--;
    if (super->free_hint > page)
        super->free_hint = page;
    if (page + 1 == super->end)
        lower_end(fs);
}

void privfs_usage(const struct privfs *fs, struct privfs_usage *ret_usage) {
    *ret_usage = (struct privfs_usage){0};
    if (space_is_empty(fs))
        return;
    const struct super *super = space_super(fs);
    ret_usage->bytes = (uint64_t)super->used * SPACE_PAGE_BYTES;
    ret_usage->entries = super->entries;
    ret_usage->nameless = super->nameless;
    ret_usage->end_bytes = (uint64_t)super->end * SPACE_PAGE_BYTES;
}

bool privfs_is_free(const struct privfs *fs, uint64_t page) {
    if (space_is_empty(fs) || space_super(fs)->magic != SUPER_MAGIC)
        return false;
    return page >= space_super(fs)->end || (*map_word(fs, (uint32_t)page) >> page % 64 & 1) == 0;
}

void privfs_set_secret(struct privfs *fs, const uint64_t secret[2]) {
    if (space_is_empty(fs) && space_format(fs) == 0)
        memcpy(space_super(fs)->secret, secret, sizeof space_super(fs)->secret);
}
