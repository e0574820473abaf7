/*
 * wasm/instr.c: reads one instruction of an expression (core specification 2.0, section 5.4). The
 * decoder uses it to find the end of constant expressions; the validator, the lowering and the
 * printer use it, too. It checks the form only, never the indices.
 */
#include <string.h>

#include "limits.h"
#include "read.h"

struct code_row {
    uint16_t op_plus_1; /* 0: not an instruction of 2.0 */
    uint8_t imm;        /* as in the opinfo: one look-up less for every instruction */
};

/* Where the rows of each prefix stand, and how many there are. */
enum {
    ROWS_FB = 256,
    ROWS_FC = ROWS_FB + 64,
    ROWS_FD = ROWS_FC + 64,
    ROWS_FE = ROWS_FD + 320,
    ROWS_COUNT = ROWS_FE + 128
};
static const uint16_t prefix_rows[] = {ROWS_FB, ROWS_FC, ROWS_FD, ROWS_FE, ROWS_COUNT};
#define CODE_ROW(prefix, code)                                                                     \
    (((prefix) == 0xfb   ? ROWS_FB                                                                 \
      : (prefix) == 0xfc ? ROWS_FC                                                                 \
      : (prefix) == 0xfd ? ROWS_FD                                                                 \
      : (prefix) == 0xfe ? ROWS_FE                                                                 \
                         : 0) +                                                                    \
     (code))
static const struct code_row code_rows[ROWS_COUNT] = {
#define OP(name, prefix, code, text, imm, sig, feature)                                            \
    [CODE_ROW(prefix, code)] = {WASM_OP_##name + 1, WASM_IMM_##imm},
#include "opcode.def"
#undef OP
};

static const struct wasm_later later_rows[] = {
#define LATER(prefix, code, text, proposal) {code, prefix, text, proposal},
#include "later.def"
#undef LATER
};

const struct wasm_later *wasm_later_find(uint8_t prefix, uint32_t code) {
    for (size_t i = 0; i < sizeof later_rows / sizeof later_rows[0]; i++)
        if (later_rows[i].prefix == prefix && later_rows[i].code == code)
            return &later_rows[i];
    return NULL;
}

static int op_unknown(struct wasm_reader *reader, uint64_t offset, uint8_t prefix, uint32_t code) {
    const struct wasm_later *later = wasm_later_find(prefix, code);
    if (later != NULL)
        return wasm_error(reader->err, HUSK_E_UNSUPPORTED, offset,
                          "uses %s (%s), not supported yet", later->proposal, later->text);
    if (prefix != 0)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "illegal opcode 0x%02x 0x%02x",
                          prefix, code);
    return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "illegal opcode 0x%02x", code);
}

/* After 0xfb … 0xfe comes the rest of the opcode as a LEB128 integer. */
static int read_prefixed_op(struct wasm_reader *reader, uint64_t offset, uint8_t prefix,
                            const struct code_row **ret_row) {
    uint32_t code = 0;
    int status = wasm_read_u32(reader, "opcode", &code);
    if (status != 0)
        return status;
    const uint32_t first = prefix_rows[prefix - 0xfb];
    const uint32_t count = prefix_rows[prefix - 0xfb + 1] - first;
    if (code >= count || code_rows[first + code].op_plus_1 == 0)
        return op_unknown(reader, offset, prefix, code);
    *ret_row = &code_rows[first + code];
    return 0;
}

static int read_op(struct wasm_reader *reader, const struct code_row **ret_row) {
    uint64_t offset = wasm_reader_offset(reader);
    if (reader->pos == reader->end)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset,
                          "unexpected end: the expression has no end instruction");
    uint8_t code = *reader->pos++;
    if (code >= 0xfb && code <= 0xfe)
        return read_prefixed_op(reader, offset, code, ret_row);
    if (code_rows[code].op_plus_1 == 0)
        return op_unknown(reader, offset, 0, code);
    *ret_row = &code_rows[code];
    return 0;
}

/* ---- immediates ---- */

static int read_blocktype(struct wasm_reader *reader, struct wasm_instr *instr) {
    uint64_t offset = wasm_reader_offset(reader);
    if (reader->pos < reader->end) {
        uint8_t byte = *reader->pos;
        instr->block = (struct wasm_blocktype){.result = VALTYPE_NONE};
        if (byte == 0x40) {
            reader->pos++;
            return 0;
        }
        if (wasm_is_type_byte(byte))
            return wasm_read_valtype(reader, &instr->block.result);
        if (byte > 0x40 && byte < 0x80)
            return wasm_bad_type(reader, offset, byte, "block type");
    }
    int64_t type_idx = 0;
    int status = wasm_read_s33(reader, "block type", &type_idx);
    if (status != 0)
        return status;
    if (type_idx < 0)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "malformed block type");
    instr->block = (struct wasm_blocktype){.is_index = true, .type_idx = (uint32_t)type_idx};
    return 0;
}

