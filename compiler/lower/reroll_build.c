/*
 * compiler/lower/reroll_build.c: rewrites a loop whose rounds are equal: see reroll.h.
 *
 *   entry → guard → ready → body ⟲ → done → exit
 *                 ↘ the old loop ⟲ ↗
 *
 * The guard lets the new loop run if
 * - the old loop would leave after a whole number of iterations of at least one, before its counter
 *   wraps,
 * - no index that is extended for an address wraps (spans), and
 * - places that only look different are as far apart as they must be (equals).
 * In most loops LLVM proves that, and the old loop goes.
 *
 * The new loop counts from 0 up in 64 bits. All forms and addresses are made anew from that counter
 * and from their values at the start, so that LLVM knows what does not wrap.
 */
#include "reroll.h"

struct build {
    struct reroll *loop;
    struct lower_module *lm;
    LLVMBuilderRef builder;
    LLVMBasicBlockRef guard, ready, body, done;
    LLVMValueRef distance; /* i64: what the exit's form covers, as a positive number */
    uint64_t exit_step;    /* of that, in an iteration of the old loop */
    LLVMValueRef counter;  /* of the new loop */
    LLVMValueRef clones[REROLL_VALUES_MAX];
};

static LLVMValueRef number(const struct build *build, uint64_t value) {
    return lower_const_i64(build->lm, value);
}

/* ---- the guard ---- */

/* The value of a form when the loop begins, plus a constant. */
static LLVMValueRef form_first(struct build *build, int form_idx, uint64_t more) {
    const struct reroll_form *form = &build->loop->values[form_idx].form;
    LLVMTypeRef type = form->width == 32 ? build->lm->i32 : build->lm->i64;
    LLVMValueRef sum = LLVMConstInt(type, form->offset + more, false);
    for (uint32_t i = 0; i < form->terms_count; i++) {
        int counter = reroll_find(build->loop, form->terms[i].value);
        LLVMValueRef value =
            counter != REROLL_NONE ? build->loop->values[counter].start : form->terms[i].value;
        LLVMValueRef factor = LLVMConstInt(type, form->terms[i].factor, false);
        sum =
            LLVMBuildAdd(build->builder, LLVMBuildMul(build->builder, value, factor, ""), sum, "");
    }
    return sum;
}

static LLVMValueRef both(struct build *build, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildAnd(build->builder, a, b, "");
}

static LLVMValueRef compare(struct build *build, LLVMIntPredicate predicate, LLVMValueRef a,
                            LLVMValueRef b) {
    return LLVMBuildICmp(build->builder, predicate, a, b, "");
}

/* Of `count` iterations: count * step == distance, exactly, where the guard holds. */
static LLVMValueRef guard_exit(struct build *build) {
    struct reroll *loop = build->loop;
    const struct reroll_form *form = &loop->values[loop->exit_form].form;
    int64_t step = reroll_signed(form, form->step);
    /* the form has its first value in the first iteration, so it began one step before that */
    LLVMValueRef start = form_first(build, loop->exit_form, -form->step);
    LLVMValueRef distance = step > 0 ? LLVMBuildSub(build->builder, loop->bound, start, "")
                                     : LLVMBuildSub(build->builder, start, loop->bound, "");
    build->exit_step = step > 0 ? (uint64_t)step : -(uint64_t)step;
    build->distance = LLVMBuildZExt(build->builder, distance, build->lm->i64, "");
    LLVMValueRef rest =
        LLVMBuildURem(build->builder, build->distance, number(build, build->exit_step), "");
    LLVMValueRef good = both(build, compare(build, LLVMIntNE, build->distance, number(build, 0)),
                             compare(build, LLVMIntEQ, rest, number(build, 0)));
    return both(build, good,
                compare(build, LLVMIntULE, build->distance, number(build, UINT32_MAX)));
}

/* What a step of `step` per iteration covers in the whole loop. Neither of its factors has more
 * than 32 bits. */
