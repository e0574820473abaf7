/*
 * host/sizing.h: how large everything of an instance is and may become: the image's sizes, the definitions of imported memories and
 * tables, and the sandbox's limits, put together and checked before anything is made.
 */
#ifndef HOST_SIZING_H
#define HOST_SIZING_H

#include "image_internal.h"
#include "pages.h"

struct linkage;

struct sizing {
    uint64_t *memory_bytes;     /* initial, by memory */
    uint64_t *memory_max_pages; /* wasm pages: what each may grow to */
    uint64_t *table_entries; /* by table: initial, and then the current size: the guest's words are copies */
    uint64_t *table_max_entries;
    uint64_t memory_max_bytes; /* all memories together; less what the data region has without a reason */
    uint64_t table_max_total;  /* entries of all tables together */
    uint64_t data_bytes;       /* of the data region, with what the tables may grow into */
};

/* HUSK_E_LIMIT: the image starts with more than the limits allow. */
int sizing_init(struct sizing *sizing, const husk_image *image, const struct linkage *linkage,
                const struct husk_sandbox_options *limits, struct husk_error *err);
void sizing_done(struct sizing *sizing); /* zeroed is fine */

#endif
