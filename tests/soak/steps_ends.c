/* tests/soak/steps_ends.c: calls that do not return. */
#include <string.h>

#include "soak.h"

enum { TRAPS = 10, TRAPS_EXACT = 8 };

void step_trap(struct actor *actor) {
    static const enum husk_trap traps[TRAPS] = {HUSK_TRAP_UNREACHABLE,
                                                HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO,
                                                HUSK_TRAP_INTEGER_OVERFLOW,
                                                HUSK_TRAP_INVALID_CONVERSION_TO_INTEGER,
                                                HUSK_TRAP_UNDEFINED_ELEMENT,
                                                HUSK_TRAP_UNINITIALIZED_ELEMENT,
                                                HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH,
                                                HUSK_TRAP_MEMORY_OUT_OF_BOUNDS,
                                                HUSK_TRAP_MEMORY_OUT_OF_BOUNDS,
                                                HUSK_TRAP_CALL_STACK_EXHAUSTED};
    struct box *box = some_box(actor);
    const unsigned kind = soak_below(actor, TRAPS);
    const struct husk_value args[] = {value_i32((int32_t)kind), value_i32(0)};
    struct husk_value result;
    struct husk_backtrace trace = HUSK_BACKTRACE_INIT;
    box_call(actor, box,
             CALL(.name = "trap", .args = args, .args_count = 2, .results = &result,
                  .results_count = 1));
    NEED(actor, actor->outcome.kind == HUSK_TRAPPED && actor->outcome.trap == traps[kind]);
    NEED(actor, !actor->outcome.is_poisoned);
    if (soak_below(actor, 4) == 0) {
        NEED(actor, husk_sandbox_backtrace(box->sandbox, &trace, &actor->err) == 0);
        NEED(actor, trace.frames_count > 0);
    }
    if (kind >= TRAPS_EXACT) { /* the state is anything */
        box_heal(actor, box);
        return;
    }
    NEED(actor, actor->outcome.state_is_exact);
    box->state.global = (int64_t)((uint64_t)box->state.global + 1);
    box_check(actor, box);
}

static void need_thrown(struct actor *actor, struct box *box, int64_t value) {
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    NEED(actor, actor->outcome.kind == HUSK_THREW);
    NEED(actor, husk_sandbox_exception(box->sandbox, &info, &actor->err) == 0);
    NEED(actor, info.values_count == 1 && info.values[0].of.i64 == value);
}

void step_throw(struct actor *actor) {
    struct box *box = some_box(actor);
    const struct husk_value arg = value_i64((int64_t)soak_random(actor));
    struct husk_value result;
    box_call(actor, box,
             CALL(.name = "throw", .args = &arg, .args_count = 1, .results = &result,
                  .results_count = 1));
    need_thrown(actor, box, arg.of.i64);
    box->state.global = (int64_t)((uint64_t)box->state.global + 1);
    box_check(actor, box);
}

/* The host function ends the call. */
void step_ask_ends(struct actor *actor) {
    struct box *box = some_box(actor);
    const struct husk_value arg = value_i32((int32_t)soak_below(actor, 1000));
    struct husk_value result;
    box->mode = ASK_FAILS + soak_below(actor, 3);
    box_call(
        actor, box,
        CALL(.name = "ask", .args = &arg, .args_count = 1, .results = &result, .results_count = 1));
    if (box->mode == ASK_FAILS)
        NEED(actor, actor->outcome.kind == HUSK_TRAPPED &&
                        actor->outcome.trap == HUSK_TRAP_HOST_FUNCTION &&
                        strcmp(actor->outcome.message, "no") == 0);
    else if (box->mode == ASK_EXITS)
        NEED(actor, actor->outcome.kind == HUSK_EXITED && actor->outcome.exit_code == 3);
    else
        need_thrown(actor, box, answer_to(arg.of.i32));
    box->mode = ASK_ANSWERS;
    box_check(actor, box);
}

/* ---- calls that are cut off ---- */

static void need_cut(struct actor *actor, struct box *box, enum husk_outcome_kind kind) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_backtrace trace = HUSK_BACKTRACE_INIT;
    struct husk_value sum;
    NEED(actor, actor->outcome.kind == kind);
    if (actor->outcome.is_poisoned) {
        NEED(actor,
             husk_call(box->sandbox, CALL(.name = "sum", .results = &sum, .results_count = 1),
                       &outcome, &actor->err) == HUSK_E_POISONED);
        NEED(actor, husk_sandbox_backtrace(box->sandbox, &trace, &actor->err) == 0);
    }
    box_heal(actor, box);
}

