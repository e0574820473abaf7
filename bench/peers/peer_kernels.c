/*
 * bench/peers/peer_kernels.c: the kernels of plain C natively, in Husk and in Wasmtime, which also
 * gets a build with -msimd128, each with and without epochs. They take turns; times are CPU time of
 * the thread, and checksums must agree. A kernel's ratio is the median of its rounds' ratios.
 */
#include <inttypes.h>
#include <string.h>

#include "kernel_list.h"
#include "peers.h"

/* Wasmtime may be faster by 3 %; its best variant counts. */
static const double limit = 1.03;

enum { ROUNDS_MAX = 100 };
enum column { HUSK, HUSK_SIMD, WT, WT_EPOCHS, WT_SIMD, WT_SIMD_EPOCHS, COLUMNS };
static const char *const names[COLUMNS] = {"husk",      "husk simd", "wasmtime",
                                           "wt epochs", "wt simd",   "simd epochs"};

struct stage {
    const struct peers *peers;
    const struct kernel *kernel;
    struct wasm_engine *engines[2]; /* without and with epochs */
    husk_image *images[2];          /* scalar, SIMD */
    husk_sandbox *sandboxes[2];
    husk_func funcs[2];
    struct wasmtime_program programs[COLUMNS];
    struct wasmtime_run runs[COLUMNS];
};

struct medians {
    double native_ms, ratios[COLUMNS];
    double behind; /* Husk / the best of Wasmtime */
};

static int husk_open(struct stage *stage, int is_simd) {
    struct bench bench = stage->peers->bench;
    char folder[4096];
    struct husk_error err;
    snprintf(folder, sizeof folder, "%s/simd128", bench.wasm_dir);
    if (is_simd != 0)
        bench.wasm_dir = folder;
    if (bench_load(&bench, stage->kernel->name, &stage->images[is_simd]) != 0)
        return -1;
    if (husk_image_func(stage->images[is_simd], "run", 0, &stage->funcs[is_simd], &err) != 0 ||
        husk_sandbox_new(stage->images[is_simd], NULL, NULL, &stage->sandboxes[is_simd], &err) != 0)
        return bench_fail(stage->kernel->name, &err);
    return 0;
}

static int stage_open(struct stage *stage) {
    const struct peers *peers = stage->peers;
    char path[4096];
    if (husk_open(stage, 0) != 0 || husk_open(stage, 1) != 0)
        return -1;
    for (int i = WT; i < COLUMNS; i++) {
        const bool has_epochs = i == WT_EPOCHS || i == WT_SIMD_EPOCHS;
        snprintf(path, sizeof path, "%s/%s%s.wasm", peers->bench.wasm_dir,
                 i >= WT_SIMD ? "simd128/" : "", stage->kernel->name);
        if (wasmtime_program_init(&peers->wt, stage->engines[has_epochs], path,
                                  &stage->programs[i]) != 0 ||
            wasmtime_run_init(&peers->wt, &stage->programs[i], "run", &stage->runs[i]) != 0)
            return -1;
    }
    return 0;
}

static void stage_close(struct stage *stage) {
    for (int i = 0; i < 2; i++) {
        husk_sandbox_free(stage->sandboxes[i]);
        husk_image_unref(stage->images[i]);
    }
    for (int i = WT; i < COLUMNS; i++) {
        wasmtime_run_done(&stage->peers->wt, &stage->runs[i]);
        wasmtime_program_done(&stage->peers->wt, &stage->programs[i]);
    }
}

static int husk_run(const struct stage *stage, int is_simd, uint64_t *ret_sum) {
    const struct husk_value arg = {.type = HUSK_I32, .of.i32 = (int32_t)stage->kernel->n};
    struct husk_value result = {.type = HUSK_I64};
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    call.func = stage->funcs[is_simd];
    call.args = &arg;
    call.args_count = 1;
    call.results = &result;
    call.results_count = 1;
    int status = husk_call(stage->sandboxes[is_simd], &call, &outcome, &err);
    if (status != 0 || outcome.kind != HUSK_RETURNED)
        return bench_fail_outcome(stage->kernel->name, status, &outcome, &err);
    *ret_sum = (uint64_t)result.of.i64;
    return 0;
}

static int column_run(struct stage *stage, int column, uint64_t *ret_sum) {
    if (column < WT)
        return husk_run(stage, column == HUSK_SIMD, ret_sum);
    union wasmtime_raw value = {.i32 = (int32_t)stage->kernel->n};
    if (wasmtime_run_call(&stage->peers->wt, &stage->runs[column], &value, 1) != 0)
        return -1;
    *ret_sum = (uint64_t)value.i64;
    return 0;
}

static int round_run(struct stage *stage, double *ret_native_ms, double ret_ms[COLUMNS]) {
    uint64_t start = bench_cpu_ns();
    const uint64_t native_sum = stage->kernel->native(stage->kernel->n);
    *ret_native_ms = (double)(bench_cpu_ns() - start) / 1e6;
    for (int column = 0; column < COLUMNS; column++) {
        uint64_t sum = ~native_sum;
        start = bench_cpu_ns();
        if (column_run(stage, column, &sum) != 0)
            return -1;
        ret_ms[column] = (double)(bench_cpu_ns() - start) / 1e6;
        if (sum == native_sum)
            continue;
        fprintf(stderr, "husk_peers: %s: %s computes %016" PRIx64 ", native code %016" PRIx64 "\n",
                stage->kernel->name, names[column], sum, native_sum);
        return -1;
    }
    return 0;
}

