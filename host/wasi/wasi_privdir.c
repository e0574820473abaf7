/*
 * host/wasi/wasi_privdir.c: operations of private directories: opening, attributes, links read.
 * wasi_privname.c has those that change names.
 */
#include <errno.h>
#include <string.h>

#include "wasi_abi.h"
#include "wasi_priv.h"
#include "wasi_state.h"

/* Set a descriptor up: operations, file type, object. */
static void put_object(struct wasi_fd *fd, struct wasi_privfile *file) {
    fd->ops = file->is_dir ? &wasi_privdir_ops : &privfile_ops;
    fd->filetype = file->is_dir ? WASI_FILETYPE_DIRECTORY : WASI_FILETYPE_REGULAR_FILE;
    fd->is_seekable = !file->is_dir;
    fd->host_fd = -1;
    fd->privfile = file;
}

/* ---- Opening ---- */

/* A FIFO, socket or device: the errnos are those of directories of the host. */
static int special_error(const struct priv_node *node) {
    return S_ISCHR(node->st.st_mode) || S_ISBLK(node->st.st_mode) ? -EACCES : -ENXIO;
}

/* May a path's end be opened so? */
static int check_found(const struct wasi_open *how, const struct priv_node *node) {
    const bool is_changed = (how->oflags & (WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC)) != 0;
    const uint32_t anew = WASI_OFLAG_CREAT | WASI_OFLAG_EXCL;
    if ((how->oflags & anew) == anew)
        return -EEXIST;
    if (node->kind == PRIVFS_DIR)
        return how->wants_write || is_changed ? -EISDIR : 0;
    if ((how->oflags & WASI_OFLAG_DIRECTORY) != 0)
        return -ENOTDIR;
    return node->kind == PRIVFS_SYMLINK ? -ELOOP
           : node->kind == PRIVFS_NONE  ? special_error(node)
                                        : 0;
}

/* Deliberately not a copy of what is thrown away. */
static int truncate(struct priv *priv, struct priv_node *node) {
    int status = privcopy_lift(priv, node, -1, 0);
    if (status == 0)
        status = privfs_resize(&priv->fs, node->id, 0);
    if (status == 0)
        status = privfs_set_times(&priv->fs, node->id, UINT64_MAX, priv->fs.now_ns);
    return status;
}

static int open_below(const struct priv *priv, const struct priv_node *node,
                      struct wasi_privfile **ret_file) {
    struct wasi_privfile *file = privfile_new(node->lower, node->lower_bytes);
    struct stat st;
    if (file == NULL)
        return -ENOMEM;
    file->is_lost = node->is_lost;
    file->id = node->id;
    file->rel_at = node->rel_at;
    if (node->kind == PRIVFS_FILE) {
        file->host_fd = below_open_file(priv, file->lower, &st);
        if (file->host_fd < 0) {
            const int status = file->host_fd;
            privfile_free(file);
            return status;
        }
        file->identity = (struct priv_identity){st.st_dev, st.st_ino};
    }
    *ret_file = file;
    return 0;
}

static int open_found(struct priv *priv, const struct wasi_open *how, struct priv_node *node,
                      struct wasi_privfile **ret_file) {
    int status = check_found(how, node);
    if (status != 0)
        return status;
    if (node->is_below && (how->oflags & WASI_OFLAG_TRUNC) == 0)
        return open_below(priv, node, ret_file);
    struct wasi_privfile *file = privfile_new(NULL, 0);
    if (file == NULL)
        return -ENOMEM;
    if ((how->oflags & WASI_OFLAG_TRUNC) != 0)
        status = truncate(priv, node);
    if (status != 0) {
        privfile_free(file);
        return status;
    }
    file->id = node->id;
    *ret_file = file;
    return 0;
}

static int open_new(struct priv *priv, const struct wasi_open *how, struct priv_end *end,
                    struct wasi_privfile **ret_file) {
    if ((how->oflags & WASI_OFLAG_CREAT) == 0)
        return -ENOENT;
    struct wasi_privfile *file = privfile_new(NULL, 0);
    if (file == NULL)
        return -ENOMEM;
    int status = privcopy_lift_dir(priv, &end->dir);
    if (status == 0)
        status = privfs_create(&priv->fs, end->dir.id, end->name, end->name_bytes, PRIVFS_FILE,
                               &file->id);
    if (status != 0) {
        privfile_free(file);
        return status;
    }
    end->node.kind = PRIVFS_FILE;
    *ret_file = file;
    return 0;
}

