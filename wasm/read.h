/*
 * wasm/read.h: the smallest pieces of the binary format (core specification 2.0, sections 5.1 to
 * 5.3): bytes, LEB128 integers, names, value types. The section decoder and the instruction reader
 * share it. Every function returns 0, or a status and fills the reader's error. On failure the
 * outputs are untouched. `what` names the item in messages ("type index").
 */
#ifndef WASM_READ_H
#define WASM_READ_H

#include "module.h"

static inline uint64_t wasm_reader_offset(const struct wasm_reader *reader) {
    return reader->offset + (uint64_t)(reader->pos - reader->start);
}

static inline size_t wasm_reader_left(const struct wasm_reader *reader) {
    return (size_t)(reader->end - reader->pos);
}

/* Set the error's message, with " at offset 0x…" appended. */
int wasm_error(struct husk_error *err, int status, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

int wasm_read_byte(struct wasm_reader *reader, const char *what, uint8_t *ret_byte);
int wasm_read_leb_u32(struct wasm_reader *reader, const char *what, uint32_t *ret_value);
int wasm_read_u64(struct wasm_reader *reader, const char *what, uint64_t *ret_value);
/* LEB128 of 64 bits at most. *ret_is_wide: a u32 could not be encoded so. */
int wasm_read_u64_or_u32(struct wasm_reader *reader, const char *what, uint64_t *ret_value,
                         bool *ret_is_wide);
int wasm_read_s32(struct wasm_reader *reader, const char *what, int32_t *ret_value);
int wasm_read_s33(struct wasm_reader *reader, const char *what, int64_t *ret_value);
int wasm_read_s64(struct wasm_reader *reader, const char *what, int64_t *ret_value);

static inline int wasm_read_u32(struct wasm_reader *reader, const char *what, uint32_t *ret_value) {
    if (reader->pos < reader->end && *reader->pos < 0x80) {
        *ret_value = *reader->pos++;
        return 0;
    }
    return wasm_read_leb_u32(reader, what, ret_value);
}

/* The next `count` bytes. They are not copied. */
int wasm_read_bytes(struct wasm_reader *reader, uint32_t count, const char *what,
                    struct wasm_bytes *ret_bytes);
/* A name: a length and that many bytes of UTF-8. */
int wasm_read_name(struct wasm_reader *reader, const char *what, struct wasm_bytes *ret_name);
/* A count of items that take at least min_bytes each. A count that the remaining bytes cannot hold
 * is refused, so that a false count never causes an allocation. */
int wasm_read_count(struct wasm_reader *reader, size_t min_bytes, uint32_t limit, const char *what,
                    uint32_t *ret_count);

int wasm_read_valtype(struct wasm_reader *reader, valtype_t *ret_type);
int wasm_read_reftype(struct wasm_reader *reader, valtype_t *ret_type);
/* A heap type alone, as (ref heap type) or (ref null heap type). */
int wasm_read_heaptype(struct wasm_reader *reader, bool is_nullable, valtype_t *ret_type);
/* A value type that starts with this byte: does one? */
bool wasm_is_type_byte(uint8_t byte);
/* Set the error for a byte that is no type. If it is one of a later proposal, the message names
 * the proposal: HUSK_E_UNSUPPORTED. */
int wasm_bad_type(struct wasm_reader *reader, uint64_t offset, uint8_t byte, const char *what);

/* An instruction of later.def; NULL if the code is not in it. */
struct wasm_later {
    uint32_t code;
    uint8_t prefix;
    const char *text, *proposal;
};
const struct wasm_later *wasm_later_find(uint8_t prefix, uint32_t code);

/* wasm_read_instr() without the copy. On failure, `instr` holds the parts that were read. */
int wasm_read_instr_into(struct wasm_reader *reader, struct wasm_instr *instr);

#endif
