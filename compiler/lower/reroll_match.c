/*
 * compiler/lower/reroll_match.c: finds the image of each value: see reroll.h.
 *
 * Loads are found by their addresses, and all else by its operands, from the block's start to its
 * end. That needs the images of the phis that carry a value from one iteration to the next: a phi's
 * image is the value that its round hands to the next round. If the value after the last round has
 * enough values before it, it is the first of these (a value that was loaded for the next round).
 * Else it is guessed: phi + a has an image x + b, where b is the image of a, so x may be the phi's.
 * A wrong guess does not end in the value that the phi gets.
 */
#include <string.h>

#include "reroll.h"

#define GUESSES_MAX 8

static bool is_matched(enum reroll_kind kind) {
    return kind == REROLL_PLAIN || kind == REROLL_LOAD || kind == REROLL_STORE;
}

static bool is_linear(enum reroll_kind kind) {
    return kind == REROLL_COUNTER || kind == REROLL_FORM;
}

/* ---- is it the image? ---- */

static bool is_commutative(LLVMValueRef value) {
    switch (LLVMGetInstructionOpcode(value)) {
    case LLVMAdd:
    case LLVMMul:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor:
    case LLVMFAdd:
    case LLVMFMul: return true;
    case LLVMICmp:
        return LLVMGetICmpPredicate(value) == LLVMIntEQ || LLVMGetICmpPredicate(value) == LLVMIntNE;
    default: return false;
    }
}

static bool is_commutative_call(const struct reroll *loop, const struct reroll_value *value) {
    if (value->opcode != LLVMCall)
        return false;
    unsigned id = LLVMGetIntrinsicID(LLVMGetCalledValue(value->value));
    const unsigned *ids = loop->lm->intrinsic_ids;
    return id == ids[LOWER_SMIN] || id == ids[LOWER_UMIN] || id == ids[LOWER_SMAX] ||
           id == ids[LOWER_UMAX];
}

static bool is_same_operation(const struct reroll_value *a, const struct reroll_value *b) {
    if (a->opcode != b->opcode || a->kind != b->kind || a->operands_count != b->operands_count ||
        LLVMTypeOf(a->value) != LLVMTypeOf(b->value))
        return false;
    if (a->opcode == LLVMICmp)
        return LLVMGetICmpPredicate(a->value) == LLVMGetICmpPredicate(b->value);
    if (a->opcode == LLVMFCmp)
        return LLVMGetFCmpPredicate(a->value) == LLVMGetFCmpPredicate(b->value);
    return a->opcode != LLVMCall || LLVMGetCalledValue(a->value) == LLVMGetCalledValue(b->value);
}

static bool operand_follows(struct reroll *loop, int a, uint32_t i, int b, uint32_t k,
                            bool may_ask) {
    int x = loop->values[a].operand_idx[i], y = loop->values[b].operand_idx[k];
    if (x == REROLL_NONE)
        return loop->values[a].operands[i] == loop->values[b].operands[k];
    if (y == REROLL_NONE)
        return false;
    switch (loop->values[x].kind) {
    case REROLL_COUNTER:
    case REROLL_FORM: return is_linear(loop->values[y].kind) && reroll_forms_follow(loop, x, y);
    case REROLL_PLACE: return reroll_places_follow(loop, x, y, may_ask);
    case REROLL_CONTROL: return false;
    default: return loop->values[x].image == y;
    }
}

bool reroll_is_image(struct reroll *loop, int a, int b, bool may_ask) {
    const struct reroll_value *from = &loop->values[a], *to = &loop->values[b];
    if (!is_same_operation(from, to) || (a == b && from->kind == REROLL_STORE))
        return false;
    bool is_straight = true;
    for (uint32_t i = 0; i < from->operands_count && is_straight; i++)
        is_straight = operand_follows(loop, a, i, b, i, may_ask);
    return is_straight ||
           ((is_commutative(from->value) || is_commutative_call(loop, from)) &&
            operand_follows(loop, a, 0, b, 1, false) && operand_follows(loop, a, 1, b, 0, false));
}

/* ---- images of what is not a phi ---- */

/* The value whose image is this, other than itself. */
static int before(const struct reroll *loop, int value) {
    for (int i = 0; i < (int)loop->count; i++)
        if (i != value && is_matched(loop->values[i].kind) && loop->values[i].image == value)
            return i;
    return REROLL_NONE;
}

