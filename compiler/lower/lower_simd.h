/*
 * compiler/lower/lower_simd.h: internal header of lower_simd*.c. A v128 operand is a <2 x i64>;
 * each instruction takes it for a vector of its lanes.
 */
#ifndef COMPILER_LOWER_SIMD_H
#define COMPILER_LOWER_SIMD_H

#include "lower.h"

/* The order is that of lane_types in lower_simd.c. */
enum lower_lanes {
    LANES_I8X16,
    LANES_I16X8,
    LANES_I32X4,
    LANES_I64X2,
    LANES_F32X4,
    LANES_F64X2,
    LANES_COUNT
};

/* The vector type, the type of one lane, and the number of lanes. */
LLVMTypeRef lower_lanes_type(const struct lower_module *lm, enum lower_lanes lanes);
LLVMTypeRef lower_lane_type(const struct lower_module *lm, enum lower_lanes lanes);
uint32_t lower_lanes_count(enum lower_lanes lanes);

/* The same 128 bits, as another vector. */
LLVMValueRef lower_bits(struct lower_func *lf, LLVMValueRef value, LLVMTypeRef type);
LLVMValueRef lower_pop_lanes(struct lower_func *lf, enum lower_lanes lanes);
void lower_push_lanes(struct lower_func *lf, LLVMValueRef value);

LLVMValueRef lower_splat(struct lower_func *lf, LLVMValueRef lane, enum lower_lanes lanes);
LLVMValueRef lower_splat_int(struct lower_func *lf, uint64_t lane, enum lower_lanes lanes);
LLVMValueRef lower_splat_real(struct lower_func *lf, double lane, enum lower_lanes lanes);
/* Half of the lanes: the lower or the upper ones. */
LLVMValueRef lower_half(struct lower_func *lf, LLVMValueRef value, bool is_high);
/* A vector of truth values, as lanes of all ones or zeros. */
LLVMValueRef lower_mask(struct lower_func *lf, LLVMValueRef bits, enum lower_lanes lanes);
/* An intrinsic of one or two operands of one type. */
LLVMValueRef lower_simd_call(struct lower_func *lf, enum lower_intrinsic intrinsic,
                             LLVMValueRef left, LLVMValueRef right);

#endif
