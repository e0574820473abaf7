/*
 * compiler/lower/lower_call.c: direct and indirect calls (core spec 4.4.8), import stubs and call
 * thunks. Stubs and thunks connect functions with the host: they move values between registers and
 * the mailbox (abi/mailbox.h).
 *
 * A funcref is program_type_id() << 32 | code address. So an indirect call is a bounds check, one
 * load and one compare. Null is 0, which is not the id of a type.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lower.h"
#include "lower_trap.h"
#include "mailbox.h"

/* ---- calls ---- */

static LLVMValueRef call_area(struct lower_func *lf, uint32_t count) {
    if (lf->call_area_count < count) {
        lf->call_area = lower_alloca(lf, lf->lm->i64, count * (LOWER_RESULT_BYTES / 8));
        LLVMSetAlignment(lf->call_area, LOWER_RESULT_BYTES);
        lf->call_area_count = count;
    }
    return lf->call_area;
}

static void push_from_memory(struct lower_func *lf, const struct wasm_functype *type,
                             LLVMValueRef area) {
    for (uint32_t i = 0; i < type->results_count; i++) {
        LLVMValueRef index = lower_const_i64(lf->lm, (uint64_t)i * LOWER_RESULT_BYTES);
        LLVMValueRef slot = LLVMBuildGEP2(lf->builder, lf->lm->i8, area, &index, 1, "");
        lower_push(lf, LLVMBuildLoad2(lf->builder, lower_type(lf->lm, type->results[i]), slot, ""));
    }
}

static void push_results(struct lower_func *lf, const struct wasm_functype *type, LLVMValueRef call,
                         LLVMValueRef area) {
    if (area != NULL) {
        push_from_memory(lf, type, area);
    } else if (type->results_count == 1) {
        lower_push(lf, call);
    } else {
        for (uint32_t i = 0; i < type->results_count; i++)
            lower_push(lf, LLVMBuildExtractValue(lf->builder, call, i, ""));
    }
}

/* `area`: where results in memory go, or NULL. Returns NULL if out of memory. */
static LLVMValueRef build_call(struct lower_func *lf, const struct wasm_functype *type,
                               LLVMValueRef callee, const LLVMValueRef *args, LLVMValueRef area) {
    struct lower_registers registers = lower_registers_of(lf->lm, type);
    LLVMValueRef *all = malloc((type->params_count + 1u) * sizeof *all);
    if (all == NULL) {
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
        return NULL;
    }
    uint32_t count = 0;
    if (area != NULL)
        all[count++] = area;
    for (uint32_t i = 0; i < type->params_count; i++) {
        if (lower_param_in_register(lf->lm, &registers, type->params[i]))
            all[count++] = args[i];
        else
            LLVMBuildStore(lf->builder, args[i], lower_param_slot(lf->lm, i));
    }
    LLVMValueRef call = lower_call_or_invoke(lf, lower_functype(lf->lm, type), callee, all, count);
    LLVMSetInstructionCallConv(call, lower_call_conv(lf->lm));
    free(all);
    return call;
}

LLVMValueRef lower_call_value(struct lower_func *lf, const struct wasm_functype *type,
                              LLVMValueRef callee, const LLVMValueRef *args) {
    LLVMValueRef area =
        lower_results_in_memory(lf->lm, type) ? call_area(lf, type->results_count) : NULL;
    LLVMValueRef call = build_call(lf, type, callee, args, area);
    if (call != NULL)
        push_results(lf, type, call, area);
    return call;
}

LLVMValueRef lower_call_from_stack(struct lower_func *lf, const struct wasm_functype *type,
                                   LLVMValueRef callee) {
    lf->stack_count -= type->params_count;
    LLVMValueRef *args = malloc((type->params_count + 1u) * sizeof *args);
    if (args == NULL) {
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
        return NULL;
    }
    if (type->params_count > 0)
        memcpy(args, lf->stack + lf->stack_count, type->params_count * sizeof *args);
    LLVMValueRef call = lower_call_value(lf, type, callee, args);
    free(args);
    return call;
}

/* The callee's results are of the same number and kind as this function's. The return must directly
 * follow the call. A try around it is left with the frame: it does not catch what the callee
 * throws. */
