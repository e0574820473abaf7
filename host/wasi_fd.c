/*
 * host/wasi_fd.c: the guest's descriptors and what can be asked of them, all but reading and writing
 * (wasi_io.c). The host descriptors behind them are borrowed: closing one of the guest's closes nothing of
 * the embedder's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "signal_guard.h"
#include "wasi.h"

#define RIGHTS_ALWAYS                                                                                        \
    (WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_POLL_FD_READWRITE)
#define RIGHTS_SEEK (WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL | WASI_RIGHT_FD_ADVISE)
#define RIGHTS_RESIZE                                                                                        \
    (WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE | WASI_RIGHT_FD_FILESTAT_SET_TIMES)
#define RIGHTS_SYNC (WASI_RIGHT_FD_SYNC | WASI_RIGHT_FD_DATASYNC)

static uint8_t filetype_of(int host_fd, const struct stat *st) {
    int type = 0;
    socklen_t type_bytes = sizeof(type);
    if (S_ISREG(st->st_mode))
        return WASI_FILETYPE_REGULAR_FILE;
    if (S_ISCHR(st->st_mode))
        return WASI_FILETYPE_CHARACTER_DEVICE;
    if (S_ISBLK(st->st_mode))
        return WASI_FILETYPE_BLOCK_DEVICE;
    if (S_ISDIR(st->st_mode))
        return WASI_FILETYPE_DIRECTORY;
    if (!S_ISSOCK(st->st_mode))
        return WASI_FILETYPE_UNKNOWN; /* pipes have no word in WASI */
    if (getsockopt(host_fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) == 0 && type == SOCK_DGRAM)
        return WASI_FILETYPE_SOCKET_DGRAM;
    return WASI_FILETYPE_SOCKET_STREAM;
}

/* What is behind the descriptor. By its role alone a stream looks like a pipe to the guest, whatever it is, with two exceptions: a terminal
 * is one to talk to, and a socket is written as messages. wasi-libc's isatty() is: a character device without the rights to seek and tell;
 * so /dev/null must not be shown as one. */
static void fd_examine(struct wasi_fd *fd, const struct stat *st, bool may_seek) {
    const bool is_terminal = isatty(fd->host_fd);
    const bool can_seek = !is_terminal && lseek(fd->host_fd, 0, SEEK_CUR) >= 0;
    fd->filetype = filetype_of(fd->host_fd, st);
    fd->is_socket = S_ISSOCK(st->st_mode);
    fd->is_stream = !S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode) && !can_seek;
    fd->is_seekable = can_seek && may_seek;
    if (!is_terminal && !fd->is_socket && !fd->is_seekable)
        fd->filetype = WASI_FILETYPE_UNKNOWN;
}

/* Standard input reads, the others write; the rest only if it was asked for, and never more than the host's open mode allows. */
static uint64_t rights_of(const struct wasi_fd *fd, bool is_file, int mode, uint32_t given) {
    const bool is_input = fd->stream == 0, has_both = (given & HUSK_WASI_BOTH_WAYS) != 0;
    uint64_t rights = RIGHTS_ALWAYS;
    if (mode != O_WRONLY && (is_input || has_both))
        rights |= WASI_RIGHT_FD_READ;
    if (mode != O_RDONLY && (!is_input || has_both))
        rights |= WASI_RIGHT_FD_WRITE;
    if (fd->is_seekable)
        rights |= RIGHTS_SEEK;
    if ((given & HUSK_WASI_RESIZE) != 0 && (rights & WASI_RIGHT_FD_WRITE) != 0)
        rights |= RIGHTS_SYNC | (is_file ? RIGHTS_RESIZE : 0);
    return rights;
}

/* A host descriptor that cannot be examined is closed to the guest. */
void wasi_fd_init(struct wasi_fd *fd, uint8_t stream, int host_fd, uint32_t given) {
    struct stat st;
    int open_flags = host_fd < 0 ? -1 : fcntl(host_fd, F_GETFL);
    memset(fd, 0, sizeof(*fd));
    fd->host_fd = -1;
    fd->stream = stream;
    fd->kept = UINT64_MAX;
    if (open_flags < 0 || (open_flags & O_PATH) != 0 || fstat(host_fd, &st) != 0)
        return;
    fd->host_fd = host_fd;
    fd_examine(fd, &st, (given & HUSK_WASI_SEEK) != 0);
    fd->rights = rights_of(fd, S_ISREG(st.st_mode), open_flags & O_ACCMODE, given);
}

uint16_t wasi_fd_get(const struct wasi_call *call, uint32_t fd, uint64_t rights, struct wasi_fd **ret_fd) {
    if (fd >= WASI_FDS_MAX || call->ctx->fds[fd].host_fd < 0)
        return WASI_EBADF;
    if (rights & ~call->ctx->fds[fd].rights)
        return WASI_ENOTCAPABLE;
    *ret_fd = &call->ctx->fds[fd];
    return WASI_SUCCESS;
}

