/*
 * tests/kvm/calls/interrupt_test.c: interrupts before, during and inside calls. The tests need
 * little CPU time, so they also run on an emulated CPU.
 */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "guest_lab.h"
#include "harness.h"
#include "last_backtrace.h"
#include "nested_call.h"
#include "literals.h"

TEST(an_early_interrupt_ends_the_next_call) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    for (int i = 0; i < 10; i++) {
        husk_interrupt(lab.sandbox);
        husk_interrupt(lab.sandbox); /* two are one */
        guest_run(lab.sandbox, "spin", NULL, &lab.outcome);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
        CHECK(!lab.outcome.is_poisoned);
        CHECK_EQ_U64(last_backtrace(lab.sandbox).frames_count, 0);
        CHECK_EQ_I64(guest_call(lab.sandbox, "host", 4, &lab.outcome), 9);
    }
    guest_lab_close(&lab);
}

/* Whoever gets the sandbox next is another one. */
TEST(a_restore_load_or_unload_takes_an_interrupt_back) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        husk_interrupt(lab.sandbox);
        if (i == 0)
            CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        if (i == 2)
            CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
        if (i != 0)
            CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
        CHECK_EQ_I64(guest_call(lab.sandbox, "host", 4, &lab.outcome), 9);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    }
    guest_lab_close(&lab);
}

static void *interrupt_later(void *sandbox) {
    usleep(20000);
    husk_interrupt(sandbox);
    return NULL;
}

TEST(an_interrupt_ends_a_running_call) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    pthread_t thread;
    guest_lab_open(&lab, NULL, NULL, NULL);
    for (int i = 0; i < 20 && !lab.outcome.is_poisoned;
         i++) { /* on a slow machine it may come before the guest runs */
        CHECK_EQ_I64(pthread_create(&thread, NULL, interrupt_later, lab.sandbox), 0);
        guest_run(lab.sandbox, "spin", NULL, &lab.outcome);
        pthread_join(thread, NULL);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
    }
    CHECK(lab.outcome.is_poisoned);
    guest_lab_close(&lab);
}

struct interrupted {
    husk_sandbox *sandbox;
    struct nested_call nested;
};

static void *interrupt_nested(void *argument) {
    struct interrupted *interrupted = argument;
    while (!atomic_load(&interrupted->nested.has_begun))
        usleep(1000);
    return interrupt_later(interrupted->sandbox);
}

TEST(an_interrupt_ends_nested_calls_and_those_around_them) {
    SKIP_WITHOUT_KVM();
    for (int i = 0; i < NESTED_SPINS; i++) {
        struct guest_lab lab;
        struct interrupted interrupted = {0};
        pthread_t thread;
        guest_lab_open(&lab, nested_spins[i], &interrupted.nested, NULL);
        interrupted.sandbox = lab.sandbox;
        CHECK_EQ_I64(pthread_create(&thread, NULL, interrupt_nested, &interrupted), 0);
        guest_call(lab.sandbox, "host", 0, &lab.outcome);
        pthread_join(thread, NULL);
        CHECK_EQ_U64(interrupted.nested.outcome.kind, HUSK_INTERRUPTED);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
        CHECK(lab.outcome.is_poisoned);
        guest_lab_close(&lab);
    }
}

static int host_interrupts_itself(husk_caller *caller, void *user, const struct husk_value *args,
                                  struct husk_value *results) {
    (void)user, (void)args, (void)results;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    husk_interrupt(husk_caller_sandbox(caller));
    struct husk_value add[2] = {{.type = HUSK_I32}, {.type = HUSK_I32}}, sum;
    int status = husk_call(
        husk_caller_sandbox(caller),
        CALL(.name = "add", .args = add, .args_count = 2, .results = &sum, .results_count = 1),
        &outcome, &err);
    CHECK(status == 0 && outcome.kind == HUSK_INTERRUPTED && !outcome.is_poisoned);
    return 0;
}

/* The inner call did not run, so it poisons nothing; the outer one is in mid-call, and the request
 * is for it, too. */
TEST(an_interrupt_from_a_host_function) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, host_interrupts_itself, NULL, NULL);
    guest_call(lab.sandbox, "host", 0, &lab.outcome);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
    CHECK(lab.outcome.is_poisoned);
    guest_lab_close(&lab);
}

static void embedders_handler(int number) {
    (void)number;
}

TEST(the_kick_signal_can_be_chosen) {
    SKIP_WITHOUT_KVM();
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_error err;
    husk_engine *engine = NULL;
    struct sigaction action = {.sa_handler = embedders_handler}, now;
    sigaction(SIGUSR1, &action, NULL);
    options.kick_signal = SIGUSR1;
    CHECK_STATUS(husk_engine_new(&options, &engine, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "kick_signal");
    sigaction(SIGUSR1, NULL, &now);
    CHECK(now.sa_handler == embedders_handler);
    options.kick_signal = SIGKILL;
    CHECK_STATUS(husk_engine_new(&options, &engine, &err), HUSK_E_INVAL);
    options.kick_signal = SIGUSR2;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(husk_engine_new(&options, &engine, &err), err);
        husk_engine_unref(engine);
    }
    signal(SIGUSR1, SIG_DFL);
}

TEST_MAIN()
