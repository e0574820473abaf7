/*
 * host/memory/arena.h: one sandbox's private memory: a contiguous reservation of host addresses,
 *
 *   data | guard | mailbox | guard | stack | guard | memory 0 | guard | memory 1 | …
 *
 * Private (copy-on-write) over the image file where the image has bytes, anonymous zero pages
 * elsewhere; what a memory does not use yet is inaccessible. How the guest gets to it:
 * machine_space.c.
 *
 * arena_span() is the only way from a guest address to a host pointer, and it takes the length.
 */
#ifndef HOST_ARENA_H
#define HOST_ARENA_H

#include "husk.h"
#include "layout.h"
#include "mailbox.h"

struct arena_memory {
    uint8_t *hva;
    uint64_t bytes;         /* current size: what the guest sees */
    uint64_t covered_bytes; /* accessible here, and the VM's; >= bytes */
    uint64_t reserve_bytes;
};

/* Where something else than the image is mapped (memory_image.c). */
struct arena_overlay {
    uint64_t gva, bytes;
};

/* Each is a mapping, of which a process has 65,530. */
#define ARENA_OVERLAYS_MAX 1024u

struct arena {
    uint8_t *base;
    uint64_t base_bytes;
    uint8_t *data;
    uint64_t data_bytes;
    struct husk_mailbox *mailbox;
    uint8_t *stack;
    uint64_t stack_bytes;
    struct arena_memory *memories;
    uint32_t memories_count;
    struct arena_overlay *overlays;
    uint32_t overlays_count;
};

struct arena_sizes {
    uint64_t data_bytes, stack_bytes; /* page multiples */
    const uint64_t *memory_bytes;     /* initial; wasm-page multiples */
    const uint64_t *memory_reserve_bytes;
};

int arena_init(struct arena *arena, husk_image *image, const struct arena_sizes *sizes,
               struct husk_error *err);
void arena_done(struct arena *arena); /* after the VM is destroyed; a zeroed arena is fine */
static inline uint64_t arena_memories_bytes(const struct arena *arena) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < arena->memories_count; i++)
        total += arena->memories[i].bytes;
    return total;
}

/* A piece of the arena that the guest can write. */
struct arena_region {
    uint8_t *hva;
    uint64_t gva;
    uint64_t bytes; /* accessible on the host; a memory's may be more than its size */
};

#define ARENA_REGIONS_MAX (3u + HUSK_MAX_MEMORIES)

/* All regions, ascending by host address. Returns how many. */
uint32_t arena_regions(const struct arena *arena, struct arena_region *ret_regions);
uint8_t *arena_hva_of(const struct arena *arena, uint64_t gva_value); /* NULL: in no region */
/* Remember an overlay: HUSK_E_NOMEM, HUSK_E_LIMIT. */
int arena_overlay_push(struct arena *arena, uint64_t gva_value, uint64_t bytes,
                       struct husk_error *err);
/* It is mapped: those that it covers are no more. */
void arena_overlay_settle(struct arena *arena);
void arena_overlay_pop(struct arena *arena);
/* The guest address of a host address in the arena. */
uint64_t arena_gva_of(const struct arena *arena, const uint8_t *hva);
/* Lay the image's contents over [gva, gva + bytes) of one region anew: private, shared with the
 * image again. */
int arena_map_range(struct arena *arena, husk_image *image, uint64_t gva_value, uint64_t bytes,
                    struct husk_error *err);
/* Make at least the first `bytes` of a memory, which has fewer, accessible. Returns how many bytes
 * are to be added to covered_bytes, by the caller: its size and what is covered do not change. */
int arena_make_room(struct arena *arena, uint32_t mem_idx, uint64_t bytes, uint64_t *ret_more_bytes,
                    struct husk_error *err);

/* Discard private pages: what is mapped below them shows again. 0 or -1 with errno. */
int arena_discard(uint8_t *hva, uint64_t bytes);

/* NULL unless all of [gva, gva + count) lies in one writable region: data, mailbox, stack, a memory
 * up to its size. */
uint8_t *arena_span(const struct arena *arena, uint64_t gva_value, uint64_t count);

#endif
