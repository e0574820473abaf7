/*
 * bench/snapshot_ops.c: runs the operations of the snapshot benchmarks in turns and prints them.
 * Each round takes some samples of every operation, so a noisy moment of the machine affects all of
 * them. Ratios are between medians of the same round.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bare_vm.h"
#include "exits.h"
#include "snapshot.h"

int op_call(struct snapshot_op *op, husk_func func, uint32_t pages) {
    struct husk_value args[2] = {
        {.type = HUSK_I32, .of.i32 = (int32_t)pages},
        {.type = HUSK_I32, .of.i32 = op->stride != 0 ? (int32_t)op->stride : 1}};
    struct husk_outcome outcome;
    struct husk_error err;
    outcome.size = sizeof outcome; /* alone: zeroing all of it would be measured, too */
    size_t args_count = memcmp(&func, &op->empty, sizeof func) == 0 ? 0 : 2;
    int status = husk_call(
        op->sandbox,
        &(struct husk_call){
            .size = sizeof(struct husk_call), .func = func, .args = args, .args_count = args_count},
        &outcome, &err);
    return status == 0 && outcome.kind == HUSK_RETURNED
               ? 0
               : bench_fail_outcome(op->name, status, &outcome, &err);
}

int op_restore(struct snapshot_op *op) {
    struct husk_error err;
    return husk_sandbox_restore(op->sandbox, op->image, &err) == 0 ? 0 : bench_fail(op->name, &err);
}

int op_empty(struct snapshot_op *op) {
    return op_call(op, op->empty, 0);
}

int op_restore_touch(struct snapshot_op *op) {
    if (op_restore(op) != 0)
        return -1;
    return op->pages == 0 ? op_empty(op) : op_call(op, op->touch, op->pages);
}

int op_open(struct snapshot_op *op, husk_engine *engine, husk_image *image) {
    struct husk_error err;
    op->engine = engine;
    op->image = image;
    if (husk_image_func(image, "empty", 0, &op->empty, &err) != 0 ||
        husk_image_func(image, "touch", 0, &op->touch, &err) != 0 ||
        husk_sandbox_new(image, NULL, NULL, &op->sandbox, &err) != 0)
        return bench_fail(op->name, &err);
    return 0;
}

void op_close(struct snapshot_op *op) {
    husk_sandbox_free(op->sandbox);
    husk_image_unref(op->made);
    free(op->saved);
    if (op->bare != NULL) {
        bare_vm_close(op->bare);
        free(op->bare);
    }
    op->sandbox = NULL;
    op->made = NULL;
    op->saved = NULL;
    op->bare = NULL;
}

static uint64_t minor_faults(void) {
    struct rusage usage = {0};
    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_minflt;
}

static int sample_take(struct snapshot_op *op, bool is_counted) {
    if (op->before != NULL && op->before(op) != 0)
        return -1;
    uint64_t faults = minor_faults();
    uint64_t (*now)(void) = op->now != NULL ? op->now : bench_now_ns;
    const struct exits before = exits;
    uint64_t start = now(), start_ticks = exits_now();
    int result = op->run(op);
    uint64_t end_ticks = exits_now(), end = now();
    if (is_counted) {
        op->faults += minor_faults() - faults;
        op->exits += exits.count - before.count;
        op->outside[op->samples_count] =
            (double)(end_ticks - start_ticks - (exits.inside - before.inside));
        op->samples[op->samples_count++] = (double)(end - start) / 1e3;
    }
    return result == 0 && op->after != NULL ? op->after(op) : result;
}

/* Two samples warm the caches up; they are not counted. ret_us: the median of this round. */
static int round_take(struct snapshot_op *op, double *ret_us) {
    double copy[64];
    uint32_t first = op->samples_count;
    if (op->ready != NULL && op->ready(op) != 0)
        return -1;
    uint32_t warming = op->per_round < 8 ? 1 : 2;
    for (uint32_t i = 0; i < warming + op->per_round; i++)
        if (sample_take(op, i >= warming) != 0)
            return -1;
    memcpy(copy, &op->samples[first], op->per_round * sizeof copy[0]);
    *ret_us = spread_of(copy, op->per_round).p50;
    return 0;
}

/* Median of the rounds' ratios: what is noise in a round is in both. */
static struct spread ratio_to(const struct snapshot_op *op, const struct snapshot_op *base) {
    double ratios[SERIES_ROUNDS_MAX];
    for (uint32_t i = 0; i < op->rounds_count; i++)
        ratios[i] = op->rounds[i] / base->rounds[i];
    return spread_of(ratios, op->rounds_count);
}

