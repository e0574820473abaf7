/*
 * host/call/run.c: the run loop. A call is one run of the vCPU, without any other system call,
 * unless the guest asks for something.
 *
 * A deadline (of the call, or of a call around it), husk_interrupt() and the cancel token can cut a
 * call off. Each sets a flag and kicks the VM. The run loop looks at the flags after the thread has
 * said that it runs (kicker_enter), and after every run that was kicked. So no order of events
 * loses a kick.
 *
 * A call may have a function that decides whether an interrupted run goes on
 * (husk_limits.interrupted). It is asked after every run that was kicked, and before a run if the
 * watchdog has left a note.
 */
#include "run.h"

#include <stdio.h>

#include "clock.h"
#include "error.h"
#include "exceptions.h"
#include "hostcall.h"
#include "image_internal.h"
#include "mailbox.h"
#include "outcome.h"
#include "ports.h"
#include "sandbox_internal.h"
#include "vm_start.h"
#include "trap.h"
#include "hot.h"

RARE static bool cut_by_any(husk_sandbox *sandbox, bool did_run, struct husk_outcome *outcome) {
    struct call_state *calls = &sandbox->calls;
    const struct watch *due = calls_due(calls);
    const bool is_cancelled = due == NULL && calls_are_cancelled(calls);
    if (due == NULL && !is_cancelled && !atomic_load(&calls->is_interrupted))
        return false;
    if (due == NULL && !is_cancelled && calls->frame->parent == NULL)
        atomic_store(&calls->is_interrupted, false);
    outcome_cut(sandbox, due, did_run, outcome);
    return true;
}

/* True: a deadline, a token or an interrupt must end the innermost call, and the outcome says so.
 * The outermost call takes the interrupt. An inner call leaves it for the calls around it, because
 * they must end, too. Most calls have no limits, and no calls around them. */
HOT static bool cut_off(husk_sandbox *sandbox, bool did_run, struct husk_outcome *outcome) {
    const struct call_state *calls = &sandbox->calls;
    const struct call_frame *frame = calls->frame;
    const bool may_be_cut =
        (frame->parent != NULL) | frame->is_watched | frame->must_end | (frame->cancel != NULL);
    return UNLIKELY(may_be_cut || atomic_load(&calls->is_interrupted)) &&
           cut_by_any(sandbox, did_run, outcome);
}

/* Set the registers with which the innermost call starts. */
HOT static void set_start_regs(husk_sandbox *sandbox) {
    const struct call_frame *frame = sandbox->calls.frame, *parent = frame->parent;
    const struct vm_start start = {.ticket = sandbox->engine->entry_ticket,
                                   .entry_gva = sandbox->image->code->module.entry_gva,
                                   .thunk_gva = frame->thunk_gva,
                                   .code_gva = frame->code_gva,
                                   .stack_gva = parent != NULL ? vm_regs_free_stack(&parent->regs)
                                                               : HUSK_STACK_TOP_GVA};
    struct vm_regs regs;
    vm_regs_start(&start, &regs);
    machine_set_regs(sandbox->machine, &regs);
}

/* Serve a request of the guest. The request is copied once. */
RARE static bool serve_service(husk_sandbox *sandbox, struct husk_outcome *outcome) {
    volatile struct husk_mailbox *mailbox = sandbox->machine->arena.mailbox;
    uint32_t op = mailbox->service_op;
    uint64_t idx = mailbox->service_arg[0], arg = mailbox->service_arg[1];
    hotset_host_writes(&sandbox->machine->hotset, sandbox->machine->arena.mailbox,
                       sizeof mailbox->service_ret); /* its first page */
    switch (op) {
    case HUSK_SERVICE_MEMORY_GROW:
        mailbox->service_ret = sandbox_memory_grow(sandbox, idx, arg);
        return true;
    case HUSK_SERVICE_TABLE_GROW:
        mailbox->service_ret = sandbox_table_grow(sandbox, idx, arg);
        return true;
    case HUSK_SERVICE_ATOMIC_WAIT:
        sandbox_sleep(sandbox, (int64_t)arg);
        mailbox->service_ret = HUSK_ATOMIC_WAIT_TIMED_OUT;
        return !cut_off(sandbox, true, outcome);
    default:
        outcome_violation(sandbox, outcome, "the guest asked for service %u, which does not exist",
                          op);
        return false;
    }
}

/* Go on after a host function. A call that it made may have ended so that this call must end,
 * too. */
