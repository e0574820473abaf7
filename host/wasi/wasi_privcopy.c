/*
 * host/wasi/wasi_privcopy.c: brings what lies below into the layer, before a guest changes it. A
 * directory comes without its names: it gets its path below, and the names show through. A file is
 * copied whole, in pieces; holes stay holes. Times and inode numbers stay what the guest saw.
 *
 * All or nothing: what was made is removed again if a step fails. Until then no descriptor and no
 * path has seen it, because the guest waits in this call.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "auto.h"
#include "clock.h"
#include "wasi_priv.h"

#define COPY_BYTES (256u << 10) /* per system call; between them the call may be cut off */

/* ---- One entry ---- */

struct entry {
    struct privfs_id dir;
    const char *name;
    size_t name_bytes;
};

/* Make an entry that the guest sees already: nothing happens to the directory. */
static int entry_make(struct priv *priv, const struct entry *entry, enum privfs_kind kind,
                      struct privfs_id *ret_id) {
    struct privfs_stat dir;
    struct privfs_id id;
    int status = privfs_stat(&priv->fs, entry->dir, &dir);
    if (status == 0)
        status = privfs_create(&priv->fs, entry->dir, entry->name, entry->name_bytes, kind, &id);
    if (status != 0)
        return status;
    (void)privfs_set_times(&priv->fs, entry->dir, dir.atime_ns, dir.mtime_ns);
    *ret_id = id;
    return 0;
}

static void entry_drop(struct priv *priv, const struct entry *entry) {
    const struct privfs_removal gone = {0};
    struct privfs_stat dir;
    if (privfs_stat(&priv->fs, entry->dir, &dir) != 0)
        return;
    (void)privfs_remove(&priv->fs, entry->dir, entry->name, entry->name_bytes, gone);
    (void)privfs_set_times(&priv->fs, entry->dir, dir.atime_ns, dir.mtime_ns);
}

/* What the guest saw of the original. */
static int entry_like(struct priv *priv, struct privfs_id id, const struct stat *st) {
    const int status = privfs_set_shown_ino(&priv->fs, id, privnode_ino(priv, st->st_ino));
    return status != 0 ? status
                       : privfs_set_times(&priv->fs, id, clock_ns_of(st->st_atim),
                                          clock_ns_of(st->st_mtim));
}

/* ---- Directories ---- */

/* Directories that were made, one in the other. */
struct chain {
    struct privfs_id last;
    uint32_t count;
    const char *path; /* of the last one, below */
    size_t path_bytes;
};

/* The last of the chain, as an entry of its parent. */
static int chain_last(struct priv *priv, const struct chain *chain, struct entry *ret_entry) {
    const char *slash = memrchr(chain->path, '/', chain->path_bytes);
    ret_entry->name = slash != NULL ? slash + 1 : chain->path;
    ret_entry->name_bytes = (size_t)(chain->path + chain->path_bytes - ret_entry->name);
    return privfs_parent(&priv->fs, chain->last, &ret_entry->dir);
}

static void chain_undo(struct priv *priv, struct chain *chain) {
    struct entry entry;
    for (; chain->count > 0 && chain_last(priv, chain, &entry) == 0; chain->count--) {
        entry_drop(priv, &entry);
        chain->last = entry.dir;
        chain->path_bytes = entry.name > chain->path ? (size_t)(entry.name - chain->path) - 1 : 0;
    }
}

/* Make the directory with the first `end` bytes of the path, in the last one. */
static int chain_add(struct priv *priv, struct chain *chain, size_t at, size_t end) {
    const struct entry entry = {chain->last, chain->path + at, end - at};
    char path[PRIVFS_TARGET_MAX_BYTES + 1];
    struct privfs_id id;
    struct stat st;
    memcpy(path, chain->path, end);
    path[end] = '\0';
    int status = below_stat(priv, path, &st);
    if (status == 0 && !S_ISDIR(st.st_mode))
        status = -ENOENT;
    if (status == 0)
        status = entry_make(priv, &entry, PRIVFS_DIR, &id);
    if (status != 0)
        return status;
    status = privfs_set_lower(&priv->fs, id, path, end);
    if (status == 0)
        status = entry_like(priv, id, &st);
    if (status != 0) {
        entry_drop(priv, &entry);
        return status;
    }
    chain->last = id;
    chain->path_bytes = end;
    chain->count++;
    return 0;
}

