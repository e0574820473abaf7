/* compiler/link/unwind_x86_64.c: call frame information → unwind rows and frames; see the
 * header. */
#include "unwind_x86_64.h"

#include <stdlib.h>

#include "dwarf_cursor.h"
#include "error.h"
#include "image.h"

/* psABI figure 3.36: DWARF register numbers */
enum { REG_RBX = 3, REG_RBP = 6, REG_RSP = 7, REG_R12 = 12, REG_R15 = 15, REG_RA = 16 };
/* DWARF 5, 7.24: call frame instructions */
enum {
    CFA_NOP,
    CFA_SET_LOC,
    CFA_ADVANCE1,
    CFA_ADVANCE2,
    CFA_ADVANCE4,
    CFA_OFFSET_EXTENDED,
    CFA_RESTORE_EXTENDED,
    CFA_UNDEFINED,
    CFA_SAME_VALUE,
    CFA_REGISTER,
    CFA_REMEMBER,
    CFA_RESTORE_STATE,
    CFA_DEF_CFA,
    CFA_DEF_CFA_REGISTER,
    CFA_DEF_CFA_OFFSET,
    CFA_DEF_CFA_EXPRESSION,
    CFA_EXPRESSION,
    CFA_OFFSET_EXTENDED_SF,
    CFA_DEF_CFA_SF,
    CFA_DEF_CFA_OFFSET_SF,
    CFA_VAL_OFFSET,
    CFA_VAL_OFFSET_SF,
    CFA_VAL_EXPRESSION,
    CFA_GNU_ARGS_SIZE = 0x2e
};
/* The two top bits carry an opcode of their own. */
enum { CFA_ADVANCE = 0x40, CFA_OFFSET = 0x80, CFA_RESTORE = 0xc0 };

#define STATES_MAX 8

struct frame {
    uint64_t cfa_reg;
    int64_t cfa_offset;
    int64_t saved[THROW_REGS]; /* below the CFA; 0: still in the register */
    uint64_t args_bytes;       /* pushed for the call here */
    bool is_known;             /* false: an expression, or no caller */
    bool has_all;              /* the place of each register in saved[] is known */
};

struct cie {
    uint64_t code_align;
    int64_t data_align;
    uint8_t pointer_encoding, lsda_encoding;
    bool has_augmentation; /* 'z' */
    struct frame initial;
};

struct cfi { /* one FDE (or CIE) being run */
    struct cursor cursor;
    const struct cie *cie;
    struct frame frame;
    struct frame saved[STATES_MAX];
    unsigned saved_count;
    uint64_t pc;
    struct unwind_tables *tables; /* NULL: a CIE */
};

static int malformed(struct husk_error *err, const char *what) {
    return error_set(err, HUSK_E_COMPILER, "malformed .eh_frame: %s", what);
}

static bool is_offset(int64_t offset) {
    return offset >= 0 && offset <= INT32_MAX;
}

static void emit_frame(const struct cfi *cfi, bool is_usable) {
    const struct frame *frame = &cfi->frame;
    struct unwind_frame out = {.code_gva = (uint32_t)cfi->pc};
    is_usable = is_usable && frame->has_all && frame->cfa_offset <= INT32_MAX / 2 &&
                frame->args_bytes <= INT32_MAX;
    for (int i = 0; i < THROW_REGS; i++)
        is_usable = is_usable && is_offset(frame->saved[i]);
    if (is_usable) {
        out.shape.cfa = (uint32_t)frame->cfa_offset << 1 | (frame->cfa_reg == REG_RBP);
        out.shape.args_bytes = (uint32_t)frame->args_bytes;
        for (int i = 0; i < THROW_REGS; i++)
            out.shape.saved[i] = (uint32_t)frame->saved[i];
    }
    buf_append(&cfi->tables->frames, &out, sizeof out);
}

