/*
 * tests/support/vm_files.c: see vm_files.h.
 */
#include "vm_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "literals.h"
#include "wasi.h"
#include "wasi_abi.h"
#include "wat.h"

/* Where things are in the guest's memory. */
#define RESULT 0u
#define IOVECS 64u
#define PATH 0x1000u
#define PATH2 0x2000u
#define DATA 0x4000u
#define MEMORY_BYTES 0x20000u

/* ---- The module ---- */

static void append(char **text, size_t *bytes, const char *format, const char *a, const char *b) {
    char line[512];
    const int count = snprintf(line, sizeof line, format, a, b);
    CHECK(count > 0 && (size_t)count < sizeof line);
    *text = realloc(*text, *bytes + (size_t)count + 1);
    CHECK(*text != NULL);
    memcpy(*text + *bytes, line, (size_t)count + 1);
    *bytes += (size_t)count;
}

/* Freed by the caller. */
static char *module_text(void) {
    char *text = NULL;
    size_t bytes = 0;
    append(&text, &bytes, "(module\n%s%s", "", "");
    for (uint32_t i = 0; i < WASI_FUNCS_COUNT; i++) {
        const struct wasi_func *func = &wasi_funcs[i];
        char params[128] = "";
        for (const char *param = func->params; *param != '\0'; param++)
            strcat(params, *param == 'i' ? " i32" : " i64");
        append(&text, &bytes, " (import \"wasi_snapshot_preview1\" \"%s\" (func $%s", func->name,
               func->name);
        append(&text, &bytes, " (param%s)%s))\n", params, func->has_result ? " (result i32)" : "");
    }
    for (uint32_t i = 0; i < WASI_FUNCS_COUNT; i++)
        append(&text, &bytes, " (export \"%s\" (func $%s))\n", wasi_funcs[i].name,
               wasi_funcs[i].name);
    append(&text, &bytes, " (memory (export \"memory\") 2))\n%s%s", "", "");
    return text;
}

void vm_files_open(struct vm_files *files, const struct husk_wasi_dir *dir) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_error err;
    char *text = module_text();
    *files = (struct vm_files){0};
    options.dirs = dir;
    options.dirs_count = 1;
    /* Number 0 is open, so that no file gets it. */
    options.stdin_fd = STDERR_FILENO;
    options.stdin_rights = HUSK_WASI_WRITE;
    CHECK_OK(husk_engine_new(NULL, &files->engine, &err), err);
    files->image = wat_image_with(files->engine, text, WAT_WORKER);
    CHECK_OK(husk_imports_new(files->engine, &files->imports, &err), err);
    CHECK_OK(husk_imports_wasi(files->imports, &options, &err), err);
    CHECK_OK(husk_sandbox_new(files->image, files->imports, NULL, &files->sandbox, &err), err);
    free(text);
}

void vm_files_close(struct vm_files *files) {
    husk_image_unref(files->snapshot);
    husk_sandbox_free(files->sandbox);
    husk_imports_free(files->imports);
    husk_image_unref(files->image);
    husk_engine_unref(files->engine);
}

/* ---- Calls ---- */

static uint8_t *memory_of(struct vm_files *files) {
    struct husk_error err;
    void *span = NULL;
    CHECK_OK(husk_memory_span(files->sandbox, RANGE(.count = MEMORY_BYTES), &span, &err), err);
    return span;
}

static int errno_of(int32_t wasi_err) {
    switch (wasi_err) {
    case 0: return 0;
#define ERRNO_CASE(name, number)                                                                   \
    case number: return -E##name;
        WASI_ERRNO_LIST(ERRNO_CASE)
#undef ERRNO_CASE
    default: FAIL("the guest got errno %d", wasi_err); return -EIO;
    }
}

