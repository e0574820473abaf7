/*
 * host/wasi/wasi_hostfile.c: files and directories that a guest opened in a directory of the host
 * (wasi_hostdir.c): opening them, and bringing them back from a snapshot. Each guest descriptor has
 * an open file of its own, with its own position. Reads and writes are system calls, never mapped
 * memory: a file that somebody truncates meanwhile is only short.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "error.h"
#include "wasi_abi.h"
#include "wasi_dir.h"
#include "wasi_state.h"

/* ---- Open files ---- */

uint8_t wasi_host_filetype(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return WASI_FILETYPE_REGULAR_FILE;
    case S_IFDIR: return WASI_FILETYPE_DIRECTORY;
    case S_IFLNK: return WASI_FILETYPE_SYMBOLIC_LINK;
    case S_IFCHR: return WASI_FILETYPE_CHARACTER_DEVICE;
    case S_IFBLK: return WASI_FILETYPE_BLOCK_DEVICE;
    case S_IFSOCK: return WASI_FILETYPE_SOCKET_STREAM;
    default: return WASI_FILETYPE_UNKNOWN; /* pipes have no word in WASI */
    }
}

void wasi_hostfile_close(struct wasi_fd *fd) {
    if (!fd->is_preopen)
        close(fd->host_fd);
}

static int set_flags(const struct wasi_fd *fd, uint16_t flags) {
    const int now = fcntl(fd->host_fd, F_GETFL);
    if (now < 0)
        return -errno;
    const int wanted = (flags & WASI_FDFLAG_APPEND) != 0 ? now | O_APPEND : now & ~O_APPEND;
    return fcntl(fd->host_fd, F_SETFL, wanted) == 0 ? 0 : -errno;
}

static uint64_t position(const struct wasi_fd *fd) {
    const off_t at = lseek(fd->host_fd, 0, SEEK_CUR);
    return at < 0 ? 0 : (uint64_t)at;
}

static void set_position(struct wasi_fd *fd, uint64_t at) {
    (void)lseek(fd->host_fd, (off_t)at, SEEK_SET);
}

static const struct wasi_fd_ops file_ops = {.transfer = wasi_file_transfer,
                                            .seek = wasi_host_seek,
                                            .set_flags = set_flags,
                                            .stat = wasi_host_stat,
                                            .set_times = wasi_host_set_times,
                                            .resize = wasi_host_resize,
                                            .allocate = wasi_host_allocate,
                                            .advise = wasi_host_advise,
                                            .sync = wasi_host_sync,
                                            .poll_fd = wasi_host_poll_fd,
                                            .readable_bytes = wasi_host_readable_bytes,
                                            .close = wasi_hostfile_close,
                                            .saved_kind = WASI_SAVED_HOST,
                                            .save = wasi_hostfile_save,
                                            .position = position,
                                            .set_position = set_position};

/* ---- Opening ---- */

/* Devices and pipes act, wait or end when somebody opens them. The errors are those that Linux
 * gives for a device on a file system without devices, and for a socket. */
static int check_type(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR: return 0;
    case S_IFLNK: return -ELOOP;
    case S_IFCHR:
    case S_IFBLK: return -EACCES;
    default: return -ENXIO;
    }
}

static int fd_check_type(int fd, struct stat *ret_stat) {
    return fstat(fd, ret_stat) != 0 ? -errno : check_type(ret_stat->st_mode);
}

/* O_NONBLOCK: should it become a pipe after all, nobody waits. */
static int open_flags(uint32_t oflags, uint32_t fdflags, bool can_read, bool can_write) {
    int flags = O_NONBLOCK | O_NOCTTY;
    flags |= !can_write ? O_RDONLY : can_read ? O_RDWR : O_WRONLY;
    flags |= (oflags & WASI_OFLAG_CREAT) != 0 ? O_CREAT : 0;
    flags |= (oflags & WASI_OFLAG_EXCL) != 0 ? O_EXCL : 0;
    flags |= (oflags & WASI_OFLAG_TRUNC) != 0 ? O_TRUNC : 0;
    flags |= (oflags & WASI_OFLAG_DIRECTORY) != 0 ? O_DIRECTORY : 0;
    flags |= (fdflags & WASI_FDFLAG_APPEND) != 0 ? O_APPEND : 0;
    flags |= (fdflags & WASI_FDFLAG_DSYNC) != 0 ? O_DSYNC : 0;
    flags |= (fdflags & (WASI_FDFLAG_SYNC | WASI_FDFLAG_RSYNC)) != 0 ? O_SYNC : 0;
    return flags;
}

