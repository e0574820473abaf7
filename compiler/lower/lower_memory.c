/*
 * compiler/lower/lower_memory.c: linear memory (core spec 4.4.7). Loads and stores have no bounds
 * checks. Addresses beyond the memory are not mapped (abi/layout.h reserves index + offset +
 * width), and the page fault is the trap. Bulk instructions check their whole range first, because
 * they must trap before they write anything. lower_memory64.c bounds indices of 64 bits.
 *
 * An address is GEP @i0.mem, zext(index), then GEP nuw by the offset. Deliberately no inbounds,
 * because a wasm address may be anywhere. Deliberately no alignment, because wasm's is a hint.
 * Never an addition in 32 bits. LLVM folds symbol + constant only below 16 MiB. Far offsets and the
 * fast tier (lower_module.c) get an integer base that includes the offset.
 */
#include "layout.h"
#include "lower.h"
#include "lower_fence.h"
#include "lower_trap.h"
#include "mailbox.h"

#define FOLDED_OFFSET_MAX 0x1000000u

static LLVMValueRef pointer_of(struct lower_func *lf, uint64_t address) {
    return LLVMConstIntToPtr(lower_const_i64(lf->lm, address), lf->lm->ptr);
}

/* The memory's base as a pointer, moved by a constant. */
static LLVMValueRef memory_base(struct lower_func *lf, uint32_t memory_idx, uint64_t offset) {
    uint64_t gva = husk_mem_gva(memory_idx);
    if (memory_idx != 0 || offset >= FOLDED_OFFSET_MAX || lf->lm->tier == LOWER_TIER_FAST)
        return pointer_of(lf, gva + offset);
    LLVMValueRef symbol = lower_absolute(lf->lm, "i0.mem", UINT32_MAX, lf->lm->bytes, gva);
    LLVMValueRef index = lower_const_i64(lf->lm, offset);
    return offset == 0 ? symbol : LLVMConstGEP2(lf->lm->i8, symbol, &index, 1);
}

LLVMValueRef lower_memory_pointer(struct lower_func *lf, uint32_t memory_idx, LLVMValueRef index64,
                                  uint64_t offset) {
    struct lower_module *lm = lf->lm;
    if (LLVMIsAConstantInt(index64))
        return memory_base(lf, memory_idx, LLVMConstIntGetZExtValue(index64) + offset);
    bool is_far = offset >= FOLDED_OFFSET_MAX || lm->tier == LOWER_TIER_FAST;
    LLVMValueRef base = memory_base(lf, memory_idx, is_far ? offset : 0);
    LLVMValueRef pointer = LLVMBuildGEP2(lf->builder, lm->i8, base, &index64, 1, "");
    if (offset == 0 || is_far)
        return pointer;
    LLVMValueRef distance = lower_const_i64(lm, offset);
    return LLVMBuildGEPWithNoWrapFlags(lf->builder, lm->i8, pointer, &distance, 1, "",
                                       LLVMGEPFlagNUW);
}

static bool is_byte_paged(const struct lower_func *lf, uint32_t memory_idx) {
    return program_memory(lf->lm->program, memory_idx)->has_byte_pages;
}

static const struct wasm_limits *limits_of(const struct lower_func *lf, uint32_t memory_idx) {
    return &program_memory(lf->lm->program, memory_idx)->limits;
}

LLVMValueRef lower_access_pointer(struct lower_func *lf) {
    const uint32_t memory_idx = lf->instr.mem.memory_idx;
    uint64_t offset = lf->instr.mem.offset;
    LLVMValueRef index = lower_zext64(lf, lower_pop(lf));
    if (is_byte_paged(lf, memory_idx))
        lower_byte_paged_check(lf, index);
    if (limits_of(lf, memory_idx)->is_64)
        index = lower_memory64_index(lf, index, &offset);
    lower_locate(lf);
    return lower_memory_pointer(lf, memory_idx, index, offset);
}

/* LLVM makes one instruction of a load and a choice (AVX-512's masks, scalars as well), also of a
 * volatile load, and it does not fault where the mask drops the lane. So strict mode keeps what may
 * get into a vector register apart from its load. */
LLVMValueRef lower_memory_load(struct lower_func *lf, LLVMTypeRef type) {
    LLVMValueRef load = lower_state_load(lf, type, lower_access_pointer(lf));
    LLVMSetAlignment(load, 1);
    bool may_be_masked = lf->row->result != WASM_I32 && lf->row->result != WASM_I64;
    bool is_apart = may_be_masked && lf->lm->is_strict && lf->lm->tier != LOWER_TIER_FAST;
    return is_apart ? lower_fence(lf->lm, load) : load;
}

static void emit_touch(struct lower_func *lf) {
    const struct wasm_memarg *mem = &lf->instr.mem;
    LLVMValueRef index = lower_zext64(lf, lower_pop(lf));
    LLVMValueRef pointer = lower_memory_pointer(lf, mem->memory_idx, index, mem->offset);
    lower_touch(lf, index, pointer, lower_memory_bytes(lf, mem->memory_idx));
}

