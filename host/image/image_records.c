/*
 * host/image/image_records.c: reads the husk note: header, table of records, and the place of each
 * record's rows. abi/image.h has the rules for images of older and newer versions, which are read,
 * or refused with the name of the unknown part.
 *
 * Rows are used in place, in the file's bytes, which are hostile but constant (image_file.c). Rows
 * that cannot be read as structs are copied: the note is not aligned, or the rows are longer or
 * shorter than those of this version.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "image_records.h"
#include "layout.h"

/* Of each record of the table: one without a line here does not compile. */
#define ROWS_MAX_MODULE 1u
#define ROWS_MAX_STRINGS LIMIT_STRING_BYTES
#define ROWS_MAX_VALTYPES LIMIT_VALTYPES
#define ROWS_MAX_TYPES LIMIT_TYPES
#define ROWS_MAX_FUNCS LIMIT_FUNCS
#define ROWS_MAX_IMPORTS LIMIT_IMPORTS
#define ROWS_MAX_EXPORTS LIMIT_EXPORTS
#define ROWS_MAX_MEMORIES HUSK_MAX_MEMORIES
#define ROWS_MAX_TABLES LIMIT_TABLES
#define ROWS_MAX_GLOBALS LIMIT_GLOBALS
#define ROWS_MAX_TAGS LIMIT_TAGS
#define ROWS_MAX_INSTANCES LIMIT_INSTANCES
#define ROWS_MAX_CODE_MAP LIMIT_ROWS
#define ROWS_MAX_INLINED_CODE LIMIT_ROWS
#define ROWS_MAX_INLINED_CALLS LIMIT_ROWS
#define ROWS_MAX_UNWIND LIMIT_ROWS
#define ROWS_MAX_ROUTINES 1u
#define ROWS_MAX_SOURCE_FILES LIMIT_FILES
#define ROWS_MAX_LINES LIMIT_ROWS
#define ROWS_MAX_MEMORY_SIZES HUSK_MAX_MEMORIES
#define ROWS_MAX_TABLE_SIZES LIMIT_TABLES
#define ROWS_MAX_HOST_STATE LIMIT_HOST_STATE_BYTES
#define ROWS_MAX_HOT_PAGES LIMIT_HOT_PAGES
#define ROWS_MAX_STANDING 1u
#define ROWS_MAX_STANDING_ARGS LIMIT_ARITY

static const uint32_t rows_max[HUSK_REC_COUNT] = {
#define HUSK_IMAGE_RECORD(id, name, type, first_bytes, flags) ROWS_MAX_##id,
#include "image_records.def"
#undef HUSK_IMAGE_RECORD
};

/* The descriptor while it is read. */
struct note {
    const uint8_t *bytes;
    uint64_t count;
    uint64_t file_offset; /* for messages */
    /* of the records so far: at most `count`, for copies to cost no more than the note */
    uint64_t rows_bytes;
    bool is_there[HUSK_REC_COUNT];
};

