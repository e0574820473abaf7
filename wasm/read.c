/*
 * wasm/read.c: bytes, LEB128 integers, names and value types of the binary format (core
 * specification 2.0, sections 5.1 to 5.3).
 */
#include "read.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "types.h"
#include "utf8.h"

int wasm_error(struct husk_error *err, int status, uint64_t offset, const char *format, ...) {
    if (err == NULL)
        return status;
    char text[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_at(err, status, offset, "%s at offset 0x%llx", text, (unsigned long long)offset);
}

static int read_end(struct wasm_reader *reader, const char *what) {
    return wasm_error(reader->err, HUSK_E_BAD_WASM,
                      reader->offset + (uint64_t)(reader->end - reader->start),
                      "unexpected end in %s", what);
}

int wasm_read_byte(struct wasm_reader *reader, const char *what, uint8_t *ret_byte) {
    if (reader->pos == reader->end)
        return read_end(reader, what);
    *ret_byte = *reader->pos++;
    return 0;
}

/*
 * Section 5.2.2: at most ceil(bits / 7) bytes, and the bits of the last one that do not fit must be
 * zero, or copies of the sign. Shorter than necessary is impossible, longer than necessary is
 * allowed up to that many bytes.
 */
static int read_leb(struct wasm_reader *reader, uint32_t bits, bool is_signed, const char *what,
                    uint64_t *ret_value) {
    uint64_t value = 0;
    uint8_t byte = 0;
    uint32_t shift = 0;
    const uint8_t *pos = reader->pos;
    do {
        if (pos == reader->end)
            return read_end(reader, what);
        byte = *pos++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (shift + 7 >= bits) { /* the last byte there may be */
            if ((byte & 0x80) != 0)
                return wasm_error(reader->err, HUSK_E_BAD_WASM, wasm_reader_offset(reader),
                                  "%s: integer representation too long", what);
            uint32_t unused = (byte & 0x7fu) >> (bits - shift - (is_signed ? 1 : 0));
            uint32_t all_ones = 0x7fu >> (bits - shift - (is_signed ? 1 : 0));
            if (unused != 0 && !(is_signed && unused == all_ones))
                return wasm_error(reader->err, HUSK_E_BAD_WASM, wasm_reader_offset(reader),
                                  "%s: integer too large", what);
        }
        shift += 7;
    } while ((byte & 0x80) != 0);
    if (is_signed && shift < 64 && (byte & 0x40) != 0)
        value |= ~UINT64_C(0) << shift;
    reader->pos = pos;
    *ret_value = value;
    return 0;
}

int wasm_read_leb_u32(struct wasm_reader *reader, const char *what, uint32_t *ret_value) {
    uint64_t value = 0;
    int status = read_leb(reader, 32, false, what, &value);
    if (status == 0)
        *ret_value = (uint32_t)value;
    return status;
}

int wasm_read_u64(struct wasm_reader *reader, const char *what, uint64_t *ret_value) {
    return read_leb(reader, 64, false, what, ret_value);
}

int wasm_read_u64_or_u32(struct wasm_reader *reader, const char *what, uint64_t *ret_value,
                         bool *ret_is_wide) {
    const uint8_t *start = reader->pos;
    uint64_t value = 0;
    int status = read_leb(reader, 64, false, what, &value);
    if (status != 0)
        return status;
    *ret_is_wide = value > UINT32_MAX || reader->pos - start > 5;
    *ret_value = value;
    return 0;
}

static int read_signed(struct wasm_reader *reader, uint32_t bits, const char *what,
                       int64_t *ret_value) {
    uint64_t value = 0;
    int status = read_leb(reader, bits, true, what, &value);
    if (status == 0)
        *ret_value = (int64_t)value;
    return status;
}

int wasm_read_s32(struct wasm_reader *reader, const char *what, int32_t *ret_value) {
    int64_t value = 0;
    int status = read_signed(reader, 32, what, &value);
    if (status == 0)
        *ret_value = (int32_t)value;
    return status;
}

int wasm_read_s33(struct wasm_reader *reader, const char *what, int64_t *ret_value) {
    return read_signed(reader, 33, what, ret_value);
}

int wasm_read_s64(struct wasm_reader *reader, const char *what, int64_t *ret_value) {
    return read_signed(reader, 64, what, ret_value);
}

int wasm_read_bytes(struct wasm_reader *reader, uint32_t count, const char *what,
                    struct wasm_bytes *ret_bytes) {
    if (count > wasm_reader_left(reader))
        return wasm_error(reader->err, HUSK_E_BAD_WASM, wasm_reader_offset(reader),
                          "length out of bounds: %s needs %u bytes, %zu are left", what, count,
                          wasm_reader_left(reader));
    *ret_bytes = (struct wasm_bytes){reader->pos, count, wasm_reader_offset(reader)};
    reader->pos += count;
    return 0;
}

int wasm_read_count(struct wasm_reader *reader, size_t min_bytes, uint32_t limit, const char *what,
                    uint32_t *ret_count) {
    uint64_t offset = wasm_reader_offset(reader);
    uint32_t count = 0;
    int status = wasm_read_u32(reader, what, &count);
    if (status != 0)
        return status;
    if (count > wasm_reader_left(reader) / min_bytes)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset,
                          "unexpected end: %s is %u, but only %zu bytes are left", what, count,
                          wasm_reader_left(reader));
    if (count > limit)
        return wasm_error(reader->err, HUSK_E_LIMIT, offset, "%s is %u, the limit is %u", what,
                          count, limit);
    *ret_count = count;
    return 0;
}

