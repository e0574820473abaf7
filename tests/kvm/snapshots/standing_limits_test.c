/*
 * tests/kvm/snapshots/standing_limits_test.c: a call that a snapshot brought, with limits of its
 * own: deadlines, CPU time, tokens and interrupts from other threads, while it runs and while it is
 * pending again; and what frees it then. It moves between threads and VMs.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"
#include "literals.h"
#include "pending_lab.h"

#define MS 1000000ull

/* "later": asks, and then asks again with what it got, `x` times. "spins": asks, then runs on. */
#define MORE                                                                                       \
    "(func (export \"later\") (param i32) (result i32) (local i32)"                                \
    " (loop (local.set 1 (i32.add (local.get 1) (call $ask (local.get 0))))"                       \
    "  (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"                             \
    " (local.get 1))"                                                                              \
    "(func (export \"spins\") (param i32) (result i32)"                                            \
    " (drop (call $ask (local.get 0))) (loop (br 0)) (i32.const 0))"

struct brought {
    struct pending_lab lab;
    husk_image *snapshot;
    husk_sandbox *sandbox; /* that has the call */
    struct husk_limits limits;
};

static void brought_open(struct brought *brought, const char *name, int32_t argument) {
    struct wat_lab *wat = &brought->lab.wat;
    int32_t result;
    pending_lab_open(&brought->lab, MORE);
    brought->limits = (struct husk_limits)HUSK_LIMITS_INIT;
    CHECK_OK(pending_call(&brought->lab, name, argument, NULL, &result), wat->err);
    pending_check(&brought->lab, argument);
    CHECK_OK(husk_sandbox_snapshot(wat->sandbox, &brought->snapshot, &wat->err), wat->err);
    CHECK_OK(husk_sandbox_new(brought->snapshot, wat->imports, NULL, &brought->sandbox, &wat->err),
             wat->err);
}

static void brought_close(struct brought *brought) {
    husk_sandbox_free(brought->sandbox);
    husk_image_unref(brought->snapshot);
    husk_cancel_unref(brought->limits.cancel);
    pending_lab_close(&brought->lab);
}

static struct husk_stats stats_of(const struct wat_lab *wat) {
    struct husk_stats stats = HUSK_STATS_INIT;
    CHECK_EQ_I64(husk_engine_stats(wat->engine, &stats), 0);
    return stats;
}

/* Resume with 1 as the answer. */
static int32_t resume(struct brought *brought, const struct husk_limits *limits,
                      enum husk_outcome_kind expected) {
    struct husk_value value = value_i32(1), result = value_i32(-1);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct wat_lab *wat = &brought->lab.wat;
    answer.values = &value;
    answer.results = &result;
    answer.values_count = answer.results_count = 1;
    answer.limits = limits;
    CHECK_OK(husk_call_resume(brought->sandbox, &answer, &wat->outcome, &wat->err), wat->err);
    CHECK_MSG(wat->outcome.kind == expected, "outcome %d: %s", (int)wat->outcome.kind,
              wat->outcome.message);
    return result.of.i32;
}

static void restore(struct brought *brought) {
    CHECK_OK(husk_sandbox_restore(brought->sandbox, brought->snapshot, &brought->lab.wat.err),
             brought->lab.wat.err);
}

static void new_token(struct brought *brought) {
    husk_cancel_unref(brought->limits.cancel);
    CHECK_OK(husk_cancel_new(&brought->limits.cancel, &brought->lab.wat.err), brought->lab.wat.err);
}

/* Time that passes while it is pending again counts; what passed before does not. */
TEST(a_deadline_while_it_is_pending_again) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    brought_open(&brought, "later", 3);
    brought.limits.wall_ns = 30 * MS;
    for (int i = 0; i < 3; i++) {
        usleep(40000);
        resume(&brought, &brought.limits, HUSK_PENDING);
        if (i == 1)
            CHECK_OK(husk_sandbox_park(brought.sandbox, &brought.lab.wat.err), brought.lab.wat.err);
        usleep(40000);
        resume(&brought, NULL, HUSK_DEADLINE);
        CHECK(brought.lab.wat.outcome.is_poisoned);
        CHECK(brought.lab.wat.outcome.limit == HUSK_LIMIT_WALL);
        restore(&brought);
    }
    resume(&brought, &brought.limits, HUSK_PENDING);
    resume(&brought, NULL, HUSK_PENDING);
    CHECK_EQ_I64(resume(&brought, NULL, HUSK_RETURNED), 3);
    brought_close(&brought);
}

