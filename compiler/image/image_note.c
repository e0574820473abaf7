/*
 * compiler/image/image_note.c: makes the "husk" note of an image, which tells the host everything
 * about the instance. See abi/image.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "image_records.h"
#include "image_write.h"
#include "layout.h"
#include "sha256.h"
#include "types.h"

_Static_assert((int)HUSK_ABI_FUNC == (int)WASM_KIND_FUNC &&
                   (int)HUSK_ABI_TABLE == (int)WASM_KIND_TABLE &&
                   (int)HUSK_ABI_MEMORY == (int)WASM_KIND_MEMORY &&
                   (int)HUSK_ABI_GLOBAL == (int)WASM_KIND_GLOBAL &&
                   (int)HUSK_ABI_TAG == (int)WASM_KIND_TAG,
               "kinds are copied as they are");

#define NOTE_BYTES_MAX (1u << 30) /* what libhusk reads */

struct note_writer {
    const struct image_input *input;
    const struct program *program;
    struct buf records[HUSK_REC_COUNT]; /* rows */
};

static struct husk_image_str add_string(struct note_writer *writer, const void *text,
                                        size_t bytes) {
    struct buf *strings = &writer->records[HUSK_REC_STRINGS];
    struct husk_image_str str = {.offset = (uint32_t)strings->count, .bytes = (uint32_t)bytes};
    /* too long: refused as a whole in the end */
    if (bytes == 0 || strings->count + bytes > NOTE_BYTES_MAX)
        str = (struct husk_image_str){0};
    buf_append(strings, text, bytes);
    return str;
}

static struct husk_image_str add_bytes(struct note_writer *writer, struct wasm_bytes bytes) {
    return add_string(writer, bytes.data, bytes.count);
}

/* All types that are compiled are functions: a reference to one is a funcref. */
static void add_valtypes(struct buf *valtypes, const valtype_t *types, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        valtype_t type = wasm_abi_type(NULL, types[i]);
        buf_append(valtypes, &type, sizeof type);
    }
}

static void add_types(struct note_writer *writer) {
    struct buf *valtypes = &writer->records[HUSK_REC_VALTYPES];
    for (uint32_t i = 0; i < writer->program->types_count; i++) {
        const struct wasm_functype *type = &writer->program->types[i];
        struct husk_image_type row = {.valtypes_idx =
                                          (uint32_t)(valtypes->count / sizeof(valtype_t)),
                                      .params_count = type->params_count,
                                      .results_count = type->results_count,
                                      .thunk_gva = writer->input->linked->thunk_gva[i]};
        add_valtypes(valtypes, type->params, type->params_count);
        add_valtypes(valtypes, type->results, type->results_count);
        buf_append(&writer->records[HUSK_REC_TYPES], &row, sizeof row);
    }
}

/* With several instances, names begin with that of the instance: "lib/f". */
static struct husk_image_str add_long_name(struct note_writer *writer, struct program_def def,
                                           struct wasm_bytes name) {
    struct wasm_bytes prefix = program_instance(writer->program, def)->name;
    char number[32];
    if (name.count == 0) {
        int bytes = snprintf(number, sizeof number, "<func %u>", def.idx);
        name = (struct wasm_bytes){.data = (const uint8_t *)number, .count = (uint32_t)bytes};
    }
    struct husk_image_str str = add_bytes(writer, prefix);
    add_string(writer, "/", 1);
    add_bytes(writer, name);
    str.bytes += 1 + name.count;
    return str;
}

/* The first export of each function, for those without a name of their own: index + 1 into the
 * exports, by function. With several instances, only exports of the one that defines it: they have
 * the instance's name, except those of the main one. */
static uint32_t *exports_by_func(const struct program *program) {
    uint32_t *by_func = calloc((size_t)program->funcs_count + 1, sizeof by_func[0]);
    for (uint32_t i = 0; by_func != NULL && i < program->exports_count; i++) {
        const struct wasm_export *export = &program->exports[i];
        if (export->kind != WASM_KIND_FUNC || by_func[export->idx] != 0)
            continue;
        if (program->export_instances == NULL ||
            program->export_instances[i] == program->funcs[export->idx].instance)
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
                                      .wasm_offset = program_func_offset(program, i),
                                      .instance = program->funcs[i].instance};
        const uint32_t export_idx = by_func[i];
        bool is_main = row.instance + 1 == program->instances_count;
        struct wasm_bytes name = func->name;
        if (name.count == 0 && export_idx != 0)
            name = program->exports[export_idx - 1].name;
        if (program->instances_count == 1 || (name.count == 0 && func->is_import) ||
            (name.count > 0 && func->name.count == 0 && !is_main))
            row.name = add_bytes(writer, name);
        else
            row.name = add_long_name(writer, program->funcs[i], name);
        buf_append(&writer->records[HUSK_REC_FUNCS], &row, sizeof row);
    }
    free(by_func);
    return 0;
}

