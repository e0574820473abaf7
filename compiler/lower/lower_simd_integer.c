/*
 * compiler/lower/lower_simd_integer.c: vectors of integers (core spec 4.3.2, lane by lane). Plain
 * LLVM vectors where LLVM selects the CPU's instruction for them; elsewhere the instruction itself,
 * by its intrinsic (SSE4.1 and below, so that every CPU level has it).
 */
#include "lower_simd.h"

/* In all rows, arg: lanes. arg2: an opcode, a predicate or an intrinsic. */
static enum lower_lanes row_lanes(const struct lower_func *lf) {
    return (enum lower_lanes)lf->row->arg;
}

static void emit_binary(struct lower_func *lf) {
    LLVMValueRef right = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef left = lower_pop_lanes(lf, row_lanes(lf));
    lower_push_lanes(lf, LLVMBuildBinOp(lf->builder, (LLVMOpcode)lf->row->arg2, left, right, ""));
}

static void emit_call2(struct lower_func *lf) {
    LLVMValueRef right = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef left = lower_pop_lanes(lf, row_lanes(lf));
    lower_push_lanes(lf, lower_simd_call(lf, (enum lower_intrinsic)lf->row->arg2, left, right));
}

static void emit_neg(struct lower_func *lf) {
    lower_push_lanes(lf, LLVMBuildNeg(lf->builder, lower_pop_lanes(lf, row_lanes(lf)), ""));
}

/* The smallest number stays what it is. */
static void emit_abs(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, row_lanes(lf));
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMValueRef args[2] = {value, LLVMConstNull(lf->lm->i1)};
    lower_push_lanes(lf, lower_intrinsic_call(lf, LOWER_ABS, &type, args, 2));
}

static void emit_popcnt(struct lower_func *lf) {
    lower_push_lanes(lf, lower_simd_call(lf, LOWER_CTPOP, lower_pop_lanes(lf, LANES_I8X16), NULL));
}

static void emit_compare(struct lower_func *lf) {
    LLVMValueRef right = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef left = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef bits =
        LLVMBuildICmp(lf->builder, (LLVMIntPredicate)lf->row->arg2, left, right, "");
    lower_push_lanes(lf, lower_mask(lf, bits, row_lanes(lf)));
}

/* Shift counts are taken modulo the width of a lane; beyond it LLVM's shifts are poison. */
static void emit_shift(struct lower_func *lf) {
    enum lower_lanes lanes = row_lanes(lf);
    LLVMTypeRef type = lower_lane_type(lf->lm, lanes);
    unsigned width = LLVMGetIntTypeWidth(type);
    LLVMValueRef count =
        LLVMBuildAnd(lf->builder, lower_pop(lf), lower_const_i32(lf->lm, width - 1), "");
    count = LLVMBuildIntCast2(lf->builder, count, type, false, "");
    LLVMValueRef value = lower_pop_lanes(lf, lanes);
    lower_push_lanes(lf, LLVMBuildBinOp(lf->builder, (LLVMOpcode)lf->row->arg2, value,
                                        lower_splat(lf, count, lanes), ""));
}

/* One bit per lane, as an integer of that many bits. */
static LLVMValueRef lane_mask(struct lower_func *lf, LLVMValueRef bits) {
    LLVMTypeRef type = LLVMIntTypeInContext(lf->lm->ctx, lower_lanes_count(row_lanes(lf)));
    return LLVMBuildBitCast(lf->builder, bits, type, "");
}

static void emit_all_true(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef zeros =
        LLVMBuildICmp(lf->builder, LLVMIntEQ, value, LLVMConstNull(LLVMTypeOf(value)), "");
    LLVMValueRef mask = lane_mask(lf, zeros);
    lower_push(lf, lower_from_truth(lf, LLVMBuildICmp(lf->builder, LLVMIntEQ, mask,
                                                      LLVMConstNull(LLVMTypeOf(mask)), "")));
}

static void emit_bitmask(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef signs =
        LLVMBuildICmp(lf->builder, LLVMIntSLT, value, LLVMConstNull(LLVMTypeOf(value)), "");
    lower_push(lf, lower_from_truth(lf, lane_mask(lf, signs)));
}

/* ---- between widths ---- */

