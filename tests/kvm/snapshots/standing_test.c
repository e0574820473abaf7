/*
 * tests/kvm/snapshots/standing_test.c: snapshots that hold a call which stands at a host function.
 * Whoever gets one goes on with the call as if nothing had happened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "literals.h"
#include "pending_lab.h"

/* Call env.ask again, or give its answer. */
static int resume(husk_sandbox *sandbox, const struct husk_answer *more, int32_t *ret_result,
                  struct husk_outcome *outcome, struct husk_error *err) {
    struct husk_value result = value_i32(-1);
    struct husk_answer answer = *more;
    answer.results = &result;
    answer.results_count = 1;
    int status = husk_call_resume(sandbox, &answer, outcome, err);
    *ret_result = result.of.i32;
    return status;
}

static void goes_on(struct pending_lab *lab, husk_sandbox *sandbox, int32_t answer,
                    int32_t expected) {
    struct husk_answer given = HUSK_ANSWER_INIT;
    struct husk_value value = value_i32(answer);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    int32_t result;
    given.values = &value;
    given.values_count = 1;
    CHECK_OK(resume(sandbox, &given, &result, &outcome, &lab->wat.err), lab->wat.err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "outcome %d: %s", (int)outcome.kind, outcome.message);
    CHECK_EQ_I64(result, expected);
}

static void asks_again(struct pending_lab *lab, husk_sandbox *sandbox, int32_t expected) {
    struct husk_answer given = HUSK_ANSWER_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    int32_t result;
    const int asked = lab->asked;
    given.is_again = true;
    lab->has_answer = true;
    CHECK_OK(resume(sandbox, &given, &result, &outcome, &lab->wat.err), lab->wat.err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "outcome %d: %s", (int)outcome.kind, outcome.message);
    CHECK_EQ_I64(result, expected);
    CHECK(lab->asked > asked);
    lab->has_answer = false;
}

static husk_image *snapshot_of(struct pending_lab *lab, husk_sandbox *sandbox) {
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &lab->wat.err), lab->wat.err);
    return snapshot;
}

static husk_sandbox *sandbox_of(struct pending_lab *lab, husk_image *image) {
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, lab->wat.imports, NULL, &sandbox, &lab->wat.err),
             lab->wat.err);
    return sandbox;
}

static void check_place(const husk_image *image) {
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_error err;
    CHECK_OK(husk_image_standing(image, &standing, &err), err);
    CHECK_STR(standing.module, "env");
    CHECK_STR(standing.name, "ask");
    CHECK_EQ_U64(standing.type.results_count, 1);
    CHECK_OK(husk_image_backtrace(image, &backtrace, &err), err);
    CHECK(backtrace.frames_count >= 1);
    CHECK_STR(backtrace.frames[backtrace.frames_count - 1].func_name, "keep");
}

/* Every way to get the state: twice(x) is ask(x) + ask(x + 1). */
TEST(a_pending_call_is_in_a_snapshot) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    husk_sandbox *clone = NULL;
    int32_t result;
    pending_lab_open(&lab, NULL);
    CHECK_OK(pending_call(&lab, "keep", 5, NULL, &result), lab.wat.err);
    pending_check(&lab, 5);
    husk_image *snapshot = snapshot_of(&lab, lab.wat.sandbox);
    husk_image *file = wat_saved(&lab.wat, snapshot);
    check_place(snapshot);
    check_place(file);
    CHECK_OK(husk_sandbox_clone(lab.wat.sandbox, &clone, &lab.wat.err), lab.wat.err);
    asks_again(&lab, clone, 5);
    goes_on(&lab, lab.wat.sandbox, 1, 5);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(husk_sandbox_restore(clone, i % 3 == 0 ? file : snapshot, &lab.wat.err),
                 lab.wat.err);
        if (i % 2 == 0)
            asks_again(&lab, clone, 5);
        else
            goes_on(&lab, clone, i, 5);
        CHECK_EQ_I64(lab.last, 5);
    }
    husk_sandbox *fresh = sandbox_of(&lab, file);
    asks_again(&lab, fresh, 5);
    husk_sandbox_free(fresh);
    husk_sandbox_free(clone);
    husk_image_unref(file);
    husk_image_unref(snapshot);
    pending_lab_close(&lab);
}

