/*
 * tests/support/image_builder.h: image files made by hand, for tests that need one without the
 * compiler or with something wrong in it. Text is machine code that the test brings; everything
 * else is rows of abi/image.h.
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
    struct husk_image_module module; /* may be changed before builder_finish() */
    /* rows; of HUSK_REC_MODULE only what there is beside `module` */
    struct buf records[HUSK_REC_COUNT];
    /* if not NULL: called before it is put into the file */
    void (*change_note)(struct buf *descriptor);
    struct builder_segment segments[BUILDER_SEGMENTS_MAX];
    uint32_t segments_count;
    uint32_t note_align; /* 8, or 4 as other tools write notes */
};

void builder_init(struct image_builder *builder);
void builder_done(struct image_builder *builder);

struct husk_image_str builder_string(struct image_builder *builder, const char *text);
/* Append a row to a record; returns its index. */
uint32_t builder_row(struct image_builder *builder, enum husk_image_record_id id, const void *row,
                     size_t row_bytes);
/* Types as letters: "iIfF>i": i32 i64 f32 f64, v v128, c funcref, e externref. */
uint32_t builder_type(struct image_builder *builder, const char *types, uint32_t thunk_gva);
uint32_t builder_func(struct image_builder *builder, uint32_t type_idx, uint32_t code_gva,
                      uint32_t code_bytes, const char *name);
void builder_import(struct image_builder *builder, const char *module, const char *name,
                    uint32_t kind, uint32_t idx);
void builder_export(struct image_builder *builder, const char *name, uint32_t kind, uint32_t idx);
/* Segments are to be added in ascending order. bytes may be NULL (count 0). */
void builder_segment(struct image_builder *builder, uint64_t gva, uint32_t flags, const void *bytes,
                     size_t count, uint64_t mem_bytes);
/* A little-endian word in a segment's bytes. */
void builder_word(struct image_builder *builder, uint64_t gva, uint64_t word);

/* ---- images that are there ---- */

/* The note's descriptor in a file, or NULL. */
uint8_t *image_note_find(uint8_t *bytes, size_t count);
/* The rows of a record, or NULL: it is not there. ret_count: rows; may be NULL. */
void *image_note_rows(uint8_t *descriptor, enum husk_image_record_id id, uint64_t *ret_count);
/* As if the file had been written as it is now: its hash is right. */
void image_hash_again(uint8_t *bytes, size_t count);

/* The file; its content hash is right. malloc()ed, never NULL (aborts when out of memory: a test's
 * helper). */
uint8_t *builder_finish(struct image_builder *builder, size_t *ret_count);

#endif
