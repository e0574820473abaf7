/*
 * compiler/lower/reroll.c: finds loops that the guest's compiler unrolled, and makes one round of
 * them again: see reroll.h. Runs between the two halves of a pipeline (codegen_passes.c), right
 * before the vectoriser.
 *
 * The code stays exactly what it was, traps included: no fact is taken from an access, floats keep
 * their order, and where the rounds are equal only as long as no address wraps, the old loop stays
 * beside the new one.
 *
 * Deliberately only loops that LLVM may vectorise then. Others only lose by it. A value that an
 * iteration hands to the next must be a sum, a product, a minimum or the like, of integers, or
 * something that does not depend on the iteration before.
 */
#include <stdlib.h>
#include <string.h>

#include "reroll.h"

/* ---- which instructions may be there ---- */

static bool is_scalar(const struct lower_module *lm, LLVMTypeRef type) {
    return type == lm->i1 || type == lm->i8 || type == lm->i16 || type == lm->i32 ||
           type == lm->i64 || type == lm->f32 || type == lm->f64;
}

/* Operations of their operands only: no effects, no traps. */
static bool is_pure_intrinsic(const struct lower_module *lm, LLVMValueRef call) {
    static const enum lower_intrinsic pure[] = {
        LOWER_CTLZ,     LOWER_CTTZ,     LOWER_CTPOP,      LOWER_FSHL,     LOWER_FSHR,
        LOWER_FABS,     LOWER_CEIL,     LOWER_FLOOR,      LOWER_TRUNC,    LOWER_ROUNDEVEN,
        LOWER_SQRT,     LOWER_COPYSIGN, LOWER_MINIMUM,    LOWER_MAXIMUM,  LOWER_FPTOSI_SAT,
        LOWER_SMIN,     LOWER_UMIN,     LOWER_FPTOUI_SAT, LOWER_SMAX,     LOWER_UMAX,
        LOWER_SADD_SAT, LOWER_UADD_SAT, LOWER_SSUB_SAT,   LOWER_USUB_SAT, LOWER_ABS};
    static const char *const by_name[] = {"llvm.bswap", "llvm.bitreverse"};
    LLVMValueRef callee = LLVMGetCalledValue(call);
    unsigned id = LLVMIsAFunction(callee) != NULL ? LLVMGetIntrinsicID(callee) : 0;
    if (id == 0 || LLVMGetNumOperandBundles(call) != 0)
        return false;
    for (size_t i = 0; i < sizeof pure / sizeof pure[0]; i++)
        if (id == lm->intrinsic_ids[pure[i]])
            return true;
    for (size_t i = 0; i < sizeof by_name / sizeof by_name[0]; i++)
        if (id == LLVMLookupIntrinsicID(by_name[i], strlen(by_name[i])))
            return true;
    return false;
}

static bool is_pure(const struct lower_module *lm, LLVMValueRef value, LLVMOpcode opcode) {
    if (opcode == LLVMCall)
        return is_pure_intrinsic(lm, value);
    return LLVMIsABinaryOperator(value) != NULL || LLVMIsACastInst(value) != NULL ||
           LLVMIsACmpInst(value) != NULL || LLVMIsAUnaryOperator(value) != NULL ||
           opcode == LLVMSelect || opcode == LLVMFreeze;
}

static bool is_plain_access(LLVMValueRef value) {
    return !LLVMGetVolatile(value) && LLVMGetOrdering(value) == LLVMAtomicOrderingNotAtomic;
}

static bool instruction_read(struct reroll *loop, struct reroll_value *value) {
    struct lower_module *lm = loop->lm;
    LLVMTypeRef type = LLVMTypeOf(value->value);
    value->operands_count = (uint32_t)LLVMGetNumOperands(value->value);
    if (value->opcode == LLVMCall)
        value->operands_count--; /* the callee */
    if (value->operands_count > REROLL_OPERANDS_MAX)
        return false;
    for (uint32_t i = 0; i < value->operands_count; i++)
        value->operands[i] = LLVMGetOperand(value->value, i);
    switch (value->opcode) {
    case LLVMLoad:
        value->kind = REROLL_LOAD;
        return is_plain_access(value->value) && is_scalar(lm, type);
    case LLVMStore:
        value->kind = REROLL_STORE;
        return is_plain_access(value->value) && is_scalar(lm, LLVMTypeOf(value->operands[0]));
    case LLVMGetElementPtr:
        value->kind = REROLL_PLACE; /* if reroll_place_read() can read it */
        return type == lm->ptr;
    default:
        value->kind = REROLL_PLAIN;
        return is_scalar(lm, type) && is_pure(lm, value->value, value->opcode);
    }
}

