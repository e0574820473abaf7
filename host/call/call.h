/* host/call/call.h: typed calls on limits that were made before, for what calls several times on
 * one budget. */
#ifndef HOST_CALL_H
#define HOST_CALL_H

#include "run.h"

struct call_request {
    husk_func func;
    const struct husk_value *args;
    size_t args_count;
    struct husk_value *results;
    size_t results_count;
    const struct call_limits *limits;
};

/* The options' limits, from now on; `options` may be NULL. Clocks are read only for limits that are
 * set. call_limits_done() when the call has ended. */
int call_limits_make(const struct husk_limits *options, struct call_limits *ret_limits,
                     struct husk_error *err);

/* The outcome of all that was done within the limits, with what that used, as the caller's. */
void call_give(const struct call_limits *limits, struct husk_outcome *outcome,
               struct husk_outcome *ret_outcome);

/* Which function a call is of; it may still be one of another module. HUSK_E_INVAL,
 * HUSK_E_NOT_FOUND. */
int call_find(const husk_sandbox *sandbox, const struct husk_call *call, husk_func *ret_func,
              struct husk_error *err);

/* husk_call() within limits. */
int call_within(husk_sandbox *sandbox, const struct call_request *request,
                struct husk_outcome *ret_outcome, struct husk_error *err);

/* There is no memory to keep what the pending call needs to go on: it ends with a trap instead. */
void call_drop_pending(husk_sandbox *sandbox, struct husk_outcome *outcome);

/* A step of what was pending has ended, with an outcome: make what follows it. */
int call_go_on(husk_sandbox *sandbox, struct husk_value *results, struct husk_outcome *ret_outcome,
               struct husk_error *err);

#endif
