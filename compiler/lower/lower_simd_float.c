/*
 * compiler/lower/lower_simd_float.c: vectors of floats, and conversions (core spec 4.3.3, 4.3.4,
 * lane by lane). As in lower_float.c, fences that keep signalling NaNs from passing are added later
 * (lower_nan.c). Conversions to integers are the CPU's, with its result for what does not fit put
 * right: LLVM's saturating ones take three times as many instructions.
 */
#include "lower_fence.h"
#include "lower_simd.h"

/* In all rows, arg: lanes. */
static enum lower_lanes row_lanes(const struct lower_func *lf) {
    return (enum lower_lanes)lf->row->arg;
}

static enum lower_lanes int_lanes(enum lower_lanes lanes) {
    return lanes == LANES_F32X4 ? LANES_I32X4 : LANES_I64X2;
}

/* The builder folds constants, and takes NaN * 1 for the same NaN, signalling or not. */
static LLVMValueRef build_arithmetic(struct lower_func *lf, LLVMOpcode opcode, LLVMValueRef left,
                                     LLVMValueRef right) {
    if (LLVMIsConstant(left) && LLVMIsConstant(right))
        left = lower_fence(lf->lm, left);
    return LLVMBuildBinOp(lf->builder, opcode, left, right, "");
}

/* arg2: an LLVM opcode */
static void emit_binary(struct lower_func *lf) {
    LLVMValueRef right = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef left = lower_pop_lanes(lf, row_lanes(lf));
    lower_push_lanes(lf, build_arithmetic(lf, (LLVMOpcode)lf->row->arg2, left, right));
}

static void emit_neg(struct lower_func *lf) {
    lower_push_lanes(lf, LLVMBuildFNeg(lf->builder, lower_pop_lanes(lf, row_lanes(lf)), ""));
}

/* arg2: an intrinsic */
static void emit_unary(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, row_lanes(lf));
    lower_push_lanes(lf, lower_simd_call(lf, (enum lower_intrinsic)lf->row->arg2, value, NULL));
}

static LLVMValueRef build_mask(struct lower_func *lf, LLVMRealPredicate predicate,
                               LLVMValueRef left, LLVMValueRef right, enum lower_lanes lanes) {
    return lower_mask(lf, LLVMBuildFCmp(lf->builder, predicate, left, right, ""), int_lanes(lanes));
}

/* arg2: a predicate */
static void emit_compare(struct lower_func *lf) {
    LLVMValueRef right = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef left = lower_pop_lanes(lf, row_lanes(lf));
    lower_push_lanes(lf,
                     build_mask(lf, (LLVMRealPredicate)lf->row->arg2, left, right, row_lanes(lf)));
}

/* minps and maxps give their second operand if both are zeros, or if one is a NaN. Done both ways
 * round: the two results differ only then. For zeros, `or` finds the -0 of min, and `and` the +0 of
 * max. For NaNs the sum is the result, as in lower_float.c: a quiet NaN.
 * arg2: LLVMOr for min, LLVMAnd for max */
static void emit_min_max(struct lower_func *lf) {
    enum lower_lanes lanes = row_lanes(lf);
    LLVMTypeRef bits = lower_lanes_type(lf->lm, int_lanes(lanes));
    bool is_min = lf->row->arg2 == LLVMOr, is_f32 = lanes == LANES_F32X4;
    enum lower_intrinsic intrinsic = is_min ? (is_f32 ? LOWER_X86_MINPS : LOWER_X86_MINPD)
                                            : (is_f32 ? LOWER_X86_MAXPS : LOWER_X86_MAXPD);
    LLVMValueRef right = lower_pop_lanes(lf, lanes);
    LLVMValueRef left = lower_pop_lanes(lf, lanes);
    LLVMValueRef one = lower_bits(lf, lower_simd_call(lf, intrinsic, left, right), bits);
    LLVMValueRef other = lower_bits(lf, lower_simd_call(lf, intrinsic, right, left), bits);
    LLVMValueRef extreme = LLVMBuildBinOp(lf->builder, (LLVMOpcode)lf->row->arg2, one, other, "");
    LLVMValueRef has_nan = LLVMBuildFCmp(lf->builder, LLVMRealUNO, left, right, "");
    LLVMValueRef sum = lower_bits(lf, build_arithmetic(lf, LLVMFAdd, left, right), bits);
    lower_push_lanes(lf, LLVMBuildSelect(lf->builder, has_nan, sum, extreme, ""));
}

