/* host/instance/call_state.c: see call_state.h. */
#include "call_state.h"

#include <pthread.h>
#include <stdlib.h>

#include "clock.h"
#include "engine_internal.h"
#include "error.h"
#include "hot.h"

int thread_cpu_clock(clockid_t *ret_clock, struct husk_error *err) {
    int rc = pthread_getcpuclockid(pthread_self(), ret_clock);
    return rc == 0 ? 0 : error_sys(err, rc, "this thread has no CPU clock");
}

void calls_park(struct call_state *calls, struct watchdog *watchdog, bool is_new) {
    struct call_pending *pending = &calls->pending;
    if (calls->outermost.is_watched)
        watchdog_park(watchdog, &calls->outermost.watch, is_new);
    if (pending->limits.cpu_begin_ns != UINT64_MAX)
        pending->cpu_used_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - pending->limits.cpu_begin_ns;
}

int calls_unpark(struct call_state *calls, struct watchdog *watchdog, struct husk_error *err) {
    struct call_pending *pending = &calls->pending;
    struct watch *watch = &calls->outermost.watch;
    clockid_t cpu_clock = pending->limits.cpu_clock;
    int status = calls->outermost.is_watched ? thread_cpu_clock(&cpu_clock, err) : 0;
    if (status != 0)
        return status;
    if (calls->outermost.is_watched)
        watchdog_unpark(watchdog, watch, cpu_clock);
    if (pending->limits.cpu_begin_ns != UINT64_MAX)
        pending->limits.cpu_begin_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - pending->cpu_used_ns;
    return 0;
}

void calls_end_limits(struct call_state *calls, struct watchdog *watchdog) {
    struct call_frame *frame = &calls->outermost;
    if (frame->is_watched)
        watchdog_remove(watchdog, &frame->watch);
    if (frame->cancel != NULL)
        cancel_leave(frame->cancel, &frame->cancel_entry);
    frame->is_watched = false;
    frame->cancel = NULL;
    call_limits_done(&calls->pending.limits);
    call_limits_clear(&calls->pending.limits);
}

void calls_ask(struct call_state *calls) {
    int answer = 0;
    calls->is_asking = true;
    for (struct call_frame *frame = calls->frame; frame != NULL && answer == 0;
         frame = frame->parent) {
        if (frame->interrupted == NULL)
            continue;
        if (frame->is_watched)
            atomic_store(&frame->watch.must_ask, false);
        answer = frame->interrupted(frame->interrupted_user);
        frame->must_end = answer != 0;
    }
    calls->is_asking = false;
    calls->asked_at_ns = clock_ns(CLOCK_MONOTONIC);
}

void calls_forget_pending(struct call_state *calls) {
    free(calls->pending.args);
    if (calls->pending.exchange != NULL)
        calls->pending.exchange_free(calls->pending.exchange);
    call_limits_done(&calls->pending.limits);
    calls->pending = (struct call_pending){0};
    calls->is_pending = false;
    calls->values_used = 0;
}

void calls_abandon_pending(struct call_state *calls, struct husk_engine *engine) {
    if (engine_check_process(engine, NULL) == 0)
        calls_pop(calls, &engine->watchdog);
    /* In a forked child nobody reads the lists, and their locks may be taken for good. */
    calls->frame = NULL;
    calls->depth = 0;
    calls_forget_pending(calls);
}
