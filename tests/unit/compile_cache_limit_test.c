/*
 * tests/unit/compile_cache_limit_test.c: husk_compile_cached() keeps its folder below the limit:
 * what is used stays, what is old goes, and nobody who uses an image loses it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache_lab.h"
#include "cache_limit.h"
#include "harness.h"
#include "husk_compile.h"
#include "seen.h"
#include "small_module.h"
#include "xxh3.h"

#define DAY 86400
#define MIB (1u << 20)

/* What the small module's image takes on the disk. */
static uint64_t small_bytes;

/* Compile the small module. `variant`: 0 … 7, each has an image of its own. */
static struct husk_compiled compile(const struct cache_lab *lab, int variant,
                                    uint64_t limit_bytes) {
    struct husk_error err;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    options.cache_dir = lab->folder;
    options.cache_limit_bytes = limit_bytes;
    options.opt_level = 1 + (variant & 1);
    options.strict = (variant & 2) != 0;
    options.cpu = (variant & 4) != 0 ? "x86-64-v2" : "x86-64-v3";
    CHECK_OK(husk_compile_cached(small_wasm, sizeof small_wasm, &options, &compiled, &err), err);
    return compiled;
}

static bool is_hit(const struct cache_lab *lab, int variant, uint64_t limit_bytes) {
    struct husk_compiled compiled = compile(lab, variant, limit_bytes);
    close(compiled.fd);
    CHECK_MSG(compiled.warning.status == 0, "%s", compiled.warning.message);
    return compiled.was_cached;
}

/* The names of the images, from the last used one. */
struct names {
    char list[16][80];
    int count;
};

static int take_name(void *user, const struct husk_cache_entry *entry) {
    struct names *names = user;
    CHECK(names->count < 16);
    snprintf(names->list[names->count++], 80, "%s", entry->name);
    return 0;
}

static struct names names_of(const struct cache_lab *lab) {
    struct names names = {.count = 0};
    struct husk_error err;
    CHECK_OK(husk_cache_list(lab->folder, take_name, &names, &err), err);
    return names;
}

static uint64_t bytes_of(const struct cache_lab *lab) {
    struct husk_error err;
    struct husk_cache_info info = HUSK_CACHE_INFO_INIT;
    CHECK_OK(husk_cache_info(lab->folder, &info, &err), err);
    return info.bytes;
}

/* A folder with one small image, 40 days old, whose name is returned. */
static const char *open_lab(struct cache_lab *lab) {
    static char name[80];
    need_worker();
    cache_lab_open(lab);
    CHECK(!is_hit(lab, 0, 0));
    strcpy(name, names_of(lab).list[0]);
    cache_lab_set_age(lab, name, 40 * DAY);
    small_bytes = bytes_of(lab);
    CHECK(small_bytes > 0 && small_bytes < MIB);
    return name;
}

TEST(what_was_not_used_for_longest_goes) {
    struct cache_lab lab;
    const char *first = open_lab(&lab);
    cache_lab_file(&lab, image_name('1'), 512, 50 * DAY);
    cache_lab_file(&lab, note_name('2'), 512, 30 * DAY);
    cache_lab_file(&lab, image_name('3'), 512, 20 * DAY);
    cache_lab_file(&lab, "README", 512, 90 * DAY);
    CHECK(unlink(cache_lab_path(&lab, CACHE_COUNT_NAME)) == 0); /* these files were not counted */
    CHECK(!is_hit(&lab, 1, MIB));
    CHECK(!cache_lab_has(&lab, image_name('1')));
    CHECK(!cache_lab_has(&lab, first));
    CHECK(!cache_lab_has(&lab, note_name('2')));
    CHECK(cache_lab_has(&lab, image_name('3')));
    CHECK(cache_lab_has(&lab, "README"));
    CHECK(is_hit(&lab, 1, MIB));
    cache_lab_close(&lab);
}

/* A use makes it younger, at most once in an hour. */
TEST(a_use_is_noted) {
    struct cache_lab lab;
    const char *first = open_lab(&lab);
    CHECK(is_hit(&lab, 0, 0));
    CHECK(cache_lab_age(&lab, first) < 60);
    cache_lab_set_age(&lab, first, 1800);
    CHECK(is_hit(&lab, 0, 0));
    CHECK(cache_lab_age(&lab, first) >= 1800);
    cache_lab_set_age(&lab, first, -DAY); /* the clock was wrong */
    CHECK(is_hit(&lab, 0, 0));
    CHECK(cache_lab_age(&lab, first) >= 0);
    cache_lab_close(&lab);
}

