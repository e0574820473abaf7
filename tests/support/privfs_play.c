/* tests/support/privfs_play.c: the operations. Each knows from the model what has to come out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "privfs_play.h"

#define CHUNK_MAX_BYTES 20000u

static int cover(struct privfs *fs, uint64_t bytes) {
    MODEL_REQUIRE(bytes <= fs->region_bytes && bytes > fs->covered_bytes);
    fs->covered_bytes = bytes;
    return 0;
}

struct privfs_play *privfs_play_new(uint64_t region_bytes) {
    struct privfs_play *play = calloc(1, sizeof *play);
    MODEL_REQUIRE(play != NULL);
    play->fs.base = aligned_alloc(4096, region_bytes);
    MODEL_REQUIRE(play->fs.base != NULL);
    /* What is not covered has bytes that nobody may rely on. */
    memset(play->fs.base, 0xa5, region_bytes);
    play->fs.region_bytes = play->fs.limit_bytes = region_bytes;
    play->fs.limit_entries = UINT64_MAX;
    play->fs.cover = cover;
    play->fs.now_ns = 1000;
    static const uint64_t secret[2] = {1, 2};
    play->fs.covered_bytes = 4096;
    memset(play->fs.base, 0, 4096);
    privfs_set_secret(&play->fs, secret);
    for (uint32_t i = 0; i < MODEL_ROOTS; i++) {
        struct model_inode *inode = &play->model.inodes[i + 1];
        *inode = (struct model_inode){.kind = PRIVFS_DIR, .links = 1, .parent = i + 1};
        inode->has_lower = true;
        inode->atime_ns = inode->mtime_ns = inode->ctime_ns = 1000;
        MODEL_REQUIRE(privfs_root(&play->fs, i, &inode->id) == 0);
    }
    return play;
}

void privfs_play_free(struct privfs_play *play) {
    free(play->fs.base);
    free(play);
}

bool privfs_play_is_over(const struct privfs_play *play) {
    return play->random == 0 && play->at >= play->size;
}

uint32_t privfs_play_number(struct privfs_play *play, uint32_t below) {
    if (play->random == 0) {
        uint32_t number = play->at < play->size ? play->data[play->at++] : 0;
        if (below > 256)
            number = number << 8 | (play->at < play->size ? play->data[play->at++] : 0);
        return number % below;
    }
    play->random ^= play->random << 13; /* xorshift64 */
    play->random ^= play->random >> 7;
    play->random ^= play->random << 17;
    return (uint32_t)(play->random >> 32) % below;
}

/* Mostly a number of an inode that is there. */
static uint32_t pick(struct privfs_play *play, enum privfs_kind kind) {
    uint32_t idx = privfs_play_number(play, MODEL_INODES);
    for (uint32_t i = 0; i < MODEL_INODES; i++, idx = (idx + 1) % MODEL_INODES)
        if (play->model.inodes[idx].kind == kind)
            return idx;
    return 1;
}

/* Mostly directories; few of them, so that they have many entries. */
static uint32_t pick_dir(struct privfs_play *play) {
    const uint32_t what = privfs_play_number(play, 16);
    if (what == 0)
        return pick(play, PRIVFS_FILE);
    return what < 9 ? 1 + what % MODEL_ROOTS : pick(play, PRIVFS_DIR);
}

static uint32_t pick_any(struct privfs_play *play) {
    return pick(play, PRIVFS_FILE + privfs_play_number(play, 3));
}

/* Whether the operation succeeded, as it had to. If it did not for want of pages, it may have
 * needed `pages`. */
static bool is_done(struct privfs_play *play, int64_t got, int64_t expected, uint64_t pages) {
    struct privfs_usage usage;
    if (got == -ENOSPC)
        play->full++;
    if (got == -ENOSPC && expected >= 0) {
        privfs_usage(&play->fs, &usage);
        MODEL_REQUIRE(usage.bytes + pages * 4096 > play->fs.limit_bytes ||
                      usage.bytes + pages * 4096 > play->fs.region_bytes);
        return false;
    }
    MODEL_REQUIRE(got == expected);
    play->succeeded += got >= 0;
    return got >= 0;
}

#define NAME_PAGES 14u /* that an operation with names may need */

static int entries_status(const struct privfs_play *play, int64_t more) {
    const uint64_t total = model_total(&play->model);
    return more <= 0 || total + (uint64_t)more <= play->fs.limit_entries ? 0 : -ENOSPC;
}

static void set_changed(struct privfs_play *play, uint32_t idx) {
    struct model_inode *inode = &play->model.inodes[idx];
    inode->mtime_ns = inode->ctime_ns = play->fs.now_ns;
}

