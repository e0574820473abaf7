/*
 * compiler/lower_func.c: one function from wasm to IR: operand stack, locals, traps, and the loop over its
 * instructions. Called by codegen.c for each function of a chunk; the instructions' own code is in the other
 * lower_*.c files.
 *
 * Locals are stack slots (LLVM's SROA turns them into registers), made when first used, so that a function
 * with 50,000 locals costs what it uses. Operands are LLVM values; blocks' results are phis.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "lower.h"

int lower_fail(struct lower_func *lf, int status, const char *what) {
    if (lf->status == 0)
        lf->status = error_at(lf->lm->err, status, lf->instr.offset, "%s", what);
    return lf->status;
}

void lower_push(struct lower_func *lf, LLVMValueRef value) {
    if (lf->stack_count == lf->stack_cap) {
        uint32_t cap = lf->stack_cap == 0 ? 64 : lf->stack_cap * 2;
        LLVMValueRef *stack = realloc(lf->stack, cap * sizeof(*stack));
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

/* Blocks are made when they are first named; code layout follows the order in which they are entered. */
void lower_enter_block(struct lower_func *lf, LLVMBasicBlockRef block) {
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    if (current != NULL && current != block)
        LLVMMoveBasicBlockAfter(block, current);
    LLVMPositionBuilderAtEnd(lf->builder, block);
}

