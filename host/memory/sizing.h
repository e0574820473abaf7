/*
 * host/memory/sizing.h: the sizes of everything in an instance, and their maxima. sizing_make.c
 * fills it.
 */
#ifndef HOST_SIZING_H
#define HOST_SIZING_H

#include <stdint.h>
#include <stdlib.h>

struct sizing {
    uint64_t *memory_bytes;     /* initial sizes, by memory */
    uint64_t *memory_max_pages; /* wasm pages: the maximum of each memory */
    /* current sizes, by table, at first the initial ones. The guest's size words are copies */
    uint64_t *table_entries;
    uint64_t *table_max_entries;
    /* of all memories together, less the excess of the data region (image_data_excess()) */
    uint64_t memory_max_bytes;
    uint64_t table_max_total; /* entries of all tables together */
    /* of the data region, including the space that tables may grow into */
    uint64_t data_bytes;
    /* of the private layer: what the image has, and the most that it may have; page multiples */
    uint64_t files_bytes, files_max_bytes;
};

/* One block has all arrays: so many words. */
static inline size_t sizing_words(uint32_t memories_count, uint32_t tables_count) {
    return 2 * ((size_t)memories_count + tables_count);
}

static inline void sizing_place(struct sizing *sizing, uint64_t *words, uint32_t memories_count,
                                uint32_t tables_count) {
    sizing->memory_bytes = words;
    sizing->memory_max_pages = sizing->memory_bytes + memories_count;
    sizing->table_entries = sizing->memory_max_pages + memories_count;
    sizing->table_max_entries = sizing->table_entries + tables_count;
}

static inline void sizing_done(struct sizing *sizing) { /* a zeroed struct is allowed */
    free(sizing->memory_bytes);                         /* one block holds all arrays */
    *sizing = (struct sizing){0};
}

#endif