static int dir_open(const struct wasi_call *call, const struct wasi_fd *dir,
                    const struct wasi_open *how, struct wasi_fd *ret_fd) {
    const bool is_new = (how->oflags & WASI_OFLAG_CREAT) != 0;
    struct wasi_path path = how->path;
    struct wasi_privfile *file = NULL;
    struct priv priv;
    struct priv_end end;
    if (is_new && (how->oflags & WASI_OFLAG_DIRECTORY) != 0)
        return -EINVAL;
    if (is_new && (how->oflags & WASI_OFLAG_EXCL) != 0)
        path.is_followed = false;
    int status = priv_begin(&priv, call, dir);
    if (status == 0)
        status = privwalk_to(&priv, dir, &path, is_new ? PRIV_AIM_CREATE : PRIV_AIM_OBJECT, &end);
    if (status != 0)
        return status;
    status =
        end.is_found ? open_found(&priv, how, &end.node, &file) : open_new(&priv, how, &end, &file);
    if (status != 0)
        return status;
    file->is_dir = end.node.kind == PRIVFS_DIR;
    put_object(ret_fd, file);
    ret_fd->flags = (uint16_t)how->fdflags;
    wasi_dir_grant(&call->ctx->config->dirs[dir->dir], ret_fd, how->wants_read || !how->wants_write,
                   how->wants_write);
    return 0;
}

/* ---- Attributes ---- */

/* A path's end; begins the use, too. */
static int find(struct priv *priv, const struct wasi_call *call, const struct wasi_fd *dir,
                const struct wasi_path *path, struct priv_node *ret_node) {
    struct priv_end end;
    int status = priv_begin(priv, call, dir);
    if (status == 0)
        status = privwalk_to(priv, dir, path, PRIV_AIM_OBJECT, &end);
    if (status != 0)
        return status;
    if (!end.is_found)
        return -ENOENT;
    *ret_node = end.node;
    return 0;
}

static int dir_stat(const struct wasi_call *call, const struct wasi_fd *dir,
                    const struct wasi_path *path, struct stat *ret_stat) {
    struct priv priv;
    struct priv_node node;
    const int status = find(&priv, call, dir, path, &node);
    return status != 0 ? status : privnode_stat(&priv, &node, ret_stat);
}

static int dir_set_times(const struct wasi_call *call, const struct wasi_fd *dir,
                         const struct wasi_path *path, const struct timespec times[2]) {
    struct priv priv;
    struct priv_node node;
    int status = find(&priv, call, dir, path, &node);
    if (status == 0)
        status = privcopy_lift(&priv, &node, -1, UINT64_MAX);
    return status != 0 ? status : privfile_set_times(&priv, node.id, times);
}

static long dir_read_link(const struct wasi_call *call, const struct wasi_fd *dir,
                          const struct wasi_path *path, char *out, size_t count) {
    char target[PRIVFS_TARGET_MAX_BYTES + 1];
    struct priv priv;
    struct priv_node node;
    int64_t bytes = find(&priv, call, dir, path, &node);
    if (bytes != 0)
        return (long)bytes;
    if (node.kind != PRIVFS_SYMLINK)
        return -EINVAL;
    bytes = privnode_target(&priv, &node, target);
    if (bytes < 0)
        return (long)bytes;
    const size_t copied = (size_t)bytes < count ? (size_t)bytes : count;
    memcpy(out, target, copied);
    return (long)copied;
}

static const struct wasi_dir_ops privdir_ops = {.open = dir_open,
                                                .stat = dir_stat,
                                                .set_times = dir_set_times,
                                                .make_dir = privname_make_dir,
                                                .remove_dir = privname_remove_dir,
                                                .unlink = privname_unlink,
                                                .read_link = dir_read_link,
                                                .symlink = privname_symlink,
                                                .link = privname_link,
                                                .rename = privname_rename,
                                                .list = privlist_run};

const struct wasi_fd_ops wasi_privdir_ops = {.stat = privfile_stat,
                                             .set_times = privfile_touch,
                                             .sync = privfile_sync,
                                             .release = privfile_release,
                                             .close = privfile_close,
                                             .dir = &privdir_ops,
                                             .saved_kind = WASI_SAVED_PRIVATE,
                                             .save = privstate_save,
                                             .is_as_saved = privstate_is_as_saved};

int wasi_privfile_check(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *bytes,
                        struct wasi_fd *ret_fd, struct husk_error *err) {
    const struct wasi_dir *dir =
        row->idx < ctx->config->dirs_count ? &ctx->config->dirs[row->idx] : NULL;
    struct wasi_privfile *file = NULL;
    const int status = privstate_make(dir, row, bytes, &file, err);
    if (status != 0 || file == NULL)
        return status;
    put_object(ret_fd, file);
    ret_fd->dir = (uint16_t)row->idx;
    ret_fd->flags = row->flags;
    wasi_dir_grant(dir, ret_fd, true, true);
    return 0;
}
