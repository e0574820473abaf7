/*
 * compiler/lower/lower_integer.c: i32 and i64 arithmetic (core spec 4.3.2). Cases that LLVM leaves
 * undefined (shift counts beyond the width, division by zero, overflow) never reach LLVM.
 */
#include "lower.h"
#include "lower_trap.h"

static LLVMTypeRef operand_type(struct lower_func *lf) {
    return lower_type(lf->lm, lf->row->operand);
}

static void emit_const(struct lower_func *lf) {
    if (lf->instr.op == WASM_OP_I32_CONST)
        lower_push(lf, lower_const_i32(lf->lm, (uint32_t)lf->instr.i32));
    else
        lower_push(lf, lower_const_i64(lf->lm, (uint64_t)lf->instr.i64));
}

static void emit_binary(struct lower_func *lf) {
    LLVMValueRef right = lower_pop(lf);
    LLVMValueRef left = lower_pop(lf);
    lower_push(lf, LLVMBuildBinOp(lf->builder, (LLVMOpcode)lf->row->arg, left, right, ""));
}

static void emit_shift(struct lower_func *lf) {
    LLVMTypeRef type = operand_type(lf);
    LLVMValueRef mask = LLVMConstInt(type, lf->row->operand == WASM_I32 ? 31 : 63, false);
    LLVMValueRef count = LLVMBuildAnd(lf->builder, lower_pop(lf), mask, "");
    LLVMValueRef value = lower_pop(lf);
    lower_push(lf, LLVMBuildBinOp(lf->builder, (LLVMOpcode)lf->row->arg, value, count, ""));
}

/* fshl and fshr take their count modulo the width, as wasm does. */
static void emit_rotate(struct lower_func *lf) {
    LLVMTypeRef type = operand_type(lf);
    LLVMValueRef count = lower_pop(lf);
    LLVMValueRef value = lower_pop(lf);
    LLVMValueRef args[3] = {value, value, count};
    lower_push(lf, lower_intrinsic_call(lf, (enum lower_intrinsic)lf->row->arg, &type, args, 3));
}

static void trap_if_zero(struct lower_func *lf, LLVMValueRef divisor) {
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(divisor));
    lower_trap_if(lf, LLVMBuildICmp(lf->builder, LLVMIntEQ, divisor, zero, ""),
                  TRAP_INTEGER_DIVIDE_BY_ZERO);
}

static void emit_div_u(struct lower_func *lf) {
    LLVMValueRef divisor = lf->stack[lf->stack_count - 1];
    trap_if_zero(lf, divisor);
    lower_locate(lf);
    emit_binary(lf);
}

static void emit_div_s(struct lower_func *lf) {
    LLVMTypeRef type = operand_type(lf);
    LLVMValueRef divisor = lf->stack[lf->stack_count - 1];
    LLVMValueRef dividend = lf->stack[lf->stack_count - 2];
    LLVMValueRef lowest = LLVMConstInt(
        type, lf->row->operand == WASM_I32 ? (uint64_t)INT32_MIN : (uint64_t)INT64_MIN, true);
    trap_if_zero(lf, divisor);
    LLVMValueRef minus_one =
        LLVMBuildICmp(lf->builder, LLVMIntEQ, divisor, LLVMConstAllOnes(type), "");
    LLVMValueRef is_lowest = LLVMBuildICmp(lf->builder, LLVMIntEQ, dividend, lowest, "");
    lower_trap_if(lf, LLVMBuildAnd(lf->builder, minus_one, is_lowest, ""), TRAP_INTEGER_OVERFLOW);
    lower_locate(lf);
    emit_binary(lf);
}

/* x rem -1 is 0, but idiv faults on the lowest x: divide by 1 instead, which also gives 0. */
static void emit_rem_s(struct lower_func *lf) {
    LLVMTypeRef type = operand_type(lf);
    LLVMValueRef divisor = lower_pop(lf);
    LLVMValueRef dividend = lower_pop(lf);
    trap_if_zero(lf, divisor);
    lower_locate(lf);
    LLVMValueRef minus_one =
        LLVMBuildICmp(lf->builder, LLVMIntEQ, divisor, LLVMConstAllOnes(type), "");
    LLVMValueRef safe =
        LLVMBuildSelect(lf->builder, minus_one, LLVMConstInt(type, 1, false), divisor, "");
    lower_push(lf, LLVMBuildSRem(lf->builder, dividend, safe, ""));
}

static void emit_compare(struct lower_func *lf) {
    LLVMValueRef right = lower_pop(lf);
    LLVMValueRef left = lower_pop(lf);
    lower_push(lf, lower_from_truth(lf, LLVMBuildICmp(lf->builder, (LLVMIntPredicate)lf->row->arg,
                                                      left, right, "")));
}

