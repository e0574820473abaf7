/*
 * serve/byte_queue.c: a queue of bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "byte_queue.h"

#define FIRST_BYTES 1024u

static bool make_room(struct bytes *bytes, size_t count) {
    size_t capacity = bytes->capacity != 0 ? bytes->capacity : FIRST_BYTES;
    if (bytes->count + count <= bytes->capacity) { /* there is, once they are at the start */
        memmove(bytes->at, bytes->at + bytes->begin, bytes->count);
        bytes->begin = 0;
        return true;
    }
    while (capacity < bytes->count + count)
        capacity *= 2;
    char *grown = malloc(capacity);
    if (grown == NULL)
        return false;
    if (bytes->count != 0)
        memcpy(grown, bytes->at + bytes->begin, bytes->count);
    free(bytes->at);
    bytes->at = grown;
    bytes->begin = 0;
    bytes->capacity = capacity;
    return true;
}

bool bytes_put(struct bytes *bytes, const void *from, size_t count) {
    if (count == 0)
        return true;
    if (bytes->begin + bytes->count + count > bytes->capacity && !make_room(bytes, count))
        return false;
    memcpy(bytes->at + bytes->begin + bytes->count, from, count);
    bytes->count += count;
    return true;
}

size_t bytes_take(struct bytes *bytes, void *to, size_t count) {
    const size_t taken = count < bytes->count ? count : bytes->count;
    if (taken != 0)
        memcpy(to, bytes->at + bytes->begin, taken);
    bytes_drop(bytes, taken);
    return taken;
}

void bytes_drop(struct bytes *bytes, size_t count) {
    bytes->begin += count;
    bytes->count -= count;
    if (bytes->count == 0)
        bytes->begin = 0;
}

const char *bytes_front(const struct bytes *bytes) {
    return bytes->at != NULL ? bytes->at + bytes->begin : "";
}

void bytes_done(struct bytes *bytes) {
    free(bytes->at);
    *bytes = (struct bytes){0};
}
