/*
 * compiler/lower/lower_convert.c: conversions between integers and floats (core spec 4.3.4). LLVM's
 * conversion of a float outside the integer's range is poison, so the code first compares the float
 * with exact bounds.
 */
#include "lower.h"
#include "lower_trap.h"

/* A float x is truncated if lowest <(=) x < bound. The bounds are exact in the float's type:
 * -2^31 - 1 is not in f32, so there -2^31 itself is the lower bound, included. */
struct trunc_row {
    uint16_t op;
    bool is_signed;
    bool includes_lowest;
    double lowest, bound;
};

static const struct trunc_row trunc_rows[] = {
    {WASM_OP_I32_TRUNC_F32_S, true, true, -2147483648.0, 2147483648.0},
    {WASM_OP_I32_TRUNC_F64_S, true, false, -2147483649.0, 2147483648.0},
    {WASM_OP_I32_TRUNC_F32_U, false, false, -1.0, 4294967296.0},
    {WASM_OP_I32_TRUNC_F64_U, false, false, -1.0, 4294967296.0},
    {WASM_OP_I64_TRUNC_F32_S, true, true, -9223372036854775808.0, 9223372036854775808.0},
    {WASM_OP_I64_TRUNC_F64_S, true, true, -9223372036854775808.0, 9223372036854775808.0},
    {WASM_OP_I64_TRUNC_F32_U, false, false, -1.0, 18446744073709551616.0},
    {WASM_OP_I64_TRUNC_F64_U, false, false, -1.0, 18446744073709551616.0},
};

/* One branch on the way that is taken always; which trap it is, is found out beside it. */
static void trap_unless_in_range(struct lower_func *lf, LLVMValueRef value,
                                 const struct trunc_row *bounds) {
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMValueRef lowest = LLVMConstReal(type, bounds->lowest);
    LLVMValueRef bound = LLVMConstReal(type, bounds->bound);
    LLVMValueRef above = LLVMBuildFCmp(
        lf->builder, bounds->includes_lowest ? LLVMRealULT : LLVMRealULE, value, lowest, "");
    LLVMValueRef below = LLVMBuildFCmp(lf->builder, LLVMRealUGE, value, bound, "");
    LLVMValueRef outside = LLVMBuildOr(lf->builder, above, below, "");
    LLVMBasicBlockRef bad = lower_new_block(lf, "");
    LLVMBasicBlockRef next = lower_new_block(lf, "");
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMValueRef branch = LLVMBuildCondBr(lf->builder, outside, bad, next);
    LLVMSetMetadata(branch, lf->lm->prof_kind, lf->lm->unlikely);
    LLVMPositionBuilderAtEnd(lf->builder, bad);
    LLVMValueRef is_nan = LLVMBuildFCmp(lf->builder, LLVMRealUNO, value, value, "");
    lower_trap_if(lf, is_nan, TRAP_INVALID_CONVERSION_TO_INTEGER);
    lower_trap(lf, TRAP_INTEGER_OVERFLOW);
    lf->is_reachable = true;
    LLVMMoveBasicBlockAfter(next, current);
    LLVMPositionBuilderAtEnd(lf->builder, next);
}

/* arg: index in trunc_rows */
static void emit_trunc(struct lower_func *lf) {
    const struct trunc_row *bounds = &trunc_rows[lf->row->arg];
    LLVMValueRef value = lower_pop(lf);
    trap_unless_in_range(lf, value, bounds);
    LLVMOpcode opcode = bounds->is_signed ? LLVMFPToSI : LLVMFPToUI;
    lower_push(lf,
               LLVMBuildCast(lf->builder, opcode, value, lower_type(lf->lm, lf->row->result), ""));
}

static void emit_trunc_sat(struct lower_func *lf) {
    LLVMTypeRef types[2] = {lower_type(lf->lm, lf->row->result),
                            lower_type(lf->lm, lf->row->operand)};
    LLVMValueRef value = lower_pop(lf);
    lower_push(lf, lower_intrinsic_call(lf, (enum lower_intrinsic)lf->row->arg, types, &value, 1));
}

static void emit_cast(struct lower_func *lf) {
    LLVMTypeRef type = lower_type(lf->lm, lf->row->result);
    lower_push(lf, LLVMBuildCast(lf->builder, (LLVMOpcode)lf->row->arg, lower_pop(lf), type, ""));
}

