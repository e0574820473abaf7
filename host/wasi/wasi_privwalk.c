/*
 * host/wasi/wasi_privwalk.c: paths in private directories, name by name. A name is looked up in the
 * layer, then below. Symbolic links of both are followed here, never by the kernel: a link below
 * may lead to a name of the layer. The start of a walk is its root: ".." and links cannot leave it.
 */
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "wasi_priv.h"

/* ---- Nodes ---- */

int privnode_of_inode(const struct priv *priv, struct privfs_id id, struct priv_node *ret_node) {
    struct privfs_stat st;
    const int status = privfs_stat(&priv->fs, id, &st);
    if (status != 0)
        return status;
    ret_node->kind = st.kind;
    ret_node->is_below = ret_node->is_lost = ret_node->has_lower = false;
    ret_node->id = id;
    ret_node->rel_at = ret_node->lower_bytes = 0;
    ret_node->lower[0] = '\0';
    if (st.kind != PRIVFS_DIR || priv->below_fd < 0)
        return 0;
    const int64_t bytes = privfs_lower(&priv->fs, id, ret_node->lower);
    if (bytes < 0)
        return bytes == -ENOENT ? 0 : (int)bytes;
    ret_node->has_lower = true;
    ret_node->lower_bytes = (uint32_t)bytes;
    ret_node->lower[bytes] = '\0';
    return 0;
}

static int node_of_root(struct priv *priv, struct priv_node *ret_node) {
    struct privfs_id id;
    const int status = privfs_root(&priv->fs, priv->root, &id);
    return status != 0 ? status : privnode_of_inode(priv, id, ret_node);
}

/* The layer may be another one than that which the descriptor was opened on. */
static int node_of_object(const struct priv *priv, const struct wasi_privfile *file,
                          struct priv_node *ret_node) {
    const enum privfs_kind kind = file->is_dir ? PRIVFS_DIR : PRIVFS_FILE;
    if (!file->is_below) {
        const int status = privnode_of_inode(priv, file->id, ret_node);
        return status == 0 && ret_node->kind != kind ? -EBADF : status;
    }
    ret_node->kind = kind;
    ret_node->is_below = ret_node->has_lower = true;
    ret_node->is_lost = file->is_lost;
    ret_node->id = file->id;
    ret_node->rel_at = file->rel_at;
    ret_node->lower_bytes = file->lower_bytes;
    memcpy(ret_node->lower, file->lower, file->lower_bytes + 1);
    return 0;
}

int privnode_of_fd(struct priv *priv, const struct wasi_fd *fd, struct priv_node *ret_node) {
    return fd->privfile == NULL ? node_of_root(priv, ret_node)
                                : node_of_object(priv, fd->privfile, ret_node);
}

/* Put the path of a name below into ret_node. */
static int node_name(const struct priv_node *dir, const char *name, size_t name_bytes,
                     struct priv_node *ret_node) {
    const uint32_t at = dir->lower_bytes + (dir->lower_bytes > 0);
    if (at + name_bytes > PRIVFS_TARGET_MAX_BYTES)
        return -ENAMETOOLONG;
    memcpy(ret_node->lower, dir->lower, dir->lower_bytes);
    if (at > 0)
        ret_node->lower[at - 1] = '/';
    memcpy(ret_node->lower + at, name, name_bytes);
    ret_node->lower_bytes = at + (uint32_t)name_bytes;
    ret_node->lower[ret_node->lower_bytes] = '\0';
    ret_node->is_below = ret_node->has_lower = true;
    ret_node->is_lost = dir->is_lost;
    ret_node->id = dir->id;
    ret_node->rel_at = dir->is_below ? dir->rel_at : at;
    return 0;
}

int privnode_child(const struct priv *priv, const struct priv_node *dir, const char *name,
                   size_t name_bytes, struct priv_node *ret_node) {
    struct privfs_entry entry;
    if (!dir->is_below) {
        const int status = privfs_lookup(&priv->fs, dir->id, name, name_bytes, &entry);
        if (status == 0)
            return entry.kind == PRIVFS_WHITEOUT ? -ENOENT
                                                 : privnode_of_inode(priv, entry.id, ret_node);
        if (status != -ENOENT)
            return status;
    }
    if (!dir->has_lower || dir->is_lost)
        return -ENOENT;
    int status = node_name(dir, name, name_bytes, ret_node);
    if (status == 0)
        status = below_stat(priv, ret_node->lower, &ret_node->st);
    if (status == 0)
        ret_node->kind = below_kind(&ret_node->st);
    return status;
}

