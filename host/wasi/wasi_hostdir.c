/*
 * host/wasi/wasi_hostdir.c: directories of the host, as the guest sees them. The kernel resolves
 * every path beneath a directory. The calls that take a name in a directory (mkdirat() and its
 * like) get the parent, which openat2() found beneath, and the last name of the path, which they
 * never follow. So no symbolic link leads out, whoever puts it there and whenever.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wasi_abi.h"
#include "wasi_dir.h"
#include "wasi_state.h"

/* The kernel's records are about as long as the guest's. What is read beyond the guest's buffer, of
 * 4 KiB mostly, is read again for the next call: so read in pieces. It has room for seven of the
 * longest names. */
#define LIST_BYTES 2048

/* ---- Resolving ---- */

/* The parent of a path's last name. */
struct parent {
    int fd;
    bool is_owned;
    const char *name;  /* with the slashes at its end, if any */
    size_t name_bytes; /* without them */
};

static void parent_done(struct parent *parent) {
    if (parent->is_owned)
        close(parent->fd);
}

static bool is_name(const struct parent *parent, const char *name) {
    return parent->name_bytes == strlen(name) && memcmp(parent->name, name, strlen(name)) == 0;
}

static int parent_find(const struct wasi_call *call, const struct wasi_fd *dir,
                       const struct wasi_path *path, struct parent *ret_parent) {
    char above[WASI_PATH_MAX_BYTES + 1];
    size_t end = path->count, begin;
    while (end > 0 && path->bytes[end - 1] == '/')
        end--;
    begin = end;
    while (begin > 0 && path->bytes[begin - 1] != '/')
        begin--;
    if (end == 0)
        return -EPERM; /* the root */
    struct parent parent = {
        .fd = dir->host_fd, .name = path->bytes + begin, .name_bytes = end - begin};
    if (begin > 0) {
        memcpy(above, path->bytes, begin);
        above[begin] = '\0';
        parent.fd = wasi_beneath(call, dir->host_fd, above, O_PATH | O_DIRECTORY, 0);
        if (parent.fd < 0)
            return parent.fd;
        parent.is_owned = true;
    }
    *ret_parent = parent;
    return 0;
}

/* The parent, for a call that never follows the last name. Such a call refuses ".." by itself; here
 * it is only found out whether that leads out, which is another error. */
static int parent_open(const struct wasi_call *call, const struct wasi_fd *dir,
                       const struct wasi_path *path, struct parent *ret_parent) {
    const int status = parent_find(call, dir, path, ret_parent);
    if (status != 0 || !is_name(ret_parent, ".."))
        return status;
    const int fd = wasi_beneath(call, dir->host_fd, path->bytes, O_PATH, 0);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    parent_done(ret_parent);
    return fd;
}

/* The file itself, not opened for anything: a descriptor for fstat() and its like. */
static int locate(const struct wasi_call *call, const struct wasi_fd *dir,
                  const struct wasi_path *path) {
    return wasi_beneath(call, dir->host_fd, path->bytes,
                        O_PATH | (path->is_followed ? 0 : O_NOFOLLOW), 0);
}

/* ---- Paths ---- */

static int dir_stat(const struct wasi_call *call, const struct wasi_fd *dir,
                    const struct wasi_path *path, struct stat *ret_stat) {
    const int fd = locate(call, dir, path);
    if (fd < 0)
        return fd;
    const int status = fstat(fd, ret_stat) == 0 ? 0 : -errno;
    close(fd);
    return status;
}

static int set_times_of(const struct wasi_call *call, int fd, const struct timespec times[2]) {
    return (int)WASI_SYSCALL(call, SYS_utimensat, fd, (long)"", (long)times, AT_EMPTY_PATH);
}

static int dir_set_times(const struct wasi_call *call, const struct wasi_fd *dir,
                         const struct wasi_path *path, const struct timespec times[2]) {
    const int fd = locate(call, dir, path);
    if (fd < 0)
        return fd;
    const int status = set_times_of(call, fd, times);
    close(fd);
    return status;
}

static int dir_make(const struct wasi_call *call, const struct wasi_fd *dir,
                    const struct wasi_path *path) {
    struct parent parent;
    int status = parent_open(call, dir, path, &parent);
    if (status != 0)
        return status;
    status = (int)WASI_SYSCALL(call, SYS_mkdirat, parent.fd, (long)parent.name, 0777);
    parent_done(&parent);
    return status;
}

