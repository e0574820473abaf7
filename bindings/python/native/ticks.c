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
 * The thread sleeps after a while without calls. It never enters Python, and ends with it: the
 * calls' thread, whose memory it reads, may end after Python (in a program that embeds it).
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

/* The thread reads the call only while it has the lock. */
static struct {
    pthread_mutex_t lock;
    bool is_started;
    pid_t process;
    pid_t thread;            /* whose calls it looks at */
    struct ticks_call *call; /* NULL: Python has ended */
} ticks = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The child of a fork() has no such thread, whoever held the lock. */
static void begin_in_child(void) {
    ticks.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    ticks.is_started = false;
}

/* The thread ended, and Python did not: nobody called Py_FinalizeEx(). */
static void end_with_thread(void *unused) {
    (void)unused;
    ticks_end();
}

static pthread_key_t thread_key; /* without one, calls are as without ticks */
static bool has_key;

static void prepare(void) {
    pthread_atfork(NULL, NULL, begin_in_child);
    has_key = pthread_key_create(&thread_key, end_with_thread) == 0;
}

static void pause_for_a_period(void) {
    const struct timespec period = {.tv_nsec = PERIOD_NS};
    nanosleep(&period, NULL);
}

/* What the thread saw of the calls. */
struct sight {
    bool has_ended; /* Python has */
    uint64_t running, last;
};

/* Looks at the calls, and interrupts the one that ran at the look before, too. */
static struct sight look(uint64_t ran_before) {
    struct sight sight = {.has_ended = true};
    pthread_mutex_lock(&ticks.lock);
    if (ticks.call != NULL) {
        sight.has_ended = false;
        sight.running = atomic_load(&ticks.call->running);
        sight.last = atomic_load(&ticks.call->last);
        if (sight.running != 0 && sight.running == ran_before)
            syscall(SYS_tgkill, ticks.process, ticks.thread, atomic_load(&ticks.call->signal));
    }
    pthread_mutex_unlock(&ticks.lock);
    return sight;
}

/* A call that began before the flag was cleared did not see that: it is visible a period later. */
static void sleep_until_a_call(uint64_t last) {
    struct sight sight;
    atomic_store(&ticks_are_awake, 0);
    pause_for_a_period();
    while (sight = look(0),
           !sight.has_ended && sight.last == last && atomic_load(&ticks_are_awake) == 0)
        syscall(SYS_futex, &ticks_are_awake, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    atomic_store(&ticks_are_awake, 1);
}

static void *ticks_main(void *unused) {
    (void)unused;
    struct sight seen = {.has_ended = false};
    unsigned idle = 0;
    while (!seen.has_ended) {
        pause_for_a_period();
        const struct sight now = look(seen.running);
        idle = now.running == 0 && now.last == seen.last ? idle + 1 : 0;
        seen = now;
        if (idle > IDLE_MAX) {
            sleep_until_a_call(now.last);
            idle = 0;
        }
    }
    return NULL;
}

void ticks_wake(void) {
    atomic_store(&ticks_are_awake, 1);
    syscall(SYS_futex, &ticks_are_awake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void ticks_end(void) {
    pthread_mutex_lock(&ticks.lock);
    ticks.is_started = true; /* no other one is */
    ticks.call = NULL;
    pthread_mutex_unlock(&ticks.lock);
    ticks_wake();
}

/* All signals stay with other threads. */
static bool start_thread(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, old;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int failed = pthread_create(&thread, &attributes, ticks_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return failed == 0;
}

bool ticks_start(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
    if (ticks.is_started)
        return ticks.call == &ticks_call;
    if (!has_key || pthread_setspecific(thread_key, &ticks) != 0)
        return false;
    ticks.process = getpid();
    ticks.thread = (pid_t)syscall(SYS_gettid);
    ticks.call = &ticks_call;
    atomic_store(&ticks_are_awake, 1);
    ticks.is_started = start_thread();
    return ticks.is_started;
}