void lower_locate(struct lower_func *lf) {
    if (lf->di_scope == NULL)
        return;
    LLVMMetadataRef location =
        LLVMDIBuilderCreateDebugLocation(lf->lm->ctx, (unsigned)lf->instr.offset, 0, lf->di_scope, NULL);
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

LLVMValueRef lower_local(struct lower_func *lf, uint32_t local_idx) {
    if (lf->locals[local_idx] != NULL)
        return lf->locals[local_idx];
    LLVMTypeRef type = lower_type(lf->lm, lf->local_types[local_idx]);
    LLVMValueRef slot = lower_alloca(lf, type, 1);
    LLVMValueRef first = LLVMConstNull(type);
    if (local_idx < lf->type->params_count)
        first = LLVMGetParam(lf->fn, local_idx + (lf->results_area != NULL ? 1 : 0));
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMPositionBuilderAtEnd(lf->builder, lf->entry);
    LLVMBuildStore(lf->builder, first, slot);
    LLVMPositionBuilderAtEnd(lf->builder, current);
    lf->locals[local_idx] = slot;
    return slot;
}

LLVMValueRef lower_intrinsic_call(struct lower_func *lf, enum lower_intrinsic intrinsic,
                                  LLVMTypeRef *overloads, LLVMValueRef *args, uint32_t args_count) {
    struct lower_module *lm = lf->lm;
    size_t overloads_count = intrinsic == LOWER_UBSANTRAP                                     ? 0
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

int lower_expr(struct lower_func *lf, struct wasm_bytes code) {
    struct wasm_reader reader;
    wasm_reader_init(&reader, code, NULL);
    while (lf->frames_count > 0 && lf->status == 0) {
        if (wasm_read_instr(&reader, &lf->instr) != 0)
            return lower_fail(lf, HUSK_E_COMPILER, "an instruction of a validated body could not be read");
        if (!lf->is_reachable && lower_skip_dead(lf))
            continue;
        lf->row = &lf->lm->rows[lf->instr.op];
        if (lf->row->emit == NULL) {
            char what[96];
            snprintf(what, sizeof(what), "uses %s, which is not supported yet",
                     wasm_opinfo(lf->instr.op)->text);
            return lower_fail(lf, HUSK_E_UNSUPPORTED, what);
        }
        lf->row->emit(lf);
        LLVMSetCurrentDebugLocation2(lf->builder, NULL);
    }
    return lf->status;
}

int lower_func_begin(struct lower_func *lf, struct lower_module *lm, LLVMValueRef fn, uint64_t offset) {
    memset(lf, 0, sizeof(*lf));
    lf->lm = lm;
    lf->builder = lm->builder;
    lf->fn = fn;
    lf->instr.offset = offset;
    lf->is_reachable = true;
    lower_func_attributes(lm, fn);
    size_t name_bytes;
    const char *name = LLVMGetValueName2(fn, &name_bytes);
    lf->di_scope = LLVMDIBuilderCreateFunction(lm->di, lm->di_file, name, name_bytes, "", 0, lm->di_file,
                                               (unsigned)offset, lm->di_functype, false, true,
                                               (unsigned)offset, LLVMDIFlagZero, true);
    LLVMSetSubprogram(fn, lf->di_scope);
    lf->entry = lower_new_block(lf, "entry");
    LLVMBasicBlockRef body = lower_new_block(lf, "body");
    LLVMSetCurrentDebugLocation2(lf->builder, NULL);
    LLVMPositionBuilderAtEnd(lf->builder, body);
    return 0;
}

/* The entry block falls through to the block after it. */
int lower_func_end(struct lower_func *lf) {
    LLVMSetCurrentDebugLocation2(lf->builder, NULL);
    LLVMPositionBuilderAtEnd(lf->builder, lf->entry);
    LLVMBuildBr(lf->builder, LLVMGetNextBasicBlock(lf->entry));
    lower_frames_free(lf);
    free(lf->stack);
    free(lf->locals);
    free(lf->local_types);
    return lf->status;
}

static int func_set_locals(struct lower_func *lf, const struct wasm_func *func) {
    lf->locals_count = func->locals_count;
    lf->locals = calloc(func->locals_count + 1u, sizeof(*lf->locals));
    lf->local_types = calloc(func->locals_count + 1u, sizeof(*lf->local_types));
    if (lf->locals == NULL || lf->local_types == NULL)
        return lower_fail(lf, HUSK_E_NOMEM, "out of memory");
    uint32_t used = lf->type->params_count;
    if (used > 0)
        memcpy(lf->local_types, lf->type->params, used * sizeof(*lf->local_types));
    for (uint32_t i = 0; i < func->local_runs_count; i++) {
        for (uint32_t left = func->local_runs[i].count; left > 0; left--)
            lf->local_types[used++] = func->local_runs[i].type;
    }
    return 0;
}

int lower_function(struct lower_module *lm, uint32_t func_idx) {
    struct lower_func lf;
    const struct wasm_func *func = &lm->wasm->funcs[func_idx];
    const struct wasm_functype *type = &lm->wasm->types[func->type_idx];
    lower_func_begin(&lf, lm, lower_func_symbol(lm, func_idx), func->body_offset);
    lf.type = type;
    if (lower_results_in_memory(type))
        lf.results_area = LLVMGetParam(lf.fn, 0);
    if (func_set_locals(&lf, func) == 0) {
        struct wasm_functype body = *type;
        body.params_count = 0;
        lower_frame_push(&lf, LOWER_BODY, &body);
        lower_expr(&lf, func->code);
    }
    return lower_func_end(&lf);
}

/* ---- locals, globals, parametric instructions (core spec 4.4.3, 4.4.4)
 * ---------------------------------------------- */

static void emit_local_get(struct lower_func *lf) {
    LLVMValueRef slot = lower_local(lf, lf->instr.idx);
    LLVMTypeRef type = lower_type(lf->lm, lf->local_types[lf->instr.idx]);
    lower_push(lf, LLVMBuildLoad2(lf->builder, type, slot, ""));
}

static void emit_local_set(struct lower_func *lf) {
    LLVMValueRef value = lower_pop(lf);
    LLVMBuildStore(lf->builder, value, lower_local(lf, lf->instr.idx));
    if (lf->row->arg) /* tee */
        lower_push(lf, value);
}

static LLVMValueRef global_slot(struct lower_func *lf, uint32_t global_idx) {
    struct lower_module *lm = lf->lm;
    return lower_absolute(lm, "i0.g", global_idx, lm->i64, lm->plan->global_gva[global_idx]);
}

static void emit_global_get(struct lower_func *lf) {
    LLVMTypeRef type = lower_type(lf->lm, lf->lm->wasm->globals[lf->instr.idx].type);
    lower_push(lf, lower_state_load(lf, type, global_slot(lf, lf->instr.idx)));
}

static void emit_global_set(struct lower_func *lf) {
    lower_state_store(lf, lower_pop(lf), global_slot(lf, lf->instr.idx));
}

static void emit_drop(struct lower_func *lf) {
    lower_pop(lf);
}

static void emit_select(struct lower_func *lf) {
    LLVMValueRef condition = lower_truth(lf, lower_pop(lf));
    LLVMValueRef otherwise = lower_pop(lf);
    LLVMValueRef then = lower_pop(lf);
    lower_push(lf, LLVMBuildSelect(lf->builder, condition, then, otherwise, ""));
}

static const struct lower_row variable_rows[] = {
    {.op = WASM_OP_DROP, .emit = emit_drop},
    {.op = WASM_OP_SELECT, .emit = emit_select},
    {.op = WASM_OP_SELECT_T, .emit = emit_select},
    {.op = WASM_OP_LOCAL_GET, .emit = emit_local_get},
    {.op = WASM_OP_LOCAL_SET, .emit = emit_local_set, .arg = 0},
    {.op = WASM_OP_LOCAL_TEE, .emit = emit_local_set, .arg = 1},
    {.op = WASM_OP_GLOBAL_GET, .emit = emit_global_get},
    {.op = WASM_OP_GLOBAL_SET, .emit = emit_global_set},
};
const struct lower_rows lower_variable_rows = {variable_rows,
                                               sizeof(variable_rows) / sizeof(variable_rows[0])};
