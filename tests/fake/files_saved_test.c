/*
 * tests/fake/files_saved_test.c: private layers in images: listed, saved, opened again by another
 * engine and without one, used there, and refused if a byte of their structures is wrong.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "files_guest.h"
#include "harness.h"
#include "image_builder.h"
#include "image_internal.h"
#include "layout.h"
#include "literals.h"
#include "privfs.h"
#include "sandbox_internal.h"

#define LAYER_BYTES (8ull << 20)
#define LARGE_BYTES 300000u

static struct privfs layer_of(husk_sandbox *sandbox) {
    struct privfs fs;
    CHECK_EQ_I64(sandbox_files(sandbox, &fs), 0);
    fs.limit_bytes = LAYER_BYTES;
    fs.limit_entries = 1000;
    fs.now_ns = 77;
    return fs;
}

static struct privfs_id make(struct privfs *fs, struct privfs_id dir, const char *name,
                             enum privfs_kind kind) {
    struct privfs_id id;
    CHECK_EQ_I64(privfs_create(fs, dir, name, strlen(name), kind, &id), 0);
    return id;
}

static uint8_t large_byte(uint32_t at) {
    return (uint8_t)(at * 7 + at / 4096);
}

/* One of everything, in directories 0 and 3. */
static void fill(struct privfs *fs) {
    struct privfs_id first, second, lib, deep, id;
    uint8_t *large = malloc(LARGE_BYTES);
    CHECK(large != NULL);
    for (uint32_t i = 0; i < LARGE_BYTES; i++)
        large[i] = large_byte(i);
    CHECK_EQ_I64(privfs_root(fs, 0, &first), 0);
    CHECK_EQ_I64(privfs_root(fs, 3, &second), 0);
    lib = make(fs, first, "lib", PRIVFS_DIR);
    deep = make(fs, lib, "deep", PRIVFS_DIR);
    id = make(fs, deep, "large", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_write(fs, id, 0, large, LARGE_BYTES), LARGE_BYTES);
    CHECK_EQ_I64(privfs_link(fs, id, second, "again", 5), 0);
    id = make(fs, lib, "small\n", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_write(fs, id, 0, "words", 5), 5);
    id = make(fs, lib, "link", PRIVFS_SYMLINK);
    CHECK_EQ_I64(privfs_set_target(fs, id, "../other", 8), 0);
    CHECK_EQ_I64(privfs_hide(fs, first, "gone", 4), 0);
    id = make(fs, first, "open", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_write(fs, id, 0, large, 5000), 5000);
    CHECK_EQ_I64(privfs_remove(fs, first, "open", 4, (struct privfs_removal){.is_open = true}), 0);
    free(large);
}

/* Directory, kind, path, bytes, names, target. */
static const char expected[] = "0 0 lib/deep/large 300000 2\n"
                               "0 0 lib/small\n 5 1\n"
                               "0 1 . 0 1\n"
                               "0 1 lib 0 1\n"
                               "0 1 lib/deep 0 1\n"
                               "0 2 lib/link 8 1 ../other\n"
                               "0 3 gone 0 0\n"
                               "3 0 again 300000 2\n"
                               "3 1 . 0 1\n";

/* ---- Listings, as sorted lines ---- */

struct lines {
    char texts[32][96];
    uint32_t count;
};

static int add_line(void *user, const struct husk_image_file *file) {
    struct lines *lines = user;
    CHECK(lines->count < 32);
    CHECK_EQ_U64(file->size, sizeof *file);
    CHECK_EQ_U64(strlen(file->path), file->path_bytes);
    CHECK_EQ_U64(strlen(file->target), file->target_bytes);
    CHECK_EQ_U64(file->mtime_ns, file->kind == HUSK_FILE_HIDDEN ? 0 : 77);
    snprintf(lines->texts[lines->count++], sizeof lines->texts[0], "%u %u %s %llu %llu%s%s\n",
             file->dir_idx, file->kind, file->path, (unsigned long long)file->bytes,
             (unsigned long long)file->links_count, file->target_bytes > 0 ? " " : "",
             file->target);
    return 0;
}

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

