/*
 * bench/tails_run.c: what tail calls cost: a machine of states as functions that end in tail calls,
 * against the same as a loop with a switch (micro/tails.c). They take turns in one sandbox. The
 * results must agree.
 */
#include <string.h>

#include "bench.h"

enum { LOOP, TAILS, FORMS, ROUNDS_MAX = 1000, RUNS = 10 };
static const char *const form_names[FORMS] = {"loop", "tails"};

static int form_run(husk_sandbox *sandbox, const char *name, uint32_t runs, double *ret_ms,
                    int64_t *ret_sum) {
    struct husk_value result = {.type = HUSK_I64};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    const struct husk_call call = {
        .size = sizeof call, .name = name, .results = &result, .results_count = ret_sum != NULL};
    uint64_t start = bench_cpu_ns();
    for (uint32_t i = 0; i < runs; i++) {
        int status = husk_call(sandbox, &call, &outcome, &err);
        if (status != 0 || outcome.kind != HUSK_RETURNED)
            return bench_fail_outcome(name, status, &outcome, &err);
    }
    if (ret_sum == NULL)
        return 0;
    *ret_ms = (double)(bench_cpu_ns() - start) / 1e6 / runs;
    *ret_sum = result.of.i64;
    return 0;
}

static void report(const struct bench *bench, double ms[FORMS][ROUNDS_MAX], double *ratio) {
    const struct spread loop_ms = spread_of(ms[LOOP], bench->rounds);
    const struct spread tails_ms = spread_of(ms[TAILS], bench->rounds);
    const struct spread spread = spread_of(ratio, bench->rounds);
    printf("\ntail calls, %u rounds: CPU ms (median) of a tokenizer over 1 MiB, as a loop with a "
           "switch and as functions that\nend in tail calls, ratio (median, p10-p90)\n"
           "  %-12s %-11s %9.2f %9.2f %8.3f  %.3f-%.3f\n",
           bench->rounds, "tokenizer", "states", loop_ms.p50, tails_ms.p50, spread.p50, spread.p10,
           spread.p90);
    fflush(stdout);
    fprintf(bench->json, "{\"bench\":\"tails\",\"name\":\"tokenizer\",\"rounds\":%u,",
            bench->rounds);
    json_spread(bench->json, "loop_ms", loop_ms);
    fputc(',', bench->json);
    json_spread(bench->json, "tails_ms", tails_ms);
    fputc(',', bench->json);
    json_spread(bench->json, "ratio", spread);
    fputs("}\n", bench->json);
}

/* The first round is not counted. */
static int rounds_run(const struct bench *bench, husk_sandbox *sandbox) {
    static double ms[FORMS][ROUNDS_MAX], ratio[ROUNDS_MAX];
    if (form_run(sandbox, "prepare", 1, NULL, NULL) != 0)
        return -1;
    for (uint32_t i = 0; i <= bench->rounds; i++) {
        const uint32_t at = i == 0 ? 0 : i - 1;
        int64_t sums[FORMS];
        for (int form = 0; form < FORMS; form++)
            if (form_run(sandbox, form_names[form], RUNS, &ms[form][at], &sums[form]) != 0)
                return -1;
        if (sums[LOOP] != sums[TAILS]) {
            fprintf(stderr, "husk_bench: tails: the results differ\n");
            return -1;
        }
        ratio[at] = ms[TAILS][at] / ms[LOOP][at];
    }
    report(bench, ms, ratio);
    return 0;
}

int bench_tails(const struct bench *bench) {
    struct husk_error err;
    husk_image *image;
    husk_sandbox *sandbox = NULL;
    if (bench->rounds == 0 || bench->rounds > ROUNDS_MAX) {
        fprintf(stderr, "husk_bench: between 1 and %d rounds\n", ROUNDS_MAX);
        return -1;
    }
    if (bench_load(bench, "tails", &image) != 0)
        return -1;
    int result = -1;
    if (husk_sandbox_new(image, NULL, NULL, &sandbox, &err) != 0)
        bench_fail("tails", &err);
    else
        result = rounds_run(bench, sandbox);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    return result;
}