/* arg: the lanes of the result; the operands have twice as many of half their width */
static LLVMValueRef pop_narrow(struct lower_func *lf) {
    return lower_pop_lanes(lf, (enum lower_lanes)(lf->row->arg - 1));
}

enum half { LOW_S = 0, LOW_U = 1, HIGH_S = 2, HIGH_U = 3 };

static LLVMValueRef extend(struct lower_func *lf, LLVMValueRef value) {
    bool is_high = (lf->row->arg2 & HIGH_S) != 0, is_unsigned = (lf->row->arg2 & LOW_U) != 0;
    return LLVMBuildCast(lf->builder, is_unsigned ? LLVMZExt : LLVMSExt,
                         lower_half(lf, value, is_high), lower_lanes_type(lf->lm, row_lanes(lf)),
                         "");
}

static void emit_extend(struct lower_func *lf) {
    lower_push_lanes(lf, extend(lf, pop_narrow(lf)));
}

static void emit_extmul(struct lower_func *lf) {
    LLVMValueRef right = extend(lf, pop_narrow(lf));
    LLVMValueRef left = extend(lf, pop_narrow(lf));
    lower_push_lanes(lf, LLVMBuildMul(lf->builder, left, right, ""));
}

/* pavgb and pavgw: LLVM knows them by this form. */
static void emit_avgr(struct lower_func *lf) {
    LLVMTypeRef type = lower_lanes_type(lf->lm, row_lanes(lf));
    LLVMTypeRef lane = lower_lane_type(lf->lm, (enum lower_lanes)(lf->row->arg + 1));
    LLVMTypeRef wide = LLVMVectorType(lane, lower_lanes_count(row_lanes(lf)));
    LLVMValueRef ones[16];
    for (uint32_t i = 0; i < 16; i++)
        ones[i] = LLVMConstInt(lane, 1, false);
    LLVMValueRef one = LLVMConstVector(ones, lower_lanes_count(row_lanes(lf)));
    LLVMValueRef right = LLVMBuildZExt(lf->builder, lower_pop_lanes(lf, row_lanes(lf)), wide, "");
    LLVMValueRef left = LLVMBuildZExt(lf->builder, lower_pop_lanes(lf, row_lanes(lf)), wide, "");
    LLVMValueRef sum = LLVMBuildNUWAdd(lf->builder, left, right, "");
    sum = LLVMBuildNUWAdd(lf->builder, sum, one, "");
    lower_push_lanes(
        lf, LLVMBuildTrunc(lf->builder, LLVMBuildLShr(lf->builder, sum, one, ""), type, ""));
}

/* pmulhrsw gives -0x8000 only for the product of two -0x8000, whose saturated result is 0x7fff. */
static void emit_q15mulr(struct lower_func *lf) {
    LLVMValueRef right = lower_pop_lanes(lf, LANES_I16X8);
    LLVMValueRef left = lower_pop_lanes(lf, LANES_I16X8);
    LLVMValueRef product = lower_simd_call(lf, LOWER_X86_PMULHRSW, left, right);
    LLVMValueRef is_over = LLVMBuildICmp(lf->builder, LLVMIntEQ, product,
                                         lower_splat_int(lf, 0x8000, LANES_I16X8), "");
    lower_push_lanes(lf,
                     LLVMBuildXor(lf->builder, product, lower_mask(lf, is_over, LANES_I16X8), ""));
}

/* pmaddubsw multiplies unsigned bytes by signed ones and adds pairs: here with 1. */
static void emit_extadd_i8_s(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, LANES_I8X16);
    lower_push_lanes(
        lf, lower_simd_call(lf, LOWER_X86_PMADDUBSW, lower_splat_int(lf, 1, LANES_I8X16), value));
}

static void emit_extadd_i8_u(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, LANES_I8X16);
    lower_push_lanes(
        lf, lower_simd_call(lf, LOWER_X86_PMADDUBSW, value, lower_splat_int(lf, 1, LANES_I8X16)));
}

static void emit_extadd_i16_s(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, LANES_I16X8);
    lower_push_lanes(
        lf, lower_simd_call(lf, LOWER_X86_PMADDWD, value, lower_splat_int(lf, 1, LANES_I16X8)));
}