/* pmin is b < a ? b : a, and pmax is a < b ? b : a, NaNs included (core spec 4.3.3). arg2: a
 * predicate of b and a */
static void emit_pseudo(struct lower_func *lf) {
    LLVMValueRef right = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef left = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef takes_right =
        LLVMBuildFCmp(lf->builder, (LLVMRealPredicate)lf->row->arg2, right, left, "");
    lower_push_lanes(lf, LLVMBuildSelect(lf->builder, takes_right, right, left, ""));
}

/* a * b + c, and -(a * b) + c; arg2: LLVMFAdd or LLVMFSub. Deliberately rounded twice: a fused
 * result differs, and not all CPUs have one. */
static void emit_madd(struct lower_func *lf) {
    LLVMValueRef sum = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef right = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef left = lower_pop_lanes(lf, row_lanes(lf));
    LLVMValueRef product = build_arithmetic(lf, LLVMFMul, left, right);
    lower_push_lanes(lf, build_arithmetic(lf, (LLVMOpcode)lf->row->arg2, sum, product));
}

/* ---- conversions ---- */

/* cvttps2dq gives -2^31 for what does not fit. */
static void emit_trunc_f32_s(struct lower_func *lf) {
    LLVMTypeRef bits = lower_lanes_type(lf->lm, LANES_I32X4);
    LLVMValueRef value = lower_pop_lanes(lf, LANES_F32X4);
    LLVMValueRef is_number = build_mask(lf, LLVMRealORD, value, value, LANES_F32X4);
    LLVMValueRef number =
        lower_bits(lf, LLVMBuildAnd(lf->builder, lower_bits(lf, value, bits), is_number, ""),
                   LLVMTypeOf(value));
    LLVMValueRef is_over = build_mask(lf, LLVMRealOGE, number,
                                      lower_splat_real(lf, 2147483648.0, LANES_F32X4), LANES_F32X4);
    LLVMValueRef result = lower_simd_call(lf, LOWER_X86_CVTTPS2DQ, number, NULL);
    lower_push_lanes(lf, LLVMBuildXor(lf->builder, result, is_over, ""));
}

/* Two halves: what is below 2^31, and what is above it. maxps makes NaNs and negative numbers 0. A
 * number from 2^31 on converts to 2^31 (as an unsigned number), and what it has above that is
 * added. */
static void emit_trunc_f32_u(struct lower_func *lf) {
    LLVMValueRef zero = LLVMConstNull(lower_lanes_type(lf->lm, LANES_F32X4));
    LLVMValueRef half = lower_splat_real(lf, 2147483648.0, LANES_F32X4);
    LLVMValueRef value =
        lower_simd_call(lf, LOWER_X86_MAXPS, lower_pop_lanes(lf, LANES_F32X4), zero);
    LLVMValueRef above = LLVMBuildFSub(lf->builder, value, half, "");
    LLVMValueRef is_over = build_mask(lf, LLVMRealOGE, above, half, LANES_F32X4);
    LLVMValueRef more = LLVMBuildXor(
        lf->builder, lower_simd_call(lf, LOWER_X86_CVTTPS2DQ, above, NULL), is_over, "");
    more = lower_simd_call(lf, LOWER_SMAX, more, LLVMConstNull(LLVMTypeOf(more)));
    LLVMValueRef low = lower_simd_call(lf, LOWER_X86_CVTTPS2DQ, value, NULL);
    lower_push_lanes(lf, LLVMBuildAdd(lf->builder, low, more, ""));
}

