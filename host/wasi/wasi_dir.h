/*
 * host/wasi/wasi_dir.h: directories of a guest: what the path functions do with them.
 *
 * Flow: path_open and its like (wasi_path.c) check the descriptor, its rights, flags and the path's
 * bytes, and call the directory's operations. There are two kinds. Host directories
 * (wasi_hostdir*.c) have the kernel resolve paths, by openat2(). Private directories
 * (wasi_privdir*.c) resolve paths themselves: in a private layer (host/files/privfs.h), and for
 * `cow` in a directory of the host below it, which is never written.
 */
#ifndef HOST_WASI_DIR_H
#define HOST_WASI_DIR_H

#include "wasi.h"

#define WASI_PATH_MAX_BYTES 4095u /* PATH_MAX, less the NUL; more is ENAMETOOLONG */

/* A path of the guest's, copied: not empty, without NUL, UTF-8, and NUL-terminated here. */
struct wasi_path {
    const char *bytes;
    uint32_t count;
    bool is_followed; /* if the last name is a symbolic link, it is the link's target that is meant */
};

struct wasi_open {
    struct wasi_path path;
    uint32_t oflags; /* WASI_OFLAG_… */
    uint32_t fdflags;
    bool wants_read, wants_write; /* of a file's contents */
};

/* A directory with a path in it: both ends of a link or rename. */
struct wasi_place {
    const struct wasi_fd *dir;
    struct wasi_path path;
};

struct wasi_dirent {
    uint64_t next; /* the cookie of the entry after this one */
    uint64_t ino;
    uint8_t filetype;
    uint32_t name_bytes;
    const char *name; /* valid until the next operation */
};

/* The operations of directories. They return -errno, by the kernel's conventions; -EINTR as in
 * wasi_fd.h. What would leave the directory is -EPERM (preview 1's programs expect it; the kernel's
 * -EXDEV becomes it). Rights were checked. NULL: never. */
struct wasi_dir_ops {
    /* Fills a descriptor: ops, filetype, position, what it owns. Not rights. */
    int (*open)(const struct wasi_call *call, const struct wasi_fd *dir, const struct wasi_open *how,
                struct wasi_fd *ret_fd);
    int (*stat)(const struct wasi_call *call, const struct wasi_fd *dir,
                const struct wasi_path *path, struct stat *ret_stat);
    int (*set_times)(const struct wasi_call *call, const struct wasi_fd *dir,
                     const struct wasi_path *path, const struct timespec times[2]);
    int (*make_dir)(const struct wasi_call *call, const struct wasi_fd *dir,
                    const struct wasi_path *path);
    int (*remove_dir)(const struct wasi_call *call, const struct wasi_fd *dir,
                      const struct wasi_path *path);
    int (*unlink)(const struct wasi_call *call, const struct wasi_fd *dir,
                  const struct wasi_path *path);
    long (*read_link)(const struct wasi_call *call, const struct wasi_fd *dir,
                      const struct wasi_path *path, char *out, size_t count);
    int (*symlink)(const struct wasi_call *call, const struct wasi_fd *dir, const char *target,
                   const struct wasi_path *path);
    /* Both directories have the same operations; the caller returns -EXDEV for others. */
    int (*link)(const struct wasi_call *call, const struct wasi_place *from,
                const struct wasi_place *to);
    int (*rename)(const struct wasi_call *call, const struct wasi_place *from,
                  const struct wasi_place *to);
    /* Entries from this cookie on, one after another, "." and ".." among them; cookie 0 is the
     * start. `emit` returns false when it wants no more. */
    int (*list)(const struct wasi_call *call, const struct wasi_fd *dir, uint64_t cookie,
                bool (*emit)(void *user, const struct wasi_dirent *entry), void *user);
};

#endif
