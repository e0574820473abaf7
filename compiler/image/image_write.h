/*
 * compiler/image/image_write.h: writes the image file (abi/image.h) from the plan and the linked
 * code. It is the last step of a compile, in the worker. image_note.c makes the note, image_data.c
 * the initial bytes of data region and memories, wasm_lines.c the source lines.
 */
#ifndef COMPILER_IMAGE_WRITE_H
#define COMPILER_IMAGE_WRITE_H

#include "buf.h"
#include "linker.h"

struct image_input {
    const struct plan *plan;
    const struct linked *linked;
    uint64_t cpu_features; /* bits of abi/cpu_features.def */
    int opt_level;
    bool is_strict; /* HUSK_IMAGE_STRICT */
    const char *target_cpu;
    const char *compiler; /* name and versions */
};

/* Write the image to an empty file. Zero parts of memories become holes. HUSK_E_LIMIT,
 * HUSK_E_NOMEM, HUSK_E_SYS (the file), HUSK_E_COMPILER. */
int image_write(const struct image_input *input, int fd, uint64_t *ret_bytes,
                struct husk_error *err);

/* ---- parts, for image_write.c ---- */

/* Make the note's descriptor. content_hash is zero. */
int image_note_make(const struct image_input *input, struct buf *note, struct husk_error *err);

/* Append the rows of HUSK_REC_SOURCE_FILES and HUSK_REC_LINES from the DWARF of an instance's
 * module, and their strings to `strings`. If the DWARF is missing or unusable, nothing is added;
 * that is not an error. Call it in the order of the instances. HUSK_E_NOMEM. */
int wasm_lines_read(const struct program_instance *instance, struct buf *strings, struct buf *files,
                    struct buf *lines, struct husk_error *err);

/* The initial bytes of [HUSK_DATA_GVA, HUSK_DATA_GVA + count): globals, sizes, elements, tables.
 * Zero pages are not touched. */
struct image_data {
    uint8_t *bytes;
    uint64_t count;
};
int image_data_make(const struct image_input *input, struct image_data *ret_data,
                    struct husk_error *err);

/* An initialised range of a memory, in multiples of a page. Ranges ascend and do not touch. */
struct image_range {
    uint64_t start, end;
};
/* Append the ranges of memory mem_idx that static data segments fill, as struct image_range[].
 * Small gaps are included in the ranges. */
int image_memory_ranges(const struct image_input *input, uint32_t mem_idx, struct buf *ranges,
                        struct husk_error *err);
/* Is the data segment static, and is mem_idx its memory? */
bool image_fills_memory(const struct image_input *input, uint32_t data_idx, uint32_t mem_idx);
/* The offset of a static data segment in its memory. */
uint64_t image_segment_offset(const struct image_input *input, uint32_t data_idx);

#endif
