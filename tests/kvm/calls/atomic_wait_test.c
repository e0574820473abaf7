/*
 * tests/kvm/calls/atomic_wait_test.c: memory.atomic.wait waits until its time-out, and everything
 * that ends a call ends it: deadlines, interrupts, tokens, also in nested calls and in calls that
 * were pending.
 */
#include <pthread.h>
#include <unistd.h>

#include "clock.h"
#include "literals.h"
#include "pending_lab.h"

#define MS UINT64_C(1000000)
#define LIMIT_NS (150 * MS)  /* long enough that an emulated CPU has entered the guest */
#define SLOW_NS (20000 * MS) /* a machine as slow as that is broken */

static const char module_text[] =
    "(module (import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
    " (memory (export \"mem\") 1 2 shared) (memory 1 1)"
    " (data (i32.const 8) \"\\05\\00\\00\\00\\06\\00\\00\\00\")"
    " (func (export \"wait\") (param i32) (result i32)" /* so many ms; below 0: without end */
    "   i32.const 8 i32.const 5 local.get 0 i64.extend_i32_s i64.const 1000000 i64.mul"
    "   memory.atomic.wait32)"
    " (func (export \"wait64\") (param i32) (result i32)"
    "   i32.const 8 i64.const 0x600000005 local.get 0 i64.extend_i32_s i64.const 1000000 i64.mul"
    "   memory.atomic.wait64)"
    " (func (export \"other\") (param i32) (result i32)" /* the value in memory is another one */
    "   i32.const 8 local.get 0 i64.const -1 memory.atomic.wait32)"
    " (func (export \"other64\") (param i32) (result i32)"
    "   i32.const 8 local.get 0 i64.extend_i32_u i64.const -1 memory.atomic.wait64)"
    " (func (export \"least\") (param i32) (result i32)"
    "   i32.const 8 i32.const 5 i64.const 0x8000000000000000 memory.atomic.wait32)"
    " (func (export \"most\") (param i32) (result i32)"
    "   i32.const 8 i32.const 5 i64.const 0x7fffffffffffffff memory.atomic.wait32)"
    " (func (export \"at\") (param i32) (result i32)"
    "   local.get 0 i32.const 5 i64.const -1 memory.atomic.wait32)"
    " (func (export \"at64\") (param i32) (result i32)"
    "   local.get 0 i64.const 5 i64.const -1 memory.atomic.wait64)"
    " (func (export \"not_shared\") (param i32) (result i32)"
    "   local.get 0 i32.const 0 i64.const -1 memory.atomic.wait32 1)"
    " (func (export \"many\") (param i32) (result i32) (local i32)" /* waits of 100 ns */
    "   (loop $again"
    "     (local.set 1 (i32.add (local.get 1)"
    "       (memory.atomic.wait32 (i32.const 8) (i32.const 5) (i64.const 100))))"
    "     (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "   local.get 1)"
    " (func (export \"notify\") (param i32) (result i32)"
    "   i32.const 8 local.get 0 memory.atomic.notify)"
    " (func (export \"ask_and_wait\") (param i32) (result i32)"
    "   (drop (call $ask (i32.const 1)))"
    "   (memory.atomic.wait32 (i32.const 8) (i32.const 5)"
    "     (i64.mul (i64.extend_i32_s (local.get 0)) (i64.const 1000000)))))";

/* env.ask: pending, or it makes a nested call of "wait" without end. */
struct asked {
    bool is_nesting;
    struct husk_outcome nested;
    struct husk_limits limits; /* of the nested call */
};

static int ask(husk_caller *caller, void *user, const struct husk_value *args,
               struct husk_value *results) {
    struct asked *asked = user;
    struct husk_error err;
    const struct husk_value forever = value_i32(-1);
    (void)args;
    if (!asked->is_nesting)
        return husk_caller_pending(caller);
    asked->nested = (struct husk_outcome)HUSK_OUTCOME_INIT;
    return husk_call(husk_caller_sandbox(caller),
                     CALL(.name = "wait", .args = &forever, .args_count = 1, .results = results,
                          .results_count = 1, .limits = &asked->limits),
                     &asked->nested, &err);
}

struct wait_lab {
    struct wat_lab wat;
    struct asked asked;
    struct husk_limits limits;
    uint64_t took_ns;
    int32_t result;
};