/* Rounds are compared one by one with the variant of Wasmtime that has the best median. */
static void medians_take(double native_ms[], double ratios[COLUMNS][ROUNDS_MAX], uint32_t rounds,
                         struct medians *ret_medians) {
    double sorted[ROUNDS_MAX];
    int best = WT;
    for (int column = 0; column < COLUMNS; column++) {
        memcpy(sorted, ratios[column], rounds * sizeof sorted[0]);
        ret_medians->ratios[column] = spread_of(sorted, rounds).p50;
        if (column >= WT && ret_medians->ratios[column] < ret_medians->ratios[best])
            best = column;
    }
    for (uint32_t i = 0; i < rounds; i++)
        sorted[i] = ratios[HUSK][i] / ratios[best][i];
    ret_medians->behind = spread_of(sorted, rounds).p50;
    ret_medians->native_ms = spread_of(native_ms, rounds).p50;
}

/* The first round is not counted: page faults, caches. */
static int rounds_run(struct stage *stage, struct medians *ret_medians) {
    static double native_ms[ROUNDS_MAX], ratios[COLUMNS][ROUNDS_MAX];
    const uint32_t rounds = stage->peers->bench.rounds;
    double native, ms[COLUMNS];
    for (uint32_t i = 0; i <= rounds; i++) {
        if (round_run(stage, &native, ms) != 0)
            return -1;
        if (i == 0)
            continue;
        native_ms[i - 1] = native;
        for (int column = 0; column < COLUMNS; column++)
            ratios[column][i - 1] = ms[column] / native;
    }
    medians_take(native_ms, ratios, rounds, ret_medians);
    return 0;
}

static int kernel_measure(struct stage *stage, const struct kernel *kernel,
                          struct medians *ret_medians) {
    struct stage own = {
        .peers = stage->peers, .kernel = kernel, .engines = {stage->engines[0], stage->engines[1]}};
    int result = stage_open(&own);
    if (result == 0)
        result = rounds_run(&own, ret_medians);
    stage_close(&own);
    return result;
}

static void row_print(const struct peers *peers, const char *name, const struct medians *medians) {
    FILE *json = peers->bench.json;
    const bool is_reached = medians->behind <= limit;
    printf("  %-12s %9.2f", name, medians->native_ms);
    fprintf(json, "{\"bench\":\"peer_kernel\",\"name\":\"%s\",\"native_ms\":%.4g", name,
            medians->native_ms);
    for (int column = 0; column < COLUMNS; column++) {
        printf(" %11.3f", medians->ratios[column]);
        fprintf(json, ",\"%s\":%.4g", names[column], medians->ratios[column]);
    }
    printf(" %9.3f %s\n", medians->behind, is_reached ? "reached" : "missed");
    fflush(stdout);
    fprintf(json, ",\"husk / best wasmtime\":%.4g,\"limit\":%.4g,\"is_reached\":%s}\n",
            medians->behind, limit, is_reached ? "true" : "false");
}

static void means_print(const struct peers *peers, const struct medians *medians, size_t count) {
    size_t missed = 0;
    printf("  %-12s %9s", "geomean", "");
    fprintf(peers->bench.json, "{\"bench\":\"peer_kernels\",\"count\":%zu", count);
    for (int column = 0; column < COLUMNS; column++) {
        double values[KERNELS_COUNT];
        for (size_t i = 0; i < count; i++)
            values[i] = medians[i].ratios[column];
        double mean = geomean_of(values, count);
        printf(" %11.3f", mean);
        fprintf(peers->bench.json, ",\"%s\":%.4g", names[column], mean);
    }
    for (size_t i = 0; i < count; i++)
        missed += medians[i].behind > limit ? 1 : 0;
    fprintf(peers->bench.json, ",\"missed\":%zu}\n", missed);
    printf("\n  limit: no kernel slower than in Wasmtime by more than %.0f %%: %s, %zu of %zu "
           "kernels are\n",
           (limit - 1) * 100, missed == 0 ? "reached" : "missed", missed, count);
}

static int kernels_measure(struct stage *stage) {
    static struct medians medians[KERNELS_COUNT];
    const struct peers *peers = stage->peers;
    size_t count = 0;
    for (size_t i = 0; i < KERNELS_COUNT; i++) {
        const char *only = peers->bench.only_kernel;
        if (strcmp(kernels[i].group, "simd") == 0 ||
            (only != NULL && strcmp(only, kernels[i].name) != 0))
            continue;
        if (kernel_measure(stage, &kernels[i], &medians[count]) != 0)
            return -1;
        row_print(peers, kernels[i].name, &medians[count++]);
    }
    if (count == 0) {
        fprintf(stderr, "husk_peers: no kernel of plain C has that name\n");
        return -1;
    }
    means_print(peers, medians, count);
    return 0;
}

int peers_kernels(const struct peers *peers) {
    struct stage stage = {.peers = peers};
    int result = -1;
    if (peers->bench.rounds > ROUNDS_MAX) {
        fprintf(stderr, "husk_peers: at most %d rounds\n", ROUNDS_MAX);
        return -1;
    }
    printf("\nkernels, %u rounds: ratio to native code; last, Husk / the best of Wasmtime (limit "
           "%.2f)\n  %-12s %9s",
           peers->bench.rounds, limit, "", "native ms");
    for (int column = 0; column < COLUMNS; column++)
        printf(" %11s", names[column]);
    putchar('\n');
    for (int i = 0; i < 2; i++) {
        const struct wasmtime_settings settings = {.has_epochs = i != 0};
        stage.engines[i] = wasmtime_engine_new(&peers->wt, &settings);
    }
    if (stage.engines[0] != NULL && stage.engines[1] != NULL)
        result = kernels_measure(&stage);
    for (int i = 0; i < 2; i++)
        if (stage.engines[i] != NULL)
            peers->wt.wasm_engine_delete(stage.engines[i]);
    return result;
}
