/*
 * A request at a time: sandboxes of one snapshot, each with its own streams, arguments and seed for
 * every call (husk_wasi.h). Several threads; limits; callbacks that fail, wait and call the guest.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"
#include "literals.h"
#include "wasi_abi.h"
#include "wat.h"

/* echo: copies standard input to standard output, closes both, and returns how often it did so
 * since the snapshot. Vectors at 0 and 8, counts at 16, data from 65536 on. */
static const char echo_wat[] =
    "(module"
    " (import \"wasi_snapshot_preview1\" \"fd_read\""
    "  (func $read (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_write\""
    "  (func $write (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"args_sizes_get\""
    "  (func $args (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"random_get\""
    "  (func $random (param i32 i32) (result i32)))"
    " (memory (export \"memory\") 3) (global $served (mut i32) (i32.const 0))"
    " (func $copy"
    "  (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 100))"
    "  (i32.store (i32.const 8) (i32.const 65536))"
    "  (block $end (loop $more"
    "   (br_if $end (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))"
    "   (br_if $end (i32.eqz (i32.load (i32.const 16))))"
    "   (i32.store (i32.const 12) (i32.load (i32.const 16)))"
    "   (br_if $end (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 20)))"
    "   (br $more))))"
    " (func (export \"echo\") (result i32)"
    "  (global.set $served (i32.add (global.get $served) (i32.const 1)))"
    "  (call $copy) (drop (call $close (i32.const 0))) (drop (call $close (i32.const 1)))"
    "  (global.get $served))"
    " (func (export \"put\") (param i32) (result i32)" /* so many bytes to standard output */
    "  (i32.store (i32.const 8) (i32.const 65536)) (i32.store (i32.const 12) (local.get 0))"
    "  (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 20)))"
    " (func (export \"args\") (param i32) (result i32)"
    "  (drop (call $args (i32.const 32) (i32.const 36))) (i32.load (i32.const 32)))"
    " (func (export \"random\") (param i32) (result i32)"
    "  (drop (call $random (i32.const 32) (i32.const 4))) (i32.load (i32.const 32)))"
    " (func (export \"seven\") (result i32) (i32.const 7)))";

static husk_image *lab_open(struct wat_lab *lab) {
    husk_image *ready = NULL;
    wat_lab_init(lab);
    CHECK_OK(husk_imports_wasi(lab->imports, NULL, &lab->err), lab->err);
    wat_lab_open(lab, echo_wat, NULL);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &ready, &lab->err), lab->err);
    return ready;
}

static int set_streams(husk_sandbox *sandbox, const struct husk_wasi_stream *in,
                       const struct husk_wasi_stream *out, struct husk_error *err) {
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    request.stdin_stream = in;
    request.stdout_stream = out;
    return husk_sandbox_set_wasi(sandbox, &request, err);
}

static struct husk_wasi_stream bytes_of(const void *bytes, size_t count) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_BYTES;
    stream.bytes = bytes;
    stream.bytes_count = count;
    return stream;
}

static struct husk_wasi_stream buffer_of(uint64_t limit_bytes) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_BUFFER;
    stream.limit_bytes = limit_bytes;
    return stream;
}

static struct husk_wasi_output output_of(husk_sandbox *sandbox) {
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    struct husk_error err;
    CHECK_OK(husk_sandbox_wasi_output(sandbox, 1, &output, &err), err);
    return output;
}

/* ---- A pool ---- */

#define THREADS 4
#define REQUESTS 250 /* of each thread */

struct worker {
    struct wat_lab *lab;
    husk_image *ready;
    uint32_t idx;
    pthread_t thread;
    unsigned right; /* requests whose answer is right */
};

static bool serve(const struct worker *worker, husk_sandbox *sandbox, uint32_t number) {
    char text[300];
    struct husk_error err;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value served = {.type = HUSK_I32};
    const int count = snprintf(text, sizeof text, "request %u of thread %u %*s!", number,
                               worker->idx, (int)(number % 200), "");
    const struct husk_wasi_stream in = bytes_of(text, (size_t)count), out = buffer_of(0);
    /* in either order */
    int status = number % 2 == 0 ? set_streams(sandbox, &in, &out, &err) : 0;
    if (status == 0)
        status = husk_sandbox_restore(sandbox, worker->ready, &err);
    if (status == 0 && number % 2 != 0)
        status = set_streams(sandbox, &in, &out, &err);
    if (status == 0)
        status = husk_call(sandbox, CALL(.name = "echo", .results = &served, .results_count = 1),
                           &outcome, &err);
    const struct husk_wasi_output output = output_of(sandbox);
    return status == 0 && outcome.kind == HUSK_RETURNED && served.of.i32 == 1 &&
           output.count == (size_t)count && memcmp(output.bytes, text, output.count) == 0 &&
           !output.has_lost;
}

