/* compiler/link/unwind_x86_64.c: call frame information → unwind rows; see the header. */
#include "unwind_x86_64.h"

#include <stdlib.h>

#include "dwarf_cursor.h"
#include "error.h"
#include "image.h"

/* psABI figure 3.36: DWARF register numbers */
enum { REG_RBP = 6, REG_RSP = 7, REG_RA = 16 };
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
    int64_t rbp_offset; /* 0: still in the register */
    bool is_known;      /* false: an expression, or no caller */
};

struct cie {
    uint64_t code_align;
    int64_t data_align;
    uint8_t pointer_encoding;
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
    struct buf *rows; /* NULL: a CIE */
};

static int malformed(struct husk_error *err, const char *what) {
    return error_set(err, HUSK_E_COMPILER, "malformed .eh_frame: %s", what);
}

static void emit_row(struct cfi *cfi) {
    const struct frame *frame = &cfi->frame;
    bool is_usable = frame->is_known && (frame->cfa_reg == REG_RBP || frame->cfa_reg == REG_RSP) &&
                     frame->cfa_offset > 0 && frame->cfa_offset <= INT32_MAX &&
                     frame->rbp_offset >= 0 && frame->rbp_offset <= INT32_MAX;
    struct husk_image_unwind_x86_64 row = {.code_gva = (uint32_t)cfi->pc};
    if (is_usable) {
        row.cfa_base = frame->cfa_reg == REG_RBP;
        row.cfa_offset = (uint32_t)frame->cfa_offset;
        row.rbp_offset = (uint32_t)frame->rbp_offset;
    }
    if (cfi->rows != NULL)
        buf_append(cfi->rows, &row, sizeof row);
}

static void advance(struct cfi *cfi, uint64_t delta) {
    emit_row(cfi);
    cfi->pc += delta * cfi->cie->code_align;
}

static void set_offset(struct cfi *cfi, uint64_t reg, int64_t factored) {
    if (reg == REG_RBP)
        cfi->frame.rbp_offset = -factored * cfi->cie->data_align;
}

static void restore(struct cfi *cfi, uint64_t reg) {
    if (reg == REG_RBP)
        cfi->frame.rbp_offset = cfi->cie->initial.rbp_offset;
}

static void undefine(struct cfi *cfi, uint64_t reg) {
    if (reg == REG_RA)
        cfi->frame.is_known = false;
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
        frame->cfa_offset = cursor_sleb(cursor) * cfi->cie->data_align;
        break;
    case CFA_DEF_CFA_REGISTER: frame->cfa_reg = cursor_uleb(cursor); return true;
    case CFA_DEF_CFA_OFFSET: frame->cfa_offset = (int64_t)cursor_uleb(cursor); return true;
    case CFA_DEF_CFA_OFFSET_SF:
        frame->cfa_offset = cursor_sleb(cursor) * cfi->cie->data_align;
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
    case CFA_UNDEFINED: undefine(cfi, reg); return true;
    case CFA_SAME_VALUE: return true;
    case CFA_REGISTER:
    case CFA_VAL_OFFSET:
    case CFA_VAL_OFFSET_SF:
    case CFA_GNU_ARGS_SIZE: cursor_uleb(cursor); return true;
    case CFA_EXPRESSION:
    case CFA_VAL_EXPRESSION: cursor_skip(cursor, cursor_uleb(cursor)); return true;
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

/* Pointer encodings (LSB, 10.5.1): absolute or relative to its own place, 4 or 8 bytes. */
static bool read_pointer(struct cursor *cursor, uint8_t encoding, uint64_t here,
                         uint64_t *ret_pointer) {
    uint64_t value;
    switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c: value = cursor_uint(cursor, 8); break;
    case 0x03: value = cursor_uint(cursor, 4); break;
    case 0x0b: value = (uint64_t)(int32_t)cursor_uint(cursor, 4); break;
    default: return false;
    }
    *ret_pointer = (encoding & 0x70) == 0x10 ? value + here : value;
    return (encoding & 0xe0) == 0 && !cursor->failed;
}

