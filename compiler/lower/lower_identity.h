/*
 * compiler/lower/lower_identity.h: what constants are as floats, for lower_nan.c and the arithmetic
 * of floats.
 */
#ifndef COMPILER_LOWER_IDENTITY_H
#define COMPILER_LOWER_IDENTITY_H

#include "lower.h"

/* Constants that make an operation return its other operand; or of which LLVM could compute one of
 * those: numbers of few digits. Others would have to be hidden, too, but cost registers where a
 * function writes many (nbody: 12 % more instructions), and give exactly 0 or 1 by x - x and x / x
 * only. */
enum identity { IDENTITY_ZERO, IDENTITY_ONE, IDENTITY_PART, IDENTITIES_COUNT };

/* The type of a vector's lanes; of another value, its type. */
LLVMTypeRef lower_lane_of(LLVMValueRef value);
bool lower_is_float(LLVMValueRef value); /* or a vector of floats */
bool lower_is_vector(LLVMValueRef value);

unsigned lower_lane_bits(LLVMTypeRef lane);
/* The words of a vector constant of 64 or 128 bits, and how many they are. 0: it is no such
 * constant, or a lane has no value. */
unsigned lower_constant_words(struct lower_module *lm, LLVMValueRef constant,
                              uint64_t ret_words[2]);

/* Is a constant the identity; or is a lane of it, as an f32 or an f64? */
bool lower_is_identity(struct lower_module *lm, LLVMValueRef constant, enum identity identity);
/* Is a constant a NaN, or may a lane of it be one? */
bool lower_may_be_nan(struct lower_module *lm, LLVMValueRef constant);
/* Is the constant the identity where it is read as a float (of any type), or as an integer that is
 * converted? */
bool lower_holds_identity(struct lower_module *lm, LLVMValueRef constant, enum identity identity);
bool lower_holds_integer(struct lower_module *lm, LLVMValueRef constant, enum identity identity);

#endif