/* Each answer may bring new limits, which end those of before: a deadline that has passed, and a
 * token that was cancelled. The call may have been begun here. */
TEST(each_answer_may_bring_new_limits) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    struct wat_lab *wat = &brought.lab.wat;
    struct husk_limits none = HUSK_LIMITS_INIT;
    brought_open(&brought, "later", 9);
    for (int was_begun_here = 0; was_begun_here < 2; was_begun_here++) {
        brought.limits.wall_ns = 30 * MS;
        new_token(&brought);
        resume(&brought, &brought.limits, HUSK_PENDING);
        usleep(40000);
        husk_cancel_now(brought.limits.cancel);
        new_token(&brought); /* the call had the last share of the one before */
        resume(&brought, &brought.limits, HUSK_PENDING);
        CHECK_OK(husk_sandbox_park(brought.sandbox, &wat->err), wat->err);
        usleep(40000);
        resume(&brought, &none, HUSK_PENDING);
        usleep(40000);
        brought.limits.wall_ns = 0;
        brought.limits.cpu_ns = 3000 * MS;
        resume(&brought, &brought.limits, HUSK_PENDING);
        CHECK(wat->outcome.cpu_ns > 0 && wat->outcome.wall_ns == 0);
        resume(&brought, NULL, HUSK_PENDING); /* that keeps them */
        husk_cancel_now(brought.limits.cancel);
        resume(&brought, NULL, HUSK_INTERRUPTED);
        brought.limits.cpu_ns = 0;
        restore(&brought);
        husk_sandbox *begun = brought.sandbox;
        brought.sandbox = wat->sandbox;
        wat->sandbox = begun;
    }
    brought.limits.wall_ns = 20 * MS;
    new_token(&brought);
    resume(&brought, &none, HUSK_PENDING);
    resume(&brought, &brought.limits, HUSK_PENDING);
    usleep(30000);
    resume(&brought, NULL, HUSK_DEADLINE); /* the new ones hold */
    brought_close(&brought);
}

/* A snapshot of a call that has a deadline, in the sandbox that it is of, in a clone, and in one
 * that is loaded: it goes on without, while the call itself is late where nobody restored it. */
TEST(a_deadline_of_a_call_that_is_gone) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    struct wat_lab *wat = &brought.lab.wat;
    husk_image *snapshot = NULL;
    husk_sandbox *clone = NULL;
    brought_open(&brought, "later", 3);
    brought.limits.wall_ns = 30 * MS;
    brought.limits.cpu_ns = 30 * MS;
    for (int i = 0; i < 3; i++) {
        resume(&brought, &brought.limits, HUSK_PENDING);
        CHECK_OK(husk_sandbox_snapshot(brought.sandbox, &snapshot, &wat->err), wat->err);
        CHECK_OK(husk_sandbox_clone(brought.sandbox, &clone, &wat->err), wat->err);
        husk_sandbox *const begun = brought.sandbox;
        if (i == 0)
            CHECK_OK(husk_sandbox_restore(begun, snapshot, &wat->err), wat->err);
        else if (i == 1)
            CHECK_OK(husk_sandbox_load(begun, snapshot, wat->imports, &wat->err), wat->err);
        usleep(40000);
        brought.sandbox = clone;
        resume(&brought, NULL, HUSK_PENDING);
        CHECK_EQ_I64(resume(&brought, NULL, HUSK_RETURNED), 3);
        brought.sandbox = begun;
        resume(&brought, NULL, i == 2 ? HUSK_DEADLINE : HUSK_PENDING);
        if (i < 2)
            CHECK_EQ_I64(resume(&brought, NULL, HUSK_RETURNED), 3);
        restore(&brought);
        husk_sandbox_free(clone);
        husk_image_unref(snapshot);
    }
    brought_close(&brought);
}

