/*
 * compiler/lower/reroll_check.c: are the rounds of a loop equal, and may they run one after the
 * other? See reroll.h. It trusts nothing that reroll_match.c found.
 *
 * - Heads are the values of the first round: the stores that are no other store's image, the images
 *   of the phis that carry a value, and what these are made of. Each head has `rounds - 1` images
 *   one after the other, each the same operation on the images of the operands.
 * - After `rounds` images, a phi that carries a value has become the value for the next iteration.
 * - Each store and each load of the block is in one of these rounds; a store in one only. A load
 *   may serve several rounds (a[i] and a[i + 1]): the new loop has it in each.
 * - The new loop does accesses in another order, round by round. A store must have the same loads
 *   and stores before it as in the old loop, except those that are surely elsewhere. So a trap
 *   finds the same stores done.
 */
#include "reroll.h"

static bool is_access(enum reroll_kind kind) {
    return kind == REROLL_LOAD || kind == REROLL_STORE;
}

/* ---- heads ---- */

static bool is_image_of_store(const struct reroll *loop, int store) {
    for (uint32_t i = 0; i < loop->count; i++)
        if (loop->values[i].kind == REROLL_STORE && loop->values[i].image == store)
            return true;
    return false;
}

static bool mark_value(struct reroll *loop, int value) {
    enum reroll_kind kind = loop->values[value].kind;
    if (kind == REROLL_PLAIN || is_access(kind))
        loop->values[value].is_head = true;
    return kind != REROLL_CONTROL;
}

/* Operands stand before their users, phis apart. */
static bool mark_heads(struct reroll *loop) {
    bool is_good = true;
    for (int i = 0; i < (int)loop->count; i++)
        loop->values[i].is_head =
            loop->values[i].kind == REROLL_STORE && !is_image_of_store(loop, i);
    for (int i = 0; i < (int)loop->count && is_good; i++) {
        if (loop->values[i].kind != REROLL_CARRIED)
            continue;
        int image = loop->values[i].image;
        enum reroll_kind kind = image == REROLL_NONE ? REROLL_CONTROL : loop->values[image].kind;
        is_good = (kind == REROLL_CARRIED || kind == REROLL_PLAIN || kind == REROLL_LOAD) &&
                  mark_value(loop, image) &&
                  reroll_later(loop, i, loop->rounds) == loop->values[i].latch;
    }
    for (int i = (int)loop->count - 1; i >= 0; i--)
        for (uint32_t k = 0; loop->values[i].is_head && k < loop->values[i].operands_count; k++)
            if (loop->values[i].operand_idx[k] != REROLL_NONE && is_good)
                is_good = mark_value(loop, loop->values[i].operand_idx[k]);
    return is_good;
}

/* ---- rounds ---- */

static bool head_has_images(struct reroll *loop, int head, uint8_t *times) {
    int at = head;
    times[at]++;
    for (uint32_t round = 1; round < loop->rounds; round++) {
        int image = loop->values[at].image;
        if (image == REROLL_NONE || !reroll_is_image(loop, at, image, true))
            return false;
        at = image;
        times[at]++;
    }
    return true;
}

static bool rounds_are_equal(struct reroll *loop) {
    uint8_t times[REROLL_VALUES_MAX] = {0};
    loop->equals_count = 0;
    for (int i = 0; i < (int)loop->count; i++)
        if (loop->values[i].is_head && !head_has_images(loop, i, times))
            return false;
    for (int i = 0; i < (int)loop->count; i++) {
        enum reroll_kind kind = loop->values[i].kind;
        if ((kind == REROLL_STORE && times[i] != 1) || (kind == REROLL_LOAD && times[i] == 0))
            return false;
    }
    return true;
}

/* ---- order ---- */

/* An access of a round. */
struct access {
    int head, at;
    uint32_t round;
};

static const struct reroll_value *place_of(const struct reroll *loop, int access) {
    const struct reroll_value *value = &loop->values[access];
    int pointer = value->operand_idx[value->kind == REROLL_STORE ? 1 : 0];
    return pointer != REROLL_NONE ? &loop->values[pointer] : NULL;
}

