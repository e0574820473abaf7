/* tests/kvm/calls/deadline_test.c: wall and CPU limits, and races between them and interrupts. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "guest_lab.h"
#include "harness.h"
#include "last_backtrace.h"
#include "nested_call.h"
#include "literals.h"

#define MS 1000000ull

static struct husk_limits limits(uint64_t wall_ns, uint64_t cpu_ns) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = wall_ns;
    options.cpu_ns = cpu_ns;
    return options;
}

static void check_deadline(clockid_t clock, struct husk_limits options, uint64_t limit_ns) {
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    uint64_t start = clock_ns(clock);
    guest_run(lab.sandbox, "spin", &options, &lab.outcome);
    uint64_t took = clock_ns(clock) - start;
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK(lab.outcome.is_poisoned);
    const struct husk_backtrace backtrace = last_backtrace(lab.sandbox);
    CHECK(backtrace.frames_count == 0 || strcmp(backtrace.frames[0].func_name, "spin") == 0);
    CHECK_MSG(took >= limit_ns, "ended after %llu ns, before the limit", (unsigned long long)took);
    CHECK_MSG(took < limit_ns + 1000 * MS, "ended after %llu ns, long after the limit",
              (unsigned long long)took);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_STATUS(husk_call(lab.sandbox, CALL(.name = "spin"), &outcome, &lab.err), HUSK_E_POISONED);
    guest_lab_close(&lab);
}

TEST(wall_limits_are_kept) {
    SKIP_WITHOUT_KVM();
    check_deadline(CLOCK_MONOTONIC, limits(30 * MS, 0), 30 * MS);
    check_deadline(CLOCK_MONOTONIC, limits(100 * MS, 0), 100 * MS);
    check_deadline(CLOCK_MONOTONIC, limits(40 * MS, 10000 * MS), 40 * MS);
}

/* Over before it began, or soon after: never a hang, and a guest that did not run poisons
 * nothing. */
TEST(a_limit_of_a_nanosecond) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    struct husk_limits options = limits(1, 0);
    guest_run(lab.sandbox, "spin", &options, &lab.outcome);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    if (!lab.outcome.is_poisoned)
        CHECK_EQ_I64(guest_call(lab.sandbox, "host", 1, &lab.outcome), 3);
    guest_lab_close(&lab);
}

TEST(cpu_limits_are_kept) {
    SKIP_WITHOUT_KVM();
    check_deadline(CLOCK_THREAD_CPUTIME_ID, limits(0, 30 * MS), 30 * MS);
    check_deadline(CLOCK_THREAD_CPUTIME_ID, limits(0, 50 * MS), 50 * MS);
    check_deadline(CLOCK_THREAD_CPUTIME_ID, limits(UINT64_MAX, 20 * MS), 20 * MS);
}

static int host_sleeps(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)caller, (void)user;
    uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)args[0].of.i64 * MS;
    while (clock_ns(CLOCK_MONOTONIC) < end)
        usleep(1000); /* may be cut short by the kick signal */
    results[0] = args[0];
    return 0;
}

TEST(sleeping_costs_wall_time_but_no_cpu_time) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, host_sleeps, NULL, NULL);
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 60}, result;
    struct husk_limits options = limits(0, 30 * MS);
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1, .limits = &options),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    options = limits(30 * MS, 0);
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1, .limits = &options),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE); /* found when the guest was to go on */
    guest_lab_close(&lab);
}

static void check_nested_limits(husk_host_fn host, uint64_t outer_ns, uint64_t inner_ns) {
    struct guest_lab lab;
    struct nested_call inner = {.wall_ns = inner_ns};
    guest_lab_open(&lab, host, &inner, NULL);
    struct husk_value arg = {.type = HUSK_I64}, result;
    struct husk_limits options = limits(outer_ns, 0);
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1, .limits = &options),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_U64(inner.outcome.kind, HUSK_DEADLINE);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK(inner.outcome.is_poisoned && lab.outcome.is_poisoned);
    guest_lab_close(&lab);
}

