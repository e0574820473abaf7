/*
 * wasm/decode.h: shared by the files of the decoder (decode*.c), nobody else's business. decode.c
 * walks the sections and calls one decoder_… function for each, which reads exactly the contents of
 * its section from decoder->reader.
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
};

/* decode_types.c: types, imports, exports, and what is declared with a type alone. */
int decoder_types(struct decoder *decoder);
int decoder_imports(struct decoder *decoder);
int decoder_funcs(struct decoder *decoder);
int decoder_tables(struct decoder *decoder);
int decoder_memories(struct decoder *decoder);
int decoder_exports(struct decoder *decoder);
int decoder_start(struct decoder *decoder);

/* decode_segments.c: what holds constant expressions. */
int decoder_globals(struct decoder *decoder);
int decoder_elems(struct decoder *decoder);
int decoder_datas(struct decoder *decoder);
int decoder_data_count(struct decoder *decoder);

/* decode_code.c */
int decoder_code(struct decoder *decoder);

/* decode_names.c: names of the module and its functions. A bad name section is never an error: what
 * cannot be read has no name. */
void decoder_names(struct decoder *decoder);

/* foreign.c: a file that is no module, in words that continue "this is"; NULL: nothing that is
 * known. */
const char *wasm_foreign_kind(struct wasm_bytes file);

/* decode_types.c */
int decoder_read_global_type(struct decoder *decoder, struct wasm_global *global);

/* A larger zeroed array with the old one's elements; NULL: no memory. */
void *decoder_extend(struct decoder *decoder, const void *old, uint32_t old_count,
                     uint32_t new_count, size_t elem_bytes);
/* The same, for arrays that grow by one: copies only when count is 0 or a power of two, else
 * returns `old`. */
void *decoder_push(struct decoder *decoder, void *old, uint32_t count, size_t elem_bytes);
int decoder_nomem(struct decoder *decoder);
/* Refuses old_count + new_count above limit. */
int decoder_check_total(struct decoder *decoder, uint32_t old_count, uint32_t new_count,
                        uint32_t limit, const char *what);

#endif
