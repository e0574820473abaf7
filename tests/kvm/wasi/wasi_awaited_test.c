/*
 * tests/kvm/wasi/wasi_awaited_test.c: standard input of the kind HUSK_WASI_AWAITED: the call is
 * pending when the guest wants data, and goes on with another stream, in the same sandbox and in
 * those that a snapshot makes.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "literals.h"
#include "wat.h"

/* sum: adds the bytes that it reads by `parts` reads of one byte each, by descriptor 4, which was
 * standard input; before each it waits for input. call: the same by a host function. */
static const char sum_wat[] =
    "(module"
    " (import \"wasi_snapshot_preview1\" \"fd_read\""
    "  (func $read (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"poll_oneoff\""
    "  (func $poll (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_renumber\""
    "  (func $renumber (param i32 i32) (result i32)))"
    " (import \"env\" \"nested\" (func $nested (param i32) (result i32)))"
    " (memory (export \"memory\") 1) (global $fd (mut i32) (i32.const 0))"
    " (func (export \"move\") (param i32) (result i32)"
    "  (global.set $fd (i32.const 2)) (call $renumber (i32.const 0) (i32.const 2)))"
    " (func $sum (export \"sum\") (param $parts i32) (result i32) (local $sum i32)"
    "  (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 1))"
    "  (i32.store8 (i32.const 208) (i32.const 1)) (i32.store (i32.const 216) (global.get $fd))"
    "  (loop $more"
    "   (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))"
    "   (drop (call $read (global.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))"
    "   (local.set $sum (i32.add (local.get $sum) (i32.load8_u (i32.const 100))))"
    "   (local.set $parts (i32.sub (local.get $parts) (i32.const 1)))"
    "   (br_if $more (local.get $parts)))"
    "  (local.get $sum))"
    " (func (export \"call\") (param i32) (result i32) (call $nested (local.get 0))))";

static int nested(husk_caller *caller, void *user, const struct husk_value *args,
                  struct husk_value *results) {
    struct husk_outcome *outcome = user;
    struct husk_error err;
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    return husk_call(
        sandbox,
        CALL(.name = "sum", .args = args, .args_count = 1, .results = results, .results_count = 1),
        outcome, &err);
}

static struct husk_wasi_stream awaited(void) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_AWAITED;
    return stream;
}

static struct husk_wasi_stream bytes_of(const char *text) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_BYTES;
    stream.bytes = text;
    stream.bytes_count = strlen(text);
    return stream;
}

static void give(struct wat_lab *lab, husk_sandbox *sandbox, struct husk_wasi_stream stream) {
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    request.stdin_stream = &stream;
    CHECK_OK(husk_sandbox_set_wasi(sandbox, &request, &lab->err), lab->err);
}

static void lab_open(struct wat_lab *lab, struct husk_outcome *inner) {
    static const husk_type i32 = HUSK_I32;
    static const struct husk_functype type = {&i32, 1, &i32, 1};
    const struct husk_host_func row = {
        .module = "env", .name = "nested", .type = &type, .fn = nested, .user = inner};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    const struct husk_wasi_stream in = awaited();
    request.stdin_stream = &in;
    options.stderr_fd = 2;
    options.stderr_rights = HUSK_WASI_WRITE;
    options.request = &request;
    wat_lab_init(lab);
    CHECK_OK(husk_imports_wasi(lab->imports, &options, &lab->err), lab->err);
    CHECK_OK(husk_imports_funcs(lab->imports, &row, 1, &lab->err), lab->err);
    wat_lab_open(lab, sum_wat, NULL);
}

static enum husk_outcome_kind call(struct wat_lab *lab, const char *name, int32_t parts) {
    struct husk_value arg = value_i32(parts), result = value_i32(-1);
    CHECK_OK(husk_call(lab->sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &lab->outcome, &lab->err),
             lab->err);
    return lab->outcome.kind;
}

static enum husk_outcome_kind again(struct wat_lab *lab, husk_sandbox *sandbox, int32_t *ret_sum) {
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_value result = value_i32(-1);
    answer.is_again = true;
    answer.results = &result;
    answer.results_count = 1;
    CHECK_OK(husk_call_resume(sandbox, &answer, &lab->outcome, &lab->err), lab->err);
    *ret_sum = result.of.i32;
    return lab->outcome.kind;
}

/* Under its own number, and under another one. */
static void check_goes_on(bool is_moved) {
    struct wat_lab lab;
    struct husk_outcome inner = HUSK_OUTCOME_INIT;
    int32_t sum = 0;
    lab_open(&lab, &inner);
    if (is_moved)
        CHECK_EQ_I64(wat_call_i32(&lab, "move", 0), 0);
    CHECK_EQ_I64(call(&lab, "sum", 3), HUSK_PENDING);
    CHECK_CONTAINS(lab.outcome.message, "poll_oneoff");
    CHECK_EQ_I64(again(&lab, lab.sandbox, &sum), HUSK_PENDING); /* there is nothing still */
    give(&lab, lab.sandbox, bytes_of("\1\2\3"));
    CHECK_EQ_I64(again(&lab, lab.sandbox, &sum), HUSK_RETURNED);
    CHECK_EQ_I64(sum, 6);
    wat_lab_close(&lab);
}

TEST(a_call_goes_on_when_the_input_is_there) {
    SKIP_WITHOUT_COMPILER();
    check_goes_on(false);
    check_goes_on(true);
}

/* A sandbox of a snapshot waits, too, and each has its own input. */
TEST(many_go_on_from_one_place) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_outcome inner = HUSK_OUTCOME_INIT;
    husk_image *snapshot = NULL;
    husk_sandbox *sandbox = NULL;
    int32_t sum = 0;
    lab_open(&lab, &inner);
    CHECK_EQ_I64(call(&lab, "sum", 2), HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_new(snapshot, lab.imports, NULL, &sandbox, &lab.err), lab.err);
    for (char i = 1; i < 100; i++) {
        const char text[] = {i, '\2', '\0'};
        if (i > 1) /* before the stream, or after */
            CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &lab.err), lab.err);
        give(&lab, sandbox, bytes_of(text));
        if (i == 50)
            CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &lab.err), lab.err);
        CHECK_EQ_I64(again(&lab, sandbox, &sum), HUSK_RETURNED);
        CHECK_EQ_I64(sum, i + 2);
    }
    give(&lab, lab.sandbox, bytes_of("\7\7"));
    CHECK_EQ_I64(again(&lab, lab.sandbox, &sum), HUSK_RETURNED);
    CHECK_EQ_I64(sum, 14);
    husk_sandbox_free(sandbox);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST(a_call_inside_another_one_cannot_wait) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_outcome inner = HUSK_OUTCOME_INIT;
    lab_open(&lab, &inner);
    CHECK_EQ_I64(call(&lab, "call", 1), HUSK_RETURNED);
    CHECK_EQ_I64(inner.kind, HUSK_TRAPPED);
    CHECK_CONTAINS(inner.message, "cannot be pending");
    give(&lab, lab.sandbox, bytes_of("\5"));
    CHECK_EQ_I64(wat_call_i32(&lab, "call", 1), 5);
    wat_lab_close(&lab);
}

TEST_MAIN()