/* ---- phis ---- */

/* A constant that is added to the phi in each iteration; 0: it is something else. */
static uint64_t counter_step(const struct lower_module *lm, LLVMValueRef phi, LLVMValueRef latch) {
    if (LLVMTypeOf(phi) != lm->i32 && LLVMTypeOf(phi) != lm->i64)
        return 0;
    if (LLVMIsAInstruction(latch) == NULL || LLVMGetInstructionOpcode(latch) != LLVMAdd ||
        LLVMGetOperand(latch, 0) != phi || LLVMIsAConstantInt(LLVMGetOperand(latch, 1)) == NULL)
        return 0;
    return LLVMConstIntGetZExtValue(LLVMGetOperand(latch, 1));
}

static bool phi_read(struct reroll *loop, struct reroll_value *value) {
    LLVMValueRef phi = value->value;
    if (LLVMCountIncoming(phi) != 2 || !is_scalar(loop->lm, LLVMTypeOf(phi)))
        return false;
    unsigned back = LLVMGetIncomingBlock(phi, 1) == loop->block ? 1 : 0;
    LLVMBasicBlockRef entry = LLVMGetIncomingBlock(phi, 1 - back);
    LLVMValueRef latch = LLVMGetIncomingValue(phi, back);
    if (LLVMGetIncomingBlock(phi, back) != loop->block || entry == loop->block ||
        (loop->entry != NULL && loop->entry != entry))
        return false;
    loop->entry = entry;
    value->start = LLVMGetIncomingValue(phi, 1 - back);
    uint64_t step = counter_step(loop->lm, phi, latch);
    value->kind = step != 0 ? REROLL_COUNTER : REROLL_CARRIED;
    value->latch = REROLL_NONE; /* phi_finish() */
    if (step == 0)
        return true;
    unsigned width = LLVMGetIntTypeWidth(LLVMTypeOf(phi));
    value->form = (struct reroll_form){.is_linear = true,
                                       .width = width,
                                       .bits = width,
                                       .step = step,
                                       .terms_count = 1,
                                       .terms = {{phi, 1}}};
    return true;
}

static bool phi_finish(struct reroll *loop, struct reroll_value *value) {
    if (value->kind != REROLL_CARRIED)
        return true;
    unsigned back = LLVMGetIncomingBlock(value->value, 1) == loop->block ? 1 : 0;
    value->latch = reroll_find(loop, LLVMGetIncomingValue(value->value, back));
    return value->latch != REROLL_NONE;
}

/* ---- the exit ---- */

/* The loop ends when a form equals a value that does not change. */
static bool exit_read(struct reroll *loop) {
    struct reroll_value *branch = &loop->values[loop->count - 1];
    int at = reroll_find(loop, LLVMGetCondition(branch->value));
    if (at == REROLL_NONE || loop->values[at].opcode != LLVMICmp)
        return false;
    struct reroll_value *test = &loop->values[at];
    LLVMUseRef use = LLVMGetFirstUse(test->value);
    LLVMIntPredicate ends =
        LLVMGetSuccessor(branch->value, 0) == loop->block ? LLVMIntNE : LLVMIntEQ;
    if (LLVMGetNextUse(use) != NULL || LLVMGetICmpPredicate(test->value) != ends)
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        int form = test->operand_idx[i];
        if (form == REROLL_NONE || test->operand_idx[1 - i] != REROLL_NONE ||
            !loop->values[form].form.is_linear)
            continue;
        loop->exit_form = form;
        loop->bound = test->operands[1 - i];
        test->kind = REROLL_CONTROL;
        return true;
    }
    return false;
}

/* ---- a loop ---- */

static bool branch_read(struct reroll *loop, LLVMValueRef branch) {
    if (branch == NULL || LLVMGetInstructionOpcode(branch) != LLVMBr || !LLVMIsConditional(branch))
        return false;
    LLVMBasicBlockRef first = LLVMGetSuccessor(branch, 0), second = LLVMGetSuccessor(branch, 1);
    if ((first == loop->block) == (second == loop->block))
        return false;
    loop->branch = branch;
    loop->exit = first == loop->block ? second : first;
    return true;
}

static bool values_read(struct reroll *loop) {
    LLVMValueRef at = LLVMGetFirstInstruction(loop->block);
    for (; at != NULL; at = LLVMGetNextInstruction(at)) {
        if (loop->count == REROLL_VALUES_MAX)
            return false;
        struct reroll_value *value = &loop->values[loop->count++];
        *value = (struct reroll_value){.value = at,
                                       .opcode = LLVMGetInstructionOpcode(at),
                                       .image = REROLL_NONE,
                                       .place = {.form = REROLL_NONE}};
        if (at == loop->branch)
            value->kind = REROLL_CONTROL;
        else if (!(value->opcode == LLVMPHI ? phi_read(loop, value)
                                            : instruction_read(loop, value)))
            return false;
    }
    return loop->entry != NULL;
}