RARE static bool resume_after_host(husk_sandbox *sandbox, struct call_frame *frame,
                                   enum hostcall_next next, struct husk_outcome *outcome) {
    const struct husk_image_module *module = &sandbox->image->code->module;
    /* A wait may have seen the flag before the kick came. The guest must not see how it ended. */
    if (!frame->was_nested && next == HOSTCALL_RETURNS)
        return !cut_off(sandbox, true, outcome);
    if (sandbox->is_poisoned) {
        outcome_cut_inside(sandbox, outcome);
        return false;
    }
    if (!frame->was_nested)
        machine_get_regs(sandbox->machine, &frame->regs);
    frame->was_nested = false;
    calls_forget_end(&sandbox->calls);
    const uint64_t pc = next == HOSTCALL_THROWS ? module->throw_gva : module->resume_gva;
    if (frame->was_brought)
        vm_regs_reenter(&frame->regs, sandbox->engine->entry_ticket, pc, &frame->regs);
    else
        vm_regs_set_pc(&frame->regs, pc);
    machine_set_regs(sandbox->machine, &frame->regs);
    return !cut_off(sandbox, true, outcome);
}

/* To ask after each of the embedder's functions. False: it has forked, and this is the child. Its
 * registers are in a page that it shares with the parent, so they must stay as they are. */
static bool is_ours(const husk_sandbox *sandbox) {
    return sandbox->engine->process == process_number_again();
}

RARE static bool serve_host_call(husk_sandbox *sandbox, struct call_frame *frame,
                                 struct husk_outcome *outcome) {
    const enum hostcall_next next = hostcall_serve(sandbox, outcome);
    if (!is_ours(sandbox))
        return false;
    if (next != HOSTCALL_ENDED)
        return resume_after_host(sandbox, frame, next, outcome);
    if (outcome->kind == HUSK_PENDING)
        cut_off(sandbox, true, outcome);
    return false;
}

/* True: go on running. False: the call ended. */
HOT static inline bool serve_port(husk_sandbox *sandbox, struct call_frame *frame, uint8_t port,
                                  struct husk_outcome *outcome) {
    if (LIKELY(port == HUSK_PORT_CALL_DONE)) {
        outcome_begin(outcome, HUSK_RETURNED);
        return false;
    }
    switch (port) {
    case HUSK_PORT_HOST_CALL: return serve_host_call(sandbox, frame, outcome);
    case HUSK_PORT_SERVICE: return serve_service(sandbox, outcome);
    case HUSK_PORT_UNCAUGHT: exception_uncaught(sandbox, outcome); return false;
    default:
        outcome_violation(sandbox, outcome, "the guest wrote to port 0x%x", port);
        return false;
    }
}

/* True: the run ended before the entry page let the guest go. */
RARE static bool is_before_guest(const husk_sandbox *sandbox) {
    struct vm_regs regs;
    machine_get_regs(sandbox->machine, &regs);
    return vm_regs_are_before_guest(&regs, sandbox->engine->entry_ticket);
}

/* A run was kicked: by a deadline or an interrupt, by a kick that came too late for its call, or by
 * an unrelated signal. */
RARE static bool serve_kick(husk_sandbox *sandbox, struct husk_outcome *outcome) {
    const struct call_frame *frame = sandbox->calls.frame;
    if (frame->has_to_ask && !sandbox_is_cut(sandbox))
        calls_ask(&sandbox->calls);
    const bool did_run = !is_before_guest(sandbox) || frame->parent != NULL || frame->was_brought;
    return !cut_off(sandbox, did_run, outcome);
}

/* True: the run failed on entry. Then the machine is at fault, whoever used it before. */
static bool has_failed_on_entry(const husk_sandbox *sandbox, const struct vm_exit *exit) {
    return (exit->kind == VM_EXIT_EXCEPTION || exit->kind == VM_EXIT_VIOLATION) &&
           is_before_guest(sandbox);
}

/* The reasons for which a call has begun again. Each reason may do so once. */
struct entries {
    bool was_debug, was_renewed;
};

/* True: this is a debug exception that the previous guest left pending. VMX keeps it in the VMCS,
 * where no ioctl reaches it. It comes at the first instruction, and then it is gone. Ring 3 should
 * not be able to leave one: only an exit right after MOV SS saves one (SDM vol. 3C, section
 * 28.3.4). But Bochs 2.7 saves one at every exit on a single-stepped instruction, and KVM may run
 * on an emulator. */
