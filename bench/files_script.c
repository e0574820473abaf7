/*
 * bench/files_script.c: measures a script request end to end, as examples/run_script.c serves it:
 * restore, the script on standard input, a call, the output in a buffer. Beside it a process of the
 * same interpreter, natively built from the same source, for each script.
 *
 * The folder of guests has script.wasm (examples/guests/script.c) and lua_native; bench/run builds
 * them. Without them, the part is skipped.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"

extern char **environ;

enum { ROUNDS = 20, PER_ROUND = 8, OUTPUT_MAX = 4096 };

static const struct script {
    const char *name, *text, *source;
} scripts[] = {
    {"hello", "one line: print(\"hello\")", "print('hello')\n"},
    {"files", "10 files of 500 bytes written, read by lines, removed",
     "for i = 1, 10 do\n"
     "  local f = io.open('f' .. i, 'w') f:write(('line\\n'):rep(100)) f:close()\n"
     "end\n"
     "local n = 0\n"
     "for i = 1, 10 do\n"
     "  for line in io.lines('f' .. i) do n = n + #line end\n"
     "  os.remove('f' .. i)\n"
     "end\n"
     "print(n)\n"},
    {"work", "a sieve of 100,000 numbers",
     "local n, sieve, primes = 100000, {}, 0\n"
     "for i = 2, n do\n"
     "  if not sieve[i] then\n"
     "    primes = primes + 1\n"
     "    for j = i * i, n, i do sieve[j] = true end\n"
     "  end\n"
     "end\n"
     "print(primes)\n"},
};
enum { SCRIPTS = sizeof scripts / sizeof scripts[0] };

struct stage {
    char *native; /* the interpreter's path */
    char folder[4096];
    husk_imports *imports;
    husk_image *image, *ready;
    husk_sandbox *sandbox;
    const struct script *script;
    int script_fd; /* the source, for the process */
    char native_output[OUTPUT_MAX];
    size_t native_count;
};

/* The operations get no argument of their own but the row. */
static struct stage stage;

static int failed(const char *what) {
    fprintf(stderr, "husk_bench: script %s: %s\n", stage.script->name, what);
    return -1;
}

/* ---- The interpreter's imports: the scripts here throw no errors ---- */

static int throw_error(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)user;
    (void)args;
    (void)results;
    return husk_caller_fail(caller, "an error in a script");
}

static int protect(husk_caller *caller, void *user, const struct husk_value *args,
                   struct husk_value *results) {
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    (void)user;
    call.name = "call";
    call.args = args;
    call.args_count = 3;
    int status = husk_call(husk_caller_sandbox(caller), &call, &outcome, &err);
    if (status != 0 || outcome.kind != HUSK_RETURNED)
        return husk_caller_fail(caller, "protect: %s", status != 0 ? err.message : outcome.message);
    results[0].of.i32 = 0;
    return 0;
}

