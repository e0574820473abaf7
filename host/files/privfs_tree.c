/*
 * host/files/privfs_tree.c: a directory's entries: a B+-tree by key. Leaves hold records of
 * different sizes. A full page is split in halves, of which each has room for the longest record. A
 * page is freed when it is empty; deliberately never merged with its neighbour, because that would
 * write more pages than most removals need. A leaf is zeros behind its records, so that it keeps no
 * names that are gone.
 */
#include <string.h>

#include "privfs_internal.h"

static struct leaf *leaf_at(const struct privfs *fs, uint32_t page) {
    return space_page(fs, page);
}

static struct node *node_at(const struct privfs *fs, uint32_t page) {
    return space_page(fs, page);
}

static struct record *record_at(struct leaf *leaf, uint32_t offset) {
    return (void *)(leaf->records + offset);
}

/* The last child whose keys may be this small. */
static uint32_t child_for(const struct node *node, uint64_t key) {
    uint32_t low = 0, high = node->count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (node->keys[middle] <= key)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void tree_seek(const struct privfs *fs, const struct inode *dir, uint64_t key,
               struct tree_path *ret_path) {
    ret_path->height = dir->dir_height;
    ret_path->offset = 0;
    if (dir->dir_height == 0)
        return;
    uint32_t page = dir->dir_root, level = 0;
    for (; level + 1 < dir->dir_height; level++) {
        const struct node *node = node_at(fs, page);
        ret_path->pages[level] = page;
        ret_path->idxs[level] = child_for(node, key);
        page = node->children[ret_path->idxs[level]];
    }
    ret_path->pages[level] = page;
    struct leaf *leaf = leaf_at(fs, page);
    uint32_t offset = 0;
    while (offset < leaf->used_bytes && record_at(leaf, offset)->key < key)
        offset += record_bytes(record_at(leaf, offset)->name_bytes);
    ret_path->offset = offset;
}

static bool next_leaf(const struct privfs *fs, struct tree_path *path) {
    uint32_t level = path->height - 1;
    do {
        if (level == 0)
            return false;
        level--;
    } while (path->idxs[level] + 1 == node_at(fs, path->pages[level])->count);
    path->idxs[level]++;
    for (; level + 1 < path->height; level++) {
        path->pages[level + 1] = node_at(fs, path->pages[level])->children[path->idxs[level]];
        path->idxs[level + 1] = 0;
    }
    path->offset = 0;
    return true;
}

struct record *tree_record(const struct privfs *fs, struct tree_path *path) {
    if (path->height == 0)
        return NULL;
    if (path->offset >= leaf_at(fs, path->pages[path->height - 1])->used_bytes &&
        !next_leaf(fs, path))
        return NULL;
    return record_at(leaf_at(fs, path->pages[path->height - 1]), path->offset);
}

void tree_step(const struct record *record, struct tree_path *path) {
    path->offset += record_bytes(record->name_bytes);
}

uint64_t tree_need(const struct privfs *fs, const struct tree_path *path, size_t name_bytes) {
    if (path->height == 0)
        return 1;
    uint32_t level = path->height - 1;
    if (leaf_at(fs, path->pages[level])->used_bytes + record_bytes(name_bytes) <= TREE_LEAF_BYTES)
        return 0;
    uint64_t need = 1;
    for (; level > 0; need++)
        if (node_at(fs, path->pages[--level])->count < TREE_NODE_CHILDREN)
            return need;
    return path->height < TREE_HEIGHT_MAX ? need + 1 : UINT32_MAX; /* more than there can be */
}

static void place_child(struct node *node, uint32_t idx, uint64_t key, uint32_t child) {
    const uint32_t behind = node->count - idx;
    memmove(&node->keys[idx + 1], &node->keys[idx], behind * sizeof node->keys[0]);
    memmove(&node->children[idx + 1], &node->children[idx], behind * sizeof node->children[0]);
    node->keys[idx] = key;
    node->children[idx] = child;
    node->count++;
}

/* Move the upper half to a new node. Returns its page. */
static uint32_t split_node(struct privfs *fs, struct node *node) {
    const uint32_t half = node->count / 2, page = space_take_zeros(fs);
    struct node *right = node_at(fs, page);
    right->count = node->count - half;
    memcpy(right->keys, &node->keys[half], right->count * sizeof right->keys[0]);
    memcpy(right->children, &node->children[half], right->count * sizeof right->children[0]);
    node->count = half;
    return page;
}

/* Insert a page, whose keys start at `key`, behind the one at the path's lowest level. */
static void insert_page(struct privfs *fs, struct inode *dir, const struct tree_path *path,
                        uint64_t key, uint32_t page) {
    for (uint32_t level = path->height - 1; level-- > 0;) {
        struct node *node = node_at(fs, path->pages[level]);
        uint32_t idx = path->idxs[level] + 1;
        if (node->count < TREE_NODE_CHILDREN) {
            place_child(node, idx, key, page);
            return;
        }
        const uint32_t right_page = split_node(fs, node);
        struct node *right = node_at(fs, right_page);
        const uint64_t right_key = right->keys[0];
        if (idx > node->count)
            place_child(right, idx - node->count, key, page);
        else
            place_child(node, idx, key, page);
        key = right_key;
        page = right_page;
    }
    const uint32_t root_page = space_take_zeros(fs);
    struct node *root = node_at(fs, root_page);
    root->count = 2;
    root->children[0] = dir->dir_root;
    root->keys[1] = key;
    root->children[1] = page;
    dir->dir_root = root_page;
    dir->dir_height++;
}

/* Make room in a full leaf. Returns the leaf where the path's place is now; sets its offset. */
static struct leaf *split_leaf(struct privfs *fs, struct inode *dir, struct tree_path *path) {
    struct leaf *leaf = leaf_at(fs, path->pages[path->height - 1]);
    uint32_t half = 0;
    while (half < TREE_LEAF_BYTES / 2)
        half += record_bytes(record_at(leaf, half)->name_bytes);
    const uint32_t page = space_take_zeros(fs);
    struct leaf *right = leaf_at(fs, page);
    right->used_bytes = leaf->used_bytes - half;
    memcpy(right->records, leaf->records + half, right->used_bytes);
    memset(leaf->records + half, 0, right->used_bytes);
    leaf->used_bytes = half;
    insert_page(fs, dir, path, record_at(right, 0)->key, page);
    if (path->offset <= half)
        return leaf;
    path->offset -= half;
    return right;
}

void tree_insert(struct privfs *fs, struct inode *dir, struct tree_path *path,
                 const struct record *record, const char *name) {
    const uint32_t bytes = record_bytes(record->name_bytes);
    if (path->height == 0) {
        dir->dir_root = path->pages[0] = space_take_zeros(fs);
        dir->dir_height = 1;
        path->height = 1;
    }
    struct leaf *leaf = leaf_at(fs, path->pages[path->height - 1]);
    if (leaf->used_bytes + bytes > TREE_LEAF_BYTES)
        leaf = split_leaf(fs, dir, path);
    uint8_t *place = leaf->records + path->offset;
    memmove(place + bytes, place, leaf->used_bytes - path->offset);
    memset(place + bytes - 8, 0, 8);
    memcpy(place, record, offsetof(struct record, name));
    memcpy(place + offsetof(struct record, name), name, record->name_bytes);
    leaf->used_bytes += bytes;
}

static void remove_child(struct node *node, uint32_t idx) {
    const uint32_t behind = --node->count - idx;
    memmove(&node->keys[idx], &node->keys[idx + 1], behind * sizeof node->keys[0]);
    memmove(&node->children[idx], &node->children[idx + 1], behind * sizeof node->children[0]);
}

void tree_remove(struct privfs *fs, struct inode *dir, const struct tree_path *path) {
    uint32_t level = path->height - 1;
    struct leaf *leaf = leaf_at(fs, path->pages[level]);
    uint8_t *place = leaf->records + path->offset;
    const uint32_t bytes = record_bytes(record_at(leaf, path->offset)->name_bytes);
    leaf->used_bytes -= bytes;
    memmove(place, place + bytes, leaf->used_bytes - path->offset);
    memset(leaf->records + leaf->used_bytes, 0, bytes);
    if (leaf->used_bytes > 0)
        return;
    for (;; level--) {
        space_give(fs, path->pages[level]);
        if (level == 0) {
            dir->dir_root = 0;
            dir->dir_height = 0;
            return;
        }
        struct node *above = node_at(fs, path->pages[level - 1]);
        remove_child(above, path->idxs[level - 1]);
        if (above->count > 0)
            break;
    }
    while (dir->dir_height > 1 && node_at(fs, dir->dir_root)->count == 1) {
        const uint32_t root_page = dir->dir_root;
        dir->dir_root = node_at(fs, root_page)->children[0];
        dir->dir_height--;
        space_give(fs, root_page);
    }
}

/* As deep as the tree is high, at most TREE_HEIGHT_MAX. */
static void drop_page(struct privfs *fs, uint32_t page, uint32_t height) {
    if (height > 1)
        for (uint32_t i = 0; i < node_at(fs, page)->count; i++)
            drop_page(fs, node_at(fs, page)->children[i], height - 1);
    space_give(fs, page);
}

void tree_drop(struct privfs *fs, struct inode *dir) {
    if (dir->dir_height != 0)
        drop_page(fs, dir->dir_root, dir->dir_height);
    dir->dir_root = 0;
    dir->dir_height = 0;
}