static bool is_left_debug(const husk_sandbox *sandbox, const struct vm_exit *exit) {
    struct vm_regs regs;
    machine_get_regs(sandbox->machine, &regs);
    return exit->kind == VM_EXIT_EXCEPTION && exit->fault.kind == VM_FAULT_DEBUG &&
           vm_regs_are_at_start(&regs);
}

/* Replace a VM that failed, once. If a second VM fails, the tenant is not to blame. */
static int machine_replace(husk_sandbox *sandbox, const struct vm_exit *exit, bool *was_renewed,
                           struct husk_error *err) {
    char what[sizeof exit->detail + 32];
    if (exit->kind == VM_EXIT_EXCEPTION)
        snprintf(what, sizeof what, "CPU exception %u (error code 0x%x)", exit->fault.number,
                 exit->fault.code);
    else
        snprintf(what, sizeof what, "%s", exit->detail);
    if (*was_renewed)
        return error_set(err, HUSK_E_SYS, "two VMs failed before they let the guest go: %s", what);
    *was_renewed = true;
    engine_log(sandbox->engine, HUSK_LOG_WARNING,
               "a VM failed before it let the guest go, and is replaced: %s", what);
    int status = machine_renew(sandbox->machine, err);
    return status == 0
               ? 0
               : error_while(err, status,
                             "replacing a VM that failed before it let the guest go (%s)", what);
}

/* No instruction of the guest ran, so begin the call again. If the VM is at fault, use another
 * one. */
RARE static int begin_anew(husk_sandbox *sandbox, const struct vm_exit *exit,
                           struct entries *entries, struct husk_error *err) {
    int status = 0;
    if (!entries->was_debug && is_left_debug(sandbox, exit))
        entries->was_debug = true;
    else
        status = machine_replace(sandbox, exit, &entries->was_renewed, err);
    if (status != 0)
        return status;
    if (sandbox->calls.frame->was_brought)
        machine_set_regs(sandbox->machine, &sandbox->calls.frame->regs);
    else
        set_start_regs(sandbox);
    return 0;
}

/* Check that the VM did not fail: after a failure, no outcome comes from the guest. Nor does one in
 * a child made by fork(). */
static int check_vm(const husk_sandbox *sandbox, struct husk_error *err) {
    const int status = engine_check_process(sandbox->engine, err);
    if (UNLIKELY(status != 0))
        return status;
    if (LIKELY(!sandbox->is_poisoned || sandbox->poisoned_by != POISON_VM_FAILURE))
        return 0;
    return error_set(
        err, HUSK_E_SYS,
        "a call made by a host function could not run the guest; the sandbox is poisoned");
}

/* Run the guest of a call that has somebody to ask, unless it is time to ask, or somebody who was
 * asked in a host function has said no: that is no kick, so the run would not end by itself. */
RARE static int run_asking(husk_sandbox *sandbox, struct vm_exit *ret_exit,
                           struct husk_error *err) {
    struct call_state *calls = &sandbox->calls;
    int status = 0;
    atomic_store(&calls->is_inside, true);
    if (calls_must_ask(calls) || sandbox_is_cut(sandbox))
        ret_exit->kind = VM_EXIT_KICKED;
    else
        status = machine_run(sandbox->machine, ret_exit, err);
    atomic_store(&calls->is_inside, false);
    return status;
}

HOT static inline int run_until_end(husk_sandbox *sandbox, struct call_frame *frame,
                                    struct husk_outcome *outcome, struct husk_error *err) {
    struct entries entries = {false, false};
    for (bool goes_on = true; goes_on;) {
        struct vm_exit exit;
        int status = UNLIKELY(frame->has_to_ask) ? run_asking(sandbox, &exit, err)
                                                 : machine_run(sandbox->machine, &exit, err);
        if (LIKELY(status == 0 && exit.kind == VM_EXIT_PORT)) {
            goes_on = serve_port(sandbox, frame, exit.port, outcome);
            continue;
        }
        if (status == 0 && has_failed_on_entry(sandbox, &exit)) {
            status = begin_anew(sandbox, &exit, &entries, err);
            exit.kind = VM_EXIT_KICKED; /* the old VM may have got a kick */
        }
        if (status != 0) {
            sandbox_poison(sandbox, POISON_VM_FAILURE);
            sandbox->machine->has_failed_vm = true;
            return error_while(err, status, "running the guest; the sandbox is poisoned");
        }
        switch (exit.kind) {
        case VM_EXIT_PORT: break; /* see above */
        case VM_EXIT_KICKED: goes_on = serve_kick(sandbox, outcome) && is_ours(sandbox); break;
        case VM_EXIT_EXCEPTION:
            trap_classify(sandbox, &exit.fault, outcome);
            goes_on = false;
            break;
        case VM_EXIT_VIOLATION:
            outcome_violation(sandbox, outcome, "guest violation: %s", exit.detail);
            goes_on = false;
            break;
        }
    }
    return check_vm(sandbox, err);
}

