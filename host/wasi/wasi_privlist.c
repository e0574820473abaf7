/*
 * host/wasi/wasi_privlist.c: what a private directory lists: the layer's names and those below that
 * show through, merged in the order of their keys (privfs_key_of()). A cookie is a key: an entry
 * has the same one as long as it is there, in the layer or below. So an entry that stays is listed
 * once, whatever else comes and goes between two calls.
 *
 * The names below have no order. They are read and sorted when a listing begins, and kept for its
 * next call: those of one directory in each sandbox. It is a cache only: a snapshot does not
 * contain it, and without it the names are read again.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "buf.h"
#include "wasi_abi.h"
#include "wasi_priv.h"

/* Cookies of what is behind "." and behind "..": keys are greater. */
#define LOOK_EVERY 4096u /* names: some milliseconds */
#define COOKIE_DOT 1u
#define COOKIE_DOTS 2u

/* A name below. */
struct below_row {
    uint64_t key, ino;
    uint32_t name_at; /* in `names`, NUL-terminated */
    uint8_t dtype;
};

/* The names of one directory below, by ascending keys. */
struct wasi_listing {
    uint32_t root;
    char *path;
    struct buf rows, names;
};

/* ---- Names below ---- */

static void listing_free(struct wasi_listing *listing) {
    if (listing == NULL)
        return;
    free(listing->path);
    buf_done(&listing->rows);
    buf_done(&listing->names);
    free(listing);
}

void wasi_privlist_forget(struct wasi_ctx *ctx) {
    listing_free(ctx->listing);
    ctx->listing = NULL;
}

static const struct below_row *rows_of(const struct wasi_listing *listing) {
    return (const struct below_row *)(const void *)listing->rows.data;
}

static size_t rows_count(const struct wasi_listing *listing) {
    return listing->rows.count / sizeof(struct below_row);
}

struct reading {
    const struct priv *priv;
    struct wasi_listing *listing;
    bool is_too_long;
};

static bool reading_see(void *user, const struct below_name *name) {
    struct reading *reading = user;
    struct wasi_listing *listing = reading->listing;
    const size_t bytes = strlen(name->name);
    if (bytes > PRIVFS_NAME_MAX_BYTES)
        return true; /* no path can name it */
    if (rows_count(listing) >= PRIV_NAMES_MAX ||
        listing->names.count + bytes >= PRIV_NAMES_MAX_BYTES) {
        reading->is_too_long = true;
        return false;
    }
    const struct below_row row = {.key = privfs_key_of(&reading->priv->fs, name->name, bytes),
                                  .ino = name->ino,
                                  .name_at = (uint32_t)listing->names.count,
                                  .dtype = name->dtype};
    buf_append(&listing->rows, &row, sizeof row);
    buf_append(&listing->names, name->name, bytes + 1);
    return !listing->rows.failed && !listing->names.failed;
}

static int compare_rows(const void *a, const void *b) {
    const struct below_row *left = a, *right = b;
    return (left->key > right->key) - (left->key < right->key);
}

static int listing_read(const struct priv *priv, const char *path,
                        struct wasi_listing **ret_listing) {
    struct wasi_listing *listing = calloc(1, sizeof *listing);
    struct reading reading = {.priv = priv, .listing = listing};
    if (listing == NULL)
        return -ENOMEM;
    listing->root = priv->root;
    listing->path = strdup(path);
    int status = listing->path == NULL ? -ENOMEM : below_each(priv, path, reading_see, &reading);
    if (status == 0 && reading.is_too_long)
        status = -EOVERFLOW;
    if (status == 0 && (listing->rows.failed || listing->names.failed))
        status = -ENOMEM;
    if (status != 0) {
        listing_free(listing);
        return status;
    }
    if (listing->rows.count > 0)
        qsort(listing->rows.data, rows_count(listing), sizeof(struct below_row), compare_rows);
    *ret_listing = listing;
    return 0;
}

/* The names below a directory; read anew when a listing begins. */
static int listing_get(const struct priv *priv, const struct priv_node *dir, bool is_begin,
                       const struct wasi_listing **ret_listing) {
    struct wasi_ctx *ctx = priv->call->ctx;
    struct wasi_listing *kept = ctx->listing;
    if (is_begin || kept == NULL || kept->root != priv->root ||
        strcmp(kept->path, dir->lower) != 0) {
        wasi_privlist_forget(ctx);
        const int status = listing_read(priv, dir->lower, &ctx->listing);
        if (status != 0)
            return status;
    }
    *ret_listing = ctx->listing;
    return 0;
}