static void tail_call(struct lower_func *lf, const struct wasm_functype *type,
                      LLVMValueRef callee) {
    LLVMValueRef *args = lf->stack + lf->stack_count - type->params_count;
    struct lower_frame *frame = &lf->frames[lf->frames_count - 1];
    struct lower_try *handler = frame->handler;
    frame->handler = NULL;
    LLVMValueRef call = build_call(lf, type, callee, args, lf->results_area);
    frame->handler = handler;
    if (call == NULL)
        return;
    lower_mark_tail_call(lf->lm, call);
    if (LLVMGetTypeKind(LLVMTypeOf(call)) == LLVMVoidTypeKind)
        LLVMBuildRetVoid(lf->builder);
    else
        LLVMBuildRet(lf->builder, call);
    lf->is_reachable = false;
}

void lower_call_or_tail_call(struct lower_func *lf, const struct wasm_functype *type,
                             LLVMValueRef callee) {
    if (lf->row->arg == LOWER_TAIL_CALL)
        tail_call(lf, type, callee);
    else
        lower_call_from_stack(lf, type, callee);
}

static void emit_call(struct lower_func *lf) {
    const struct wasm_functype *type = program_func_type(lf->lm->program, lf->instr.idx);
    LLVMValueRef call = lower_call_from_stack(lf, type, lower_func_symbol(lf->lm, lf->instr.idx));
    lower_inline_call(lf, lf->instr.idx, call);
}

static void emit_return_call(struct lower_func *lf) {
    const struct wasm_functype *type = program_func_type(lf->lm->program, lf->instr.idx);
    tail_call(lf, type, lower_func_symbol(lf->lm, lf->instr.idx));
}

/* Not the wanted type: null or something else? Off the fast path. */
void lower_trap_unless_type(struct lower_func *lf, LLVMValueRef id, uint32_t type_idx,
                            uint8_t null_trap) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef wanted = lower_const_i32(lm, program_type_id(type_idx));
    LLVMValueRef differs = LLVMBuildICmp(lf->builder, LLVMIntNE, id, wanted, "");
    LLVMBasicBlockRef mismatch = lower_new_block(lf, "");
    LLVMBasicBlockRef next = lower_new_block(lf, "");
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMValueRef branch = LLVMBuildCondBr(lf->builder, differs, mismatch, next);
    LLVMSetMetadata(branch, lm->prof_kind, lm->unlikely);
    LLVMPositionBuilderAtEnd(lf->builder, mismatch);
    LLVMValueRef is_null = LLVMBuildICmp(lf->builder, LLVMIntEQ, id, lower_const_i32(lm, 0), "");
    lower_trap_if(lf, is_null, null_trap);
    lower_trap(lf, TRAP_INDIRECT_CALL_TYPE_MISMATCH);
    lf->is_reachable = true;
    LLVMMoveBasicBlockAfter(next, current);
    LLVMPositionBuilderAtEnd(lf->builder, next);
}

/* Half of a table's entry: the type id is compared in memory, where LLVM would test the whole word
 * with 64-bit constants. */
static LLVMValueRef load_half(struct lower_func *lf, LLVMValueRef slot, uint32_t offset) {
    LLVMValueRef index = lower_const_i64(lf->lm, offset);
    LLVMValueRef half = LLVMBuildGEP2(lf->builder, lf->lm->i8, slot, &index, 1, "");
    return lower_state_load(lf, lf->lm->i32, half);
}

static void emit_call_indirect(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef index = lower_zext64(lf, lower_pop(lf));
    LLVMValueRef size = lower_table_size(lf, lf->instr.idx2);
    lower_trap_if(lf, LLVMBuildICmp(lf->builder, LLVMIntUGE, index, size, ""),
                  TRAP_UNDEFINED_ELEMENT);
    LLVMValueRef slot =
        LLVMBuildGEP2(lf->builder, lm->i64, lower_table_base(lf, lf->instr.idx2), &index, 1, "");
    lower_trap_unless_type(lf, load_half(lf, slot, 4), lf->instr.idx, TRAP_UNINITIALIZED_ELEMENT);
    LLVMValueRef address = lower_zext64(lf, load_half(lf, slot, 0));
    LLVMValueRef callee = LLVMBuildIntToPtr(lf->builder, address, lm->ptr, "");
    lower_call_or_tail_call(lf, &lm->program->types[lf->instr.idx], callee);
}