/* Make the directories behind a node's anchor, as far as `end_bytes` of its path. */
static int chain_make(struct priv *priv, const struct priv_node *node, size_t end_bytes,
                      struct chain *ret_chain) {
    size_t at = node->rel_at;
    int status = 0;
    *ret_chain = (struct chain){.last = node->id, .path = node->lower};
    while (status == 0 && at < end_bytes) {
        const char *slash = memchr(node->lower + at, '/', end_bytes - at);
        const size_t end = slash != NULL ? (size_t)(slash - node->lower) : end_bytes;
        status = chain_add(priv, ret_chain, at, end);
        at = end + 1;
    }
    if (status != 0)
        chain_undo(priv, ret_chain);
    return status;
}

/* ---- Contents ---- */

/* The next byte that is not in a hole; `end` if there is none. */
static int64_t data_at(const struct priv *priv, int host_fd, int64_t offset, int64_t end) {
    const long at = WASI_SYSCALL(priv->call, SYS_lseek, host_fd, offset, SEEK_DATA);
    return at == -ENXIO ? end : at == -EINVAL ? offset : at;
}

/* Returns the count, which is 0 at the file's end. */
static int64_t copy_piece(struct priv *priv, int host_fd, struct privfs_id id, uint8_t *buffer,
                          int64_t offset, int64_t bytes) {
    if (priv->call->ops->is_cut(priv->call->host))
        return -EINTR;
    const long count = WASI_SYSCALL(priv->call, SYS_pread64, host_fd, (long)buffer,
                                    bytes < COPY_BYTES ? bytes : COPY_BYTES, offset);
    if (count <= 0)
        return count;
    const int64_t written = privfs_write(&priv->fs, id, (uint64_t)offset, buffer, (uint64_t)count);
    return written == count || written < 0 ? written : -ENOSPC;
}

/* Copy the first `bytes` bytes, or as many as there are. */
static int copy_contents(struct priv *priv, int host_fd, struct privfs_id id, int64_t bytes) {
    auto_free uint8_t *buffer = malloc(COPY_BYTES);
    int64_t offset = 0, moved = 0;
    if (buffer == NULL)
        return -ENOMEM;
    while (offset < bytes) {
        offset = data_at(priv, host_fd, offset, bytes);
        if (offset < 0 || offset >= bytes)
            break;
        moved = copy_piece(priv, host_fd, id, buffer, offset, bytes - offset);
        if (moved <= 0)
            break;
        offset += moved;
    }
    if (offset < 0 || moved < 0)
        return (int)(offset < 0 ? offset : moved);
    /* Others may have cut the file short meanwhile. */
    return privfs_resize(&priv->fs, id, (uint64_t)(offset < bytes ? offset : bytes));
}

static int copy_target(struct priv *priv, const char *path, struct privfs_id id) {
    char target[PRIVFS_TARGET_MAX_BYTES + 1];
    const long bytes = below_target(priv, path, target, sizeof target);
    return bytes < 0 ? (int)bytes : privfs_set_target(&priv->fs, id, target, (size_t)bytes);
}

/* ---- Files and links ---- */

struct source {
    const struct priv_node *node;
    int host_fd; /* of a file */
    int64_t bytes;
    struct stat st;
};