/* ---- Merging ---- */

struct merge {
    const struct priv *priv;
    const struct priv_node *dir;
    const struct wasi_listing *listing; /* NULL: nothing shows through */
    size_t next;                        /* row of the listing */
    uint64_t after;                     /* key of the last entry of the layer that was seen */
    uint64_t hidden;                    /* names that were passed over */
    /* The layer's next entry. */
    bool has_entry;
    struct privfs_entry entry;
    char name[PRIVFS_NAME_MAX_BYTES + 1];
    size_t name_bytes;
};

/* A guest may have a million names, and have hidden them all: now and then look whether its call
 * must end. `count`: of what was looked at so far. */
static bool is_cut(const struct priv *priv, uint64_t count) {
    return count % LOOK_EVERY == 0 && priv->call->ops->is_cut(priv->call->host);
}

/* Go to the layer's next entry that is no whiteout. -EINTR. */
static int merge_step(struct merge *merge) {
    int status = -ENOENT;
    if (!merge->dir->is_below)
        do {
            status = privfs_next(&merge->priv->fs, merge->dir->id, merge->after, &merge->entry,
                                 merge->name, &merge->name_bytes);
            if (status == 0)
                merge->after = merge->entry.key;
            if (status == 0 && merge->entry.kind == PRIVFS_WHITEOUT &&
                is_cut(merge->priv, ++merge->hidden))
                status = -EINTR;
        } while (status == 0 && merge->entry.kind == PRIVFS_WHITEOUT);
    merge->has_entry = status == 0;
    return status == -ENOENT ? 0 : status;
}

/* Does the layer have an entry or a whiteout for the name? */
static bool is_covered(const struct priv *priv, const struct priv_node *dir, const char *name) {
    struct privfs_entry entry;
    return !dir->is_below &&
           privfs_lookup(&priv->fs, dir->id, name, strlen(name), &entry) != -ENOENT;
}

/* The next name below that shows through; NULL: there is none. -EINTR. */
static int merge_below(struct merge *merge, const struct below_row **ret_row) {
    const struct wasi_listing *listing = merge->listing;
    while (listing != NULL && merge->next < rows_count(listing)) {
        const struct below_row *row = rows_of(listing) + merge->next;
        const char *name = (const char *)listing->names.data + row->name_at;
        if (!is_covered(merge->priv, merge->dir, name)) {
            *ret_row = row;
            return 0;
        }
        merge->next++;
        if (is_cut(merge->priv, ++merge->hidden))
            return -EINTR;
    }
    *ret_row = NULL;
    return 0;
}

static int merge_begin(struct merge *merge, uint64_t after) {
    const struct wasi_listing *listing = merge->listing;
    size_t high = listing != NULL ? rows_count(listing) : 0;
    merge->after = after;
    while (merge->next < high) {
        const size_t middle = merge->next + (high - merge->next) / 2;
        if (rows_of(listing)[middle].key > after)
            high = middle;
        else
            merge->next = middle + 1;
    }
    return merge_step(merge);
}

/* ---- Entries ---- */

static uint8_t filetype_of_dtype(uint8_t dtype) {
    switch (dtype) {
    case DT_REG: return WASI_FILETYPE_REGULAR_FILE;
    case DT_DIR: return WASI_FILETYPE_DIRECTORY;
    case DT_LNK: return WASI_FILETYPE_SYMBOLIC_LINK;
    case DT_CHR: return WASI_FILETYPE_CHARACTER_DEVICE;
    case DT_BLK: return WASI_FILETYPE_BLOCK_DEVICE;
    case DT_SOCK: return WASI_FILETYPE_SOCKET_STREAM;
    default: return WASI_FILETYPE_UNKNOWN;
    }
}

static uint8_t filetype_of_kind(enum privfs_kind kind) {
    return kind == PRIVFS_DIR    ? WASI_FILETYPE_DIRECTORY
           : kind == PRIVFS_FILE ? WASI_FILETYPE_REGULAR_FILE
                                 : WASI_FILETYPE_SYMBOLIC_LINK;
}

/* Not every file system says it in its directories. */
static uint8_t filetype_of_row(const struct merge *merge, const struct below_row *row,
                               const char *name) {
    struct priv_node node;
    if (row->dtype != DT_UNKNOWN)
        return filetype_of_dtype(row->dtype);
    return privnode_child(merge->priv, merge->dir, name, strlen(name), &node) == 0
               ? filetype_of_dtype((uint8_t)IFTODT(node.st.st_mode))
               : WASI_FILETYPE_UNKNOWN;
}

