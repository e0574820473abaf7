/*
 * compiler/lower/lower_indices.c: indices that loops carry become 64 bits wide. Runs after the
 * passes (codegen_passes.c).
 *
 * A loop over addresses carries an i32, which it extends in each round to make an address. The
 * instruction selector knows that an addition of 32 bits clears the upper half of its register, but
 * only in the addition's own block: for a value that comes by a phi it emits a move. So the phi
 * becomes an i64, whose incoming values are extended where they are computed, which costs nothing
 * there. All other uses get the lower half. The values are the same ones.
 *
 * Phis whose increment LLVM has found not to wrap are left alone: for these, the loop strength
 * reducer does better.
 */
#include "lower.h"

#define USES_MAX 256

static bool is_address(LLVMValueRef wide) {
    LLVMUseRef use = LLVMGetFirstUse(wide);
    for (; use != NULL; use = LLVMGetNextUse(use))
        if (LLVMIsAGetElementPtrInst(LLVMGetUser(use)) != NULL)
            return true;
    return false;
}

static bool is_extension(const struct lower_module *lm, LLVMValueRef user) {
    return LLVMIsAZExtInst(user) != NULL && LLVMTypeOf(user) == lm->i64;
}

/* Is it extended to be an address? */
static bool has_address(const struct lower_module *lm, LLVMValueRef value) {
    LLVMUseRef use = LLVMGetFirstUse(value);
    for (int i = 0; use != NULL && i < USES_MAX; use = LLVMGetNextUse(use), i++)
        if (is_extension(lm, LLVMGetUser(use)) && is_address(LLVMGetUser(use)))
            return true;
    return false;
}

/* phi + something: the next round's value. */
static bool is_next(LLVMValueRef phi, LLVMValueRef incoming) {
    if (LLVMIsAFreezeInst(incoming) != NULL)
        incoming = LLVMGetOperand(incoming, 0);
    return LLVMIsAInstruction(incoming) != NULL && LLVMGetInstructionOpcode(incoming) == LLVMAdd &&
           LLVMGetOperand(incoming, 0) == phi;
}

/* A loop carries it, LLVM does not know that it never wraps, and all incoming values can be
 * extended where they are defined: nothing can stand behind an invoke. */
static bool is_carried(LLVMValueRef phi) {
    bool has_next = false;
    for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
        LLVMValueRef incoming = LLVMGetIncomingValue(phi, i);
        if (LLVMIsAInstruction(incoming) != NULL && LLVMIsATerminatorInst(incoming) != NULL)
            return false;
        if (is_next(phi, incoming) && LLVMIsAFreezeInst(incoming) == NULL && LLVMGetNUW(incoming))
            return false;
        has_next |= is_next(phi, incoming);
    }
    return has_next;
}

/* And behind a landing pad, which must be the first one. */
static LLVMValueRef behind_phis(LLVMBasicBlockRef block) {
    LLVMValueRef at = LLVMGetFirstInstruction(block);
    while (LLVMIsAPHINode(at) != NULL || LLVMIsALandingPadInst(at) != NULL)
        at = LLVMGetNextInstruction(at);
    return at;
}

/* At the value's definition. */
static LLVMValueRef extended(struct lower_module *lm, LLVMValueRef value, LLVMBasicBlockRef from) {
    if (LLVMIsAInstruction(value) == NULL)
        LLVMPositionBuilderBefore(lm->builder, LLVMGetBasicBlockTerminator(from));
    else if (LLVMIsAPHINode(value) != NULL)
        LLVMPositionBuilderBefore(lm->builder, behind_phis(LLVMGetInstructionParent(value)));
    else
        LLVMPositionBuilderBefore(lm->builder, LLVMGetNextInstruction(value));
    return LLVMBuildZExt(lm->builder, value, lm->i64, "");
}

static void widen(struct lower_module *lm, LLVMValueRef phi) {
    LLVMPositionBuilderBefore(lm->builder, phi);
    LLVMValueRef wide = LLVMBuildPhi(lm->builder, lm->i64, "");
    LLVMPositionBuilderBefore(lm->builder, behind_phis(LLVMGetInstructionParent(phi)));
    LLVMValueRef half = LLVMBuildTrunc(lm->builder, wide, lm->i32, "");
    for (LLVMUseRef use = LLVMGetFirstUse(phi), next; use != NULL; use = next) {
        LLVMValueRef user = LLVMGetUser(use);
        next = LLVMGetNextUse(use);
        if (is_extension(lm, user))
            LLVMReplaceAllUsesWith(user, wide);
    }
    const unsigned count = LLVMCountIncoming(phi);
    LLVMReplaceAllUsesWith(phi, half);
    for (unsigned i = 0; i < count; i++) {
        LLVMValueRef value = LLVMGetIncomingValue(phi, i);
        LLVMBasicBlockRef from = LLVMGetIncomingBlock(phi, i);
        LLVMValueRef incoming = value == half ? wide : extended(lm, value, from);
        LLVMAddIncoming(wide, &incoming, &from, 1);
    }
    LLVMInstructionEraseFromParent(phi);
}

void lower_widen_indices(struct lower_module *lm) {
    LLVMSetCurrentDebugLocation2(lm->builder, NULL);
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL; fn = LLVMGetNextFunction(fn))
        for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn); block != NULL;
             block = LLVMGetNextBasicBlock(block))
            for (LLVMValueRef at = LLVMGetFirstInstruction(block), next;
                 at != NULL && LLVMIsAPHINode(at) != NULL; at = next) {
                next = LLVMGetNextInstruction(at);
                if (LLVMTypeOf(at) == lm->i32 && is_carried(at) && has_address(lm, at))
                    widen(lm, at);
            }
}
