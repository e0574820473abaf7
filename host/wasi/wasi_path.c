/*
 * host/wasi/wasi_path.c: the functions that take a path. This file checks descriptors, rights,
 * flags and the bytes of paths; the directory does the operation (wasi_dir.h).
 *
 * Rights. path_open gives what was asked for, as far as the directory passes it on and the file can
 * have it. Deliberately not ENOTCAPABLE for a right too many: Rust's standard library asks for all
 * of them. A directory that may only be read refuses changes with EPERM, as Wasmtime does.
 */
#include <errno.h>
#include <string.h>

#include "utf8.h"
#include "wasi_abi.h"
#include "wasi_dir.h"

/* ---- Arguments ---- */

/* A path, copied out of the guest's memory. */
struct path_copy {
    struct wasi_path path;
    char bytes[WASI_PATH_MAX_BYTES + 1];
};

/* From arguments first (address) and first + 1 (length). */
static uint16_t path_arg(const struct wasi_call *call, unsigned first, struct path_copy *ret_copy) {
    const uint32_t count = wasi_arg32(call, first + 1);
    const void *span = wasi_view(call, call->args[first], count);
    if (span == NULL)
        return WASI_EFAULT;
    if (count == 0)
        return WASI_ENOENT; /* as in POSIX */
    if (count > WASI_PATH_MAX_BYTES)
        return WASI_ENAMETOOLONG;
    memcpy(ret_copy->bytes, span, count);
    ret_copy->bytes[count] = '\0';
    if (memchr(ret_copy->bytes, '\0', count) != NULL)
        return WASI_EINVAL;
    if (!utf8_is_valid((const uint8_t *)ret_copy->bytes, count))
        return WASI_EILSEQ;
    ret_copy->path = (struct wasi_path){.bytes = ret_copy->bytes, .count = count};
    return WASI_SUCCESS;
}

/* The directory in argument `arg`. A right that no descriptor below a read-only directory has is
 * EPERM, and one that the guest gave up is ENOTCAPABLE. */
