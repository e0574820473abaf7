/*
 * host/call/outcome.h: how a call ends, as the embedder sees it: outcomes and their messages. Below
 * the run loop, host calls and traps, which say that it ended.
 */
#ifndef HOST_OUTCOME_H
#define HOST_OUTCOME_H

#include "call_state.h"
#include "husk.h"
#include "options.h"
#include "watchdog.h"

/* An outcome without message, trap and frames. The state is exact where the guest gave up
 * control by itself; who knows better sets it. Deliberately not a memset: the struct is large. */
static inline void outcome_begin(struct husk_outcome *outcome, enum husk_outcome_kind kind) {
    outcome->kind = kind;
    outcome->state_is_exact = kind == HUSK_RETURNED || kind == HUSK_EXITED;
    outcome->trap = HUSK_TRAP_NONE;
    outcome->exit_code = 0;
    outcome->is_poisoned = false;
    outcome->frames_count = 0;
    outcome->frames_total = 0;
    outcome->message[0] = 0;
}

/* The caller's outcome to be filled in place, or `whole` if its struct is of another size than this
 * library's; then outcome_give() copies. */
static inline struct husk_outcome *outcome_room(struct husk_outcome *ret_outcome,
                                                struct husk_outcome *whole) {
    return ret_outcome->size == sizeof *whole ? ret_outcome : whole;
}
static inline void outcome_give(const struct husk_outcome *outcome,
                                struct husk_outcome *ret_outcome) {
    if (outcome != ret_outcome)
        output_fill(ret_outcome, outcome, sizeof *outcome);
}

void outcome_exit(int32_t exit_code, struct husk_outcome *outcome);
void outcome_trap(husk_sandbox *sandbox, enum husk_trap trap, bool is_exact, const char *message,
                  struct husk_outcome *outcome);
/* The guest did what no compiled module does. Poisons the sandbox. */
void outcome_violation(husk_sandbox *sandbox, struct husk_outcome *outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* due: the deadline that has passed; NULL: husk_interrupt() was called. Poisons the sandbox if the
 * guest ran. */
void outcome_cut(husk_sandbox *sandbox, const struct watch *due, bool did_run,
                 struct husk_outcome *outcome);
/* A call inside this one, made by a host function, poisoned the sandbox: this one ends in the same
 * way. */
void outcome_cut_inside(const husk_sandbox *sandbox, const struct call_frame *frame,
                        struct husk_outcome *outcome);

#endif
