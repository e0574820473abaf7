/*
 * serve/generation.c: from a route's file to a snapshot from which its requests start:
 *
 *   open or compile → what kind of guest is it → _initialize, wizer.initialize or husk_init →
 *   (--until stdin: run it to its first read) → (--warm: one request) → snapshot
 *
 * A generation never changes. Workers keep the one that they have until they take the next request.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve.h"

#define HANDLER_NAME "husk_handle"

struct maker {
    struct route *route;
    struct run run; /* the route's options, and what is made of them */
    struct generation *generation;
    husk_sandbox *sandbox;
};

struct generation *generation_ref(struct generation *generation) {
    atomic_fetch_add(&generation->shares, 1);
    return generation;
}

void generation_unref(struct generation *generation) {
    if (generation == NULL || atomic_fetch_sub(&generation->shares, 1) != 1)
        return;
    husk_image_unref(generation->ready);
    husk_imports_free(generation->imports);
    free(generation);
}

/* ---- The file ---- */

bool generation_is_of(const struct generation *generation, const struct stat *file) {
    const struct stat *own = &generation->file;
    return own->st_dev == file->st_dev && own->st_ino == file->st_ino &&
           own->st_size == file->st_size && own->st_mtim.tv_sec == file->st_mtim.tv_sec &&
           own->st_mtim.tv_nsec == file->st_mtim.tv_nsec;
}

static int compile(struct maker *maker, struct husk_error *err) {
    struct run *run = &maker->run;
    struct husk_open_options options = HUSK_OPEN_OPTIONS_INIT;
    options.skips_hash = true; /* it was made a moment ago */
    int status = input_read_module(&run->input, err);
    if (status == 0)
        status = compile_input(&run->report, &run->input, &run->compile, &run->compiled, err);
    if (status != 0)
        return status;
    status = husk_image_open_fd(NULL, run->compiled.fd, &options, &run->image, err);
    close(run->compiled.fd);
    atomic_store(&maker->generation->is_unoptimised,
                 run->compiled.is_unoptimised && run->compile.is_in_background);
    return status;
}

bool is_pipe(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode));
}

static int open_file(struct maker *maker, struct husk_error *err) {
    struct run *run = &maker->run;
    struct husk_standing standing = HUSK_STANDING_INIT;
    if (is_pipe(run->path)) /* a reload reads it again */
        return cli_error(err, HUSK_E_INVAL, "is a pipe or a device: a module is a file");
    int status = input_peek(run->path, &run->input, err);
    if (status != 0)
        return status;
    if (run->input.fd >= 0)
        (void)fstat(run->input.fd, &maker->generation->file);
    if (run->input.kind == INPUT_IMAGE)
        status = input_open_image(&run->input, NULL, &run->image, err);
    else if (cache_open(&run->input, &run->compile, true, &run->image) != 0)
        status = compile(maker, err);
    input_done(&run->input);
    if (status == 0)
        status = husk_image_set_engine(run->image, run->engine, err);
    if (status == 0)
        run->is_standing = husk_image_standing(run->image, &standing, NULL) == 0;
    return status;
}

/* ---- What kind of guest ---- */

static bool has_func(const husk_image *image, const char *name, husk_func *ret_func,
                     struct husk_functype *ret_type) {
    return husk_image_func(image, name, 0, ret_func, NULL) == 0 &&
           husk_image_func_type(image, *ret_func, ret_type, NULL) == 0;
}

/* From bytes to bytes, in one of the forms of husk_call_bytes(). */
static bool is_bytes_type(const struct husk_functype *type) {
    const husk_type word = type->params_count == 2 ? type->params[0] : HUSK_F32;
    if ((word != HUSK_I32 && word != HUSK_I64) || type->params[1] != word)
        return false;
    if (type->results_count == 2)
        return type->results[0] == word && type->results[1] == word;
    return type->results_count == 1 &&
           (type->results[0] == word || (word == HUSK_I32 && type->results[0] == HUSK_I64));
}

