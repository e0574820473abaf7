/*
 * host/image/image_files.c: the private layer in an image (host/files/privfs.h): its check, when a
 * file is opened, and its listing. Both look at it as a layer lies in an arena, contiguous, in a
 * mapping that they make and drop.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "buf.h"
#include "error.h"
#include "image_internal.h"
#include "layout.h"
#include "privfs.h"

/* ---- the layer at one place ---- */

struct layer_view {
    uint8_t *base;
    uint64_t bytes;
};

static void view_done(struct layer_view *view) {
    if (view->base != NULL)
        munmap(view->base, view->bytes);
}

static int map_layer_runs(husk_image *image, uint8_t *base, struct husk_error *err) {
    const struct image_run *runs;
    uint32_t count;
    int status = image_mapped_runs(image, &runs, &count, err);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        if (husk_is_files_gva(runs[i].gva))
            status = image_map_readonly(base + (runs[i].gva - HUSK_FILES_GVA), runs[i].file,
                                        runs[i].offset, runs[i].bytes, err);
    return status;
}

/* Read-only. Where the image has nothing are zeros. */
static int view_init(struct layer_view *view, husk_image *image, struct husk_error *err) {
    view->bytes = image->files_bytes;
    void *base =
        mmap(NULL, view->bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    view->base = base != MAP_FAILED ? base : NULL;
    if (view->base == NULL)
        return error_sys(err, errno, "cannot reserve %llu bytes of address space for an image",
                         (unsigned long long)view->bytes);
    int status = map_layer_runs(image, view->base, err);
    if (status != 0)
        view_done(view);
    return status;
}

int image_check_files(husk_image *image, struct husk_error *err) {
    struct layer_view view;
    const char *what = NULL;
    uint64_t offset = 0;
    if (image->files_bytes == 0)
        return 0;
    int status = view_init(&view, image, err);
    if (status != 0)
        return error_while(err, status, "checking the image's private layer");
    const int rc = privfs_check(view.base, view.bytes, &what, &offset);
    view_done(&view);
    if (rc == -ENOMEM)
        return error_set(err, HUSK_E_NOMEM, "no memory to check the image's private layer");
    if (rc != 0)
        return error_set(err, HUSK_E_BAD_IMAGE, "the private layer, byte %llu: %s",
                         (unsigned long long)offset, what);
    return 0;
}

/* ---- the listing ---- */

/* A directory on the way down. */
struct level {
    struct privfs_id dir;
    uint64_t after_key; /* its entries up to here were visited */
    size_t path_bytes;  /* of its path, with a '/' behind it; 0 for a root */
};

struct walk {
    const struct privfs *fs;
    struct buf levels; /* struct level */
    struct buf path;
    uint32_t dir_idx;
    husk_image_file_fn visit;
    void *user;
    char target[PRIVFS_TARGET_MAX_BYTES + 1];
};

static enum husk_file_kind public_kind(enum privfs_kind kind) {
    switch (kind) {
    case PRIVFS_DIR: return HUSK_FILE_DIRECTORY;
    case PRIVFS_SYMLINK: return HUSK_FILE_SYMLINK;
    case PRIVFS_WHITEOUT: return HUSK_FILE_HIDDEN;
    case PRIVFS_NONE:
    case PRIVFS_FILE: break;
    }
    return HUSK_FILE_REGULAR;
}

/* The layer was checked, or made by this process: what it says is there. */
static int visit_entry(struct walk *walk, const struct privfs_entry *entry, const char *path,
                       size_t path_bytes) {
    struct privfs_stat stat = {0};
    struct husk_image_file file = {.size = sizeof file,
                                   .dir_idx = walk->dir_idx,
                                   .kind = public_kind(entry->kind),
                                   .path = path,
                                   .path_bytes = path_bytes,
                                   .target = ""};
    if (entry->kind != PRIVFS_WHITEOUT && privfs_stat(walk->fs, entry->id, &stat) == 0) {
        file.bytes = entry->kind == PRIVFS_DIR ? 0 : stat.bytes;
        file.mtime_ns = stat.mtime_ns;
        file.links_count = stat.links;
    }
    if (entry->kind == PRIVFS_SYMLINK) {
        const int64_t bytes =
            privfs_target(walk->fs, entry->id, walk->target, PRIVFS_TARGET_MAX_BYTES);
        file.target_bytes = bytes > 0 ? (size_t)bytes : 0;
        walk->target[file.target_bytes] = '\0';
        file.target = walk->target;
    }
    return walk->visit(walk->user, &file);
}

/* The name goes behind the directory's path, and a NUL behind it. */
static int enter(struct walk *walk, struct level *level, const struct privfs_entry *entry,
                 const char *name, size_t name_bytes) {
    const struct level below = {.dir = entry->id, .path_bytes = level->path_bytes + name_bytes + 1};
    const size_t path_bytes = level->path_bytes + name_bytes;
    level->after_key = entry->key;
    walk->path.count = level->path_bytes;
    buf_append(&walk->path, name, name_bytes);
    buf_append(&walk->path, "", 1);
    if (walk->path.failed)
        return HUSK_E_NOMEM;
    const int rc = visit_entry(walk, entry, (const char *)walk->path.data, path_bytes);
    if (rc != 0 || entry->kind != PRIVFS_DIR)
        return rc;
    walk->path.data[path_bytes] = '/';
    buf_append(&walk->levels, &below, sizeof below); /* `level` may have moved */
    return walk->levels.failed ? HUSK_E_NOMEM : 0;
}

/* Depth first, without recursion: a layer may be deep. */
static int walk_root(struct walk *walk, struct privfs_id root) {
    const struct privfs_entry self = {.id = root, .kind = PRIVFS_DIR};
    const struct level first = {.dir = root};
    int rc = visit_entry(walk, &self, ".", 1);
    walk->levels.count = 0;
    buf_append(&walk->levels, &first, sizeof first);
    if (walk->levels.failed)
        return HUSK_E_NOMEM;
    while (rc == 0 && walk->levels.count > 0) {
        struct level *level = (struct level *)(void *)(walk->levels.data + walk->levels.count) - 1;
        struct privfs_entry entry;
        char name[PRIVFS_NAME_MAX_BYTES + 1];
        size_t name_bytes;
        if (privfs_next(walk->fs, level->dir, level->after_key, &entry, name, &name_bytes) == 0)
            rc = enter(walk, level, &entry, name, name_bytes);
        else
            walk->levels.count -= sizeof *level;
    }
    return rc;
}

static int walk_all(const struct privfs *fs, husk_image_file_fn visit, void *user) {
    struct walk walk = {.fs = fs, .visit = visit, .user = user};
    int rc = 0;
    for (uint32_t i = 0; i < PRIVFS_ROOTS_MAX && rc == 0; i++) {
        struct privfs_id root;
        walk.dir_idx = i;
        if (privfs_find_root(fs, i, &root) == 0)
            rc = walk_root(&walk, root);
    }
    if (walk.levels.failed || walk.path.failed)
        rc = HUSK_E_NOMEM;
    buf_done(&walk.levels);
    buf_done(&walk.path);
    return rc;
}

int husk_image_files(const husk_image *image, husk_image_file_fn visit, void *user,
                     struct husk_error *err) {
    struct layer_view view;
    if (image == NULL || visit == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_files: a NULL argument");
    if (image->files_bytes == 0)
        return 0;
    /* not constant: the runs to map, which are made when first needed, under a lock */
    int status = view_init(&view, (husk_image *)(uintptr_t)image, err);
    if (status != 0)
        return error_while(err, status, "listing the files of an image");
    const struct privfs fs = {
        .base = view.base, .covered_bytes = view.bytes, .region_bytes = view.bytes};
    const int rc = walk_all(&fs, visit, user);
    view_done(&view);
    if (rc == HUSK_E_NOMEM)
        return error_set(err, rc, "no memory to list the files of an image");
    return rc == 0 ? 0
                   : error_set(err, rc,
                               "listing the files of an image: the callback ended it with %d", rc);
}
