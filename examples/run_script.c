/*
 * run_script.c: an interpreter that serves requests. Each request is a script on standard input,
 * with files of its own, and its output comes back. Lua is started once; every script begins from a
 * snapshot of that state, and all that it did is gone after the next restore: its variables, its
 * files, its standard streams.
 *
 *   run_script [-n TIMES] script.wasm|.husk SCRIPT…              (guests/script.c)
 *
 * It runs every SCRIPT (a file; TIMES times, to measure), prints its output, and says on standard
 * error what a request takes: restore, script, output.
 *
 * Lua's errors leave functions without setjmp() and longjmp() (guests/script.h). The host calls the
 * protected function (protect), and throwing ends that call, because the host function fails
 * (throw_error).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "example.h"

#define MEMORY_BYTES_MAX (64u << 20)
#define SCRIPT_NS_MAX 1000000000u   /* of CPU time */
#define OUTPUT_BYTES_MAX (1u << 20) /* of each stream */
#define FILES_BYTES_MAX (16u << 20) /* of a request's files */
#define SCRIPT_BYTES_MAX (1u << 20)
#define DEPTH_MAX 256 /* calls to the host and back; Lua nests 200 at most */

struct runner {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image, *ready; /* the module; and Lua, started */
    husk_sandbox *sandbox;
    bool is_throwing; /* the innermost call ends because of an error in the script */
};

static int fail(struct husk_error *err, int status, const char *what, const char *why) {
    snprintf(err->message, sizeof err->message, "%s%s", what, why);
    return status;
}

/* ---- Errors ---- */

static int throw_error(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    struct runner *runner = user;
    (void)args;
    (void)results;
    runner->is_throwing = true;
    return husk_caller_fail(caller, "an error in a script");
}

/* The protected function did not return. Nobody unwound the guest's own stack. */
static int protect_ended(husk_caller *caller, struct runner *runner,
                         const struct husk_outcome *outcome, const struct husk_value *stack) {
    struct husk_error err;
    if (outcome->kind == HUSK_EXITED)
        return husk_caller_exit(caller, outcome->exit_code);
    if (outcome->trap != HUSK_TRAP_HOST_FUNCTION || !runner->is_throwing)
        return husk_caller_fail(caller, "%s", outcome->message);
    runner->is_throwing = false;
    int status = husk_global_set(husk_caller_sandbox(caller), "__stack_pointer", 0, stack, &err);
    return status == 0 ? 0 : husk_caller_fail(caller, "protect: %s", err.message);
}

/* The result is 1 if the function threw. */
static int protect(husk_caller *caller, void *user, const struct husk_value *args,
                   struct husk_value *results) {
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value stack;
    struct husk_error err;
    call.name = "call";
    call.args = args;
    call.args_count = 3;
    int status = husk_global_get(sandbox, "__stack_pointer", 0, &stack, &err);
    if (status == 0)
        status = husk_call(sandbox, &call, &outcome, &err);
    if (status != 0)
        return husk_caller_fail(caller, "protect: %s", err.message);
    results[0].of.i32 = outcome.kind != HUSK_RETURNED;
    return outcome.kind == HUSK_RETURNED ? 0 : protect_ended(caller, user, &outcome, &stack);
}

/* ---- Lua, started once ---- */

static int define_imports(struct runner *runner, struct husk_error *err) {
    static const husk_type i32[] = {HUSK_I32, HUSK_I32, HUSK_I32};
    static const struct husk_functype to_void = {NULL, 0, NULL, 0}, iii_to_i32 = {i32, 3, i32, 1};
    const struct husk_host_func rows[] = {
        {"script", 0, "protect", 0, &iii_to_i32, protect, runner, NULL},
        {"script", 0, "throw", 0, &to_void, throw_error, runner, NULL},
    };
    const struct husk_wasi_dir files = {
        .guest_path = "/", .kind = HUSK_WASI_DIR_MEM, .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    wasi.dirs = &files;
    wasi.dirs_count = 1;
    wasi.private_max_bytes = FILES_BYTES_MAX;
    int status = husk_imports_wasi(runner->imports, &wasi, err);
    return status != 0
               ? status
               : husk_imports_funcs(runner->imports, rows, sizeof rows / sizeof rows[0], err);
}

static int make_ready(struct runner *runner, struct husk_error *err) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    if (husk_image_is_snapshot(runner->image)) {
        runner->ready = husk_image_ref(runner->image);
        return 0;
    }
    call.name = "_initialize";
    int status = husk_call(runner->sandbox, &call, &outcome, err);
    if (status == 0 && outcome.kind != HUSK_RETURNED)
        return fail(err, HUSK_E_GUEST, "starting Lua: ", outcome.message);
    return status != 0 ? status : husk_sandbox_snapshot(runner->sandbox, &runner->ready, err);
}