static LLVMValueRef covered(struct build *build, uint64_t step) {
    if (step % build->exit_step == 0)
        return LLVMBuildMul(build->builder, build->distance, number(build, step / build->exit_step),
                            "");
    LLVMValueRef iterations =
        LLVMBuildUDiv(build->builder, build->distance, number(build, build->exit_step), "");
    return LLVMBuildMul(build->builder, iterations, number(build, step), "");
}

static LLVMValueRef guard_span(struct build *build, struct reroll_span *span) {
    const struct reroll_form *form = &build->loop->values[span->form].form;
    int64_t step = reroll_signed(form, form->step);
    LLVMValueRef first = form_first(build, span->form, (uint64_t)span->low);
    span->first = LLVMBuildZExt(build->builder, first, build->lm->i64, "");
    LLVMValueRef end = LLVMBuildAdd(build->builder, span->first,
                                    number(build, (uint64_t)(span->high - span->low)), "");
    LLVMValueRef way = covered(build, step > 0 ? (uint64_t)step : -(uint64_t)step);
    if (step > 0)
        return compare(build, LLVMIntULE, LLVMBuildAdd(build->builder, end, way, ""),
                       number(build, UINT32_MAX));
    return both(build, compare(build, LLVMIntUGE, span->first, way),
                compare(build, LLVMIntULE, end, number(build, UINT32_MAX)));
}

static LLVMValueRef place_first(struct build *build, int place_idx, uint64_t more) {
    const struct reroll_place *place = &build->loop->values[place_idx].place;
    LLVMValueRef first = form_first(build, place->form, 0);
    return LLVMBuildAdd(build->builder, LLVMBuildZExt(build->builder, first, build->lm->i64, ""),
                        number(build, place->offset + more), "");
}

static LLVMValueRef guard_equal(struct build *build, const struct reroll_equal *equal) {
    const struct reroll_place *place = &build->loop->values[equal->a].place;
    int64_t step = 0;
    (void)reroll_round_step(build->loop, &build->loop->values[place->form].form, &step);
    return compare(build, LLVMIntEQ, place_first(build, equal->a, (uint64_t)step),
                   place_first(build, equal->b, 0));
}

static LLVMValueRef build_guard(struct build *build) {
    struct reroll *loop = build->loop;
    LLVMPositionBuilderAtEnd(build->builder, build->guard);
    LLVMValueRef good = guard_exit(build);
    for (uint32_t i = 0; i < loop->spans_count; i++)
        good = both(build, good, guard_span(build, &loop->spans[i]));
    for (uint32_t i = 0; i < loop->equals_count; i++)
        good = both(build, good, guard_equal(build, &loop->equals[i]));
    return good;
}

/* ---- the new loop ---- */

/* What has become of a form in the new loop. An index for an address does not wrap. */
static LLVMValueRef stepped(struct build *build, LLVMValueRef first, int64_t step,
                            bool is_address) {
    LLVMTypeRef type = LLVMTypeOf(first);
    LLVMValueRef size = LLVMConstInt(type, step < 0 ? -(uint64_t)step : (uint64_t)step, false);
    LLVMValueRef way = build->counter;
    if (type != build->lm->i64)
        way = LLVMBuildTrunc(build->builder, way, type, "");
    way = LLVMBuildMul(build->builder, way, size, "");
    LLVMValueRef sum = step < 0 ? LLVMBuildSub(build->builder, first, way, "")
                                : LLVMBuildAdd(build->builder, first, way, "");
    const LLVMValueRef made[2] = {way, sum};
    for (int i = 0; i < 2 && is_address; i++)
        if (LLVMIsABinaryOperator(made[i]) != NULL) {
            LLVMSetNUW(made[i], true);
            LLVMSetNSW(made[i], true);
        }
    return sum;
}

