/*
 * compiler/lower/lower_simd_memory.c: loads and stores of v128 (core spec 4.4.7). Bounds as in
 * lower_memory.c. Everything below 16 bytes is read and written as one integer, so that strict mode
 * has one access of exactly that width.
 */
#include "lower_simd.h"

static void emit_load(struct lower_func *lf) {
    lower_push(lf, lower_memory_load(lf, lf->lm->v128));
}

static void emit_store(struct lower_func *lf) {
    LLVMValueRef value = lower_pop(lf);
    LLVMSetAlignment(lower_state_store(lf, value, lower_access_pointer(lf)), 1);
}

/* arg: the lanes of the result; arg2: how a lane of half their width is extended */
static void emit_load_extend(struct lower_func *lf) {
    enum lower_lanes lanes = (enum lower_lanes)lf->row->arg;
    LLVMTypeRef narrow = lower_lane_type(lf->lm, (enum lower_lanes)(lanes - 1));
    LLVMTypeRef half = LLVMVectorType(narrow, lower_lanes_count(lanes));
    LLVMValueRef value =
        LLVMBuildBitCast(lf->builder, lower_memory_load(lf, lf->lm->i64), half, "");
    lower_push_lanes(lf, LLVMBuildCast(lf->builder, (LLVMOpcode)lf->row->arg2, value,
                                       lower_lanes_type(lf->lm, lanes), ""));
}

/* arg: lanes, here and below */
static void emit_load_splat(struct lower_func *lf) {
    enum lower_lanes lanes = (enum lower_lanes)lf->row->arg;
    lower_push_lanes(lf,
                     lower_splat(lf, lower_memory_load(lf, lower_lane_type(lf->lm, lanes)), lanes));
}

static void emit_load_zero(struct lower_func *lf) {
    enum lower_lanes lanes = (enum lower_lanes)lf->row->arg;
    LLVMValueRef lane = lower_memory_load(lf, lower_lane_type(lf->lm, lanes));
    LLVMValueRef zero = LLVMConstNull(lower_lanes_type(lf->lm, lanes));
    lower_push_lanes(
        lf, LLVMBuildInsertElement(lf->builder, zero, lane, lower_const_i32(lf->lm, 0), ""));
}

static void emit_load_lane(struct lower_func *lf) {
    enum lower_lanes lanes = (enum lower_lanes)lf->row->arg;
    LLVMValueRef value = lower_pop_lanes(lf, lanes);
    LLVMValueRef lane = lower_memory_load(lf, lower_lane_type(lf->lm, lanes));
    lower_push_lanes(lf, LLVMBuildInsertElement(lf->builder, value, lane,
                                                lower_const_i32(lf->lm, lf->instr.lane), ""));
}

static void emit_store_lane(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, (enum lower_lanes)lf->row->arg);
    LLVMValueRef lane =
        LLVMBuildExtractElement(lf->builder, value, lower_const_i32(lf->lm, lf->instr.lane), "");
    LLVMSetAlignment(lower_state_store(lf, lane, lower_access_pointer(lf)), 1);
}

#define EXTEND(name, lanes, opcode)                                                                \
    { .op = WASM_OP_V128_LOAD##name, .emit = emit_load_extend, .arg = lanes, .arg2 = opcode }
#define LANE(bits, lanes)                                                                          \
    {.op = WASM_OP_V128_LOAD##bits##_SPLAT, .emit = emit_load_splat, .arg = lanes},                \
        {.op = WASM_OP_V128_LOAD##bits##_LANE, .emit = emit_load_lane, .arg = lanes}, {            \
        .op = WASM_OP_V128_STORE##bits##_LANE, .emit = emit_store_lane, .arg = lanes               \
    }

static const struct lower_row simd_memory_rows[] = {
    {.op = WASM_OP_V128_LOAD, .emit = emit_load},
    {.op = WASM_OP_V128_STORE, .emit = emit_store},
    EXTEND(8X8_S, LANES_I16X8, LLVMSExt),
    EXTEND(8X8_U, LANES_I16X8, LLVMZExt),
    EXTEND(16X4_S, LANES_I32X4, LLVMSExt),
    EXTEND(16X4_U, LANES_I32X4, LLVMZExt),
    EXTEND(32X2_S, LANES_I64X2, LLVMSExt),
    EXTEND(32X2_U, LANES_I64X2, LLVMZExt),
    LANE(8, LANES_I8X16),
    LANE(16, LANES_I16X8),
    LANE(32, LANES_I32X4),
    LANE(64, LANES_I64X2),
    {.op = WASM_OP_V128_LOAD32_ZERO, .emit = emit_load_zero, .arg = LANES_I32X4},
    {.op = WASM_OP_V128_LOAD64_ZERO, .emit = emit_load_zero, .arg = LANES_I64X2},
};
const struct lower_rows lower_simd_memory_rows = {simd_memory_rows, sizeof simd_memory_rows /
                                                                        sizeof simd_memory_rows[0]};
