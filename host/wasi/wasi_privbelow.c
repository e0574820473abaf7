/*
 * host/wasi/wasi_privbelow.c: the host's directory below a private one. It is never written, and
 * its files are never opened for anything but reading. Others may change it at any time: so each
 * operation opens its path anew, by openat2(), which cannot leave the directory and follows no
 * link. A directory that became a link is therefore not there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include "auto.h"
#include "wasi_priv.h"

#define NAMES_BUFFER_BYTES 32768

/* What linux_dirent64 looks like: getdents64(2). */
struct dirent_head {
    uint64_t ino;
    int64_t offset;
    uint16_t record_bytes;
    uint8_t type;
    char name[];
};

int below_open(const struct priv *priv, const char *path, int flags) {
    const struct open_how how = {.flags = (unsigned)(flags | O_NOFOLLOW),
                                 .resolve = RESOLVE_NO_SYMLINKS};
    if (priv->below_fd < 0)
        return -ENOENT;
    const int fd = wasi_beneath_how(priv->call, priv->below_fd, path[0] != '\0' ? path : ".", &how);
    return fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV ? -ENOENT : fd;
}

int below_stat(const struct priv *priv, const char *path, struct stat *ret_stat) {
    struct stat st;
    auto_fd fd = below_open(priv, path, O_PATH);
    if (fd < 0)
        return fd;
    const int status = (int)WASI_SYSCALL(priv->call, SYS_fstat, fd, (long)&st);
    if (status == 0)
        *ret_stat = st;
    return status;
}

/* O_NONBLOCK: what became a FIFO in the meantime must not wait for a writer. */
int below_open_file(const struct priv *priv, const char *path, struct stat *ret_stat) {
    struct stat st;
    auto_fd fd = below_open(priv, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fd;
    int status = (int)WASI_SYSCALL(priv->call, SYS_fstat, fd, (long)&st);
    if (status == 0 && !S_ISREG(st.st_mode))
        status = -ENXIO;
    if (status != 0)
        return status;
    *ret_stat = st;
    return take_fd(&fd);
}

long below_target(const struct priv *priv, const char *path, char *out, size_t count) {
    auto_fd fd = below_open(priv, path, O_PATH);
    if (fd < 0)
        return fd;
    const long bytes =
        WASI_SYSCALL(priv->call, SYS_readlinkat, fd, (long)"", (long)out, (long)count);
    if (bytes >= (long)count)
        return -ENAMETOOLONG;
    return bytes;
}

/* Returns false if `see` wants no more. */
static bool names_see(const uint8_t *records, size_t bytes,
                      bool (*see)(void *user, const struct below_name *name), void *user) {
    for (size_t at = 0; at < bytes;) {
        struct dirent_head head;
        memcpy(&head, records + at, offsetof(struct dirent_head, name));
        const char *name = (const char *)records + at + offsetof(struct dirent_head, name);
        const struct below_name seen = {.name = name, .ino = head.ino, .dtype = head.type};
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !see(user, &seen))
            return false;
        at += head.record_bytes;
    }
    return true;
}

int below_each(const struct priv *priv, const char *path,
               bool (*see)(void *user, const struct below_name *name), void *user) {
    uint8_t records[NAMES_BUFFER_BYTES];
    auto_fd fd = below_open(priv, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    long bytes;
    do {
        if (priv->call->ops->is_cut(priv->call->host))
            return -EINTR;
        bytes = WASI_SYSCALL(priv->call, SYS_getdents64, fd, (long)records, sizeof records);
    } while (bytes > 0 && names_see(records, (size_t)bytes, see, user));
    return bytes >= 0 || bytes == -ENOENT ? 0 : (int)bytes;
}

enum privfs_kind below_kind(const struct stat *st) {
    return S_ISREG(st->st_mode)   ? PRIVFS_FILE
           : S_ISDIR(st->st_mode) ? PRIVFS_DIR
           : S_ISLNK(st->st_mode) ? PRIVFS_SYMLINK
                                  : PRIVFS_NONE;
}