uint16_t wasi_fd_get_seekable(const struct wasi_call *call, uint64_t rights, struct wasi_fd **ret_fd) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), rights, ret_fd);
    if (wasi_err != WASI_ENOTCAPABLE)
        return wasi_err;
    (void)wasi_fd_get(call, wasi_arg32(call, 0), 0, &fd);
    return fd->is_seekable ? WASI_ENOTCAPABLE : WASI_ESPIPE;
}

uint16_t wasi_fd_close(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), 0, &fd);
    if (wasi_err)
        return wasi_err;
    fd->host_fd = -1;
    return WASI_SUCCESS;
}

uint16_t wasi_fd_renumber(struct wasi_call *call) {
    struct wasi_fd *from = NULL, *to = NULL;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), 0, &from);
    if (!wasi_err)
        wasi_err = wasi_fd_get(call, wasi_arg32(call, 1), 0, &to);
    if (wasi_err || from == to)
        return wasi_err;
    *to = *from;
    from->host_fd = -1;
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

static uint16_t fd_position(const struct wasi_call *call, struct wasi_fd *fd, off_t offset, int whence,
                            uint64_t out) {
    if (!wasi_span(call, out, 8))
        return WASI_EFAULT;
    off_t position = lseek(fd->host_fd, offset, whence);
    if (position < 0)
        return wasi_errno_of(errno);
    return wasi_put_u64(call, out, (uint64_t)position);
}

uint16_t wasi_fd_seek(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    int whence = whence_of(call, wasi_arg32(call, 2));
    int64_t offset = (int64_t)call->args[1];
    bool is_tell = whence == SEEK_CUR && offset == 0;
    uint16_t wasi_err = wasi_fd_get_seekable(call, is_tell ? WASI_RIGHT_FD_TELL : WASI_RIGHT_FD_SEEK, &fd);
    if (wasi_err)
        return wasi_err;
    if (whence < 0)
        return WASI_EINVAL;
    return fd_position(call, fd, offset, whence, call->args[3]);
}

uint16_t wasi_fd_tell(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get_seekable(call, WASI_RIGHT_FD_TELL, &fd);
    return wasi_err ? wasi_err : fd_position(call, fd, 0, SEEK_CUR, call->args[1]);
}

/* ---- Attributes ---- */

/* How a log was opened is not the guest's affair, unless it may move about in it. */
static uint16_t fdflags_of(const struct wasi_fd *fd) {
    int open_flags = fd->is_seekable ? fcntl(fd->host_fd, F_GETFL) : -1;
    return (uint16_t)(fd->flags | (open_flags >= 0 && (open_flags & O_APPEND) ? WASI_FDFLAG_APPEND : 0));
}

uint16_t wasi_fd_fdstat_get(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), 0, &fd);
    if (wasi_err)
        return wasi_err;
    uint8_t *out = wasi_span(call, call->args[1], WASI_FDSTAT_BYTES);
    if (!out)
        return WASI_EFAULT;
    uint16_t flags = fdflags_of(fd);
    memset(out, 0, WASI_FDSTAT_BYTES); /* inheriting rights: none */
    out[0] = fd->filetype;
    memcpy(out + 2, &flags, sizeof(flags));
    memcpy(out + 8, &fd->rights, sizeof(fd->rights));
    return WASI_SUCCESS;
}

/* Only NONBLOCK can change, and only for this guest: the others are flags of the open file, which is the
 * embedder's. */
uint16_t wasi_fd_fdstat_set_flags(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint32_t flags = wasi_arg32(call, 1);
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), WASI_RIGHT_FD_FDSTAT_SET_FLAGS, &fd);
    if (wasi_err)
        return wasi_err;
    if (flags & ~WASI_FDFLAGS_ALL)
        return WASI_EINVAL;
    if ((flags ^ fdflags_of(fd)) & ~WASI_FDFLAG_NONBLOCK)
        return WASI_ENOTSUP;
    fd->flags = (uint16_t)(flags & WASI_FDFLAG_NONBLOCK);
    return WASI_SUCCESS;
}

/* Rights can be given up, never gained. */
uint16_t wasi_fd_fdstat_set_rights(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), 0, &fd);
    if (wasi_err)
        return wasi_err;
    if ((call->args[1] & ~fd->rights) || call->args[2])
        return WASI_ENOTCAPABLE;
    if (call->args[1] != fd->rights)
        fd->kept &= call->args[1];
    fd->rights = call->args[1];
    return WASI_SUCCESS;
}

