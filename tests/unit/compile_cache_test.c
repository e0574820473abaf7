/* husk_compile_cached(): hits, damage, options in the key, processes at once, and folders that
 * cannot be written. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "husk_compile.h"
#include "small_module.h"

static void make_folder(char folder[64]) {
    strcpy(folder, "/tmp/husk-cache-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

#define COUNT "husk-cache.count" /* not an entry */

/* Entries, and the path of the last one. */
static int entries(const char *folder, char path[512]) {
    DIR *dir = opendir(folder);
    int count = 0;
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, COUNT) == 0)
            continue;
        snprintf(path, 512, "%.200s/%.255s", folder, entry->d_name);
        count++;
    }
    closedir(dir);
    return count;
}

static void remove_folder(const char *folder) {
    char path[512];
    while (entries(folder, path) > 0)
        CHECK(unlink(path) == 0);
    snprintf(path, sizeof path, "%s/" COUNT, folder);
    (void)unlink(path);
    CHECK(rmdir(folder) == 0);
}

/* The first `count` bytes of the small module. */
static int cached(size_t count, const struct husk_compile_options *options, const char *folder,
                  struct husk_compiled *ret_compiled, struct husk_error *err) {
    struct husk_compile_options full = HUSK_COMPILE_OPTIONS_INIT;
    if (options != NULL)
        full = *options;
    full.cache_dir = folder;
    return husk_compile_cached(small_wasm, count, &full, ret_compiled, err);
}

static bool compile_in(const char *folder, const struct husk_compile_options *options,
                       struct husk_error *warning) {
    struct husk_error err;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    CHECK_OK(cached(sizeof small_wasm, options, folder, &compiled, &err), err);
    char magic[4] = "";
    CHECK(read(compiled.fd, magic, 4) == 4);
    CHECK(memcmp(magic, "\177ELF", 4) == 0);
    close(compiled.fd);
    if (warning != NULL)
        *warning = compiled.warning;
    return compiled.was_cached;
}

TEST(miss_then_hit) {
    need_worker();
    char folder[64], deep[100], path[512];
    struct husk_error warning;
    make_folder(folder);
    snprintf(deep, sizeof deep, "%s/a/b", folder);
    CHECK(!compile_in(deep, NULL, &warning));
    CHECK_EQ_I64(warning.status, 0);
    CHECK(compile_in(deep, NULL, &warning));
    CHECK_EQ_I64(entries(deep, path), 1);
    remove_folder(deep);
    snprintf(deep, sizeof deep, "%s/a", folder);
    CHECK(rmdir(deep) == 0);
    remove_folder(folder);
}

TEST(options_are_part_of_the_key) {
    need_worker();
    char folder[64], path[512];
    make_folder(folder);
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    CHECK(!compile_in(folder, &options, NULL));
    options.opt_level = HUSK_OPT_NONE;
    CHECK(!compile_in(folder, &options, NULL));
    options.strict = true;
    CHECK(!compile_in(folder, &options, NULL));
    options.cpu = "x86-64-v2";
    CHECK(!compile_in(folder, &options, NULL));
    options.threads = 1; /* does not change the code */
    CHECK(compile_in(folder, &options, NULL));
    options = (struct husk_compile_options)HUSK_COMPILE_OPTIONS_INIT;
    options.opt_level = 2; /* the default, by name */
    CHECK(compile_in(folder, &options, NULL));
    CHECK_EQ_I64(entries(folder, path), 4);
    remove_folder(folder);
}

static void damage(const char *path, off_t offset) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    CHECK(fd >= 0);
    CHECK(pread(fd, &byte, 1, offset) == 1);
    byte ^= 0x10;
    CHECK(pwrite(fd, &byte, 1, offset) == 1);
    close(fd);
}

TEST(damaged_entries_are_made_again) {
    need_worker();
    char folder[64], path[512];
    struct stat st;
    make_folder(folder);
    CHECK(!compile_in(folder, NULL, NULL));
    CHECK_EQ_I64(entries(folder, path), 1);
    CHECK(stat(path, &st) == 0);
    const off_t places[] = {0, 40, 64, 130, 700, 4096, st.st_size / 2, st.st_size - 1};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        damage(path, places[i]);
        CHECK_MSG(!compile_in(folder, NULL, NULL), "damage at %lld went unseen",
                  (long long)places[i]);
        CHECK(compile_in(folder, NULL, NULL));
    }
    CHECK(truncate(path, st.st_size - 1) == 0);
    CHECK(!compile_in(folder, NULL, NULL));
    CHECK(truncate(path, 0) == 0);
    CHECK(!compile_in(folder, NULL, NULL));
    CHECK(unlink(path) == 0);
    CHECK(symlink("/dev/zero", path) == 0); /* not followed */
    CHECK(!compile_in(folder, NULL, NULL));
    CHECK(compile_in(folder, NULL, NULL));
    remove_folder(folder);
}

TEST(processes_at_once) {
    need_worker();
    char folder[64], path[512];
    make_folder(folder);
    for (int i = 0; i < 6; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            struct husk_compiled compiled = HUSK_COMPILED_INIT;
            _exit(cached(sizeof small_wasm, NULL, folder, &compiled, NULL) == 0 ? 0 : 1);
        }
    }
    for (int i = 0; i < 6; i++) {
        int wait_status;
        CHECK(wait(&wait_status) > 0);
        CHECK(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
    }
    CHECK_EQ_I64(entries(folder, path), 1); /* one entry, no temporary files */
    CHECK(compile_in(folder, NULL, NULL));
    remove_folder(folder);
}

TEST(folders_that_cannot_be_written) {
    need_worker();
    struct husk_error warning, err;
    struct husk_compiled compiled = {.size = sizeof compiled, .fd = -1};
    CHECK(!compile_in("/proc/self/husk", NULL, &warning));
    CHECK(warning.status != 0);
    CHECK_CONTAINS(warning.message, "/proc/self/husk");
    CHECK_CONTAINS(warning.message, "compiled again next time");
    CHECK(!compile_in("/dev/null/husk", NULL, &warning));
    CHECK(warning.status != 0);
    CHECK(!compile_in("/dev/null/husk", NULL, NULL));
    CHECK_STATUS(cached(sizeof small_wasm, NULL, "", &compiled, &err), HUSK_E_INVAL);
    CHECK_STATUS(cached(sizeof small_wasm, NULL, NULL, &compiled, &err), HUSK_E_INVAL);
    CHECK_STATUS(cached(9, NULL, "/dev/null/x", &compiled, &err), HUSK_E_BAD_WASM);
    CHECK_EQ_I64(compiled.warning.status, 0);
    CHECK(compiled.fd == -1);
    /* who sets a cache folder expects that it is used */
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    int fd = -1;
    options.cache_dir = "/tmp";
    CHECK_STATUS(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "husk_compile_cached()");
    CHECK_EQ_I64(fd, -1);
}

TEST(a_full_disk) {
    need_worker();
    char folder[64], path[512];
    struct husk_error warning;
    make_folder(folder);
    if (mount("none", folder, "tmpfs", 0, "size=4k") != 0) {
        CHECK(rmdir(folder) == 0);
        SKIP("needs the right to mount a tiny tmpfs");
    }
    bool was_cached = compile_in(folder, NULL, &warning);
    int left = entries(folder, path);
    CHECK(umount(folder) == 0);
    CHECK(rmdir(folder) == 0);
    CHECK(!was_cached);
    CHECK_CONTAINS(warning.message, "No space left on device");
    CHECK_EQ_I64(left, 0);
}

TEST_MAIN()
