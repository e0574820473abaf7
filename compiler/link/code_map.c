/*
 * compiler/link/code_map.c: makes code rows from LLVM's line table ("line" = offset in the input)
 * and the symbols; see code_map.h. The function of a row is the one whose body holds the offset,
 * not the one whose symbol holds the address. So inlined code belongs to the function that it came
 * from. The "column" of inlined code is the number of the call that it came in by.
 */
#include "code_map.h"

#include <stdlib.h>

#include "error.h"
#include "rows.h"

struct code_line {
    uint32_t gva;
    uint32_t wasm_offset;
    uint32_t inlined; /* index + 1 in the inlined calls of all objects; 0: not inlined */
    uint32_t order;   /* of appearance: of two rows at one address the later holds */
};

struct line_reader {
    struct buf *lines;
    const struct codegen_object *object;
    uint32_t inlined_first; /* the calls of the objects before this one */
};

static int add_line(void *user, const struct dwarf_row *row, struct husk_error *err) {
    const struct line_reader *reader = user;
    struct buf *lines = reader->lines;
    if (row->column > reader->object->inlined_count)
        return error_set(err, HUSK_E_COMPILER, "malformed .debug_line: no inlined call %u",
                         row->column);
    if (row->is_end || row->line == 0 || row->address > UINT32_MAX)
        return 0; /* line 0: code that belongs to no instruction; it takes the one before it */
    struct code_line line = {.gva = (uint32_t)row->address, .wasm_offset = row->line};
    line.inlined = row->column == 0 ? 0 : reader->inlined_first + row->column;
    line.order = (uint32_t)(lines->count / sizeof line);
    buf_append(lines, &line, sizeof line);
    return 0;
}

int code_map_read(const struct dwarf_line_input *input, const struct codegen_object *object,
                  struct code_lines *lines, struct husk_error *err) {
    struct line_reader reader = {.lines = &lines->lines, .object = object};
    reader.inlined_first = (uint32_t)(lines->inlined.count / sizeof(struct codegen_inlined));
    for (uint32_t i = 0; i < object->inlined_count; i++) {
        struct codegen_inlined call = object->inlined[i];
        call.outer += call.outer != 0 ? reader.inlined_first : 0;
        buf_append(&lines->inlined, &call, sizeof call);
    }
    const struct dwarf_sink sink = {.user = &reader, .row = add_line};
    return dwarf_line_read(input, &sink, err);
}

void code_lines_done(struct code_lines *lines) {
    buf_done(&lines->lines);
    buf_done(&lines->inlined);
}

