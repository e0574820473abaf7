/* host/instance/sizing_make.c: see sizing_make.h. */
#include "sizing_make.h"

#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "pages.h"
#include "zeroed.h"

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static const char *name_of(const husk_image *image) {
    return image->is_snapshot ? "snapshot" : "module";
}

static int arrays_new(struct sizing *sizing, const husk_image *image, struct husk_error *err) {
    const struct image_code *code = image->code;
    const size_t count = sizing_words(code->memories_count, code->tables_count) + 1;
    uint64_t *words = zeroed_new(count * sizeof *words);
    if (words == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox");
    sizing_place(sizing, words, code->memories_count, code->tables_count);
    return 0;
}

/* Memories have the image's sizes. Imported memories of a compiled image have the size of their
 * definition. */
static int size_memories(struct sizing *sizing, const husk_image *image,
                         const struct linkage *linkage, struct husk_error *err) {
    const struct image_code *code = image->code;
    uint64_t total = 0;
    for (uint32_t i = 0; i < code->memories_count; i++) {
        const struct import_def *def =
            i < code->imported_count[HUSK_ABI_MEMORY] ? linkage->memory_defs[i] : NULL;
        uint64_t pages = def != NULL && !image->is_snapshot ? def->min : image->memory_sizes[i];
        uint64_t max_pages = min_u64(def != NULL ? def->max : code->memories[i].max_pages,
                                     image_memory_pages_most(&code->memories[i]));
        if (pages > max_pages)
            return error_set(
                err, HUSK_E_LIMIT,
                "memory %u has %llu pages in the snapshot; the import given allows %llu", i,
                (unsigned long long)pages, (unsigned long long)max_pages);
        sizing->memory_bytes[i] = pages * HUSK_WASM_PAGE_SIZE;
        total += sizing->memory_bytes[i];
        sizing->memory_max_pages[i] =
            min_u64(max_pages, sizing->memory_max_bytes / HUSK_WASM_PAGE_SIZE);
    }
    if (total > sizing->memory_max_bytes)
        return error_set(
            err, HUSK_E_LIMIT,
            "the %s starts with %llu bytes of linear memory; memory_max_bytes is %llu%s",
            name_of(image), (unsigned long long)total, (unsigned long long)sizing->memory_max_bytes,
            code->data_excess_bytes != 0 ? ", less what the image's data region has" : "");
    return 0;
}

/* The part of the data region without a reason counts as memory. It is never given back, so the
 * limit shrinks by it. */
static int charge_data(struct sizing *sizing, const husk_image *image, uint64_t limit,
                       struct husk_error *err) {
    const struct image_code *code = image->code;
    sizing->memory_max_bytes = UINT64_MAX;
    if (limit == 0)
        return 0;
    if (code->data_excess_bytes > limit)
        return error_set(
            err, HUSK_E_LIMIT,
            "the image's data region has %llu bytes more than its tables and globals need and its "
            "file has; memory_max_bytes, which they count against, is %llu",
            (unsigned long long)code->data_excess_bytes, (unsigned long long)limit);
    sizing->memory_max_bytes = limit - code->data_excess_bytes;
    return 0;
}

/* Entries of all tables, now and when the module starts. They may differ in a snapshot. */
struct table_totals {
    uint64_t now, at_start;
};

static int initial_tables(struct sizing *sizing, const husk_image *image,
                          const struct linkage *linkage, struct table_totals *ret_totals,
                          struct husk_error *err) {
    const struct image_code *code = image->code;
    struct table_totals totals = {0};
    for (uint32_t i = 0; i < code->tables_count; i++) {
        const struct import_def *def =
            i < code->imported_count[HUSK_ABI_TABLE] ? linkage->table_defs[i] : NULL;
        uint64_t start = def != NULL ? def->min : code->tables[i].min_entries;
        uint64_t entries = image->is_snapshot ? image->table_sizes[i] : start;
        if (entries > code->tables[i].reserve_entries)
            return error_set(
                err, HUSK_E_LIMIT,
                "imported table %u starts with %llu entries; the image has room for %u", i,
                (unsigned long long)entries, code->tables[i].reserve_entries);
        if (def != NULL && entries > def->max)
            return error_set(
                err, HUSK_E_LIMIT,
                "table %u has %llu entries in the snapshot; the import given allows %llu", i,
                (unsigned long long)entries, (unsigned long long)def->max);
        sizing->table_entries[i] = entries;
        totals.now += entries;
        totals.at_start += start;
    }
    *ret_totals = totals;
    return 0;
}

static uint64_t table_max(const struct sizing *sizing, const husk_image *image,
                          const struct linkage *linkage, uint32_t idx) {
    const struct husk_image_table *table = &image->code->tables[idx];
    const struct import_def *def =
        idx < image->code->imported_count[HUSK_ABI_TABLE] ? linkage->table_defs[idx] : NULL;
    uint64_t max = def != NULL ? def->max : table->max_entries;
    max = min_u64(max, min_u64(table->reserve_entries, sizing->table_max_total));
    return max < sizing->table_entries[idx] ? sizing->table_entries[idx] : max;
}

/* If no limit is given, use the module's, and not the size to which a snapshot has grown. So all
 * states of one module fit the same arena, and a restore never has to build another arena. */
static int limit_tables(struct sizing *sizing, const husk_image *image,
                        const struct table_totals *totals, uint64_t limit, struct husk_error *err) {
    sizing->table_max_total = limit;
    if (limit == 0)
        sizing->table_max_total = totals->at_start > LIMIT_TABLE_ENTRIES_DEFAULT
                                      ? totals->at_start
                                      : LIMIT_TABLE_ENTRIES_DEFAULT;
    if (totals->now > sizing->table_max_total)
        return error_set(err, HUSK_E_LIMIT,
                         "the %s starts with %llu table entries; table_max_entries is %llu",
                         name_of(image), (unsigned long long)totals->now,
                         (unsigned long long)sizing->table_max_total);
    return 0;
}

static int size_tables(struct sizing *sizing, const husk_image *image,
                       const struct linkage *linkage, uint64_t limit, struct husk_error *err) {
    uint64_t data_end = HUSK_DATA_GVA;
    struct table_totals totals = {0};
    for (uint32_t i = 0; i < image->data_segments_count; i++)
        data_end = image->segments[i].gva + image->segments[i].mem_bytes;
    int status = initial_tables(sizing, image, linkage, &totals, err);
    if (status == 0)
        status = limit_tables(sizing, image, &totals, limit, err);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < image->code->tables_count; i++) {
        sizing->table_max_entries[i] = table_max(sizing, image, linkage, i);
        uint64_t end = page_up(image->code->tables[i].base_gva + 8 * sizing->table_max_entries[i]);
        data_end = end > data_end ? end : data_end;
    }
    sizing->data_bytes = page_up(data_end - HUSK_DATA_GVA);
    return 0;
}

