/*
 * host/call/call.c: typed calls. Everything is checked before the guest runs. Arguments go to the
 * mailbox, run.c runs the guest, results come back. The first call runs the module's initialisation
 * if that has not run. Each step may become pending. Then pending.c goes on with that step, and
 * call_go_on() with the steps that follow.
 */
#include "call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "name_text.h"
#include "options.h"
#include "outcome.h"
#include "sandbox_internal.h"
#include "values.h"
#include "hot.h"

static uint64_t end_after(uint64_t now, uint64_t count) {
    return count > UINT64_MAX - 1 - now ? UINT64_MAX - 1 : now + count;
}

/* husk.h promises both numbers. A CPU limit is not meant for waiting, so the wait limit is
 * generous, but finite. */
static uint64_t wait_limit(uint64_t cpu_ns) {
    const uint64_t limit =
        cpu_ns > UINT64_MAX / LIMIT_WAIT_FACTOR ? UINT64_MAX : cpu_ns * LIMIT_WAIT_FACTOR;
    return limit < LIMIT_WAIT_MIN_NS ? LIMIT_WAIT_MIN_NS : limit;
}

RARE int call_limits_take(const struct husk_limits *options, struct call_limits *ret_limits,
                          struct husk_error *err) {
    struct husk_limits copy;
    int status = limits_read(options, &copy, err);
    if (status != 0)
        return status;
    ret_limits->wall_ns = copy.wall_ns;
    ret_limits->cpu_ns = copy.cpu_ns;
    ret_limits->passed = copy.passed;
    ret_limits->passed_user = copy.passed_user;
    ret_limits->interrupted = copy.interrupted;
    ret_limits->interrupted_user = copy.interrupted_user;
    const bool is_measured = copy.measure;
    if (copy.wall_ns != 0 || is_measured)
        ret_limits->wall_begin_ns = clock_ns(CLOCK_MONOTONIC);
    if (copy.cpu_ns != 0 || is_measured)
        ret_limits->cpu_begin_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    if (copy.interrupted != NULL && copy.interrupted_ns != 0) {
        ret_limits->ask_begin_ns = clock_ns(CLOCK_MONOTONIC);
        ret_limits->ask_every_ns = copy.interrupted_ns;
    }
    if (copy.wall_ns != 0)
        ret_limits->wall_end_ns = end_after(ret_limits->wall_begin_ns, copy.wall_ns);
    if (copy.cpu_ns != 0) {
        status = thread_cpu_clock(&ret_limits->cpu_clock, err);
        if (status != 0)
            return status;
        ret_limits->cpu_end_ns = end_after(ret_limits->cpu_begin_ns, copy.cpu_ns);
        ret_limits->wait_ns = copy.wall_ns != 0 ? UINT64_MAX : wait_limit(copy.cpu_ns);
    }
    status = copy.cancel != NULL ? cancel_check_process(copy.cancel, err) : 0;
    if (status == 0)
        ret_limits->cancel = husk_cancel_ref(copy.cancel);
    return status;
}

/* All but the size, and up to the message's end: bytes behind its NUL stay as they are, because to
 * fill them takes longer than all the rest. */
static inline void outcome_copy(const struct husk_outcome *outcome,
                                struct husk_outcome *ret_outcome) {
    enum { FROM = sizeof outcome->size, TO = offsetof(struct husk_outcome, message) };
    memcpy((uint8_t *)ret_outcome + FROM, (const uint8_t *)outcome + FROM, TO - FROM);
    ret_outcome->message[0] = 0;
    if (UNLIKELY(outcome->message[0] != 0))
        memcpy(ret_outcome->message, outcome->message, strlen(outcome->message) + 1);
}

HOT void call_give(const struct call_limits *limits, struct husk_outcome *outcome,
                   struct husk_outcome *ret_outcome) {
    if (UNLIKELY(limits->wall_begin_ns != UINT64_MAX))
        outcome->wall_ns = clock_ns(CLOCK_MONOTONIC) - limits->wall_begin_ns;
    if (UNLIKELY(limits->cpu_begin_ns != UINT64_MAX))
        outcome->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - limits->cpu_begin_ns;
    /* up to the message's end; zeros behind it */
    _Static_assert(offsetof(struct husk_outcome, message) + sizeof outcome->message ==
                       sizeof *outcome,
                   "what is behind the message is filled, too");
    if (LIKELY(ret_outcome->size == sizeof *outcome))
        outcome_copy(outcome, ret_outcome);
    else
        output_fill(ret_outcome, outcome,
                    offsetof(struct husk_outcome, message) + strlen(outcome->message) + 1);
}

