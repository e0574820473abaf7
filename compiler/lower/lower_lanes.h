/*
 * compiler/lower/lower_lanes.h: internal header of lower_strict.c and lower_lanes.c, which follows
 * loads through vectors. What depends on a load is one bit per byte of a vector; of a vector of
 * truth values, one bit per lane.
 */
#ifndef COMPILER_LOWER_LANES_H
#define COMPILER_LOWER_LANES_H

#include "lower.h"

/* All bytes of a vector. */
uint64_t lower_lanes_all(LLVMValueRef vector);
/* What of `user` depends on the load if `bits` of its operand `value` do. One of both is a vector.
 * Of scalars, one bit per bit. */
uint64_t lower_lanes_result(LLVMValueRef user, LLVMValueRef value, uint64_t bits);

#endif
