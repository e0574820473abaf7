/*
 * host/wasi_state.c: what of a sandbox's WASI state goes into a snapshot: which standard streams are open, under which numbers, with which
 * flags and rights; a seeded generator's position; the clocks that belong to the instance. Not in it: arguments, environment and
 * the streams themselves, which are the embedder's and come with the set of imports that the snapshot is loaded with.
 */
#include <string.h>
#include <time.h>

#include "buf.h"
#include "error.h"
#include "wasi.h"

#define STATE_FORMAT 1u
#define STREAM_CLOSED 0xffffu

struct saved_fd {
    uint16_t stream; /* index of struct wasi_config's fds; STREAM_CLOSED */
    uint16_t flags;
    uint32_t pad;
    /* Rights that the guest left itself; all ones if it gave up none. A right that the stream never had is not one that it gave up: the
     * next stream may have it (a file can be sought in, a pipe cannot; the next embedder may give more rights). */
    uint64_t kept;
};

/* Little-endian, as the host: images are for x86-64. */
struct saved_state {
    uint32_t format, is_seeded;
    struct saved_fd fds[WASI_STREAMS];
    uint64_t random_state, monotonic_ns, cpu_ns;
};

/* A new field of the state: can the guest see it? Then it is saved (in a new format), checked, brought back by apply_saved(), made
 * fresh by wasi_ctx_reset(), and in tests/unit/wasi_state_test.c. */
_Static_assert(sizeof(struct wasi_ctx) == 64 && sizeof(struct wasi_fd) == 40, "a new field of WASI's state");
_Static_assert(sizeof(struct saved_state) == 80,
               "the saved state is part of image files: another STATE_FORMAT");

static struct saved_fd saved_fd_of(const struct wasi_fd *fd) {
    if (fd == NULL)
        return (struct saved_fd){.stream = STREAM_CLOSED, .kept = UINT64_MAX};
    return (struct saved_fd){.stream = fd->stream, .flags = fd->flags, .kept = fd->kept};
}

void wasi_state_save(const struct wasi_ctx *ctx, struct buf *buf) {
    struct wasi_ctx now = *ctx; /* asking the time is a change */
    struct saved_state saved = {.format = STATE_FORMAT,
                                .is_seeded = ctx->config->random_seed != 0,
                                .random_state = ctx->random_state};
    for (unsigned i = 0; i < WASI_STREAMS; i++)
        saved.fds[i] = saved_fd_of(wasi_fds_at(&ctx->fds, i));
    (void)wasi_clock_now(&now, WASI_CLOCK_MONOTONIC, &saved.monotonic_ns);
    (void)wasi_clock_now(&now, WASI_CLOCK_PROCESS_CPUTIME, &saved.cpu_ns);
    buf_append(buf, &saved, sizeof(saved));
}

static int check_saved(const struct saved_state *saved, struct husk_error *err) {
    if (saved->format != STATE_FORMAT || saved->is_seeded > 1)
        return error_set(err, HUSK_E_IMAGE_VERSION,
                         "the snapshot's WASI state has format %u; this is a husk for format %u",
                         saved->format, STATE_FORMAT);
    for (unsigned i = 0; i < WASI_STREAMS; i++) {
        const struct saved_fd *fd = &saved->fds[i];
        if ((fd->stream >= WASI_STREAMS && fd->stream != STREAM_CLOSED) ||
            (fd->flags & ~WASI_FDFLAG_NONBLOCK) != 0)
            return error_set(err, HUSK_E_BAD_IMAGE,
                             "the snapshot's WASI state is damaged: descriptor %u is stream %u with flags "
                             "0x%x",
                             i, fd->stream, fd->flags);
    }
    if ((saved->monotonic_ns | saved->cpu_ns) >> 63 != 0)
        return error_set(err, HUSK_E_BAD_IMAGE,
                         "the snapshot's WASI state is damaged: its clocks run for 292 years");
    return 0;
}

/* Rights are those of the stream that is given now, and never more than were left. */
static void apply_saved(struct wasi_ctx *ctx, const struct saved_state *saved) {
    wasi_fds_clear(&ctx->fds);
    for (unsigned i = 0; i < WASI_STREAMS; i++) {
        const struct saved_fd *saved_fd = &saved->fds[i];
        if (saved_fd->stream == STREAM_CLOSED || ctx->config->streams[saved_fd->stream].ops == NULL)
            continue;
        struct wasi_fd fd = ctx->config->streams[saved_fd->stream];
        fd.flags = saved_fd->flags;
        fd.kept = saved_fd->kept;
        fd.rights &= saved_fd->kept;
        wasi_fds_put(&ctx->fds, i, &fd);
    }
    if (saved->is_seeded && ctx->config->random_seed != 0)
        ctx->random_state = saved->random_state;
    ctx->monotonic_base_ns -=
        saved->monotonic_ns; /* goes on where it was; unsigned, as the subtraction when it is read */
    ctx->cpu_total_ns = saved->cpu_ns;
}

int wasi_state_check(const uint8_t *bytes, size_t count, struct husk_error *err) {
    struct saved_state saved;
    if (bytes == NULL)
        return 0;
    if (count != sizeof(saved))
        return error_set(err, HUSK_E_BAD_IMAGE, "the snapshot's WASI state has %zu bytes, not %zu", count,
                         sizeof(saved));
    memcpy(&saved, bytes, sizeof(saved));
    return check_saved(&saved, err);
}

void wasi_state_load(struct wasi_ctx *ctx, const uint8_t *bytes) {
    struct saved_state saved;
    wasi_ctx_reset(ctx);
    if (bytes == NULL)
        return;
    memcpy(&saved, bytes, sizeof(saved));
    apply_saved(ctx, &saved);
}
