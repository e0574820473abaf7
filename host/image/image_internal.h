/*
 * host/image/image_internal.h: an opened image. image_file.c makes its bytes immutable.
 * image_read.c finds and checks the ELF segments, and image_records.c the note's records.
 * image_hash.c compares the hash.
 * image_check.c checks the rows, image_files.c the private layer. image_names.c copies names.
 * image_places.c and image_func_names.c check the rest where it is used.
 * image_open.c calls them in turn and frees images. image.c is the public API.
 *
 * After opening, everything here is constant, except parts that are made when first needed
 * (template, flat runs) or learned (hot pages), under a lock. So any number of threads may read an
 * image.
 */
#ifndef HOST_IMAGE_INTERNAL_H
#define HOST_IMAGE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "content_hash.h"
#include "exception.h"
#include "guest_block.h"
#include "husk.h"
#include "image.h"
#include "layout.h"
#include "syspages.h"

/* A PT_LOAD that the guest may write: data, or a part of a linear memory. Pages from file_bytes on
 * are zero. */
struct image_segment {
    uint64_t gva;
    uint64_t file_offset;
    uint64_t file_bytes; /* a multiple of HUSK_PAGE_SIZE, as is mem_bytes */
    uint64_t mem_bytes;
};

/* The bytes of a file, which images share. They cannot change: fd is a memfd that is sealed against
 * writing and shrinking, or the embedder vouches for it (husk_open_options.uses_file). */
struct image_file {
    atomic_uint refs;
    int fd;
    const uint8_t *bytes; /* all of it, read-only */
    uint64_t count;
    struct content_hash hash; /* as it was copied; none: it was not hashed then */
    bool has_no_holes;        /* known; false: maybe it has */
    bool is_in_memory;        /* tmpfs */
    uint64_t hole_bytes;      /* at most so many bytes are holes */
    /* image_stage.c: the part that the file has as a hole; owned; NULL: none */
    struct image_file *stage;
    /* of a stage, which has no fd: its large pages, and where it was in the file */
    uint8_t *stage_base;
    uint64_t stage_bytes, stage_offset;
    uint64_t stage_data_bytes; /* that were no holes in the file */
};

/* A function and the funcref that refers to it. */
struct image_funcref {
    uint64_t ref;
    uint32_t func_idx;
};

/* The source of a part of writable memory: [gva, gva + bytes) is [offset, …) of the file. Memory
 * without a run is zero. */
struct image_run {
    uint64_t gva, bytes;     /* multiples of HUSK_PAGE_SIZE */
    struct image_file *file; /* referenced */
    uint64_t offset;
};

/* More runs than this are put into one file before they are mapped (image_mapped_runs()). Each run
 * is a mapping in every sandbox, and a process has 65,530 mappings (vm.max_map_count). */
#define IMAGE_RUNS_MAPPED_MAX 12u

/* Files of snapshots that one snapshot may refer to. If there are more, the smaller half becomes
 * one file. A lower limit would cause that more often. With a higher one, a process that keeps many
 * snapshots runs out of descriptors. */
#define IMAGE_LAYERS_MAX 16u

struct image_name {
    const char *text; /* NUL-terminated, may hold more NULs */
    size_t bytes;
};

/* What a tag is called: its first export; else its import, with a module; else nothing. */
struct image_tag_name {
    const struct image_name *module, *name; /* NULL: none */
};

#define IMAGE_INIT_NAME "(initialisation)"

/* The rows of a record of the note: in the file's bytes, or a copy. */
struct image_rows {
    const void *rows; /* of the length that this version knows; never NULL */
    uint32_t count;
    void *copy; /* owned; NULL: the rows are in the file's bytes */
};

/* The constant part of an image: the file, its text, its note, and data made from them. The opened
 * image and all its snapshots in memory share it, because their sandboxes differ in memory only. */
struct image_code {
    atomic_uint refs;
    struct image_file *file;

    /* the read-only part, mapped once for all sandboxes: [HUSK_TEXT_GVA, HUSK_TEXT_GVA +
     * ro_bytes) */
    uint8_t *ro_hva;
    uint64_t ro_bytes;
    bool is_ro_one_mapping; /* [text_offset, + ro_bytes) of the file, without large holes */
    /* page multiples; text starts at HUSK_TEXT_GVA */
    uint64_t text_bytes, rodata_gva, rodata_bytes;
    uint64_t text_offset, rodata_offset;         /* in the file */
    uint64_t text_file_bytes, rodata_file_bytes; /* from the program headers */

