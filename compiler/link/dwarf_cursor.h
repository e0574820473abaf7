/*
 * compiler/link/dwarf_cursor.h: reads numbers from DWARF and .eh_frame bytes. A read past the end
 * gives 0 and sets `failed`. So a parser checks once per record.
 */
#ifndef COMPILER_DWARF_CURSOR_H
#define COMPILER_DWARF_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *pos, *end;
    bool failed;
};

static inline size_t cursor_left(const struct cursor *cursor) {
    return (size_t)(cursor->end - cursor->pos);
}

/* The next `count` bytes, or NULL. */
static inline const uint8_t *cursor_skip(struct cursor *cursor, uint64_t count) {
    if (count > cursor_left(cursor)) {
        cursor->failed = true;
        cursor->pos = cursor->end;
        return NULL;
    }
    const uint8_t *start = cursor->pos;
    cursor->pos += count;
    return start;
}

/* Little-endian, 1 … 8 bytes. */
static inline uint64_t cursor_uint(struct cursor *cursor, size_t bytes) {
    uint64_t value = 0;
    const uint8_t *start = cursor_skip(cursor, bytes);
    if (start != NULL)
        memcpy(&value, start, bytes);
    return value;
}

static inline uint64_t cursor_uleb(struct cursor *cursor) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        const uint8_t *byte = cursor_skip(cursor, 1);
        if (byte == NULL)
            return 0;
        if (shift < 64)
            value |= (uint64_t)(*byte & 0x7f) << shift;
        if ((*byte & 0x80) == 0)
            return value;
    }
}

static inline int64_t cursor_sleb(struct cursor *cursor) {
    uint64_t value = 0;
    for (unsigned shift = 0;;) {
        const uint8_t *byte = cursor_skip(cursor, 1);
        if (byte == NULL)
            return 0;
        if (shift < 64)
            value |= (uint64_t)(*byte & 0x7f) << shift;
        shift += 7;
        if ((*byte & 0x80) == 0)
            return (int64_t)(shift < 64 && (*byte & 0x40) != 0 ? value | ~(uint64_t)0 << shift
                                                               : value);
    }
}

/* Pointer encodings (LSB, 10.5.1): 4 or 8 bytes, absolute or relative to its own place `here`. A
 * relative one that is 0 stays 0: it stands for nothing. False: another encoding, or no bytes
 * left. */
#define DWARF_POINTER_OMIT 0xff
static inline bool cursor_pointer(struct cursor *cursor, uint8_t encoding, uint64_t here,
                                  uint64_t *ret_pointer) {
    uint64_t value;
    switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c: value = cursor_uint(cursor, 8); break;
    case 0x03: value = cursor_uint(cursor, 4); break;
    case 0x0b: value = (uint64_t)(int64_t)(int32_t)(uint32_t)cursor_uint(cursor, 4); break;
    default: return false;
    }
    *ret_pointer = (encoding & 0x70) == 0x10 && value != 0 ? value + here : value;
    return (encoding & 0xe0) == 0 && !cursor->failed;
}

/* A NUL-terminated string, or NULL. */
static inline const char *cursor_string(struct cursor *cursor) {
    const uint8_t *start = cursor->pos;
    const uint8_t *nul = cursor_left(cursor) == 0 ? NULL : memchr(start, 0, cursor_left(cursor));
    if (nul == NULL) {
        cursor->failed = true;
        cursor->pos = cursor->end;
        return NULL;
    }
    cursor->pos = nul + 1;
    return (const char *)start;
}

#endif
