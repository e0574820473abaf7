/*
 * tests/kvm/snapshots/standing_rules_test.c: which calls can be in a snapshot, and what a sandbox
 * does that got one: limits, interrupts, husk_restored(), calls inside it, chains of snapshots.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "layout.h"
#include "literals.h"
#include "pending_lab.h"

struct rules {
    struct wat_lab wat;
    husk_image *snapshot; /* that env.take took */
    int status;
    struct husk_error err; /* of env.take */
    int32_t asked;
    bool has_answer; /* env.ask answers at once */
};

/* A snapshot inside the host function. */
static int host_take(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct rules *rules = user;
    husk_image_unref(rules->snapshot);
    rules->snapshot = NULL;
    rules->status = husk_caller_snapshot(caller, &rules->snapshot, &rules->err);
    results[0].of.i32 = args[0].of.i32;
    return 0;
}

static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    struct rules *rules = user;
    rules->asked++;
    results[0].of.i32 = args[0].of.i32 * 10;
    return rules->has_answer ? 0 : husk_caller_pending(caller);
}

/* Calls the export "inner". */
static int host_nest(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    (void)user;
    CHECK_OK(husk_call(husk_caller_sandbox(caller),
                       CALL(.name = "inner", .args = args, .args_count = 1, .results = results,
                            .results_count = 1),
                       &outcome, &err),
             err);
    return 0;
}

#define IMPORTS                                                                                    \
    "(import \"env\" \"take\" (func $take (param i32) (result i32)))"                              \
    "(import \"env\" \"ask\" (func $ask (param i32) (result i32)))"                                \
    "(import \"env\" \"nest\" (func $nest (param i32) (result i32)))"

static void rules_open(struct rules *rules, const char *fields,
                       const struct husk_sandbox_options *options) {
    char text[4096];
    memset(rules, 0, sizeof *rules);
    snprintf(text, sizeof text, "(module " IMPORTS "%s)", fields);
    wat_lab_init(&rules->wat);
    wat_lab_func(&rules->wat, "take", "i>i", host_take, rules);
    wat_lab_func(&rules->wat, "ask", "i>i", host_ask, rules);
    wat_lab_func(&rules->wat, "nest", "i>i", host_nest, rules);
    wat_lab_open(&rules->wat, text, options);
}

static void rules_close(struct rules *rules) {
    husk_image_unref(rules->snapshot);
    wat_lab_close(&rules->wat);
}

static int32_t call(struct rules *rules, husk_sandbox *sandbox, const char *name, int32_t argument,
                    enum husk_outcome_kind kind) {
    struct husk_value arg = value_i32(argument), result = value_i32(-1);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &rules->wat.outcome, &rules->wat.err),
             rules->wat.err);
    CHECK_MSG(rules->wat.outcome.kind == kind, "outcome %d: %s", (int)rules->wat.outcome.kind,
              rules->wat.outcome.message);
    return result.of.i32;
}

/* Call the host function again. */
static int32_t again(struct rules *rules, husk_sandbox *sandbox, const struct husk_limits *limits,
                     enum husk_outcome_kind kind) {
    struct husk_value result = value_i32(-1);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.is_again = true;
    answer.limits = limits;
    answer.results = &result;
    answer.results_count = 1;
    CHECK_OK(husk_call_resume(sandbox, &answer, &rules->wat.outcome, &rules->wat.err),
             rules->wat.err);
    CHECK_MSG(rules->wat.outcome.kind == kind, "outcome %d: %s", (int)rules->wat.outcome.kind,
              rules->wat.outcome.message);
    return result.of.i32;
}

static husk_image *snapshot_of(struct rules *rules, husk_sandbox *sandbox) {
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &rules->wat.err), rules->wat.err);
    return snapshot;
}

static husk_sandbox *sandbox_of(struct rules *rules, husk_image *image) {
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, rules->wat.imports, NULL, &sandbox, &rules->wat.err),
             rules->wat.err);
    return sandbox;
}

static void snapshot_is_refused(struct rules *rules, const char *what) {
    husk_image *snapshot = NULL;
    husk_sandbox *clone = NULL;
    CHECK_STATUS(husk_sandbox_snapshot(rules->wat.sandbox, &snapshot, &rules->wat.err),
                 HUSK_E_STATE);
    CHECK_CONTAINS(rules->wat.err.message, what);
    CHECK_STATUS(husk_sandbox_clone(rules->wat.sandbox, &clone, &rules->wat.err), HUSK_E_STATE);
}

