/*
 * compiler/lower/lower_wide.c: wide arithmetic: 128-bit integers in two i64, the low half first.
 * LLVM makes add/adc, sub/sbb and one mul of them.
 */
#include "lower.h"

static LLVMTypeRef wide_type(struct lower_func *lf) {
    return LLVMIntTypeInContext(lf->lm->ctx, 128);
}

static LLVMValueRef pop_wide(struct lower_func *lf) {
    LLVMTypeRef wide = wide_type(lf);
    LLVMValueRef high = LLVMBuildZExt(lf->builder, lower_pop(lf), wide, "");
    LLVMValueRef low = LLVMBuildZExt(lf->builder, lower_pop(lf), wide, "");
    LLVMValueRef moved = LLVMBuildShl(lf->builder, high, LLVMConstInt(wide, 64, 0), "");
    return LLVMBuildOr(lf->builder, low, moved, "");
}

static void push_wide(struct lower_func *lf, LLVMValueRef value) {
    LLVMTypeRef i64 = lf->lm->i64;
    LLVMValueRef moved = LLVMBuildLShr(lf->builder, value, LLVMConstInt(wide_type(lf), 64, 0), "");
    lower_push(lf, LLVMBuildTrunc(lf->builder, value, i64, ""));
    lower_push(lf, LLVMBuildTrunc(lf->builder, moved, i64, ""));
}

/* arg: LLVMAdd or LLVMSub */
static void emit_wide(struct lower_func *lf) {
    LLVMValueRef right = pop_wide(lf);
    LLVMValueRef left = pop_wide(lf);
    push_wide(lf, LLVMBuildBinOp(lf->builder, (LLVMOpcode)lf->row->arg, left, right, ""));
}

/* arg: LLVMSExt or LLVMZExt */
static void emit_mul_wide(struct lower_func *lf) {
    LLVMOpcode extend = (LLVMOpcode)lf->row->arg;
    LLVMValueRef right = LLVMBuildCast(lf->builder, extend, lower_pop(lf), wide_type(lf), "");
    LLVMValueRef left = LLVMBuildCast(lf->builder, extend, lower_pop(lf), wide_type(lf), "");
    push_wide(lf, LLVMBuildMul(lf->builder, left, right, ""));
}

static const struct lower_row wide_rows[] = {
    {.op = WASM_OP_I64_ADD128, .emit = emit_wide, .arg = LLVMAdd},
    {.op = WASM_OP_I64_SUB128, .emit = emit_wide, .arg = LLVMSub},
    {.op = WASM_OP_I64_MUL_WIDE_S, .emit = emit_mul_wide, .arg = LLVMSExt},
    {.op = WASM_OP_I64_MUL_WIDE_U, .emit = emit_mul_wide, .arg = LLVMZExt},
};
const struct lower_rows lower_wide_rows = {wide_rows, sizeof wide_rows / sizeof wide_rows[0]};
