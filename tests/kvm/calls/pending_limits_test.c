/* tests/kvm/calls/pending_limits_test.c: limits, interrupts and cancels while a call is pending. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"
#include "pending_lab.h"

#define MS 1000000ull

static atomic_int passed_count;

static void count_passed(void *user) {
    atomic_fetch_add((atomic_int *)user, 1);
}

static struct husk_limits limits(uint64_t wall_ns, uint64_t cpu_ns) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.wall_ns = wall_ns;
    limits.cpu_ns = cpu_ns;
    limits.passed = count_passed;
    limits.passed_user = &passed_count;
    atomic_store(&passed_count, 0);
    return limits;
}

static void make_pending(struct pending_lab *lab, const char *name,
                         const struct husk_limits *options) {
    int32_t result;
    CHECK_OK(pending_call(lab, name, 1, options, &result), lab->wat.err);
    pending_check(lab, 1);
}

/* The answer comes too late: the call ends with this outcome, and a restore heals. */
static void check_ends(struct pending_lab *lab, enum husk_outcome_kind kind) {
    int32_t result;
    const int asked = lab->asked;
    CHECK_OK(pending_resume(lab, 5, &result), lab->wat.err);
    CHECK_EQ_U64(lab->wat.outcome.kind, kind);
    CHECK(lab->wat.outcome.is_poisoned && !lab->wat.outcome.state_is_exact);
    CHECK_EQ_I64(result, -1);
    CHECK_EQ_I64(lab->asked, asked); /* the guest did not go on */
    CHECK_STATUS(pending_resume(lab, 5, &result), HUSK_E_STATE);
    CHECK_STATUS(pending_call(lab, "ask", 1, NULL, &result), HUSK_E_POISONED);
    CHECK_OK(husk_sandbox_restore(lab->wat.sandbox, lab->wat.image, &lab->wat.err), lab->wat.err);
    make_pending(lab, "ask", NULL);
    pending_returns(lab, 1, 2);
}

static void wait_passed(void) {
    for (int i = 0; i < 20000 && atomic_load(&passed_count) == 0; i++)
        usleep(1000);
    CHECK_EQ_I64(atomic_load(&passed_count), 1);
}

static uint64_t burn_ms(uint64_t ms) {
    const uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + ms * MS;
    uint64_t rounds = 0;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        rounds++;
    return rounds;
}

TEST(wall_time_goes_on) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    for (int is_nested = 0; is_nested < 2; is_nested++) {
        struct husk_limits options = limits(1000 * MS, 0);
        make_pending(&lab, "twice", &options);
        if (is_nested)
            CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 1), 2);
        wait_passed();
        check_ends(&lab, HUSK_DEADLINE);
    }
    /* without a function to call */
    struct husk_limits options = limits(100 * MS, 0);
    options.passed = NULL;
    make_pending(&lab, "twice", &options);
    usleep(150000);
    check_ends(&lab, HUSK_DEADLINE);
    usleep(20000);
    CHECK_EQ_I64(atomic_load(&passed_count), 0);
    pending_lab_close(&lab);
}

TEST(who_is_not_pending_any_more_is_not_told) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    struct husk_limits options = limits(300 * MS, 0);
    make_pending(&lab, "ask", &options);
    CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
    make_pending(&lab, "ask", &options);
    CHECK_OK(husk_sandbox_unload(lab.wat.sandbox, &lab.wat.err), lab.wat.err);
    CHECK_OK(husk_sandbox_load(lab.wat.sandbox, lab.wat.image, lab.wat.imports, &lab.wat.err),
             lab.wat.err);
    make_pending(&lab, "ask", &options);
    CHECK_OK(husk_sandbox_load(lab.wat.sandbox, lab.wat.image, lab.wat.imports, &lab.wat.err),
             lab.wat.err);
    make_pending(&lab, "ask", &options);
    husk_sandbox_free(lab.wat.sandbox);
    lab.wat.sandbox = NULL;
    const int told = atomic_load(&passed_count); /* may be 1 by now, on a slow machine */
    usleep(400000);
    CHECK_EQ_I64(atomic_load(&passed_count), told);
    pending_lab_close(&lab);
}

static void *make_pending_there(void *argument) {
    struct husk_limits options = limits(UINT64_MAX, 2000 * MS);
    make_pending(argument, "ask", &options);
    burn_ms(200);
    return NULL;
}

/* The CPU time of threads does not count while the call is pending. The thread that made the call
 * may work, or end. So may the thread that resumes it, before that. */
TEST(cpu_time_stands_still) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pthread_t thread;
    pending_lab_open(&lab, NULL);
    struct husk_limits options = limits(UINT64_MAX, 150 * MS);
    make_pending(&lab, "ask", &options);
    burn_ms(300);
    pending_returns(&lab, 1, 2);
    CHECK_EQ_I64(pthread_create(&thread, NULL, make_pending_there, &lab), 0);
    pthread_join(thread, NULL);
    pending_returns(&lab, 1, 2);
    CHECK_EQ_I64(atomic_load(&passed_count), 0);
    pending_lab_close(&lab);
}

