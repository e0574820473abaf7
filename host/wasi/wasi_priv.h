/*
 * host/wasi/wasi_priv.h: private directories inside: what their files (wasi_priv*.c) share.
 *
 * A private directory is a private layer (host/files/privfs.h) and, for `cow`, a directory of the
 * host below it, which is only read. A name means the layer's entry; without one, the entry below,
 * if the layer's directory has a path below. A whiteout in the layer hides the name below.
 *
 * Flow: wasi_privdir_ops (wasi_privdir.c, wasi_privname.c, wasi_privlist.c) → privwalk_to()
 * finds a path's end as nodes → changes lift what lies below into the layer (wasi_privcopy.c), and
 * change it there. wasi_privbelow.c makes all system calls on the directory below.
 *
 * A place below that the layer has no entry for is kept as its path below and as its anchor: the
 * deepest directory on its way that the layer has. The names behind the anchor are all below. If
 * the layer gets an entry for one of them, descriptors that are open there must know: see
 * privcopy_settle().
 */
#ifndef HOST_WASI_PRIV_H
#define HOST_WASI_PRIV_H

#include "privfs.h"
#include "wasi.h"
#include "wasi_dir.h"

/* More symbolic links in one path are -ELOOP: as in Linux. */
#define PRIV_LINKS_MAX 40u
/* Directories above a new one, the root included; more are -ENAMETOOLONG: changes of a tree look at
 * all directories above. */
#define PRIV_DEPTH_MAX 1024u
/* Names of one directory below that a listing reads, and their bytes; more are -EOVERFLOW. The host
 * keeps them in memory of its own, one directory's for each sandbox. */
#define PRIV_NAMES_MAX (1u << 20)
#define PRIV_NAMES_MAX_BYTES (64u << 20)

/* Numbers of inodes that only the layer has, as a guest of `cow` sees them, have this bit: file
 * systems hardly ever have such numbers, and a double can hold it. */
#define PRIV_OWN_INO (UINT64_C(1) << 52)

/* One use of a private directory. */
struct priv {
    const struct wasi_call *call;
    struct privfs fs;
    uint32_t root; /* of the layer */
    int below_fd;  /* the host's directory, borrowed; -1: none (`mem`) */
};

/* What a path leads to. */
struct priv_node {
    enum privfs_kind kind; /* PRIVFS_NONE: a device, FIFO or socket below */
    bool is_below;         /* only below: the layer has no entry for it */
    bool is_lost;          /* is_below: no name leads there any more */
    bool has_lower;        /* `lower` is valid: is_below, or a directory that shows one below */
    struct privfs_id id;   /* the inode; is_below: the anchor */
    uint32_t rel_at;       /* is_below: where in `lower` the names behind the anchor begin */
    uint32_t lower_bytes;
    struct stat st;                          /* is_below, except at the start of a walk */
    char lower[PRIVFS_TARGET_MAX_BYTES + 1]; /* path below; "": the host's directory itself */
};

/* Which file below it is. */
struct priv_identity {
    uint64_t dev, ino;
};

/* What a descriptor owns; a preopened directory, which is root fd->dir of the layer, has none. */
struct wasi_privfile {
    bool is_dir;
    bool is_below, is_lost; /* as in struct priv_node */
    struct privfs_id id;    /* the inode, or the anchor */
    uint64_t offset;
    int host_fd;                   /* the file below; -1: there is none, or not opened yet */
    struct priv_identity identity; /* of the file below */
    uint32_t rel_at, lower_bytes;
    char lower[]; /* NUL-terminated */
};

/* ---- wasi_privbelow.c: the directory below. Whatever cannot be reached without leaving it, or
 * through a symbolic link, is -ENOENT: the walk follows links itself ---- */

