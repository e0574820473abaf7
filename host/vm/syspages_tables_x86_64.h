/*
 * host/vm/syspages_tables_x86_64.h: page tables of one address space, in host memory that is (or
 * will be) guest-physical memory. Used by syspages_x86_64.c alone. Entries only ever go from
 * not-present to present, but for tables_unmap(), whose caller discards the backing of the pages (a
 * stale translation on a shadow-paging host outlives any flush), accessed and dirty bits are preset
 * so that the CPU never writes an entry.
 */
#ifndef HOST_SYSPAGES_TABLES_X86_64_H
#define HOST_SYSPAGES_TABLES_X86_64_H

#include <stdbool.h>

#include "syspages.h"

#define PAGE_SUPERVISOR 8u /* beside enum page_prot: not for ring 3 */

/* A run of table pages: contiguous in host and in guest-physical memory, zeroed, handed out in
 * order. */
struct table_chunk {
    uint8_t *hva;
    uint64_t gpa;
    uint32_t pages_count;
    uint32_t pages_used;
};

/* Plain data: copying it and moving chunks[0].hva gives the same tables in a copied mapping. */
struct page_tables {
    struct table_chunk chunks[SYS_SPACE_SLOTS_MAX];
    uint32_t chunks_count; /* the first page of the first chunk is the root (PML4) */
};

void tables_add_chunk(struct page_tables *tables, const struct table_chunk *chunk);
uint32_t tables_free_pages(const struct page_tables *tables);
/* Check a mapping and count the table pages that it still needs. HUSK_E_INVAL, HUSK_E_LIMIT. */
int tables_check(const struct page_tables *tables, const struct page_mapping *mapping,
                 uint32_t *ret_pages_needed, struct husk_error *err);
/* Map what tables_check() accepted; at least as many pages must be free. Cannot fail. */
void tables_map(struct page_tables *tables, const struct page_mapping *mapping);
/* Are all pages of the range mapped, by entries that lie in it as a whole? */
bool tables_can_unmap(const struct page_tables *tables, uint64_t gva_v, uint64_t bytes);
void tables_unmap(struct page_tables *tables, uint64_t gva_v, uint64_t bytes);

#endif
