/*
 * host/files/privfs_inode.c: inodes: taken, freed, and what is known of them. A free inode is in a
 * list; its generation says how often it was freed. An inode whose generation is at its end is
 * never given again, so an id never comes to name another file.
 */
#include <errno.h>
#include <string.h>

#include "privfs_internal.h"

struct inode *inode_at(const struct privfs *fs, uint32_t ino) {
    const uint32_t page = blocks_find(fs, &space_super(fs)->inodes, ino / INODES_PER_PAGE);
    return (struct inode *)space_page(fs, page) + ino % INODES_PER_PAGE;
}

struct inode *inode_of(const struct privfs *fs, struct privfs_id id) {
    if (space_is_empty(fs) || id.ino == 0 || id.ino >= space_super(fs)->inodes_end)
        return NULL;
    struct inode *inode = inode_at(fs, id.ino);
    return inode->kind != PRIVFS_NONE && inode->generation == id.generation ? inode : NULL;
}

struct privfs_id inode_id(const struct privfs *fs, uint32_t ino) {
    return (struct privfs_id){ino, inode_at(fs, ino)->generation};
}

int inode_dir_of(const struct privfs *fs, struct privfs_id id, struct inode **ret_dir) {
    struct inode *inode = inode_of(fs, id);
    if (inode == NULL)
        return -EBADF;
    if (inode->kind != PRIVFS_DIR)
        return -ENOTDIR;
    *ret_dir = inode;
    return 0;
}

uint64_t inode_need(const struct privfs *fs) {
    const struct super *super = space_super(fs);
    const uint64_t block = super->inodes_end / INODES_PER_PAGE;
    return super->free_ino != 0 ? 0 : blocks_missing(fs, &super->inodes, block, block + 1);
}

uint32_t inode_take(struct privfs *fs, enum privfs_kind kind) {
    struct super *super = space_super(fs);
    uint32_t ino = super->free_ino;
    bool is_new = false;
    if (ino == 0) {
        ino = super->inodes_end++;
        const uint32_t page = blocks_make(fs, &super->inodes, ino / INODES_PER_PAGE, &is_new);
        if (is_new)
            memset(space_page(fs, page), 0, SPACE_PAGE_BYTES);
    } else {
        super->free_ino = inode_at(fs, ino)->parent;
    }
    struct inode *inode = inode_at(fs, ino);
    inode->kind = (uint8_t)kind;
    inode->parent = 0;
    inode->links = 1;
    inode->atime_ns = inode->mtime_ns = inode->ctime_ns = fs->now_ns;
    return ino;
}

int privfs_root(struct privfs *fs, uint32_t idx, struct privfs_id *ret_id) {
    if (idx >= PRIVFS_ROOTS_MAX)
        return -EINVAL;
    int status = space_format(fs);
    if (status != 0)
        return status;
    struct super *super = space_super(fs);
    if (super->roots[idx] == 0) {
        status = space_reserve(fs, inode_need(fs));
        if (status != 0)
            return status;
        const uint32_t ino = inode_take(fs, PRIVFS_DIR);
        struct inode *inode = inode_at(fs, ino);
        inode->parent = ino;
        inode->flags = INODE_HAS_LOWER;
        super->roots[idx] = ino;
    }
    *ret_id = inode_id(fs, super->roots[idx]);
    return 0;
}

int privfs_find_root(const struct privfs *fs, uint32_t idx, struct privfs_id *ret_id) {
    if (idx >= PRIVFS_ROOTS_MAX)
        return -EINVAL;
    if (space_is_empty(fs) || space_super(fs)->roots[idx] == 0)
        return -ENOENT;
    *ret_id = inode_id(fs, space_super(fs)->roots[idx]);
    return 0;
}

int privfs_parent(const struct privfs *fs, struct privfs_id dir, struct privfs_id *ret_parent) {
    struct inode *inode;
    int status = inode_dir_of(fs, dir, &inode);
    if (status != 0)
        return status;
    if (inode->parent == 0)
        return -ENOENT;
    *ret_parent = inode_id(fs, inode->parent);
    return 0;
}

int privfs_stat(const struct privfs *fs, struct privfs_id id, struct privfs_stat *ret_stat) {
    const struct inode *inode = inode_of(fs, id);
    if (inode == NULL)
        return -EBADF;
    *ret_stat = (struct privfs_stat){
        .kind = (enum privfs_kind)inode->kind,
        .links = inode->links,
        .bytes = inode->kind == PRIVFS_DIR ? 0 : inode->bytes,
        .shown_ino = inode->shown_ino != 0 ? inode->shown_ino : id.ino,
        .atime_ns = inode->atime_ns,
        .mtime_ns = inode->mtime_ns,
        .ctime_ns = inode->ctime_ns,
        .entries = inode->entries,
    };
    return 0;
}

int privfs_set_times(struct privfs *fs, struct privfs_id id, uint64_t atime_ns, uint64_t mtime_ns) {
    struct inode *inode = inode_of(fs, id);
    if (inode == NULL)
        return -EBADF;
    if (atime_ns != UINT64_MAX)
        inode->atime_ns = atime_ns;
    if (mtime_ns != UINT64_MAX)
        inode->mtime_ns = mtime_ns;
    inode->ctime_ns = fs->now_ns;
    return 0;
}

int privfs_set_shown_ino(struct privfs *fs, struct privfs_id id, uint64_t shown_ino) {
    struct inode *inode = inode_of(fs, id);
    if (inode == NULL)
        return -EBADF;
    inode->shown_ino = shown_ino;
    return 0;
}
