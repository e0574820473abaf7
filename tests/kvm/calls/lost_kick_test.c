/*
 * tests/kvm/calls/lost_kick_test.c: calls end at their limit or at an interrupt even if the kick's
 * signal is refused or lost. If a call does not end, an alarm ends the suite.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "guest_lab.h"
#include "harness.h"
#include "literals.h"
#include "sandbox_internal.h"

#define MS 1000000ull
#define ALARM_SECONDS 60
#define KICK (SIGRTMIN + 6) /* husk_engine_options.kick_signal */

static void on_alarm(int signal) {
    static const char text[] = "lost_kick: a call is still there long after its end\n";
    (void)signal;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

static void lab_open(struct guest_lab *lab, husk_host_fn fn, void *user) {
    guest_lab_open(lab, fn, user, NULL);
    signal(SIGALRM, on_alarm);
    alarm(ALARM_SECONDS);
}

static void lab_close(struct guest_lab *lab) {
    guest_lab_close(lab);
    alarm(0);
    signal(SIGALRM, SIG_DFL);
}

static struct husk_limits wall_limit(uint64_t wall_ns) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = wall_ns;
    return options;
}

/* ---- Refused ---- */

static void *spin_until_limit(void *user) {
    struct guest_lab *lab = user;
    const struct husk_limits options = wall_limit(20 * MS);
    guest_run(lab->sandbox, "spin", &options, &lab->outcome);
    return NULL;
}

static void *spin_until_interrupt(void *user) {
    struct guest_lab *lab = user;
    guest_run(lab->sandbox, "spin", NULL, &lab->outcome);
    return NULL;
}

/* All processes of a user share the limit, so others can have used it up. */
static struct rlimit fill_signal_queue(void) {
    struct rlimit before;
    CHECK(getrlimit(RLIMIT_SIGPENDING, &before) == 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
    return before;
}

/* This thread and another: to the process's first thread a signal may find its way by chance. */
TEST(a_full_queue_of_signals_holds_no_deadline_back) {
    SKIP_WITHOUT_KVM();
    for (int i = 0; i < 6; i++) {
        struct guest_lab lab;
        pthread_t thread;
        lab_open(&lab, NULL, NULL);
        const struct rlimit before = fill_signal_queue();
        if (i % 2 == 0) {
            spin_until_limit(&lab);
        } else {
            CHECK_EQ_I64(pthread_create(&thread, NULL, spin_until_limit, &lab), 0);
            pthread_join(thread, NULL);
        }
        CHECK(setrlimit(RLIMIT_SIGPENDING, &before) == 0);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
        lab_close(&lab);
    }
}

TEST(a_full_queue_of_signals_holds_no_interrupt_back) {
    SKIP_WITHOUT_KVM();
    for (int i = 0; i < 3; i++) {
        struct guest_lab lab;
        pthread_t thread;
        lab_open(&lab, NULL, NULL);
        const struct rlimit before = fill_signal_queue();
        CHECK_EQ_I64(pthread_create(&thread, NULL, spin_until_interrupt, &lab), 0);
        usleep(20000);
        husk_interrupt(lab.sandbox);
        pthread_join(thread, NULL);
        CHECK(setrlimit(RLIMIT_SIGPENDING, &before) == 0);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
        lab_close(&lab);
    }
}

/* ---- Lost ---- */

static void *hear_again_later(void *heard) {
    usleep(60000);
    (void)sigaction(KICK, heard, NULL);
    return NULL;
}

/* The kernel drops a signal that is ignored, so the first kicks come to nothing. */
TEST(a_deadline_whose_signal_was_lost_is_kept) {
    SKIP_WITHOUT_KVM();
    for (int i = 0; i < 3; i++) {
        struct guest_lab lab;
        struct sigaction heard, ignored = {.sa_handler = SIG_IGN};
        pthread_t thread;
        lab_open(&lab, NULL, NULL);
        CHECK(sigaction(KICK, &ignored, &heard) == 0);
        CHECK_EQ_I64(pthread_create(&thread, NULL, hear_again_later, &heard), 0);
        spin_until_limit(&lab);
        pthread_join(thread, NULL);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
        lab_close(&lab);
    }
}

/* ---- Late ---- */

/* As a thread that is about to kick leaves it: the flag is set, and the kick is still to come. A
 * wait of the guest's may see the flag, and end for it. */
static int host_sees_flag(husk_caller *caller, void *user, const struct husk_value *args,
                          struct husk_value *results) {
    (void)user;
    atomic_store(&husk_caller_sandbox(caller)->calls.is_interrupted, true);
    results[0] = args[0];
    return 0;
}

TEST(a_call_does_not_go_on_after_a_host_function_before_its_kick) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    lab_open(&lab, host_sees_flag, NULL);
    guest_call(lab.sandbox, "host", 1, &lab.outcome);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
    CHECK(lab.outcome.is_poisoned);
    lab_close(&lab);
}

/* ---- Not too often ---- */

struct sleeper {
    uint64_t took_ns;
    unsigned cut_short;
};

/* Sleeps with its limit long past. */
static int host_sleeps(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    struct sleeper *sleeper = user;
    const uint64_t start = clock_ns(CLOCK_MONOTONIC);
    const struct timespec pause = {.tv_nsec = 200 * MS};
    (void)caller;
    while (nanosleep(&pause, NULL) != 0)
        sleeper->cut_short++; /* all of it anew */
    sleeper->took_ns = clock_ns(CLOCK_MONOTONIC) - start;
    results[0] = args[0];
    return 0;
}

/* The pauses between kicks double: a function that begins anew after each comes to its end, and few
 * kicks are enough. */
TEST(kicks_leave_a_host_function_room_to_sleep) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct sleeper sleeper = {0};
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1}, result;
    const struct husk_limits options = wall_limit(5 * MS);
    lab_open(&lab, host_sleeps, &sleeper);
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1, .limits = &options),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    unsigned kicks_max = 2;
    for (uint64_t time_ns = 10 * MS; time_ns < sleeper.took_ns; time_ns *= 2)
        kicks_max++;
    CHECK_MSG(sleeper.cut_short <= kicks_max, "cut short %u times in %llu ms", sleeper.cut_short,
              (unsigned long long)(sleeper.took_ns / MS));
    lab_close(&lab);
}

TEST_MAIN()