static bool is_zero(const uint8_t *bytes, uint64_t count) {
    uint8_t any = 0;
    for (uint64_t i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

static int bad_version(uint16_t format, uint16_t abi, uint64_t at, struct husk_error *err) {
    const bool is_newer = format > HUSK_IMAGE_FORMAT || abi > HUSK_ABI_VERSION;
    return error_at(err, HUSK_E_IMAGE_VERSION, at,
                    "image format %u, ABI %u; this husk reads format %u, ABI %u%s", format, abi,
                    HUSK_IMAGE_FORMAT, HUSK_ABI_VERSION,
                    is_newer ? IMAGE_IS_NEWER : IMAGE_IS_OLDER);
}

/* A structure that may have grown: 4-byte fields, and zeros behind those that are known. */
static int check_growth(const uint8_t *bytes, uint32_t has_bytes, uint32_t known_bytes, uint64_t at,
                        struct husk_error *err) {
    if (has_bytes <= known_bytes || is_zero(bytes + known_bytes, has_bytes - known_bytes))
        return 0;
    return error_at(err, HUSK_E_IMAGE_VERSION, at,
                    "a field that this husk does not know" IMAGE_IS_NEWER);
}

/* As much of it as there is and is known; `known` is zero. */
static void copy_grown(void *known, size_t known_bytes, const uint8_t *bytes, size_t has_bytes) {
    memcpy(known, bytes, has_bytes < known_bytes ? has_bytes : known_bytes);
}

static int check_header(const struct note *note, struct husk_image_header *ret_header,
                        struct husk_error *err) {
    struct husk_image_header header = {0};
    const uint64_t at = note->file_offset, first_bytes = HUSK_IMAGE_HEADER_FIRST_BYTES;
    memcpy(&header, note->bytes, note->count < first_bytes ? note->count : first_bytes);
    if (header.magic != HUSK_IMAGE_MAGIC)
        return error_at(err, HUSK_E_BAD_IMAGE, at, "the husk note has no magic number");
    if (header.format != HUSK_IMAGE_FORMAT || header.abi != HUSK_ABI_VERSION)
        return bad_version(header.format, header.abi,
                           at + offsetof(struct husk_image_header, format), err);
    if (header.header_bytes < first_bytes || header.header_bytes % 8 != 0 ||
        header.header_bytes > note->count)
        return error_at(
            err, HUSK_E_BAD_IMAGE, at + offsetof(struct husk_image_header, header_bytes),
            "a note header of %u bytes in a note of %llu; at least %llu expected",
            header.header_bytes, (unsigned long long)note->count, (unsigned long long)first_bytes);
    if (header.record_bytes < HUSK_IMAGE_RECORD_FIRST_BYTES || header.record_bytes % 8 != 0 ||
        header.records_count > LIMIT_RECORDS ||
        (uint64_t)header.record_bytes * header.records_count > note->count - header.header_bytes)
        return error_at(err, HUSK_E_BAD_IMAGE,
                        at + offsetof(struct husk_image_header, records_count),
                        "a table of %u records of %u bytes does not lie in the note of %llu bytes",
                        header.records_count, header.record_bytes, (unsigned long long)note->count);
    *ret_header = header;
    copy_grown(ret_header, sizeof *ret_header, note->bytes, header.header_bytes);
    return check_growth(note->bytes, header.header_bytes, sizeof header, at, err);
}

/* ---- one record ---- */

static int check_name(const struct husk_image_record *record, uint64_t at, struct husk_error *err) {
    const size_t count = strnlen(record->name, sizeof record->name);
    bool is_name = count > 0 && count < sizeof record->name &&
                   is_zero((const uint8_t *)record->name + count, sizeof record->name - count);
    for (size_t i = 0; i < count; i++)
        is_name = is_name && record->name[i] > ' ' && record->name[i] <= '~';
    return is_name ? 0 : error_at(err, HUSK_E_BAD_IMAGE, at, "a record whose name is not one");
}

static int check_place(struct note *note, const struct husk_image_record *record, uint64_t at,
                       struct husk_error *err) {
    if (record->offset % 8 == 0 && record->row_bytes != 0 &&
        record->count <= note->count / record->row_bytes &&
        record->offset <= note->count - record->count * record->row_bytes) {
        note->rows_bytes += record->count * record->row_bytes;
        if (note->rows_bytes <= note->count)
            return 0;
        return error_at(err, HUSK_E_BAD_IMAGE, at, "%s: records overlap", record->name);
    }
    return error_at(err, HUSK_E_BAD_IMAGE, at,
                    "%s: offset %llu, %llu rows of %u bytes do not lie in the note of %llu bytes",
                    record->name, (unsigned long long)record->offset,
                    (unsigned long long)record->count, record->row_bytes,
                    (unsigned long long)note->count);
}

/* HUSK_REC_COUNT: unknown. */
static uint32_t record_id(const struct husk_image_record *record) {
    uint32_t id = 0;
    while (id < HUSK_REC_COUNT && strcmp(image_record_kinds[id].name, record->name) != 0)
        id++;
    return id;
}

static int check_unknown(const struct husk_image_record *record, uint64_t at,
                         struct husk_error *err) {
    if ((record->flags & HUSK_RECORD_SKIPPABLE) != 0)
        return 0;
    return error_at(err, HUSK_E_IMAGE_VERSION, at,
                    "the record \"%s\", which this husk does not know" IMAGE_IS_NEWER,
                    record->name);
}

/* Bytes stay bytes. Other rows consist of fields of 4 bytes or more. */
static int check_rows(const struct husk_image_record *record, uint32_t id, uint64_t at,
                      struct husk_error *err) {
    const struct image_record_kind *kind = &image_record_kinds[id];
    const bool is_size = kind->row_bytes == 1
                             ? record->row_bytes == 1
                             : record->row_bytes >= kind->first_bytes && record->row_bytes % 4 == 0;
    if (!is_size)
        return error_at(err, HUSK_E_BAD_IMAGE, at, "%s: rows of %u bytes; expected %u",
                        record->name, record->row_bytes, kind->row_bytes);
    if (record->count > rows_max[id])
        return error_at(err, HUSK_E_BAD_IMAGE, at, "%s: %llu rows, more than the limit of %u",
                        record->name, (unsigned long long)record->count, rows_max[id]);
    return 0;
}

/* As long as this version knows them: the rest is zero. */
static int copy_rows(struct image_rows *rows, const struct note *note,
                     const struct husk_image_record *record, uint32_t row_bytes,
                     struct husk_error *err) {
    rows->copy = calloc(record->count + 1, row_bytes);
    if (rows->copy == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's note");
    rows->rows = rows->copy;
    if (record->row_bytes == row_bytes) { /* all at once: rows may be single bytes */
        memcpy(rows->copy, note->bytes + record->offset, record->count * row_bytes);
        return 0;
    }
    for (uint64_t i = 0; i < record->count; i++) {
        const uint64_t offset = record->offset + i * record->row_bytes;
        copy_grown((uint8_t *)rows->copy + i * row_bytes, row_bytes, note->bytes + offset,
                   record->row_bytes);
        int status = check_growth(note->bytes + offset, record->row_bytes, row_bytes,
                                  note->file_offset + offset, err);
        if (status != 0)
            return error_while(err, status, "reading row %llu of %s", (unsigned long long)i,
                               record->name);
    }
    return 0;
}

static int read_rows(struct image_code *code, struct note *note,
                     const struct husk_image_record *record, uint64_t at, struct husk_error *err) {
    const uint32_t id = record_id(record);
    if (id == HUSK_REC_COUNT)
        return check_unknown(record, at, err);
    if (note->is_there[id])
        return error_at(err, HUSK_E_BAD_IMAGE, at, "%s: there are two of it", record->name);
    note->is_there[id] = true;
    int status = check_rows(record, id, at, err);
    if (status != 0)
        return status;
    struct image_rows *rows = &code->records[id];
    const uint32_t row_bytes = image_record_kinds[id].row_bytes;
    rows->rows = note->bytes + record->offset;
    rows->count = (uint32_t)record->count;
    if (record->row_bytes == row_bytes && (uintptr_t)rows->rows % 8 == 0)
        return 0;
    return copy_rows(rows, note, record, row_bytes, err);
}

static int read_record(struct image_code *code, struct note *note, uint32_t idx,
                       struct husk_error *err) {
    const struct husk_image_header *header = &code->header;
    const uint64_t offset = header->header_bytes + (uint64_t)idx * header->record_bytes;
    const uint64_t at = note->file_offset + offset;
    struct husk_image_record record = {0};
    copy_grown(&record, sizeof record, note->bytes + offset, header->record_bytes);
    int status = check_growth(note->bytes + offset, header->record_bytes, sizeof record, at, err);
    if (status == 0)
        status = check_name(&record, at, err);
    if (status == 0 && (record.flags & ~HUSK_RECORD_SKIPPABLE) != 0)
        status = error_at(err, HUSK_E_IMAGE_VERSION, at,
                          "%s: a flag that this husk does not know" IMAGE_IS_NEWER, record.name);
    if (status == 0)
        status = check_place(note, &record, at, err);
    return status != 0 ? status : read_rows(code, note, &record, at, err);
}

/* ---- all of them ---- */

static void set_fields(struct image_code *code) {
    const struct image_rows *records = code->records;
#define SET_FIELD(field, id)                                                                       \
    code->field = records[id].rows;                                                                \
    code->field##_count = records[id].count
    SET_FIELD(strings, HUSK_REC_STRINGS);
    SET_FIELD(valtypes, HUSK_REC_VALTYPES);
    SET_FIELD(types, HUSK_REC_TYPES);
    SET_FIELD(funcs, HUSK_REC_FUNCS);
    SET_FIELD(imports, HUSK_REC_IMPORTS);
    SET_FIELD(exports, HUSK_REC_EXPORTS);
    SET_FIELD(memories, HUSK_REC_MEMORIES);
    SET_FIELD(tables, HUSK_REC_TABLES);
    SET_FIELD(globals, HUSK_REC_GLOBALS);
    SET_FIELD(tags, HUSK_REC_TAGS);
    SET_FIELD(instances, HUSK_REC_INSTANCES);
    SET_FIELD(code_rows, HUSK_REC_CODE_MAP);
    SET_FIELD(inlined_rows, HUSK_REC_INLINED_CODE);
    SET_FIELD(inlined_calls, HUSK_REC_INLINED_CALLS);
    SET_FIELD(unwind_rows, HUSK_REC_UNWIND);
    SET_FIELD(files, HUSK_REC_SOURCE_FILES);
    SET_FIELD(lines, HUSK_REC_LINES);
    SET_FIELD(host_state, HUSK_REC_HOST_STATE);
    SET_FIELD(hot_pages, HUSK_REC_HOT_PAGES);
    SET_FIELD(standing, HUSK_REC_STANDING);
    SET_FIELD(standing_args, HUSK_REC_STANDING_ARGS);
#undef SET_FIELD
}

/* A compiled image starts with what the module declares. */
static int declare_sizes(struct image_code *code, struct husk_error *err) {
    code->sizes =
        calloc((size_t)code->memories_count + code->tables_count + 1, sizeof *code->sizes);
    if (code->sizes == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's sizes");
    for (uint32_t i = 0; i < code->memories_count; i++)
        code->sizes[i] = code->memories[i].min_pages;
    for (uint32_t i = 0; i < code->tables_count; i++)
        code->sizes[code->memories_count + i] = code->tables[i].min_entries;
    code->memory_sizes = code->sizes;
    code->table_sizes = code->sizes + code->memories_count;
    return 0;
}

static int use_sizes_of_snapshot(struct image_code *code, struct husk_error *err) {
    const struct image_rows *memories = &code->records[HUSK_REC_MEMORY_SIZES];
    const struct image_rows *tables = &code->records[HUSK_REC_TABLE_SIZES];
    if (memories->count != code->memories_count || tables->count != code->tables_count)
        return error_set(err, HUSK_E_BAD_IMAGE,
                         "a snapshot must say the size of every memory and table");
    code->memory_sizes = memories->rows;
    code->table_sizes = tables->rows;
    return 0;
}

static struct note note_of(const struct image_code *code) {
    return (struct note){.bytes = code->file->bytes + code->note_offset,
                         .count = code->note_bytes,
                         .file_offset = code->note_offset};
}

int image_header_read(struct image_code *code, struct husk_error *err) {
    const struct note note = note_of(code);
    if (note.count > LIMIT_NOTE_BYTES)
        return error_at(err, HUSK_E_BAD_IMAGE, note.file_offset, "a note of %llu bytes",
                        (unsigned long long)note.count);
    int status = image_check_note_holes(code, note.file_offset, note.count, err);
    return status != 0 ? status : check_header(&note, &code->header, err);
}

int image_records_read(struct image_code *code, struct husk_error *err) {
    struct note note = note_of(code);
    int status = 0;
    /* not there: no rows, and a valid pointer that nobody follows */
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++)
        code->records[i].rows = code->file->bytes;
    for (uint32_t i = 0; status == 0 && i < code->header.records_count; i++)
        status = read_record(code, &note, i, err);
    if (status == 0 && code->records[HUSK_REC_MODULE].count != 1)
        status = error_at(err, HUSK_E_BAD_IMAGE, note.file_offset,
                          "the husk note has no record \"module\"");
    if (status != 0)
        return status;
    set_fields(code);
    memcpy(&code->module, code->records[HUSK_REC_MODULE].rows, sizeof code->module);
    if (code->records[HUSK_REC_ROUTINES].count == 1)
        memcpy(&code->routines, code->records[HUSK_REC_ROUTINES].rows, sizeof code->routines);
    return (code->module.flags & HUSK_IMAGE_SNAPSHOT) != 0 ? use_sizes_of_snapshot(code, err)
                                                           : declare_sizes(code, err);
}

void image_records_done(struct image_code *code) {
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++)
        free(code->records[i].copy);
    free(code->sizes);
}
