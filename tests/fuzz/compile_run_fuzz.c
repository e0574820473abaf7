/*
 * Fuzz target: any bytes. A valid module is compiled at -O0 and -O2, and every exported function
 * without parameters runs in a VM (if there is KVM). The two must agree, the compiler must not
 * fail, and compiled code must never cause a guest violation. Inputs:
 * tests/fuzz/corpus/compile_run, made from tests/fuzz/wat/run_*.wat with wat2wasm. Good further
 * ones: `wasm-opt -ttf`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "husk_compile.h"
#include "literals.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CALLS_MAX 32
#define RESULTS_MAX 16
#define WALL_NS 200000000u

struct call_record {
    enum husk_outcome_kind kind;
    enum husk_trap trap;
    size_t results_count;
    struct husk_value results[RESULTS_MAX];
};

struct run_record {
    struct call_record calls[CALLS_MAX];
    size_t calls_count;
    bool is_over; /* from here on the two may differ: a deadline, a trap, a limit */
};

static void require(bool is_true, const char *what, const struct husk_error *err) {
    if (!is_true) {
        fprintf(stderr, "compile_run: %s: %d %s\n", what, err->status, err->message);
        abort();
    }
}

static husk_engine *the_engine(void) {
    static husk_engine *engine;
    static bool is_tried;
    if (!is_tried)
        husk_engine_new(NULL, &engine, NULL);
    is_tried = true;
    return engine;
}

static int host_function(husk_caller *caller, void *user, const struct husk_value *args,
                         struct husk_value *results) {
    (void)caller;
    (void)user;
    (void)args;
    (void)results; /* preset to zero */
    return 0;
}

/* Whatever the module wants to import. False: it wants something that cannot be given (two types
 * for one name, …). */
static bool define_imports(const husk_image *image, husk_imports *imports) {
    for (size_t i = 0; i < husk_image_imports_count(image); i++) {
        struct husk_extern item = HUSK_EXTERN_INIT;
        int status = husk_image_import(image, i, &item);
        struct husk_value zero = {.type = item.type};
        uint64_t max = item.has_max ? item.max : UINT64_MAX;
        if (status == 0 && item.kind == HUSK_EXTERN_FUNC)
            status = husk_imports_funcs(imports,
                                        &(struct husk_host_func){.module = item.module,
                                                                 .name = item.name,
                                                                 .type = &item.func,
                                                                 .fn = host_function},
                                        1, NULL);
        else if (status == 0 && item.kind == HUSK_EXTERN_GLOBAL)
            status = husk_imports_define(imports,
                                         EXTERN(GLOBAL, item.module, item.name, .type = zero.type,
                                                .is_mutable = item.is_mutable),
                                         &zero, NULL);
        else if (status == 0 && item.kind == HUSK_EXTERN_TAG)
            status = husk_imports_define(imports, &item, NULL, NULL);
        else if (status == 0 && item.kind == HUSK_EXTERN_MEMORY)
            status = husk_imports_define(imports,
                                         EXTERN(MEMORY, item.module, item.name, .min = item.min,
                                                .has_max = max != UINT64_MAX, .max = max,
                                                .is_shared = item.is_shared),
                                         NULL, NULL);
        else if (status == 0)
            status = husk_imports_define(imports,
                                         EXTERN(TABLE, item.module, item.name, .type = item.type,
                                                .min = item.min, .has_max = max != UINT64_MAX,
                                                .max = max),
                                         NULL, NULL);
        if (status != 0)
            return false;
    }
    return true;
}

static void record_outcome(struct run_record *run, const struct husk_outcome *outcome,
                           struct call_record *call) {
    struct husk_error none = {0};
    snprintf(none.message, sizeof none.message, "%s", outcome->message);
    require(outcome->kind != HUSK_GUEST_VIOLATION, "guest violation", &none);
    call->kind = outcome->kind;
    call->trap = outcome->trap;
    /* levels differ in speed, in frame size, and in what old references are still on the stack */
    if (outcome->kind == HUSK_DEADLINE || outcome->trap == HUSK_TRAP_CALL_STACK_EXHAUSTED ||
        outcome->trap == HUSK_TRAP_EXCEPTION_REFERENCES)
        run->calls_count--;
    run->is_over =
        outcome->kind != HUSK_RETURNED; /* what a function stored before its trap may differ, too */
}

static void call_exports(husk_sandbox *sandbox, const husk_image *image, struct run_record *run) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_error err = {0};
    static struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    options.wall_ns = WALL_NS;
    for (size_t i = 0;
         i < husk_image_exports_count(image) && run->calls_count < CALLS_MAX && !run->is_over;
         i++) {
        struct husk_extern item = HUSK_EXTERN_INIT;
        if (husk_image_export(image, i, &item) != 0 || item.kind != HUSK_EXTERN_FUNC ||
            item.func.params_count != 0 || item.func.results_count > RESULTS_MAX)
            continue;
        struct call_record *call = &run->calls[run->calls_count++];
        call->results_count = item.func.results_count;
        husk_func func;
        int status = husk_image_func(image, item.name, item.name_bytes, &func, &err);
        if (status == 0)
            status = husk_call(sandbox,
                               CALL(.func = func, .results = call->results,
                                    .results_count = call->results_count, .limits = &options),
                               &outcome, &err);
        require(status == 0, "husk_call", &err);
        record_outcome(run, &outcome, call);
    }
}

