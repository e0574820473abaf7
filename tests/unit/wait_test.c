/*
 * tests/unit/wait_test.c: a kick ends a waiting system call, at whatever instruction it arrives.
 * The test single-steps the thread to each instruction in turn. An alarm writes to the pipe that
 * the call reads. So a call that wrongly waits for ever fails a check.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "harness.h"
#include "wait.h"

#define KICK (SIGRTMIN + 6)
#define TRAP_FLAG 0x100
#define ALARM_SECONDS 20

/* What handlers touch. */
static struct {
    volatile int pipe_fds[2];
    volatile sig_atomic_t is_cut, kicks;
    volatile long kick_at, steps; /* single steps */
    volatile sig_atomic_t was_last;
} world;

static bool is_cut(void *user) {
    (void)user;
    return world.is_cut;
}

static void kick_me(void) {
    world.is_cut = 1;
    world.kicks++;
    wait_signal_thread(syscall(SYS_gettid), KICK);
}

static void on_alarm(int signal) {
    (void)signal;
    (void)!write(world.pipe_fds[1], "late", 4);
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags, int blocked) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | flags};
    action.sa_sigaction = handler;
    sigemptyset(&action.sa_mask);
    if (blocked != 0)
        sigaddset(&action.sa_mask, blocked);
    CHECK(sigaction(signal, &action, NULL) == 0);
}

static void world_open(void) {
    int fds[2];
    struct sigaction action = {.sa_handler = on_alarm};
    memset(&world, 0, sizeof world);
    CHECK(pipe(fds) == 0);
    world.pipe_fds[0] = fds[0];
    world.pipe_fds[1] = fds[1];
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(wait_signal_install(KICK) == 0);
    alarm(ALARM_SECONDS);
}

static void world_close(void) {
    alarm(0);
    signal(SIGALRM, SIG_DFL);
    close(world.pipe_fds[0]);
    close(world.pipe_fds[1]);
}

static long read_pipe(void) {
    char byte[16];
    const long args[6] = {world.pipe_fds[0], (long)byte, sizeof byte};
    return wait_syscall(is_cut, NULL, SYS_read, args);
}

static bool is_kick_blocked(void) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, KICK) == 1;
}

TEST(a_system_call_returns_what_the_kernel_does) {
    world_open();
    CHECK(write(world.pipe_fds[1], "abc", 3) == 3);
    CHECK_EQ_I64(read_pipe(), 3);
    const long bad[6] = {-1, 0, 0};
    CHECK_EQ_I64(wait_syscall(is_cut, NULL, SYS_read, bad), -EBADF);
    world.is_cut = 1;
    CHECK(write(world.pipe_fds[1], "abc", 3) == 3);
    CHECK_EQ_I64(read_pipe(), -EINTR); /* not even tried */
    world.is_cut = 0;
    CHECK_EQ_I64(read_pipe(), 3);
    world_close();
}

/* ---- At every instruction ---- */

/* The first one starts the stepping; then comes one for every instruction, until the kick. The last
 * chance is the SYSCALL instruction. */
static void on_step(int signal, siginfo_t *info, void *context) {
    ucontext_t *at = context;
    const uint8_t *code = (const uint8_t *)(uintptr_t)at->uc_mcontext.gregs[REG_RIP];
    const bool is_syscall = code[0] == 0x0f && code[1] == 0x05;
    (void)signal, (void)info;
    at->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
    world.was_last = is_syscall && at->uc_mcontext.gregs[REG_RAX] == SYS_read;
    if (world.steps++ < world.kick_at && !world.was_last)
        return;
    at->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    kick_me();
}

static long step_to(long count) {
    world.is_cut = world.was_last = 0;
    world.kick_at = count;
    world.steps = 0;
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGTRAP);
    return read_pipe();
}

/* blocked: the kick signal, so that it comes when the step's handler has returned; 0: it comes
 * while that handler runs. */
static void check_every_step(int blocked) {
    long count = 0;
    world_open();
    handle(SIGTRAP, on_step, 0, blocked);
    for (; !world.was_last; count++) {
        const long result = step_to(count);
        CHECK_MSG(result == -EINTR, "kicked at step %ld: %ld", count, result);
        CHECK(!is_kick_blocked());
    }
    CHECK_EQ_I64(world.kicks, count);
    CHECK_MSG(count > 20, "only %ld steps were seen", count);
    signal(SIGTRAP, SIG_DFL);
    world_close();
}

