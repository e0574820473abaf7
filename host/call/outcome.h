/*
 * host/call/outcome.h: makes the outcomes of calls, and their messages, for the embedder. The run
 * loop, host calls and traps find out that a call ended, and use these functions.
 */
#ifndef HOST_OUTCOME_H
#define HOST_OUTCOME_H

#include <string.h>

#include "call_state.h"
#include "husk.h"
#include "watchdog.h"

/* Begin an outcome, without message and trap. The state counts as exact for HUSK_RETURNED and
 * HUSK_EXITED; a caller that knows better sets it. Deliberately not an assignment of the whole
 * struct, because that takes longer than all the rest. Bytes behind the message's NUL are not
 * set. */
static inline void outcome_begin(struct husk_outcome *outcome, enum husk_outcome_kind kind) {
    outcome->kind = kind;
    outcome->state_is_exact = kind == HUSK_RETURNED || kind == HUSK_EXITED;
    outcome->trap = HUSK_TRAP_NONE;
    outcome->limit = HUSK_LIMIT_NONE;
    outcome->exit_code = 0;
    outcome->is_poisoned = false;
    memset(outcome->reserved, 0, sizeof outcome->reserved);
    outcome->wall_ns = outcome->cpu_ns = 0;
    outcome->message[0] = 0;
}

/* The functions below keep the place of the guest for a backtrace. */
void outcome_exit(husk_sandbox *sandbox, int32_t exit_code, struct husk_outcome *outcome);
void outcome_trap(husk_sandbox *sandbox, enum husk_trap trap, bool is_exact, const char *message,
                  struct husk_outcome *outcome);
/* tag_number: the index of the tag + 1. The values are in linkage.thrown. */
void outcome_threw(husk_sandbox *sandbox, uint32_t tag_number, const char *message,
                   struct husk_outcome *outcome);
/* The guest did something that compiled code never does. Poisons the sandbox. */
void outcome_violation(husk_sandbox *sandbox, struct husk_outcome *outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* due: the deadline that has passed; NULL: husk_interrupt() or husk_cancel_now() was called.
 * Poisons the sandbox if the guest ran. */
void outcome_cut(husk_sandbox *sandbox, const struct watch *due, bool did_run,
                 struct husk_outcome *outcome);
/* A call inside this one, made by a host function, poisoned the sandbox: this one ends in the same
 * way. */
void outcome_cut_inside(husk_sandbox *sandbox, struct husk_outcome *outcome);

#endif
