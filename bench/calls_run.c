/*
 * bench/calls_run.c: measures the smallest operations: opening an image, making and freeing a
 * sandbox, a call, a host call, a call back into the guest, growing memory, a trap. Every row is
 * many samples of one operation.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "exits.h"
#include "husk_compile.h"

enum { SAMPLES_MAX = 4000, HOST_CALLS = 10, NEST_DEPTH = 4, TRAP_DEPTH = 20 };

struct calls {
    const struct bench *bench;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    husk_func empty, add, host_calls, nested, grow, trap;
};

/* What an operation took: in all, outside of KVM_RUN, and how many of these. us < 0: it failed, and
 * that has been reported. */
struct cost {
    double us, outside_us, exits;
};
static const struct cost cost_failed = {.us = -1};

/* Does the operation once. */
typedef struct cost (*sample_fn)(struct calls *calls);

struct row {
    const char *name;
    const char *text;
    sample_fn sample;
    uint32_t samples;
};

struct moment {
    uint64_t ns, ticks;
    struct exits exits;
};

static struct moment moment_now(void) {
    return (struct moment){bench_now_ns(), exits_now(), exits};
}

static struct cost cost_between(const struct moment *from, const struct moment *to) {
    const uint64_t outside = to->ticks - from->ticks - (to->exits.inside - from->exits.inside);
    return (struct cost){(double)(to->ns - from->ns) / 1e3, (double)outside * exits_tick_ns() / 1e3,
                         (double)(to->exits.count - from->exits.count)};
}

/* cost + factor * other */
static struct cost cost_add(struct cost cost, double factor, struct cost other) {
    return (struct cost){cost.us + factor * other.us, cost.outside_us + factor * other.outside_us,
                         cost.exits + factor * other.exits};
}

static int host_add(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    (void)caller;
    (void)user;
    results[0].of.i32 = (int32_t)((uint32_t)args[0].of.i32 + (uint32_t)args[1].of.i32);
    return 0;
}

static int host_nest(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    const struct calls *calls = user;
    struct husk_outcome outcome;
    struct husk_error err;
    outcome.size = sizeof outcome; /* alone: zeroing all of it would be measured, too */
    int status = husk_call(husk_caller_sandbox(caller),
                           &(struct husk_call){.size = sizeof(struct husk_call),
                                               .func = calls->nested,
                                               .args = args,
                                               .args_count = 1,
                                               .results = results,
                                               .results_count = 1},
                           &outcome, &err);
    if (status != 0 || outcome.kind != HUSK_RETURNED)
        return husk_caller_fail(caller, "nested call: %s",
                                status != 0 ? err.message : outcome.message);
    return 0;
}

static struct cost cost_reported(int failure) {
    (void)failure;
    return cost_failed;
}

/* One timed call that must end as `kind`. */
static struct cost call_time(struct calls *calls, husk_func func, const int32_t *arg,
                             bool has_result, enum husk_outcome_kind kind) {
    struct husk_value value = {.type = HUSK_I32, .of.i32 = arg != NULL ? *arg : 0};
    struct husk_value result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    const struct moment start = moment_now();
    int status = husk_call(calls->sandbox,
                           &(struct husk_call){.size = sizeof(struct husk_call),
                                               .func = func,
                                               .args = &value,
                                               .args_count = arg != NULL,
                                               .results = &result,
                                               .results_count = has_result},
                           &outcome, &err);
    const struct moment end = moment_now();
    if (status != 0 || outcome.kind != kind)
        return cost_reported(bench_fail_outcome("call", status, &outcome, &err));
    return cost_between(&start, &end);
}

static struct cost sample_empty(struct calls *calls) {
    return call_time(calls, calls->empty, NULL, false, HUSK_RETURNED);
}

static struct cost sample_named(struct calls *calls) {
    struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = 20},
                                 {.type = HUSK_I32, .of.i32 = 22}};
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_value result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    options.wall_ns = 1000000000;
    const struct moment start = moment_now();
    int status = husk_call(calls->sandbox,
                           &(struct husk_call){.size = sizeof(struct husk_call),
                                               .name = "add",
                                               .args = args,
                                               .args_count = 2,
                                               .results = &result,
                                               .results_count = 1,
                                               .limits = &options},
                           &outcome, &err);
    const struct moment end = moment_now();
    if (status != 0 || outcome.kind != HUSK_RETURNED || result.of.i32 != 42)
        return cost_reported(bench_fail_outcome("add", status, &outcome, &err));
    return cost_between(&start, &end);
}

/* Few calls per sample, so that a busy machine seldom takes the CPU away in one; less a call that
 * makes none. */