static void check_listing(const husk_image *image) {
    struct lines lines = {.count = 0};
    struct husk_error err;
    char text[sizeof lines.texts] = "";
    CHECK_OK(husk_image_files(image, add_line, &lines, &err), err);
    qsort(lines.texts, lines.count, sizeof lines.texts[0], compare);
    for (uint32_t i = 0; i < lines.count; i++)
        strcat(text, lines.texts[i]);
    CHECK_STR(text, expected);
}

/* ---- Images ---- */

static husk_image *snapshot_of(struct files_world *world) {
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(world->sandbox, &snapshot, &world->err), world->err);
    return snapshot;
}

static int append(void *user, const void *bytes, size_t count) {
    buf_append(user, bytes, count);
    return 0;
}

/* A snapshot of a full layer, and its file. */
static husk_image *make_snapshot(struct files_world *world, struct buf *ret_file) {
    struct privfs fs = layer_of(world->sandbox);
    fill(&fs);
    husk_image *snapshot = snapshot_of(world);
    *ret_file = (struct buf){0};
    CHECK_OK(husk_image_save_to(snapshot, append, ret_file, &world->err), world->err);
    CHECK(!ret_file->failed);
    return snapshot;
}

static void check_contents(husk_sandbox *sandbox) {
    const struct privfs fs = layer_of(sandbox);
    struct privfs_id root;
    struct privfs_entry entry;
    uint8_t *bytes = malloc(LARGE_BYTES);
    CHECK(bytes != NULL);
    CHECK_EQ_I64(privfs_find_root(&fs, 3, &root), 0);
    CHECK_EQ_I64(privfs_lookup(&fs, root, "again", 5, &entry), 0);
    CHECK_EQ_I64(privfs_read(&fs, entry.id, 0, bytes, LARGE_BYTES), LARGE_BYTES);
    for (uint32_t i = 0; i < LARGE_BYTES; i++)
        CHECK(bytes[i] == large_byte(i));
    free(bytes);
}

static void remove_again(husk_sandbox *sandbox) {
    struct privfs fs = layer_of(sandbox);
    struct privfs_id root;
    CHECK_EQ_I64(privfs_root(&fs, 3, &root), 0);
    CHECK_EQ_I64(privfs_remove(&fs, root, "again", 5, (struct privfs_removal){0}), 0);
}

TEST(a_listing_shows_everything) {
    struct files_world world;
    struct buf file;
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    files_world_open(&world, LAYER_BYTES);
    CHECK_OK(husk_image_files(world.image, add_line, NULL, &world.err), world.err); /* nothing */
    husk_image *snapshot = make_snapshot(&world, &file);
    check_listing(snapshot);
    CHECK_EQ_I64(husk_image_info(snapshot, &info), 0);
    CHECK(info.files_bytes >= LARGE_BYTES && info.files_bytes < LARGE_BYTES + 200000);
    CHECK(info.memory_bytes < LARGE_BYTES);
    husk_image *opened = NULL; /* without an engine */
    CHECK_OK(husk_image_open_buffer(NULL, (struct husk_buffer){file.data, file.count}, NULL,
                                    &opened, &world.err),
             world.err);
    check_listing(opened);
    CHECK_EQ_I64(husk_image_info(opened, &info), 0);
    CHECK(info.files_bytes >= LARGE_BYTES && info.memory_bytes < LARGE_BYTES);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
    buf_done(&file);
    files_world_close(&world);
}

static int end_at_third(void *user, const struct husk_image_file *file) {
    unsigned *left = user;
    (void)file;
    return --*left == 0 ? -4711 : 0;
}

TEST(a_listing_can_be_ended) {
    struct files_world world;
    struct buf file;
    unsigned left = 3;
    files_world_open(&world, LAYER_BYTES);
    husk_image *snapshot = make_snapshot(&world, &file);
    CHECK_EQ_I64(husk_image_files(snapshot, end_at_third, &left, &world.err), -4711);
    CHECK_EQ_I64(world.err.status, -4711);
    CHECK_EQ_U64(left, 0);
    CHECK_EQ_I64(husk_image_files(NULL, end_at_third, &left, &world.err), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_image_files(snapshot, NULL, &left, &world.err), HUSK_E_INVAL);
    husk_image_unref(snapshot);
    buf_done(&file);
    files_world_close(&world);
}