static void emit_row(struct cfi *cfi) {
    const struct frame *frame = &cfi->frame;
    const int64_t rbp_offset = frame->saved[THROW_REG_RBP];
    bool is_usable = frame->is_known && (frame->cfa_reg == REG_RBP || frame->cfa_reg == REG_RSP) &&
                     frame->cfa_offset > 0 && frame->cfa_offset <= INT32_MAX &&
                     is_offset(rbp_offset);
    struct husk_image_unwind_x86_64 row = {.code_gva = (uint32_t)cfi->pc};
    if (is_usable) {
        row.cfa_base = frame->cfa_reg == REG_RBP;
        row.cfa_offset = (uint32_t)frame->cfa_offset;
        row.rbp_offset = (uint32_t)rbp_offset;
    }
    if (cfi->tables == NULL)
        return;
    buf_append(&cfi->tables->rows, &row, sizeof row);
    if (cfi->tables->wants_frames)
        emit_frame(cfi, is_usable);
}

static void advance(struct cfi *cfi, uint64_t delta) {
    emit_row(cfi);
    cfi->pc += delta * cfi->cie->code_align;
}

/* The index of a preserved register in saved[], or -1. */
static int saved_idx(uint64_t reg) {
    if (reg == REG_RBX)
        return 0;
    if (reg == REG_RBP)
        return THROW_REG_RBP;
    return reg >= REG_R12 && reg <= REG_R15 ? (int)(reg - REG_R12) + 2 : -1;
}

static void set_saved(struct cfi *cfi, uint64_t reg, int64_t offset) {
    if (saved_idx(reg) >= 0)
        cfi->frame.saved[saved_idx(reg)] = offset;
}

/* Malformed factors may overflow. */
static int64_t unfactored(const struct cfi *cfi, int64_t factored) {
    return (int64_t)((uint64_t)factored * (uint64_t)cfi->cie->data_align);
}

static void set_offset(struct cfi *cfi, uint64_t reg, int64_t factored) {
    set_saved(cfi, reg, (int64_t)(0 - (uint64_t)unfactored(cfi, factored)));
}

static void restore(struct cfi *cfi, uint64_t reg) {
    if (saved_idx(reg) >= 0)
        set_saved(cfi, reg, cfi->cie->initial.saved[saved_idx(reg)]);
}

/* Its value cannot be found by an offset from the CFA. */
static void lose(struct cfi *cfi, uint64_t reg) {
    if (reg == REG_RA)
        cfi->frame.is_known = false;
    if (saved_idx(reg) >= 0)
        cfi->frame.has_all = false;
}

static bool run_def_cfa(struct cfi *cfi, unsigned opcode) {
    struct cursor *cursor = &cfi->cursor;
    struct frame *frame = &cfi->frame;
    switch (opcode) {
    case CFA_DEF_CFA:
        frame->cfa_reg = cursor_uleb(cursor);
        frame->cfa_offset = (int64_t)cursor_uleb(cursor);
        break;
    case CFA_DEF_CFA_SF:
        frame->cfa_reg = cursor_uleb(cursor);
        frame->cfa_offset = unfactored(cfi, cursor_sleb(cursor));
        break;
    case CFA_DEF_CFA_REGISTER: frame->cfa_reg = cursor_uleb(cursor); return true;
    case CFA_DEF_CFA_OFFSET: frame->cfa_offset = (int64_t)cursor_uleb(cursor); return true;
    case CFA_DEF_CFA_OFFSET_SF:
        frame->cfa_offset = unfactored(cfi, cursor_sleb(cursor));
        return true;
    case CFA_DEF_CFA_EXPRESSION:
        cursor_skip(cursor, cursor_uleb(cursor));
        frame->is_known = false;
        return true;
    default: return false;
    }
    frame->is_known = true;
    return true;
}

static bool run_state(struct cfi *cfi, unsigned opcode) {
    if (opcode == CFA_REMEMBER && cfi->saved_count < STATES_MAX)
        cfi->saved[cfi->saved_count++] = cfi->frame;
    else if (opcode == CFA_RESTORE_STATE && cfi->saved_count > 0)
        cfi->frame = cfi->saved[--cfi->saved_count];
    else
        return false;
    return true;
}