static int open_runner(struct runner *runner, const char *path, struct husk_error *err) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.memory_max_bytes = MEMORY_BYTES_MAX;
    options.host_call_depth_max = DEPTH_MAX;
    int status = husk_engine_new(NULL, &runner->engine, err);
    if (status == 0)
        status = husk_imports_new(runner->engine, &runner->imports, err);
    if (status == 0)
        status = define_imports(runner, err);
    if (status != 0)
        return status;
    runner->image = example_load(runner->engine, path);
    if (runner->image == NULL)
        return fail(err, HUSK_E_INVAL, "there is no Lua", "");
    status = husk_sandbox_new(runner->image, runner->imports, &options, &runner->sandbox, err);
    return status != 0 ? status : make_ready(runner, err);
}

static void close_runner(struct runner *runner) {
    husk_sandbox_free(runner->sandbox);
    husk_image_unref(runner->ready);
    husk_image_unref(runner->image);
    husk_imports_free(runner->imports);
    husk_engine_unref(runner->engine);
}

/* ---- Requests ---- */

static int give_streams(struct runner *runner, const char *script, size_t count,
                        struct husk_error *err) {
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    in.kind = HUSK_WASI_BYTES;
    in.bytes = script;
    in.bytes_count = count;
    out.kind = HUSK_WASI_BUFFER;
    out.limit_bytes = OUTPUT_BYTES_MAX;
    request.stdin_stream = &in;
    request.stdout_stream = &out;
    request.stderr_stream = &out;
    return husk_sandbox_set_wasi(runner->sandbox, &request, err);
}

/* In a clean state. *ret_code: 0, or 1 if the script failed; the output is in the sandbox. */
static int serve(struct runner *runner, const char *script, size_t count, int *ret_code,
                 struct husk_error *err) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_value failed;
    limits.cpu_ns = SCRIPT_NS_MAX;
    call.name = "run";
    call.results = &failed;
    call.results_count = 1;
    call.limits = &limits;
    runner->is_throwing = false;
    int status = husk_sandbox_restore(runner->sandbox, runner->ready, err); /* heals, too */
    if (status == 0)
        status = give_streams(runner, script, count, err);
    if (status == 0)
        status = husk_call(runner->sandbox, &call, &outcome, err);
    if (status != 0)
        return status;
    if (outcome.kind == HUSK_EXITED) /* os.exit() */
        *ret_code = outcome.exit_code != 0;
    else if (outcome.kind == HUSK_RETURNED)
        *ret_code = failed.of.i32 != 0;
    else
        return fail(err, HUSK_E_GUEST, "", outcome.message);
    return 0;
}

static int print_stream(const struct runner *runner, uint32_t stream, FILE *to,
                        struct husk_error *err) {
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    int status = husk_sandbox_wasi_output(runner->sandbox, stream, &output, err);
    if (status != 0)
        return status;
    fwrite(output.bytes, 1, output.count, to);
    if (output.has_lost)
        fprintf(stderr, "stream %u: cut off after %zu bytes\n", stream, output.count);
    return 0;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static char *read_script(const char *path, size_t *ret_count) {
    char *text = malloc(SCRIPT_BYTES_MAX);
    FILE *file = text != NULL ? fopen(path, "r") : NULL;
    if (file == NULL) {
        free(text);
        return NULL;
    }
    *ret_count = fread(text, 1, SCRIPT_BYTES_MAX, file);
    fclose(file);
    return text;
}

/* 0: it ran, and did not fail. */
static int run_file(struct runner *runner, const char *path, unsigned times) {
    struct husk_error err = {0};
    size_t count = 0;
    int code = 0, status = 0;
    char *script = read_script(path, &count);
    if (script == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return 1;
    }
    const uint64_t begin_ns = now_ns();
    for (unsigned i = 0; i < times && status == 0; i++)
        status = serve(runner, script, count, &code, &err);
    const uint64_t took_ns = now_ns() - begin_ns;
    free(script);
    struct husk_error ignored;
    (void)print_stream(runner, 1, stdout, &ignored); /* also of a script that was ended */
    (void)print_stream(runner, 2, stderr, &ignored);
    if (status != 0)
        fprintf(stderr, "%s: %s\n", path, err.message);
    else
        fprintf(stderr, "%s: %.1f us a request\n", path, (double)took_ns / times / 1e3);
    return status != 0 || code != 0;
}

int main(int argc, char **argv) {
    struct husk_error err = {0};
    struct runner runner = {0};
    int first = 1, code = 0;
    unsigned long times = 1;
    if (argc > 2 && strcmp(argv[1], "-n") == 0) {
        times = strtoul(argv[2], NULL, 10);
        first = 3;
    }
    if (argc < first + 2 || times == 0 || times > 100000000) {
        fprintf(stderr, "usage: run_script [-n TIMES] script.wasm|.husk SCRIPT…\n");
        return 2;
    }
    if (open_runner(&runner, argv[first], &err) != 0) {
        fprintf(stderr, "run_script: %s\n", err.message);
        code = 1;
    }
    for (int i = first + 1; code == 0 && i < argc; i++)
        code = run_file(&runner, argv[i], (unsigned)times);
    close_runner(&runner);
    return fflush(stdout) != 0 ? 1 : code;
}
