/*
 * host/image/image_check.c: checks every row of the note's records once, when the image is opened.
 * The rest of libhusk relies on these checks and does not repeat them. The time is linear in the
 * file's size.
 *
 * Deliberately not checked, because the host does not depend on it: that code addresses are
 * function starts, that globals and tables do not overlap, and that the native code behaves like
 * the wasm. An error there harms only the guest.
 */
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "pages.h"
#include "rows.h"

static int bad_row(struct husk_error *err, const char *array, uint64_t idx, const char *what) {
    return error_set(err, HUSK_E_BAD_IMAGE, "%s %llu: %s", array, (unsigned long long)idx, what);
}

/* What only a newer husk writes: unknown flags, instances without a row, and (the next one) unknown
 * kinds. */
static int check_known(struct husk_error *err, const char *array, uint64_t idx, uint32_t unknown) {
    if (unknown == 0)
        return 0;
    return error_set(
        err, HUSK_E_IMAGE_VERSION,
        "%s %llu: a flag or an instance (0x%x) that this husk does not know" IMAGE_IS_NEWER, array,
        (unsigned long long)idx, unknown);
}

static int check_kind(struct husk_error *err, const char *array, uint64_t idx, uint32_t kind) {
    if (kind <= HUSK_ABI_TAG)
        return 0;
    return error_set(err, HUSK_E_IMAGE_VERSION,
                     "%s %llu: a kind (%u) that this husk does not know" IMAGE_IS_NEWER, array,
                     (unsigned long long)idx, kind);
}

bool image_in_text(const struct image_code *code, uint64_t gva_value, uint64_t bytes) {
    return gva_value >= HUSK_TEXT_GVA && bytes <= code->text_file_bytes &&
           gva_value - HUSK_TEXT_GVA <= code->text_file_bytes - bytes;
}

/* The last data segment that starts at or below the address, or NULL. */
static const struct image_segment *data_segment_below(const struct husk_image *image,
                                                      uint64_t gva_value) {
    return rows_last_up_to(ROWS(image->segments, image->data_segments_count, gva), gva_value);
}

bool image_in_data(const struct husk_image *image, uint64_t gva_value, uint64_t bytes) {
    const struct image_segment *segment = data_segment_below(image, gva_value);
    return segment != NULL && bytes <= segment->mem_bytes &&
           gva_value - segment->gva <= segment->mem_bytes - bytes;
}

uint64_t image_data_u64(const struct husk_image *image, uint64_t gva_value) {
    uint64_t word = 0, bytes, from, to;
    const uint64_t in_page = gva_value % HUSK_PAGE_SIZE;
    const uint8_t *page = image_source(image, gva_value - in_page, &bytes);
    if (page == NULL)
        return 0;
    const uint64_t offset = (uint64_t)(page - image->code->file->bytes);
    if (image_file_next_data(image->code->file, offset, offset + HUSK_PAGE_SIZE, &from,
                             &to)) /* a hole stays one */
        memcpy(&word, page + in_page, sizeof word);
    return word;
}

/* Where the data without a gap from each data segment on ends: a grown table has one more segment.
 * The caller frees it. */
static uint64_t *data_ends_make(const struct husk_image *image) {
    const uint32_t count = image->data_segments_count;
    uint64_t *ends = calloc(count + 1u, sizeof *ends);
    for (uint32_t i = count; ends != NULL && i-- > 0;) {
        ends[i] = image->segments[i].gva + image->segments[i].mem_bytes;
        if (i + 1 < count && image->segments[i + 1].gva == ends[i])
            ends[i] = ends[i + 1];
    }
    return ends;
}

/* As image_in_data(), but over any number of segments without a gap. */
static bool is_all_data(const struct husk_image *image, const uint64_t *data_ends,
                        uint64_t gva_value, uint64_t bytes) {
    const struct image_segment *segment = data_segment_below(image, gva_value);
    return segment != NULL && gva_value - segment->gva < segment->mem_bytes &&
           gva_value + bytes <= data_ends[segment - image->segments];
}