void step_deadline(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_limits limits = HUSK_LIMITS_INIT;
    const bool is_cpu = soak_below(actor, 2) == 0;
    *(is_cpu ? &limits.cpu_ns : &limits.wall_ns) = 1 + soak_below(actor, 5000000);
    box_call(actor, box, CALL(.name = "spin", .limits = &limits));
    NEED(actor, actor->outcome.limit == (is_cpu ? HUSK_LIMIT_CPU : HUSK_LIMIT_WALL));
    NEED(actor, is_cpu || actor->outcome.wall_ns >= limits.wall_ns);
    need_cut(actor, box, HUSK_DEADLINE);
}

/* In a wait of WASI's. */
void step_nap(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.wall_ns = 1 + soak_below(actor, 5000000);
    box_call(actor, box, CALL(.name = "nap", .limits = &limits));
    need_cut(actor, box, HUSK_DEADLINE);
}

void step_cancel(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct job job = {.kind = JOB_CANCEL, .delay_us = soak_below(actor, 3000)};
    NEED(actor, husk_cancel_new(&job.cancel, &actor->err) == 0);
    limits.cancel = job.cancel;
    job_begin(&job);
    box_call(actor, box,
             CALL(.name = soak_below(actor, 2) == 0 ? "spin" : "nap", .limits = &limits));
    job_wait(&job);
    husk_cancel_unref(job.cancel);
    need_cut(actor, box, HUSK_INTERRUPTED);
}

/* The guest does not run. */
void step_cancel_early(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome *outcome = &actor->outcome;
    NEED(actor, husk_cancel_new(&limits.cancel, &actor->err) == 0);
    husk_cancel_now(limits.cancel);
    NEED(actor, husk_call(box->sandbox, CALL(.name = "spin", .limits = &limits), outcome,
                          &actor->err) == 0);
    husk_cancel_unref(limits.cancel);
    NEED(actor, outcome->kind == HUSK_INTERRUPTED && !outcome->is_poisoned);
    box_check(actor, box);
}

static int64_t worked(int32_t rounds) {
    uint64_t x = 88172645463325252u;
    for (int32_t i = 0; i < rounds; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return (int64_t)x;
}

/* It returns, or is cut off. Deadlines take part. */
void step_cancel_race(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_limits limits = HUSK_LIMITS_INIT;
    const struct husk_value rounds = value_i32((int32_t)soak_below(actor, 300000) + 1);
    struct husk_value result = {0};
    struct job job = {.kind = JOB_CANCEL, .delay_us = soak_below(actor, 600)};
    NEED(actor, husk_cancel_new(&job.cancel, &actor->err) == 0);
    limits.cancel = job.cancel;
    limits.wall_ns = soak_below(actor, 2) == 0 ? 1000 * (1 + soak_below(actor, 2000)) : 0;
    job_begin(&job);
    box_call(actor, box,
             CALL(.name = "work", .args = &rounds, .args_count = 1, .results = &result,
                  .results_count = 1, .limits = &limits));
    job_wait(&job);
    husk_cancel_unref(job.cancel);
    if (actor->outcome.kind != HUSK_RETURNED) {
        NEED(actor, actor->outcome.kind == HUSK_INTERRUPTED ||
                        (limits.wall_ns != 0 && actor->outcome.kind == HUSK_DEADLINE));
        need_cut(actor, box, actor->outcome.kind);
        return;
    }
    NEED(actor, result.of.i64 == worked(rounds.of.i32));
    box_check(actor, box);
}

void step_interrupt(struct actor *actor) {
    struct box *box = some_box(actor);
    struct job job = {
        .kind = JOB_INTERRUPT, .delay_us = soak_below(actor, 3000), .sandbox = box->sandbox};
    job_begin(&job);
    box_call(actor, box, CALL(.name = soak_below(actor, 2) == 0 ? "spin" : "nap"));
    job_wait(&job);
    need_cut(actor, box, HUSK_INTERRUPTED);
}

static int ends_the_third(void *user) {
    unsigned *times = user;
    return ++*times == 3;
}

/* husk_limits.interrupted ends the call. */
void step_interrupted(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_limits limits = HUSK_LIMITS_INIT;
    unsigned times = 0;
    limits.interrupted = ends_the_third;
    limits.interrupted_user = &times;
    limits.interrupted_ns = 1000000;
    box_call(actor, box, CALL(.name = "spin", .limits = &limits));
    NEED(actor, times == 3);
    need_cut(actor, box, HUSK_INTERRUPTED);
}
