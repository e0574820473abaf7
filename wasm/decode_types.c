/*
 * wasm/decode_types.c: the sections for types, imports, functions, tables, memories, exports and
 * the start function (core specification 2.0, sections 5.3 and 5.5.4 to 5.5.11). The decoder does
 * not check indices; the validator does.
 */
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "layout.h"
#include "limits.h"
#include "read.h"

_Static_assert(WASM_LIMIT_TYPES <= 1u << (32 - VALTYPE_IDX_SHIFT), "every type index fits a code");

/* ---- types ---- */

static int read_types(struct decoder *decoder, uint32_t limit, const char *what,
                      const valtype_t **ret_types, uint32_t *ret_count) {
    uint32_t count = 0;
    int status = wasm_read_count(&decoder->reader, 1, limit, what, &count);
    if (status != 0)
        return status;
    valtype_t *types = wasm_arena_alloc(decoder->arena, count, sizeof *types);
    if (types == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = wasm_read_valtype(&decoder->reader, &types[i]);
    if (status == 0) {
        *ret_types = types;
        *ret_count = count;
    }
    return status;
}

static int read_functype(struct decoder *decoder, struct wasm_functype *type) {
    struct wasm_reader *reader = &decoder->reader;
    uint64_t offset = wasm_reader_offset(reader);
    uint8_t form = 0;
    int status = wasm_read_byte(reader, "type", &form);
    if (status == 0 && form != 0x60) {
        bool is_later =
            form == 0x5e || form == 0x5f || form == 0x50 || form == 0x4f || form == 0x4e;
        return wasm_error(reader->err, is_later ? HUSK_E_UNSUPPORTED : HUSK_E_BAD_WASM, offset,
                          is_later ? "uses garbage collection (type form 0x%02x), not supported yet"
                                   : "malformed type form 0x%02x",
                          form);
    }
    if (status == 0)
        status = read_types(decoder, WASM_LIMIT_PARAMS, "number of parameters", &type->params,
                            &type->params_count);
    if (status == 0)
        status = read_types(decoder, WASM_LIMIT_RESULTS, "number of results", &type->results,
                            &type->results_count);
    if (status == 0 && type->results_count > 1)
        wasm_use(reader->used, WASM_FEATURE_MULTI_VALUE, offset, "a type with several results");
    return status;
}

static int types_compare(const valtype_t *a, const valtype_t *b, uint32_t count) {
    return memcmp(a, b, count * sizeof *a);
}

/* Orders types by structure, and equal ones by index. */
static int type_compare(const void *left, const void *right) {
    const struct wasm_functype *a = *(const struct wasm_functype *const *)left;
    const struct wasm_functype *b = *(const struct wasm_functype *const *)right;
    if (a->params_count != b->params_count)
        return a->params_count < b->params_count ? -1 : 1;
    if (a->results_count != b->results_count)
        return a->results_count < b->results_count ? -1 : 1;
    int order = types_compare(a->params, b->params, a->params_count);
    if (order == 0)
        order = types_compare(a->results, b->results, a->results_count);
    return order != 0 ? order : (a > b) - (a < b);
}

static bool type_equal(const struct wasm_functype *a, const struct wasm_functype *b) {
    return a->params_count == b->params_count && a->results_count == b->results_count &&
           types_compare(a->params, b->params, a->params_count) == 0 &&
           types_compare(a->results, b->results, a->results_count) == 0;
}

/* By sorting: a hash table would let a hostile module choose its collisions. */
static int types_canonicalise(struct decoder *decoder) {
    struct wasm_functype *types = decoder->module->types;
    uint32_t count = decoder->module->types_count;
    struct wasm_functype **sorted = calloc((size_t)count + 1, sizeof(struct wasm_functype *));
    if (sorted == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &types[i];
    qsort(sorted, count, sizeof(struct wasm_functype *), type_compare);
    for (uint32_t i = 0; i < count; i++) {
        bool is_first = i == 0 || !type_equal(sorted[i - 1], sorted[i]);
        sorted[i]->canonical_idx =
            is_first ? (uint32_t)(sorted[i] - types) : sorted[i - 1]->canonical_idx;
    }
    free(sorted);
    return 0;
}

int decoder_types(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    int status = wasm_read_count(&decoder->reader, 3, WASM_LIMIT_TYPES, "number of types", &count);
    if (status != 0)
        return status;
    module->types = wasm_arena_alloc(decoder->arena, count, sizeof *module->types);
    if (module->types == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_functype(decoder, &module->types[i]);
    module->types_count = count;
    return status != 0 ? status : types_canonicalise(decoder);
}

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
    if (reader->pos < reader->end && *reader->pos == 0x40)
        return wasm_error(
            reader->err, HUSK_E_UNSUPPORTED, wasm_reader_offset(reader),
            "uses typed function references (table with an initialiser), not supported yet");
    int status = wasm_read_reftype(reader, &table->elem_type);
    return status != 0 ? status : read_limits(reader, UINT32_MAX, &table->limits);
}

static int read_memory_type(struct wasm_reader *reader, struct wasm_memory *memory) {
    memory->offset = wasm_reader_offset(reader);
    return read_limits(reader, HUSK_MAX_MEM_PAGES, &memory->limits);
}

int decoder_read_global_type(struct decoder *decoder, struct wasm_global *global) {
    uint8_t mutability = 0;
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
        status = read_table_type(&decoder->reader, &module->tables[module->tables_count + i]);
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
