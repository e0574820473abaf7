/*
 * host/files/privfs_check_dirs.c: the part of the check that is about directories: the order and
 * the keys of their trees, their names, what the names say of inodes, and that directories form
 * trees.
 */
#include <string.h>

#include "privfs_check.h"

struct dir_check {
    struct check *check;
    const struct inode *dir;
    uint32_t ino;
    uint32_t entries, whiteouts;
    /* The last record: where the next key begins; and the records that may have its name, too. */
    uint64_t next_key;
    const struct record *recent[TREE_KEY_PROBES];
};

/* What a name says of its inode. Counts the name. */
static bool check_named(struct dir_check *walk, const struct record *record) {
    struct check *check = walk->check;
    if (record->kind == PRIVFS_WHITEOUT) {
        walk->whiteouts++;
        return record->ino == 0 || check_fails(check, record, "a whiteout with an inode");
    }
    if (!check_is_inode(check, record->ino))
        return check_fails(check, record, "a name of no inode");
    const struct inode *inode = inode_at(&check->fs, record->ino);
    check->names[record->ino]++;
    if (inode->kind != record->kind || inode->links == 0)
        return check_fails(check, record, "a name of another kind of inode");
    if (inode->kind == PRIVFS_DIR &&
        (inode->parent != walk->ino || check->marks[record->ino] != 0 ||
         check->names[record->ino] > 1))
        return check_fails(check, record, "a directory with another parent");
    return true;
}

static bool check_record(struct dir_check *walk, const struct record *record) {
    struct check *check = walk->check;
    const uint64_t key = privfs_key_of(&check->fs, record->name, record->name_bytes);
    const uint32_t pad_bytes = record_bytes(record->name_bytes) - record->name_bytes -
                               (uint32_t)offsetof(struct record, name);
    static const char zeros[8];
    if (name_check(record->name, record->name_bytes) != 0)
        return check_fails(check, record, "a name that cannot be one");
    if (record->key < walk->next_key || record->key - key >= TREE_KEY_PROBES)
        return check_fails(check, record, "a name at a wrong place");
    if (memcmp(record->name + record->name_bytes, zeros, pad_bytes) != 0)
        return check_fails(check, record, "bytes behind a name");
    const uint32_t idx = (uint32_t)(record->key % TREE_KEY_PROBES);
    for (uint32_t i = 0; i < idx; i++) {
        const struct record *other = walk->recent[i];
        if (other != NULL && other->key == record->key - idx + i &&
            other->name_bytes == record->name_bytes &&
            memcmp(other->name, record->name, record->name_bytes) == 0)
            return check_fails(check, record, "a name that is there twice");
    }
    walk->recent[idx] = record;
    walk->next_key = record->key + 1;
    walk->entries++;
    check->entries++;
    return check_named(walk, record);
}

/* `key_end`: keys are less; UINT64_MAX is no key. */
static bool check_leaf(struct dir_check *walk, const struct leaf *leaf, uint64_t key_end) {
    struct check *check = walk->check;
    if (leaf->used_bytes == 0 || leaf->used_bytes > TREE_LEAF_BYTES || leaf->zero != 0)
        return check_fails(check, leaf, "a leaf of a directory with a wrong size");
    for (uint32_t offset = 0; offset < leaf->used_bytes;) {
        const struct record *record = (const void *)(leaf->records + offset);
        const uint32_t room_bytes = leaf->used_bytes - offset;
        if (room_bytes < record_bytes(1) || record_bytes(record->name_bytes) > room_bytes)
            return check_fails(check, leaf, "a leaf of a directory with a part of a name");
        if (!check_record(walk, record))
            return false;
        if (record->key >= key_end)
            return check_fails(check, record, "a name at a wrong place");
        offset += record_bytes(record->name_bytes);
    }
    return true;
}

static bool check_node(struct dir_check *walk, uint32_t page, uint32_t height, uint64_t key_end) {
    struct check *check = walk->check;
    const struct node *node = space_page(&check->fs, page);
    if (height == 1)
        return check_leaf(walk, space_page(&check->fs, page), key_end);
    if (node->count == 0 || node->count > TREE_NODE_CHILDREN || node->zero != 0)
        return check_fails(check, node, "a node of a directory with a wrong size");
    /* No child is empty, so a key that is not between its neighbours' leaves no key for a name. */
    for (uint32_t i = 0; i < node->count; i++) {
        const bool is_last = i + 1 == node->count || node->keys[i + 1] > key_end;
        const uint64_t child_end = is_last ? key_end : node->keys[i + 1];
        if (i > 0)
            walk->next_key = node->keys[i];
        if (!check_own(check, node->children[i], &node->children[i]) ||
            !check_node(walk, node->children[i], height - 1, child_end))
            return false;
    }
    return true;
}

bool check_dir(struct check *check, uint32_t ino) {
    struct dir_check walk = {.check = check, .ino = ino, .dir = inode_at(&check->fs, ino)};
    const struct inode *dir = walk.dir;
    if (dir->dir_height > TREE_HEIGHT_MAX || (dir->dir_height == 0) != (dir->dir_root == 0))
        return check_fails(check, dir, "a directory's tree that is too high");
    if (dir->dir_height > 0 && (!check_own(check, dir->dir_root, &dir->dir_root) ||
                                !check_node(&walk, dir->dir_root, dir->dir_height, UINT64_MAX)))
        return false;
    if (dir->entries != walk.entries || dir->whiteouts != walk.whiteouts)
        return check_fails(check, dir, "a directory with a wrong number of entries");
    return true;
}

/* Each directory is looked at twice at most: on a way up, and when the way is done. A name's parent
 * was checked, so a way leads from names to their directories. */
bool check_parents(struct check *check) {
    const uint32_t inodes_end = space_super(&check->fs)->inodes_end;
    for (uint32_t first = 1; first < inodes_end; first++) {
        if (inode_at(&check->fs, first)->kind != PRIVFS_DIR)
            continue;
        uint32_t ino = first;
        while (ino != 0 && check->marks[ino] == 0) {
            check->marks[ino] = MARK_PATH;
            ino = inode_at(&check->fs, ino)->parent;
        }
        if (ino != 0 && check->marks[ino] == MARK_PATH)
            return check_fails(check, inode_at(&check->fs, ino), "a directory below itself");
        for (ino = first; ino != 0 && check->marks[ino] == MARK_PATH;
             ino = inode_at(&check->fs, ino)->parent)
            check->marks[ino] = MARK_TREE;
    }
    return true;
}
