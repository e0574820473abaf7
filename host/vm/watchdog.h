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
 *
 * An entry is parked while its call is pending (host/call/pending.c): no thread runs it. Its wall
 * time goes on, no CPU clock is looked at, and nobody is kicked. When its limit passes, the
 * embedder is told, once, under the lock.
 *
 * An entry may also have a period in which the call must ask its embedder whether to go on
 * (husk_limits.interrupted). Then the thread leaves a note, and kicks the call if its guest runs or
 * waits. Otherwise the call finds the note before its guest runs again.
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
    /* Parked; under the lock. cpu_left_ns: what is left of the CPU limit. */
    bool is_parked, was_told;
    uint64_t parked_at_ns, cpu_left_ns;
    void (*passed)(void *user); /* or NULL; called when the limit passes */
    void *passed_user;
    /* When the call must ask its embedder next (CLOCK_MONOTONIC), and how often. UINT64_MAX:
     * never. */
    uint64_t ask_at_ns, ask_every_ns;
    atomic_bool must_ask;         /* the note; set before the kick */
    const atomic_bool *is_inside; /* true: the guest runs or waits, so a kick disturbs nobody */
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

/* The calling thread, whose CPU clock the entry has, stops running the call. Until it is unparked
 * or removed, `passed` may be called once; that it was called is forgotten if `is_new`. */
void watchdog_park(struct watchdog *watchdog, struct watch *watch, bool is_new);
/* A thread is about to run the call; cpu_clock is that thread's (not used without a CPU limit). The
 * time in between counts as a wait. */
void watchdog_unpark(struct watchdog *watchdog, struct watch *watch, clockid_t cpu_clock);

#endif
