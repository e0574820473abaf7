/*
 * compiler/image/wasm_lines.c: turns a module's DWARF (custom sections .debug_line,
 * .debug_line_str, .debug_str) into source lines by wasm offset. Addresses count from the start of
 * the code section's contents (DWARF for WebAssembly, "Code addresses"). The DWARF is hostile like
 * the rest of the module. If it is malformed, the image has no source lines.
 */
#include <stdlib.h>
#include <string.h>

#include "dwarf_line.h"
#include "error.h"
#include "image_write.h"

/* rows of 16 bytes; a source of this size has no readable backtraces anyway */
#define LINES_MAX (16u << 20)
#define FILES_MAX (1u << 20)

struct line_reader {
    const struct wasm_module *module;
    uint32_t input_offset;         /* of the module in the input */
    uint64_t code_start, code_end; /* offsets of function bodies in the module */
    struct buf *strings, *files;
    struct buf rows; /* struct sorted_row[] */
};

struct sorted_row {
    struct husk_image_line_row row;
    uint32_t order;
};

/* The newest files are looked at first: units repeat the same few. */
static bool same_file(const struct line_reader *reader, const char *path, size_t bytes,
                      uint32_t *ret_file_id) {
    const struct husk_image_str *files =
        (const struct husk_image_str *)(const void *)reader->files->data;
    uint32_t count = (uint32_t)(reader->files->count / sizeof files[0]);
    for (uint32_t back = 1; back <= count && back <= 64; back++) {
        struct husk_image_str file = files[count - back];
        if (file.bytes == bytes && memcmp(reader->strings->data + file.offset, path, bytes) == 0) {
            *ret_file_id = count - back;
            return true;
        }
    }
    return false;
}

static int add_file(void *user, const char *folder, const char *name, uint32_t *ret_file_id,
                    struct husk_error *err) {
    struct line_reader *reader = user;
    size_t folder_bytes = strlen(folder), name_bytes = strlen(name);
    bool is_joined = folder_bytes > 0 && name[0] != '/';
    size_t bytes = name_bytes + (is_joined ? folder_bytes + 1 : 0);
    uint32_t file_id = (uint32_t)(reader->files->count / sizeof(struct husk_image_str));
    if (file_id >= FILES_MAX || bytes > 65536 || reader->strings->count > UINT32_MAX / 4)
        return error_set(err, HUSK_E_LIMIT,
                         "too many or too long file names in the module's DWARF");
    char *path = buf_extend(reader->strings, bytes);
    if (path == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for source file names");
    if (is_joined) {
        memcpy(path, folder, folder_bytes);
        path[folder_bytes] = '/';
    }
    memcpy(path + bytes - name_bytes, name, name_bytes);
    if (same_file(reader, path, bytes, ret_file_id)) {
        reader->strings->count -= bytes;
        return 0;
    }
    struct husk_image_str file = {.offset = (uint32_t)(reader->strings->count - bytes),
                                  .bytes = (uint32_t)bytes};
    buf_append(reader->files, &file, sizeof file);
    *ret_file_id = file_id;
    return 0;
}

/* Functions that the linker dropped keep their rows, at addresses outside the code section: those
 * go. */
static int add_row(void *user, const struct dwarf_row *row, struct husk_error *err) {
    struct line_reader *reader = user;
    uint64_t offset = row->address + reader->module->code_section_offset;
    if (row->address > UINT32_MAX || offset < reader->code_start || offset > reader->code_end)
        return 0;
    struct sorted_row sorted = {
        .row = {.wasm_offset = reader->input_offset + (uint32_t)offset, .file_idx = UINT32_MAX}};
    sorted.order = (uint32_t)(reader->rows.count / sizeof sorted);
    if (sorted.order >= LINES_MAX)
        return error_set(err, HUSK_E_LIMIT, "too many rows in the module's DWARF");
    if (!row->is_end) {
        sorted.row.file_idx = row->file_id;
        sorted.row.line = row->line;
        sorted.row.column = row->column;
    }
    buf_append(&reader->rows, &sorted, sizeof sorted);
    return 0;
}

/* By offset; at one offset an end comes first (the next sequence begins there), then the order of
 * the program. */
static int row_order(const void *left, const void *right) {
    const struct sorted_row *a = left, *b = right;
    if (a->row.wasm_offset != b->row.wasm_offset)
        return a->row.wasm_offset < b->row.wasm_offset ? -1 : 1;
    bool a_is_end = a->row.file_idx == UINT32_MAX, b_is_end = b->row.file_idx == UINT32_MAX;
    if (a_is_end != b_is_end)
        return a_is_end ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* Of the rows at one offset the last holds; rows that repeat the line before them say nothing. */
static void keep_rows(struct line_reader *reader, struct buf *lines) {
    struct sorted_row *rows = (struct sorted_row *)(void *)reader->rows.data;
    size_t count = reader->rows.count / sizeof rows[0];
    if (count > 0)
        qsort(rows, count, sizeof rows[0], row_order);
    const struct husk_image_line_row *last = NULL;
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && rows[i + 1].row.wasm_offset == rows[i].row.wasm_offset)
            continue;
        if (last != NULL && last->file_idx == rows[i].row.file_idx &&
            last->line == rows[i].row.line && last->column == rows[i].row.column)
            continue;
        buf_append(lines, &rows[i].row, sizeof rows[i].row);
        last = &rows[i].row;
    }
}

static struct dwarf_bytes custom_section(const struct wasm_module *module, const char *name) {
    for (uint32_t i = 0; i < module->customs_count; i++) {
        const struct wasm_custom *custom = &module->customs[i];
        if (custom->name.count == strlen(name) &&
            memcmp(custom->name.data, name, custom->name.count) == 0)
            return (struct dwarf_bytes){.data = custom->bytes.data, .count = custom->bytes.count};
    }
    return (struct dwarf_bytes){0};
}

int wasm_lines_read(const struct program_instance *instance, struct buf *strings, struct buf *files,
                    struct buf *lines, struct husk_error *err) {
    const struct wasm_module *module = instance->module;
    struct dwarf_line_input input = {.line = custom_section(module, ".debug_line"),
                                     .str = custom_section(module, ".debug_str"),
                                     .line_str = custom_section(module, ".debug_line_str")};
    if (input.line.count == 0 || module->funcs_count == module->imported_funcs_count)
        return 0;
    struct line_reader reader = {.module = module,
                                 .input_offset = instance->input_offset,
                                 .strings = strings,
                                 .files = files};
    const struct wasm_func *last = &module->funcs[module->funcs_count - 1];
    reader.code_start = module->funcs[module->imported_funcs_count].body_offset;
    reader.code_end = last->code.offset + last->code.count;
    const struct dwarf_sink sink = {.user = &reader, .file = add_file, .row = add_row};
    size_t strings_before = strings->count, files_before = files->count;
    int status = dwarf_line_read(&input, &sink, NULL);
    if (status == 0) {
        keep_rows(&reader, lines);
    } else {
        strings->count = strings_before;
        files->count = files_before;
    }
    bool is_out_of_memory = reader.rows.failed || strings->failed || files->failed || lines->failed;
    buf_done(&reader.rows);
    return is_out_of_memory ? error_set(err, HUSK_E_NOMEM, "no memory for source lines") : 0;
}
