/*
 * compiler/lower/lower_simd.c: vector instructions that take whole values or single lanes (core
 * spec 4.4.3): constants, bitwise logic, splats, lanes, shuffles; and what all lower_simd*.c share.
 * The others: lower_simd_integer.c, lower_simd_float.c, lower_simd_memory.c.
 */
#include "lower_identity.h"
#include "lower_simd.h"

#include <string.h>

static const uint8_t lane_bits[LANES_COUNT] = {8, 16, 32, 64, 32, 64};

uint32_t lower_lanes_count(enum lower_lanes lanes) {
    return 128u / lane_bits[lanes];
}

LLVMTypeRef lower_lane_type(const struct lower_module *lm, enum lower_lanes lanes) {
    if (lanes == LANES_F32X4)
        return lm->f32;
    if (lanes == LANES_F64X2)
        return lm->f64;
    return LLVMIntTypeInContext(lm->ctx, lane_bits[lanes]);
}

LLVMTypeRef lower_lanes_type(const struct lower_module *lm, enum lower_lanes lanes) {
    return LLVMVectorType(lower_lane_type(lm, lanes), lower_lanes_count(lanes));
}

/* LLVM leaves casts between constants with lanes of other widths for later. */
static LLVMValueRef constant_of_words(struct lower_module *lm, const uint64_t words[2],
                                      LLVMTypeRef type) {
    LLVMTypeRef lane = LLVMGetElementType(type);
    LLVMValueRef lanes[16];
    unsigned width = lower_lane_bits(lane), count = LLVMGetVectorSize(type);
    for (unsigned i = 0; i < count; i++) {
        LLVMTypeRef bits = LLVMIntTypeInContext(lm->ctx, width);
        uint64_t word = words[i * width / 64] >> i * width % 64;
        lanes[i] = LLVMConstBitCast(
            LLVMConstInt(bits, width == 64 ? word : word & (((uint64_t)1 << width) - 1), false),
            lane);
    }
    return LLVMConstVector(lanes, count);
}

/* A cast of a cast is left out here: the fast tier has no pass that would do it, and lower_nan.c
 * sees more. */
LLVMValueRef lower_bits(struct lower_func *lf, LLVMValueRef value, LLVMTypeRef type) {
    if (LLVMIsABitCastInst(value) && LLVMTypeOf(LLVMGetOperand(value, 0)) == type)
        return LLVMGetOperand(value, 0);
    uint64_t words[2];
    if (lower_constant_words(lf->lm, value, words) == 2)
        return constant_of_words(lf->lm, words, type);
    return LLVMBuildBitCast(lf->builder, value, type, "");
}

LLVMValueRef lower_pop_lanes(struct lower_func *lf, enum lower_lanes lanes) {
    return lower_bits(lf, lower_pop(lf), lower_lanes_type(lf->lm, lanes));
}

void lower_push_lanes(struct lower_func *lf, LLVMValueRef value) {
    lower_push(lf, lower_bits(lf, value, lf->lm->v128));
}

LLVMValueRef lower_splat(struct lower_func *lf, LLVMValueRef lane, enum lower_lanes lanes) {
    LLVMTypeRef type = lower_lanes_type(lf->lm, lanes);
    LLVMTypeRef mask = LLVMVectorType(lf->lm->i32, lower_lanes_count(lanes));
    LLVMValueRef first = LLVMBuildInsertElement(lf->builder, LLVMGetPoison(type), lane,
                                                lower_const_i32(lf->lm, 0), "");
    return LLVMBuildShuffleVector(lf->builder, first, LLVMGetPoison(type), LLVMConstNull(mask), "");
}

LLVMValueRef lower_splat_int(struct lower_func *lf, uint64_t lane, enum lower_lanes lanes) {
    return lower_splat(lf, LLVMConstInt(lower_lane_type(lf->lm, lanes), lane, false), lanes);
}

LLVMValueRef lower_splat_real(struct lower_func *lf, double lane, enum lower_lanes lanes) {
    return lower_splat(lf, LLVMConstReal(lower_lane_type(lf->lm, lanes), lane), lanes);
}

LLVMValueRef lower_half(struct lower_func *lf, LLVMValueRef value, bool is_high) {
    LLVMValueRef idxs[8];
    uint32_t count = LLVMGetVectorSize(LLVMTypeOf(value)) / 2;
    for (uint32_t i = 0; i < count; i++)
        idxs[i] = lower_const_i32(lf->lm, is_high ? count + i : i);
    return LLVMBuildShuffleVector(lf->builder, value, LLVMGetPoison(LLVMTypeOf(value)),
                                  LLVMConstVector(idxs, count), "");
}

LLVMValueRef lower_mask(struct lower_func *lf, LLVMValueRef bits, enum lower_lanes lanes) {
    return LLVMBuildSExt(lf->builder, bits, lower_lanes_type(lf->lm, lanes), "");
}

LLVMValueRef lower_simd_call(struct lower_func *lf, enum lower_intrinsic intrinsic,
                             LLVMValueRef left, LLVMValueRef right) {
    LLVMTypeRef type = LLVMTypeOf(left);
    LLVMValueRef args[2] = {left, right};
    return lower_intrinsic_call(lf, intrinsic, &type, args, right != NULL ? 2 : 1);
}

