/*
 * compiler/lower/lower_pages.c: memories with pages of one byte (proposal custom page sizes).
 *
 * The host maps 64 KiB at a time, and knows such a memory by that size, rounded up. The exact size,
 * in bytes, is a word of the guest's data ("i0.mbytes"), which only the guest's code reads and
 * writes. So snapshots hold it like any other state. Pages that are not mapped do not help within
 * the last 64 KiB: each access is checked against that word.
 */
#include "layout.h"
#include "lower.h"
#include "lower_trap.h"
#include "mailbox.h"

LLVMValueRef lower_host_pages(struct lower_func *lf, uint32_t memory_idx) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef slot =
        lower_absolute(lm, "i0.memsize", memory_idx, lm->i64, lm->plan->mem_size_gva[memory_idx]);
    return LLVMBuildLoad2(lf->builder, lm->i64, slot, "");
}

static LLVMValueRef size_slot(struct lower_func *lf, uint32_t memory_idx) {
    struct lower_module *lm = lf->lm;
    return lower_absolute(lm, "i0.mbytes", memory_idx, lm->i64,
                          lm->plan->mem_bytes_gva[memory_idx]);
}

LLVMValueRef lower_byte_paged_size(struct lower_func *lf, uint32_t memory_idx) {
    return LLVMBuildLoad2(lf->builder, lf->lm->i64, size_slot(lf, memory_idx), "");
}

/* Of offset and width together: with 64-bit addresses, an offset that does not fit is beyond every
 * memory. */
static uint64_t access_distance(const struct wasm_instr *instr) {
    const uint64_t width = UINT64_C(1) << wasm_op_access_log2(instr->op);
    return instr->mem.offset > UINT64_MAX - width ? UINT64_MAX : instr->mem.offset + width;
}

void lower_byte_paged_check(struct lower_func *lf, LLVMValueRef index64) {
    const uint32_t memory_idx = lf->instr.mem.memory_idx;
    LLVMValueRef distance = lower_const_i64(lf->lm, access_distance(&lf->instr));
    LLVMValueRef outside =
        lower_range_is_outside(lf, &program_memory(lf->lm->program, memory_idx)->limits, index64,
                               distance, lower_byte_paged_size(lf, memory_idx));
    lower_trap_if(lf, outside, TRAP_MEMORY_OUT_OF_BOUNDS);
}

/* Asks the host for the pages of 64 KiB that `bytes` need and the memory does not have. Goes on in
 * `enough`, or in `failed`. */
static void ask_host(struct lower_func *lf, LLVMValueRef bytes, LLVMBasicBlockRef enough,
                     LLVMBasicBlockRef failed) {
    struct lower_module *lm = lf->lm;
    const uint32_t memory_idx = lf->instr.idx;
    LLVMBasicBlockRef ask = lower_new_block(lf, "");
    LLVMValueRef rounded =
        LLVMBuildAdd(lf->builder, bytes, lower_const_i64(lm, HUSK_WASM_PAGE_SIZE - 1), "");
    LLVMValueRef wanted = LLVMBuildLShr(lf->builder, rounded, lower_const_i64(lm, 16), "");
    LLVMValueRef has = lower_host_pages(lf, memory_idx);
    LLVMBuildCondBr(lf->builder, LLVMBuildICmp(lf->builder, LLVMIntUGT, wanted, has, ""), ask,
                    enough);
    LLVMPositionBuilderAtEnd(lf->builder, ask);
    LLVMValueRef old = lower_service(lf, HUSK_SERVICE_MEMORY_GROW, memory_idx,
                                     LLVMBuildSub(lf->builder, wanted, has, ""));
    LLVMValueRef is_refused =
        LLVMBuildICmp(lf->builder, LLVMIntEQ, old, lower_const_i64(lm, UINT64_MAX), "");
    LLVMBuildCondBr(lf->builder, is_refused, failed, enough);
}

/* The most bytes that the memory can have, here. */
static uint64_t most_bytes(const struct wasm_limits *limits) {
    return limits->is_64 && limits->max > HUSK_MEM64_INDEX_MAX ? HUSK_MEM64_INDEX_MAX : limits->max;
}

LLVMValueRef lower_byte_paged_grow(struct lower_func *lf, LLVMValueRef delta64) {
    struct lower_module *lm = lf->lm;
    const uint64_t max = most_bytes(&program_memory(lm->program, lf->instr.idx)->limits);
    LLVMBasicBlockRef within = lower_new_block(lf, "");
    LLVMBasicBlockRef enough = lower_new_block(lf, "");
    LLVMBasicBlockRef failed = lower_new_block(lf, "");
    LLVMBasicBlockRef end = lower_new_block(lf, "");
    LLVMValueRef old = lower_byte_paged_size(lf, lf->instr.idx);
    LLVMValueRef new = LLVMBuildAdd(lf->builder, old, delta64, "");
    LLVMValueRef left = LLVMBuildSub(lf->builder, lower_const_i64(lm, max), old, "");
    LLVMValueRef is_within = LLVMBuildICmp(lf->builder, LLVMIntULE, delta64, left, "");
    LLVMBuildCondBr(lf->builder, is_within, within, failed);
    LLVMPositionBuilderAtEnd(lf->builder, within);
    ask_host(lf, new, enough, failed);
    LLVMPositionBuilderAtEnd(lf->builder, enough);
    lower_state_store(lf, new, size_slot(lf, lf->instr.idx));
    LLVMBuildBr(lf->builder, end);
    LLVMPositionBuilderAtEnd(lf->builder, failed);
    LLVMBuildBr(lf->builder, end);
    LLVMPositionBuilderAtEnd(lf->builder, end);
    LLVMValueRef result = LLVMBuildPhi(lf->builder, lm->i64, "");
    LLVMValueRef values[2] = {old, lower_const_i64(lm, UINT64_MAX)};
    LLVMBasicBlockRef froms[2] = {enough, failed};
    LLVMAddIncoming(result, values, froms, 2);
    return result;
}