/* The same by a note, which is used then as well. */
TEST(a_use_by_a_note_is_noted) {
    struct cache_lab lab;
    struct husk_error err;
    struct stat st;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    uint8_t sha256[SHA256_BYTES];
    (void)open_lab(&lab);
    options.cache_dir = lab.folder;
    cache_lab_write(&lab, "module.wasm", small_wasm, sizeof small_wasm);
    int fd = open(cache_lab_path(&lab, "module.wasm"), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    CHECK_OK(husk_compile_cached_fd(fd, &options, &compiled, &err), err);
    close(compiled.fd);
    sha256_bytes(small_wasm, sizeof small_wasm, sha256);
    char *note = seen_note(lab.folder, fd, &st, sha256); /* as if the file had been older */
    if (note == NULL) {
        close(fd);
        cache_lab_close(&lab);
        SKIP("the file system of /tmp is none whose files are noted");
    }
    const char *name = strrchr(note, '/') + 1;
    const struct names names = names_of(&lab);
    CHECK_EQ_I64(names.count, 2);
    cache_lab_set_age(&lab, name, 2 * DAY);
    for (int i = 0; i < names.count; i++)
        cache_lab_set_age(&lab, names.list[i], 2 * DAY);
    CHECK_OK(husk_cache_find(fd, &options, &compiled, &err), err);
    close(compiled.fd);
    CHECK(cache_lab_age(&lab, name) < 60);
    int used = 0;
    for (int i = 0; i < names.count; i++)
        used += cache_lab_age(&lab, names.list[i]) < 60;
    CHECK_EQ_I64(used, 1);
    free(note);
    close(fd);
    cache_lab_close(&lab);
}

/* Make the count one of so long ago. */
static void set_counted(const struct cache_lab *lab, int64_t age_s) {
    struct {
        char magic[16];
        uint64_t bytes, clean_above;
        int64_t counted_s;
        uint8_t check[XXH3_128_BYTES];
    } file;
    int fd = open(cache_lab_path(lab, CACHE_COUNT_NAME), O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, &file, sizeof file, 0) == sizeof file);
    file.counted_s = time(NULL) - age_s;
    xxh3_128(&file, sizeof file - sizeof file.check, file.check);
    CHECK(pwrite(fd, &file, sizeof file, 0) == sizeof file);
    close(fd);
}

/* Store an image, with 2 MiB in the folder that nobody has counted: is the folder read, and they
 * removed? */
static bool cleans(const struct cache_lab *lab) {
    const struct names names = names_of(lab);
    for (int i = 0; i < names.count; i++)
        CHECK(unlink(cache_lab_path(lab, names.list[i])) == 0);
    cache_lab_file(lab, image_name('1'), 2048, 50 * DAY);
    CHECK(!is_hit(lab, 1, MIB));
    return !cache_lab_has(lab, image_name('1'));
}

/* As long as the count is below the limit, nobody reads the folder. A count that is damaged, old,
 * from the future, gone or no file is made anew. */
TEST(the_count) {
    struct cache_lab lab;
    struct stat st;
    const char *count = CACHE_COUNT_NAME;
    (void)open_lab(&lab);
    CHECK(!cleans(&lab));
    cache_lab_write(&lab, count, "damage", 6);
    CHECK(cleans(&lab));
    CHECK(!cleans(&lab));
    CHECK(truncate(cache_lab_path(&lab, count), 30) == 0);
    CHECK(cleans(&lab));
    set_counted(&lab, 2 * DAY);
    CHECK(cleans(&lab));
    set_counted(&lab, -2 * DAY);
    CHECK(cleans(&lab));
    set_counted(&lab, DAY / 2);
    CHECK(!cleans(&lab));
    CHECK(unlink(cache_lab_path(&lab, count)) == 0);
    CHECK(cleans(&lab));
    CHECK(unlink(cache_lab_path(&lab, count)) == 0);
    CHECK(mkdir(cache_lab_path(&lab, count), 0700) == 0);
    CHECK(cleans(&lab));
    CHECK(rmdir(cache_lab_path(&lab, count)) == 0);
    cache_lab_file(&lab, "other", 4, 0);
    CHECK(symlink("other", cache_lab_path(&lab, count)) == 0);
    CHECK(cleans(&lab));
    CHECK(stat(cache_lab_path(&lab, "other"), &st) == 0);
    CHECK_EQ_I64(st.st_size, 4096); /* nobody wrote through the link */
    cache_lab_close(&lab);
}

