/*
 * host/memory/sizing.h: how large everything of an instance is, and may become. sizing_make.c puts
 * it together.
 */
#ifndef HOST_SIZING_H
#define HOST_SIZING_H

#include <stdint.h>
#include <stdlib.h>

struct sizing {
    uint64_t *memory_bytes;     /* initial, by memory */
    uint64_t *memory_max_pages; /* wasm pages: what each may grow to */
    uint64_t *table_entries; /* by table: initial, and then the current size: the guest's words are
                                copies */
    uint64_t *table_max_entries;
    uint64_t memory_max_bytes; /* all memories together; less what the data region has without a
                                  reason */
    uint64_t table_max_total;  /* entries of all tables together */
    uint64_t data_bytes;       /* of the data region, with what the tables may grow into */
};

static inline void sizing_done(struct sizing *sizing) { /* zeroed is fine */
    free(sizing->memory_bytes);                         /* the one block of all arrays */
    *sizing = (struct sizing){0};
}

#endif