static LLVMValueRef build_form(struct build *build, int form_idx) {
    if (build->clones[form_idx] != NULL)
        return build->clones[form_idx];
    int64_t step = 0;
    (void)reroll_round_step(build->loop, &build->loop->values[form_idx].form, &step);
    LLVMPositionBuilderAtEnd(build->builder, build->ready);
    LLVMValueRef first = form_first(build, form_idx, 0);
    LLVMPositionBuilderAtEnd(build->builder, build->body);
    build->clones[form_idx] = stepped(build, first, step, false);
    return build->clones[form_idx];
}

/* An index of 32 bits, extended, and made from the lowest of its span. */
static LLVMValueRef build_index(struct build *build, const struct reroll_place *place,
                                uint64_t *ret_offset) {
    struct reroll_span *span = reroll_span_of(build->loop, place->form);
    const struct reroll_form *form = &build->loop->values[place->form].form;
    const struct reroll_form *known = &build->loop->values[span->form].form;
    int64_t step = 0;
    (void)reroll_round_step(build->loop, form, &step);
    if (span->index == NULL)
        span->index = stepped(build, span->first, step, true);
    *ret_offset =
        (uint64_t)(reroll_signed(form, form->offset - known->offset) - span->low) + place->offset;
    return span->index;
}

static LLVMValueRef build_place(struct build *build, int place_idx) {
    const struct reroll_place *place = &build->loop->values[place_idx].place;
    uint64_t offset = place->offset;
    LLVMValueRef index = NULL, pointer = place->base;
    if (place->is_extended)
        index = build_index(build, place, &offset);
    else if (place->form != REROLL_NONE)
        index = build_form(build, place->form);
    if (index != NULL)
        pointer = LLVMBuildGEP2(build->builder, build->lm->i8, pointer, &index, 1, "");
    if (offset == 0)
        return pointer;
    LLVMValueRef constant = number(build, offset);
    return LLVMBuildGEPWithNoWrapFlags(build->builder, build->lm->i8, pointer, &constant, 1, "",
                                       place->is_extended ? LLVMGEPFlagNUW : 0);
}

static LLVMValueRef build_operand(struct build *build, int value, uint32_t operand) {
    const struct reroll_value *user = &build->loop->values[value];
    int idx = user->operand_idx[operand];
    if (idx == REROLL_NONE)
        return user->operands[operand];
    switch (build->loop->values[idx].kind) {
    case REROLL_COUNTER:
    case REROLL_FORM: return build_form(build, idx);
    case REROLL_PLACE: return build_place(build, idx);
    default: return build->clones[idx];
    }
}

/* Alignments and flags hold for all rounds only if all of them have them. */
static unsigned common_alignment(const struct reroll *loop, int head) {
    unsigned common = LLVMGetAlignment(loop->values[head].value);
    for (uint32_t round = 1; round < loop->rounds; round++) {
        unsigned other = LLVMGetAlignment(loop->values[reroll_later(loop, head, round)].value);
        common = other < common ? other : common;
    }
    return common;
}

static void keep_common_flags(LLVMValueRef clone, LLVMValueRef other, LLVMOpcode opcode) {
    switch (opcode) {
    case LLVMAdd:
    case LLVMSub:
    case LLVMMul:
    case LLVMShl:
    case LLVMTrunc:
        LLVMSetNUW(clone, LLVMGetNUW(clone) && LLVMGetNUW(other));
        LLVMSetNSW(clone, LLVMGetNSW(clone) && LLVMGetNSW(other));
        break;
    case LLVMUDiv:
    case LLVMSDiv:
    case LLVMLShr:
    case LLVMAShr: LLVMSetExact(clone, LLVMGetExact(clone) && LLVMGetExact(other)); break;
    case LLVMZExt:
    case LLVMUIToFP: LLVMSetNNeg(clone, LLVMGetNNeg(clone) && LLVMGetNNeg(other)); break;
    case LLVMOr:
        LLVMSetIsDisjoint(clone, LLVMGetIsDisjoint(clone) && LLVMGetIsDisjoint(other));
        break;
    case LLVMICmp:
        LLVMSetICmpSameSign(clone, LLVMGetICmpSameSign(clone) && LLVMGetICmpSameSign(other));
        break;
    default: break;
    }
    if (LLVMCanValueUseFastMathFlags(clone))
        LLVMSetFastMathFlags(clone, LLVMGetFastMathFlags(clone) & LLVMGetFastMathFlags(other));
}

