/* tests/soak/steps_pending.c: calls that wait at a host function for their answer. */
#include <string.h>

#include "soak.h"

static void ask(struct actor *actor, struct box *box, enum ask_mode mode, int32_t number,
                struct husk_value *result) {
    const struct husk_value arg = value_i32(number);
    box->mode = mode;
    box_call(
        actor, box,
        CALL(.name = "ask", .args = &arg, .args_count = 1, .results = result, .results_count = 1));
    box->mode = ASK_ANSWERS;
}

/* The box's state, with a call of "ask" that stands in it. */
static struct state standing_of(const struct box *box, int32_t asked) {
    struct state state = box->state;
    state.is_pending = true;
    state.asked = asked;
    state.kept = state.cells[0];
    return state;
}

static int32_t some_number(struct actor *actor) {
    return (int32_t)soak_below(actor, 100000);
}

static struct box *pending_box(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_value result;
    if (box->state.is_pending)
        return box;
    const int32_t number = some_number(actor);
    ask(actor, box, ASK_PENDS, number, &result);
    NEED(actor, actor->outcome.kind == HUSK_PENDING);
    box->state = standing_of(box, number);
    return box;
}

/* The pending call has returned this. */
static void need_answered(struct actor *actor, struct box *box, int64_t result) {
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
    NEED(actor, result == state_asked(&box->state));
    box->state.is_pending = false;
    box_check(actor, box);
}

/* Answered at once, also inside a pending call. */
static void ask_at_once(struct actor *actor, struct box *box, enum ask_mode mode, int32_t number) {
    struct husk_value result;
    const struct state inner = standing_of(box, number);
    ask(actor, box, mode, number, &result);
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
    NEED(actor, result.of.i64 == state_asked(&inner));
}

void step_ask(struct actor *actor) {
    struct box *box = some_box(actor);
    ask_at_once(actor, box, ASK_ANSWERS, some_number(actor));
    box_check(actor, box);
}

/* Inside a pending call there must be an answer at once. */
void step_pend(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_value result;
    if (box->state.is_pending) {
        ask(actor, box, ASK_PENDS, 1, &result);
        NEED(actor, actor->outcome.kind == HUSK_TRAPPED);
        NEED(actor, actor->outcome.trap == HUSK_TRAP_HOST_FUNCTION);
    } else {
        box = pending_box(actor);
    }
    box_check(actor, box);
}

struct answering {
    struct husk_value value, result;
    struct husk_answer answer;
};

static void answering_init(struct answering *answering, const struct box *box) {
    *answering = (struct answering){.value = value_i64(answer_to(box->state.asked)),
                                    .answer = HUSK_ANSWER_INIT};
    answering->answer.values = &answering->value;
    answering->answer.results = &answering->result;
    answering->answer.values_count = answering->answer.results_count = 1;
}

static void resume(struct actor *actor, struct box *box, struct answering *answering) {
    actor->outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    NEED(actor,
         husk_call_resume(box->sandbox, &answering->answer, &actor->outcome, &actor->err) == 0);
    box_called(box);
}

void step_resume(struct actor *actor) {
    struct box *box = pending_box(actor);
    struct answering answering;
    answering_init(&answering, box);
    resume(actor, box, &answering);
    need_answered(actor, box, answering.result.of.i64);
}

/* Another thread gives the answer. */
void step_resume_elsewhere(struct actor *actor) {
    struct box *box = pending_box(actor);
    struct answering answering;
    answering_init(&answering, box);
    struct job job = {.kind = JOB_RESUME,
                      .delay_us = soak_below(actor, 500),
                      .sandbox = box->sandbox,
                      .answer = &answering.answer};
    job_begin(&job);
    job_wait(&job);
    actor->outcome = job.outcome;
    actor->err = job.err;
    NEED(actor, job.status == 0);
    box_called(box);
    need_answered(actor, box, answering.result.of.i64);
}

static void need_snapshot_inside(struct actor *actor, struct box *box, int32_t asked) {
    NEED(actor, box->taken_status == 0);
    const struct state state = standing_of(box, asked);
    keep_image(actor, box->taken, &state);
    box->taken = NULL;
}

/* The host function is called again, and may do anything. */
void step_resume_again(struct actor *actor) {
    struct box *box = pending_box(actor);
    struct answering answering;
    answering_init(&answering, box);
    answering.answer.is_again = true;
    answering.answer.values = NULL;
    answering.answer.values_count = 0;
    const enum ask_mode mode = soak_below(actor, ASK_THROWS + 1);
    box->mode = mode;
    struct state there = box->state;
    resume(actor, box, &answering);
    there.restored = box->state.restored;
    box->mode = ASK_ANSWERS;
    if (mode == ASK_PENDS) {
        NEED(actor, actor->outcome.kind == HUSK_PENDING);
        box_check(actor, box);
        return;
    }
    if (mode == ASK_SNAPSHOTS) {
        NEED(actor, box->taken_status == 0);
        keep_image(actor, box->taken, &there);
        box->taken = NULL;
    }
    if (mode == ASK_ANSWERS || mode == ASK_SNAPSHOTS) {
        need_answered(actor, box, answering.result.of.i64);
        return;
    }
    NEED(actor, actor->outcome.kind == (mode == ASK_FAILS   ? HUSK_TRAPPED
                                        : mode == ASK_EXITS ? HUSK_EXITED
                                                            : HUSK_THREW));
    box->state.is_pending = false;
    box_check(actor, box);
}

/* The answer is a failure, or an exception. */
void step_resume_ends(struct actor *actor) {
    struct box *box = pending_box(actor);
    struct answering answering;
    struct husk_throw exception = HUSK_THROW_INIT;
    const bool is_thrown = soak_below(actor, 2) == 0;
    answering_init(&answering, box);
    answering.answer.values = NULL;
    answering.answer.values_count = 0;
    if (is_thrown) {
        NEED(actor, husk_image_tag(world.bases[box->state.family], "e", 0, &exception.tag,
                                   &actor->err) == 0);
        exception.values = &answering.value;
        exception.values_count = 1;
        answering.answer.exception = &exception;
    } else {
        answering.answer.status = HUSK_E_SYS;
        answering.answer.message = "no answer";
    }
    resume(actor, box, &answering);
    NEED(actor, actor->outcome.kind == (is_thrown ? HUSK_THREW : HUSK_TRAPPED));
    NEED(actor, is_thrown || strcmp(actor->outcome.message, "no answer") == 0);
    box->state.is_pending = false;
    box_check(actor, box);
}

/* Taken by the host function, in the middle of the call. */
void step_snapshot_inside(struct actor *actor) {
    struct box *box = some_box(actor);
    const int32_t number = some_number(actor);
    ask_at_once(actor, box, ASK_SNAPSHOTS, number);
    if (box->state.is_pending)
        NEED(actor, box->taken_status == HUSK_E_STATE);
    else
        need_snapshot_inside(actor, box, number);
    box_check(actor, box);
}

void step_interrupt_pending(struct actor *actor) {
    struct box *box = pending_box(actor);
    struct answering answering;
    answering_init(&answering, box);
    husk_interrupt(box->sandbox);
    resume(actor, box, &answering);
    NEED(actor, actor->outcome.kind == HUSK_INTERRUPTED);
    box_heal(actor, box);
}