    /* ascending by gva, not overlapping: data first, then the memories */
    struct image_segment *segments;
    uint32_t segments_count, data_segments_count;
    uint64_t data_excess_bytes; /* image_data_excess() */

    uint64_t note_offset, note_bytes; /* the note's descriptor in the file */
    uint64_t elf_entry;               /* from the ELF header */
    struct husk_image_header header;
    struct husk_image_module module;
    struct husk_image_routines routines; /* zeros: the image has none */
    struct image_rows records[HUSK_REC_COUNT];
    /* the same rows with their types */
    const uint8_t *strings;
    const valtype_t *valtypes;
    const struct husk_image_type *types;
    const struct husk_image_func *funcs;
    const struct husk_image_import *imports;
    const struct husk_image_export *exports;
    const struct husk_image_memory *memories;
    const struct husk_image_table *tables;
    const struct husk_image_global *globals;
    const struct husk_image_tag *tags;
    const struct husk_image_instance *instances; /* none: there is one */
    const struct husk_image_code_row *code_rows;
    const struct husk_image_inlined_row *inlined_rows;
    const struct husk_image_inlined_call *inlined_calls;
    const struct husk_image_unwind_x86_64 *unwind_rows;
    const struct husk_image_str *files;
    const struct husk_image_line_row *lines;
    const uint8_t *host_state; /* of a snapshot's file, like the next two */
    const uint64_t *hot_pages;
    const struct husk_image_standing *standing; /* none, or one row */
    const struct husk_image_slot *standing_args;
    uint32_t strings_count, valtypes_count, types_count, funcs_count, imports_count, exports_count,
        memories_count, tables_count, globals_count, tags_count, instances_count, code_rows_count,
        unwind_rows_count, inlined_rows_count, inlined_calls_count, files_count, lines_count,
        host_state_count, hot_pages_count, standing_count, standing_args_count;
    /* wasm pages, by memory: the declared sizes, or those of the snapshot's file */
    const uint64_t *memory_sizes;
    const uint64_t *table_sizes; /* entries, by table */
    uint64_t *sizes;             /* owned: the arrays of these two, unless the note has them */
    uint32_t imported_count[5];  /* by enum husk_abi_kind */

    /* made by image_names.c */
    husk_type *valtypes_public; /* husk_functype points into it */
    char *names_block;
    struct image_name *init_names; /* of init functions, by instance */
    struct image_name *file_names, *import_modules, *import_names, *export_names;
    struct image_name compiler, target_cpu, module_name;
    struct image_tag_name *tag_names;
    uint32_t *exports_by_name; /* indexes, sorted by name */

    /* image_func_names.c: copies of names that no NUL follows, by function; NULL: not made */
    _Atomic(const char *) *func_texts;
    _Atomic(struct image_name_copy *) name_copies; /* owned: all of them */
    atomic_ullong names_copied;                    /* bytes */
    uint32_t *func_imports;                        /* by imported function: its import */

    /* image_funcs.c: the function that is called first after a restore; UINT32_MAX: none */
    uint32_t restored_idx;
    /* all functions, ascending by ref; made when first needed; NULL: not yet */
    _Atomic(struct image_funcref *) funcrefs;
};

/* The initial state of an instance. The image of a file has all of this from its code. A snapshot
 * in memory has its own. */
struct husk_image {
    atomic_uint refs;
    husk_engine *engine;
    struct image_code *code; /* referenced */
    bool is_snapshot;
    /* its state is that of its code's file; else it is a snapshot taken in this process */
    bool is_file;
    uint32_t flags; /* HUSK_IMAGE_… */
    /* husk_open_options: the first sandbox may have taken the contents over, and then has */
    bool serves_once;
    atomic_bool has_served;