/* What it is, before it is opened. Not needed if it must be new, or a directory. */
static int look_first(const struct wasi_call *call, int dir_fd, const char *path, int flags) {
    struct stat st;
    if ((flags & O_DIRECTORY) != 0 || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return 0;
    const int fd = wasi_beneath(call, dir_fd, path, O_PATH | (flags & O_NOFOLLOW), 0);
    if (fd < 0)
        return fd == -ENOENT && (flags & O_CREAT) != 0 ? 0 : fd;
    const int status = fd_check_type(fd, &st);
    close(fd);
    return status;
}

/* flags: as it was opened. */
static void fill(const struct wasi_dir *dir, int host_fd, const struct stat *st, int flags,
                 struct wasi_fd *ret_fd) {
    const bool is_dir = S_ISDIR(st->st_mode);
    ret_fd->ops = is_dir ? dir->preopen.ops : &file_ops;
    ret_fd->host_fd = host_fd;
    ret_fd->filetype = wasi_host_filetype(st->st_mode);
    ret_fd->is_seekable = !is_dir;
    wasi_dir_grant(dir, ret_fd, (flags & O_ACCMODE) != O_WRONLY, (flags & O_ACCMODE) != O_RDONLY);
}

int wasi_hostfile_open(const struct wasi_call *call, const struct wasi_fd *dir,
                       const struct wasi_open *how, struct wasi_fd *ret_fd) {
    struct stat st;
    int flags = open_flags(how->oflags, how->fdflags, how->wants_read, how->wants_write);
    flags |= how->path.is_followed ? 0 : O_NOFOLLOW;
    int status = look_first(call, dir->host_fd, how->path.bytes, flags);
    if (status != 0)
        return status;
    const int fd = wasi_beneath(call, dir->host_fd, how->path.bytes, flags, 0666);
    if (fd < 0)
        return fd;
    status = fd_check_type(fd, &st);
    if (status != 0) {
        close(fd);
        return status;
    }
    fill(&call->ctx->config->dirs[dir->dir], fd, &st, flags, ret_fd);
    ret_fd->flags = (uint16_t)how->fdflags;
    return 0;
}

/* ---- Snapshots ---- */

struct saved_hostfile {
    /* Which file it was. dev 0: the file system of the directory that the embedder gave, whose
     * number need not be the same later. born_ns 0: the file system does not know. */
    uint64_t dev, ino, born_ns;
    uint32_t path_bytes; /* 0: it had no path below the directory any more */
    uint8_t filetype, can_read, can_write, pad;
    /* the path, without a NUL; "." is the directory itself */
};
_Static_assert(sizeof(struct saved_hostfile) == 32, "part of the saved state");

static int identify(const struct wasi_dir *dir, int fd, struct saved_hostfile *ret_saved) {
    struct statx stx;
    struct stat st;
    if (fstat(fd, &st) != 0 || statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) != 0)
        return -errno;
    ret_saved->dev = st.st_dev == dir->host_dev ? 0 : st.st_dev;
    ret_saved->ino = st.st_ino;
    ret_saved->born_ns = (stx.stx_mask & STATX_BTIME) == 0
                             ? 0
                             : (uint64_t)stx.stx_btime.tv_sec * 1000000000u + stx.stx_btime.tv_nsec;
    ret_saved->filetype = wasi_host_filetype(st.st_mode);
    return st.st_nlink == 0 ? -ENOENT : 0;
}

/* Where the kernel says that an open file is now. */
static ssize_t path_of(int fd, char *out, size_t count) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t got = readlink(link, out, count);
    return got < (ssize_t)count ? got : -1;
}

/* The path below the directory; 0: none. */
static size_t path_below(const struct wasi_dir *dir, int fd, char *out) {
    char root[WASI_PATH_MAX_BYTES + 1];
    const ssize_t root_bytes = path_of(dir->host_fd, root, sizeof root);
    const ssize_t bytes = path_of(fd, out, WASI_PATH_MAX_BYTES + 1);
    if (root_bytes <= 0 || bytes < root_bytes || memcmp(out, root, (size_t)root_bytes) != 0)
        return 0;
    size_t skipped = (size_t)root_bytes;
    if (bytes == root_bytes) {
        out[0] = '.';
        return 1;
    }
    if (root[root_bytes - 1] != '/' && out[skipped++] != '/') /* the root "/" ends with one */
        return 0;
    memmove(out, out + skipped, (size_t)bytes - skipped);
    return (size_t)bytes - skipped;
}

