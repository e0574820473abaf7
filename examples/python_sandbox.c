/*
 * python_sandbox.c: runs Python that somebody else wrote, each piece from the same clean state:
 *
 *   python_sandbox ~/.cache/husk python.wasm json,decimal request.py…
 *
 * python.wasm is CPython as a WASI command (docs/agents.md). It starts once, imports modules, and
 * stands where it reads its input: there the snapshot is taken, in the middle of its only call. A
 * request restores the sandbox to the snapshot, gives it the code as standard input, and lets it go
 * on, with limits. Output of the code goes to standard output and standard error; then a line on
 * standard error says why it stopped. The exit code is that of the last request.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <husk.h>
#include <husk_compile.h>

#define CODE_BYTES_MAX (1u << 20)
#define OUTPUT_BYTES_MAX (1u << 20) /* of each stream; a write beyond is an OSError in the guest */
#define MEMORY_BYTES_MAX (UINT64_C(128) << 20)
#define FILES_BYTES_MAX (UINT64_C(64) << 20) /* what code may keep in /tmp */
#define STACK_BYTES (UINT64_C(16) << 20)
#define START_NS_MAX UINT64_C(60000000000)
#define REQUEST_NS_MAX UINT64_C(5000000000)
#define EXIT_NO_MEMORY 86 /* the program's word for it; code can exit with it, too */

/* What runs in the guest. Each request is spared a collection, and the interpreter's own end: both
 * would write to most pages that it has. */
static const char program[] =
    "import gc, importlib, os, sys, traceback\n"
    "for name in filter(None, sys.argv[1].split(',')): importlib.import_module(name)\n"
    "names, status = {'__name__': '__main__', '__builtins__': __builtins__}, 0\n"
    "try: exec(compile(b'1 / 0', '<request>', 'exec'), {})\n"
    "except ZeroDivisionError as error: traceback.format_exception(error)\n"
    "gc.collect()\n"
    "gc.freeze()\n"
    "code = sys.stdin.buffer.read()\n" /* the snapshot is taken here */
    "if 'random' in sys.modules: sys.modules['random'].seed()\n"
    "try: exec(compile(code, '<request>', 'exec'), names)\n"
    "except SystemExit: raise\n"
    "except BaseException as error:\n"
    "    names.clear()\n" /* memory, if that is what ran out */
    "    traceback.print_exception(type(error), error, error.__traceback__.tb_next)\n"
    "    status = 86 if isinstance(error, MemoryError) else 1\n"
    "sys.stdout.flush()\n"
    "sys.stderr.flush()\n"
    "os._exit(status)\n";

struct python {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image, *ready; /* the module; the snapshot that waits for code */
    husk_sandbox *sandbox;
};

static int fail(struct husk_error *err, const char *what, const char *why) {
    snprintf(err->message, sizeof err->message, "%s%s", what, why);
    return HUSK_E_GUEST;
}

/* ---- Once ---- */

/* Level 0 takes seconds to compile, the default minutes, for code that is several times as fast:
 * husk_compile_options.optimise_in_background gives the one now, and the other one later. */
static int open_module(struct python *python, const char *cache, const char *path,
                       struct husk_error *err) {
    const struct husk_compile_options options = {
        .size = sizeof options, .cache_dir = cache, .opt_level = HUSK_OPT_NONE};
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, path, ": cannot be read");
    int status = husk_compile_cached_fd(fd, &options, &compiled, err);
    close(fd);
    if (status != 0)
        return status;
    status = husk_image_open_fd(python->engine, compiled.fd, NULL, &python->image, err);
    close(compiled.fd);
    return status;
}

