/*
 * host/wasi/wasi_state.c: saves the part of a sandbox's WASI state that goes into a snapshot: the
 * open descriptors with their numbers, flags, rights and positions, a seeded generator's position,
 * and the clocks that belong to the instance. A snapshot does not save arguments, environment, the
 * streams themselves and the directories of the host. They belong to the embedder and come with the
 * set of imports with which the snapshot is loaded.
 *
 * The bytes are a struct saved_state and its rows (wasi_state.h), little-endian like the host,
 * because images are for x86-64. Version 2 knew streams only, and its rows are shorter. (Only
 * images of format 1 had version 1, and they are refused.)
 */
#include "wasi_state.h"

#include <inttypes.h>
#include <string.h>

#include "buf.h"
#include "error.h"
#include "wasi_abi.h"
#include "wasi_dir.h"

#define STATE_VERSION 3u
#define STATE_VERSION_STREAMS 2u
#define ADVICE "; use the husk that took it, or take it again with this one"
#define FLAGS_SETTABLE (WASI_FDFLAG_NONBLOCK | WASI_FDFLAG_APPEND)

struct saved_state {
    uint32_t version, is_seeded;
    uint32_t fds_count; /* struct wasi_saved_fd, by ascending number; what has none is closed */
    /* Of the set: directories and listeners that a later set has more are opened. Version 2: 0. */
    uint16_t dirs_count, listeners_count;
    uint64_t random_state, monotonic_ns, cpu_ns;
};

#define ROW_BYTES_STREAMS offsetof(struct wasi_saved_fd, kept_inheriting) /* in version 2 */

/* A new field of the state: can the guest see it? Then it is saved (in a new version), checked,
 * brought back by wasi_state_load(), made fresh by wasi_ctx_reset(), and in
 * tests/unit/wasi_state_test.c. */
_Static_assert(sizeof(struct wasi_ctx) == sizeof(struct wasi_given) + 152 &&
                   sizeof(struct wasi_fd) == 104,
               "a new field of WASI's state");
_Static_assert(sizeof(struct saved_state) == 40 && sizeof(struct wasi_saved_fd) == 56 &&
                   ROW_BYTES_STREAMS == 24,
               "the saved state is part of image files: another STATE_VERSION");

/* Saved bytes. */
struct reader {
    struct saved_state state;
    const uint8_t *at;
    size_t left;
};

/* ---- Saving ---- */

static bool is_opened(const struct wasi_fd *fd) {
    return fd->serial[0] != 0;
}

static int save_fd(const struct wasi_ctx *ctx, uint32_t number, struct buf *buf,
                   struct husk_error *err) {
    const struct wasi_fd *fd = &ctx->fds.rows[number]; /* may be vacant */
    const uint16_t kind = fd->is_preopen ? WASI_SAVED_PREOPEN : fd->ops->saved_kind;
    const bool has_position = fd->ops->position != NULL;
    const size_t at = buf->count;
    struct wasi_saved_fd row = {.number = number,
                                .kind = kind,
                                .flags = fd->flags,
                                .idx = kind == WASI_SAVED_STREAM ? fd->stream : fd->dir,
                                .kept = fd->kept,
                                .kept_inheriting = fd->kept_inheriting,
                                .serial = {fd->serial[0], fd->serial[1]},
                                .position = has_position ? fd->ops->position(fd) : 0};
    buf_append(buf, &row, sizeof row);
    const int status =
        fd->ops->save != NULL && !fd->is_preopen ? fd->ops->save(ctx, fd, buf, err) : 0;
    if (status != 0)
        return error_while(err, status, "saving WASI's descriptor %u", number);
    if (buf->failed)
        return 0;
    row.body_bytes = (uint32_t)(buf->count - at - sizeof row);
    memcpy(buf->data + at, &row, sizeof row);
    /* Not buf_align(): rows need not begin at a multiple of 8 of the whole. */
    buf_append_zeros(buf, -row.body_bytes % 8);
    return 0;
}

