/*
 * host/image/image_internal.h: an opened image. image_file.c makes its bytes immutable,
 * image_read.c finds and checks the ELF segments, image_records.c the note's records, image_check.c
 * checks every row, image_names.c copies names, image_open.c calls them in turn and frees images,
 * image.c is the public face.
 *
 * After opening, everything here is constant except what is made when first needed (template, flat
 * runs) or learned (hot pages), under its lock; so any number of threads may read it.
 */
#ifndef HOST_IMAGE_INTERNAL_H
#define HOST_IMAGE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "husk.h"
#include "image.h"
#include "syspages.h"

/* One PT_LOAD that the guest may write: data, or a part of a linear memory. Pages from file_bytes
 * on are zero. */
struct image_segment {
    uint64_t gva;
    uint64_t file_offset;
    uint64_t file_bytes; /* a multiple of HUSK_PAGE_SIZE, as is mem_bytes */
    uint64_t mem_bytes;
};

/* The bytes of a file, shared by images. They cannot change: fd is a memfd that is sealed against
 * writing and shrinking. */
struct image_file {
    atomic_uint refs;
    int fd;
    const uint8_t *bytes; /* all of it, read-only */
    uint64_t count;
};

/* A function by the value that refers to it. */
struct image_funcref {
    uint64_t ref;
    uint32_t func_idx;
};

/* Where the contents of writable memory come from: [gva, gva + bytes) is [offset, …) of the file.
 * What no run covers is zero. */
struct image_run {
    uint64_t gva, bytes;     /* multiples of HUSK_PAGE_SIZE */
    struct image_file *file; /* referenced */
    uint64_t offset;
};

/* More runs than this are made one file (image_mapped_runs()) before anything is mapped: each run
 * is a mapping of its own in every sandbox, and a process has 65,530 of them (vm.max_map_count). */
#define IMAGE_RUNS_MAPPED_MAX 12u

/* Files of snapshots that one snapshot may refer to. When there are more, the smaller half becomes
 * one: with fewer that would happen more often, with more a process that keeps many snapshots runs
 * out of descriptors. */
#define IMAGE_LAYERS_MAX 16u

struct image_name {
    const char *text; /* NUL-terminated, may hold more NULs */
    size_t bytes;
};

/* The rows of a record of the note: in the file's bytes, or a copy. */
struct image_rows {
    const void *rows; /* as long as this version knows them; never NULL */
    uint32_t count;
    void *copy; /* owned; NULL: none was needed */
};

/* What never changes from opening on: the file, its text, its note, and what is made of them.
 * Shared by the image that was opened and all snapshots of it in memory: their sandboxes differ in
 * memory only. */
struct image_code {
    atomic_uint refs;
    struct image_file *file;

    /* the read-only half, mapped once for all sandboxes: [HUSK_TEXT_GVA, HUSK_TEXT_GVA +
     * ro_bytes) */
    uint8_t *ro_hva;
    uint64_t ro_bytes;
    /* page multiples; text starts at HUSK_TEXT_GVA */
    uint64_t text_bytes, rodata_gva, rodata_bytes;
    uint64_t text_offset, rodata_offset;         /* in the file */
    uint64_t text_file_bytes, rodata_file_bytes; /* as the program headers say */

    /* ascending by gva, not overlapping: data first, then the memories */
    struct image_segment *segments;
    uint32_t segments_count, data_segments_count;
    uint64_t data_excess_bytes; /* image_data_excess() */

    uint64_t note_offset, note_bytes; /* the note's descriptor in the file */
    uint64_t elf_entry;               /* as the ELF header says */
    struct husk_image_header header;
    struct husk_image_module module;
    struct image_rows records[HUSK_REC_COUNT];
    /* the same as what they are */
    const uint8_t *strings;
    const valtype_t *valtypes;
    const struct husk_image_type *types;
    const struct husk_image_func *funcs;
    const struct husk_image_import *imports;
    const struct husk_image_export *exports;
    const struct husk_image_memory *memories;
    const struct husk_image_table *tables;
    const struct husk_image_global *globals;
    const struct husk_image_code_row *code_rows;
    const struct husk_image_unwind_x86_64 *unwind_rows;
    const struct husk_image_str *files;
    const struct husk_image_line_row *lines;
    const uint8_t *host_state; /* of a snapshot's file, as the next */
    const uint64_t *hot_pages;
    uint32_t strings_count, valtypes_count, types_count, funcs_count, imports_count, exports_count,
        memories_count, tables_count, globals_count, code_rows_count, unwind_rows_count,
        files_count, lines_count, host_state_count, hot_pages_count;
    /* wasm pages, by memory: as declared, or as the snapshot's file has them */
    const uint64_t *memory_sizes;
    const uint64_t *table_sizes; /* entries, by table */
    uint64_t *sizes;             /* owned: what these two point to, unless the note has them */
    uint32_t imported_count[4];  /* by enum husk_abi_kind */