static bool in_strings(const struct image_code *code, struct husk_image_str str) {
    return str.bytes <= code->strings_count && str.offset <= code->strings_count - str.bytes;
}

static bool is_code_or_zero(const struct image_code *code, uint32_t gva_value) {
    return gva_value == 0 || image_in_text(code, gva_value, 1);
}

/* 0, or the number of an instance that does not exist. */
static uint32_t unknown_instance(const struct image_code *code, uint32_t instance) {
    return instance < code->instances_count ? 0 : instance;
}

static int check_all_known(const struct image_code *code, struct husk_error *err) {
    const uint32_t flags =
        HUSK_IMAGE_NEEDS_INIT | HUSK_IMAGE_SNAPSHOT | HUSK_IMAGE_STRICT | HUSK_IMAGE_FILES;
    const uint32_t limit_flags = HUSK_LIMIT_HAS_MAX | HUSK_LIMIT_IS_64;
    int status = check_known(err, "module", 0, code->module.flags & ~flags);
    for (uint32_t i = 0; i < code->funcs_count && status == 0; i++)
        status = check_known(err, "function", i, unknown_instance(code, code->funcs[i].instance));
    for (uint32_t i = 0; i < code->imports_count && status == 0; i++)
        status = check_known(err, "import", i, unknown_instance(code, code->imports[i].instance));
    for (uint32_t i = 0; i < code->exports_count && status == 0; i++)
        status = check_known(err, "export", i, unknown_instance(code, code->exports[i].instance));
    for (uint32_t i = 0; i < code->imports_count && status == 0; i++)
        status = check_kind(err, "import", i, code->imports[i].kind);
    for (uint32_t i = 0; i < code->exports_count && status == 0; i++)
        status = check_kind(err, "export", i, code->exports[i].kind);
    for (uint32_t i = 0; i < code->memories_count && status == 0; i++)
        status = check_known(err, "memory", i,
                             (code->memories[i].flags & ~(limit_flags | HUSK_LIMIT_SHARED)) |
                                 unknown_instance(code, code->memories[i].instance) |
                                 code->memories[i].zero);
    for (uint32_t i = 0; i < code->tables_count && status == 0; i++)
        status = check_known(err, "table", i,
                             (code->tables[i].flags & ~limit_flags) |
                                 unknown_instance(code, code->tables[i].instance));
    for (uint32_t i = 0; i < code->globals_count && status == 0; i++)
        status = check_known(err, "global", i,
                             (code->globals[i].flags & ~HUSK_GLOBAL_MUTABLE) |
                                 unknown_instance(code, code->globals[i].instance));
    for (uint32_t i = 0; i < code->tags_count && status == 0; i++)
        status = check_known(err, "tag", i, unknown_instance(code, code->tags[i].instance));
    return status;
}

static int check_header(const struct image_code *code, struct husk_error *err) {
    const struct husk_image_module *module = &code->module;
    if (module->entry_gva != code->elf_entry)
        return bad_row(err, "module", 0, "its dispatcher is not the ELF header's entry point");
    if (!image_in_text(code, module->entry_gva, 1) || !image_in_text(code, module->resume_gva, 1))
        return bad_row(err, "module", 0, "the dispatcher's addresses are outside the text");
    if (!is_code_or_zero(code, module->init_gva) || !is_code_or_zero(code, module->init_thunk_gva))
        return bad_row(err, "module", 0, "the init function is outside the text");
    if ((module->flags & HUSK_IMAGE_NEEDS_INIT) != 0 && (module->flags & HUSK_IMAGE_SNAPSHOT) != 0)
        return bad_row(err, "module", 0, "a snapshot that still needs initialisation");
    if ((module->flags & HUSK_IMAGE_NEEDS_INIT) != 0 &&
        (module->init_gva == 0 || module->init_thunk_gva == 0))
        return bad_row(err, "module", 0, "needs initialisation, but has no init function");
    if (!is_code_or_zero(code, code->routines.many_gva) ||
        !is_code_or_zero(code, code->routines.bytes_gva))
        return bad_row(err, "routines", 0, "outside the text");
    if (!in_strings(code, module->compiler) || !in_strings(code, module->target_cpu) ||
        !in_strings(code, module->name))
        return bad_row(err, "module", 0, "a name outside the strings");
    return 0;
}