/* ---- whole values ---- */

static void emit_const(struct lower_func *lf) {
    uint64_t words[2];
    memcpy(words, lf->instr.v128, sizeof words); /* the host is little-endian, too */
    lower_push(lf, constant_of_words(lf->lm, words, lf->lm->v128));
}

/* arg: an LLVM opcode */
static void emit_bitwise(struct lower_func *lf) {
    LLVMValueRef right = lower_pop(lf);
    LLVMValueRef left = lower_pop(lf);
    lower_push(lf, LLVMBuildBinOp(lf->builder, (LLVMOpcode)lf->row->arg, left, right, ""));
}

static void emit_not(struct lower_func *lf) {
    lower_push(lf, LLVMBuildNot(lf->builder, lower_pop(lf), ""));
}

static void emit_andnot(struct lower_func *lf) {
    LLVMValueRef inverted = LLVMBuildNot(lf->builder, lower_pop(lf), "");
    lower_push(lf, LLVMBuildAnd(lf->builder, lower_pop(lf), inverted, ""));
}

static void emit_bitselect(struct lower_func *lf) {
    LLVMValueRef mask = lower_pop(lf);
    LLVMValueRef clear =
        LLVMBuildAnd(lf->builder, lower_pop(lf), LLVMBuildNot(lf->builder, mask, ""), "");
    LLVMValueRef set = LLVMBuildAnd(lf->builder, lower_pop(lf), mask, "");
    lower_push(lf, LLVMBuildOr(lf->builder, set, clear, ""));
}

static void emit_any_true(struct lower_func *lf) {
    LLVMTypeRef i128 = LLVMIntTypeInContext(lf->lm->ctx, 128);
    LLVMValueRef bits = LLVMBuildBitCast(lf->builder, lower_pop(lf), i128, "");
    lower_push(lf, lower_from_truth(
                       lf, LLVMBuildICmp(lf->builder, LLVMIntNE, bits, LLVMConstNull(i128), "")));
}

/* ---- lanes ---- */

/* arg: lanes */
static void emit_splat(struct lower_func *lf) {
    enum lower_lanes lanes = (enum lower_lanes)lf->row->arg;
    LLVMValueRef lane = lower_pop(lf);
    if (lanes == LANES_I8X16 || lanes == LANES_I16X8)
        lane = LLVMBuildTrunc(lf->builder, lane, lower_lane_type(lf->lm, lanes), "");
    lower_push_lanes(lf, lower_splat(lf, lane, lanes));
}

/* arg: lanes; arg2: how a narrow lane becomes an i32, or 0 */
static void emit_extract(struct lower_func *lf) {
    LLVMValueRef value = lower_pop_lanes(lf, (enum lower_lanes)lf->row->arg);
    LLVMValueRef lane =
        LLVMBuildExtractElement(lf->builder, value, lower_const_i32(lf->lm, lf->instr.lane), "");
    if (lf->row->arg2 != 0)
        lane = LLVMBuildCast(lf->builder, (LLVMOpcode)lf->row->arg2, lane, lf->lm->i32, "");
    lower_push(lf, lane);
}

static void emit_replace(struct lower_func *lf) {
    enum lower_lanes lanes = (enum lower_lanes)lf->row->arg;
    LLVMValueRef lane = lower_pop(lf);
    if (lanes == LANES_I8X16 || lanes == LANES_I16X8)
        lane = LLVMBuildTrunc(lf->builder, lane, lower_lane_type(lf->lm, lanes), "");
    LLVMValueRef value = lower_pop_lanes(lf, lanes);
    lower_push_lanes(lf, LLVMBuildInsertElement(lf->builder, value, lane,
                                                lower_const_i32(lf->lm, lf->instr.lane), ""));
}

static void emit_shuffle(struct lower_func *lf) {
    LLVMValueRef idxs[16];
    for (uint32_t i = 0; i < 16; i++)
        idxs[i] = lower_const_i32(lf->lm, lf->instr.v128[i]);
    LLVMValueRef right = lower_pop_lanes(lf, LANES_I8X16);
    LLVMValueRef left = lower_pop_lanes(lf, LANES_I8X16);
    lower_push_lanes(
        lf, LLVMBuildShuffleVector(lf->builder, left, right, LLVMConstVector(idxs, 16), ""));
}

static LLVMValueRef constant_swizzle(struct lower_func *lf, LLVMValueRef value,
                                     const uint8_t *bytes) {
    LLVMValueRef idxs[16];
    for (uint32_t i = 0; i < 16; i++)
        idxs[i] = lower_const_i32(lf->lm, bytes[i] < 16 ? bytes[i] : 16);
    return LLVMBuildShuffleVector(lf->builder, value, LLVMConstNull(LLVMTypeOf(value)),
                                  LLVMConstVector(idxs, 16), "");
}

/* pshufb gives 0 for an index with bit 7 set: adding 0x70 with saturation sets it from 16 on, and
 * keeps the four bits that count below. */