static void *work(void *user) {
    struct worker *worker = user;
    husk_sandbox *sandbox = NULL;
    struct husk_error err;
    if (husk_sandbox_new(worker->ready, worker->lab->imports, NULL, &sandbox, &err) != 0)
        return NULL;
    for (uint32_t i = 0; i < REQUESTS; i++)
        worker->right += serve(worker, sandbox, i);
    husk_sandbox_free(sandbox);
    return NULL;
}

TEST(four_threads_serve_a_thousand_requests_with_their_own_streams) {
    struct wat_lab lab;
    struct worker workers[THREADS] = {0};
    SKIP_WITHOUT_COMPILER();
    husk_image *ready = lab_open(&lab);
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i].lab = &lab;
        workers[i].ready = ready;
        workers[i].idx = i;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        CHECK_EQ_U64(workers[i].right, REQUESTS);
    }
    husk_image_unref(ready);
    wat_lab_close(&lab);
}

/* ---- One sandbox ---- */

TEST(output_ends_at_its_limit_and_says_so) {
    struct wat_lab lab;
    const struct husk_wasi_stream out = buffer_of(5000);
    SKIP_WITHOUT_COMPILER();
    husk_image *ready = lab_open(&lab);
    CHECK_OK(set_streams(lab.sandbox, NULL, &out, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "put", 3000), 0);
    CHECK(output_of(lab.sandbox).count == 3000 && !output_of(lab.sandbox).has_lost);
    CHECK_EQ_I64(wat_call_i32(&lab, "put", 3000), 0);
    CHECK_EQ_I64(wat_call_i32(&lab, "put", 1), WASI_ENOSPC);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, ready, &lab.err), lab.err); /* keeps it */
    CHECK(output_of(lab.sandbox).count == 5000 && output_of(lab.sandbox).has_lost);
    CHECK_OK(set_streams(lab.sandbox, NULL, &out, &lab.err), lab.err);
    CHECK(output_of(lab.sandbox).count == 0 && output_of(lab.sandbox).bytes == NULL);
    husk_image_unref(ready);
    wat_lab_close(&lab);
}

