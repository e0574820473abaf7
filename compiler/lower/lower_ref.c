/*
 * compiler/lower/lower_ref.c: references (core specification 3.0, section 4.6.2), typed function
 * references among them. A reference is 64 bits wide; null is 0. A typed function reference is a
 * funcref (lower_call.c).
 */
#include "lower.h"
#include "lower_trap.h"

static void emit_ref_func(struct lower_func *lf) {
    lower_push(lf, lower_func_ref(lf, lf->instr.idx));
}

static void emit_ref_null(struct lower_func *lf) {
    lower_push(lf, lower_const_i64(lf->lm, 0));
}

static LLVMValueRef is_null(struct lower_func *lf, LLVMValueRef ref) {
    return LLVMBuildICmp(lf->builder, LLVMIntEQ, ref, lower_const_i64(lf->lm, 0), "");
}

static void emit_ref_is_null(struct lower_func *lf) {
    lower_push(lf, lower_from_truth(lf, is_null(lf, lower_pop(lf))));
}

static void emit_ref_as_non_null(struct lower_func *lf) {
    LLVMValueRef ref = lower_pop(lf);
    lower_trap_if(lf, is_null(lf, ref), TRAP_NULL_REFERENCE);
    lower_push(lf, ref);
}

static void emit_br_on_null(struct lower_func *lf) {
    LLVMValueRef ref = lower_pop(lf);
    lower_branch_if(lf, lf->instr.idx, is_null(lf, ref));
    lower_push(lf, ref);
}

/* The label takes the reference, too. */
static void emit_br_on_non_null(struct lower_func *lf) {
    LLVMValueRef ref = lf->stack[lf->stack_count - 1];
    lower_branch_if(lf, lf->instr.idx, LLVMBuildNot(lf->builder, is_null(lf, ref), ""));
    lower_pop(lf);
}

/* The validator knows the type of the function. Yet the type is compared, because the host, which
 * sees a funcref only, may have passed another function; and it costs no more than to compare with
 * null, whose type id is 0. */
static void emit_call_ref(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef ref = lower_pop(lf);
    LLVMValueRef upper = LLVMBuildLShr(lf->builder, ref, lower_const_i64(lm, 32), "");
    lower_trap_unless_type(lf, LLVMBuildTrunc(lf->builder, upper, lm->i32, ""), lf->instr.idx,
                           TRAP_NULL_FUNCTION_REFERENCE);
    LLVMValueRef address = LLVMBuildAnd(lf->builder, ref, lower_const_i64(lm, UINT32_MAX), "");
    LLVMValueRef callee = LLVMBuildIntToPtr(lf->builder, address, lm->ptr, "");
    lower_call_or_tail_call(lf, &lm->program->types[lf->instr.idx], callee);
}

static const struct lower_row ref_rows[] = {
    {.op = WASM_OP_REF_NULL, .emit = emit_ref_null},
    {.op = WASM_OP_REF_IS_NULL, .emit = emit_ref_is_null},
    {.op = WASM_OP_REF_FUNC, .emit = emit_ref_func},
    {.op = WASM_OP_REF_AS_NON_NULL, .emit = emit_ref_as_non_null},
    {.op = WASM_OP_BR_ON_NULL, .emit = emit_br_on_null},
    {.op = WASM_OP_BR_ON_NON_NULL, .emit = emit_br_on_non_null},
    {.op = WASM_OP_CALL_REF, .emit = emit_call_ref},
    {.op = WASM_OP_RETURN_CALL_REF, .emit = emit_call_ref, .arg = LOWER_TAIL_CALL},
};
const struct lower_rows lower_ref_rows = {ref_rows, sizeof ref_rows / sizeof ref_rows[0]};