TEST(a_kick_between_any_two_instructions_ends_the_wait) {
    check_every_step(KICK);
}

TEST(a_kick_that_interrupts_another_handler_ends_the_wait) {
    check_every_step(0);
}

/* Two engines may have a signal each, and a host function of one call the other's guest: then both
 * signals come to one thread. */
static bool is_cut_twice(void *user) {
    (void)user;
    const long self = syscall(SYS_gettid);
    wait_signal_thread(self, KICK + 1);
    wait_signal_thread(self, KICK);
    return false;
}

TEST(kicks_of_two_engines_leave_neither_blocked) {
    sigset_t mask;
    char byte;
    world_open();
    CHECK(wait_signal_install(KICK + 1) == 0);
    const long args[6] = {world.pipe_fds[0], (long)&byte, 1};
    CHECK_EQ_I64(wait_syscall(is_cut_twice, NULL, SYS_read, args), -EINTR);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(sigismember(&mask, KICK) == 0 && sigismember(&mask, KICK + 1) == 0);
    signal(KICK + 1, SIG_DFL);
    world_close();
}

/* ---- In the system call ---- */

static void on_user_signal(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    kick_me();
}

/* ThreadSanitizer delays handlers, all but the library's own. */
static void handle_user_signal(void) {
#if defined(__SANITIZE_THREAD__)
    SKIP("ThreadSanitizer calls the embedder's handlers when it likes");
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    SKIP("ThreadSanitizer calls the embedder's handlers when it likes");
#endif
#endif
    handle(SIGUSR1, on_user_signal, SA_RESTART, 0);
}

static void *send_later(void *thread) {
    usleep(20000);
    wait_signal_thread(*(long *)thread, SIGUSR1);
    return NULL;
}

/* The embedder's handler wants system calls restarted; the kick comes while it runs. */
TEST(a_restarted_system_call_ends) {
    pthread_t sender;
    long self = syscall(SYS_gettid);
    world_open();
    handle_user_signal();
    for (int i = 0; i < 10; i++) {
        world.is_cut = 0;
        CHECK_EQ_I64(pthread_create(&sender, NULL, send_later, &self), 0);
        CHECK_EQ_I64(read_pipe(), -EINTR);
        pthread_join(sender, NULL);
        CHECK(!is_kick_blocked());
    }
    signal(SIGUSR1, SIG_DFL);
    world_close();
}

/* What was written stays written, and is told. */
TEST(what_was_done_is_not_taken_back) {
    static char bytes[1 << 20];
    pthread_t sender;
    long self = syscall(SYS_gettid);
    world_open();
    handle_user_signal();
    CHECK_EQ_I64(pthread_create(&sender, NULL, send_later, &self), 0);
    const long args[6] = {world.pipe_fds[1], (long)bytes, sizeof bytes};
    CHECK_EQ_I64(wait_syscall(is_cut, NULL, SYS_write, args), 65536);
    pthread_join(sender, NULL);
    signal(SIGUSR1, SIG_DFL);
    world_close();
}

static void *kick_and_write(void *thread) {
    for (int i = 0; i < 3; i++) {
        usleep(10000);
        wait_signal_thread(*(long *)thread, KICK);
    }
    usleep(10000);
    (void)!write(world.pipe_fds[1], "x", 1);
    return NULL;
}

TEST(the_embedders_own_system_calls_go_on) {
    pthread_t sender;
    long self = syscall(SYS_gettid);
    char byte;
    world_open();
    CHECK_EQ_I64(pthread_create(&sender, NULL, kick_and_write, &self), 0);
    CHECK_EQ_I64(read(world.pipe_fds[0], &byte, 1), 1);
    pthread_join(sender, NULL);
    world_close();
}

/* All processes of a user share the limit, so others can have used it up. */
TEST(a_full_queue_of_signals_holds_no_kick_back) {
    struct rlimit before, none;
    long self = syscall(SYS_gettid);
    pthread_t sender;
    world_open();
    CHECK(getrlimit(RLIMIT_SIGPENDING, &before) == 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    handle_user_signal();
    CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
    int status = pthread_create(&sender, NULL, send_later, &self);
    long result = read_pipe();
    pthread_join(sender, NULL);
    CHECK(setrlimit(RLIMIT_SIGPENDING, &before) == 0);
    signal(SIGUSR1, SIG_DFL);
    CHECK_EQ_I64(status, 0);
    CHECK_EQ_I64(result, -EINTR);
    world_close();
}

TEST_MAIN()