static int read_cie(struct cursor cursor, struct cie *ret_cie, struct husk_error *err) {
    struct cie cie = {.pointer_encoding = 0};
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
        for (const char *c = augmentation + 1; *c != '\0'; c++) {
            if (*c != 'R')
                return malformed(err, "unknown CIE augmentation");
            cie.pointer_encoding = (uint8_t)cursor_uint(&cursor, 1);
        }
        cursor.pos = rest;
        cursor_skip(&cursor, bytes);
    } else if (*augmentation != '\0') {
        return malformed(err, "unknown CIE augmentation");
    }
    struct cfi cfi = {.cursor = cursor, .cie = &cie};
    int status = cursor.failed ? malformed(err, "truncated CIE") : run_instructions(&cfi, err);
    if (status != 0)
        return status;
    cie.initial = cfi.frame;
    *ret_cie = cie;
    return 0;
}

static int read_fde(struct cursor cursor, uint64_t here, const struct cie *cie, struct buf *rows,
                    struct husk_error *err) {
    uint64_t start, bytes;
    if (!read_pointer(&cursor, cie->pointer_encoding, here, &start) ||
        !read_pointer(&cursor, cie->pointer_encoding & 0x0f, 0, &bytes))
        return malformed(err, "unknown pointer encoding");
    if (cie->has_augmentation)
        cursor_skip(&cursor, cursor_uleb(&cursor));
    if (cursor.failed || start > UINT32_MAX || bytes > UINT32_MAX - start)
        return malformed(err, "FDE outside the code");
    struct cfi cfi = {
        .cursor = cursor, .cie = cie, .frame = cie->initial, .pc = start, .rows = rows};
    int status = run_instructions(&cfi, err);
    if (status != 0)
        return status;
    emit_row(&cfi);
    cfi.frame.is_known = false;
    cfi.pc = start + bytes;
    emit_row(&cfi);
    return 0;
}

int unwind_read(const uint8_t *bytes, size_t count, uint64_t address, struct buf *rows,
                struct husk_error *err) {
    struct cursor all = {.pos = bytes, .end = bytes + count};
    const uint8_t *cie_place =
        NULL; /* FDEs follow their CIE: the last one read is nearly always the right one */
    struct cie cie;
    while (cursor_left(&all) > 0) {
        uint64_t length = cursor_uint(&all, 4);
        if (length == 0)
            continue; /* terminator */
        const uint8_t *record = cursor_skip(&all, length);
        if (record == NULL || length < 4 || length == 0xffffffff)
            return malformed(err, "a record lies outside the section");
        struct cursor cursor = {.pos = record, .end = record + length};
        uint64_t distance = cursor_uint(&cursor, 4);
        int status = 0;
        if (distance == 0)
            continue; /* a CIE: read when an FDE needs it */
        if (distance > (uint64_t)(record - bytes) ||
            (uint64_t)(record - bytes) - distance + 8 > count)
            return malformed(err, "an FDE without CIE");
        const uint8_t *place = record - distance;
        if (place != cie_place) {
            uint32_t cie_bytes;
            memcpy(&cie_bytes, place, 4);
            if (cie_bytes < 4 || cie_bytes > (size_t)(bytes + count - place) - 4)
                return malformed(err, "a CIE lies outside the section");
            status = read_cie((struct cursor){.pos = place + 8, .end = place + 4 + cie_bytes}, &cie,
                              err);
            cie_place = place;
        }
        if (status == 0)
            status = read_fde(cursor, address + (uint64_t)(cursor.pos - bytes), &cie, rows, err);
        if (status != 0)
            return status;
    }
    return rows->failed ? error_set(err, HUSK_E_NOMEM, "no memory for unwind rows") : 0;
}

/* At one address the row of a function that starts there comes after the stop row of the one that
 * ended there. */
static int row_order(const void *left, const void *right) {
    const struct husk_image_unwind_x86_64 *a = left, *b = right;
    if (a->code_gva != b->code_gva)
        return a->code_gva < b->code_gva ? -1 : 1;
    return (a->cfa_offset != 0) - (b->cfa_offset != 0);
}

void unwind_finish(struct buf *buf) {
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