static uint64_t counted(const struct cache_lab *lab) {
    uint64_t bytes = 0;
    int fd = open(cache_lab_path(lab, CACHE_COUNT_NAME), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, &bytes, sizeof bytes, 16) == sizeof bytes);
    close(fd);
    return bytes;
}

TEST(the_count_is_right) {
    struct cache_lab lab;
    (void)open_lab(&lab);
    CHECK_EQ_U64(counted(&lab), bytes_of(&lab));
    for (int variant = 1; variant < 8; variant++) {
        CHECK(!is_hit(&lab, variant, 0));
        CHECK_EQ_U64(counted(&lab), bytes_of(&lab));
        CHECK(is_hit(&lab, variant, 0));
    }
    CHECK_EQ_U64(counted(&lab), bytes_of(&lab));
    struct husk_cache_clean_options options = HUSK_CACHE_CLEAN_OPTIONS_INIT;
    options.to_bytes = bytes_of(&lab) / 2;
    CHECK_EQ_I64(husk_cache_clean(lab.folder, &options, NULL, NULL), 0);
    CHECK(bytes_of(&lab) > 0);
    CHECK_EQ_U64(counted(&lab), bytes_of(&lab));
    cache_lab_close(&lab);
}

TEST(an_image_beyond_the_limit_is_not_stored) {
    struct cache_lab lab;
    const char *first = open_lab(&lab);
    struct husk_compiled compiled = compile(&lab, 1, 4096);
    close(compiled.fd);
    CHECK_EQ_I64(compiled.warning.status, HUSK_E_LIMIT);
    CHECK_CONTAINS(compiled.warning.message, "limit of the cache, 4096");
    CHECK(cache_lab_has(&lab, first));
    CHECK_EQ_I64(cache_lab_count(&lab), 1);
    CHECK_EQ_I64(husk_cache_set_limit(lab.folder, 4096, NULL), 0);
    compiled = compile(&lab, 1, 0); /* the folder's own */
    close(compiled.fd);
    CHECK_EQ_I64(compiled.warning.status, HUSK_E_LIMIT);
    CHECK(!is_hit(&lab, 1, HUSK_CACHE_UNLIMITED));
    CHECK_EQ_I64(cache_lab_count(&lab), 2);
    cache_lab_close(&lab);
}

/* Room for one: the new image stays, whatever the clock says. */
TEST(the_new_image_stays) {
    struct cache_lab lab;
    const char *first = open_lab(&lab);
    const uint64_t limit_bytes = small_bytes + small_bytes / 2;
    cache_lab_set_age(&lab, first, -30 * 60); /* younger than the new one */
    CHECK(!is_hit(&lab, 1, limit_bytes));
    CHECK(!cache_lab_has(&lab, first));
    CHECK(is_hit(&lab, 1, limit_bytes));
    cache_lab_close(&lab);
}

TEST(an_open_image_outlives_its_name) {
    struct cache_lab lab;
    const char *first = open_lab(&lab);
    struct husk_compiled compiled = compile(&lab, 0, 0);
    CHECK(compiled.was_cached);
    cache_lab_set_age(&lab, first, DAY);
    CHECK(!is_hit(&lab, 1, small_bytes + 1));
    CHECK(!cache_lab_has(&lab, first));
    char magic[4] = "";
    CHECK(read(compiled.fd, magic, 4) == 4);
    CHECK(memcmp(magic, "\177ELF", 4) == 0);
    close(compiled.fd);
    cache_lab_close(&lab);
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Somebody has both locks and does not go on, as a stopped process. */
TEST(nobody_waits_for_a_lock_for_long) {
    struct cache_lab lab;
    const char *first = open_lab(&lab);
    struct flock both = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 2};
    int fd = open(cache_lab_path(&lab, CACHE_COUNT_NAME), O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && fcntl(fd, F_OFD_SETLK, &both) == 0);
    const uint64_t start = now_ms();
    CHECK(!is_hit(&lab, 1, 0));
    CHECK(is_hit(&lab, 1, 0));
    struct husk_cache_clean_options options = HUSK_CACHE_CLEAN_OPTIONS_INIT;
    options.removes_all = true;
    CHECK_EQ_I64(husk_cache_clean(lab.folder, &options, NULL, NULL), 0);
    CHECK(now_ms() - start < 60000);
    CHECK(!cache_lab_has(&lab, first));
    close(fd);
    CHECK(!is_hit(&lab, 2, 0));
    cache_lab_close(&lab);
}

