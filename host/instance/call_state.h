/*
 * host/instance/call_state.h: the calls that run in a sandbox. A nested call (guest → host function
 * → guest) has a frame of its own; frames form a chain. Between two calls nothing is here, except
 * an interrupt that was asked for.
 */
#ifndef HOST_CALL_STATE_H
#define HOST_CALL_STATE_H

#include <stdatomic.h>

#include "vm_exit.h"
#include "watchdog.h"

#define CUT_LIMIT_BYTES 64u /* ": CPU limit of 1.234567891e+10 s" */

struct call_frame {
    struct call_frame *parent;
    uint64_t thunk_gva, code_gva; /* what is called */
    struct watch watch;
    uint64_t kicked_before; /* what kicker_enter() gave */
    bool is_watched;
    /* A nested call ran while this one was in a host function: registers must be put back. */
    bool was_nested;
    struct vm_regs regs; /* at the host call that is being served */
    /* ": limit" whose passing cut off a call inside this one; or "". */
    char cut_limit[CUT_LIMIT_BYTES];
};

struct call_state {
    struct call_frame *frame; /* innermost running call, or NULL */
    uint32_t depth;
    uint32_t values_used;       /* of linkage.values, by the host calls in progress */
    atomic_bool is_interrupted; /* set by any thread: the running call must end, or the next one */
};

/* Whose deadline has passed: the innermost call's, or one's around it; NULL: nobody's. */
static inline const struct watch *calls_due(const struct call_state *calls) {
    for (const struct call_frame *frame = calls->frame; frame != NULL; frame = frame->parent)
        if (frame->is_watched && atomic_load(&frame->watch.is_due))
            return &frame->watch;
    return NULL;
}

#endif
