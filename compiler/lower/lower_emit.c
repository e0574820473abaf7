/*
 * compiler/lower/lower_emit.c: the common parts of instructions' code: operand stack, blocks,
 * locals, truth values, accesses of state. All other lower_*.c except lower_module.c use it.
 *
 * Locals are stack slots, which LLVM's SROA turns into registers. A slot is made when the local is
 * first used, so unused locals cost nothing (a function may have 50,000). Operands are LLVM values.
 */
#include <stdlib.h>

#include "error.h"
#include "lower.h"
#include "mailbox.h"

int lower_fail(struct lower_func *lf, int status, const char *what) {
    if (lf->status == 0)
        lf->status = error_at(lf->lm->err, status, lf->instr.offset, "%s", what);
    return lf->status;
}

void lower_push(struct lower_func *lf, LLVMValueRef value) {
    if (lf->stack_count == lf->stack_cap) {
        uint32_t cap = lf->stack_cap == 0 ? 64 : lf->stack_cap * 2;
        LLVMValueRef *stack = realloc(lf->stack, cap * sizeof *stack);
        if (stack == NULL) {
            lower_fail(lf, HUSK_E_NOMEM, "out of memory");
            return;
        }
        lf->stack = stack;
        lf->stack_cap = cap;
    }
    lf->stack[lf->stack_count++] = value;
}

LLVMValueRef lower_pop(struct lower_func *lf) {
    return lf->stack[--lf->stack_count];
}

LLVMBasicBlockRef lower_new_block(struct lower_func *lf, const char *name) {
    return LLVMAppendBasicBlockInContext(lf->lm->ctx, lf->fn, name);
}

/* Blocks are made when they are first named; code layout follows the order in which they are
 * entered. */
void lower_enter_block(struct lower_func *lf, LLVMBasicBlockRef block) {
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    if (current != NULL && current != block)
        LLVMMoveBasicBlockAfter(block, current);
    LLVMPositionBuilderAtEnd(lf->builder, block);
}

void lower_locate(struct lower_func *lf) {
    if (lf->di_scope == NULL)
        return;
    uint64_t offset = lf->instr.offset + (lf->instance != NULL ? lf->instance->input_offset : 0);
    LLVMMetadataRef location =
        LLVMDIBuilderCreateDebugLocation(lf->lm->ctx, (unsigned)offset, 0, lf->di_scope, NULL);
    LLVMSetCurrentDebugLocation2(lf->builder, location);
}

LLVMValueRef lower_alloca(struct lower_func *lf, LLVMTypeRef type, uint32_t count) {
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMPositionBuilderAtEnd(lf->builder, lf->entry);
    LLVMTypeRef array = count == 1 ? type : LLVMArrayType2(type, count);
    LLVMValueRef slot = LLVMBuildAlloca(lf->builder, array, "");
    LLVMPositionBuilderAtEnd(lf->builder, current);
    return slot;
}

/* Its first value, at the end of the entry block: nothing is called before. */
static LLVMValueRef local_first(struct lower_func *lf, uint32_t local_idx, LLVMTypeRef type) {
    if (local_idx >= lf->type->params_count)
        return LLVMConstNull(type);
    if (lf->param_places[local_idx] != UINT32_MAX)
        return LLVMGetParam(lf->fn, lf->param_places[local_idx]);
    return LLVMBuildLoad2(lf->builder, type, lower_param_slot(lf->lm, local_idx), "");
}

LLVMValueRef lower_local(struct lower_func *lf, uint32_t local_idx) {
    if (lf->locals[local_idx] != NULL)
        return lf->locals[local_idx];
    LLVMTypeRef type = lower_type(lf->lm, lf->local_types[local_idx]);
    LLVMValueRef slot = lower_alloca(lf, type, 1);
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMPositionBuilderAtEnd(lf->builder, lf->entry);
    LLVMBuildStore(lf->builder, local_first(lf, local_idx, type), slot);
    LLVMPositionBuilderAtEnd(lf->builder, current);
    lf->locals[local_idx] = slot;
    return slot;
}

LLVMValueRef lower_intrinsic_call(struct lower_func *lf, enum lower_intrinsic intrinsic,
                                  LLVMTypeRef *overloads, LLVMValueRef *args, uint32_t args_count) {
    struct lower_module *lm = lf->lm;
    size_t overloads_count = intrinsic == LOWER_UBSANTRAP || intrinsic >= LOWER_X86_FIRST     ? 0
                             : intrinsic == LOWER_FPTOSI_SAT || intrinsic == LOWER_FPTOUI_SAT ? 2
                                                                                              : 1;
    unsigned id = lm->intrinsic_ids[intrinsic];
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(lm->mod, id, overloads, overloads_count);
    return LLVMBuildCall2(lf->builder, LLVMGlobalGetValueType(fn), fn, args, args_count, "");
}

LLVMValueRef lower_truth(struct lower_func *lf, LLVMValueRef value) {
    if (LLVMIsAZExtInst(value)) {
        LLVMValueRef bit = LLVMGetOperand(value, 0);
        if (LLVMTypeOf(bit) == lf->lm->i1)
            return bit;
    }
    return LLVMBuildICmp(lf->builder, LLVMIntNE, value, LLVMConstNull(LLVMTypeOf(value)), "");
}

LLVMValueRef lower_from_truth(struct lower_func *lf, LLVMValueRef bit) {
    return LLVMBuildZExt(lf->builder, bit, lf->lm->i32, "");
}

LLVMValueRef lower_zext64(struct lower_func *lf, LLVMValueRef value) {
    return LLVMBuildZExt(lf->builder, value, lf->lm->i64, "");
}

LLVMValueRef lower_state_load(struct lower_func *lf, LLVMTypeRef type, LLVMValueRef pointer) {
    LLVMValueRef load = LLVMBuildLoad2(lf->builder, type, pointer, "");
    LLVMSetVolatile(load, lf->lm->is_strict);
    return load;
}

LLVMValueRef lower_state_store(struct lower_func *lf, LLVMValueRef value, LLVMValueRef pointer) {
    LLVMValueRef store = LLVMBuildStore(lf->builder, value, pointer);
    LLVMSetVolatile(store, lf->lm->is_strict);
    return store;
}

/* FastISel leaves volatile ones to the slow selector, and moves none. */
void lower_state_bulk(struct lower_func *lf, LLVMValueRef call) {
    const unsigned is_volatile_idx = 3;
    if (lf->lm->is_strict && lf->lm->tier != LOWER_TIER_FAST)
        LLVMSetOperand(call, is_volatile_idx, LLVMConstInt(lf->lm->i1, 1, false));
}

LLVMValueRef lower_service(struct lower_func *lf, uint32_t op, uint32_t idx, LLVMValueRef delta64) {
    struct lower_module *lm = lf->lm;
    LLVMBuildStore(lf->builder, lower_const_i32(lm, op),
                   lower_mailbox_field(lm, HUSK_MBOX_SERVICE_OP));
    LLVMBuildStore(lf->builder, lower_const_i64(lm, idx),
                   lower_mailbox_field(lm, HUSK_MBOX_SERVICE_ARG));
    LLVMBuildStore(lf->builder, delta64, lower_mailbox_field(lm, HUSK_MBOX_SERVICE_ARG + 8));
    lower_locate(lf);
    LLVMBuildCall2(lf->builder, lm->hostcall_type, lower_runtime_func(lm, "husk.service"), NULL, 0,
                   "");
    return LLVMBuildLoad2(lf->builder, lm->i64, lower_mailbox_field(lm, HUSK_MBOX_SERVICE_RET), "");
}