static void lab_open(struct wait_lab *lab) {
    *lab = (struct wait_lab){.limits = HUSK_LIMITS_INIT};
    lab->asked.limits = (struct husk_limits)HUSK_LIMITS_INIT;
    wat_lab_init(&lab->wat);
    wat_lab_func(&lab->wat, "ask", "i>i", ask, &lab->asked);
    wat_lab_open(&lab->wat, module_text, NULL);
}

static void lab_restore(struct wait_lab *lab) {
    CHECK_OK(husk_sandbox_restore(lab->wat.sandbox, lab->wat.image, &lab->wat.err), lab->wat.err);
    lab->limits = (struct husk_limits)HUSK_LIMITS_INIT;
}

static void call(struct wait_lab *lab, const char *name, int32_t argument) {
    const struct husk_value arg = value_i32(argument);
    struct husk_value result = value_i32(-1);
    const uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    CHECK_OK(husk_call(lab->wat.sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1, .limits = &lab->limits),
                       &lab->wat.outcome, &lab->wat.err),
             lab->wat.err);
    lab->took_ns = clock_ns(CLOCK_MONOTONIC) - begin;
    lab->result = result.of.i32;
}

static void check_returns(struct wait_lab *lab, const char *name, int32_t argument,
                          int32_t expected) {
    call(lab, name, argument);
    CHECK_MSG(lab->wat.outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->wat.outcome.message);
    CHECK_MSG(lab->result == expected, "%s: %d", name, (int)lab->result);
}

static void check_ends(struct wait_lab *lab, const char *name, enum husk_outcome_kind expected) {
    call(lab, name, -1);
    CHECK_MSG(lab->wat.outcome.kind == expected, "%s: %s", name, lab->wat.outcome.message);
    CHECK(lab->took_ns < SLOW_NS);
    lab_restore(lab);
}

TEST(a_wait_ends_at_its_time_out) {
    SKIP_WITHOUT_COMPILER();
    struct wait_lab lab;
    lab_open(&lab);
    static const char *const names[] = {"wait", "wait64"};
    for (size_t i = 0; i < 2; i++) {
        check_returns(&lab, names[i], 0, 2);
        check_returns(&lab, names[i], 30, 2);
        CHECK(lab.took_ns >= 30 * MS && lab.took_ns < SLOW_NS);
    }
    check_returns(&lab, "other", 4, 1);
    check_returns(&lab, "other64", 5, 1); /* the upper half differs */
    check_returns(&lab, "notify", -1, 0);
    check_returns(&lab, "many", 10000, 20000);
    CHECK(lab.took_ns >= 1 * MS && lab.took_ns < SLOW_NS);
    wat_lab_close(&lab.wat);
}

static void check_trap(struct wait_lab *lab, const char *name, int32_t argument,
                       enum husk_trap expected) {
    call(lab, name, argument);
    CHECK_MSG(lab->wat.outcome.kind == HUSK_TRAPPED && lab->wat.outcome.trap == expected, "%s: %s",
              name, lab->wat.outcome.message);
}

