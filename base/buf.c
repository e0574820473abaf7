/* base/buf.c: a growable byte buffer; see buf.h. */
#include "buf.h"

#include <stdlib.h>
#include <string.h>

void buf_done(struct buf *buf) {
    free(buf->data);
    *buf = (struct buf){0};
}

void *buf_extend(struct buf *buf, size_t count) {
    if (buf->failed)
        return NULL;
    if (buf->data == NULL || count > buf->capacity - buf->count) {
        if (count > SIZE_MAX / 4 - buf->count) {
            buf->failed = true;
            return NULL;
        }
        size_t capacity = (buf->count + count) * 2 < 256 ? 256 : (buf->count + count) * 2;
        uint8_t *data = realloc(buf->data, capacity);
        if (data == NULL) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->capacity = capacity;
    }
    void *room = buf->data + buf->count;
    buf->count += count;
    return room;
}

void buf_append(struct buf *buf, const void *bytes, size_t count) {
    void *room = buf_extend(buf, count);
    if (room != NULL && count > 0)
        memcpy(room, bytes, count);
}

void buf_append_zeros(struct buf *buf, size_t count) {
    void *room = buf_extend(buf, count);
    if (room != NULL && count > 0)
        memset(room, 0, count);
}

void buf_align(struct buf *buf, size_t alignment) {
    buf_append_zeros(buf, -buf->count & (alignment - 1));
}
