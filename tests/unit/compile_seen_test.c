/*
 * husk_compile_cached_fd(), husk_cache_find(): a file that was compiled is found without being
 * read, and no other file, and no other state of it, is taken for it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "husk.h"
#include "husk_compile.h"
#include "seen.h"
#include "small_module.h"

struct place {
    char folder[64], module[96], cache[96];
    int fd; /* of the module */
    struct husk_compile_options options;
    struct husk_error err;
};

static void place_open(struct place *place) {
    strcpy(place->folder, "/tmp/husk-seen-XXXXXX");
    CHECK(mkdtemp(place->folder) != NULL);
    snprintf(place->module, sizeof place->module, "%s/module.wasm", place->folder);
    snprintf(place->cache, sizeof place->cache, "%s/cache", place->folder);
    place->fd = open(place->module, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(write(place->fd, small_wasm, sizeof small_wasm) == (ssize_t)sizeof small_wasm);
    place->options = (struct husk_compile_options)HUSK_COMPILE_OPTIONS_INIT;
    place->options.cache_dir = place->cache;
}

static void place_close(struct place *place) {
    char command[128];
    close(place->fd);
    snprintf(command, sizeof command, "rm -r '%s'", place->folder);
    CHECK(system(command) == 0);
}

/* -1: it is not found. */
static int find(struct place *place) {
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    int status = husk_cache_find(place->fd, &place->options, &compiled, &place->err);
    CHECK(status == 0 || status == HUSK_E_NOT_FOUND);
    return status == 0 ? compiled.fd : -1;
}

static bool is_found(struct place *place) {
    int fd = find(place);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool compile(struct place *place) {
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    CHECK_OK(husk_compile_cached_fd(place->fd, &place->options, &compiled, &place->err),
             place->err);
    close(compiled.fd);
    return compiled.was_cached;
}

/* As if the file had been old when it was compiled. */
static void note(struct place *place) {
    struct stat st;
    uint8_t sha256[SHA256_BYTES];
    sha256_bytes(small_wasm, sizeof small_wasm, sha256);
    CHECK(fstat(place->fd, &st) == 0);
    seen_note(place->cache, place->fd, &st, sha256, NULL);
}

TEST(a_file_is_found_once_it_is_old_enough) {
    need_worker();
    struct place place;
    place_open(&place);
    CHECK(!is_found(&place));
    CHECK(!compile(&place));
    CHECK(!is_found(&place)); /* it may change again within the same tick of the clock */
    for (int i = 0; i < 80 && !is_found(&place); i++) {
        usleep(100000);
        CHECK(compile(&place));
        CHECK(i >= 15 || !is_found(&place));
    }
    int fd = find(&place);
    CHECK(fd >= 0);
    husk_image *image = NULL;
    CHECK_OK(husk_image_open_fd(NULL, fd, NULL, &image, &place.err), place.err);
    husk_image_unref(image);
    close(fd);
    place_close(&place);
}

/* Its size and its time of modification are the same. */
TEST(a_changed_file_is_not_found) {
    need_worker();
    struct place place;
    struct stat st;
    place_open(&place);
    compile(&place);
    note(&place);
    CHECK(is_found(&place));
    CHECK(fstat(place.fd, &st) == 0);
    usleep(20000); /* a tick of the kernel's clock for files */
    CHECK(pwrite(place.fd, small_wasm, 4, 0) == 4);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    CHECK(futimens(place.fd, times) == 0);
    CHECK(!is_found(&place));
    compile(&place);
    note(&place);
    CHECK(is_found(&place));
    usleep(20000);
    CHECK(ftruncate(place.fd, sizeof small_wasm - 1) == 0);
    CHECK(!is_found(&place));
    place_close(&place);
}

TEST(another_file_is_not_found) {
    need_worker();
    struct place place;
    place_open(&place);
    compile(&place);
    note(&place);
    close(place.fd);
    CHECK(unlink(place.module) == 0);
    place.fd = open(place.module, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(write(place.fd, small_wasm, sizeof small_wasm) == (ssize_t)sizeof small_wasm);
    CHECK(!is_found(&place));
    place_close(&place);
}

TEST(other_options_are_not_found) {
    need_worker();
    struct place place;
    place_open(&place);
    compile(&place);
    note(&place);
    place.options.opt_level = HUSK_OPT_NONE;
    CHECK(!is_found(&place));
    compile(&place);
    CHECK(is_found(&place)); /* the note is of the file */
    place.options.cache_dir = "";
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    CHECK_STATUS(husk_cache_find(place.fd, &place.options, &compiled, &place.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_cache_find(place.fd, &place.options, NULL, &place.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_compile_cached_fd(place.fd, &place.options, NULL, &place.err), HUSK_E_INVAL);
    place.options.cache_dir = place.cache;
    place_close(&place);
}

static void change_byte(const char *path, off_t offset) {
    uint8_t byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, &byte, 1, offset) == 1);
    byte ^= 4;
    CHECK(pwrite(fd, &byte, 1, offset) == 1);
    close(fd);
}

static void path_of(const struct place *place, const char *pattern, char path[256]) {
    char command[192];
    snprintf(command, sizeof command, "echo %s/%s", place->cache, pattern);
    FILE *names = popen(command, "re");
    CHECK(names != NULL && fgets(path, 256, names) != NULL);
    path[strcspn(path, "\n")] = '\0';
    pclose(names);
}

TEST(damaged_notes_and_images) {
    need_worker();
    struct place place;
    char seen[256], image_path[256];
    husk_image *image = NULL;
    place_open(&place);
    compile(&place);
    note(&place);
    path_of(&place, "*.seen", seen);
    path_of(&place, "*.husk", image_path);
    for (off_t at = 0; at < 120; at += 7) {
        change_byte(seen, at);
        CHECK(!is_found(&place));
        change_byte(seen, at);
        CHECK(is_found(&place));
    }
    change_byte(image_path, 5000); /* found: whoever opens it compares the hash */
    int fd = find(&place);
    CHECK_STATUS(husk_image_open_fd(NULL, fd, NULL, &image, &place.err), HUSK_E_BAD_IMAGE);
    close(fd);
    CHECK(!compile(&place)); /* and this makes it anew */
    fd = find(&place);
    CHECK_OK(husk_image_open_fd(NULL, fd, NULL, &image, &place.err), place.err);
    husk_image_unref(image);
    close(fd);
    CHECK(truncate(image_path, 10) == 0);
    CHECK(!is_found(&place));
    CHECK(unlink(image_path) == 0);
    CHECK(!is_found(&place));
    CHECK(truncate(seen, 50) == 0);
    CHECK(!is_found(&place));
    CHECK(unlink(seen) == 0 && symlink("/dev/zero", seen) == 0); /* not followed */
    CHECK(!is_found(&place));
    compile(&place);
    place_close(&place);
}

/* A pipe has no states; a module may come from one all the same. */
TEST(pipes) {
    need_worker();
    struct place place;
    int ends[2];
    place_open(&place);
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], small_wasm, sizeof small_wasm) == (ssize_t)sizeof small_wasm);
    close(ends[1]);
    const int file = place.fd;
    place.fd = ends[0];
    CHECK(!is_found(&place));
    CHECK(!compile(&place));
    close(ends[0]);
    place.fd = -1;
    CHECK(!is_found(&place));
    place.fd = file;
    CHECK(lseek(file, 3, SEEK_SET) == 3); /* from the start, wherever it is */
    CHECK(compile(&place));
    place_close(&place);
}

TEST(which_times_are_settled) {
    struct stat st = {.st_mtim = {1000, 5}, .st_ctim = {1000, 5}};
    CHECK(!seen_is_settled(&st, 1000) && !seen_is_settled(&st, 1003));
    CHECK(seen_is_settled(&st, 1004));
    CHECK(!seen_is_settled(&st, 900)); /* the clock went back */
    st.st_mtim.tv_sec = 1002;
    CHECK(!seen_is_settled(&st, 1005));
    st.st_mtim.tv_sec = 0;
    CHECK(seen_is_settled(&st, 1004));
    st.st_ctim.tv_nsec = 0; /* made reproducibly */
    CHECK(!seen_is_settled(&st, 1004));
}

TEST_MAIN()