static void emit_swizzle(struct lower_func *lf) {
    LLVMValueRef idxs = lower_pop_lanes(lf, LANES_I8X16);
    LLVMValueRef value = lower_pop_lanes(lf, LANES_I8X16);
    uint64_t words[2];
    if (lower_constant_words(lf->lm, idxs, words) == 2) {
        lower_push_lanes(lf, constant_swizzle(lf, value, (const uint8_t *)words));
        return;
    }
    idxs = lower_simd_call(lf, LOWER_UADD_SAT, idxs, lower_splat_int(lf, 0x70, LANES_I8X16));
    lower_push_lanes(lf, lower_simd_call(lf, LOWER_X86_PSHUFB, value, idxs));
}

static const struct lower_row simd_rows[] = {
    {.op = WASM_OP_V128_CONST, .emit = emit_const},
    {.op = WASM_OP_V128_AND, .emit = emit_bitwise, .arg = LLVMAnd},
    {.op = WASM_OP_V128_OR, .emit = emit_bitwise, .arg = LLVMOr},
    {.op = WASM_OP_V128_XOR, .emit = emit_bitwise, .arg = LLVMXor},
    {.op = WASM_OP_V128_NOT, .emit = emit_not},
    {.op = WASM_OP_V128_ANDNOT, .emit = emit_andnot},
    {.op = WASM_OP_V128_BITSELECT, .emit = emit_bitselect},
    {.op = WASM_OP_V128_ANY_TRUE, .emit = emit_any_true},
    {.op = WASM_OP_I8X16_SHUFFLE, .emit = emit_shuffle},
    {.op = WASM_OP_I8X16_SWIZZLE, .emit = emit_swizzle},
    {.op = WASM_OP_I8X16_RELAXED_SWIZZLE, .emit = emit_swizzle},
    {.op = WASM_OP_I8X16_RELAXED_LANESELECT, .emit = emit_bitselect},
    {.op = WASM_OP_I16X8_RELAXED_LANESELECT, .emit = emit_bitselect},
    {.op = WASM_OP_I32X4_RELAXED_LANESELECT, .emit = emit_bitselect},
    {.op = WASM_OP_I64X2_RELAXED_LANESELECT, .emit = emit_bitselect},
    {.op = WASM_OP_I8X16_SPLAT, .emit = emit_splat, .arg = LANES_I8X16},
    {.op = WASM_OP_I16X8_SPLAT, .emit = emit_splat, .arg = LANES_I16X8},
    {.op = WASM_OP_I32X4_SPLAT, .emit = emit_splat, .arg = LANES_I32X4},
    {.op = WASM_OP_I64X2_SPLAT, .emit = emit_splat, .arg = LANES_I64X2},
    {.op = WASM_OP_F32X4_SPLAT, .emit = emit_splat, .arg = LANES_F32X4},
    {.op = WASM_OP_F64X2_SPLAT, .emit = emit_splat, .arg = LANES_F64X2},
    {.op = WASM_OP_I8X16_EXTRACT_LANE_S,
     .emit = emit_extract,
     .arg = LANES_I8X16,
     .arg2 = LLVMSExt},
    {.op = WASM_OP_I8X16_EXTRACT_LANE_U,
     .emit = emit_extract,
     .arg = LANES_I8X16,
     .arg2 = LLVMZExt},
    {.op = WASM_OP_I16X8_EXTRACT_LANE_S,
     .emit = emit_extract,
     .arg = LANES_I16X8,
     .arg2 = LLVMSExt},
    {.op = WASM_OP_I16X8_EXTRACT_LANE_U,
     .emit = emit_extract,
     .arg = LANES_I16X8,
     .arg2 = LLVMZExt},
    {.op = WASM_OP_I32X4_EXTRACT_LANE, .emit = emit_extract, .arg = LANES_I32X4},
    {.op = WASM_OP_I64X2_EXTRACT_LANE, .emit = emit_extract, .arg = LANES_I64X2},
    {.op = WASM_OP_F32X4_EXTRACT_LANE, .emit = emit_extract, .arg = LANES_F32X4},
    {.op = WASM_OP_F64X2_EXTRACT_LANE, .emit = emit_extract, .arg = LANES_F64X2},
    {.op = WASM_OP_I8X16_REPLACE_LANE, .emit = emit_replace, .arg = LANES_I8X16},
    {.op = WASM_OP_I16X8_REPLACE_LANE, .emit = emit_replace, .arg = LANES_I16X8},
    {.op = WASM_OP_I32X4_REPLACE_LANE, .emit = emit_replace, .arg = LANES_I32X4},
    {.op = WASM_OP_I64X2_REPLACE_LANE, .emit = emit_replace, .arg = LANES_I64X2},
    {.op = WASM_OP_F32X4_REPLACE_LANE, .emit = emit_replace, .arg = LANES_F32X4},
    {.op = WASM_OP_F64X2_REPLACE_LANE, .emit = emit_replace, .arg = LANES_F64X2},
};
const struct lower_rows lower_simd_rows = {simd_rows, sizeof simd_rows / sizeof simd_rows[0]};