/* Make the entry a copy. */
static int copy_into(struct priv *priv, const struct source *source, const struct entry *entry,
                     struct privfs_id *ret_id) {
    struct privfs_id id;
    int status = entry_make(priv, entry, source->node->kind, &id);
    if (status != 0)
        return status;
    status = source->node->kind == PRIVFS_SYMLINK
                 ? copy_target(priv, source->node->lower, id)
                 : copy_contents(priv, source->host_fd, id, source->bytes);
    if (status == 0)
        status = entry_like(priv, id, &source->st);
    if (status != 0)
        entry_drop(priv, entry);
    else
        *ret_id = id;
    return status;
}

static int copy_named(struct priv *priv, const struct source *source, struct privfs_id *ret_id) {
    const struct priv_node *node = source->node;
    const char *slash = memrchr(node->lower, '/', node->lower_bytes);
    const size_t name_at = slash != NULL ? (size_t)(slash - node->lower) + 1 : 0;
    struct chain chain;
    int status = chain_make(priv, node, name_at > node->rel_at ? name_at - 1 : 0, &chain);
    if (status != 0)
        return status;
    const struct entry entry = {chain.last, node->lower + name_at, node->lower_bytes - name_at};
    status = copy_into(priv, source, &entry, ret_id);
    if (status != 0)
        chain_undo(priv, &chain);
    return status;
}

/* A file without a name, for descriptors only: made under a name that no entry has. */
static int copy_nameless(struct priv *priv, const struct source *source, struct privfs_id *ret_id) {
    const struct privfs_removal kept = {.is_open = true};
    struct privfs_entry taken;
    struct privfs_stat root;
    char name[32];
    struct entry entry = {.name = name};
    uint32_t i = 0;
    int status = privfs_root(&priv->fs, priv->root, &entry.dir);
    if (status == 0)
        status = privfs_stat(&priv->fs, entry.dir, &root);
    if (status != 0)
        return status;
    do
        entry.name_bytes = (size_t)snprintf(name, sizeof name, ".unnamed-%u", i++);
    while (privfs_lookup(&priv->fs, entry.dir, name, entry.name_bytes, &taken) == 0);
    status = copy_into(priv, source, &entry, ret_id);
    if (status != 0)
        return status;
    (void)privfs_remove(&priv->fs, entry.dir, name, entry.name_bytes, kept);
    (void)privfs_set_times(&priv->fs, entry.dir, root.atime_ns, root.mtime_ns);
    return 0;
}

/* All descriptors that are open on this file below now have the copy. */
static void switch_files(struct priv *priv, const struct stat *st, struct privfs_id id) {
    const struct wasi_fd *fd;
    for (uint32_t number = 0; (fd = privfile_next(priv, &number)) != NULL;) {
        struct wasi_privfile *file = fd->privfile;
        if (file->is_below && !file->is_dir && file->identity.dev == st->st_dev &&
            file->identity.ino == st->st_ino)
            privfile_become(file, id);
    }
}

/* Has the layer removed the directory that the node's place begins in? */
static bool is_anchor_gone(const struct priv *priv, const struct priv_node *node) {
    struct privfs_stat st;
    return privfs_stat(&priv->fs, node->id, &st) != 0 || st.kind != PRIVFS_DIR || st.links == 0;
}

static int lift_file(struct priv *priv, struct priv_node *node, int host_fd, uint64_t max_bytes,
                     struct privfs_id *ret_id) {
    struct source source = {.node = node, .host_fd = host_fd};
    auto_fd opened = -1;
    int status = 0;
    if (host_fd >= 0)
        status = (int)WASI_SYSCALL(priv->call, SYS_fstat, host_fd, (long)&source.st);
    else if (node->kind == PRIVFS_SYMLINK)
        status = below_stat(priv, node->lower, &source.st);
    else
        status = source.host_fd = opened = below_open_file(priv, node->lower, &source.st);
    if (status < 0)
        return status;
    const int64_t size = source.st.st_size;
    source.bytes = (uint64_t)size < max_bytes ? size : (int64_t)max_bytes;
    status = node->is_lost || is_anchor_gone(priv, node) ? copy_nameless(priv, &source, ret_id)
                                                         : copy_named(priv, &source, ret_id);
    if (status == 0 && node->kind == PRIVFS_FILE)
        switch_files(priv, &source.st, *ret_id);
    return status;
}

