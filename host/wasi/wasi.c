/*
 * host/wasi/wasi.c: WASI's configuration (shared) and context (per sandbox).
 */
#include "wasi.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "error.h"
#include "options.h"
#include "wasi_abi.h"
#include "wasi_dir.h"
#include "wasi_state.h"

/* ---- Configuration ---- */

static void config_free(struct wasi_config *config) {
    wasi_dirs_done(config);
    wasi_listeners_done(config);
    wasi_given_done(&config->start);
    free(config);
}

/* A descriptor without rights is most likely a forgotten right. */
static int stream_check(const char *name, int fd, uint32_t rights, struct husk_error *err) {
    const uint32_t way = HUSK_WASI_READ | HUSK_WASI_WRITE, more = HUSK_WASI_SEEK | HUSK_WASI_RESIZE;
    if ((rights & ~(way | more)) != 0)
        return error_set(err, HUSK_E_INVAL,
                         "husk_wasi_options.%s_rights is 0x%x; only HUSK_WASI_… are possible", name,
                         rights);
    if (rights == 0 ? fd > 0 : (rights & way) == 0)
        return error_set(err, HUSK_E_INVAL,
                         "husk_wasi_options.%s_fd is %d, but %s_rights has neither HUSK_WASI_READ "
                         "nor HUSK_WASI_WRITE",
                         name, fd, name);
    return 0;
}

static int streams_check(const struct husk_wasi_options *options, struct husk_error *err) {
    int status = stream_check("stdin", options->stdin_fd, options->stdin_rights, err);
    if (status == 0)
        status = stream_check("stdout", options->stdout_fd, options->stdout_rights, err);
    if (status == 0)
        status = stream_check("stderr", options->stderr_fd, options->stderr_rights, err);
    return status;
}

static struct husk_wasi_stream stream_of(int fd, uint32_t rights) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = rights != 0 ? HUSK_WASI_DESCRIPTOR : HUSK_WASI_CLOSED;
    stream.fd = rights != 0 ? fd : 0;
    stream.rights = rights;
    return stream;
}

/* The fields of the options, as a request that has every part. */
static int start_init(struct wasi_given *start, const struct husk_wasi_options *options,
                      struct husk_error *err) {
    static const char *const no_strings[1] = {NULL};
    const struct husk_wasi_stream streams[WASI_STREAMS] = {
        stream_of(options->stdin_fd, options->stdin_rights),
        stream_of(options->stdout_fd, options->stdout_rights),
        stream_of(options->stderr_fd, options->stderr_rights)};
    const struct husk_wasi_clock host_clock = HUSK_WASI_CLOCK_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    request.stdin_stream = &streams[0];
    request.stdout_stream = &streams[1];
    request.stderr_stream = &streams[2];
    request.args = options->args_count > 0 ? options->args : no_strings;
    request.args_count = options->args_count;
    request.env = options->env_count > 0 ? options->env : no_strings;
    request.env_count = options->env_count;
    request.clock = &host_clock;
    request.random_seed = &options->random_seed;
    struct wasi_given all;
    int status = wasi_given_init(&all, &request, err);
    if (status == 0)
        wasi_given_take(start, &all);
    return status;
}