/* For a new entry. */
static int new_status(struct privfs_play *play, uint32_t dir, const struct model_entry *entry) {
    const struct model_inode *inode = &play->model.inodes[dir];
    if (inode->kind != PRIVFS_DIR)
        return -ENOTDIR;
    if (inode->links == 0)
        return -ENOENT;
    return entry != NULL && entry->kind != PRIVFS_WHITEOUT ? -EEXIST : 0;
}

static void put(struct privfs_play *play, uint32_t dir, uint32_t name, uint32_t inode,
                enum privfs_kind kind) {
    struct model_entry *entry = model_find(&play->model, dir, name);
    if (entry == NULL)
        entry = model_entry_new(&play->model);
    MODEL_REQUIRE(entry != NULL);
    *entry = (struct model_entry){.kind = kind, .dir = dir, .inode = inode, .name = name};
    set_changed(play, dir);
}

static void play_create(struct privfs_play *play) {
    const uint32_t dir = pick_dir(play), name = privfs_play_number(play, MODEL_NAMES);
    const uint32_t what = privfs_play_number(play, 8), idx = model_inode_new(&play->model);
    const enum privfs_kind kind = what < 5 ? PRIVFS_FILE : (what < 7 ? PRIVFS_DIR : PRIVFS_SYMLINK);
    const struct model_entry *entry = model_find(&play->model, dir, name);
    struct privfs_id id;
    size_t bytes;
    const char *text = model_name(name, &bytes);
    if (idx == 0 || model_entry_new(&play->model) == NULL)
        return;
    int expected = new_status(play, dir, entry);
    if (expected == 0)
        expected = entries_status(play, entry == NULL);
    if (!is_done(play, privfs_create(&play->fs, play->model.inodes[dir].id, text, bytes, kind, &id),
                 expected, NAME_PAGES))
        return;
    struct model_inode *inode = &play->model.inodes[idx];
    *inode = (struct model_inode){.kind = kind, .id = id, .links = 1, .parent = dir};
    inode->atime_ns = inode->mtime_ns = inode->ctime_ns = play->fs.now_ns;
    put(play, dir, name, idx, kind);
}

static void play_link(struct privfs_play *play) {
    const uint32_t dir = pick_dir(play), name = privfs_play_number(play, MODEL_NAMES);
    const uint32_t idx = pick_any(play);
    struct model_inode *inode = &play->model.inodes[idx];
    const struct model_entry *entry = model_find(&play->model, dir, name);
    size_t bytes;
    const char *text = model_name(name, &bytes);
    if (model_entry_new(&play->model) == NULL)
        return;
    int expected = inode->kind == PRIVFS_DIR ? -EPERM : new_status(play, dir, entry);
    if (expected == 0 && inode->links == 0)
        expected = -ENOENT;
    if (expected == 0)
        expected = entries_status(play, entry == NULL);
    if (!is_done(play, privfs_link(&play->fs, inode->id, play->model.inodes[dir].id, text, bytes),
                 expected, NAME_PAGES))
        return;
    inode->links++;
    inode->ctime_ns = play->fs.now_ns;
    put(play, dir, name, idx, inode->kind);
}

static void play_hide(struct privfs_play *play) {
    const uint32_t dir = pick_dir(play), name = privfs_play_number(play, MODEL_NAMES);
    const struct model_entry *entry = model_find(&play->model, dir, name);
    size_t bytes;
    const char *text = model_name(name, &bytes);
    if (model_entry_new(&play->model) == NULL)
        return;
    int expected = new_status(play, dir, entry);
    if (expected == 0)
        expected = entry != NULL ? -EEXIST : entries_status(play, 1);
    if (is_done(play, privfs_hide(&play->fs, play->model.inodes[dir].id, text, bytes), expected,
                NAME_PAGES))
        put(play, dir, name, 0, PRIVFS_WHITEOUT);
}

/* An entry's inode loses a name. */
static void drop(struct privfs_play *play, uint32_t idx) {
    struct model_inode *inode = &play->model.inodes[idx];
    inode->links--;
    inode->ctime_ns = play->fs.now_ns;
    if (inode->kind == PRIVFS_DIR) {
        for (uint32_t i = 0; i < MODEL_ENTRIES; i++)
            if (play->model.entries[i].dir == idx)
                play->model.entries[i] = (struct model_entry){0};
        inode->has_lower = false;
        inode->bytes = 0;
    }
    if (inode->links == 0 && !inode->is_open)
        model_inode_free(&play->model, idx);
}

