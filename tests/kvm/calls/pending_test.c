/* tests/kvm/calls/pending_test.c: host functions that are pending: resuming, answers, functions
 * that work meanwhile, and functions that abandon the call. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "helper_thread.h"
#include "literals.h"
#include "pending_lab.h"

static void make_pending(struct pending_lab *lab, const char *name, int32_t argument) {
    int32_t result;
    CHECK_OK(pending_call(lab, name, argument, NULL, &result), lab->wat.err);
    pending_check(lab, argument);
    CHECK_EQ_I64(result, -1);
}

/* The sandbox is as before: nothing is pending, and calls work. */
static void check_free_again(struct pending_lab *lab) {
    int32_t result;
    CHECK_STATUS(pending_resume(lab, 0, &result), HUSK_E_STATE);
    CHECK_CONTAINS(lab->wat.err.message, "no call of the sandbox is pending");
    lab->has_answer = true;
    CHECK_EQ_I64(wat_call_i32(&lab->wat, "ask", 5), 51);
    lab->has_answer = false;
    make_pending(lab, "ask", 6);
    pending_returns(lab, 600, 601);
}

TEST(a_call_goes_on_with_its_answer) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    for (int i = 0; i < 20; i++) {
        make_pending(&lab, "ask", i);
        pending_returns(&lab, 100 * i, 100 * i + 1);
        CHECK_EQ_I64(lab.asked, i + 1);
        make_pending(&lab, "keep", i);
        pending_returns(&lab, 3, i);
        lab.asked--;
    }
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 8), 16);
    pending_lab_close(&lab);
}

TEST(a_call_is_pending_again_and_again) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    make_pending(&lab, "twice", 7);
    CHECK_OK(pending_resume(&lab, 30, &result), lab.wat.err);
    pending_check(&lab, 8);
    CHECK_EQ_I64(result, -1);
    pending_returns(&lab, 12, 42);
    lab.has_answer = true; /* and a host function that answers at once */
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "twice", 1), 30);
    pending_lab_close(&lab);
}

static void *resume_there(void *argument) {
    pending_returns(argument, 70, 71);
    return NULL;
}

static void *call_there(void *argument) {
    make_pending(argument, "ask", 7);
    return NULL;
}

/* Another thread may resume the call, and the thread that made it may be gone. */
TEST(any_thread_goes_on) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pthread_t thread;
    pending_lab_open(&lab, NULL);
    for (int i = 0; i < 6; i++) {
        if (i % 2 == 0)
            call_there(&lab);
        else if (pthread_create(&thread, NULL, call_there, &lab) == 0)
            pthread_join(thread, NULL);
        if (i % 3 == 0)
            resume_there(&lab);
        else if (pthread_create(&thread, NULL, resume_there, &lab) == 0)
            pthread_join(thread, NULL);
    }
    CHECK_EQ_I64(lab.asked, 6);
    pending_lab_close(&lab);
}

static void resume_late(void *argument) {
    pending_returns(argument, 5, 5);
}

/* A restore also restores pages that the call wrote on another thread. */
TEST(a_restore_sees_what_another_thread_ran) {
    SKIP_WITHOUT_COMPILER();
    static struct helper_thread helper;
    struct pending_lab lab;
    uint32_t word = 1;
    pending_lab_open(&lab, "(func (export \"late\") (param i32) (result i32) (local i32)"
                           " (local.set 1 (call $ask (local.get 0)))"
                           " (i32.store (i32.const 40000) (local.get 1)) (local.get 1))");
    helper_start(&helper);
    for (int i = 0; i < 3; i++) {
        make_pending(&lab, "late", i);
        helper_run(&helper, resume_late, &lab);
        CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
        CHECK_OK(husk_memory_read(lab.wat.sandbox, RANGE(.addr = 40000, .count = 4), &word,
                                  &lab.wat.err),
                 lab.wat.err);
        CHECK_EQ_U64(word, 0);
    }
    helper_stop(&helper);
    pending_lab_close(&lab);
}

static void check_refused(struct pending_lab *lab, const struct husk_answer *answer, int status,
                          const char *text) {
    CHECK_STATUS(husk_call_resume(lab->wat.sandbox, answer, &lab->wat.outcome, &lab->wat.err),
                 status);
    CHECK_CONTAINS(lab->wat.err.message, text);
}