/* Deeper than any stack of calls would allow, and with a path longer than any that is passed on. */
TEST(a_listing_goes_deep) {
    enum { DEPTH = 1500 };
    struct files_world world;
    unsigned left = DEPTH + 2;
    files_world_open(&world, LAYER_BYTES);
    struct privfs fs = layer_of(world.sandbox);
    struct privfs_id dir;
    fs.limit_entries = DEPTH + 1;
    CHECK_EQ_I64(privfs_root(&fs, 0, &dir), 0);
    for (int i = 0; i < DEPTH; i++)
        dir = make(&fs, dir, "d", PRIVFS_DIR);
    husk_image *snapshot = snapshot_of(&world);
    CHECK_OK(husk_image_files(snapshot, end_at_third, &left, &world.err), world.err);
    CHECK_EQ_U64(left, 1); /* all, and the root */
    husk_image_unref(snapshot);
    files_world_close(&world);
}

/* ---- Deleted files ---- */

static bool saves_secrets(struct files_world *world, husk_image *snapshot, const char *secret) {
    struct buf file = {0};
    CHECK_OK(husk_image_save_to(snapshot, append, &file, &world->err), world->err);
    const bool has = memmem(file.data, file.count, secret, strlen(secret)) != NULL;
    buf_done(&file);
    return has;
}

static struct privfs_id make_secret(struct privfs *fs, struct privfs_id dir, const char *name,
                                    const char *secret) {
    const struct privfs_id id = make(fs, dir, name, PRIVFS_FILE);
    const int64_t bytes = (int64_t)strlen(secret);
    for (uint64_t at = 0; at < 5 * HUSK_PAGE_SIZE; at += 500)
        CHECK_EQ_I64(privfs_write(fs, id, at, secret, (uint64_t)bytes), bytes);
    return id;
}

TEST(what_was_deleted_is_in_no_snapshot) {
    const struct privfs_removal gone = {0};
    struct files_world world;
    struct privfs_id root;
    char name[64];
    files_world_open(&world, LAYER_BYTES);
    struct privfs fs = layer_of(world.sandbox);
    CHECK_EQ_I64(privfs_root(&fs, 0, &root), 0);
    make_secret(&fs, root, "early", "contents-early");
    make_secret(&fs, root, "late", "contents-late");
    CHECK_EQ_I64(privfs_remove(&fs, root, "early", 5, gone), 0);
    husk_image *first = snapshot_of(&world);
    CHECK(!saves_secrets(&world, first, "contents-early"));
    CHECK(saves_secrets(&world, first, "contents-late"));

    CHECK_OK(husk_sandbox_restore(world.sandbox, first, &world.err), world.err);
    fs = layer_of(world.sandbox);
    CHECK_EQ_I64(privfs_remove(&fs, root, "late", 4, gone), 0);
    for (int i = 0; i < 200; i++) { /* directories take pages that had contents */
        snprintf(name, sizeof name, "name-%d", i);
        make(&fs, root, name, PRIVFS_FILE);
    }
    for (int i = 1; i < 200; i++) {
        snprintf(name, sizeof name, "name-%d", i);
        CHECK_EQ_I64(privfs_remove(&fs, root, name, strlen(name), gone), 0);
    }
    husk_image *second = snapshot_of(&world);
    CHECK(!saves_secrets(&world, second, "contents-late"));
    CHECK(saves_secrets(&world, second, "name-0") && !saves_secrets(&world, second, "name-1"));

    husk_image *const images[] = {second, first, second, world.image, second};
    for (int i = 0; i < 5; i++) { /* and what comes back is a layer */
        CHECK_OK(husk_sandbox_restore(world.sandbox, images[i], &world.err), world.err);
        husk_image *again = snapshot_of(&world);
        CHECK_OK(image_check_files(again, &world.err), world.err);
        husk_image_unref(again);
    }
    husk_image_unref(first);
    husk_image_unref(second);
    files_world_close(&world);
}

