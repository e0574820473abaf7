/*
 * host/call/run.h: running the guest. call.c (typed calls) → run_call() → [vCPU runs → exit]… →
 * outcome. Inside: hostcall.c for host calls, grow.c for services, trap.c for exceptions; outcome.c
 * and backtrace.c for how it ended. pending.c → run_resume() goes on after HUSK_PENDING.
 */
#ifndef HOST_RUN_H
#define HOST_RUN_H

#include "call_state.h"

/* Call code_gva by its thunk; arguments and results are in the mailbox's call slots. Returns 0 with
 * the outcome, or a status if the VM itself failed (then the sandbox is poisoned). */
int run_call(husk_sandbox *sandbox, uint64_t thunk_gva, uint64_t code_gva,
             const struct call_limits *limits, struct husk_outcome *ret_outcome,
             struct husk_error *err);
/* Go on with the pending call; the answer was checked. As run_call(), or HUSK_E_SYS with nothing
 * changed and the call still pending. */
int run_resume(husk_sandbox *sandbox, const struct husk_answer *answer,
               struct husk_outcome *ret_outcome, struct husk_error *err);

#endif