static uint16_t dir_arg(const struct wasi_call *call, unsigned arg, uint64_t rights,
                        struct wasi_fd **ret_dir) {
    struct wasi_fd *fd = NULL;
    const uint16_t wasi_err = wasi_fd_arg(call, arg, 0, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if (fd->ops->dir == NULL)
        return fd->serial[0] != 0 ? WASI_ENOTDIR : WASI_ENOTCAPABLE;
    if ((rights & ~fd->granted) != 0)
        return WASI_EPERM;
    if ((rights & ~fd->rights) != 0)
        return WASI_ENOTCAPABLE;
    *ret_dir = fd;
    return WASI_SUCCESS;
}

/* (fd, path, path_bytes) from argument `first` on. */
static uint16_t place_arg(const struct wasi_call *call, unsigned first, uint64_t rights,
                          struct wasi_fd **ret_dir, struct path_copy *ret_copy) {
    const uint16_t wasi_err = dir_arg(call, first, rights, ret_dir);
    return wasi_err != 0 ? wasi_err : path_arg(call, first + 1, ret_copy);
}

/* (fd, lookup flags, path, path_bytes) from argument 0 on. */
static uint16_t lookup_arg(const struct wasi_call *call, uint64_t rights, struct wasi_fd **ret_dir,
                           struct path_copy *ret_copy) {
    const uint32_t lookup = wasi_arg32(call, 1);
    uint16_t wasi_err = dir_arg(call, 0, rights, ret_dir);
    if (wasi_err == 0 && (lookup & ~WASI_LOOKUP_SYMLINK_FOLLOW) != 0)
        wasi_err = WASI_EINVAL;
    if (wasi_err == 0)
        wasi_err = path_arg(call, 2, ret_copy);
    if (wasi_err == 0)
        ret_copy->path.is_followed = lookup != 0;
    return wasi_err;
}

/* Are the descriptors of both paths open? That comes before all that is said of either. */
static uint16_t two_open(const struct wasi_call *call, unsigned second) {
    struct wasi_fd *fd = NULL;
    const uint16_t wasi_err = wasi_fd_arg(call, second, 0, &fd);
    return wasi_err != 0 ? wasi_err : wasi_fd_arg(call, 0, 0, &fd);
}

/* ---- Opening: (fd, lookup, path, path_bytes, oflags, rights, inheriting, fdflags, ret_fd) ---- */

static uint16_t open_check(const struct wasi_call *call, struct wasi_open *how,
                           struct path_copy *copy) {
    const uint64_t asked = call->args[5];
    uint64_t rights = WASI_RIGHT_PATH_OPEN;
    struct wasi_fd *dir = NULL;
    how->oflags = wasi_arg32(call, 4);
    how->fdflags = wasi_arg32(call, 7);
    if ((how->oflags & WASI_OFLAG_CREAT) != 0)
        rights |= WASI_RIGHT_PATH_CREATE_FILE;
    if ((how->oflags & WASI_OFLAG_TRUNC) != 0)
        rights |= WASI_RIGHT_PATH_FILESTAT_SET_SIZE;
    const uint16_t wasi_err = lookup_arg(call, rights, &dir, copy);
    if (wasi_err != 0)
        return wasi_err;
    if ((how->oflags & ~WASI_OFLAGS_ALL) != 0 || (how->fdflags & ~WASI_FDFLAGS_ALL) != 0)
        return WASI_EINVAL;
    if (wasi_span(call, call->args[8], 4) == NULL)
        return WASI_EFAULT;
    how->path = copy->path;
    how->wants_read = (asked & dir->inheriting & WASI_RIGHT_FD_READ) != 0;
    how->wants_write = (asked & dir->inheriting & WASI_RIGHT_FD_WRITE) != 0;
    const bool is_writable = call->ctx->config->dirs[dir->dir].is_writable;
    return how->wants_write && !is_writable ? WASI_EPERM : WASI_SUCCESS;
}

uint16_t wasi_path_open(struct wasi_call *call) {
    struct wasi_fds *fds = &call->ctx->fds;
    struct wasi_open how = {0};
    struct wasi_fd fd = {0};
    struct path_copy copy;
    const uint16_t wasi_err = open_check(call, &how, &copy);
    if (wasi_err != 0)
        return wasi_err;
    /* Before the file is created. It may move the rows. */
    int number = wasi_fds_prepare(fds);
    if (number < 0)
        return wasi_errno_of(-number);
    const struct wasi_fd *dir = wasi_fds_at(fds, wasi_arg32(call, 0));
    const int status = dir->ops->dir->open(call, dir, &how, &fd);
    if (status != 0)
        return wasi_errno_of(-status);
    fd.dir = dir->dir;
    wasi_fd_keep(&fd, call->args[5] & dir->inheriting, call->args[6] & dir->inheriting);
    wasi_ctx_serial(call->ctx, &fd);
    number = wasi_fds_add(fds, &fd);
    return wasi_put_u32(call, call->args[8], (uint32_t)number);
}

/* ---- Attributes ---- */

/* (fd, lookup, path, path_bytes, ret_filestat) */
uint16_t wasi_path_filestat_get(struct wasi_call *call) {
    struct wasi_fd *dir = NULL;
    struct path_copy copy;
    struct stat st;
    const uint16_t wasi_err = lookup_arg(call, WASI_RIGHT_PATH_FILESTAT_GET, &dir, &copy);
    if (wasi_err != 0)
        return wasi_err;
    const int status = dir->ops->dir->stat(call, dir, &copy.path, &st);
    return status != 0
               ? wasi_errno_of(-status)
               : wasi_filestat_put(call, call->args[4], wasi_host_filetype(st.st_mode), &st);
}

/* (fd, lookup, path, path_bytes, atim, mtim, flags) */
uint16_t wasi_path_filestat_set_times(struct wasi_call *call) {
    struct wasi_fd *dir = NULL;
    struct path_copy copy;
    struct timespec times[2];
    uint16_t wasi_err = lookup_arg(call, WASI_RIGHT_PATH_FILESTAT_SET_TIMES, &dir, &copy);
    if (wasi_err == 0)
        wasi_err = wasi_times_arg(call, 4, times);
    return wasi_err != 0 ? wasi_err
                         : wasi_errno_of(-dir->ops->dir->set_times(call, dir, &copy.path, times));
}

/* (fd, path, path_bytes, buf, buf_bytes, ret_count). A longer target is cut off. */
uint16_t wasi_path_readlink(struct wasi_call *call) {
    struct wasi_fd *dir = NULL;
    struct path_copy copy;
    const uint32_t count = wasi_arg32(call, 4);
    const uint16_t wasi_err = place_arg(call, 0, WASI_RIGHT_PATH_READLINK, &dir, &copy);
    if (wasi_err != 0)
        return wasi_err;
    char *out = wasi_span(call, call->args[3], count);
    if (out == NULL || wasi_span(call, call->args[5], 4) == NULL)
        return WASI_EFAULT;
    const long got = dir->ops->dir->read_link(call, dir, &copy.path, out, count);
    return got < 0 ? wasi_errno_of((int)-got) : wasi_put_u32(call, call->args[5], (uint32_t)got);
}

/* ---- Names ---- */

/* (fd, path, path_bytes) */
static uint16_t run_at(struct wasi_call *call, uint64_t right) {
    struct wasi_fd *dir = NULL;
    struct path_copy copy;
    const uint16_t wasi_err = place_arg(call, 0, right, &dir, &copy);
    if (wasi_err != 0)
        return wasi_err;
    const struct wasi_dir_ops *ops = dir->ops->dir;
    const int status =
        right == WASI_RIGHT_PATH_CREATE_DIRECTORY   ? ops->make_dir(call, dir, &copy.path)
        : right == WASI_RIGHT_PATH_REMOVE_DIRECTORY ? ops->remove_dir(call, dir, &copy.path)
                                                    : ops->unlink(call, dir, &copy.path);
    return wasi_errno_of(-status);
}

uint16_t wasi_path_create_directory(struct wasi_call *call) {
    return run_at(call, WASI_RIGHT_PATH_CREATE_DIRECTORY);
}

uint16_t wasi_path_remove_directory(struct wasi_call *call) {
    return run_at(call, WASI_RIGHT_PATH_REMOVE_DIRECTORY);
}

uint16_t wasi_path_unlink_file(struct wasi_call *call) {
    return run_at(call, WASI_RIGHT_PATH_UNLINK_FILE);
}

/* (target, target_bytes, fd, path, path_bytes). An absolute target means something else to the
 * guest than to the host; EPERM, as if it were followed. */
uint16_t wasi_path_symlink(struct wasi_call *call) {
    struct wasi_fd *dir = NULL;
    struct path_copy target, copy;
    struct stat st;
    uint16_t wasi_err = place_arg(call, 2, WASI_RIGHT_PATH_SYMLINK, &dir, &copy);
    if (wasi_err == 0)
        wasi_err = path_arg(call, 0, &target);
    if (wasi_err != 0)
        return wasi_err;
    if (target.bytes[0] == '/')
        return WASI_EPERM;
    int status = dir->ops->dir->symlink(call, dir, target.bytes, &copy.path);
    /* Linux says EEXIST of "file/", too; POSIX and Wasmtime say that a file is no directory. */
    if (status == -EEXIST && copy.path.bytes[copy.path.count - 1] == '/' &&
        dir->ops->dir->stat(call, dir, &copy.path, &st) == -ENOTDIR)
        status = -ENOTDIR;
    return wasi_errno_of(-status);
}

static uint16_t two_places(const struct wasi_call *call, const struct wasi_place *from,
                           const struct wasi_place *to,
                           int (*op)(const struct wasi_call *, const struct wasi_place *,
                                     const struct wasi_place *)) {
    if (from->dir->ops->dir != to->dir->ops->dir)
        return WASI_EXDEV;
    return wasi_errno_of(-op(call, from, to));
}

/* (old_fd, lookup, old_path, old_path_bytes, new_fd, new_path, new_path_bytes). Links to what a
 * symbolic link names are not made: EINVAL, as others do. */
uint16_t wasi_path_link(struct wasi_call *call) {
    struct wasi_fd *from = NULL, *to = NULL;
    struct path_copy old, new;
    uint16_t wasi_err = two_open(call, 4);
    if (wasi_err == 0)
        wasi_err = lookup_arg(call, WASI_RIGHT_PATH_LINK_SOURCE, &from, &old);
    if (wasi_err == 0)
        wasi_err = place_arg(call, 4, WASI_RIGHT_PATH_LINK_TARGET, &to, &new);
    if (wasi_err == 0 && old.path.is_followed)
        wasi_err = WASI_EINVAL;
    if (wasi_err != 0)
        return wasi_err;
    return two_places(call, &(struct wasi_place){from, old.path},
                      &(struct wasi_place){to, new.path}, from->ops->dir->link);
}

/* (old_fd, old_path, old_path_bytes, new_fd, new_path, new_path_bytes) */
uint16_t wasi_path_rename(struct wasi_call *call) {
    struct wasi_fd *from = NULL, *to = NULL;
    struct path_copy old, new;
    uint16_t wasi_err = two_open(call, 3);
    if (wasi_err == 0)
        wasi_err = place_arg(call, 0, WASI_RIGHT_PATH_RENAME_SOURCE, &from, &old);
    if (wasi_err == 0)
        wasi_err = place_arg(call, 3, WASI_RIGHT_PATH_RENAME_TARGET, &to, &new);
    if (wasi_err != 0)
        return wasi_err;
    return two_places(call, &(struct wasi_place){from, old.path},
                      &(struct wasi_place){to, new.path}, from->ops->dir->rename);
}