/* Memory in large pages, its own copy of the contents, a VM that was made ahead. */
TEST(sandboxes_of_every_kind) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    CHECK_OK(pending_call(&lab, "keep", 5, NULL, &result), lab.wat.err);
    husk_image *snapshot = snapshot_of(&lab, lab.wat.sandbox);
    husk_image *file = wat_saved(&lab.wat, snapshot);
    for (int i = 0; i < 8; i++) {
        struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
        husk_image *const image = i % 2 == 0 ? snapshot : file;
        husk_sandbox *sandbox = NULL;
        options.large_pages = (enum husk_large_pages)(i / 2);
        CHECK_OK(husk_sandbox_prepare(image, lab.wat.imports, &options, 1, &lab.wat.err),
                 lab.wat.err);
        usleep(20000); /* until there is one, mostly */
        CHECK_OK(husk_sandbox_new(image, lab.wat.imports, &options, &sandbox, &lab.wat.err),
                 lab.wat.err);
        for (int round = 0; round < 3; round++) {
            asks_again(&lab, sandbox, 5);
            CHECK_OK(husk_sandbox_restore(sandbox, round == 0 ? file : snapshot, &lab.wat.err),
                     lab.wat.err);
        }
        husk_sandbox_free(sandbox);
        CHECK_OK(husk_sandbox_prepare(image, lab.wat.imports, &options, 0, &lab.wat.err),
                 lab.wat.err);
    }
    husk_image_unref(file);
    husk_image_unref(snapshot);
    pending_lab_close(&lab);
}

/* Host calls of calls inside it have values of their own: the call that is repeated gets what the
 * guest gave, and a snapshot that is taken afterwards has that, too. */
TEST(arguments_outlive_calls_inside_it) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    husk_sandbox *const first = lab.wat.sandbox;
    CHECK_OK(pending_call(&lab, "keep", 5, NULL, &result), lab.wat.err);
    husk_image *snapshot = snapshot_of(&lab, first);
    husk_sandbox *second = sandbox_of(&lab, snapshot);
    for (int i = 0; i < 2; i++) {
        lab.wat.sandbox = i == 0 ? first : second;
        lab.has_answer = true;
        CHECK_EQ_I64(wat_call_i32(&lab.wat, "ask", 77), 771);
        husk_image *later = snapshot_of(&lab, lab.wat.sandbox);
        asks_again(&lab, lab.wat.sandbox, 5);
        CHECK_EQ_I64(lab.last, 5);
        lab.last = 0;
        CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, later, &lab.wat.err), lab.wat.err);
        asks_again(&lab, lab.wat.sandbox, 5);
        CHECK_EQ_I64(lab.last, 5);
        husk_image_unref(later);
    }
    lab.wat.sandbox = first;
    husk_sandbox_free(second);
    husk_image_unref(snapshot);
    pending_lab_close(&lab);
}

struct taken {
    husk_image *snapshot;
    int status;
    struct husk_error err;
};

static int host_take(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct taken *taken = user;
    if (taken->snapshot == NULL)
        taken->status = husk_caller_snapshot(caller, &taken->snapshot, &taken->err);
    results[0].of.i32 = args[0].of.i32 * 10;
    return 0;
}