static int read_br_table(struct wasm_reader *reader, struct wasm_instr *instr) {
    uint32_t count = 0;
    uint32_t label = 0;
    int status =
        wasm_read_count(reader, 1, WASM_LIMIT_BR_TABLE, "number of br_table targets", &count);
    const uint8_t *start = reader->pos;
    uint64_t offset = wasm_reader_offset(reader);
    for (uint32_t i = 0; status == 0 && i <= count; i++)
        status = wasm_read_u32(reader, "br_table target", &label);
    if (status == 0) {
        instr->br_table.count = count;
        instr->br_table.labels =
            (struct wasm_bytes){start, (uint32_t)(reader->pos - start), offset};
    }
    return status;
}

static int read_clause(struct wasm_reader *reader, struct wasm_catch *clause) {
    uint64_t offset = wasm_reader_offset(reader);
    uint8_t kind = 0;
    int status = wasm_read_byte(reader, "catch clause", &kind);
    if (status == 0 && kind > WASM_CATCH_ALL_REF)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "malformed catch clause 0x%02x",
                          kind);
    clause->kind = (enum wasm_catch_kind)kind;
    if (status == 0 && wasm_catch_has_tag(clause))
        status = wasm_read_u32(reader, "tag index", &clause->tag_idx);
    return status != 0 ? status : wasm_read_u32(reader, "label", &clause->depth);
}

/* The limit of br_table's targets: both are lists of labels. */
static int read_try_table(struct wasm_reader *reader, struct wasm_instr *instr) {
    uint32_t count = 0;
    struct wasm_catch clause = {.kind = WASM_CATCH_ALL};
    int status = read_blocktype(reader, instr);
    if (status == 0)
        status = wasm_read_count(reader, 2, WASM_LIMIT_BR_TABLE, "number of catch clauses", &count);
    const uint8_t *start = reader->pos;
    uint64_t offset = wasm_reader_offset(reader);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_clause(reader, &clause);
    if (status == 0) {
        instr->try_table.count = count;
        instr->try_table.catches =
            (struct wasm_bytes){start, (uint32_t)(reader->pos - start), offset};
    }
    return status;
}

/* The list has one type in 2.0 (section 3.3.4); another length is well-formed, but invalid. */
static int read_select_type(struct wasm_reader *reader, struct wasm_instr *instr) {
    uint64_t offset = wasm_reader_offset(reader);
    uint32_t count = 0;
    int status = wasm_read_u32(reader, "number of select types", &count);
    if (status == 0 && count != 1)
        return wasm_error(reader->err, HUSK_E_INVALID_WASM, offset,
                          "invalid result arity: select with %u types", count);
    return status != 0 ? status : wasm_read_valtype(reader, &instr->type);
}

static int read_offset32(struct wasm_reader *reader, uint64_t *ret_offset) {
    uint32_t offset = 0;
    int status = wasm_read_u32(reader, "memory offset", &offset);
    *ret_offset = offset;
    return status;
}

/* Bit 6 of the alignment: a memory index follows (multi-memory). */
static int read_memarg(struct wasm_reader *reader, struct wasm_instr *instr) {
    uint64_t offset = wasm_reader_offset(reader);
    uint32_t flags = 0;
    uint32_t memory_idx = 0;
    uint64_t mem_offset = 0;
    const bool is_2_0 = (reader->enabled & WASM_FEATURE_BIT(MEMORY64)) == 0;
    int status = wasm_read_u32(reader, "alignment", &flags);
    if (status != 0)
        return status;
    bool has_memory =
        (reader->enabled & WASM_FEATURE_BIT(MULTI_MEMORY)) != 0 && (flags & 0x40) != 0;
    if ((has_memory ? flags & ~0x40u : flags) >= (is_2_0 ? 32 : 64))
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "malformed memop flags 0x%x",
                          flags);
    if (has_memory)
        status = wasm_read_u32(reader, "memory index", &memory_idx);
    if (status == 0)
        status = is_2_0 ? read_offset32(reader, &mem_offset)
                        : wasm_read_u64(reader, "memory offset", &mem_offset);
    instr->mem = (struct wasm_memarg){memory_idx, flags & 0x3f, mem_offset};
    return status;
}

static int read_memory_idx(struct wasm_reader *reader, uint32_t *ret_idx) {
    if ((reader->enabled & WASM_FEATURE_BIT(MULTI_MEMORY)) == 0 && reader->pos < reader->end &&
        *reader->pos != 0)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, wasm_reader_offset(reader),
                          "zero byte expected");
    return wasm_read_u32(reader, "memory index", ret_idx);
}

