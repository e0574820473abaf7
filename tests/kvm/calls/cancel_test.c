/* tests/kvm/calls/cancel_test.c: tokens end the calls that carry them, and no others. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest_lab.h"
#include "harness.h"
#include "literals.h"

static void token_new(struct husk_limits *limits) {
    struct husk_error err;
    CHECK_OK(husk_cancel_new(&limits->cancel, &err), err);
}

static int call(husk_sandbox *sandbox, const struct husk_limits *limits, int64_t argument,
                int64_t *ret_result, struct husk_outcome *ret_outcome) {
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = argument}, result = {.type = HUSK_I64};
    struct husk_error err;
    int status = husk_call(sandbox,
                           CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1, .limits = limits),
                           ret_outcome, &err);
    *ret_result = result.of.i64;
    return status;
}

TEST(a_cancelled_call_does_not_begin) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    guest_lab_open(&lab, NULL, NULL, NULL);
    token_new(&limits);
    guest_run(lab.sandbox, "trap", &limits, &lab.outcome);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
    husk_cancel_now(limits.cancel);
    for (int i = 0; i < 3; i++) { /* cancelled for good; calls without the token go on */
        guest_run(lab.sandbox, "spin", &limits, &lab.outcome);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
        CHECK(!lab.outcome.is_poisoned && lab.outcome.state_is_exact);
        CHECK_EQ_I64(guest_call(lab.sandbox, "host", 4, &lab.outcome), 9);
    }
    husk_cancel_unref(limits.cancel);
    husk_cancel_now(NULL);
    husk_cancel_unref(husk_cancel_ref(NULL));
    CHECK_STATUS(husk_cancel_new(NULL, &lab.err), HUSK_E_INVAL);
    guest_lab_close(&lab);
}

static void *cancel_later(void *cancel) {
    usleep(20000);
    husk_cancel_now(cancel);
    husk_cancel_unref(cancel);
    return NULL;
}

struct spin {
    husk_sandbox *sandbox;
    struct husk_limits limits;
    struct husk_outcome outcome;
};

static void *spin(void *argument) {
    struct spin *one = argument;
    guest_run(one->sandbox, "spin", &one->limits, &one->outcome);
    return NULL;
}

/* The caller may have dropped its share before. */
TEST(a_token_ends_calls_in_several_sandboxes) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct spin spins[3] = {{0}};
    pthread_t threads[3], canceller;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    guest_lab_open(&lab, NULL, NULL, NULL);
    token_new(&limits);
    for (int i = 0; i < 3; i++) {
        spins[i] = (struct spin){guest_lab_sandbox(&lab), limits, HUSK_OUTCOME_INIT};
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, spin, &spins[i]), 0);
    }
    CHECK_EQ_I64(pthread_create(&canceller, NULL, cancel_later, husk_cancel_ref(limits.cancel)), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ_U64(spins[i].outcome.kind, HUSK_INTERRUPTED);
        husk_sandbox_free(spins[i].sandbox);
    }
    pthread_join(canceller, NULL);
    husk_cancel_now(limits.cancel); /* the sandboxes are gone */
    husk_cancel_unref(limits.cancel);
    guest_lab_close(&lab);
}

struct nesting {
    struct husk_limits limits; /* of the call inside */
    husk_cancel *cancels;      /* cancelled by the host function; NULL: nothing is */
    struct husk_outcome outcome;
};

static int host_nests(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    struct nesting *nesting = user;
    pthread_t canceller;
    const bool is_later = args[0].of.i64 != 0;
    if (is_later &&
        pthread_create(&canceller, NULL, cancel_later, husk_cancel_ref(nesting->cancels)) != 0)
        abort();
    if (!is_later)
        husk_cancel_now(nesting->cancels);
    guest_run(husk_caller_sandbox(caller), "spin", &nesting->limits, &nesting->outcome);
    if (is_later)
        pthread_join(canceller, NULL);
    results[0].of.i64 = 1;
    return 0;
}

/* The end of the outer call ends the inner call. The end of the inner call ends the outer call if
 * the guest was in mid-call. */
