/*
 * host/call/run.h: running the guest. call.c (typed calls) → run_call() → [vCPU runs → exit]… →
 * outcome. Inside: hostcall.c for host calls, grow.c for services, trap.c for exceptions; outcome.c
 * and backtrace.c for how it ended.
 */
#ifndef HOST_RUN_H
#define HOST_RUN_H

#include <stdint.h>
#include <time.h>

#include "husk.h"

/* When a call must end, and when it began; absolute, so that start and call share one budget. */
struct call_limits {
    uint64_t wall_end_ns; /* CLOCK_MONOTONIC; UINT64_MAX: none */
    uint64_t cpu_end_ns;  /* of cpu_clock; UINT64_MAX: none */
    clockid_t cpu_clock;
    uint64_t wait_ns;         /* waiting in WASI, from now on; UINT64_MAX: no limit */
    uint64_t wall_ns, cpu_ns; /* what the caller asked for, for messages */
    /* What the clocks said at the start, for what the outcome says was used; UINT64_MAX: nobody
     * asked. CLOCK_MONOTONIC and CLOCK_THREAD_CPUTIME_ID. */
    uint64_t wall_begin_ns, cpu_begin_ns;
};

/* Call code_gva by its thunk; arguments and results are in the mailbox's call slots. Returns 0 with
 * the outcome, or a status if the VM itself failed (then the sandbox is poisoned). */
int run_call(husk_sandbox *sandbox, uint64_t thunk_gva, uint64_t code_gva,
             const struct call_limits *limits, struct husk_outcome *ret_outcome,
             struct husk_error *err);

#endif