/* Open a path below; `flags` of openat2(), with O_NOFOLLOW and O_CLOEXEC added. */
int below_open(const struct priv *priv, const char *path, int flags);
int below_stat(const struct priv *priv, const char *path, struct stat *ret_stat);
/* Open a file to read that was a regular one a moment ago. -ENXIO if it is none now. */
int below_open_file(const struct priv *priv, const char *path, struct stat *ret_stat);
/* A symbolic link's target: its length, which is less than `count`. */
long below_target(const struct priv *priv, const char *path, char *out, size_t count);
/* Each name in a directory, without "." and "..", until `see` returns false. A directory that is
 * not there has none. */
struct below_name {
    const char *name;
    uint64_t ino;
    uint8_t dtype; /* DT_… */
};
int below_each(const struct priv *priv, const char *path,
               bool (*see)(void *user, const struct below_name *name), void *user);
enum privfs_kind below_kind(const struct stat *st);

/* ---- wasi_privwalk.c: nodes and paths ---- */

/* -EBADF: there is no such inode, or root. */
int privnode_of_inode(const struct priv *priv, struct privfs_id id, struct priv_node *ret_node);
/* -EBADF: what the descriptor was open on is not there. */
int privnode_of_fd(struct priv *priv, const struct wasi_fd *fd, struct priv_node *ret_node);
/* -ENOENT: neither the layer nor the directory below shows the name. */
int privnode_child(const struct priv *priv, const struct priv_node *dir, const char *name,
                   size_t name_bytes, struct priv_node *ret_node);
int privnode_parent(const struct priv *priv, const struct priv_node *dir,
                    struct priv_node *ret_node);
int privnode_stat(const struct priv *priv, const struct priv_node *node, struct stat *ret_stat);
/* The number that the guest sees, of what privfs_stat() returns. And the reverse. */
uint64_t privnode_ino(const struct priv *priv, uint64_t shown_ino);
/* A symbolic link's target. Returns its length; `out` has PRIVFS_TARGET_MAX_BYTES + 1. */
int64_t privnode_target(const struct priv *priv, const struct priv_node *link, char *out);
/* Does the directory below have this name, whatever the layer says? Errors count as yes. */
bool privnode_shows(const struct priv *priv, const struct priv_node *dir, const char *name,
                    size_t name_bytes);

enum priv_last { PRIV_LAST_NAME, PRIV_LAST_DOT, PRIV_LAST_DOTDOT };

/* Where a path ends. */
struct priv_end {
    enum priv_last last;
    bool is_found;  /* node is valid */
    bool has_slash; /* behind the last name */
    uint32_t name_bytes;
    struct priv_node dir, node; /* dir and name: PRIV_LAST_NAME only */
    char name[PRIVFS_NAME_MAX_BYTES + 1];
};
/* Follow a path. -EPERM: it leaves the descriptor's directory. */
enum priv_aim {
    PRIV_AIM_NAME,   /* the last name itself */
    PRIV_AIM_OBJECT, /* the object: with a slash at the end, a directory, through a link, too */
    PRIV_AIM_CREATE  /* a file that may have to be made: -EISDIR if there is a slash */
};
int privwalk_to(struct priv *priv, const struct wasi_fd *dir, const struct wasi_path *path,
                enum priv_aim aim, struct priv_end *ret_end);

/* ---- wasi_privcopy.c: from below into the layer ---- */

/* Make the layer have this node, all directories above included, and change it to the node there. A
 * file is copied, up to max_bytes. A failure leaves nothing behind. host_fd: the file, opened, or
 * -1. -EPERM: a device, FIFO or socket; -EINTR: the call was cut off. */
int privcopy_lift(struct priv *priv, struct priv_node *node, int host_fd, uint64_t max_bytes);
/* The same for a directory that is about to be changed. -ENOENT: it was removed. */
int privcopy_lift_dir(struct priv *priv, struct priv_node *dir);
/* The layer has new entries: descriptors that are open below, on places that these entries now
 * cover, move to the layer's directory or are lost. */
void privcopy_settle(struct priv *priv);

