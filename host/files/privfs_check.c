/*
 * host/files/privfs_check.c: checks a private layer whose bytes come from a file: the super page,
 * the pages with inodes, each inode with its contents, the list of free inodes, the map of pages.
 * privfs_check_dirs.c checks directories. Pages and inodes are looked at once each. The
 * recursion is as deep as trees may be high.
 *
 * Deliberately not checked, because nothing depends on it: times, numbers shown to the guest, and
 * the bytes of free pages.
 */
#include <errno.h>
#include <string.h>

#include "auto.h"
#include "privfs_check.h"

static bool is_zeros(const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    return count == 0 || (at[0] == 0 && memcmp(at, at + 1, count - 1) == 0);
}

/* Pages of blocks below slots, which count from block `first`; `ends` is the first one that cannot
 * be there. */
static bool check_slots(struct check *check, const uint32_t *slots, uint32_t count, uint32_t height,
                        uint64_t first, uint64_t ends) {
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t block = first + ((uint64_t)i << BLOCKS_INDEX_BITS * height);
        if (slots[i] == 0)
            continue;
        if (block >= ends)
            return check_fails(check, &slots[i], "a block beyond the end");
        if (!check_own(check, slots[i], &slots[i]))
            return false;
        if (height > 0 && !check_slots(check, space_page(&check->fs, slots[i]), BLOCKS_INDEX_SLOTS,
                                       height - 1, block, ends))
            return false;
    }
    return true;
}

static bool check_blocks(struct check *check, const struct blocks *blocks, uint64_t ends) {
    if (blocks->height > BLOCKS_HEIGHT_MAX)
        return check_fails(check, blocks, "a tree of blocks that is too high");
    return check_slots(check, blocks->slots, BLOCKS_SLOTS, blocks->height, 0, ends);
}

/* Where the contents end, up to the end of what holds them: zeros. */
static bool check_tail(struct check *check, const struct inode *inode) {
    const uint8_t *page = inode->inside;
    uint64_t in_page = inode->bytes, page_bytes = INODE_INSIDE_BYTES;
    if ((inode->flags & INODE_IN_BLOCKS) != 0) {
        in_page = inode->bytes % SPACE_PAGE_BYTES;
        page_bytes = SPACE_PAGE_BYTES;
        const uint32_t last =
            blocks_find(&check->fs, &inode->blocks, inode->bytes / SPACE_PAGE_BYTES);
        if (in_page == 0 || last == 0)
            return true;
        page = space_page(&check->fs, last);
    }
    return is_zeros(page + in_page, page_bytes - in_page) ||
           check_fails(check, page + in_page, "bytes beyond the end of a file");
}

/* A target, or a directory's path below. */
static bool check_text(struct check *check, const struct inode *inode) {
    if (inode->bytes == 0)
        return true;
    if (inode->bytes > PRIVFS_TARGET_MAX_BYTES)
        return check_fails(check, inode, "a path that is too long");
    if ((inode->flags & INODE_IN_BLOCKS) != 0 && blocks_find(&check->fs, &inode->blocks, 0) == 0)
        return check_fails(check, inode, "a path without bytes");
    const char *text = data_text(&check->fs, inode);
    const bool is_right = inode->kind == PRIVFS_DIR ? name_is_path(text, inode->bytes)
                                                    : memchr(text, 0, inode->bytes) == NULL;
    return is_right || check_fails(check, inode, "a path that cannot be one");
}

static bool check_contents(struct check *check, const struct inode *inode) {
    const bool is_in_blocks = (inode->flags & INODE_IN_BLOCKS) != 0;
    if (inode->bytes > (is_in_blocks ? PRIVFS_FILE_MAX_BYTES : INODE_INSIDE_BYTES))
        return check_fails(check, inode, "a size that is too large");
    if (is_in_blocks && !check_blocks(check, &inode->blocks,
                                      (inode->bytes + SPACE_PAGE_BYTES - 1) / SPACE_PAGE_BYTES))
        return false;
    if (!check_tail(check, inode))
        return false;
    return inode->kind == PRIVFS_FILE || check_text(check, inode);
}

