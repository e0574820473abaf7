/*
 * bench/limits_calls.c: the rows of husk_call_bytes() and husk_call_many() in the table of limits.
 * All operations are measured in turns, beside a call of an empty function and a bare KVM_RUN.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bare_vm.h"
#include "exits.h"
#include "limits.h"

enum { ROUNDS = 4000, WARMING = 20, BARE_BYTES = 2 << 20 };
/* The rows that take longer are in one of so many rounds. */
enum { RARELY = 10 };
enum { SMALL_BYTES = 64, LARGE_BYTES = 16 << 10, CALLS = 1000 };
/* An exit that takes longer counts as one of so many µs. */
#define EXIT_US_MOST 25.0

enum row { ROW_BARE, ROW_CALL, ROW_SMALL, ROW_LARGE, ROW_MANY, ROWS };

struct calls {
    struct bare_vm vm;
    husk_sandbox *sandbox;
    husk_func empty, turn, mix;
    uint8_t input[LARGE_BYTES];
    struct husk_value args[2 * CALLS], results[CALLS];
    double us[ROWS][ROUNDS];
    double outside[ROWS][ROUNDS]; /* of us, outside KVM_RUN */
    double tick_us;
    uint32_t count[ROWS];
};

static int ended(int status, const struct husk_outcome *outcome, const struct husk_error *err) {
    return status == 0 && outcome->kind == HUSK_RETURNED
               ? 0
               : bench_fail_outcome("limits", status, outcome, err);
}

static int run_bare(struct calls *calls) {
    int result = bare_vm_run(&calls->vm);
    if (result != 0)
        fprintf(stderr, "husk_bench: limits: the bare VM did not run: %s\n", strerror(errno));
    return result;
}

static int run_call(struct calls *calls) {
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome;
    struct husk_error err;
    outcome.size = sizeof outcome; /* alone: zeroing all of it is not what is measured */
    call.func = calls->empty;
    return ended(husk_call(calls->sandbox, &call, &outcome, &err), &outcome, &err);
}

static int run_bytes(struct calls *calls, size_t count) {
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct husk_outcome outcome;
    struct husk_error err;
    outcome.size = sizeof outcome;
    call.func = calls->turn;
    bytes.input = calls->input;
    bytes.input_count = count;
    int status = husk_call_bytes(calls->sandbox, &call, &bytes, &outcome, &err);
    if (ended(status, &outcome, &err) != 0)
        return -1;
    const uint8_t *output = bytes.output;
    const bool is_right = bytes.output_count == count && output[count - 1] == 0xa5;
    free(bytes.output);
    if (!is_right)
        fprintf(stderr, "husk_bench: limits: wrong bytes came back\n");
    return is_right ? 0 : -1;
}

static int run_many(struct calls *calls) {
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_many many = HUSK_MANY_INIT;
    struct husk_outcome outcome;
    struct husk_error err;
    outcome.size = sizeof outcome;
    call.func = calls->mix;
    call.args = calls->args;
    call.args_count = 2 * CALLS;
    call.results = calls->results;
    call.results_count = CALLS;
    many.count = CALLS;
    int status = husk_call_many(calls->sandbox, &call, &many, &outcome, &err);
    if (ended(status, &outcome, &err) != 0)
        return -1;
    const bool is_right = many.returned == CALLS && calls->results[7].of.i32 == (14 * 31 ^ 15);
    if (!is_right)
        fprintf(stderr, "husk_bench: limits: wrong results came back\n");
    return is_right ? 0 : -1;
}

static int run_row(struct calls *calls, enum row row) {
    switch (row) {
    case ROW_BARE: return run_bare(calls);
    case ROW_CALL: return run_call(calls);
    case ROW_SMALL: return run_bytes(calls, SMALL_BYTES);
    case ROW_LARGE: return run_bytes(calls, LARGE_BYTES);
    case ROW_MANY: return run_many(calls);
    case ROWS: break;
    }
    return -1;
}

static int row_measure(struct calls *calls, enum row row, bool is_counted) {
    exits.inside = 0;
    const uint64_t start = exits_now();
    const int result = run_row(calls, row);
    const uint64_t ticks = exits_now() - start;
    const uint32_t idx = calls->count[row];
    if (!is_counted)
        return result;
    calls->us[row][idx] = (double)ticks * calls->tick_us;
    calls->outside[row][idx] = (double)(ticks - exits.inside) * calls->tick_us;
    calls->count[row]++;
    return result;
}