static int call_id(struct vm_files *files, uint32_t id, const uint64_t *values) {
    const struct wasi_func *func = &wasi_funcs[id];
    const size_t count = strlen(func->params);
    struct husk_value args[10], result = {.type = HUSK_I32};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    for (size_t i = 0; i < count; i++) {
        args[i] = (struct husk_value){.type = func->params[i] == 'i' ? HUSK_I32 : HUSK_I64};
        if (func->params[i] == 'i')
            args[i].of.i32 = (int32_t)(uint32_t)values[i];
        else
            args[i].of.i64 = (int64_t)values[i];
    }
    CHECK_OK(husk_call(files->sandbox,
                       CALL(.name = func->name, .args = args, .args_count = count,
                            .results = &result, .results_count = 1),
                       &outcome, &err),
             err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "%s: %s", func->name, outcome.message);
    return errno_of(result.of.i32);
}
#define CALL_WASI(files, name, ...)                                                                \
    call_id(files, WASI_ID_##name, (const uint64_t[]){__VA_ARGS__ __VA_OPT__(, ) 0})

static uint64_t put_path(struct vm_files *files, uint32_t addr, const char *path) {
    const size_t bytes = strlen(path);
    memcpy(memory_of(files) + addr, path, bytes);
    return bytes;
}

static uint64_t result_of(struct vm_files *files, uint32_t at, size_t bytes) {
    uint64_t value = 0;
    memcpy(&value, memory_of(files) + RESULT + at, bytes);
    return value;
}

static void stat_of(struct vm_files *files, struct stat *ret_stat) {
    static const mode_t modes[] = {[WASI_FILETYPE_DIRECTORY] = S_IFDIR,
                                   [WASI_FILETYPE_REGULAR_FILE] = S_IFREG,
                                   [WASI_FILETYPE_SYMBOLIC_LINK] = S_IFLNK};
    const uint64_t filetype = result_of(files, 16, 1);
    CHECK(filetype < sizeof modes / sizeof modes[0]);
    *ret_stat = (struct stat){.st_ino = result_of(files, 8, 8),
                              .st_mode = modes[filetype],
                              .st_nlink = result_of(files, 24, 8),
                              .st_size = (off_t)result_of(files, 32, 8)};
}

/* ---- Operations ---- */

static int vm_open(void *self, uint32_t dir, const char *path, uint32_t oflags, uint32_t how) {
    struct vm_files *files = self;
    const uint64_t bytes = put_path(files, PATH, path);
    uint64_t rights = WASI_RIGHTS_FILE | WASI_RIGHTS_DIR;
    if ((how & FILES_WRITE) == 0)
        rights &= ~WASI_RIGHTS_FD_CHANGE;
    const int status =
        CALL_WASI(files, path_open, dir, (how & FILES_FOLLOW) != 0 ? WASI_LOOKUP_SYMLINK_FOLLOW : 0,
                  PATH, bytes, oflags, rights, WASI_RIGHTS_FILE | WASI_RIGHTS_DIR,
                  (how & FILES_APPEND) != 0 ? WASI_FDFLAG_APPEND : 0, RESULT);
    return status != 0 ? status : (int)result_of(files, 0, 4);
}

static int vm_close(void *self, uint32_t fd) {
    return CALL_WASI(self, fd_close, fd);
}

static long vm_io(void *self, uint32_t fd, void *bytes, size_t count, bool is_write,
                  uint64_t offset) {
    struct vm_files *files = self;
    const uint32_t half = (uint32_t)count / 2;
    const uint32_t iovecs[] = {DATA, half, DATA + half, (uint32_t)count - half};
    CHECK(count <= MEMORY_BYTES - DATA);
    memcpy(memory_of(files) + IOVECS, iovecs, sizeof iovecs);
    if (is_write)
        memcpy(memory_of(files) + DATA, bytes, count);
    const int status = offset == FILES_HERE
                           ? (is_write ? CALL_WASI(files, fd_write, fd, IOVECS, 2, RESULT)
                                       : CALL_WASI(files, fd_read, fd, IOVECS, 2, RESULT))
                           : (is_write ? CALL_WASI(files, fd_pwrite, fd, IOVECS, 2, offset, RESULT)
                                       : CALL_WASI(files, fd_pread, fd, IOVECS, 2, offset, RESULT));
    if (status != 0)
        return status;
    const uint64_t moved = result_of(files, 0, 4);
    if (!is_write)
        memcpy(bytes, memory_of(files) + DATA, moved);
    return (long)moved;
}

static int64_t vm_seek(void *self, uint32_t fd, int64_t offset, int whence) {
    const int status = CALL_WASI(self, fd_seek, fd, (uint64_t)offset, (uint64_t)whence, RESULT);
    return status != 0 ? status : (int64_t)result_of(self, 0, 8);
}

static int vm_fd_stat(void *self, uint32_t fd, struct stat *ret_stat) {
    const int status = CALL_WASI(self, fd_filestat_get, fd, RESULT);
    if (status == 0)
        stat_of(self, ret_stat);
    return status;
}

static int vm_resize(void *self, uint32_t fd, int64_t bytes) {
    return CALL_WASI(self, fd_filestat_set_size, fd, (uint64_t)bytes);
}

static int vm_allocate(void *self, uint32_t fd, int64_t offset, int64_t bytes) {
    return CALL_WASI(self, fd_allocate, fd, (uint64_t)offset, (uint64_t)bytes);
}

static int vm_stat(void *self, uint32_t dir, const char *path, bool is_followed,
                   struct stat *ret_stat) {
    const uint64_t bytes = put_path(self, PATH, path);
    const int status = CALL_WASI(self, path_filestat_get, dir, is_followed, PATH, bytes, RESULT);
    if (status == 0)
        stat_of(self, ret_stat);
    return status;
}

static int vm_make_dir(void *self, uint32_t dir, const char *path) {
    const uint64_t bytes = put_path(self, PATH, path);
    return CALL_WASI(self, path_create_directory, dir, PATH, bytes);
}

static int vm_remove_dir(void *self, uint32_t dir, const char *path) {
    const uint64_t bytes = put_path(self, PATH, path);
    return CALL_WASI(self, path_remove_directory, dir, PATH, bytes);
}

static int vm_unlink(void *self, uint32_t dir, const char *path) {
    const uint64_t bytes = put_path(self, PATH, path);
    return CALL_WASI(self, path_unlink_file, dir, PATH, bytes);
}

static int vm_symlink(void *self, const char *target, uint32_t dir, const char *path) {
    const uint64_t target_bytes = put_path(self, PATH2, target), bytes = put_path(self, PATH, path);
    return CALL_WASI(self, path_symlink, PATH2, target_bytes, dir, PATH, bytes);
}

static long vm_read_link(void *self, uint32_t dir, const char *path, char *out, size_t count) {
    const uint64_t bytes = put_path(self, PATH, path);
    const int status = CALL_WASI(self, path_readlink, dir, PATH, bytes, DATA, count, RESULT);
    if (status != 0)
        return status;
    memcpy(out, memory_of(self) + DATA, result_of(self, 0, 4));
    return (long)result_of(self, 0, 4);
}

static int vm_link(void *self, uint32_t dir, const char *path, bool is_followed, uint32_t new_dir,
                   const char *new_path) {
    const uint64_t bytes = put_path(self, PATH, path), new_bytes = put_path(self, PATH2, new_path);
    return CALL_WASI(self, path_link, dir, is_followed, PATH, bytes, new_dir, PATH2, new_bytes);
}

static int vm_rename(void *self, uint32_t dir, const char *path, uint32_t new_dir,
                     const char *new_path) {
    const uint64_t bytes = put_path(self, PATH, path), new_bytes = put_path(self, PATH2, new_path);
    return CALL_WASI(self, path_rename, dir, PATH, bytes, new_dir, PATH2, new_bytes);
}

/* ---- Names ---- */

/* Whole entries of a buffer. Returns the last one's cookie. */
static uint64_t put_entries(const uint8_t *bytes, uint64_t count, uint64_t cookie,
                            struct buf *names) {
    uint64_t at = 0;
    while (count - at >= WASI_DIRENT_BYTES) {
        uint32_t name_bytes;
        memcpy(&name_bytes, bytes + at + 16, 4);
        if (count - at - WASI_DIRENT_BYTES < name_bytes)
            break;
        memcpy(&cookie, bytes + at, 8);
        files_put_name(names, (const char *)bytes + at + WASI_DIRENT_BYTES, name_bytes,
                       bytes[at + 20] == WASI_FILETYPE_DIRECTORY);
        at += WASI_DIRENT_BYTES + name_bytes;
    }
    CHECK(at > 0 || count < WASI_DIRENT_BYTES);
    return cookie;
}

static int vm_list(void *self, uint32_t fd, uint32_t page, struct buf *names) {
    const uint64_t room = 64 + page * 32ull;
    uint64_t cookie = 0, count;
    do {
        const int status = CALL_WASI(self, fd_readdir, fd, DATA, room, cookie, RESULT);
        if (status != 0)
            return status;
        count = result_of(self, 0, 4);
        cookie = put_entries(memory_of(self) + DATA, count, cookie, names);
    } while (count == room);
    return 0;
}

/* ---- Snapshots ---- */

static void vm_save(void *self) {
    struct vm_files *files = self;
    struct husk_error err;
    husk_image_unref(files->snapshot);
    files->snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(files->sandbox, &files->snapshot, &err), err);
}