bool privnode_shows(const struct priv *priv, const struct priv_node *dir, const char *name,
                    size_t name_bytes) {
    struct priv_node child;
    struct stat st;
    return dir->has_lower && node_name(dir, name, name_bytes, &child) == 0 &&
           below_stat(priv, child.lower, &st) != -ENOENT;
}

int privnode_parent(const struct priv *priv, const struct priv_node *dir,
                    struct priv_node *ret_node) {
    if (!dir->is_below) {
        struct privfs_id parent;
        const int status = privfs_parent(&priv->fs, dir->id, &parent);
        return status != 0 ? status : privnode_of_inode(priv, parent, ret_node);
    }
    const char *slash = memrchr(dir->lower + dir->rel_at, '/', dir->lower_bytes - dir->rel_at);
    if (slash == NULL)
        return privnode_of_inode(priv, dir->id, ret_node);
    if (ret_node != dir)
        *ret_node = *dir;
    ret_node->kind = PRIVFS_DIR;
    ret_node->lower_bytes = (uint32_t)(slash - dir->lower);
    ret_node->lower[ret_node->lower_bytes] = '\0';
    return 0;
}

/* A file that came into the layer keeps its number. The layer's own numbers must be others. */
uint64_t privnode_ino(const struct priv *priv, uint64_t shown_ino) {
    return priv->below_fd < 0 ? shown_ino : shown_ino ^ PRIV_OWN_INO;
}

static void stat_of_layer(const struct priv *priv, const struct privfs_stat *from,
                          struct stat *ret_stat) {
    static const mode_t modes[] = {[PRIVFS_FILE] = S_IFREG | 0644,
                                   [PRIVFS_DIR] = S_IFDIR | 0755,
                                   [PRIVFS_SYMLINK] = S_IFLNK | 0777};
    *ret_stat = (struct stat){.st_ino = privnode_ino(priv, from->shown_ino),
                              .st_mode = modes[from->kind],
                              .st_nlink = from->links,
                              .st_size = (off_t)from->bytes,
                              .st_atim = clock_timespec(from->atime_ns),
                              .st_mtim = clock_timespec(from->mtime_ns),
                              .st_ctim = clock_timespec(from->ctime_ns)};
}

/* One device for all: so a file stays the same one when it comes into the layer. */
int privnode_stat(const struct priv *priv, const struct priv_node *node, struct stat *ret_stat) {
    struct privfs_stat layer;
    struct stat st;
    int status;
    if (node->is_below) {
        status = below_stat(priv, node->lower, &st);
    } else {
        status = privfs_stat(&priv->fs, node->id, &layer);
        if (status == 0)
            stat_of_layer(priv, &layer, &st);
    }
    if (status != 0)
        return status;
    *ret_stat = st;
    ret_stat->st_dev = priv->root + 1;
    return 0;
}

int64_t privnode_target(const struct priv *priv, const struct priv_node *link, char *out) {
    return link->is_below ? below_target(priv, link->lower, out, PRIVFS_TARGET_MAX_BYTES + 1)
                          : privfs_target(&priv->fs, link->id, out, PRIVFS_TARGET_MAX_BYTES + 1);
}

/* ---- Paths ---- */

struct walk {
    struct priv *priv;
    struct priv_node at; /* a directory */
    uint32_t depth;      /* of `at`, below the start */
    uint32_t links;      /* followed */
    enum priv_aim aim;
    bool is_followed;   /* the last name, if it is a link */
    uint32_t next, end; /* what is left of the path: in `rest`, from the end of it on */
    char rest[2 * (PRIVFS_TARGET_MAX_BYTES + 1)];
};

/* Cut the next name off. */
static const char *walk_next(struct walk *walk, uint32_t *ret_bytes, bool *ret_has_slash) {
    while (walk->next < walk->end && walk->rest[walk->next] == '/')
        walk->next++;
    const char *name = walk->rest + walk->next;
    const uint32_t begin = walk->next;
    while (walk->next < walk->end && walk->rest[walk->next] != '/')
        walk->next++;
    *ret_bytes = walk->next - begin;
    *ret_has_slash = walk->next < walk->end;
    while (walk->next < walk->end && walk->rest[walk->next] == '/')
        walk->next++;
    return name;
}