/* atomic.fence: the byte is reserved. */
static int read_zero(struct wasm_reader *reader) {
    uint64_t offset = wasm_reader_offset(reader);
    uint8_t byte = 0;
    int status = wasm_read_byte(reader, "memory ordering", &byte);
    if (status == 0 && byte != 0)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "zero byte expected");
    return status;
}

static int read_raw(struct wasm_reader *reader, uint32_t count, void *ret_value) {
    struct wasm_bytes bytes;
    int status = wasm_read_bytes(reader, count, "constant", &bytes);
    if (status == 0)
        memcpy(ret_value, bytes.data, count); /* little-endian, as the machine is */
    return status;
}

static int read_two(struct wasm_reader *reader, const char *what, const char *what2,
                    struct wasm_instr *instr) {
    int status = wasm_read_u32(reader, what, &instr->idx);
    return status != 0 ? status : wasm_read_u32(reader, what2, &instr->idx2);
}

static int read_two_memories(struct wasm_reader *reader, struct wasm_instr *instr) {
    int status = read_memory_idx(reader, &instr->idx);
    return status != 0 ? status : read_memory_idx(reader, &instr->idx2);
}

static int read_memory_init(struct wasm_reader *reader, struct wasm_instr *instr) {
    int status = wasm_read_u32(reader, "data segment index", &instr->idx);
    return status != 0 ? status : read_memory_idx(reader, &instr->idx2);
}

static int read_memarg_lane(struct wasm_reader *reader, struct wasm_instr *instr) {
    int status = read_memarg(reader, instr);
    return status != 0 ? status : wasm_read_byte(reader, "lane index", &instr->lane);
}

/* Flags (1: the source is nullable, 2: the target is), label, source, target. */
static int read_cast(struct wasm_reader *reader, struct wasm_instr *instr) {
    uint64_t offset = wasm_reader_offset(reader);
    uint8_t flags = 0;
    int status = wasm_read_byte(reader, "cast flags", &flags);
    if (status == 0 && flags > 3)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "malformed cast flags 0x%02x",
                          flags);
    if (status == 0)
        status = wasm_read_u32(reader, "label", &instr->idx);
    if (status == 0)
        status = wasm_read_heaptype(reader, (flags & 1) != 0, &instr->type);
    return status != 0 ? status : wasm_read_heaptype(reader, (flags & 2) != 0, &instr->cast_type);
}

/* The immediates that are one index, or two. */
static const struct idx_row {
    const char *what, *what2;
} idx_rows[WASM_IMM_LAST + 1] = {
    [WASM_IMM_LABEL] = {"label", NULL},
    [WASM_IMM_TAG] = {"tag index", NULL},
    [WASM_IMM_FUNC] = {"function index", NULL},
    [WASM_IMM_LOCAL] = {"local index", NULL},
    [WASM_IMM_GLOBAL] = {"global index", NULL},
    [WASM_IMM_TABLE] = {"table index", NULL},
    [WASM_IMM_DATA] = {"data segment index", NULL},
    [WASM_IMM_ELEM] = {"element segment index", NULL},
    [WASM_IMM_TYPE] = {"type index", NULL},
    [WASM_IMM_CALL_INDIRECT] = {"type index", "table index"},
    [WASM_IMM_TABLE_INIT] = {"element segment index", "table index"},
    [WASM_IMM_TABLE2] = {"table index", "table index"},
    [WASM_IMM_TYPE2] = {"type index", "type index"},
    [WASM_IMM_TYPE_FIELD] = {"type index", "field index"},
    [WASM_IMM_TYPE_COUNT] = {"type index", "number of elements"},
    [WASM_IMM_TYPE_DATA] = {"type index", "data segment index"},
    [WASM_IMM_TYPE_ELEM] = {"type index", "element segment index"},
};

static int read_idx(struct wasm_reader *reader, const struct idx_row *row,
                    struct wasm_instr *instr) {
    return row->what2 != NULL ? read_two(reader, row->what, row->what2, instr)
                              : wasm_read_u32(reader, row->what, &instr->idx);
}