    /* made by image_names.c */
    husk_type *valtypes_public; /* husk_functype points into it */
    char *names_block;
    struct image_name *func_names, *file_names, *import_modules, *import_names, *export_names;
    struct image_name compiler, target_cpu, module_name;
    uint32_t *exports_by_name; /* indexes, sorted by name */

    /* image_funcs.c: all functions, ascending by ref; made when first needed; NULL: not yet */
    _Atomic(struct image_funcref *) funcrefs;
};

/* What an instance starts as. The image of a file has all of this from its code; a snapshot in
 * memory has its own. */
struct husk_image {
    atomic_uint refs;
    husk_engine *engine;
    struct image_code *code; /* referenced */
    bool is_snapshot;
    /* it is what its code's file says; else a snapshot that was taken in this process */
    bool is_file;
    uint32_t flags; /* HUSK_IMAGE_… */

    struct image_run *runs; /* ascending, not overlapping */
    uint32_t runs_count;
    /* the same contents in few runs, if there are many: made when first mapped, under the lock */
    struct image_run *flat_runs;
    uint32_t flat_runs_count;
    pthread_mutex_t flatten_lock;
    const uint64_t *memory_sizes; /* wasm pages, by memory */
    const uint64_t *table_sizes;  /* entries, by table */
    const uint8_t *host_state;    /* records, see abi/image.h */
    uint32_t host_state_count;
    /* as the code's; of a snapshot in memory the data's alone */
    const struct image_segment *segments;
    uint32_t segments_count, data_segments_count;
    /* owned by a snapshot in memory: what the pointers above point to */
    uint64_t *own_sizes;
    uint8_t *own_host_state;
    struct image_segment *own_segments;

    /* the fixed mappings of a sandbox with default sizes; made when first needed, under the lock */
    pthread_mutex_t template_lock;
    struct sys_template *default_template;

    /* pages that sandboxes of this image are known to write, and what the last of them wrote;
     * ascending; NULL: not known yet; under template_lock */
    uint64_t *hot_gvas, *seen_gvas;
    uint32_t hot_count, seen_count;
};

/* The end of a HUSK_E_IMAGE_VERSION message. */
#define IMAGE_OTHER_HUSK                                                                           \
    "use that husk, or compile the module again with this one (and take its snapshot again)"
#define IMAGE_IS_NEWER ". The image is of a newer husk: " IMAGE_OTHER_HUSK
#define IMAGE_IS_OLDER ". The image is of an older husk: " IMAGE_OTHER_HUSK

/* image_file.c. A sealed copy of the file, or the file itself if it is sealed already. */
int image_file_open(int fd, struct image_file **ret_file, struct husk_error *err);
int image_file_from_bytes(const void *bytes, size_t count, struct image_file **ret_file,
                          struct husk_error *err);
/* An empty anonymous file to be filled by the caller; and that file, sealed and mapped (takes over
 * fd on success). */
int image_file_memfd(int *ret_fd, struct husk_error *err);
int image_file_seal(int fd, struct image_file **ret_file, struct husk_error *err);
/* The next piece of [from, to) that is no hole; false: there is none. Reading a hole through
 * `bytes` would give it memory, for as long as the file is there. Threads: any (it moves an offset
 * that nobody uses). */
bool image_file_next_data(const struct image_file *file, uint64_t from, uint64_t to,
                          uint64_t *ret_from, uint64_t *ret_to);
/* image_costs.c. How much of [from, to) is no hole. */
uint64_t image_file_data_bytes(const struct image_file *file, uint64_t from, uint64_t to);
/* HUSK_E_BAD_IMAGE: reading the note, or hashing the file, would cost more than what the file has
 * allows. */
int image_check_note_holes(const struct image_code *code, uint64_t offset, uint64_t bytes,
                           struct husk_error *err);
int image_check_hash_cost(const struct image_code *code, struct husk_error *err);
/* Bytes of zeros in the data region that nothing in the image accounts for. They count as linear
 * memory (sizing_make.c). */
uint64_t image_data_excess(const struct image_code *code);
struct image_file *image_file_ref(struct image_file *file);
void image_file_unref(struct image_file *file); /* NULL is fine */

/* image_runs.c. The runs of a file's segments. */
int image_runs_of_segments(struct husk_image *image, struct husk_error *err);
void image_runs_free(struct image_run *runs, uint32_t count);
/* The bytes that memory at a page starts with, or NULL: zeros. ret_bytes: how far this goes on in
 * one piece. */
const uint8_t *image_source(const struct husk_image *image, uint64_t gva_value,
                            uint64_t *ret_bytes);
/* Whole pages of [gva, gva + bytes) that are not zero, in ascending order, neighbours together; see
 * image_file_next_data(). Ends with what `fn` returns if that is not 0. */
