/* tests/support/privfs_model.c: the model itself, and the comparison. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "privfs_model.h"

void model_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    abort();
}

const char *model_name(uint32_t idx, size_t *ret_bytes) {
    static char names[MODEL_NAMES][PRIVFS_NAME_MAX_BYTES + 1];
    char *name = names[idx];
    if (name[0] == '\0') {
        memset(name, 'a' + (int)(idx % 26),
               idx % 3 != 0 ? PRIVFS_NAME_MAX_BYTES - 1 - idx : idx % 9);
        snprintf(name + strlen(name), 4, "%02u", idx % 100);
    }
    *ret_bytes = strlen(name);
    return name;
}

void model_text(char *out, size_t bytes, uint8_t seed) {
    for (size_t i = 0; i < bytes; i++)
        out[i] = i % 100 == 99 && i + 1 < bytes ? '/' : (char)('a' + (i * 7 + seed) % 26);
}

struct model_entry *model_find(struct model *model, uint32_t dir, uint32_t name) {
    for (uint32_t i = 0; i < MODEL_ENTRIES; i++) {
        struct model_entry *entry = &model->entries[i];
        if (entry->kind != PRIVFS_NONE && entry->dir == dir && entry->name == name)
            return entry;
    }
    return NULL;
}

struct model_entry *model_entry_new(struct model *model) {
    for (uint32_t i = 0; i < MODEL_ENTRIES; i++)
        if (model->entries[i].kind == PRIVFS_NONE)
            return &model->entries[i];
    return NULL;
}

uint32_t model_inode_new(struct model *model) {
    for (uint32_t i = 1; i < MODEL_INODES; i++)
        if (model->inodes[i].kind == PRIVFS_NONE)
            return i;
    return 0;
}

uint32_t model_count(const struct model *model, uint32_t dir, uint32_t *ret_whiteouts) {
    uint32_t count = 0;
    *ret_whiteouts = 0;
    for (uint32_t i = 0; i < MODEL_ENTRIES; i++) {
        const struct model_entry *entry = &model->entries[i];
        if (entry->kind == PRIVFS_NONE || entry->dir != dir)
            continue;
        count++;
        *ret_whiteouts += entry->kind == PRIVFS_WHITEOUT;
    }
    return count;
}

uint64_t model_total(const struct model *model) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < MODEL_ENTRIES; i++)
        total += model->entries[i].kind != PRIVFS_NONE;
    for (uint32_t i = 1; i < MODEL_INODES; i++)
        total += model->inodes[i].kind != PRIVFS_NONE && model->inodes[i].links == 0;
    return total;
}

void model_inode_free(struct model *model, uint32_t inode) {
    model_resize(model, inode, 0);
    model->inodes[inode] = (struct model_inode){0};
}

bool model_is_below(const struct model *model, uint32_t dir, uint32_t above) {
    while (dir != above && dir > MODEL_ROOTS)
        dir = model->inodes[dir].parent;
    return dir == above;
}

static struct model_block *block_of(const struct model *model, uint32_t inode, uint64_t idx) {
    for (uint32_t i = 0; i < MODEL_BLOCKS; i++) {
        const struct model_block *block = &model->blocks[i];
        if (block->inode == inode && (inode == 0 || block->idx == idx))
            return (struct model_block *)(uintptr_t)block;
    }
    return NULL;
}

bool model_has_room(const struct model *model, uint64_t bytes) {
    uint64_t unused = 0;
    for (uint32_t i = 0; i < MODEL_BLOCKS; i++)
        unused += model->blocks[i].inode == 0;
    return bytes / 4096 + 2 <= unused;
}

void model_write(struct model *model, uint32_t inode, uint64_t offset, const uint8_t *in,
                 uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t idx = (offset + i) / 4096;
        struct model_block *block = block_of(model, inode, idx);
        if (block == NULL) {
            block = block_of(model, 0, 0);
            MODEL_REQUIRE(block != NULL);
            *block = (struct model_block){.inode = inode, .idx = idx};
            memset(model->bytes[block - model->blocks], 0, sizeof model->bytes[0]);
        }
        uint64_t part = 4096 - (offset + i) % 4096;
        part = part < count - i ? part : count - i;
        memcpy(model->bytes[block - model->blocks] + (offset + i) % 4096, in + i, part);
        i += part - 1;
    }
    if (count > 0 && model->inodes[inode].bytes < offset + count)
        model->inodes[inode].bytes = offset + count;
}

void model_read(const struct model *model, uint32_t inode, uint64_t offset, uint8_t *out,
                uint64_t count) {
    uint64_t part;
    for (uint64_t i = 0; i < count; i += part) {
        const uint64_t in_page = (offset + i) % 4096;
        const struct model_block *block = block_of(model, inode, (offset + i) / 4096);
        part = 4096 - in_page < count - i ? 4096 - in_page : count - i;
        if (block != NULL)
            memcpy(out + i, model->bytes[block - model->blocks] + in_page, part);
        else
            memset(out + i, 0, part);
    }
}

void model_resize(struct model *model, uint32_t inode, uint64_t bytes) {
    for (uint32_t i = 0; i < MODEL_BLOCKS; i++) {
        struct model_block *block = &model->blocks[i];
        if (block->inode != inode)
            continue;
        if (block->idx >= (bytes + 4095) / 4096)
            block->inode = 0;
        else if (block->idx == bytes / 4096)
            memset(model->bytes[i] + bytes % 4096, 0, 4096 - bytes % 4096);
    }
    model->inodes[inode].bytes = bytes;
}

static void compare_block(const struct model *model, const struct privfs *fs, uint32_t inode,
                          uint64_t offset) {
    uint8_t got[4096], expected[4096];
    const uint64_t left = model->inodes[inode].bytes - offset;
    const uint64_t count = left < sizeof got ? left : sizeof got;
    const int64_t done = privfs_read(fs, model->inodes[inode].id, offset, got, sizeof got);
    MODEL_REQUIRE(done == (int64_t)count);
    model_read(model, inode, offset, expected, count);
    MODEL_REQUIRE(memcmp(got, expected, count) == 0);
}

/* The blocks that the model knows, and the neighbours of each. */
static void compare_contents(const struct model *model, const struct privfs *fs, uint32_t inode) {
    const uint64_t bytes = model->inodes[inode].bytes;
    if (bytes > 0)
        compare_block(model, fs, inode, (bytes - 1) / 4096 * 4096);
    for (uint32_t i = 0; i < MODEL_BLOCKS; i++) {
        const struct model_block *block = &model->blocks[i];
        for (uint64_t idx = block->idx > 0 ? block->idx - 1 : 0;
             block->inode == inode && idx <= block->idx + 1; idx++)
            if (idx * 4096 < bytes)
                compare_block(model, fs, inode, idx * 4096);
    }
}