static int unlink_in(const struct wasi_call *call, const struct wasi_fd *dir,
                     const struct wasi_path *path, int flags) {
    struct parent parent;
    int status = parent_open(call, dir, path, &parent);
    if (status != 0)
        return status;
    status = (int)WASI_SYSCALL(call, SYS_unlinkat, parent.fd, (long)parent.name, flags);
    parent_done(&parent);
    return status;
}

static int dir_remove(const struct wasi_call *call, const struct wasi_fd *dir,
                      const struct wasi_path *path) {
    return unlink_in(call, dir, path, AT_REMOVEDIR);
}

static int dir_unlink(const struct wasi_call *call, const struct wasi_fd *dir,
                      const struct wasi_path *path) {
    return unlink_in(call, dir, path, 0);
}

static long dir_read_link(const struct wasi_call *call, const struct wasi_fd *dir,
                          const struct wasi_path *path, char *out, size_t count) {
    struct stat st;
    const int fd = wasi_beneath(call, dir->host_fd, path->bytes, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd;
    long got = fstat(fd, &st) != 0 ? -errno : S_ISLNK(st.st_mode) ? 0 : -EINVAL;
    if (count > INT_MAX) /* more than that is less than nothing to the kernel */
        count = INT_MAX;
    if (got == 0 && count > 0) /* a buffer without room is none to the kernel */
        got = WASI_SYSCALL(call, SYS_readlinkat, fd, (long)"", (long)out, (long)count);
    close(fd);
    return got;
}

static int dir_symlink(const struct wasi_call *call, const struct wasi_fd *dir, const char *target,
                       const struct wasi_path *path) {
    struct parent parent;
    int status = parent_open(call, dir, path, &parent);
    if (status != 0)
        return status;
    status = (int)WASI_SYSCALL(call, SYS_symlinkat, (long)target, parent.fd, (long)parent.name);
    parent_done(&parent);
    return status;
}

/* linkat() follows its first name if that is "..", or has a slash at its end. Both mean a
 * directory, which cannot be linked. */
static int link_source(const struct wasi_call *call, const struct wasi_place *from,
                       struct parent *ret_parent) {
    struct stat st;
    int status = parent_find(call, from->dir, &from->path, ret_parent);
    if (status != 0)
        return status;
    const bool has_slash = ret_parent->name[ret_parent->name_bytes] == '/';
    if (!has_slash && !is_name(ret_parent, ".") && !is_name(ret_parent, ".."))
        return 0;
    parent_done(ret_parent);
    status = dir_stat(call, from->dir, &from->path, &st);
    return status != 0 ? status : -EPERM;
}

static int dir_link(const struct wasi_call *call, const struct wasi_place *from,
                    const struct wasi_place *to) {
    struct parent old, new;
    int status = link_source(call, from, &old);
    if (status != 0)
        return status;
    status = parent_open(call, to->dir, &to->path, &new);
    if (status == 0) {
        status =
            (int)WASI_SYSCALL(call, SYS_linkat, old.fd, (long)old.name, new.fd, (long)new.name, 0);
        parent_done(&new);
    }
    parent_done(&old);
    return status;
}

static int dir_rename(const struct wasi_call *call, const struct wasi_place *from,
                      const struct wasi_place *to) {
    struct parent old, new;
    int status = parent_open(call, from->dir, &from->path, &old);
    if (status != 0)
        return status;
    status = parent_open(call, to->dir, &to->path, &new);
    if (status == 0) {
        status = (int)WASI_SYSCALL(call, SYS_renameat2, old.fd, (long)old.name, new.fd,
                                   (long)new.name, 0);
        parent_done(&new);
    }
    parent_done(&old);
    return status;
}

/* ---- Listing ---- */

struct listing {
    const struct wasi_call *call;
    const struct wasi_fd *dir;
    int fd;
    bool (*emit)(void *user, const struct wasi_dirent *entry);
    void *user;
};

static uint8_t filetype_of_entry(int fd, const char *name, unsigned char type) {
    struct stat st;
    if (type != DT_UNKNOWN)
        return wasi_host_filetype((mode_t)DTTOIF(type));
    return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? wasi_host_filetype(st.st_mode)
                                                            : WASI_FILETYPE_UNKNOWN;
}

/* Above the directory that the embedder gave there is nothing for the guest: it is its own parent,
 * as "/" is. */
static uint64_t parent_ino(const struct listing *listing, uint64_t ino) {
    const struct wasi_dir *root = &listing->call->ctx->config->dirs[listing->dir->dir];
    struct stat st;
    if (fstat(listing->fd, &st) != 0)
        return 0;
    return st.st_dev == root->host_dev && st.st_ino == root->host_ino ? st.st_ino : ino;
}

/* false: enough. */
static bool emit_entries(const struct listing *listing, const char *entries, size_t count) {
    for (size_t at = 0; at < count;) {
        const struct dirent64 *from = (const struct dirent64 *)(const void *)(entries + at);
        struct wasi_dirent entry = {.next = (uint64_t)from->d_off,
                                    .ino = from->d_ino,
                                    .name = from->d_name,
                                    .name_bytes = (uint32_t)strlen(from->d_name)};
        entry.filetype = filetype_of_entry(listing->fd, from->d_name, from->d_type);
        if (strcmp(from->d_name, "..") == 0)
            entry.ino = parent_ino(listing, from->d_ino);
        if (!listing->emit(listing->user, &entry))
            return false;
        at += from->d_reclen;
    }
    return true;
}

/* What the guest opened has an open file of its own, and stays open between calls: an overlay, and
 * many a FUSE, makes the list when the directory is opened, and its positions count in that list.
 * A preopened directory is for resolving only, and all sandboxes share it: it is opened anew each
 * time. */
static int list_open(const struct wasi_call *call, const struct wasi_fd *dir) {
    return dir->is_preopen ? wasi_beneath(call, dir->host_fd, ".", O_RDONLY | O_DIRECTORY, 0)
                           : dir->host_fd;
}

/* The file system's own positions are the cookies. */
static int dir_list(const struct wasi_call *call, const struct wasi_fd *dir, uint64_t cookie,
                    bool (*emit)(void *user, const struct wasi_dirent *entry), void *user) {
    _Alignas(struct dirent64) char entries[LIST_BYTES];
    struct listing listing = {.call = call, .dir = dir, .emit = emit, .user = user};
    if (cookie > INT64_MAX)
        return -EINVAL;
    listing.fd = list_open(call, dir);
    if (listing.fd < 0)
        return listing.fd;
    long got = lseek(listing.fd, (off_t)cookie, SEEK_SET) < 0 ? -errno : 0;
    if (got == 0)
        do
            got = WASI_SYSCALL(call, SYS_getdents64, listing.fd, (long)entries, sizeof entries);
        while (got > 0 && emit_entries(&listing, entries, (size_t)got));
    if (listing.fd != dir->host_fd)
        close(listing.fd);
    /* ENOENT: it was removed; POSIX's readdir() is at its end then. */
    return got < 0 && got != -ENOENT ? (int)got : 0;
}

/* ---- The directory itself ---- */

static int self_set_times(const struct wasi_call *call, const struct wasi_fd *fd,
                          const struct timespec times[2]) {
    return set_times_of(call, fd->host_fd, times);
}

static int self_sync(const struct wasi_call *call, const struct wasi_fd *fd, bool is_data_only) {
    const int readable = wasi_beneath(call, fd->host_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (readable < 0)
        return readable;
    const int status = (int)WASI_SYSCALL(call, is_data_only ? SYS_fdatasync : SYS_fsync, readable);
    close(readable);
    return status;
}

static const struct wasi_dir_ops path_ops = {.open = wasi_hostfile_open,
                                             .stat = dir_stat,
                                             .set_times = dir_set_times,
                                             .make_dir = dir_make,
                                             .remove_dir = dir_remove,
                                             .unlink = dir_unlink,
                                             .read_link = dir_read_link,
                                             .symlink = dir_symlink,
                                             .link = dir_link,
                                             .rename = dir_rename,
                                             .list = dir_list};
const struct wasi_fd_ops wasi_hostdir_ops = {.stat = wasi_host_stat,
                                             .set_times = self_set_times,
                                             .sync = self_sync,
                                             .close = wasi_hostfile_close,
                                             .dir = &path_ops,
                                             .saved_kind = WASI_SAVED_HOST,
                                             .save = wasi_hostfile_save};
