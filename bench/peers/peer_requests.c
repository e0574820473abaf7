/*
 * bench/peers/peer_requests.c: what a request in a clean state takes: Husk restores a sandbox and
 * calls; Wasmtime makes a new instance in each of its three ways, calls, and drops it. The call
 * writes a word in some pages. All take turns; time is that on the clock.
 */
#include <stdlib.h>

#include "peers.h"

enum { ROUNDS = 300, WARM = 20, WAYS = 3 };
enum column { HUSK_CALL, HUSK_REQUEST, FIRST_WAY, COLUMNS = FIRST_WAY + WAYS };

static const char *const names[COLUMNS] = {"Husk: call only", "Husk", "on demand", "pooled",
                                           "pooled, resident"};
static const enum wasmtime_memory ways[WAYS] = {WASMTIME_ON_DEMAND, WASMTIME_POOLED,
                                                WASMTIME_POOLED_RESIDENT};

struct stage {
    const struct peers *peers;
    husk_image *image, *snapshot;
    husk_sandbox *sandbox;
    husk_func empty, touch;
    struct wasmtime_program programs[WAYS];
    struct wasm_engine *engines[WAYS];
};

static int stage_open_husk(struct stage *stage) {
    struct husk_error err;
    if (bench_load(&stage->peers->bench, "pages", &stage->image) != 0)
        return -1;
    if (husk_image_func(stage->image, "touch", 0, &stage->touch, &err) != 0 ||
        husk_image_func(stage->image, "empty", 0, &stage->empty, &err) != 0 ||
        husk_sandbox_new(stage->image, NULL, NULL, &stage->sandbox, &err) != 0 ||
        husk_sandbox_snapshot(stage->sandbox, &stage->snapshot, &err) != 0)
        return bench_fail("requests", &err);
    return 0;
}

static int stage_open_wasmtime(struct stage *stage) {
    char path[4096];
    snprintf(path, sizeof path, "%s/pages.wasm", stage->peers->bench.wasm_dir);
    for (int i = 0; i < WAYS; i++) {
        const struct wasmtime *wt = &stage->peers->wt;
        const struct wasmtime_settings settings = {.memory = ways[i], .has_epochs = true};
        stage->engines[i] = wasmtime_engine_new(wt, &settings);
        if (stage->engines[i] == NULL ||
            wasmtime_program_init(wt, stage->engines[i], path, &stage->programs[i]) != 0)
            return -1;
    }
    return 0;
}

static void stage_close(struct stage *stage) {
    const struct wasmtime *wt = &stage->peers->wt;
    for (int i = 0; i < WAYS; i++) {
        wasmtime_program_done(wt, &stage->programs[i]);
        if (stage->engines[i] != NULL)
            wt->wasm_engine_delete(stage->engines[i]);
    }
    husk_sandbox_free(stage->sandbox);
    husk_image_unref(stage->snapshot);
    husk_image_unref(stage->image);
}

static int husk_run(const struct stage *stage, bool is_request, int32_t pages) {
    const struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = pages},
                                       {.type = HUSK_I32, .of.i32 = 1}};
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    call.func = is_request ? stage->touch : stage->empty;
    call.args = args;
    call.args_count = is_request ? 2 : 0;
    if (is_request && husk_sandbox_restore(stage->sandbox, stage->snapshot, &err) != 0)
        return bench_fail("restore", &err);
    int status = husk_call(stage->sandbox, &call, &outcome, &err);
    if (status != 0 || outcome.kind != HUSK_RETURNED)
        return bench_fail_outcome("request", status, &outcome, &err);
    return 0;
}

static int wasmtime_request(const struct stage *stage, int way, int32_t pages) {
    const struct wasmtime *wt = &stage->peers->wt;
    union wasmtime_raw values[2] = {{.i32 = pages}, {.i32 = 1}};
    struct wasmtime_run run = {.store = NULL};
    int result = wasmtime_run_init(wt, &stage->programs[way], "touch", &run);
    if (result == 0)
        result = wasmtime_run_call(wt, &run, values, 2);
    wasmtime_run_done(wt, &run);
    return result;
}

static int column_run(const struct stage *stage, int column, int32_t pages, double *ret_us) {
    uint64_t start = bench_now_ns();
    int result = column < FIRST_WAY ? husk_run(stage, column == HUSK_REQUEST, pages)
                                    : wasmtime_request(stage, column - FIRST_WAY, pages);
    *ret_us = (double)(bench_now_ns() - start) / 1e3;
    return result;
}

static int row_measure(const struct stage *stage, int32_t pages) {
    static double us[COLUMNS][ROUNDS];
    FILE *json = stage->peers->bench.json;
    for (int i = -WARM; i < ROUNDS; i++)
        for (int column = 0; column < COLUMNS; column++)
            if (column_run(stage, column, pages, &us[column][i < 0 ? 0 : i]) != 0)
                return -1;
    printf("  %-5d", pages);
    fprintf(json, "{\"bench\":\"peer_request\",\"pages\":%d,\"rounds\":%d", pages, ROUNDS);
    for (int column = 0; column < COLUMNS; column++) {
        struct spread spread = spread_of(us[column], ROUNDS);
        printf(" %7.1f %7.1f", spread.p50, spread.p90);
        fputc(',', json);
        json_spread(json, names[column], spread);
    }
    putchar('\n');
    fflush(stdout);
    fputs("}\n", json);
    return 0;
}

static int rows_measure(const struct stage *stage) {
    static const int32_t pages[] = {0, 1, 16, 64};
    printf("\nrequests in a clean state, us on the clock, median and p90 of %d; Wasmtime with "
           "epochs\n  pages",
           ROUNDS);
    for (int column = 0; column < COLUMNS; column++)
        printf(" %15s", names[column]);
    putchar('\n');
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        if (row_measure(stage, pages[i]) != 0)
            return -1;
    return 0;
}

int peers_requests(const struct peers *peers) {
    struct stage stage = {.peers = peers};
    int result = stage_open_husk(&stage);
    if (result == 0)
        result = stage_open_wasmtime(&stage);
    if (result == 0)
        result = rows_measure(&stage);
    stage_close(&stage);
    return result;
}