/* arg: bits that are read, 0 = the whole value; arg2: LLVMSExt or LLVMZExt */
static void emit_load(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    if (lower_is_touch(lf)) {
        emit_touch(lf);
        return;
    }
    LLVMTypeRef type = lower_type(lm, lf->row->result);
    LLVMTypeRef narrow = lf->row->arg == 0 ? type : LLVMIntTypeInContext(lm->ctx, lf->row->arg);
    LLVMValueRef value = lower_memory_load(lf, narrow);
    lower_push(lf, lf->row->arg == 0
                       ? value
                       : LLVMBuildCast(lf->builder, (LLVMOpcode)lf->row->arg2, value, type, ""));
}

static void emit_store(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef value = lower_pop(lf);
    if (lf->row->arg != 0)
        value = LLVMBuildTrunc(lf->builder, value, LLVMIntTypeInContext(lm->ctx, lf->row->arg), "");
    LLVMValueRef store = lower_state_store(lf, value, lower_access_pointer(lf));
    LLVMSetAlignment(store, 1);
}

/* ---- sizes ---- */

LLVMValueRef lower_memory_bytes(struct lower_func *lf, uint32_t memory_idx) {
    if (is_byte_paged(lf, memory_idx))
        return lower_byte_paged_size(lf, memory_idx);
    return LLVMBuildShl(lf->builder, lower_host_pages(lf, memory_idx), lower_const_i64(lf->lm, 16),
                        "");
}

LLVMValueRef lower_memory_pages(struct lower_func *lf, uint32_t memory_idx) {
    return is_byte_paged(lf, memory_idx) ? lower_byte_paged_size(lf, memory_idx)
                                         : lower_host_pages(lf, memory_idx);
}

static void emit_size(struct lower_func *lf) {
    lower_push(lf, lower_to_address(lf, lower_memory_pages(lf, lf->instr.idx),
                                    limits_of(lf, lf->instr.idx)));
}

/* ~0 for a failure becomes -1. */
static void emit_grow(struct lower_func *lf) {
    LLVMValueRef delta = lower_zext64(lf, lower_pop(lf));
    LLVMValueRef old = is_byte_paged(lf, lf->instr.idx)
                           ? lower_byte_paged_grow(lf, delta)
                           : lower_service(lf, HUSK_SERVICE_MEMORY_GROW, lf->instr.idx, delta);
    lower_push(lf, lower_to_address(lf, old, limits_of(lf, lf->instr.idx)));
}

/* ---- bulk instructions ---- */

static void trap_if_outside(struct lower_func *lf, const struct lower_span *span) {
    LLVMValueRef outside = lower_range_is_outside(lf, limits_of(lf, span->idx), span->start,
                                                  span->count, lower_memory_bytes(lf, span->idx));
    lower_trap_if(lf, outside, TRAP_MEMORY_OUT_OF_BOUNDS);
}

static LLVMValueRef span_pointer(struct lower_func *lf, const struct lower_span *span) {
    return lower_memory_pointer(lf, span->idx, span->start, 0);
}

static void emit_fill(struct lower_func *lf) {
    struct lower_span dest = {.idx = lf->instr.idx};
    dest.count = lower_zext64(lf, lower_pop(lf));
    LLVMValueRef byte = LLVMBuildTrunc(lf->builder, lower_pop(lf), lf->lm->i8, "");
    dest.start = lower_zext64(lf, lower_pop(lf));
    trap_if_outside(lf, &dest);
    lower_locate(lf);
    lower_state_bulk(lf,
                     LLVMBuildMemSet(lf->builder, span_pointer(lf, &dest), byte, dest.count, 1));
}

static void emit_copy(struct lower_func *lf) {
    struct lower_span dest = {.idx = lf->instr.idx};
    struct lower_span source = {.idx = lf->instr.idx2};
    dest.count = source.count = lower_zext64(lf, lower_pop(lf));
    source.start = lower_zext64(lf, lower_pop(lf));
    dest.start = lower_zext64(lf, lower_pop(lf));
    trap_if_outside(lf, &source);
    trap_if_outside(lf, &dest);
    lower_locate(lf);
    LLVMValueRef from = span_pointer(lf, &source);
    lower_state_bulk(
        lf, LLVMBuildMemMove(lf->builder, span_pointer(lf, &dest), 1, from, 1, dest.count));
}

static LLVMValueRef data_size_slot(struct lower_func *lf, uint32_t data_idx) {
    struct lower_module *lm = lf->lm;
    return lower_absolute(lm, "i0.dsize", data_idx, lm->i64, lm->plan->datas[data_idx].size_gva);
}

