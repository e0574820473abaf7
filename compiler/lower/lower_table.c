/*
 * compiler/lower/lower_table.c: tables and element segments (core spec 4.4.6). Both are arrays of
 * 64-bit references at fixed addresses in the data region (compiler/plan/plan.h). Ranges are
 * checked before anything is written.
 */
#include "lower.h"
#include "lower_trap.h"
#include "mailbox.h"

LLVMValueRef lower_table_base(struct lower_func *lf, uint32_t table_idx) {
    return lower_absolute(lf->lm, "i0.tab", table_idx, lf->lm->bytes,
                          lf->lm->plan->tables[table_idx].base_gva);
}

LLVMValueRef lower_table_size(struct lower_func *lf, uint32_t table_idx) {
    struct lower_module *lm = lf->lm;
    if (!lm->table_may_change[table_idx])
        return lower_const_i64(lm, program_table(lm->program, table_idx)->limits.min);
    LLVMValueRef slot =
        lower_absolute(lm, "i0.tabsize", table_idx, lm->i64, lm->plan->tables[table_idx].size_gva);
    return LLVMBuildLoad2(lf->builder, lm->i64, slot, "");
}

static LLVMValueRef entry_pointer(struct lower_func *lf, LLVMValueRef base, LLVMValueRef index64) {
    return LLVMBuildGEP2(lf->builder, lf->lm->i64, base, &index64, 1, "");
}

static const struct wasm_limits *limits_of(const struct lower_func *lf, uint32_t table_idx) {
    return &program_table(lf->lm->program, table_idx)->limits;
}

static void trap_if_outside(struct lower_func *lf, const struct lower_span *span) {
    LLVMValueRef outside = lower_range_is_outside(lf, limits_of(lf, span->idx), span->start,
                                                  span->count, lower_table_size(lf, span->idx));
    lower_trap_if(lf, outside, TRAP_TABLE_OUT_OF_BOUNDS);
}

static LLVMValueRef span_pointer(struct lower_func *lf, const struct lower_span *span) {
    return entry_pointer(lf, lower_table_base(lf, span->idx), span->start);
}

static LLVMValueRef count_bytes(struct lower_func *lf, LLVMValueRef count) {
    return LLVMBuildShl(lf->builder, count, lower_const_i64(lf->lm, 3), "");
}

/* Pops the index; traps unless it is within the table. */
static LLVMValueRef checked_entry(struct lower_func *lf, uint32_t table_idx) {
    LLVMValueRef index = lower_zext64(lf, lower_pop(lf));
    LLVMValueRef size = lower_table_size(lf, table_idx);
    lower_trap_if(lf, LLVMBuildICmp(lf->builder, LLVMIntUGE, index, size, ""),
                  TRAP_TABLE_OUT_OF_BOUNDS);
    return entry_pointer(lf, lower_table_base(lf, table_idx), index);
}

static void emit_get(struct lower_func *lf) {
    LLVMValueRef entry = checked_entry(lf, lf->instr.idx);
    lower_push(lf, lower_state_load(lf, lf->lm->i64, entry));
}

static void emit_set(struct lower_func *lf) {
    LLVMValueRef value = lower_pop(lf);
    lower_state_store(lf, value, checked_entry(lf, lf->instr.idx));
}

static void emit_size(struct lower_func *lf) {
    LLVMValueRef size = lower_table_size(lf, lf->instr.idx);
    lower_push(lf, lower_to_address(lf, size, limits_of(lf, lf->instr.idx)));
}

/* for (i = 0; i < count; i++) pointer[i] = value; */
static void fill_entries(struct lower_func *lf, LLVMValueRef pointer, LLVMValueRef value,
                         LLVMValueRef count) {
    struct lower_module *lm = lf->lm;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(lf->builder);
    LLVMBasicBlockRef head = lower_new_block(lf, "");
    LLVMBasicBlockRef body = lower_new_block(lf, "");
    LLVMBasicBlockRef after = lower_new_block(lf, "");
    LLVMValueRef zero = lower_const_i64(lm, 0);
    LLVMBuildBr(lf->builder, head);
    lower_enter_block(lf, head);
    LLVMValueRef index = LLVMBuildPhi(lf->builder, lm->i64, "");
    LLVMAddIncoming(index, &zero, &before, 1);
    LLVMBuildCondBr(lf->builder, LLVMBuildICmp(lf->builder, LLVMIntULT, index, count, ""), body,
                    after);
    lower_enter_block(lf, body);
    lower_state_store(lf, value, entry_pointer(lf, pointer, index));
    LLVMValueRef next = LLVMBuildAdd(lf->builder, index, lower_const_i64(lm, 1), "");
    LLVMAddIncoming(index, &next, &body, 1);
    LLVMBuildBr(lf->builder, head);
    lower_enter_block(lf, after);
}

