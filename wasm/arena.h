/*
 * wasm/arena.h: allocates zeroed memory that is freed all at once. Everything that a struct
 * wasm_module points to, except the wasm bytes, lies in its arena.
 */
#ifndef WASM_ARENA_H
#define WASM_ARENA_H

#include <stddef.h>

struct wasm_arena;

struct wasm_arena *wasm_arena_new(void); /* NULL: out of memory */
void wasm_arena_free(struct wasm_arena *arena);

/* Allocate `count` zeroed elements, aligned for any type; NULL if out of memory. count 0 gives a
 * valid pointer. */
void *wasm_arena_alloc(struct wasm_arena *arena, size_t count, size_t elem_bytes);

/* Make a larger copy of an array: old_count copied elements, then zeros; NULL if out of memory. The
 * old array stays in the arena, so double the size each time. */
void *wasm_arena_extend(struct wasm_arena *arena, const void *old, size_t old_count,
                        size_t new_count, size_t elem_bytes);

#endif
