/*
 * compiler/lower/reroll_forms.c: linear forms of counters, and addresses of them: see reroll.h.
 *
 * Arithmetic of forms is modulo 2^width, as in wasm, and exact. Addresses are not: an index of 32
 * bits is extended before the constant offset is added. Code that steps an index and code that
 * steps the offset agree as long as the index does not wrap. So each index that an address is made
 * of belongs to a span, and the new loop runs only if no span wraps (reroll_build.c).
 */
#include "reroll.h"

int reroll_find(const struct reroll *loop, LLVMValueRef value) {
    if (LLVMIsAInstruction(value) == NULL || LLVMGetInstructionParent(value) != loop->block)
        return REROLL_NONE;
    for (uint32_t i = 0; i < loop->count; i++)
        if (loop->values[i].value == value)
            return (int)i;
    return REROLL_NONE;
}

#define FORM_DEPTH_MAX 8

static uint64_t width_mask(unsigned width) {
    return width >= 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

static unsigned low_zeros(uint64_t number) {
    return number == 0 ? 64 : (unsigned)__builtin_ctzll(number);
}

static unsigned smaller(unsigned a, unsigned b) {
    return a < b ? a : b;
}

int64_t reroll_signed(const struct reroll_form *form, uint64_t number) {
    return form->width == 32 ? (int32_t)(uint32_t)number : (int64_t)number;
}

static bool constant_get(LLVMValueRef value, uint64_t *ret_number) {
    if (LLVMIsAConstantInt(value) == NULL || LLVMGetIntTypeWidth(LLVMTypeOf(value)) > 64)
        return false;
    *ret_number = LLVMConstIntGetZExtValue(value);
    return true;
}

/* ---- arithmetic of forms ---- */

static struct reroll_form form_constant(unsigned width, uint64_t number) {
    return (struct reroll_form){
        .is_linear = true, .width = width, .bits = width, .offset = number & width_mask(width)};
}

static struct reroll_form form_scaled(struct reroll_form form, uint64_t factor) {
    uint64_t mask = width_mask(form.width);
    form.bits = smaller(form.width, form.bits + low_zeros(factor));
    form.offset = form.offset * factor & mask;
    form.step = form.step * factor & mask;
    for (uint32_t i = 0; i < form.terms_count; i++)
        form.terms[i].factor = form.terms[i].factor * factor & mask;
    return form;
}

static bool term_add(struct reroll_form *form, struct reroll_term term) {
    for (uint32_t i = 0; i < form->terms_count; i++)
        if (form->terms[i].value == term.value) {
            uint64_t factor = form->terms[i].factor + term.factor;
            form->terms[i].factor = factor & width_mask(form->width);
            return true;
        }
    if (form->terms_count == REROLL_TERMS_MAX)
        return false;
    form->terms[form->terms_count++] = term;
    return true;
}

static struct reroll_form form_sum(struct reroll_form a, struct reroll_form b) {
    a.is_linear = a.is_linear && b.is_linear && a.width == b.width;
    for (uint32_t i = 0; i < b.terms_count && a.is_linear; i++)
        a.is_linear = term_add(&a, b.terms[i]);
    a.bits = smaller(a.bits, b.bits);
    a.offset = (a.offset + b.offset) & width_mask(a.width);
    a.step = (a.step + b.step) & width_mask(a.width);
    return a;
}

/* ---- reading ---- */

static const struct reroll_value *counter_of(const struct reroll *loop, LLVMValueRef value) {
    int at = reroll_find(loop, value);
    return at != REROLL_NONE && loop->values[at].kind == REROLL_COUNTER ? &loop->values[at] : NULL;
}

/* How many low bits of a form are surely 0. */
static unsigned form_zeros(const struct reroll *loop, const struct reroll_form *form) {
    unsigned zeros = low_zeros(form->offset);
    for (uint32_t i = 0; i < form->terms_count; i++) {
        const struct reroll_value *counter = counter_of(loop, form->terms[i].value);
        unsigned of_term = low_zeros(form->terms[i].factor);
        uint64_t start;
        if (counter != NULL && constant_get(counter->start, &start))
            of_term += smaller(low_zeros(start), low_zeros(counter->form.step));
        zeros = smaller(zeros, of_term);
    }
    return smaller(zeros, form->width);
}

/* x ^ mask, where the low bits of x are 0, and the mask's bits above those are 1, at least up to
 * some bit: to that bit it is a subtraction. ~x is the simplest case. */
static struct reroll_form form_flipped(const struct reroll *loop, struct reroll_form form,
                                       uint64_t mask) {
    unsigned zeros = form_zeros(loop, &form);
    if (zeros >= form.width)
        return (struct reroll_form){.is_linear = false};
    unsigned ones = low_zeros(~(mask >> zeros));
    struct reroll_form flipped = form_scaled(form, width_mask(form.width));
    uint64_t low = mask & (width_mask(zeros));
    uint64_t all = width_mask(smaller(form.width, zeros + ones)) & ~width_mask(zeros);
    flipped.bits = smaller(form.bits, smaller(form.width, zeros + ones));
    flipped.offset = (flipped.offset + all + low) & width_mask(form.width);
    return flipped;
}

static struct reroll_form form_of(const struct reroll *loop, LLVMValueRef value, int depth);

static struct reroll_form form_of_operation(const struct reroll *loop, LLVMValueRef value,
                                            int depth) {
    const struct reroll_form none = {.is_linear = false};
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    if (opcode != LLVMAdd && opcode != LLVMSub && opcode != LLVMMul && opcode != LLVMShl &&
        opcode != LLVMXor && !(opcode == LLVMOr && LLVMGetIsDisjoint(value)))
        return none;
    LLVMValueRef right = LLVMGetOperand(value, 1);
    struct reroll_form a = form_of(loop, LLVMGetOperand(value, 0), depth - 1);
    if (!a.is_linear)
        return none;
    uint64_t number;
    if (opcode == LLVMAdd || opcode == LLVMOr)
        return form_sum(a, form_of(loop, right, depth - 1));
    if (opcode == LLVMSub)
        return form_sum(a, form_scaled(form_of(loop, right, depth - 1), width_mask(a.width)));
    if (!constant_get(right, &number))
        return none;
    if (opcode == LLVMXor)
        return form_flipped(loop, a, number);
    if (opcode == LLVMShl && number >= a.width)
        return none;
    return form_scaled(a, opcode == LLVMShl ? UINT64_C(1) << number : number);
}

static struct reroll_form form_of(const struct reroll *loop, LLVMValueRef value, int depth) {
    const struct reroll_form none = {.is_linear = false};
    LLVMTypeRef type = LLVMTypeOf(value);
    uint64_t number;
    if ((type != loop->lm->i32 && type != loop->lm->i64) || depth == 0)
        return none;
    unsigned width = LLVMGetIntTypeWidth(type);
    if (constant_get(value, &number))
        return form_constant(width, number);
    int at = reroll_find(loop, value);
    if (at != REROLL_NONE && loop->values[at].kind != REROLL_COUNTER)
        return loop->values[at].kind == REROLL_CARRIED ? none
                                                       : form_of_operation(loop, value, depth);
    struct reroll_form form = form_constant(width, 0);
    form.terms_count = 1;
    form.terms[0] = (struct reroll_term){value, 1};
    form.step = at != REROLL_NONE ? loop->values[at].form.step : 0;
    return form;
}

/* A value that does not change has no form: it is matched like any other. */
void reroll_form_read(struct reroll *loop, struct reroll_value *value) {
    struct reroll_form form = form_of(loop, value->value, FORM_DEPTH_MAX);
    if (!form.is_linear || form.bits != form.width || form.step == 0)
        return;
    value->form = form;
    value->kind = REROLL_FORM;
}

/* ---- addresses ---- */

static bool is_byte_step(const struct reroll *loop, LLVMValueRef value) {
    return LLVMGetNumOperands(value) == 2 && LLVMGetGEPSourceElementType(value) == loop->lm->i8;
}

/* A pointer from outside, without the constants that were added to it. */
static struct reroll_place place_outside(const struct reroll *loop, LLVMValueRef pointer) {
    struct reroll_place place = {.is_known = true, .base = pointer, .form = REROLL_NONE};
    uint64_t number;
    while (LLVMIsAConstantExpr(place.base) != NULL &&
           LLVMGetConstOpcode(place.base) == LLVMGetElementPtr && is_byte_step(loop, place.base) &&
           constant_get(LLVMGetOperand(place.base, 1), &number)) {
        place.offset += number;
        place.base = LLVMGetOperand(place.base, 0);
    }
    return place;
}

static void place_add_index(const struct reroll *loop, struct reroll_place *place,
                            LLVMValueRef index) {
    int at = reroll_find(loop, index);
    place->is_known =
        at != REROLL_NONE && place->form == REROLL_NONE && LLVMTypeOf(index) == loop->lm->i64;
    if (!place->is_known)
        return;
    const struct reroll_value *value = &loop->values[at];
    place->is_extended = value->opcode == LLVMZExt;
    place->form = place->is_extended ? value->operand_idx[0] : at;
    const struct reroll_form *form =
        place->form != REROLL_NONE ? &loop->values[place->form].form : NULL;
    place->is_known =
        form != NULL && form->is_linear && form->width == (place->is_extended ? 32u : 64u);
}

void reroll_place_read(struct reroll *loop, struct reroll_value *value) {
    uint64_t number;
    if (value->opcode != LLVMGetElementPtr || !is_byte_step(loop, value->value))
        return;
    int inner = value->operand_idx[0];
    struct reroll_place place =
        inner != REROLL_NONE ? loop->values[inner].place : place_outside(loop, value->operands[0]);
    if (!place.is_known)
        return;
    if (constant_get(value->operands[1], &number))
        place.offset += number;
    else
        place_add_index(loop, &place, value->operands[1]);
    if (!place.is_known)
        return;
    value->place = place;
    value->kind = REROLL_PLACE;
}

/* ---- one round later ---- */

bool reroll_round_step(const struct reroll *loop, const struct reroll_form *form, int64_t *ret) {
    int64_t step = reroll_signed(form, form->step);
    if (step % (int64_t)loop->rounds != 0)
        return false;
    *ret = step / (int64_t)loop->rounds;
    return true;
}

bool reroll_forms_alike(const struct reroll_form *a, const struct reroll_form *b) {
    if (a->width != b->width || a->terms_count != b->terms_count)
        return false;
    for (uint32_t i = 0; i < a->terms_count; i++) {
        bool is_found = false;
        for (uint32_t k = 0; k < b->terms_count && !is_found; k++)
            is_found =
                a->terms[i].value == b->terms[k].value && a->terms[i].factor == b->terms[k].factor;
        if (!is_found)
            return false;
    }
    return true;
}

static bool ask_equal(struct reroll *loop, int a, int b, bool may_ask) {
    for (uint32_t i = 0; i < loop->equals_count; i++)
        if (loop->equals[i].a == a && loop->equals[i].b == b)
            return true;
    if (!may_ask || loop->equals_count == REROLL_EQUALS_MAX)
        return false;
    loop->equals[loop->equals_count++] = (struct reroll_equal){a, b};
    return true;
}

bool reroll_forms_follow(const struct reroll *loop, int a, int b) {
    const struct reroll_form *from = &loop->values[a].form, *to = &loop->values[b].form;
    int64_t step;
    return from->is_linear && to->is_linear && reroll_forms_alike(from, to) &&
           reroll_round_step(loop, from, &step) &&
           ((to->offset - from->offset - (uint64_t)step) & width_mask(from->width)) == 0;
}

bool reroll_places_follow(struct reroll *loop, int a, int b, bool may_ask) {
    const struct reroll_place *from = &loop->values[a].place, *to = &loop->values[b].place;
    if (!from->is_known || !to->is_known || from->base != to->base ||
        (from->form == REROLL_NONE) != (to->form == REROLL_NONE) ||
        from->is_extended != to->is_extended)
        return false;
    if (from->form == REROLL_NONE)
        return from->offset == to->offset;
    const struct reroll_form *x = &loop->values[from->form].form, *y = &loop->values[to->form].form;
    int64_t step;
    if (x->step != y->step || !reroll_round_step(loop, x, &step))
        return false;
    if (reroll_forms_alike(x, y))
        return (uint64_t)reroll_signed(x, y->offset - x->offset) + to->offset - from->offset ==
               (uint64_t)step;
    return ask_equal(loop, a, b, may_ask);
}

/* ---- spans ---- */

struct reroll_span *reroll_span_of(struct reroll *loop, int form) {
    const struct reroll_form *wanted = &loop->values[form].form;
    for (uint32_t i = 0; i < loop->spans_count; i++) {
        struct reroll_span *span = &loop->spans[i];
        const struct reroll_form *known = &loop->values[span->form].form;
        if (!reroll_forms_alike(known, wanted))
            continue;
        int64_t at = reroll_signed(known, wanted->offset - known->offset);
        span->low = at < span->low ? at : span->low;
        span->high = at > span->high ? at : span->high;
        return span;
    }
    if (loop->spans_count == REROLL_SPANS_MAX)
        return NULL;
    loop->spans[loop->spans_count] = (struct reroll_span){.form = form};
    return &loop->spans[loop->spans_count++];
}