static void emit_extadd_i16_u(struct lower_func *lf) {
    LLVMValueRef pairs = lower_pop_lanes(lf, LANES_I32X4);
    LLVMValueRef low =
        LLVMBuildAnd(lf->builder, pairs, lower_splat_int(lf, 0xffff, LANES_I32X4), "");
    LLVMValueRef high = LLVMBuildLShr(lf->builder, pairs, lower_splat_int(lf, 16, LANES_I32X4), "");
    lower_push_lanes(lf, LLVMBuildAdd(lf->builder, low, high, ""));
}

/* Products of signed bytes, each pair added, modulo 2^16. */
static LLVMValueRef byte_dot(struct lower_func *lf, LLVMValueRef left, LLVMValueRef right) {
    LLVMBuilderRef builder = lf->builder;
    LLVMValueRef eight = lower_splat_int(lf, 8, LANES_I16X8);
    LLVMValueRef odd = LLVMBuildMul(builder, LLVMBuildAShr(builder, left, eight, ""),
                                    LLVMBuildAShr(builder, right, eight, ""), "");
    left = LLVMBuildAShr(builder, LLVMBuildShl(builder, left, eight, ""), eight, "");
    right = LLVMBuildAShr(builder, LLVMBuildShl(builder, right, eight, ""), eight, "");
    return LLVMBuildAdd(builder, LLVMBuildMul(builder, left, right, ""), odd, "");
}

static void emit_byte_dot(struct lower_func *lf) {
    LLVMValueRef right = lower_pop_lanes(lf, LANES_I16X8);
    LLVMValueRef left = lower_pop_lanes(lf, LANES_I16X8);
    lower_push_lanes(lf, byte_dot(lf, left, right));
}

static void emit_byte_dot_add(struct lower_func *lf) {
    LLVMValueRef sum = lower_pop_lanes(lf, LANES_I32X4);
    LLVMValueRef right = lower_pop_lanes(lf, LANES_I16X8);
    LLVMValueRef left = lower_pop_lanes(lf, LANES_I16X8);
    LLVMValueRef pairs = lower_simd_call(lf, LOWER_X86_PMADDWD, byte_dot(lf, left, right),
                                         lower_splat_int(lf, 1, LANES_I16X8));
    lower_push_lanes(lf, LLVMBuildAdd(lf->builder, sum, pairs, ""));
}

