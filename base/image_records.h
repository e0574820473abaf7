/*
 * base/image_records.h: writes the descriptor of an image's note (abi/image.h): header, table of
 * records, rows. The compiler and the host use it. host/image/image_records.c reads descriptors.
 */
#ifndef BASE_IMAGE_RECORDS_H
#define BASE_IMAGE_RECORDS_H

#include <stdint.h>

#include "buf.h"
#include "image.h"

/* A row of abi/image_records.def. */
struct image_record_kind {
    const char *name;
    uint32_t row_bytes;   /* as this version knows it */
    uint32_t first_bytes; /* as the first version had it */
    uint32_t flags;
};
extern const struct image_record_kind image_record_kinds[HUSK_REC_COUNT];

struct image_record_rows {
    const void *rows; /* borrowed; of row_bytes each */
    uint64_t count;
};

/* The length of a descriptor with these records, in bytes. */
uint64_t image_records_bytes(const struct image_record_rows records[HUSK_REC_COUNT]);
/* Write the descriptor to `note`, which must be empty. Records without rows are left out.
 * wasm_sha256 is the hash of the module. The hash of the file stays zero. Out of memory:
 * note->failed. */
void image_records_write(struct buf *note, const uint8_t wasm_sha256[32],
                         const struct image_record_rows records[HUSK_REC_COUNT]);

#endif
