/*
 * host/wasi/wasi_dirs.c: the directories that the embedder gives a guest: checks the options'
 * table, and opens the host's directories.
 */
#include "wasi_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"
#include "name_text.h"
#include "utf8.h"
#include "wasi_abi.h"

#define DIRS_MAX 64u /* PRIVFS_ROOTS_MAX; one file of documentation has room for their names */
#define PRIVATE_DEFAULT_BYTES (1ull << 30)
#define PRIVATE_MAX_BYTES (8ull << 30) /* the private layer's window in the arena */
#define PRIVATE_DEFAULT_ENTRIES (1ull << 20)
#define PRIVATE_MAX_ENTRIES (16ull << 20)

static bool has_host(uint32_t kind) {
    return kind == HUSK_WASI_DIR_HOST || kind == HUSK_WASI_DIR_COW;
}

/* By kind. */
static const struct wasi_fd_ops *ops_of(uint32_t kind) {
    static const struct wasi_fd_ops *const kinds[] = {[HUSK_WASI_DIR_HOST] = &wasi_hostdir_ops,
                                                      [HUSK_WASI_DIR_COW] = &wasi_privdir_ops,
                                                      [HUSK_WASI_DIR_MEM] = &wasi_privdir_ops};
    return kinds[kind];
}

/* ---- Options ---- */

/* Without the slashes at its end: "/data/" and "/data" are one directory to a guest. */
static size_t significant_bytes(const char *guest_path) {
    size_t count = strlen(guest_path);
    while (count > 1 && guest_path[count - 1] == '/')
        count--;
    return count;
}

static bool is_same_path(const char *a, const char *b) {
    const size_t count = significant_bytes(a);
    return count == significant_bytes(b) && memcmp(a, b, count) == 0;
}

static int row_error(struct husk_error *err, size_t row, const char *reason) {
    return error_set(err, HUSK_E_INVAL, "dirs[%zu]: %s", row, reason);
}

static int check_host(const struct husk_wasi_dir *given, size_t row, struct husk_error *err) {
    const bool has_path = given->host_path != NULL;
    if (has_host(given->kind) && !has_path && given->host_fd < 0)
        return row_error(err, row, "it has neither host_path nor host_fd");
    if (!has_host(given->kind) && (has_path || given->host_fd > 0))
        return row_error(err, row,
                         "a directory of kind HUSK_WASI_DIR_MEM has no host_path and no host_fd");
    return 0;
}

static int check_row(const struct husk_wasi_dir *rows, size_t row, struct husk_error *err) {
    const struct husk_wasi_dir *given = &rows[row];
    const char *path = given->guest_path;
    if (path == NULL || path[0] == '\0')
        return row_error(err, row, "guest_path is missing or empty");
    if (strlen(path) > WASI_PATH_MAX_BYTES)
        return row_error(err, row, "guest_path is longer than 4,095 bytes");
    if (!utf8_is_valid((const uint8_t *)path, strlen(path)))
        return row_error(err, row, "guest_path is not UTF-8");
    for (size_t i = 0; i < row; i++)
        if (is_same_path(rows[i].guest_path, path))
            return error_set(err, HUSK_E_INVAL,
                             "dirs[%zu]: guest_path %s is that of dirs[%zu], too", row,
                             NAME_SHOWN(path), i);
    if (given->kind < HUSK_WASI_DIR_HOST || given->kind > HUSK_WASI_DIR_MEM)
        return row_error(err, row, "kind is none of HUSK_WASI_DIR_…");
    if (given->rights != HUSK_WASI_READ && given->rights != (HUSK_WASI_READ | HUSK_WASI_WRITE))
        return row_error(err, row,
                         "rights must be HUSK_WASI_READ or HUSK_WASI_READ | HUSK_WASI_WRITE");
    if (given->reserved != 0)
        return row_error(err, row, "reserved is set");
    return check_host(given, row, err);
}

/* *value 0: the default. */
static int take_limit(uint64_t given, const char *name, const uint64_t range[2],
                      uint64_t *ret_value, struct husk_error *err) {
    if (given > range[1])
        return error_set(err, HUSK_E_LIMIT, "%s is %llu; at most %llu is possible", name,
                         (unsigned long long)given, (unsigned long long)range[1]);
    *ret_value = given != 0 ? given : range[0];
    return 0;
}