TEST(limits_hold_for_nested_calls_on_any_thread) {
    SKIP_WITHOUT_KVM();
    for (int i = 0; i < NESTED_SPINS; i++) {
        check_nested_limits(nested_spins[i], 20 * MS, 0);
        check_nested_limits(nested_spins[i], 0, 20 * MS);
        check_nested_limits(nested_spins[i], 5000 * MS, 20 * MS);
    }
}

TEST(calls_within_their_limit_are_left_alone) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1}, result;
    struct husk_limits options = limits(2000 * MS, 2000 * MS);
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(husk_call(lab.sandbox,
                           CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1, .limits = &options),
                           &lab.outcome, &lab.err),
                 lab.err);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    }
    guest_lab_close(&lab);
}

static void *block_and_spin(void *argument) {
    struct guest_lab *lab = argument;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    struct husk_limits options = limits(10 * MS, 0);
    husk_call(lab->sandbox, CALL(.name = "spin", .limits = &options), &lab->outcome, &lab->err);
    return NULL;
}

/* The library unblocks its signal in a thread that makes its first call. */
TEST(threads_that_block_all_signals_are_cut_off_too) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    pthread_t thread;
    guest_lab_open(&lab, NULL, NULL, NULL);
    CHECK_EQ_I64(pthread_create(&thread, NULL, block_and_spin, &lab), 0);
    pthread_join(thread, NULL);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    guest_lab_close(&lab);
}

struct race {
    husk_sandbox *_Atomic sandbox;
    atomic_bool is_over;
    atomic_uint sent;
    pthread_mutex_t lock; /* a sandbox must not be freed while it is interrupted */
};

static void *interrupt_often(void *argument) {
    struct race *race = argument;
    unsigned seed = 1;
    while (!atomic_load(&race->is_over)) {
        usleep((unsigned)rand_r(&seed) % 400);
        pthread_mutex_lock(&race->lock);
        husk_interrupt(atomic_load(&race->sandbox));
        atomic_fetch_add(&race->sent, 1);
        pthread_mutex_unlock(&race->lock);
    }
    return NULL;
}

/* Interrupts and deadlines at random moments: every call ends, an interrupted one as interrupted,
 * and no other is harmed. */
TEST(races) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct race race = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    unsigned kinds[6] = {0};
    guest_lab_open(&lab, NULL, NULL, NULL);
    atomic_store(&race.sandbox, lab.sandbox);
    CHECK_EQ_I64(pthread_create(&thread, NULL, interrupt_often, &race), 0);
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1}, result;
    for (int i = 0; i < 300; i++) {
        struct husk_limits options = limits(i % 3 == 0 ? 300000 : 0, 0);
        bool spins = i % 2 == 0;
        CHECK_OK(husk_call(lab.sandbox,
                           CALL(.name = spins ? "spin" : "host", .args = &arg,
                                .args_count = spins ? 0 : 1, .results = &result,
                                .results_count = spins ? 0 : 1, .limits = &options),
                           &lab.outcome, &lab.err),
                 lab.err);
        CHECK(lab.outcome.kind == HUSK_INTERRUPTED ||
              lab.outcome.kind == (spins ? HUSK_DEADLINE : HUSK_RETURNED) ||
              (lab.outcome.kind == HUSK_DEADLINE && options.wall_ns != 0));
        kinds[lab.outcome.kind]++;
        if (!lab.outcome.is_poisoned)
            continue;
        husk_sandbox *fresh = guest_lab_sandbox(&lab);
        pthread_mutex_lock(&race.lock);
        atomic_store(&race.sandbox, fresh);
        pthread_mutex_unlock(&race.lock);
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = fresh;
    }
    atomic_store(&race.is_over, true);
    pthread_join(thread, NULL);
    CHECK(kinds[HUSK_INTERRUPTED] > 0 && kinds[HUSK_INTERRUPTED] <= atomic_load(&race.sent));
    guest_lab_close(&lab);
}

TEST_MAIN()