static void run_image(husk_engine *engine, husk_image *image, struct run_record *run) {
    struct husk_sandbox_options limits = HUSK_SANDBOX_OPTIONS_INIT;
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_error err = {0};
    static struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    husk_imports *imports = NULL;
    husk_sandbox *sandbox = NULL;
    limits.memory_max_bytes = 64u << 20;
    options.wall_ns = WALL_NS;
    require(husk_imports_new(engine, &imports, &err) == 0, "husk_imports_new", &err);
    run->is_over = !define_imports(image, imports);
    if (!run->is_over && husk_sandbox_new(image, imports, &limits, &sandbox, &err) != 0) {
        require(err.status == HUSK_E_LIMIT || err.status == HUSK_E_LINK || err.status == HUSK_E_CPU,
                "husk_sandbox_new", &err);
        run->is_over = true;
    }
    if (!run->is_over) {
        struct call_record *start = &run->calls[run->calls_count++];
        require(husk_sandbox_start(sandbox, &options, &outcome, &err) == 0, "husk_sandbox_start",
                &err);
        record_outcome(run, &outcome, start);
        call_exports(sandbox, image, run);
    }
    husk_sandbox_free(sandbox);
    husk_imports_free(imports);
}

/* False: a limit of the compiler, which any module may hit. */
static bool compile_and_run(const uint8_t *data, size_t size, int opt_level,
                            struct run_record *run) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_error err = {0};
    husk_image *image = NULL;
    int fd = -1;
    options.opt_level = opt_level;
    options.threads = 1;
    options.cpu_limit_ns = 15000000000u;
    options.memory_limit_bytes = 4ull << 30;
    int status = husk_compile(data, size, &options, &fd, &err);
    if (status != 0) {
        require(status == HUSK_E_LIMIT || status == HUSK_E_TIMEOUT || status == HUSK_E_UNSUPPORTED,
                "husk_compile", &err);
        return false;
    }
    require(husk_image_open_fd(the_engine(), fd, NULL, &image, &err) == 0, "husk_image_open_fd",
            &err);
    close(fd);
    if (the_engine() != NULL)
        run_image(the_engine(), image, run);
    husk_image_unref(image);
    return true;
}

/* NaNs may differ in sign and payload (core specification 2.0, section 4.3.3). */
static bool same_value(const struct husk_value *a, const struct husk_value *b) {
    if (a->type == HUSK_F32)
        return memcmp(&a->of, &b->of, 4) == 0 || (a->of.f32 != a->of.f32 && b->of.f32 != b->of.f32);
    if (a->type == HUSK_F64)
        return memcmp(&a->of, &b->of, 8) == 0 || (a->of.f64 != a->of.f64 && b->of.f64 != b->of.f64);
    if (a->type == HUSK_FUNCREF || a->type == HUSK_EXNREF) /* hold addresses */
        return (a->of.ref == 0) == (b->of.ref == 0);
    return memcmp(&a->of, &b->of, a->type == HUSK_V128 ? 16 : a->type == HUSK_I32 ? 4 : 8) == 0;
}

static void compare(const struct run_record *a, const struct run_record *b) {
    struct husk_error detail = {0};
    size_t count = a->calls_count < b->calls_count ? a->calls_count : b->calls_count;
    for (size_t i = 0; i < count; i++) {
        snprintf(detail.message, sizeof detail.message,
                 "call %zu: kind %d trap %d, kind %d trap %d", i, (int)a->calls[i].kind,
                 (int)a->calls[i].trap, (int)b->calls[i].kind, (int)b->calls[i].trap);
        require(a->calls[i].kind == b->calls[i].kind && a->calls[i].trap == b->calls[i].trap,
                "levels disagree", &detail);
        for (size_t k = 0; a->calls[i].kind == HUSK_RETURNED && k < a->calls[i].results_count; k++)
            require(same_value(&a->calls[i].results[k], &b->calls[i].results[k]),
                    "levels return different values", &detail);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct run_record plain, optimised;
    memset(&plain, 0, sizeof plain);
    memset(&optimised, 0, sizeof optimised);
    if (husk_validate(data, size, NULL) != 0)
        return 0;
    if (compile_and_run(data, size, HUSK_OPT_NONE, &plain) &&
        compile_and_run(data, size, 2, &optimised))
        compare(&plain, &optimised);
    return 0;
}
