/*
 * wasm/print_text.c: buffered text, names, instructions for print.c. Names are hostile: they are
 * valid UTF-8, but may hold any character.
 */
#include "print_text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "name_text.h"
#include "types.h"

#define PIECE_MAX 256 /* longest text of one print_format() */

void print_flush(struct printer *printer) {
    if (printer->status == 0 && printer->used != 0)
        printer->status = printer->write(printer->user, printer->buffer, printer->used);
    printer->used = 0;
}

void print_format(struct printer *printer, const char *format, ...) {
    if (sizeof printer->buffer - printer->used < PIECE_MAX)
        print_flush(printer);
    va_list args;
    va_start(args, format);
    int count = vsnprintf(printer->buffer + printer->used, PIECE_MAX, format, args);
    va_end(args);
    if (count > 0)
        printer->used += (size_t)count < PIECE_MAX ? (size_t)count : PIECE_MAX - 1;
}

void print_name(struct printer *printer, struct wasm_bytes name) {
    char character[13];
    print_format(printer, "\"");
    for (uint32_t i = 0; i < name.count;) {
        i +=
            (uint32_t)name_escape_character((const char *)name.data + i, name.count - i, character);
        print_format(printer, "%s", character);
    }
    print_format(printer, "\"");
}

/* ---- immediates ---- */

static void print_blocktype(struct printer *printer, const struct wasm_blocktype *block) {
    if (block->is_index)
        print_format(printer, " (type %u)", block->type_idx);
    else if (block->result != 0)
        print_format(printer, " (result %s)", TYPE_TEXT(block->result));
}

static void print_br_table(struct printer *printer, const struct wasm_instr *instr) {
    struct wasm_bytes labels = instr->br_table.labels;
    uint32_t depth = 0;
    while (labels.count != 0 && wasm_read_label(&labels, &depth) == 0)
        print_format(printer, " %u", depth);
}

static void print_memarg(struct printer *printer, const struct wasm_instr *instr) {
    if (instr->mem.memory_idx != 0)
        print_format(printer, " (memory %u)", instr->mem.memory_idx);
    if (instr->mem.offset != 0)
        print_format(printer, " offset=%llu", (unsigned long long)instr->mem.offset);
    if (instr->mem.align_log2 != wasm_op_access_log2(instr->op))
        print_format(printer, " align=%llu", 1ull << instr->mem.align_log2);
}

static void print_f32(struct printer *printer, uint32_t bits) {
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    if (isnan(value))
        print_format(printer, " %snan:0x%x", bits >> 31 != 0 ? "-" : "", bits & 0x7fffffu);
    else
        print_format(printer, " %.9g", (double)value);
}

static void print_f64(struct printer *printer, uint64_t bits) {
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    if (isnan(value))
        print_format(printer, " %snan:0x%llx", bits >> 63 != 0 ? "-" : "",
                     (unsigned long long)(bits & 0xfffffffffffffull));
    else
        print_format(printer, " %.17g", value);
}

static void print_v128(struct printer *printer, const struct wasm_instr *instr) {
    bool is_shuffle = wasm_opinfo(instr->op)->imm == WASM_IMM_SHUFFLE;
    print_format(printer, is_shuffle ? "" : " i8x16");
    for (size_t i = 0; i < 16; i++)
        print_format(printer, is_shuffle ? " %u" : " 0x%02x", instr->v128[i]);
}

/* ref.null has a heap type, the others a reference type. */
static void print_heaptype(struct printer *printer, const struct wasm_instr *instr) {
    char text[WASM_TYPE_TEXT_BYTES];
    print_format(printer, " %s",
                 instr->op == WASM_OP_REF_NULL ? wasm_heap_text(instr->type, text)
                                               : wasm_type_text(instr->type, text));
}