HOT int call_check_state(const husk_sandbox *sandbox, struct husk_error *err) {
    int status = sandbox_check_usable(sandbox, err);
    if (status != 0)
        return status;
    if (sandbox->start == SANDBOX_START_FAILED)
        return error_set(
            err, HUSK_E_STATE,
            "the module's initialisation did not succeed, so nothing in it can be called");
    if (sandbox->calls.is_asking)
        return error_set(
            err, HUSK_E_STATE,
            "the guest is interrupted in mid-call: husk_limits.interrupted cannot call "
            "the same sandbox");
    if (sandbox->calls.depth > sandbox->machine->limits.host_call_depth_max)
        return error_set(err, HUSK_E_LIMIT,
                         "more than %u nested calls from host functions (host_call_depth_max)",
                         sandbox->machine->limits.host_call_depth_max);
    return 0;
}

/* A step has run: note its outcome. */
RARE static void step_ended(husk_sandbox *sandbox, enum call_step step,
                            const struct husk_outcome *outcome) {
    const bool did_run = outcome->is_poisoned ||
                         (outcome->kind != HUSK_INTERRUPTED && outcome->kind != HUSK_DEADLINE);
    if (outcome->kind == HUSK_PENDING)
        sandbox->calls.pending.step = step;
    else if (step == CALL_STEP_INIT && outcome->kind == HUSK_RETURNED)
        sandbox->start = SANDBOX_STARTED;
    else if (step == CALL_STEP_INIT && did_run)
        sandbox->start = SANDBOX_START_FAILED;
    else if (step == CALL_STEP_RESTORED && outcome->kind == HUSK_RETURNED)
        sandbox->owes_restored_call = false; /* a cut-off call may not have taken the entropy */
}

/* Run the module's initialisation. Returns 0 with an outcome; the sandbox may be called only if
 * that is HUSK_RETURNED. */
RARE static int start_run(husk_sandbox *sandbox, const struct call_limits *limits,
                          struct husk_outcome *ret_outcome, struct husk_error *err) {
    const struct husk_image_module *module = &sandbox->image->code->module;
    if ((sandbox->image->flags & HUSK_IMAGE_NEEDS_INIT) == 0) {
        sandbox->start = SANDBOX_STARTED;
        outcome_begin(ret_outcome, HUSK_RETURNED);
        return 0;
    }
    int status =
        run_call(sandbox, module->init_thunk_gva, module->init_gva, limits, ret_outcome, err);
    if (status != 0)
        return error_while(err, status, "initialising the module");
    step_ended(sandbox, CALL_STEP_INIT, ret_outcome);
    return 0;
}