static int no_handler(const struct maker *maker, struct husk_error *err) {
    const char *wanted = maker->route->handler;
    if (wanted != NULL)
        return cli_error(err, HUSK_E_NOT_FOUND, "exports no function '%.100s' (--handler)", wanted);
    return cli_error(err, HUSK_E_NOT_FOUND,
                     "exports neither _start, as a program does, nor " HANDLER_NAME
                     ", a function from bytes to bytes; --handler NAME names another one");
}

static int find_kind(struct maker *maker, struct husk_error *err) {
    struct generation *generation = maker->generation;
    const struct route *route = maker->route;
    const char *handler = route->handler != NULL ? route->handler : HANDLER_NAME;
    struct husk_functype type;
    generation->kind = GUEST_STANDING;
    if (maker->run.is_standing)
        return 0;
    if (route->handler == NULL && has_func(maker->run.image, "_start", &generation->func, &type)) {
        generation->kind = GUEST_CGI;
        if (type.params_count != 0 || type.results_count != 0)
            return cli_error(err, HUSK_E_TYPE, "has a _start with parameters or results");
    } else if (has_func(maker->run.image, handler, &generation->func, &type)) {
        generation->kind = GUEST_BYTES;
        if (!is_bytes_type(&type))
            return cli_error(err, HUSK_E_TYPE,
                             "has a %.100s that is no function from bytes to bytes: (i32, i32) -> "
                             "i64, i32 or (i32, i32)",
                             handler);
    } else {
        return no_handler(maker, err);
    }
    if (route->is_reused && generation->kind == GUEST_CGI)
        return cli_error(err, HUSK_E_INVAL,
                         "is a program, which starts from its beginning for each request: --reuse "
                         "is for functions (--handler)");
    if (route->is_until_stdin && generation->kind != GUEST_CGI)
        return cli_error(err, HUSK_E_INVAL, "is no program: --until stdin is for those");
    return 0;
}

/* ---- Its surroundings ---- */

static int make_imports(struct maker *maker, struct husk_error *err) {
    struct run *run = &maker->run;
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = HUSK_WASI_STREAM_INIT;
    int status = surroundings_settle(run, err);
    if (status != 0)
        return status;
    in.kind = maker->route->is_until_stdin ? HUSK_WASI_AWAITED : HUSK_WASI_BYTES;
    out.kind = HUSK_WASI_BUFFER;
    out.limit_bytes = HANDLER_STDERR_MAX_BYTES;
    request.stdin_stream = &in;
    request.stdout_stream = request.stderr_stream = &out;
    wasi.args = run->given.args;
    wasi.args_count = run->given.args_count;
    wasi.env = run->given.env;
    wasi.env_count = run->given.env_count;
    wasi.request = &request;
    dirs_give(run, &wasi);
    status = husk_imports_new(run->engine, &maker->generation->imports, err);
    if (status == 0)
        status = husk_imports_wasi(maker->generation->imports, &wasi, err);
    if (status == 0)
        status = husk_imports_unknown(maker->generation->imports, run->unknown_imports, err);
    return status;
}

/* ---- Initialising ---- */

static int check_outcome(struct maker *maker, const struct husk_outcome *outcome, const char *what,
                         struct husk_error *err) {
    handler_log_output(maker->route, maker->sandbox, 1);
    handler_log_output(maker->route, maker->sandbox, 2);
    if (outcome->kind == HUSK_RETURNED)
        return 0;
    handler_log_outcome(maker->route, maker->sandbox, outcome, what);
    return cli_error(err, HUSK_E_STATE, "its %s did not return", what);
}

static int call_once(struct maker *maker, const char *name, struct husk_error *err) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_functype type;
    limits.wall_ns = maker->route->init_ns;
    if (!has_func(maker->run.image, name, &call.func, &type))
        return 0;
    if (type.params_count != 0 || type.results_count != 0)
        return cli_error(err, HUSK_E_TYPE, "has a %s with parameters or results", name);
    call.limits = &limits;
    const int status = husk_call(maker->sandbox, &call, &outcome, err);
    return status != 0 ? status : check_outcome(maker, &outcome, name, err);
}

