/* tests/support/pending_lab.c: see pending_lab.h. */
#include "pending_lab.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "literals.h"

static const char guest[] =
    "(import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
    "(memory (export \"memory\") 1 8)"
    "(global $g (export \"g\") (mut i32) (i32.const 7))"
    "(table (export \"t\") 2 4 externref)"
    "(func (export \"ask\") (param i32) (result i32)"
    " (i32.add (call $ask (local.get 0)) (i32.const 1)))"
    "(func (export \"twice\") (param i32) (result i32)"
    " (i32.add (call $ask (local.get 0)) (call $ask (i32.add (local.get 0) (i32.const 1)))))"
    "(func (export \"keep\") (param i32) (result i32)"
    " (i32.store (i32.const 64) (local.get 0))"
    " (drop (call $ask (local.get 0)))"
    " (i32.load (i32.const 64)))"
    "(func (export \"double\") (param i32) (result i32)"
    " (i32.add (local.get 0) (local.get 0)))"
    "(func (export \"spin\") (param i32) (result i32) (loop (br 0)) (i32.const 0))"
    "(func (export \"work\") (param i32) (result i32) (local i32)"
    " (loop"
    "  (global.set $g (i32.add (global.get $g) (i32.const 3)))"
    "  (i32.store (i32.const 128) (global.get $g))"
    "  (local.set 1 (i32.add (local.get 1) (i32.const 1)))"
    "  (br_if 0 (i32.lt_u (local.get 1) (local.get 0))))"
    " (local.get 0))"
    "(func (export \"malloc\") (param i32) (result i32) (call $ask (local.get 0)))"
    "(func (export \"echo\") (param i32 i32) (result i64)"
    " (i64.or (i64.extend_i32_u (local.get 0))"
    "         (i64.shl (i64.extend_i32_u"
    "   (call $ask (i32.add (local.get 1) (i32.const 100)))) (i64.const 32))))";

static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    struct pending_lab *lab = user;
    lab->asked++;
    lab->last = args[0].of.i32;
    if (lab->hook != NULL)
        lab->hook(lab, husk_caller_sandbox(caller));
    if (lab->nests != NULL) {
        const char *name = lab->nests;
        struct husk_value result = value_i32(-1);
        struct husk_error err;
        lab->nests = NULL;
        lab->nested_status = husk_call(husk_caller_sandbox(caller),
                                       CALL(.name = name, .args = args, .args_count = 1,
                                            .results = &result, .results_count = 1),
                                       &lab->nested, &err);
    }
    usleep(lab->sleeps_ms * 1000);
    if (!lab->has_answer)
        return husk_caller_pending(caller);
    results[0].of.i32 = args[0].of.i32 * 10;
    return 0;
}

void pending_lab_open(struct pending_lab *lab, const char *more) {
    char text[4096];
    memset(lab, 0, sizeof *lab);
    lab->nested.size = sizeof lab->nested;
    snprintf(text, sizeof text, "(module %s%s)", guest, more != NULL ? more : "");
    wat_lab_init(&lab->wat);
    wat_lab_func(&lab->wat, "ask", "i>i", host_ask, lab);
    wat_lab_open(&lab->wat, text, NULL);
}

void pending_lab_close(struct pending_lab *lab) {
    wat_lab_close(&lab->wat);
}

int pending_call(struct pending_lab *lab, const char *name, int32_t argument,
                 const struct husk_limits *limits, int32_t *ret_result) {
    struct husk_value arg = value_i32(argument), result = value_i32(-1);
    int status = husk_call(lab->wat.sandbox,
                           CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1, .limits = limits),
                           &lab->wat.outcome, &lab->wat.err);
    arg.of.i32 = 0x5a5a5a5a; /* the library must not read it any more */
    *ret_result = result.of.i32;
    return status;
}

void pending_call_many(struct pending_lab *lab, struct husk_value results[2]) {
    const struct husk_value args[] = {value_i32(1), value_i32(2)};
    struct husk_many many = HUSK_MANY_INIT;
    many.count = 2;
    CHECK_OK(husk_call_many(lab->wat.sandbox,
                            CALL(.name = "ask", .args = args, .args_count = 2, .results = results,
                                 .results_count = 2),
                            &many, &lab->wat.outcome, &lab->wat.err),
             lab->wat.err);
    pending_check(lab, 1);
}

int pending_resume(struct pending_lab *lab, int32_t answer, int32_t *ret_result) {
    struct husk_value value = value_i32(answer), result = value_i32(-1);
    struct husk_answer given = HUSK_ANSWER_INIT;
    given.values = &value;
    given.values_count = 1;
    given.results = &result;
    given.results_count = 1;
    int status = husk_call_resume(lab->wat.sandbox, &given, &lab->wat.outcome, &lab->wat.err);
    *ret_result = result.of.i32;
    return status;
}

void pending_check(struct pending_lab *lab, int32_t asked) {
    CHECK_MSG(lab->wat.outcome.kind == HUSK_PENDING, "outcome %d: %s", (int)lab->wat.outcome.kind,
              lab->wat.outcome.message);
    CHECK(!lab->wat.outcome.is_poisoned);
    CHECK_CONTAINS(lab->wat.outcome.message, "\"env.ask\" is pending");
    CHECK_EQ_I64(lab->last, asked);
}

void pending_returns(struct pending_lab *lab, int32_t answer, int32_t expected) {
    int32_t result;
    CHECK_OK(pending_resume(lab, answer, &result), lab->wat.err);
    CHECK_MSG(lab->wat.outcome.kind == HUSK_RETURNED, "outcome %d: %s", (int)lab->wat.outcome.kind,
              lab->wat.outcome.message);
    CHECK_EQ_I64(result, expected);
}
