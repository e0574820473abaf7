/* base/image_records.c: see image_records.h. */
#include "image_records.h"

#include <string.h>

#include "layout.h"

const struct image_record_kind image_record_kinds[HUSK_REC_COUNT] = {
#define HUSK_IMAGE_RECORD(id, name, type, first_bytes, flags)                                      \
    {name, sizeof(type), first_bytes, flags},
#include "image_records.def"
#undef HUSK_IMAGE_RECORD
};

#define HUSK_IMAGE_RECORD(id, name, type, first_bytes, flags)                                      \
    _Static_assert(sizeof(type) >= (first_bytes) && sizeof name <= HUSK_RECORD_NAME_BYTES, name);
#include "image_records.def"
#undef HUSK_IMAGE_RECORD

static uint64_t rows_bytes(const struct image_record_rows *rows, uint32_t id) {
    return (rows->count * image_record_kinds[id].row_bytes + 7) & ~7ull;
}

/* Of the records that are there. */
static uint32_t records_count(const struct image_record_rows records[HUSK_REC_COUNT]) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++)
        count += records[i].count != 0;
    return count;
}

uint64_t image_records_bytes(const struct image_record_rows records[HUSK_REC_COUNT]) {
    uint64_t bytes = sizeof(struct husk_image_header) +
                     records_count(records) * sizeof(struct husk_image_record);
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++)
        bytes += rows_bytes(&records[i], i);
    return bytes;
}

void image_records_write(struct buf *note, const uint8_t wasm_sha256[32],
                         const struct image_record_rows records[HUSK_REC_COUNT]) {
    struct husk_image_header header = {.magic = HUSK_IMAGE_MAGIC,
                                       .header_bytes = sizeof header,
                                       .format = HUSK_IMAGE_FORMAT,
                                       .abi = HUSK_ABI_VERSION,
                                       .records_count = records_count(records),
                                       .record_bytes = sizeof(struct husk_image_record)};
    uint64_t offset = sizeof header + header.records_count * sizeof(struct husk_image_record);
    memcpy(header.wasm_sha256, wasm_sha256, sizeof header.wasm_sha256);
    buf_append(note, &header, sizeof header);
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++) {
        const struct image_record_kind *kind = &image_record_kinds[i];
        struct husk_image_record record = {.flags = kind->flags,
                                           .row_bytes = kind->row_bytes,
                                           .offset = offset,
                                           .count = records[i].count};
        if (record.count == 0)
            continue;
        memcpy(record.name, kind->name, strlen(kind->name));
        buf_append(note, &record, sizeof record);
        offset += rows_bytes(&records[i], i);
    }
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++) {
        buf_append(note, records[i].rows, records[i].count * image_record_kinds[i].row_bytes);
        buf_align(note, 8);
    }
}
