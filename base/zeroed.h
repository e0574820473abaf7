/*
 * base/zeroed.h: blocks with zeros in them. Deliberately not calloc() for small ones: glibc's takes
 * no block of those that the thread freed last, as malloc() does, and goes the long way. Right
 * after an exit of the guest, whose caches are cold, that counts. Of a large block calloc() leaves
 * the pages untouched.
 */
#ifndef BASE_ZEROED_H
#define BASE_ZEROED_H

#include <stdlib.h>
#include <string.h>

/* The largest of which glibc keeps the last that a thread freed. */
#define ZEROED_SMALL_BYTES 1032u

/* NULL: out of memory. For free(). */
static inline void *zeroed_new(size_t bytes) {
    void *block = bytes <= ZEROED_SMALL_BYTES ? malloc(bytes) : calloc(1, bytes);
    return block != NULL && bytes <= ZEROED_SMALL_BYTES ? memset(block, 0, bytes) : block;
}

#endif