static bool run_register_rule(struct cfi *cfi, unsigned opcode) {
    struct cursor *cursor = &cfi->cursor;
    uint64_t reg = opcode == CFA_GNU_ARGS_SIZE ? 0 : cursor_uleb(cursor);
    switch (opcode) {
    case CFA_OFFSET_EXTENDED: set_offset(cfi, reg, (int64_t)cursor_uleb(cursor)); return true;
    case CFA_OFFSET_EXTENDED_SF: set_offset(cfi, reg, cursor_sleb(cursor)); return true;
    case CFA_RESTORE_EXTENDED: restore(cfi, reg); return true;
    case CFA_UNDEFINED: lose(cfi, reg); return true;
    case CFA_SAME_VALUE: set_saved(cfi, reg, 0); return true;
    case CFA_REGISTER:
    case CFA_VAL_OFFSET:
    case CFA_VAL_OFFSET_SF:
        lose(cfi, reg);
        cursor_uleb(cursor);
        return true;
    case CFA_EXPRESSION:
    case CFA_VAL_EXPRESSION:
        lose(cfi, reg);
        cursor_skip(cursor, cursor_uleb(cursor));
        return true;
    case CFA_GNU_ARGS_SIZE: cfi->frame.args_bytes = cursor_uleb(cursor); return true;
    default: return false;
    }
}

static bool run_instruction(struct cfi *cfi) {
    struct cursor *cursor = &cfi->cursor;
    unsigned byte = (unsigned)cursor_uint(cursor, 1), low = byte & 0x3f;
    switch (byte & 0xc0) {
    case CFA_ADVANCE: advance(cfi, low); return true;
    case CFA_OFFSET: set_offset(cfi, low, (int64_t)cursor_uleb(cursor)); return true;
    case CFA_RESTORE: restore(cfi, low); return true;
    default: break;
    }
    switch (byte) {
    case CFA_NOP: return true;
    case CFA_ADVANCE1: advance(cfi, cursor_uint(cursor, 1)); return true;
    case CFA_ADVANCE2: advance(cfi, cursor_uint(cursor, 2)); return true;
    case CFA_ADVANCE4: advance(cfi, cursor_uint(cursor, 4)); return true;
    default: return run_def_cfa(cfi, byte) || run_state(cfi, byte) || run_register_rule(cfi, byte);
    }
}

static int run_instructions(struct cfi *cfi, struct husk_error *err) {
    while (cursor_left(&cfi->cursor) > 0)
        if (!run_instruction(cfi) || cfi->cursor.failed)
            return malformed(err, "unknown or truncated instruction");
    return 0;
}

/* The data of a CIE's augmentation: one item for each letter after the 'z'. */
static bool read_augmentation(struct cursor *cursor, const char *letters, struct cie *cie) {
    uint64_t personality;
    for (; *letters != '\0'; letters++) {
        uint8_t encoding = (uint8_t)cursor_uint(cursor, 1);
        if (*letters == 'R')
            cie->pointer_encoding = encoding;
        else if (*letters == 'L')
            cie->lsda_encoding = encoding;
        else if (*letters != 'P' || !cursor_pointer(cursor, encoding, 0, &personality))
            return false;
    }
    return true;
}