/* The start function and its like, then those that toolchains make. */
static int initialise(struct maker *maker, struct husk_error *err) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    husk_func func;
    struct husk_functype type;
    limits.wall_ns = maker->route->init_ns;
    int status = husk_sandbox_start(maker->sandbox, &limits, &outcome, err);
    if (status == 0)
        status = check_outcome(maker, &outcome, "start function", err);
    if (status == 0)
        status = call_once(maker, "_initialize", err);
    if (status == 0)
        status = call_once(maker,
                           has_func(maker->run.image, "wizer.initialize", &func, &type)
                               ? "wizer.initialize"
                               : "husk_init",
                           err);
    return status;
}

/* Up to its first read. */
static int run_to_stdin(struct maker *maker, struct husk_error *err) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    limits.wall_ns = maker->route->init_ns;
    call.func = maker->generation->func;
    call.limits = &limits;
    int status = husk_call(maker->sandbox, &call, &outcome, err);
    if (status == 0 && outcome.kind == HUSK_PENDING) {
        handler_log_output(maker->route, maker->sandbox, 1);
        handler_log_output(maker->route, maker->sandbox, 2);
        maker->generation->kind = GUEST_STANDING;
        return 0;
    }
    if (status == 0 && outcome.kind == HUSK_RETURNED)
        return cli_error(err, HUSK_E_STATE, "ended before it read its standard input");
    return status != 0 ? status : check_outcome(maker, &outcome, "run up to its first read", err);
}

/* What a function learns from its first request, all others have. */
static int warm_function(struct maker *maker, struct husk_error *err) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct bytes text = {0};
    struct exchange *exchange = exchange_for_path(maker->route, maker->route->warm);
    int status = 0;
    if (exchange == NULL || !request_text(exchange, &text))
        status = cli_error(err, HUSK_E_NOMEM, "out of memory");
    limits.wall_ns = maker->route->init_ns;
    call.func = maker->generation->func;
    call.limits = &limits;
    bytes.input = bytes_front(&text);
    bytes.input_count = text.count;
    bytes.keeps = true;
    if (status == 0)
        status = husk_call_bytes(maker->sandbox, &call, &bytes, &outcome, err);
    if (status == 0)
        status = check_outcome(maker, &outcome, "warm-up request", err);
    free(bytes.output);
    bytes_done(&text);
    exchange_unref(exchange);
    return status;
}

static int make_ready(struct maker *maker, struct husk_error *err) {
    const struct route *route = maker->route;
    struct generation *generation = maker->generation;
    int status = husk_sandbox_new(maker->run.image, generation->imports,
                                  &maker->run.sandbox_options, &maker->sandbox, err);
    if (status != 0)
        return status;
    if (!husk_image_is_snapshot(maker->run.image))
        status = initialise(maker, err);
    if (status == 0 && route->is_until_stdin)
        status = run_to_stdin(maker, err);
    if (status == 0 && route->warm != NULL && generation->kind == GUEST_BYTES)
        status = warm_function(maker, err);
    if (status == 0)
        status = husk_sandbox_snapshot(maker->sandbox, &generation->ready, err);
    return status;
}

int generation_make(struct route *route, struct generation **ret_generation,
                    struct husk_error *err) {
    struct maker maker = {.route = route, .run = route->run};
    maker.run.engine = route->server->engine;
    maker.generation = calloc(1, sizeof *maker.generation);
    if (maker.generation == NULL)
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    atomic_init(&maker.generation->shares, 1);
    int status = open_file(&maker, err);
    if (status == 0)
        status = find_kind(&maker, err);
    if (status == 0)
        status = make_imports(&maker, err);
    if (status == 0)
        status = make_ready(&maker, err);
    husk_sandbox_free(maker.sandbox);
    husk_image_unref(maker.run.image);
    free((void *)maker.run.own_args);
    surroundings_done(&maker.run.saved);
    if (status == 0)
        *ret_generation = maker.generation;
    else
        generation_unref(maker.generation);
    return status;
}
