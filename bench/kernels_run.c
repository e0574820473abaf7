/*
 * bench/kernels_run.c: runs every kernel natively and in a sandbox, and in V8 if asked (--v8). They
 * take turns, so a slow period of the machine slows all. Times are CPU time of the thread, which
 * also runs the guest. The ratio is the median of the rounds' ratios. Checksums must agree in every
 * round.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "kernel_list.h"
#include "limits.h"
#include "v8_beside.h"

enum { ROUNDS_MAX = 1000, UNOPTIMISED_ROUNDS = 5 };

struct kernel_times {
    double native_ms[ROUNDS_MAX], husk_ms[ROUNDS_MAX], ratio[ROUNDS_MAX];
    double v8_ratio[ROUNDS_MAX];
};

struct kernel_result {
    struct spread native_ms, husk_ms, ratio;
    struct spread v8_ratio; /* V8 / native; zeros without V8 */
};

static int sandbox_run(husk_sandbox *sandbox, husk_func func, const struct kernel *kernel,
                       uint64_t *ret_sum) {
    struct husk_value arg = {.type = HUSK_I32, .of.i32 = (int32_t)kernel->n};
    struct husk_value result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    int status = husk_call(sandbox,
                           &(struct husk_call){.size = sizeof(struct husk_call),
                                               .func = func,
                                               .args = &arg,
                                               .args_count = 1,
                                               .results = &result,
                                               .results_count = 1},
                           &outcome, &err);
    if (status != 0 || outcome.kind != HUSK_RETURNED)
        return bench_fail_outcome(kernel->name, status, &outcome, &err);
    *ret_sum = (uint64_t)result.of.i64;
    return 0;
}

static int check_sum(const struct kernel *kernel, uint64_t native_sum, uint64_t sum,
                     const char *where) {
    if (native_sum == sum)
        return 0;
    fprintf(stderr, "husk_bench: %s: wrong result: native %016" PRIx64 ", %s %016" PRIx64 "\n",
            kernel->name, native_sum, where, sum);
    return -1;
}

/* ret_ms: native, Husk, V8 (0 without). */
static int round_run(const struct bench *bench, const struct kernel *kernel, husk_sandbox *sandbox,
                     husk_func func, double ret_ms[3]) {
    uint64_t start = bench_cpu_ns();
    uint64_t native_sum = kernel->native(kernel->n);
    uint64_t middle = bench_cpu_ns();
    uint64_t husk_sum;
    if (sandbox_run(sandbox, func, kernel, &husk_sum) != 0)
        return -1;
    ret_ms[1] = (double)(bench_cpu_ns() - middle) / 1e6;
    ret_ms[0] = (double)(middle - start) / 1e6;
    ret_ms[2] = 0;
    uint64_t v8_sum = native_sum;
    if (bench->v8 != NULL &&
        v8_beside_run(bench->v8, kernel->name, kernel->n, &ret_ms[2], &v8_sum) != 0)
        return -1;
    int status = check_sum(kernel, native_sum, husk_sum, "in the sandbox");
    return status != 0 ? status : check_sum(kernel, native_sum, v8_sum, "in V8");
}

/* One round that is not counted (page faults, caches), then the counted ones. */
static int rounds_run(const struct bench *bench, const struct kernel *kernel, husk_sandbox *sandbox,
                      husk_func func, struct kernel_result *ret_result) {
    static struct kernel_times times;
    double ms[3];
    if (round_run(bench, kernel, sandbox, func, ms) != 0)
        return -1;
    for (uint32_t i = 0; i < bench->rounds; i++) {
        if (round_run(bench, kernel, sandbox, func, ms) != 0)
            return -1;
        times.native_ms[i] = ms[0];
        times.husk_ms[i] = ms[1];
        times.ratio[i] = ms[1] / ms[0];
        times.v8_ratio[i] = ms[2] / ms[0];
    }
    ret_result->native_ms = spread_of(times.native_ms, bench->rounds);
    ret_result->husk_ms = spread_of(times.husk_ms, bench->rounds);
    ret_result->ratio = spread_of(times.ratio, bench->rounds);
    ret_result->v8_ratio = spread_of(times.v8_ratio, bench->rounds);
    return 0;
}

static int kernel_measure(const struct bench *bench, const struct kernel *kernel,
                          struct kernel_result *ret_result) {
    struct husk_error err;
    husk_image *image;
    husk_sandbox *sandbox = NULL;
    husk_func func;
    if (bench_load(bench, kernel->name, &image) != 0)
        return -1;
    int result = -1;
    if (husk_image_func(image, "run", 0, &func, &err) != 0 ||
        husk_sandbox_new(image, NULL, NULL, &sandbox, &err) != 0)
        bench_fail(kernel->name, &err);
    else
        result = rounds_run(bench, kernel, sandbox, func, ret_result);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    return result;
}