/* The first instance that imports it. */
static uint32_t import_instance(const struct program *program, const struct wasm_import *import) {
    switch (import->kind) {
    case WASM_KIND_FUNC: return program->funcs[import->idx].instance;
    case WASM_KIND_TABLE: return program->tables[import->idx].instance;
    case WASM_KIND_MEMORY: return program->memories[import->idx].instance;
    case WASM_KIND_GLOBAL: return program->globals[import->idx].instance;
    case WASM_KIND_TAG: return program->tags[import->idx].instance;
    }
    return 0;
}

static void add_imports_exports(struct note_writer *writer) {
    const struct program *program = writer->program;
    for (uint32_t i = 0; i < program->imports_count; i++) {
        const struct wasm_import *import = &program->imports[i];
        struct husk_image_import row = {.module = add_bytes(writer, import->module),
                                        .name = add_bytes(writer, import->name),
                                        .kind = (uint32_t)import->kind,
                                        .idx = import->idx,
                                        .instance = import_instance(program, import)};
        buf_append(&writer->records[HUSK_REC_IMPORTS], &row, sizeof row);
    }
    for (uint32_t i = 0; i < program->exports_count; i++) {
        const struct wasm_export *export = &program->exports[i];
        struct husk_image_export row = {.name = add_bytes(writer, export->name),
                                        .kind = (uint32_t) export->kind,
                                        .idx = export->idx};
        if (program->export_instances != NULL)
            row.instance = program->export_instances[i];
        buf_append(&writer->records[HUSK_REC_EXPORTS], &row, sizeof row);
    }
}

static uint32_t limit_flags(const struct wasm_limits *limits) {
    return (limits->has_max ? HUSK_LIMIT_HAS_MAX : 0) | (limits->is_64 ? HUSK_LIMIT_IS_64 : 0) |
           (limits->is_shared ? HUSK_LIMIT_SHARED : 0);
}

/* Pages of 64 KiB: as declared, and no more than the compiler takes for granted. */
static uint64_t most_pages(const struct program *program, uint32_t memory_idx) {
    const struct wasm_memory *memory = program_memory(program, memory_idx);
    const struct wasm_limits *limits = &memory->limits;
    const uint64_t all = limits->is_64 ? HUSK_MAX_MEM64_PAGES : HUSK_MAX_MEM_PAGES;
    const uint64_t max = limits->has_max ? wasm_memory_chunks(memory, limits->max) : all;
    const uint64_t early = all - HUSK_MEM_BELOW_BYTES / HUSK_WASM_PAGE_SIZE;
    return program_memory_ends_early(program, memory_idx) && max > early ? early : max;
}

static void add_memories(struct note_writer *writer) {
    const struct plan *plan = writer->input->plan;
    for (uint32_t i = 0; i < writer->program->memories_count; i++) {
        const struct wasm_memory *memory = program_memory(writer->program, i);
        const struct wasm_limits *limits = &memory->limits;
        struct husk_image_memory row = {.min_pages = wasm_memory_chunks(memory, limits->min),
                                        .max_pages = most_pages(writer->program, i),
                                        .flags = limit_flags(limits),
                                        .size_gva = plan->mem_size_gva[i],
                                        .instance = writer->program->memories[i].instance};
        buf_append(&writer->records[HUSK_REC_MEMORIES], &row, sizeof row);
    }
}

static void add_tables(struct note_writer *writer) {
    const struct plan *plan = writer->input->plan;
    for (uint32_t i = 0; i < writer->program->tables_count; i++) {
        const struct wasm_table *table = program_table(writer->program, i);
        const struct wasm_limits *limits = &table->limits;
        struct husk_image_table row = {.min_entries = limits->min,
                                       .max_entries = limits->has_max ? limits->max : UINT32_MAX,
                                       .flags = limit_flags(limits),
                                       .elem_type = wasm_abi_type(NULL, table->elem_type),
                                       .base_gva = plan->tables[i].base_gva,
                                       .reserve_entries = plan->tables[i].reserve_entries,
                                       .size_gva = plan->tables[i].size_gva,
                                       .instance = writer->program->tables[i].instance};
        buf_append(&writer->records[HUSK_REC_TABLES], &row, sizeof row);
    }
}

static void add_globals(struct note_writer *writer) {
    for (uint32_t i = 0; i < writer->program->globals_count; i++) {
        const struct wasm_global *global = program_global(writer->program, i);
        struct husk_image_global row = {.gva = writer->input->plan->global_gva[i],
                                        .type = wasm_abi_type(NULL, global->type),
                                        .flags = global->is_mutable ? HUSK_GLOBAL_MUTABLE : 0,
                                        .instance = writer->program->globals[i].instance};
        buf_append(&writer->records[HUSK_REC_GLOBALS], &row, sizeof row);
    }
}

