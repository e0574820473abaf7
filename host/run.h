/*
 * host/run.h: running the guest. call.c (typed calls) → run_call() → [KVM_RUN → exit]… → outcome. Inside: hostcall.c for host
 * calls, grow.c for services, trap.c and backtrace.c for exceptions.
 */
#ifndef HOST_RUN_H
#define HOST_RUN_H

#include "sandbox_internal.h"

/* When a call must end; absolute, so that start and call share one budget. */
struct call_limits {
    uint64_t wall_end_ns; /* CLOCK_MONOTONIC; UINT64_MAX: none */
    uint64_t cpu_end_ns;  /* of cpu_clock; UINT64_MAX: none */
    clockid_t cpu_clock;
    uint64_t wait_ns;         /* waiting in WASI, from now on; UINT64_MAX: no limit */
    uint64_t wall_ns, cpu_ns; /* what the caller asked for, for messages */
};

struct call_request {
    husk_func func;
    const struct husk_value *args;
    size_t args_count;
    struct husk_value *results;
    size_t results_count;
    const struct call_limits *limits;
};

/* call.c: the options' limits, from now on; `options` may be NULL. Clocks are read only for limits that are set. */
int call_limits_make(const struct husk_call_options *options, struct call_limits *ret_limits,
                     struct husk_error *err);

/* call.c: husk_call_func() with limits that were made before, for what calls several times on one budget. */
int call_within(husk_sandbox *sandbox, const struct call_request *request, struct husk_outcome *ret_outcome,
                struct husk_error *err);

/* Call code_gva by its thunk; arguments and results are in the mailbox's call slots. Returns 0 with the outcome, or a status
 * if the VM itself failed (then the sandbox is poisoned). */
int run_call(husk_sandbox *sandbox, uint64_t thunk_gva, uint64_t code_gva, const struct call_limits *limits,
             struct husk_outcome *ret_outcome, struct husk_error *err);

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

/* The guest did what no compiled module does. */
void outcome_violation(husk_sandbox *sandbox, struct husk_outcome *outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* hostcall.c: serve the host call that the mailbox describes. True: resume the guest. False: the call ended, see outcome. */
bool hostcall_serve(husk_sandbox *sandbox, struct husk_outcome *outcome);

/* trap.c: what an exception in ring 3 means. */
void trap_classify(husk_sandbox *sandbox, const struct vm_exit *exit, struct husk_outcome *outcome);
const char *trap_message(enum husk_trap trap);

/* backtrace.c: the guest's stack, from the VM's present registers. */
void backtrace_fill(husk_sandbox *sandbox, struct husk_outcome *outcome);
/* The code row of an address in a function (or the init function), or NULL. */
const struct husk_image_code_row *code_row_find(const husk_image *image, uint64_t code_gva);

#endif