static int read_cie(struct cursor cursor, struct cie *ret_cie, struct husk_error *err) {
    struct cie cie = {.lsda_encoding = DWARF_POINTER_OMIT};
    uint64_t version = cursor_uint(&cursor, 1);
    const char *augmentation = cursor_string(&cursor);
    if (augmentation == NULL || (version != 1 && version != 3))
        return malformed(err, "unknown CIE version");
    cie.code_align = cursor_uleb(&cursor);
    cie.data_align = cursor_sleb(&cursor);
    cursor_uleb(&cursor); /* return address register; one byte in version 1, and below 128 */
    if (*augmentation == 'z') {
        cie.has_augmentation = true;
        uint64_t bytes = cursor_uleb(&cursor);
        const uint8_t *rest = cursor.pos;
        if (!read_augmentation(&cursor, augmentation + 1, &cie))
            return malformed(err, "unknown CIE augmentation");
        cursor.pos = rest;
        cursor_skip(&cursor, bytes);
    } else if (*augmentation != '\0') {
        return malformed(err, "unknown CIE augmentation");
    }
    struct cfi cfi = {.cursor = cursor, .cie = &cie, .frame.has_all = true};
    int status = cursor.failed ? malformed(err, "truncated CIE") : run_instructions(&cfi, err);
    if (status != 0)
        return status;
    cie.initial = cfi.frame;
    *ret_cie = cie;
    return 0;
}

/* An object's section while it is read. */
struct section {
    const uint8_t *bytes;
    size_t count;
    uint64_t address;
    uint32_t object_idx;
    struct unwind_tables *tables;
    struct husk_error *err;
};

static uint64_t address_at(const struct section *section, const struct cursor *cursor) {
    return section->address + (uint64_t)(cursor->pos - section->bytes);
}

/* The augmentation of an FDE: the address of the LSDA, if the function has one. */
static bool read_lsda(const struct section *section, struct cursor *cursor, const struct cie *cie,
                      struct unwind_func *func) {
    uint64_t bytes = cursor_uleb(cursor);
    struct cursor data = *cursor;
    if (cie->lsda_encoding != DWARF_POINTER_OMIT && bytes > 0 &&
        !cursor_pointer(&data, cie->lsda_encoding, address_at(section, &data), &func->lsda_address))
        return false;
    cursor_skip(cursor, bytes);
    if (func->lsda_address != 0 && section->tables->wants_frames)
        buf_append(&section->tables->funcs, func, sizeof *func);
    return !cursor->failed;
}

static int read_fde(const struct section *section, struct cursor cursor, const struct cie *cie) {
    uint64_t start, bytes;
    if (!cursor_pointer(&cursor, cie->pointer_encoding, address_at(section, &cursor), &start) ||
        !cursor_pointer(&cursor, cie->pointer_encoding & 0x0f, 0, &bytes))
        return malformed(section->err, "unknown pointer encoding");
    if (start > UINT32_MAX || bytes > UINT32_MAX - start)
        return malformed(section->err, "FDE outside the code");
    struct unwind_func func = {.start = (uint32_t)start,
                               .end = (uint32_t)(start + bytes),
                               .object_idx = section->object_idx};
    if (cie->has_augmentation && !read_lsda(section, &cursor, cie, &func))
        return malformed(section->err, "unknown augmentation of an FDE");
    struct cfi cfi = {.cursor = cursor,
                      .cie = cie,
                      .frame = cie->initial,
                      .pc = start,
                      .tables = section->tables};
    int status = run_instructions(&cfi, section->err);
    if (status != 0)
        return status;
    emit_row(&cfi);
    cfi.frame.is_known = false;
    cfi.pc = start + bytes;
    emit_row(&cfi);
    return 0;
}

/* The CIE of an FDE. FDEs follow their CIE: the last one read is nearly always the right one. */
struct cie_cache {
    const uint8_t *place;
    struct cie cie;
};

static int find_cie(const struct section *section, const uint8_t *record, uint64_t distance,
                    struct cie_cache *cache) {
    const uint64_t offset = (uint64_t)(record - section->bytes);
    if (distance > offset || offset - distance + 8 > section->count)
        return malformed(section->err, "an FDE without CIE");
    const uint8_t *place = record - distance;
    if (place == cache->place)
        return 0;
    uint32_t bytes;
    memcpy(&bytes, place, 4);
    if (bytes < 4 || bytes > (size_t)(section->bytes + section->count - place) - 4)
        return malformed(section->err, "a CIE lies outside the section");
    const struct cursor cursor = {.pos = place + 8, .end = place + 4 + bytes};
    cache->place = place;
    return read_cie(cursor, &cache->cie, section->err);
}