/* The CPU time of all threads that run it; and the times of the outcome. */
TEST(cpu_time_and_measured_times) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    brought_open(&brought, "spins", 3);
    brought.limits.cpu_ns = 20 * MS;
    brought.limits.measure = true;
    resume(&brought, &brought.limits, HUSK_DEADLINE);
    CHECK(brought.lab.wat.outcome.limit == HUSK_LIMIT_CPU);
    CHECK(brought.lab.wat.outcome.cpu_ns >= 20 * MS);
    CHECK(brought.lab.wat.outcome.wall_ns >= 20 * MS);
    brought_close(&brought);
}

/* The token's list must not have the call of a sandbox that is gone. */
TEST(a_token_of_a_call_that_is_gone) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    struct wat_lab *wat = &brought.lab.wat;
    brought_open(&brought, "later", 3);
    for (int i = 0; i < 4; i++) {
        new_token(&brought);
        brought.limits.wall_ns = 10000 * MS;
        resume(&brought, &brought.limits, HUSK_PENDING);
        if (i == 0) {
            restore(&brought);
        } else if (i == 1) {
            CHECK_OK(husk_sandbox_load(brought.sandbox, brought.snapshot, wat->imports, &wat->err),
                     wat->err);
        } else {
            if (i == 2)
                CHECK_OK(husk_sandbox_park(brought.sandbox, &wat->err), wat->err);
            husk_sandbox_free(brought.sandbox);
            CHECK_OK(
                husk_sandbox_new(brought.snapshot, wat->imports, NULL, &brought.sandbox, &wat->err),
                wat->err);
        }
        husk_cancel_now(brought.limits.cancel);
        resume(&brought, NULL, HUSK_PENDING); /* another call, without a token */
        restore(&brought);
    }
    new_token(&brought);
    resume(&brought, &brought.limits, HUSK_PENDING);
    husk_cancel_now(brought.limits.cancel);
    resume(&brought, NULL, HUSK_INTERRUPTED);
    brought_close(&brought);
}

struct ender {
    struct brought *brought;
    bool is_by_token;
};

static void *ends_it(void *user) {
    const struct ender *ender = user;
    usleep(20000);
    if (ender->is_by_token)
        husk_cancel_now(ender->brought->limits.cancel);
    else
        husk_interrupt(ender->brought->sandbox);
    return NULL;
}

TEST(another_thread_ends_it_while_it_runs) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    brought_open(&brought, "spins", 3);
    for (int i = 0; i < 4; i++) {
        struct ender ender = {&brought, i % 2 == 0};
        pthread_t thread;
        new_token(&brought);
        CHECK_EQ_I64(pthread_create(&thread, NULL, ends_it, &ender), 0);
        resume(&brought, &brought.limits, HUSK_INTERRUPTED);
        pthread_join(thread, NULL);
        CHECK(brought.lab.wat.outcome.is_poisoned);
        restore(&brought);
    }
    brought_close(&brought);
}

static void *resumes_once(void *user) {
    struct brought *brought = user;
    resume(brought, brought->limits.wall_ns != 0 ? &brought->limits : NULL, HUSK_PENDING);
    return NULL;
}

/* Each step on a thread of its own, in another VM, with calls inside. */
TEST(it_moves_between_threads) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    struct wat_lab *wat = &brought.lab.wat;
    brought_open(&brought, "later", 12);
    const uint64_t vms_made = stats_of(wat).vms_made;
    for (int i = 1; i < 12; i++) {
        struct husk_value arg = value_i32(i), result = value_i32(0);
        pthread_t thread;
        brought.limits.wall_ns = i == 1 ? 20000 * MS : 0; /* the first time */
        if (i % 3 != 0)
            CHECK_OK(husk_sandbox_park(brought.sandbox, &wat->err), wat->err);
        CHECK_EQ_I64(pthread_create(&thread, NULL, resumes_once, &brought), 0);
        pthread_join(thread, NULL);
        CHECK_EQ_I64(brought.lab.last, 12 - i);
        CHECK_OK(husk_call(brought.sandbox,
                           CALL(.name = "double", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1),
                           &wat->outcome, &wat->err),
                 wat->err);
        CHECK_EQ_I64(result.of.i32, 2 * i);
    }
    CHECK_EQ_I64(resume(&brought, NULL, HUSK_RETURNED), 12);
    CHECK_EQ_U64(stats_of(wat).vms_made,
                 vms_made); /* it goes on by the entry page, in a VM of the pool */
    brought_close(&brought);
}