void lower_table_fill(struct lower_func *lf, uint32_t table_idx, LLVMValueRef value) {
    fill_entries(lf, lower_table_base(lf, table_idx), value,
                 lower_const_i64(lf->lm, program_table(lf->lm->program, table_idx)->limits.min));
}

static void emit_fill(struct lower_func *lf) {
    struct lower_span dest = {.idx = lf->instr.idx};
    dest.count = lower_zext64(lf, lower_pop(lf));
    LLVMValueRef value = lower_pop(lf);
    dest.start = lower_zext64(lf, lower_pop(lf));
    trap_if_outside(lf, &dest);
    fill_entries(lf, span_pointer(lf, &dest), value, dest.count);
}

/* The host grows the table with nulls; the initial value is written here. On failure nothing is. */
static void emit_grow(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef delta = lower_zext64(lf, lower_pop(lf));
    LLVMValueRef value = lower_pop(lf);
    LLVMValueRef old = lower_service(lf, HUSK_SERVICE_TABLE_GROW, lf->instr.idx, delta);
    LLVMValueRef failed = LLVMBuildICmp(lf->builder, LLVMIntEQ, old, LLVMConstAllOnes(lm->i64), "");
    LLVMValueRef count = LLVMBuildSelect(lf->builder, failed, lower_const_i64(lm, 0), delta, "");
    fill_entries(lf, entry_pointer(lf, lower_table_base(lf, lf->instr.idx), old), value, count);
    lower_push(lf, lower_to_address(lf, old, limits_of(lf, lf->instr.idx)));
}

static void emit_copy(struct lower_func *lf) {
    struct lower_span dest = {.idx = lf->instr.idx};
    struct lower_span source = {.idx = lf->instr.idx2};
    dest.count = source.count = lower_zext64(lf, lower_pop(lf));
    source.start = lower_zext64(lf, lower_pop(lf));
    dest.start = lower_zext64(lf, lower_pop(lf));
    trap_if_outside(lf, &source);
    trap_if_outside(lf, &dest);
    LLVMValueRef bytes = count_bytes(lf, dest.count);
    lower_locate(lf);
    LLVMValueRef from = span_pointer(lf, &source);
    lower_state_bulk(lf, LLVMBuildMemMove(lf->builder, span_pointer(lf, &dest), 8, from, 8, bytes));
}

/* ---- element segments ---- */

static LLVMValueRef elem_size_slot(struct lower_func *lf, uint32_t elem_idx) {
    struct lower_module *lm = lf->lm;
    return lower_absolute(lm, "i0.esize", elem_idx, lm->i64, lm->plan->elems[elem_idx].size_gva);
}

LLVMValueRef lower_elem_base(struct lower_func *lf, uint32_t elem_idx) {
    return lower_absolute(lf->lm, "i0.e", elem_idx, lf->lm->bytes,
                          lf->lm->plan->elems[elem_idx].base_gva);
}

void lower_table_init_range(struct lower_func *lf, uint32_t elem_idx, const struct lower_span *dest,
                            LLVMValueRef source) {
    LLVMValueRef size = LLVMBuildLoad2(lf->builder, lf->lm->i64, elem_size_slot(lf, elem_idx), "");
    lower_trap_if(lf, lower_range_is_outside(lf, NULL, source, dest->count, size),
                  TRAP_TABLE_OUT_OF_BOUNDS);
    trap_if_outside(lf, dest);
    LLVMValueRef from = entry_pointer(lf, lower_elem_base(lf, elem_idx), source);
    LLVMValueRef bytes = count_bytes(lf, dest->count);
    lower_locate(lf);
    lower_state_bulk(lf, LLVMBuildMemCpy(lf->builder, span_pointer(lf, dest), 8, from, 8, bytes));
}

static void emit_init(struct lower_func *lf) {
    LLVMValueRef source;
    const struct lower_span dest = lower_pop_init(lf, &source);
    lower_table_init_range(lf, lf->instr.idx, &dest, source);
}

void lower_elem_drop(struct lower_func *lf, uint32_t elem_idx) {
    lower_state_store(lf, lower_const_i64(lf->lm, 0), elem_size_slot(lf, elem_idx));
}

static void emit_elem_drop(struct lower_func *lf) {
    lower_elem_drop(lf, lf->instr.idx);
}

static const struct lower_row table_rows[] = {
    {.op = WASM_OP_TABLE_GET, .emit = emit_get},
    {.op = WASM_OP_TABLE_SET, .emit = emit_set},
    {.op = WASM_OP_TABLE_SIZE, .emit = emit_size},
    {.op = WASM_OP_TABLE_GROW, .emit = emit_grow},
    {.op = WASM_OP_TABLE_FILL, .emit = emit_fill},
    {.op = WASM_OP_TABLE_COPY, .emit = emit_copy},
    {.op = WASM_OP_TABLE_INIT, .emit = emit_init},
    {.op = WASM_OP_ELEM_DROP, .emit = emit_elem_drop},
};
const struct lower_rows lower_table_rows = {table_rows, sizeof table_rows / sizeof table_rows[0]};