static int rounds_run(struct calls *calls) {
    for (int round = -WARMING; round < ROUNDS; round++)
        for (enum row row = 0; row < ROWS; row++)
            if (row == ROW_CALL || row == ROW_SMALL || round % RARELY == 0)
                if (row_measure(calls, row, round >= 0) != 0)
                    return -1;
    return 0;
}

enum part { PART_ALL, PART_OUTSIDE, PART_INSIDE };

/* What the bytes cost more than the call before them: both vary by more with the machine. */
static struct spread more_than_call(const struct calls *calls, enum part part) {
    static double more[ROUNDS];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const double all = calls->us[ROW_SMALL][i] - calls->us[ROW_CALL][i];
        const double outside = calls->outside[ROW_SMALL][i] - calls->outside[ROW_CALL][i];
        more[i] = part == PART_ALL ? all : part == PART_OUTSIDE ? outside : all - outside;
    }
    return spread_of(more, ROUNDS);
}

static void report(const struct bench *bench, struct calls *calls) {
    struct spread us[ROWS];
    const struct spread more = more_than_call(calls, PART_ALL);
    const struct spread outside = more_than_call(calls, PART_OUTSIDE);
    const struct spread inside = more_than_call(calls, PART_INSIDE);
    for (enum row row = 0; row < ROWS; row++)
        us[row] = spread_of(calls->us[row], calls->count[row]);
    const double bare_us = us[ROW_BARE].p50;
    const double exit_us = bare_us < EXIT_US_MOST ? bare_us : EXIT_US_MOST;
    struct spread many = us[ROW_MANY];
    many.p10 -= bare_us - exit_us;
    many.p50 -= bare_us - exit_us;
    many.p90 -= bare_us - exit_us;
    const struct limit_row rows[] = {
        {"call of an empty function, beside the next two", "us", us[ROW_CALL], 0, NULL},
        {"husk_call_bytes, 64 bytes in and out", "us", us[ROW_SMALL], 0, NULL},
        {"  more than a call of an empty function, in pairs", "us", more, 0.5, NULL},
        {"  of that outside KVM_RUN", "us", outside, 0, NULL},
        {"  of that inside KVM_RUN", "us", inside, 0, NULL},
        {"husk_call_bytes, 16 KiB in and out", "us", us[ROW_LARGE], 0, NULL},
        {"1,000 calls in one entry (an exit counts as at most 25 us)", "us", many,
         1.1 * exit_us + 0.06 * (double)CALLS, "1.1 bare runs + 60 ns a call"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        limits_print(bench, &rows[i]);
}

static int guest_make(const struct bench *bench, husk_image *image, struct calls *calls) {
    struct husk_error err;
    int status = husk_image_func(image, "empty", 0, &calls->empty, &err);
    if (status == 0)
        status = husk_image_func(image, "turn", 0, &calls->turn, &err);
    if (status == 0)
        status = husk_image_func(image, "mix", 0, &calls->mix, &err);
    if (status == 0)
        status = husk_sandbox_new(image, NULL, NULL, &calls->sandbox, &err);
    (void)bench;
    return status == 0 ? 0 : bench_fail("limits", &err);
}

int limits_calls(const struct bench *bench) {
    static struct calls calls;
    husk_image *image = NULL;
    if (bench_load(bench, "bytes", &image) != 0)
        return -1;
    calls.tick_us = exits_tick_ns() / 1e3;
    memset(calls.count, 0, sizeof calls.count);
    memset(calls.input, 0x5a, sizeof calls.input);
    for (int32_t i = 0; i < 2 * CALLS; i++)
        calls.args[i] = husk_i32(i);
    int result = bare_vm_open(&calls.vm, BARE_BYTES, 0, false);
    if (result != 0)
        fprintf(stderr, "husk_bench: limits: no bare VM: %s\n", strerror(errno));
    if (result == 0)
        result = guest_make(bench, image, &calls);
    if (result == 0)
        result = rounds_run(&calls);
    if (result == 0)
        report(bench, &calls);
    husk_sandbox_free(calls.sandbox);
    calls.sandbox = NULL;
    bare_vm_close(&calls.vm);
    husk_image_unref(image);
    return result;
}
