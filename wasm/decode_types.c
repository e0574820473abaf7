/*
 * wasm/decode_types.c: the sections for imports, functions, tables, memories, exports and
 * the start function (core specification 2.0, sections 5.3 and 5.5.4 to 5.5.11). The decoder does
 * not check indices; the validator does.
 */
#include "decode.h"
#include "layout.h"
#include "limits.h"
#include "read.h"

/* ---- limits and types of tables, memories, globals ---- */

/* Flags: 1 has a maximum; 2 shared, 4 64-bit, 8 page size belong to later proposals. */
static int read_limits(struct wasm_reader *reader, uint64_t no_max, struct wasm_limits *limits) {
    uint64_t offset = wasm_reader_offset(reader);
    uint8_t flags = 0;
    uint32_t min = 0;
    uint32_t max = 0;
    int status = wasm_read_byte(reader, "limits", &flags);
    if (status == 0 && flags > 1) {
        const char *proposal = (flags & 4) != 0   ? "memory64"
                               : (flags & 2) != 0 ? "threads"
                                                  : "custom page sizes";
        return flags < 16
                   ? wasm_error(reader->err, HUSK_E_UNSUPPORTED, offset,
                                "uses %s (limits flags 0x%02x), not supported yet", proposal, flags)
                   : wasm_error(reader->err, HUSK_E_BAD_WASM, offset,
                                "malformed limits flags 0x%02x", flags);
    }
    if (status == 0)
        status = wasm_read_u32(reader, "minimum", &min);
    if (status == 0 && flags == 1)
        status = wasm_read_u32(reader, "maximum", &max);
    *limits =
        (struct wasm_limits){.min = min, .max = flags == 1 ? max : no_max, .has_max = flags == 1};
    return status;
}

static int read_table_type(struct wasm_reader *reader, struct wasm_table *table) {
    table->offset = wasm_reader_offset(reader);
    int status = wasm_read_reftype(reader, &table->elem_type);
    return status != 0 ? status : read_limits(reader, UINT32_MAX, &table->limits);
}

static int read_memory_type(struct wasm_reader *reader, struct wasm_memory *memory) {
    memory->offset = wasm_reader_offset(reader);
    return read_limits(reader, HUSK_MAX_MEM_PAGES, &memory->limits);
}

int decoder_read_global_type(struct decoder *decoder, struct wasm_global *global) {
    uint8_t mutability = 0;
    global->offset = wasm_reader_offset(&decoder->reader);
    int status = wasm_read_valtype(&decoder->reader, &global->type);
    if (status == 0)
        status = wasm_read_byte(&decoder->reader, "global type", &mutability);
    if (status == 0 && mutability > 1)
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, wasm_reader_offset(&decoder->reader) - 1,
                          "malformed mutability 0x%02x", mutability);
    global->is_mutable = mutability == 1;
    return status;
}

/* ---- imports ---- */

static int import_func(struct decoder *decoder, uint32_t *ret_idx) {
    struct wasm_module *module = decoder->module;
    struct wasm_func func = {.is_import = true};
    int status = wasm_read_u32(&decoder->reader, "type index", &func.type_idx);
    if (status == 0)
        status =
            decoder_check_total(decoder, module->funcs_count, 1, WASM_LIMIT_FUNCS, "functions");
    if (status != 0)
        return status;
    struct wasm_func *funcs =
        decoder_push(decoder, module->funcs, module->funcs_count, sizeof *funcs);
    if (funcs == NULL)
        return decoder_nomem(decoder);
    module->funcs = funcs;
    funcs[module->funcs_count] = func;
    *ret_idx = module->funcs_count++;
    module->imported_funcs_count++;
    return 0;
}

static int import_table(struct decoder *decoder, uint32_t *ret_idx) {
    struct wasm_module *module = decoder->module;
    struct wasm_table table = {.is_import = true};
    int status = read_table_type(&decoder->reader, &table);
    if (status == 0)
        status = decoder_check_total(decoder, module->tables_count, 1, WASM_LIMIT_TABLES, "tables");
    if (status != 0)
        return status;
    struct wasm_table *tables =
        decoder_push(decoder, module->tables, module->tables_count, sizeof *tables);
    if (tables == NULL)
        return decoder_nomem(decoder);
    module->tables = tables;
    tables[module->tables_count] = table;
    *ret_idx = module->tables_count++;
    module->imported_tables_count++;
    return 0;
}

