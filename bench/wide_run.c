/*
 * bench/wide_run.c: what 64-bit addresses cost: the same kernels, built by the same compiler for
 * wasm32 and for wasm64, each in a sandbox. They take turns. The checksums must agree.
 */
#include <inttypes.h>
#include <string.h>

#include "bench.h"

enum { NARROW, WIDE, WIDTHS, ROUNDS_MAX = 1000 };

/* With n as in kernels.def. */
static const struct wide_kernel {
    const char *name, *group;
    uint32_t n;
} kernels[] = {{"chase", "memory", 50},
               {"sort", "memory", 6},
               {"interp", "indirect", 40000},
               {"lz", "text", 200},
               {"wide", "pointers", 3000}};

enum { KERNELS_COUNT = sizeof kernels / sizeof kernels[0] };

struct guest {
    husk_image *image;
    husk_sandbox *sandbox;
    husk_func func;
};

static void guest_close(struct guest *guest) {
    husk_sandbox_free(guest->sandbox);
    husk_image_unref(guest->image);
}

static int guest_open(const struct bench *bench, const char *name, struct guest *ret_guest) {
    struct husk_error err;
    struct guest guest = {.image = NULL};
    if (bench_load(bench, name, &guest.image) != 0)
        return -1;
    if (husk_image_func(guest.image, "run", 0, &guest.func, &err) != 0 ||
        husk_sandbox_new(guest.image, NULL, NULL, &guest.sandbox, &err) != 0) {
        guest_close(&guest);
        return bench_fail(name, &err);
    }
    *ret_guest = guest;
    return 0;
}

static int guest_run(const struct guest *guest, const struct wide_kernel *kernel, double *ret_ms,
                     int64_t *ret_sum) {
    struct husk_value arg = {.type = HUSK_I32, .of.i32 = (int32_t)kernel->n};
    struct husk_value result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    const struct husk_call call = {.size = sizeof call,
                                   .func = guest->func,
                                   .args = &arg,
                                   .args_count = 1,
                                   .results = &result,
                                   .results_count = 1};
    uint64_t start = bench_cpu_ns();
    int status = husk_call(guest->sandbox, &call, &outcome, &err);
    *ret_ms = (double)(bench_cpu_ns() - start) / 1e6;
    if (status != 0 || outcome.kind != HUSK_RETURNED)
        return bench_fail_outcome(kernel->name, status, &outcome, &err);
    *ret_sum = result.of.i64;
    return 0;
}

/* The first round is not counted. */
static int rounds_run(const struct bench *bench, const struct wide_kernel *kernel,
                      const struct guest guests[WIDTHS]) {
    static double ms[WIDTHS][ROUNDS_MAX], ratio[ROUNDS_MAX];
    for (uint32_t i = 0; i <= bench->rounds; i++) {
        double now[WIDTHS];
        int64_t sums[WIDTHS];
        for (int width = 0; width < WIDTHS; width++)
            if (guest_run(&guests[width], kernel, &now[width], &sums[width]) != 0)
                return -1;
        if (sums[NARROW] != sums[WIDE]) {
            fprintf(stderr, "husk_bench: %s: the results differ\n", kernel->name);
            return -1;
        }
        if (i == 0)
            continue;
        for (int width = 0; width < WIDTHS; width++)
            ms[width][i - 1] = now[width];
        ratio[i - 1] = now[WIDE] / now[NARROW];
    }
    const struct spread narrow_ms = spread_of(ms[NARROW], bench->rounds);
    const struct spread wide_ms = spread_of(ms[WIDE], bench->rounds);
    const struct spread spread = spread_of(ratio, bench->rounds);
    printf("  %-12s %-11s %9.2f %9.2f %8.3f  %.3f-%.3f\n", kernel->name, kernel->group,
           narrow_ms.p50, wide_ms.p50, spread.p50, spread.p10, spread.p90);
    fflush(stdout);
    fprintf(bench->json, "{\"bench\":\"wide\",\"name\":\"%s\",\"rounds\":%u,", kernel->name,
            bench->rounds);
    json_spread(bench->json, "narrow_ms", narrow_ms);
    fputc(',', bench->json);
    json_spread(bench->json, "wide_ms", wide_ms);
    fputc(',', bench->json);
    json_spread(bench->json, "ratio", spread);
    fputs("}\n", bench->json);
    return 0;
}

static int kernel_measure(const struct bench *bench, const struct wide_kernel *kernel) {
    struct guest guests[WIDTHS] = {{.image = NULL}};
    char wide_name[64];
    snprintf(wide_name, sizeof wide_name, "wide/%s", kernel->name);
    int result = guest_open(bench, kernel->name, &guests[NARROW]);
    if (result == 0)
        result = guest_open(bench, wide_name, &guests[WIDE]);
    if (result == 0)
        result = rounds_run(bench, kernel, guests);
    for (int width = 0; width < WIDTHS; width++)
        guest_close(&guests[width]);
    return result;
}

int bench_wide(const struct bench *bench) {
    int result = 0;
    if (bench->rounds > ROUNDS_MAX) {
        fprintf(stderr, "husk_bench: at most %d rounds\n", ROUNDS_MAX);
        return -1;
    }
    printf("\n64-bit memories, %u rounds: CPU ms (median) for wasm32 and wasm64, ratio (median, "
           "p10-p90)\n  %-12s %-11s %9s %9s %8s\n",
           bench->rounds, "kernel", "group", "wasm32", "wasm64", "ratio");
    for (size_t i = 0; i < KERNELS_COUNT; i++)
        if (bench->only_kernel == NULL || strcmp(bench->only_kernel, kernels[i].name) == 0)
            result |= kernel_measure(bench, &kernels[i]);
    return result;
}
