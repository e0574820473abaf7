/*
 * host/instance/call_state.h: the calls that run in a sandbox. Each call has a frame, also a nested
 * call (guest → host function → guest); the frames form a chain. The outermost call's frame is here
 * and not on a C stack, because no C stack stays while the call is pending (host/call/pending.c).
 * Between two calls the struct is empty, except for an interrupt that is asked for, and the place
 * where the last call ended.
 */
#ifndef HOST_CALL_STATE_H
#define HOST_CALL_STATE_H

#include <stdatomic.h>

#include "cancel.h"
#include "linkage.h"
#include "vm_exit.h"
#include "watchdog.h"

/* A frame on the guest's stack. The guest can write it: never trust it. */
struct code_frame {
    /* the address at which the innermost frame was interrupted, or at which another frame goes
     * on */
    uint64_t pc;
    uint64_t stack_gva, base_gva; /* the frame's registers */
};

/* The end and the beginning of a call. Times are absolute, so that initialisation and call share
 * one budget. */
struct call_limits {
    uint64_t wall_end_ns; /* CLOCK_MONOTONIC; UINT64_MAX: none */
    uint64_t cpu_end_ns;  /* of cpu_clock; UINT64_MAX: none */
    clockid_t cpu_clock;
    uint64_t wait_ns;         /* how long the call may still wait; UINT64_MAX: no limit */
    uint64_t wall_ns, cpu_ns; /* as the caller gave them, for messages */
    /* The clocks at the start, from which the outcome gets its times (CLOCK_MONOTONIC and
     * CLOCK_THREAD_CPUTIME_ID); UINT64_MAX: nobody asked. */
    uint64_t wall_begin_ns, cpu_begin_ns;
    husk_cancel *cancel; /* referenced; NULL: none */
    void (*passed)(void *user);
    void *passed_user;
    int (*interrupted)(void *user); /* NULL: nobody is asked */
    void *interrupted_user;
    uint64_t ask_begin_ns, ask_every_ns; /* the period begins then; UINT64_MAX: there is none */
    bool is_single;                      /* of husk_call(), which makes one call */
};

/* Deliberately field by field: GCC zeroes a struct of this size by REP STOS, which takes 20 ns. */
static inline void call_limits_clear(struct call_limits *ret_limits) {
    ret_limits->wall_end_ns = ret_limits->cpu_end_ns = ret_limits->wait_ns = UINT64_MAX;
    ret_limits->wall_begin_ns = ret_limits->cpu_begin_ns = UINT64_MAX;
    ret_limits->ask_begin_ns = ret_limits->ask_every_ns = UINT64_MAX;
    ret_limits->wall_ns = ret_limits->cpu_ns = 0;
    ret_limits->cpu_clock = 0;
    ret_limits->cancel = NULL;
    ret_limits->passed = NULL;
    ret_limits->interrupted = NULL;
    ret_limits->passed_user = ret_limits->interrupted_user = NULL;
    ret_limits->is_single = false;
}
_Static_assert(sizeof(struct call_limits) == 16 * sizeof(uint64_t), "each field is cleared above");

static inline struct call_limits call_limits_none(void) {
    struct call_limits limits;
    call_limits_clear(&limits);
    return limits;
}

/* The fields that every call uses come first, in one cache line. */
struct call_frame {
    struct call_frame *parent;
    uint64_t thunk_gva, code_gva; /* of the called function */
    husk_cancel *cancel;    /* the token of its limits, which hold the reference; NULL: none */
    uint64_t kicked_before; /* the result of kicker_enter() */
    uint64_t ran_ns;        /* before it was pending, if the engine measures times */
    bool is_watched;
    /* A nested call ran while this one was in a host function, so registers must be put back. */
    bool was_nested;
    bool is_single; /* see call_limits */
    /* A snapshot brought the call: whenever registers are put back, it goes on by the entry page,
     * because the VM may be anybody's. */
    bool was_brought;
    bool has_to_ask; /* this call, or one around it, has a function to ask if it is interrupted */
    bool must_end;   /* because that function said so */
    struct watch watch;
    struct cancel_entry cancel_entry;
    int (*interrupted)(void *user); /* of its limits; NULL: nobody is asked */
    void *interrupted_user;
    struct vm_regs regs; /* at the host call that is being served */
};

/* The steps of husk_call() and husk_sandbox_start(), in this order. */
enum call_step { CALL_STEP_INIT, CALL_STEP_RESTORED, CALL_STEP_EXPORT };

/* The state that husk_call_resume() needs to go on with the outermost call. */
struct call_pending {
    const struct linked_func *func; /* the host function that is pending */
    struct call_limits limits;
    uint64_t cpu_used_ns; /* set while no thread runs the call, if its CPU time is measured */
    enum call_step step;
    bool is_brought;                   /* by a snapshot, and not resumed yet: it has no limits */
    const struct husk_image_func *row; /* the export; NULL: husk_sandbox_start() */
    struct husk_value *args; /* arguments for the export, before CALL_STEP_EXPORT; owned */
    size_t args_count;
    struct exchange *exchange; /* the husk_call_bytes() to which the call belongs, or NULL; owned */
    void (*exchange_free)(struct exchange *exchange);
};