HOT static void count_outcome(husk_sandbox *sandbox, enum husk_outcome_kind kind) {
    static const enum engine_stat stats[] = {[HUSK_TRAPPED] = STAT_traps,
                                             [HUSK_EXITED] = STAT_exits,
                                             [HUSK_DEADLINE] = STAT_deadlines,
                                             [HUSK_INTERRUPTED] = STAT_interrupts,
                                             [HUSK_GUEST_VIOLATION] = STAT_guest_violations,
                                             [HUSK_THREW] = STAT_uncaught_exceptions};
    if (UNLIKELY(kind != HUSK_RETURNED && kind != HUSK_PENDING))
        stat_count(sandbox->tally, stats[kind]);
}

/* Begin the period in which the call must ask. Several short calls may have one: if all of them
 * together have taken so long, this one asks at once. */
static void frame_ask_times(const husk_sandbox *sandbox, struct watch *watch,
                            const struct call_limits *limits) {
    const uint64_t every_ns = limits->ask_every_ns, asked_at_ns = sandbox->calls.asked_at_ns;
    watch->ask_at_ns = watch->ask_every_ns = every_ns;
    atomic_init(&watch->must_ask, false);
    if (every_ns == UINT64_MAX)
        return;
    const uint64_t now = clock_ns(CLOCK_MONOTONIC);
    const uint64_t begin_ns =
        asked_at_ns > limits->ask_begin_ns ? asked_at_ns : limits->ask_begin_ns;
    const bool must_ask = now - begin_ns >= every_ns;
    atomic_store(&watch->must_ask, must_ask);
    watch->ask_at_ns = clock_later(must_ask ? now : begin_ns, every_ns);
}

RARE static int frame_watch(husk_sandbox *sandbox, struct call_frame *frame,
                            const struct call_limits *limits, struct husk_error *err) {
    struct watch *watch = &frame->watch;
    watch->kicker = &sandbox->machine->kicker;
    watch->wall_end_ns = limits->wall_end_ns;
    watch->cpu_end_ns = limits->cpu_end_ns;
    watch->cpu_clock = limits->cpu_clock;
    watch->wall_ns = limits->wall_ns;
    watch->cpu_ns = limits->cpu_ns;
    watch->due_by = HUSK_LIMIT_NONE;
    atomic_init(&watch->is_due, false);
    watch->wait_left_ns = limits->wait_ns;
    atomic_init(&watch->wait_end_ns, UINT64_MAX);
    watch->passed = limits->passed;
    watch->passed_user = limits->passed_user;
    watch->is_inside = &sandbox->calls.is_inside;
    frame_ask_times(sandbox, watch, limits);
    return watchdog_add(&sandbox->engine->watchdog, watch, err);
}

/* Begin the limits of the frame. Those of a pending call around it begin, too, because they count
 * this thread's time. */
HOT static int frame_limit(husk_sandbox *sandbox, struct call_frame *frame,
                           const struct call_limits *limits, struct husk_error *err) {
    struct call_state *calls = &sandbox->calls;
    struct watchdog *watchdog = &sandbox->engine->watchdog;
    const bool is_inside = calls_stand_still(calls);
    int status = UNLIKELY(is_inside) ? calls_unpark(calls, watchdog, err) : 0;
    if (UNLIKELY(status != 0))
        return status;
    frame->is_watched = limits->wall_end_ns != UINT64_MAX || limits->cpu_end_ns != UINT64_MAX ||
                        limits->ask_every_ns != UINT64_MAX;
    frame->interrupted = limits->interrupted;
    frame->interrupted_user = limits->interrupted_user;
    frame->has_to_ask =
        frame->interrupted != NULL || (frame->parent != NULL && frame->parent->has_to_ask);
    status = UNLIKELY(frame->is_watched) ? frame_watch(sandbox, frame, limits, err) : 0;
    if (UNLIKELY(status != 0)) {
        frame->is_watched = false; /* it may be the pending call's, which stays */
        if (is_inside)
            calls_park(calls, watchdog, false);
        return status;
    }
    frame->cancel = limits->cancel;
    if (UNLIKELY(frame->cancel != NULL)) {
        frame->cancel_entry.kicker = &sandbox->machine->kicker;
        cancel_enter(frame->cancel, &frame->cancel_entry);
    }
    return 0;
}