static int import_memory(struct decoder *decoder, uint32_t *ret_idx) {
    struct wasm_module *module = decoder->module;
    struct wasm_memory memory = {.is_import = true};
    int status = read_memory_type(&decoder->reader, &memory);
    if (status == 0)
        status = decoder_check_total(decoder, module->memories_count, 1, WASM_LIMIT_MEMORIES,
                                     "memories");
    if (status != 0)
        return status;
    struct wasm_memory *memories =
        decoder_push(decoder, module->memories, module->memories_count, sizeof *memories);
    if (memories == NULL)
        return decoder_nomem(decoder);
    module->memories = memories;
    memories[module->memories_count] = memory;
    *ret_idx = module->memories_count++;
    module->imported_memories_count++;
    return 0;
}

static int import_global(struct decoder *decoder, uint32_t *ret_idx) {
    struct wasm_module *module = decoder->module;
    struct wasm_global global = {.is_import = true};
    int status = decoder_read_global_type(decoder, &global);
    if (status == 0)
        status =
            decoder_check_total(decoder, module->globals_count, 1, WASM_LIMIT_GLOBALS, "globals");
    if (status != 0)
        return status;
    struct wasm_global *globals =
        decoder_push(decoder, module->globals, module->globals_count, sizeof *globals);
    if (globals == NULL)
        return decoder_nomem(decoder);
    module->globals = globals;
    globals[module->globals_count] = global;
    *ret_idx = module->globals_count++;
    module->imported_globals_count++;
    return 0;
}

/* The kind of an import or export: the same bytes (5.5.5, 5.5.10). */
static int read_kind(struct wasm_reader *reader, const char *what, enum wasm_kind *ret_kind) {
    uint8_t kind = 0;
    int status = wasm_read_byte(reader, what, &kind);
    if (status == 0 && kind > WASM_KIND_GLOBAL)
        return wasm_error(reader->err, kind == 4 ? HUSK_E_UNSUPPORTED : HUSK_E_BAD_WASM,
                          wasm_reader_offset(reader) - 1,
                          kind == 4 ? "uses exception handling (%s 0x%02x: tag), not supported yet"
                                    : "malformed %s 0x%02x",
                          what, kind);
    if (status == 0)
        *ret_kind = (enum wasm_kind)kind;
    return status;
}

/* Import and export names go into images and messages: they have a limit of their own. */
static int read_short_name(struct wasm_reader *reader, const char *what,
                           struct wasm_bytes *ret_name) {
    struct wasm_bytes name;
    int status = wasm_read_name(reader, what, &name);
    if (status == 0 && name.count > WASM_LIMIT_NAME_BYTES)
        return wasm_error(reader->err, HUSK_E_LIMIT, name.offset,
                          "%s has %u bytes, the limit is %u", what, name.count,
                          WASM_LIMIT_NAME_BYTES);
    if (status == 0)
        *ret_name = name;
    return status;
}

static int read_import(struct decoder *decoder, struct wasm_import *import) {
    static int (*const import_kinds[])(struct decoder *, uint32_t *) = {
        [WASM_KIND_FUNC] = import_func,
        [WASM_KIND_TABLE] = import_table,
        [WASM_KIND_MEMORY] = import_memory,
        [WASM_KIND_GLOBAL] = import_global,
    };
    int status = read_short_name(&decoder->reader, "module name of an import", &import->module);
    if (status == 0)
        status = read_short_name(&decoder->reader, "import name", &import->name);
    if (status == 0)
        status = read_kind(&decoder->reader, "import kind", &import->kind);
    return status != 0 ? status : import_kinds[import->kind](decoder, &import->idx);
}