static void print_try_table(struct printer *printer, const struct wasm_instr *instr) {
    static const char *const names[] = {"catch", "catch_ref", "catch_all", "catch_all_ref"};
    struct wasm_bytes catches = instr->try_table.catches;
    struct wasm_catch clause;
    print_blocktype(printer, &instr->block);
    for (uint32_t i = 0; i < instr->try_table.count && wasm_read_catch(&catches, &clause) == 0;
         i++) {
        print_format(printer, " (%s", names[clause.kind]);
        if (wasm_catch_has_tag(&clause))
            print_format(printer, " %u", clause.tag_idx);
        print_format(printer, " %u)", clause.depth);
    }
}

static void print_const(struct printer *printer, const struct wasm_instr *instr) {
    switch (wasm_opinfo(instr->op)->imm) {
    case WASM_IMM_I32: print_format(printer, " %d", instr->i32); break;
    case WASM_IMM_I64: print_format(printer, " %lld", (long long)instr->i64); break;
    case WASM_IMM_F32: print_f32(printer, instr->u32); break;
    case WASM_IMM_F64: print_f64(printer, instr->u64); break;
    default: print_v128(printer, instr); break;
    }
}

static void print_memory_idx(struct printer *printer, uint32_t memory_idx) {
    if (memory_idx != 0)
        print_format(printer, " %u", memory_idx);
}

static void print_imm(struct printer *printer, const struct wasm_instr *instr) {
    switch ((enum wasm_imm)wasm_opinfo(instr->op)->imm) {
    case WASM_IMM_NONE:
    case WASM_IMM_FENCE: break;
    case WASM_IMM_BLOCKTYPE: print_blocktype(printer, &instr->block); break;
    case WASM_IMM_BR_TABLE: print_br_table(printer, instr); break;
    case WASM_IMM_TRY_TABLE: print_try_table(printer, instr); break;
    case WASM_IMM_TAG:
    case WASM_IMM_LABEL:
    case WASM_IMM_FUNC:
    case WASM_IMM_LOCAL:
    case WASM_IMM_GLOBAL:
    case WASM_IMM_TABLE:
    case WASM_IMM_DATA:
    case WASM_IMM_ELEM:
    case WASM_IMM_TYPE: print_format(printer, " %u", instr->idx); break;
    case WASM_IMM_MEMORY: print_memory_idx(printer, instr->idx); break;
    case WASM_IMM_CALL_INDIRECT:
        print_format(printer, " %u (type %u)", instr->idx2, instr->idx);
        break;
    case WASM_IMM_MEMORY2:
    case WASM_IMM_TABLE2:
    case WASM_IMM_TYPE2:
    case WASM_IMM_TYPE_FIELD:
    case WASM_IMM_TYPE_COUNT:
    case WASM_IMM_TYPE_DATA:
    case WASM_IMM_TYPE_ELEM: print_format(printer, " %u %u", instr->idx, instr->idx2); break;
    case WASM_IMM_MEMORY_INIT:
    case WASM_IMM_TABLE_INIT: print_format(printer, " %u %u", instr->idx2, instr->idx); break;
    case WASM_IMM_MEMARG: print_memarg(printer, instr); break;
    case WASM_IMM_MEMARG_LANE:
        print_memarg(printer, instr);
        print_format(printer, " %u", instr->lane);
        break;
    case WASM_IMM_LANE: print_format(printer, " %u", instr->lane); break;
    case WASM_IMM_SELECT_T: print_format(printer, " (result %s)", TYPE_TEXT(instr->type)); break;
    case WASM_IMM_REFTYPE:
    case WASM_IMM_HEAPTYPE: print_heaptype(printer, instr); break;
    case WASM_IMM_CAST:
        print_format(printer, " %u %s %s", instr->idx, TYPE_TEXT(instr->type),
                     TYPE_TEXT(instr->cast_type));
        break;
    case WASM_IMM_I32:
    case WASM_IMM_I64:
    case WASM_IMM_F32:
    case WASM_IMM_F64:
    case WASM_IMM_V128:
    case WASM_IMM_SHUFFLE: print_const(printer, instr); break;
    }
}

void print_instr(struct printer *printer, const struct wasm_instr *instr) {
    print_format(printer, "%s", wasm_opinfo(instr->op)->text);
    print_imm(printer, instr);
}