static int read_imm(struct wasm_reader *reader, enum wasm_imm imm, struct wasm_instr *instr) {
    switch (imm) {
    case WASM_IMM_NONE: return 0;
    case WASM_IMM_BLOCKTYPE: return read_blocktype(reader, instr);
    case WASM_IMM_LABEL:
    case WASM_IMM_TAG:
    case WASM_IMM_FUNC:
    case WASM_IMM_LOCAL:
    case WASM_IMM_GLOBAL:
    case WASM_IMM_TABLE:
    case WASM_IMM_DATA:
    case WASM_IMM_ELEM:
    case WASM_IMM_TYPE:
    case WASM_IMM_CALL_INDIRECT:
    case WASM_IMM_TABLE_INIT:
    case WASM_IMM_TABLE2:
    case WASM_IMM_TYPE2:
    case WASM_IMM_TYPE_FIELD:
    case WASM_IMM_TYPE_COUNT:
    case WASM_IMM_TYPE_DATA:
    case WASM_IMM_TYPE_ELEM: return read_idx(reader, &idx_rows[imm], instr);
    case WASM_IMM_BR_TABLE: return read_br_table(reader, instr);
    case WASM_IMM_SELECT_T: return read_select_type(reader, instr);
    case WASM_IMM_MEMARG: return read_memarg(reader, instr);
    case WASM_IMM_MEMARG_LANE: return read_memarg_lane(reader, instr);
    case WASM_IMM_MEMORY: return read_memory_idx(reader, &instr->idx);
    case WASM_IMM_MEMORY2: return read_two_memories(reader, instr);
    case WASM_IMM_MEMORY_INIT: return read_memory_init(reader, instr);
    case WASM_IMM_REFTYPE: return wasm_read_heaptype(reader, true, &instr->type);
    case WASM_IMM_HEAPTYPE: return wasm_read_heaptype(reader, false, &instr->type);
    case WASM_IMM_CAST: return read_cast(reader, instr);
    case WASM_IMM_I32: return wasm_read_s32(reader, "i32 constant", &instr->i32);
    case WASM_IMM_I64: return wasm_read_s64(reader, "i64 constant", &instr->i64);
    case WASM_IMM_F32: return read_raw(reader, 4, &instr->u32);
    case WASM_IMM_F64: return read_raw(reader, 8, &instr->u64);
    case WASM_IMM_V128:
    case WASM_IMM_SHUFFLE: return read_raw(reader, 16, instr->v128);
    case WASM_IMM_TRY_TABLE: return read_try_table(reader, instr);
    case WASM_IMM_FENCE: return read_zero(reader);
    case WASM_IMM_LANE: return wasm_read_byte(reader, "lane index", &instr->lane);
    }
    return wasm_error(reader->err, HUSK_E_BAD_WASM, instr->offset, "illegal opcode");
}

void wasm_reader_init(struct wasm_reader *reader, struct wasm_bytes bytes, struct husk_error *err) {
    *reader = (struct wasm_reader){.start = bytes.data,
                                   .pos = bytes.data,
                                   .end = bytes.data + bytes.count,
                                   .offset = bytes.offset,
                                   .err = err,
                                   .enabled = WASM_FEATURES_ALL};
}

int wasm_read_instr_into(struct wasm_reader *reader, struct wasm_instr *instr) {
    instr->offset = wasm_reader_offset(reader);
    instr->type = 0;
    instr->lane = 0;
    instr->idx = 0;
    instr->idx2 = 0;
    const struct code_row *row = &code_rows[0];
    int status = read_op(reader, &row);
    if (status != 0)
        return status;
    instr->op = (enum wasm_op)(row->op_plus_1 - 1);
    return read_imm(reader, (enum wasm_imm)row->imm, instr);
}

int wasm_read_instr(struct wasm_reader *reader, struct wasm_instr *ret_instr) {
    struct wasm_instr instr = {.op = WASM_OP_NOP};
    int status = wasm_read_instr_into(reader, &instr);
    if (status == 0)
        *ret_instr = instr;
    return status;
}

int wasm_read_label(struct wasm_bytes *labels, uint32_t *ret_depth) {
    struct wasm_reader reader;
    wasm_reader_init(&reader, *labels, NULL);
    int status = wasm_read_u32(&reader, "br_table target", ret_depth);
    if (status == 0) {
        uint32_t used = (uint32_t)(reader.pos - reader.start);
        *labels = (struct wasm_bytes){reader.pos, labels->count - used, labels->offset + used};
    }
    return status;
}

int wasm_read_catch(struct wasm_bytes *catches, struct wasm_catch *ret_catch) {
    struct wasm_reader reader;
    struct wasm_catch clause = {.kind = WASM_CATCH_ALL};
    wasm_reader_init(&reader, *catches, NULL);
    int status = read_clause(&reader, &clause);
    if (status == 0) {
        uint32_t used = (uint32_t)(reader.pos - reader.start);
        *catches = (struct wasm_bytes){reader.pos, catches->count - used, catches->offset + used};
        *ret_catch = clause;
    }
    return status;
}