static uint64_t timespec_ns(struct timespec ts) {
    return ts.tv_sec < 0 ? 0 : (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The guest learns the kind only, but of a file that it may move about in: numbers, times, and how much others wrote to a log are the host's
 * affair. */
uint16_t wasi_fd_filestat_get(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    struct stat st;
    uint8_t out[WASI_FILESTAT_BYTES] = {0};
    uint64_t nlink = 1, rows[4] = {0}; /* size, atim, mtim, ctim */
    size_t bytes = call->is_unstable ? WASI_FILESTAT0_BYTES : WASI_FILESTAT_BYTES;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), WASI_RIGHT_FD_FILESTAT_GET, &fd);
    if (wasi_err)
        return wasi_err;
    void *span = wasi_span(call, call->args[1], bytes);
    if (!span)
        return WASI_EFAULT;
    out[16] = fd->filetype;
    if (fd->filetype == WASI_FILETYPE_REGULAR_FILE) {
        if (fstat(fd->host_fd, &st) != 0)
            return wasi_errno_of(errno);
        memcpy(out, &st.st_dev, 8);
        memcpy(out + 8, &st.st_ino, 8);
        nlink = st.st_nlink;
        rows[0] = (uint64_t)st.st_size;
        rows[1] = timespec_ns(st.st_atim);
        rows[2] = timespec_ns(st.st_mtim);
        rows[3] = timespec_ns(st.st_ctim);
    }
    memcpy(out + (call->is_unstable ? 20 : 24), &nlink, call->is_unstable ? 4 : 8);
    memcpy(out + (call->is_unstable ? 24 : 32), rows, sizeof(rows));
    memcpy(span, out, bytes);
    return WASI_SUCCESS;
}

uint16_t wasi_fd_filestat_set_size(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), WASI_RIGHT_FD_FILESTAT_SET_SIZE, &fd);
    if (wasi_err)
        return wasi_err;
    if (call->args[1] > INT64_MAX)
        return WASI_EINVAL;
    struct signal_guard guard;
    signal_guard_begin(&guard);
    const int number = (int)-WASI_SYSCALL(call, SYS_ftruncate, fd->host_fd, (long)call->args[1]);
    signal_guard_end(&guard, number);
    return wasi_errno_of(number);
}

static int time_to_set(uint32_t flags, uint32_t flag_set, uint32_t flag_now, uint64_t ns,
                       struct timespec *ret_ts) {
    if ((flags & flag_set) && (flags & flag_now))
        return -1;
    ret_ts->tv_sec = (time_t)(ns / 1000000000u);
    ret_ts->tv_nsec = (long)(ns % 1000000000u);
    if (flags & flag_now)
        ret_ts->tv_nsec = UTIME_NOW;
    if (!(flags & (flag_set | flag_now)))
        ret_ts->tv_nsec = UTIME_OMIT;
    return 0;
}

uint16_t wasi_fd_filestat_set_times(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    struct timespec times[2];
    uint32_t flags = wasi_arg32(call, 3);
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), WASI_RIGHT_FD_FILESTAT_SET_TIMES, &fd);
    if (wasi_err)
        return wasi_err;
    if ((flags & ~WASI_FSTFLAGS_ALL) ||
        time_to_set(flags, WASI_FSTFLAG_ATIM, WASI_FSTFLAG_ATIM_NOW, call->args[1], &times[0]) ||
        time_to_set(flags, WASI_FSTFLAG_MTIM, WASI_FSTFLAG_MTIM_NOW, call->args[2], &times[1]))
        return WASI_EINVAL;
    return wasi_errno_of((int)-WASI_SYSCALL(call, SYS_utimensat, fd->host_fd, 0, (long)times, 0));
}

/* ---- Hints and syncing ---- */

uint16_t wasi_fd_advise(struct wasi_call *call) {
    static const int advices[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                                  POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE};
    struct wasi_fd *fd = NULL;
    uint32_t advice = wasi_arg32(call, 3);
    uint16_t wasi_err = wasi_fd_get_seekable(call, WASI_RIGHT_FD_ADVISE, &fd);
    if (wasi_err)
        return wasi_err;
    if (advice >= sizeof(advices) / sizeof(advices[0]) || call->args[1] > INT64_MAX ||
        call->args[2] > INT64_MAX)
        return WASI_EINVAL;
    return wasi_errno_of(
        posix_fadvise(fd->host_fd, (off_t)call->args[1], (off_t)call->args[2], advices[advice]));
}

/* fallocate() and not posix_fallocate(): that one would write every block where the file system cannot
 * allocate. */
uint16_t wasi_fd_allocate(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get_seekable(call, WASI_RIGHT_FD_ALLOCATE, &fd);
    if (wasi_err)
        return wasi_err;
    if (call->args[1] > INT64_MAX || call->args[2] > INT64_MAX || call->args[2] == 0)
        return WASI_EINVAL;
    struct signal_guard guard; /* beyond RLIMIT_FSIZE it is a signal, too */
    signal_guard_begin(&guard);
    const int number =
        (int)-WASI_SYSCALL(call, SYS_fallocate, fd->host_fd, 0, (long)call->args[1], (long)call->args[2]);
    signal_guard_end(&guard, number);
    return wasi_errno_of(number);
}

uint16_t wasi_fd_sync(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), WASI_RIGHT_FD_SYNC, &fd);
    if (wasi_err)
        return wasi_err;
    return wasi_errno_of((int)-WASI_SYSCALL(call, SYS_fsync, fd->host_fd));
}

uint16_t wasi_fd_datasync(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), WASI_RIGHT_FD_DATASYNC, &fd);
    if (wasi_err)
        return wasi_err;
    return wasi_errno_of((int)-WASI_SYSCALL(call, SYS_fdatasync, fd->host_fd));
}
