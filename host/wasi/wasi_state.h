/*
 * host/wasi/wasi_state.h: a saved descriptor: the row that all kinds have, and what each kind does
 * with what only it knows.
 *
 * Flow: wasi_state_save() writes a row, and the kind's wasi_fd_ops.save() its body. From bytes,
 * wasi_state_check() reads the row, and the kind's check function opens it ahead: in ctx->ahead,
 * where wasi_state_load() finds it. So loading makes no system call that can wait or fail.
 */
#ifndef HOST_WASI_STATE_H
#define HOST_WASI_STATE_H

#include <inttypes.h>

#include "error.h"
#include "wasi.h"

/* A new kind of descriptor has a new number: a husk that does not know it refuses the snapshot. */
enum wasi_saved_kind {
    WASI_SAVED_STREAM = 1,   /* of struct wasi_config; `idx`: which one */
    WASI_SAVED_HOST = 2,     /* file or directory below a directory of the host; `idx`: which one */
    WASI_SAVED_PRIVATE = 3,  /* the same of a private layer */
    WASI_SAVED_LISTENER = 4, /* a socket that accepts */
    WASI_SAVED_PREOPEN = 5   /* a directory that the embedder gave; `idx`: which one */
};

/* Little-endian, as the host. Part of image files: a change is a new version (wasi_state.c). */
struct wasi_saved_fd {
    uint32_t number;
    uint16_t kind, flags;
    uint32_t idx;
    uint32_t body_bytes; /* of the kind's own, behind this row; then zeros up to a multiple of 8 */
    /* All ones, less the rights that the guest gave up or did not ask for. A right that the stream
     * never had was not given up: the next stream may have it (a file can be sought in, a pipe
     * cannot). */
    uint64_t kept, kept_inheriting; /* version 2 has no kept_inheriting and nothing behind it */
    uint64_t serial[2];
    uint64_t position;
};

/*
 * Check one saved descriptor and open it ahead. `body` has row->body_bytes, which may be hostile,
 * as all of the row except its number may be. Fills *ret_fd (all zeros before) with ops, filetype,
 * what it owns, its position, flags, dir, and all rights that it can have (wasi_fd_grant()); the
 * caller takes away those that were not kept, and sets number and serial. ops NULL: what it was is
 * not there any more, so the guest finds it closed. Waits for nothing. HUSK_E_BAD_IMAGE,
 * HUSK_E_NOMEM, HUSK_E_SYS.
 */
typedef int (*wasi_saved_check_fn)(struct wasi_ctx *ctx, const struct wasi_saved_fd *row,
                                   const uint8_t *body, struct wasi_fd *ret_fd,
                                   struct husk_error *err);
int wasi_hostfile_check(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *body,
                        struct wasi_fd *ret_fd, struct husk_error *err);
int wasi_listener_check(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *body,
                        struct wasi_fd *ret_fd, struct husk_error *err);
int wasi_privfile_check(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *body,
                        struct wasi_fd *ret_fd, struct husk_error *err);

/* HUSK_E_BAD_IMAGE: "the snapshot's WASI state is damaged: <what> (<value>)". */
static inline int wasi_state_damaged(struct husk_error *err, const char *what, uint64_t value) {
    return error_set(err, HUSK_E_BAD_IMAGE,
                     "the snapshot's WASI state is damaged: %s (%" PRIu64 ")", what, value);
}

#endif