static int64_t access_bytes(const struct reroll *loop, int access) {
    const struct reroll_value *value = &loop->values[access];
    LLVMTypeRef type = LLVMTypeOf(value->kind == REROLL_STORE ? value->operands[0] : value->value);
    if (type == loop->lm->f32)
        return 4;
    return type == loop->lm->f64 ? 8 : (LLVMGetIntTypeWidth(type) + 7) / 8;
}

/* Addresses that differ by a constant, as no span wraps. */
static bool are_apart(const struct reroll *loop, int a, int b) {
    const struct reroll_place *x = &place_of(loop, a)->place, *y = &place_of(loop, b)->place;
    if (x->base != y->base || x->is_extended != y->is_extended)
        return LLVMIsAGlobalVariable(x->base) && LLVMIsAGlobalVariable(y->base) &&
               x->base != y->base;
    if (x->form == REROLL_NONE || y->form == REROLL_NONE)
        return false;
    const struct reroll_form *p = &loop->values[x->form].form, *q = &loop->values[y->form].form;
    if (!reroll_forms_alike(p, q))
        return false;
    int64_t between = reroll_signed(p, q->offset - p->offset) + (int64_t)(y->offset - x->offset);
    return between >= access_bytes(loop, a) || -between >= access_bytes(loop, b);
}

static bool order_is_kept(const struct reroll *loop, const struct access *a,
                          const struct access *b) {
    if (loop->values[a->at].kind == REROLL_LOAD && loop->values[b->at].kind == REROLL_LOAD)
        return true;
    bool is_before = a->round < b->round || (a->round == b->round && a->head < b->head);
    return (a->at < b->at) == is_before || are_apart(loop, a->at, b->at);
}

#define ACCESSES_MAX 128

static bool orders_are_kept(const struct reroll *loop) {
    struct access accesses[ACCESSES_MAX];
    uint32_t count = 0;
    for (int i = 0; i < (int)loop->count; i++) {
        if (!loop->values[i].is_head || !is_access(loop->values[i].kind))
            continue;
        for (uint32_t round = 0; round < loop->rounds; round++) {
            if (count == ACCESSES_MAX)
                return false;
            accesses[count++] = (struct access){i, reroll_later(loop, i, round), round};
        }
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = i + 1; k < count; k++)
            if (!order_is_kept(loop, &accesses[i], &accesses[k]))
                return false;
    return true;
}

/* ---- spans, and what is used behind the loop ---- */

static bool spans_fit(struct reroll *loop) {
    loop->spans_count = 0;
    for (int i = 0; i < (int)loop->count; i++) {
        if (!is_access(loop->values[i].kind))
            continue;
        const struct reroll_value *pointer = place_of(loop, i);
        if (pointer == NULL || !pointer->place.is_known)
            return false;
        if (!pointer->place.is_extended)
            continue;
        const struct reroll_span *span = reroll_span_of(loop, pointer->place.form);
        if (span == NULL || span->high - span->low > INT32_MAX)
            return false;
    }
    return true;
}

int reroll_last_of(const struct reroll *loop, int value) {
    for (int i = 0; i < (int)loop->count; i++)
        if (loop->values[i].is_head && reroll_later(loop, i, loop->rounds - 1) == value)
            return i;
    return REROLL_NONE;
}

bool reroll_used_outside(const struct reroll *loop, LLVMValueRef value) {
    for (LLVMUseRef use = LLVMGetFirstUse(value); use != NULL; use = LLVMGetNextUse(use))
        if (LLVMGetInstructionParent(LLVMGetUser(use)) != loop->block)
            return true;
    return false;
}

static bool results_are_known(const struct reroll *loop) {
    for (int i = 0; i < (int)loop->count; i++) {
        enum reroll_kind kind = loop->values[i].kind;
        if (kind == REROLL_COUNTER || kind == REROLL_FORM ||
            !reroll_used_outside(loop, loop->values[i].value))
            continue;
        if ((kind != REROLL_PLAIN && kind != REROLL_LOAD) || reroll_last_of(loop, i) == REROLL_NONE)
            return false;
    }
    return true;
}

bool reroll_check(struct reroll *loop) {
    return spans_fit(loop) && mark_heads(loop) && rounds_are_equal(loop) && orders_are_kept(loop) &&
           results_are_known(loop);
}
