/*
 * host/wasi/wasi_fd.c: all operations on a guest's descriptors, except reading and writing
 * (wasi_io.c). This file checks number, rights and arguments; the kind of descriptor does the
 * operation (wasi_fd.h).
 */
#include <fcntl.h>
#include <string.h>

#include "clock.h"
#include "wasi.h"
#include "wasi_abi.h"

uint16_t wasi_fd_get(const struct wasi_call *call, uint32_t fd, uint64_t rights,
                     struct wasi_fd **ret_fd) {
    struct wasi_fd *found = wasi_fds_at(&call->ctx->fds, fd);
    if (found == NULL)
        return WASI_EBADF;
    if ((rights & ~found->rights) != 0)
        return WASI_ENOTCAPABLE;
    *ret_fd = found;
    return WASI_SUCCESS;
}

uint16_t wasi_fd_arg(const struct wasi_call *call, unsigned arg, uint64_t rights,
                     struct wasi_fd **ret_fd) {
    return wasi_fd_get(call, wasi_arg32(call, arg), rights, ret_fd);
}

uint16_t wasi_fd_get_seekable(const struct wasi_call *call, uint64_t rights,
                              struct wasi_fd **ret_fd) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, 0, rights, ret_fd);
    if (wasi_err != WASI_ENOTCAPABLE)
        return wasi_err;
    (void)wasi_fd_arg(call, 0, 0, &fd);
    if (fd->ops->dir != NULL)
        return WASI_EISDIR;
    return fd->is_seekable ? WASI_ENOTCAPABLE : WASI_ESPIPE;
}

/* The guest itself closes it. */
static void release(const struct wasi_call *call, struct wasi_fd *fd) {
    if (fd->ops->release != NULL)
        fd->ops->release(call, fd);
}

uint16_t wasi_fd_close(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, 0, 0, &fd);
    if (wasi_err != 0)
        return wasi_err;
    release(call, fd);
    wasi_fds_close(&call->ctx->fds, wasi_arg32(call, 0));
    return WASI_SUCCESS;
}

uint16_t wasi_fd_renumber(struct wasi_call *call) {
    struct wasi_fd *from = NULL, *to = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, 0, 0, &from);
    if (wasi_err == 0)
        wasi_err = wasi_fd_arg(call, 1, 0, &to);
    if (wasi_err != 0)
        return wasi_err;
    if (from != to)
        release(call, to);
    wasi_fds_move(&call->ctx->fds, wasi_arg32(call, 0), wasi_arg32(call, 1));
    return WASI_SUCCESS;
}

/* ---- Position ---- */