/* The pending call, or one inside it, is about to run in a parked sandbox. */
static inline bool needs_new_vm(const struct call_state *calls) {
    return calls->is_pending && !calls->outermost.was_brought;
}

HOT static int frame_enter(husk_sandbox *sandbox, struct call_frame *frame,
                           const struct call_limits *limits, struct husk_error *err) {
    struct call_frame *parent = sandbox->calls.frame;
    int status = engine_check_process(sandbox->engine, err);
    if (status == 0)
        status = machine_unpark(sandbox->machine, needs_new_vm(&sandbox->calls), err);
    if (UNLIKELY(status != 0))
        return status;
    frame->parent = parent;
    frame->ran_ns = 0;
    frame->was_nested = frame->was_brought = frame->must_end = false;
    frame->is_single = limits->is_single;
    status = frame_limit(sandbox, frame, limits, err);
    if (UNLIKELY(status != 0))
        return status;
    frame->kicked_before = kicker_enter(&sandbox->machine->kicker);
    sandbox_keep_regs(sandbox);
    sandbox->calls.frame = frame;
    sandbox->calls.depth++;
    return 0;
}

/* Leave the innermost frame. */
HOT static void frame_leave(husk_sandbox *sandbox) {
    struct call_state *calls = &sandbox->calls;
    struct watchdog *watchdog = &sandbox->engine->watchdog;
    const uint64_t kicked_before = calls->frame->kicked_before;
    calls_pop(calls, watchdog);
    kicker_leave(&sandbox->machine->kicker, kicked_before);
    if (UNLIKELY(calls_stand_still(calls)))
        calls_park(calls, watchdog, false);
}

/* The call is pending: the guest stands still, and this thread may leave. `limits` are the call's,
 * or those kept since it was pending before. */
__attribute__((noinline)) static void frame_pend(husk_sandbox *sandbox,
                                                 const struct call_limits *limits) {
    struct call_state *calls = &sandbox->calls;
    kicker_leave(&sandbox->machine->kicker, calls->outermost.kicked_before);
    if (limits != &calls->pending.limits) {
        calls->pending.limits = *limits;
        husk_cancel_ref(limits->cancel);
    }
    calls->is_pending = true;
    calls_park(calls, &sandbox->engine->watchdog, true);
}

/* End a run of the innermost frame. */
static inline int run_end(husk_sandbox *sandbox, const struct call_limits *limits, int status,
                          struct husk_outcome *outcome) {
    if (UNLIKELY(status == 0 && outcome->kind == HUSK_PENDING)) {
        frame_pend(sandbox, limits);
        return 0;
    }
    const uint64_t ran_ns = sandbox->calls.frame->ran_ns;
    if (UNLIKELY(ran_ns != 0))
        stat_measure(sandbox->tally, HUSK_HISTOGRAM_CALL, ran_ns);
    frame_leave(sandbox);
    if (status == 0)
        count_outcome(sandbox, outcome->kind);
    return status;
}

static inline int run_frame(husk_sandbox *sandbox, struct call_frame *frame,
                            struct husk_outcome *outcome, struct husk_error *err) {
    const bool is_measured = sandbox->engine->measures_times;
    const uint64_t start_ns = UNLIKELY(is_measured) ? clock_ns(CLOCK_MONOTONIC) : 0;
    int status = run_until_end(sandbox, frame, outcome, err);
    if (UNLIKELY(status != 0))
        calls_forget_end(&sandbox->calls);
    if (UNLIKELY(is_measured))
        frame->ran_ns += clock_ns(CLOCK_MONOTONIC) - start_ns;
    return status;
}