/* minpd gives its second operand for a NaN: 0 there, and 2^31 - 1 elsewhere. cvttpd2dq makes the
 * upper lanes 0. */
static void emit_trunc_f64_s(struct lower_func *lf) {
    LLVMTypeRef bits = lower_lanes_type(lf->lm, LANES_I64X2);
    LLVMValueRef value = lower_pop_lanes(lf, LANES_F64X2);
    LLVMValueRef highest = lower_bits(lf, lower_splat_real(lf, 2147483647.0, LANES_F64X2), bits);
    LLVMValueRef is_number = build_mask(lf, LLVMRealORD, value, value, LANES_F64X2);
    LLVMValueRef bound =
        lower_bits(lf, LLVMBuildAnd(lf->builder, highest, is_number, ""), LLVMTypeOf(value));
    LLVMValueRef number = lower_simd_call(lf, LOWER_X86_MINPD, value, bound);
    lower_push_lanes(lf, lower_simd_call(lf, LOWER_X86_CVTTPD2DQ, number, NULL));
}

/* Within 0 … 2^32 - 1 and whole, plus 2^52: the integer is the lower half of the double. */
static void emit_trunc_f64_u(struct lower_func *lf) {
    LLVMTypeRef words = lower_lanes_type(lf->lm, LANES_I32X4);
    LLVMValueRef zero = LLVMConstNull(lower_lanes_type(lf->lm, LANES_F64X2));
    LLVMValueRef value =
        lower_simd_call(lf, LOWER_X86_MAXPD, lower_pop_lanes(lf, LANES_F64X2), zero);
    value = lower_simd_call(lf, LOWER_X86_MINPD, value,
                            lower_splat_real(lf, 4294967295.0, LANES_F64X2));
    value = lower_simd_call(lf, LOWER_TRUNC, value, NULL);
    value = LLVMBuildFAdd(lf->builder, value, lower_splat_real(lf, 4503599627370496.0, LANES_F64X2),
                          "");
    LLVMValueRef idxs[4] = {lower_const_i32(lf->lm, 0), lower_const_i32(lf->lm, 2),
                            lower_const_i32(lf->lm, 4), lower_const_i32(lf->lm, 5)};
    lower_push_lanes(lf,
                     LLVMBuildShuffleVector(lf->builder, lower_bits(lf, value, words),
                                            LLVMConstNull(words), LLVMConstVector(idxs, 4), ""));
}

/* arg2: an opcode */
static void emit_convert_f32(struct lower_func *lf) {
    lower_push_lanes(lf, LLVMBuildCast(lf->builder, (LLVMOpcode)lf->row->arg2,
                                       lower_pop_lanes(lf, LANES_I32X4),
                                       lower_lanes_type(lf->lm, LANES_F32X4), ""));
}

/* The two lower lanes, of integers or floats. */
static void emit_convert_f64(struct lower_func *lf) {
    LLVMValueRef low = lower_half(lf, lower_pop_lanes(lf, row_lanes(lf)), false);
    lower_push_lanes(lf, LLVMBuildCast(lf->builder, (LLVMOpcode)lf->row->arg2, low,
                                       lower_lanes_type(lf->lm, LANES_F64X2), ""));
}

static void emit_demote(struct lower_func *lf) {
    LLVMTypeRef half = LLVMVectorType(lf->lm->f32, 2);
    LLVMValueRef value = lower_pop_lanes(lf, LANES_F64X2);
    LLVMValueRef low = LLVMBuildFPTrunc(lf->builder, value, half, "");
    LLVMValueRef idxs[4];
    for (uint32_t i = 0; i < 4; i++)
        idxs[i] = lower_const_i32(lf->lm, i);
    lower_push_lanes(lf, LLVMBuildShuffleVector(lf->builder, low, LLVMConstNull(half),
                                                LLVMConstVector(idxs, 4), ""));
}