    struct image_run *runs; /* ascending, not overlapping */
    uint32_t runs_count;
    /* the same contents in few runs, if there are many. Made when first mapped, under the lock */
    struct image_run *flat_runs;
    uint32_t flat_runs_count;
    pthread_mutex_t flatten_lock;
    const uint64_t *memory_sizes; /* wasm pages, by memory */
    const uint64_t *table_sizes;  /* entries, by table */
    const uint8_t *host_state;    /* records, see abi/image.h */
    uint32_t host_state_count;
    /* The private layer: its contents lie in [HUSK_FILES_GVA, + files_bytes); 0: there is none. A
     * page multiple */
    uint64_t files_bytes;
    /* A call that stands at a host function, with its arguments; NULL: there is none. */
    const struct husk_image_standing *standing;
    const struct husk_image_slot *standing_args;
    /* those of the code; for a snapshot in memory, only those of data */
    const struct image_segment *segments;
    uint32_t segments_count, data_segments_count;
    struct guest_block spare; /* of a snapshot in memory: the sandbox's */
    /* owned by a snapshot in memory: the targets of the pointers above */
    uint64_t *own_sizes;
    uint8_t *own_host_state;
    struct image_segment *own_segments;
    struct husk_image_standing *own_standing;
    struct husk_image_slot *own_standing_args;

    /* the fixed mappings of a sandbox with default sizes. Made when first needed, under the lock */
    pthread_mutex_t template_lock;
    struct sys_template *default_template;
    uint64_t default_data_bytes; /* the size of the data region that it was made for */

    /* pages that sandboxes of this image are known to write, and pages that the last sandbox wrote.
     * Ascending; NULL: not known yet. Under template_lock */
    uint64_t *hot_gvas, *seen_gvas;
    uint32_t hot_count, seen_count;
    /* read_pages.c: pages that sandboxes of this image have read, ascending; how many sandboxes
     * told. NULL: not known yet. Under template_lock */
    uint64_t *read_gvas;
    uint32_t read_count, read_lessons;
    /* large.c: restores that large pages paid for, less those that they did not; machines that
     * tried them before that was known. Under template_lock */
    int32_t large_votes;
    uint32_t large_trials;
};

/* The ends of HUSK_E_IMAGE_VERSION messages. */
#define IMAGE_OTHER_HUSK                                                                           \
    "use that husk, or compile the module again with this one (and take its snapshot again)"
#define IMAGE_IS_NEWER ". The image is of a newer husk: " IMAGE_OTHER_HUSK
#define IMAGE_IS_OLDER ". The image is of an older husk: " IMAGE_OTHER_HUSK

/* image_file.c. Make a sealed copy of the file, and hash it at once if it is to be hashed. Or use
 * the file itself, if it is sealed already or the options say that it does not change. */
int image_file_open(int fd, const struct husk_open_options *options, struct image_file **ret_file,
                    struct husk_error *err);
int image_file_from_bytes(const void *bytes, size_t count, struct image_file **ret_file,
                          struct husk_error *err);
/* Make an empty anonymous file, which the caller fills. Then seal and map it (takes over fd on
 * success). */
int image_file_memfd(int *ret_fd, struct husk_error *err);
int image_file_seal(int fd, struct image_file **ret_file, struct husk_error *err);
/* image_fd.c. Seal a file that only this process has. */
int image_fd_seal(int fd, struct husk_error *err);
/* Its bytes cannot change any more, whoever made it. */
bool image_fd_is_fixed(int fd);
bool image_fd_is_in_memory(int fd);
/* For strangers, who must see the seal against all writes. Returns -1 where that cannot be. */
int image_fd_seal_to_share(int fd);
/* Another open file description where that is possible: the caller's offset is not ours to move.
 * Returns -1 with errno. */
int image_fd_reopen(int fd);
/* image_stream.c. The image's file, with a reference for the caller. That of a snapshot in memory
 * is made. */
int image_file_of(const husk_image *image, struct image_file **ret_file, struct husk_error *err);
/* Find the next part of [from, to) that is not a hole; false if there is none. Reading a hole
 * through `bytes` would allocate memory for it, as long as the file exists. Threads: any (it moves
 * an offset that no code uses). */
bool image_file_next_data(const struct image_file *file, uint64_t from, uint64_t to,
                          uint64_t *ret_from, uint64_t *ret_to);
/* The same, to map it for reading: where there are few holes, they are not searched for. A search
 * looks at every page of a file in memory. */
bool image_next_mapped(const struct image_file *file, uint64_t from, uint64_t to,
                       uint64_t *ret_from, uint64_t *ret_to);
/* image_stage.c. Choose contents of memory that a sandbox can take over, and make room for them:
 * stage->count bytes from stage_offset on, to stage->bytes. NULL: there are none, or no room, or
 * they are mostly holes. The file's offset moves. */