#define OUTER                                                                                      \
    "(func (export \"inner\") (param i32) (result i32) (call $take (local.get 0)))"                \
    "(func (export \"outer\") (param i32) (result i32) (call $nest (local.get 0)))"                \
    "(func (export \"waits\") (param i32) (result i32) (call $ask (local.get 0)))"

TEST(a_nested_call_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    rules_open(&rules, OUTER, NULL);
    CHECK_EQ_I64(call(&rules, rules.wat.sandbox, "outer", 4, HUSK_RETURNED), 4);
    CHECK_EQ_I64(rules.status, HUSK_E_STATE);
    CHECK_CONTAINS(rules.err.message, "a call that a host function made");
    call(&rules, rules.wat.sandbox, "waits", 4, HUSK_PENDING);
    rules.status = 0;
    CHECK_EQ_I64(call(&rules, rules.wat.sandbox, "inner", 4, HUSK_RETURNED), 4);
    CHECK_EQ_I64(rules.status, HUSK_E_STATE);
    CHECK_CONTAINS(rules.err.message, "inside a pending one");
    rules_close(&rules);
}

TEST(the_initialisation_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    rules_open(&rules,
               "(func $start (drop (call $take (i32.const 1))) (drop (call $ask (i32.const 2))))"
               "(start $start)",
               NULL);
    CHECK_OK(husk_sandbox_start(rules.wat.sandbox, NULL, &rules.wat.outcome, &rules.wat.err),
             rules.wat.err);
    CHECK_EQ_I64(rules.status, HUSK_E_STATE);
    CHECK_CONTAINS(rules.err.message, "initialisation");
    CHECK_EQ_U64(rules.wat.outcome.kind, HUSK_PENDING);
    snapshot_is_refused(&rules, "initialisation");
    rules_close(&rules);
}

#define RESTORED                                                                                   \
    "(global $n (mut i32) (i32.const 0))"                                                          \
    "(func (export \"count\") (param i32) (result i32) (global.get $n))"                           \
    "(func (export \"f\") (param i32) (result i32)"                                                \
    " (i32.add (i32.add (global.get $n) (call $ask (local.get 0)))"                                \
    "  (i32.mul (global.get $n) (i32.const 1000))))"                                               \
    "(func (export \"husk_restored\") (param i64 i64)"                                             \
    " (global.set $n (i32.add (global.get $n) (i32.const 1)))"

TEST(husk_restored_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    rules_open(&rules,
               RESTORED "(drop (call $take (i32.const 1))) (drop (call $ask (i32.const 2))))",
               NULL);
    CHECK_EQ_I64(call(&rules, rules.wat.sandbox, "count", 0, HUSK_RETURNED), 0);
    husk_image *snapshot = snapshot_of(&rules, rules.wat.sandbox);
    CHECK_OK(husk_sandbox_restore(rules.wat.sandbox, snapshot, &rules.wat.err), rules.wat.err);
    call(&rules, rules.wat.sandbox, "count", 0, HUSK_PENDING);
    CHECK_EQ_I64(rules.status, HUSK_E_STATE);
    CHECK_CONTAINS(rules.err.message, "husk_restored()");
    snapshot_is_refused(&rules, "husk_restored()");
    husk_image_unref(snapshot);
    rules_close(&rules);
}

/* Below the standing call, once, whichever comes first: a call inside it, or the call itself. */
TEST(husk_restored_comes_first) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    rules_open(&rules, RESTORED ")", NULL);
    call(&rules, rules.wat.sandbox, "f", 5, HUSK_PENDING);
    husk_image *snapshot = snapshot_of(&rules, rules.wat.sandbox);
    husk_sandbox *sandbox = sandbox_of(&rules, snapshot), *clone = NULL;
    CHECK_OK(husk_sandbox_clone(sandbox, &clone, &rules.wat.err), rules.wat.err);
    rules.has_answer = true;
    CHECK_EQ_I64(again(&rules, rules.wat.sandbox, NULL, HUSK_RETURNED), 50); /* not restored */
    CHECK_EQ_I64(again(&rules, sandbox, NULL, HUSK_RETURNED), 1050);
    CHECK_EQ_I64(again(&rules, clone, NULL, HUSK_RETURNED), 1050); /* of one that owed it */
    husk_sandbox_free(clone);
    CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &rules.wat.err), rules.wat.err);
    CHECK_EQ_I64(call(&rules, sandbox, "count", 0, HUSK_RETURNED), 1);
    CHECK_EQ_I64(call(&rules, sandbox, "count", 0, HUSK_RETURNED), 1);
    CHECK_EQ_I64(again(&rules, sandbox, NULL, HUSK_RETURNED), 1050);
    husk_sandbox_free(sandbox);
    husk_image_unref(snapshot);
    rules_close(&rules);
}

