/*
 * native/ticks.c: interrupts plain calls of the main thread (fast.c) now and then, so that they ask
 * whether a signal came (signals.c). Part of husk._fast.
 *
 * husk_limits.interrupted_ns does the same, for all other calls. But then each call enters itself
 * in a list under a lock, and reads the clock: half a microsecond when all is cold. Here a call
 * leaves its number in a place of its thread, and a thread of this file looks at it: if it finds
 * the same number twice, it sends that thread the signal that the library uses for its kicks. A
 * signal that comes when the guest is not running yet is lost; the next one is not.
 *
 * The thread sleeps after a while without calls. It never enters Python.
 */
#include "fast.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A call is interrupted two periods after it began at the latest. */
#define PERIOD_NS 12000000
/* So many periods without a new call, and the thread sleeps. */
#define IDLE_MAX 80

STATIC_TLS struct ticks_call ticks_call;
atomic_uint ticks_are_awake;

static struct {
    pid_t process; /* that has the thread; 0: none has */
    pid_t thread;  /* whose calls it looks at */
    struct ticks_call *call;
} ticks;

static void pause_for_a_period(void) {
    const struct timespec period = {.tv_nsec = PERIOD_NS};
    nanosleep(&period, NULL);
}

/* A call that began before the flag was cleared did not see that: it is visible a period later. */
static void sleep_until_a_call(uint64_t seen) {
    atomic_store(&ticks_are_awake, 0);
    pause_for_a_period();
    while (atomic_load(&ticks.call->last) == seen && atomic_load(&ticks_are_awake) == 0)
        syscall(SYS_futex, &ticks_are_awake, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    atomic_store(&ticks_are_awake, 1);
}

static void *ticks_main(void *unused) {
    (void)unused;
    uint64_t seen = 0, seen_last = 0;
    unsigned idle = 0;
    for (;;) {
        pause_for_a_period();
        const uint64_t running = atomic_load(&ticks.call->running);
        const uint64_t last = atomic_load(&ticks.call->last);
        if (running != 0 && running == seen)
            syscall(SYS_tgkill, ticks.process, ticks.thread, atomic_load(&ticks.call->signal));
        idle = running == 0 && last == seen_last ? idle + 1 : 0;
        seen = running;
        seen_last = last;
        if (idle > IDLE_MAX) {
            sleep_until_a_call(last);
            idle = 0;
        }
    }
    return NULL;
}

void ticks_wake(void) {
    atomic_store(&ticks_are_awake, 1);
    syscall(SYS_futex, &ticks_are_awake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* All signals stay with other threads. */
bool ticks_start(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, old;
    if (ticks.process == getpid())
        return ticks.call == &ticks_call;
    ticks.process = getpid();
    ticks.thread = (pid_t)syscall(SYS_gettid);
    ticks.call = &ticks_call;
    atomic_store(&ticks_are_awake, 1);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int failed = pthread_create(&thread, &attributes, ticks_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (failed != 0)
        ticks.process = 0;
    return failed == 0;
}