struct image_file *image_stage_begin(int fd, uint64_t file_bytes);
/* HUSK_E_BAD_IMAGE: the stage is not what the program headers say. */
int image_stage_check(const struct image_file *file, struct husk_error *err);
struct image_hva_range {
    uint8_t *from, *to;
};
/* Once: move the contents to hva, as private pages of the arena, with zeros around them as far as
 * the range goes that is given. It is mapped, and has nothing else there. Returns 0, or -1 with
 * errno. */
int image_stage_move(struct image_file *stage, uint8_t *hva, const struct image_hva_range *room);
/* image_costs.c. The number of bytes in [from, to) that are not in a hole. */
uint64_t image_file_data_bytes(const struct image_file *file, uint64_t from, uint64_t to);
/* HUSK_E_BAD_IMAGE: reading the note, or hashing the file, would cost more than the bytes in the
 * file justify. */
int image_check_note_holes(const struct image_code *code, uint64_t offset, uint64_t bytes,
                           struct husk_error *err);
int image_check_hash_cost(const struct image_code *code, struct husk_error *err);
/* image_hash.c. HUSK_E_BAD_IMAGE: the contents are not those that were hashed. HUSK_E_SYS,
 * HUSK_E_NOMEM. */
int image_check_hash(const struct image_code *code, struct husk_error *err);
/* The bytes of zeros in the data region beyond those that the image's contents explain. They count
 * as linear memory (sizing_make.c). */
uint64_t image_data_excess(const struct image_code *code);
struct image_file *image_file_ref(struct image_file *file);
void image_file_unref(struct image_file *file); /* NULL is allowed */

/* image_runs.c. Make the runs of a file's segments. */
int image_runs_of_segments(struct husk_image *image, struct husk_error *err);
/* Where the contents of the private layer end, from HUSK_FILES_GVA. 0: it has none. */
uint64_t image_files_end(const struct husk_image *image);
void image_runs_free(struct image_run *runs, uint32_t count);
/* The initial contents of memory at a page; NULL: zeros. *ret_bytes: the length of the contiguous
 * part. */
const uint8_t *image_source(const struct husk_image *image, uint64_t gva_value,
                            uint64_t *ret_bytes);
/* Call `fn` for the non-zero whole pages of [gva, gva + bytes), in ascending order, adjacent pages
 * together; see image_file_next_data(). If `fn` returns a value other than 0, stop and return
 * it. */
typedef int (*image_contents_fn)(void *user, uint64_t gva_value, const uint8_t *contents,
                                 uint64_t bytes);
int image_contents(const struct husk_image *image, uint64_t gva_value, uint64_t bytes,
                   image_contents_fn fn, void *user);
/* Map [offset, offset + bytes) of a file read-only over [hva, …), which is mapped. Holes become
 * zeros that cost no memory, if the file has more of them than LIMIT_FEW_HOLE_BYTES. */
int image_map_readonly(uint8_t *hva, const struct image_file *file, uint64_t offset, uint64_t bytes,
                       struct husk_error *err);
/* The runs to map: at most IMAGE_RUNS_MAPPED_MAX, or about one per memory. Borrowed. Threads:
 * any. */
int image_mapped_runs(struct husk_image *image, const struct image_run **ret_runs,
                      uint32_t *ret_count, struct husk_error *err);
/* image_layers.c. If the runs refer to more than IMAGE_LAYERS_MAX files besides `base`, put the
 * contents of the smaller ones into one file. On failure the runs are as they were. */
int image_runs_merge_layers(struct image_run *runs, uint32_t *count, const struct image_file *base,
                            struct husk_error *err);
/* image_save.c. Make the file of a snapshot that has no file, in memory. */
int image_save_memory(const husk_image *image, struct image_file **ret_file,
                      struct husk_error *err);
/* image_open.c. Make an image with this code and no other contents. Free it with
 * husk_image_unref(). It references both; engine may be NULL. NULL: out of memory. */
husk_image *image_new(husk_engine *engine, struct image_code *code);
/* HUSK_E_STATE: the contents may be gone (husk_open_options.serves_once). NULL is fine. */
int image_check_keeps(const husk_image *image, struct husk_error *err);
/* Are these images of one module, compiled to the same code? Also true if the file was opened
 * twice. Their memory contents may differ. */
bool image_is_same_module(const struct husk_image *a, const struct husk_image *b);