static int check_instances(const struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->instances_count; i++) {
        const struct husk_image_instance *instance = &code->instances[i];
        int status = check_known(err, "instance", i, instance->flags);
        if (status != 0)
            return status;
        if (!in_strings(code, instance->name))
            return bad_row(err, "instance", i, "its name is outside the strings");
        if (!is_code_or_zero(code, instance->init_gva))
            return bad_row(err, "instance", i, "its init function is outside the text");
        if (instance->init_gva != 0 && code->module.init_thunk_gva == 0)
            return bad_row(err, "instance", i, "an init function without a thunk");
        if (instance->memory_idx != UINT32_MAX && instance->memory_idx >= code->memories_count)
            return bad_row(err, "instance", i, "no such memory");
    }
    return 0;
}

static int check_valtype(struct husk_error *err, const char *array, uint64_t idx, valtype_t type) {
    if (valtype_to_byte(type) != 0)
        return 0;
    if (valtype_kind(type) == VALTYPE_NONE)
        return bad_row(err, array, idx, "no such type");
    return error_set(err, HUSK_E_IMAGE_VERSION,
                     "%s %llu: a type (0x%x) that this husk does not know" IMAGE_IS_NEWER, array,
                     (unsigned long long)idx, type);
}

static int check_types(const struct image_code *code, struct husk_error *err) {
    int status = 0;
    for (uint32_t i = 0; i < code->valtypes_count && status == 0; i++)
        status = check_valtype(err, "value type", i, code->valtypes[i]);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < code->types_count; i++) {
        const struct husk_image_type *type = &code->types[i];
        if (type->params_count > LIMIT_ARITY || type->results_count > LIMIT_ARITY)
            return bad_row(err, "type", i, "more than 1,000 parameters or results");
        uint32_t count = type->params_count + type->results_count;
        if (count > code->valtypes_count || type->valtypes_idx > code->valtypes_count - count)
            return bad_row(err, "type", i, "outside the value types");
        if (!is_code_or_zero(code, type->thunk_gva))
            return bad_row(err, "type", i, "its thunk is outside the text");
    }
    return 0;
}

static int check_funcs(const struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->funcs_count; i++) {
        const struct husk_image_func *func = &code->funcs[i];
        if (func->type_idx >= code->types_count)
            return bad_row(err, "function", i, "no such type");
        if (func->code_gva != 0 && !image_in_text(code, func->code_gva, func->code_bytes))
            return bad_row(err, "function", i, "its code is outside the text");
        if (!in_strings(code, func->name))
            return bad_row(err, "function", i, "its name is outside the strings");
    }
    return 0;
}

/* How many there are in an index space; imports fill the first of each. */
static uint32_t kind_count(const struct image_code *code, uint32_t kind) {
    switch (kind) {
    case HUSK_ABI_FUNC: return code->funcs_count;
    case HUSK_ABI_TABLE: return code->tables_count;
    case HUSK_ABI_MEMORY: return code->memories_count;
    case HUSK_ABI_GLOBAL: return code->globals_count;
    case HUSK_ABI_TAG: return code->tags_count;
    default: return 0;
    }
}

static int check_imports(struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->imports_count; i++) {
        const struct husk_image_import *import = &code->imports[i];
        if (import->idx >= kind_count(code, import->kind))
            return bad_row(err, "import", i, "no such function, table, memory, global or tag");
        if (import->idx != code->imported_count[import->kind])
            return bad_row(err, "import", i,
                           "imports must come first in their index space, in order");
        code->imported_count[import->kind]++;
        if (!in_strings(code, import->module) || !in_strings(code, import->name))
            return bad_row(err, "import", i, "its name is outside the strings");
    }
    return 0;
}