static int take_limits(struct wasi_config *config, const struct husk_wasi_options *options,
                       struct husk_error *err) {
    uint64_t open_max = 0;
    int status = take_limit(options->open_max, "open_max",
                            (const uint64_t[2]){WASI_FDS_DEFAULT, WASI_FDS_MAX}, &open_max, err);
    if (status == 0)
        status = take_limit(options->private_max_bytes, "private_max_bytes",
                            (const uint64_t[2]){PRIVATE_DEFAULT_BYTES, PRIVATE_MAX_BYTES},
                            &config->private_max_bytes, err);
    if (status == 0)
        status = take_limit(options->private_max_entries, "private_max_entries",
                            (const uint64_t[2]){PRIVATE_DEFAULT_ENTRIES, PRIVATE_MAX_ENTRIES},
                            &config->private_max_entries, err);
    if (status == 0 && options->dirs_count > DIRS_MAX)
        return error_set(err, HUSK_E_LIMIT, "%zu directories; at most %u are possible",
                         options->dirs_count, DIRS_MAX);
    if (status == 0 && open_max < WASI_STREAMS + options->dirs_count)
        return error_set(err, HUSK_E_INVAL,
                         "open_max is %llu, less than the streams and %zu "
                         "directories together",
                         (unsigned long long)open_max, options->dirs_count);
    config->open_max = (uint32_t)open_max;
    return status;
}

/* ---- Opening ---- */

/* By openat2(), as later for every path: a kernel that lacks it is noticed here. */
static int open_host(struct wasi_dir *dir, const struct husk_wasi_dir *given, size_t row,
                     struct husk_error *err) {
    const bool has_path = given->host_path != NULL;
    const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC};
    struct stat st;
    struct statfs fs;
    dir->host_fd = (int)syscall(SYS_openat2, has_path ? AT_FDCWD : given->host_fd,
                                has_path ? given->host_path : ".", &how, sizeof how);
    if (dir->host_fd < 0 && errno == ENOSYS)
        return error_set(err, HUSK_E_UNSUPPORTED,
                         "directories for guests need openat2(), which this kernel lacks: Linux "
                         "5.6 or later has it");
    if (dir->host_fd < 0 || fstat(dir->host_fd, &st) != 0 || fstatfs(dir->host_fd, &fs) != 0)
        return has_path ? error_sys(err, errno,
                                    "dirs[%zu]: cannot open the "
                                    "directory %s",
                                    row, NAME_SHOWN(given->host_path))
                        : error_sys(err, errno,
                                    "dirs[%zu]: cannot use host_fd "
                                    "%d as a directory",
                                    row, given->host_fd);
    if (fs.f_type == PROC_SUPER_MAGIC)
        return row_error(err, row,
                         "it is in a proc file system, through which a guest could "
                         "change this process");
    dir->host_dev = st.st_dev;
    dir->host_ino = st.st_ino;
    return 0;
}

static int init_row(struct wasi_dir *dir, const struct husk_wasi_dir *given, size_t row,
                    struct husk_error *err) {
    dir->kind = given->kind;
    dir->is_writable = (given->rights & HUSK_WASI_WRITE) != 0;
    dir->guest_path = strdup(given->guest_path);
    if (dir->guest_path == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the directories");
    dir->guest_path_bytes = (uint32_t)strlen(dir->guest_path);
    const int status = has_host(given->kind) ? open_host(dir, given, row, err) : 0;
    if (status != 0)
        return status;
    dir->preopen = (struct wasi_fd){.ops = ops_of(given->kind),
                                    .host_fd = dir->host_fd,
                                    .filetype = WASI_FILETYPE_DIRECTORY,
                                    .dir = (uint16_t)row,
                                    .is_preopen = true};
    wasi_dir_grant(dir, &dir->preopen, true, true);
    return 0;
}

int wasi_dirs_init(struct wasi_config *config, const struct husk_wasi_options *options,
                   struct husk_error *err) {
    const size_t count = options->dirs_count;
    int status = take_limits(config, options, err);
    if (status == 0 && count > 0 && options->dirs == NULL)
        status = error_set(err, HUSK_E_INVAL, "%zu directories, but no array", count);
    for (size_t i = 0; i < count && status == 0; i++)
        status = check_row(options->dirs, i, err);
    if (status != 0 || count == 0)
        return status;
    config->dirs = calloc(count, sizeof *config->dirs);
    if (config->dirs == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the directories");
    for (size_t i = 0; i < count && status == 0; i++) {
        config->dirs[i].host_fd = -1;
        config->dirs_count++;
        status = init_row(&config->dirs[i], &options->dirs[i], i, err);
    }
    return status;
}

void wasi_dirs_done(struct wasi_config *config) {
    for (uint32_t i = 0; i < config->dirs_count; i++) {
        free(config->dirs[i].guest_path);
        if (config->dirs[i].host_fd >= 0)
            close(config->dirs[i].host_fd);
    }
    free(config->dirs);
}

bool wasi_dirs_have_private(const struct wasi_config *config) {
    for (uint32_t i = 0; i < config->dirs_count; i++)
        if (config->dirs[i].kind != HUSK_WASI_DIR_HOST)
            return true;
    return false;
}