#define ROW(name, function, lanes, argument)                                                       \
    { .op = WASM_OP_##name, .emit = function, .arg = lanes, .arg2 = argument }
/* For all four widths. */
#define ALL(name, function, argument)                                                              \
    ROW(I8X16_##name, function, LANES_I8X16, argument),                                            \
        ROW(I16X8_##name, function, LANES_I16X8, argument),                                        \
        ROW(I32X4_##name, function, LANES_I32X4, argument),                                        \
        ROW(I64X2_##name, function, LANES_I64X2, argument)
#define NARROW(name, function, argument)                                                           \
    ROW(I8X16_##name, function, LANES_I8X16, argument),                                            \
        ROW(I16X8_##name, function, LANES_I16X8, argument)
#define NOT_WIDE(name, function, argument)                                                         \
    NARROW(name, function, argument), ROW(I32X4_##name, function, LANES_I32X4, argument)
#define WIDEN(name, from, lanes, function)                                                         \
    ROW(name##_LOW_##from##_S, function, lanes, LOW_S),                                            \
        ROW(name##_LOW_##from##_U, function, lanes, LOW_U),                                        \
        ROW(name##_HIGH_##from##_S, function, lanes, HIGH_S),                                      \
        ROW(name##_HIGH_##from##_U, function, lanes, HIGH_U)

static const struct lower_row simd_integer_rows[] = {
    ALL(ADD, emit_binary, LLVMAdd),
    ALL(SUB, emit_binary, LLVMSub),
    ROW(I16X8_MUL, emit_binary, LANES_I16X8, LLVMMul),
    ROW(I32X4_MUL, emit_binary, LANES_I32X4, LLVMMul),
    ROW(I64X2_MUL, emit_binary, LANES_I64X2, LLVMMul),
    ALL(NEG, emit_neg, 0),
    ALL(ABS, emit_abs, 0),
    ALL(SHL, emit_shift, LLVMShl),
    ALL(SHR_S, emit_shift, LLVMAShr),
    ALL(SHR_U, emit_shift, LLVMLShr),
    ALL(ALL_TRUE, emit_all_true, 0),
    ALL(BITMASK, emit_bitmask, 0),
    ALL(EQ, emit_compare, LLVMIntEQ),
    ALL(NE, emit_compare, LLVMIntNE),
    ALL(LT_S, emit_compare, LLVMIntSLT),
    ALL(GT_S, emit_compare, LLVMIntSGT),
    ALL(LE_S, emit_compare, LLVMIntSLE),
    ALL(GE_S, emit_compare, LLVMIntSGE),
    NOT_WIDE(LT_U, emit_compare, LLVMIntULT),
    NOT_WIDE(GT_U, emit_compare, LLVMIntUGT),
    NOT_WIDE(LE_U, emit_compare, LLVMIntULE),
    NOT_WIDE(GE_U, emit_compare, LLVMIntUGE),
    NOT_WIDE(MIN_S, emit_call2, LOWER_SMIN),
    NOT_WIDE(MIN_U, emit_call2, LOWER_UMIN),
    NOT_WIDE(MAX_S, emit_call2, LOWER_SMAX),
    NOT_WIDE(MAX_U, emit_call2, LOWER_UMAX),
    NARROW(ADD_SAT_S, emit_call2, LOWER_SADD_SAT),
    NARROW(ADD_SAT_U, emit_call2, LOWER_UADD_SAT),
    NARROW(SUB_SAT_S, emit_call2, LOWER_SSUB_SAT),
    NARROW(SUB_SAT_U, emit_call2, LOWER_USUB_SAT),
    NARROW(AVGR_U, emit_avgr, 0),
    ROW(I8X16_POPCNT, emit_popcnt, LANES_I8X16, 0),
    ROW(I16X8_Q15MULR_SAT_S, emit_q15mulr, LANES_I16X8, 0),
    ROW(I16X8_RELAXED_Q15MULR_S, emit_q15mulr, LANES_I16X8, 0),
    ROW(I16X8_RELAXED_DOT_I8X16_I7X16_S, emit_byte_dot, LANES_I16X8, 0),
    ROW(I32X4_RELAXED_DOT_I8X16_I7X16_ADD_S, emit_byte_dot_add, LANES_I32X4, 0),
    ROW(I32X4_DOT_I16X8_S, emit_call2, LANES_I16X8, LOWER_X86_PMADDWD),
    ROW(I8X16_NARROW_I16X8_S, emit_call2, LANES_I16X8, LOWER_X86_PACKSSWB),
    ROW(I8X16_NARROW_I16X8_U, emit_call2, LANES_I16X8, LOWER_X86_PACKUSWB),
    ROW(I16X8_NARROW_I32X4_S, emit_call2, LANES_I32X4, LOWER_X86_PACKSSDW),
    ROW(I16X8_NARROW_I32X4_U, emit_call2, LANES_I32X4, LOWER_X86_PACKUSDW),
    ROW(I16X8_EXTADD_PAIRWISE_I8X16_S, emit_extadd_i8_s, LANES_I16X8, 0),
    ROW(I16X8_EXTADD_PAIRWISE_I8X16_U, emit_extadd_i8_u, LANES_I16X8, 0),
    ROW(I32X4_EXTADD_PAIRWISE_I16X8_S, emit_extadd_i16_s, LANES_I32X4, 0),
    ROW(I32X4_EXTADD_PAIRWISE_I16X8_U, emit_extadd_i16_u, LANES_I32X4, 0),
    WIDEN(I16X8_EXTEND, I8X16, LANES_I16X8, emit_extend),
    WIDEN(I32X4_EXTEND, I16X8, LANES_I32X4, emit_extend),
    WIDEN(I64X2_EXTEND, I32X4, LANES_I64X2, emit_extend),
    WIDEN(I16X8_EXTMUL, I8X16, LANES_I16X8, emit_extmul),
    WIDEN(I32X4_EXTMUL, I16X8, LANES_I32X4, emit_extmul),
    WIDEN(I64X2_EXTMUL, I32X4, LANES_I64X2, emit_extmul),
};
const struct lower_rows lower_simd_integer_rows = {
    simd_integer_rows, sizeof simd_integer_rows / sizeof simd_integer_rows[0]};