static struct cost sample_host_call(struct calls *calls) {
    const int32_t none = 0;
    const int32_t count = HOST_CALLS;
    const struct cost without = call_time(calls, calls->host_calls, &none, true, HUSK_RETURNED);
    const struct cost with = call_time(calls, calls->host_calls, &count, true, HUSK_RETURNED);
    if (without.us < 0 || with.us < 0)
        return cost_failed;
    const struct cost cost =
        cost_add((struct cost){0}, 1 / (double)HOST_CALLS, cost_add(with, -1, without));
    return cost.us > 0 ? cost : (struct cost){0};
}

static struct cost sample_nested(struct calls *calls) {
    int32_t depth = NEST_DEPTH;
    const struct cost cost = call_time(calls, calls->nested, &depth, true, HUSK_RETURNED);
    return cost_add((struct cost){0}, 1 / (double)NEST_DEPTH, cost);
}

static struct cost sample_trap(struct calls *calls) {
    int32_t depth = TRAP_DEPTH;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_error err;
    const struct cost call = call_time(calls, calls->trap, &depth, true, HUSK_TRAPPED);
    const struct moment start = moment_now();
    if (call.us < 0 || husk_sandbox_backtrace(calls->sandbox, &backtrace, &err) != 0)
        return cost_failed;
    const struct moment end = moment_now();
    return cost_add(call, 1, cost_between(&start, &end));
}

/* By one wasm page. Shrinking is impossible, so each sample has a sandbox of its own; only the
 * grown call is timed. */
static struct cost sample_grow(struct calls *calls) {
    struct husk_error err;
    struct calls own = *calls;
    int32_t pages = 1;
    if (husk_sandbox_new(calls->image, calls->imports, NULL, &own.sandbox, &err) != 0)
        return cost_reported(bench_fail("sandbox", &err));
    struct cost cost = call_time(&own, own.empty, NULL, false, HUSK_RETURNED);
    cost = cost.us < 0 ? cost : call_time(&own, own.grow, &pages, true, HUSK_RETURNED);
    husk_sandbox_free(own.sandbox);
    return cost;
}

/* What part of a sandbox's life is timed. */
enum life { LIFE_NEW, LIFE_FIRST_CALL, LIFE_FREE, LIFE_ALL };

static struct cost life_time(struct calls *calls, enum life life) {
    struct husk_error err;
    struct calls own = *calls;
    struct moment at[4];
    at[0] = moment_now();
    if (husk_sandbox_new(calls->image, calls->imports, NULL, &own.sandbox, &err) != 0)
        return cost_reported(bench_fail("sandbox", &err));
    at[1] = moment_now();
    const struct cost call = call_time(&own, own.empty, NULL, false, HUSK_RETURNED);
    at[2] = moment_now();
    husk_sandbox_free(own.sandbox);
    at[3] = moment_now();
    if (call.us < 0)
        return call;
    return life == LIFE_ALL ? cost_between(&at[0], &at[3]) : cost_between(&at[life], &at[life + 1]);
}

static struct cost sample_new(struct calls *calls) {
    return life_time(calls, LIFE_NEW);
}

static struct cost sample_first_call(struct calls *calls) {
    return life_time(calls, LIFE_FIRST_CALL);
}

static struct cost sample_free(struct calls *calls) {
    return life_time(calls, LIFE_FREE);
}

static struct cost sample_life(struct calls *calls) {
    return life_time(calls, LIFE_ALL);
}

static struct cost sample_open(struct calls *calls) {
    struct husk_error err;
    husk_image *image;
    char path[4096];
    snprintf(path, sizeof path, "%s/micro.husk", calls->bench->scratch_dir);
    const struct moment start = moment_now();
    int status = husk_image_open(
        calls->bench->engine, path,
        &(struct husk_open_options){.size = sizeof(struct husk_open_options), .skips_hash = true},
        &image, &err);
    const struct moment end = moment_now();
    if (status != 0)
        return cost_reported(bench_fail(path, &err));
    husk_image_unref(image);
    return cost_between(&start, &end);
}

static const struct row rows[] = {
    {"call", "call of an empty function", sample_empty, 4000},
    {"call_named", "call by name, 2 arguments, 1 result, with a deadline", sample_named, 4000},
    {"host_call", "host call and back", sample_host_call, 1000},
    {"nested_call", "host call that calls the guest, and back", sample_nested, 1000},
    {"trap", "call that traps 20 frames deep, with its backtrace", sample_trap, 1000},
    {"memory_grow", "call that grows memory by a page of 64 KiB, first time", sample_grow, 200},
    {"image_open", "open an image file", sample_open, 400},
    {"sandbox_new", "make a sandbox", sample_new, 200},
    {"first_call", "first call in a new sandbox", sample_first_call, 200},
    {"sandbox_free", "free a sandbox", sample_free, 200},
    {"sandbox_life", "make, call once, free", sample_life, 200},
};

