/* host/vm/watchdog.c: see watchdog.h. */
#include "watchdog.h"

#include <signal.h>

#include "clock.h"
#include "clock_cond.h"
#include "error.h"

/* Entries that are due within this time of each other share a wake-up; CPU clocks are looked at no
 * more often. */
#define GRANULARITY_NS 500000ull
/* From the first kick to the second one. */
#define KICK_PAUSE_NS 10000000ull

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* The earliest moment of CLOCK_MONOTONIC at which the entry can be due; `now` or earlier: it is.
 * CPU time passes no faster than wall time, so a CPU limit needs no look before what is left of it
 * has passed. */
static uint64_t watch_due_ns(const struct watch *watch, uint64_t now) {
    uint64_t due = watch->wall_end_ns;
    if (watch->cpu_end_ns != UINT64_MAX) {
        uint64_t used = clock_ns(watch->cpu_clock);
        uint64_t left = used >= watch->cpu_end_ns ? 0 : watch->cpu_end_ns - used;
        uint64_t cpu_due = clock_later(now, left);
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
    watch->kick_pause_ns = clock_later(watch->kick_pause_ns, watch->kick_pause_ns);
    return true;
}

/* Let the call ask its embedder if it is time. Returns when it is time again. */
static uint64_t watch_ask(struct watch *watch, uint64_t now) {
    if (watch->ask_at_ns > now)
        return watch->ask_at_ns;
    watch->ask_at_ns = clock_later(now, watch->ask_every_ns);
    /* Sequentially consistent: either the call finds the note before its guest runs, or we see it
     * inside. */
    atomic_store(&watch->must_ask, true);
    if (atomic_load(watch->is_inside))
        kicker_kick(watch->kicker);
    return watch->ask_at_ns;
}

/* Kick the call if it is due. Returns when to look again. */
static uint64_t watch_look(struct watch *watch, uint64_t now) {
    uint64_t next;
    const bool is_due = atomic_load_explicit(&watch->is_due, memory_order_relaxed);
    const bool is_kicked =
        is_due ? watch_is_kicked_again(watch, now, &next) : watch_becomes_due(watch, now, &next);
    if (!is_kicked)
        return is_due ? next : earlier(next, watch_ask(watch, now));
    watch->kick_again_ns = clock_later(now, watch->kick_pause_ns);
    atomic_store(&watch->is_due, true);
    kicker_kick(watch->kicker);
    return watch->kick_again_ns;
}

/* Of a parked entry: the moment at which it is due. Here a wait has told us. */
static uint64_t watch_parked_due_ns(const struct watch *watch) {
    const uint64_t wait_end_ns = atomic_load(&watch->wait_end_ns);
    if (watch->cpu_left_ns == 0)
        return 0;
    return wait_end_ns < watch->wall_end_ns ? wait_end_ns : watch->wall_end_ns;
}

/* Is a parked entry due? */
static bool watch_is_due_parked(struct watch *watch, uint64_t now) {
    if (atomic_load_explicit(&watch->is_due, memory_order_relaxed))
        return true;
    if (watch_parked_due_ns(watch) > now)
        return false;
    watch->due_by = watch->wall_end_ns <= now ? HUSK_LIMIT_WALL
                    : watch->cpu_left_ns == 0 ? HUSK_LIMIT_CPU
                                              : HUSK_LIMIT_WAIT;
    watch->kick_pause_ns = KICK_PAUSE_NS;
    watch->kick_again_ns = now;
    atomic_store(&watch->is_due, true);
    return true;
}

/* Nobody runs the call, so nobody is kicked. Returns when to look again. */
static uint64_t watch_look_parked(struct watch *watch, uint64_t now) {
    if (!watch_is_due_parked(watch, now))
        return watch_parked_due_ns(watch);
    if (watch->passed != NULL && !watch->was_told)
        watch->passed(watch->passed_user);
    watch->was_told = true;
    return UINT64_MAX;
}

/* Kick whoever is due; returns when to look again. */
static uint64_t watchdog_scan(struct watchdog *watchdog, uint64_t now) {
    uint64_t next = UINT64_MAX;
    for (struct watch *watch = watchdog->watches.next; watch != &watchdog->watches;
         watch = watch->next) {
        const uint64_t watch_next =
            watch->is_parked ? watch_look_parked(watch, now) : watch_look(watch, now);
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
    int rc = clock_cond_init(&watchdog->wake);
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

/* Under the lock. */
static void watchdog_wake_at(struct watchdog *watchdog, uint64_t due_ns) {
    if (due_ns >= watchdog->wake_ns)
        return;
    watchdog->wake_ns = due_ns;
    pthread_cond_signal(&watchdog->wake);
}

int watchdog_add(struct watchdog *watchdog, struct watch *watch, struct husk_error *err) {
    int status = 0;
    uint64_t now = watch->cpu_end_ns != UINT64_MAX ? clock_ns(CLOCK_MONOTONIC) : 0;
    uint64_t due = earlier(watch_due_ns(watch, now), watch->ask_at_ns);
    watch->is_parked = false;
    pthread_mutex_lock(&watchdog->lock);
    if (!watchdog->is_started)
        status = watchdog_start(watchdog, err);
    if (status == 0) {
        watch->prev = &watchdog->watches;
        watch->next = watchdog->watches.next;
        watch->next->prev = watch;
        watchdog->watches.next = watch;
        watchdog_wake_at(watchdog, due);
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

void watchdog_park(struct watchdog *watchdog, struct watch *watch, bool is_new) {
    const bool has_cpu_limit = watch->cpu_end_ns != UINT64_MAX;
    const uint64_t now = clock_ns(CLOCK_MONOTONIC);
    const uint64_t used = has_cpu_limit ? clock_ns(watch->cpu_clock) : 0;
    pthread_mutex_lock(&watchdog->lock);
    watch->cpu_left_ns = !has_cpu_limit             ? UINT64_MAX
                         : used < watch->cpu_end_ns ? watch->cpu_end_ns - used
                                                    : 0;
    watch->cpu_end_ns = UINT64_MAX;
    watch->parked_at_ns = now;
    atomic_store(&watch->wait_end_ns, clock_later(now, watch->wait_left_ns));
    watch->is_parked = true;
    if (is_new)
        watch->was_told = false;
    watchdog_wake_at(watchdog, atomic_load(&watch->is_due) ? 0 : watch_parked_due_ns(watch));
    pthread_mutex_unlock(&watchdog->lock);
}

void watchdog_unpark(struct watchdog *watchdog, struct watch *watch, clockid_t cpu_clock) {
    const bool has_cpu_limit = watch->cpu_left_ns != UINT64_MAX;
    const uint64_t now = clock_ns(CLOCK_MONOTONIC);
    const uint64_t used = has_cpu_limit ? clock_ns(cpu_clock) : 0;
    pthread_mutex_lock(&watchdog->lock);
    const bool is_due = watch_is_due_parked(watch, now);
    const uint64_t took = now - watch->parked_at_ns;
    if (watch->wait_left_ns != UINT64_MAX)
        watch->wait_left_ns -= took < watch->wait_left_ns ? took : watch->wait_left_ns;
    atomic_store(&watch->wait_end_ns, UINT64_MAX);
    if (has_cpu_limit) {
        watch->cpu_clock = cpu_clock;
        watch->cpu_end_ns = clock_later(used, watch->cpu_left_ns);
    }
    watch->is_parked = false;
    watchdog_wake_at(watchdog, is_due ? watch->kick_again_ns
                                      : earlier(watch_due_ns(watch, now), watch->ask_at_ns));
    pthread_mutex_unlock(&watchdog->lock);
}