/* image_read.c: segments, and the header of the note. */
int image_read(struct image_code *code, struct husk_error *err);
/* image_records.c. HUSK_E_IMAGE_VERSION: the note has a part that this version does not know. */
int image_header_read(struct image_code *code, struct husk_error *err);
int image_records_read(struct image_code *code, struct husk_error *err);
void image_records_done(struct image_code *code);
/* image_check.c: the rows of every record that are not checked later, where they are used. */
int image_check(const struct husk_image *image, struct husk_error *err);
/* image_places.c: copy the row of an address in the text, or of a wasm offset, and check it. Where
 * there is none: HUSK_FUNC_NONE, zeros, or no file. HUSK_E_BAD_IMAGE: that row is impossible. */
int image_code_row(const struct image_code *code, uint64_t code_gva,
                   struct husk_image_code_row *ret_row, struct husk_error *err);
int image_unwind_row(const struct image_code *code, uint64_t code_gva,
                     struct husk_image_unwind_x86_64 *ret_row, struct husk_error *err);
int image_inlined_row(const struct image_code *code, uint64_t code_gva,
                      struct husk_image_inlined_row *ret_row, struct husk_error *err);
int image_line_row(const struct image_code *code, uint64_t wasm_offset,
                   struct husk_image_line_row *ret_row, struct husk_error *err);
/* idx: of a row that was checked. */
int image_inlined_call(const struct image_code *code, uint32_t idx,
                       struct husk_image_inlined_call *ret_call, struct husk_error *err);
/* All of these rows. */
int image_check_rows(const struct image_code *code, struct husk_error *err);
/* image_files.c: the private layer. Its segments were checked. HUSK_E_BAD_IMAGE, HUSK_E_NOMEM,
 * HUSK_E_SYS. */
int image_check_files(struct husk_image *image, struct husk_error *err);
/* One entry of the host state (abi/image.h). The function reads the entry at *at and moves *at to
 * the next one; false at the end. */
struct image_state {
    const char *name; /* not NUL-terminated */
    const uint8_t *state;
    uint32_t name_bytes, state_bytes;
};
bool image_state_next(const struct husk_image *image, uint32_t *at, struct image_state *ret_state);
/* image_names.c: NUL-terminated names, public types, the index of exports. */
int image_names_make(struct image_code *code, struct husk_error *err);
void image_names_done(struct image_code *code);
/* image_func_names.c. The name of a function, NUL-terminated, as long as the code lives.
 * HUSK_E_BAD_IMAGE: the name is not in the image. HUSK_E_NOMEM. Threads: any. */
int image_func_name(struct image_code *code, uint32_t func_idx, struct image_name *ret_name,
                    struct husk_error *err);
/* Its name up to a NUL, in the image: no NUL follows. */
int image_func_symbol(const struct image_code *code, uint32_t func_idx, struct image_name *ret_name,
                      struct husk_error *err);
/* All names of functions: where they are, and their size together. */
int image_check_func_names(const struct image_code *code, struct husk_error *err);
int image_func_names_make(struct image_code *code, struct husk_error *err);
void image_func_names_done(struct image_code *code);

/* image_standing.c. The part of the stack that the image has: [*, HUSK_STACK_TOP_GVA), whole pages.
 * Without a standing call that is nothing. */
uint64_t image_stack_gva(const struct husk_image *image);
/* Can a call that stands at a host function have this stack pointer, in [from, to)? */
bool image_stack_is_possible(uint64_t stack_gva, uint64_t from, uint64_t to);
/* The parameters and results of the host function at which the standing call stands. */
struct husk_functype image_standing_type(const struct husk_image *image);
/* Check the standing call, if there is one, and its stack segment. */
int image_check_standing(const struct husk_image *image, struct husk_error *err);
/* True: the address is in the region of the stack. */
static inline bool image_is_stack_gva(uint64_t gva_value) {
    return gva_value >= HUSK_STACK_LOW_GVA && gva_value < HUSK_STACK_TOP_GVA;
}

/* [gva, gva + bytes) lies in the text segment / in one data segment. */
bool image_in_text(const struct image_code *code, uint64_t gva_value, uint64_t bytes);
bool image_in_data(const struct husk_image *image, uint64_t gva_value, uint64_t bytes);

/* The size of an exception of this image, and of all its slots (abi/exception.h). */
static inline uint64_t image_exception_bytes(const struct image_code *code) {
    return sizeof(struct husk_exception) +
           (uint64_t)code->module.exception_values * HUSK_SLOT_BYTES;
}
static inline uint64_t image_exception_slot_bytes(const struct image_code *code) {
    return HUSK_EXCEPTION_SLOTS * image_exception_bytes(code);
}