TEST(wrong_answers_change_nothing) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_value value = value_i64(1), results[2];
    struct husk_answer answer = HUSK_ANSWER_INIT;
    pending_lab_open(&lab, NULL);
    check_refused(&lab, &answer, HUSK_E_STATE, "no call of the sandbox is pending");
    make_pending(&lab, "ask", 1);
    check_refused(&lab, NULL, HUSK_E_INVAL, "NULL");
    answer.results = results;
    answer.results_count = 1;
    check_refused(&lab, &answer, HUSK_E_TYPE, "0 results given; the function has 1");
    answer.values_count = 1;
    check_refused(&lab, &answer, HUSK_E_INVAL, "NULL array");
    answer.values = &value;
    check_refused(&lab, &answer, HUSK_E_TYPE, "\"env.ask\"");
    value = value_i32(1);
    answer.results_count = 2;
    check_refused(&lab, &answer, HUSK_E_TYPE, "room for 2 results given; the pending call has 1");
    answer.results = NULL;
    answer.results_count = 1;
    check_refused(&lab, &answer, HUSK_E_INVAL, "NULL array");
    answer.status = 1;
    answer.results = results;
    check_refused(&lab, &answer, HUSK_E_INVAL, "status");
    answer.status = 0;
    answer.size = 0;
    check_refused(&lab, &answer, HUSK_E_INVAL, "husk_answer.size");
    pending_returns(&lab, 8, 9);
    pending_lab_close(&lab);
}

TEST(a_failure_is_an_answer) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    pending_lab_open(&lab, NULL);
    static const char *const messages[] = {"the other side hung up", NULL};
    for (int i = 0; i < 2; i++) {
        struct husk_backtrace trace = HUSK_BACKTRACE_INIT;
        make_pending(&lab, "ask", 3);
        CHECK_OK(husk_sandbox_backtrace(lab.wat.sandbox, &trace, &lab.wat.err), lab.wat.err);
        CHECK(trace.frames_count > 0); /* where it waits */
        answer.status = HUSK_E_SYS;
        answer.message = messages[i];
        CHECK_OK(husk_call_resume(lab.wat.sandbox, &answer, &lab.wat.outcome, &lab.wat.err),
                 lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_TRAPPED);
        CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
        CHECK(lab.wat.outcome.state_is_exact && !lab.wat.outcome.is_poisoned);
        CHECK_OK(husk_sandbox_backtrace(lab.wat.sandbox, &trace, &lab.wat.err), lab.wat.err);
        CHECK(trace.frames_count > 0); /* and one of them is "ask" */
        CHECK_EQ_U64(trace.frames[trace.frames_count - 1].func_idx, 1);
        CHECK_CONTAINS(lab.wat.outcome.message, i == 0 ? messages[0] : "\"env.ask\" failed: ");
        check_free_again(&lab);
    }
    pending_lab_close(&lab);
}

/* ---- inside each other ---- */

TEST(only_the_outermost_call_can_be_pending) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    /* a call of a host function: it fails, and then the outer call is pending */
    lab.nests = "ask";
    make_pending(&lab, "ask", 2);
    CHECK_EQ_I64(lab.nested_status, 0);
    CHECK_EQ_U64(lab.nested.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_CONTAINS(lab.nested.message, "\"env.ask\" cannot be pending");
    /* a call inside the pending call */
    CHECK_OK(pending_call(&lab, "ask", 3, NULL, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_CONTAINS(lab.wat.outcome.message, "\"env.ask\" cannot be pending");
    lab.has_answer = true;
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "ask", 3), 31);
    pending_returns(&lab, 10, 11);
    pending_lab_close(&lab);
}

static void resumes_too_early(struct pending_lab *lab, husk_sandbox *sandbox) {
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    CHECK_STATUS(husk_call_resume(sandbox, &answer, &outcome, &err), HUSK_E_STATE);
    CHECK_CONTAINS(err.message, "a call inside the pending one is running");
    CHECK_STATUS(husk_sandbox_restore(sandbox, lab->wat.image, &err), HUSK_E_STATE);
    CHECK_CONTAINS(err.message, "inside a host function");
    CHECK_STATUS(husk_sandbox_unload(sandbox, &err), HUSK_E_STATE);
}