void lower_memory_init_range(struct lower_func *lf, uint32_t data_idx,
                             const struct lower_span *dest, LLVMValueRef source) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef size = LLVMBuildLoad2(lf->builder, lm->i64, data_size_slot(lf, data_idx), "");
    lower_trap_if(lf, lower_range_is_outside(lf, NULL, source, dest->count, size),
                  TRAP_MEMORY_OUT_OF_BOUNDS);
    trap_if_outside(lf, dest);
    if (!lm->plan->datas[data_idx].has_symbol)
        return; /* its size is 0 from the start: nothing but the checks is left */
    LLVMValueRef bytes = lower_linker_symbol(lm, "i0.d", data_idx);
    LLVMValueRef from = LLVMBuildGEP2(lf->builder, lm->i8, bytes, &source, 1, "");
    lower_locate(lf);
    lower_state_bulk(lf,
                     LLVMBuildMemCpy(lf->builder, span_pointer(lf, dest), 1, from, 1, dest->count));
}

struct lower_span lower_pop_init(struct lower_func *lf, LLVMValueRef *ret_source) {
    struct lower_span dest = {.idx = lf->instr.idx2};
    dest.count = lower_zext64(lf, lower_pop(lf));
    *ret_source = lower_zext64(lf, lower_pop(lf));
    dest.start = lower_zext64(lf, lower_pop(lf));
    return dest;
}

static void emit_init(struct lower_func *lf) {
    LLVMValueRef source;
    const struct lower_span dest = lower_pop_init(lf, &source);
    lower_memory_init_range(lf, lf->instr.idx, &dest, source);
}

void lower_data_drop(struct lower_func *lf, uint32_t data_idx) {
    lower_state_store(lf, lower_const_i64(lf->lm, 0), data_size_slot(lf, data_idx));
}

static void emit_data_drop(struct lower_func *lf) {
    lower_data_drop(lf, lf->instr.idx);
}

static const struct lower_row memory_rows[] = {
    {.op = WASM_OP_I32_LOAD, .emit = emit_load},
    {.op = WASM_OP_I64_LOAD, .emit = emit_load},
    {.op = WASM_OP_F32_LOAD, .emit = emit_load},
    {.op = WASM_OP_F64_LOAD, .emit = emit_load},
    {.op = WASM_OP_I32_LOAD8_S, .emit = emit_load, .arg = 8, .arg2 = LLVMSExt},
    {.op = WASM_OP_I32_LOAD8_U, .emit = emit_load, .arg = 8, .arg2 = LLVMZExt},
    {.op = WASM_OP_I32_LOAD16_S, .emit = emit_load, .arg = 16, .arg2 = LLVMSExt},
    {.op = WASM_OP_I32_LOAD16_U, .emit = emit_load, .arg = 16, .arg2 = LLVMZExt},
    {.op = WASM_OP_I64_LOAD8_S, .emit = emit_load, .arg = 8, .arg2 = LLVMSExt},
    {.op = WASM_OP_I64_LOAD8_U, .emit = emit_load, .arg = 8, .arg2 = LLVMZExt},
    {.op = WASM_OP_I64_LOAD16_S, .emit = emit_load, .arg = 16, .arg2 = LLVMSExt},
    {.op = WASM_OP_I64_LOAD16_U, .emit = emit_load, .arg = 16, .arg2 = LLVMZExt},
    {.op = WASM_OP_I64_LOAD32_S, .emit = emit_load, .arg = 32, .arg2 = LLVMSExt},
    {.op = WASM_OP_I64_LOAD32_U, .emit = emit_load, .arg = 32, .arg2 = LLVMZExt},
    {.op = WASM_OP_I32_STORE, .emit = emit_store},
    {.op = WASM_OP_I64_STORE, .emit = emit_store},
    {.op = WASM_OP_F32_STORE, .emit = emit_store},
    {.op = WASM_OP_F64_STORE, .emit = emit_store},
    {.op = WASM_OP_I32_STORE8, .emit = emit_store, .arg = 8},
    {.op = WASM_OP_I32_STORE16, .emit = emit_store, .arg = 16},
    {.op = WASM_OP_I64_STORE8, .emit = emit_store, .arg = 8},
    {.op = WASM_OP_I64_STORE16, .emit = emit_store, .arg = 16},
    {.op = WASM_OP_I64_STORE32, .emit = emit_store, .arg = 32},
    {.op = WASM_OP_MEMORY_SIZE, .emit = emit_size},
    {.op = WASM_OP_MEMORY_GROW, .emit = emit_grow},
    {.op = WASM_OP_MEMORY_FILL, .emit = emit_fill},
    {.op = WASM_OP_MEMORY_COPY, .emit = emit_copy},
    {.op = WASM_OP_MEMORY_INIT, .emit = emit_init},
    {.op = WASM_OP_DATA_DROP, .emit = emit_data_drop},
};
const struct lower_rows lower_memory_rows = {memory_rows,
                                             sizeof memory_rows / sizeof memory_rows[0]};
