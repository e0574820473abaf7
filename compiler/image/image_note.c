/* compiler/image/image_note.c: the "husk" note of an image: everything that the host must know about the
 * instance. See abi/image.h. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "image_write.h"
#include "layout.h"
#include "sha256.h"

_Static_assert((int)HUSK_ABI_FUNC == (int)WASM_KIND_FUNC && (int)HUSK_ABI_TABLE == (int)WASM_KIND_TABLE &&
                   (int)HUSK_ABI_MEMORY == (int)WASM_KIND_MEMORY &&
                   (int)HUSK_ABI_GLOBAL == (int)WASM_KIND_GLOBAL,
               "kinds are copied as they are");

#define NOTE_BYTES_MAX (1u << 30) /* what libhusk reads */

struct note_writer {
    const struct image_input *input;
    const struct program *program;
    struct husk_image_note header;
    struct buf arrays[HUSK_ARR_COUNT];
};

static struct husk_image_str add_string(struct note_writer *writer, const void *text, size_t bytes) {
    struct buf *strings = &writer->arrays[HUSK_ARR_STRINGS];
    struct husk_image_str str = {.offset = (uint32_t)strings->count, .bytes = (uint32_t)bytes};
    if (bytes == 0 || strings->count + bytes > NOTE_BYTES_MAX) /* too long: refused as a whole in the end */
        str = (struct husk_image_str){0};
    buf_append(strings, text, bytes);
    return str;
}

static struct husk_image_str add_bytes(struct note_writer *writer, struct wasm_bytes bytes) {
    return add_string(writer, bytes.data, bytes.count);
}

static void add_valtypes(struct buf *valtypes, const valtype_t *types, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint8_t byte = valtype_to_byte(types[i]);
        buf_append(valtypes, &byte, 1);
    }
}

static void add_types(struct note_writer *writer) {
    struct buf *valtypes = &writer->arrays[HUSK_ARR_VALTYPES];
    for (uint32_t i = 0; i < writer->program->types_count; i++) {
        const struct wasm_functype *type = &writer->program->types[i];
        struct husk_image_type row = {.valtypes_idx = (uint32_t)valtypes->count,
                                      .params_count = type->params_count,
                                      .results_count = type->results_count,
                                      .thunk_gva = writer->input->linked->thunk_gva[i]};
        add_valtypes(valtypes, type->params, type->params_count);
        add_valtypes(valtypes, type->results, type->results_count);
        buf_append(&writer->arrays[HUSK_ARR_TYPES], &row, sizeof row);
    }
}

/* The first export of each function, for those without a name of their own: index + 1 into the exports, by
 * function. */
static uint32_t *exports_by_func(const struct program *program) {
    uint32_t *by_func = calloc((size_t)program->funcs_count + 1, sizeof by_func[0]);
    for (uint32_t i = 0; by_func != NULL && i < program->exports_count; i++) {
        const struct wasm_export *export = &program->exports[i];
        if (export->kind == WASM_KIND_FUNC && by_func[export->idx] == 0)
            by_func[export->idx] = i + 1;
    }
    return by_func;
}