static int find_image(struct reroll *loop, int of) {
    for (int i = 0; i < (int)loop->count; i++)
        if (reroll_is_image(loop, of, i, false))
            return i;
    return REROLL_NONE;
}

/* Of an access whose address has another form in each round: the next one that may be it. */
static int guess_image(struct reroll *loop, int of) {
    loop->equals_count = 0; /* reroll_check.c has those that matter */
    for (int i = of + 1; i < (int)loop->count; i++)
        if (reroll_is_image(loop, of, i, true) && before(loop, i) == REROLL_NONE)
            return i;
    return REROLL_NONE;
}

static void find_images(struct reroll *loop) {
    for (int i = 0; i < (int)loop->count; i++) {
        struct reroll_value *value = &loop->values[i];
        if (!is_matched(value->kind) || value->image != REROLL_NONE)
            continue;
        value->image = find_image(loop, i);
        if (value->image == REROLL_NONE && value->kind != REROLL_PLAIN)
            value->image = guess_image(loop, i);
    }
}

/* ---- images of phis ---- */

int reroll_later(const struct reroll *loop, int value, uint32_t rounds) {
    for (uint32_t i = 0; i < rounds && value != REROLL_NONE; i++)
        value = loop->values[value].image;
    return value;
}

static bool phi_by_latch(struct reroll *loop, int phi) {
    int at = loop->values[phi].latch;
    for (uint32_t i = 1; i < loop->rounds && at != REROLL_NONE; i++)
        at = before(loop, at);
    loop->values[phi].image = at;
    return at != REROLL_NONE;
}

static bool guess_holds(struct reroll *loop, int phi, int image) {
    int images[REROLL_VALUES_MAX];
    enum reroll_kind kind = loop->values[image].kind;
    if (kind != REROLL_PLAIN && kind != REROLL_LOAD)
        return false;
    for (uint32_t i = 0; i < loop->count; i++)
        images[i] = loop->values[i].image;
    loop->values[phi].image = image;
    find_images(loop);
    if (reroll_later(loop, phi, loop->rounds) == loop->values[phi].latch)
        return true;
    for (uint32_t i = 0; i < loop->count; i++)
        loop->values[i].image = images[i];
    return false;
}

/* `user` has the phi as operand `at`. */
static bool phi_by_user(struct reroll *loop, int phi, int user, uint32_t at, uint32_t *guesses) {
    const struct reroll_value *from = &loop->values[user];
    uint32_t other = from->operands_count == 2 ? 1 - at : at;
    for (int i = 0; i < (int)loop->count && *guesses < GUESSES_MAX; i++) {
        const struct reroll_value *to = &loop->values[i];
        if (i == user || !is_same_operation(from, to))
            continue;
        for (uint32_t k = 0; k < to->operands_count; k++) {
            uint32_t beside = to->operands_count == 2 ? 1 - k : k;
            if (to->operand_idx[k] == REROLL_NONE ||
                (other != at && !operand_follows(loop, user, other, i, beside, false)))
                continue;
            ++*guesses;
            if (guess_holds(loop, phi, to->operand_idx[k]))
                return true;
        }
    }
    return false;
}

static bool phi_by_guess(struct reroll *loop, int phi) {
    uint32_t guesses = 0;
    for (int i = 0; i < (int)loop->count; i++) {
        const struct reroll_value *value = &loop->values[i];
        for (uint32_t k = 0; is_matched(value->kind) && k < value->operands_count; k++)
            if (value->operand_idx[k] == phi && phi_by_user(loop, phi, i, k, &guesses))
                return true;
    }
    return false;
}

static bool find_phis(struct reroll *loop) {
    bool is_complete = false, has_moved = true;
    while (has_moved && !is_complete) {
        has_moved = false;
        is_complete = true;
        for (int i = 0; i < (int)loop->count; i++) {
            if (loop->values[i].kind != REROLL_CARRIED || loop->values[i].image != REROLL_NONE)
                continue;
            bool is_found = phi_by_latch(loop, i) || phi_by_guess(loop, i);
            has_moved = has_moved || is_found;
            is_complete = is_complete && is_found;
            if (is_found)
                find_images(loop);
        }
    }
    return is_complete;
}

bool reroll_match(struct reroll *loop) {
    for (uint32_t i = 0; i < loop->count; i++)
        loop->values[i].image = REROLL_NONE;
    find_images(loop);
    return find_phis(loop);
}