/* whence: set, cur, end in preview 1; cur, end, set in wasi_unstable. */
static int whence_of(const struct wasi_call *call, uint32_t whence) {
    static const int current[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    static const int unstable[] = {SEEK_CUR, SEEK_END, SEEK_SET};
    if (whence > 2)
        return -1;
    return call->is_unstable ? unstable[whence] : current[whence];
}

static uint16_t fd_position(const struct wasi_call *call, struct wasi_fd *fd, int64_t offset,
                            int whence, uint64_t out) {
    if (wasi_span(call, out, 8) == NULL)
        return WASI_EFAULT;
    const int64_t position = fd->ops->seek(call, fd, offset, whence);
    return position < 0 ? wasi_errno_of((int)-position)
                        : wasi_put_u64(call, out, (uint64_t)position);
}

uint16_t wasi_fd_seek(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    int whence = whence_of(call, wasi_arg32(call, 2));
    int64_t offset = (int64_t)call->args[1];
    bool is_tell = whence == SEEK_CUR && offset == 0;
    uint16_t wasi_err =
        wasi_fd_get_seekable(call, is_tell ? WASI_RIGHT_FD_TELL : WASI_RIGHT_FD_SEEK, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if (whence < 0)
        return WASI_EINVAL;
    return fd_position(call, fd, offset, whence, call->args[3]);
}

uint16_t wasi_fd_tell(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get_seekable(call, WASI_RIGHT_FD_TELL, &fd);
    return wasi_err != 0 ? wasi_err : fd_position(call, fd, 0, SEEK_CUR, call->args[1]);
}

/* ---- Attributes ---- */

/* How a log was opened is not the guest's affair, unless it may move about in it. */
static uint16_t fdflags_of(const struct wasi_fd *fd) {
    const bool is_append = fd->is_seekable && fd->ops->is_append != NULL && fd->ops->is_append(fd);
    return (uint16_t)(fd->flags | (is_append ? WASI_FDFLAG_APPEND : 0));
}

uint16_t wasi_fd_fdstat_get(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, 0, 0, &fd);
    if (wasi_err != 0)
        return wasi_err;
    uint8_t *out = wasi_span(call, call->args[1], WASI_FDSTAT_BYTES);
    if (out == NULL)
        return WASI_EFAULT;
    uint16_t flags = fdflags_of(fd);
    memset(out, 0, WASI_FDSTAT_BYTES);
    out[0] = fd->filetype;
    memcpy(out + 2, &flags, sizeof flags);
    memcpy(out + 8, &fd->rights, sizeof fd->rights);
    memcpy(out + 16, &fd->inheriting, sizeof fd->inheriting);
    return WASI_SUCCESS;
}

/* Of a stream, only NONBLOCK can change, and only for this guest: the others are flags of the open
 * file, which is the embedder's. Of a file, APPEND can change, too; SYNC and its like are fixed
 * when it is opened, as on Linux. */
uint16_t wasi_fd_fdstat_set_flags(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint32_t flags = wasi_arg32(call, 1);
    uint16_t wasi_err = wasi_fd_arg(call, 0, WASI_RIGHT_FD_FDSTAT_SET_FLAGS, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if ((flags & ~WASI_FDFLAGS_ALL) != 0)
        return WASI_EINVAL;
    const bool can_append = fd->ops->set_flags != NULL;
    const uint32_t settable = WASI_FDFLAG_NONBLOCK | (can_append ? WASI_FDFLAG_APPEND : 0);
    if (((flags ^ fdflags_of(fd)) & ~settable) != 0)
        return WASI_ENOTSUP;
    flags = can_append ? flags : flags & WASI_FDFLAG_NONBLOCK;
    const int status = can_append ? fd->ops->set_flags(fd, (uint16_t)flags) : 0;
    if (status == 0)
        fd->flags = (uint16_t)flags;
    return wasi_errno_of(-status);
}

/* Rights can be given up, never gained. */
uint16_t wasi_fd_fdstat_set_rights(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, 0, 0, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if ((call->args[1] & ~fd->rights) != 0 || (call->args[2] & ~fd->inheriting) != 0)
        return WASI_ENOTCAPABLE;
    if (call->args[1] != fd->rights)
        fd->kept &= call->args[1];
    if (call->args[2] != fd->inheriting)
        fd->kept_inheriting &= call->args[2];
    fd->rights = call->args[1];
    fd->inheriting = call->args[2];
    return WASI_SUCCESS;
}

uint16_t wasi_filestat_put(const struct wasi_call *call, uint64_t addr, uint8_t filetype,
                           const struct stat *st) {
    uint8_t out[WASI_FILESTAT_BYTES] = {0};
    uint64_t nlink = 1, rows[4] = {0}; /* size, atim, mtim, ctim */
    const size_t bytes = call->is_unstable ? WASI_FILESTAT0_BYTES : WASI_FILESTAT_BYTES;
    void *span = wasi_span(call, addr, bytes);
    if (span == NULL)
        return WASI_EFAULT;
    out[16] = filetype;
    if (st != NULL) {
        memcpy(out, &st->st_dev, 8);
        memcpy(out + 8, &st->st_ino, 8);
        nlink = st->st_nlink;
        rows[0] = (uint64_t)st->st_size;
        rows[1] = clock_ns_of(st->st_atim);
        rows[2] = clock_ns_of(st->st_mtim);
        rows[3] = clock_ns_of(st->st_ctim);
    }
    memcpy(out + (call->is_unstable ? 20 : 24), &nlink, call->is_unstable ? 4 : 8);
    memcpy(out + (call->is_unstable ? 24 : 32), rows, sizeof rows);
    memcpy(span, out, bytes);
    return WASI_SUCCESS;
}

/* Of a stream the guest learns the kind only, but of a file that it may move about in: numbers,
 * times, and how much others wrote to a log are the host's affair. */
uint16_t wasi_fd_filestat_get(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    struct stat st;
    uint16_t wasi_err = wasi_fd_arg(call, 0, WASI_RIGHT_FD_FILESTAT_GET, &fd);
    if (wasi_err != 0)
        return wasi_err;
    const bool is_shown = fd->filetype == WASI_FILETYPE_REGULAR_FILE || fd->ops->dir != NULL;
    const int status = is_shown ? fd->ops->stat(call, fd, &st) : 0;
    if (status != 0)
        return wasi_errno_of(-status);
    return wasi_filestat_put(call, call->args[1], fd->filetype, is_shown ? &st : NULL);
}

uint16_t wasi_fd_filestat_set_size(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, 0, WASI_RIGHT_FD_FILESTAT_SET_SIZE, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if (call->args[1] > INT64_MAX)
        return WASI_EINVAL;
    return wasi_errno_of(-fd->ops->resize(call, fd, (int64_t)call->args[1]));
}

static int time_to_set(uint32_t flags, uint32_t flag_set, uint32_t flag_now, uint64_t ns,
                       struct timespec *ret_ts) {
    if ((flags & flag_set) != 0 && (flags & flag_now) != 0)
        return -1;
    *ret_ts = clock_timespec(ns);
    if ((flags & flag_now) != 0)
        ret_ts->tv_nsec = UTIME_NOW;
    if ((flags & (flag_set | flag_now)) == 0)
        ret_ts->tv_nsec = UTIME_OMIT;
    return 0;
}

uint16_t wasi_times_arg(const struct wasi_call *call, unsigned first, struct timespec times[2]) {
    const uint32_t flags = wasi_arg32(call, first + 2);
    const uint64_t atim = call->args[first], mtim = call->args[first + 1];
    if ((flags & ~WASI_FSTFLAGS_ALL) != 0 ||
        time_to_set(flags, WASI_FSTFLAG_ATIM, WASI_FSTFLAG_ATIM_NOW, atim, &times[0]) != 0 ||
        time_to_set(flags, WASI_FSTFLAG_MTIM, WASI_FSTFLAG_MTIM_NOW, mtim, &times[1]) != 0)
        return WASI_EINVAL;
    return WASI_SUCCESS;
}

uint16_t wasi_fd_filestat_set_times(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    struct timespec times[2];
    uint16_t wasi_err = wasi_fd_arg(call, 0, WASI_RIGHT_FD_FILESTAT_SET_TIMES, &fd);
    if (wasi_err == 0)
        wasi_err = wasi_times_arg(call, 1, times);
    return wasi_err != 0 ? wasi_err : wasi_errno_of(-fd->ops->set_times(call, fd, times));
}

/* ---- Hints and syncing ---- */

uint16_t wasi_fd_advise(struct wasi_call *call) {
    static const int advices[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                                  POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE};
    struct wasi_fd *fd = NULL;
    uint32_t advice = wasi_arg32(call, 3);
    uint16_t wasi_err = wasi_fd_get_seekable(call, WASI_RIGHT_FD_ADVISE, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if (advice >= sizeof advices / sizeof advices[0] || call->args[1] > INT64_MAX ||
        call->args[2] > INT64_MAX)
        return WASI_EINVAL;
    return wasi_errno_of(
        -fd->ops->advise(fd, (int64_t)call->args[1], (int64_t)call->args[2], advices[advice]));
}

uint16_t wasi_fd_allocate(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get_seekable(call, WASI_RIGHT_FD_ALLOCATE, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if (call->args[1] > INT64_MAX || call->args[2] > INT64_MAX || call->args[2] == 0)
        return WASI_EINVAL;
    return wasi_errno_of(
        -fd->ops->allocate(call, fd, (int64_t)call->args[1], (int64_t)call->args[2]));
}

static uint16_t sync_run(const struct wasi_call *call, uint64_t right) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, 0, right, &fd);
    return wasi_err != 0 ? wasi_err
                         : wasi_errno_of(-fd->ops->sync(call, fd, right == WASI_RIGHT_FD_DATASYNC));
}

uint16_t wasi_fd_sync(struct wasi_call *call) {
    return sync_run(call, WASI_RIGHT_FD_SYNC);
}

uint16_t wasi_fd_datasync(struct wasi_call *call) {
    return sync_run(call, WASI_RIGHT_FD_DATASYNC);
}