/* ---- Places below that the layer has now ---- */

/* Is the layer's directory the one with the first `bytes` bytes of this path below? */
static bool has_path(const struct priv *priv, struct privfs_id dir, const char *path,
                     size_t bytes) {
    char lower[PRIVFS_TARGET_MAX_BYTES + 1];
    return privfs_lower(&priv->fs, dir, lower) == (int64_t)bytes && memcmp(lower, path, bytes) == 0;
}

enum place { PLACE_BELOW, PLACE_IN_LAYER, PLACE_LOST };

/* Move a place's anchor down its path as far as the layer now goes. In the layer: it is a
 * directory, *id. Lost: another entry has the place. */
static enum place place_settle(const struct priv *priv, const char *lower, bool is_dir,
                               struct privfs_id *id, uint32_t *rel_at) {
    struct privfs_entry entry;
    for (;;) {
        const char *name = lower + *rel_at, *end = strchrnul(name, '/');
        const int status = privfs_lookup(&priv->fs, *id, name, (size_t)(end - name), &entry);
        if (status == -ENOENT)
            return PLACE_BELOW;
        if (status != 0 || entry.kind != PRIVFS_DIR || (*end == '\0' && !is_dir) ||
            !has_path(priv, entry.id, lower, (size_t)(end - lower)))
            return PLACE_LOST;
        *id = entry.id;
        *rel_at = (uint32_t)(end - lower) + 1;
        if (*end == '\0')
            return PLACE_IN_LAYER;
    }
}

void privcopy_settle(struct priv *priv) {
    const struct wasi_fd *fd;
    for (uint32_t number = 0; (fd = privfile_next(priv, &number)) != NULL;) {
        struct wasi_privfile *file = fd->privfile;
        if (!file->is_below || file->is_lost)
            continue;
        const enum place place =
            place_settle(priv, file->lower, file->is_dir, &file->id, &file->rel_at);
        file->is_lost = place == PLACE_LOST;
        if (place == PLACE_IN_LAYER)
            privfile_become(file, file->id);
    }
}

/* The same for a node that was found before the layer changed. */
static int node_settle(const struct priv *priv, struct priv_node *node) {
    if (!node->is_below || node->is_lost)
        return 0;
    const enum place place =
        place_settle(priv, node->lower, node->kind == PRIVFS_DIR, &node->id, &node->rel_at);
    node->is_lost = place == PLACE_LOST;
    return place == PLACE_IN_LAYER ? privnode_of_inode(priv, node->id, node) : 0;
}

/* ---- Lifting ---- */

int privcopy_lift(struct priv *priv, struct priv_node *node, int host_fd, uint64_t max_bytes) {
    struct privfs_id id;
    struct chain chain;
    int status = node_settle(priv, node);
    if (status != 0 || !node->is_below)
        return status;
    if (node->kind == PRIVFS_NONE)
        return -EPERM;
    if (node->kind == PRIVFS_DIR) {
        if (node->is_lost || is_anchor_gone(priv, node))
            return -ENOENT;
        status = chain_make(priv, node, node->lower_bytes, &chain);
        id = chain.last;
    } else {
        status = lift_file(priv, node, host_fd, max_bytes, &id);
    }
    if (status != 0)
        return status;
    privcopy_settle(priv);
    return privnode_of_inode(priv, id, node);
}

int privcopy_lift_dir(struct priv *priv, struct priv_node *dir) {
    struct privfs_stat st;
    int status = privcopy_lift(priv, dir, -1, 0);
    if (status == 0)
        status = privfs_stat(&priv->fs, dir->id, &st);
    return status != 0 ? status : st.links == 0 ? -ENOENT : 0;
}
