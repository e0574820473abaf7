/*
 * base/buf.h: a growable byte buffer. A failed allocation sets `failed`, and later writes do
 * nothing. So a writer checks once, at its end.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t count;
    size_t capacity;
    bool failed; /* out of memory: the contents are incomplete */
};

void buf_done(struct buf *buf);
/* Extend the buffer by `count` uninitialised bytes and return their address; NULL if out of
 * memory. */
void *buf_extend(struct buf *buf, size_t count);
void buf_append(struct buf *buf, const void *bytes, size_t count);
void buf_append_zeros(struct buf *buf, size_t count);
/* Append zeros up to a multiple of `alignment` (a power of two). */
void buf_align(struct buf *buf, size_t alignment);

#endif
