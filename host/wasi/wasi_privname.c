/*
 * host/wasi/wasi_privname.c: names of private directories: made, removed, renamed. What lies below
 * is not touched: a whiteout in the layer hides a name that is removed. Whether a name needs one is
 * asked when it is removed.
 *
 * Errors come in Linux' order, so that programs see the same on all kinds of directories.
 */
#include <errno.h>
#include <string.h>

#include "wasi_priv.h"

/* A path's last name, in the directory that it is in. */
static int name_find(struct priv *priv, const struct wasi_fd *dir, const struct wasi_path *path,
                     struct priv_end *ret_end) {
    return privwalk_to(priv, dir, path, PRIV_AIM_NAME, ret_end);
}

/* ---- New names ---- */

/* Find a name that is not there yet, and make its directory ready for it. */
static int new_find(struct priv *priv, const struct wasi_fd *dir, const struct wasi_path *path,
                    bool is_dir, struct priv_end *ret_end) {
    int status = name_find(priv, dir, path, ret_end);
    if (status != 0)
        return status;
    if (ret_end->is_found)
        return -EEXIST;
    if (ret_end->has_slash && !is_dir)
        return -ENOENT;
    return privcopy_lift_dir(priv, &ret_end->dir);
}

/* May there be a directory in this one? */
static int check_depth(const struct priv *priv, struct privfs_id dir) {
    struct privfs_id parent;
    for (uint32_t depth = 1; depth < PRIV_DEPTH_MAX; depth++) {
        const int status = privfs_parent(&priv->fs, dir, &parent);
        if (status != 0)
            return status;
        if (parent.ino == dir.ino)
            return 0;
        dir = parent;
    }
    return -ENAMETOOLONG;
}

int privname_make_dir(const struct wasi_call *call, const struct wasi_fd *dir,
                      const struct wasi_path *path) {
    struct priv priv;
    struct priv_end end;
    struct privfs_id id;
    int status = priv_begin(&priv, call, dir);
    if (status == 0)
        status = new_find(&priv, dir, path, true, &end);
    if (status == 0)
        status = check_depth(&priv, end.dir.id);
    return status != 0
               ? status
               : privfs_create(&priv.fs, end.dir.id, end.name, end.name_bytes, PRIVFS_DIR, &id);
}

int privname_symlink(const struct wasi_call *call, const struct wasi_fd *dir, const char *target,
                     const struct wasi_path *path) {
    const struct privfs_removal gone = {0};
    struct privfs_entry before;
    struct priv priv;
    struct priv_end end;
    struct privfs_id id;
    int status = priv_begin(&priv, call, dir);
    if (status == 0)
        status = new_find(&priv, dir, path, false, &end);
    if (status != 0)
        return status;
    const bool was_hidden =
        privfs_lookup(&priv.fs, end.dir.id, end.name, end.name_bytes, &before) == 0;
    status = privfs_create(&priv.fs, end.dir.id, end.name, end.name_bytes, PRIVFS_SYMLINK, &id);
    if (status != 0)
        return status;
    status = privfs_set_target(&priv.fs, id, target, strlen(target));
    if (status != 0)
        (void)privfs_remove(&priv.fs, end.dir.id, end.name, end.name_bytes,
                            was_hidden ? (struct privfs_removal){.leave_whiteout = true} : gone);
    return status;
}

int privname_link(const struct wasi_call *call, const struct wasi_place *from,
                  const struct wasi_place *to) {
    struct priv priv;
    struct priv_end old, new;
    if (from->dir->dir != to->dir->dir)
        return -EXDEV;
    int status = priv_begin(&priv, call, from->dir);
    if (status == 0)
        status = privwalk_to(&priv, from->dir, &from->path, PRIV_AIM_OBJECT, &old);
    if (status == 0 && !old.is_found)
        status = -ENOENT;
    if (status == 0)
        status = new_find(&priv, to->dir, &to->path, false, &new);
    if (status == 0 && old.node.kind == PRIVFS_DIR)
        status = -EPERM;
    if (status == 0)
        status = privcopy_lift(&priv, &old.node, -1, UINT64_MAX);
    return status != 0 ? status
                       : privfs_link(&priv.fs, old.node.id, new.dir.id, new.name, new.name_bytes);
}

/* ---- Names removed ---- */

/* Remove a name that was found. */
static int end_remove(struct priv *priv, struct priv_end *end) {
    struct privfs_removal how = {0};
    int status = privcopy_lift_dir(priv, &end->dir);
    if (status != 0)
        return status;
    if (end->node.is_below) {
        status = privfs_hide(&priv->fs, end->dir.id, end->name, end->name_bytes);
        privcopy_settle(priv);
        return status;
    }
    how.leave_whiteout = privnode_shows(priv, &end->dir, end->name, end->name_bytes);
    how.is_open = privfile_is_open(priv, end->node.id, NULL);
    return privfs_remove(&priv->fs, end->dir.id, end->name, end->name_bytes, how);
}