int husk_sandbox_start(husk_sandbox *sandbox, const struct husk_limits *options,
                       struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_limits limits;
    struct husk_outcome outcome;
    if (sandbox == NULL || ret_outcome == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_start: a NULL argument");
    int status = output_check("husk_outcome", ret_outcome, err);
    if (status == 0)
        status = call_check_state(sandbox, err);
    if (status == 0 && sandbox->calls.frame != NULL)
        status = error_set(err, HUSK_E_STATE,
                           calls_stand_still(&sandbox->calls)
                               ? "a call is pending, so the sandbox cannot be started"
                               : "a host function cannot start the sandbox that called it");
    if (status == 0)
        status = call_limits_make(options, &limits, err);
    if (status != 0)
        return status;
    outcome_begin(&outcome, HUSK_RETURNED);
    if (sandbox->start != SANDBOX_STARTED)
        status = start_run(sandbox, &limits, &outcome, err);
    call_limits_done(&limits);
    if (status == 0)
        call_give(&limits, &outcome, ret_outcome);
    return status;
}

int sandbox_start_instance(husk_sandbox *sandbox, uint32_t instance_idx,
                           const struct husk_limits *options, struct husk_outcome *ret_outcome,
                           struct husk_error *err) {
    struct call_limits limits;
    int status = call_check_state(sandbox, err);
    if (status == 0 && instance_idx == 0 && sandbox->image->code->instances_count == 0)
        return husk_sandbox_start(sandbox, options, ret_outcome, err);
    if (status == 0 && sandbox->calls.frame != NULL)
        status = error_set(err, HUSK_E_STATE, "a call is running");
    if (status == 0 && instance_idx >= sandbox->image->code->instances_count)
        status = error_set(err, HUSK_E_INVAL, "the image has no instance %u", instance_idx);
    if (status == 0)
        status = call_limits_make(options, &limits, err);
    if (status != 0)
        return status;
    const struct image_code *code = sandbox->image->code;
    const uint32_t init_gva = code->instances[instance_idx].init_gva;
    struct husk_outcome outcome;
    outcome_begin(&outcome, HUSK_RETURNED);
    sandbox->start = SANDBOX_STARTED;
    if (init_gva != 0)
        status = run_call(sandbox, code->module.init_thunk_gva, init_gva, &limits, &outcome, err);
    call_limits_done(&limits);
    if (status == 0)
        call_give(&limits, &outcome, ret_outcome);
    return status;
}

/* Give fresh entropy to the module's husk_restored(), see image_find_restored(). */
RARE static int restored_run(husk_sandbox *sandbox, const struct call_limits *limits,
                             struct husk_outcome *ret_outcome, struct husk_error *err) {
    const struct image_code *code = sandbox->image->code;
    const husk_func func = image_func_make(code, code->restored_idx);
    uint64_t entropy[2];
    if (getrandom(entropy, sizeof entropy, 0) != (ssize_t)sizeof entropy)
        return error_sys(err, errno, "no entropy for husk_restored()");
    struct husk_slot *slots = sandbox->machine->arena.mailbox->call_slots;
    hotset_host_writes(&sandbox->machine->hotset, slots, 2 * sizeof *slots);
    for (int i = 0; i < 2; i++)
        memcpy(&slots[i], &entropy[i], sizeof entropy[i]);
    const struct husk_image_func *row = image_func_callable(code, func);
    int status = row == NULL ? image_func_refuse(code, func, err) : 0;
    if (status == 0)
        status = run_call(sandbox, code->types[row->type_idx].thunk_gva, row->code_gva, limits,
                          ret_outcome, err);
    if (status == 0)
        step_ended(sandbox, CALL_STEP_RESTORED, ret_outcome);
    return status != 0 ? error_while(err, status, "calling husk_restored()") : 0;
}

int call_restored(husk_sandbox *sandbox, const struct call_limits *limits,
                  struct husk_outcome *ret_outcome, struct husk_error *err) {
    return sandbox->owes_restored_call ? restored_run(sandbox, limits, ret_outcome, err) : 0;
}

/* Run the functions that must run before the call itself. 0 and another outcome than HUSK_RETURNED:
 * do not make the call. */
static inline int prepare_run(husk_sandbox *sandbox, const struct call_limits *limits,
                              struct husk_outcome *ret_outcome, struct husk_error *err) {
    int status = 0;
    outcome_begin(ret_outcome, HUSK_RETURNED);
    if (UNLIKELY(sandbox->calls.frame != NULL)) /* a nested call: the outer call did that */
        return call_is_brought(&sandbox->calls) ? call_restored(sandbox, limits, ret_outcome, err)
                                                : 0;
    if (UNLIKELY(sandbox->start == SANDBOX_NOT_STARTED))
        status = start_run(sandbox, limits, ret_outcome, err);
    if (UNLIKELY(status == 0 && ret_outcome->kind == HUSK_RETURNED && sandbox->owes_restored_call))
        status = restored_run(sandbox, limits, ret_outcome, err);
    return status;
}

/* Check a call, after call_check_state(). ret_row: the function's row. */
HOT static int check_call(const husk_sandbox *sandbox, const struct call_request *request,
                          const struct husk_image_func **ret_row, struct husk_error *err) {
    const struct husk_image_func *row = image_func_callable(sandbox->image->code, request->func);
    if (row == NULL)
        return image_func_refuse(sandbox->image->code, request->func, err);
    struct husk_functype type = image_functype(sandbox->image->code, row->type_idx);
    int status = values_check(type.params, type.params_count, request->args, request->args_count,
                              "argument", err);
    if (status == 0 && request->results_count != type.results_count)
        status = error_set(err, HUSK_E_TYPE, "room for %zu results given; the function has %zu",
                           request->results_count, type.results_count);
    *ret_row = row;
    return status;
}

/* The call itself: the last step. */
static inline int export_run(husk_sandbox *sandbox, const struct call_request *request,
                             const struct husk_image_func *row, struct husk_outcome *ret_outcome,
                             struct husk_error *err) {
    const uint64_t thunk_gva = sandbox->image->code->types[row->type_idx].thunk_gva;
    struct husk_slot *slots = sandbox->machine->arena.mailbox->call_slots;
    if (request->args_count > 0)
        hotset_host_writes(&sandbox->machine->hotset, slots, request->args_count * sizeof *slots);
    for (size_t i = 0; i < request->args_count; i++)
        value_to_slot(&request->args[i], &slots[i]);
    return run_call(sandbox, thunk_gva, row->code_gva, request->limits, ret_outcome, err);
}

static inline void export_results(const husk_sandbox *sandbox, const struct husk_image_func *row,
                                  struct husk_value *results) {
    const struct husk_slot *slots = sandbox->machine->arena.mailbox->call_slots;
    const struct husk_functype type = image_functype(sandbox->image->code, row->type_idx);
    for (size_t i = 0; i < type.results_count; i++)
        results[i] = value_from_slot(type.results[i], &slots[i]);
}

void call_drop_pending(husk_sandbox *sandbox, struct husk_outcome *outcome) {
    outcome_trap(sandbox, HUSK_TRAP_HOST_FUNCTION, true,
                 "a host function is pending, and there is no memory to keep the call", outcome);
    step_ended(sandbox, sandbox->calls.pending.step, outcome);
    stat_count(sandbox->tally, STAT_traps);
    calls_abandon(&sandbox->calls, sandbox->engine);
}

/* The call is pending, in one of its steps. Keep the arguments if they are still needed: the
 * caller's are gone when the call goes on. */
__attribute__((noinline)) static void call_keep(husk_sandbox *sandbox,
                                                const struct call_request *request,
                                                const struct husk_image_func *row,
                                                struct husk_outcome *outcome) {
    struct call_pending *pending = &sandbox->calls.pending;
    pending->row = row;
    if (pending->step == CALL_STEP_EXPORT || request->args_count == 0)
        return;
    pending->args = malloc(request->args_count * sizeof *pending->args);
    if (pending->args == NULL) {
        call_drop_pending(sandbox, outcome);
        return;
    }
    memcpy(pending->args, request->args, request->args_count * sizeof *pending->args);
    pending->args_count = request->args_count;
}

/* Take the steps up to the call itself, or until one does not return: see the outcome. */
static inline int steps_run(husk_sandbox *sandbox, const struct call_request *request,
                            const struct husk_image_func *row, struct husk_outcome *ret_outcome,
                            struct husk_error *err) {
    int status = prepare_run(sandbox, request->limits, ret_outcome, err);
    if (UNLIKELY(status != 0 || ret_outcome->kind != HUSK_RETURNED))
        return status;
    status = export_run(sandbox, request, row, ret_outcome, err);
    if (UNLIKELY(status == 0 && ret_outcome->kind != HUSK_RETURNED))
        step_ended(sandbox, CALL_STEP_EXPORT, ret_outcome);
    return status;
}

HOT static int call_checked(husk_sandbox *sandbox, const struct call_request *request,
                            const struct husk_image_func *row, struct husk_outcome *ret_outcome,
                            struct husk_error *err) {
    int status = steps_run(sandbox, request, row, ret_outcome, err);
    if (LIKELY(status == 0 && ret_outcome->kind == HUSK_RETURNED)) {
        if (request->results_count > 0)
            export_results(sandbox, row, request->results);
    } else if (status == 0 && ret_outcome->kind == HUSK_PENDING)
        call_keep(sandbox, request, row, ret_outcome);
    return status;
}

int call_go_on(husk_sandbox *sandbox, struct husk_value *results, struct husk_outcome *ret_outcome,
               struct husk_error *err) {
    const struct call_pending *pending = &sandbox->calls.pending;
    const struct call_request request = {
        .args = pending->args, .args_count = pending->args_count, .limits = &pending->limits};
    int status = 0;
    step_ended(sandbox, pending->step, ret_outcome);
    if (pending->row == NULL || ret_outcome->kind != HUSK_RETURNED)
        return 0;
    if (pending->step != CALL_STEP_EXPORT)
        status = steps_run(sandbox, &request, pending->row, ret_outcome, err);
    if (status == 0 && ret_outcome->kind == HUSK_RETURNED)
        export_results(sandbox, pending->row, results);
    return status;
}

int call_within(husk_sandbox *sandbox, const struct call_request *request,
                struct husk_outcome *ret_outcome, struct husk_error *err) {
    const struct husk_image_func *row = NULL;
    int status = call_check_state(sandbox, err);
    if (status == 0)
        status = check_call(sandbox, request, &row, err);
    return status != 0 ? status : call_checked(sandbox, request, row, ret_outcome, err);
}

RARE int call_find_name(const husk_sandbox *sandbox, const struct husk_call *call,
                        husk_func *ret_func, struct husk_error *err) {
    if (call->func.opaque[0] != 0 || call->func.opaque[1] != 0)
        return error_set(err, HUSK_E_INVAL, "both a name and a husk_func are given");
    return husk_image_func(sandbox->image, call->name, call->name_bytes, ret_func, err);
}

HOT int call_explain(const struct husk_call *call, const char *how, int status,
                     struct husk_error *err) {
    struct name_text shown;
    if (status == 0 || call->name == NULL)
        return status;
    name_show(&shown, call->name, name_length(call->name, call->name_bytes));
    return error_while(err, status, "calling \"%s\"%s", shown.text, how);
}

HOT static int call_run(husk_sandbox *sandbox, const struct husk_call *call,
                        struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_limits limits;
    struct husk_outcome outcome;
    const struct husk_image_func *row = NULL;
    struct call_request request = {.args = call->args,
                                   .args_count = call->args_count,
                                   .results = call->results,
                                   .results_count = call->results_count,
                                   .limits = &limits};
    int status = call_check_state(sandbox, err);
    if (status == 0)
        status = call_find(sandbox, call, &request.func, err);
    if (status == 0)
        status = check_call(sandbox, &request, &row, err);
    if (status == 0)
        status = call_limits_make(call->limits, &limits, err);
    if (UNLIKELY(status != 0))
        return status;
    limits.is_single = true;
    status = call_checked(sandbox, &request, row, &outcome, err);
    call_limits_done(&limits);
    if (LIKELY(status == 0))
        call_give(&limits, &outcome, ret_outcome);
    return status;
}

HOT FLAT int husk_call(husk_sandbox *sandbox, const struct husk_call *call,
                       struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct husk_call copy;
    if (sandbox == NULL || call == NULL || ret_outcome == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_call: a NULL argument");
    int status = 0;
    if (UNLIKELY(ret_outcome->size != sizeof *ret_outcome))
        status = output_check("husk_outcome", ret_outcome, err);
    if (UNLIKELY(status == 0 && call->size != sizeof *call)) {
        status = call_read(call, &copy, err);
        call = &copy;
    }
    if (UNLIKELY(status == 0 && call_lacks_values(call)))
        status = error_set(err, HUSK_E_INVAL, "husk_call: args or results are NULL");
    if (UNLIKELY(status != 0))
        return status;
    status = call_run(sandbox, call, ret_outcome, err);
    return LIKELY(status == 0) ? 0 : call_explain(call, "", status, err);
}

void husk_interrupt(husk_sandbox *sandbox) {
    atomic_store(&sandbox->calls.is_interrupted, true);
    kicker_kick(&sandbox->machine->kicker);
}

/* ---- for calls that make several ---- */

HOT int call_prepare(husk_sandbox *sandbox, const struct call_request *request,
                     const struct husk_image_func *row, struct husk_outcome *ret_outcome,
                     struct husk_error *err) {
    int status = prepare_run(sandbox, request->limits, ret_outcome, err);
    if (status == 0 && ret_outcome->kind == HUSK_PENDING)
        call_keep(sandbox, request, row, ret_outcome);
    return status;
}

HOT void *call_exchange(const husk_sandbox *sandbox, uint64_t routine_gva) {
    const struct husk_image_routines *routines = &sandbox->image->code->routines;
    for (const struct call_frame *frame = sandbox->calls.frame; frame != NULL;
         frame = frame->parent)
        if (frame->thunk_gva == routines->many_gva || frame->thunk_gva == routines->bytes_gva)
            return NULL;
    return routine_gva != 0 ? sandbox->machine->arena.mailbox->exchange : NULL;
}

HOT int call_routine(husk_sandbox *sandbox, const struct call_routine *routine,
                     struct husk_outcome *ret_outcome, struct husk_error *err) {
    int status =
        run_call(sandbox, routine->gva, routine->code_gva, routine->limits, ret_outcome, err);
    if (status == 0 && ret_outcome->kind != HUSK_RETURNED)
        step_ended(sandbox, CALL_STEP_EXPORT, ret_outcome);
    if (status == 0 && ret_outcome->kind == HUSK_PENDING)
        sandbox->calls.pending.row = routine->row;
    return status;
}

const struct husk_image_func *call_row(const husk_sandbox *sandbox, husk_func func) {
    return image_func_callable(sandbox->image->code, func);
}
