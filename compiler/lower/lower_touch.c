/*
 * compiler/lower/lower_touch.c: loads whose value the next instruction drops. Only their trap is
 * left of them (core spec 4.4.7). Within the memory, such a load is a prefetch. Outside of it, it
 * is made, and faults like any other.
 *
 * WebAssembly has no prefetch. A guest that wants one reads a byte through a pointer to volatile
 * and ignores it (docs/guests.md). A load that waits for memory keeps all later instructions from
 * retiring; a prefetch does not.
 */
#include "lower.h"

/* llvm.prefetch: to read; keep in all caches; data. */
#define FOR_READING 0
#define LOCALITY_ALL 3
#define CACHE_OF_DATA 1
/* Of a function; the rest are loads: each touch makes blocks. */
#define TOUCHES_MAX 64

/* Strict mode makes the load, like all others; so does the fast tier. Addresses of 64 bits, and
 * memories with pages of one byte, have checks before the load, and are left at that. */
bool lower_is_touch(const struct lower_func *lf) {
    const struct lower_module *lm = lf->lm;
    const struct wasm_memory *memory = program_memory(lm->program, lf->instr.mem.memory_idx);
    return lf->is_dropped && lf->touches_count < TOUCHES_MAX && !lm->is_strict &&
           lm->tier == LOWER_TIER_FULL && !memory->limits.is_64 && !memory->has_byte_pages;
}

/* The sum does not wrap: index and offset have 32 bits. */
static LLVMValueRef is_outside(struct lower_func *lf, LLVMValueRef index64, LLVMValueRef bytes) {
    const struct wasm_instr *instr = &lf->instr;
    const uint64_t width = UINT64_C(1) << wasm_op_access_log2(instr->op);
    LLVMValueRef distance = lower_const_i64(lf->lm, instr->mem.offset + width - 1);
    LLVMValueRef last = LLVMBuildAdd(lf->builder, index64, distance, "");
    return LLVMBuildICmp(lf->builder, LLVMIntUGE, last, bytes, "");
}

static void load_if(struct lower_func *lf, LLVMValueRef condition, LLVMValueRef pointer) {
    LLVMBasicBlockRef outside = lower_new_block(lf, "outside");
    LLVMBasicBlockRef next = lower_new_block(lf, "");
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMValueRef branch = LLVMBuildCondBr(lf->builder, condition, outside, next);
    LLVMSetMetadata(branch, lf->lm->prof_kind, lf->lm->unlikely);
    LLVMPositionBuilderAtEnd(lf->builder, outside);
    const unsigned bits = 8u << wasm_op_access_log2(lf->instr.op);
    LLVMTypeRef type = LLVMIntTypeInContext(lf->lm->ctx, bits);
    LLVMValueRef load = LLVMBuildLoad2(lf->builder, type, pointer, "");
    LLVMSetAlignment(load, 1);
    LLVMSetVolatile(load, true);
    LLVMBuildBr(lf->builder, next);
    LLVMMoveBasicBlockAfter(next, current);
    LLVMPositionBuilderAtEnd(lf->builder, next);
}

void lower_touch(struct lower_func *lf, LLVMValueRef index64, LLVMValueRef pointer,
                 LLVMValueRef bytes) {
    struct lower_module *lm = lf->lm;
    lf->touches_count++;
    lower_locate(lf);
    load_if(lf, is_outside(lf, index64, bytes), pointer);
    LLVMValueRef args[] = {pointer, lower_const_i32(lm, FOR_READING),
                           lower_const_i32(lm, LOCALITY_ALL), lower_const_i32(lm, CACHE_OF_DATA)};
    lower_intrinsic_call(lf, LOWER_PREFETCH, &lm->ptr, args, 4);
    lower_push(lf, LLVMGetUndef(lower_type(lm, lf->row->result)));
}
