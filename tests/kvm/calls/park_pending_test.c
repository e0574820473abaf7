/*
 * tests/kvm/calls/park_pending_test.c: a sandbox is parked while a call is pending. The call goes
 * on in another VM, with its limits, and as if nothing had happened.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_internal.h"
#include "error.h"
#include "harness.h"
#include "helper_thread.h"
#include "literals.h"
#include "pending_lab.h"

static void park(struct pending_lab *lab) {
    CHECK_OK(husk_sandbox_park(lab->wat.sandbox, &lab->wat.err), lab->wat.err);
    CHECK(husk_sandbox_is_parked(lab->wat.sandbox));
}

static void make_pending(struct pending_lab *lab, const char *name, int32_t argument,
                         const struct husk_limits *limits) {
    int32_t result;
    CHECK_OK(pending_call(lab, name, argument, limits, &result), lab->wat.err);
    pending_check(lab, argument);
}

TEST(it_goes_on_in_another_vm) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    for (int i = 0; i < 6; i++) {
        make_pending(&lab, "keep", i, NULL);
        park(&lab);
        park(&lab);
        pending_returns(&lab, 0, i);
        make_pending(&lab, "twice", i, NULL);
        park(&lab);
        CHECK_OK(pending_resume(&lab, 30, &result), lab.wat.err);
        pending_check(&lab, i + 1);
        if (i % 2 == 0)
            park(&lab);
        pending_returns(&lab, 12, 42);
    }
    pending_lab_close(&lab);
}

/* Before and after the parking. */
TEST(calls_inside_it_work) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    for (int i = 0; i < 8; i++) {
        make_pending(&lab, "keep", i, NULL);
        if ((i & 1) != 0)
            CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 8), 16);
        park(&lab);
        if ((i & 2) != 0)
            CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 9), 18);
        if ((i & 4) != 0)
            park(&lab);
        pending_returns(&lab, 0, i);
    }
    pending_lab_close(&lab);
}

/* The guest's registers hold what the compiler keeps across a call, numbers and vectors. */
TEST(what_the_guest_keeps_in_registers_is_kept) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(
        &lab,
        "(func (export \"mix\") (param i32) (result i32) (local i32 i32 i32 i32 i32 f64 f64 v128)"
        " (local.set 1 (i32.mul (local.get 0) (i32.const 3)))"
        " (local.set 2 (i32.mul (local.get 1) (i32.const 5)))"
        " (local.set 3 (i32.xor (local.get 2) (i32.const 77)))"
        " (local.set 4 (i32.sub (local.get 3) (local.get 1)))"
        " (local.set 6 (f64.convert_i32_s (local.get 3)))"
        " (local.set 7 (f64.div (local.get 6) (f64.const 7)))"
        " (local.set 8 (i32x4.splat (local.get 4)))"
        " (local.set 5 (call $ask (local.get 0)))"
        " (i32.add (i32.add (i32.add (local.get 1) (local.get 2)) (i32.add (local.get 3)"
        "  (local.get 4))) (i32.add (i32.add (local.get 5) (i32.trunc_f64_s (f64.mul"
        "  (local.get 7) (f64.const 100)))) (i32x4.extract_lane 2 (local.get 8)))))");
    for (int32_t i = 1; i < 30; i += 7) {
        int32_t expected, result;
        make_pending(&lab, "mix", i, NULL);
        CHECK_OK(pending_resume(&lab, 1000 * i, &expected), lab.wat.err);
        make_pending(&lab, "mix", i, NULL);
        park(&lab);
        CHECK_OK(pending_resume(&lab, 1000 * i, &result), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(result, expected);
    }
    pending_lab_close(&lab);
}

static uint64_t vms_made(const struct pending_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab->wat.engine, &stats);
    return stats.vms_made;
}

/* The call does not go on at the entry page, which resets what others left in a VM. So a VM of the
 * pool is not taken; also not by a call inside it, which may end before it runs. */
TEST(it_never_goes_on_in_a_used_vm) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    husk_sandbox *second = NULL;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    int32_t result;
    pending_lab_open(&lab, NULL);
    CHECK_OK(husk_cancel_new(&limits.cancel, &lab.wat.err), lab.wat.err);
    husk_cancel_now(limits.cancel);
    CHECK_OK(husk_sandbox_new(lab.wat.image, lab.wat.imports, NULL, &second, &lab.wat.err),
             lab.wat.err);
    for (int has_inner = 0; has_inner <= 1; has_inner++) {
        make_pending(&lab, "keep", 4, NULL);
        park(&lab);
        CHECK_OK(husk_sandbox_park(second, &lab.wat.err), lab.wat.err);
        const uint64_t made = vms_made(&lab);
        if (has_inner) {
            CHECK_OK(pending_call(&lab, "double", 3, &limits, &result), lab.wat.err);
            CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_INTERRUPTED);
        }
        pending_returns(&lab, 0, 4);
        CHECK_EQ_U64(vms_made(&lab), made + 1);
    }
    park(&lab);
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 4), 8); /* nothing is pending */
    husk_cancel_unref(limits.cancel);
    husk_sandbox_free(second);
    pending_lab_close(&lab);
}