TEST(what_cannot_be_given_or_asked_for_is_refused) {
    struct wat_lab lab;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    SKIP_WITHOUT_COMPILER();
    husk_image *ready = lab_open(&lab);
    CHECK_STATUS(husk_sandbox_set_wasi(NULL, &request, NULL), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_set_wasi(lab.sandbox, NULL, NULL), HUSK_E_INVAL);
    CHECK_OK(husk_sandbox_set_wasi(lab.sandbox, &request, &lab.err), lab.err);
    CHECK_STATUS(husk_sandbox_wasi_output(NULL, 1, &output, NULL), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_wasi_output(lab.sandbox, 1, NULL, NULL), HUSK_E_INVAL);
    for (uint32_t stream = 0; stream < 4; stream++) /* none is a buffer */
        CHECK_STATUS(husk_sandbox_wasi_output(lab.sandbox, stream, &output, NULL), HUSK_E_INVAL);
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    CHECK_STATUS(husk_sandbox_set_wasi(lab.sandbox, &request, NULL), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_wasi_output(lab.sandbox, 1, &output, NULL), HUSK_E_STATE);
    husk_image_unref(ready);
    wat_lab_close(&lab);
    wat_lab_init(&lab);
    wat_lab_open(&lab, "(module (func (export \"f\")))", NULL);
    CHECK_STATUS(husk_sandbox_set_wasi(lab.sandbox, &request, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_CONTAINS(lab.err.message, "nothing of WASI");
    wat_lab_close(&lab);
}

TEST(arguments_and_seeds_of_each_request) {
    struct wat_lab lab;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    const char *const args[] = {"a", "b", "c"};
    const uint64_t seed = 99;
    SKIP_WITHOUT_COMPILER();
    husk_image *ready = lab_open(&lab);
    husk_sandbox *clone = NULL;
    CHECK_EQ_I64(wat_call_i32(&lab, "args", 0), 0);
    request.args = args;
    request.args_count = 3;
    request.random_seed = &seed;
    CHECK_OK(husk_sandbox_set_wasi(lab.sandbox, &request, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "args", 0), 3);
    const int64_t number = wat_call_i32(&lab, "random", 0);
    CHECK(number != wat_call_i32(&lab, "random", 0));
    CHECK_OK(husk_sandbox_restore(lab.sandbox, ready, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "args", 0), 3);
    CHECK_EQ_I64(wat_call_i32(&lab, "random", 0), number);
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = clone; /* begins as the set says */
    CHECK_EQ_I64(wat_call_i32(&lab, "args", 0), 0);
    CHECK_OK(husk_sandbox_set_wasi(lab.sandbox, &request, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_load(lab.sandbox, ready, lab.imports, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "args", 0), 0);
    husk_image_unref(ready);
    wat_lab_close(&lab);
}

/* ---- Callbacks ---- */

struct talk {
    husk_sandbox *sandbox;
    int64_t result;
    uint64_t wait_ns;
    int set_status, call_status;
    int32_t seven;
    size_t taken;
};

static int64_t talk_write(void *user, const void *bytes, size_t count) {
    struct talk *talk = user;
    const struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_value seven = {.type = HUSK_I32};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    (void)bytes;
    talk->taken += count;
    talk->set_status = husk_sandbox_set_wasi(talk->sandbox, &request, NULL);
    talk->call_status =
        husk_call(talk->sandbox, CALL(.name = "seven", .results = &seven, .results_count = 1),
                  &outcome, NULL);
    talk->seven = seven.of.i32;
    const uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + talk->wait_ns;
    while (clock_ns(CLOCK_MONOTONIC) < end_ns)
        usleep(1000); /* a kick ends one */
    return talk->result == 0 ? (int64_t)count : talk->result;
}

static void talk_begin(struct wat_lab *lab, struct talk *talk) {
    struct husk_wasi_stream out = HUSK_WASI_STREAM_INIT;
    talk->sandbox = lab->sandbox;
    out.kind = HUSK_WASI_CALLBACK;
    out.write = talk_write;
    out.user = talk;
    CHECK_OK(set_streams(lab->sandbox, NULL, &out, &lab->err), lab->err);
}

TEST(a_callback_may_call_the_guest_but_not_replace_streams) {
    struct wat_lab lab;
    struct talk talk = {0};
    SKIP_WITHOUT_COMPILER();
    husk_image *ready = lab_open(&lab);
    talk_begin(&lab, &talk);
    CHECK_EQ_I64(wat_call_i32(&lab, "put", 1234), 0);
    CHECK_EQ_U64(talk.taken, 1234);
    CHECK_STATUS(talk.set_status, HUSK_E_STATE);
    CHECK_STATUS(talk.call_status, 0);
    CHECK_EQ_I64(talk.seven, 7);
    husk_image_unref(ready);
    wat_lab_close(&lab);
}

static int put(struct wat_lab *lab, uint64_t wall_ns) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_value arg = value_i32(10), result = value_i32(-1);
    limits.wall_ns = wall_ns;
    return husk_call(lab->sandbox,
                     CALL(.name = "put", .args = &arg, .args_count = 1, .results = &result,
                          .results_count = 1, .limits = &limits),
                     &lab->outcome, &lab->err);
}

TEST(a_callback_that_fails_ends_the_call_and_poisons_nothing) {
    struct wat_lab lab;
    struct talk talk = {.result = HUSK_E_NOT_FOUND};
    SKIP_WITHOUT_COMPILER();
    husk_image *ready = lab_open(&lab);
    talk_begin(&lab, &talk);
    CHECK_OK(put(&lab, 0), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_CONTAINS(lab.outcome.message, "fd_write");
    CHECK_CONTAINS(lab.outcome.message, "not found");
    CHECK(!lab.outcome.is_poisoned);
    talk.result = 11; /* more than there is */
    CHECK_OK(put(&lab, 0), lab.err);
    CHECK_CONTAINS(lab.outcome.message, "invalid argument");
    talk.result = 0;
    CHECK_EQ_I64(wat_call_i32(&lab, "put", 10), 0);
    husk_image_unref(ready);
    wat_lab_close(&lab);
}

TEST(a_deadline_ends_the_call_when_the_callback_returns) {
    struct wat_lab lab;
    /* until the callback, an emulated CPU takes longer */
    const uint64_t limit_ns = getenv("HUSK_TEST_EMULATED") != NULL ? 1000000000 : 50000000;
    struct talk talk = {.wait_ns = 6 * limit_ns};
    const struct husk_wasi_stream out = buffer_of(0);
    SKIP_WITHOUT_COMPILER();
    husk_image *ready = lab_open(&lab);
    talk_begin(&lab, &talk);
    const uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
    CHECK_OK(put(&lab, limit_ns), lab.err);
    CHECK(clock_ns(CLOCK_MONOTONIC) - begin_ns >= talk.wait_ns);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK(lab.outcome.is_poisoned);
    CHECK_OK(set_streams(lab.sandbox, NULL, &out, &lab.err), lab.err); /* poisoned as it is */
    CHECK_EQ_U64(output_of(lab.sandbox).count, 0);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, ready, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "put", 10), 0);
    CHECK_EQ_U64(output_of(lab.sandbox).count, 10);
    husk_image_unref(ready);
    wat_lab_close(&lab);
}

TEST_MAIN()
