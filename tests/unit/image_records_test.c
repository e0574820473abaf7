/*
 * tests/unit/image_records_test.c: the table of records of an image's note: images of other
 * versions of husk open, or are refused with the name of the unknown part. Damaged tables are
 * refused. It uses no engine.
 */
#include <stdlib.h>
#include <string.h>

#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "image_records.h"
#include "literals.h"

/* How the note that everybody writes is rewritten by another version. */
static struct {
    uint32_t header_more, record_more; /* bytes */
    uint8_t header_fill, record_fill;
    enum husk_image_record_id id; /* whose rows are longer: */
    uint32_t row_more;
    uint8_t row_fill;
    const char *extra_name; /* one more record, of one row of 16 bytes; NULL: none */
    uint32_t extra_flags;
} other;

static void append_more(struct buf *buf, uint32_t count, uint8_t fill) {
    for (uint32_t i = 0; i < count; i++)
        buf_append(buf, i + 1 == count ? &fill : &(uint8_t){0}, 1);
}

/* Rows, and where they are in the new note. */
static void append_rows(struct buf *to, const struct buf *from, struct husk_image_record *record,
                        uint32_t more) {
    const uint32_t row_bytes = record->row_bytes;
    buf_align(to, 8);
    const uint64_t offset = to->count;
    for (uint64_t i = 0; i < record->count; i++) {
        buf_append(to, from->data + record->offset + i * row_bytes, row_bytes);
        append_more(to, more, i + 1 == record->count ? other.row_fill : 0);
    }
    record->offset = offset;
    record->row_bytes += more;
}

static void put_record(struct buf *to, const struct husk_image_header *header, uint32_t idx,
                       const struct husk_image_record *record) {
    memcpy(to->data + header->header_bytes + idx * header->record_bytes, record, sizeof *record);
}

static void rewrite_note(struct buf *note) {
    struct buf new = {0};
    struct husk_image_header header, before;
    memcpy(&before, note->data, sizeof before);
    header = before;
    header.header_bytes += other.header_more;
    header.record_bytes += other.record_more;
    header.records_count += other.extra_name != NULL;
    buf_append(&new, &header, sizeof header);
    append_more(&new, other.header_more, other.header_fill);
    for (uint32_t i = 0; i < header.records_count; i++) {
        buf_append_zeros(&new, sizeof(struct husk_image_record));
        append_more(&new, other.record_more, i == 0 ? other.record_fill : 0);
    }
    for (uint32_t i = 0; i < before.records_count; i++) {
        struct husk_image_record record;
        memcpy(&record, note->data + before.header_bytes + i * before.record_bytes, sizeof record);
        const bool is_longer = strcmp(record.name, image_record_kinds[other.id].name) == 0;
        append_rows(&new, note, &record, is_longer ? other.row_more : 0);
        put_record(&new, &header, i, &record);
    }
    if (other.extra_name != NULL) {
        struct husk_image_record extra = {.flags = other.extra_flags, .row_bytes = 16, .count = 1};
        strncpy(extra.name, other.extra_name, sizeof extra.name - 1);
        append_rows(&new, note, &extra, 0); /* some bytes */
        put_record(&new, &header, header.records_count - 1, &extra);
    }
    buf_done(note);
    *note = new;
}

/* The guest's snapshot, rewritten; what is known of it must be the same. */
static int open_other(uint32_t note_align, struct husk_error *err) {
    struct image_builder builder;
    husk_image *image = NULL;
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    struct husk_extern item = HUSK_EXTERN_INIT;
    size_t count;
    guest_snapshot_build(&builder);
    builder.change_note = rewrite_note;
    builder.note_align = note_align;
    uint8_t *bytes = builder_finish(&builder, &count);
    builder_done(&builder);
    int status =
        husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count}, NULL, &image, err);
    free(bytes);
    if (status != 0)
        return status;
    husk_image_info(image, &info);
    CHECK_STR(info.compiler, "image builder");
    CHECK_EQ_U64(info.memory_pages, 2);
    CHECK_EQ_I64(husk_image_import(image, 0, &item), 0);
    CHECK_STR(item.name, "clock_time_get");
    CHECK_EQ_U64(item.func.params[0], HUSK_I32);
    CHECK_EQ_I64(husk_image_export(image, 8, &item), 0);
    CHECK_STR(item.name, "memory");
    CHECK_EQ_U64(item.max, 3);
    husk_image_unref(image);
    return 0;
}

static void other_reset(void) {
    memset(&other, 0, sizeof other);
}

