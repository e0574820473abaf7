/*
 * wasm/decode.h: internal header of the decoder (decode*.c). decode.c walks the sections and calls
 * one decoder_… function for each. That function reads exactly the contents of its section from
 * decoder->reader.
 */
#ifndef WASM_DECODE_H
#define WASM_DECODE_H

#include "arena.h"
#include "module.h"

struct decoder {
    struct wasm_module *module;
    struct wasm_arena *arena;
    struct wasm_reader reader;     /* the contents of the current section */
    struct husk_error *err;        /* may be NULL */
    uint32_t declared_funcs_count; /* of the function section */
    uint32_t bodies_count;         /* of the code section */
    uint32_t data_count;           /* of the data count section */
    uint32_t elem_entries_count;   /* in all element segments */
    uint32_t types_cap;            /* room in module->types and module->subtypes */
};

/* decode_typesec.c: types */
int decoder_types(struct decoder *decoder);

/* decode_types.c: imports, exports, and functions, tables and memories, whose sections hold only
 * types (a table's may have an initialiser, too). */
int decoder_imports(struct decoder *decoder);
int decoder_funcs(struct decoder *decoder);
int decoder_tables(struct decoder *decoder);
int decoder_memories(struct decoder *decoder);
int decoder_tags(struct decoder *decoder);
int decoder_exports(struct decoder *decoder);
int decoder_start(struct decoder *decoder);

/* decode_segments.c: sections that hold constant expressions, and the data count. */
int decoder_globals(struct decoder *decoder);
int decoder_elems(struct decoder *decoder);
int decoder_datas(struct decoder *decoder);
int decoder_data_count(struct decoder *decoder);
/* Find the end of an expression by reading its instructions. */
int decoder_read_expr(struct decoder *decoder, struct wasm_bytes *ret_expr);

/* decode_code.c */
int decoder_code(struct decoder *decoder);

/* decode_names.c: names of the module and its functions. A bad name section is never an error. A
 * name that cannot be read is left empty. */
void decoder_names(struct decoder *decoder);

/* foreign.c: describes a file that is not a module, in words that continue "this is"; NULL if the
 * kind of file is unknown. */
const char *wasm_foreign_kind(struct wasm_bytes file);

/* decode_types.c */
int decoder_read_global_type(struct decoder *decoder, struct wasm_global *global);

/* A section of things that follow the imported ones in their index space. */
struct decoder_declared {
    const char *what; /* "tables", for messages */
    uint32_t bytes_min, limit;
    size_t row_bytes;
    int (*read)(struct decoder *decoder, void *row);
};
/* Read the section into a larger array, which `*rows` points to then. *count: the imported ones
 * before, all of them after. */
int decoder_read_declared(struct decoder *decoder, const struct decoder_declared *declared,
                          void **rows, uint32_t *count);

/* Make a larger array: the old elements, then zeros; NULL if out of memory. */
void *decoder_extend(struct decoder *decoder, const void *old, uint32_t old_count,
                     uint32_t new_count, size_t elem_bytes);
/* Make room for one more element: copies only if count is 0 or a power of two, else returns
 * `old`. */
void *decoder_push(struct decoder *decoder, void *old, uint32_t count, size_t elem_bytes);
int decoder_nomem(struct decoder *decoder);
/* Refuse old_count + new_count above limit (HUSK_E_LIMIT). */
int decoder_check_total(struct decoder *decoder, uint32_t old_count, uint32_t new_count,
                        uint32_t limit, const char *what);

#endif
