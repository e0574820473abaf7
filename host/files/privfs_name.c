/*
 * host/files/privfs_name.c: names in directories. Each operation finds the slots of its names, the
 * places where they are or would be; checks everything; reserves pages and entries; then changes.
 */
#include <errno.h>
#include <string.h>

#include "privfs_internal.h"

#define LINKS_MAX 65000u

/* Where a name is, or would be. */
struct slot {
    struct inode *dir;
    uint32_t dir_ino;
    const char *name;
    uint8_t name_bytes;
    struct record *record; /* NULL: there is none */
    uint64_t key;          /* of the record, or for a new one; 0: no key is left */
    struct tree_path path; /* of the record, or where a new one goes */
};

static void slot_seek(const struct privfs *fs, struct slot *slot) {
    const uint64_t key = privfs_key_of(fs, slot->name, slot->name_bytes);
    uint64_t free_key = key;
    slot->record = NULL;
    slot->key = 0;
    tree_seek(fs, slot->dir, key, &slot->path);
    for (;;) {
        struct record *record = tree_record(fs, &slot->path);
        if (record == NULL || record->key - key >= TREE_KEY_PROBES)
            break;
        if (record->name_bytes == slot->name_bytes &&
            memcmp(record->name, slot->name, slot->name_bytes) == 0) {
            slot->record = record;
            slot->key = record->key;
            return;
        }
        free_key += record->key == free_key;
        tree_step(record, &slot->path);
    }
    if (free_key - key >= TREE_KEY_PROBES)
        return;
    slot->key = free_key;
    tree_seek(fs, slot->dir, free_key, &slot->path);
}

static int slot_find(const struct privfs *fs, const struct privfs_place *place,
                     struct slot *ret_slot) {
    int status = inode_dir_of(fs, place->dir, &ret_slot->dir);
    if (status == 0)
        status = name_check(place->name, place->name_bytes);
    if (status != 0)
        return status;
    ret_slot->dir_ino = place->dir.ino;
    ret_slot->name = place->name;
    ret_slot->name_bytes = (uint8_t)place->name_bytes;
    slot_seek(fs, ret_slot);
    return 0;
}

static bool has_entry(const struct slot *slot) {
    return slot->record != NULL && slot->record->kind != PRIVFS_WHITEOUT;
}

/* For a new entry: -ENOENT in a directory without a name, -EEXIST. */
static int slot_find_free(const struct privfs *fs, const struct privfs_place *place,
                          struct slot *ret_slot) {
    int status = slot_find(fs, place, ret_slot);
    if (status != 0)
        return status;
    if (ret_slot->dir->links == 0)
        return -ENOENT;
    return has_entry(ret_slot) ? -EEXIST : 0;
}

/* For what slot_put() needs, and `pages` more. `entries`: how many more there are afterwards. */
static int slot_reserve(struct privfs *fs, const struct slot *slot, uint64_t pages,
                        uint64_t entries) {
    if (slot->record == NULL) {
        if (slot->key == 0)
            return -ENOSPC;
        pages += tree_need(fs, &slot->path, slot->name_bytes);
    }
    int status = space_reserve_entries(fs, entries);
    return status != 0 ? status : space_reserve(fs, pages);
}

static void set_changed(const struct privfs *fs, struct inode *dir) {
    dir->mtime_ns = dir->ctime_ns = fs->now_ns;
}

/* Name an inode, or a whiteout (ino 0), over what has the name. */
static void slot_put(struct privfs *fs, struct slot *slot, uint32_t ino, enum privfs_kind kind) {
    struct inode *dir = slot->dir;
    struct record *there = slot->record;
    dir->whiteouts += kind == PRIVFS_WHITEOUT;
    if (there != NULL) {
        dir->whiteouts -= there->kind == PRIVFS_WHITEOUT;
        there->ino = ino;
        there->kind = (uint8_t)kind;
    } else {
        const struct record record = {slot->key, ino, (uint8_t)kind, slot->name_bytes};
        tree_insert(fs, dir, &slot->path, &record, slot->name);
        dir->entries++;
        space_super(fs)->entries++;
    }
    set_changed(fs, dir);
}