static bool values_connect(struct reroll *loop) {
    for (uint32_t i = 0; i < loop->count; i++) {
        struct reroll_value *value = &loop->values[i];
        for (uint32_t k = 0; k < value->operands_count; k++)
            value->operand_idx[k] = reroll_find(loop, value->operands[k]);
        if (!phi_finish(loop, value))
            return false;
        if (value->kind == REROLL_PLAIN)
            reroll_form_read(loop, value);
        else if (value->opcode == LLVMGetElementPtr)
            reroll_place_read(loop, value);
    }
    LLVMValueRef end = LLVMGetBasicBlockTerminator(loop->entry);
    return LLVMGetInstructionOpcode(end) == LLVMBr && exit_read(loop);
}

/* ---- is it worth it? ---- */

/* Does it depend on what an iteration hands to the next? */
static bool depends_on_carried(const struct reroll *loop, int value) {
    bool depends[REROLL_VALUES_MAX] = {false};
    for (int i = 0; i <= value; i++) {
        const struct reroll_value *at = &loop->values[i];
        depends[i] = at->kind == REROLL_CARRIED;
        for (uint32_t k = 0; k < at->operands_count; k++)
            depends[i] =
                depends[i] || (at->operand_idx[k] != REROLL_NONE && depends[at->operand_idx[k]]);
    }
    return depends[value];
}

static bool is_reduction(const struct reroll *loop, int phi) {
    const struct reroll_value *sum = &loop->values[loop->values[phi].image];
    if (LLVMGetTypeKind(LLVMTypeOf(sum->value)) != LLVMIntegerTypeKind)
        return false;
    switch (sum->opcode) {
    case LLVMAdd:
    case LLVMMul:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor:
    case LLVMSelect:
    case LLVMCall: break;
    default: return false;
    }
    bool has_phi = false;
    for (uint32_t i = 0; i < sum->operands_count; i++)
        has_phi = has_phi || sum->operand_idx[i] == phi;
    return has_phi;
}

static bool is_worth_it(const struct reroll *loop) {
    bool has_accesses = false;
    for (int i = 0; i < (int)loop->count; i++) {
        const struct reroll_value *value = &loop->values[i];
        has_accesses = has_accesses || value->kind == REROLL_LOAD || value->kind == REROLL_STORE;
        if (value->kind == REROLL_CARRIED && !is_reduction(loop, i) &&
            depends_on_carried(loop, value->image))
            return false;
    }
    return has_accesses;
}

/* ---- all loops ---- */

static bool rounds_may_be(const struct reroll *loop, uint32_t rounds) {
    uint32_t stores = 0, loads = 0;
    for (uint32_t i = 0; i < loop->count; i++) {
        stores += loop->values[i].kind == REROLL_STORE;
        loads += loop->values[i].kind == REROLL_LOAD;
    }
    return stores != 0 ? stores % rounds == 0 : loads >= rounds;
}

static bool loop_reroll(struct reroll *loop) {
    if (!branch_read(loop, LLVMGetBasicBlockTerminator(loop->block)) || !values_read(loop) ||
        !values_connect(loop))
        return false;
    for (uint32_t rounds = REROLL_ROUNDS_MAX; rounds >= 2; rounds--) {
        loop->rounds = rounds;
        if (rounds_may_be(loop, rounds) && reroll_match(loop) && reroll_check(loop))
            return is_worth_it(loop) && reroll_build(loop);
    }
    return false;
}

bool lower_reroll(struct lower_module *lm, bool may_be_wide) {
    struct reroll *loop = malloc(sizeof *loop);
    bool has_changed = false;
    if (loop == NULL)
        return false; /* only slower */
    LLVMSetCurrentDebugLocation2(lm->builder, NULL);
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL; fn = LLVMGetNextFunction(fn))
        for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn), next; block != NULL;
             block = next) {
            next = LLVMGetNextBasicBlock(block);
            loop->lm = lm;
            loop->block = block;
            loop->entry = NULL;
            loop->count = loop->equals_count = loop->spans_count = 0;
            if (!loop_reroll(loop))
                continue;
            has_changed = true;
            LLVMAddTargetDependentFunctionAttr(fn, LOWER_REROLLED, "");
            if (may_be_wide)
                LLVMAddTargetDependentFunctionAttr(fn, "prefer-vector-width", "512");
        }
    free(loop);
    return has_changed;
}
