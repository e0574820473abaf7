/* compiler/link/dwarf_line.c: DWARF line number programs; see dwarf_line.h. Section numbers are
 * those of DWARF 5. */
#include "dwarf_line.h"

#include <stdlib.h>

#include "buf.h"
#include "dwarf_cursor.h"
#include "error.h"

/* 7.5.6: the forms that occur in line tables; 7.22: line number standard and extended opcodes;
 * 6.2.4.1: content types. */
enum {
    FORM_DATA2 = 5,
    FORM_DATA4 = 6,
    FORM_DATA8 = 7,
    FORM_STRING = 8,
    FORM_BLOCK = 9,
    FORM_DATA1 = 0x0b,
    FORM_STRP = 0x0e,
    FORM_UDATA = 0x0f,
    FORM_DATA16 = 0x1e,
    FORM_LINE_STRP = 0x1f
};
enum {
    LNS_COPY = 1,
    LNS_ADVANCE_PC,
    LNS_ADVANCE_LINE,
    LNS_SET_FILE,
    LNS_SET_COLUMN,
    LNS_NEGATE_STMT,
    LNS_BASIC_BLOCK,
    LNS_CONST_ADD_PC,
    LNS_FIXED_ADVANCE_PC
};
enum { LNE_END_SEQUENCE = 1, LNE_SET_ADDRESS = 2 };
enum { LNCT_PATH = 1, LNCT_DIRECTORY = 2 };

#define FORMATS_MAX 16

struct unit {
    const struct dwarf_line_input *input;
    const struct dwarf_sink *sink;
    struct husk_error *err;
    struct cursor cursor;   /* the unit's bytes */
    const uint8_t *program; /* where the header ends */
    bool is_64;             /* 64-bit DWARF format */
    unsigned version;
    uint8_t min_length, line_range, opcode_base;
    int8_t line_base;
    uint8_t operands[256]; /* of standard opcodes */
    struct buf folders;    /* const char *[] */
    struct buf files;      /* uint32_t[]: file ids by the program's file number */
};

static int malformed(struct husk_error *err, const char *what) {
    return error_set(err, HUSK_E_COMPILER, "malformed .debug_line: %s", what);
}

static const char *table_string(struct dwarf_bytes table, uint64_t offset) {
    if (offset >= table.count ||
        memchr(table.data + offset, 0, table.count - (size_t)offset) == NULL)
        return NULL;
    return (const char *)table.data + offset;
}

static int add_file(struct unit *unit, const char *name, uint64_t folder_idx) {
    uint32_t file_id = UINT32_MAX;
    const char *folder = "";
    if (folder_idx < unit->folders.count / sizeof folder)
        memcpy(&folder, unit->folders.data + folder_idx * sizeof folder, sizeof folder);
    if (unit->sink->file != NULL && name != NULL) {
        int status = unit->sink->file(unit->sink->user, folder, name, &file_id, unit->err);
        if (status != 0)
            return status;
    }
    buf_append(&unit->files, &file_id, sizeof file_id);
    return 0;
}

static void add_folder(struct unit *unit, const char *folder) {
    if (folder == NULL)
        folder = "";
    buf_append(&unit->folders, &folder, sizeof folder);
}

/* ---- tables of files: version 4 and version 5 ---- */

static int read_tables_4(struct unit *unit) {
    add_folder(unit, ""); /* 0: the compilation's folder, which this section does not know */
    for (;;) {
        const char *folder = cursor_string(&unit->cursor);
        if (folder == NULL)
            return malformed(unit->err, "unterminated folder table");
        if (*folder == '\0')
            break;
        add_folder(unit, folder);
    }
    int status = add_file(unit, NULL, 0); /* files count from 1 */
    while (status == 0) {
        const char *name = cursor_string(&unit->cursor);
        if (name == NULL)
            return malformed(unit->err, "unterminated file table");
        if (*name == '\0')
            break;
        uint64_t folder_idx = cursor_uleb(&unit->cursor);
        cursor_uleb(&unit->cursor); /* modification time */
        cursor_uleb(&unit->cursor); /* length */
        status = add_file(unit, name, folder_idx);
    }
    return status;
}

struct entry {
    const char *path;
    uint64_t folder_idx;
};