static void slot_clear(struct privfs *fs, struct slot *slot, bool is_hidden) {
    if (is_hidden) {
        slot_put(fs, slot, 0, PRIVFS_WHITEOUT);
        return;
    }
    slot->dir->whiteouts -= slot->record->kind == PRIVFS_WHITEOUT;
    tree_remove(fs, slot->dir, &slot->path);
    slot->dir->entries--;
    space_super(fs)->entries--;
    set_changed(fs, slot->dir);
}

static bool has_entries(const struct inode *inode) {
    return inode->entries != inode->whiteouts;
}

/* An inode lost a name. */
static void drop_link(struct privfs *fs, uint32_t ino, bool is_open) {
    struct super *super = space_super(fs);
    struct inode *inode = inode_at(fs, ino);
    inode->links--;
    inode->ctime_ns = fs->now_ns;
    if (inode->kind == PRIVFS_DIR) {
        super->entries -= inode->entries;
        tree_drop(fs, inode);
        data_drop(fs, inode);
        inode->flags &= (uint8_t)~INODE_HAS_LOWER;
        inode->entries = inode->whiteouts = 0;
        inode->parent = 0;
    }
    if (inode->links > 0)
        return;
    if (!is_open) {
        inode_free(fs, ino);
        return;
    }
    super->entries++;
    super->nameless++;
}

static void fill_entry(const struct privfs *fs, const struct record *record,
                       struct privfs_entry *ret_entry) {
    *ret_entry = (struct privfs_entry){.kind = (enum privfs_kind)record->kind, .key = record->key};
    if (record->ino != 0)
        ret_entry->id = inode_id(fs, record->ino);
}

int privfs_lookup(const struct privfs *fs, struct privfs_id dir, const char *name,
                  size_t name_bytes, struct privfs_entry *ret_entry) {
    struct slot slot;
    int status = slot_find(fs, &(struct privfs_place){dir, name, name_bytes}, &slot);
    if (status != 0)
        return status;
    if (slot.record == NULL)
        return -ENOENT;
    fill_entry(fs, slot.record, ret_entry);
    return 0;
}

int privfs_create(struct privfs *fs, struct privfs_id dir, const char *name, size_t name_bytes,
                  enum privfs_kind kind, struct privfs_id *ret_id) {
    struct slot slot;
    if (kind != PRIVFS_FILE && kind != PRIVFS_DIR && kind != PRIVFS_SYMLINK)
        return -EINVAL;
    int status = slot_find_free(fs, &(struct privfs_place){dir, name, name_bytes}, &slot);
    if (status == 0)
        status = slot_reserve(fs, &slot, inode_need(fs), slot.record == NULL);
    if (status != 0)
        return status;
    const uint32_t ino = inode_take(fs, kind);
    if (kind == PRIVFS_DIR)
        inode_at(fs, ino)->parent = slot.dir_ino;
    slot_put(fs, &slot, ino, kind);
    *ret_id = inode_id(fs, ino);
    return 0;
}

int privfs_link(struct privfs *fs, struct privfs_id id, struct privfs_id dir, const char *name,
                size_t name_bytes) {
    struct inode *inode = inode_of(fs, id);
    struct slot slot;
    if (inode == NULL)
        return -EBADF;
    if (inode->kind == PRIVFS_DIR)
        return -EPERM;
    int status = slot_find_free(fs, &(struct privfs_place){dir, name, name_bytes}, &slot);
    if (status == 0 && inode->links == 0)
        status = -ENOENT;
    if (status == 0 && inode->links >= LINKS_MAX)
        status = -EMLINK;
    if (status == 0)
        status = slot_reserve(fs, &slot, 0, slot.record == NULL);
    if (status != 0)
        return status;
    inode->links++;
    inode->ctime_ns = fs->now_ns;
    slot_put(fs, &slot, id.ino, (enum privfs_kind)inode->kind);
    return 0;
}

int privfs_hide(struct privfs *fs, struct privfs_id dir, const char *name, size_t name_bytes) {
    struct slot slot;
    int status = slot_find_free(fs, &(struct privfs_place){dir, name, name_bytes}, &slot);
    if (status == 0 && slot.record != NULL)
        status = -EEXIST;
    if (status == 0)
        status = slot_reserve(fs, &slot, 0, 1);
    if (status == 0)
        slot_put(fs, &slot, 0, PRIVFS_WHITEOUT);
    return status;
}

