/*
 * bench/tries_run.c: what exceptions cost: the same loops with and without a try around them or in
 * them, and throws through some frames (micro/tries.cpp).
 */
#include <string.h>

#include "bench.h"

enum { ROUNDS_MAX = 200, LOOP_COUNT = 1000000, THROWS_COUNT = 20000 };

struct tries {
    const struct bench *bench;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
};

struct pair {
    const char *text, *plain, *with_try;
};

static const struct pair pairs[] = {
    {"loop of calls", "calls_plain", "calls_try"},
    {"loop of calls and memory, many live values", "busy_plain", "busy_try"},
    {"loop with a call for 16 bytes", "bytes_plain", "bytes_try"},
    {"loop of calls, with the try inside", "inner_plain", "inner_try"},
};

struct throws {
    const char *text, *name;
};

static const struct throws throws[] = {
    {"a throw through 2 frames", "throws_1"},
    {"a throw through 11 frames", "throws_10"},
    {"a throw through 101 frames", "throws_100"},
};

/* The thread's CPU time of one call, in µs; negative after a failure that has been reported. */
static double call_us(const struct tries *tries, const char *name, int32_t count,
                      int32_t *ret_result) {
    struct husk_value arg = {.type = HUSK_I32, .of.i32 = count}, result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    uint64_t start = bench_cpu_ns();
    int status = husk_call(tries->sandbox,
                           &(struct husk_call){.size = sizeof(struct husk_call),
                                               .name = name,
                                               .args = &arg,
                                               .args_count = 1,
                                               .results = &result,
                                               .results_count = 1},
                           &outcome, &err);
    uint64_t end = bench_cpu_ns();
    if (status != 0 || outcome.kind != HUSK_RETURNED)
        return bench_fail_outcome(name, status, &outcome, &err);
    *ret_result = result.of.i32;
    return (double)(end - start) / 1e3;
}

/* In turns, so that both see the same machine. */
static int pair_run(const struct tries *tries, const struct pair *pair, uint32_t rounds) {
    double plain[ROUNDS_MAX], with_try[ROUNDS_MAX], ratios[ROUNDS_MAX];
    int32_t results[2];
    for (uint32_t i = 0; i < rounds; i++) {
        plain[i] = call_us(tries, pair->plain, LOOP_COUNT, &results[0]);
        with_try[i] = call_us(tries, pair->with_try, LOOP_COUNT, &results[1]);
        if (plain[i] < 0 || with_try[i] < 0)
            return -1;
        if (results[0] != results[1]) {
            printf("  %s: %d and %d differ\n", pair->text, results[0], results[1]);
            return -1;
        }
        ratios[i] = with_try[i] / plain[i];
    }
    struct spread us[2] = {spread_of(plain, rounds), spread_of(with_try, rounds)};
    struct spread ratio = spread_of(ratios, rounds);
    printf("  %-46s %9.0f %9.0f %9.3f %9.3f %9.3f\n", pair->text, us[0].p50, us[1].p50, ratio.p10,
           ratio.p50, ratio.p90);
    fprintf(tries->bench->json, "{\"bench\":\"try\",\"name\":\"%s\",\"rounds\":%u,", pair->with_try,
            rounds);
    json_spread(tries->bench->json, "plain_us", us[0]);
    fputc(',', tries->bench->json);
    json_spread(tries->bench->json, "try_us", us[1]);
    fputc(',', tries->bench->json);
    json_spread(tries->bench->json, "ratio", ratio);
    fputs("}\n", tries->bench->json);
    return 0;
}

static int throws_run(const struct tries *tries, const struct throws *row, uint32_t rounds) {
    double ns[ROUNDS_MAX];
    int32_t caught;
    for (uint32_t i = 0; i < rounds; i++) {
        double us = call_us(tries, row->name, THROWS_COUNT, &caught);
        if (us < 0)
            return -1;
        ns[i] = us * 1e3 / (double)THROWS_COUNT;
    }
    struct spread spread = spread_of(ns, rounds);
    printf("  %-46s %9.0f %9.0f %9.0f ns\n", row->text, spread.p10, spread.p50, spread.p90);
    fprintf(tries->bench->json, "{\"bench\":\"throw\",\"name\":\"%s\",\"rounds\":%u,", row->name,
            rounds);
    json_spread(tries->bench->json, "ns", spread);
    fputs("}\n", tries->bench->json);
    return 0;
}

static int rows_run(const struct tries *tries) {
    uint32_t rounds = tries->bench->rounds < ROUNDS_MAX ? tries->bench->rounds : ROUNDS_MAX;
    int result = 0;
    int32_t ignored;
    if (call_us(tries, "throws_10", 10, &ignored) < 0)
        return -1;
    printf("\nexceptions: µs of CPU time of a call, and the ratio\n  %-46s %9s %9s %9s %9s %9s\n",
           "", "plain", "with try", "p10", "median", "p90");
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        result |= pair_run(tries, &pairs[i], rounds);
    printf("  %-46s %9s %9s %9s\n", "", "p10", "median", "p90");
    for (size_t i = 0; i < sizeof throws / sizeof throws[0]; i++)
        result |= throws_run(tries, &throws[i], rounds);
    return result;
}

int bench_tries(const struct bench *bench) {
    struct tries tries = {.bench = bench};
    struct husk_error err;
    int result = -1;
    if (bench_load(bench, "tries", &tries.image) != 0)
        return -1;
    if (husk_imports_new(bench->engine, &tries.imports, &err) != 0 ||
        husk_sandbox_new(tries.image, tries.imports, NULL, &tries.sandbox, &err) != 0)
        bench_fail("exceptions", &err);
    else
        result = rows_run(&tries);
    husk_sandbox_free(tries.sandbox);
    husk_imports_free(tries.imports);
    husk_image_unref(tries.image);
    return result;
}