LLVMValueRef lower_func_ref(struct lower_func *lf, uint32_t func_idx) {
    struct lower_module *lm = lf->lm;
    uint64_t type_id = program_type_id(program_func_type_idx(lm->program, func_idx));
    LLVMValueRef address = LLVMConstPtrToInt(lower_func_symbol(lm, func_idx), lm->i64);
    return LLVMBuildOr(lf->builder, address, lower_const_i64(lm, type_id << 32), "");
}

/* ---- stubs and thunks ---- */

static LLVMValueRef slot_pointer(struct lower_module *lm, uint32_t slots_offset, uint32_t idx) {
    return lower_mailbox_field(lm, slots_offset + idx * HUSK_SLOT_BYTES);
}

static void push_slots(struct lower_func *lf, uint32_t slots_offset, const valtype_t *types,
                       uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        LLVMTypeRef type = lower_type(lf->lm, types[i]);
        lower_push(lf,
                   LLVMBuildLoad2(lf->builder, type, slot_pointer(lf->lm, slots_offset, i), ""));
    }
}

/* An imported function's stub: arguments to the mailbox, out to the host, results from the mailbox.
 * References to exceptions must be on the stack meanwhile (guest/throw.S). */
int lower_import_stub(struct lower_module *lm, uint32_t func_idx) {
    struct lower_func lf;
    const struct wasm_functype *type = program_func_type(lm->program, func_idx);
    const char *name = lm->plan->exception_slots_gva != 0 ? "husk.hostcall_refs" : "husk.hostcall";
    lower_func_begin(&lf, lm, lower_func_symbol(lm, func_idx), 0);
    lf.type = type;
    uint32_t place = lower_results_in_memory(lm, type) ? 1 : 0;
    lf.results_area = place == 1 ? LLVMGetParam(lf.fn, 0) : NULL;
    struct lower_registers registers = lower_registers_of(lm, type);
    for (uint32_t i = 0; i < type->params_count; i++)
        if (lower_param_in_register(lm, &registers, type->params[i])) /* else it is there already */
            LLVMBuildStore(lf.builder, LLVMGetParam(lf.fn, place++),
                           slot_pointer(lm, HUSK_MBOX_HOST_SLOTS, i));
    LLVMBuildStore(lf.builder, lower_const_i32(lm, func_idx),
                   lower_mailbox_field(lm, HUSK_MBOX_IMPORT_IDX));
    lower_locate(&lf);
    LLVMBuildCall2(lf.builder, lm->hostcall_type, lower_runtime_func(lm, name), NULL, 0, "");
    push_slots(&lf, HUSK_MBOX_HOST_SLOTS, type->results, type->results_count);
    lower_return(&lf);
    return lower_func_end(&lf);
}

/* The call thunk of a type: void(i64 code_address) by the C convention, for the dispatcher. */
int lower_thunk(struct lower_module *lm, uint32_t type_idx) {
    struct lower_func lf;
    char name[32];
    const struct wasm_functype *type = &lm->program->types[type_idx];
    snprintf(name, sizeof name, "i0.t%" PRIu32, type_idx);
    LLVMValueRef fn =
        LLVMAddFunction(lm->mod, name, LLVMFunctionType(lm->void_type, &lm->i64, 1, false));
    LLVMSetVisibility(fn, LLVMHiddenVisibility);
    lower_func_begin(&lf, lm, fn, 0);
    lf.type = type;
    push_slots(&lf, HUSK_MBOX_CALL_SLOTS, type->params, type->params_count);
    LLVMValueRef callee = LLVMBuildIntToPtr(lf.builder, LLVMGetParam(fn, 0), lm->ptr, "");
    lower_call_from_stack(&lf, type, callee);
    for (uint32_t i = 0; i < type->results_count && lf.status == 0; i++)
        LLVMBuildStore(lf.builder, lf.stack[i], slot_pointer(lm, HUSK_MBOX_CALL_SLOTS, i));
    LLVMBuildRetVoid(lf.builder);
    return lower_func_end(&lf);
}

static const struct lower_row call_rows[] = {
    {.op = WASM_OP_CALL, .emit = emit_call},
    {.op = WASM_OP_CALL_INDIRECT, .emit = emit_call_indirect},
    {.op = WASM_OP_RETURN_CALL, .emit = emit_return_call},
    {.op = WASM_OP_RETURN_CALL_INDIRECT, .emit = emit_call_indirect, .arg = LOWER_TAIL_CALL},
};
const struct lower_rows lower_call_rows = {call_rows, sizeof call_rows / sizeof call_rows[0]};