static LLVMValueRef clone_plain(struct build *build, int head, LLVMValueRef *operands) {
    const struct reroll_value *value = &build->loop->values[head];
    if (value->opcode == LLVMCall) /* anew: an attribute may hold for one round only */
        return LLVMBuildCall2(build->builder, LLVMGetCalledFunctionType(value->value),
                              LLVMGetCalledValue(value->value), operands, value->operands_count,
                              "");
    LLVMValueRef clone = LLVMInstructionClone(value->value);
    LLVMInsertIntoBuilder(build->builder, clone);
    for (uint32_t i = 0; i < value->operands_count; i++)
        LLVMSetOperand(clone, i, operands[i]);
    for (uint32_t round = 1; round < build->loop->rounds; round++) {
        int later = reroll_later(build->loop, head, round);
        keep_common_flags(clone, build->loop->values[later].value, value->opcode);
    }
    return clone;
}

static void clone_head(struct build *build, int head) {
    const struct reroll_value *value = &build->loop->values[head];
    LLVMValueRef operands[REROLL_OPERANDS_MAX], clone;
    for (uint32_t i = 0; i < value->operands_count; i++)
        operands[i] = build_operand(build, head, i);
    if (value->kind == REROLL_LOAD)
        clone = LLVMBuildLoad2(build->builder, LLVMTypeOf(value->value), operands[0], "");
    else if (value->kind == REROLL_STORE)
        clone = LLVMBuildStore(build->builder, operands[0], operands[1]);
    else
        clone = clone_plain(build, head, operands);
    if (value->kind != REROLL_PLAIN)
        LLVMSetAlignment(clone, common_alignment(build->loop, head));
    LLVMMetadataRef location = LLVMInstructionGetDebugLoc(value->value);
    if (location != NULL && LLVMIsAInstruction(clone) != NULL)
        LLVMInstructionSetDebugLoc(clone, location);
    build->clones[head] = clone;
}

static LLVMValueRef rounds_total(struct build *build) {
    uint64_t rounds = build->loop->rounds, step = build->exit_step;
    if (rounds % step == 0)
        return LLVMBuildNUWMul(build->builder, build->distance, number(build, rounds / step), "");
    if (step % rounds == 0)
        return LLVMBuildExactUDiv(build->builder, build->distance, number(build, step / rounds),
                                  "");
    LLVMValueRef iterations =
        LLVMBuildExactUDiv(build->builder, build->distance, number(build, step), "");
    return LLVMBuildNUWMul(build->builder, iterations, number(build, rounds), "");
}

static void connect_phis(struct build *build, LLVMValueRef next) {
    struct reroll *loop = build->loop;
    LLVMValueRef zero = number(build, 0);
    LLVMAddIncoming(build->counter, &zero, &build->ready, 1);
    LLVMAddIncoming(build->counter, &next, &build->body, 1);
    for (uint32_t i = 0; i < loop->count; i++) {
        struct reroll_value *value = &loop->values[i];
        if (value->kind != REROLL_CARRIED)
            continue;
        LLVMAddIncoming(build->clones[i], &value->start, &build->ready, 1);
        LLVMAddIncoming(build->clones[i], &build->clones[value->image], &build->body, 1);
    }
}