static void add_tags(struct note_writer *writer) {
    for (uint32_t i = 0; i < writer->program->tags_count; i++) {
        struct husk_image_tag row = {.type_idx = program_tag_type_idx(writer->program, i),
                                     .instance = writer->program->tags[i].instance};
        buf_append(&writer->records[HUSK_REC_TAGS], &row, sizeof row);
    }
}

/* One instance needs no rows: an image without them has one. */
static void add_instances(struct note_writer *writer) {
    const struct program *program = writer->program;
    for (uint32_t i = 0; i < program->instances_count && program->instances_count > 1; i++) {
        const struct program_instance *instance = &program->instances[i];
        struct husk_image_instance row = {.name = add_bytes(writer, instance->name),
                                          .wasm_offset = instance->input_offset,
                                          .init_gva = writer->input->linked->instance_init_gva[i],
                                          .memory_idx = instance->memory_idx};
        buf_append(&writer->records[HUSK_REC_INSTANCES], &row, sizeof row);
    }
}

static void add_module(struct note_writer *writer) {
    const struct image_input *input = writer->input;
    const struct linked *linked = input->linked;
    struct husk_image_module row = {.cpu_features = input->cpu_features,
                                    .flags = (input->plan->needs_init ? HUSK_IMAGE_NEEDS_INIT : 0) |
                                             (input->is_strict ? HUSK_IMAGE_STRICT : 0),
                                    .entry_gva = linked->entry_gva,
                                    .resume_gva = linked->resume_gva,
                                    .init_gva = linked->init_gva,
                                    .init_thunk_gva = linked->init_thunk_gva,
                                    .opt_level = (uint32_t)input->opt_level,
                                    .throw_gva = linked->throw_gva,
                                    .exception_gva = input->plan->exception_gva,
                                    .exception_values = input->plan->exception_values,
                                    .exception_slots_gva = input->plan->exception_slots_gva};
    row.compiler = add_string(writer, input->compiler, strlen(input->compiler));
    row.target_cpu = add_string(writer, input->target_cpu, strlen(input->target_cpu));
    row.name = add_bytes(writer, program_main(writer->program)->module->name);
    buf_append(&writer->records[HUSK_REC_MODULE], &row, sizeof row);
}

static int assemble(const struct note_writer *writer, struct buf *note, struct husk_error *err) {
    struct image_record_rows records[HUSK_REC_COUNT];
    uint8_t wasm_sha256[SHA256_BYTES];
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++) {
        const struct buf *rows = &writer->records[i];
        if (rows->failed)
            return error_set(err, HUSK_E_NOMEM, "no memory for the image's note");
        records[i] =
            (struct image_record_rows){rows->data, rows->count / image_record_kinds[i].row_bytes};
    }
    if (image_records_bytes(records) > NOTE_BYTES_MAX)
        return error_set(err, HUSK_E_LIMIT,
                         "the module's names and tables need an image note of more than %u MiB",
                         NOTE_BYTES_MAX >> 20);
    sha256_bytes(writer->program->input.data, writer->program->input.count, wasm_sha256);
    image_records_write(note, wasm_sha256, records);
    return note->failed ? error_set(err, HUSK_E_NOMEM, "no memory for the image's note") : 0;
}

int image_note_make(const struct image_input *input, struct buf *note, struct husk_error *err) {
    struct note_writer writer = {.input = input, .program = input->plan->program};
    const struct linked *linked = input->linked;
    add_module(&writer);
    add_types(&writer);
    int status = add_funcs(&writer, err);
    add_imports_exports(&writer);
    add_memories(&writer);
    add_tables(&writer);
    add_globals(&writer);
    add_tags(&writer);
    buf_append(&writer.records[HUSK_REC_CODE_MAP], linked->code_rows,
               linked->code_rows_count * sizeof linked->code_rows[0]);
    buf_append(&writer.records[HUSK_REC_INLINED_CODE], linked->inlined_rows,
               linked->inlined_rows_count * sizeof linked->inlined_rows[0]);
    buf_append(&writer.records[HUSK_REC_INLINED_CALLS], linked->inlined_calls,
               linked->inlined_calls_count * sizeof linked->inlined_calls[0]);
    buf_append(&writer.records[HUSK_REC_UNWIND], linked->unwind_rows,
               linked->unwind_rows_count * sizeof linked->unwind_rows[0]);
    buf_append(&writer.records[HUSK_REC_ROUTINES], &linked->routines, sizeof linked->routines);
    add_instances(&writer);
    for (uint32_t i = 0; i < writer.program->instances_count && status == 0; i++)
        status = wasm_lines_read(&writer.program->instances[i], &writer.records[HUSK_REC_STRINGS],
                                 &writer.records[HUSK_REC_SOURCE_FILES],
                                 &writer.records[HUSK_REC_LINES], err);
    if (status == 0)
        status = assemble(&writer, note, err);
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++)
        buf_done(&writer.records[i]);
    return status;
}