/* The function goes on after it. */
TEST(a_host_function_takes_one) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct taken taken = {0};
    husk_sandbox *second = NULL;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "take", "i>i", host_take, &taken);
    wat_lab_open(&lab,
                 "(module (import \"env\" \"take\" (func $t (param i32) (result i32)))"
                 " (func (export \"f\") (param i32) (result i32)"
                 "  (i32.add (local.get 0) (call $t (i32.add (local.get 0) (i32.const 1))))))",
                 NULL);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 3), 43);
    CHECK_OK(taken.status, taken.err);
    CHECK_OK(husk_sandbox_new(taken.snapshot, lab.imports, NULL, &second, &lab.err), lab.err);
    struct husk_value result = value_i32(0);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.is_again = true;
    answer.results = &result;
    answer.results_count = 1;
    CHECK_OK(husk_call_resume(second, &answer, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i32, 43);
    CHECK_EQ_I64(husk_call_resume(second, &answer, &lab.outcome, &lab.err), HUSK_E_STATE);
    husk_sandbox_free(second);
    husk_image_unref(taken.snapshot);
    wat_lab_close(&lab);
}

/* It has done something: that cannot be done again. */
static int host_late(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct taken *taken = user;
    (void)args, (void)results;
    const int status = husk_caller_pending(caller);
    taken->status = husk_caller_snapshot(caller, &taken->snapshot, &taken->err);
    return status;
}

TEST(a_host_function_that_has_ended_takes_none) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct taken taken = {0};
    struct husk_value result;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "take", "i>i", host_late, &taken);
    wat_lab_open(&lab,
                 "(module (import \"env\" \"take\" (func $t (param i32) (result i32)))"
                 " (func (export \"f\") (result i32) (call $t (i32.const 1))))",
                 NULL);
    CHECK_OK(wat_call(&lab, "f", NULL, 0, &result, 1), lab.err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_PENDING);
    CHECK_EQ_I64(taken.status, HUSK_E_STATE);
    CHECK_CONTAINS(taken.err.message, "has said how it ends");
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &taken.snapshot, &lab.err), lab.err);
    husk_image_unref(taken.snapshot);
    wat_lab_close(&lab);
}

/* More numbers live during the call than there are registers that keep them. Their products differ
 * whichever of them is lost. */
#define LIVE 12
static void live_text(char *text, size_t room) {
    size_t used = (size_t)snprintf(
        text, room,
        "(module (import \"env\" \"take\" (func $t (param i32) (result i32)))"
        " (memory (export \"memory\") 1) (data (i32.const 0) \"0123456789abcdefghijklmnopqrstuvwxyz"
        "ABCDEFGHIJKL\") (func (export \"f\") (param i32) (result i32)");
    for (int i = 0; i < LIVE; i++)
        used += (size_t)snprintf(text + used, room - used, " (local $l%d i32)", i);
    for (int i = 0; i < LIVE; i++)
        used += (size_t)snprintf(text + used, room - used,
                                 " (local.set $l%d (i32.load (i32.const %d)))", i, 4 * i);
    used += (size_t)snprintf(text + used, room - used, " (call $t (local.get 0))");
    for (int i = 0; i < LIVE; i++)
        used += (size_t)snprintf(text + used, room - used,
                                 " (local.get $l%d) i32.add (i32.const %d) i32.mul", i, 2 * i + 3);
    snprintf(text + used, room - used, "))");
}

TEST(every_register_that_a_call_keeps) {
    SKIP_WITHOUT_COMPILER();
    static char text[4096];
    struct wat_lab lab;
    struct taken taken = {0};
    husk_sandbox *second = NULL;
    struct husk_value result = value_i32(0);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    live_text(text, sizeof text);
    wat_lab_init(&lab);
    wat_lab_func(&lab, "take", "i>i", host_take, &taken);
    wat_lab_open(&lab, text, NULL);
    const int64_t expected = wat_call_i32(&lab, "f", 3);
    CHECK_OK(taken.status, taken.err);
    CHECK_OK(husk_sandbox_new(taken.snapshot, lab.imports, NULL, &second, &lab.err), lab.err);
    answer.is_again = true;
    answer.results = &result;
    answer.results_count = 1;
    CHECK_OK(husk_call_resume(second, &answer, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i32, expected);
    husk_sandbox_free(second);
    husk_image_unref(taken.snapshot);
    wat_lab_close(&lab);
}

TEST_MAIN()
