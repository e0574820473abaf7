/*
 * tests/support/files_model.h: a guest's directory against the kernel. The same random operations
 * go to the guest's directory and to a directory of the host that starts with the same contents.
 * Results, errnos, contents and positions must be the same. At random points the guest's state is
 * saved, or comes back; the host's directory follows with a copy.
 */
#ifndef TESTS_SUPPORT_FILES_MODEL_H
#define TESTS_SUPPORT_FILES_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "buf.h"

#define FILES_ROOT 3u   /* the guest's descriptor of the directory */
#define FILES_FOLLOW 1u /* `how` of open: the last symbolic link is followed; write; append */
#define FILES_WRITE 2u
#define FILES_APPEND 4u
#define FILES_HERE UINT64_MAX /* an offset: the descriptor's position */

enum files_trouble { FILES_NO_TROUBLE, FILES_CUT, FILES_FULL };

/* A guest's operations, of `self`. They return -errno. Paths are relative to the guest's descriptor
 * `dir`. */
struct files_api {
    /* Returns the descriptor's number, never 0. oflags: WASI_OFLAG_… */
    int (*open)(void *self, uint32_t dir, const char *path, uint32_t oflags, uint32_t how);
    int (*close)(void *self, uint32_t fd);
    long (*io)(void *self, uint32_t fd, void *bytes, size_t count, bool is_write, uint64_t offset);
    int64_t (*seek)(void *self, uint32_t fd, int64_t offset, int whence);
    int (*fd_stat)(void *self, uint32_t fd, struct stat *ret_stat);
    int (*resize)(void *self, uint32_t fd, int64_t bytes);
    int (*allocate)(void *self, uint32_t fd, int64_t offset, int64_t bytes);
    int (*stat)(void *self, uint32_t dir, const char *path, bool is_followed,
                struct stat *ret_stat);
    int (*make_dir)(void *self, uint32_t dir, const char *path);
    int (*remove_dir)(void *self, uint32_t dir, const char *path);
    int (*unlink)(void *self, uint32_t dir, const char *path);
    int (*symlink)(void *self, const char *target, uint32_t dir, const char *path);
    long (*read_link)(void *self, uint32_t dir, const char *path, char *out, size_t count);
    int (*link)(void *self, uint32_t dir, const char *path, bool is_followed, uint32_t new_dir,
                const char *new_path);
    bool can_follow_link; /* `link` of a symbolic link's target, which preview 1 does not have */
    int (*rename)(void *self, uint32_t dir, const char *path, uint32_t new_dir,
                  const char *new_path);
    /* Append all names, in any order, as files_put_name() does; `page` entries or so with each
     * call. */
    int (*list)(void *self, uint32_t fd, uint32_t page, struct buf *names);
    /* Take a snapshot, in place of the last one; go back to it. */
    void (*save)(void *self);
    void (*load)(void *self);
    /* Whether the layer is as it should be. NULL: not known. */
    void (*check)(void *self);
    /* Make the next operations fail with -EINTR or -ENOSPC, if that can be. NULL: never. */
    void (*trouble)(void *self, enum files_trouble trouble, uint32_t amount);
};

/* A name and '\n', with '/' before it for a directory; "." and ".." are left out. */
void files_put_name(struct buf *names, const char *name, size_t bytes, bool is_dir);
/* Sort such names; the last byte is then a NUL. */
void files_sort(struct buf *names);

/* A folder with the directory `below`, which has files if is_full. */
struct files_home {
    char path[64], below[96];
};
void files_home_make(struct files_home *home, bool is_full);
void files_home_remove(const struct files_home *home);
/* Copy a directory with all that is in it; several names of one file stay that. Remove it, if it is
 * there. */
void files_copy_tree(const char *from, const char *to);
void files_remove_tree(const char *path);

/* Play. The guest's directory shows home->below. is_on_host: a snapshot does not contain the
 * guest's directory, but paths and positions of descriptors: they come back open if the file is
 * still there (a closed one is -EBADF for fd_stat). */
struct files_game {
    const struct files_api *api;
    void *self;
    const struct files_home *home;
    uint64_t seed;
    uint32_t operations;
    bool is_on_host;
};
void files_play(const struct files_game *game);

#endif
