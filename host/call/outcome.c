/* host/call/outcome.c: see outcome.h. */
#include "outcome.h"

#include <stdarg.h>
#include <stdio.h>

#include "backtrace.h"
#include "sandbox_internal.h"

void outcome_exit(husk_sandbox *sandbox, int32_t exit_code, struct husk_outcome *outcome) {
    outcome_begin(outcome, HUSK_EXITED);
    outcome->exit_code = exit_code;
    snprintf(outcome->message, sizeof outcome->message, "the program exited with code %d",
             exit_code);
    backtrace_keep(sandbox);
}

void outcome_trap(husk_sandbox *sandbox, enum husk_trap trap, bool is_exact, const char *message,
                  struct husk_outcome *outcome) {
    outcome_begin(outcome, HUSK_TRAPPED);
    outcome->trap = trap;
    outcome->state_is_exact = is_exact;
    snprintf(outcome->message, sizeof outcome->message, "%s", message);
    backtrace_keep(sandbox);
}

void outcome_threw(husk_sandbox *sandbox, uint32_t tag_number, const char *message,
                   struct husk_outcome *outcome) {
    outcome_begin(outcome, HUSK_THREW);
    outcome->state_is_exact = true;
    snprintf(outcome->message, sizeof outcome->message, "%s", message);
    backtrace_keep(sandbox);
    sandbox->calls.thrown = tag_number;
}

void outcome_violation(husk_sandbox *sandbox, struct husk_outcome *outcome, const char *format,
                       ...) {
    outcome_begin(outcome, HUSK_GUEST_VIOLATION);
    outcome->is_poisoned = true;
    sandbox_poison(sandbox, POISON_GUEST_VIOLATION);
    sandbox->calls.cut_by = HUSK_LIMIT_NONE;
    va_list args;
    va_start(args, format);
    vsnprintf(outcome->message, sizeof outcome->message, format, args);
    va_end(args);
    backtrace_keep(sandbox);
}

/* Format as 300 ms or 1.5 s: in the largest unit that gives at least 1. */
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

#define LIMIT_TEXT_BYTES 64 /* ": CPU limit of 1.234567891e+10 s" */

/* The rule about CPU limits ends a wait, so the message names the CPU limit. */
static void format_limit(enum husk_limit_kind limit, uint64_t limit_ns,
                         char text[LIMIT_TEXT_BYTES]) {
    char duration[32];
    text[0] = 0;
    if (limit == HUSK_LIMIT_NONE)
        return;
    format_duration(limit_ns, duration, sizeof duration);
    snprintf(text, LIMIT_TEXT_BYTES, ": %s limit of %s", limit == HUSK_LIMIT_WALL ? "wall" : "CPU",
             duration);
}

static const char *cut_reason(enum husk_limit_kind limit) {
    switch (limit) {
    case HUSK_LIMIT_NONE: return "the call was interrupted";
    case HUSK_LIMIT_WAIT:
        return "the call waited longer than its CPU limit allows; a limit of wall time allows more";
    case HUSK_LIMIT_WALL:
    case HUSK_LIMIT_CPU: break;
    }
    return "the call's time limit was reached";
}

void outcome_cut(husk_sandbox *sandbox, const struct watch *due, bool did_run,
                 struct husk_outcome *outcome) {
    const enum husk_limit_kind limit = due != NULL ? due->due_by : HUSK_LIMIT_NONE;
    uint64_t limit_ns = 0;
    if (due != NULL)
        limit_ns = limit == HUSK_LIMIT_WALL ? due->wall_ns : due->cpu_ns;
    char text[LIMIT_TEXT_BYTES];
    format_limit(limit, limit_ns, text);
    outcome_begin(outcome, due != NULL ? HUSK_DEADLINE : HUSK_INTERRUPTED);
    outcome->limit = limit;
    snprintf(outcome->message, sizeof outcome->message, "%s%s%s", cut_reason(limit),
             did_run ? "" : " before the guest ran", text);
    outcome->state_is_exact = !did_run;
    if (!did_run)
        return;
    outcome->is_poisoned = true;
    sandbox_poison(sandbox, due != NULL ? POISON_DEADLINE : POISON_INTERRUPT);
    /* The outer calls end, too, with the same limit. */
    sandbox->calls.cut_by = limit;
    sandbox->calls.cut_limit_ns = limit_ns;
    backtrace_keep(sandbox);
}

void outcome_cut_inside(husk_sandbox *sandbox, struct husk_outcome *outcome) {
    char text[LIMIT_TEXT_BYTES];
    format_limit(sandbox->calls.cut_by, sandbox->calls.cut_limit_ns, text);
    outcome_begin(outcome, sandbox->poisoned_by == POISON_DEADLINE    ? HUSK_DEADLINE
                           : sandbox->poisoned_by == POISON_INTERRUPT ? HUSK_INTERRUPTED
                                                                      : HUSK_GUEST_VIOLATION);
    outcome->is_poisoned = true;
    outcome->limit = sandbox->calls.cut_by;
    snprintf(outcome->message, sizeof outcome->message,
             "a call made by a host function was cut off%s", text);
    backtrace_keep(sandbox);
}
