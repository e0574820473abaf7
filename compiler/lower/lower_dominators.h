/*
 * compiler/lower/lower_dominators.h: which block of a function dominates which. LLVM's C interface
 * does not say.
 */
#ifndef COMPILER_LOWER_DOMINATORS_H
#define COMPILER_LOWER_DOMINATORS_H

#include <llvm-c/Core.h>
#include <stdbool.h>
#include <stdint.h>

struct dominators {
    LLVMBasicBlockRef *order; /* reachable blocks: a block stands behind those that dominate it */
    uint32_t count;
    uint32_t *parent; /* by place in the order: the immediate dominator; of the entry: itself */
    /* A block's first and last number, in a walk through the tree of dominators. */
    uint32_t *first, *last;
    uint32_t *slots, slots_mask; /* places by block, plus 1 */
};

/* False: out of memory, or the function has too many blocks for a fast answer. */
bool dominators_init(struct dominators *dominators, LLVMValueRef fn);
void dominators_done(struct dominators *dominators);
/* The place of a block in the order; UINT32_MAX: it is not reachable. */
uint32_t dominators_place(const struct dominators *dominators, LLVMBasicBlockRef block);
/* Of places. A block dominates itself. */
static inline bool dominators_above(const struct dominators *dominators, uint32_t above,
                                    uint32_t below) {
    return dominators->first[above] <= dominators->first[below] &&
           dominators->last[below] <= dominators->last[above];
}

#endif
