/*
 * host/wasi/wasi_imports.c: connects WASI's handlers (wasi.h) to sandboxes: husk_imports_wasi()
 * defines the functions as one group (imports.h). The group's state in each sandbox is a struct
 * wasi_ctx. Each call goes to wasi_dispatch() with access to guest memory.
 */
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "error.h"
#include "imports.h"
#include "options.h"
#include "privfs.h"
#include "sandbox_internal.h"
#include "wasi_abi.h"
#include "wasi_dir.h"

#define PARAMS_MAX 9 /* path_open */

/* ---- What handlers need of the sandbox (struct wasi_host_ops; host is the caller) ---- */

static const void *host_view(void *host, uint32_t addr, uint64_t count) {
    const husk_caller *caller = host;
    uint8_t *span = NULL;
    return sandbox_span(caller->sandbox, caller->memory_idx, addr, count, &span, NULL) == 0 ? span
                                                                                            : NULL;
}

static void *host_span(void *host, uint32_t addr, uint64_t count) {
    husk_caller *caller = host;
    uint8_t *span = NULL;
    if (sandbox_span(caller->sandbox, caller->memory_idx, addr, count, &span, NULL) != 0)
        return NULL;
    hotset_host_writes(&caller->sandbox->machine->hotset, span, count);
    return span;
}

static bool host_is_cut(void *host) {
    return sandbox_ask_and_is_cut(((husk_caller *)host)->sandbox);
}

static long host_syscall(void *host, long number, const long args[6]) {
    return sandbox_syscall(((husk_caller *)host)->sandbox, number, args);
}

static void host_files(void *host, struct privfs *ret_files) {
    if (sandbox_files(((husk_caller *)host)->sandbox, ret_files) != 0)
        *ret_files = (struct privfs){0};
}

static const struct wasi_host_ops sandbox_ops = {.span = host_span,
                                                 .view = host_view,
                                                 .syscall = host_syscall,
                                                 .is_cut = host_is_cut,
                                                 .files = host_files};

/* ---- Calls ---- */

/* A wasi-libc that finds no environment asks for it again in each getenv(): CPython's start does
 * that a hundred times. */
static void note_environment(husk_caller *caller, const struct wasi_ctx *ctx) {
    const struct wasi_strings *env = wasi_ctx_env(ctx);
    caller_note_answer(caller, (uint32_t)env->count, (uint32_t)env->bytes_count);
}

static int call_function(husk_caller *caller, struct wasi_ctx *ctx, uint32_t func_id,
                         bool is_unstable, const struct husk_value *values,
                         struct husk_value *results) {
    const struct wasi_func *func = &wasi_funcs[func_id];
    uint64_t args[PARAMS_MAX] = {0};
    for (size_t i = 0; func->params[i] != '\0'; i++)
        args[i] = func->params[i] == 'i' ? (uint32_t)values[i].of.i32 : (uint64_t)values[i].of.i64;
    struct wasi_call call = {
        .ctx = ctx, .ops = &sandbox_ops, .host = caller, .args = args, .is_unstable = is_unstable};
    uint16_t wasi_err = wasi_dispatch(&call, func_id);
    if (call.status != 0)
        return call.status;
    if (call.is_pending)
        return husk_caller_pending(caller);
    if (call.has_exited)
        return husk_caller_exit(caller, (int32_t)call.exit_code);
    if (func->has_result)
        results[0].of.i32 = wasi_err;
    if (func_id == WASI_ID_environ_sizes_get && wasi_err == WASI_SUCCESS)
        note_environment(caller, ctx);
    return 0;
}

/* One host function per row and module name, for a host function is not told which import called
 * it. */
