/*
 * host/wasi/wasi_privstate.c: descriptors of private directories in a snapshot. The row has the
 * position; the body says which inode of the layer it is, or which file below. Nothing is looked up
 * when a snapshot is opened or loaded: the layer is not there yet, and the host's directory may be
 * slow. The first use of the descriptor finds out whether the file is there (wasi_privfile.c). The
 * first use of the layer releases what no descriptor that was loaded is open on.
 */
#include <string.h>

#include "buf.h"
#include "error.h"
#include "wasi_abi.h"
#include "wasi_priv.h"
#include "wasi_state.h"

#define BODY_IS_DIR 1u
#define BODY_IS_BELOW 2u
#define BODY_IS_LOST 4u
#define BODY_FLAGS_KNOWN 7u

/* Then the path below: lower_bytes, without NUL. */
struct body {
    uint32_t flags;
    uint32_t ino, generation; /* the inode, or the anchor */
    uint32_t rel_at, lower_bytes;
    uint32_t pad; /* 0 */
    uint64_t below_dev, below_ino;
};
_Static_assert(sizeof(struct body) == 40, "part of image files: another version of the state");

static struct body body_of(const struct wasi_privfile *file) {
    return (struct body){.flags = (file->is_dir ? BODY_IS_DIR : 0) |
                                  (file->is_below ? BODY_IS_BELOW : 0) |
                                  (file->is_lost ? BODY_IS_LOST : 0),
                         .ino = file->id.ino,
                         .generation = file->id.generation,
                         .rel_at = file->rel_at,
                         .lower_bytes = file->lower_bytes,
                         .below_dev = file->identity.dev,
                         .below_ino = file->identity.ino};
}

int privstate_save(const struct wasi_ctx *ctx, const struct wasi_fd *fd, struct buf *buf,
                   struct husk_error *err) {
    const struct wasi_privfile *file = fd->privfile;
    const struct body body = body_of(file);
    (void)ctx;
    (void)err;
    buf_append(buf, &body, sizeof body);
    buf_append(buf, file->lower, file->lower_bytes);
    return 0;
}

bool privstate_is_as_saved(const struct wasi_fd *fd, const uint8_t *bytes, uint32_t count) {
    const struct wasi_privfile *file = fd->privfile;
    const struct body body = body_of(file);
    return count == sizeof body + file->lower_bytes && memcmp(bytes, &body, sizeof body) == 0 &&
           memcmp(bytes + sizeof body, file->lower, file->lower_bytes) == 0;
}

/* Names with one slash between them, none of them "." or "..", and one begins at rel_at. */
static bool is_path(const char *path, uint32_t bytes, uint32_t rel_at) {
    if (bytes == 0 || bytes > PRIVFS_TARGET_MAX_BYTES || memchr(path, '\0', bytes) != NULL ||
        rel_at >= bytes || (rel_at > 0 && path[rel_at - 1] != '/'))
        return false;
    for (uint32_t at = 0; at <= bytes;) {
        const char *slash = memchr(path + at, '/', bytes - at);
        const uint32_t end = slash != NULL ? (uint32_t)(slash - path) : bytes;
        const uint32_t length = end - at;
        if (length == 0 || length > PRIVFS_NAME_MAX_BYTES ||
            (length <= 2 && memcmp(path + at, "..", length) == 0))
            return false;
        at = end + 1;
    }
    return true;
}

static int check_body(const struct body *body, const struct wasi_saved_fd *row, const char *lower,
                      struct husk_error *err) {
    const bool is_below = (body->flags & BODY_IS_BELOW) != 0;
    if (row->body_bytes - sizeof *body != body->lower_bytes)
        return wasi_state_damaged(err, "size of a private descriptor", row->number);
    if ((row->flags & ~WASI_FDFLAGS_ALL) != 0 || (body->flags & ~BODY_FLAGS_KNOWN) != 0 ||
        body->pad != 0 || (!is_below && (body->flags & BODY_IS_LOST) != 0))
        return wasi_state_damaged(err, "flags of a private descriptor", row->number);
    if (is_below ? !is_path(lower, body->lower_bytes, body->rel_at)
                 : (body->lower_bytes | body->rel_at) != 0)
        return wasi_state_damaged(err, "path of a private descriptor", row->number);
    return 0;
}

int privstate_make(const struct wasi_dir *dir, const struct wasi_saved_fd *row,
                   const uint8_t *bytes, struct wasi_privfile **ret_file, struct husk_error *err) {
    struct body body;
    const char *lower = (const char *)bytes + sizeof body;
    if (row->body_bytes < sizeof body)
        return wasi_state_damaged(err, "size of a private descriptor", row->number);
    memcpy(&body, bytes, sizeof body);
    const int status = check_body(&body, row, lower, err);
    if (status != 0)
        return status;
    const bool is_below = (body.flags & BODY_IS_BELOW) != 0;
    *ret_file = NULL;
    if (dir == NULL || dir->kind == HUSK_WASI_DIR_HOST ||
        (is_below && dir->kind != HUSK_WASI_DIR_COW))
        return 0;
    struct wasi_privfile *file = privfile_new(is_below ? lower : NULL, body.lower_bytes);
    if (file == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for descriptor %u", row->number);
    file->is_dir = (body.flags & BODY_IS_DIR) != 0;
    file->is_lost = (body.flags & BODY_IS_LOST) != 0;
    file->id = (struct privfs_id){body.ino, body.generation};
    file->identity = (struct priv_identity){body.below_dev, body.below_ino};
    file->rel_at = body.rel_at;
    file->offset = row->position;
    *ret_file = file;
    return 0;
}
