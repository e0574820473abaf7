/*
 * compiler/lower/lower_fence.h: hides values from LLVM, which then cannot fold what its rules would
 * fold wrongly. A fence is empty assembler in the value's register: no instruction.
 */
#ifndef COMPILER_LOWER_FENCE_H
#define COMPILER_LOWER_FENCE_H

#include "lower.h"

/* The same value, of which LLVM knows nothing. At the builder's place. */
LLVMValueRef lower_fence(struct lower_module *lm, LLVMValueRef value);

#define LOWER_HIDDEN_MAX 16

/* A function's constants that are hidden; starts as zeros. */
struct lower_hidden {
    LLVMValueRef constants[LOWER_HIDDEN_MAX], values[LOWER_HIDDEN_MAX];
    uint32_t count;
};

/* A constant, hidden at the function's start, where every loop has it for nothing; once, or a
 * function with many would keep a register or stack slot for each. */
LLVMValueRef lower_hidden_constant(struct lower_module *lm, LLVMValueRef fn,
                                   struct lower_hidden *hidden, LLVMValueRef constant);

#endif
