/*
 * host/image/image_check_data.c: checks the rows that say where state lies in the guest's memory:
 * memories, tables, globals, the pending exception, hot pages, and the segments with contents; see
 * image_check.c. Such an address is checked here, and used by the host without another look.
 */
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "error.h"
#include "host_limits.h"
#include "image_check.h"
#include "image_internal.h"
#include "pages.h"
#include "rows.h"

#define MAX_PAGES_64_BIT (UINT64_C(1) << 48) /* 64-bit addresses reach no more */

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
            return image_bad_row(err, "memory", i, "impossible limits");
        if (memory->size_gva % 8 != 0 || !image_in_data(image, memory->size_gva, 8))
            return image_bad_row(err, "memory", i, "its size word is outside the data");
        if (image->memory_sizes[i] < memory->min_pages ||
            image->memory_sizes[i] > memory->max_pages ||
            image->memory_sizes[i] > image_memory_pages_most(memory))
            return image_bad_row(err, "memory", i, "its size is outside its limits");
        /* A snapshot's guest may have overwritten its own copy: that is its business alone. */
        if (!image->is_snapshot && image_data_u64(image, memory->size_gva) != memory->min_pages)
            return image_bad_row(err, "memory", i, "its size word is not the declared size");
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
            return image_bad_row(err, "segment", i, "not in any memory");
        uint64_t offset = segment->gva - husk_mem_gva((uint32_t)mem_idx);
        uint64_t size = image->memory_sizes[mem_idx] * HUSK_WASM_PAGE_SIZE;
        if (segment->mem_bytes > size || offset > size - segment->mem_bytes)
            return image_bad_row(err, "segment", i, "beyond its memory's initial size");
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
        return image_bad_row(err, "table", idx,
                             "growable tables must have pages of their own, in ascending order");
    if (end > used_end && !is_reserve_free(image, used_end, end))
        return image_bad_row(err, "table", idx, "its reserve overlaps other data");
    *last_end = page_up(end);
    return 0;
}

static int check_each_table(const struct husk_image *image, const uint64_t *data_ends,
                            struct husk_error *err) {
    uint64_t last_end = 0;
    for (uint32_t i = 0; i < image->code->tables_count; i++) {
        const struct husk_image_table *table = &image->code->tables[i];
        uint64_t reserve_bytes = (uint64_t)table->reserve_entries * 8;
        int status = image_check_valtype(err, "table", i, table->elem_type);
        if (status != 0)
            return status;
        if (!valtype_is_ref(table->elem_type))
            return image_bad_row(err, "table", i, "not of references");
        const bool is_64 = (table->flags & HUSK_LIMIT_IS_64) != 0;
        if (table->min_entries > table->max_entries ||
            (!is_64 && table->max_entries > UINT32_MAX) ||
            image->table_sizes[i] < table->min_entries ||
            image->table_sizes[i] > table->reserve_entries)
            return image_bad_row(err, "table", i, "impossible limits");
        if (table->base_gva % 8 != 0 || table->base_gva < HUSK_DATA_GVA ||
            table->base_gva > HUSK_DATA_END_GVA ||
            reserve_bytes > HUSK_DATA_END_GVA - table->base_gva)
            return image_bad_row(err, "table", i, "outside the data region");
        if (image->table_sizes[i] > 0 &&
            !is_all_data(image, data_ends, table->base_gva, image->table_sizes[i] * 8))
            return image_bad_row(err, "table", i, "its entries are outside the data");
        if (table->size_gva % 8 != 0 || !image_in_data(image, table->size_gva, 8))
            return image_bad_row(err, "table", i, "its size word is outside the data");
        if (!image->is_snapshot && image_data_u64(image, table->size_gva) != table->min_entries)
            return image_bad_row(err, "table", i, "its size word is not the declared size");
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
        int status = image_check_valtype(err, "global", i, global->type);
        if (status != 0)
            return status;
        if (global->gva % 16 != 0 || !image_in_data(image, global->gva, 16))
            return image_bad_row(err, "global", i, "outside the data");
    }
    return 0;
}

/* An exception of every tag fits into the pending exception, if there is one: then its values are
 * read, and a host function may write them, without another look at the type. */
static int check_tags(const struct image_code *code, struct husk_error *err) {
    const struct husk_image_module *module = &code->module;
    for (uint32_t i = 0; i < code->tags_count; i++) {
        if (code->tags[i].type_idx >= code->types_count)
            return image_bad_row(err, "tag", i, "no such type");
        const struct husk_image_type *type = &code->types[code->tags[i].type_idx];
        if (type->results_count != 0)
            return image_bad_row(err, "tag", i, "its type has results");
        if (module->exception_gva != 0 && type->params_count > module->exception_values)
            return image_bad_row(err, "tag", i, "an exception has no room for its values");
    }
    return 0;
}

static int check_exceptions(const struct husk_image *image, struct husk_error *err) {
    const struct husk_image_module *module = &image->code->module;
    const uint32_t exception_gva = module->exception_gva, slots_gva = module->exception_slots_gva;
    if (exception_gva == 0 &&
        (module->throw_gva != 0 || module->exception_values != 0 || slots_gva != 0))
        return image_bad_row(err, "module", 0, "exceptions without a place for the pending one");
    if (!image_is_code_or_zero(image->code, module->throw_gva))
        return image_bad_row(err, "module", 0, "the code that throws is outside the text");
    if (module->exception_values > LIMIT_ARITY)
        return image_bad_row(err, "module", 0, "an exception has too many values");
    if (exception_gva % HUSK_SLOT_BYTES != 0 || slots_gva % HUSK_SLOT_BYTES != 0)
        return image_bad_row(err, "module", 0, "exceptions are not aligned");
    if (exception_gva != 0 &&
        !image_in_data(image, exception_gva, image_exception_bytes(image->code)))
        return image_bad_row(err, "module", 0, "the pending exception is outside the data");
    if (slots_gva == 0)
        return 0;
    auto_free uint64_t *data_ends = data_ends_make(image);
    if (data_ends == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to check the image's exceptions");
    if (!is_all_data(image, data_ends, slots_gva, image_exception_slot_bytes(image->code)))
        return image_bad_row(err, "module", 0, "the exception slots are outside the data");
    return 0;
}

/* Whole pages of writable memory, each once: hosts write to them before the guest runs. */
static int check_hot_pages(const struct husk_image *image, struct husk_error *err) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < image->hot_count; i++) {
        const uint64_t page_gva = image->hot_gvas[i];
        if (page_gva % HUSK_PAGE_SIZE != 0 || page_gva < HUSK_DATA_GVA)
            return image_bad_row(err, "hot page", i, "not a page of writable memory");
        if (page_gva <= last)
            return image_bad_row(err, "hot page", i, "out of order");
        last = page_gva;
    }
    return 0;
}

int image_check_data(const struct husk_image *image, struct husk_error *err) {
    int status = check_memories(image, err);
    if (status == 0)
        status = check_memory_segments(image, err);
    if (status == 0)
        status = check_files_segments(image, err);
    if (status == 0)
        status = check_tables(image, err);
    if (status == 0)
        status = check_globals(image, err);
    if (status == 0)
        status = check_tags(image->code, err);
    if (status == 0)
        status = check_exceptions(image, err);
    if (status == 0)
        status = check_hot_pages(image, err);
    return status;
}