/* One attribute of an entry (6.2.4.1). False: a form that does not occur here. */
static bool read_attribute(struct unit *unit, uint64_t content, uint64_t form,
                           struct entry *entry) {
    struct cursor *cursor = &unit->cursor;
    uint64_t number = 0;
    const char *text = NULL;
    switch (form) {
    case FORM_STRING: text = cursor_string(cursor); break;
    case FORM_LINE_STRP:
        text = table_string(unit->input->line_str, cursor_uint(cursor, unit->is_64 ? 8 : 4));
        break;
    case FORM_STRP:
        text = table_string(unit->input->str, cursor_uint(cursor, unit->is_64 ? 8 : 4));
        break;
    case FORM_UDATA: number = cursor_uleb(cursor); break;
    case FORM_DATA1: number = cursor_uint(cursor, 1); break;
    case FORM_DATA2: number = cursor_uint(cursor, 2); break;
    case FORM_DATA4: number = cursor_uint(cursor, 4); break;
    case FORM_DATA8: number = cursor_uint(cursor, 8); break;
    case FORM_DATA16: cursor_skip(cursor, 16); break;
    case FORM_BLOCK: cursor_skip(cursor, cursor_uleb(cursor)); break;
    default: return false;
    }
    if (content == LNCT_PATH)
        entry->path = text;
    else if (content == LNCT_DIRECTORY)
        entry->folder_idx = number;
    return true;
}

static int read_table_5(struct unit *unit, bool is_files) {
    struct cursor *cursor = &unit->cursor;
    uint64_t content[FORMATS_MAX], form[FORMATS_MAX];
    uint64_t formats = cursor_uint(cursor, 1);
    if (formats > FORMATS_MAX)
        return malformed(unit->err, "too many attributes per file");
    for (uint64_t i = 0; i < formats; i++) {
        content[i] = cursor_uleb(cursor);
        form[i] = cursor_uleb(cursor);
    }
    uint64_t count = cursor_uleb(cursor);
    if (cursor->failed || count > cursor_left(cursor) || (formats == 0 && count > 0))
        return malformed(unit->err, "the file table lies outside its unit");
    for (uint64_t n = 0; n < count; n++) {
        struct entry entry = {0};
        for (uint64_t i = 0; i < formats; i++)
            if (!read_attribute(unit, content[i], form[i], &entry))
                return malformed(unit->err, "unknown attribute form");
        if (cursor->failed)
            return malformed(unit->err, "the file table lies outside its unit");
        int status = 0;
        if (is_files)
            status = add_file(unit, entry.path, entry.folder_idx);
        else
            add_folder(unit, entry.path);
        if (status != 0)
            return status;
    }
    return 0;
}

/* ---- header (6.2.4) ---- */

static int read_header(struct unit *unit) {
    struct cursor *cursor = &unit->cursor;
    unit->version = (unsigned)cursor_uint(cursor, 2);
    if (unit->version < 2 || unit->version > 5)
        return malformed(unit->err, "unknown version");
    if (unit->version >= 5)
        cursor_skip(cursor, 2); /* address and segment selector size */
    uint64_t header_bytes = cursor_uint(cursor, unit->is_64 ? 8 : 4);
    if (cursor->failed || header_bytes > cursor_left(cursor))
        return malformed(unit->err, "the header is longer than its unit");
    unit->program = cursor->pos + header_bytes;
    unit->min_length = (uint8_t)cursor_uint(cursor, 1);
    if (unit->version >= 4)
        cursor_skip(cursor, 1); /* operations per instruction: 1 on everything but VLIW */
    cursor_skip(cursor, 1);     /* default_is_stmt */
    unit->line_base = (int8_t)cursor_uint(cursor, 1);
    unit->line_range = (uint8_t)cursor_uint(cursor, 1);
    unit->opcode_base = (uint8_t)cursor_uint(cursor, 1);
    if (cursor->failed || unit->line_range == 0 || unit->opcode_base == 0)
        return malformed(unit->err, "impossible header");
    for (unsigned i = 1; i < unit->opcode_base; i++)
        unit->operands[i] = (uint8_t)cursor_uint(cursor, 1);
    int status = 0;
    if (unit->version < 5) {
        status = read_tables_4(unit);
    } else {
        status = read_table_5(unit, false);
        if (status == 0)
            status = read_table_5(unit, true);
    }
    if (status == 0 && (unit->folders.failed || unit->files.failed))
        status = error_set(unit->err, HUSK_E_NOMEM, "no memory for line tables");
    return status;
}

/* ---- program (6.2.5) ---- */

struct machine {
    uint64_t address;
    uint64_t file;
    uint64_t line;
    uint64_t column;
};