int wasi_state_save(const struct wasi_ctx *ctx, struct buf *buf, struct husk_error *err) {
    struct wasi_ctx now = *ctx; /* asking the time is a change */
    struct saved_state saved = {.version = STATE_VERSION,
                                .is_seeded = ctx->given.random_seed != 0,
                                .dirs_count = (uint16_t)ctx->config->dirs_count,
                                .listeners_count = (uint16_t)ctx->config->listeners_count,
                                .random_state = ctx->random_state};
    int status = 0;
    for (uint32_t i = 0; i < ctx->fds.count; i++)
        saved.fds_count += ctx->fds.rows[i].ops != NULL; /* vacant ones, too */
    (void)wasi_clock_now(&now, WASI_CLOCK_MONOTONIC, &saved.monotonic_ns);
    (void)wasi_clock_now(&now, WASI_CLOCK_PROCESS_CPUTIME, &saved.cpu_ns);
    buf_append(buf, &saved, sizeof saved);
    for (uint32_t i = 0; i < ctx->fds.count && status == 0; i++)
        if (ctx->fds.rows[i].ops != NULL)
            status = save_fd(ctx, i, buf, err);
    return status;
}

/* ---- Reading ---- */

/* false: too short for its version. An unknown version is read as far as its number. */
static bool reader_init(struct reader *reader, const uint8_t *bytes, size_t count) {
    uint32_t version = 0;
    if (count < sizeof version)
        return false;
    memcpy(&version, bytes, sizeof version);
    *reader = (struct reader){.state.version = version};
    if (version != STATE_VERSION && version != STATE_VERSION_STREAMS)
        return true;
    if (count < sizeof reader->state)
        return false;
    memcpy(&reader->state, bytes, sizeof reader->state);
    reader->at = bytes + sizeof reader->state;
    reader->left = count - sizeof reader->state;
    return true;
}

/* The next row. false: the bytes end within it. */
static bool reader_row(struct reader *reader, struct wasi_saved_fd *ret_row,
                       const uint8_t **ret_body) {
    const size_t bytes =
        reader->state.version == STATE_VERSION ? sizeof *ret_row : ROW_BYTES_STREAMS;
    if (reader->left < bytes)
        return false;
    *ret_row = (struct wasi_saved_fd){.kept_inheriting = UINT64_MAX};
    memcpy(ret_row, reader->at, bytes);
    const size_t body = ((size_t)ret_row->body_bytes + 7) / 8 * 8;
    const bool has_body = reader->state.version == STATE_VERSION;
    if (has_body && reader->left - bytes < body)
        return false;
    *ret_body = reader->at + bytes;
    reader->at += bytes + (has_body ? body : 0);
    reader->left -= bytes + (has_body ? body : 0);
    return true;
}

/* ---- Checking, and opening ahead ---- */

static int check_stream(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *body,
                        struct wasi_fd *ret_fd, struct husk_error *err) {
    (void)body;
    if (row->idx >= WASI_STREAMS || (row->flags & ~WASI_FDFLAG_NONBLOCK) != 0 ||
        row->body_bytes != 0)
        return wasi_state_damaged(err, "stream, flags or size of a descriptor", row->number);
    *ret_fd = ctx->given.streams[row->idx].fd;
    ret_fd->flags = row->flags;
    return 0;
}

static int check_preopen(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *body,
                         struct wasi_fd *ret_fd, struct husk_error *err) {
    (void)body;
    if ((row->flags & ~WASI_FDFLAG_NONBLOCK) != 0 || row->body_bytes != 0)
        return wasi_state_damaged(err, "flags or size of a descriptor", row->number);
    if (row->idx >= ctx->config->dirs_count)
        return 0;
    *ret_fd = ctx->config->dirs[row->idx].preopen;
    ret_fd->flags = row->flags;
    return 0;
}

static const wasi_saved_check_fn checks[] = {[WASI_SAVED_STREAM] = check_stream,
                                             [WASI_SAVED_HOST] = wasi_hostfile_check,
                                             [WASI_SAVED_PRIVATE] = wasi_privfile_check,
                                             [WASI_SAVED_LISTENER] = wasi_listener_check,
                                             [WASI_SAVED_PREOPEN] = check_preopen};

static wasi_saved_check_fn check_of(const struct reader *reader, uint32_t kind) {
    if (reader->state.version == STATE_VERSION_STREAMS && kind != WASI_SAVED_STREAM)
        return NULL;
    return kind < sizeof checks / sizeof checks[0] ? checks[kind] : NULL;
}

