/*
 * tests/support/priv_rig.h: private directories (host/wasi/wasi_priv*.c) without a VM: a layer in a
 * plain buffer, a guest's table of descriptors, and the operations with plain paths. They return
 * -errno.
 */
#ifndef TESTS_PRIV_RIG_H
#define TESTS_PRIV_RIG_H

#include "buf.h"
#include "files_model.h"
#include "privfs.h"
#include "wasi.h"
#include "wasi_abi.h"
#include "wasi_dir.h"

#define RIG_ROOT FILES_ROOT
#define RIG_REGION_BYTES (64u << 20)

struct priv_rig {
    struct wasi_dir dir;
    struct wasi_config config;
    struct wasi_ctx ctx;
    struct wasi_call call;
    uint8_t *region;
    int null_fd;    /* standard input, so that no file gets number 0 */
    long cut_after; /* looks at is_cut() until it says yes; negative: never */
};

/* below: the path of the host's directory, or NULL for `mem`. */
void rig_init(struct priv_rig *rig, const char *below);
void rig_done(struct priv_rig *rig);
struct privfs rig_layer(struct priv_rig *rig);
/* privfs_check() of the layer. */
void rig_check(struct priv_rig *rig);

/* The state of layer and descriptors, and back: what a snapshot and a restore are. */
struct rig_snapshot {
    uint8_t *region;
    uint64_t bytes;
    struct buf state;
};
void rig_save(struct priv_rig *rig, struct rig_snapshot *ret_snapshot);
void rig_load(struct priv_rig *rig, const struct rig_snapshot *snapshot);
void rig_drop(struct rig_snapshot *snapshot);

#define RIG_FOLLOW FILES_FOLLOW
#define RIG_WRITE FILES_WRITE
#define RIG_APPEND FILES_APPEND
/* `self` is a struct priv_rig: these are functions of struct files_api. */
int rig_open_at(void *self, uint32_t dir, const char *path, uint32_t oflags, uint32_t how);
int rig_close(void *self, uint32_t fd);
long rig_io(void *self, uint32_t fd, void *bytes, size_t count, bool is_write, uint64_t offset);
int64_t rig_seek(void *self, uint32_t fd, int64_t offset, int whence);
int rig_fd_stat(void *self, uint32_t fd, struct stat *ret_stat);
int rig_resize(void *self, uint32_t fd, int64_t bytes);
int rig_allocate(void *self, uint32_t fd, int64_t offset, int64_t bytes);
int rig_stat_at(void *self, uint32_t dir, const char *path, bool is_followed,
                struct stat *ret_stat);
int rig_make_dir_at(void *self, uint32_t dir, const char *path);
int rig_remove_dir_at(void *self, uint32_t dir, const char *path);
int rig_unlink_at(void *self, uint32_t dir, const char *path);
int rig_symlink_at(void *self, const char *target, uint32_t dir, const char *path);
long rig_read_link_at(void *self, uint32_t dir, const char *path, char *out, size_t count);
int rig_link_at(void *self, uint32_t dir, const char *path, bool is_followed, uint32_t new_dir,
                const char *new_path);
int rig_rename_at(void *self, uint32_t dir, const char *path, uint32_t new_dir,
                  const char *new_path);
int rig_set_times_at(struct priv_rig *rig, uint32_t dir, const char *path, bool is_followed,
                     const struct timespec times[2]);

/* page: entries for each call; a new call goes on at the cookie. */
int rig_list(void *self, uint32_t fd, uint32_t page, struct buf *ret_names);
/* One call: calls emit() with each entry. */
int rig_list_from(struct priv_rig *rig, uint32_t fd, uint64_t cookie,
                  bool (*emit)(void *user, const struct wasi_dirent *entry), void *user);

#endif
