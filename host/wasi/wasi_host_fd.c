/*
 * host/wasi/wasi_host_fd.c: descriptors of the host that the embedder gives to a guest: files (and
 * devices that can seek), streams (pipes, terminals) and sockets. They are borrowed: if the guest
 * closes its descriptor, the embedder's stays open. wasi_host_io.c reads and writes them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "signal_guard.h"
#include "wasi.h"
#include "wasi_abi.h"
#include "wasi_state.h"

/* ---- Operations ---- */

int64_t wasi_host_seek(const struct wasi_call *call, struct wasi_fd *fd, int64_t offset,
                       int whence) {
    (void)call;
    const off_t position = lseek(fd->host_fd, offset, whence);
    return position < 0 ? -errno : position;
}

/* The embedder may change it at any time. */
static bool host_is_append(const struct wasi_fd *fd) {
    const int open_flags = fcntl(fd->host_fd, F_GETFL);
    return open_flags >= 0 && (open_flags & O_APPEND) != 0;
}

int wasi_host_stat(const struct wasi_call *call, const struct wasi_fd *fd, struct stat *ret_stat) {
    (void)call;
    return fstat(fd->host_fd, ret_stat) == 0 ? 0 : -errno;
}

int wasi_host_set_times(const struct wasi_call *call, const struct wasi_fd *fd,
                        const struct timespec times[2]) {
    return (int)WASI_SYSCALL(call, SYS_utimensat, fd->host_fd, 0, (long)times, 0);
}

/* Beyond RLIMIT_FSIZE it is a signal, too. */
static int guarded_syscall(const struct wasi_call *call, long number, const long args[6]) {
    struct signal_guard guard;
    signal_guard_begin(&guard);
    const int status = (int)wasi_syscall(call, number, args);
    signal_guard_end(&guard, -status);
    return status;
}

int wasi_host_resize(const struct wasi_call *call, const struct wasi_fd *fd, int64_t bytes) {
    return guarded_syscall(call, SYS_ftruncate, (const long[6]){fd->host_fd, bytes});
}

/* Deliberately not posix_fallocate(): it writes every block where a file system cannot allocate. */
int wasi_host_allocate(const struct wasi_call *call, const struct wasi_fd *fd, int64_t offset,
                       int64_t bytes) {
    return guarded_syscall(call, SYS_fallocate, (const long[6]){fd->host_fd, 0, offset, bytes});
}

int wasi_host_advise(const struct wasi_fd *fd, int64_t offset, int64_t bytes, int advice) {
    return -posix_fadvise(fd->host_fd, offset, bytes, advice);
}

int wasi_host_sync(const struct wasi_call *call, const struct wasi_fd *fd, bool is_data_only) {
    return (int)WASI_SYSCALL(call, is_data_only ? SYS_fdatasync : SYS_fsync, fd->host_fd);
}

int wasi_host_poll_fd(const struct wasi_fd *fd) {
    return fd->host_fd;
}

uint64_t wasi_host_readable_bytes(const struct wasi_call *call, const struct wasi_fd *fd) {
    (void)call;
    struct stat st;
    int available = 0;
    if (fd->filetype == WASI_FILETYPE_REGULAR_FILE) {
        const off_t at = lseek(fd->host_fd, 0, SEEK_CUR);
        return at < 0 || fstat(fd->host_fd, &st) != 0 || st.st_size < at
                   ? 0
                   : (uint64_t)(st.st_size - at);
    }
    return ioctl(fd->host_fd, FIONREAD, &available) != 0 || available < 0 ? 0 : (uint64_t)available;
}

static const struct wasi_fd_ops file_ops = {.transfer = wasi_file_transfer,
                                            .seek = wasi_host_seek,
                                            .is_append = host_is_append,
                                            .stat = wasi_host_stat,
                                            .set_times = wasi_host_set_times,
                                            .resize = wasi_host_resize,
                                            .allocate = wasi_host_allocate,
                                            .advise = wasi_host_advise,
                                            .sync = wasi_host_sync,
                                            .poll_fd = wasi_host_poll_fd,
                                            .readable_bytes = wasi_host_readable_bytes,
                                            .saved_kind = WASI_SAVED_STREAM};
