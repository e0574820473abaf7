/*
 * host/wasi/wasi_dir.h: directories of a guest: what the path functions do with them.
 *
 * Flow: path_open and its like (wasi_path.c) check the descriptor, its rights, flags and the path's
 * bytes, and call the directory's operations. The directories that the embedder gives are in the
 * configuration (wasi_dirs.c). There are two kinds. Host directories
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
    bool is_followed; /* a symbolic link as the last name stands for its target */
};

struct wasi_open {
    struct wasi_path path;
    uint32_t oflags;              /* WASI_OFLAG_… */
    uint32_t fdflags;             /* WASI_FDFLAG_… */
    bool wants_read, wants_write; /* of a file's contents; neither: as if to read */
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
    /* Fills a descriptor: ops, filetype, flags, is_seekable, position, what it owns, and by
     * wasi_dir_grant() all rights that it can have. Not dir and serial. ret_fd is all zeros
     * before. */
    int (*open)(const struct wasi_call *call, const struct wasi_fd *dir,
                const struct wasi_open *how, struct wasi_fd *ret_fd);
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

/* wasi_dirs.c: the configuration's table of directories, from options that were read. HUSK_E_INVAL,
 * HUSK_E_LIMIT, HUSK_E_NOMEM, HUSK_E_SYS, HUSK_E_UNSUPPORTED. Frees nothing on failure;
 * wasi_dirs_done() does. */
int wasi_dirs_init(struct wasi_config *config, const struct husk_wasi_options *options,
                   struct husk_error *err);
void wasi_dirs_done(struct wasi_config *config);
/* wasi_grant.c: grant a descriptor that was opened in this directory all rights that it can have:
 * by its filetype, and for a file by how it was opened. */
void wasi_dir_grant(const struct wasi_dir *dir, struct wasi_fd *fd, bool can_read, bool can_write);
/* Is there a directory whose files are in the sandbox's private layer? */
bool wasi_dirs_have_private(const struct wasi_config *config);

/* wasi_beneath.c: openat2(), beneath a directory and never through a magic link; flags O_…,
 * O_CLOEXEC is added. What would leave it is -EPERM, and what is in a proc file system, which could
 * change this process, -EACCES. call NULL: not for a guest's call, and it must not wait. Returns a
 * descriptor or -errno. */
int wasi_beneath(const struct wasi_call *call, int dir_fd, const char *path, int flags,
                 unsigned mode);
/* The same with more rules for resolving. What would leave the directory is -EXDEV. */
struct open_how;
int wasi_beneath_how(const struct wasi_call *call, int dir_fd, const char *path,
                     const struct open_how *how);
/* wasi_hostfile.c: what a file of the host is to the guest. */
uint8_t wasi_host_filetype(mode_t mode);
int wasi_hostfile_open(const struct wasi_call *call, const struct wasi_fd *dir,
                       const struct wasi_open *how, struct wasi_fd *ret_fd);
void wasi_hostfile_close(struct wasi_fd *fd);
int wasi_hostfile_save(const struct wasi_ctx *ctx, const struct wasi_fd *fd, struct buf *body,
                       struct husk_error *err);

/* The operations of a directory that the embedder gave, and of what is opened there. */
extern const struct wasi_fd_ops wasi_hostdir_ops; /* host_fd of a preopen: the configuration's */
/* Directories of a private layer. A preopen's privfile is NULL: it is the root `fd->dir`. */
extern const struct wasi_fd_ops wasi_privdir_ops;
/* wasi_privlist.c: drop the names that the last listing left for the next one. */
void wasi_privlist_forget(struct wasi_ctx *ctx);

#endif