int privname_unlink(const struct wasi_call *call, const struct wasi_fd *dir,
                    const struct wasi_path *path) {
    struct priv priv;
    struct priv_end end;
    int status = priv_begin(&priv, call, dir);
    if (status == 0)
        status = name_find(&priv, dir, path, &end);
    if (status != 0)
        return status;
    if (!end.is_found)
        return -ENOENT;
    if (end.last != PRIV_LAST_NAME || end.node.kind == PRIVFS_DIR)
        return -EISDIR;
    return end.has_slash ? -ENOTDIR : end_remove(&priv, &end);
}

int privname_remove_dir(const struct wasi_call *call, const struct wasi_fd *dir,
                        const struct wasi_path *path) {
    struct priv priv;
    struct priv_end end;
    int status = priv_begin(&priv, call, dir);
    if (status == 0)
        status = name_find(&priv, dir, path, &end);
    if (status != 0)
        return status;
    if (end.last != PRIV_LAST_NAME)
        return end.last == PRIV_LAST_DOT ? -EINVAL : -ENOTEMPTY;
    if (!end.is_found)
        return -ENOENT;
    if (end.node.kind != PRIVFS_DIR)
        return -ENOTDIR;
    status = privlist_check_empty(&priv, &end.node);
    return status != 0 ? status : end_remove(&priv, &end);
}

/* ---- Names changed ---- */

/* Do both lead to one object? Two files below that are one there are one here, too. */
static bool is_same(const struct priv_node *a, const struct priv_node *b) {
    if (a->is_below != b->is_below)
        return false;
    return a->is_below ? a->st.st_dev == b->st.st_dev && a->st.st_ino == b->st.st_ino
                       : a->id.ino == b->id.ino;
}

/* Is a directory this one, or in it? */
static bool is_within(const struct priv *priv, const struct priv_node *dir,
                      const struct priv_node *above) {
    struct privfs_id id = dir->id, parent;
    if (above->is_below)
        return dir->is_below && dir->lower_bytes >= above->lower_bytes &&
               memcmp(dir->lower, above->lower, above->lower_bytes) == 0 &&
               (dir->lower[above->lower_bytes] == '/' || dir->lower[above->lower_bytes] == '\0');
    while (id.ino != above->id.ino) {
        if (privfs_parent(&priv->fs, id, &parent) != 0 || parent.ino == id.ino)
            return false;
        id = parent;
    }
    return true;
}

/* May one end take the other's name? 1: nothing is to be done. */
static int check_rename(const struct priv *priv, const struct priv_end *from,
                        const struct priv_end *to) {
    const bool is_dir = from->node.kind == PRIVFS_DIR;
    if (from->last != PRIV_LAST_NAME || to->last != PRIV_LAST_NAME)
        return -EBUSY;
    if (!from->is_found)
        return -ENOENT;
    if (!is_dir && (from->has_slash || to->has_slash))
        return -ENOTDIR;
    if (is_dir && is_within(priv, &to->dir, &from->node))
        return -EINVAL;
    if (!to->is_found)
        return 0;
    if (to->node.kind == PRIVFS_DIR && is_within(priv, &from->dir, &to->node))
        return -ENOTEMPTY;
    if (is_same(&from->node, &to->node))
        return 1;
    if (is_dir != (to->node.kind == PRIVFS_DIR))
        return is_dir ? -ENOTDIR : -EISDIR;
    return is_dir ? privlist_check_empty(priv, &to->node) : 0;
}

/* Both ends are in the layer now, unless `to` is only below. */
static int rename_in_layer(struct priv *priv, const struct priv_end *from,
                           const struct priv_end *to) {
    const struct privfs_place old = {from->dir.id, from->name, from->name_bytes};
    const struct privfs_place new = {to->dir.id, to->name, to->name_bytes};
    const bool is_replaced = to->is_found && !to->node.is_below;
    const struct privfs_removal how = {
        .leave_whiteout = privnode_shows(priv, &from->dir, from->name, from->name_bytes),
        .is_open = is_replaced && privfile_is_open(priv, to->node.id, NULL)};
    const int status = privfs_rename(&priv->fs, &old, &new, how);
    if (status == 0 && to->is_found && to->node.is_below)
        privcopy_settle(priv);
    return status;
}

int privname_rename(const struct wasi_call *call, const struct wasi_place *from,
                    const struct wasi_place *to) {
    struct priv priv;
    struct priv_end old, new;
    if (from->dir->dir != to->dir->dir)
        return -EXDEV;
    int status = priv_begin(&priv, call, from->dir);
    if (status == 0)
        status = name_find(&priv, from->dir, &from->path, &old);
    if (status == 0)
        status = name_find(&priv, to->dir, &to->path, &new);
    if (status == 0)
        status = check_rename(&priv, &old, &new);
    if (status != 0)
        return status == 1 ? 0 : status;
    status = privcopy_lift_dir(&priv, &new.dir);
    if (status == 0 && old.node.kind == PRIVFS_DIR)
        status = check_depth(&priv, new.dir.id);
    if (status == 0)
        status = privcopy_lift(&priv, &old.node, -1, UINT64_MAX);
    if (status == 0)
        status = privcopy_lift_dir(&priv, &old.dir); /* it is there already, with the node */
    return status != 0 ? status : rename_in_layer(&priv, &old, &new);
}