static int check_exports(const struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->exports_count; i++) {
        const struct husk_image_export *export = &code->exports[i];
        if (export->idx >= kind_count(code, export->kind))
            return bad_row(err, "export", i, "no such function, table, memory, global or tag");
        if (!in_strings(code, export->name))
            return bad_row(err, "export", i, "its name is outside the strings");
    }
    return 0;
}

#define MAX_PAGES_64_BIT (UINT64_C(1) << 48) /* 64-bit addresses reach no more */

/* Only the maximum of a 64-bit memory may be more than it can have. */
static bool memory_limits_are_possible(const struct husk_image_memory *memory) {
    const bool is_64 = (memory->flags & HUSK_LIMIT_IS_64) != 0;
    return memory->min_pages <= memory->max_pages &&
           memory->min_pages <= image_memory_pages_most(memory) &&
           memory->max_pages <= (is_64 ? MAX_PAGES_64_BIT : HUSK_MAX_MEM_PAGES);
}

static int check_memories(const struct husk_image *image, struct husk_error *err) {
    for (uint32_t i = 0; i < image->code->memories_count; i++) {
        const struct husk_image_memory *memory = &image->code->memories[i];
        if (!memory_limits_are_possible(memory))
            return bad_row(err, "memory", i, "impossible limits");
        if (memory->size_gva % 8 != 0 || !image_in_data(image, memory->size_gva, 8))
            return bad_row(err, "memory", i, "its size word is outside the data");
        if (image->memory_sizes[i] < memory->min_pages ||
            image->memory_sizes[i] > memory->max_pages ||
            image->memory_sizes[i] > image_memory_pages_most(memory))
            return bad_row(err, "memory", i, "its size is outside its limits");
        /* A snapshot's guest may have overwritten its own copy: that is its business alone. */
        if (!image->is_snapshot && image_data_u64(image, memory->size_gva) != memory->min_pages)
            return bad_row(err, "memory", i, "its size word is not the declared size");
    }
    return 0;
}

/* Initialised parts of memories lie within their initial size. */
static int check_memory_segments(const struct husk_image *image, struct husk_error *err) {
    for (uint32_t i = image->data_segments_count; i < image->segments_count; i++) {
        const struct image_segment *segment = &image->segments[i];
        uint64_t mem_idx = 0;
        if (husk_is_files_gva(segment->gva) || image_is_stack_gva(segment->gva))
            continue;
        if (segment->gva >= HUSK_MEM1_BASE_GVA)
            mem_idx = (segment->gva - HUSK_MEM1_BASE_GVA) / HUSK_MEM_STRIDE;
        if (mem_idx >= image->code->memories_count ||
            segment->gva < husk_mem_gva((uint32_t)mem_idx))
            return bad_row(err, "segment", i, "not in any memory");
        uint64_t offset = segment->gva - husk_mem_gva((uint32_t)mem_idx);
        uint64_t size = image->memory_sizes[mem_idx] * HUSK_WASM_PAGE_SIZE;
        if (segment->mem_bytes > size || offset > size - segment->mem_bytes)
            return bad_row(err, "segment", i, "beyond its memory's initial size");
    }
    return 0;
}

/* Only a snapshot has a private layer, and says so: a husk that knows none refuses it. The last of
 * the segments ends at files_bytes. */