/* ---- wasi_privname.c ---- */
int privname_make_dir(const struct wasi_call *call, const struct wasi_fd *dir,
                      const struct wasi_path *path);
int privname_remove_dir(const struct wasi_call *call, const struct wasi_fd *dir,
                        const struct wasi_path *path);
int privname_unlink(const struct wasi_call *call, const struct wasi_fd *dir,
                    const struct wasi_path *path);
int privname_symlink(const struct wasi_call *call, const struct wasi_fd *dir, const char *target,
                     const struct wasi_path *path);
int privname_link(const struct wasi_call *call, const struct wasi_place *from,
                  const struct wasi_place *to);
int privname_rename(const struct wasi_call *call, const struct wasi_place *from,
                    const struct wasi_place *to);

/* ---- wasi_privlist.c ---- */
int privlist_run(const struct wasi_call *call, const struct wasi_fd *dir, uint64_t cookie,
                 bool (*emit)(void *user, const struct wasi_dirent *entry), void *user);
/* -ENOTEMPTY: the directory has names that the guest sees. */
int privlist_check_empty(const struct priv *priv, const struct priv_node *dir);

/* ---- wasi_privopen.c ---- */

/* Begin a use of the private directory that the descriptor belongs to. */
int priv_begin(struct priv *priv, const struct wasi_call *call, const struct wasi_fd *fd);
/* The guest's next descriptor of this private directory that has an object, from *number on, which
 * is set behind it. NULL: there is no more. */
struct wasi_fd *privfile_next(const struct priv *priv, uint32_t *number);
/* Is another descriptor than `except` (NULL: any) open on this inode? */
bool privfile_is_open(const struct priv *priv, struct privfs_id id, const struct wasi_fd *except);
/* A descriptor's object for what lies below, at `lower`, or (NULL) for an inode. Returns NULL if
 * there is no memory. */
struct wasi_privfile *privfile_new(const char *lower, uint32_t lower_bytes);
/* The file or directory is this inode now. */
void privfile_become(struct wasi_privfile *file, struct privfs_id id);
void privfile_free(struct wasi_privfile *file);
/* Times as the kernel takes them (UTIME_NOW, UTIME_OMIT). */
int privfile_set_times(struct priv *priv, struct privfs_id id, const struct timespec times[2]);

/* ---- wasi_privfile.c: operations of files; some are those of directories, too ---- */
extern const struct wasi_fd_ops privfile_ops;
int privfile_stat(const struct wasi_call *call, const struct wasi_fd *fd, struct stat *ret_stat);
int privfile_touch(const struct wasi_call *call, const struct wasi_fd *fd,
                   const struct timespec times[2]);
int privfile_sync(const struct wasi_call *call, const struct wasi_fd *fd, bool is_data_only);
void privfile_release(const struct wasi_call *call, struct wasi_fd *fd);
void privfile_close(struct wasi_fd *fd);

/* ---- wasi_privstate.c ---- */
bool privstate_is_as_saved(const struct wasi_fd *fd, const uint8_t *bytes, uint32_t count);
/* The object of a saved descriptor of this directory, which may be NULL: there is none any more.
 * NULL: it reads as closed. HUSK_E_BAD_IMAGE, HUSK_E_NOMEM. */
struct wasi_saved_fd;
int privstate_make(const struct wasi_dir *dir, const struct wasi_saved_fd *row,
                   const uint8_t *bytes, struct wasi_privfile **ret_file, struct husk_error *err);
int privstate_save(const struct wasi_ctx *ctx, const struct wasi_fd *fd, struct buf *body,
                   struct husk_error *err);

/* ---- wasi_privsweep.c ---- */

/* Release what has neither a name nor a descriptor: a snapshot has files without a name for its
 * descriptors, of which a sandbox with other directories or limits does not get all. Costs nothing
 * if there is no such file. */
void privsweep_run(struct priv *priv);

#endif