/* Its trap is the outcome, and the call stands as before; its deadline ends both. */
TEST(a_husk_restored_that_does_not_return) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    rules_open(&rules,
               RESTORED "(if (i32.lt_u (global.get $n) (i32.const 3)) (then unreachable))"
                        "(if (i32.eq (global.get $n) (i32.const 3)) (then (loop (br 0)))))",
               NULL);
    call(&rules, rules.wat.sandbox, "f", 5, HUSK_PENDING);
    husk_image *snapshot = snapshot_of(&rules, rules.wat.sandbox);
    CHECK_OK(husk_sandbox_restore(rules.wat.sandbox, snapshot, &rules.wat.err), rules.wat.err);
    rules.has_answer = true;
    rules.asked = 0;
    again(&rules, rules.wat.sandbox, NULL, HUSK_TRAPPED);
    again(&rules, rules.wat.sandbox, NULL, HUSK_TRAPPED);
    limits.wall_ns = 20000000;
    again(&rules, rules.wat.sandbox, &limits, HUSK_DEADLINE);
    CHECK(rules.wat.outcome.is_poisoned);
    CHECK_EQ_I64(rules.asked, 0);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    CHECK_STATUS(husk_call_resume(rules.wat.sandbox, &answer, &rules.wat.outcome, &rules.wat.err),
                 HUSK_E_STATE);
    husk_image_unref(snapshot);
    rules_close(&rules);
}

TEST(calls_of_bytes_and_many_are_refused) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    husk_image *snapshot = NULL;
    struct husk_bytes bytes;
    pending_lab_open(&lab, NULL);
    CHECK_OK(wat_call_bytes(&lab.wat, "echo", "abc", 3, &bytes), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_PENDING);
    CHECK_STATUS(husk_sandbox_snapshot(lab.wat.sandbox, &snapshot, &lab.wat.err), HUSK_E_STATE);
    CHECK_CONTAINS(lab.wat.err.message, "husk_call_bytes() or husk_call_many()");
    CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
    struct husk_value results[2];
    pending_call_many(&lab, results);
    CHECK_STATUS(husk_sandbox_snapshot(lab.wat.sandbox, &snapshot, &lab.wat.err), HUSK_E_STATE);
    CHECK_CONTAINS(lab.wat.err.message, "husk_call_bytes() or husk_call_many()");
    pending_lab_close(&lab);
}

#define DEEP                                                                                       \
    "(func $deep (export \"deep\") (param i32) (result i32) (local i32)"                           \
    " (if (i32.eqz (local.get 0)) (then (return (call $ask (i32.const 7)))))"                      \
    " (local.set 1 (call $deep (i32.sub (local.get 0) (i32.const 1))))"                            \
    " (i32.add (i32.mul (local.get 1) (i32.const 3)) (local.get 0)))"

TEST(a_stack_that_is_too_small_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    husk_sandbox *small = NULL;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    rules_open(&rules, DEEP, NULL);
    rules.has_answer = true;
    const int32_t expected = call(&rules, rules.wat.sandbox, "deep", 3000, HUSK_RETURNED);
    rules.has_answer = false;
    call(&rules, rules.wat.sandbox, "deep", 3000, HUSK_PENDING);
    husk_image *snapshot = snapshot_of(&rules, rules.wat.sandbox);
    options.stack_bytes = HUSK_STACK_MIN_BYTES;
    CHECK_STATUS(husk_sandbox_new(snapshot, rules.wat.imports, &options, &small, &rules.wat.err),
                 HUSK_E_LIMIT);
    CHECK_CONTAINS(rules.wat.err.message, "stack_bytes is 16384");
    options.stack_bytes = HUSK_STACK_MAX_BYTES;
    CHECK_OK(husk_sandbox_new(snapshot, rules.wat.imports, &options, &small, &rules.wat.err),
             rules.wat.err);
    rules.has_answer = true;
    CHECK_EQ_I64(again(&rules, small, NULL, HUSK_RETURNED), expected);
    husk_sandbox_free(small);
    husk_image_unref(snapshot);
    rules_close(&rules);
}

