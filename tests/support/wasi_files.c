/*
 * tests/support/wasi_files.c: see wasi_files.h.
 */
#include "wasi_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "wasi_abi.h"

#define FROM_ADDR 0x2000u
#define TO_ADDR 0x4000u
#define DATA_ADDR 0x6000u

static void must(bool is_true, const char *what) {
    if (is_true)
        return;
    fprintf(stderr, "wasi_files: %s failed\n", what);
    abort();
}

void wasi_files_share(const struct wasi_files *files, struct wasi_guest *guest, uint32_t rights) {
    const struct husk_wasi_dir dir = {
        .guest_path = "/", .host_path = files->inner, .kind = HUSK_WASI_DIR_HOST, .rights = rights};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.dirs = &dir;
    options.dirs_count = 1;
    options.open_max = 20000;
    wasi_guest_init(guest, &options);
}

void wasi_files_init(struct wasi_files *files, uint32_t rights) {
    strcpy(files->outer, "/tmp/husk-files-XXXXXX");
    must(mkdtemp(files->outer) != NULL, "mkdtemp");
    snprintf(files->inner, sizeof files->inner, "%s/in", files->outer);
    must(mkdir(files->inner, 0777) == 0, "mkdir");
    wasi_files_shell(files, "echo secret >../secret; mkdir ../out; echo other >../out/secret");
    wasi_files_share(files, &files->guest, rights);
}

void wasi_files_shell(const struct wasi_files *files, const char *command) {
    char line[512];
    must((size_t)snprintf(line, sizeof line, "cd %s && { %s; }", files->inner, command) <
             sizeof line,
         "a short command");
    must(system(line) == 0, line);
}

void wasi_files_done(struct wasi_files *files) {
    char line[256];
    wasi_guest_done(&files->guest);
    snprintf(line, sizeof line, "chmod -R u+rwx %s && rm -rf %s", files->outer, files->outer);
    must(system(line) == 0, line);
}

static uint32_t put_path(struct wasi_guest *guest, uint32_t addr, const char *path) {
    memcpy(guest->memory + addr, path, strlen(path));
    return (uint32_t)strlen(path);
}

int files_open_at(struct wasi_guest *guest, uint32_t dir, const char *path, uint32_t oflags,
                  uint64_t rights) {
    const uint32_t count = put_path(guest, FROM_ADDR, path);
    const uint16_t wasi_err =
        WASI_CALL(guest, path_open, dir, 0, FROM_ADDR, count, oflags, rights, rights, 0, 0);
    return wasi_err != 0 ? -(int)wasi_err : (int)wasi_guest_u32(guest, 0);
}

int files_open(struct wasi_guest *guest, const char *path, uint32_t oflags, uint64_t rights) {
    return files_open_at(guest, 3, path, oflags, rights);
}

uint16_t files_at(struct wasi_guest *guest, uint32_t func, const char *path) {
    return wasi_guest_call(guest, func,
                           (const uint64_t[]){3, FROM_ADDR, put_path(guest, FROM_ADDR, path)});
}

uint16_t files_two(struct wasi_guest *guest, uint32_t func, const char *from, const char *to) {
    const uint32_t from_bytes = put_path(guest, FROM_ADDR, from);
    const uint32_t to_bytes = put_path(guest, TO_ADDR, to);
    if (func == WASI_ID_path_link)
        return WASI_CALL(guest, path_link, 3, 0, FROM_ADDR, from_bytes, 3, TO_ADDR, to_bytes);
    return WASI_CALL(guest, path_rename, 3, FROM_ADDR, from_bytes, 3, TO_ADDR, to_bytes);
}

uint16_t files_symlink(struct wasi_guest *guest, const char *target, const char *path) {
    const uint32_t target_bytes = put_path(guest, FROM_ADDR, target);
    const uint32_t path_bytes = put_path(guest, TO_ADDR, path);
    return WASI_CALL(guest, path_symlink, FROM_ADDR, target_bytes, 3, TO_ADDR, path_bytes);
}

uint16_t files_stat(struct wasi_guest *guest, const char *path, bool is_followed) {
    const uint32_t count = put_path(guest, FROM_ADDR, path);
    return WASI_CALL(guest, path_filestat_get, 3, is_followed, FROM_ADDR, count, FILES_STAT_ADDR);
}

int files_write(struct wasi_guest *guest, uint32_t fd, const char *text) {
    wasi_guest_iovec(guest, 8, DATA_ADDR, put_path(guest, DATA_ADDR, text));
    const uint16_t wasi_err = WASI_CALL(guest, fd_write, fd, 8, 1, 0);
    return wasi_err != 0 ? -(int)wasi_err : (int)wasi_guest_u32(guest, 0);
}

int files_read(struct wasi_guest *guest, uint32_t fd, char *out, uint32_t count) {
    wasi_guest_iovec(guest, 8, DATA_ADDR, count);
    const uint16_t wasi_err = WASI_CALL(guest, fd_read, fd, 8, 1, 0);
    if (wasi_err != 0)
        return -(int)wasi_err;
    memcpy(out, guest->memory + DATA_ADDR, wasi_guest_u32(guest, 0));
    return (int)wasi_guest_u32(guest, 0);
}
