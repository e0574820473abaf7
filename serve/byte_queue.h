/*
 * serve/byte_queue.h: a queue of bytes, between the thread of a connection and that of a guest. It
 * grows up to what its user allows.
 */
#ifndef SERVE_BYTE_QUEUE_H
#define SERVE_BYTE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

/* All zeros: empty. */
struct bytes {
    char *at; /* `count` bytes from `begin` on */
    size_t begin, count, capacity;
};

/* Append; false: no memory, and nothing has changed. */
bool bytes_put(struct bytes *bytes, const void *from, size_t count);
/* Take up to `count` bytes from the front. Returns how many. */
size_t bytes_take(struct bytes *bytes, void *to, size_t count);
/* Drop bytes at the front: at most as many as there are. */
void bytes_drop(struct bytes *bytes, size_t count);
/* The first of them; never NULL. */
const char *bytes_front(const struct bytes *bytes);
void bytes_done(struct bytes *bytes);

#endif
