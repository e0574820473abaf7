/*
 * host/image_internal.h: an opened image. image_file.c makes its bytes immutable, image_read.c finds and checks the ELF
 * segments and the note's arrays, image_check.c checks every row, image_names.c copies names, image.c is the public face.
 *
 * After opening, everything here is constant except the cached template, so any number of threads may read it.
 */
#ifndef HOST_IMAGE_INTERNAL_H
#define HOST_IMAGE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "husk.h"
#include "image.h"
#include "layout.h"
#include "syspages.h"

/* One PT_LOAD that the guest may write: data, or a part of a linear memory. Pages from file_bytes on are zero. */
struct image_segment {
    uint64_t gva;
    uint64_t file_offset;
    uint64_t file_bytes; /* a multiple of HUSK_PAGE_SIZE, as is mem_bytes */
    uint64_t mem_bytes;
};

/* The bytes of the file. They cannot change: fd is a memfd that is sealed against writing and shrinking. */
struct image_file {
    int fd;
    const uint8_t *bytes; /* all of it, read-only */
    uint64_t count;
};

struct image_name {
    const char *text; /* NUL-terminated, may hold more NULs */
    size_t bytes;
};

struct husk_image {
    atomic_uint refs;
    husk_engine *engine;
    struct image_file file;

    /* the read-only half, mapped once for all sandboxes: [HUSK_TEXT_GVA, HUSK_TEXT_GVA + ro_bytes) */
    uint8_t *ro_hva;
    uint64_t ro_bytes;
    uint64_t text_bytes, rodata_gva, rodata_bytes; /* page multiples; text starts at HUSK_TEXT_GVA */
    uint64_t text_offset, rodata_offset;           /* in the file */
    uint64_t text_file_bytes, rodata_file_bytes;   /* as the program headers say */

    struct image_segment *segments; /* ascending by gva, not overlapping: data first, then the memories */
    uint32_t segments_count, data_segments_count;

    /* the note; pointers into the file's bytes, or into note_copy if the file has them misaligned */
    uint8_t *note_copy;
    uint64_t note_offset; /* of the note's descriptor in the file */
    struct husk_image_note note;
    const uint8_t *strings;
    const uint8_t *valtypes;
    const struct husk_image_type *types;
    const struct husk_image_func *funcs;
    const struct husk_image_import *imports;
    const struct husk_image_export *exports;
    const struct husk_image_memory *memories;
    const struct husk_image_table *tables;
    const struct husk_image_global *globals;
    const struct husk_image_code_row *code_rows;
    const struct husk_image_unwind_row *unwind_rows;
    const struct husk_image_str *files;
    const struct husk_image_line_row *lines;
    uint32_t strings_count, valtypes_count, types_count, funcs_count, imports_count, exports_count,
        memories_count, tables_count, globals_count, code_rows_count, unwind_rows_count, files_count,
        lines_count;
    uint32_t imported_count[4]; /* by enum husk_abi_kind */

    /* made by image_names.c */
    husk_type *valtypes_public; /* husk_functype points into it */
    char *names_block;
    struct image_name *func_names, *file_names, *import_modules, *import_names, *export_names;
    struct image_name compiler, target_cpu, module_name;
    uint32_t *exports_by_name; /* indexes, sorted by name */

    /* the fixed mappings of a sandbox with default sizes; made when first needed, under the lock */
    pthread_mutex_t template_lock;
    struct sys_template *default_template;
};

/* image_file.c. A sealed copy of the file, or the file itself if it is sealed already. */
int image_file_open(int fd, struct image_file *ret_file, struct husk_error *err);
int image_file_from_bytes(const void *bytes, size_t count, struct image_file *ret_file,
                          struct husk_error *err);
void image_file_done(struct image_file *file);

/* image_read.c: segments, note, arrays' places and sizes. */
int image_read(struct husk_image *image, struct husk_error *err);
/* image_check.c: every row of every array. */
int image_check(struct husk_image *image, struct husk_error *err);
/* image_names.c: NUL-terminated names, public types, the index of exports. */
int image_names_make(struct husk_image *image, struct husk_error *err);
void image_names_done(struct husk_image *image);

/* [gva, gva + bytes) lies in the text segment / in one data segment. */
bool image_in_text(const struct husk_image *image, uint64_t gva_value, uint64_t bytes);
bool image_in_data(const struct husk_image *image, uint64_t gva_value, uint64_t bytes);

/* The image's own bytes at a data address (which was checked); zero beyond the file's part. */
uint64_t image_data_u64(const struct husk_image *image, uint64_t gva_value);

struct husk_functype image_functype(const struct husk_image *image, uint32_t type_idx);
/* UINT32_MAX if there is none. */
uint32_t image_export_find(const struct husk_image *image, const char *name, size_t name_bytes);

#endif