#define SPINS                                                                                      \
    "(func (export \"spins\") (param i32) (result i32)"                                            \
    " (drop (call $ask (local.get 0))) (loop (br 0)) (i32.const 0))"

/* Its first limits are gone with the sandbox that began it. */
TEST(a_call_that_came_gets_new_limits) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    rules_open(&rules, SPINS, NULL);
    husk_sandbox *sandbox = rules.wat.sandbox;
    call(&rules, sandbox, "spins", 1, HUSK_PENDING);
    limits.wall_ns = 20000000;
    husk_image *snapshot = snapshot_of(&rules, sandbox);
    rules.has_answer = true;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &rules.wat.err), rules.wat.err);
        again(&rules, sandbox, &limits, HUSK_DEADLINE);
        CHECK(rules.wat.outcome.is_poisoned);
    }
    CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &rules.wat.err), rules.wat.err);
    rules.has_answer = false; /* it is pending again, and then keeps them */
    again(&rules, sandbox, &limits, HUSK_PENDING);
    rules.has_answer = true;
    again(&rules, sandbox, NULL, HUSK_DEADLINE);
    husk_image_unref(snapshot);
    rules_close(&rules);
}

TEST(interrupts_end_it) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    rules_open(&rules, SPINS OUTER, NULL);
    husk_sandbox *sandbox = rules.wat.sandbox;
    call(&rules, sandbox, "waits", 1, HUSK_PENDING);
    husk_image *snapshot = snapshot_of(&rules, sandbox);
    rules.has_answer = true;
    husk_interrupt(sandbox); /* the restore takes it back */
    CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &rules.wat.err), rules.wat.err);
    CHECK_EQ_I64(again(&rules, sandbox, NULL, HUSK_RETURNED), 10);
    CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &rules.wat.err), rules.wat.err);
    rules.asked = 0;
    husk_interrupt(sandbox);
    again(&rules, sandbox, NULL, HUSK_INTERRUPTED);
    CHECK(rules.wat.outcome.is_poisoned);
    CHECK_OK(husk_cancel_new(&limits.cancel, &rules.wat.err), rules.wat.err);
    husk_cancel_now(limits.cancel);
    CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &rules.wat.err), rules.wat.err);
    again(&rules, sandbox, &limits, HUSK_INTERRUPTED);
    CHECK_EQ_I64(rules.asked, 0);
    husk_cancel_unref(limits.cancel);
    husk_image_unref(snapshot);
    rules_close(&rules);
}

TEST(an_answer_and_again_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    const struct husk_value value = value_i32(1);
    struct husk_value result;
    rules_open(&rules, OUTER, NULL);
    call(&rules, rules.wat.sandbox, "waits", 1, HUSK_PENDING);
    for (int i = 0; i < 3; i++) {
        struct husk_answer answer = HUSK_ANSWER_INIT;
        answer.is_again = true;
        answer.results = &result;
        answer.results_count = 1;
        answer.values = i == 0 ? &value : NULL;
        answer.values_count = i == 0;
        answer.status = i == 1 ? HUSK_E_SYS : 0;
        answer.message = i == 2 ? "no" : NULL;
        CHECK_STATUS(
            husk_call_resume(rules.wat.sandbox, &answer, &rules.wat.outcome, &rules.wat.err),
            HUSK_E_INVAL);
    }
    rules.has_answer = true;
    CHECK_EQ_I64(again(&rules, rules.wat.sandbox, NULL, HUSK_RETURNED), 10);
    rules_close(&rules);
}