static int check_files_segments(const struct husk_image *image, struct husk_error *err) {
    const bool has_files = (image->flags & HUSK_IMAGE_FILES) != 0;
    if (has_files != (image->files_bytes != 0) || (has_files && !image->is_snapshot))
        return error_set(err, HUSK_E_BAD_IMAGE, "the private layer: %s",
                         !has_files            ? "it has segments, but no flag"
                         : !image->is_snapshot ? "only a snapshot can have one"
                                               : "it has a flag, but no segment");
    if (image->files_bytes > HUSK_FILES_MAX_BYTES)
        return error_set(
            err, HUSK_E_BAD_IMAGE, "the private layer has %llu bytes, more than the limit of %llu",
            (unsigned long long)image->files_bytes, (unsigned long long)HUSK_FILES_MAX_BYTES);
    return 0;
}

/* The pages that a table may grow into are nobody else's: neither a segment's nor another
 * table's. */
static bool is_reserve_free(const struct husk_image *image, uint64_t from, uint64_t to) {
    const struct image_segment *segment = data_segment_below(image, to - 1);
    return segment == NULL || segment->gva + segment->mem_bytes <= from;
}

static int check_growth(const struct husk_image *image, uint32_t idx, uint64_t *last_end,
                        struct husk_error *err) {
    const struct husk_image_table *table = &image->code->tables[idx];
    const uint64_t entries = image->table_sizes[idx];
    if (table->reserve_entries == entries)
        return 0;
    uint64_t used_end = page_up(table->base_gva + 8 * entries);
    uint64_t end = table->base_gva + 8ull * table->reserve_entries;
    if (table->base_gva % HUSK_PAGE_SIZE != 0 || table->base_gva < *last_end)
        return bad_row(err, "table", idx,
                       "growable tables must have pages of their own, in ascending order");
    if (end > used_end && !is_reserve_free(image, used_end, end))
        return bad_row(err, "table", idx, "its reserve overlaps other data");
    *last_end = page_up(end);
    return 0;
}

static int check_each_table(const struct husk_image *image, const uint64_t *data_ends,
                            struct husk_error *err) {
    uint64_t last_end = 0;
    for (uint32_t i = 0; i < image->code->tables_count; i++) {
        const struct husk_image_table *table = &image->code->tables[i];
        uint64_t reserve_bytes = (uint64_t)table->reserve_entries * 8;
        int status = check_valtype(err, "table", i, table->elem_type);
        if (status != 0)
            return status;
        if (!valtype_is_ref(table->elem_type))
            return bad_row(err, "table", i, "not of references");
        const bool is_64 = (table->flags & HUSK_LIMIT_IS_64) != 0;
        if (table->min_entries > table->max_entries ||
            (!is_64 && table->max_entries > UINT32_MAX) ||
            image->table_sizes[i] < table->min_entries ||
            image->table_sizes[i] > table->reserve_entries)
            return bad_row(err, "table", i, "impossible limits");
        if (table->base_gva % 8 != 0 || table->base_gva < HUSK_DATA_GVA ||
            table->base_gva > HUSK_DATA_END_GVA ||
            reserve_bytes > HUSK_DATA_END_GVA - table->base_gva)
            return bad_row(err, "table", i, "outside the data region");
        if (image->table_sizes[i] > 0 &&
            !is_all_data(image, data_ends, table->base_gva, image->table_sizes[i] * 8))
            return bad_row(err, "table", i, "its entries are outside the data");
        if (table->size_gva % 8 != 0 || !image_in_data(image, table->size_gva, 8))
            return bad_row(err, "table", i, "its size word is outside the data");
        if (!image->is_snapshot && image_data_u64(image, table->size_gva) != table->min_entries)
            return bad_row(err, "table", i, "its size word is not the declared size");
        status = check_growth(image, i, &last_end, err);
        if (status != 0)
            return status;
    }
    return 0;
}

