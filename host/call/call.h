/* host/call/call.h: typed calls within limits that already exist. husk_call_bytes() makes several
 * such calls on one budget. */
#ifndef HOST_CALL_H
#define HOST_CALL_H

#include <stddef.h>
#include <string.h>

#include "mailbox.h"
#include "run.h"
#include "sandbox_internal.h"

struct husk_image_func;

/* A routine of the guest (abi/exchange.h), which makes the calls by itself. */
struct call_routine {
    uint64_t gva, code_gva; /* code_gva: what it gets */
    /* the function whose results husk_call_resume() takes from the call slots, if the routine
     * becomes pending; NULL: none */
    const struct husk_image_func *row;
    const struct call_limits *limits;
};

struct call_request {
    husk_func func;
    const struct husk_value *args;
    size_t args_count;
    struct husk_value *results;
    size_t results_count;
    const struct call_limits *limits;
};

/* Staged start, for the runner of the standard's test suite: run the initialisation of one of
 * several linked instances, in an image that compile_staged() made. The first use ends the
 * automatic initialisation: exports of instances that were started may be called from then on, and
 * the caller sees to the order. Errors and outcome as of husk_sandbox_start(); an instance that
 * traps can be left out, and others started. An image of one instance is started as a whole.
 * HUSK_E_INVAL: no such instance. */
int sandbox_start_instance(husk_sandbox *sandbox, uint32_t instance_idx,
                           const struct husk_limits *options, struct husk_outcome *ret_outcome,
                           struct husk_error *err);

/* Make absolute limits of the options; they begin now. `options` may be NULL. Clocks are read only
 * for limits that are set, and for `measure`. Use call_limits_done() when the call has ended. */
int call_limits_take(const struct husk_limits *options, struct call_limits *cleared_limits,
                     struct husk_error *err); /* `options` is not NULL */
/* Nothing is asked for but what decides about interrupted runs, as bindings of languages do in each
 * call. */
static inline bool call_limits_only_ask(const struct husk_limits *options) {
    enum { MEASURE = offsetof(struct husk_limits, measure) };
    uint64_t measure_and_reserved;
    _Static_assert(offsetof(struct husk_limits, interrupted) - MEASURE == sizeof(uint64_t),
                   "the reserved bytes are those behind `measure`");
    if (options->size != sizeof *options)
        return false;
    memcpy(&measure_and_reserved, (const uint8_t *)options + MEASURE, sizeof measure_and_reserved);
    return (options->wall_ns | options->cpu_ns | options->interrupted_ns | measure_and_reserved) ==
               0 &&
           options->cancel == NULL && options->passed == NULL;
}

static inline int call_limits_make(const struct husk_limits *options,
                                   struct call_limits *ret_limits, struct husk_error *err) {
    call_limits_clear(ret_limits);
    if (LIKELY(options == NULL))
        return 0;
    if (!call_limits_only_ask(options))
        return call_limits_take(options, ret_limits, err);
    ret_limits->interrupted = options->interrupted;
    ret_limits->interrupted_user = options->interrupted_user;
    return 0;
}

/* Give the outcome to the caller, with the time used since the limits began. */
void call_give(const struct call_limits *limits, struct husk_outcome *outcome,
               struct husk_outcome *ret_outcome);

/* Find the function of a call. It may belong to another module: that is checked later.
 * HUSK_E_INVAL, HUSK_E_NOT_FOUND. */
int call_find_name(const husk_sandbox *sandbox, const struct husk_call *call, husk_func *ret_func,
                   struct husk_error *err); /* a name is given */
static inline int call_find(const husk_sandbox *sandbox, const struct husk_call *call,
                            husk_func *ret_func, struct husk_error *err) {
    *ret_func = call->func;
    return LIKELY(call->name == NULL) ? 0 : call_find_name(sandbox, call, ret_func, err);
}

/* A call or its preparation failed: add the function's name, with `how`, to the message. Returns
 * the status, also 0. */
int call_explain(const struct husk_call *call, const char *how, int status, struct husk_error *err);

/* husk_call() within limits. */
int call_within(husk_sandbox *sandbox, const struct call_request *request,
                struct husk_outcome *ret_outcome, struct husk_error *err);

static inline bool call_lacks_values(const struct husk_call *call) {
    return UNLIKELY((call->args == NULL && call->args_count > 0) ||
                    (call->results == NULL && call->results_count > 0));
}

/* The checks of the sandbox that call_within() makes: HUSK_E_STATE, HUSK_E_POISONED,
 * HUSK_E_LIMIT. */
int call_check_state(const husk_sandbox *sandbox, struct husk_error *err);
/* Take only the steps before a call. If one does not return, the call must not be made. If it is
 * pending, husk_call_resume() makes the call later; with row NULL, only the steps. */
int call_prepare(husk_sandbox *sandbox, const struct call_request *request,
                 const struct husk_image_func *row, struct husk_outcome *ret_outcome,
                 struct husk_error *err);
/* True: there are no such steps. */
static inline bool call_is_prepared(const husk_sandbox *sandbox) {
    return LIKELY(sandbox->calls.frame == NULL && sandbox->start == SANDBOX_STARTED &&
                  !sandbox->owes_restored_call);
}
/* After call_prepare(): the exchange, if this call may use it. NULL: the image has no such routine,
 * or a call around this one uses the exchange. */
void *call_exchange(const husk_sandbox *sandbox, uint64_t routine_gva);
/* Then run a routine, for which the exchange was filled. */
int call_routine(husk_sandbox *sandbox, const struct call_routine *routine,
                 struct husk_outcome *ret_outcome, struct husk_error *err);
/* The row of a function that can be called. NULL: image_func_refuse() says why it cannot. */
const struct husk_image_func *call_row(const husk_sandbox *sandbox, husk_func func);

/* A snapshot brought a call: call husk_restored() below it, if that is owed. *ret_outcome began as
 * HUSK_RETURNED. If it is another one afterwards, the guest must not go on. */
int call_restored(husk_sandbox *sandbox, const struct call_limits *limits,
                  struct husk_outcome *ret_outcome, struct husk_error *err);
/* True: nothing has run since a snapshot brought the pending call. */
static inline bool call_is_brought(const struct call_state *calls) {
    return calls->pending.is_brought && calls_stand_still(calls);
}

/* End the pending call with a trap, because there is no memory for what it needs to go on. */
void call_drop_pending(husk_sandbox *sandbox, struct husk_outcome *outcome);

/* A step of the pending call has ended, with *ret_outcome: take the steps that follow. They change
 * *ret_outcome. */
int call_go_on(husk_sandbox *sandbox, struct husk_value *results, struct husk_outcome *ret_outcome,
               struct husk_error *err);

#endif
