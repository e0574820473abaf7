/*
 * wasm/decode_types.c: the sections for imports, functions, tables, memories, exports and
 * the start function (core specification 2.0, sections 5.3 and 5.5.4 to 5.5.11). The decoder does
 * not check indices; the validator does.
 */
#include "decode.h"

#include <stdio.h>

#include "layout.h"
#include "limits.h"
#include "read.h"

/* ---- limits and types of tables, memories, globals (5.3.13; threads; custom page sizes) ---- */

#define LIMITS_HAS_MAX 1u
#define LIMITS_SHARED 2u
#define LIMITS_64 4u
#define LIMITS_PAGE_SIZE 8u

static int read_bound(struct decoder *decoder, const char *what, uint64_t *ret_bound) {
    uint64_t offset = wasm_reader_offset(&decoder->reader);
    bool is_wide = false;
    int status = wasm_read_u64_or_u32(&decoder->reader, what, ret_bound, &is_wide);
    if (status == 0 && is_wide && decoder->module->wide_limits_offset == 0)
        decoder->module->wide_limits_offset = offset;
    return status;
}

/* `allowed`: flags. *ret_flags has those of the limits. limits->max is set only with a maximum. */
static int read_limits(struct decoder *decoder, uint8_t allowed, struct wasm_limits *limits,
                       uint8_t *ret_flags) {
    struct wasm_reader *reader = &decoder->reader;
    uint64_t offset = wasm_reader_offset(reader);
    uint8_t flags = 0;
    int status = wasm_read_byte(reader, "limits", &flags);
    if (status == 0 && (flags & ~allowed) != 0)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "malformed limits flags 0x%02x",
                          flags);
    limits->has_max = (flags & LIMITS_HAS_MAX) != 0;
    limits->is_shared = (flags & LIMITS_SHARED) != 0;
    limits->is_64 = (flags & LIMITS_64) != 0;
    if (status == 0)
        status = read_bound(decoder, "minimum", &limits->min);
    if (status == 0 && limits->has_max)
        status = read_bound(decoder, "maximum", &limits->max);
    if (limits->is_shared)
        wasm_use(reader->used, WASM_FEATURE_THREADS, offset, "a shared memory");
    *ret_flags = flags;
    return status;
}

static int read_table_type(struct decoder *decoder, struct wasm_table *table) {
    struct wasm_reader *reader = &decoder->reader;
    uint8_t flags = 0;
    table->offset = wasm_reader_offset(reader);
    int status = wasm_read_reftype(reader, &table->elem_type);
    if (status == 0)
        status = read_limits(decoder, LIMITS_HAS_MAX | LIMITS_64, &table->limits, &flags);
    if (status == 0 && table->limits.is_64)
        wasm_use(reader->used, WASM_FEATURE_MEMORY64, table->offset, "a table with i64 indices");
    if (!table->limits.has_max)
        table->limits.max = table->limits.is_64 ? UINT64_MAX : UINT32_MAX;
    return status;
}

/* The page size follows the limits, as the logarithm of its bytes. */
static int read_page_size(struct decoder *decoder, uint32_t *ret_log2) {
    struct wasm_reader *reader = &decoder->reader;
    uint64_t offset = wasm_reader_offset(reader);
    int status = wasm_read_u32(reader, "page size", ret_log2);
    if (status == 0 && *ret_log2 >= 64)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset,
                          "invalid custom page size of 2^%u bytes", *ret_log2);
    if (status == 0)
        wasm_use(reader->used, WASM_FEATURE_CUSTOM_PAGE_SIZES, offset, "a memory's page size");
    return status;
}

static int read_memory_type(struct decoder *decoder, void *row) {
    struct wasm_memory *memory = row;
    struct wasm_limits *limits = &memory->limits;
    uint8_t flags = 0;
    memory->offset = wasm_reader_offset(&decoder->reader);
    memory->page_log2 = 16;
    int status = read_limits(decoder, LIMITS_HAS_MAX | LIMITS_SHARED | LIMITS_64 | LIMITS_PAGE_SIZE,
                             limits, &flags);
    if (status == 0 && (flags & LIMITS_PAGE_SIZE) != 0)
        status = read_page_size(decoder, &memory->page_log2);
    memory->has_byte_pages = memory->page_log2 == 0;
    if (status == 0 && limits->is_64)
        wasm_use(decoder->reader.used, WASM_FEATURE_MEMORY64, memory->offset,
                 "a memory with i64 addresses");
    if (!limits->has_max)
        limits->max = wasm_memory_pages_max(memory);
    return status;
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
    int status = read_table_type(decoder, &table);
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
    int status = read_memory_type(decoder, &memory);
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

/* The attribute is 0: an exception (5.5.13). */
static int read_tag_type(struct decoder *decoder, void *row) {
    struct wasm_tag *tag = row;
    struct wasm_reader *reader = &decoder->reader;
    uint8_t attribute = 0;
    tag->offset = wasm_reader_offset(reader);
    wasm_use(reader->used, WASM_FEATURE_EXCEPTIONS, tag->offset, "a tag");
    int status = wasm_read_byte(reader, "tag attribute", &attribute);
    if (status == 0 && attribute != 0)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, tag->offset,
                          "malformed tag attribute 0x%02x", attribute);
    return status != 0 ? status : wasm_read_u32(reader, "type index", &tag->type_idx);
}

