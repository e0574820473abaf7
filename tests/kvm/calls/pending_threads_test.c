/* tests/kvm/calls/pending_threads_test.c: many sandboxes with pending calls, and two threads that
 * serve them all: answers, calls inside, restores, deadlines and cancels in any order. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "guest_lab.h"
#include "harness.h"
#include "literals.h"

enum { SANDBOXES = 1000, SERVERS = 2, ROUNDS = 4, FDS_EACH = 4 };

/* Ways in which a pending call goes on. */
enum plan {
    PLAN_ANSWER,
    PLAN_FAILURE,
    PLAN_CALL_INSIDE,
    PLAN_RESTORE,
    PLAN_DEADLINE,
    PLAN_CANCEL,
    PLAN_RELOAD,
    PLANS
};

struct tenant {
    husk_sandbox *sandbox;
    struct husk_limits limits;
    enum plan plan;
    int rounds;      /* still to do */
    int64_t asked;   /* argument of its host function */
    bool is_inside;  /* the host function answers at once */
    bool is_pending; /* its call is pending */
    atomic_bool has_passed;
};

struct world {
    struct guest_lab lab;
    struct tenant *tenants;
    pthread_mutex_t lock;
    int *ready; /* tenants that no thread serves, as a ring */
    int ready_first, ready_count, count;
    int done; /* tenants without rounds */
    int wrong, ended[PLANS];
};

/* The tenant whose call this thread runs. */
static _Thread_local struct tenant *calling;

static int host_waits(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)user;
    calling->asked = args[0].of.i64;
    if (!calling->is_inside)
        return husk_caller_pending(caller);
    results[0].of.i64 = 10 * args[0].of.i64;
    return 0;
}

static void limit_passed(void *user) {
    atomic_store((atomic_bool *)user, true);
}

static void push(struct world *world, int idx) {
    pthread_mutex_lock(&world->lock);
    world->ready[(world->ready_first + world->ready_count++) % world->count] = idx;
    pthread_mutex_unlock(&world->lock);
}

/* Returns -1 if no tenant is ready. */
static int pop(struct world *world) {
    int idx = -1;
    pthread_mutex_lock(&world->lock);
    if (world->ready_count > 0) {
        idx = world->ready[world->ready_first];
        world->ready_first = (world->ready_first + 1) % world->count;
        world->ready_count--;
    }
    pthread_mutex_unlock(&world->lock);
    return idx;
}

static void note(struct world *world, const struct tenant *tenant, bool is_right) {
    pthread_mutex_lock(&world->lock);
    world->ended[tenant->plan]++;
    world->wrong += !is_right;
    pthread_mutex_unlock(&world->lock);
}

static bool call(struct tenant *tenant, int64_t argument, int64_t *ret_result,
                 struct husk_outcome *ret_outcome) {
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = argument}, result = {.type = HUSK_I64};
    struct husk_error err;
    calling = tenant;
    int status =
        husk_call(tenant->sandbox,
                  CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                       .results_count = 1, .limits = tenant->is_inside ? NULL : &tenant->limits),
                  ret_outcome, &err);
    *ret_result = result.of.i64;
    return status == 0;
}

/* Returns false if the call is not pending. */
static bool begin(struct tenant *tenant, unsigned *seed) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    int64_t result;
    tenant->plan = (enum plan)((unsigned)rand_r(seed) % PLANS);
    tenant->limits = (struct husk_limits){.size = sizeof tenant->limits,
                                          .passed = limit_passed,
                                          .passed_user = &tenant->has_passed,
                                          .wall_ns = UINT64_MAX,
                                          .cpu_ns = 60000000000u};
    atomic_store(&tenant->has_passed, false);
    tenant->is_inside = false;
    if (tenant->plan == PLAN_DEADLINE)
        tenant->limits.wall_ns = 300000000u;
    if (tenant->plan == PLAN_CANCEL && husk_cancel_new(&tenant->limits.cancel, &err) != 0)
        return false;
    return call(tenant, tenant->rounds, &result, &outcome) && outcome.kind == HUSK_PENDING;
}

static bool resume(struct tenant *tenant, int status, enum husk_outcome_kind kind,
                   int64_t expected) {
    struct husk_value value = {.type = HUSK_I64, .of.i64 = 100}, result = {.type = HUSK_I64};
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    answer.status = status;
    answer.values = &value;
    answer.values_count = 1;
    answer.results = &result;
    answer.results_count = 1;
    return husk_call_resume(tenant->sandbox, &answer, &outcome, &err) == 0 &&
           outcome.kind == kind && result.of.i64 == expected;
}

static bool heal(struct world *world, struct tenant *tenant) {
    struct husk_error err;
    return husk_sandbox_restore(tenant->sandbox, world->lab.image, &err) == 0;
}