static int check_tables(const struct husk_image *image, struct husk_error *err) {
    auto_free uint64_t *data_ends = data_ends_make(image);
    if (data_ends == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to check the image's tables");
    return check_each_table(image, data_ends, err);
}

static int check_globals(const struct husk_image *image, struct husk_error *err) {
    for (uint32_t i = 0; i < image->code->globals_count; i++) {
        const struct husk_image_global *global = &image->code->globals[i];
        int status = check_valtype(err, "global", i, global->type);
        if (status != 0)
            return status;
        if (global->gva % 16 != 0 || !image_in_data(image, global->gva, 16))
            return bad_row(err, "global", i, "outside the data");
    }
    return 0;
}

/* An exception of every tag fits into the pending exception, if there is one: then its values are
 * read, and a host function may write them, without another look at the type. */
static int check_tags(const struct image_code *code, struct husk_error *err) {
    const struct husk_image_module *module = &code->module;
    for (uint32_t i = 0; i < code->tags_count; i++) {
        if (code->tags[i].type_idx >= code->types_count)
            return bad_row(err, "tag", i, "no such type");
        const struct husk_image_type *type = &code->types[code->tags[i].type_idx];
        if (type->results_count != 0)
            return bad_row(err, "tag", i, "its type has results");
        if (module->exception_gva != 0 && type->params_count > module->exception_values)
            return bad_row(err, "tag", i, "an exception has no room for its values");
    }
    return 0;
}

static int check_exceptions(const struct husk_image *image, struct husk_error *err) {
    const struct husk_image_module *module = &image->code->module;
    const uint32_t exception_gva = module->exception_gva, slots_gva = module->exception_slots_gva;
    if (exception_gva == 0 &&
        (module->throw_gva != 0 || module->exception_values != 0 || slots_gva != 0))
        return bad_row(err, "module", 0, "exceptions without a place for the pending one");
    if (!is_code_or_zero(image->code, module->throw_gva))
        return bad_row(err, "module", 0, "the code that throws is outside the text");
    if (module->exception_values > LIMIT_ARITY)
        return bad_row(err, "module", 0, "an exception has too many values");
    if (exception_gva % HUSK_SLOT_BYTES != 0 || slots_gva % HUSK_SLOT_BYTES != 0)
        return bad_row(err, "module", 0, "exceptions are not aligned");
    if (exception_gva != 0 &&
        !image_in_data(image, exception_gva, image_exception_bytes(image->code)))
        return bad_row(err, "module", 0, "the pending exception is outside the data");
    if (slots_gva == 0)
        return 0;
    auto_free uint64_t *data_ends = data_ends_make(image);
    if (data_ends == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to check the image's exceptions");
    if (!is_all_data(image, data_ends, slots_gva, image_exception_slot_bytes(image->code)))
        return bad_row(err, "module", 0, "the exception slots are outside the data");
    return 0;
}

static int check_code_rows(const struct image_code *code, struct husk_error *err) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < code->code_rows_count; i++) {
        const struct husk_image_code_row *row = &code->code_rows[i];
        if (row->func_idx < HUSK_FUNC_RUNTIME && row->func_idx >= code->funcs_count)
            return bad_row(err, "code row", i, "no such function");
        if (row->code_gva < last)
            return bad_row(err, "code row", i, "out of order");
        last = row->code_gva;
    }
    last = 0;
    for (uint32_t i = 0; i < code->unwind_rows_count; i++) {
        if (code->unwind_rows[i].code_gva < last)
            return bad_row(err, "unwind row", i, "out of order");
        last = code->unwind_rows[i].code_gva;
    }
    return 0;
}

static int check_inlined(const struct image_code *code, struct husk_error *err) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < code->inlined_rows_count; i++) {
        if (code->inlined_rows[i].call > code->inlined_calls_count)
            return bad_row(err, "inlined row", i, "no such call");
        if (code->inlined_rows[i].code_gva < last)
            return bad_row(err, "inlined row", i, "out of order");
        last = code->inlined_rows[i].code_gva;
    }
    for (uint32_t i = 0; i < code->inlined_calls_count; i++) {
        if (code->inlined_calls[i].func_idx >= code->funcs_count)
            return bad_row(err, "inlined call", i, "no such function");
        if (code->inlined_calls[i].outer > i)
            return bad_row(err, "inlined call", i, "its outer call does not come before it");
    }
    return 0;
}

