/*
 * host/vm/syspages_tables_x86_64.h: the page tables of one address space, in host memory that is
 * (or becomes) guest-physical memory. Only syspages_x86_64.c uses it. Entries only change from
 * not-present to present. tables_unmap() is the exception: its caller discards the backing of the
 * pages, because on a shadow-paging host a stale translation survives any flush. Accessed and dirty
 * bits are preset, so the CPU never writes an entry.
 */
#ifndef HOST_SYSPAGES_TABLES_X86_64_H
#define HOST_SYSPAGES_TABLES_X86_64_H

#include <stdbool.h>

#include "syspages.h"
#include "syspages_layout_x86_64.h"

#define PAGE_SUPERVISOR 8u /* in addition to enum page_prot: ring 3 has no access */

/* A run of table pages: contiguous in host memory and in guest-physical memory, zeroed, used in
 * order. */
struct table_chunk {
    uint8_t *hva;
    uint64_t gpa;
    uint32_t pages_count;
    uint32_t pages_used;
};

/* Pages of a first chunk of this length are taken by a hash of what they serve, not in order. */
#define TABLES_BOUND_PAGES (SYS_STD_PAGES - SYS_FIXED_PAGES)

/* Plain data: a copy with another chunks[0].hva describes the same tables in a copied mapping. */
struct page_tables {
    struct table_chunk chunks[SYS_SPACE_SLOTS_MAX];
    uint32_t chunks_count; /* the first page of the first chunk is the root (PML4) */
    /* What each page of the first chunk serves, now or earlier: a level and a range of addresses
     * (binding_of()); 0: nothing yet. */
    uint32_t bound[TABLES_BOUND_PAGES];
};

void tables_add_chunk(struct page_tables *tables, const struct table_chunk *chunk);
uint32_t tables_free_pages(const struct page_tables *tables);
/* Check a mapping, and count the further table pages that it needs. HUSK_E_INVAL, HUSK_E_LIMIT. */
int tables_check(const struct page_tables *tables, const struct page_mapping *mapping,
                 uint32_t *ret_pages_needed, struct husk_error *err);
/* Map a mapping that tables_check() accepted. At least the counted number of pages must be free.
 * Cannot fail. */
void tables_map(struct page_tables *tables, const struct page_mapping *mapping);
static inline bool tables_are_bound(const struct page_tables *tables) {
    return tables->chunks_count == 1 && tables->chunks[0].pages_count == TABLES_BOUND_PAGES;
}
/* Can tables with the bindings of `tables` get the contents of `next`? Both are bound. */
bool tables_can_become(const struct page_tables *tables, const struct page_tables *next);
/* Do that. `next` has its own chunks[0].hva. */
void tables_become(struct page_tables *tables, const struct page_tables *next);
/* Are all pages of the range mapped, by entries that lie completely inside it? */
bool tables_can_unmap(const struct page_tables *tables, uint64_t gva_v, uint64_t bytes);
void tables_unmap(struct page_tables *tables, uint64_t gva_v, uint64_t bytes);

#endif
