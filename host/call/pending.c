/*
 * host/call/pending.c: calls that wait without a thread. A host function answers "pending":
 *
 *   husk_call() → … → host function → husk_caller_pending()      returns HUSK_PENDING
 *        the vCPU stands at the host call; the call's frame and limits lie in the sandbox
 *   husk_call_resume(answer) → run_resume() → call_go_on()       returns as the call, or is pending
 *
 * Only the outermost call can be pending: inner calls have frames on a C stack, and a host function
 * waits there. The embedder may make calls inside a pending call. Their time counts as its own,
 * too.
 */
#include "bytes.h"
#include "call.h"
#include "error.h"
#include "hostcall.h"
#include "image_internal.h"
#include "options.h"
#include "outcome.h"
#include "sandbox_internal.h"

/* Check the room for the call's results, if the answer may let it return. */
static int check_room(const husk_sandbox *sandbox, const struct husk_answer *answer,
                      struct husk_error *err) {
    const struct husk_image_func *row = sandbox->calls.pending.row;
    const bool is_exchange = sandbox->calls.pending.exchange != NULL;
    const size_t count = row != NULL && !is_exchange
                             ? image_functype(sandbox->image->code, row->type_idx).results_count
                             : 0;
    if (answer->status != 0)
        return 0;
    if (answer->results_count != count)
        return error_set(err, HUSK_E_TYPE, "room for %zu results given; the pending call has %zu",
                         answer->results_count, count);
    if (is_exchange != (answer->bytes != NULL))
        return error_set(err, HUSK_E_TYPE,
                         is_exchange
                             ? "husk_call_bytes() is pending: the answer's bytes are missing"
                             : "husk_call() is pending: the answer's bytes must be NULL");
    return is_exchange ? exchange_check_room(answer->bytes, err) : 0;
}

/* "Again" is an answer of its own. */
static int check_again(const struct husk_answer *answer, struct husk_error *err) {
    if (answer->is_again && (answer->status != 0 || answer->values_count != 0 ||
                             answer->exception != NULL || answer->message != NULL))
        return error_set(err, HUSK_E_INVAL,
                         "the host function is to be called again, and an answer is given");
    return 0;
}

static int check_answer(const husk_sandbox *sandbox, const struct husk_answer *answer,
                        struct husk_error *err) {
    if (answer->status > 0)
        return error_set(err, HUSK_E_INVAL,
                         "the answer's status is %d; it must be 0 or a negative HUSK_E_…",
                         answer->status);
    if ((answer->values == NULL && answer->values_count > 0) ||
        (answer->results == NULL && answer->results_count > 0))
        return error_set(err, HUSK_E_INVAL, "husk_call_resume: a NULL array");
    int status = check_again(answer, err);
    if (status == 0)
        status = hostcall_check_answer(sandbox, answer, err);
    return status != 0 ? status : check_room(sandbox, answer, err);
}

static int check_pending(const husk_sandbox *sandbox, struct husk_error *err) {
    if (!sandbox->calls.is_pending)
        return error_set(err, HUSK_E_STATE, "no call of the sandbox is pending");
    if (!calls_stand_still(&sandbox->calls))
        return error_set(err, HUSK_E_STATE,
                         "a call inside the pending one is running; it must end first");
    return engine_check_process(sandbox->engine, err);
}

/* The first run of a call that a snapshot brought: husk_restored() comes before it. True: the guest
 * may go on, or it must not, and run_brought() finds out. */
static bool restored_before(husk_sandbox *sandbox, const struct call_limits *limits,
                            struct husk_outcome *ret_outcome, int *ret_status,
                            struct husk_error *err) {
    outcome_begin(ret_outcome, HUSK_RETURNED);
    *ret_status = sandbox->is_poisoned || sandbox_is_cut(sandbox)
                      ? 0
                      : call_restored(sandbox, limits, ret_outcome, err);
    const enum husk_outcome_kind kind = ret_outcome->kind;
    return *ret_status == 0 && kind != HUSK_TRAPPED && kind != HUSK_EXITED && kind != HUSK_THREW;
}

static int resume_brought(husk_sandbox *sandbox, const struct husk_answer *answer,
                          struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_limits limits;
    int status = call_limits_make(answer->limits, &limits, err);
    if (status != 0)
        return status;
    limits.is_single = true;
    if (restored_before(sandbox, &limits, ret_outcome, &status, err))
        status = run_brought(sandbox, answer, &limits, ret_outcome, err);
    if (sandbox->calls.pending.is_brought)
        call_limits_done(&limits);
    return status;
}

/* The call's limits end, and those of the answer begin. */
static int resume_renewed(husk_sandbox *sandbox, const struct husk_answer *answer,
                          struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_limits limits;
    int status = call_limits_make(answer->limits, &limits, err);
    if (status != 0)
        return status;
    limits.is_single = sandbox->calls.pending.limits.is_single;
    return run_renewed(sandbox, answer, &limits, ret_outcome, err);
}

/* Resume the call itself. */
static int resume_call(husk_sandbox *sandbox, const struct husk_answer *answer,
                       struct husk_outcome *ret_outcome, struct husk_error *err) {
    if (sandbox->calls.pending.is_brought)
        return resume_brought(sandbox, answer, ret_outcome, err);
    return answer->limits != NULL ? resume_renewed(sandbox, answer, ret_outcome, err)
                                  : run_resume(sandbox, answer, ret_outcome, err);
}

/* Resume the call, and make the calls that follow. Any of them may be pending afterwards. */
static int resume(husk_sandbox *sandbox, const struct husk_answer *answer,
                  struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_state *calls = &sandbox->calls;
    struct exchange *exchange = calls->pending.exchange;
    struct husk_value *results = exchange != NULL ? exchange_results(exchange) : answer->results;
    int status = resume_call(sandbox, answer, ret_outcome, err);
    if (status == 0)
        status = call_go_on(sandbox, results, ret_outcome, err);
    if (status == 0 && exchange != NULL && ret_outcome->kind == HUSK_RETURNED)
        status = exchange_go_on(exchange, &calls->pending.limits, ret_outcome, err);
    if (exchange != NULL && !calls->is_pending)
        exchange_leave(exchange, answer->bytes);
    return status;
}

int husk_call_resume(husk_sandbox *sandbox, const struct husk_answer *answer,
                     struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct husk_answer copy;
    struct husk_outcome outcome;
    if (sandbox == NULL || answer == NULL || ret_outcome == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_call_resume: a NULL argument");
    int status = output_check("husk_outcome", ret_outcome, err);
    if (status == 0)
        status = answer_read(answer, &copy, err);
    if (status == 0)
        status = check_pending(sandbox, err);
    if (status == 0)
        status = check_answer(sandbox, &copy, err);
    if (status != 0)
        return status;
    struct call_state *calls = &sandbox->calls;
    status = resume(sandbox, &copy, &outcome, err);
    if (status == 0)
        call_give(&calls->pending.limits, &outcome, ret_outcome);
    if (!calls->is_pending)
        calls_forget_pending(calls);
    return status;
}