static int emit_row(struct unit *unit, const struct machine *state, bool is_end) {
    struct dwarf_row row = {.address = state->address, .file_id = UINT32_MAX, .is_end = is_end};
    if (state->file < unit->files.count / sizeof row.file_id)
        memcpy(&row.file_id, unit->files.data + state->file * sizeof row.file_id,
               sizeof row.file_id);
    row.line = state->line > UINT32_MAX ? 0 : (uint32_t)state->line;
    row.column = state->column > UINT32_MAX ? 0 : (uint32_t)state->column;
    return unit->sink->row(unit->sink->user, &row, unit->err);
}

static int run_extended(struct unit *unit, struct machine *state) {
    struct cursor *cursor = &unit->cursor;
    uint64_t bytes = cursor_uleb(cursor);
    if (cursor->failed || bytes == 0 || bytes > cursor_left(cursor))
        return malformed(unit->err, "an extended opcode is longer than its unit");
    const uint8_t *next = cursor->pos + bytes;
    uint64_t opcode = cursor_uint(cursor, 1);
    int status = 0;
    if (opcode == LNE_END_SEQUENCE) {
        status = emit_row(unit, state, true);
        *state = (struct machine){.file = 1, .line = 1};
    } else if (opcode == LNE_SET_ADDRESS && (bytes == 5 || bytes == 9)) {
        state->address = cursor_uint(cursor, (size_t)bytes - 1);
    }
    cursor->pos = next;
    return status;
}

static int run_standard(struct unit *unit, struct machine *state, unsigned opcode) {
    struct cursor *cursor = &unit->cursor;
    switch (opcode) {
    case LNS_COPY: return emit_row(unit, state, false);
    case LNS_ADVANCE_PC: state->address += cursor_uleb(cursor) * unit->min_length; return 0;
    case LNS_ADVANCE_LINE: state->line += (uint64_t)cursor_sleb(cursor); return 0;
    case LNS_SET_FILE: state->file = cursor_uleb(cursor); return 0;
    case LNS_SET_COLUMN: state->column = cursor_uleb(cursor); return 0;
    case LNS_CONST_ADD_PC:
        state->address +=
            (uint64_t)((255 - unit->opcode_base) / unit->line_range) * unit->min_length;
        return 0;
    case LNS_FIXED_ADVANCE_PC: state->address += cursor_uint(cursor, 2); return 0;
    default: /* flags that do not matter here, and opcodes of later versions */
        for (unsigned i = 0; i < unit->operands[opcode]; i++)
            cursor_uleb(cursor);
        return 0;
    }
}

static int run_program(struct unit *unit) {
    struct cursor *cursor = &unit->cursor;
    struct machine state = {.file = 1, .line = 1};
    cursor->pos = unit->program;
    int status = 0;
    while (status == 0 && cursor_left(cursor) > 0) {
        unsigned opcode = (unsigned)cursor_uint(cursor, 1);
        if (opcode == 0) {
            status = run_extended(unit, &state);
        } else if (opcode < unit->opcode_base) {
            status = run_standard(unit, &state, opcode);
        } else {
            unsigned adjusted = opcode - unit->opcode_base;
            state.address += (uint64_t)(adjusted / unit->line_range) * unit->min_length;
            state.line += (uint64_t)(int64_t)(unit->line_base + (int)(adjusted % unit->line_range));
            status = emit_row(unit, &state, false);
        }
        if (status == 0 && cursor->failed)
            status = malformed(unit->err, "an opcode lies outside its unit");
    }
    return status;
}

int dwarf_line_read(const struct dwarf_line_input *input, const struct dwarf_sink *sink,
                    struct husk_error *err) {
    struct cursor all = {.pos = input->line.data, .end = input->line.data + input->line.count};
    int status = 0;
    while (status == 0 && input->line.count > 0 && cursor_left(&all) > 0) {
        struct unit unit = {.input = input, .sink = sink, .err = err};
        uint64_t bytes = cursor_uint(&all, 4);
        unit.is_64 = bytes == 0xffffffff;
        if (unit.is_64)
            bytes = cursor_uint(&all, 8);
        const uint8_t *start = cursor_skip(&all, bytes);
        if (start == NULL)
            return malformed(err, "a unit lies outside the section");
        unit.cursor = (struct cursor){.pos = start, .end = start + bytes};
        status = read_header(&unit);
        if (status == 0)
            status = run_program(&unit);
        buf_done(&unit.folders);
        buf_done(&unit.files);
    }
    return status;
}
