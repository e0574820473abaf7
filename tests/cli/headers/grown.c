/*
 * tests/cli/headers/grown.c: a program that uses every struct with a size. It is built against
 * headers of an older and of a newer version than the library's (tests/cli/headers_test.sh makes
 * them):
 *
 *   HAS_FIRST: the structs have the first field after `size`
 *   HAS_LATER: they end with a field later_max, which the library does not know
 *
 * The argument names the struct whose later_max is set. It prints the result, or the error.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <husk.h>
#include <husk_compile.h>

/* (module (import "env" "host" (func $host)) (tag (export "t"))
 *  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
 *  (func (export "throw") call $host)) */
static const unsigned char wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x0a, 0x02, 0x60, 0x00, 0x00,
    0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f, 0x02, 0x0c, 0x01, 0x03, 0x65, 0x6e, 0x76, 0x04,
    0x68, 0x6f, 0x73, 0x74, 0x00, 0x00, 0x03, 0x03, 0x02, 0x01, 0x00, 0x0d, 0x03, 0x01,
    0x00, 0x00, 0x07, 0x13, 0x03, 0x01, 0x74, 0x04, 0x00, 0x03, 0x61, 0x64, 0x64, 0x00,
    0x01, 0x05, 0x74, 0x68, 0x72, 0x6f, 0x77, 0x00, 0x02, 0x0a, 0x0e, 0x02, 0x07, 0x00,
    0x20, 0x00, 0x20, 0x01, 0x6a, 0x0b, 0x04, 0x00, 0x10, 0x00, 0x0b};

struct all {
    struct husk_engine_options engine;
    struct husk_wasi_options wasi;
    struct husk_wasi_stream stream;
    struct husk_wasi_clock clock;
    struct husk_wasi_request request;
    struct husk_sandbox_options sandbox;
    struct husk_limits limits;
    struct husk_answer answer;
    struct husk_compile_options compile;
    struct husk_open_options open;
    struct husk_call call;
    struct husk_many many;
    struct husk_bytes bytes;
    struct husk_extern global;
    struct husk_throw throws;
    struct husk_cache_clean_options clean;
};

static void set_first(struct all *all) {
#ifdef HAS_FIRST
    static const char *const args[] = {"grown"};
    all->engine.hypervisor_path = "/dev/kvm";
    all->wasi.args = args;
    all->stream.kind = HUSK_WASI_CLOSED;
    all->clock.realtime_ns = 0;
    all->sandbox.memory_max_bytes = 64 << 20;
    all->limits.wall_ns = 60000000000u;
    all->answer.values = NULL;
    all->compile.cpu = "x86-64-v2";
    all->clean.limit_bytes = 1;
#endif
    (void)all;
}

static void set_later(struct all *all, const char *name) {
#ifdef HAS_LATER
    all->engine.later_max = strcmp(name, "husk_engine_options") == 0;
    all->wasi.later_max = strcmp(name, "husk_wasi_options") == 0;
    all->stream.later_max = strcmp(name, "husk_wasi_stream") == 0;
    all->clock.later_max = strcmp(name, "husk_wasi_clock") == 0;
    all->request.later_max = strcmp(name, "husk_wasi_request") == 0;
    all->sandbox.later_max = strcmp(name, "husk_sandbox_options") == 0;
    all->limits.later_max = strcmp(name, "husk_limits") == 0;
    all->open.later_max = strcmp(name, "husk_open_options") == 0;
    all->call.later_max = strcmp(name, "husk_call") == 0;
    all->many.later_max = strcmp(name, "husk_many") == 0;
    all->bytes.later_max = strcmp(name, "husk_bytes") == 0;
    all->global.later_max = strcmp(name, "husk_extern") == 0;
    all->throws.later_max = strcmp(name, "husk_throw") == 0;
    all->answer.later_max = strcmp(name, "husk_answer") == 0;
    all->compile.later_max = strcmp(name, "husk_compile_options") == 0;
    all->clean.later_max = strcmp(name, "husk_cache_clean_options") == 0;
#endif
    (void)all;
    (void)name;
}

/* ---- Structs that the library fills ---- */

#define UNTOUCHED 0xa5

static _Alignas(16) unsigned char room[8192];

/* Room for a struct of so many bytes, with much behind it. */
static void *room_new(size_t bytes) {
    memset(room, UNTOUCHED, sizeof room);
    memcpy(room, &bytes, sizeof bytes);
    return room;
}

