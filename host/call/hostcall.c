/*
 * host/call/hostcall.c: a host call: index and arguments come from the mailbox (copied once, then
 * checked), the embedder's function runs, its results go back. A function that fails ends the
 * guest's call with a trap; nothing is poisoned.
 */
#include "hostcall.h"

#include <stdio.h>
#include <string.h>

#include "caller.h"
#include "clock.h"
#include "image.h"
#include "image_internal.h"
#include "name_text.h"
#include "outcome.h"
#include "sandbox_internal.h"
#include "values.h"

/* What the function's return means; true: its results count. */
static bool caller_finish(struct husk_caller *caller, const struct linked_func *func, int status,
                          const struct husk_value *results, struct husk_outcome *outcome) {
    husk_sandbox *sandbox = caller->sandbox;
    if (sandbox->is_poisoned)
        return true; /* a nested call was cut off; resume_after_host() ends this one */
    if (caller->end == CALLER_EXITED) {
        outcome_exit(sandbox, caller->exit_code, outcome);
        return false;
    }
    if (caller->end == CALLER_FAILED) {
        outcome_trap(sandbox, HUSK_TRAP_HOST_FUNCTION, true, caller->message, outcome);
        return false;
    }
    if (status != 0) {
        snprintf(caller->message, sizeof caller->message, "host function \"%s.%s\" failed: %s",
                 NAME_SHOWN(func->def->module), NAME_SHOWN(func->def->name),
                 husk_status_text(status));
        outcome_trap(sandbox, HUSK_TRAP_HOST_FUNCTION, true, caller->message, outcome);
        return false;
    }
    struct husk_error err;
    const struct husk_functype *type = func->type;
    if (values_check(type->results, type->results_count, results, type->results_count, "result",
                     &err) == 0)
        return true;
    snprintf(caller->message, sizeof caller->message,
             "host function \"%s.%s\" gave a bad result: %.80s", NAME_SHOWN(func->def->module),
             NAME_SHOWN(func->def->name), err.message);
    outcome_trap(sandbox, HUSK_TRAP_HOST_FUNCTION, true, caller->message, outcome);
    return false;
}

bool hostcall_serve(husk_sandbox *sandbox, struct husk_outcome *outcome) {
    struct husk_mailbox *mailbox = sandbox->machine->arena.mailbox;
    uint32_t idx = *(volatile uint32_t *)&mailbox->import_idx;
    if (idx >= sandbox->image->code->imported_count[HUSK_ABI_FUNC]) {
        outcome_violation(sandbox, outcome,
                          "the guest called host function %u, which does not exist", idx);
        return false;
    }
    const struct linked_func *func = &sandbox->link.linked[idx];
    const struct husk_functype *type = func->type;
    struct husk_value *args = sandbox->link.values + sandbox->calls.values_used;
    struct husk_value *results = args + type->params_count;
    uint32_t used = (uint32_t)(type->params_count + type->results_count);
    for (size_t i = 0; i < type->params_count; i++)
        args[i] = value_from_slot(type->params[i], &mailbox->host_slots[i]);
    for (size_t i = 0; i < type->results_count; i++) {
        memset(&results[i], 0, sizeof results[i]);
        results[i].type = type->results[i];
    }
    struct husk_caller caller;
    caller.sandbox = sandbox;
    caller.end = CALLER_GOES_ON;
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
        return false;
    for (size_t i = 0; i < type->results_count; i++)
        value_to_slot(&results[i], &mailbox->host_slots[i]);
    return true;
}