static void *compile_all(void *user) {
    const struct cache_lab *lab = user;
    for (int round = 0; round < 2; round++)
        for (int variant = 0; variant < 8; variant++)
            (void)is_hit(lab, variant, 3 * small_bytes + 1);
    return NULL;
}

TEST(processes_and_threads_at_once) {
    struct cache_lab lab;
    (void)open_lab(&lab);
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        pids[i] = fork();
        CHECK(pids[i] >= 0);
        if (pids[i] == 0) {
            (void)compile_all(&lab);
            _exit(0);
        }
    }
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, compile_all, &lab) == 0);
    for (int i = 0; i < 20; i++) {
        struct husk_cache_clean_options options = HUSK_CACHE_CLEAN_OPTIONS_INIT;
        options.to_bytes = small_bytes;
        CHECK_EQ_I64(husk_cache_clean(lab.folder, &options, NULL, NULL), 0);
        (void)names_of(&lab);
        usleep(20000);
    }
    for (int i = 0; i < 2; i++) {
        int wait_status;
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(waitpid(pids[i], &wait_status, 0) == pids[i]);
        CHECK(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
    }
    CHECK(unlink(cache_lab_path(&lab, CACHE_COUNT_NAME)) == 0); /* what was counted may be off */
    (void)is_hit(&lab, 1, 3 * small_bytes + 1);
    (void)is_hit(&lab, 2, 3 * small_bytes + 1);
    CHECK(bytes_of(&lab) <= 5 * small_bytes);
    cache_lab_close(&lab);
}

/* ---- Disks ---- */

static bool mount_tmpfs(const struct cache_lab *lab, const char *size) {
    return mount("none", lab->folder, "tmpfs", 0, size) == 0;
}

TEST(a_full_disk_loses_its_oldest_images) {
    struct cache_lab lab;
    char size[64];
    (void)open_lab(&lab);
    snprintf(size, sizeof size, "size=%llu", (unsigned long long)(4 * small_bytes + 8192));
    if (!mount_tmpfs(&lab, size)) {
        cache_lab_close(&lab);
        SKIP("needs the right to mount a tmpfs");
    }
    const unsigned kib = (unsigned)(small_bytes / 1024);
    cache_lab_file(&lab, image_name('1'), kib, 3 * DAY);
    cache_lab_file(&lab, image_name('2'), kib, 2 * DAY);
    cache_lab_file(&lab, "README", 2 * kib, 9 * DAY);
    CHECK(!is_hit(&lab, 1, 0)); /* no warning */
    CHECK(is_hit(&lab, 1, 0));
    CHECK(!cache_lab_has(&lab, image_name('1')));
    CHECK(cache_lab_has(&lab, "README"));
    /* what is there would not make room enough, so it stays */
    CHECK(unlink(cache_lab_path(&lab, "README")) == 0);
    struct husk_cache_clean_options options = HUSK_CACHE_CLEAN_OPTIONS_INIT;
    options.removes_all = true;
    CHECK_EQ_I64(husk_cache_clean(lab.folder, &options, NULL, NULL), 0);
    cache_lab_file(&lab, image_name('3'), 4, DAY);
    cache_lab_file(&lab, "README", 4 * kib, 0);
    struct husk_compiled compiled = compile(&lab, 2, 0);
    close(compiled.fd);
    CHECK_CONTAINS(compiled.warning.message, "No space left on device");
    CHECK(cache_lab_has(&lab, image_name('3')));
    CHECK(umount(lab.folder) == 0);
    cache_lab_close(&lab);
}

TEST(a_read_only_folder_is_used) {
    struct cache_lab lab;
    (void)open_lab(&lab);
    if (!mount_tmpfs(&lab, "size=1m")) {
        cache_lab_close(&lab);
        SKIP("needs the right to mount a tmpfs");
    }
    CHECK(!is_hit(&lab, 0, 0));
    const struct names names = names_of(&lab);
    cache_lab_set_age(&lab, names.list[0], DAY);
    CHECK(mount(NULL, lab.folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    CHECK(is_hit(&lab, 0, 0));
    CHECK(cache_lab_age(&lab, names.list[0]) >= DAY);
    struct husk_compiled compiled = compile(&lab, 1, 0);
    close(compiled.fd);
    CHECK_CONTAINS(compiled.warning.message, "Read-only file system");
    CHECK(umount(lab.folder) == 0);
    cache_lab_close(&lab);
}

TEST_MAIN()
