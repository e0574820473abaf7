/*
 * host/instance/call_state.h: the calls that run in a sandbox. A nested call (guest → host function
 * → guest) has a frame of its own; frames form a chain. Between two calls nothing is here, except
 * an interrupt that was asked for, and how the last call ended.
 */
#ifndef HOST_CALL_STATE_H
#define HOST_CALL_STATE_H

#include <stdatomic.h>

#include "vm_exit.h"
#include "watchdog.h"

/* A frame on the guest's stack, as hostile as the guest. */
struct code_frame {
    /* of the innermost frame: where it was interrupted; of the others: where it goes on */
    uint64_t pc;
    uint64_t stack_gva, base_gva; /* its registers */
};

struct call_frame {
    struct call_frame *parent;
    uint64_t thunk_gva, code_gva; /* what is called */
    struct watch watch;
    uint64_t kicked_before; /* what kicker_enter() gave */
    bool is_watched;
    /* A nested call ran while this one was in a host function: registers must be put back. */
    bool was_nested;
    struct vm_regs regs; /* at the host call that is being served */
};

struct call_state {
    struct call_frame *frame; /* innermost running call, or NULL */
    uint32_t depth;
    uint32_t values_used;       /* of linkage.values, by the host calls in progress */
    atomic_bool is_interrupted; /* set by any thread: the running call must end, or the next one */
    /* The innermost frame of the last call, for husk_sandbox_backtrace(). pc 0: it returned, or
     * calls_forget_end(). */
    struct code_frame ended_at;
    /* Of a poisoned sandbox: the limit that cut it off, if one did. */
    enum husk_limit_kind cut_by;
    uint64_t cut_limit_ns;
};

/* The guest runs, or memory is made anew: the stack is no longer that of the call that ended. */
static inline void calls_forget_end(struct call_state *calls) {
    calls->ended_at.pc = 0;
}

/* Whose deadline has passed: the innermost call's, or one's around it; NULL: nobody's. */
static inline const struct watch *calls_due(const struct call_state *calls) {
    for (const struct call_frame *frame = calls->frame; frame != NULL; frame = frame->parent)
        if (frame->is_watched && atomic_load(&frame->watch.is_due))
            return &frame->watch;
    return NULL;
}

#endif