#define WASI_FUNC(name, params, has_result, in_unstable)                                           \
    static int call_##name(husk_caller *caller, void *user, const struct husk_value *args,         \
                           struct husk_value *results) {                                           \
        return call_function(caller, user, WASI_ID_##name, false, args, results);                  \
    }                                                                                              \
    static int call_unstable_##name(husk_caller *caller, void *user,                               \
                                    const struct husk_value *args, struct husk_value *results) {   \
        return call_function(caller, user, WASI_ID_##name, true, args, results);                   \
    }
#include "wasi.def"
#undef WASI_FUNC

static const husk_host_fn host_fns[WASI_FUNCS_COUNT][2] = {
#define WASI_FUNC(name, params, has_result, in_unstable)                                           \
    [WASI_ID_##name] = {call_##name, call_unstable_##name},
#include "wasi.def"
#undef WASI_FUNC
};

/* ---- Threads (proposal wasi-threads) ---- */

/* A sandbox has one thread. A negative result makes wasi-libc's pthread_create() return EAGAIN. It
 * does not say why, so the log does: once, because a guest may try again and again. */
static int thread_spawn(husk_caller *caller, void *user, const struct husk_value *args,
                        struct husk_value *results) {
    struct wasi_ctx *ctx = user;
    (void)args;
    if (!ctx->was_told_of_threads)
        engine_log(caller->sandbox->engine, HUSK_LOG_WARNING,
                   "the guest tried to start a thread (wasi.thread-spawn). Husk has one thread per "
                   "sandbox, so the guest gets EAGAIN");
    ctx->was_told_of_threads = true;
    results[0].of.i32 = -WASI_EAGAIN;
    return 0;
}

static int define_thread_spawn(husk_imports *imports, struct import_group *group,
                               struct husk_error *err) {
    const husk_type type = HUSK_I32;
    const struct husk_functype functype = {&type, 1, &type, 1};
    const struct import_grouped_func func = {&functype, thread_spawn, group};
    return imports_func_grouped(imports, "wasi", "thread-spawn", &func, err);
}

/* ---- The group ---- */

static int group_state_new(void *shared, void **ret_state, struct husk_error *err) {
    struct wasi_ctx *ctx = malloc(sizeof *ctx);
    if (ctx == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox's WASI state");
    int status = wasi_ctx_init(ctx, shared, err);
    if (status != 0) {
        free(ctx);
        return status;
    }
    *ret_state = ctx;
    return 0;
}

static void group_state_free(void *state) {
    if (state == NULL)
        return;
    wasi_ctx_done(state);
    free(state);
}

static int group_state_save(const void *state, struct buf *buf, struct husk_error *err) {
    return wasi_state_save(state, buf, err);
}

static int group_state_check(void *state, const uint8_t *bytes, size_t count,
                             struct husk_error *err) {
    return wasi_state_check(state, bytes, count, err);
}

static void group_state_load(void *state, const uint8_t *bytes, size_t count) {
    wasi_state_load(state, bytes, count);
}

static uint64_t group_files_bytes(const void *shared) {
    const struct wasi_config *config = shared;
    return wasi_dirs_have_private(config) ? config->private_max_bytes : 0;
}

static void group_shared_free(void *shared) {
    wasi_config_unref(shared);
}

static const struct import_group_ops group_ops = {.name = "wasi",
                                                  .state_new = group_state_new,
                                                  .state_free = group_state_free,
                                                  .state_save = group_state_save,
                                                  .state_check = group_state_check,
                                                  .state_load = group_state_load,
                                                  .files_bytes = group_files_bytes,
                                                  .shared_free = group_shared_free};

static int define_function(husk_imports *imports, struct import_group *group, uint32_t func_id,
                           struct husk_error *err) {
    const struct wasi_func *func = &wasi_funcs[func_id];
    husk_type params[PARAMS_MAX], result = HUSK_I32;
    size_t count = strlen(func->params);
    for (size_t i = 0; i < count; i++)
        params[i] = func->params[i] == 'i' ? HUSK_I32 : HUSK_I64;
    struct husk_functype type = {params, count, &result, func->has_result};
    struct import_grouped_func grouped = {&type, host_fns[func_id][0], group};
    int status = imports_func_grouped(imports, "wasi_snapshot_preview1", func->name, &grouped, err);
    if (status != 0 || !func->in_unstable)
        return status;
    grouped.fn = host_fns[func_id][1];
    return imports_func_grouped(imports, "wasi_unstable", func->name, &grouped, err);
}

static int define_all(husk_imports *imports, struct import_group *group, struct husk_error *err) {
    int status = 0;
    for (uint32_t i = 0; i < WASI_FUNCS_COUNT && status == 0; i++)
        status = define_function(imports, group, i, err);
    return status == 0 ? define_thread_spawn(imports, group, err) : status;
}

/* All of them or none: functions of two groups in one set would be two states in one sandbox, and a
 * snapshot has one of each name. So a second call replaces the whole of the first one's. */
int husk_imports_wasi(husk_imports *imports, const struct husk_wasi_options *options,
                      struct husk_error *err) {
    struct wasi_config *config = NULL;
    struct import_group *group = NULL;
    husk_imports *all = NULL;
    if (imports == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_imports_wasi: imports is NULL");
    int status = wasi_config_new(options, &config, err);
    if (status != 0)
        return status;
    status = import_group_new(&group_ops, config, &group, err);
    if (status != 0) {
        wasi_config_unref(config);
        return status;
    }
    status = imports_new_like(imports, &all, err);
    if (status == 0)
        status = define_all(all, group, err);
    if (status == 0)
        status = imports_move(imports, all, err);
    husk_imports_free(all);
    import_group_unref(group);
    return status;
}

/* ---- What is given for a request (husk_wasi.h) ---- */

static int state_of(const husk_sandbox *sandbox, struct wasi_ctx **ret_ctx,
                    struct husk_error *err) {
    if (sandbox->image == NULL)
        return sandbox_unusable(sandbox, err);
    *ret_ctx = sandbox_group_state(sandbox, &group_ops);
    return *ret_ctx != NULL ? 0
                            : error_set(err, HUSK_E_NOT_FOUND,
                                        "the module in the sandbox imports nothing of WASI");
}

int husk_sandbox_set_wasi(husk_sandbox *sandbox, const struct husk_wasi_request *request,
                          struct husk_error *err) {
    struct wasi_ctx *ctx = NULL;
    struct wasi_given given;
    if (sandbox == NULL || request == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_set_wasi: a NULL argument");
    /* A pending call is not in the middle of a function of WASI: one that awaits input has done
     * nothing. */
    int status = sandbox_check_still(sandbox, "replacing WASI's streams and values", err);
    if (status == 0)
        status = state_of(sandbox, &ctx, err);
    if (status == 0)
        status = wasi_given_init(&given, request, err);
    if (status == 0) {
        wasi_ctx_give(ctx, &given);
        sandbox_forget_answer(sandbox);
    }
    return status;
}

int husk_sandbox_wasi_output(const husk_sandbox *sandbox, uint32_t stream,
                             struct husk_wasi_output *ret_output, struct husk_error *err) {
    struct wasi_ctx *ctx = NULL;
    if (sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_wasi_output: the sandbox is NULL");
    int status = output_check("husk_wasi_output", ret_output, err);
    if (status == 0)
        status = state_of(sandbox, &ctx, err);
    if (status != 0)
        return status;
    if (stream >= WASI_STREAMS || ctx->given.streams[stream].limit_bytes == 0)
        return error_set(err, HUSK_E_INVAL, "stream %u is not collected in a buffer", stream);
    const struct wasi_stream *given = &ctx->given.streams[stream];
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    output.bytes = given->count > 0 ? (const char *)given->bytes : NULL;
    output.count = given->count;
    output.has_lost = given->has_lost;
    output_fill(ret_output, &output, sizeof output);
    return 0;
}