/* A failure is an answer, too; afterwards the sandbox is as after any trap. */
TEST(it_may_fail) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    rules_open(&rules, OUTER, NULL);
    call(&rules, rules.wat.sandbox, "waits", 1, HUSK_PENDING);
    husk_image *snapshot = snapshot_of(&rules, rules.wat.sandbox);
    husk_sandbox *sandbox = sandbox_of(&rules, snapshot);
    answer.status = HUSK_E_SYS;
    answer.message = "no more";
    CHECK_OK(husk_call_resume(sandbox, &answer, &rules.wat.outcome, &rules.wat.err), rules.wat.err);
    CHECK_EQ_U64(rules.wat.outcome.kind, HUSK_TRAPPED);
    CHECK_STR(rules.wat.outcome.message, "no more");
    rules.has_answer = true;
    CHECK_EQ_I64(call(&rules, sandbox, "waits", 3, HUSK_RETURNED), 30);
    husk_sandbox_free(sandbox);
    husk_image_unref(snapshot);
    rules_close(&rules);
}

#define LOOPS                                                                                      \
    "(func (export \"loops\") (param i32) (result i32) (local i32)"                                \
    " (loop (local.set 1 (i32.add (local.get 1) (call $ask (local.get 0))))"                       \
    "  (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"                             \
    " (local.get 1))"                                                                              \
    "(func (export \"inner\") (param i32) (result i32) (local.get 0))"

/* Each snapshot is of a sandbox that came from the one before. After the call none has a stack. */
TEST(chains_of_snapshots) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    struct husk_standing standing = HUSK_STANDING_INIT;
    husk_image *snapshot;
    rules_open(&rules, LOOPS, NULL);
    husk_sandbox *sandbox = rules.wat.sandbox;
    call(&rules, sandbox, "loops", 30, HUSK_PENDING);
    for (int i = 30; i > 1; i--) {
        snapshot = snapshot_of(&rules, sandbox);
        CHECK_OK(husk_image_standing(snapshot, &standing, &rules.wat.err), rules.wat.err);
        husk_sandbox *next = sandbox_of(&rules, snapshot);
        husk_image_unref(snapshot);
        CHECK_EQ_I64(call(&rules, next, "inner", i, HUSK_RETURNED), i);
        struct husk_value value = value_i32(i), result;
        struct husk_answer answer = HUSK_ANSWER_INIT;
        answer.values = &value;
        answer.results = &result;
        answer.values_count = answer.results_count = 1;
        CHECK_OK(husk_call_resume(next, &answer, &rules.wat.outcome, &rules.wat.err),
                 rules.wat.err);
        CHECK_EQ_U64(rules.wat.outcome.kind, HUSK_PENDING);
        if (sandbox != rules.wat.sandbox)
            husk_sandbox_free(sandbox);
        sandbox = next;
    }
    rules.has_answer = true;
    CHECK_EQ_I64(again(&rules, sandbox, NULL, HUSK_RETURNED), 30 * 31 / 2 - 1 + 10);
    snapshot = snapshot_of(&rules, sandbox);
    CHECK_STATUS(husk_image_standing(snapshot, &standing, &rules.wat.err), HUSK_E_NOT_FOUND);
    CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &rules.wat.err), rules.wat.err);
    CHECK_EQ_I64(call(&rules, sandbox, "loops", 1, HUSK_RETURNED), 10);
    husk_image_unref(snapshot);
    husk_sandbox_free(sandbox);
    rules_close(&rules);
}

/* A restore to an image without a call, a load and an unload abandon it. */
TEST(it_is_abandoned_like_any_pending_call) {
    SKIP_WITHOUT_COMPILER();
    struct rules rules;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_error *err = &rules.wat.err;
    rules_open(&rules, OUTER, NULL);
    husk_sandbox *sandbox = rules.wat.sandbox;
    call(&rules, sandbox, "waits", 1, HUSK_PENDING);
    husk_image *snapshot = snapshot_of(&rules, sandbox);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(husk_sandbox_load(sandbox, snapshot, rules.wat.imports, err), *err);
        CHECK_STATUS(husk_sandbox_start(sandbox, NULL, &rules.wat.outcome, err), HUSK_E_STATE);
        if (i == 0)
            CHECK_OK(husk_sandbox_restore(sandbox, rules.wat.image, err), *err);
        else if (i == 1)
            CHECK_OK(husk_sandbox_load(sandbox, rules.wat.image, rules.wat.imports, err), *err);
        else
            CHECK_OK(husk_sandbox_unload(sandbox, err), *err);
        CHECK_STATUS(husk_call_resume(sandbox, &answer, &rules.wat.outcome, err), HUSK_E_STATE);
    }
    husk_image_unref(snapshot);
    rules_close(&rules);
}

TEST_MAIN()
