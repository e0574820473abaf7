/*
 * host/call/hostcall.c: serves a host call. Index and arguments come from the mailbox (copied once,
 * then checked), the embedder's function runs, its results go back. If the function fails, the
 * guest's call ends with a trap; nothing is poisoned. If it is pending, the guest stands still at
 * the host call. The results or the failure then come with husk_call_resume() (pending.c).
 */
#include "hostcall.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backtrace.h"
#include "caller.h"
#include "clock.h"
#include "error.h"
#include "exceptions.h"
#include "image.h"
#include "image_internal.h"
#include "name_text.h"
#include "outcome.h"
#include "sandbox_internal.h"
#include "standing.h"
#include "values.h"

/* End the guest's call with a message about the function. */
__attribute__((format(printf, 4, 5))) static void trap_of(husk_sandbox *sandbox,
                                                          const struct linked_func *func,
                                                          struct husk_outcome *outcome,
                                                          const char *format, ...) {
    char text[sizeof outcome->message], message[sizeof outcome->message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(message, sizeof message, "host function \"%s.%s\" %.120s",
             NAME_SHOWN(func->def->module), NAME_SHOWN(func->def->name), text);
    outcome_trap(sandbox, HUSK_TRAP_HOST_FUNCTION, true, message, outcome);
}

static void be_pending(husk_sandbox *sandbox, const struct linked_func *func,
                       struct husk_outcome *outcome) {
    if (sandbox->calls.frame->parent != NULL) {
        trap_of(sandbox, func, outcome,
                "cannot be pending: it serves a call inside another one, which waits for it");
        return;
    }
    sandbox->calls.pending.func = func;
    /* the arguments stay where they are, below those of calls inside this one */
    sandbox->calls.values_used = sandbox_host_call_values(sandbox, func);
    backtrace_keep(sandbox);
    outcome_begin(outcome, HUSK_PENDING);
    outcome->state_is_exact = true;
    snprintf(outcome->message, sizeof outcome->message,
             "host function \"%s.%s\" is pending: husk_call_resume() goes on",
             NAME_SHOWN(func->def->module), NAME_SHOWN(func->def->name));
}

/* Handle the function's return. True: use its results, or its exception. */
static bool caller_finish(struct husk_caller *caller, const struct linked_func *func, int status,
                          const struct husk_value *results, struct husk_outcome *outcome) {
    husk_sandbox *sandbox = caller->sandbox;
    if (sandbox->is_poisoned)
        return true; /* a nested call was cut off; resume_after_host() ends this one */
    switch (caller->end) {
    case CALLER_GOES_ON: break;
    case CALLER_THREW: return true;
    case CALLER_FAILED:
        outcome_trap(sandbox, HUSK_TRAP_HOST_FUNCTION, true, caller->message, outcome);
        return false;
    case CALLER_EXITED: outcome_exit(sandbox, caller->exit_code, outcome); return false;
    case CALLER_PENDING: be_pending(sandbox, func, outcome); return false;
    }
    if (status != 0) {
        trap_of(sandbox, func, outcome, "failed: %s", husk_status_text(status));
        return false;
    }
    struct husk_error err;
    const struct husk_functype *type = func->type;
    if (values_check(type->results, type->results_count, results, type->results_count, "result",
                     &err) == 0)
        return true;
    trap_of(sandbox, func, outcome, "gave a bad result: %.80s", err.message);
    return false;
}

/* Zeros of the results' types. */
static inline void results_clear(const struct husk_functype *type, struct husk_value *results) {
    for (size_t i = 0; i < type->results_count; i++) {
        memset(&results[i], 0, sizeof results[i]);
        results[i].type = type->results[i];
    }
}

/* Call the function. Its arguments are the next of linkage.values. */
static inline enum hostcall_next serve(husk_sandbox *sandbox, const struct linked_func *func,
                                       struct husk_outcome *outcome) {
    struct husk_mailbox *mailbox = sandbox->machine->arena.mailbox;
    const struct husk_functype *type = func->type;
    struct husk_value *args = sandbox->link.values + sandbox->calls.values_used;
    struct husk_value *results = args + type->params_count;
    const uint32_t arity = (uint32_t)(type->params_count + type->results_count);
    const uint32_t used = sandbox_host_call_values(sandbox, func);
    results_clear(type, results);
    struct husk_caller caller;
    caller.sandbox = sandbox;
    caller.memory_idx = func->memory_idx;
    caller.end = CALLER_GOES_ON;
    caller.func = func;
    caller.thrown = args + arity;
    stat_count(sandbox->tally, STAT_host_calls);
    sandbox->calls.values_used += used;
    const bool is_measured = sandbox->engine->measures_times;
    const uint64_t start_ns = is_measured ? clock_ns(CLOCK_MONOTONIC) : 0;
    int status = func->fn(&caller, func->user, args, results);
    if (is_measured)
        stat_measure(sandbox->tally, HUSK_HISTOGRAM_HOST_CALL,
                     clock_ns(CLOCK_MONOTONIC) - start_ns);
    sandbox->calls.values_used -= used;
    if (!caller_finish(&caller, func, status, results, outcome))
        return HOSTCALL_ENDED;
    if (caller.end == CALLER_THREW) {
        exception_put(sandbox, &(struct exception){caller.tag_idx, caller.thrown});
        return HOSTCALL_THROWS;
    }
    hotset_host_writes(&sandbox->machine->hotset, mailbox->host_slots,
                       type->results_count * sizeof mailbox->host_slots[0]);
    for (size_t i = 0; i < type->results_count; i++)
        value_to_slot(&results[i], &mailbox->host_slots[i]);
    return HOSTCALL_RETURNS;
}

enum hostcall_next hostcall_serve(husk_sandbox *sandbox, struct husk_outcome *outcome) {
    struct husk_mailbox *mailbox = sandbox->machine->arena.mailbox;
    uint32_t idx = *(volatile uint32_t *)&mailbox->import_idx;
    if (idx >= sandbox->image->code->imported_count[HUSK_ABI_FUNC]) {
        outcome_violation(sandbox, outcome,
                          "the guest called host function %u, which does not exist", idx);
        return HOSTCALL_ENDED;
    }
    const struct linked_func *func = &sandbox->link.linked[idx];
    const struct husk_functype *type = func->type;
    struct husk_value *args = sandbox->link.values + sandbox->calls.values_used;
    for (size_t i = 0; i < type->params_count; i++)
        args[i] = value_from_slot(type->params[i], &mailbox->host_slots[i]);
    return serve(sandbox, func, outcome);
}

int hostcall_check_answer(const husk_sandbox *sandbox, const struct husk_answer *answer,
                          struct husk_error *err) {
    const struct linked_func *func = sandbox->calls.pending.func;
    struct exception exception;
    int status = 0;
    if (answer->status != 0 || answer->is_again)
        return 0;
    if (answer->exception != NULL && answer->values_count != 0)
        status = error_set(err, HUSK_E_INVAL, "both values and an exception are given");
    else if (answer->exception != NULL)
        status = exception_check(sandbox, answer->exception, &exception, err);
    else
        status = values_check(func->type->results, func->type->results_count, answer->values,
                              answer->values_count, "result", err);
    return status != 0 ? error_while(err, status, "answering for \"%s.%s\"",
                                     NAME_SHOWN(func->def->module), NAME_SHOWN(func->def->name))
                       : 0;
}

enum hostcall_next hostcall_answer(husk_sandbox *sandbox, const struct husk_answer *answer,
                                   struct husk_outcome *outcome) {
    const struct linked_func *func = sandbox->calls.pending.func;
    struct exception exception;
    if (answer->is_again)
        return serve(sandbox, func, outcome);
    if (answer->status == 0 && answer->exception != NULL &&
        exception_check(sandbox, answer->exception, &exception, NULL) == 0) { /* again */
        exception_put(sandbox, &exception);
        return HOSTCALL_THROWS;
    }
    if (answer->status == 0) {
        struct husk_slot *slots = sandbox->machine->arena.mailbox->host_slots;
        hotset_host_writes(&sandbox->machine->hotset, slots, answer->values_count * sizeof *slots);
        for (size_t i = 0; i < answer->values_count; i++)
            value_to_slot(&answer->values[i], &slots[i]);
        return HOSTCALL_RETURNS;
    }
    if (answer->message != NULL)
        outcome_trap(sandbox, HUSK_TRAP_HOST_FUNCTION, true, answer->message, outcome);
    else
        trap_of(sandbox, func, outcome, "failed: %s", husk_status_text(answer->status));
    return HOSTCALL_ENDED;
}