static bool check_inode(struct check *check, uint32_t ino) {
    const struct inode *inode = inode_at(&check->fs, ino);
    const bool is_dir = inode->kind == PRIVFS_DIR;
    if (inode->kind == PRIVFS_NONE) {
        const struct inode empty = {.generation = inode->generation, .parent = inode->parent};
        return memcmp(inode, &empty, sizeof empty) == 0 ||
               check_fails(check, inode, "a free inode that is not empty");
    }
    if (ino == 0 || inode->kind > PRIVFS_SYMLINK || (inode->flags & ~INODE_FLAGS_KNOWN) != 0 ||
        inode->zero != 0 || inode->zero2 != 0 || inode->generation == UINT32_MAX)
        return check_fails(check, inode, "an inode of no known kind");
    if (!is_dir &&
        (inode->parent != 0 || (inode->flags & INODE_HAS_LOWER) != 0 || inode->dir_height != 0 ||
         inode->dir_root != 0 || inode->entries != 0 || inode->whiteouts != 0))
        return check_fails(check, inode, "a file with what only directories have");
    if (is_dir && (inode->flags & INODE_HAS_LOWER) == 0 && inode->bytes != 0)
        return check_fails(check, inode, "a directory with contents");
    if (is_dir && inode->links == 0 &&
        (inode->entries != 0 || inode->parent != 0 || inode->flags != 0))
        return check_fails(check, inode, "a removed directory that is not empty");
    if (inode->links == 0) {
        check->entries++;
        check->nameless++;
    }
    return check_contents(check, inode);
}

/* The pages with inodes, without a hole: inode_at() relies on it. What was never given is zeros. */
static bool check_inode_pages(struct check *check) {
    const struct super *super = space_super(&check->fs);
    const uint64_t inodes_end = super->inodes_end > 1 ? super->inodes_end : 0;
    const uint64_t count = (inodes_end + INODES_PER_PAGE - 1) / INODES_PER_PAGE;
    if (super->inodes_end == 0 || count > super->end)
        return check_fails(check, &super->inodes_end, "more inodes than there is room for");
    if (!check_blocks(check, &super->inodes, count))
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (blocks_find(&check->fs, &super->inodes, i) == 0)
            return check_fails(check, &super->inodes, "a page with inodes is missing");
    for (uint64_t ino = inodes_end; ino % INODES_PER_PAGE != 0; ino++)
        if (!is_zeros(inode_at(&check->fs, (uint32_t)ino), sizeof(struct inode)))
            return check_fails(check, &super->inodes_end, "an inode beyond the last one");
    return true;
}

static bool check_free_inodes(struct check *check) {
    const struct super *super = space_super(&check->fs);
    for (uint32_t ino = super->free_ino; ino != 0; ino = inode_at(&check->fs, ino)->parent) {
        if (ino >= super->inodes_end)
            return check_fails(check, &super->free_ino, "a list of free inodes that leads out");
        const struct inode *inode = inode_at(&check->fs, ino);
        if (inode->kind != PRIVFS_NONE || check->marks[ino] != 0 || inode->generation == UINT32_MAX)
            return check_fails(check, inode, "a list of free inodes with one that is not free");
        check->marks[ino] = MARK_FREE;
    }
    for (uint32_t ino = 1; ino < super->inodes_end; ino++) {
        const struct inode *inode = inode_at(&check->fs, ino);
        if (inode->kind == PRIVFS_NONE && check->marks[ino] == 0 &&
            (inode->generation != UINT32_MAX || inode->parent != 0))
            return check_fails(check, inode, "a free inode that is not in the list");
    }
    return true;
}

static bool check_roots(struct check *check) {
    const struct super *super = space_super(&check->fs);
    for (uint32_t i = 0; i < PRIVFS_ROOTS_MAX; i++) {
        const uint32_t ino = super->roots[i];
        if (ino == 0)
            continue;
        if (!check_is_inode(check, ino) || check->marks[ino] != 0)
            return check_fails(check, &super->roots[i], "a root that is none");
        const struct inode *inode = inode_at(&check->fs, ino);
        if (inode->kind != PRIVFS_DIR || inode->links != 1 || inode->parent != ino)
            return check_fails(check, &super->roots[i], "a root that is no directory");
        check->marks[ino] = MARK_ROOT;
    }
    return true;
}

