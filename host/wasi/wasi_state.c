/*
 * host/wasi/wasi_state.c: saves the part of a sandbox's WASI state that goes into a snapshot: the
 * open standard streams with their numbers, flags and rights, a seeded generator's position, and
 * the clocks that belong to the instance. A snapshot does not save arguments, environment and the
 * streams themselves. They belong to the embedder and come with the set of imports with which the
 * snapshot is loaded.
 *
 * The bytes are a struct saved_state and its rows, little-endian like the host, because images are
 * for x86-64. (Only images of format 1 had version 1, and they are refused.)
 */
#include <inttypes.h>
#include <string.h>

#include "buf.h"
#include "error.h"
#include "wasi.h"
#include "wasi_abi.h"

#define STATE_VERSION 2u
#define ADVICE "; use the husk that took it, or take it again with this one"

/* A new kind of descriptor has a new number: a husk that does not know it refuses the snapshot. */
enum saved_kind {
    SAVED_STREAM = 1 /* of struct wasi_config */
};

struct saved_state {
    uint32_t version, is_seeded;
    uint32_t fds_count; /* struct saved_fd, by ascending number; what has none is closed */
    uint32_t pad;       /* 0 */
    uint64_t random_state, monotonic_ns, cpu_ns;
};

struct saved_fd {
    uint32_t number;
    uint16_t kind, flags;
    uint32_t stream;     /* SAVED_STREAM: which one */
    uint32_t body_bytes; /* of the kind's own, behind this row: streams have none */
    /* All ones, less the rights that the guest gave up. A right that the stream never had was not
     * given up: the next stream may have it (a file can be sought in, a pipe cannot). */
    uint64_t kept;
};

/* A new field of the state: can the guest see it? Then it is saved (in a new version), checked,
 * brought back by wasi_state_load(), made fresh by wasi_ctx_reset(), and in
 * tests/unit/wasi_state_test.c. */
_Static_assert(sizeof(struct wasi_ctx) == 64 && sizeof(struct wasi_fd) == 40,
               "a new field of WASI's state");
_Static_assert(sizeof(struct saved_state) == 40 && sizeof(struct saved_fd) == 24,
               "the saved state is part of image files: another STATE_VERSION");

/* Saved bytes. */
struct reader {
    struct saved_state state;
    const uint8_t *rows;
    size_t rows_bytes;
};

void wasi_state_save(const struct wasi_ctx *ctx, struct buf *buf) {
    struct wasi_ctx now = *ctx; /* asking the time is a change */
    struct saved_state saved = {.version = STATE_VERSION,
                                .is_seeded = ctx->config->random_seed != 0,
                                .random_state = ctx->random_state};
    for (uint32_t i = 0; i < ctx->fds.count; i++)
        saved.fds_count += wasi_fds_at(&ctx->fds, i) != NULL;
    (void)wasi_clock_now(&now, WASI_CLOCK_MONOTONIC, &saved.monotonic_ns);
    (void)wasi_clock_now(&now, WASI_CLOCK_PROCESS_CPUTIME, &saved.cpu_ns);
    buf_append(buf, &saved, sizeof saved);
    for (uint32_t i = 0; i < ctx->fds.count; i++) {
        const struct wasi_fd *fd = wasi_fds_at(&ctx->fds, i);
        if (fd == NULL)
            continue;
        const struct saved_fd row = {.number = i,
                                     .kind = SAVED_STREAM,
                                     .flags = fd->flags,
                                     .stream = fd->stream,
                                     .kept = fd->kept};
        buf_append(buf, &row, sizeof row);
    }
}

/* ---- Reading ---- */

/* false: too short for its version. An unknown version is read as far as its number. */
static bool reader_init(struct reader *reader, const uint8_t *bytes, size_t count) {
    uint32_t version = 0;
    if (count < sizeof version)
        return false;
    memcpy(&version, bytes, sizeof version);
    *reader = (struct reader){.state.version = version};
    if (version != STATE_VERSION)
        return true;
    if (count < sizeof reader->state)
        return false;
    memcpy(&reader->state, bytes, sizeof reader->state);
    reader->rows = bytes + sizeof reader->state;
    reader->rows_bytes = count - sizeof reader->state;
    return true;
}