static void build_body(struct build *build) {
    struct reroll *loop = build->loop;
    LLVMPositionBuilderAtEnd(build->builder, build->ready);
    LLVMValueRef total = rounds_total(build);
    LLVMPositionBuilderAtEnd(build->builder, build->body);
    build->counter = LLVMBuildPhi(build->builder, build->lm->i64, "");
    for (uint32_t i = 0; i < loop->count; i++)
        if (loop->values[i].kind == REROLL_CARRIED)
            build->clones[i] = LLVMBuildPhi(build->builder, LLVMTypeOf(loop->values[i].value), "");
    for (int i = 0; i < (int)loop->count; i++)
        if (loop->values[i].is_head)
            clone_head(build, i);
    LLVMValueRef next = LLVMBuildNUWAdd(build->builder, build->counter, number(build, 1), "");
    LLVMSetNSW(next, true);
    LLVMBuildCondBr(build->builder, compare(build, LLVMIntEQ, next, total), build->done,
                    build->body);
    connect_phis(build, next);
    LLVMPositionBuilderAtEnd(build->builder, build->ready);
    LLVMBuildBr(build->builder, build->body);
}

/* ---- what is behind the loop ---- */

/* The value that the new loop leaves for one that the old loop left. */
static LLVMValueRef build_result(struct build *build, int value) {
    struct reroll *loop = build->loop;
    enum reroll_kind kind = loop->values[value].kind;
    if (kind != REROLL_COUNTER && kind != REROLL_FORM)
        return build->clones[reroll_last_of(loop, value)];
    const struct reroll_form *form = &loop->values[value].form;
    LLVMValueRef way =
        LLVMBuildUDiv(build->builder, build->distance, number(build, build->exit_step), "");
    if (form->width == 32)
        way = LLVMBuildTrunc(build->builder, way, build->lm->i32, "");
    way = LLVMBuildMul(build->builder, way, LLVMConstInt(LLVMTypeOf(way), form->step, false), "");
    return LLVMBuildAdd(build->builder, form_first(build, value, -form->step), way, "");
}

static void replace_use(LLVMValueRef user, LLVMValueRef old, LLVMValueRef new) {
    for (int i = 0; i < LLVMGetNumOperands(user); i++)
        if (LLVMGetOperand(user, (unsigned)i) == old)
            LLVMSetOperand(user, (unsigned)i, new);
}

static LLVMValueRef outside_user(const struct build *build, LLVMValueRef value) {
    for (LLVMUseRef use = LLVMGetFirstUse(value); use != NULL; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        LLVMBasicBlockRef block = LLVMGetInstructionParent(user);
        if (block != build->loop->block && block != build->done)
            return user;
    }
    return NULL;
}

static void build_results(struct build *build) {
    struct reroll *loop = build->loop;
    for (int i = 0; i < (int)loop->count; i++) {
        LLVMValueRef value = loop->values[i].value, user = outside_user(build, value);
        if (user == NULL)
            continue;
        LLVMPositionBuilderBefore(build->builder, LLVMGetBasicBlockTerminator(build->ready));
        LLVMValueRef results[2] = {value, build_result(build, i)};
        LLVMBasicBlockRef blocks[2] = {loop->block, build->body};
        LLVMPositionBuilderAtEnd(build->builder, build->done);
        LLVMValueRef phi = LLVMBuildPhi(build->builder, LLVMTypeOf(value), "");
        LLVMAddIncoming(phi, results, blocks, 2);
        for (; user != NULL; user = outside_user(build, value))
            replace_use(user, value, phi);
    }
    LLVMPositionBuilderAtEnd(build->builder, build->done);
    LLVMBuildBr(build->builder, loop->exit);
}

/* ---- the old loop ---- */

