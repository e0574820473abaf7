/*
 * tests/fuzz/privfs_fuzz.c: any bytes as a private layer. The first byte says how to read the rest.
 *
 *   0  a number of pages and the pages, then operations
 *   1  a seed; a layer is made by random operations of that seed; the next byte says how many
 *      patches follow, of 4 bytes: a 24-bit offset and the new byte; then operations
 *   2  operations on an empty layer, compared with a model
 *
 * Operations of the first two are played only if privfs_check() passes, on what is found in the
 * layer; and it has to pass afterwards, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "privfs_play.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REGION_BYTES (256u << 10) /* soon full */

/* An entry somewhere below a root; the entry's directory, too. */
static struct privfs_entry pick_entry(struct privfs_play *play, struct privfs_id *ret_dir,
                                      char *ret_name, size_t *ret_name_bytes) {
    struct privfs_entry entry = {.kind = PRIVFS_DIR}, next;
    *ret_dir = (struct privfs_id){0, 0};
    *ret_name_bytes = 0;
    if (privfs_root(&play->fs, privfs_play_number(play, 3), &entry.id) != 0)
        return entry;
    *ret_dir = entry.id;
    for (uint32_t steps = 1 + privfs_play_number(play, 4); steps > 0 && entry.kind == PRIVFS_DIR;
         steps--) {
        const uint64_t key = (uint64_t)privfs_play_number(play, 256) << 55;
        if (privfs_next(&play->fs, entry.id, key, &next, ret_name, ret_name_bytes) != 0 &&
            privfs_next(&play->fs, entry.id, 0, &next, ret_name, ret_name_bytes) != 0)
            break;
        *ret_dir = entry.id;
        entry = next;
    }
    return entry;
}

static void list(struct privfs_play *play, struct privfs_id dir) {
    struct privfs_entry entry;
    struct privfs_stat stat;
    char name[PRIVFS_NAME_MAX_BYTES + 1];
    size_t name_bytes;
    for (uint64_t key = 0; privfs_next(&play->fs, dir, key, &entry, name, &name_bytes) == 0;) {
        MODEL_REQUIRE(entry.key > key && strlen(name) == name_bytes);
        MODEL_REQUIRE(entry.kind == PRIVFS_WHITEOUT ||
                      privfs_stat(&play->fs, entry.id, &stat) == 0);
        key = entry.key;
    }
}

static void play_contents(struct privfs_play *play, struct privfs_id id, uint32_t what) {
    static uint8_t bytes[10000];
    char text[PRIVFS_TARGET_MAX_BYTES + 1];
    const uint64_t offset = (uint64_t)privfs_play_number(play, 2048)
                            << privfs_play_number(play, 32);
    const uint32_t count = privfs_play_number(play, sizeof bytes);
    model_text(text, sizeof text, (uint8_t)count);
    switch (what) {
    case 0: (void)privfs_read(&play->fs, id, offset, bytes, count); break;
    case 1: (void)privfs_write(&play->fs, id, offset, bytes, count); break;
    case 2: (void)privfs_resize(&play->fs, id, offset); break;
    case 3: (void)privfs_allocate(&play->fs, id, offset, count); break;
    case 4: (void)privfs_set_target(&play->fs, id, text, count % 300); break;
    case 5: (void)privfs_set_lower(&play->fs, id, text, count % 300); break;
    case 6: (void)privfs_target(&play->fs, id, text, sizeof text); break;
    default: (void)privfs_lower(&play->fs, id, text); break;
    }
}

static void play_found(struct privfs_play *play) {
    char old_name[PRIVFS_NAME_MAX_BYTES + 1], name[PRIVFS_NAME_MAX_BYTES + 1];
    struct privfs_place from = {.name = old_name}, to = {.name = name};
    struct privfs_id id;
    const struct privfs_entry entry = pick_entry(play, &from.dir, old_name, &from.name_bytes);
    const struct privfs_entry other = pick_entry(play, &to.dir, name, &to.name_bytes);
    const uint32_t what = privfs_play_number(play, 16);
    const struct privfs_removal how = {privfs_play_number(play, 2) == 0,
                                       privfs_play_number(play, 4) == 0};
    if (privfs_play_number(play, 4) != 0)
        to.name = model_name(privfs_play_number(play, MODEL_NAMES), &to.name_bytes);
    switch (what) {
    case 0:
        (void)privfs_create(&play->fs, to.dir, to.name, to.name_bytes,
                            PRIVFS_FILE + privfs_play_number(play, 3), &id);
        break;
    case 1: (void)privfs_link(&play->fs, entry.id, to.dir, to.name, to.name_bytes); break;
    case 2: (void)privfs_remove(&play->fs, from.dir, from.name, from.name_bytes, how); break;
    case 3: (void)privfs_hide(&play->fs, to.dir, to.name, to.name_bytes); break;
    case 4: (void)privfs_rename(&play->fs, &from, &to, how); break;
    case 5: list(play, other.id); break;
    case 6: /* inodes without names are found by number */
        privfs_release(&play->fs, (struct privfs_id){privfs_play_number(play, 256), 0});
        break;
    case 7: (void)privfs_parent(&play->fs, entry.id, &id); break;
    default: play_contents(play, entry.id, what - 8); break;
    }
}

static void play_on_unknown(struct privfs_play *play) {
    const char *what;
    uint64_t offset;
    if (privfs_check(play->fs.base, play->fs.covered_bytes, &what, &offset) != 0)
        return;
    while (!privfs_play_is_over(play)) {
        play->fs.now_ns++;
        play_found(play);
        model_check(&play->fs);
    }
}

static void patch(struct privfs_play *play, uint64_t bytes) {
    for (uint32_t count = privfs_play_number(play, 64); count > 0; count--) {
        uint64_t offset = privfs_play_number(play, 256);
        offset = offset << 8 | privfs_play_number(play, 256);
        offset = offset << 8 | privfs_play_number(play, 256);
        play->fs.base[offset % bytes] = (uint8_t)privfs_play_number(play, 256);
    }
}

static void make_some(struct privfs_play *play) {
    struct privfs_usage usage;
    const uint32_t seed = privfs_play_number(play, 256);
    play->random = 0x9e3779b97f4a7c15ull + seed;
    for (uint32_t i = 0; i < 40 + seed; i++)
        privfs_play_one(play);
    play->random = 0;
    privfs_usage(&play->fs, &usage);
    play->fs.covered_bytes = usage.end_bytes;
    patch(play, usage.end_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct privfs_play *play = privfs_play_new(REGION_BYTES);
    play->data = data;
    play->size = size;
    const uint32_t mode = privfs_play_number(play, 3);
    if (mode == 0) {
        uint64_t bytes = privfs_play_number(play, 16) * 4096u;
        bytes = bytes < size - play->at ? bytes : (size - play->at) / 4096 * 4096;
        if (bytes > 0)
            memcpy(play->fs.base, data + play->at, bytes);
        play->at += bytes;
        play->fs.covered_bytes = bytes;
        play_on_unknown(play);
    } else if (mode == 1) {
        make_some(play);
        play_on_unknown(play);
    } else {
        while (!privfs_play_is_over(play))
            privfs_play_one(play);
        model_compare(&play->model, &play->fs);
    }
    privfs_play_free(play);
    return 0;
}