/* Is it the same open file, in the same sandbox? */
static bool is_still_open(const struct wasi_ctx *ctx, const struct wasi_saved_fd *row,
                          const uint8_t *body) {
    const struct wasi_fd *fd = wasi_fds_at(&ctx->fds, row->number);
    return fd != NULL && is_opened(fd) && memcmp(fd->serial, row->serial, sizeof fd->serial) == 0 &&
           fd->dir == row->idx && fd->ops->saved_kind == row->kind &&
           (fd->ops->is_as_saved == NULL || fd->ops->is_as_saved(fd, body, row->body_bytes));
}

static int open_ahead(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *body,
                      wasi_saved_check_fn check, struct husk_error *err) {
    struct wasi_fd fd = {0};
    const int status = check(ctx, row, body, &fd, err);
    if (status != 0 || fd.ops == NULL)
        return status;
    wasi_fd_keep(&fd, row->kept, row->kept_inheriting);
    if (row->kind == WASI_SAVED_HOST || row->kind == WASI_SAVED_PRIVATE)
        memcpy(fd.serial, row->serial, sizeof fd.serial);
    wasi_fds_put(&ctx->ahead, row->number, &fd);
    return 0;
}

/* least: the number that comes next, or a later one. */
static int check_row(const struct wasi_ctx *ctx, const struct wasi_saved_fd *row, uint32_t least,
                     struct husk_error *err) {
    if (row->number < least || row->number >= WASI_FDS_MAX)
        return wasi_state_damaged(err, "descriptors out of order, or too many", row->number);
    if (row->position > INT64_MAX)
        return wasi_state_damaged(err, "position of a descriptor", row->number);
    if (row->number >= ctx->config->open_max)
        return error_set(err, HUSK_E_LIMIT,
                         "the snapshot has WASI descriptor %u; open_max %u is "
                         "too few for it",
                         row->number, ctx->config->open_max);
    return 0;
}

static int check_fds(struct wasi_ctx *ctx, struct reader *reader, struct husk_error *err) {
    uint32_t numbers = 0;
    struct wasi_saved_fd row;
    const uint8_t *body = NULL;
    int status = 0;
    for (uint32_t i = 0; i < reader->state.fds_count && status == 0; i++) {
        if (!reader_row(reader, &row, &body))
            return wasi_state_damaged(err, "it ends within its descriptors", i);
        const wasi_saved_check_fn check = check_of(reader, row.kind);
        if (check == NULL)
            return error_set(err, HUSK_E_IMAGE_VERSION,
                             "the snapshot's WASI descriptor %u is of kind %u, which this husk "
                             "does not know" ADVICE,
                             row.number, row.kind);
        status = check_row(ctx, &row, numbers, err);
        if (status != 0)
            return status;
        numbers = row.number + 1;
        if (wasi_fds_reserve(&ctx->ahead, numbers) != 0)
            return error_set(err, HUSK_E_NOMEM, "no memory for %u descriptors", numbers);
        if (!is_still_open(ctx, &row, body))
            status = open_ahead(ctx, &row, body, check, err);
    }
    if (status == 0 && reader->left != 0)
        return wasi_state_damaged(err, "it goes on behind its descriptors", reader->left);
    return status;
}

static int check_state(const struct saved_state *state, struct husk_error *err) {
    if ((state->version != STATE_VERSION && state->version != STATE_VERSION_STREAMS) ||
        state->is_seeded > 1)
        return error_set(
            err, HUSK_E_IMAGE_VERSION,
            "the snapshot's WASI state has version %u; this husk reads versions %u and %u" ADVICE,
            state->version, STATE_VERSION_STREAMS, STATE_VERSION);
    if (state->version == STATE_VERSION_STREAMS &&
        (state->dirs_count | state->listeners_count) != 0)
        return wasi_state_damaged(err, "padding", state->dirs_count | state->listeners_count);
    if ((state->monotonic_ns | state->cpu_ns) >> 63 != 0)
        return wasi_state_damaged(err, "its clocks run for 292 years",
                                  state->monotonic_ns | state->cpu_ns);
    return 0;
}