static int make_sandbox(struct python *python, const char *modules, struct husk_error *err) {
    const char *args[] = {"python", "-I", "-c", program, modules};
    const struct husk_wasi_stream in = {.size = sizeof in, .kind = HUSK_WASI_AWAITED};
    const struct husk_wasi_stream out = {.size = sizeof out, .kind = HUSK_WASI_BUFFER};
    const struct husk_wasi_request streams = {.size = sizeof streams,
                                              .stdin_stream = &in, /* its reader is to wait */
                                              .stdout_stream = &out,
                                              .stderr_stream = &out};
    const struct husk_wasi_dir tmp = {.guest_path = "/tmp",
                                      .kind = HUSK_WASI_DIR_MEM,
                                      .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    const struct husk_wasi_options wasi = {.size = sizeof wasi,
                                           .args = args,
                                           .args_count = sizeof args / sizeof *args,
                                           .dirs = &tmp,
                                           .dirs_count = 1,
                                           .private_max_bytes = FILES_BYTES_MAX,
                                           .request = &streams};
    const struct husk_sandbox_options options = {
        .size = sizeof options, .memory_max_bytes = MEMORY_BYTES_MAX, .stack_bytes = STACK_BYTES};
    int status = husk_imports_new(python->engine, &python->imports, err);
    if (status == 0)
        status = husk_imports_wasi(python->imports, &wasi, err);
    if (status == 0)
        status = husk_sandbox_new(python->image, python->imports, &options, &python->sandbox, err);
    return status;
}

static int make_snapshot(struct python *python, struct husk_error *err) {
    const struct husk_limits limits = {.size = sizeof limits, .wall_ns = START_NS_MAX};
    const struct husk_call call = {.size = sizeof call, .name = "_start", .limits = &limits};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_wasi_output said = HUSK_WASI_OUTPUT_INIT;
    int status = husk_call(python->sandbox, &call, &outcome, err);
    if (status == 0 && outcome.kind == HUSK_PENDING)
        return husk_sandbox_snapshot(python->sandbox, &python->ready, err);
    if (status != 0)
        return status;
    if (husk_sandbox_wasi_output(python->sandbox, 2, &said, err) == 0)
        fwrite(said.bytes, 1, said.count, stderr);
    return fail(err, "it ended before it read any code: ", outcome.message);
}

/* ---- One request ---- */

static int go_on(const struct python *python, const char *code, size_t count,
                 struct husk_outcome *ret_outcome, struct husk_error *err) {
    const struct husk_wasi_stream in = {
        .size = sizeof in, .kind = HUSK_WASI_BYTES, .bytes = code, .bytes_count = count};
    const struct husk_wasi_stream out = {
        .size = sizeof out, .kind = HUSK_WASI_BUFFER, .limit_bytes = OUTPUT_BYTES_MAX};
    const struct husk_wasi_request streams = {
        .size = sizeof streams, .stdin_stream = &in, .stdout_stream = &out, .stderr_stream = &out};
    const struct husk_limits limits = {
        .size = sizeof limits, .wall_ns = REQUEST_NS_MAX, .measure = true};
    const struct husk_answer answer = {.size = sizeof answer,
                                       .is_again = true, /* the read, which now finds the code */
                                       .limits = &limits};
    int status = husk_sandbox_restore(python->sandbox, python->ready, err);
    if (status == 0)
        status = husk_sandbox_set_wasi(python->sandbox, &streams, err);
    if (status == 0)
        status = husk_call_resume(python->sandbox, &answer, ret_outcome, err);
    return status;
}

static int print_output(const struct python *python, uint32_t stream, FILE *to,
                        struct husk_error *err) {
    struct husk_wasi_output said = HUSK_WASI_OUTPUT_INIT;
    int status = husk_sandbox_wasi_output(python->sandbox, stream, &said, err);
    if (status != 0)
        return status;
    fwrite(said.bytes, 1, said.count, to);
    if (said.has_lost)
        fprintf(stderr, "[output was cut off after %zu bytes]\n", said.count);
    fflush(to);
    return 0;
}

/* The exit code that a shell would give. */
static int explain(const char *name, const struct husk_outcome *outcome) {
    const bool has_returned = outcome->kind == HUSK_RETURNED;
    const bool has_ended = has_returned || outcome->kind == HUSK_EXITED;
    const int code = has_returned ? 0 : outcome->exit_code;
    const double ms = (double)outcome->wall_ns / 1e6;
    if (has_ended)
        fprintf(stderr, "%s: %s, exit code %d, %.2f ms\n", name,
                code == EXIT_NO_MEMORY ? "memory" : "exit", code, ms);
    else
        fprintf(stderr, "%s: %s: %s, %.2f ms\n", name,
                outcome->kind == HUSK_DEADLINE ? "deadline" : "failed", outcome->message, ms);
    return has_ended ? code : outcome->kind == HUSK_DEADLINE ? 124 : 134;
}

static int serve(const struct python *python, const char *path, int *ret_code,
                 struct husk_error *err) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    static char code[CODE_BYTES_MAX + 1];
    FILE *file = fopen(path, "rb");
    const size_t count = file != NULL ? fread(code, 1, sizeof code, file) : 0;
    int status = 0;
    if (file == NULL || ferror(file) != 0)
        status = fail(err, path, ": cannot be read");
    else if (count > CODE_BYTES_MAX)
        status = fail(err, path, ": more than 1 MiB");
    if (file != NULL)
        fclose(file);
    if (status == 0)
        status = go_on(python, code, count, &outcome, err);
    if (status == 0)
        status = print_output(python, 1, stdout, err);
    if (status == 0)
        status = print_output(python, 2, stderr, err);
    if (status == 0)
        *ret_code = explain(path, &outcome);
    return status;
}

int main(int argc, char **argv) {
    struct python python = {0};
    struct husk_error err;
    int code = 1;
    if (argc < 5) {
        fprintf(stderr, "usage: python_sandbox CACHE-FOLDER PYTHON.wasm MODULE,… FILE.py…\n");
        return 2;
    }
    int status = husk_engine_new(NULL, &python.engine, &err);
    if (status == 0)
        status = open_module(&python, argv[1], argv[2], &err);
    if (status == 0)
        status = make_sandbox(&python, argv[3], &err);
    if (status == 0)
        status = make_snapshot(&python, &err);
    for (int i = 4; i < argc && status == 0; i++)
        status = serve(&python, argv[i], &code, &err);
    if (status != 0)
        fprintf(stderr, "python_sandbox: %s\n", err.message);
    husk_sandbox_free(python.sandbox);
    husk_image_unref(python.ready);
    husk_image_unref(python.image);
    husk_imports_free(python.imports);
    husk_engine_unref(python.engine);
    return status != 0 ? 1 : code;
}
