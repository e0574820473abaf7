/*
 * tests/support/image_builder.h: makes image files by hand, for tests that need one without the
 * compiler or with an error in it. The test gives the text as machine code. Everything else is rows
 * of abi/image.h.
 */
#ifndef TESTS_SUPPORT_IMAGE_BUILDER_H
#define TESTS_SUPPORT_IMAGE_BUILDER_H

#include "buf.h"
#include "image.h"

#define BUILDER_SEGMENTS_MAX 16

struct builder_segment {
    uint64_t gva, mem_bytes;
    uint32_t flags; /* PF_… */
    struct buf bytes;
};

struct image_builder {
    struct husk_image_module module; /* a test may change it before builder_finish() */
    /* rows; for HUSK_REC_MODULE, only rows in addition to `module` */
    struct buf records[HUSK_REC_COUNT];
    /* if not NULL: called with the descriptor before it is put into the file */
    void (*change_note)(struct buf *descriptor);
    struct builder_segment segments[BUILDER_SEGMENTS_MAX];
    uint32_t segments_count;
    uint32_t note_align; /* 8; or 4, as in notes of other tools */
};

void builder_init(struct image_builder *builder);
void builder_done(struct image_builder *builder);

struct husk_image_str builder_string(struct image_builder *builder, const char *text);
/* Append a row to a record; returns its index. */
uint32_t builder_row(struct image_builder *builder, enum husk_image_record_id id, const void *row,
                     size_t row_bytes);
/* Add a function type, given as letters like "iIfF>i": i32 i64 f32 f64, v v128, c funcref, e
 * externref, x exnref. */
uint32_t builder_type(struct image_builder *builder, const char *types, uint32_t thunk_gva);
uint32_t builder_func(struct image_builder *builder, uint32_t type_idx, uint32_t code_gva,
                      uint32_t code_bytes, const char *name);
void builder_import(struct image_builder *builder, const char *module, const char *name,
                    uint32_t kind, uint32_t idx);
void builder_export(struct image_builder *builder, const char *name, uint32_t kind, uint32_t idx);
/* Add a segment. Add segments in ascending order. `bytes` may be NULL (count 0). */
void builder_segment(struct image_builder *builder, uint64_t gva, uint32_t flags, const void *bytes,
                     size_t count, uint64_t mem_bytes);
/* Write a little-endian word into the bytes of a segment. */
void builder_word(struct image_builder *builder, uint64_t gva, uint64_t word);

/* ---- existing images ---- */

/* The note's descriptor in a file, or NULL. */
uint8_t *image_note_find(uint8_t *bytes, size_t count);
/* The rows of a record, or NULL if there is no such record. ret_count, which may be NULL, gets the
 * number of rows. */
void *image_note_rows(uint8_t *descriptor, enum husk_image_record_id id, uint64_t *ret_count);
/* The content hash of a file whose field for it begins at this offset. */
void image_content_hash(const uint8_t *bytes, size_t count, size_t field_offset,
                        uint8_t ret_total[16]);
/* Correct the content hash after a change to the file. */
void image_hash_again(uint8_t *bytes, size_t count);

/* Make the file, with a correct content hash. Returns malloc()ed bytes, never NULL: it aborts if
 * out of memory. */
uint8_t *builder_finish(struct image_builder *builder, size_t *ret_count);

#endif