static bool call_inside(struct tenant *tenant) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    int64_t result;
    tenant->is_inside = true;
    return call(tenant, 3, &result, &outcome) && outcome.kind == HUSK_RETURNED && result == 31;
}

static bool reload(struct world *world, struct tenant *tenant) {
    struct husk_error err;
    return husk_sandbox_unload(tenant->sandbox, &err) == 0 &&
           husk_sandbox_load(tenant->sandbox, world->lab.image, world->lab.imports, &err) == 0;
}

static bool cancel(struct world *world, struct tenant *tenant) {
    husk_cancel_now(tenant->limits.cancel);
    husk_cancel_unref(tenant->limits.cancel);
    return resume(tenant, 0, HUSK_INTERRUPTED, 0) && heal(world, tenant);
}

static bool go_on(struct world *world, struct tenant *tenant) {
    switch (tenant->plan) {
    case PLAN_ANSWER: return resume(tenant, 0, HUSK_RETURNED, 101);
    case PLAN_FAILURE: return resume(tenant, HUSK_E_SYS, HUSK_TRAPPED, 0) && heal(world, tenant);
    case PLAN_CALL_INSIDE: return call_inside(tenant) && resume(tenant, 0, HUSK_RETURNED, 101);
    case PLAN_RESTORE: return heal(world, tenant);
    case PLAN_DEADLINE: return resume(tenant, 0, HUSK_DEADLINE, 0) && heal(world, tenant);
    case PLAN_CANCEL: return cancel(world, tenant);
    case PLAN_RELOAD: return reload(world, tenant);
    default: return false;
    }
}

/* Serve one step of a tenant. True: it has another step. */
static bool serve(struct world *world, struct tenant *tenant, unsigned *seed) {
    if (!tenant->is_pending) {
        tenant->is_pending = begin(tenant, seed);
        if (tenant->is_pending)
            return true;
        /* a deadline may have come too early on a slow machine */
        note(world, tenant, tenant->plan == PLAN_DEADLINE && heal(world, tenant));
    } else if (tenant->plan == PLAN_DEADLINE && !atomic_load(&tenant->has_passed)) {
        return true;
    } else {
        note(world, tenant, go_on(world, tenant));
    }
    tenant->is_pending = false;
    return --tenant->rounds > 0;
}

static void *serve_all(void *argument) {
    struct world *world = argument;
    static atomic_uint next_seed;
    unsigned seed = atomic_fetch_add(&next_seed, 1);
    for (;;) {
        const int idx = pop(world);
        if (idx >= 0 && serve(world, &world->tenants[idx], &seed)) {
            push(world, idx);
            continue;
        }
        pthread_mutex_lock(&world->lock);
        world->done += idx >= 0;
        const bool is_over = world->done == world->count;
        pthread_mutex_unlock(&world->lock);
        if (is_over)
            return NULL;
        if (idx < 0)
            usleep(1000);
    }
}

/* As many as the number of descriptors allows. */
static int sandboxes_count(void) {
    struct rlimit limit;
    if (getenv("HUSK_TEST_EMULATED") != NULL)
        return 20;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    const rlim_t count = limit.rlim_cur / FDS_EACH;
    return count < SANDBOXES ? (int)count : SANDBOXES;
}

static void world_open(struct world *world) {
    world->count = sandboxes_count();
    guest_lab_open(&world->lab, host_waits, NULL, NULL);
    world->tenants = calloc((size_t)world->count, sizeof *world->tenants);
    world->ready = calloc((size_t)world->count, sizeof *world->ready);
    CHECK(world->tenants != NULL && world->ready != NULL);
    pthread_mutex_init(&world->lock, NULL);
    for (int i = 0; i < world->count; i++) {
        world->tenants[i].sandbox = guest_lab_sandbox(&world->lab);
        world->tenants[i].rounds = ROUNDS;
        push(world, i);
    }
}

TEST(a_thousand_calls_wait_for_two_threads) {
    SKIP_WITHOUT_KVM();
    static struct world world;
    pthread_t threads[SERVERS];
    world_open(&world);
    for (int i = 0; i < SERVERS; i++)
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, serve_all, &world), 0);
    for (int i = 0; i < SERVERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ_I64(world.wrong, 0);
    CHECK_EQ_I64(world.done, world.count);
    for (int i = 0; i < PLANS; i++)
        CHECK_MSG(world.ended[i] > 0, "no call with plan %d", i);
    for (int i = 0; i < world.count; i++)
        husk_sandbox_free(world.tenants[i].sandbox);
    free(world.tenants);
    free(world.ready);
    guest_lab_close(&world.lab);
}

TEST_MAIN()
