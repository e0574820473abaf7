/* host/vm/pages.h: small helpers for pages, shared by several files of libhusk. */
#ifndef HOST_PAGES_H
#define HOST_PAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "layout.h"

/* The usual reason for a failed mapping: by default a process may have 65,530 mappings, and each
 * sandbox needs several. */
#define MAPPINGS_HINT "out of memory, or of mappings: sysctl vm.max_map_count"

/* The kernel's transparent large pages, and the large entries of page tables. */
#define LARGE_PAGE_BYTES ((uint64_t)2 << 20)

/* Newer (5.14) than the oldest kernel headers we build with. Users include sys/mman.h before. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static inline uint64_t page_up(uint64_t bytes) {
    return (bytes + HUSK_PAGE_SIZE - 1) & ~(uint64_t)(HUSK_PAGE_SIZE - 1);
}

static inline uint64_t large_page_up(uint64_t bytes) {
    return (bytes + LARGE_PAGE_BYTES - 1) & ~(LARGE_PAGE_BYTES - 1);
}

static inline uint64_t large_page_down(uint64_t bytes) {
    return bytes & ~(LARGE_PAGE_BYTES - 1);
}

static inline bool page_is_zero(const uint8_t *page) {
    return page[0] == 0 && memcmp(page, page + 1, HUSK_PAGE_SIZE - 1) == 0;
}

#endif