static void interrupts(struct pending_lab *lab, husk_sandbox *sandbox) {
    (void)lab;
    husk_interrupt(sandbox);
}

/* A host function that is pending although its call must end: nobody waits for its answer. */
TEST(an_interrupt_in_a_function_that_is_pending_again) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    struct wat_lab *wat = &brought.lab.wat;
    struct husk_value result;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    brought_open(&brought, "later", 3);
    brought.lab.hook = interrupts;
    answer.results = &result;
    answer.results_count = 1;
    answer.is_again = true;
    CHECK_OK(husk_call_resume(brought.sandbox, &answer, &wat->outcome, &wat->err), wat->err);
    CHECK_EQ_I64(wat->outcome.kind, HUSK_INTERRUPTED);
    restore(&brought);
    resume(&brought, NULL, HUSK_INTERRUPTED); /* in the second call of the function */
    brought_close(&brought);
}

/* A call inside it is cut off, before or after it ran: then it ends in the same way. */
TEST(a_call_inside_it_is_cut_off) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    struct wat_lab *wat = &brought.lab.wat;
    husk_image *snapshot = NULL;
    brought_open(&brought, "later", 3);
    for (int i = 0; i < 2; i++) {
        struct husk_value arg = value_i32(1), result;
        struct husk_limits limits = HUSK_LIMITS_INIT;
        limits.wall_ns = 10 * MS;
        if (i == 1)
            resume(&brought, NULL, HUSK_PENDING);
        CHECK_OK(husk_call(brought.sandbox,
                           CALL(.name = "spin", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1, .limits = &limits),
                           &wat->outcome, &wat->err),
                 wat->err);
        CHECK_EQ_I64(wat->outcome.kind, HUSK_DEADLINE);
        CHECK_STATUS(husk_sandbox_snapshot(brought.sandbox, &snapshot, &wat->err), HUSK_E_POISONED);
        resume(&brought, NULL, HUSK_DEADLINE);
        restore(&brought);
    }
    brought_close(&brought);
}

/* A mistake changes nothing: the call stands as before, and takes its limits later. */
TEST(mistakes_leave_it_standing) {
    SKIP_WITHOUT_COMPILER();
    struct brought brought;
    struct wat_lab *wat = &brought.lab.wat;
    struct husk_value value = value_i64(1), results[2];
    struct husk_answer answer = HUSK_ANSWER_INIT;
    brought_open(&brought, "ask", 3);
    new_token(&brought);
    answer.results = results;
    answer.results_count = 2;
    answer.limits = &brought.limits;
    answer.is_again = true;
    CHECK_STATUS(husk_call_resume(brought.sandbox, &answer, &wat->outcome, &wat->err), HUSK_E_TYPE);
    CHECK_CONTAINS(wat->err.message, "room for 2 results given; the pending call has 1");
    answer.results_count = 1;
    answer.is_again = false;
    answer.values = &value;
    answer.values_count = 1;
    CHECK_STATUS(husk_call_resume(brought.sandbox, &answer, &wat->outcome, &wat->err), HUSK_E_TYPE);
    CHECK_CONTAINS(wat->err.message, "env.ask");
    CHECK_STATUS(husk_sandbox_start(brought.sandbox, NULL, &wat->outcome, &wat->err), HUSK_E_STATE);
    brought.limits.reserved[0] = 1;
    answer.values = (struct husk_value[]){value_i32(1)};
    CHECK_STATUS(husk_call_resume(brought.sandbox, &answer, &wat->outcome, &wat->err),
                 HUSK_E_INVAL);
    brought.limits.reserved[0] = 0;
    const uint64_t calls = stats_of(wat).calls; /* it counts as one, from now on */
    CHECK_EQ_I64(resume(&brought, &brought.limits, HUSK_RETURNED), 2);
    CHECK_EQ_U64(stats_of(wat).calls, calls + 1);
    brought_close(&brought);
}

TEST_MAIN()