HOT FLAT int run_call(husk_sandbox *sandbox, uint64_t thunk_gva, uint64_t code_gva,
                      const struct call_limits *limits, struct husk_outcome *ret_outcome,
                      struct husk_error *err) {
    struct call_frame nested;
    struct call_frame *frame = sandbox->calls.frame == NULL ? &sandbox->calls.outermost : &nested;
    frame->thunk_gva = thunk_gva;
    frame->code_gva = code_gva;
    int status = frame_enter(sandbox, frame, limits, err);
    if (UNLIKELY(status != 0))
        return status;
    calls_forget_end(&sandbox->calls);
    stat_count(sandbox->tally, STAT_calls);
    if (LIKELY(!cut_off(sandbox, false, ret_outcome))) {
        set_start_regs(sandbox);
        status = run_frame(sandbox, frame, ret_outcome, err);
    }
    return run_end(sandbox, limits, status, ret_outcome);
}

/* Serve the pending host call with the answer. False: the call ended instead. */
static bool answer_pending(husk_sandbox *sandbox, const struct husk_answer *answer,
                           struct husk_outcome *outcome) {
    struct call_frame *frame = &sandbox->calls.outermost;
    sandbox->calls.values_used = 0;
    if (sandbox->is_poisoned)
        return resume_after_host(sandbox, frame, HOSTCALL_RETURNS, outcome);
    if (cut_off(sandbox, true, outcome))
        return false;
    const enum hostcall_next next = hostcall_answer(sandbox, answer, outcome);
    if (next != HOSTCALL_ENDED)
        return resume_after_host(sandbox, frame, next, outcome);
    if (outcome->kind == HUSK_PENDING) /* it was called again */
        cut_off(sandbox, true, outcome);
    return false;
}

/* The call's limits run. Go on with it. */
static int run_unparked(husk_sandbox *sandbox, const struct husk_answer *answer,
                        struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_state *calls = &sandbox->calls;
    struct call_frame *frame = &calls->outermost;
    calls->is_pending = false;
    calls_forget_end(calls);
    frame->kicked_before = kicker_enter(&sandbox->machine->kicker);
    int status = answer_pending(sandbox, answer, ret_outcome)
                     ? run_frame(sandbox, frame, ret_outcome, err)
                     : check_vm(sandbox, err);
    return run_end(sandbox, &calls->pending.limits, status, ret_outcome);
}

int run_resume(husk_sandbox *sandbox, const struct husk_answer *answer,
               struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_state *calls = &sandbox->calls;
    struct call_frame *frame = &calls->outermost;
    struct call_limits *limits = &calls->pending.limits;
    int status = machine_unpark(sandbox->machine, needs_new_vm(calls), err);
    if (status == 0)
        status = calls_unpark(calls, &sandbox->engine->watchdog, err);
    if (status != 0)
        return status;
    if (frame->is_watched) { /* for the steps that follow */
        limits->cpu_clock = frame->watch.cpu_clock;
        limits->cpu_end_ns = frame->watch.cpu_end_ns;
        limits->wait_ns = frame->watch.wait_left_ns;
    }
    return run_unparked(sandbox, answer, ret_outcome, err);
}

/* Begin the limits of a pending call that has none. Takes them over on success. */
static int limits_begin(husk_sandbox *sandbox, struct call_limits *take_limits,
                        struct husk_error *err) {
    struct call_state *calls = &sandbox->calls;
    int status = frame_limit(sandbox, &calls->outermost, take_limits, err);
    if (status != 0)
        return status;
    calls->pending.limits = *take_limits;
    calls->pending.is_brought = false;
    return 0;
}

int run_brought(husk_sandbox *sandbox, const struct husk_answer *answer,
                struct call_limits *take_limits, struct husk_outcome *ret_outcome,
                struct husk_error *err) {
    int status = machine_unpark(sandbox->machine, false, err);
    if (status == 0)
        status = limits_begin(sandbox, take_limits, err);
    if (status != 0)
        return status;
    stat_count(sandbox->tally, STAT_calls);
    return run_unparked(sandbox, answer, ret_outcome, err);
}

int run_renewed(husk_sandbox *sandbox, const struct husk_answer *answer,
                struct call_limits *take_limits, struct husk_outcome *ret_outcome,
                struct husk_error *err) {
    struct call_state *calls = &sandbox->calls;
    int status = machine_unpark(sandbox->machine, needs_new_vm(calls), err);
    if (status == 0) {
        calls_end_limits(calls, &sandbox->engine->watchdog);
        status = limits_begin(sandbox, take_limits, err);
    }
    if (status != 0) {
        call_limits_done(take_limits);
        return status;
    }
    return run_unparked(sandbox, answer, ret_outcome, err);
}