static uint64_t layer_ino(const struct priv *priv, struct privfs_id id) {
    struct privfs_stat st;
    return privfs_stat(&priv->fs, id, &st) == 0 ? privnode_ino(priv, st.shown_ino) : 0;
}

/* Fill the next entry in. -ENOENT: there is none. -EINTR. */
static int merge_next(struct merge *merge, struct wasi_dirent *ret_entry) {
    const struct below_row *row = NULL;
    const int status = merge_below(merge, &row);
    if (status != 0)
        return status;
    if (row == NULL && !merge->has_entry)
        return -ENOENT;
    if (row == NULL || (merge->has_entry && merge->entry.key < row->key)) {
        *ret_entry = (struct wasi_dirent){.next = merge->entry.key,
                                          .ino = layer_ino(merge->priv, merge->entry.id),
                                          .filetype = filetype_of_kind(merge->entry.kind),
                                          .name = merge->name,
                                          .name_bytes = (uint32_t)merge->name_bytes};
        return 0;
    }
    const char *name = (const char *)merge->listing->names.data + row->name_at;
    *ret_entry = (struct wasi_dirent){.next = row->key,
                                      .ino = row->ino,
                                      .filetype = filetype_of_row(merge, row, name),
                                      .name = name,
                                      .name_bytes = (uint32_t)strlen(name)};
    return 0;
}

/* Go past the entry that merge_next() gave. */
static int merge_pass(struct merge *merge, const struct wasi_dirent *entry) {
    if (entry->name == merge->name)
        return merge_step(merge);
    merge->next++;
    return 0;
}

/* "." and "..". The parent of the descriptor's directory is not the guest's to know. */
static bool emit_dots(const struct priv *priv, const struct priv_node *dir, uint64_t cookie,
                      bool (*emit)(void *user, const struct wasi_dirent *entry), void *user) {
    struct wasi_dirent entry = {.filetype = WASI_FILETYPE_DIRECTORY, .name = ".."};
    struct stat st;
    if (privnode_stat(priv, dir, &st) == 0)
        entry.ino = st.st_ino;
    for (uint32_t dots = (uint32_t)cookie + 1; dots <= COOKIE_DOTS; dots++) {
        entry.next = dots;
        entry.name = dots == COOKIE_DOT ? "." : "..";
        entry.name_bytes = dots;
        if (!emit(user, &entry))
            return false;
    }
    return true;
}

int privlist_run(const struct wasi_call *call, const struct wasi_fd *fd, uint64_t cookie,
                 bool (*emit)(void *user, const struct wasi_dirent *entry), void *user) {
    struct priv priv;
    struct priv_node dir;
    struct merge merge = {.priv = &priv, .dir = &dir};
    struct wasi_dirent entry;
    int status = priv_begin(&priv, call, fd);
    if (status == 0)
        status = privnode_of_fd(&priv, fd, &dir);
    if (status == 0 && dir.has_lower && !dir.is_lost)
        status = listing_get(&priv, &dir, cookie == 0, &merge.listing);
    if (status == 0)
        status = merge_begin(&merge, cookie < COOKIE_DOTS ? COOKIE_DOTS : cookie);
    if (status != 0 || (cookie < COOKIE_DOTS && !emit_dots(&priv, &dir, cookie, emit, user)))
        return status;
    while (status == 0) {
        status = merge_next(&merge, &entry);
        if (status == 0 && !emit(user, &entry))
            return 0;
        if (status == 0)
            status = merge_pass(&merge, &entry);
    }
    return status == -ENOENT ? 0 : status;
}

/* ---- Emptiness ---- */

struct finding {
    const struct priv *priv;
    const struct priv_node *dir;
    bool is_found;
};

static bool finding_see(void *user, const struct below_name *name) {
    struct finding *finding = user;
    finding->is_found = !is_covered(finding->priv, finding->dir, name->name);
    return !finding->is_found;
}

int privlist_check_empty(const struct priv *priv, const struct priv_node *dir) {
    struct merge merge = {.priv = priv, .dir = dir};
    struct finding finding = {.priv = priv, .dir = dir};
    int status = merge_begin(&merge, 0);
    if (status == 0 && merge.has_entry)
        return -ENOTEMPTY;
    if (status == 0 && dir->has_lower && !dir->is_lost)
        status = below_each(priv, dir->lower, finding_see, &finding);
    return status == 0 && finding.is_found ? -ENOTEMPTY : status;
}
