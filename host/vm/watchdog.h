/*
 * host/vm/watchdog.h: deadlines of running calls. One thread per engine; the first call with a
 * deadline starts it.
 *
 * A call puts its entry into a list under a lock, and removes it when it ends. The thread sleeps
 * until the earliest time at which an entry can be due. A new entry wakes the thread only if it is
 * due before that. So a caller that repeats calls with the same limit makes a system call only
 * about once per limit. With an empty list, the thread sleeps without a time limit.
 *
 * The thread kicks due entries under the lock, so it never touches a removed entry. An entry that
 * stays in the list is kicked again after 10 ms, 20 ms, 40 ms, …. A kick's signal may be lost
 * (another handler took it, or the thread did not react), and the guest would run for ever. The
 * pauses double so that a slow host function is rarely interrupted.
 */
#ifndef HOST_WATCHDOG_H
#define HOST_WATCHDOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "husk.h"
#include "kick.h"

struct watch {
    struct watch *prev, *next;
    struct kicker *kicker;
    uint64_t wall_end_ns; /* CLOCK_MONOTONIC; UINT64_MAX: no limit */
    uint64_t cpu_end_ns;  /* of cpu_clock; UINT64_MAX: no limit */
    clockid_t cpu_clock;
    uint64_t wall_ns, cpu_ns;    /* the limits that the caller gave, for messages */
    enum husk_limit_kind due_by; /* set before is_due */
    atomic_bool is_due;          /* set before the kick */
    /* Once is_due: the time of the next kick, and the pause before it. Only the watchdog uses
     * them. */
    uint64_t kick_again_ns, kick_pause_ns;
    /* A call with only a CPU limit uses no CPU time while it waits in WASI, so waits have a limit,
     * too. wait_left_ns: the remaining wait time in total; UINT64_MAX: unlimited. Only the calling
     * thread uses it. wait_end_ns: the time at which the current wait uses it up (CLOCK_MONOTONIC);
     * UINT64_MAX: the call is not waiting. The watchdog checks it together with the CPU clock, so
     * the kick may be late by at most the CPU limit. */
    uint64_t wait_left_ns;
    atomic_uint_least64_t wait_end_ns;
};

struct watchdog {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool is_started, is_stopping;
    uint64_t wake_ns;     /* the time at which the thread wakes by itself; UINT64_MAX: never */
    struct watch watches; /* head of the ring */
};

int watchdog_init(struct watchdog *watchdog, struct husk_error *err);
void watchdog_done(struct watchdog *watchdog); /* stops the thread; the list must be empty */

/* The caller owns the entries. HUSK_E_NOMEM or HUSK_E_SYS if the thread cannot be started. */
int watchdog_add(struct watchdog *watchdog, struct watch *watch, struct husk_error *err);
void watchdog_remove(struct watchdog *watchdog, struct watch *watch);

#endif