static bool check_inodes(struct check *check) {
    const struct super *super = space_super(&check->fs);
    for (uint32_t ino = 0; super->inodes_end > 1 && ino < super->inodes_end; ino++)
        if (!check_inode(check, ino))
            return false;
    if (!check_free_inodes(check) || !check_roots(check))
        return false;
    for (uint32_t ino = 1; ino < super->inodes_end; ino++)
        if (inode_at(&check->fs, ino)->kind == PRIVFS_DIR && !check_dir(check, ino))
            return false;
    for (uint32_t ino = 1; ino < super->inodes_end; ino++) {
        const struct inode *inode = inode_at(&check->fs, ino);
        if (inode->kind != PRIVFS_NONE && check->marks[ino] != MARK_ROOT &&
            inode->links != check->names[ino])
            return check_fails(check, inode, "an inode with a wrong number of names");
    }
    return check_parents(check);
}

/* The maps say what was found to be in use. */
static bool check_maps(struct check *check) {
    const struct super *super = space_super(&check->fs);
    for (uint32_t page = 0; page < super->end; page++) {
        const uint8_t *map = space_page(&check->fs, space_map_of(page));
        const uint8_t *byte = &map[page % SPACE_GROUP_PAGES / 8];
        const bool is_used =
            page == 0 || check_is_map(page) || (check->owned[page / 8] >> page % 8 & 1) != 0;
        if ((*byte >> page % 8 & 1) != is_used)
            return check_fails(check, byte, "a map of pages that is wrong");
        if (!is_used && page < super->free_hint)
            return check_fails(check, &super->free_hint, "a free page below the first one");
        check->used += page == 0 || check_is_map(page);
        if (page + 1 < super->end)
            continue;
        if (!is_used || (check_is_map(page) && page != 1))
            return check_fails(check, &super->end, "an end that is wrong");
        const uint32_t next = page % SPACE_GROUP_PAGES + 1; /* in the map of the last page */
        if (*byte >> page % 8 >> 1 != 0 ||
            !is_zeros(&map[(next + 7) / 8], SPACE_PAGE_BYTES - (next + 7) / 8))
            return check_fails(check, byte, "a page in use beyond the end");
    }
    return true;
}

static bool check_super(struct check *check, uint64_t bytes) {
    const struct super *super = space_super(&check->fs);
    if (super->magic != SUPER_MAGIC || super->version != SUPER_VERSION || super->zero != 0)
        return check_fails(check, super, "not a private layer, or one of another version");
    if (super->end < 2 || super->end > bytes / SPACE_PAGE_BYTES || super->free_hint > super->end)
        return check_fails(check, &super->end, "more pages than there are");
    return true;
}

static int check_all(struct check *check) {
    const struct super *super = space_super(&check->fs);
    auto_free uint8_t *owned = calloc(super->end / 8u + 1, 1);
    check->owned = owned;
    if (owned == NULL)
        return -ENOMEM;
    if (!check_inode_pages(check))
        return -EBADMSG;
    auto_free uint32_t *names = calloc(super->inodes_end, sizeof *names);
    auto_free uint8_t *marks = calloc(super->inodes_end, 1);
    check->names = names;
    check->marks = marks;
    if (names == NULL || marks == NULL)
        return -ENOMEM;
    if (!check_inodes(check) || !check_maps(check))
        return -EBADMSG;
    if (check->used == super->used && check->entries == super->entries &&
        check->nameless == super->nameless)
        return 0;
    check_fails(check, super, "counts that are wrong");
    return -EBADMSG;
}

int privfs_check(const uint8_t *base, uint64_t bytes, const char **ret_what, uint64_t *ret_offset) {
    struct check check = {.fs = {.base = (uint8_t *)(uintptr_t)base, .covered_bytes = bytes}};
    int status = 0;
    if (bytes % SPACE_PAGE_BYTES != 0) {
        check.what = "a part of a page";
        check.offset = bytes;
        status = -EBADMSG;
    } else if (bytes > 0 && !is_zeros(base, SPACE_PAGE_BYTES)) {
        status = check_super(&check, bytes) ? check_all(&check) : -EBADMSG;
    }
    if (status == -EBADMSG) {
        *ret_what = check.what;
        *ret_offset = check.offset;
    }
    return status;
}