static const struct wasi_fd_ops stream_ops = {.transfer = wasi_stream_transfer,
                                              .sync = wasi_host_sync,
                                              .poll_fd = wasi_host_poll_fd,
                                              .readable_bytes = wasi_host_readable_bytes,
                                              .saved_kind = WASI_SAVED_STREAM};
static const struct wasi_fd_ops socket_ops = {.transfer = wasi_socket_transfer,
                                              .sync = wasi_host_sync,
                                              .poll_fd = wasi_host_poll_fd,
                                              .readable_bytes = wasi_host_readable_bytes,
                                              .saved_kind = WASI_SAVED_STREAM};

/* ---- Examination ---- */

#define RIGHTS_ALWAYS                                                                              \
    (WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_POLL_FD_READWRITE)
#define RIGHTS_SEEK (WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL | WASI_RIGHT_FD_ADVISE)
#define RIGHTS_RESIZE                                                                              \
    (WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE | WASI_RIGHT_FD_FILESTAT_SET_TIMES)
#define RIGHTS_SYNC (WASI_RIGHT_FD_SYNC | WASI_RIGHT_FD_DATASYNC)

static uint8_t filetype_of(int host_fd, const struct stat *st) {
    int type = 0;
    socklen_t type_bytes = sizeof type;
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

/* Without the right to seek a stream looks like a pipe to the guest, whatever it is, with two
 * exceptions: a terminal is one to talk to, and a socket is written as messages. wasi-libc's
 * isatty() is: a character device without the rights to seek and tell; so /dev/null must not be
 * shown as one. */
static void fd_examine(struct wasi_fd *fd, const struct stat *st, bool may_seek) {
    const bool is_terminal = isatty(fd->host_fd), is_socket = S_ISSOCK(st->st_mode);
    const bool can_seek = !is_terminal && lseek(fd->host_fd, 0, SEEK_CUR) >= 0;
    const bool is_file = S_ISREG(st->st_mode) || S_ISBLK(st->st_mode) || can_seek;
    fd->ops = is_socket ? &socket_ops : is_file ? &file_ops : &stream_ops;
    fd->is_seekable = can_seek && may_seek;
    fd->filetype = is_terminal || is_socket || fd->is_seekable ? filetype_of(fd->host_fd, st)
                                                               : WASI_FILETYPE_UNKNOWN;
}

/* Never more than was given, or than the host's open mode allows. */
static uint64_t rights_of(const struct wasi_fd *fd, bool is_regular, int mode, uint32_t given) {
    uint64_t rights = RIGHTS_ALWAYS;
    if (mode != O_WRONLY && (given & HUSK_WASI_READ) != 0)
        rights |= WASI_RIGHT_FD_READ;
    if (mode != O_RDONLY && (given & HUSK_WASI_WRITE) != 0)
        rights |= WASI_RIGHT_FD_WRITE;
    if (fd->is_seekable)
        rights |= RIGHTS_SEEK;
    if ((given & HUSK_WASI_RESIZE) != 0 && (rights & WASI_RIGHT_FD_WRITE) != 0)
        rights |= RIGHTS_SYNC | (is_regular ? RIGHTS_RESIZE : 0);
    return rights;
}

void wasi_host_fd_init(struct wasi_fd *fd, uint8_t stream, int host_fd, uint32_t given) {
    struct stat st;
    const int open_flags = host_fd < 0 || given == 0 ? -1 : fcntl(host_fd, F_GETFL);
    *fd = (struct wasi_fd){0};
    if (open_flags < 0 || (open_flags & O_PATH) != 0 || fstat(host_fd, &st) != 0)
        return;
    fd->host_fd = host_fd;
    fd->stream = stream;
    fd_examine(fd, &st, (given & HUSK_WASI_SEEK) != 0);
    wasi_fd_grant(fd, rights_of(fd, S_ISREG(st.st_mode), open_flags & O_ACCMODE, given), 0);
}
