/*
 * host/instance/call_state.h: the calls that run in a sandbox. A nested call (guest → host function
 * → guest) has a frame of its own; frames form a chain. The outermost call's frame is here and not
 * on a C stack, because no C stack stays while the call is pending (host/call/pending.c). Between
 * two calls nothing is here, except an interrupt that was asked for, and how the last call ended.
 */
#ifndef HOST_CALL_STATE_H
#define HOST_CALL_STATE_H

#include <stdatomic.h>

#include "cancel.h"
#include "linkage.h"
#include "vm_exit.h"
#include "watchdog.h"

/* A frame on the guest's stack, as hostile as the guest. */
struct code_frame {
    /* of the innermost frame: where it was interrupted; of the others: where it goes on */
    uint64_t pc;
    uint64_t stack_gva, base_gva; /* its registers */
};

/* When a call must end, and when it began; absolute, so that start and call share one budget. */
struct call_limits {
    uint64_t wall_end_ns; /* CLOCK_MONOTONIC; UINT64_MAX: none */
    uint64_t cpu_end_ns;  /* of cpu_clock; UINT64_MAX: none */
    clockid_t cpu_clock;
    uint64_t wait_ns;         /* waiting, from now on; UINT64_MAX: no limit */
    uint64_t wall_ns, cpu_ns; /* what the caller asked for, for messages */
    /* What the clocks said at the start, for what the outcome says was used; UINT64_MAX: nobody
     * asked. CLOCK_MONOTONIC and CLOCK_THREAD_CPUTIME_ID. */
    uint64_t wall_begin_ns, cpu_begin_ns;
    husk_cancel *cancel; /* referenced; NULL: none */
    void (*passed)(void *user);
    void *passed_user;
};

struct call_frame {
    struct call_frame *parent;
    uint64_t thunk_gva, code_gva; /* what is called */
    struct watch watch;
    husk_cancel *cancel; /* of its limits, who hold the reference; NULL: none */
    struct cancel_entry cancel_entry;
    uint64_t kicked_before; /* what kicker_enter() gave */
    uint64_t ran_ns;        /* until it was pending, if the engine measures times */
    bool is_watched;
    /* A nested call ran while this one was in a host function: registers must be put back. */
    bool was_nested;
    struct vm_regs regs; /* at the host call that is being served */
};

/* What husk_call() and husk_sandbox_start() do, in this order. */
enum call_step { CALL_STEP_INIT, CALL_STEP_RESTORED, CALL_STEP_EXPORT };

/* What husk_call_resume() needs to go on with the outermost call. */
struct call_pending {
    const struct linked_func *func; /* whose answer is awaited */
    struct call_limits limits;
    uint64_t cpu_used_ns; /* while nobody runs it, if its CPU time is measured */
    enum call_step step;
    const struct husk_image_func *row; /* the export; NULL: husk_sandbox_start() */
    struct husk_value *args;           /* the export's, before CALL_STEP_EXPORT; owned */
    size_t args_count;
    struct exchange
        *exchange; /* the husk_call_bytes() that the call is a step of, or NULL; owned */
    void (*exchange_free)(struct exchange *exchange);
};

struct call_state {
    struct call_frame *frame;    /* innermost running or pending call, or NULL */
    struct call_frame outermost; /* used while `frame` is not NULL */
    uint32_t depth;
    uint32_t values_used;       /* of linkage.values, by the host calls in progress */
    atomic_bool is_interrupted; /* set by any thread: the running call must end, or the next one */
    /* The innermost frame of the last call, for husk_sandbox_backtrace(). pc 0: it returned, or
     * calls_forget_end(). */
    struct code_frame ended_at;
    /* Of a poisoned sandbox: the limit that cut it off, if one did. */
    enum husk_limit_kind cut_by;
    /* The outermost call awaits an answer. Calls may run inside it, as if its host function had
     * made them. */
    bool is_pending;
    uint64_t cut_limit_ns;
    struct call_pending pending;
};

/* The guest runs, or memory is made anew: the stack is no longer that of the call that ended. */
static inline void calls_forget_end(struct call_state *calls) {
    calls->ended_at.pc = 0;
}

/* A call is pending, and nothing runs inside it. */
static inline bool calls_stand_still(const struct call_state *calls) {
    return calls->is_pending && calls->frame == &calls->outermost;
}

/* Whose deadline has passed: the innermost call's, or one's around it; NULL: nobody's. */
static inline const struct watch *calls_due(const struct call_state *calls) {
    for (const struct call_frame *frame = calls->frame; frame != NULL; frame = frame->parent)
        if (frame->is_watched && atomic_load(&frame->watch.is_due))
            return &frame->watch;
    return NULL;
}

/* Was the innermost call cancelled, or one around it? */
static inline bool calls_are_cancelled(const struct call_state *calls) {
    for (const struct call_frame *frame = calls->frame; frame != NULL; frame = frame->parent)
        if (frame->cancel != NULL && atomic_load(&frame->cancel->is_cancelled))
            return true;
    return false;
}

/* The limits' end: they were copied, or their call has ended. */
static inline void call_limits_done(struct call_limits *limits) {
    if (limits->cancel != NULL)
        husk_cancel_unref(limits->cancel);
    limits->cancel = NULL;
}

/* HUSK_E_SYS. */
int thread_cpu_clock(clockid_t *ret_clock, struct husk_error *err);

/* call_state.c. The pending call's time limits while nobody runs it, and when somebody does: it, or
 * a call inside it. unpark fails (HUSK_E_SYS) with nothing changed. */
void calls_park(struct call_state *calls, struct watchdog *watchdog, bool is_new);
int calls_unpark(struct call_state *calls, struct watchdog *watchdog, struct husk_error *err);
/* The innermost frame goes. */
static inline void calls_pop(struct call_state *calls, struct watchdog *watchdog) {
    struct call_frame *frame = calls->frame;
    if (frame->is_watched)
        watchdog_remove(watchdog, &frame->watch);
    if (frame->cancel != NULL)
        cancel_leave(frame->cancel, &frame->cancel_entry);
    calls->frame = frame->parent;
    calls->depth--;
}
/* What is kept for a pending call is not needed any more. */
void calls_forget_pending(struct call_state *calls);
/* The pending call, if there is one, will never be resumed. Nothing runs. */
void calls_abandon(struct call_state *calls, struct husk_engine *engine);

#endif