int unwind_read(const uint8_t *bytes, size_t count, uint64_t address, uint32_t object_idx,
                struct unwind_tables *tables, struct husk_error *err) {
    const struct section section = {.bytes = bytes,
                                    .count = count,
                                    .address = address,
                                    .object_idx = object_idx,
                                    .tables = tables,
                                    .err = err};
    struct cursor all = {.pos = bytes, .end = bytes + count};
    struct cie_cache cache = {.place = NULL};
    while (cursor_left(&all) > 0) {
        uint64_t length = cursor_uint(&all, 4);
        if (length == 0)
            continue; /* terminator */
        const uint8_t *record = cursor_skip(&all, length);
        if (record == NULL || length < 4 || length == 0xffffffff)
            return malformed(err, "a record lies outside the section");
        struct cursor cursor = {.pos = record, .end = record + length};
        uint64_t distance = cursor_uint(&cursor, 4);
        if (distance == 0)
            continue; /* a CIE: read when an FDE needs it */
        int status = find_cie(&section, record, distance, &cache);
        if (status == 0)
            status = read_fde(&section, cursor, &cache.cie);
        if (status != 0)
            return status;
    }
    return tables->rows.failed || tables->frames.failed || tables->funcs.failed
               ? error_set(err, HUSK_E_NOMEM, "no memory for unwind rows")
               : 0;
}

/* At one address the row of a function that starts there comes after the stop row of the one that
 * ended there. */
static int row_order(const void *left, const void *right) {
    const struct husk_image_unwind_x86_64 *a = left, *b = right;
    if (a->code_gva != b->code_gva)
        return a->code_gva < b->code_gva ? -1 : 1;
    return (a->cfa_offset != 0) - (b->cfa_offset != 0);
}

static int frame_order(const void *left, const void *right) {
    const struct unwind_frame *a = left, *b = right;
    if (a->code_gva != b->code_gva)
        return a->code_gva < b->code_gva ? -1 : 1;
    return (a->shape.cfa != 0) - (b->shape.cfa != 0);
}

static void finish_rows(struct buf *buf) {
    struct husk_image_unwind_x86_64 *rows = (struct husk_image_unwind_x86_64 *)(void *)buf->data;
    size_t count = buf->count / sizeof rows[0], kept = 0;
    if (count == 0)
        return;
    qsort(rows, count, sizeof rows[0], row_order);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && rows[i + 1].code_gva == rows[i].code_gva)
            continue; /* the later one holds */
        if (kept > 0 && rows[kept - 1].cfa_base == rows[i].cfa_base &&
            rows[kept - 1].cfa_offset == rows[i].cfa_offset &&
            rows[kept - 1].rbp_offset == rows[i].rbp_offset)
            continue;
        rows[kept++] = rows[i];
    }
    buf->count = kept * sizeof rows[0];
}

static void finish_frames(struct buf *buf) {
    struct unwind_frame *frames = (struct unwind_frame *)(void *)buf->data;
    size_t count = buf->count / sizeof frames[0], kept = 0;
    if (count == 0)
        return;
    qsort(frames, count, sizeof frames[0], frame_order);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && frames[i + 1].code_gva == frames[i].code_gva)
            continue;
        if (kept > 0 &&
            memcmp(&frames[kept - 1].shape, &frames[i].shape, sizeof frames[i].shape) == 0)
            continue;
        frames[kept++] = frames[i];
    }
    buf->count = kept * sizeof frames[0];
}

void unwind_finish(struct unwind_tables *tables) {
    finish_rows(&tables->rows);
    finish_frames(&tables->frames);
}

void unwind_done(struct unwind_tables *tables) {
    buf_done(&tables->rows);
    buf_done(&tables->frames);
    buf_done(&tables->funcs);
    *tables = (struct unwind_tables){0};
}