static const struct lower_row convert_rows[] = {
    {.op = WASM_OP_I32_TRUNC_F32_S, .emit = emit_trunc, .arg = 0},
    {.op = WASM_OP_I32_TRUNC_F64_S, .emit = emit_trunc, .arg = 1},
    {.op = WASM_OP_I32_TRUNC_F32_U, .emit = emit_trunc, .arg = 2},
    {.op = WASM_OP_I32_TRUNC_F64_U, .emit = emit_trunc, .arg = 3},
    {.op = WASM_OP_I64_TRUNC_F32_S, .emit = emit_trunc, .arg = 4},
    {.op = WASM_OP_I64_TRUNC_F64_S, .emit = emit_trunc, .arg = 5},
    {.op = WASM_OP_I64_TRUNC_F32_U, .emit = emit_trunc, .arg = 6},
    {.op = WASM_OP_I64_TRUNC_F64_U, .emit = emit_trunc, .arg = 7},
    {.op = WASM_OP_I32_TRUNC_SAT_F32_S, .emit = emit_trunc_sat, .arg = LOWER_FPTOSI_SAT},
    {.op = WASM_OP_I32_TRUNC_SAT_F32_U, .emit = emit_trunc_sat, .arg = LOWER_FPTOUI_SAT},
    {.op = WASM_OP_I32_TRUNC_SAT_F64_S, .emit = emit_trunc_sat, .arg = LOWER_FPTOSI_SAT},
    {.op = WASM_OP_I32_TRUNC_SAT_F64_U, .emit = emit_trunc_sat, .arg = LOWER_FPTOUI_SAT},
    {.op = WASM_OP_I64_TRUNC_SAT_F32_S, .emit = emit_trunc_sat, .arg = LOWER_FPTOSI_SAT},
    {.op = WASM_OP_I64_TRUNC_SAT_F32_U, .emit = emit_trunc_sat, .arg = LOWER_FPTOUI_SAT},
    {.op = WASM_OP_I64_TRUNC_SAT_F64_S, .emit = emit_trunc_sat, .arg = LOWER_FPTOSI_SAT},
    {.op = WASM_OP_I64_TRUNC_SAT_F64_U, .emit = emit_trunc_sat, .arg = LOWER_FPTOUI_SAT},
    {.op = WASM_OP_F32_CONVERT_I32_S, .emit = emit_cast, .arg = LLVMSIToFP},
    {.op = WASM_OP_F32_CONVERT_I32_U, .emit = emit_cast, .arg = LLVMUIToFP},
    {.op = WASM_OP_F32_CONVERT_I64_S, .emit = emit_cast, .arg = LLVMSIToFP},
    {.op = WASM_OP_F32_CONVERT_I64_U, .emit = emit_cast, .arg = LLVMUIToFP},
    {.op = WASM_OP_F64_CONVERT_I32_S, .emit = emit_cast, .arg = LLVMSIToFP},
    {.op = WASM_OP_F64_CONVERT_I32_U, .emit = emit_cast, .arg = LLVMUIToFP},
    {.op = WASM_OP_F64_CONVERT_I64_S, .emit = emit_cast, .arg = LLVMSIToFP},
    {.op = WASM_OP_F64_CONVERT_I64_U, .emit = emit_cast, .arg = LLVMUIToFP},
    {.op = WASM_OP_F32_DEMOTE_F64, .emit = emit_cast, .arg = LLVMFPTrunc},
    {.op = WASM_OP_F64_PROMOTE_F32, .emit = emit_cast, .arg = LLVMFPExt},
    {.op = WASM_OP_I32_REINTERPRET_F32, .emit = emit_cast, .arg = LLVMBitCast},
    {.op = WASM_OP_I64_REINTERPRET_F64, .emit = emit_cast, .arg = LLVMBitCast},
    {.op = WASM_OP_F32_REINTERPRET_I32, .emit = emit_cast, .arg = LLVMBitCast},
    {.op = WASM_OP_F64_REINTERPRET_I64, .emit = emit_cast, .arg = LLVMBitCast},
};
const struct lower_rows lower_convert_rows = {convert_rows,
                                              sizeof convert_rows / sizeof convert_rows[0]};