static void emit_eqz(struct lower_func *lf) {
    LLVMValueRef value = lower_pop(lf);
    LLVMValueRef zero = LLVMConstNull(operand_type(lf));
    lower_push(lf, lower_from_truth(lf, LLVMBuildICmp(lf->builder, LLVMIntEQ, value, zero, "")));
}

/* arg2: takes a second operand that says whether zero is poison; it never is. */
static void emit_count_bits(struct lower_func *lf) {
    LLVMTypeRef type = operand_type(lf);
    LLVMValueRef args[2] = {lower_pop(lf), LLVMConstNull(lf->lm->i1)};
    lower_push(lf, lower_intrinsic_call(lf, (enum lower_intrinsic)lf->row->arg, &type, args,
                                        lf->row->arg2 != 0 ? 2 : 1));
}

/* arg: the width of the signed value within the operand. */
static void emit_extend_within(struct lower_func *lf) {
    LLVMTypeRef narrow = LLVMIntTypeInContext(lf->lm->ctx, lf->row->arg);
    LLVMValueRef value = LLVMBuildTrunc(lf->builder, lower_pop(lf), narrow, "");
    lower_push(lf, LLVMBuildSExt(lf->builder, value, operand_type(lf), ""));
}

static void emit_cast(struct lower_func *lf) {
    LLVMTypeRef type = lower_type(lf->lm, lf->row->result);
    lower_push(lf, LLVMBuildCast(lf->builder, (LLVMOpcode)lf->row->arg, lower_pop(lf), type, ""));
}

#define BOTH(name, function, argument)                                                             \
    {.op = WASM_OP_I32_##name, .emit = function, .arg = argument}, {                               \
        .op = WASM_OP_I64_##name, .emit = function, .arg = argument                                \
    }

static const struct lower_row integer_rows[] = {
    {.op = WASM_OP_I32_CONST, .emit = emit_const},
    {.op = WASM_OP_I64_CONST, .emit = emit_const},
    BOTH(ADD, emit_binary, LLVMAdd),
    BOTH(SUB, emit_binary, LLVMSub),
    BOTH(MUL, emit_binary, LLVMMul),
    BOTH(AND, emit_binary, LLVMAnd),
    BOTH(OR, emit_binary, LLVMOr),
    BOTH(XOR, emit_binary, LLVMXor),
    BOTH(SHL, emit_shift, LLVMShl),
    BOTH(SHR_S, emit_shift, LLVMAShr),
    BOTH(SHR_U, emit_shift, LLVMLShr),
    BOTH(ROTL, emit_rotate, LOWER_FSHL),
    BOTH(ROTR, emit_rotate, LOWER_FSHR),
    BOTH(DIV_U, emit_div_u, LLVMUDiv),
    BOTH(REM_U, emit_div_u, LLVMURem),
    BOTH(DIV_S, emit_div_s, LLVMSDiv),
    BOTH(REM_S, emit_rem_s, 0),
    BOTH(EQ, emit_compare, LLVMIntEQ),
    BOTH(NE, emit_compare, LLVMIntNE),
    BOTH(LT_S, emit_compare, LLVMIntSLT),
    BOTH(LT_U, emit_compare, LLVMIntULT),
    BOTH(GT_S, emit_compare, LLVMIntSGT),
    BOTH(GT_U, emit_compare, LLVMIntUGT),
    BOTH(LE_S, emit_compare, LLVMIntSLE),
    BOTH(LE_U, emit_compare, LLVMIntULE),
    BOTH(GE_S, emit_compare, LLVMIntSGE),
    BOTH(GE_U, emit_compare, LLVMIntUGE),
    BOTH(EQZ, emit_eqz, 0),
    {.op = WASM_OP_I32_CLZ, .emit = emit_count_bits, .arg = LOWER_CTLZ, .arg2 = 1},
    {.op = WASM_OP_I64_CLZ, .emit = emit_count_bits, .arg = LOWER_CTLZ, .arg2 = 1},
    {.op = WASM_OP_I32_CTZ, .emit = emit_count_bits, .arg = LOWER_CTTZ, .arg2 = 1},
    {.op = WASM_OP_I64_CTZ, .emit = emit_count_bits, .arg = LOWER_CTTZ, .arg2 = 1},
    BOTH(POPCNT, emit_count_bits, LOWER_CTPOP),
    BOTH(EXTEND8_S, emit_extend_within, 8),
    BOTH(EXTEND16_S, emit_extend_within, 16),
    {.op = WASM_OP_I64_EXTEND32_S, .emit = emit_extend_within, .arg = 32},
    {.op = WASM_OP_I32_WRAP_I64, .emit = emit_cast, .arg = LLVMTrunc},
    {.op = WASM_OP_I64_EXTEND_I32_S, .emit = emit_cast, .arg = LLVMSExt},
    {.op = WASM_OP_I64_EXTEND_I32_U, .emit = emit_cast, .arg = LLVMZExt},
};
const struct lower_rows lower_integer_rows = {integer_rows,
                                              sizeof integer_rows / sizeof integer_rows[0]};