/* An entry is to go; `more` names are known to come. */
static int removal_status(struct privfs_play *play, const struct model_entry *entry, int64_t more) {
    uint32_t whiteouts = 0;
    if (entry != NULL && entry->kind != PRIVFS_WHITEOUT) {
        const struct model_inode *inode = &play->model.inodes[entry->inode];
        const uint32_t count = model_count(&play->model, entry->inode, &whiteouts);
        if (count != whiteouts)
            return -ENOTEMPTY;
        more += inode->is_open && inode->links == 1;
        more -= count;
    }
    return entries_status(play, more);
}

static void play_remove(struct privfs_play *play) {
    const uint32_t dir = pick_dir(play), name = privfs_play_number(play, MODEL_NAMES);
    const bool has_whiteout = privfs_play_number(play, 3) == 0;
    struct model_entry *entry = model_find(&play->model, dir, name);
    const uint32_t idx = entry != NULL ? entry->inode : 0;
    size_t bytes;
    const char *text = model_name(name, &bytes);
    int expected = play->model.inodes[dir].kind != PRIVFS_DIR ? -ENOTDIR
                   : entry == NULL                            ? -ENOENT
                                   : removal_status(play, entry, has_whiteout ? 0 : -1);
    if (!is_done(
            play,
            privfs_remove(&play->fs, play->model.inodes[dir].id, text, bytes,
                          (struct privfs_removal){has_whiteout, play->model.inodes[idx].is_open}),
            expected, 0))
        return;
    *entry = (struct model_entry){0};
    set_changed(play, dir);
    if (has_whiteout)
        put(play, dir, name, 0, PRIVFS_WHITEOUT);
    if (idx != 0)
        drop(play, idx);
}

struct renaming {
    uint32_t from_dir, from_name, to_dir, to_name;
    struct model_entry *from, *to;
    bool has_whiteout;
};

static int rename_status(struct privfs_play *play, const struct renaming *move) {
    const struct model_inode *inodes = play->model.inodes;
    if (inodes[move->from_dir].kind != PRIVFS_DIR || inodes[move->to_dir].kind != PRIVFS_DIR)
        return -ENOTDIR;
    if (move->from == NULL || move->from->kind == PRIVFS_WHITEOUT ||
        inodes[move->to_dir].links == 0)
        return -ENOENT;
    if (move->from->kind == PRIVFS_DIR &&
        model_is_below(&play->model, move->to_dir, move->from->inode))
        return -EINVAL;
    return removal_status(play, move->to, move->has_whiteout - (move->to != NULL));
}

static void rename_in_model(struct privfs_play *play, const struct renaming *move) {
    const struct model_entry moved = *move->from;
    const uint32_t replaced = move->to != NULL ? move->to->inode : 0;
    *move->from = (struct model_entry){0};
    set_changed(play, move->from_dir);
    put(play, move->to_dir, move->to_name, moved.inode, moved.kind);
    if (move->has_whiteout)
        put(play, move->from_dir, move->from_name, 0, PRIVFS_WHITEOUT);
    play->model.inodes[moved.inode].ctime_ns = play->fs.now_ns;
    if (moved.kind == PRIVFS_DIR)
        play->model.inodes[moved.inode].parent = move->to_dir;
    if (replaced != 0)
        drop(play, replaced);
}

static void play_rename(struct privfs_play *play) {
    struct renaming move = {.from_dir = pick_dir(play)};
    move.from_name = privfs_play_number(play, MODEL_NAMES);
    move.to_dir = pick_dir(play);
    move.to_name = privfs_play_number(play, MODEL_NAMES);
    struct privfs_place from = {.dir = play->model.inodes[move.from_dir].id};
    struct privfs_place to = {.dir = play->model.inodes[move.to_dir].id};
    from.name = model_name(move.from_name, &from.name_bytes);
    to.name = model_name(move.to_name, &to.name_bytes);
    move.has_whiteout = privfs_play_number(play, 3) == 0;
    move.from = model_find(&play->model, move.from_dir, move.from_name);
    move.to = model_find(&play->model, move.to_dir, move.to_name);
    if (model_entry_new(&play->model) == NULL)
        return;
    const uint32_t replaced = move.to != NULL ? move.to->inode : 0;
    const bool is_same = move.from != NULL && replaced != 0 && move.from->inode == replaced;
    const struct privfs_removal how = {move.has_whiteout, play->model.inodes[replaced].is_open};
    int expected = is_same ? 0 : rename_status(play, &move);
    if (is_done(play, privfs_rename(&play->fs, &from, &to, how), expected, NAME_PAGES) && !is_same)
        rename_in_model(play, &move);
}