/* Its time goes on, and no VM is kicked. */
TEST(its_deadline_passes_while_it_is_parked) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    int32_t result;
    pending_lab_open(&lab, NULL);
    limits.wall_ns = 3000000000;
    make_pending(&lab, "ask", 1, &limits);
    park(&lab);
    pending_returns(&lab, 3, 4);
    limits.wall_ns = 500000000;
    make_pending(&lab, "ask", 1, &limits);
    park(&lab);
    usleep(600000);
    CHECK_OK(pending_resume(&lab, 3, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
    CHECK(lab.wat.outcome.is_poisoned);
    CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
    make_pending(&lab, "ask", 6, NULL);
    pending_returns(&lab, 600, 601);
    pending_lab_close(&lab);
}

TEST(it_is_ended_while_it_is_parked) {
    SKIP_WITHOUT_COMPILER();
    for (int is_cancel = 0; is_cancel <= 1; is_cancel++) {
        struct pending_lab lab;
        struct husk_limits limits = HUSK_LIMITS_INIT;
        int32_t result;
        pending_lab_open(&lab, NULL);
        CHECK_OK(husk_cancel_new(&limits.cancel, &lab.wat.err), lab.wat.err);
        make_pending(&lab, "ask", 1, &limits);
        park(&lab);
        if (is_cancel)
            husk_cancel_now(limits.cancel);
        else
            husk_interrupt(lab.wat.sandbox);
        CHECK_OK(pending_resume(&lab, 3, &result), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_INTERRUPTED);
        CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
        husk_cancel_unref(limits.cancel);
        pending_lab_close(&lab);
    }
}

static int create_fails(struct vm_backend *backend, struct vm **ret_vm, struct husk_error *err) {
    (void)backend, (void)ret_vm;
    return error_set(err, HUSK_E_SYS, "no VM today");
}

TEST(without_a_vm_it_stays_pending) {
    SKIP_WITHOUT_COMPILER();
    static struct vm_ops ops;
    struct pending_lab lab;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    int32_t result;
    pending_lab_open(&lab, NULL);
    husk_engine_trim(lab.wat.engine, 0);
    limits.wall_ns = 3600000000000;
    make_pending(&lab, "keep", 4, &limits);
    park(&lab);
    const struct vm_ops *real = lab.wat.engine->vm_ops;
    ops = *real;
    ops.create = create_fails;
    lab.wat.engine->vm_ops = &ops;
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(pending_resume(&lab, 0, &result), HUSK_E_SYS);
        CHECK_CONTAINS(lab.wat.err.message, "no VM today");
        CHECK_STATUS(pending_call(&lab, "double", 1, &limits, &result), HUSK_E_SYS);
    }
    lab.wat.engine->vm_ops = real;
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 4), 8);
    pending_returns(&lab, 0, 4);
    pending_lab_close(&lab);
}

TEST(a_restore_abandons_it) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    make_pending(&lab, "keep", 4, NULL);
    park(&lab);
    CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
    CHECK(husk_sandbox_is_parked(lab.wat.sandbox));
    CHECK_STATUS(pending_resume(&lab, 0, &result), HUSK_E_STATE);
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 4), 8);
    make_pending(&lab, "keep", 4, NULL);
    park(&lab);
    pending_lab_close(&lab); /* frees it */
}

TEST(a_failed_answer_traps) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_answer failure = HUSK_ANSWER_INIT;
    pending_lab_open(&lab, NULL);
    make_pending(&lab, "ask", 4, NULL);
    park(&lab);
    failure.status = HUSK_E_LIMIT;
    CHECK_OK(husk_call_resume(lab.wat.sandbox, &failure, &lab.wat.outcome, &lab.wat.err),
             lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    CHECK_OK(husk_sandbox_backtrace(lab.wat.sandbox, &backtrace, &lab.wat.err), lab.wat.err);
    CHECK(backtrace.frames_count > 0);
    pending_lab_close(&lab);
}

TEST(an_exchange_goes_on) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct husk_value value = value_i32(1024);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    pending_lab_open(&lab, NULL);
    bytes.input = "hello";
    bytes.input_count = 5;
    CHECK_OK(husk_call_bytes(lab.wat.sandbox, CALL(.name = "echo"), &bytes, &lab.wat.outcome,
                             &lab.wat.err),
             lab.wat.err);
    pending_check(&lab, 5); /* malloc */
    answer.values = &value;
    answer.values_count = 1;
    answer.bytes = &bytes;
    park(&lab);
    CHECK_OK(husk_call_resume(lab.wat.sandbox, &answer, &lab.wat.outcome, &lab.wat.err),
             lab.wat.err);
    pending_check(&lab, 105); /* echo */
    park(&lab);
    value.of.i32 = 3;
    CHECK_OK(husk_call_resume(lab.wat.sandbox, &answer, &lab.wat.outcome, &lab.wat.err),
             lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64(bytes.output_count, 3);
    CHECK_STR(bytes.output, "hel");
    free(bytes.output);
    pending_lab_close(&lab);
}

static void resume_there(void *argument) {
    pending_returns(argument, 70, 71);
}

static void park_there(void *argument) {
    park(argument);
}

static void call_there(void *argument) {
    make_pending(argument, "ask", 7, NULL);
}

TEST(any_thread_parks_and_goes_on) {
    SKIP_WITHOUT_COMPILER();
    static struct helper_thread helpers[3];
    static const helper_job jobs[] = {call_there, park_there, resume_there};
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    for (int i = 0; i < 3; i++)
        helper_start(&helpers[i]);
    for (int i = 0; i < 9; i++)
        for (int step = 0; step < 3; step++)
            helper_run(&helpers[(i / 3 * step + i) % 3], jobs[step], &lab);
    for (int i = 0; i < 3; i++)
        helper_stop(&helpers[i]);
    CHECK_EQ_I64(lab.asked, 9);
    pending_lab_close(&lab);
}

TEST_MAIN()
