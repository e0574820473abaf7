/*
 * bench/wide_memory.c: what a large memory costs where few of its pages are written: the same guest
 * with 1 MiB and with 6 GiB of memory.
 */
#include <string.h>

#include "bench.h"

enum { PAGES_WRITTEN = 16, ROUNDS_PER_ROUND = 20, ROUNDS_MAX = 1000 };

enum step { STEP_NEW, STEP_CALL, STEP_RESTORE, STEP_SNAPSHOT, STEPS_COUNT };

struct times {
    double us[STEPS_COUNT][ROUNDS_MAX];
};

static double us_since(uint64_t *start) {
    const uint64_t now = bench_now_ns();
    const double us = (double)(now - *start) / 1e3;
    *start = now;
    return us;
}

static int call(husk_sandbox *sandbox, husk_func func, struct husk_error *err) {
    const struct husk_value arg = {.type = HUSK_I32, .of.i32 = PAGES_WRITTEN};
    struct husk_value result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    const struct husk_call request = {.size = sizeof request,
                                      .func = func,
                                      .args = &arg,
                                      .args_count = 1,
                                      .results = &result,
                                      .results_count = 1};
    int status = husk_call(sandbox, &request, &outcome, err);
    return status == 0 && outcome.kind == HUSK_RETURNED
               ? 0
               : bench_fail_outcome("large", status, &outcome, err);
}

/* Twice, so that the restore is one of a warm sandbox. */
static int round_run(husk_image *image, husk_func func, struct times *times, uint32_t round,
                     struct husk_error *err) {
    husk_sandbox *sandbox = NULL;
    husk_image *snapshot = NULL;
    uint64_t start = bench_now_ns();
    int status = husk_sandbox_new(image, NULL, NULL, &sandbox, err);
    times->us[STEP_NEW][round] = us_since(&start);
    for (int i = 0; i < 2 && status == 0; i++) {
        us_since(&start);
        status = call(sandbox, func, err);
        times->us[STEP_CALL][round] = us_since(&start);
        if (status == 0)
            status = husk_sandbox_restore(sandbox, image, err);
        times->us[STEP_RESTORE][round] = us_since(&start);
    }
    if (status == 0)
        status = call(sandbox, func, err);
    us_since(&start);
    if (status == 0)
        status = husk_sandbox_snapshot(sandbox, &snapshot, err);
    times->us[STEP_SNAPSHOT][round] = us_since(&start);
    husk_image_unref(snapshot);
    husk_sandbox_free(sandbox);
    return status;
}

static int memory_measure(const struct bench *bench, const char *module, const char *text) {
    static const char *const names[STEPS_COUNT] = {"new", "call", "restore", "snapshot"};
    static struct times times;
    const uint32_t rounds = bench->rounds * ROUNDS_PER_ROUND < ROUNDS_MAX
                                ? bench->rounds * ROUNDS_PER_ROUND
                                : ROUNDS_MAX;
    struct husk_error err;
    husk_image *image;
    husk_func func;
    if (bench_load(bench, module, &image) != 0)
        return -1;
    int status = husk_image_func(image, "run", 0, &func, &err);
    for (uint32_t i = 0; i < rounds && status == 0; i++)
        status = round_run(image, func, &times, i, &err);
    husk_image_unref(image);
    if (status != 0)
        return bench_fail(module, &err);
    printf("  %-8s", text);
    fprintf(bench->json, "{\"bench\":\"wide_memory\",\"memory\":\"%s\",\"rounds\":%u", text,
            rounds);
    for (int step = 0; step < STEPS_COUNT; step++) {
        const struct spread spread = spread_of(times.us[step], rounds);
        printf("  %s %.1f (%.1f-%.1f)", names[step], spread.p50, spread.p10, spread.p90);
        fputc(',', bench->json);
        json_spread(bench->json, names[step], spread);
    }
    putchar('\n');
    fputs("}\n", bench->json);
    return 0;
}

int bench_wide_memory(const struct bench *bench) {
    printf("\n64-bit memories of which a call writes %d pages: us (median, p10-p90)\n",
           PAGES_WRITTEN);
    int result = memory_measure(bench, "wide/small", "1 MiB");
    return result | memory_measure(bench, "wide/large", "6 GiB");
}