int decoder_imports(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    int status =
        wasm_read_count(&decoder->reader, 4, WASM_LIMIT_IMPORTS, "number of imports", &count);
    if (status != 0)
        return status;
    module->imports = wasm_arena_alloc(decoder->arena, count, sizeof *module->imports);
    if (module->imports == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_import(decoder, &module->imports[i]);
    module->imports_count = count;
    return status;
}

/* ---- declared by type alone ---- */

int decoder_funcs(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    int status =
        wasm_read_count(&decoder->reader, 1, WASM_LIMIT_FUNCS, "number of functions", &count);
    if (status == 0)
        status =
            decoder_check_total(decoder, module->funcs_count, count, WASM_LIMIT_FUNCS, "functions");
    if (status != 0)
        return status;
    module->funcs = decoder_extend(decoder, module->funcs, module->funcs_count,
                                   module->funcs_count + count, sizeof *module->funcs);
    if (module->funcs == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = wasm_read_u32(&decoder->reader, "type index",
                               &module->funcs[module->funcs_count + i].type_idx);
    module->funcs_count += count;
    decoder->declared_funcs_count = count;
    return status;
}

/* A table may have an initialiser: 0x40 0x00, the type, a constant expression (5.5.7). */
static int read_table(struct decoder *decoder, struct wasm_table *table) {
    struct wasm_reader *reader = &decoder->reader;
    bool has_init = reader->pos < reader->end && *reader->pos == 0x40;
    uint8_t reserved = 0;
    if (has_init) {
        reader->pos++;
        int status = wasm_read_byte(reader, "table", &reserved);
        if (status == 0 && reserved != 0)
            status = wasm_error(decoder->err, HUSK_E_BAD_WASM, wasm_reader_offset(reader) - 1,
                                "malformed table: zero byte expected");
        if (status != 0)
            return status;
    }
    int status = read_table_type(reader, table);
    return status != 0 || !has_init ? status : decoder_read_expr(decoder, &table->init);
}

int decoder_tables(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    int status =
        wasm_read_count(&decoder->reader, 3, WASM_LIMIT_TABLES, "number of tables", &count);
    if (status == 0)
        status =
            decoder_check_total(decoder, module->tables_count, count, WASM_LIMIT_TABLES, "tables");
    if (status != 0)
        return status;
    module->tables = decoder_extend(decoder, module->tables, module->tables_count,
                                    module->tables_count + count, sizeof *module->tables);
    if (module->tables == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_table(decoder, &module->tables[module->tables_count + i]);
    module->tables_count += count;
    return status;
}

int decoder_memories(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    int status =
        wasm_read_count(&decoder->reader, 2, WASM_LIMIT_MEMORIES, "number of memories", &count);
    if (status == 0)
        status = decoder_check_total(decoder, module->memories_count, count, WASM_LIMIT_MEMORIES,
                                     "memories");
    if (status != 0)
        return status;
    module->memories = decoder_extend(decoder, module->memories, module->memories_count,
                                      module->memories_count + count, sizeof *module->memories);
    if (module->memories == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_memory_type(&decoder->reader, &module->memories[module->memories_count + i]);
    module->memories_count += count;
    return status;
}

int decoder_exports(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    int status =
        wasm_read_count(&decoder->reader, 3, WASM_LIMIT_EXPORTS, "number of exports", &count);
    if (status != 0)
        return status;
    module->exports = wasm_arena_alloc(decoder->arena, count, sizeof *module->exports);
    if (module->exports == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        struct wasm_export *export = &module->exports[i];
        status = read_short_name(&decoder->reader, "export name", &export->name);
        if (status == 0)
            status = read_kind(&decoder->reader, "export kind", &export->kind);
        if (status == 0)
            status = wasm_read_u32(&decoder->reader, "export index", &export->idx);
    }
    module->exports_count = count;
    return status;
}

int decoder_start(struct decoder *decoder) {
    decoder->module->has_start = true;
    decoder->module->start_offset = wasm_reader_offset(&decoder->reader);
    return wasm_read_u32(&decoder->reader, "start function index",
                         &decoder->module->start_func_idx);
}