TEST(calls_inside_calls) {
    SKIP_WITHOUT_KVM();
    for (int row = 0; row < 4; row++) {
        const bool is_outer = row % 2 == 0, is_later = row / 2 == 1;
        struct guest_lab lab;
        struct nesting nesting = {HUSK_LIMITS_INIT, NULL, HUSK_OUTCOME_INIT};
        struct husk_limits limits = HUSK_LIMITS_INIT,
                           *carries = is_outer ? &limits : &nesting.limits;
        int64_t result;
        guest_lab_open(&lab, host_nests, &nesting, NULL);
        token_new(carries);
        nesting.cancels = carries->cancel;
        CHECK_OK(call(lab.sandbox, &limits, is_later, &result, &lab.outcome), lab.err);
        CHECK_EQ_U64(nesting.outcome.kind, HUSK_INTERRUPTED);
        if (!is_later)
            CHECK(!nesting.outcome.is_poisoned);
        const bool ends_outer = is_outer || nesting.outcome.is_poisoned;
        CHECK_EQ_U64(lab.outcome.kind, ends_outer ? HUSK_INTERRUPTED : HUSK_RETURNED);
        CHECK_EQ_U64(lab.outcome.is_poisoned, ends_outer);
        husk_cancel_unref(carries->cancel);
        guest_lab_close(&lab);
    }
}

/* ---- at random moments ---- */

enum { LANES = 2 };

static int cancels_each(void) {
    if (getenv("HUSK_TEST_EMULATED") != NULL)
        return 200;
    return HARNESS_SANITIZED ? 5000 : 50000;
}

/* One thread makes calls, and every second call has a token. Another thread cancels the token at
 * some moment: before, during or after the call. */
struct lane {
    husk_sandbox *sandbox;
    husk_image *image;
    _Atomic(husk_cancel *) shown; /* holds a share */
    atomic_bool is_over;
    int calls, wrong, cut, whole;
};

static void *cancel_all(void *argument) {
    struct lane *lane = argument;
    unsigned seed = 1;
    while (!atomic_load(&lane->is_over)) {
        husk_cancel *cancel = atomic_exchange(&lane->shown, NULL);
        if (cancel == NULL)
            continue;
        for (int spins = rand_r(&seed) % 2000; spins > 0; spins--)
            __asm__ volatile("");
        husk_cancel_now(cancel);
        husk_cancel_unref(cancel);
    }
    return NULL;
}

static void judge(struct lane *lane, const struct husk_outcome *outcome, int64_t result) {
    struct husk_error err;
    lane->whole += outcome->kind == HUSK_RETURNED && result == 9;
    lane->cut += outcome->kind == HUSK_INTERRUPTED;
    lane->wrong += outcome->kind != HUSK_RETURNED && outcome->kind != HUSK_INTERRUPTED;
    lane->wrong += outcome->kind == HUSK_RETURNED && result != 9;
    if (outcome->is_poisoned)
        lane->wrong += husk_sandbox_restore(lane->sandbox, lane->image, &err) != 0;
}

static void *work(void *argument) {
    struct lane *lane = argument;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    pthread_t canceller;
    int64_t result;
    if (pthread_create(&canceller, NULL, cancel_all, lane) != 0)
        abort();
    for (int i = 0; i < lane->calls; i++) {
        struct husk_limits limits = HUSK_LIMITS_INIT;
        token_new(&limits);
        atomic_store(&lane->shown, husk_cancel_ref(limits.cancel));
        lane->wrong += call(lane->sandbox, &limits, 4, &result, &outcome) != 0;
        judge(lane, &outcome, result);
        husk_cancel_unref(limits.cancel);
        for (int others = 0; others < 2; others++) /* the cancel may come now */
            lane->wrong += call(lane->sandbox, NULL, 4, &result, &outcome) != 0 ||
                           outcome.kind != HUSK_RETURNED || result != 9;
        husk_cancel_unref(atomic_exchange(&lane->shown, NULL)); /* nobody took it */
    }
    atomic_store(&lane->is_over, true);
    pthread_join(canceller, NULL);
    return NULL;
}

TEST(cancels_at_random_moments_hurt_no_other_call) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    static struct lane lanes[LANES];
    pthread_t threads[LANES];
    guest_lab_open(&lab, NULL, NULL, NULL);
    for (int i = 0; i < LANES; i++) {
        lanes[i].sandbox = guest_lab_sandbox(&lab);
        lanes[i].image = lab.image;
        lanes[i].calls = cancels_each();
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, work, &lanes[i]), 0);
    }
    for (int i = 0; i < LANES; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ_I64(lanes[i].wrong, 0);
        CHECK_EQ_I64(lanes[i].cut + lanes[i].whole, lanes[i].calls);
        husk_sandbox_free(lanes[i].sandbox);
    }
    guest_lab_close(&lab);
}

TEST_MAIN()