static int line_order(const void *left, const void *right) {
    const struct code_line *a = left, *b = right;
    if (a->gva != b->gva)
        return a->gva < b->gva ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* The function whose body holds the offset, which is one in the input. Instances ascend there, and
 * so do bodies in a module, behind the empty ones of imports. `otherwise` if none does. */
static uint32_t func_of_offset(const struct program *program, uint32_t input_offset,
                               uint32_t otherwise) {
    const struct program_instance *instance = rows_last_up_to(
        ROWS(program->instances, program->instances_count, input_offset), input_offset);
    if (instance == NULL)
        return otherwise;
    const struct wasm_module *module = instance->module;
    const uint32_t wasm_offset = input_offset - instance->input_offset;
    const struct wasm_func *func =
        rows_last_up_to(ROWS(module->funcs, module->funcs_count, body_offset), wasm_offset);
    return func != NULL && wasm_offset < func->code.offset + func->code.count
               ? instance->funcs[func - module->funcs]
               : otherwise;
}

struct code_mapper {
    const struct program *program;
    const struct codegen_inlined *inlined;
    struct code_map *map;
    struct husk_image_code_row last;
    struct husk_image_inlined_row last_inlined;
    bool has_last;
};

static void emit(struct code_mapper *mapper, uint32_t gva, uint32_t func_idx,
                 uint32_t wasm_offset) {
    struct husk_image_code_row row = {
        .code_gva = gva, .func_idx = func_idx, .wasm_offset = wasm_offset};
    if (mapper->has_last && mapper->last.func_idx == func_idx &&
        mapper->last.wasm_offset == wasm_offset)
        return;
    if (mapper->has_last && mapper->last.code_gva == gva)
        mapper->map->rows.count -= sizeof row; /* replaces what began at the same place */
    buf_append(&mapper->map->rows, &row, sizeof row);
    mapper->last = row;
    mapper->has_last = true;
}

static void emit_inlined(struct code_mapper *mapper, uint32_t gva, uint32_t call) {
    struct husk_image_inlined_row row = {.code_gva = gva, .call = call};
    if (mapper->last_inlined.call == call)
        return;
    if (mapper->last_inlined.code_gva == gva)
        mapper->map->inlined_rows.count -= sizeof row;
    buf_append(&mapper->map->inlined_rows, &row, sizeof row);
    mapper->last_inlined = row;
}

static uint32_t func_of_line(const struct code_mapper *mapper, const struct link_symbol *symbol,
                             const struct code_line *line, uint32_t otherwise) {
    if (line->inlined != 0)
        return mapper->inlined[line->inlined - 1].callee_idx;
    return symbol->kind == LINK_INIT
               ? otherwise
               : func_of_offset(mapper->program, line->wasm_offset, otherwise);
}

/* The rows of one function; *line is the first line row not before it. Nothing is inlined into the
 * init function. */
static void map_symbol(struct code_mapper *mapper, const struct link_symbol *symbol,
                       const struct code_line **line, const struct code_line *end) {
    uint32_t func_idx = HUSK_FUNC_INIT, first_offset = 0, limit = symbol->gva + symbol->bytes;
    if (symbol->kind == LINK_FUNC) {
        func_idx = symbol->idx;
        first_offset = program_func_offset(mapper->program, func_idx);
    }
    while (*line < end && (*line)->gva < symbol->gva)
        (*line)++;
    emit(mapper, symbol->gva, func_idx, first_offset);
    for (; *line < end && (*line)->gva < limit; (*line)++) {
        emit(mapper, (*line)->gva, func_of_line(mapper, symbol, *line, func_idx),
             (*line)->wasm_offset);
        emit_inlined(mapper, (*line)->gva, (*line)->inlined);
    }
    emit(mapper, limit, HUSK_FUNC_NONE, 0);
    emit_inlined(mapper, limit, 0);
}

int code_map_build(const struct program *program, const struct linked *linked,
                   struct code_lines *lines, uint32_t runtime_start, uint32_t runtime_end,
                   struct code_map *map, struct husk_error *err) {
    struct code_mapper mapper = {
        .program = program,
        .map = map,
        .inlined = (const struct codegen_inlined *)(const void *)lines->inlined.data};
    size_t count = lines->lines.count / sizeof(struct code_line);
    if (count > 0)
        qsort(lines->lines.data, count, sizeof(struct code_line), line_order);
    const struct code_line *line = (const struct code_line *)(const void *)lines->lines.data,
                           *end = line + count;
    emit(&mapper, linked->entry_gva, HUSK_FUNC_NONE, 0);
    emit(&mapper, runtime_start, HUSK_FUNC_RUNTIME, 0);
    emit(&mapper, runtime_end, HUSK_FUNC_NONE, 0);
    for (uint32_t i = 0; i < linked->symbols_count; i++)
        if (linked->symbols[i].kind == LINK_FUNC || linked->symbols[i].kind == LINK_INIT)
            map_symbol(&mapper, &linked->symbols[i], &line, end);
    return lines->lines.failed || lines->inlined.failed || map->rows.failed ||
                   map->inlined_rows.failed
               ? error_set(err, HUSK_E_NOMEM, "no memory for the code map")
               : 0;
}
