/*
 * host/memory/arena.h: one sandbox's memory, a contiguous reservation of host addresses:
 *
 *   everything below memory 0 (space_layout.h) | memory 0 | guard | files | guard | memory 1 …
 *
 * The read-only part is a mapping of the image's file that nobody can write. For the system pages
 * there is only the place: syspages.h. The rest is private. Where the image has bytes, the arena is
 * a private (copy-on-write) mapping of the image file.
 * Elsewhere it is anonymous zero pages. The unused part of a memory is inaccessible.
 * machine_space.c gives the arena to the guest, except `files`: the private layer of the sandbox's
 * files (host/files/privfs.h), which the host alone reads and writes. It has guest addresses, so
 * that images, layers and the hot set treat it as memory. But no slot and no page table has it.
 *
 * Only arena_span() turns a guest address into a host pointer, and it takes the length.
 */
#ifndef HOST_ARENA_H
#define HOST_ARENA_H

#include "husk.h"
#include "layout.h"
#include "mailbox.h"
#include "space_layout.h"

struct arena_memory {
    uint8_t *hva;
    uint64_t bytes;         /* current size, which the guest sees */
    uint64_t covered_bytes; /* accessible to the host and in the VM's slots; >= bytes */
    uint64_t reserve_bytes;
};

/* A range over which a memory image is mapped in place of the image (memory_image.c). */
struct arena_overlay {
    uint64_t gva, bytes;
};

/* Each is a mapping, and a process has 65,530 of them. */
#define ARENA_OVERLAYS_MAX 1024u

struct arena {
    uint8_t *base;
    uint64_t base_bytes;
    uint8_t *mem0; /* where memory 0 is, or would be; aligned as its guest-physical address is */
    uint64_t low_bytes;  /* reserved below it */
    uint64_t room_bytes; /* reserved for it: any module's memory may have so much */
    struct space_layout layout;
    uint8_t *data;
    uint64_t data_bytes;
    struct husk_mailbox *mailbox;
    uint8_t *stack;
    uint64_t stack_bytes;
    struct arena_memory *memories;
    uint32_t memories_count;
    struct arena_memory files; /* bytes = covered_bytes; reserve_bytes 0: there is none */
    struct arena_overlay *overlays;
    uint32_t overlays_count;
    /* a copy of the image's read-only part, in large pages (large_copy.h); NULL: the image's own */
    uint8_t *code;
    uint64_t code_bytes;
};

struct arena_sizes {
    struct space_layout layout;
    uint64_t
        room_bytes; /* for memory 0, if there are so many addresses; not less than its reserve */
    const uint64_t *memory_bytes; /* initial sizes; wasm-page multiples */
    const uint64_t *memory_reserve_bytes;
    uint64_t files_bytes, files_reserve_bytes; /* page multiples */
};

int arena_init(struct arena *arena, husk_image *image, const struct arena_sizes *sizes,
               struct husk_error *err);
void arena_done(struct arena *arena); /* after the VM is destroyed; a zeroed arena is allowed */
static inline uint64_t arena_memories_bytes(const struct arena *arena) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < arena->memories_count; i++)
        total += arena->memories[i].bytes;
    return total;
}

/* A part of the arena with contents. The guest can write it, unless it is hidden. */
struct arena_region {
    uint8_t *hva;
    uint64_t gva;
    uint64_t bytes; /* accessible to the host; for a memory, it may be more than the size */
    bool is_hidden; /* the private layer: it must not get into a slot */
};

#define ARENA_REGIONS_MAX (4u + HUSK_MAX_MEMORIES)

/* List all regions, ascending by host address and by guest address. Returns their number. */
uint32_t arena_regions(const struct arena *arena, struct arena_region *ret_regions);
/* NULL if the address is in no region */
uint8_t *arena_hva_of(const struct arena *arena, uint64_t gva_value);
/* The place of the system pages. */
static inline uint8_t *arena_sys_place(const struct arena *arena) {
    return arena->mem0 - arena->layout.sys;
}
/* takeover.c: the lanes below the mailbox get the contents of another image, and its layout. What
 * was there is gone; on failure some may be inaccessible. */
int arena_map_lanes(struct arena *arena, husk_image *image, const struct space_layout *layout,
                    struct husk_error *err);
/* Record an overlay. HUSK_E_NOMEM, HUSK_E_LIMIT. */
int arena_overlay_push(struct arena *arena, uint64_t gva_value, uint64_t bytes,
                       struct husk_error *err);
/* The last overlay is mapped now: remove the overlays that it covers. */
void arena_overlay_settle(struct arena *arena);
void arena_overlay_pop(struct arena *arena);
/* The guest address of a host address in the arena. */
uint64_t arena_gva_of(const struct arena *arena, const uint8_t *hva);
/* Map the image's contents over [gva, gva + bytes) of one region again. The pages are private
 * mappings that share the image's pages. */
int arena_map_range(struct arena *arena, husk_image *image, uint64_t gva_value, uint64_t bytes,
                    struct husk_error *err);
/* Make at least the first `bytes` of a memory accessible; fewer are accessible now. The caller must
 * add *ret_more_bytes to covered_bytes. This function changes neither `bytes` nor
 * `covered_bytes`. */
int arena_make_room(struct arena *arena, uint32_t mem_idx, uint64_t bytes, uint64_t *ret_more_bytes,
                    struct husk_error *err);

/* Make at least the first `bytes` of the private layer accessible. HUSK_E_LIMIT: more than its
 * reserve. */
int arena_cover_files(struct arena *arena, uint64_t bytes, struct husk_error *err);

/* Discard private pages, so that the mapped contents show again. Returns 0, or -1 with errno. */
int arena_discard(uint8_t *hva, uint64_t bytes);

/* The host address of [gva, gva + count). NULL unless all of it lies in one writable region: data,
 * mailbox, stack, or a memory up to its size. Never in the private layer: a guest may have chosen
 * the address. */
uint8_t *arena_span(const struct arena *arena, uint64_t gva_value, uint64_t count);

#endif
