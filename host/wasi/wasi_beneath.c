/*
 * host/wasi/wasi_beneath.c: the one place where paths of the host are opened for a guest:
 * openat2(), beneath a directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "wasi_dir.h"

/* While somebody renames directories, the kernel cannot say whether ".." stayed beneath: EAGAIN. */
#define TRIES_MAX 1000

static long kernel(const struct wasi_call *call, long number, const long args[6]) {
    if (call != NULL)
        return wasi_syscall(call, number, args);
    const long result = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    return result < 0 ? -errno : result;
}
#define KERNEL(call, number, ...) kernel(call, number, (const long[6]){__VA_ARGS__})

static long open_how(const struct wasi_call *call, int dir_fd, const char *path,
                     const struct open_how *how) {
    long fd = -EAGAIN;
    for (int i = 0; i < TRIES_MAX && fd == -EAGAIN; i++)
        fd = KERNEL(call, SYS_openat2, dir_fd, (long)path, (long)how, sizeof *how);
    return fd;
}

/* First within the file system, which is not proc: mostly that is all. */
int wasi_beneath_how(const struct wasi_call *call, int dir_fd, const char *path,
                     const struct open_how *given) {
    struct open_how how = *given;
    struct statfs fs;
    how.flags |= O_CLOEXEC;
    how.resolve |= RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    long fd = open_how(call, dir_fd, path, &how);
    if (fd != -EXDEV)
        return (int)fd;
    how.resolve &= ~(uint64_t)RESOLVE_NO_XDEV;
    fd = open_how(call, dir_fd, path, &how);
    if (fd < 0 || (fstatfs((int)fd, &fs) == 0 && fs.f_type != PROC_SUPER_MAGIC))
        return (int)fd;
    close((int)fd);
    return -EACCES;
}

int wasi_beneath(const struct wasi_call *call, int dir_fd, const char *path, int flags,
                 unsigned mode) {
    const struct open_how how = {.flags = (unsigned)flags,
                                 .mode = (flags & O_CREAT) != 0 ? mode : 0};
    const int fd = wasi_beneath_how(call, dir_fd, path, &how);
    return fd == -EXDEV ? -EPERM : fd;
}
