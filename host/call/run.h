/*
 * host/call/run.h: runs the guest. call.c (typed calls) → run_call() → [vCPU runs → exit]… →
 * outcome. Within a run, hostcall.c serves host calls, grow.c serves services, and trap.c
 * classifies exceptions. outcome.c and backtrace.c record how the call ended. pending.c →
 * run_resume() goes on after HUSK_PENDING.
 */
#ifndef HOST_RUN_H
#define HOST_RUN_H

#include "call_state.h"

/* Call code_gva through its thunk. Arguments and results are in the mailbox's call slots. Returns 0
 * with the outcome, or a status if the VM itself failed; then the sandbox is poisoned. */
int run_call(husk_sandbox *sandbox, uint64_t thunk_gva, uint64_t code_gva,
             const struct call_limits *limits, struct husk_outcome *ret_outcome,
             struct husk_error *err);
/* Go on with the pending call; the answer was checked. Returns as run_call() does. One more error:
 * HUSK_E_SYS with nothing changed; then the call is still pending. */
int run_resume(husk_sandbox *sandbox, const struct husk_answer *answer,
               struct husk_outcome *ret_outcome, struct husk_error *err);
/* The same for a call that a snapshot brought, with its limits, which this function takes over on
 * success. */
int run_brought(husk_sandbox *sandbox, const struct husk_answer *answer,
                struct call_limits *take_limits, struct husk_outcome *ret_outcome,
                struct husk_error *err);
/* The same for another pending call, whose limits end. The function takes the new ones over in any
 * case. */
int run_renewed(husk_sandbox *sandbox, const struct husk_answer *answer,
                struct call_limits *take_limits, struct husk_outcome *ret_outcome,
                struct husk_error *err);

#endif