int wasi_hostfile_save(const struct wasi_ctx *ctx, const struct wasi_fd *fd, struct buf *body,
                       struct husk_error *err) {
    const struct wasi_dir *dir = &ctx->config->dirs[fd->dir];
    char path[WASI_PATH_MAX_BYTES + 1];
    const int mode = fcntl(fd->host_fd, F_GETFL) & O_ACCMODE;
    struct saved_hostfile saved = {.can_read = mode != O_WRONLY, .can_write = mode != O_RDONLY};
    (void)err;
    if (identify(dir, fd->host_fd, &saved) == 0)
        saved.path_bytes = (uint32_t)path_below(dir, fd->host_fd, path);
    buf_append(body, &saved, sizeof saved);
    buf_append(body, path, saved.path_bytes);
    return 0;
}

static bool is_same_file(const struct wasi_dir *dir, int fd, const struct saved_hostfile *saved) {
    struct saved_hostfile now = {0};
    return identify(dir, fd, &now) == 0 && now.dev == saved->dev && now.ino == saved->ino &&
           now.born_ns == saved->born_ns && now.filetype == saved->filetype;
}

/* Nothing is created, truncated or waited for. First it is only looked at: another file is not
 * opened at all. Returns a descriptor or -errno. */
static int reopen(const struct wasi_dir *dir, const char *path, const struct saved_hostfile *saved,
                  int flags) {
    int fd = wasi_beneath(NULL, dir->host_fd, path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd;
    const bool is_same = is_same_file(dir, fd, saved);
    close(fd);
    if (!is_same)
        return -ENOENT;
    fd = wasi_beneath(NULL, dir->host_fd, path, flags | O_NOFOLLOW, 0);
    if (fd >= 0 && !is_same_file(dir, fd, saved)) {
        close(fd);
        return -ENOENT;
    }
    return fd;
}

static int body_read(const struct wasi_saved_fd *row, const uint8_t *body,
                     struct saved_hostfile *ret_saved, char *ret_path, struct husk_error *err) {
    if (row->body_bytes < sizeof *ret_saved)
        return wasi_state_damaged(err, "size of an open file", row->number);
    memcpy(ret_saved, body, sizeof *ret_saved);
    if (ret_saved->path_bytes > WASI_PATH_MAX_BYTES ||
        row->body_bytes != sizeof *ret_saved + ret_saved->path_bytes)
        return wasi_state_damaged(err, "path of an open file", row->number);
    memcpy(ret_path, body + sizeof *ret_saved, ret_saved->path_bytes);
    ret_path[ret_saved->path_bytes] = '\0';
    if (memchr(ret_path, '\0', ret_saved->path_bytes) != NULL ||
        (row->flags & ~WASI_FDFLAGS_ALL) != 0 ||
        (ret_saved->filetype != WASI_FILETYPE_REGULAR_FILE &&
         ret_saved->filetype != WASI_FILETYPE_DIRECTORY))
        return wasi_state_damaged(err, "path, flags or kind of an open file", row->number);
    return 0;
}

int wasi_hostfile_check(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *body,
                        struct wasi_fd *ret_fd, struct husk_error *err) {
    struct saved_hostfile saved;
    char path[WASI_PATH_MAX_BYTES + 1];
    struct stat st;
    const int status = body_read(row, body, &saved, path, err);
    if (status != 0 || saved.path_bytes == 0 || row->idx >= ctx->config->dirs_count)
        return status;
    const struct wasi_dir *dir = &ctx->config->dirs[row->idx];
    if (dir->kind != HUSK_WASI_DIR_HOST)
        return 0;
    const bool is_dir = saved.filetype == WASI_FILETYPE_DIRECTORY;
    const bool can_write = saved.can_write != 0 && dir->is_writable;
    const int flags =
        open_flags(is_dir ? WASI_OFLAG_DIRECTORY : 0, row->flags, saved.can_read != 0, can_write);
    const int fd = reopen(dir, path, &saved, flags);
    /* It may well be there. Closed, its number would go to the next file that the guest opens. */
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
        return error_sys(err, -fd, "cannot open the guest's descriptor %u again", row->number);
    if (fd < 0 || fstat(fd, &st) != 0)
        return 0;
    fill(dir, fd, &st, flags, ret_fd);
    if (saved.can_read == 0) /* opened to read all the same if it may not be written now */
        wasi_fd_grant(ret_fd, ret_fd->granted & ~WASI_RIGHT_FD_READ, ret_fd->granted_inheriting);
    ret_fd->flags = row->flags;
    ret_fd->dir = (uint16_t)row->idx;
    if (!is_dir)
        set_position(ret_fd, row->position);
    return 0;
}