/* The image's initial word at a data address, which must be checked; zero beyond the file's
 * part. */
uint64_t image_data_u64(const struct husk_image *image, uint64_t gva_value);

/* image_funcs.c. Set restored_idx: a snapshot's random numbers are known to everyone who shares it,
 * so a module that exports husk_restored(i64, i64) gets fresh entropy before its first call. An
 * export of that name with another type is an ordinary one. */
void image_find_restored(const husk_image *image, struct image_code *code);
/* Make the public handle of a function. */
husk_func image_func_make(const struct image_code *code, uint32_t func_idx);
/* A bit in the second half of a husk_func: an index is set. So a handle of zeros is invalid. */
#define IMAGE_FUNC_IS_SET (1ull << 32)
/* It prevents mistakes, not attacks: an image can claim to be of another module. */
static inline uint64_t image_module_mark(const struct image_code *code) {
    uint64_t mark;
    memcpy(&mark, code->header.wasm_sha256, sizeof mark);
    return mark;
}
/* Every call uses it. NULL: image_func_refuse() gives the error. */
static inline const struct husk_image_func *image_func_row(const struct image_code *code,
                                                           husk_func func) {
    const uint64_t idx = func.opaque[1] ^ IMAGE_FUNC_IS_SET;
    return func.opaque[0] == image_module_mark(code) && idx < code->funcs_count ? &code->funcs[idx]
                                                                                : NULL;
}
/* The row of a function that can be called. NULL as above. */
static inline const struct husk_image_func *image_func_callable(const struct image_code *code,
                                                                husk_func func) {
    const struct husk_image_func *row = image_func_row(code, func);
    return row != NULL && row->code_gva != 0 && code->types[row->type_idx].thunk_gva != 0 ? row
                                                                                          : NULL;
}
/* HUSK_E_INVAL: the handle is of another module, or was never set. HUSK_E_NOT_FOUND: there is no
 * such function, or it cannot be called. */
int image_func_refuse(const struct image_code *code, husk_func func, struct husk_error *err);
/* image_tags.c. The index of a tag. UINT32_MAX: image_tag_refuse() gives the error. */
husk_tag image_tag_make(const struct image_code *code, uint32_t tag_idx);
uint32_t image_tag_idx(const struct image_code *code, husk_tag tag);
/* HUSK_E_INVAL: the handle is of another module, or was never set. */
int image_tag_refuse(const struct image_code *code, husk_tag tag, struct husk_error *err);
/* The funcref of a function; 0 if it has no code, because nothing needs it. */
uint64_t image_funcref(const struct husk_image_func *row);
/* Find the function of a funcref, which may come from a hostile guest. HUSK_E_GUEST if there is
 * none; HUSK_E_NOT_FOUND for null; HUSK_E_NOMEM. Threads: any. */
int image_funcref_find(struct image_code *code, uint64_t ref, uint32_t *ret_func_idx,
                       struct husk_error *err);

/* The memory that host functions use for an instance: its "memory", or its first one. An instance
 * without a memory has the main one's. */
uint32_t image_instance_memory(const struct image_code *code, uint32_t instance);
/* The most pages that a memory can have here, whatever its declared maximum is. */
static inline uint64_t image_memory_pages_most(const struct husk_image_memory *memory) {
    return (memory->flags & HUSK_LIMIT_IS_64) != 0 ? HUSK_MAX_MEM64_PAGES : HUSK_MAX_MEM_PAGES;
}
/* The memory of the main instance. Image without memories: 0. */
uint32_t image_main_memory(const struct image_code *code);

static inline struct husk_functype image_functype(const struct image_code *code,
                                                  uint32_t type_idx) {
    const struct husk_image_type *type = &code->types[type_idx];
    const husk_type *params = code->valtypes_public + type->valtypes_idx;
    return (struct husk_functype){.params = params,
                                  .params_count = type->params_count,
                                  .results = params + type->params_count,
                                  .results_count = type->results_count};
}
/* The index of the export with this name; UINT32_MAX if there is none. */
uint32_t image_export_find(const struct husk_image *image, const char *name, size_t name_bytes);
/* The same of a name that is made of two. */
uint32_t image_export_find_prefixed(const struct husk_image *image, const char *prefix,
                                    const struct image_name *rest);

#endif
