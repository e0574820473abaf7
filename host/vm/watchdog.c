/* host/vm/watchdog.c: see watchdog.h. */
#include "watchdog.h"

#include <signal.h>

#include "clock.h"
#include "error.h"

/* Entries that are due within this time of each other share a wake-up; CPU clocks are looked at no
 * more often. */
#define GRANULARITY_NS 500000ull
/* From the first kick to the second one. */
#define KICK_PAUSE_NS 10000000ull

static uint64_t add_sat(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The earliest moment of CLOCK_MONOTONIC at which the entry can be due; `now` or earlier: it is.
 * CPU time passes no faster than wall time, so a CPU limit needs no look before what is left of it
 * has passed. */
static uint64_t watch_due_ns(const struct watch *watch, uint64_t now) {
    uint64_t due = watch->wall_end_ns;
    if (watch->cpu_end_ns != UINT64_MAX) {
        uint64_t used = clock_ns(watch->cpu_clock);
        uint64_t left = used >= watch->cpu_end_ns ? 0 : watch->cpu_end_ns - used;
        uint64_t cpu_due = add_sat(now, left);
        due = cpu_due < due ? cpu_due : due;
    }
    return due;
}

/* Deliberately not part of watch_due_ns(): a thread that begins to wait tells nobody, so this is no
 * moment to wake for. */
static bool watch_has_waited(const struct watch *watch, uint64_t now) {
    return atomic_load(&watch->wait_end_ns) <= now;
}

/* Is it due for the first time? If not, *ret_next is when it can be. */
static bool watch_becomes_due(struct watch *watch, uint64_t now, uint64_t *ret_next) {
    *ret_next = watch_due_ns(watch, now);
    const bool has_waited = *ret_next > now && watch_has_waited(watch, now);
    if (*ret_next > now && !has_waited)
        return false;
    watch->due_by = has_waited                 ? HUSK_LIMIT_WAIT
                    : watch->wall_end_ns > now ? HUSK_LIMIT_CPU
                                               : HUSK_LIMIT_WALL;
    watch->kick_pause_ns = KICK_PAUSE_NS;
    return true;
}

static bool watch_is_kicked_again(struct watch *watch, uint64_t now, uint64_t *ret_next) {
    *ret_next = watch->kick_again_ns;
    if (*ret_next > now)
        return false;
    watch->kick_pause_ns = add_sat(watch->kick_pause_ns, watch->kick_pause_ns);
    return true;
}

/* Kick whoever is due; returns when to look again. */
static uint64_t watchdog_scan(struct watchdog *watchdog, uint64_t now) {
    uint64_t next = UINT64_MAX;
    for (struct watch *watch = watchdog->watches.next; watch != &watchdog->watches;
         watch = watch->next) {
        uint64_t watch_next;
        bool is_kicked = atomic_load_explicit(&watch->is_due, memory_order_relaxed)
                             ? watch_is_kicked_again(watch, now, &watch_next)
                             : watch_becomes_due(watch, now, &watch_next);
        if (is_kicked) {
            watch_next = watch->kick_again_ns = add_sat(now, watch->kick_pause_ns);
            atomic_store(&watch->is_due, true);
            kicker_kick(watch->kicker);
        }
        next = watch_next < next ? watch_next : next;
    }
    if (next != UINT64_MAX && next < now + GRANULARITY_NS)
        next = now + GRANULARITY_NS;
    return next;
}

static void *watchdog_main(void *argument) {
    struct watchdog *watchdog = argument;
    pthread_setname_np(pthread_self(), "husk-watchdog");
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->is_stopping) {
        /* Only when the time has come: whoever woke us before that has set wake_ns, and may be gone
         * already. To forget wake_ns then would make the next call wake us again, and so on for
         * every call. */
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (now >= watchdog->wake_ns)
            watchdog->wake_ns = watchdog_scan(watchdog, now);
        if (watchdog->wake_ns == UINT64_MAX) {
            pthread_cond_wait(&watchdog->wake, &watchdog->lock);
            continue;
        }
        const struct timespec until = clock_timespec(watchdog->wake_ns);
        pthread_cond_timedwait(&watchdog->wake, &watchdog->lock, &until);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

int watchdog_init(struct watchdog *watchdog, struct husk_error *err) {
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);
    if (rc != 0)
        return error_sys(err, rc, "cannot prepare the watchdog");
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc = pthread_cond_init(&watchdog->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (rc != 0)
        return error_sys(err, rc, "cannot prepare the watchdog");
    pthread_mutex_init(&watchdog->lock, NULL);
    watchdog->is_started = false;
    watchdog->is_stopping = false;
    watchdog->wake_ns = UINT64_MAX;
    watchdog->watches.next = watchdog->watches.prev = &watchdog->watches;
    return 0;
}

void watchdog_done(struct watchdog *watchdog) {
    pthread_mutex_lock(&watchdog->lock);
    bool is_started = watchdog->is_started;
    watchdog->is_stopping = true;
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->lock);
    if (is_started)
        pthread_join(watchdog->thread, NULL);
    pthread_cond_destroy(&watchdog->wake);
    pthread_mutex_destroy(&watchdog->lock);
}

/* All signals stay with the embedder's threads. */
static int watchdog_start(struct watchdog *watchdog, struct husk_error *err) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&watchdog->thread, NULL, watchdog_main, watchdog);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return error_sys(err, rc, "cannot start the watchdog thread, which deadlines need");
    watchdog->is_started = true;
    return 0;
}

int watchdog_add(struct watchdog *watchdog, struct watch *watch, struct husk_error *err) {
    int status = 0;
    uint64_t now = watch->cpu_end_ns != UINT64_MAX ? clock_ns(CLOCK_MONOTONIC) : 0;
    uint64_t due = watch_due_ns(watch, now);
    pthread_mutex_lock(&watchdog->lock);
    if (!watchdog->is_started)
        status = watchdog_start(watchdog, err);
    if (status == 0) {
        watch->prev = &watchdog->watches;
        watch->next = watchdog->watches.next;
        watch->next->prev = watch;
        watchdog->watches.next = watch;
        if (due < watchdog->wake_ns) {
            watchdog->wake_ns = due;
            pthread_cond_signal(&watchdog->wake);
        }
    }
    pthread_mutex_unlock(&watchdog->lock);
    return status;
}

void watchdog_remove(struct watchdog *watchdog, struct watch *watch) {
    pthread_mutex_lock(&watchdog->lock);
    watch->prev->next = watch->next;
    watch->next->prev = watch->prev;
    pthread_mutex_unlock(&watchdog->lock);
}