/* How many names and open inodes there are more when what a slot names has lost the name, of which
 * `names` are known; 0 if there are fewer. */
static uint64_t entries_more(const struct privfs *fs, const struct slot *slot,
                             struct privfs_removal how, int64_t names) {
    if (has_entry(slot)) {
        const struct inode *inode = inode_at(fs, slot->record->ino);
        names += how.is_open && inode->links == 1;
        names -= inode->entries; /* whiteouts of a directory */
    }
    return names > 0 ? (uint64_t)names : 0;
}

/* Whether what a slot names can lose the name. */
static int check_removable(const struct privfs *fs, const struct slot *slot) {
    return has_entry(slot) && has_entries(inode_at(fs, slot->record->ino)) ? -ENOTEMPTY : 0;
}

int privfs_remove(struct privfs *fs, struct privfs_id dir, const char *name, size_t name_bytes,
                  struct privfs_removal how) {
    struct slot slot;
    int status = slot_find(fs, &(struct privfs_place){dir, name, name_bytes}, &slot);
    if (status == 0)
        status = slot.record == NULL ? -ENOENT : check_removable(fs, &slot);
    if (status != 0)
        return status;
    status = space_reserve_entries(fs, entries_more(fs, &slot, how, how.leave_whiteout ? 0 : -1));
    if (status != 0)
        return status;
    const uint32_t ino = slot.record->ino;
    slot_clear(fs, &slot, how.leave_whiteout);
    if (ino != 0)
        drop_link(fs, ino, how.is_open);
    return 0;
}

/* Whether a directory is another one, or lies below it. */
static bool is_below(const struct privfs *fs, uint32_t ino, uint32_t above) {
    while (ino != above) {
        const uint32_t parent = inode_at(fs, ino)->parent;
        if (parent == ino || parent == 0)
            return false;
        ino = parent;
    }
    return true;
}

static int check_rename(struct privfs *fs, const struct slot *from, const struct slot *to,
                        struct privfs_removal how) {
    if (to->dir->links == 0)
        return -ENOENT;
    if (from->record->kind == PRIVFS_DIR && is_below(fs, to->dir_ino, from->record->ino))
        return -EINVAL;
    const int64_t names = how.leave_whiteout - (to->record != NULL);
    int status = check_removable(fs, to);
    return status != 0 ? status : slot_reserve(fs, to, 0, entries_more(fs, to, how, names));
}

int privfs_rename(struct privfs *fs, const struct privfs_place *from, const struct privfs_place *to,
                  struct privfs_removal how) {
    struct slot old, new;
    int status = slot_find(fs, from, &old);
    if (status == 0)
        status = slot_find(fs, to, &new);
    if (status == 0 && !has_entry(&old))
        status = -ENOENT;
    if (status != 0)
        return status;
    const uint32_t ino = old.record->ino, replaced = has_entry(&new) ? new.record->ino : 0;
    if (replaced == ino)
        return 0;
    status = check_rename(fs, &old, &new, how);
    if (status != 0)
        return status;
    struct inode *inode = inode_at(fs, ino);
    slot_put(fs, &new, ino, (enum privfs_kind)inode->kind);
    slot_seek(fs, &old); /* the tree may have changed */
    slot_clear(fs, &old, how.leave_whiteout);
    if (inode->kind == PRIVFS_DIR)
        inode->parent = new.dir_ino;
    inode->ctime_ns = fs->now_ns;
    if (replaced != 0)
        drop_link(fs, replaced, how.is_open);
    return 0;
}

int privfs_next(const struct privfs *fs, struct privfs_id dir, uint64_t after_key,
                struct privfs_entry *ret_entry, char *ret_name, size_t *ret_name_bytes) {
    struct inode *inode;
    struct tree_path path;
    int status = inode_dir_of(fs, dir, &inode);
    if (status != 0)
        return status;
    if (after_key == UINT64_MAX)
        return -ENOENT;
    tree_seek(fs, inode, after_key + 1, &path);
    const struct record *record = tree_record(fs, &path);
    if (record == NULL)
        return -ENOENT;
    fill_entry(fs, record, ret_entry);
    memcpy(ret_name, record->name, record->name_bytes);
    ret_name[record->name_bytes] = '\0';
    *ret_name_bytes = record->name_bytes;
    return 0;
}
