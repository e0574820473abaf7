/*
 * compiler/lower/lower_fence.c: fences, for lower_nan.c, lower_clamps.c and strict mode.
 */
#include "lower_fence.h"
#include "lower_identity.h"

static void set_attribute(struct lower_module *lm, LLVMValueRef call, const char *name,
                          size_t bytes) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, bytes);
    LLVMAddCallSiteAttribute(call, LOWER_ATTRIBUTES, LLVMCreateEnumAttribute(lm->ctx, kind, 0));
}

static LLVMValueRef fence_whole(struct lower_module *lm, LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMTypeRef functype = LLVMFunctionType(type, &type, 1, false);
    bool in_vector_register = lower_is_float(value) || lower_is_vector(value);
    LLVMValueRef nothing = LLVMGetInlineAsm(functype, "", 0, in_vector_register ? "=x,0" : "=r,0",
                                            4, false, false, LLVMInlineAsmDialectATT, false);
    LLVMValueRef call = LLVMBuildCall2(lm->builder, functype, nothing, &value, 1, "");
    set_attribute(lm, call, "memory", 6); /* 0: none */
    set_attribute(lm, call, "nounwind", 8);
    set_attribute(lm, call, "willreturn", 10);
    return call;
}

/* Deliberately not llvm.arithmetic.fence, through which LLVM sees that a value is zero. Half a
 * vector, which conversions have, is no operand for assembler: it is a double there. */
LLVMValueRef lower_fence(struct lower_module *lm, LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value);
    bool is_half = lower_is_vector(value) &&
                   LLVMGetVectorSize(type) * lower_lane_bits(lower_lane_of(value)) == 64;
    if (!is_half)
        return fence_whole(lm, value);
    LLVMValueRef half = LLVMBuildBitCast(lm->builder, value, lm->f64, "");
    return LLVMBuildBitCast(lm->builder, fence_whole(lm, half), type, "");
}

/* A function's first place that any use in it comes after. */
static LLVMValueRef first_place(LLVMValueRef fn) {
    LLVMValueRef at = LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(fn));
    while (LLVMIsAAllocaInst(at))
        at = LLVMGetNextInstruction(at);
    return at;
}

LLVMValueRef lower_hidden_constant(struct lower_module *lm, LLVMValueRef fn,
                                   struct lower_hidden *hidden, LLVMValueRef constant) {
    for (uint32_t i = 0; i < hidden->count && i < LOWER_HIDDEN_MAX; i++)
        if (hidden->constants[i] == constant)
            return hidden->values[i];
    LLVMPositionBuilderBefore(lm->builder, first_place(fn));
    uint32_t idx = hidden->count++ % LOWER_HIDDEN_MAX;
    hidden->constants[idx] = constant;
    hidden->values[idx] = lower_fence(lm, constant);
    return hidden->values[idx];
}