/* In a child process and by another engine: nothing but the file is shared. */
static int use_elsewhere(const struct buf *file) {
    struct files_world other;
    husk_image *opened = NULL;
    files_world_open(&other, LAYER_BYTES);
    CHECK_OK(husk_image_open_buffer(other.engine, (struct husk_buffer){file->data, file->count},
                                    NULL, &opened, &other.err),
             other.err);
    check_listing(opened);
    for (int round = 0; round < 3; round++) {
        CHECK_OK(husk_sandbox_restore(other.sandbox, opened, &other.err), other.err);
        check_contents(other.sandbox);
        remove_again(other.sandbox);
    }
    husk_image *again = snapshot_of(&other);
    struct buf second = {0};
    CHECK_OK(husk_image_save_to(again, append, &second, &other.err), other.err);
    husk_image_unref(opened);
    CHECK_OK(husk_image_open_buffer(other.engine, (struct husk_buffer){second.data, second.count},
                                    NULL, &opened, &other.err),
             other.err);
    CHECK_OK(husk_sandbox_restore(other.sandbox, opened, &other.err), other.err);
    const struct privfs fs = layer_of(other.sandbox);
    struct privfs_id root;
    struct privfs_entry entry;
    CHECK_EQ_I64(privfs_find_root(&fs, 3, &root), 0);
    CHECK_EQ_I64(privfs_lookup(&fs, root, "again", 5, &entry), -ENOENT);
    buf_done(&second);
    husk_image_unref(opened);
    husk_image_unref(again);
    files_world_close(&other);
    return 0;
}

TEST(a_saved_layer_opens_in_another_process) {
    struct files_world world;
    struct buf file;
    int how = -1;
    files_world_open(&world, LAYER_BYTES);
    husk_image_unref(make_snapshot(&world, &file));
    files_world_close(&world);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(use_elsewhere(&file));
    CHECK(waitpid(child, &how, 0) == child);
    CHECK_EQ_I64(how, 0);
    buf_done(&file);
}

/* ---- Hostile layers ---- */

/* Where the layer begins in the file. */
static uint64_t layer_offset(const struct buf *file) {
    husk_image *image = NULL;
    struct husk_error err;
    uint64_t offset = 0;
    CHECK_OK(husk_image_open_buffer(NULL, (struct husk_buffer){file->data, file->count}, NULL,
                                    &image, &err),
             err);
    for (uint32_t i = 0; i < image->segments_count; i++)
        if (image->segments[i].gva == HUSK_FILES_GVA)
            offset = image->segments[i].file_offset;
    husk_image_unref(image);
    CHECK(offset != 0);
    return offset;
}

static int count_file(void *user, const struct husk_image_file *file) {
    unsigned *count = user;
    (void)file;
    return ++*count > 100000 ? -1 : 0;
}

/* Refused, and it says so; or opened, and a listing ends. */
static bool try_open(const struct buf *file, const struct husk_open_options *options) {
    husk_image *image = NULL;
    struct husk_error err;
    unsigned count = 0;
    const int status = husk_image_open_buffer(NULL, (struct husk_buffer){file->data, file->count},
                                              options, &image, &err);
    if (status != 0) {
        CHECK_STATUS(status, HUSK_E_BAD_IMAGE);
        CHECK_CONTAINS(err.message, "private layer, byte ");
        return false;
    }
    CHECK_OK(husk_image_files(image, count_file, &count, &err), err);
    husk_image_unref(image);
    return true;
}

/* Also where the hash is not compared: what reads the layer later relies on the check. */
TEST(a_damaged_layer_is_refused) {
    struct files_world world;
    struct buf file;
    unsigned refused = 0, opened = 0;
    files_world_open(&world, LAYER_BYTES);
    husk_image_unref(make_snapshot(&world, &file));
    const uint64_t offset = layer_offset(&file);
    for (uint64_t at = 0; at < 16 * HUSK_PAGE_SIZE && offset + at < file.count;
         at += at % HUSK_PAGE_SIZE < 512 ? 1 : 97) {
        file.data[offset + at] ^= 0xff;
        if (try_open(&file, SKIP_HASH))
            opened++;
        else
            refused++;
        file.data[offset + at] ^= 0xff;
    }
    CHECK_MSG(refused > 500 && opened > 100, "%u refused, %u opened", refused, opened);
    file.data[offset] ^= 1; /* with a good hash */
    image_hash_again(file.data, file.count);
    CHECK(!try_open(&file, NULL));
    buf_done(&file);
    files_world_close(&world);
}

TEST_MAIN()