/* In the outcome, wall time goes on, and CPU time does not. */
TEST(what_it_used) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.measure = true;
    make_pending(&lab, "ask", &options);
    CHECK(lab.wat.outcome.wall_ns > 0 && lab.wat.outcome.cpu_ns > 0);
    burn_ms(1000);
    CHECK_EQ_I64(wat_call_i32(&lab.wat, "double", 1), 2);
    pending_returns(&lab, 1, 2);
    CHECK(lab.wat.outcome.wall_ns >= 1000 * MS);
    CHECK(lab.wat.outcome.cpu_ns > 0 && lab.wat.outcome.cpu_ns < 1000 * MS);
    pending_lab_close(&lab);
}

/* CPU time from before the pending counts afterwards, on any thread. */
TEST(cpu_time_is_that_of_all_threads) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, "(func (export \"ask_spin\") (param i32) (result i32)"
                           " (drop (call $ask (local.get 0))) (loop (br 0)) (i32.const 0))");
    struct husk_limits options = limits(UINT64_MAX, 100 * MS);
    make_pending(&lab, "ask_spin", &options);
    const uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    CHECK_OK(pending_resume(&lab, 1, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
    CHECK_CONTAINS(lab.wat.outcome.message, "CPU limit of 100 ms");
    CHECK(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start > 10 * MS);
    CHECK_EQ_I64(atomic_load(&passed_count), 0);
    pending_lab_close(&lab);
}

TEST(a_call_inside_uses_the_pending_calls_time) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    const struct husk_limits rows[] = {limits(0, 100 * MS), limits(1000 * MS, 0)};
    for (int i = 0; i < 2; i++) {
        atomic_store(&passed_count, 0);
        make_pending(&lab, "ask", &rows[i]);
        CHECK_OK(pending_call(&lab, "spin", 0, NULL, &result), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
        CHECK(lab.wat.outcome.is_poisoned);
        wait_passed();
        check_ends(&lab, HUSK_DEADLINE);
    }
    pending_lab_close(&lab);
}

TEST(a_call_inside_that_is_cut_off_ends_the_pending_one) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    struct husk_limits options = limits(200 * MS, 0);
    make_pending(&lab, "ask", NULL);
    CHECK_OK(pending_call(&lab, "spin", 0, &options, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
    CHECK(lab.wat.outcome.is_poisoned);
    check_ends(&lab, HUSK_DEADLINE);
    CHECK_EQ_I64(atomic_load(&passed_count), 0);
    pending_lab_close(&lab);
}

/* With a CPU limit alone, waiting is limited: to one second at least. */
TEST(being_pending_is_waiting) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    struct husk_limits options = limits(0, 90 * MS);
    const uint64_t start = clock_ns(CLOCK_MONOTONIC);
    make_pending(&lab, "twice", &options);
    usleep(300000);
    CHECK_OK(pending_resume(&lab, 1, &result), lab.wat.err);
    pending_check(&lab, 2);
    wait_passed();
    CHECK(clock_ns(CLOCK_MONOTONIC) - start >= 1000 * MS);
    CHECK_OK(pending_resume(&lab, 1, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
    CHECK_CONTAINS(lab.wat.outcome.message, "waited longer than its CPU limit allows");
    pending_lab_close(&lab);
}

/* The limit has passed when the host function returns. */
TEST(a_limit_that_passed_before) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    lab.sleeps_ms = 1100;
    struct husk_limits options = limits(1000 * MS, 0);
    CHECK_OK(pending_call(&lab, "ask", 1, &options, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
    CHECK(lab.wat.outcome.is_poisoned);
    CHECK_STATUS(pending_resume(&lab, 1, &result), HUSK_E_STATE);
    pending_lab_close(&lab);
}

/* ---- interrupts ---- */

TEST(interrupts_and_cancels_end_it) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    pending_lab_open(&lab, NULL);
    struct husk_limits options = limits(UINT64_MAX, 0);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(husk_cancel_new(&options.cancel, &lab.wat.err), lab.wat.err);
        make_pending(&lab, "twice", &options);
        husk_cancel *cancel = husk_cancel_ref(options.cancel);
        husk_cancel_unref(options.cancel); /* the call has a share, too */
        if (i % 2 == 0)
            husk_cancel_now(cancel);
        else
            husk_interrupt(lab.wat.sandbox);
        husk_cancel_unref(cancel);
        if (i / 2 == 0) {
            check_ends(&lab, HUSK_INTERRUPTED);
            CHECK_EQ_I64(atomic_load(&passed_count), 0);
            continue;
        }
        CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
        make_pending(&lab, "ask", NULL); /* a restore removes both */
        pending_returns(&lab, 1, 2);
    }
    pending_lab_close(&lab);
}

/* A call inside has not begun: it ends, and poisons nothing. */
TEST(an_interrupt_is_for_calls_inside_too) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    int32_t result;
    pending_lab_open(&lab, NULL);
    make_pending(&lab, "ask", NULL);
    husk_interrupt(lab.wat.sandbox);
    CHECK_OK(pending_call(&lab, "double", 0, NULL, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_INTERRUPTED);
    CHECK(!lab.wat.outcome.is_poisoned);
    check_ends(&lab, HUSK_INTERRUPTED);
    pending_lab_close(&lab);
}

TEST_MAIN()
