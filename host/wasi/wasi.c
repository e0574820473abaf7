/*
 * host/wasi/wasi.c: WASI's configuration (shared), context (per sandbox) and the table from names
 * to handlers.
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

/* ---- Configuration ---- */

static void strings_done(struct wasi_strings *strings) {
    free(strings->bytes);
    free(strings->offsets);
}

static int strings_size(const char *const *list, size_t count, const char *what, size_t *ret_bytes,
                        struct husk_error *err) {
    size_t total = 0;
    if (count > WASI_STRINGS_MAX_COUNT)
        return error_set(err, HUSK_E_LIMIT, "%zu %s strings; at most %u are possible", count, what,
                         WASI_STRINGS_MAX_COUNT);
    for (size_t i = 0; i < count; i++) {
        if (list[i] == NULL)
            return error_set(err, HUSK_E_INVAL, "%s string %zu is NULL", what, i);
        total += strlen(list[i]) + 1;
        if (total > WASI_STRINGS_MAX_BYTES)
            return error_set(err, HUSK_E_LIMIT, "the %s strings are longer than %u bytes together",
                             what, WASI_STRINGS_MAX_BYTES);
    }
    *ret_bytes = total;
    return 0;
}

static int strings_init(struct wasi_strings *strings, const char *const *list, size_t count,
                        const char *what, struct husk_error *err) {
    size_t bytes = 0, at = 0;
    if (count > 0 && list == NULL)
        return error_set(err, HUSK_E_INVAL, "%zu %s strings, but no array", count, what);
    int status = strings_size(list, count, what, &bytes, err);
    if (status != 0)
        return status;
    strings->bytes = malloc(bytes + 1); /* never zero bytes */
    strings->offsets = malloc((count + 1) * sizeof *strings->offsets);
    if (strings->bytes == NULL || strings->offsets == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory for the %s", what);
    for (size_t i = 0; i < count; i++) {
        size_t string_bytes = strlen(list[i]) + 1;
        memcpy(strings->bytes + at, list[i], string_bytes);
        strings->offsets[i] = (uint32_t)at;
        at += string_bytes;
    }
    strings->bytes_count = (uint32_t)bytes;
    strings->count = (uint32_t)count;
    return 0;
}

static void config_free(struct wasi_config *config) {
    wasi_dirs_done(config);
    wasi_listeners_done(config);
    strings_done(&config->args);
    strings_done(&config->env);
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

int wasi_config_new(const struct husk_wasi_options *given, struct wasi_config **ret_config,
                    struct husk_error *err) {
    struct husk_wasi_options options;
    int status = wasi_options_read(given, &options, err);
    if (status != 0)
        return status;
    const struct {
        const char *name;
        int fd;
        uint32_t rights;
    } streams[] = {{"stdin", options.stdin_fd, options.stdin_rights},
                   {"stdout", options.stdout_fd, options.stdout_rights},
                   {"stderr", options.stderr_fd, options.stderr_rights}};
    for (size_t i = 0; status == 0 && i < 3; i++)
        status = stream_check(streams[i].name, streams[i].fd, streams[i].rights, err);
    if (status != 0)
        return status;
    struct wasi_config *config = calloc(1, sizeof *config);
    if (config == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory for the WASI configuration");
    status = strings_init(&config->args, options.args, options.args_count, "argument", err);
    if (status == 0)
        status = strings_init(&config->env, options.env, options.env_count, "environment", err);
    if (status == 0)
        status = wasi_dirs_init(config, &options, err);
    if (status == 0)
        status = wasi_listeners_init(config, &options, err);
    if (status != 0) {
        config_free(config);
        return status;
    }
    config->refs = 1;
    for (uint8_t i = 0; i < 3; i++)
        wasi_host_fd_init(&config->streams[i], i, streams[i].fd, streams[i].rights);
    config->random_seed = options.random_seed;
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
    if (wasi_fds_reserve(&ctx->fds, WASI_STREAMS + config->dirs_count + config->listeners_count) !=
        0)
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox's descriptors");
    ctx->config = wasi_config_ref(config);
    wasi_ctx_reset(ctx);
    return 0;
}

void wasi_ctx_reset(struct wasi_ctx *ctx) {
    wasi_fds_clear(&ctx->fds);
    for (uint32_t i = 0; i < WASI_STREAMS; i++)
        if (ctx->config->streams[i].ops != NULL)
            wasi_fds_put(&ctx->fds, i, &ctx->config->streams[i]);
    for (uint32_t i = 0; i < ctx->config->dirs_count; i++)
        wasi_fds_put(&ctx->fds, WASI_STREAMS + i, &ctx->config->dirs[i].preopen);
    for (uint32_t i = 0; i < ctx->config->listeners_count; i++)
        wasi_fds_put(&ctx->fds, WASI_STREAMS + ctx->config->dirs_count + i,
                     &ctx->config->listeners[i]);
    wasi_ctx_restart(ctx);
}

void wasi_ctx_restart(struct wasi_ctx *ctx) {
    wasi_privlist_forget(ctx);
    ctx->random_state = ctx->config->random_seed;
    ctx->monotonic_base_ns = clock_ns(CLOCK_MONOTONIC);
    ctx->cpu_total_ns = ctx->cpu_last_ns = 0;
    ctx->cpu_last_tid = 0;
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
    wasi_config_unref(ctx->config);
    ctx->config = NULL;
}

/* ---- Functions ---- */

const struct wasi_func wasi_funcs[WASI_FUNCS_COUNT] = {
#define WASI_FUNC(name, params, has_result, in_unstable)                                           \
    [WASI_ID_##name] = {#name, params, has_result, in_unstable, wasi_##name},
#include "wasi.def"
#undef WASI_FUNC
};

uint16_t wasi_dispatch(struct wasi_call *call, uint32_t func_id) {
    if (func_id >= WASI_FUNCS_COUNT)
        return WASI_ENOSYS;
    return wasi_funcs[func_id].handler(call);
}