#define ROW(name, function, lanes, argument)                                                       \
    { .op = WASM_OP_##name, .emit = function, .arg = lanes, .arg2 = argument }
#define BOTH(name, function, argument)                                                             \
    ROW(F32X4_##name, function, LANES_F32X4, argument),                                            \
        ROW(F64X2_##name, function, LANES_F64X2, argument)

static const struct lower_row simd_float_rows[] = {
    BOTH(ADD, emit_binary, LLVMFAdd),
    BOTH(SUB, emit_binary, LLVMFSub),
    BOTH(MUL, emit_binary, LLVMFMul),
    BOTH(DIV, emit_binary, LLVMFDiv),
    BOTH(NEG, emit_neg, 0),
    BOTH(ABS, emit_unary, LOWER_FABS),
    BOTH(SQRT, emit_unary, LOWER_SQRT),
    BOTH(CEIL, emit_unary, LOWER_CEIL),
    BOTH(FLOOR, emit_unary, LOWER_FLOOR),
    BOTH(TRUNC, emit_unary, LOWER_TRUNC),
    BOTH(NEAREST, emit_unary, LOWER_ROUNDEVEN),
    BOTH(MIN, emit_min_max, LLVMOr),
    BOTH(MAX, emit_min_max, LLVMAnd),
    BOTH(RELAXED_MIN, emit_min_max, LLVMOr),
    BOTH(RELAXED_MAX, emit_min_max, LLVMAnd),
    BOTH(RELAXED_MADD, emit_madd, LLVMFAdd),
    BOTH(RELAXED_NMADD, emit_madd, LLVMFSub),
    BOTH(PMIN, emit_pseudo, LLVMRealOLT),
    BOTH(PMAX, emit_pseudo, LLVMRealOGT),
    BOTH(EQ, emit_compare, LLVMRealOEQ),
    BOTH(NE, emit_compare, LLVMRealUNE),
    BOTH(LT, emit_compare, LLVMRealOLT),
    BOTH(GT, emit_compare, LLVMRealOGT),
    BOTH(LE, emit_compare, LLVMRealOLE),
    BOTH(GE, emit_compare, LLVMRealOGE),
    ROW(I32X4_TRUNC_SAT_F32X4_S, emit_trunc_f32_s, 0, 0),
    ROW(I32X4_TRUNC_SAT_F32X4_U, emit_trunc_f32_u, 0, 0),
    ROW(I32X4_TRUNC_SAT_F64X2_S_ZERO, emit_trunc_f64_s, 0, 0),
    ROW(I32X4_TRUNC_SAT_F64X2_U_ZERO, emit_trunc_f64_u, 0, 0),
    ROW(I32X4_RELAXED_TRUNC_F32X4_S, emit_trunc_f32_s, 0, 0),
    ROW(I32X4_RELAXED_TRUNC_F32X4_U, emit_trunc_f32_u, 0, 0),
    ROW(I32X4_RELAXED_TRUNC_F64X2_S_ZERO, emit_trunc_f64_s, 0, 0),
    ROW(I32X4_RELAXED_TRUNC_F64X2_U_ZERO, emit_trunc_f64_u, 0, 0),
    ROW(F32X4_CONVERT_I32X4_S, emit_convert_f32, 0, LLVMSIToFP),
    ROW(F32X4_CONVERT_I32X4_U, emit_convert_f32, 0, LLVMUIToFP),
    ROW(F64X2_CONVERT_LOW_I32X4_S, emit_convert_f64, LANES_I32X4, LLVMSIToFP),
    ROW(F64X2_CONVERT_LOW_I32X4_U, emit_convert_f64, LANES_I32X4, LLVMUIToFP),
    ROW(F64X2_PROMOTE_LOW_F32X4, emit_convert_f64, LANES_F32X4, LLVMFPExt),
    ROW(F32X4_DEMOTE_F64X2_ZERO, emit_demote, LANES_F64X2, 0),
};
const struct lower_rows lower_simd_float_rows = {simd_float_rows, sizeof simd_float_rows /
                                                                      sizeof simd_float_rows[0]};
