/*
 * bench/limits_standing.c: the rows of a call that stands in a snapshot, in the table of limits.
 * One program in two forms (examples/guests/answer.c), with the same calls of WASI: a command that
 * stands at its first read, which is made again; and a function that is called. A request is a
 * restore, its streams, and the answer. Both are measured in turns, beside a bare KVM_RUN; the
 * entries of the guest are counted (exits.h).
 */
#include <errno.h>
#include <string.h>

#include "bare_vm.h"
#include "exits.h"
#include "limits.h"

enum { ROUNDS = 2000, WARMING = 20, BARE_BYTES = 2 << 20 };
static const char request[] = "1000000\n", expected[] = "1000003\n";

enum form { FORM_STANDING, FORM_FUNCTION, FORMS };

struct samples {
    double us[ROUNDS], outside[ROUNDS], entries[ROUNDS];
};

struct standing {
    struct bare_vm vm;
    husk_imports *imports;
    husk_image *module, *images[FORMS];
    husk_sandbox *sandboxes[FORMS];
    struct samples forms[FORMS];
    double bare_us[ROUNDS], left_us[ROUNDS], ratio[ROUNDS];
    double tick_us;
};

static const char *const names[FORMS] = {[FORM_STANDING] = "_start", [FORM_FUNCTION] = "answer"};
/* What runs before the snapshot. */
static const char *const first_names[FORMS] = {
    [FORM_STANDING] = "_start", [FORM_FUNCTION] = "prepare"};

static int call(husk_sandbox *sandbox, const char *name, enum husk_outcome_kind kind) {
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    call.name = name;
    int status = husk_call(sandbox, &call, &outcome, &err);
    return status == 0 && outcome.kind == kind ? 0
                                               : bench_fail_outcome(name, status, &outcome, &err);
}

/* Standard input that comes later makes _start stand. */
static int form_open(struct standing *standing, enum form form) {
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request parts = HUSK_WASI_REQUEST_INIT;
    struct husk_error err;
    husk_sandbox **sandbox = &standing->sandboxes[form];
    in.kind = HUSK_WASI_AWAITED;
    parts.stdin_stream = &in;
    int status = husk_sandbox_new(standing->module, standing->imports, NULL, sandbox, &err);
    if (status == 0)
        status = husk_sandbox_set_wasi(*sandbox, &parts, &err);
    if (status != 0)
        return bench_fail("limits", &err);
    if (call(*sandbox, first_names[form], form == FORM_STANDING ? HUSK_PENDING : HUSK_RETURNED) !=
        0)
        return -1;
    status = husk_sandbox_snapshot(*sandbox, &standing->images[form], &err);
    return status == 0 ? 0 : bench_fail("limits", &err);
}

static int streams_give(husk_sandbox *sandbox) {
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request parts = HUSK_WASI_REQUEST_INIT;
    struct husk_error err;
    in.kind = HUSK_WASI_BYTES;
    in.bytes = request;
    in.bytes_count = sizeof request - 1;
    out.kind = HUSK_WASI_BUFFER;
    parts.stdin_stream = &in;
    parts.stdout_stream = &out;
    return husk_sandbox_set_wasi(sandbox, &parts, &err) == 0 ? 0 : bench_fail("limits", &err);
}

static int go_on(husk_sandbox *sandbox) {
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    answer.is_again = true;
    int status = husk_call_resume(sandbox, &answer, &outcome, &err);
    return status == 0 && outcome.kind == HUSK_RETURNED
               ? 0
               : bench_fail_outcome("a standing call", status, &outcome, &err);
}

static int serve(struct standing *standing, enum form form) {
    husk_sandbox *sandbox = standing->sandboxes[form];
    struct husk_error err;
    if (husk_sandbox_restore(sandbox, standing->images[form], &err) != 0)
        return bench_fail("limits", &err);
    if (streams_give(sandbox) != 0)
        return -1;
    return form == FORM_STANDING ? go_on(sandbox) : call(sandbox, names[form], HUSK_RETURNED);
}

static int check_answer(husk_sandbox *sandbox) {
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    struct husk_error err;
    if (husk_sandbox_wasi_output(sandbox, 1, &output, &err) != 0)
        return bench_fail("limits", &err);
    if (output.count == sizeof expected - 1 && memcmp(output.bytes, expected, output.count) == 0)
        return 0;
    fprintf(stderr, "husk_bench: limits: a wrong answer came back\n");
    return -1;
}