/* Phis of `block` get their value of `old` from `new`. The C interface cannot change a phi. */
static void phis_redirect(struct build *build, LLVMBasicBlockRef block, LLVMBasicBlockRef old,
                          LLVMBasicBlockRef new) {
    LLVMValueRef phi = LLVMGetFirstInstruction(block), next;
    for (; phi != NULL && LLVMIsAPHINode(phi) != NULL; phi = next) {
        next = LLVMGetNextInstruction(phi);
        LLVMPositionBuilderBefore(build->builder, phi);
        LLVMValueRef again = LLVMBuildPhi(build->builder, LLVMTypeOf(phi), "");
        for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
            LLVMValueRef value = LLVMGetIncomingValue(phi, i);
            LLVMBasicBlockRef from = LLVMGetIncomingBlock(phi, i);
            LLVMAddIncoming(again, &value, from == old ? &new : &from, 1);
        }
        LLVMReplaceAllUsesWith(phi, again);
        LLVMInstructionEraseFromParent(phi);
    }
}

static void branch_redirect(LLVMBasicBlockRef block, LLVMBasicBlockRef old, LLVMBasicBlockRef new) {
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(block);
    for (unsigned i = 0; i < LLVMGetNumSuccessors(branch); i++)
        if (LLVMGetSuccessor(branch, i) == old)
            LLVMSetSuccessor(branch, i, new);
}

static LLVMMetadataRef loop_property(struct build *build, const char *name, size_t bytes,
                                     LLVMValueRef value) {
    LLVMContextRef ctx = build->lm->ctx;
    LLVMMetadataRef parts[2] = {LLVMMDStringInContext2(ctx, name, bytes),
                                value != NULL ? LLVMValueAsMetadata(value) : NULL};
    return LLVMMDNodeInContext2(ctx, parts, value != NULL ? 2 : 1);
}

/* It runs hardly ever: nothing is spent on it. The first operand of a loop's properties is their
 * own node. */
static void old_loop_neglect(struct build *build) {
    static const char vectorize[] = "llvm.loop.vectorize.enable",
                      unroll[] = "llvm.loop.unroll.disable";
    LLVMContextRef ctx = build->lm->ctx;
    LLVMMetadataRef self = LLVMTemporaryMDNode(ctx, NULL, 0);
    LLVMMetadataRef parts[3] = {self,
                                loop_property(build, vectorize, sizeof vectorize - 1,
                                              LLVMConstInt(build->lm->i1, 0, false)),
                                loop_property(build, unroll, sizeof unroll - 1, NULL)};
    LLVMMetadataRef node = LLVMMDNodeInContext2(ctx, parts, 3);
    LLVMMetadataReplaceAllUsesWith(self, node);
    LLVMSetMetadata(build->loop->branch, LLVMGetMDKindIDInContext(ctx, "llvm.loop", 9),
                    LLVMMetadataAsValue(ctx, node));
}

static LLVMBasicBlockRef block_new(struct build *build, LLVMBasicBlockRef before) {
    return LLVMInsertBasicBlockInContext(build->lm->ctx, before, "");
}

bool reroll_build(struct reroll *loop) {
    struct build build = {.loop = loop, .lm = loop->lm, .builder = loop->lm->builder};
    build.guard = block_new(&build, loop->block);
    LLVMValueRef good = build_guard(&build);
    if (LLVMIsAConstantInt(good) != NULL && LLVMConstIntGetZExtValue(good) == 0) {
        LLVMDeleteBasicBlock(build.guard);
        return false;
    }
    build.ready = block_new(&build, loop->block);
    build.body = block_new(&build, loop->block);
    build.done = block_new(&build, loop->block);
    LLVMMoveBasicBlockAfter(build.done, loop->block);
    LLVMPositionBuilderAtEnd(build.builder, build.guard);
    LLVMBuildCondBr(build.builder, good, build.ready, loop->block);
    build_body(&build);
    build_results(&build);
    branch_redirect(loop->block, loop->exit, build.done);
    phis_redirect(&build, loop->exit, loop->block, build.done);
    branch_redirect(loop->entry, loop->block, build.guard);
    phis_redirect(&build, loop->block, loop->entry, build.guard);
    old_loop_neglect(&build);
    return true;
}