static void make_sandbox(struct vm_files *files, husk_image *image) {
    struct husk_error err;
    husk_sandbox_free(files->sandbox);
    CHECK_OK(husk_sandbox_new(image, files->imports, NULL, &files->sandbox, &err), err);
}

static void vm_load(void *self) {
    struct vm_files *files = self;
    struct husk_error err;
    husk_sandbox *clone = NULL;
    husk_image *opened = NULL;
    const uint32_t way = files->loads++ % 6;
    if (way < 3) {
        CHECK_OK(husk_sandbox_restore(files->sandbox, files->snapshot, &err), err);
    } else if (way == 3) {
        make_sandbox(files, files->snapshot);
    } else if (way == 4) {
        make_sandbox(files, files->snapshot);
        CHECK_OK(husk_sandbox_clone(files->sandbox, &clone, &err), err);
        husk_sandbox_free(files->sandbox);
        files->sandbox = clone;
    } else {
        CHECK_OK(husk_image_save(files->snapshot, files->saved, &err), err);
        CHECK_OK(husk_image_open(files->engine, files->saved, NULL, &opened, &err), err);
        make_sandbox(files, opened);
        husk_image_unref(files->snapshot);
        files->snapshot = opened;
    }
}

const struct files_api vm_files_api = {.open = vm_open,
                                       .close = vm_close,
                                       .io = vm_io,
                                       .seek = vm_seek,
                                       .fd_stat = vm_fd_stat,
                                       .resize = vm_resize,
                                       .allocate = vm_allocate,
                                       .stat = vm_stat,
                                       .make_dir = vm_make_dir,
                                       .remove_dir = vm_remove_dir,
                                       .unlink = vm_unlink,
                                       .symlink = vm_symlink,
                                       .read_link = vm_read_link,
                                       .link = vm_link,
                                       .rename = vm_rename,
                                       .list = vm_list,
                                       .save = vm_save,
                                       .load = vm_load};
