/* host/call/outcome.c: see outcome.h. */
#include "outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backtrace.h"
#include "sandbox_internal.h"

void outcome_exit(int32_t exit_code, struct husk_outcome *outcome) {
    outcome_begin(outcome, HUSK_EXITED);
    outcome->exit_code = exit_code;
    snprintf(outcome->message, sizeof outcome->message, "the program exited with code %d",
             exit_code);
}

void outcome_trap(husk_sandbox *sandbox, enum husk_trap trap, bool is_exact, const char *message,
                  struct husk_outcome *outcome) {
    outcome_begin(outcome, HUSK_TRAPPED);
    outcome->trap = trap;
    outcome->state_is_exact = is_exact;
    snprintf(outcome->message, sizeof outcome->message, "%s", message);
    backtrace_fill(sandbox, outcome);
}

void outcome_violation(husk_sandbox *sandbox, struct husk_outcome *outcome, const char *format,
                       ...) {
    outcome_begin(outcome, HUSK_GUEST_VIOLATION);
    outcome->is_poisoned = true;
    sandbox_poison(sandbox, POISON_GUEST_VIOLATION);
    va_list args;
    va_start(args, format);
    vsnprintf(outcome->message, sizeof outcome->message, format, args);
    va_end(args);
    backtrace_fill(sandbox, outcome);
}

/* 300 ms, 1.5 s: in the largest unit that gives at least 1. */
static void format_duration(uint64_t ns, char *text, size_t text_bytes) {
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}};
    size_t i = 0;
    while (i + 1 < sizeof units / sizeof units[0] && (double)ns < units[i].ns)
        i++;
    snprintf(text, text_bytes, "%.10g %s", (double)ns / units[i].ns, units[i].name);
}

static void format_limit(const struct watch *watch, char text[CUT_LIMIT_BYTES]) {
    char duration[32];
    format_duration(watch->is_due_by_cpu ? watch->cpu_ns : watch->wall_ns, duration,
                    sizeof duration);
    snprintf(text, CUT_LIMIT_BYTES, ": %s limit of %s", watch->is_due_by_cpu ? "CPU" : "wall",
             duration);
}

static const char *cut_reason(const struct watch *due) {
    if (due == NULL)
        return "the call was interrupted";
    if (due->has_waited)
        return "the call waited longer than its CPU limit allows; a limit of wall time allows more";
    return "the call's time limit was reached";
}

void outcome_cut(husk_sandbox *sandbox, const struct watch *due, bool did_run,
                 struct husk_outcome *outcome) {
    char limit[CUT_LIMIT_BYTES] = "";
    if (due != NULL)
        format_limit(due, limit);
    outcome_begin(outcome, due != NULL ? HUSK_DEADLINE : HUSK_INTERRUPTED);
    snprintf(outcome->message, sizeof outcome->message, "%s%s%s", cut_reason(due),
             did_run ? "" : " before the guest ran", limit);
    outcome->state_is_exact = !did_run;
    if (!did_run)
        return;
    outcome->is_poisoned = true;
    sandbox_poison(sandbox, due != NULL ? POISON_DEADLINE : POISON_INTERRUPT);
    backtrace_fill(sandbox, outcome);
    /* The calls around it end, too, and say the same. */
    for (struct call_frame *frame = sandbox->calls.frame->parent; frame != NULL;
         frame = frame->parent)
        memcpy(frame->cut_limit, limit, sizeof limit);
}

void outcome_cut_inside(const husk_sandbox *sandbox, const struct call_frame *frame,
                        struct husk_outcome *outcome) {
    outcome_begin(outcome, sandbox->poisoned_by == POISON_DEADLINE    ? HUSK_DEADLINE
                           : sandbox->poisoned_by == POISON_INTERRUPT ? HUSK_INTERRUPTED
                                                                      : HUSK_GUEST_VIOLATION);
    outcome->is_poisoned = true;
    snprintf(outcome->message, sizeof outcome->message,
             "a call made by a host function was cut off%s", frame->cut_limit);
}