TEST(a_call_inside_the_pending_one_must_end_first) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    make_pending(&lab, "ask", 1);
    lab.hook = resumes_too_early;
    lab.has_answer = true;
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "ask", 4), 41);
    CHECK_EQ_I64(lab.asked, 2);
    pending_returns(&lab, 1, 2);
    pending_lab_close(&lab);
}

TEST(the_instance_is_there_meanwhile) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    husk_sandbox *sandbox = lab.wat.sandbox;
    struct husk_error *err = &lab.wat.err;
    make_pending(&lab, "keep", 5);
    uint32_t kept = 0;
    uint64_t old_pages = 0;
    const struct husk_range range = {.addr = 64, .count = 4}, grown = {.addr = 65536, .count = 4};
    CHECK_OK(husk_memory_read(sandbox, &range, &kept, err), *err);
    CHECK_EQ_U64(kept, 5);
    kept = 1234;
    CHECK_OK(husk_memory_write(sandbox, &range, &kept, err), *err);
    CHECK_OK(husk_memory_grow(sandbox, 0, 1, &old_pages, err), *err);
    CHECK_EQ_U64(old_pages, 1);
    CHECK_OK(husk_memory_write(sandbox, &grown, &kept, err), *err);
    CHECK_OK(husk_table_grow(sandbox, 0, 1, NULL, err), *err);
    struct husk_value value = {.type = HUSK_EXTERNREF, .of.ref = 9};
    CHECK_OK(husk_table_set(sandbox, 0, 2, &value, err), *err);
    for (int i = 0; i < 5; i++)
        CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", i), 2 * i);
    CHECK_STATUS(husk_sandbox_start(sandbox, NULL, &lab.wat.outcome, err), HUSK_E_STATE);
    CHECK_CONTAINS(err->message, "a call is pending");
    husk_image *snapshot = NULL;
    husk_sandbox *clone = NULL;
    CHECK_OK(husk_sandbox_clone(sandbox, &clone, err), *err);
    husk_sandbox_free(clone);
    pending_returns(&lab, 0, 1234);
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, err), *err);
    husk_image_unref(snapshot);
    pending_lab_close(&lab);
}

TEST(a_call_inside_may_trap) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, "(func (export \"trap\") (param i32) (result i32) (unreachable))");
    make_pending(&lab, "keep", 9);
    CHECK_OK(pending_call(&lab, "trap", 0, NULL, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_UNREACHABLE);
    pending_returns(&lab, 0, 9);
    pending_lab_close(&lab);
}

/* ---- abandoned ---- */

TEST(restore_load_and_unload_abandon_it) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    husk_sandbox *sandbox = lab.wat.sandbox;
    struct husk_error *err = &lab.wat.err;
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, err), *err);
    for (int i = 0; i < 8; i++) {
        make_pending(&lab, "twice", i);
        if (i % 2 == 1) /* with a call inside, which leaves other registers */
            CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 3), 6);
        if (i / 2 == 1)
            CHECK_OK(husk_sandbox_unload(sandbox, err), *err);
        if (i / 2 == 0)
            CHECK_OK(husk_sandbox_restore(sandbox, snapshot, err), *err);
        else
            CHECK_OK(
                husk_sandbox_load(sandbox, i == 7 ? snapshot : lab.wat.image, lab.wat.imports, err),
                *err);
        check_free_again(&lab);
    }
    make_pending(&lab, "ask", 1);
    husk_image_unref(snapshot);
    pending_lab_close(&lab); /* frees the sandbox */
}

TEST(what_is_refused_leaves_it_pending) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    husk_sandbox *sandbox = lab.wat.sandbox;
    struct husk_error *err = &lab.wat.err;
    husk_image *other = wat_image_with(lab.wat.engine, "(module (memory 1))", WAT_WORKER);
    make_pending(&lab, "keep", 4);
    CHECK_STATUS(husk_sandbox_restore(sandbox, other, err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_load(sandbox, lab.wat.image, NULL, err), HUSK_E_LINK);
    pending_returns(&lab, 0, 4);
    make_pending(&lab, "keep", 4);
    CHECK_OK(husk_sandbox_load(sandbox, other, NULL, err), *err);
    int32_t result;
    CHECK_STATUS(pending_resume(&lab, 0, &result), HUSK_E_STATE);
    husk_image_unref(other);
    pending_lab_close(&lab);
}

