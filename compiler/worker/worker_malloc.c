/*
 * compiler/worker/worker_malloc.c: malloc() of the process that compiles. LLVM makes and drops
 * millions of small objects; with the C library's allocator that is a tenth of the time. Small
 * blocks come from blocks.c, all others from the C library, and so does what has an alignment.
 *
 * The C library allows a program to have these functions itself (glibc's manual, "Replacing
 * malloc"). No check of misuse is made, as glibc makes some: hostile input that takes LLVM over is
 * contained by contain.h, not by the allocator. Deliberately no malloc_usable_size(), which nothing
 * here calls.
 */
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "sanitized.h"

#if !IS_SANITIZED && defined(__GLIBC__)
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *pointer, size_t bytes);
void __libc_free(void *pointer);

/* LLVM's and the C library's own calls must find these, too. */
#pragma GCC visibility push(default)
void *malloc(size_t bytes) {
    void *block = block_take(bytes);
    return block != NULL ? block : __libc_malloc(bytes);
}

void free(void *pointer) {
    if (block_is_one(pointer))
        block_give(pointer);
    else
        __libc_free(pointer);
}

void *calloc(size_t count, size_t bytes) {
    size_t all;
    void *block = NULL;
    if (!__builtin_mul_overflow(count, bytes, &all))
        block = block_take(all);
    return block != NULL ? memset(block, 0, all) : __libc_calloc(count, bytes);
}

void *realloc(void *pointer, size_t bytes) {
    if (pointer == NULL)
        return malloc(bytes);
    if (!block_is_one(pointer))
        return __libc_realloc(pointer, bytes);
    const size_t old_bytes = block_bytes(pointer);
    if (bytes <= old_bytes && bytes > old_bytes / 2)
        return pointer;
    void *moved = malloc(bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, pointer, bytes < old_bytes ? bytes : old_bytes);
    block_give(pointer);
    return moved;
}
#pragma GCC visibility pop
#endif
