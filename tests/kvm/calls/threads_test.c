/*
 * tests/kvm/calls/threads_test.c: sandboxes are independent: threads with one sandbox each, and one
 * sandbox that moves from thread to thread.
 */
#include <pthread.h>

#include "guest_lab.h"
#include "harness.h"
#include "literals.h"

enum { THREADS = 8, CALLS = 300 };

struct worker {
    struct guest_lab *lab;
    husk_sandbox *sandbox;
    int number, wrong;
};

/* Its own sandbox, with calls of every kind; a deadline now and then costs it the sandbox. */
static void *work(void *argument) {
    struct worker *worker = argument;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    if (husk_sandbox_new(worker->lab->image, worker->lab->imports, NULL, &worker->sandbox, &err) !=
        0) {
        worker->wrong = 1000;
        return NULL;
    }
    for (int i = 0; i < CALLS; i++) {
        struct husk_value arg = {.type = HUSK_I64, .of.i64 = worker->number * 1000 + i}, result;
        int status = husk_call(worker->sandbox,
                               CALL(.name = "host", .args = &arg, .args_count = 1,
                                    .results = &result, .results_count = 1),
                               &outcome, &err);
        worker->wrong +=
            status != 0 || outcome.kind != HUSK_RETURNED || result.of.i64 != arg.of.i64 * 2 + 1;
        status = husk_call(worker->sandbox, CALL(.name = "trap"), &outcome, &err);
        worker->wrong += status != 0 || outcome.trap != HUSK_TRAP_INTEGER_OVERFLOW;
        if (i % 50 == 49) {
            struct husk_limits options = HUSK_LIMITS_INIT;
            options.wall_ns = 2000000;
            status = husk_call(worker->sandbox, CALL(.name = "spin", .limits = &options), &outcome,
                               &err);
            worker->wrong += status != 0 || outcome.kind != HUSK_DEADLINE;
            husk_sandbox_free(worker->sandbox);
            worker->wrong += husk_sandbox_new(worker->lab->image, worker->lab->imports, NULL,
                                              &worker->sandbox, &err) != 0;
        }
    }
    husk_sandbox_free(worker->sandbox);
    return NULL;
}

TEST(eight_threads_with_a_sandbox_each) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct worker workers[THREADS] = {0};
    pthread_t threads[THREADS];
    guest_lab_open(&lab, NULL, NULL, NULL);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.lab = &lab, .number = i};
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ_I64(workers[i].wrong, 0);
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab.engine, &stats);
    CHECK_EQ_U64(stats.calls, THREADS * (2 * CALLS + CALLS / 50));
    CHECK_EQ_U64(stats.host_calls, THREADS * CALLS);
    CHECK_EQ_U64(stats.deadlines, THREADS * CALLS / 50);
    guest_lab_close(&lab);
}

static void *one_call(void *argument) {
    struct worker *worker = argument;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = worker->number},
                      result = {.type = HUSK_I64};
    int status = husk_call(
        worker->sandbox,
        CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result, .results_count = 1),
        &outcome, &err);
    worker->wrong +=
        status != 0 || outcome.kind != HUSK_RETURNED || result.of.i64 != worker->number * 2 + 1;
    status = husk_call(worker->sandbox, CALL(.name = "recurse"), &outcome, &err);
    worker->wrong += status != 0 || outcome.trap != HUSK_TRAP_CALL_STACK_EXHAUSTED;
    return NULL;
}

TEST(a_sandbox_moves_between_threads) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    struct worker worker = {.lab = &lab, .sandbox = lab.sandbox};
    for (int i = 0; i < 40; i++) {
        pthread_t thread;
        worker.number = i;
        CHECK_EQ_I64(pthread_create(&thread, NULL, one_call, &worker), 0);
        pthread_join(thread, NULL);
        one_call(&worker);
    }
    CHECK_EQ_I64(worker.wrong, 0);
    guest_lab_close(&lab);
}

static void *free_it(void *sandbox) {
    husk_sandbox_free(sandbox);
    return NULL;
}

TEST(freed_by_another_thread_than_made) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    pthread_t thread;
    guest_lab_open(&lab, NULL, NULL, NULL);
    CHECK_EQ_I64(guest_call(lab.sandbox, "host", 3, &lab.outcome), 7);
    CHECK_EQ_I64(pthread_create(&thread, NULL, free_it, lab.sandbox), 0);
    pthread_join(thread, NULL);
    lab.sandbox = NULL;
    guest_lab_close(&lab);
}

TEST_MAIN()