/* Before it waits, and in this order. */
TEST(a_wait_checks_its_address_first) {
    SKIP_WITHOUT_COMPILER();
    struct wait_lab lab;
    lab_open(&lab);
    check_trap(&lab, "at", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(&lab, "at", -4, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(&lab, "at64", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(&lab, "at", 65534, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(&lab, "at", 65537, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(&lab, "at64", 65532, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(&lab, "not_shared", 0, HUSK_TRAP_EXPECTED_SHARED_MEMORY);
    CHECK_CONTAINS(lab.wat.outcome.message, "expected shared memory");
    CHECK(lab.wat.outcome.state_is_exact);
    check_trap(&lab, "not_shared", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(&lab, "not_shared", 1, HUSK_TRAP_UNALIGNED_ATOMIC);
    wat_lab_close(&lab.wat);
}

TEST(a_deadline_ends_a_wait) {
    SKIP_WITHOUT_COMPILER();
    struct wait_lab lab;
    lab_open(&lab);
    static const char *const names[] = {"wait", "wait64", "least", "most"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lab.limits.wall_ns = LIMIT_NS;
        check_ends(&lab, names[i], HUSK_DEADLINE);
        CHECK_EQ_I64(lab.wat.outcome.limit, HUSK_LIMIT_WALL);
    }
    lab.limits.wall_ns = LIMIT_NS;
    call(&lab, "many", 1 << 30); /* each wait is short */
    CHECK_EQ_I64(lab.wat.outcome.kind, HUSK_DEADLINE);
    lab_restore(&lab);
    check_returns(&lab, "wait", 1, 2);
    wat_lab_close(&lab.wat);
}

/* Waiting takes no CPU time. */
TEST(a_cpu_limit_alone_bounds_a_wait) {
    SKIP_WITHOUT_COMPILER();
    struct wait_lab lab;
    lab_open(&lab);
    lab.limits.cpu_ns = 25 * MS;
    do { /* on a slow machine the CPU time may be over before the guest waits */
        lab.limits.cpu_ns *= 2;
        check_ends(&lab, "wait", HUSK_DEADLINE);
    } while (lab.wat.outcome.limit == HUSK_LIMIT_CPU && lab.limits.cpu_ns < SLOW_NS);
    CHECK_EQ_I64(lab.wat.outcome.limit, HUSK_LIMIT_WAIT);
    CHECK(lab.took_ns >= 1000 * MS);
    wat_lab_close(&lab.wat);
}

static void *interrupt_later(void *sandbox) {
    usleep(20000);
    husk_interrupt(sandbox);
    return NULL;
}

static void *cancel_later(void *cancel) {
    usleep(20000);
    husk_cancel_now(cancel);
    return NULL;
}

TEST(an_interrupt_or_a_token_ends_a_wait) {
    SKIP_WITHOUT_COMPILER();
    struct wait_lab lab;
    pthread_t thread;
    lab_open(&lab);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ_I64(pthread_create(&thread, NULL, interrupt_later, lab.wat.sandbox), 0);
        check_ends(&lab, i % 2 == 0 ? "wait" : "most", HUSK_INTERRUPTED);
        pthread_join(thread, NULL);
        CHECK_OK(husk_cancel_new(&lab.limits.cancel, &lab.wat.err), lab.wat.err);
        husk_cancel *cancel = lab.limits.cancel;
        CHECK_EQ_I64(pthread_create(&thread, NULL, cancel_later, cancel), 0);
        check_ends(&lab, "wait", HUSK_INTERRUPTED);
        pthread_join(thread, NULL);
        husk_cancel_unref(cancel);
    }
    wat_lab_close(&lab.wat);
}

/* The inner call's own deadline ends it alone; the outer one's ends both. */
TEST(a_wait_in_a_nested_call_ends) {
    SKIP_WITHOUT_COMPILER();
    struct wait_lab lab;
    lab_open(&lab);
    lab.asked.is_nesting = true;
    lab.limits.wall_ns = LIMIT_NS;
    check_ends(&lab, "ask_and_wait", HUSK_DEADLINE);
    CHECK_EQ_I64(lab.asked.nested.kind, HUSK_DEADLINE);
    lab.asked.limits.wall_ns = LIMIT_NS;
    check_ends(&lab, "ask_and_wait", HUSK_DEADLINE);
    CHECK_EQ_I64(lab.asked.nested.kind, HUSK_DEADLINE);
    wat_lab_close(&lab.wat);
}

static int resume(struct wait_lab *lab) {
    struct husk_value result = value_i32(-1);
    const struct husk_value zero = value_i32(0);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.values = &zero;
    answer.values_count = 1;
    answer.results = &result;
    answer.results_count = 1;
    int status = husk_call_resume(lab->wat.sandbox, &answer, &lab->wat.outcome, &lab->wat.err);
    lab->result = result.of.i32;
    return status;
}

/* The deadline is the call's, from its beginning. */
TEST(a_call_that_was_pending_waits) {
    SKIP_WITHOUT_COMPILER();
    struct wait_lab lab;
    lab_open(&lab);
    call(&lab, "ask_and_wait", 10);
    CHECK_EQ_I64(lab.wat.outcome.kind, HUSK_PENDING);
    CHECK_OK(resume(&lab), lab.wat.err);
    CHECK_EQ_I64(lab.wat.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(lab.result, 2);
    lab.limits.wall_ns = LIMIT_NS;
    call(&lab, "ask_and_wait", -1);
    CHECK_EQ_I64(lab.wat.outcome.kind, HUSK_PENDING);
    CHECK_OK(resume(&lab), lab.wat.err);
    CHECK_EQ_I64(lab.wat.outcome.kind, HUSK_DEADLINE);
    wat_lab_close(&lab.wat);
}

TEST_MAIN()