static void compare_text(const struct model_inode *inode, const struct privfs *fs) {
    char got[PRIVFS_TARGET_MAX_BYTES + 1], expected[PRIVFS_TARGET_MAX_BYTES + 1];
    int64_t count = inode->kind == PRIVFS_SYMLINK ? privfs_target(fs, inode->id, got, sizeof got)
                                                  : privfs_lower(fs, inode->id, got);
    if (inode->kind == PRIVFS_DIR && !inode->has_lower) {
        MODEL_REQUIRE(count == -ENOENT);
        return;
    }
    MODEL_REQUIRE(count == (int64_t)inode->bytes);
    model_text(expected, inode->bytes, inode->text_seed);
    MODEL_REQUIRE(memcmp(got, expected, inode->bytes) == 0);
}

static void compare_entry(struct model *model, uint32_t dir, const struct privfs_entry *got,
                          const char *name, size_t name_bytes) {
    uint32_t idx = 0;
    size_t bytes;
    const char *known = model_name(0, &bytes);
    while (bytes != name_bytes || memcmp(known, name, bytes) != 0) {
        MODEL_REQUIRE(++idx < MODEL_NAMES);
        known = model_name(idx, &bytes);
    }
    MODEL_REQUIRE(name[name_bytes] == '\0');
    const struct model_entry *entry = model_find(model, dir, idx);
    MODEL_REQUIRE(entry != NULL && entry->kind == got->kind);
    const struct privfs_id id = model->inodes[entry->inode].id; /* none for a whiteout */
    MODEL_REQUIRE(got->id.ino == id.ino && got->id.generation == id.generation);
}