TEST(a_forked_child_cannot_go_on) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.wall_ns = UINT64_MAX;
    CHECK_OK(husk_cancel_new(&limits.cancel, &lab.wat.err), lab.wat.err);
    int32_t result;
    CHECK_OK(pending_call(&lab, "keep", 4, &limits, &result), lab.wat.err);
    pid_t child = fork();
    if (child == 0) {
        const bool is_refused = pending_resume(&lab, 0, &result) == HUSK_E_STATE;
        husk_cancel_now(limits.cancel);
        husk_sandbox_free(lab.wat.sandbox);
        _exit(is_refused ? 0 : 1);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_EQ_I64(status, 0);
    pending_returns(&lab, 0, 4);
    husk_cancel_unref(limits.cancel);
    pending_lab_close(&lab);
}

/* ---- bytes ---- */

static int resume_bytes(struct pending_lab *lab, int32_t answer, struct husk_bytes *bytes) {
    struct husk_value value = value_i32(answer);
    struct husk_answer given = HUSK_ANSWER_INIT;
    given.values = &value;
    given.values_count = 1;
    given.bytes = bytes;
    return husk_call_resume(lab->wat.sandbox, &given, &lab->wat.outcome, &lab->wat.err);
}

/* Begin an exchange in a guest without a block of another exchange. */
static void call_bytes(struct pending_lab *lab) {
    char input[] = "hello";
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    CHECK_OK(husk_sandbox_restore(lab->wat.sandbox, lab->wat.image, &lab->wat.err), lab->wat.err);
    bytes.input = input;
    bytes.input_count = 5;
    bytes.output = input;
    CHECK_OK(husk_call_bytes(lab->wat.sandbox, CALL(.name = "echo"), &bytes, &lab->wat.outcome,
                             &lab->wat.err),
             lab->wat.err);
    pending_check(lab, 5); /* malloc */
    CHECK(bytes.output == input);
    memset(input, 'x', sizeof input); /* the library must not read it any more */
}

#define FREES "(func (export \"free\") (param i32) (drop (call $ask (local.get 0))))"

TEST(every_call_of_an_exchange_can_be_pending) {
    SKIP_WITHOUT_COMPILER();
    static const char *const modules[] = {NULL, FREES};
    for (int i = 0; i < 2; i++) {
        struct pending_lab lab;
        struct husk_bytes bytes = HUSK_BYTES_INIT;
        int32_t result;
        pending_lab_open(&lab, modules[i]);
        call_bytes(&lab);
        CHECK_STATUS(pending_resume(&lab, 1024, &result), HUSK_E_TYPE);
        CHECK_STATUS(resume_bytes(&lab, 1024, NULL), HUSK_E_TYPE);
        CHECK_CONTAINS(lab.wat.err.message, "the answer's bytes are missing");
        CHECK_OK(resume_bytes(&lab, 1024, &bytes), lab.wat.err);
        pending_check(&lab, 105); /* echo; it has the input now */
        CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 4), 8);
        CHECK_OK(resume_bytes(&lab, 3, &bytes), lab.wat.err);
        if (modules[i] != NULL) {
            pending_check(&lab, 1024); /* free */
            CHECK(bytes.output == NULL);
            CHECK_OK(resume_bytes(&lab, 0, &bytes), lab.wat.err);
        }
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_U64(bytes.output_count, 3);
        CHECK_STR(bytes.output, "hel");
        free(bytes.output);
        make_pending(&lab, "ask", 1);
        CHECK_STATUS(resume_bytes(&lab, 0, &bytes), HUSK_E_TYPE);
        pending_returns(&lab, 1, 2);
        pending_lab_close(&lab);
    }
}