static int add_funcs(struct note_writer *writer, struct husk_error *err) {
    const struct program *program = writer->program;
    uint32_t *by_func = exports_by_func(program);
    if (by_func == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for function names");
    for (uint32_t i = 0; i < program->funcs_count; i++) {
        const struct wasm_func *func = program_func(program, i);
        struct husk_image_func row = {.type_idx = program_func_type_idx(program, i),
                                      .code_gva = writer->input->linked->func_gva[i],
                                      .code_bytes = writer->input->linked->func_bytes[i],
                                      .wasm_offset = func->is_import ? 0 : (uint32_t)func->body_offset};
        if (func->name.count > 0)
            row.name = add_bytes(writer, func->name);
        else if (by_func[i] != 0)
            row.name = add_bytes(writer, program->exports[by_func[i] - 1].name);
        buf_append(&writer->arrays[HUSK_ARR_FUNCS], &row, sizeof row);
    }
    free(by_func);
    return 0;
}

static void add_imports_exports(struct note_writer *writer) {
    const struct program *program = writer->program;
    for (uint32_t i = 0; i < program->imports_count; i++) {
        const struct wasm_import *import = &program->imports[i];
        struct husk_image_import row = {.module = add_bytes(writer, import->module),
                                        .name = add_bytes(writer, import->name),
                                        .kind = (uint32_t)import->kind,
                                        .idx = import->idx};
        buf_append(&writer->arrays[HUSK_ARR_IMPORTS], &row, sizeof row);
    }
    for (uint32_t i = 0; i < program->exports_count; i++) {
        const struct wasm_export *export = &program->exports[i];
        struct husk_image_export row = {
            .name = add_bytes(writer, export->name), .kind = (uint32_t) export->kind, .idx = export->idx};
        buf_append(&writer->arrays[HUSK_ARR_EXPORTS], &row, sizeof row);
    }
}

static void add_memories(struct note_writer *writer) {
    const struct plan *plan = writer->input->plan;
    for (uint32_t i = 0; i < writer->program->memories_count; i++) {
        const struct wasm_limits *limits = &program_memory(writer->program, i)->limits;
        bool has_max = limits->has_max && limits->max < HUSK_MAX_MEM_PAGES;
        struct husk_image_memory row = {.min_pages = limits->min,
                                        .max_pages = has_max ? limits->max : HUSK_MAX_MEM_PAGES,
                                        .flags = limits->has_max ? HUSK_LIMIT_HAS_MAX : 0,
                                        .size_gva = plan->mem_size_gva[i]};
        buf_append(&writer->arrays[HUSK_ARR_MEMORIES], &row, sizeof row);
    }
}

static void add_tables(struct note_writer *writer) {
    const struct plan *plan = writer->input->plan;
    for (uint32_t i = 0; i < writer->program->tables_count; i++) {
        const struct wasm_table *table = program_table(writer->program, i);
        bool has_max = table->limits.has_max && table->limits.max < UINT32_MAX;
        struct husk_image_table row = {.min_entries = table->limits.min,
                                       .max_entries = has_max ? table->limits.max : UINT32_MAX,
                                       .flags = table->limits.has_max ? HUSK_LIMIT_HAS_MAX : 0,
                                       .elem_type = valtype_to_byte(table->elem_type),
                                       .base_gva = plan->tables[i].base_gva,
                                       .reserve_entries = plan->tables[i].reserve_entries,
                                       .size_gva = plan->tables[i].size_gva};
        buf_append(&writer->arrays[HUSK_ARR_TABLES], &row, sizeof row);
    }
}

static void add_globals(struct note_writer *writer) {
    for (uint32_t i = 0; i < writer->program->globals_count; i++) {
        const struct wasm_global *global = program_global(writer->program, i);
        struct husk_image_global row = {.gva = writer->input->plan->global_gva[i],
                                        .type = valtype_to_byte(global->type),
                                        .flags = global->is_mutable ? HUSK_GLOBAL_MUTABLE : 0};
        buf_append(&writer->arrays[HUSK_ARR_GLOBALS], &row, sizeof row);
    }
}

static void fill_header(struct note_writer *writer) {
    const struct image_input *input = writer->input;
    const struct linked *linked = input->linked;
    writer->header = (struct husk_image_note){.magic = HUSK_IMAGE_MAGIC,
                                              .note_bytes = sizeof(struct husk_image_note),
                                              .format = HUSK_IMAGE_FORMAT,
                                              .abi = HUSK_ABI_VERSION,
                                              .cpu_features = input->cpu_features,
                                              .flags = (input->plan->needs_init ? HUSK_IMAGE_NEEDS_INIT : 0) |
                                                       (input->is_strict ? HUSK_IMAGE_STRICT : 0),
                                              .entry_gva = linked->entry_gva,
                                              .resume_gva = linked->resume_gva,
                                              .init_gva = linked->init_gva,
                                              .init_thunk_gva = linked->init_thunk_gva,
                                              .opt_level = (uint32_t)input->opt_level};
    sha256_bytes(writer->program->input.data, writer->program->input.count, writer->header.wasm_sha256);
    writer->header.compiler = add_string(writer, input->compiler, strlen(input->compiler));
    writer->header.target_cpu = add_string(writer, input->target_cpu, strlen(input->target_cpu));
    writer->header.module_name = add_bytes(writer, program_main(writer->program)->name);
}

/* The header, then the arrays, each at a multiple of 8. */
static int assemble(struct note_writer *writer, struct buf *note, struct husk_error *err) {
    static const uint32_t elem_bytes[HUSK_ARR_COUNT] = {
        [HUSK_ARR_STRINGS] = 1,
        [HUSK_ARR_VALTYPES] = 1,
        [HUSK_ARR_TYPES] = sizeof(struct husk_image_type),
        [HUSK_ARR_FUNCS] = sizeof(struct husk_image_func),
        [HUSK_ARR_IMPORTS] = sizeof(struct husk_image_import),
        [HUSK_ARR_EXPORTS] = sizeof(struct husk_image_export),
        [HUSK_ARR_MEMORIES] = sizeof(struct husk_image_memory),
        [HUSK_ARR_TABLES] = sizeof(struct husk_image_table),
        [HUSK_ARR_GLOBALS] = sizeof(struct husk_image_global),
        [HUSK_ARR_CODE_MAP] = sizeof(struct husk_image_code_row),
        [HUSK_ARR_UNWIND] = sizeof(struct husk_image_unwind_row),
        [HUSK_ARR_FILES] = sizeof(struct husk_image_str),
        [HUSK_ARR_LINES] = sizeof(struct husk_image_line_row),
        [HUSK_ARR_MEMORY_SIZES] = sizeof(uint64_t), /* these four are of snapshots only: empty here */
        [HUSK_ARR_TABLE_SIZES] = sizeof(uint64_t),
        [HUSK_ARR_HOST_STATE] = 1,
        [HUSK_ARR_HOT_PAGES] = sizeof(uint64_t),
    };
    uint64_t offset = sizeof writer->header;
    for (int i = 0; i < HUSK_ARR_COUNT; i++) {
        const struct buf *array = &writer->arrays[i];
        if (array->failed)
            return error_set(err, HUSK_E_NOMEM, "no memory for the image's note");
        writer->header.arrays[i] =
            (struct husk_image_array){.offset = (uint32_t)offset,
                                      .count = (uint32_t)(array->count / elem_bytes[i]),
                                      .elem_bytes = elem_bytes[i]};
        offset = (offset + array->count + 7) & ~(uint64_t)7;
        if (offset > NOTE_BYTES_MAX)
            return error_set(err, HUSK_E_LIMIT,
                             "the module's names and tables need an image note of more than %u MiB",
                             NOTE_BYTES_MAX >> 20);
    }
    buf_append(note, &writer->header, sizeof writer->header);
    for (int i = 0; i < HUSK_ARR_COUNT; i++) {
        buf_append(note, writer->arrays[i].data, writer->arrays[i].count);
        buf_align(note, 8);
    }
    return note->failed ? error_set(err, HUSK_E_NOMEM, "no memory for the image's note") : 0;
}

int image_note_make(const struct image_input *input, struct buf *note, struct husk_error *err) {
    struct note_writer writer = {.input = input, .program = input->plan->program};
    const struct linked *linked = input->linked;
    fill_header(&writer);
    add_types(&writer);
    int status = add_funcs(&writer, err);
    add_imports_exports(&writer);
    add_memories(&writer);
    add_tables(&writer);
    add_globals(&writer);
    buf_append(&writer.arrays[HUSK_ARR_CODE_MAP], linked->code_rows,
               linked->code_rows_count * sizeof linked->code_rows[0]);
    buf_append(&writer.arrays[HUSK_ARR_UNWIND], linked->unwind_rows,
               linked->unwind_rows_count * sizeof linked->unwind_rows[0]);
    if (status == 0)
        status = wasm_lines_read(program_main(writer.program)->module, &writer.arrays[HUSK_ARR_STRINGS],
                                 &writer.arrays[HUSK_ARR_FILES], &writer.arrays[HUSK_ARR_LINES], err);
    if (status == 0)
        status = assemble(&writer, note, err);
    for (int i = 0; i < HUSK_ARR_COUNT; i++)
        buf_done(&writer.arrays[i]);
    return status;
}
