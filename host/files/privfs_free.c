/* host/files/privfs_free.c: frees inodes, with all that they have. */
#include "privfs_internal.h"

void inode_free(struct privfs *fs, uint32_t ino) {
    struct super *super = space_super(fs);
    struct inode *inode = inode_at(fs, ino);
    data_drop(fs, inode);
    tree_drop(fs, inode);
    *inode = (struct inode){.generation = inode->generation + 1};
    if (inode->generation == UINT32_MAX)
        return;
    inode->parent = super->free_ino;
    super->free_ino = ino;
}

void privfs_release(struct privfs *fs, struct privfs_id id) {
    const struct inode *inode = inode_of(fs, id);
    if (inode == NULL || inode->links != 0)
        return;
    space_super(fs)->entries--;
    space_super(fs)->nameless--;
    inode_free(fs, id.ino);
}

void privfs_sweep(struct privfs *fs, bool (*is_open)(void *user, struct privfs_id id), void *user) {
    if (space_is_empty(fs))
        return;
    const struct super *super = space_super(fs);
    uint32_t left = super->nameless;
    for (uint32_t ino = 1; left > 0 && ino < super->inodes_end; ino++) {
        const struct inode *inode = inode_at(fs, ino);
        if (inode->kind == PRIVFS_NONE || inode->links != 0)
            continue;
        left--;
        if (!is_open(user, inode_id(fs, ino)))
            privfs_release(fs, inode_id(fs, ino));
    }
}