/* Room for what wasi_ctx_reset() and load_new_preopens() put into either table. */
static int reserve_ahead(struct wasi_ctx *ctx, struct husk_error *err) {
    uint32_t count = ctx->ahead.count > WASI_STREAMS ? ctx->ahead.count : WASI_STREAMS;
    count += ctx->config->dirs_count + ctx->config->listeners_count;
    if (count > ctx->config->open_max)
        count = ctx->config->open_max;
    if (wasi_fds_reserve(&ctx->ahead, count) != 0)
        return error_set(err, HUSK_E_NOMEM, "no memory for %u descriptors", count);
    return 0;
}

int wasi_state_check(struct wasi_ctx *ctx, const uint8_t *bytes, size_t count,
                     struct husk_error *err) {
    struct reader reader;
    wasi_fds_clear(&ctx->ahead);
    if (bytes == NULL)
        return 0;
    if (!reader_init(&reader, bytes, count))
        return wasi_state_damaged(err, "it has another size", count);
    int status = check_state(&reader.state, err);
    if (status == 0)
        status = check_fds(ctx, &reader, err);
    if (status == 0)
        status = reserve_ahead(ctx, err);
    if (status != 0)
        wasi_fds_clear(&ctx->ahead);
    return status;
}

/* ---- Loading ---- */

/* The guest may have moved about in it since, and given up rights. */
static void load_open(struct wasi_ctx *ctx, const struct wasi_saved_fd *row) {
    struct wasi_fd fd = wasi_fds_take(&ctx->fds, row->number);
    const uint16_t flags = (uint16_t)((fd.flags & ~FLAGS_SETTABLE) | (row->flags & FLAGS_SETTABLE));
    if (flags != fd.flags && fd.ops->set_flags != NULL)
        (void)fd.ops->set_flags(&fd, flags);
    fd.flags = flags;
    wasi_fd_keep(&fd, row->kept, row->kept_inheriting);
    if (fd.ops->set_position != NULL)
        fd.ops->set_position(&fd, row->position);
    wasi_fds_put(&ctx->ahead, row->number, &fd);
}

static void load_new(struct wasi_ctx *ctx, const struct wasi_fd *fd) {
    uint32_t number = WASI_STREAMS;
    while (wasi_fds_at(&ctx->fds, number) != NULL)
        number++;
    if (number < ctx->fds.capacity && number < ctx->config->open_max)
        wasi_fds_put(&ctx->fds, number, fd);
}

/* Directories and listeners that the set has now and did not have then get free numbers behind the
 * streams. */
static void load_new_preopens(struct wasi_ctx *ctx, const struct saved_state *saved) {
    const struct wasi_config *config = ctx->config;
    for (uint32_t i = saved->dirs_count; i < config->dirs_count; i++)
        load_new(ctx, &config->dirs[i].preopen);
    for (uint32_t i = saved->listeners_count; i < config->listeners_count; i++)
        load_new(ctx, &config->listeners[i]);
}

void wasi_state_load(struct wasi_ctx *ctx, const uint8_t *bytes, size_t count) {
    struct reader reader;
    struct wasi_saved_fd row;
    const uint8_t *body = NULL;
    if (bytes == NULL || !reader_init(&reader, bytes, count)) {
        wasi_ctx_reset(ctx);
        return;
    }
    for (uint32_t i = 0; i < reader.state.fds_count && reader_row(&reader, &row, &body); i++)
        if (is_still_open(ctx, &row, body))
            load_open(ctx, &row);
    const struct wasi_fds before = ctx->fds;
    ctx->fds = ctx->ahead;
    ctx->ahead = before;
    wasi_fds_clear(&ctx->ahead);
    load_new_preopens(ctx, &reader.state);
    wasi_ctx_restart(ctx);
    /* A seed that was given to this sandbox begins its sequence now. */
    if (reader.state.is_seeded && ctx->given.random_seed != 0 &&
        (ctx->given.parts & WASI_PART_SEED) == 0)
        ctx->random_state = reader.state.random_state;
    wasi_clock_begin(ctx, reader.state.monotonic_ns, reader.state.cpu_ns);
}