/* Put a link's target in place of its name. A slash behind the name goes behind the target. */
static int walk_link(struct walk *walk, const struct priv_node *link, bool has_slash) {
    char target[PRIVFS_TARGET_MAX_BYTES + 2];
    if (++walk->links > PRIV_LINKS_MAX)
        return -ELOOP;
    int64_t bytes = privnode_target(walk->priv, link, target);
    if (bytes <= 0)
        return bytes == 0 ? -ENOENT : (int)bytes;
    if (target[0] == '/')
        return -EPERM;
    if (has_slash)
        target[bytes++] = '/';
    if ((uint64_t)bytes > walk->next)
        return -ENAMETOOLONG;
    walk->next -= (uint32_t)bytes;
    memcpy(walk->rest + walk->next, target, (size_t)bytes);
    return 0;
}

static int walk_up(struct walk *walk) {
    struct priv_node parent;
    if (walk->depth == 0)
        return -EPERM;
    walk->depth--;
    const int status = privnode_parent(walk->priv, &walk->at, &parent);
    if (status == 0)
        walk->at = parent;
    return status;
}

static void end_here(struct walk *walk, enum priv_last last, struct priv_end *ret_end) {
    ret_end->last = last;
    ret_end->is_found = true;
    ret_end->node = walk->at;
}

static bool is_dots(const char *name, uint32_t bytes) {
    return (bytes == 1 && name[0] == '.') || (bytes == 2 && name[0] == '.' && name[1] == '.');
}

/* A name that is not "." or "..". Returns 1 if the walk goes on. */
static int walk_name(struct walk *walk, const char *name, uint32_t bytes, bool has_slash,
                     struct priv_end *ret_end) {
    const bool is_last = walk->next == walk->end;
    struct priv_node *node = &ret_end->node;
    if (bytes > PRIVFS_NAME_MAX_BYTES)
        return -ENAMETOOLONG;
    if (is_last && has_slash && walk->aim == PRIV_AIM_CREATE)
        return -EISDIR;
    int status = privnode_child(walk->priv, &walk->at, name, bytes, node);
    ret_end->is_found = status == 0;
    if (status != 0 && (status != -ENOENT || !is_last))
        return status;
    if (status == 0 && node->kind == PRIVFS_SYMLINK &&
        (!is_last || walk->is_followed || (has_slash && walk->aim == PRIV_AIM_OBJECT))) {
        status = walk_link(walk, node, has_slash || !is_last);
        return status != 0 ? status : 1;
    }
    if (!is_last && node->kind != PRIVFS_DIR)
        return -ENOTDIR;
    if (!is_last) {
        walk->at = *node;
        walk->depth++;
        return 1;
    }
    if (status == 0 && has_slash && walk->aim == PRIV_AIM_OBJECT && node->kind != PRIVFS_DIR)
        return -ENOTDIR;
    ret_end->last = PRIV_LAST_NAME;
    ret_end->dir = walk->at;
    ret_end->has_slash = has_slash;
    ret_end->name_bytes = bytes;
    memcpy(ret_end->name, name, bytes);
    ret_end->name[bytes] = '\0';
    return 0;
}

/* Returns 1 if the walk goes on. */
static int walk_step(struct walk *walk, struct priv_end *ret_end) {
    uint32_t bytes;
    bool has_slash;
    const char *name = walk_next(walk, &bytes, &has_slash);
    if (bytes > 0 && !is_dots(name, bytes))
        return walk_name(walk, name, bytes, has_slash, ret_end);
    const int status = bytes == 2 ? walk_up(walk) : 0;
    if (status != 0 || walk->next < walk->end)
        return status != 0 ? status : 1;
    end_here(walk, bytes == 2 ? PRIV_LAST_DOTDOT : PRIV_LAST_DOT, ret_end);
    return 0;
}

int privwalk_to(struct priv *priv, const struct wasi_fd *dir, const struct wasi_path *path,
                enum priv_aim aim, struct priv_end *ret_end) {
    struct walk walk = {.priv = priv,
                        .aim = aim,
                        .is_followed = aim != PRIV_AIM_NAME && path->is_followed,
                        .end = sizeof walk.rest};
    if (path->count > PRIVFS_TARGET_MAX_BYTES)
        return -ENAMETOOLONG;
    if (path->count == 0)
        return -ENOENT;
    if (path->bytes[0] == '/')
        return -EPERM;
    walk.next = walk.end - path->count;
    memcpy(walk.rest + walk.next, path->bytes, path->count);
    int status = privnode_of_fd(priv, dir, &walk.at);
    if (status == 0 && walk.at.kind != PRIVFS_DIR)
        status = -ENOTDIR;
    if (status != 0)
        return status;
    do
        status = walk_step(&walk, ret_end);
    while (status == 1);
    return status;
}