TEST(a_newer_version_that_adds_nothing_needed) {
    struct husk_error err;
    for (uint32_t align = 4; align <= 8; align += 4) {
        other_reset();
        CHECK_OK(open_other(align, &err), err);
        other.header_more = 16;
        other.record_more = 8;
        CHECK_OK(open_other(align, &err), err);
        other.extra_name = "a_hint_of_2031";
        other.extra_flags = HUSK_RECORD_SKIPPABLE;
        CHECK_OK(open_other(align, &err), err);
        for (uint32_t id = 0; id < HUSK_REC_COUNT; id++) {
            if (image_record_kinds[id].row_bytes == 1)
                continue;
            other.id = id;
            other.row_more = 4 + 4 * (id % 3);
            CHECK_OK(open_other(align, &err), err);
        }
    }
}

/* What it is, and what to do. */
static void check_refused(const char *what) {
    struct husk_error err = {.message = ""};
    CHECK_STATUS(open_other(8, &err), HUSK_E_IMAGE_VERSION);
    CHECK_CONTAINS(err.message, what);
    CHECK_CONTAINS(err.message, "a newer husk: use that husk, or compile the module again");
}

TEST(a_newer_version_that_is_refused_by_name) {
    other_reset();
    other.extra_name = "gc_heap";
    check_refused("the record \"gc_heap\", which this husk does not know");
    other.extra_name = "hot_pages2";
    other.extra_flags = HUSK_RECORD_SKIPPABLE | 2;
    check_refused("hot_pages2: a flag");
    other_reset();
    other.header_more = 8;
    other.header_fill = 1;
    check_refused("a field that this husk does not know");
    other_reset();
    other.record_more = 8;
    other.record_fill = 0x80;
    check_refused("a field that this husk does not know");
    for (uint32_t id = 0; id < HUSK_REC_COUNT; id++) {
        if (image_record_kinds[id].row_bytes == 1)
            continue;
        other_reset();
        other.id = id;
        other.row_more = 8;
        other.row_fill = 1;
        struct husk_error err = {.message = ""};
        int status = open_other(8, &err);
        if (status == 0) /* the guest's image has no such rows */
            CHECK(id == HUSK_REC_SOURCE_FILES || id == HUSK_REC_LINES ||
                  id == HUSK_REC_INLINED_CODE || id == HUSK_REC_INLINED_CALLS ||
                  id == HUSK_REC_TAGS || id == HUSK_REC_INSTANCES || id == HUSK_REC_ROUTINES ||
                  id == HUSK_REC_STANDING || id == HUSK_REC_STANDING_ARGS);
        else
            check_refused(image_record_kinds[id].name);
    }
}

/* ---- another format, and damage ---- */

static void (*damage)(struct husk_image_header *header, struct husk_image_record *records);

static void damage_note(struct buf *note) {
    struct husk_image_header header;
    struct husk_image_record records[HUSK_REC_COUNT];
    memcpy(&header, note->data, sizeof header);
    const size_t bytes = header.records_count * sizeof records[0];
    memcpy(records, note->data + sizeof header, bytes);
    damage(&header, records);
    memcpy(note->data, &header, sizeof header);
    memcpy(note->data + sizeof header, records, bytes);
}

#define DAMAGE(name, change)                                                                       \
    static void damage_##name(struct husk_image_header *header,                                    \
                              struct husk_image_record *records) {                                 \
        (void)header;                                                                              \
        (void)records;                                                                             \
        change;                                                                                    \
    }
DAMAGE(magic, header->magic++)
DAMAGE(older_format, header->format--)
DAMAGE(newer_format, header->format++)
DAMAGE(older_abi, header->abi--)
DAMAGE(newer_abi, header->abi++)
DAMAGE(header_short, header->header_bytes = HUSK_IMAGE_HEADER_FIRST_BYTES - 8)
DAMAGE(header_odd, header->header_bytes += 4)
DAMAGE(header_long, header->header_bytes = 0xfffffff8)
DAMAGE(record_short, header->record_bytes -= 8)
DAMAGE(record_odd, header->record_bytes += 4)
DAMAGE(record_long, header->record_bytes = 0xfffffff8)
DAMAGE(records_many, header->records_count = 1001)
DAMAGE(records_wild, header->records_count = UINT32_MAX)
DAMAGE(no_records, header->records_count = 0)
DAMAGE(name_empty, memset(records[1].name, 0, sizeof records[1].name))
DAMAGE(name_whole, memset(records[1].name, 'x', sizeof records[1].name))
DAMAGE(name_control, records[1].name[0] = '\n')
DAMAGE(name_tail, records[1].name[20] = 'x')
DAMAGE(twice, memcpy(records[2].name, records[1].name, sizeof records[1].name))
DAMAGE(offset_odd, records[1].offset += 4)
DAMAGE(offset_wild, records[1].offset = UINT64_MAX - 7)
DAMAGE(count_wild, records[1].count = UINT64_MAX)
DAMAGE(count_wraps, records[3].count = UINT64_MAX / 16 + 2)
DAMAGE(rows_none, records[3].row_bytes = 0)
DAMAGE(rows_short, records[3].row_bytes -= 4)
DAMAGE(rows_odd, records[3].row_bytes += 2)
DAMAGE(rows_of_bytes, (records[1].row_bytes = 2, records[1].count = 1))
DAMAGE(overlap, for (uint32_t i = 1; i < header->records_count;
                     i++)(records[i].offset = records[0].offset,
                          records[i].count = 600 / records[i].row_bytes))
