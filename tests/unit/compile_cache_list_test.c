/*
 * tests/unit/compile_cache_list_test.c: husk_cache_list(): what it says of images, and images and
 * notes that say what is not true.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache_lab.h"
#include "harness.h"
#include "husk_compile.h"
#include "seen.h"
#include "small_module.h"

struct listed {
    struct husk_cache_entry list[8];
    char names[8][80], paths[8][128], cpus[8][64];
    int count;
    int stop_at; /* the callback's value, once there is one entry */
};

static int take_entry(void *user, const struct husk_cache_entry *entry) {
    struct listed *listed = user;
    CHECK(listed->count < 8);
    CHECK_EQ_U64(entry->size, sizeof *entry);
    CHECK(strlen(entry->compiler) < 64 && strlen(entry->target_cpu) < 64);
    CHECK(strlen(entry->module_name) < 128 && strlen(entry->module_path) < 4096);
    CHECK(entry->opt_level >= 0 && entry->opt_level <= 3);
    snprintf(listed->names[listed->count], 80, "%s", entry->name);
    snprintf(listed->paths[listed->count], 128, "%s", entry->module_path);
    snprintf(listed->cpus[listed->count], 64, "%s", entry->target_cpu);
    listed->list[listed->count++] = *entry;
    return listed->stop_at;
}

static void list(const struct cache_lab *lab, struct listed *ret_listed) {
    struct husk_error err;
    *ret_listed = (struct listed){.count = 0};
    CHECK_OK(husk_cache_list(lab->folder, take_entry, ret_listed, &err), err);
}

static void compile(const struct cache_lab *lab, int opt_level, bool strict) {
    struct husk_error err;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    options.cache_dir = lab->folder;
    options.opt_level = opt_level;
    options.strict = strict;
    options.cpu = "x86-64-v2";
    CHECK_OK(husk_compile_cached(small_wasm, sizeof small_wasm, &options, &compiled, &err), err);
    close(compiled.fd);
}

TEST(what_an_image_says) {
    need_worker();
    struct cache_lab lab;
    struct listed listed;
    uint8_t sha256[SHA256_BYTES];
    cache_lab_open(&lab);
    compile(&lab, 1, true);
    list(&lab, &listed);
    CHECK_EQ_I64(listed.count, 1);
    cache_lab_set_age(&lab, listed.names[0], 3600);
    compile(&lab, HUSK_OPT_NONE, false);
    cache_lab_file(&lab, image_name('1'), 4, 7200);
    cache_lab_file(&lab, note_name('1'), 4, 0);
    list(&lab, &listed);
    CHECK_EQ_I64(listed.count, 3);
    sha256_bytes(small_wasm, sizeof small_wasm, sha256);
    const struct husk_cache_entry *entry = listed.list;
    CHECK_EQ_I64(entry[0].opt_level, 0);
    CHECK(entry[0].is_strict && entry[0].is_usable);
    CHECK_EQ_I64(entry[1].opt_level, 1);
    CHECK(entry[1].is_strict && entry[1].is_usable);
    CHECK_EQ_I64(time(NULL) - entry[1].used_s >= 3600, true);
    CHECK_MEM(entry[1].wasm_sha256, sha256, sizeof sha256);
    CHECK_STR(listed.cpus[1], "x86-64-v2");
    CHECK_STR(listed.names[2], image_name('1'));
    CHECK(!entry[2].is_usable);
    CHECK_EQ_U64(entry[2].bytes, 4096);
    CHECK_STR(listed.cpus[2], "");
    cache_lab_close(&lab);
}

TEST(a_callback_ends_the_listing) {
    struct cache_lab lab;
    struct husk_error err;
    struct listed listed = {.stop_at = 77};
    cache_lab_open(&lab);
    cache_lab_file(&lab, image_name('1'), 4, 7200);
    cache_lab_file(&lab, image_name('2'), 4, 7200);
    CHECK_STATUS(husk_cache_list(lab.folder, take_entry, &listed, &err), 77);
    CHECK_EQ_I64(err.status, 77);
    CHECK_EQ_I64(listed.count, 1);
    cache_lab_close(&lab);
    CHECK_STATUS(husk_cache_list("/tmp/husk/no/such/folder", take_entry, &listed, &err), 0);
    CHECK_EQ_I64(listed.count, 1);
}

/* The module's file, by its note. A damaged note says nothing, and one may say anything. */
TEST(what_a_note_says) {
    need_worker();
    struct cache_lab lab;
    struct listed listed;
    struct stat st;
    uint8_t sha256[SHA256_BYTES], long_text[8192];
    cache_lab_open(&lab);
    compile(&lab, 1, false);
    const char *path = cache_lab_path(&lab, "module.wasm");
    cache_lab_write(&lab, "module.wasm", small_wasm, sizeof small_wasm);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    sha256_bytes(small_wasm, sizeof small_wasm, sha256);
    char *note = seen_note(lab.folder, fd, &st, sha256);
    close(fd);
    if (note == NULL) {
        cache_lab_close(&lab);
        SKIP("the file system of /tmp is none whose files are noted");
    }
    list(&lab, &listed);
    CHECK_STR(listed.paths[0], path);
    fd = open(note, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    const off_t text = st.st_size - (off_t)strlen(path);
    memset(long_text, 'x', sizeof long_text);
    CHECK(pwrite(fd, long_text, sizeof long_text, text) == sizeof long_text);
    list(&lab, &listed);
    CHECK_EQ_I64(strlen(listed.paths[0]), 127);
    CHECK(ftruncate(fd, text) == 0); /* as of a version that had no paths */
    list(&lab, &listed);
    CHECK_STR(listed.paths[0], "");
    CHECK(pwrite(fd, "\0/x", 3, text) == 3);
    list(&lab, &listed);
    CHECK_STR(listed.paths[0], "");
    CHECK(pwrite(fd, "/x", 2, text) == 2);
    CHECK(pwrite(fd, "x", 1, text - 20) == 1); /* the hash's check */
    list(&lab, &listed);
    CHECK_STR(listed.paths[0], "");
    close(fd);
    free(note);
    cache_lab_close(&lab);
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

TEST(images_that_lie) {
    need_worker();
    struct cache_lab lab;
    struct listed listed;
    struct stat st;
    uint32_t random = 1;
    int usable = 0;
    cache_lab_open(&lab);
    compile(&lab, 1, false);
    list(&lab, &listed);
    int fd = open(cache_lab_path(&lab, listed.names[0]), O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    CHECK(bytes != NULL && pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size);
    for (int round = 0; round < 4000; round++) {
        uint8_t value[4];
        const off_t place = (off_t)(next_random(&random) % 4000u);
        const size_t count = round % 2 == 0 ? 1 : 4;
        const uint32_t number = round % 3 == 0 ? UINT32_MAX : next_random(&random);
        memcpy(value, &number, sizeof value);
        CHECK(pwrite(fd, value, count, place) == (ssize_t)count);
        list(&lab, &listed);
        usable += listed.list[0].is_usable;
        CHECK(pwrite(fd, bytes + place, count, place) == (ssize_t)count);
    }
    CHECK(usable > 0 && usable < 4000);
    for (off_t size = 0; size < 4096; size += 7) {
        CHECK(ftruncate(fd, size) == 0);
        list(&lab, &listed);
    }
    free(bytes);
    close(fd);
    cache_lab_close(&lab);
}

TEST_MAIN()
