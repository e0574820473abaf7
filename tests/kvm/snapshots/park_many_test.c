/*
 * tests/kvm/snapshots/park_many_test.c: thousands of parked sandboxes with a few VMs; and threads
 * that park, call and interrupt at once.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "files_in.h"
#include "harness.h"
#include "literals.h"
#include "sandbox_internal.h"
#include "state_guest.h"
#include "wat.h"

#define VMS 4u

/* HUSK_TEST_ROUNDS: so many sandboxes, and turns of threads; for slow machines. */
static uint32_t rounds_wanted(uint32_t most) {
    const char *text = getenv("HUSK_TEST_ROUNDS");
    const uint32_t wanted = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : most;
    return wanted < most ? wanted : most;
}

/* The descriptors and threads of this process. KVM adds threads of its own to it. */
struct usage {
    unsigned fds, threads;
};

static struct usage usage_now(void) {
    return (struct usage){files_in("/proc/self/fd"), files_in("/proc/self/task")};
}

static uint64_t vms_now(const struct state_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &stats);
    return stats.vms;
}

static int32_t word_of(uint32_t idx) {
    return (int32_t)(idx * 2654435761u >> 1);
}

/* Only so many of them have a VM. The job may make the sandbox. */
static void call_in_turn(struct state_lab *lab, husk_sandbox **sandboxes, uint32_t count,
                         void (*job)(struct state_lab *lab, husk_sandbox **sandbox, uint32_t idx)) {
    for (uint32_t i = 0; i < count; i++) {
        job(lab, &sandboxes[i], i);
        if (i >= VMS)
            CHECK_OK(husk_sandbox_park(sandboxes[i - VMS], &lab->err), lab->err);
    }
    for (uint32_t i = count > VMS ? count - VMS : 0; i < count; i++)
        CHECK_OK(husk_sandbox_park(sandboxes[i], &lab->err), lab->err);
}

static void make_and_write(struct state_lab *lab, husk_sandbox **ret_sandbox, uint32_t idx) {
    husk_sandbox *sandbox = *ret_sandbox = state_sandbox(lab, lab->image);
    STATE_CALL_ON(lab, sandbox, "store", 4096 * (int32_t)(idx % 20), word_of(idx));
    STATE_CALL_ON(lab, sandbox, "gset", (int32_t)idx);
    if (idx % 16 == 0)
        STATE_CALL_ON(lab, sandbox, "grow", 1);
}

static void check_own(struct state_lab *lab, husk_sandbox **place, uint32_t idx) {
    husk_sandbox *sandbox = *place;
    CHECK(husk_sandbox_is_parked(sandbox));
    CHECK_EQ_I64(STATE_CALL_ON(lab, sandbox, "load", 4096 * (int32_t)(idx % 20)), word_of(idx));
    CHECK_EQ_I64(STATE_CALL_ON(lab, sandbox, "gget"), (int32_t)idx);
    CHECK_EQ_I64(STATE_CALL_ON(lab, sandbox, "size"), 2 + (idx % 16 == 0));
    CHECK(vms_now(lab) <= VMS + 4);
}

TEST(thousands_wait_with_a_few_vms) {
    SKIP_WITHOUT_COMPILER();
    const uint32_t count = rounds_wanted(4000);
    struct state_lab lab;
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    husk_sandbox **sandboxes = calloc(count, sizeof(husk_sandbox *));
    options.pool_max = 2;
    state_open_with(&lab, &options, NULL, NULL);
    STATE_CALL(&lab, "load", 0);
    const struct usage before = usage_now();
    call_in_turn(&lab, sandboxes, count, make_and_write);
    CHECK(vms_now(&lab) <= 1 + 2);
    call_in_turn(&lab, sandboxes, count, check_own);
    husk_engine_trim(lab.engine, 0);
    const struct usage after = usage_now();
    CHECK_EQ_U64(vms_now(&lab), 1);
    CHECK_EQ_U64(after.fds, before.fds);
    CHECK(after.threads <= before.threads);
    for (uint32_t i = 0; i < count; i++)
        husk_sandbox_free(sandboxes[i]);
    free(sandboxes);
    state_close(&lab);
}

/* ---- threads ---- */

#define THREADS 3u
#define TURNS 60u

struct world {
    struct state_lab lab;
    husk_sandbox *sandboxes[THREADS];
    atomic_uint next; /* thread i + turn uses sandbox (i + turn) % THREADS in its turn */
    atomic_bool is_stopping;
    pthread_barrier_t turn_ends;
};

/* Interrupts may come while a VM is given up, and while one is made. */
static void *interrupt_all(void *argument) {
    struct world *world = argument;
    for (uint32_t i = 0; !atomic_load(&world->is_stopping); i++) {
        husk_interrupt(world->sandboxes[i % THREADS]);
        usleep(i * 37 % 200);
    }
    return NULL;
}

static void *park_and_call(void *argument) {
    struct world *world = argument;
    const uint32_t me = atomic_fetch_add(&world->next, 1), turns = rounds_wanted(TURNS);
    for (uint32_t turn = 0; turn < turns; turn++) {
        husk_sandbox *sandbox = world->sandboxes[(me + turn) % THREADS];
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        struct husk_error err;
        const struct husk_value arg = value_i32(100);
        struct husk_value result;
        if (turn % 3 != 2)
            CHECK_OK(husk_sandbox_park(sandbox, &err), err);
        CHECK_OK(husk_call(sandbox,
                           CALL(.name = "deep", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1),
                           &outcome, &err),
                 err);
        CHECK(outcome.kind == HUSK_INTERRUPTED ||
              (outcome.kind == HUSK_RETURNED && result.of.i32 == 5050));
        if (outcome.is_poisoned)
            CHECK_OK(husk_sandbox_restore(sandbox, world->lab.image, &err), err);
        pthread_barrier_wait(&world->turn_ends);
    }
    return NULL;
}

TEST(threads_park_here_and_call_there) {
    SKIP_WITHOUT_COMPILER();
    static struct world world;
    pthread_t threads[THREADS], interrupter;
    state_open(&world.lab, NULL, NULL);
    pthread_barrier_init(&world.turn_ends, NULL, THREADS);
    for (uint32_t i = 0; i < THREADS; i++)
        world.sandboxes[i] = state_sandbox(&world.lab, world.lab.image);
    CHECK_EQ_I64(pthread_create(&interrupter, NULL, interrupt_all, &world), 0);
    for (uint32_t i = 0; i < THREADS; i++)
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, park_and_call, &world), 0);
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&world.is_stopping, true);
    pthread_join(interrupter, NULL);
    for (uint32_t i = 0; i < THREADS; i++)
        husk_sandbox_free(world.sandboxes[i]);
    pthread_barrier_destroy(&world.turn_ends);
    state_close(&world.lab);
}

TEST_MAIN()