static int import_tag(struct decoder *decoder, uint32_t *ret_idx) {
    struct wasm_module *module = decoder->module;
    struct wasm_tag tag = {.is_import = true};
    int status = read_tag_type(decoder, &tag);
    if (status == 0)
        status = decoder_check_total(decoder, module->tags_count, 1, WASM_LIMIT_TAGS, "tags");
    if (status != 0)
        return status;
    struct wasm_tag *tags = decoder_push(decoder, module->tags, module->tags_count, sizeof *tags);
    if (tags == NULL)
        return decoder_nomem(decoder);
    module->tags = tags;
    tags[module->tags_count] = tag;
    *ret_idx = module->tags_count++;
    module->imported_tags_count++;
    return 0;
}

/* The kind of an import or export: the same bytes (5.5.5, 5.5.10). */
static int read_kind(struct wasm_reader *reader, const char *what, enum wasm_kind *ret_kind) {
    uint8_t kind = 0;
    int status = wasm_read_byte(reader, what, &kind);
    if (status == 0 && kind > WASM_KIND_TAG)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, wasm_reader_offset(reader) - 1,
                          "malformed %s 0x%02x", what, kind);
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

/* A later proposal has several imports in one, after an empty name and one of two bytes. */
static int check_single_import(struct wasm_reader *reader, const struct wasm_bytes *name) {
    if (name->count != 0 || reader->pos == reader->end ||
        (*reader->pos != 0x7e && *reader->pos != 0x7f))
        return 0;
    return wasm_error(reader->err, HUSK_E_UNSUPPORTED, wasm_reader_offset(reader),
                      "uses compact imports (import kind 0x%02x), not supported yet", *reader->pos);
}

static int read_import(struct decoder *decoder, struct wasm_import *import) {
    static int (*const import_kinds[])(struct decoder *, uint32_t *) = {
        [WASM_KIND_FUNC] = import_func,     [WASM_KIND_TABLE] = import_table,
        [WASM_KIND_MEMORY] = import_memory, [WASM_KIND_GLOBAL] = import_global,
        [WASM_KIND_TAG] = import_tag,
    };
    int status = read_short_name(&decoder->reader, "module name of an import", &import->module);
    if (status == 0)
        status = read_short_name(&decoder->reader, "import name", &import->name);
    if (status == 0)
        status = check_single_import(&decoder->reader, &import->name);
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

int decoder_read_declared(struct decoder *decoder, const struct decoder_declared *declared,
                          void **rows, uint32_t *count) {
    char number[32];
    const uint32_t before = *count;
    uint32_t more = 0;
    snprintf(number, sizeof number, "number of %s", declared->what);
    int status =
        wasm_read_count(&decoder->reader, declared->bytes_min, declared->limit, number, &more);
    if (status == 0)
        status = decoder_check_total(decoder, before, more, declared->limit, declared->what);
    if (status != 0)
        return status;
    uint8_t *all = decoder_extend(decoder, *rows, before, before + more, declared->row_bytes);
    if (all == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < more; i++)
        status = declared->read(decoder, all + (size_t)(before + i) * declared->row_bytes);
    *rows = all;
    *count = before + more;
    return status;
}

static int read_func(struct decoder *decoder, void *row) {
    struct wasm_func *func = row;
    return wasm_read_u32(&decoder->reader, "type index", &func->type_idx);
}

int decoder_funcs(struct decoder *decoder) {
    static const struct decoder_declared declared = {"functions", 1, WASM_LIMIT_FUNCS,
                                                     sizeof(struct wasm_func), read_func};
    struct wasm_module *module = decoder->module;
    void *rows = module->funcs;
    int status = decoder_read_declared(decoder, &declared, &rows, &module->funcs_count);
    module->funcs = rows;
    decoder->declared_funcs_count = module->funcs_count - module->imported_funcs_count;
    return status;
}

/* A table may have an initialiser: 0x40 0x00, the type, a constant expression (5.5.7). */
static int read_table(struct decoder *decoder, void *row) {
    struct wasm_table *table = row;
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
    int status = read_table_type(decoder, table);
    return status != 0 || !has_init ? status : decoder_read_expr(decoder, &table->init);
}

int decoder_tables(struct decoder *decoder) {
    static const struct decoder_declared declared = {"tables", 3, WASM_LIMIT_TABLES,
                                                     sizeof(struct wasm_table), read_table};
    struct wasm_module *module = decoder->module;
    void *rows = module->tables;
    int status = decoder_read_declared(decoder, &declared, &rows, &module->tables_count);
    module->tables = rows;
    return status;
}

int decoder_memories(struct decoder *decoder) {
    static const struct decoder_declared declared = {"memories", 2, WASM_LIMIT_MEMORIES,
                                                     sizeof(struct wasm_memory), read_memory_type};
    struct wasm_module *module = decoder->module;
    void *rows = module->memories;
    int status = decoder_read_declared(decoder, &declared, &rows, &module->memories_count);
    module->memories = rows;
    return status;
}

int decoder_tags(struct decoder *decoder) {
    static const struct decoder_declared declared = {"tags", 2, WASM_LIMIT_TAGS,
                                                     sizeof(struct wasm_tag), read_tag_type};
    struct wasm_module *module = decoder->module;
    void *rows = module->tags;
    int status = decoder_read_declared(decoder, &declared, &rows, &module->tags_count);
    module->tags = rows;
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