/* The private layer has the size that the linked functions ask for, whatever the image has: so all
 * states of one module fit the same arena, as with tables. */
static int size_files(struct sizing *sizing, const husk_image *image, const struct linkage *linkage,
                      struct husk_error *err) {
    const uint64_t most = linkage_files_bytes(linkage);
    if (most > HUSK_FILES_MAX_BYTES)
        return error_set(err, HUSK_E_LIMIT,
                         "private directories may have %llu bytes together, and are given %llu",
                         (unsigned long long)HUSK_FILES_MAX_BYTES, (unsigned long long)most);
    if (image->files_bytes > 0 && most == 0)
        return error_set(
            err, HUSK_E_LIMIT,
            "the snapshot's private directories have %llu bytes, and the imports given have no "
            "private directory; give the directories that it was taken with",
            (unsigned long long)image->files_bytes);
    if (image->files_bytes > page_up(most))
        return error_set(err, HUSK_E_LIMIT,
                         "the snapshot's private directories have %llu bytes; those of the imports "
                         "given may have %llu",
                         (unsigned long long)image->files_bytes, (unsigned long long)most);
    sizing->files_bytes = image->files_bytes;
    sizing->files_max_bytes = page_up(most);
    return 0;
}

/* All of the sandbox's stack is there, so it need only be large enough. */
static int check_stack(const husk_image *image, uint64_t stack_bytes, struct husk_error *err) {
    const uint64_t bytes = HUSK_STACK_TOP_GVA - image_stack_gva(image);
    return bytes <= stack_bytes
               ? 0
               : error_set(err, HUSK_E_LIMIT,
                           "the call that stands in the snapshot has %llu bytes on its stack; "
                           "stack_bytes is %llu",
                           (unsigned long long)bytes, (unsigned long long)stack_bytes);
}

int sizing_make(struct sizing *sizing, const husk_image *image, const struct linkage *linkage,
                const struct husk_sandbox_options *limits, struct husk_error *err) {
    *sizing = (struct sizing){0};
    int status = arrays_new(sizing, image, err);
    if (status != 0)
        return status;
    status = charge_data(sizing, image, limits->memory_max_bytes, err);
    if (status == 0)
        status = size_memories(sizing, image, linkage, err);
    if (status == 0)
        status = size_tables(sizing, image, linkage, limits->table_max_entries, err);
    if (status == 0)
        status = size_files(sizing, image, linkage, err);
    if (status == 0)
        status = check_stack(image, limits->stack_bytes, err);
    if (status != 0)
        sizing_done(sizing);
    return status;
}