/* false: there is no row of this index. */
static bool reader_row(const struct reader *reader, uint32_t idx, struct saved_fd *ret_row) {
    if (idx >= reader->rows_bytes / sizeof *ret_row)
        return false;
    memcpy(ret_row, reader->rows + (size_t)idx * sizeof *ret_row, sizeof *ret_row);
    return true;
}

static int damaged(struct husk_error *err, const char *what, uint64_t value) {
    return error_set(err, HUSK_E_BAD_IMAGE,
                     "the snapshot's WASI state is damaged: %s (%" PRIu64 ")", what, value);
}

/* ret_numbers: all are below. */
static int check_fds(const struct reader *reader, uint32_t *ret_numbers, struct husk_error *err) {
    uint32_t numbers = 0;
    struct saved_fd fd;
    for (uint32_t i = 0; i < reader->state.fds_count; i++) {
        if (!reader_row(reader, i, &fd))
            return damaged(err, "it ends within its descriptors", i);
        if (fd.kind != SAVED_STREAM)
            return error_set(err, HUSK_E_IMAGE_VERSION,
                             "the snapshot's WASI descriptor %u is of kind %u, which this husk "
                             "does not know" ADVICE,
                             fd.number, fd.kind);
        if (fd.number < numbers || fd.number >= WASI_FDS_MAX)
            return damaged(err, "descriptors out of order, or too many", fd.number);
        if (fd.stream >= WASI_STREAMS || (fd.flags & ~WASI_FDFLAG_NONBLOCK) != 0 ||
            fd.body_bytes != 0)
            return damaged(err, "stream, flags or size of a descriptor", fd.number);
        numbers = fd.number + 1;
    }
    if (reader->rows_bytes != reader->state.fds_count * sizeof fd)
        return damaged(err, "it goes on behind its descriptors", reader->rows_bytes);
    *ret_numbers = numbers;
    return 0;
}

static int check_state(const struct saved_state *state, struct husk_error *err) {
    if (state->version != STATE_VERSION || state->is_seeded > 1)
        return error_set(
            err, HUSK_E_IMAGE_VERSION,
            "the snapshot's WASI state has version %u; this husk reads version %u" ADVICE,
            state->version, STATE_VERSION);
    if (state->pad != 0)
        return damaged(err, "padding", state->pad);
    if ((state->monotonic_ns | state->cpu_ns) >> 63 != 0)
        return damaged(err, "its clocks run for 292 years", state->monotonic_ns | state->cpu_ns);
    return 0;
}

int wasi_state_check(struct wasi_ctx *ctx, const uint8_t *bytes, size_t count,
                     struct husk_error *err) {
    struct reader reader;
    uint32_t numbers = 0;
    if (bytes == NULL)
        return 0;
    if (!reader_init(&reader, bytes, count))
        return damaged(err, "it has another size", count);
    int status = check_state(&reader.state, err);
    if (status == 0)
        status = check_fds(&reader, &numbers, err);
    if (status == 0 && wasi_fds_reserve(&ctx->fds, numbers) != 0)
        status = error_set(err, HUSK_E_NOMEM, "no memory for %u descriptors", numbers);
    return status;
}

/* Rights are those of the stream that is given now, and never more than were left. */
static void load_fd(struct wasi_ctx *ctx, const struct saved_fd *saved) {
    struct wasi_fd fd = ctx->config->streams[saved->stream];
    if (fd.ops == NULL)
        return;
    fd.flags = saved->flags;
    fd.kept = saved->kept;
    fd.rights &= saved->kept;
    wasi_fds_put(&ctx->fds, saved->number, &fd);
}

void wasi_state_load(struct wasi_ctx *ctx, const uint8_t *bytes, size_t count) {
    struct reader reader;
    struct saved_fd fd;
    wasi_ctx_reset(ctx);
    if (bytes == NULL || !reader_init(&reader, bytes, count))
        return;
    wasi_fds_clear(&ctx->fds);
    for (uint32_t i = 0; reader_row(&reader, i, &fd); i++)
        load_fd(ctx, &fd);
    if (reader.state.is_seeded && ctx->config->random_seed != 0)
        ctx->random_state = reader.state.random_state;
    /* Goes on where it was; unsigned, as the subtraction when it is read. */
    ctx->monotonic_base_ns -= reader.state.monotonic_ns;
    ctx->cpu_total_ns = reader.state.cpu_ns;
}