static void compare_dir(struct model *model, const struct privfs *fs, uint32_t dir) {
    const struct model_inode *inode = &model->inodes[dir];
    struct privfs_entry entry;
    struct privfs_id parent;
    char name[PRIVFS_NAME_MAX_BYTES + 1];
    size_t name_bytes;
    uint32_t whiteouts, count = 0;
    for (uint64_t key = 0; privfs_next(fs, inode->id, key, &entry, name, &name_bytes) == 0;) {
        MODEL_REQUIRE(entry.key > key && entry.key >= 16);
        key = entry.key;
        compare_entry(model, dir, &entry, name, name_bytes);
        count++;
    }
    MODEL_REQUIRE(count == model_count(model, dir, &whiteouts));
    int status = privfs_parent(fs, inode->id, &parent);
    MODEL_REQUIRE(status == (inode->links == 0 ? -ENOENT : 0));
    MODEL_REQUIRE(status != 0 || parent.ino == model->inodes[inode->parent].id.ino);
}

static void compare_inode(struct model *model, const struct privfs *fs, uint32_t idx) {
    const struct model_inode *inode = &model->inodes[idx];
    struct privfs_stat stat;
    uint32_t whiteouts;
    MODEL_REQUIRE(privfs_stat(fs, inode->id, &stat) == 0);
    MODEL_REQUIRE(stat.kind == inode->kind && stat.links == inode->links);
    MODEL_REQUIRE(stat.bytes == (inode->kind == PRIVFS_DIR ? 0 : inode->bytes));
    MODEL_REQUIRE(stat.shown_ino == (inode->shown_ino != 0 ? inode->shown_ino : inode->id.ino));
    MODEL_REQUIRE(stat.atime_ns == inode->atime_ns && stat.mtime_ns == inode->mtime_ns);
    MODEL_REQUIRE(stat.ctime_ns == inode->ctime_ns);
    MODEL_REQUIRE(stat.entries == model_count(model, idx, &whiteouts));
    if (inode->kind == PRIVFS_FILE)
        compare_contents(model, fs, idx);
    else
        compare_text(inode, fs);
    if (inode->kind == PRIVFS_DIR)
        compare_dir(model, fs, idx);
}

void model_check(const struct privfs *fs) {
    struct privfs_usage usage;
    const char *what = "";
    uint64_t offset = 0;
    privfs_usage(fs, &usage);
    int status = privfs_check(fs->base, usage.end_bytes, &what, &offset);
    if (status != 0)
        fprintf(stderr, "privfs_check: %d, at 0x%llx: %s\n", status, (unsigned long long)offset,
                what);
    MODEL_REQUIRE(status == 0);
}

static uint64_t nameless_count(const struct model *model) {
    uint64_t count = 0;
    for (uint32_t i = 1; i < MODEL_INODES; i++)
        count += model->inodes[i].kind != PRIVFS_NONE && model->inodes[i].links == 0;
    return count;
}

void model_compare(struct model *model, struct privfs *fs) {
    struct privfs_usage usage;
    privfs_usage(fs, &usage);
    MODEL_REQUIRE(usage.entries == model_total(model));
    MODEL_REQUIRE(usage.nameless == nameless_count(model));
    MODEL_REQUIRE(usage.bytes <= usage.end_bytes && usage.end_bytes <= fs->covered_bytes);
    for (uint32_t i = 1; i < MODEL_INODES; i++)
        if (model->inodes[i].kind != PRIVFS_NONE)
            compare_inode(model, fs, i);
    model_check(fs);
}
