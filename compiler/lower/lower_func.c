/*
 * compiler/lower/lower_func.c: turns one function into IR: its frame, and the loop over its
 * instructions. codegen.c calls it for each function of a chunk. Locals, globals and parametric
 * instructions are here; the other instructions are in the other lower_*.c files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "lower.h"

int lower_expr(struct lower_func *lf, struct wasm_bytes code) {
    const uint16_t drop_code = wasm_opinfo(WASM_OP_DROP)->code;
    struct wasm_reader reader;
    wasm_reader_init(&reader, code, NULL);
    while (lf->frames_count > 0 && lf->status == 0) {
        if (program_read_instr(lf->instance, &reader, &lf->instr) != 0)
            return lower_fail(lf, HUSK_E_COMPILER,
                              "an instruction of a validated body could not be read");
        if (!lf->is_reachable && lower_skip_dead(lf))
            continue;
        lf->row = &lf->lm->rows[lf->instr.op];
        lf->is_dropped = reader.pos < reader.end && *reader.pos == drop_code;
        if (lf->row->emit == NULL) {
            char what[96];
            snprintf(what, sizeof what, "uses %s, which is not supported yet",
                     wasm_opinfo(lf->instr.op)->text);
            return lower_fail(lf, HUSK_E_UNSUPPORTED, what);
        }
        lf->row->emit(lf);
        LLVMSetCurrentDebugLocation2(lf->builder, NULL);
    }
    return lf->status;
}

int lower_func_begin(struct lower_func *lf, struct lower_module *lm, LLVMValueRef fn,
                     uint64_t offset) {
    memset(lf, 0, sizeof *lf);
    lf->lm = lm;
    lf->builder = lm->builder;
    lf->fn = fn;
    lf->instr.offset = offset;
    lf->is_reachable = true;
    lm->funcs_made++;
    lower_func_attributes(lm, fn);
    size_t name_bytes;
    const char *name = LLVMGetValueName2(fn, &name_bytes);
    lf->di_scope = LLVMDIBuilderCreateFunction(lm->di, lm->di_file, name, name_bytes, "", 0,
                                               lm->di_file, (unsigned)offset, lm->di_functype,
                                               false, true, (unsigned)offset, LLVMDIFlagZero, true);
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
    lower_tries_free(lf);
    buf_done(&lf->legacy_tries);
    buf_done(&lf->legacy_clauses);
    free(lf->stack);
    free(lf->locals);
    free(lf->local_types);
    free(lf->param_places);
    return lf->status;
}

static int func_set_params(struct lower_func *lf) {
    const struct wasm_functype *type = lf->type;
    struct lower_registers registers = lower_registers_of(lf->lm, type);
    uint32_t place = lower_results_in_memory(lf->lm, type) ? 1 : 0;
    lf->results_area = place == 1 ? LLVMGetParam(lf->fn, 0) : NULL;
    lf->param_places = calloc(type->params_count + 1u, sizeof *lf->param_places);
    if (lf->param_places == NULL)
        return lower_fail(lf, HUSK_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < type->params_count; i++)
        lf->param_places[i] =
            lower_param_in_register(lf->lm, &registers, type->params[i]) ? place++ : UINT32_MAX;
    return 0;
}

static int func_set_locals(struct lower_func *lf, const struct wasm_func *func) {
    lf->locals_count = func->locals_count;
    lf->locals = calloc(func->locals_count + 1u, sizeof *lf->locals);
    lf->local_types = calloc(func->locals_count + 1u, sizeof *lf->local_types);
    if (lf->locals == NULL || lf->local_types == NULL)
        return lower_fail(lf, HUSK_E_NOMEM, "out of memory");
    uint32_t used = lf->type->params_count;
    if (used > 0)
        memcpy(lf->local_types, lf->type->params, used * sizeof *lf->local_types);
    for (uint32_t i = 0; i < func->local_runs_count; i++)
        for (uint32_t left = func->local_runs[i].count; left > 0; left--)
            lf->local_types[used++] = func->local_runs[i].type;
    return 0;
}

int lower_function(struct lower_module *lm, uint32_t func_idx) {
    struct lower_func lf;
    const struct wasm_func *func = program_func(lm->program, func_idx);
    const struct wasm_functype *type = program_func_type(lm->program, func_idx);
    const struct program_instance *instance =
        program_instance(lm->program, lm->program->funcs[func_idx]);
    lower_func_begin(&lf, lm, lower_func_symbol(lm, func_idx),
                     instance->input_offset + func->body_offset);
    lf.instance = instance;
    lf.instr.offset = func->body_offset;
    lf.type = type;
    lower_inline_begin(&lf, func_idx);
    lower_legacy_scan(&lf, func->code);
    if (lf.status == 0 && func_set_params(&lf) == 0 && func_set_locals(&lf, func) == 0) {
        struct wasm_functype body = *type;
        body.params_count = 0;
        lower_frame_push(&lf, LOWER_BODY, &body);
        lower_expr(&lf, func->code);
    }
    return lower_func_end(&lf);
}

/* ---- locals, globals, parametric instructions (core spec 4.4.3, 4.4.4) ---- */

static void emit_local_get(struct lower_func *lf) {
    LLVMValueRef slot = lower_local(lf, lf->instr.idx);
    LLVMTypeRef type = lower_type(lf->lm, lf->local_types[lf->instr.idx]);
    lower_push(lf, LLVMBuildLoad2(lf->builder, type, slot, ""));
}

static void emit_local_set(struct lower_func *lf) {
    LLVMValueRef value = lower_pop(lf);
    LLVMBuildStore(lf->builder, value, lower_local(lf, lf->instr.idx));
    if (lf->row->arg != 0) /* tee */
        lower_push(lf, value);
}

static LLVMValueRef global_slot(struct lower_func *lf, uint32_t global_idx) {
    struct lower_module *lm = lf->lm;
    return lower_absolute(lm, "i0.g", global_idx, lm->i64, lm->plan->global_gva[global_idx]);
}

static void emit_global_get(struct lower_func *lf) {
    LLVMTypeRef type = lower_type(lf->lm, program_global(lf->lm->program, lf->instr.idx)->type);
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
                                               sizeof variable_rows / sizeof variable_rows[0]};
