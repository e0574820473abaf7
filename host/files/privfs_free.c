/* host/files/privfs_free.c: frees an inode, with all that it has. */
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
    inode_free(fs, id.ino);
}