static int check_lines(const struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->files_count; i++)
        if (!in_strings(code, code->files[i]))
            return bad_row(err, "source file", i, "its name is outside the strings");
    uint64_t last = 0;
    for (uint32_t i = 0; i < code->lines_count; i++) {
        const struct husk_image_line_row *row = &code->lines[i];
        if (row->file_idx != UINT32_MAX && row->file_idx >= code->files_count)
            return bad_row(err, "line row", i, "no such file");
        if (row->wasm_offset < last)
            return bad_row(err, "line row", i, "out of order");
        last = row->wasm_offset;
    }
    return 0;
}

/* Whole pages of writable memory, each once: hosts write to them before the guest runs. */
static int check_hot_pages(const struct husk_image *image, struct husk_error *err) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < image->hot_count; i++) {
        const uint64_t page_gva = image->hot_gvas[i];
        if (page_gva % HUSK_PAGE_SIZE != 0 || page_gva < HUSK_DATA_GVA)
            return bad_row(err, "hot page", i, "not a page of writable memory");
        if (page_gva <= last)
            return bad_row(err, "hot page", i, "out of order");
        last = page_gva;
    }
    return 0;
}

bool image_state_next(const struct husk_image *image, uint32_t *at, struct image_state *ret_state) {
    struct husk_image_host_state row;
    uint64_t left = image->host_state_count - *at;
    if (left < sizeof row)
        return false;
    memcpy(&row, image->host_state + *at, sizeof row);
    left -= sizeof row;
    const uint64_t name_room = ((uint64_t)row.name_bytes + 7) & ~7ull;
    const uint64_t state_room = ((uint64_t)row.state_bytes + 7) & ~7ull;
    if (row.name_bytes == 0 || name_room > left || state_room > left - name_room)
        return false;
    const uint8_t *name = image->host_state + *at + sizeof row;
    *ret_state = (struct image_state){.name = (const char *)name,
                                      .name_bytes = row.name_bytes,
                                      .state = name + name_room,
                                      .state_bytes = row.state_bytes};
    *at += (uint32_t)(sizeof row + name_room + state_room);
    return true;
}

/* Records up to the end: a damaged one would else be taken for none, and the instance start with
 * fresh state. What is in them, the families of host functions check when they bring it back. */
static int check_host_state(const struct husk_image *image, struct husk_error *err) {
    struct image_state state;
    uint32_t at = 0, count = 0;
    while (image_state_next(image, &at, &state))
        count++;
    return at == image->host_state_count
               ? 0
               : bad_row(err, "host state", count, "the record does not lie in the host state");
}

int image_check(const struct husk_image *image, struct husk_error *err) {
    struct image_code *code = image->code;
    int status = check_all_known(code, err);
    if (status == 0)
        status = check_header(code, err);
    if (status == 0)
        status = check_instances(code, err);
    if (status == 0)
        status = check_types(code, err);
    if (status == 0)
        status = check_funcs(code, err);
    if (status == 0)
        status = check_imports(code, err);
    if (status == 0)
        status = check_exports(code, err);
    if (status == 0)
        status = check_memories(image, err);
    if (status == 0)
        status = check_memory_segments(image, err);
    if (status == 0)
        status = check_files_segments(image, err);
    if (status == 0)
        status = check_tables(image, err);
    if (status == 0)
        status = check_globals(image, err);
    if (status == 0)
        status = check_tags(code, err);
    if (status == 0)
        status = check_exceptions(image, err);
    if (status == 0)
        status = check_code_rows(code, err);
    if (status == 0)
        status = check_inlined(code, err);
    if (status == 0)
        status = check_lines(code, err);
    if (status == 0)
        status = check_hot_pages(image, err);
    if (status == 0)
        status = check_host_state(image, err);
    if (status == 0)
        status = image_check_standing(image, err);
    return status;
}