typedef int (*image_contents_fn)(void *user, uint64_t gva_value, const uint8_t *contents,
                                 uint64_t bytes);
int image_contents(const struct husk_image *image, uint64_t gva_value, uint64_t bytes,
                   image_contents_fn fn, void *user);
/* The runs to map: at most IMAGE_RUNS_MAPPED_MAX, or about one per memory. Threads: any.
 * Borrowed. */
int image_mapped_runs(struct husk_image *image, const struct image_run **ret_runs,
                      uint32_t *ret_count, struct husk_error *err);
/* image_layers.c. If the runs refer to more than IMAGE_LAYERS_MAX files besides `base`, put what
 * they have in the smaller ones into one. Fails with the runs as they were. */
int image_runs_merge_layers(struct image_run *runs, uint32_t *count, const struct image_file *base,
                            struct husk_error *err);
/* image_save.c. The file of a snapshot that has none, in memory. */
int image_save_memory(const husk_image *image, struct image_file **ret_file,
                      struct husk_error *err);
/* image_open.c. A new image with this code and nothing of its own yet: free it with
 * husk_image_unref(). References both; engine may be NULL. NULL: out of memory. */
husk_image *image_new(husk_engine *engine, struct image_code *code);
/* Are these two of one module, compiled to the same code? True also where it was opened twice; what
 * they hold in memory may differ. */
bool image_is_same_module(const struct husk_image *a, const struct husk_image *b);

/* image_read.c: segments, and the header of the note. */
int image_read(struct image_code *code, struct husk_error *err);
/* image_records.c. HUSK_E_IMAGE_VERSION: there is something in the note that this version does not
 * know. */
int image_header_read(struct image_code *code, struct husk_error *err);
int image_records_read(struct image_code *code, struct husk_error *err);
void image_records_done(struct image_code *code);
/* image_check.c: every row of every record. */
int image_check(const struct husk_image *image, struct husk_error *err);
/* One record of host state (abi/image.h). The one at *at, which then moves to the next; false at
 * the end. */
struct image_state {
    const char *name; /* not NUL-terminated */
    const uint8_t *state;
    uint32_t name_bytes, state_bytes;
};
bool image_state_next(const struct husk_image *image, uint32_t *at, struct image_state *ret_state);
/* image_names.c: NUL-terminated names, public types, the index of exports. */
int image_names_make(struct image_code *code, struct husk_error *err);
void image_names_done(struct image_code *code);

/* [gva, gva + bytes) lies in the text segment / in one data segment. */
bool image_in_text(const struct image_code *code, uint64_t gva_value, uint64_t bytes);
bool image_in_data(const struct husk_image *image, uint64_t gva_value, uint64_t bytes);

/* The image's own bytes at a data address (which was checked); zero beyond the file's part. */
uint64_t image_data_u64(const struct husk_image *image, uint64_t gva_value);

/* image_funcs.c. The public handle of a function. */
husk_func image_func_make(const struct image_code *code, uint32_t func_idx);
/* In the second half of a husk_func: there is an index. So one of zeros is none. */
#define IMAGE_FUNC_IS_SET (1ull << 32)
/* Enough to tell modules apart by chance; on purpose anybody can make an image that says it is of
 * another module. */
static inline uint64_t image_module_mark(const struct image_code *code) {
    uint64_t mark;
    memcpy(&mark, code->header.wasm_sha256, sizeof mark);
    return mark;
}
/* On the way of every call. NULL: image_func_refuse() says why. */
static inline const struct husk_image_func *image_func_row(const struct image_code *code,
                                                           husk_func func) {
    const uint64_t idx = func.opaque[1] ^ IMAGE_FUNC_IS_SET;
    return func.opaque[0] == image_module_mark(code) && idx < code->funcs_count ? &code->funcs[idx]
                                                                                : NULL;
}
/* HUSK_E_INVAL: it is of another module, or was never set. HUSK_E_NOT_FOUND: there is no such
 * function, or nothing can call it. */
int image_func_refuse(const struct image_code *code, husk_func func, struct husk_error *err);
/* The funcref of a function; 0: it has no code, because nothing needs it. */
uint64_t image_funcref(const struct husk_image_func *row);
/* The function that a funcref refers to, which may come from a hostile guest: HUSK_E_GUEST if there
 * is none; HUSK_E_NOT_FOUND for null; HUSK_E_NOMEM. Any thread. */
int image_funcref_find(struct image_code *code, uint64_t ref, uint32_t *ret_func_idx,
                       struct husk_error *err);

struct husk_functype image_functype(const struct image_code *code, uint32_t type_idx);
/* UINT32_MAX if there is none. */
uint32_t image_export_find(const struct husk_image *image, const char *name, size_t name_bytes);
/* The same of a name that is made of two. */
uint32_t image_export_find_prefixed(const struct husk_image *image, const char *prefix,
                                    const struct image_name *rest);

#endif