/* The kept memory is freed after a lie of the guest, a failure, and a restore. */
TEST(an_exchange_that_does_not_return) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct husk_answer failure = HUSK_ANSWER_INIT;
    pending_lab_open(&lab, FREES);
    call_bytes(&lab);
    CHECK_STATUS(resume_bytes(&lab, 65535, &bytes), HUSK_E_GUEST);
    check_free_again(&lab);
    call_bytes(&lab);
    CHECK_OK(resume_bytes(&lab, 1024, &bytes), lab.wat.err);
    CHECK_STATUS(resume_bytes(&lab, 1 << 20, &bytes), HUSK_E_GUEST);
    check_free_again(&lab);
    call_bytes(&lab);
    CHECK_OK(resume_bytes(&lab, 1024, &bytes), lab.wat.err);
    CHECK_OK(resume_bytes(&lab, 3, &bytes), lab.wat.err);
    failure.status = HUSK_E_SYS; /* free()'s question fails: the output is there already */
    CHECK_OK(husk_call_resume(lab.wat.sandbox, &failure, &lab.wat.outcome, &lab.wat.err),
             lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK(bytes.output == NULL);
    check_free_again(&lab);
    for (int steps = 0; steps < 3; steps++) {
        call_bytes(&lab);
        for (int i = 0; i < steps; i++)
            CHECK_OK(resume_bytes(&lab, 1024, &bytes), lab.wat.err);
        CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
        check_free_again(&lab);
    }
    pending_lab_close(&lab);
}

/* ---- before the call ---- */

TEST(initialisation_can_be_pending) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, "(func $start (global.set $g (call $ask (i32.const 99))))"
                           "(start $start)"
                           "(func (export \"g_and\") (param i32) (result i32)"
                           " (i32.add (global.get $g) (call $ask (local.get 0))))");
    CHECK_OK(pending_call(&lab, "g_and", 5, NULL, &result), lab.wat.err);
    pending_check(&lab, 99);
    CHECK_OK(pending_resume(&lab, 1000, &result), lab.wat.err);
    pending_check(&lab, 5); /* the argument was kept */
    pending_returns(&lab, 50, 1050);
    /* husk_sandbox_start() has no results */
    CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
    CHECK_OK(husk_sandbox_start(lab.wat.sandbox, NULL, &lab.wat.outcome, &lab.wat.err),
             lab.wat.err);
    pending_check(&lab, 99);
    CHECK_STATUS(pending_resume(&lab, 7, &result), HUSK_E_TYPE);
    struct husk_value value = value_i32(3);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.values = &value;
    answer.values_count = 1;
    CHECK_OK(husk_call_resume(lab.wat.sandbox, &answer, &lab.wat.outcome, &lab.wat.err),
             lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
    make_pending(&lab, "g_and", 1);
    pending_returns(&lab, 1, 4);
    pending_lab_close(&lab);
}

TEST(initialisation_that_gets_no_answer) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, "(func $start (drop (call $ask (i32.const 99)))) (start $start)");
    for (int i = 0; i < 2; i++) {
        struct husk_answer answer = HUSK_ANSWER_INIT;
        answer.status = HUSK_E_SYS;
        CHECK_OK(pending_call(&lab, "double", 5, NULL, &result), lab.wat.err);
        pending_check(&lab, 99);
        if (i == 0) { /* abandoned: it begins again */
            CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err),
                     lab.wat.err);
            continue;
        }
        CHECK_OK(husk_call_resume(lab.wat.sandbox, &answer, &lab.wat.outcome, &lab.wat.err),
                 lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
        CHECK_STATUS(pending_call(&lab, "double", 5, NULL, &result), HUSK_E_STATE);
    }
    pending_lab_close(&lab);
}

TEST(husk_restored_can_be_pending) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    husk_image *snapshot = NULL;
    pending_lab_open(&lab, "(func (export \"husk_restored\") (param i64 i64)"
                           " (global.set $g (call $ask (i32.const 55))))"
                           "(func (export \"g_and\") (param i32) (result i32)"
                           " (i32.add (global.get $g) (call $ask (local.get 0))))");
    CHECK_OK(husk_sandbox_snapshot(lab.wat.sandbox, &snapshot, &lab.wat.err), lab.wat.err);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, snapshot, &lab.wat.err), lab.wat.err);
        CHECK_OK(pending_call(&lab, "g_and", i, NULL, &result), lab.wat.err);
        pending_check(&lab, 55);
        if (i == 1)
            continue; /* abandoned: the next call calls it again */
        CHECK_OK(pending_resume(&lab, 600, &result), lab.wat.err);
        pending_check(&lab, i);
        pending_returns(&lab, 20, 620);
        make_pending(&lab, "g_and", 8);
        pending_returns(&lab, 0, 600);
    }
    husk_image_unref(snapshot);
    pending_lab_close(&lab);
}

TEST_MAIN()