static int imports_open(const struct bench *bench) {
    static const husk_type i32[] = {HUSK_I32, HUSK_I32, HUSK_I32};
    static const struct husk_functype to_void = {NULL, 0, NULL, 0}, iii_to_i32 = {i32, 3, i32, 1};
    static const struct husk_host_func rows[] = {
        {"script", 0, "protect", 0, &iii_to_i32, protect, NULL, NULL},
        {"script", 0, "throw", 0, &to_void, throw_error, NULL, NULL},
    };
    const struct husk_wasi_dir dir = {
        .guest_path = "/", .kind = HUSK_WASI_DIR_MEM, .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_error err;
    options.dirs = &dir;
    options.dirs_count = 1;
    options.private_max_bytes = 16u << 20;
    if (husk_imports_new(bench->engine, &stage.imports, &err) != 0 ||
        husk_imports_wasi(stage.imports, &options, &err) != 0 ||
        husk_imports_funcs(stage.imports, rows, sizeof rows / sizeof rows[0], &err) != 0)
        return bench_fail("script: imports", &err);
    return 0;
}

static int stage_open(const struct bench *bench) {
    struct bench own = *bench;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    own.wasm_dir = bench->guests_dir;
    options.memory_max_bytes = 64u << 20;
    call.name = "_initialize";
    snprintf(stage.folder, sizeof stage.folder, "%s/scriptXXXXXX", bench->scratch_dir);
    if (mkdtemp(stage.folder) == NULL) {
        perror(stage.folder);
        stage.folder[0] = '\0';
        return -1;
    }
    if (imports_open(bench) != 0 || bench_load(&own, "script", &stage.image) != 0)
        return -1;
    int status = husk_sandbox_new(stage.image, stage.imports, &options, &stage.sandbox, &err);
    if (status == 0)
        status = husk_call(stage.sandbox, &call, &outcome, &err);
    if (status == 0 && outcome.kind == HUSK_RETURNED)
        status = husk_sandbox_snapshot(stage.sandbox, &stage.ready, &err);
    return stage.ready != NULL ? 0 : bench_fail_outcome("script", status, &outcome, &err);
}

static void stage_close(void) {
    free(stage.native);
    husk_sandbox_free(stage.sandbox);
    husk_image_unref(stage.ready);
    husk_image_unref(stage.image);
    husk_imports_free(stage.imports);
    if (stage.folder[0] != '\0')
        native_remove(stage.folder);
}

/* ---- The two ways ---- */

static int husk_request(struct snapshot_op *op) {
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value result = {.of.i32 = -1};
    struct husk_error err;
    (void)op;
    in.kind = HUSK_WASI_BYTES;
    in.bytes = stage.script->source;
    in.bytes_count = strlen(stage.script->source);
    out.kind = HUSK_WASI_BUFFER;
    request.stdin_stream = &in;
    request.stdout_stream = &out;
    request.stderr_stream = &out;
    call.name = "run";
    call.results = &result;
    call.results_count = 1;
    int status = husk_sandbox_restore(stage.sandbox, stage.ready, &err);
    if (status == 0)
        status = husk_sandbox_set_wasi(stage.sandbox, &request, &err);
    if (status == 0)
        status = husk_call(stage.sandbox, &call, &outcome, &err);
    if (status != 0 || outcome.kind != HUSK_RETURNED || result.of.i32 != 0)
        return bench_fail_outcome(stage.script->name, status, &outcome, &err);
    if (husk_sandbox_wasi_output(stage.sandbox, 1, &output, &err) != 0)
        return bench_fail(stage.script->name, &err);
    return output.count == stage.native_count &&
                   memcmp(output.bytes, stage.native_output, output.count) == 0
               ? 0
               : failed("another output than the native interpreter's");
}

/* The actions of the child: in its folder, the script on standard input, output to `out`. */
static int spawn(int out, pid_t *ret_pid) {
    static char dash[] = "-";
    char *const command[] = {stage.native, dash, NULL};
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    int rc = posix_spawn_file_actions_addchdir_np(&actions, stage.folder);
    rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&actions, stage.script_fd, STDIN_FILENO);
    rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    rc = rc != 0 ? rc : posix_spawn(ret_pid, stage.native, &actions, NULL, command, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc == 0 ? 0 : -1;
}

static size_t read_all(int fd) {
    size_t count = 0;
    for (ssize_t got = 1; got > 0 && count<OUTPUT_MAX; count += got> 0 ? (size_t)got : 0)
        got = read(fd, stage.native_output + count, OUTPUT_MAX - count);
    return count;
}

static int native_request(struct snapshot_op *op) {
    int ends[2], wait_status = -1;
    pid_t pid;
    (void)op;
    if (lseek(stage.script_fd, 0, SEEK_SET) != 0 || pipe2(ends, O_CLOEXEC) != 0)
        return failed("no pipe");
    int result = spawn(ends[1], &pid);
    close(ends[1]);
    if (result == 0) {
        stage.native_count = read_all(ends[0]);
        if (waitpid(pid, &wait_status, 0) != pid || wait_status != 0)
            result = -1;
    }
    close(ends[0]);
    return result == 0 ? 0 : failed("the native interpreter failed");
}

/* ---- The rows ---- */

static void script_print(const struct bench *bench, struct snapshot_op *const ops[2]) {
    static const char *const wheres[] = {"native", "husk"};
    printf("  %-56s %10.1f %10.1f %10.1f %10.1f   %.3f (%.3f-%.3f)\n", stage.script->text,
           ops[0]->us.p10, ops[0]->us.p50, ops[1]->us.p10, ops[1]->us.p50, ops[1]->ratio.p50,
           ops[1]->ratio.p10, ops[1]->ratio.p90);
    for (int i = 0; i < 2; i++) {
        fprintf(bench->json,
                "{\"bench\":\"script\",\"name\":\"%s\",\"where\":\"%s\",\"samples\":%u,",
                stage.script->name, wheres[i], ops[i]->samples_count);
        json_spread(bench->json, "us", ops[i]->us);
        fputc(',', bench->json);
        json_spread(bench->json, "ratio", ops[i]->ratio);
        fputs("}\n", bench->json);
    }
    fflush(stdout);
}

static int script_run(const struct bench *bench, struct snapshot_op *all) {
    const size_t count = strlen(stage.script->source);
    struct snapshot_op *ops[2] = {&all[0], &all[1]};
    all[0] = (struct snapshot_op){
        .name = stage.script->name, .run = native_request, .per_round = PER_ROUND};
    all[1] = (struct snapshot_op){
        .name = stage.script->name, .run = husk_request, .per_round = PER_ROUND};
    stage.script_fd = memfd_create("script", MFD_CLOEXEC);
    int result = stage.script_fd >= 0 &&
                         write(stage.script_fd, stage.script->source, count) == (ssize_t)count
                     ? 0
                     : failed("no file for the script");
    result = result != 0 ? result : ops_run(ops, 2, ROUNDS);
    if (result == 0)
        script_print(bench, ops);
    if (stage.script_fd >= 0)
        close(stage.script_fd);
    return result;
}

static bool has_guests(const struct bench *bench) {
    char path[4096];
    if (bench->guests_dir == NULL)
        return false;
    snprintf(path, sizeof path, "%s/script.wasm", bench->guests_dir);
    if (access(path, R_OK) != 0)
        return false;
    snprintf(path, sizeof path, "%s/lua_native", bench->guests_dir);
    stage.native = realpath(path, NULL); /* it runs in another folder */
    return stage.native != NULL && access(stage.native, X_OK) == 0;
}

int files_script(const struct bench *bench) {
    if (!has_guests(bench)) {
        printf("\nscripts: skipped: no script.wasm and lua_native in a folder named by --guests\n");
        free(stage.native);
        return 0;
    }
    struct snapshot_op *all = calloc(2, sizeof *all);
    int result = all == NULL ? -1 : stage_open(bench);
    if (result == 0)
        printf("\nscripts: a request end to end, µs; husk / native: median of the rounds' ratios "
               "(p10-p90)\n  %-56s %10s %10s %10s %10s\n",
               "", "native p10", "median", "husk p10", "median");
    for (int i = 0; i < SCRIPTS && result == 0; i++) {
        stage.script = &scripts[i];
        result = script_run(bench, all);
    }
    stage_close();
    free(all);
    return result;
}