DAMAGE(two_modules, records[0].count = 2)

static const struct {
    void (*change)(struct husk_image_header *header, struct husk_image_record *records);
    int status;
    const char *part; /* of the message */
} damages[] = {
    {damage_magic, HUSK_E_BAD_IMAGE, "magic"},
    {damage_older_format, HUSK_E_IMAGE_VERSION, "image format 1, ABI"},
    {damage_older_format, HUSK_E_IMAGE_VERSION,
     "this husk reads format 2, ABI 1. The image is of an older husk: use that husk, or compile"},
    {damage_newer_format, HUSK_E_IMAGE_VERSION, "of a newer husk: use that husk, or compile"},
    {damage_older_abi, HUSK_E_IMAGE_VERSION, "of an older husk"},
    {damage_newer_abi, HUSK_E_IMAGE_VERSION, "of a newer husk"},
    {damage_header_short, HUSK_E_BAD_IMAGE, "a note header of 80 bytes"},
    {damage_header_odd, HUSK_E_BAD_IMAGE, "a note header of 108 bytes"},
    {damage_header_long, HUSK_E_BAD_IMAGE, "a note header of"},
    {damage_record_short, HUSK_E_BAD_IMAGE, "records of 40 bytes"},
    {damage_record_odd, HUSK_E_BAD_IMAGE, "records of 52 bytes"},
    {damage_record_long, HUSK_E_BAD_IMAGE, "does not lie in the note"},
    {damage_records_many, HUSK_E_BAD_IMAGE, "a table of 1001 records"},
    {damage_records_wild, HUSK_E_BAD_IMAGE, "does not lie in the note"},
    {damage_no_records, HUSK_E_BAD_IMAGE, "no record \"module\""},
    {damage_name_empty, HUSK_E_BAD_IMAGE, "name"},
    {damage_name_whole, HUSK_E_BAD_IMAGE, "name"},
    {damage_name_control, HUSK_E_BAD_IMAGE, "name"},
    {damage_name_tail, HUSK_E_BAD_IMAGE, "name"},
    {damage_twice, HUSK_E_BAD_IMAGE, "strings: there are two of it"},
    {damage_offset_odd, HUSK_E_BAD_IMAGE, "strings: offset"},
    {damage_offset_wild, HUSK_E_BAD_IMAGE, "strings: offset"},
    {damage_count_wild, HUSK_E_BAD_IMAGE, "strings: offset"},
    {damage_count_wraps, HUSK_E_BAD_IMAGE, "types: offset"},
    {damage_rows_none, HUSK_E_BAD_IMAGE, "types: offset"},
    {damage_rows_short, HUSK_E_BAD_IMAGE, "types: rows of 12 bytes"},
    {damage_rows_odd, HUSK_E_BAD_IMAGE, "types: rows of 18 bytes"},
    {damage_rows_of_bytes, HUSK_E_BAD_IMAGE, "strings: rows of 2 bytes"},
    {damage_overlap, HUSK_E_BAD_IMAGE, "overlap"},
    {damage_two_modules, HUSK_E_BAD_IMAGE, "module: 2 rows"},
};

TEST(damaged_tables) {
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct image_builder builder;
        struct husk_error err = {.message = ""};
        husk_image *image = NULL;
        size_t count;
        guest_image_build(&builder);
        damage = damages[i].change;
        builder.change_note = damage_note;
        uint8_t *bytes = builder_finish(&builder, &count);
        for (int verify = 0; verify < 2; verify++) {
            int status = husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count},
                                                verify != 0 ? NULL : SKIP_HASH, &image, &err);
            CHECK_MSG(status == damages[i].status && strstr(err.message, damages[i].part) != NULL,
                      "damage %zu: status %d, \"%s\"", i, status, err.message);
        }
        free(bytes);
        builder_done(&builder);
    }
}

TEST_MAIN()