/* As in a frame: first what every call and restore uses. */
struct call_state {
    struct call_frame *frame; /* innermost running or pending call, or NULL */
    uint32_t depth;
    /* The tag of the exception with which the last call ended, + 1; 0: it ended otherwise. The
     * values are in linkage.thrown. */
    uint32_t thrown;
    /* The innermost frame of the last call, for husk_sandbox_backtrace(). pc 0: the call returned,
     * or calls_forget_end() was called. */
    struct code_frame ended_at;
    /* Set by any thread: the running call must end, or else the next one. */
    atomic_bool is_interrupted;
    /* The outermost call awaits an answer. Calls may run inside it, as if its host function had
     * made them. */
    bool is_pending;
    bool is_asking; /* an embedder's function runs that decides whether a call goes on */
    /* Of a call with such a function: its guest runs, or waits in the library. */
    atomic_bool is_inside;
    /* of linkage.values, by the host calls in progress, and by the pending one */
    uint32_t values_used;
    struct call_frame outermost; /* used while `frame` is not NULL */
    /* In a poisoned sandbox: the limit that cut a call off, if one did. */
    enum husk_limit_kind cut_by;
    uint64_t cut_limit_ns;
    struct call_pending pending;
    uint64_t asked_at_ns; /* when an embedder's function was asked last (CLOCK_MONOTONIC) */
};

/* Call this when the guest runs, or when memory is replaced: the stack is no longer that of the
 * call that ended. */
static inline void calls_forget_end(struct call_state *calls) {
    calls->ended_at.pc = 0;
    calls->thrown = 0;
}

/* True: a call is pending, and no call runs inside it. */
static inline bool calls_stand_still(const struct call_state *calls) {
    return UNLIKELY(calls->is_pending) && calls->frame == &calls->outermost;
}

/* The innermost call whose deadline has passed; NULL: there is none. */
static inline const struct watch *calls_due(const struct call_state *calls) {
    for (const struct call_frame *frame = calls->frame; frame != NULL; frame = frame->parent)
        if (frame->is_watched && atomic_load(&frame->watch.is_due))
            return &frame->watch;
    return NULL;
}

/* True: the innermost call was cancelled, or a call around it: by its token, or because the
 * embedder was asked. */
static inline bool calls_are_cancelled(const struct call_state *calls) {
    for (const struct call_frame *frame = calls->frame; frame != NULL; frame = frame->parent)
        if (frame->must_end || (frame->cancel != NULL && atomic_load(&frame->cancel->is_cancelled)))
            return true;
    return false;
}

/* True: an interrupted run must ask an embedder's function (calls_ask()). */
static inline bool calls_have_to_ask(const struct call_state *calls) {
    return calls->frame != NULL && calls->frame->has_to_ask;
}

/* True: it is time to ask, also if nothing was interrupted. */
static inline bool calls_must_ask(const struct call_state *calls) {
    if (!calls_have_to_ask(calls))
        return false;
    for (const struct call_frame *frame = calls->frame; frame != NULL; frame = frame->parent)
        if (frame->is_watched && atomic_load(&frame->watch.must_ask))
            return true;
    return false;
}

/* Free the limits: the call has ended, or a copy of them has a reference of its own. */
static inline void call_limits_done(struct call_limits *limits) {
    if (UNLIKELY(limits->cancel != NULL))
        husk_cancel_unref(limits->cancel);
    limits->cancel = NULL;
}

/* HUSK_E_SYS. */
int thread_cpu_clock(clockid_t *ret_clock, struct husk_error *err);

/* call_state.c. Stop and start the time limits of the pending call. Park it when no thread runs it;
 * unpark it when a thread runs it, or a call inside it. calls_unpark() may fail (HUSK_E_SYS); then
 * nothing has changed. */
void calls_park(struct call_state *calls, struct watchdog *watchdog, bool is_new);
int calls_unpark(struct call_state *calls, struct watchdog *watchdog, struct husk_error *err);
/* The limits of the pending call end, also those that have passed; it has none then. No call runs
 * inside it. */
void calls_end_limits(struct call_state *calls, struct watchdog *watchdog);
/* Ask the functions of the running calls whether to go on, the innermost first, on the thread that
 * runs them. The first that says no ends its call: calls_are_cancelled(). */
void calls_ask(struct call_state *calls);
/* Remove the innermost frame. */
static inline void calls_pop(struct call_state *calls, struct watchdog *watchdog) {
    struct call_frame *frame = calls->frame;
    if (UNLIKELY(frame->is_watched))
        watchdog_remove(watchdog, &frame->watch);
    if (UNLIKELY(frame->cancel != NULL))
        cancel_leave(frame->cancel, &frame->cancel_entry);
    calls->frame = frame->parent;
    calls->depth--;
}
/* Free all that is kept for a pending call. */
void calls_forget_pending(struct call_state *calls);
/* Remove the pending call, if there is one; it will never be resumed. No call may be running. */
void calls_abandon_pending(struct call_state *calls, struct husk_engine *engine);
static inline void calls_abandon(struct call_state *calls, struct husk_engine *engine) {
    if (UNLIKELY(calls->is_pending))
        calls_abandon_pending(calls, engine);
}

#endif