static void kernel_report(const struct bench *bench, const struct kernel *kernel,
                          const struct kernel_result *result) {
    printf("  %-12s %-11s %9.2f %9.2f %8.3f  %.3f-%.3f", kernel->name, kernel->group,
           result->native_ms.p50, result->husk_ms.p50, result->ratio.p50, result->ratio.p10,
           result->ratio.p90);
    if (bench->v8 != NULL)
        printf("  V8 %.3f  %.3f-%.3f", result->v8_ratio.p50, result->v8_ratio.p10,
               result->v8_ratio.p90);
    putchar('\n');
    fflush(stdout);
    fprintf(bench->json,
            "{\"bench\":\"kernel\",\"name\":\"%s\",\"group\":\"%s\",\"n\":%u,\"rounds\":%u,",
            kernel->name, kernel->group, kernel->n, bench->rounds);
    json_spread(bench->json, "native_ms", result->native_ms);
    fputc(',', bench->json);
    json_spread(bench->json, "husk_ms", result->husk_ms);
    fputc(',', bench->json);
    json_spread(bench->json, "ratio", result->ratio);
    if (bench->v8 != NULL) {
        fputc(',', bench->json);
        json_spread(bench->json, "v8_ratio", result->v8_ratio);
    }
    fputs("}\n", bench->json);
}

/* Of the kernels of plain C, or of those written with vectors. */
static void geomean_report(const struct bench *bench, const double *ratios, size_t count,
                           const char *name) {
    if (count == 0)
        return;
    double geomean = geomean_of(ratios, count);
    printf("  %-12s %-11s %9s %9s %8.3f  over %zu kernels\n", "geomean", name, "", "", geomean,
           count);
    fprintf(bench->json,
            "{\"bench\":\"kernels\",\"group\":\"%s\",\"geomean\":%.6g,\"count\":%zu}\n", name,
            geomean, count);
}

/* Measure the kernels, or the one that was asked for; print if `is_shown`. Returns how many failed.
 */
static size_t kernels_measure(const struct bench *bench, bool is_shown,
                              struct kernel_ratios ret_ratios[2]) {
    size_t failed = 0;
    for (size_t i = 0; i < KERNELS_COUNT; i++) {
        struct kernel_result result;
        struct kernel_ratios *ratios = &ret_ratios[strcmp(kernels[i].group, "simd") == 0];
        if (bench->only_kernel != NULL && strcmp(bench->only_kernel, kernels[i].name) != 0)
            continue;
        if (kernel_measure(bench, &kernels[i], &result) != 0) {
            failed++;
            continue;
        }
        if (is_shown)
            kernel_report(bench, &kernels[i], &result);
        ratios->names[ratios->count] = kernels[i].name;
        ratios->v8[ratios->count] = result.v8_ratio.p50;
        ratios->husk[ratios->count++] = result.ratio.p50;
    }
    return failed;
}

/* What the default level and level 0 must reach: of a whole run with the compiler's own options. */
static int limits_report(const struct bench *bench, const struct kernel_ratios *plain) {
    struct bench unoptimised = *bench;
    struct kernel_ratios ratios[2] = {{.count = 0}, {.count = 0}};
    if (bench->only_kernel != NULL || bench->opt_level >= 0 || bench->is_strict)
        return 0;
    unoptimised.opt_level = 0;
    unoptimised.v8 = NULL;
    unoptimised.rounds = bench->rounds < UNOPTIMISED_ROUNDS ? bench->rounds : UNOPTIMISED_ROUNDS;
    if (kernels_measure(&unoptimised, false, ratios) != 0)
        return -1;
    limits_kernels(bench, plain, &ratios[0]);
    return 0;
}

int bench_kernels(const struct bench *bench) {
    struct kernel_ratios ratios[2] = {{.count = 0}, {.count = 0}};
    if (bench->rounds == 0 || bench->rounds > ROUNDS_MAX) {
        fprintf(stderr, "husk_bench: between 1 and %d rounds\n", ROUNDS_MAX);
        return -1;
    }
    printf("\nkernels, -O%d, %u rounds: CPU ms (median), ratio husk / native (median, p10-p90; "
           "lower is "
           "better)\n",
           bench->opt_level < 0 ? 2 : bench->opt_level, bench->rounds);
    printf("  %-12s %-11s %9s %9s %8s\n", "kernel", "group", "native", "husk", "ratio");
    size_t failed = kernels_measure(bench, true, ratios);
    geomean_report(bench, ratios[0].husk, ratios[0].count, "");
    geomean_report(bench, ratios[1].husk, ratios[1].count, "simd");
    if (bench->v8 != NULL) {
        geomean_report(bench, ratios[0].v8, ratios[0].count, "V8");
        geomean_report(bench, ratios[1].v8, ratios[1].count, "V8, simd");
    }
    if (failed != 0 || ratios[0].count + ratios[1].count == 0)
        return -1;
    return limits_report(bench, &ratios[0]);
}