int wasi_config_new(const struct husk_wasi_options *given, struct wasi_config **ret_config,
                    struct husk_error *err) {
    struct husk_wasi_options options;
    struct wasi_given request;
    int status = wasi_options_read(given, &options, err);
    if (status == 0)
        status = streams_check(&options, err);
    if (status != 0)
        return status;
    struct wasi_config *config = calloc(1, sizeof *config);
    if (config == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory for the WASI configuration");
    status = start_init(&config->start, &options, err);
    if (status == 0)
        status = wasi_dirs_init(config, &options, err);
    if (status == 0)
        status = wasi_listeners_init(config, &options, err);
    if (status == 0)
        status = wasi_given_init(&request, options.request, err);
    if (status != 0) {
        config_free(config);
        return status;
    }
    wasi_given_take(&config->start, &request);
    config->refs = 1;
    *ret_config = config;
    return 0;
}

struct wasi_config *wasi_config_ref(struct wasi_config *config) {
    __atomic_add_fetch(&config->refs, 1, __ATOMIC_RELAXED);
    return config;
}

void wasi_config_unref(struct wasi_config *config) {
    if (config != NULL && __atomic_sub_fetch(&config->refs, 1, __ATOMIC_ACQ_REL) == 0)
        config_free(config);
}

/* ---- Context ---- */

int wasi_ctx_init(struct wasi_ctx *ctx, struct wasi_config *config, struct husk_error *err) {
    memset(ctx, 0, sizeof *ctx);
    ctx->fds.limit = ctx->ahead.limit = config->open_max;
    const uint32_t count = WASI_STREAMS + config->dirs_count + config->listeners_count;
    if (wasi_fds_reserve(&ctx->fds, count) != 0 || wasi_fds_reserve(&ctx->ahead, count) != 0) {
        wasi_fds_done(&ctx->fds);
        wasi_fds_done(&ctx->ahead);
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox's descriptors");
    }
    ctx->config = wasi_config_ref(config);
    wasi_given_borrow(&ctx->given, &config->start);
    wasi_ctx_reset(ctx);
    return 0;
}

void wasi_ctx_reset(struct wasi_ctx *ctx) {
    wasi_fds_clear(&ctx->fds);
    for (uint32_t i = 0; i < WASI_STREAMS; i++)
        wasi_fds_put(&ctx->fds, i, &ctx->given.streams[i].fd);
    for (uint32_t i = 0; i < ctx->config->dirs_count; i++)
        wasi_fds_put(&ctx->fds, WASI_STREAMS + i, &ctx->config->dirs[i].preopen);
    for (uint32_t i = 0; i < ctx->config->listeners_count; i++)
        wasi_fds_put(&ctx->fds, WASI_STREAMS + ctx->config->dirs_count + i,
                     &ctx->config->listeners[i]);
    wasi_ctx_restart(ctx);
}

void wasi_ctx_restart(struct wasi_ctx *ctx) {
    wasi_privlist_forget(ctx);
    ctx->owes_sweep = true;
    ctx->random_state = ctx->given.random_seed;
    wasi_clock_begin(ctx, 0, 0);
}

/* The stream that is given now, under a number of the old one. Never more rights than were left. */
static void replace_stream(struct wasi_ctx *ctx, uint32_t number) {
    const struct wasi_fd old = wasi_fds_take(&ctx->fds, number);
    struct wasi_fd fd = ctx->given.streams[old.stream].fd;
    fd.flags = old.flags;
    wasi_fd_keep(&fd, old.kept, old.kept_inheriting);
    wasi_fds_put(&ctx->fds, number, &fd);
}

void wasi_ctx_give(struct wasi_ctx *ctx, struct wasi_given *from) {
    const uint32_t parts = from->parts;
    uint64_t monotonic_ns = 0, cpu_ns = 0;
    (void)wasi_clock_now(ctx, WASI_CLOCK_MONOTONIC, &monotonic_ns);
    (void)wasi_clock_now(ctx, WASI_CLOCK_PROCESS_CPUTIME, &cpu_ns);
    wasi_given_take(&ctx->given, from);
    if ((parts & WASI_PART_CLOCK) != 0)
        wasi_clock_begin(ctx, monotonic_ns, cpu_ns);
    if ((parts & WASI_PART_SEED) != 0)
        ctx->random_state = ctx->given.random_seed;
    for (uint32_t i = 0; i < ctx->fds.count; i++) {
        const struct wasi_fd *fd = &ctx->fds.rows[i];
        if (fd->ops != NULL && fd->ops->saved_kind == WASI_SAVED_STREAM &&
            (parts & 1u << fd->stream) != 0)
            replace_stream(ctx, i);
    }
}

/* The kernel's random numbers may not be there yet on a machine that has just been started; then
 * the time and the context's address have to do, and a restore opens again what need not be. */
void wasi_ctx_serial(struct wasi_ctx *ctx, struct wasi_fd *fd) {
    if (ctx->serial[0] == 0 && getrandom(&ctx->serial[0], sizeof ctx->serial[0], GRND_NONBLOCK) < 0)
        ctx->serial[0] = clock_ns(CLOCK_REALTIME) ^ (uint64_t)(uintptr_t)ctx << 16;
    ctx->serial[0] |= 1; /* never 0 */
    ctx->serial[1]++;
    memcpy(fd->serial, ctx->serial, sizeof fd->serial);
}

void wasi_ctx_done(struct wasi_ctx *ctx) {
    wasi_fds_done(&ctx->fds);
    wasi_fds_done(&ctx->ahead);
    wasi_privlist_forget(ctx);
    wasi_given_done(&ctx->given);
    wasi_config_unref(ctx->config);
    ctx->config = NULL;
}
