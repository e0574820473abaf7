/*
 * tests/unit/kick_test.c: which thread a kick signals, and when, in every state of a kicker. There
 * is no VM: the test counts its part of a kick.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness.h"
#include "kick.h"

#define KICK (SIGRTMIN + 6)

static atomic_int vm_kicks, signals;

static void count_vm_kick(struct vcpu *vcpu) {
    (void)vcpu;
    atomic_fetch_add(&vm_kicks, 1);
}

static void count_signal(int signal) {
    (void)signal;
    atomic_fetch_add(&signals, 1);
}

static const struct vcpu_ops counting_ops = {.kick = count_vm_kick};

static void kicker_open(struct kicker *kicker) {
    const struct sigaction action = {.sa_handler = count_signal};
    CHECK(sigaction(KICK, &action, NULL) == 0);
    atomic_store(&vm_kicks, 0);
    atomic_store(&signals, 0);
    memset(kicker, 0, sizeof *kicker);
    kicker_init(kicker, &counting_ops, (struct vcpu *)(void *)&vm_kicks,
                KICK); /* a vCPU that nobody looks into */
}

/* A signal that a thread sends to itself has come when the system call returns. */
static void check_kick(struct kicker *kicker, int signals_expected) {
    const int before = atomic_load(&signals), vm_before = atomic_load(&vm_kicks);
    const uint64_t state = atomic_load(&kicker->state);
    kicker_kick(kicker);
    CHECK_EQ_I64(atomic_load(&signals) - before, signals_expected);
    CHECK_EQ_I64(atomic_load(&vm_kicks) - vm_before, 1);
    CHECK_EQ_U64(atomic_load(&kicker->state), state);
}

TEST(who_runs_is_sent_a_signal_and_nobody_else) {
    struct kicker kicker;
    kicker_open(&kicker);
    check_kick(&kicker, 0);
    uint64_t nobody = kicker_enter(&kicker);
    check_kick(&kicker, 1);
    uint64_t outer = kicker_enter(&kicker);
    check_kick(&kicker, 1);
    kicker_leave(&kicker, outer);
    check_kick(&kicker, 1);
    kicker_leave(&kicker, nobody);
    check_kick(&kicker, 0);
    signal(KICK, SIG_DFL);
}

/* The other's signal may have been taken, and its flag looked at, before this kick was made: it
 * does not stand for this one. */
TEST(a_kick_while_another_is_under_way_is_sent_too) {
    struct kicker kicker;
    kicker_open(&kicker);
    uint64_t before = kicker_enter(&kicker);
    atomic_fetch_add(&kicker.state, KICKER_SENDING);
    check_kick(&kicker, 1);
    atomic_fetch_add(&kicker.state, KICKER_SENDING);
    check_kick(&kicker, 1);
    atomic_fetch_sub(&kicker.state, 2 * KICKER_SENDING);
    kicker_leave(&kicker, before);
    CHECK_EQ_U64(atomic_load(&kicker.state), 0);
    signal(KICK, SIG_DFL);
}

struct leaver {
    struct kicker kicker;
    atomic_bool has_left;
};

static void *enter_and_leave(void *user) {
    struct leaver *leaver = user;
    kicker_leave(&leaver->kicker, kicker_enter(&leaver->kicker));
    atomic_store(&leaver->has_left, true);
    return NULL;
}

/* Else a signal could reach a thread that has left, or one that has ended. */
TEST(nobody_enters_or_leaves_while_signals_are_under_way) {
    struct leaver leaver = {.has_left = false};
    pthread_t thread;
    kicker_open(&leaver.kicker);
    atomic_fetch_add(&leaver.kicker.state, 2 * KICKER_SENDING);
    CHECK_EQ_I64(pthread_create(&thread, NULL, enter_and_leave, &leaver), 0);
    usleep(20000);
    CHECK(!atomic_load(&leaver.has_left));
    atomic_fetch_sub(&leaver.kicker.state, KICKER_SENDING);
    usleep(20000);
    CHECK(!atomic_load(&leaver.has_left));
    atomic_fetch_sub(&leaver.kicker.state, KICKER_SENDING);
    pthread_join(thread, NULL);
    CHECK_EQ_U64(atomic_load(&leaver.kicker.state), 0);
    signal(KICK, SIG_DFL);
}

static void *kick_from_here(void *kicker) {
    kicker_kick(kicker);
    return NULL;
}

static void *be_kicked_with_a_full_queue(void *user) {
    struct kicker *kicker = user;
    uint64_t before = kicker_enter(kicker);
    pthread_t thread;
    int status = pthread_create(&thread, NULL, kick_from_here, kicker);
    if (status == 0)
        pthread_join(thread, NULL);
    kicker_leave(kicker, before);
    return NULL;
}

/* All processes of a user share the limit, so others can have used it up. */
TEST(a_full_queue_of_signals_holds_no_kick_of_another_thread_back) {
    struct kicker kicker;
    struct rlimit before;
    pthread_t thread;
    kicker_open(&kicker);
    CHECK(getrlimit(RLIMIT_SIGPENDING, &before) == 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
    int status = pthread_create(&thread, NULL, be_kicked_with_a_full_queue, &kicker);
    if (status == 0)
        pthread_join(thread, NULL);
    CHECK(setrlimit(RLIMIT_SIGPENDING, &before) == 0);
    CHECK_EQ_I64(status, 0);
    CHECK_EQ_I64(atomic_load(&signals), 1);
    signal(KICK, SIG_DFL);
}

TEST_MAIN()