static void row_print(const struct calls *calls, const struct row *row, struct spread us,
                      struct spread outside, double exits_count) {
    FILE *json = calls->bench->json;
    printf("  %-56s %9.2f %9.2f %9.2f %9.2f %7.2f\n", row->text, us.p10, us.p50, us.p90,
           outside.p50, outside.p50 + exits_count * HARDWARE_EXIT_NS / 1e3);
    fflush(stdout);
    fprintf(json, "{\"bench\":\"call\",\"name\":\"%s\",\"samples\":%u,", row->name, row->samples);
    json_spread(json, "us", us);
    fputc(',', json);
    json_spread(json, "outside_us", outside);
    fprintf(json, ",\"exits\":%.4g}\n", exits_count);
}

static int row_run(struct calls *calls, const struct row *row) {
    static double us[SAMPLES_MAX], outside[SAMPLES_MAX], exits_counts[SAMPLES_MAX];
    for (uint32_t i = 0; i < 10; i++)
        if (row->sample(calls).us < 0)
            return -1;
    for (uint32_t i = 0; i < row->samples; i++) {
        const struct cost cost = row->sample(calls);
        if (cost.us < 0)
            return -1;
        us[i] = cost.us;
        outside[i] = cost.outside_us;
        exits_counts[i] = cost.exits;
    }
    row_print(calls, row, spread_of(us, row->samples), spread_of(outside, row->samples),
              spread_of(exits_counts, row->samples).p50);
    return 0;
}

static int imports_make(struct calls *calls, struct husk_error *err) {
    static const husk_type two[2] = {HUSK_I32, HUSK_I32};
    const struct husk_functype add_type = {two, 2, two, 1};
    const struct husk_functype nest_type = {two, 1, two, 1};
    int status = husk_imports_new(calls->bench->engine, &calls->imports, err);
    if (status == 0)
        status = husk_imports_funcs(
            calls->imports,
            &(struct husk_host_func){
                .module = "bench", .name = "host", .type = &add_type, .fn = host_add},
            1, err);
    if (status == 0)
        status = husk_imports_funcs(calls->imports,
                                    &(struct husk_host_func){.module = "bench",
                                                             .name = "nest",
                                                             .type = &nest_type,
                                                             .fn = host_nest,
                                                             .user = calls},
                                    1, err);
    return status;
}

static int funcs_find(struct calls *calls, struct husk_error *err) {
    const struct {
        const char *name;
        husk_func *func;
    } wanted[] = {
        {"empty", &calls->empty},   {"add", &calls->add},   {"host_calls", &calls->host_calls},
        {"nested", &calls->nested}, {"grow", &calls->grow}, {"trap", &calls->trap}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        int status = husk_image_func(calls->image, wanted[i].name, 0, wanted[i].func, err);
        if (status != 0)
            return status;
    }
    return 0;
}

/* The image as a file too: sample_open() opens it by path. */
static int image_write(const struct bench *bench, struct husk_error *err) {
    *err = (struct husk_error){.status = HUSK_E_SYS, .message = "the micro module cannot be read"};
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    char path[4096];
    uint8_t *wasm;
    size_t count;
    snprintf(path, sizeof path, "%s/micro.wasm", bench->wasm_dir);
    if (module_read(path, &wasm, &count) != 0)
        return err->status;
    options.worker_path = bench->worker_path;
    snprintf(path, sizeof path, "%s/micro.husk", bench->scratch_dir);
    int status = husk_compile_to_file(wasm, count, &options, path, err);
    free(wasm);
    return status;
}

int bench_calls(const struct bench *bench) {
    struct calls calls = {.bench = bench};
    struct husk_error err;
    int result = -1;
    if (bench_load(bench, "micro", &calls.image) != 0)
        return -1;
    if (imports_make(&calls, &err) != 0 || funcs_find(&calls, &err) != 0 ||
        image_write(bench, &err) != 0 ||
        husk_sandbox_new(calls.image, calls.imports, NULL, &calls.sandbox, &err) != 0) {
        bench_fail("calls", &err);
    } else {
        printf("\ncalls: µs each; of it outside of KVM_RUN; the whole at exits of 1.5 µs\n"
               "  %-56s %9s %9s %9s %9s %7s\n",
               "", "p10", "median", "p90", "outside", "at 1.5");
        result = 0;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            result |= row_run(&calls, &rows[i]);
    }
    husk_sandbox_free(calls.sandbox);
    husk_imports_free(calls.imports);
    husk_image_unref(calls.image);
    return result;
}