/* ---- names ---- */

int wasm_read_name(struct wasm_reader *reader, const char *what, struct wasm_bytes *ret_name) {
    uint32_t count = 0;
    struct wasm_bytes name = {0};
    int status = wasm_read_u32(reader, what, &count);
    if (status == 0)
        status = wasm_read_bytes(reader, count, what, &name);
    if (status != 0)
        return status;
    if (!utf8_is_valid(name.data, name.count))
        return wasm_error(reader->err, HUSK_E_BAD_WASM, name.offset, "%s: malformed UTF-8 encoding",
                          what);
    *ret_name = name;
    return 0;
}

/* ---- types ---- */

/* The later proposal that has this type, or form of a type. */
static const char *type_proposal(uint8_t byte) {
    switch (byte) {
    case 0x5d: /* cont */
    case 0x68:
    case 0x75: return "stack switching";
    case 0x4c: /* descriptor, describes, exact */
    case 0x4d:
    case 0x62: return "custom descriptors";
    case 0x65: /* shared */ return "shared-everything threads";
    default: return NULL;
    }
}

int wasm_bad_type(struct wasm_reader *reader, uint64_t offset, uint8_t byte, const char *what) {
    const char *proposal = type_proposal(byte);
    if (proposal == NULL)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "malformed %s 0x%02x", what, byte);
    return wasm_error(reader->err, HUSK_E_UNSUPPORTED, offset,
                      "uses %s (%s 0x%02x), not supported yet", proposal, what, byte);
}

#define REF_BYTE 0x64 /* a heap type follows */
#define REF_NULL_BYTE 0x63

bool wasm_is_type_byte(uint8_t byte) {
    return valtype_from_byte(byte) != VALTYPE_NONE || wasm_heap_from_byte(byte) != 0 ||
           byte == REF_BYTE || byte == REF_NULL_BYTE;
}

/* A signed 33-bit integer: type indices are positive, abstract heap types are one negative byte. */
int wasm_read_heaptype(struct wasm_reader *reader, bool is_nullable, valtype_t *ret_type) {
    uint64_t offset = wasm_reader_offset(reader);
    int64_t value = 0;
    uint8_t byte = reader->pos < reader->end ? *reader->pos : 0;
    if ((byte & 0xc0) == 0x40) { /* negative, in one byte */
        uint32_t heap = wasm_heap_from_byte(byte);
        if (heap == 0)
            return wasm_bad_type(reader, offset, byte, "heap type");
        reader->pos++;
        *ret_type = wasm_ref((enum wasm_heap)heap, is_nullable);
        return 0;
    }
    int status = wasm_read_s33(reader, "heap type", &value);
    if (status != 0)
        return status;
    if (value < 0)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "malformed heap type");
    uint32_t idx = value < WASM_TYPE_IDX_MAX ? (uint32_t)value : WASM_TYPE_IDX_MAX;
    *ret_type = wasm_ref_idx(idx, is_nullable);
    return 0;
}

static int read_type(struct wasm_reader *reader, bool is_ref, const char *what,
                     valtype_t *ret_type) {
    uint8_t byte = 0;
    int status = wasm_read_byte(reader, what, &byte);
    if (status != 0)
        return status;
    if (byte == REF_BYTE || byte == REF_NULL_BYTE)
        return wasm_read_heaptype(reader, byte == REF_NULL_BYTE, ret_type);
    valtype_t type = valtype_from_byte(byte);
    uint32_t heap = wasm_heap_from_byte(byte);
    if (heap != 0)
        type = wasm_ref((enum wasm_heap)heap, true);
    if (type == VALTYPE_NONE || (is_ref && !valtype_is_ref(type)))
        return wasm_bad_type(reader, wasm_reader_offset(reader) - 1, byte, what);
    uint64_t offset = wasm_reader_offset(reader) - 1;
    if (type == WASM_V128)
        wasm_use(reader->used, WASM_FEATURE_SIMD, offset, "v128");
    else if (type == WASM_EXTERNREF)
        wasm_use(reader->used, WASM_FEATURE_REFTYPES, offset, "externref");
    else if (type == WASM_FUNCREF && !is_ref) /* WebAssembly 1.0 has tables of it */
        wasm_use(reader->used, WASM_FEATURE_REFTYPES, offset, "funcref as a value type");
    *ret_type = type;
    return 0;
}

int wasm_read_valtype(struct wasm_reader *reader, valtype_t *ret_type) {
    return read_type(reader, false, "value type", ret_type);
}

int wasm_read_reftype(struct wasm_reader *reader, valtype_t *ret_type) {
    return read_type(reader, true, "reference type", ret_type);
}