static int form_measure(struct standing *standing, enum form form, uint32_t idx) {
    struct samples *samples = &standing->forms[form];
    exits.inside = 0;
    const uint64_t count = exits.count, start = exits_now();
    const int result = serve(standing, form);
    const uint64_t ticks = exits_now() - start;
    samples->us[idx] = (double)ticks * standing->tick_us;
    samples->outside[idx] = (double)(ticks - exits.inside) * standing->tick_us;
    samples->entries[idx] = (double)(exits.count - count);
    return result != 0 ? result : check_answer(standing->sandboxes[form]);
}

static int bare_measure(struct standing *standing, uint32_t idx) {
    const uint64_t start = exits_now();
    const int result = bare_vm_run(&standing->vm);
    standing->bare_us[idx] = (double)(exits_now() - start) * standing->tick_us;
    if (result != 0)
        fprintf(stderr, "husk_bench: limits: the bare VM did not run: %s\n", strerror(errno));
    return result;
}

/* The first rounds are overwritten. */
static int rounds_run(struct standing *standing) {
    int result = 0;
    for (int round = -WARMING; round < ROUNDS && result == 0; round++) {
        const uint32_t idx = round < 0 ? 0 : (uint32_t)round;
        const enum form first = idx % 2 == 0 ? FORM_STANDING : FORM_FUNCTION;
        result = bare_measure(standing, idx);
        if (result == 0)
            result = form_measure(standing, first, idx);
        if (result == 0)
            result = form_measure(standing, FORM_STANDING + FORM_FUNCTION - first, idx);
    }
    return result;
}

/* The function's time, with the exits of the standing call instead of its own. */
static void compare(struct standing *standing) {
    const struct samples *stands = &standing->forms[FORM_STANDING];
    const struct samples *function = &standing->forms[FORM_FUNCTION];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const double more = stands->entries[i] - function->entries[i];
        standing->left_us[i] = function->us[i] + more * standing->bare_us[i];
        standing->ratio[i] = stands->us[i] / standing->left_us[i];
    }
}

static void report(const struct bench *bench, struct standing *standing) {
    compare(standing);
    struct samples *stands = &standing->forms[FORM_STANDING];
    struct samples *function = &standing->forms[FORM_FUNCTION];
    const struct limit_row rows[] = {
        {"a standing call goes on, restore and answer", "us", spread_of(stands->us, ROUNDS), 0,
         NULL},
        {"  outside KVM_RUN", "us", spread_of(stands->outside, ROUNDS), 0, NULL},
        {"  entries of the guest", "entries", spread_of(stands->entries, ROUNDS), 0, NULL},
        {"a function that does the same, restore and answer", "us", spread_of(function->us, ROUNDS),
         0, NULL},
        {"  outside KVM_RUN", "us", spread_of(function->outside, ROUNDS), 0, NULL},
        {"  entries of the guest", "entries", spread_of(function->entries, ROUNDS), 0, NULL},
        {"  the same, less the entries that the standing call does not make", "us",
         spread_of(standing->left_us, ROUNDS), 0, NULL},
        {"the standing call / that", "x", spread_of(standing->ratio, ROUNDS), 1.1, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        limits_print(bench, &rows[i]);
}

static int standing_open(const struct bench *bench, struct standing *standing) {
    struct husk_error err;
    int result = bare_vm_open(&standing->vm, BARE_BYTES, 0, false);
    if (result != 0)
        fprintf(stderr, "husk_bench: limits: no bare VM: %s\n", strerror(errno));
    if (result != 0 || bench_load(bench, "answer", &standing->module) != 0)
        return -1;
    int status = husk_imports_new(bench->engine, &standing->imports, &err);
    if (status == 0)
        status = husk_imports_wasi(standing->imports, NULL, &err);
    if (status != 0)
        return bench_fail("limits", &err);
    for (enum form form = 0; form < FORMS && result == 0; form++)
        result = form_open(standing, form);
    return result;
}

int limits_standing(const struct bench *bench) {
    static struct standing standing;
    memset(&standing, 0, sizeof standing);
    standing.tick_us = exits_tick_ns() / 1e3;
    int result = standing_open(bench, &standing);
    if (result == 0)
        result = rounds_run(&standing);
    if (result == 0)
        report(bench, &standing);
    for (enum form form = 0; form < FORMS; form++) {
        husk_sandbox_free(standing.sandboxes[form]);
        husk_image_unref(standing.images[form]);
    }
    bare_vm_close(&standing.vm);
    husk_imports_free(standing.imports);
    husk_image_unref(standing.module);
    return result;
}
