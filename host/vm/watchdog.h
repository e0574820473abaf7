/*
 * host/vm/watchdog.h: deadlines of running calls. One thread per engine, started when the first
 * call with a deadline is made.
 *
 * A call puts its entry in a list under a lock, and takes it out when it ends. The thread sleeps
 * until the earliest moment at which an entry can be due, and no later entry wakes it unless it is
 * due before that: a caller that makes call after call with the same limit makes no system call for
 * it, but for one about once per limit. While no entry is in the list the thread sleeps without
 * end.
 *
 * Who is due is kicked under the lock, so an entry that was taken out is never touched again. One
 * that is still there is kicked again after 10 ms, 20 ms, 40 ms, ...: a signal may be lost
 * (somebody else took it; nobody listened), and the guest would run for ever. The pauses double so
 * that a host function, which may take its time, can sleep in peace.
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
    uint64_t wall_ns, cpu_ns;    /* the limits as the caller gave them, for messages */
    enum husk_limit_kind due_by; /* set before is_due */
    atomic_bool is_due;          /* set before the kick */
    /* Once is_due: when to kick again, and how long that is after the last kick. The watchdog's. */
    uint64_t kick_again_ns, kick_pause_ns;
    /* A call with a CPU limit alone uses no CPU time while it waits in WASI. wait_left_ns: how long
     * it may still do so, altogether; UINT64_MAX: without end. The calling thread's. wait_end_ns:
     * when the present wait uses it up (CLOCK_MONOTONIC); UINT64_MAX: it does not wait. Looked at
     * whenever the CPU clock is, so noticed too late by at most the CPU limit. */
    uint64_t wait_left_ns;
    atomic_uint_least64_t wait_end_ns;
};

struct watchdog {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool is_started, is_stopping;
    uint64_t wake_ns;     /* when the thread wakes by itself; UINT64_MAX: never */
    struct watch watches; /* head of the ring */
};

int watchdog_init(struct watchdog *watchdog, struct husk_error *err);
void watchdog_done(struct watchdog *watchdog); /* stops the thread; no entries may be left */

/* Entries are the caller's. HUSK_E_NOMEM or HUSK_E_SYS if the thread cannot be started. */
int watchdog_add(struct watchdog *watchdog, struct watch *watch, struct husk_error *err);
void watchdog_remove(struct watchdog *watchdog, struct watch *watch);

#endif
