/*
 * tests/kvm/calls/pending_again_test.c: husk_answer.is_again: the host function of a pending call
 * is called again, in every kind of call, and in every step of one.
 */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "literals.h"
#include "pending_lab.h"

/* `bytes` and `result` may be NULL. */
static enum husk_outcome_kind again(struct pending_lab *lab, struct husk_bytes *bytes,
                                    struct husk_value *result) {
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct wat_lab *wat = &lab->wat;
    answer.is_again = true;
    answer.bytes = bytes;
    answer.results = result;
    answer.results_count = result != NULL ? 1 : 0;
    CHECK_OK(husk_call_resume(wat->sandbox, &answer, &wat->outcome, &wat->err), wat->err);
    return wat->outcome.kind;
}

/* As often as it likes: it has the same argument each time. */
TEST(a_call_is_pending_again_and_again) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_value result = value_i32(0);
    int32_t got;
    pending_lab_open(&lab, NULL);
    CHECK_OK(pending_call(&lab, "twice", 6, NULL, &got), lab.wat.err);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", i), 2 * i);
        CHECK_EQ_I64(again(&lab, NULL, &result), HUSK_PENDING);
        pending_check(&lab, 6);
    }
    CHECK_EQ_I64(lab.asked, 11);
    lab.has_answer = true;
    CHECK_EQ_I64(again(&lab, NULL, &result), HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i32, 60 + 70);
    pending_lab_close(&lab);
}

#define START                                                                                      \
    "(func $start (global.set $g (call $ask (i32.const 4)))) (start $start)"                       \
    "(func (export \"add\") (param i32) (result i32) (i32.add (global.get $g) (local.get 0)))"

/* By husk_sandbox_start(), and by the first call, whose function comes afterwards. */
TEST(an_initialisation) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_value result = value_i32(0);
    int32_t got;
    pending_lab_open(&lab, START);
    CHECK_OK(husk_sandbox_start(lab.wat.sandbox, NULL, &lab.wat.outcome, &lab.wat.err),
             lab.wat.err);
    CHECK_EQ_I64(again(&lab, NULL, NULL), HUSK_PENDING);
    lab.has_answer = true;
    CHECK_EQ_I64(again(&lab, NULL, NULL), HUSK_RETURNED);
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "add", 2), 42);
    CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
    lab.has_answer = false;
    CHECK_OK(pending_call(&lab, "add", 3, NULL, &got), lab.wat.err);
    CHECK_EQ_I64(again(&lab, NULL, &result), HUSK_PENDING);
    lab.has_answer = true;
    CHECK_EQ_I64(again(&lab, NULL, &result), HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i32, 43);
    pending_lab_close(&lab);
}

/* malloc gives 10 times the count that it is asked for, which is 50. There is as much output as ten
 * times 105. */
TEST(a_call_of_bytes) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_bytes bytes;
    pending_lab_open(&lab, NULL);
    CHECK_OK(wat_call_bytes(&lab.wat, "echo", "hello", 5, &bytes), lab.wat.err);
    CHECK_EQ_I64(lab.wat.outcome.kind, HUSK_PENDING);
    CHECK_EQ_I64(again(&lab, &bytes, NULL), HUSK_PENDING);
    lab.has_answer = true;
    CHECK_EQ_I64(again(&lab, &bytes, NULL), HUSK_RETURNED);
    CHECK_EQ_U64(bytes.output_count, 1050);
    CHECK(memcmp(bytes.output, "hello", 6) == 0);
    free(bytes.output);
    pending_lab_close(&lab);
}

/* The calls that come after it are the embedder's, as after any answer. */
TEST(a_call_of_many) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_value results[2], result = value_i32(0);
    pending_lab_open(&lab, NULL);
    pending_call_many(&lab, results);
    lab.has_answer = true;
    CHECK_EQ_I64(again(&lab, NULL, &result), HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i32, 11);
    pending_lab_close(&lab);
}

TEST_MAIN()