static bool are_all(const unsigned char *bytes, size_t count, unsigned char value) {
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != value)
            return false;
    }
    return true;
}

/* The library filled this program's struct, and nothing behind it. */
static bool room_is_right(const char *name, size_t bytes) {
    bool is_right =
        memcmp(room, &bytes, sizeof bytes) == 0 && are_all(room + bytes, 1024, UNTOUCHED);
#ifdef HAS_FIRST
    is_right = is_right && !are_all(room + sizeof bytes, 4, UNTOUCHED);
#endif
#ifdef HAS_LATER
    is_right = is_right && are_all(room + bytes - 8, 8, 0);
#endif
    if (!is_right)
        printf("husk_%s is filled wrongly\n", name);
    return is_right;
}

/* The library fills the struct, and refuses it without a size. */
#define IS_FILLED(name, call)                                                                      \
    ((call) == 0 && room_is_right(#name, sizeof(struct husk_##name)) &&                            \
     memset(room, 0, sizeof(size_t)) != NULL && (call) == HUSK_E_INVAL)
#define ROOM(name) ((struct husk_##name *)room_new(sizeof(struct husk_##name)))
#define SAME_ROOM(name) ((struct husk_##name *)room)
#define NO_CACHE "/proc/none" /* a folder that does not exist has no files */

static bool outputs_are_right(husk_engine *engine, const husk_image *image, husk_sandbox *sandbox) {
    (void)ROOM(exception_info); /* the last call threw */
    bool is_thrown =
        IS_FILLED(exception_info, husk_sandbox_exception(sandbox, SAME_ROOM(exception_info), NULL));
    (void)ROOM(host_info);
    bool is_right = IS_FILLED(host_info, husk_engine_host_info(engine, SAME_ROOM(host_info)));
    (void)ROOM(stats);
    is_right &= IS_FILLED(stats, husk_engine_stats(engine, SAME_ROOM(stats)));
    (void)ROOM(sandbox_stats);
    is_right &= IS_FILLED(sandbox_stats, husk_sandbox_stats(sandbox, SAME_ROOM(sandbox_stats)));
    (void)ROOM(histogram);
    is_right &= IS_FILLED(
        histogram, husk_engine_histogram(engine, HUSK_HISTOGRAM_RESTORE, SAME_ROOM(histogram)));
    (void)ROOM(image_info);
    is_right &= IS_FILLED(image_info, husk_image_info(image, SAME_ROOM(image_info)));
    (void)ROOM(extern);
    is_right &= IS_FILLED(extern, husk_image_export(image, 0, SAME_ROOM(extern)));
    /* Only the size of this one is read, because the module has nothing of WASI. */
    (void)ROOM(wasi_output);
    is_right &=
        husk_sandbox_wasi_output(sandbox, 1, SAME_ROOM(wasi_output), NULL) == HUSK_E_NOT_FOUND;
    SAME_ROOM(wasi_output)->size = 0;
    is_right &= husk_sandbox_wasi_output(sandbox, 1, SAME_ROOM(wasi_output), NULL) == HUSK_E_INVAL;
    /* Nor has it a standing call. */
    (void)ROOM(standing);
    is_right &= husk_image_standing(image, SAME_ROOM(standing), NULL) == HUSK_E_NOT_FOUND;
    SAME_ROOM(standing)->size = 0;
    is_right &= husk_image_standing(image, SAME_ROOM(standing), NULL) == HUSK_E_INVAL;
    (void)ROOM(wasm_info);
    is_right &=
        IS_FILLED(wasm_info, husk_wasm_describe(wasm, sizeof wasm, SAME_ROOM(wasm_info), NULL));
    (void)ROOM(cache_info);
    is_right &= IS_FILLED(cache_info, husk_cache_info(NO_CACHE, SAME_ROOM(cache_info), NULL));
    (void)ROOM(cache_cleaned);
    is_right &=
        IS_FILLED(cache_cleaned, husk_cache_clean(NO_CACHE, NULL, SAME_ROOM(cache_cleaned), NULL));
    return is_right && is_thrown;
}

static struct husk_call call_of_add(const struct all *all, const struct husk_value *args,
                                    struct husk_value *ret_sum) {
    struct husk_call call = all->call;
    call.name = "add";
    call.args = args;
    call.args_count = 2;
    call.results = ret_sum;
    call.results_count = 1;
    call.limits = &all->limits;
    return call;
}

/* With the parts of a request, as far as this program's headers have them. */
static int define_wasi(const struct all *all, husk_imports *imports, struct husk_error *err) {
    struct husk_wasi_options options = all->wasi;
#ifdef HAS_LATER
    struct husk_wasi_request request = all->request;
    request.stdin_stream = &all->stream;
    request.clock = &all->clock;
    options.request = &request;
#endif
    return husk_imports_wasi(imports, &options, err);
}

/* An extern without its first fields says nothing. */
static int define_global(const struct all *all, husk_imports *imports, struct husk_error *err) {
#ifdef HAS_LATER
    const struct husk_value zero = husk_i32(0);
    struct husk_extern global = all->global;
    global.kind = HUSK_EXTERN_GLOBAL;
    global.module = "env";
    global.name = "zero";
    global.type = HUSK_I32;
    return husk_imports_define(imports, &global, &zero, err);
#else
    (void)all, (void)imports, (void)err;
    return 0;
#endif
}

struct thrower {
    const struct all *all;
    const husk_image *image;
    int status; /* of husk_caller_throw() */
};

static int host_throws(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    struct thrower *thrower = user;
    struct husk_throw throws = thrower->all->throws;
    (void)args, (void)results;
    thrower->status = husk_image_tag(thrower->image, "t", 0, &throws.tag, NULL);
    if (thrower->status == 0)
        thrower->status = husk_caller_throw(caller, &throws);
    return thrower->status;
}

static int define_thrower(husk_imports *imports, struct thrower *thrower, struct husk_error *err) {
    const struct husk_host_func row = {
        .module = "env", .name = "host", .fn = host_throws, .user = thrower};
    return husk_imports_funcs(imports, &row, 1, err);
}

/* The exception, or its refusal, which is the error. */
static bool exception_is_right(husk_sandbox *sandbox, const struct all *all,
                               const struct thrower *thrower, struct husk_error *err) {
    struct husk_outcome *outcome = ROOM(outcome);
    struct husk_call call = all->call;
    call.name = "throw";
    if (husk_call(sandbox, &call, outcome, err) != 0)
        return false;
    if (thrower->status == HUSK_E_STATE)
        return true;
    err->status = thrower->status;
#ifdef HAS_LATER
    const char *refusal = strstr(outcome->message, "husk_throw");
    snprintf(err->message, sizeof err->message, "%s", refusal != NULL ? refusal : "?");
#endif
    return false;
}

static bool outcomes_are_refused(const struct all *all, husk_sandbox *sandbox,
                                 const struct husk_value *args) {
    struct husk_outcome *unset = ROOM(outcome);
    struct husk_value sum;
    struct husk_many many = all->many;
    struct husk_bytes bytes = all->bytes;
    unset->size = 0;
    const struct husk_call call = call_of_add(all, args, &sum);
    return husk_call(sandbox, &call, unset, NULL) == HUSK_E_INVAL &&
           husk_sandbox_start(sandbox, NULL, unset, NULL) == HUSK_E_INVAL &&
           husk_call_many(sandbox, &call, &many, unset, NULL) == HUSK_E_INVAL &&
           husk_call_bytes(sandbox, &call, &bytes, unset, NULL) == HUSK_E_INVAL;
}

/* Two calls of "add" in one. */
static bool many_add(const struct all *all, husk_sandbox *sandbox, struct husk_outcome *outcome,
                     struct husk_error *err) {
    const struct husk_value args[4] = {husk_i32(1), husk_i32(2), husk_i32(3), husk_i32(4)};
    struct husk_value sums[2];
    struct husk_call call = call_of_add(all, args, sums);
    struct husk_many many = all->many;
    call.args_count = 4;
    call.results_count = 2;
    many.count = 2;
    return husk_call_many(sandbox, &call, &many, outcome, err) == 0 && many.returned == 2 &&
           sums[0].of.i32 == 3 && sums[1].of.i32 == 7;
}

/* A call of "add" with bytes fails only because the module has no allocator. */
static bool allocator_is_missed(const struct all *all, husk_sandbox *sandbox,
                                struct husk_outcome *outcome, struct husk_error *err) {
    struct husk_call call = all->call;
    struct husk_bytes bytes = all->bytes;
    call.name = "add";
    return husk_call_bytes(sandbox, &call, &bytes, outcome, err) == HUSK_E_NOT_FOUND;
}

/* These two return NULL when all is done; else the function that failed. */
static const char *make_imports(const struct all *all, husk_engine *engine, struct thrower *thrower,
                                husk_imports **ret_imports, struct husk_error *err) {
    if (husk_imports_new(engine, ret_imports, err) != 0)
        return "husk_imports_new";
    if (define_wasi(all, *ret_imports, err) != 0)
        return "husk_imports_wasi";
    if (define_thrower(*ret_imports, thrower, err) != 0)
        return "husk_imports_funcs";
    if (husk_cache_clean(NO_CACHE, &all->clean, NULL, err) != 0)
        return "husk_cache_clean";
    return define_global(all, *ret_imports, err) != 0 ? "husk_imports_define" : NULL;
}

static const char *run(const struct all *all, int *ret_sum, struct husk_error *err) {
    const struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = 19},
                                       {.type = HUSK_I32, .of.i32 = 23}};
    struct husk_outcome *outcome;
    struct husk_value sum = {.of.i32 = -1};
    struct thrower thrower = {all, NULL, 0};
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image;
    husk_sandbox *sandbox;
    int fd;
    if (husk_compile(wasm, sizeof wasm, &all->compile, &fd, err) != 0)
        return "husk_compile";
    if (husk_engine_new(&all->engine, &engine, err) != 0)
        return "husk_engine_new";
    const char *failed = make_imports(all, engine, &thrower, &imports, err);
    if (failed != NULL)
        return failed;
    if (husk_image_open_fd(engine, fd, &all->open, &image, err) != 0)
        return "husk_image_open_fd";
    thrower.image = image;
    if (husk_sandbox_new(image, imports, &all->sandbox, &sandbox, err) != 0)
        return "husk_sandbox_new";
    outcome = ROOM(outcome);
    if (husk_sandbox_start(sandbox, &all->limits, outcome, err) != 0)
        return "husk_sandbox_start";
    bool is_right = room_is_right("outcome", sizeof *outcome);
    outcome = ROOM(outcome);
    const struct husk_call call = call_of_add(all, args, &sum);
    if (husk_call(sandbox, &call, outcome, err) != 0)
        return "husk_call";
    is_right &= room_is_right("outcome", sizeof *outcome);
    if (husk_call_resume(sandbox, &all->answer, outcome, err) != HUSK_E_STATE)
        return "husk_call_resume"; /* nothing is pending */
    if (!many_add(all, sandbox, outcome, err))
        return "husk_call_many";
    if (!allocator_is_missed(all, sandbox, outcome, err))
        return "husk_call_bytes";
    if (!exception_is_right(sandbox, all, &thrower, err))
        return "husk_caller_throw";
    is_right &=
        outcomes_are_refused(all, sandbox, args) && outputs_are_right(engine, image, sandbox);
    *ret_sum = is_right ? sum.of.i32 : -1;
    husk_sandbox_free(sandbox);
    husk_imports_free(imports);
    husk_image_unref(image);
    husk_engine_unref(engine);
    close(fd);
    return NULL;
}

int main(int argc, char **argv) {
    struct all all = {HUSK_ENGINE_OPTIONS_INIT,
                      HUSK_WASI_OPTIONS_INIT,
                      HUSK_WASI_STREAM_INIT,
                      HUSK_WASI_CLOCK_INIT,
                      HUSK_WASI_REQUEST_INIT,
                      HUSK_SANDBOX_OPTIONS_INIT,
                      HUSK_LIMITS_INIT,
                      HUSK_ANSWER_INIT,
                      HUSK_COMPILE_OPTIONS_INIT,
                      HUSK_OPEN_OPTIONS_INIT,
                      HUSK_CALL_INIT,
                      HUSK_MANY_INIT,
                      HUSK_BYTES_INIT,
                      HUSK_EXTERN_INIT,
                      HUSK_THROW_INIT,
                      HUSK_CACHE_CLEAN_OPTIONS_INIT};
    struct husk_error err;
    int sum = 0;
    set_first(&all);
    if (argc > 1)
        set_later(&all, argv[1]);
    const char *failed = run(&all, &sum, &err);
    if (failed == NULL)
        printf("%d\n", sum);
    else
        printf("%s: %s: %s\n", failed, husk_status_name(err.status), err.message);
    return failed != NULL;
}