static void play_open(struct privfs_play *play) {
    const uint32_t idx = pick_any(play);
    struct model_inode *inode = &play->model.inodes[idx];
    if (idx <= MODEL_ROOTS)
        return;
    inode->is_open = !inode->is_open;
    if (inode->is_open)
        return;
    privfs_release(&play->fs, inode->id);
    if (inode->links == 0)
        model_inode_free(&play->model, idx);
}

/* Around places where something begins: inside, a block, an index page, the next level, the end. */
static uint64_t pick_offset(struct privfs_play *play) {
    static const uint64_t places[] = {0,           0,
                                      184,         4096,
                                      8192,        45u * 4096u,
                                      46u * 4096u, 1024u * 4096,
                                      45ull << 22, (45ull << 22) + (1024ull << 12),
                                      45ull << 32, 1ull << 32,
                                      1ull << 39,  (1ull << 40) - 5000};
    const uint64_t place = places[privfs_play_number(play, sizeof places / sizeof places[0])];
    const uint32_t distance = privfs_play_number(play, 6000);
    return distance > 5000 || place < distance ? place + distance : place - distance;
}

static void play_write(struct privfs_play *play) {
    static uint8_t bytes[CHUNK_MAX_BYTES];
    const uint32_t idx = pick(play, PRIVFS_FILE), seed = privfs_play_number(play, 256);
    const uint64_t offset = pick_offset(play);
    uint64_t count = privfs_play_number(play, 4) == 0 ? privfs_play_number(play, CHUNK_MAX_BYTES)
                                                      : privfs_play_number(play, 200);
    if (play->model.inodes[idx].kind != PRIVFS_FILE || !model_has_room(&play->model, count))
        return;
    for (uint64_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(i * 13 + seed);
    int64_t done = privfs_write(&play->fs, play->model.inodes[idx].id, offset, bytes, count);
    if (offset >= PRIVFS_FILE_MAX_BYTES) {
        MODEL_REQUIRE(done == (count == 0 ? 0 : -EFBIG));
        return;
    }
    const uint64_t pages = count / 4096 + 12;
    if (count > PRIVFS_FILE_MAX_BYTES - offset)
        count = PRIVFS_FILE_MAX_BYTES - offset;
    /* Short: up to where a block begins that could not be had. */
    if (done > 0 && done < (int64_t)count) {
        MODEL_REQUIRE((offset + (uint64_t)done) % 4096 == 0);
        MODEL_REQUIRE(!is_done(play, -ENOSPC, (int64_t)count, pages));
    } else if (!is_done(play, done, (int64_t)count, pages)) {
        return;
    }
    model_write(&play->model, idx, offset, bytes, (uint64_t)done);
    if (done > 0)
        set_changed(play, idx);
}

static void play_resize(struct privfs_play *play) {
    const uint32_t idx = pick(play, PRIVFS_FILE);
    const uint64_t bytes = privfs_play_number(play, 4) == 0 ? 0 : pick_offset(play);
    if (play->model.inodes[idx].kind != PRIVFS_FILE)
        return;
    const int expected = bytes > PRIVFS_FILE_MAX_BYTES ? -EFBIG : 0;
    if (!is_done(play, privfs_resize(&play->fs, play->model.inodes[idx].id, bytes), expected, 1))
        return;
    model_resize(&play->model, idx, bytes);
    set_changed(play, idx);
}

static void play_allocate(struct privfs_play *play) {
    const uint32_t idx = pick(play, PRIVFS_FILE);
    const uint64_t offset = pick_offset(play), count = privfs_play_number(play, CHUNK_MAX_BYTES);
    struct privfs_usage before, after;
    if (play->model.inodes[idx].kind != PRIVFS_FILE)
        return;
    const int expected = count == 0 ? -EINVAL : offset + count > PRIVFS_FILE_MAX_BYTES ? -EFBIG : 0;
    if (!is_done(play, privfs_allocate(&play->fs, play->model.inodes[idx].id, offset, count),
                 expected, count / 4096 + 12))
        return;
    if (play->model.inodes[idx].bytes < offset + count)
        play->model.inodes[idx].bytes = offset + count;
    set_changed(play, idx);
    privfs_usage(&play->fs, &before);
    uint8_t byte = 0;
    model_read(&play->model, idx, offset, &byte, 1);
    MODEL_REQUIRE(privfs_write(&play->fs, play->model.inodes[idx].id, offset, &byte, 1) == 1);
    privfs_usage(&play->fs, &after);
    MODEL_REQUIRE(before.bytes == after.bytes);
}

static size_t pick_text(struct privfs_play *play, char *out, uint8_t *ret_seed) {
    const size_t bytes = privfs_play_number(play, 3) == 0 ? privfs_play_number(play, 4095)
                                                          : privfs_play_number(play, 200);
    *ret_seed = (uint8_t)privfs_play_number(play, 256);
    model_text(out, bytes, *ret_seed);
    return bytes;
}

static void play_text(struct privfs_play *play) {
    const bool is_dir = privfs_play_number(play, 2) == 0;
    const uint32_t idx = pick(play, is_dir ? PRIVFS_DIR : PRIVFS_SYMLINK);
    struct model_inode *inode = &play->model.inodes[idx];
    char text[PRIVFS_TARGET_MAX_BYTES];
    uint8_t seed;
    size_t bytes = pick_text(play, text, &seed);
    if (inode->kind != (is_dir ? PRIVFS_DIR : PRIVFS_SYMLINK))
        return;
    if (is_dir && seed % 4 == 0)
        bytes = SIZE_MAX;
    int status = is_dir ? privfs_set_lower(&play->fs, inode->id, text, bytes)
                        : privfs_set_target(&play->fs, inode->id, text, bytes);
    if (!is_done(play, status, is_dir && inode->links == 0 && bytes != SIZE_MAX ? -ENOENT : 0, 1))
        return;
    inode->has_lower = is_dir && bytes != SIZE_MAX;
    inode->bytes = bytes == SIZE_MAX ? 0 : bytes;
    inode->text_seed = seed;
    if (!is_dir)
        set_changed(play, idx);
}

static void play_times(struct privfs_play *play) {
    struct model_inode *inode = &play->model.inodes[pick_any(play)];
    const uint32_t atime = privfs_play_number(play, 9), mtime = privfs_play_number(play, 9);
    MODEL_REQUIRE(privfs_set_times(&play->fs, inode->id, atime != 0 ? atime : UINT64_MAX,
                                   mtime != 0 ? mtime : UINT64_MAX) == 0);
    inode->atime_ns = atime != 0 ? atime : inode->atime_ns;
    inode->mtime_ns = mtime != 0 ? mtime : inode->mtime_ns;
    inode->ctime_ns = play->fs.now_ns;
    inode->shown_ino = privfs_play_number(play, 3);
    MODEL_REQUIRE(privfs_set_shown_ino(&play->fs, inode->id, inode->shown_ino) == 0);
}

/* An inode that is not there, by its number or by its generation. */
static void play_stale(struct privfs_play *play) {
    struct privfs_id id = play->model.inodes[pick_any(play)].id;
    struct privfs_stat stat;
    uint8_t byte;
    id.generation += privfs_play_number(play, 2);
    id.ino += privfs_play_number(play, 256) * 16777213u;
    for (uint32_t i = 1; i < MODEL_INODES; i++)
        if (play->model.inodes[i].id.ino == id.ino &&
            play->model.inodes[i].id.generation == id.generation)
            return;
    MODEL_REQUIRE(privfs_stat(&play->fs, id, &stat) == -EBADF);
    MODEL_REQUIRE(privfs_read(&play->fs, id, 0, &byte, 1) == -EBADF);
    MODEL_REQUIRE(privfs_write(&play->fs, id, 0, &byte, 1) == -EBADF);
    privfs_release(&play->fs, id);
}

static void play_lookup(struct privfs_play *play) {
    const uint32_t dir = pick_dir(play), name = privfs_play_number(play, MODEL_NAMES);
    const struct model_entry *entry = model_find(&play->model, dir, name);
    struct privfs_entry got = {0};
    size_t bytes;
    const char *text = model_name(name, &bytes);
    int status = privfs_lookup(&play->fs, play->model.inodes[dir].id, text, bytes, &got);
    MODEL_REQUIRE(status == (play->model.inodes[dir].kind != PRIVFS_DIR ? -ENOTDIR
                             : entry == NULL                            ? -ENOENT
                                                                        : 0));
    if (status != 0)
        return;
    MODEL_REQUIRE(got.kind == entry->kind && got.id.ino == play->model.inodes[entry->inode].id.ino);
    MODEL_REQUIRE(got.key == privfs_key_of(&play->fs, text, bytes));
}

void privfs_play_one(struct privfs_play *play) {
    static void (*const operations[])(struct privfs_play *) = {
        play_create, play_create,   play_create, play_create, play_link,  play_remove, play_remove,
        play_rename, play_rename,   play_hide,   play_open,   play_write, play_write,  play_write,
        play_resize, play_allocate, play_text,   play_text,   play_times, play_stale,  play_lookup};
    const uint32_t count = sizeof operations / sizeof operations[0];
    play->fs.now_ns++;
    operations[privfs_play_number(play, count)](play);
}