int ops_run(struct snapshot_op *const *ops, size_t count, uint32_t rounds) {
    for (uint32_t round = 0; round < rounds && round < SERIES_ROUNDS_MAX; round++) {
        for (size_t i = 0; i < count; i++) {
            struct snapshot_op *op = ops[i];
            if (op->samples_count + op->per_round > SERIES_SAMPLES_MAX)
                continue;
            if (round_take(op, &op->rounds[op->rounds_count]) != 0)
                return -1;
            op->rounds_count++;
        }
    }
    const double tick_ns = exits_tick_ns();
    for (size_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < ops[i]->samples_count; k++)
            ops[i]->outside[k] *= tick_ns;
        ops[i]->outside_ns = spread_of(ops[i]->outside, ops[i]->samples_count);
        ops[i]->us = spread_of(ops[i]->samples, ops[i]->samples_count);
        ops[i]->ratio = ratio_to(ops[i], ops[0]);
        ops[i]->call_ratio = ratio_to(ops[i], ops[1]);
    }
    return 0;
}

/* For a call, with or without a restore: the time outside KVM_RUN, and the whole if the exit took
 * as long as on hardware KVM. Other rows may have faults inside KVM_RUN. */
static void outside_print(const struct snapshot_op *op) {
    const bool is_request =
        op->run == op_bare || op->run == op_empty || op->run == op_restore_touch;
    if (is_request && op->exits == op->samples_count)
        printf("%10.0f %7.2f ", op->outside_ns.p50, (op->outside_ns.p50 + HARDWARE_EXIT_NS) / 1e3);
    else
        printf("%10s %7s ", "", "");
}

static void op_print_json(const struct bench *bench, const struct snapshot_op *op, double faults) {
    fprintf(bench->json, "{\"bench\":\"snapshot\",\"name\":\"%s\",\"samples\":%u,", op->name,
            op->samples_count);
    json_spread(bench->json, "us", op->us);
    fputc(',', bench->json);
    json_spread(bench->json, "ratio", op->ratio);
    fputc(',', bench->json);
    json_spread(bench->json, "call_ratio", op->call_ratio);
    fputc(',', bench->json);
    json_spread(bench->json, "outside_ns", op->outside_ns);
    fprintf(bench->json, ",\"exits\":%.4g,\"limit\":%.3g,\"faults\":%.4g}\n",
            (double)op->exits / (double)op->samples_count, op->limit, faults);
}

void ops_print(const struct bench *bench, const char *title, struct snapshot_op *const *ops,
               size_t count) {
    printf("\n%s: µs; medians of the rounds' ratios to the first row (× run) and to the second (× "
           "call); of calls: ns outside KVM_RUN, and µs at an exit of 1.5 µs; limit: of × run; "
           "faults: page faults per sample\n"
           "  %-62s %9s %9s %9s %7s %7s %10s %7s %6s %7s\n",
           title, "", "p10", "median", "p90", "× run", "× call", "ns outside", "at 1.5", "limit",
           "faults");
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_op *op = ops[i];
        double faults = (double)op->faults / (double)op->samples_count;
        printf("  %-62s %9.2f %9.2f %9.2f %7.3f %7.3f ", op->text, op->us.p10, op->us.p50,
               op->us.p90, op->ratio.p50, op->call_ratio.p50);
        outside_print(op);
        if (op->limit > 0)
            printf("%6.2f %7.2f %s\n", op->limit, faults,
                   op->ratio.p50 <= op->limit ? "ok" : "OVER");
        else
            printf("%6s %7.2f\n", "", faults);
        op_print_json(bench, op, faults);
    }
    fflush(stdout);
}

int image_load(const struct bench *bench, husk_engine *engine, const char *name,
               husk_image **ret_image) {
    struct bench own = *bench;
    own.engine = engine;
    return bench_load(&own, name, ret_image);
}

int image_filled(const struct bench *bench, husk_engine *engine, uint32_t mib,
                 husk_image **ret_image) {
    struct husk_value arg = {.type = HUSK_I32, .of.i32 = (int32_t)mib};
    struct husk_value result = {.type = HUSK_I32, .of.i32 = 0};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    husk_image *image;
    husk_sandbox *sandbox = NULL;
    if (image_load(bench, engine, "pages", &image) != 0)
        return -1;
    int status = husk_sandbox_new(image, NULL, NULL, &sandbox, &err);
    if (status == 0)
        status = husk_call(sandbox,
                           &(struct husk_call){.size = sizeof(struct husk_call),
                                               .name = "fill",
                                               .args = &arg,
                                               .args_count = 1,
                                               .results = &result,
                                               .results_count = 1},
                           &outcome, &err);
    if (status == 0 && (outcome.kind != HUSK_RETURNED || (uint32_t)result.of.i32 != mib))
        status = bench_fail_outcome("fill", 0, &outcome, &err);
    else if (status == 0)
        status = husk_sandbox_snapshot(sandbox, ret_image, &err);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    return status == 0 ? 0 : bench_fail("filled image", &err);
}
