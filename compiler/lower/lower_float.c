/*
 * compiler/lower/lower_float.c: f32 and f64 arithmetic (core spec 4.3.3). They are plain LLVM
 * operations without fast-math flags. Fences that keep LLVM from passing a signalling NaN through
 * are added later, in SSA form (lower_nan.c).
 */
#include "lower.h"
#include "lower_fence.h"
#include "lower_identity.h"

static void emit_const(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    /* by bits: a number would lose a NaN's payload */
    if (lf->instr.op == WASM_OP_F32_CONST)
        lower_push(lf, LLVMConstBitCast(lower_const_i32(lm, lf->instr.u32), lm->f32));
    else
        lower_push(lf, LLVMConstBitCast(lower_const_i64(lm, lf->instr.u64), lm->f64));
}

/* The builder folds constants, and takes NaN * 1 for the same NaN, signalling or not. */
static LLVMValueRef build_arithmetic(struct lower_func *lf, LLVMOpcode opcode, LLVMValueRef left,
                                     LLVMValueRef right) {
    if (lower_may_be_nan(lf->lm, left))
        left = lower_fence(lf->lm, left);
    if (lower_may_be_nan(lf->lm, right))
        right = lower_fence(lf->lm, right);
    return LLVMBuildBinOp(lf->builder, opcode, left, right, "");
}

static void emit_binary(struct lower_func *lf) {
    LLVMValueRef right = lower_pop(lf);
    LLVMValueRef left = lower_pop(lf);
    lower_push(lf, build_arithmetic(lf, (LLVMOpcode)lf->row->arg, left, right));
}

static void emit_negate(struct lower_func *lf) {
    lower_push(lf, LLVMBuildFNeg(lf->builder, lower_pop(lf), ""));
}

static void emit_unary(struct lower_func *lf) {
    LLVMTypeRef type = lower_type(lf->lm, lf->row->operand);
    LLVMValueRef value = lower_pop(lf);
    lower_push(lf, lower_intrinsic_call(lf, (enum lower_intrinsic)lf->row->arg, &type, &value, 1));
}

static void emit_copysign(struct lower_func *lf) {
    LLVMTypeRef type = lower_type(lf->lm, lf->row->operand);
    LLVMValueRef args[2];
    args[1] = lower_pop(lf);
    args[0] = lower_pop(lf);
    lower_push(lf, lower_intrinsic_call(lf, LOWER_COPYSIGN, &type, args, 2));
}

/* llvm.minimum orders -0 below +0 as wasm wants, but passes a signalling NaN through on x86: with a
 * NaN among the operands their sum is the result, a quiet NaN, and the intrinsic need not look for
 * one. */
static void emit_min_max(struct lower_func *lf) {
    LLVMTypeRef type = lower_type(lf->lm, lf->row->operand);
    LLVMValueRef args[2];
    args[1] = lower_pop(lf);
    args[0] = lower_pop(lf);
    LLVMValueRef extreme =
        lower_intrinsic_call(lf, (enum lower_intrinsic)lf->row->arg, &type, args, 2);
    LLVMSetFastMathFlags(extreme, LLVMFastMathNoNaNs);
    LLVMValueRef has_nan = LLVMBuildFCmp(lf->builder, LLVMRealUNO, args[0], args[1], "");
    LLVMValueRef sum = build_arithmetic(lf, LLVMFAdd, args[0], args[1]);
    lower_push(lf, LLVMBuildSelect(lf->builder, has_nan, sum, extreme, ""));
}

static void emit_compare(struct lower_func *lf) {
    LLVMValueRef right = lower_pop(lf);
    LLVMValueRef left = lower_pop(lf);
    lower_push(lf, lower_from_truth(lf, LLVMBuildFCmp(lf->builder, (LLVMRealPredicate)lf->row->arg,
                                                      left, right, "")));
}

#define BOTH(name, function, argument)                                                             \
    {.op = WASM_OP_F32_##name, .emit = function, .arg = argument}, {                               \
        .op = WASM_OP_F64_##name, .emit = function, .arg = argument                                \
    }

static const struct lower_row float_rows[] = {
    BOTH(CONST, emit_const, 0),
    BOTH(ADD, emit_binary, LLVMFAdd),
    BOTH(SUB, emit_binary, LLVMFSub),
    BOTH(MUL, emit_binary, LLVMFMul),
    BOTH(DIV, emit_binary, LLVMFDiv),
    BOTH(NEG, emit_negate, 0),
    BOTH(ABS, emit_unary, LOWER_FABS),
    BOTH(CEIL, emit_unary, LOWER_CEIL),
    BOTH(FLOOR, emit_unary, LOWER_FLOOR),
    BOTH(TRUNC, emit_unary, LOWER_TRUNC),
    BOTH(NEAREST, emit_unary, LOWER_ROUNDEVEN),
    BOTH(SQRT, emit_unary, LOWER_SQRT),
    BOTH(COPYSIGN, emit_copysign, 0),
    BOTH(MIN, emit_min_max, LOWER_MINIMUM),
    BOTH(MAX, emit_min_max, LOWER_MAXIMUM),
    BOTH(EQ, emit_compare, LLVMRealOEQ),
    BOTH(NE, emit_compare, LLVMRealUNE),
    BOTH(LT, emit_compare, LLVMRealOLT),
    BOTH(GT, emit_compare, LLVMRealOGT),
    BOTH(LE, emit_compare, LLVMRealOLE),
    BOTH(GE, emit_compare, LLVMRealOGE),
};
const struct lower_rows lower_float_rows = {float_rows, sizeof float_rows / sizeof float_rows[0]};
