/*
 * wasm/arena.c: a list of zeroed chunks. Small requests share a chunk, and a large request gets its
 * own.
 */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)32 * 1024)
#define LARGE_BYTES (CHUNK_BYTES / 4)

struct chunk {
    struct chunk *next;
    alignas(max_align_t) unsigned char bytes[];
};

struct wasm_arena {
    struct chunk *chunks;
    unsigned char *pos; /* free part of the current small chunk */
    size_t left;
};

struct wasm_arena *wasm_arena_new(void) {
    return calloc(1, sizeof(struct wasm_arena));
}

void wasm_arena_free(struct wasm_arena *arena) {
    if (arena == NULL)
        return;
    for (struct chunk *chunk = arena->chunks; chunk != NULL;) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(arena);
}

static struct chunk *chunk_add(struct wasm_arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX - sizeof(struct chunk))
        return NULL;
    struct chunk *chunk = calloc(1, sizeof(struct chunk) + bytes);
    if (chunk != NULL) {
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    return chunk;
}

void *wasm_arena_alloc(struct wasm_arena *arena, size_t count, size_t elem_bytes) {
    const size_t align = alignof(max_align_t);
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, elem_bytes, &bytes) || bytes > SIZE_MAX - align)
        return NULL;
    bytes = (bytes + align - 1) / align * align;
    if (bytes >= LARGE_BYTES) {
        struct chunk *large = chunk_add(arena, bytes);
        return large != NULL ? large->bytes : NULL;
    }
    if (bytes > arena->left || arena->pos == NULL) {
        struct chunk *chunk = chunk_add(arena, CHUNK_BYTES);
        if (chunk == NULL)
            return NULL;
        arena->pos = chunk->bytes;
        arena->left = CHUNK_BYTES;
    }
    void *result = arena->pos;
    arena->pos += bytes;
    arena->left -= bytes;
    return result;
}

void *wasm_arena_extend(struct wasm_arena *arena, const void *old, size_t old_count,
                        size_t new_count, size_t elem_bytes) {
    void *array = wasm_arena_alloc(arena, new_count, elem_bytes);
    if (array != NULL && old_count != 0)
        memcpy(array, old, old_count * elem_bytes);
    return array;
}
