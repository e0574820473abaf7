/*
 * compiler/lower/lower_memory64.c: addresses of 64 bits (core spec 3.0, section 4.4.7; proposal
 * memory64). A memory's window has room for every index below HUSK_MEM64_INDEX_MAX, which is the
 * most bytes that such a memory can have, and for static offsets of 32 bits. Code compares the
 * index with that. The pages that are not mapped do the rest, as with 32-bit addresses. So most
 * accesses out of bounds are page faults, and those far away are traps that code asks for.
 *
 * Deliberately no clamping of the index (a select) instead of the branch: its latency lengthens
 * every chain of dependent loads (sort, interp: 1.2 times as slow), and loops of either kind are
 * not vectorised.
 */
#include "layout.h"
#include "lower.h"
#include "lower_trap.h"

LLVMValueRef lower_to_address(struct lower_func *lf, LLVMValueRef value,
                              const struct wasm_limits *limits) {
    return limits->is_64 ? value : LLVMBuildTrunc(lf->builder, value, lf->lm->i32, "");
}

LLVMValueRef lower_range_is_outside(struct lower_func *lf, const struct wasm_limits *limits,
                                    LLVMValueRef start, LLVMValueRef count, LLVMValueRef size) {
    if (limits == NULL || !limits->is_64) { /* the sum does not wrap */
        LLVMValueRef end = LLVMBuildAdd(lf->builder, start, count, "");
        return LLVMBuildICmp(lf->builder, LLVMIntUGT, end, size, "");
    }
    LLVMValueRef starts_outside = LLVMBuildICmp(lf->builder, LLVMIntUGT, start, size, "");
    LLVMValueRef left = LLVMBuildSub(lf->builder, size, start, "");
    LLVMValueRef ends_outside = LLVMBuildICmp(lf->builder, LLVMIntUGT, count, left, "");
    return LLVMBuildOr(lf->builder, starts_outside, ends_outside, "");
}

/* index + offset, or the largest number. */
static LLVMValueRef saturated_sum(struct lower_func *lf, LLVMValueRef index, uint64_t offset) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef distance = lower_const_i64(lm, offset);
    LLVMValueRef sum = LLVMBuildAdd(lf->builder, index, distance, "");
    LLVMValueRef wraps = LLVMBuildICmp(lf->builder, LLVMIntULT, sum, distance, "");
    return LLVMBuildSelect(lf->builder, wraps, LLVMConstAllOnes(lm->i64), sum, "");
}

LLVMValueRef lower_memory64_index(struct lower_func *lf, LLVMValueRef index, uint64_t *offset) {
    if (*offset > UINT32_MAX) {
        index = saturated_sum(lf, index, *offset);
        *offset = 0;
    }
    LLVMValueRef most = lower_const_i64(lf->lm, HUSK_MEM64_INDEX_MAX - 1);
    lower_trap_if(lf, LLVMBuildICmp(lf->builder, LLVMIntUGT, index, most, ""),
                  TRAP_MEMORY_OUT_OF_BOUNDS);
    return index;
}
