/*
 * host/page_copy.h: making one page equal to its source, writing no more of it than differs: what leaves the first-level cache here is
 * missed by the next call, and a page that was equal stays clean.
 */
#ifndef HOST_PAGE_COPY_H
#define HOST_PAGE_COPY_H

#include <stdbool.h>
#include <stdint.h>

/* page, source: page-aligned, HUSK_PAGE_SIZE bytes; source NULL: zeros. True: the page differed, and is equal from now on. */
typedef bool (*page_copy_fn)(uint8_t *page, const uint8_t *source);

/* The fastest that this CPU can run. */
page_copy_fn page_copy_best(void);

/* Each of them, for tests; page_copy_avx2 only where the CPU has AVX2. */
bool page_copy_sse2(uint8_t *page, const uint8_t *source);
bool page_copy_avx2(uint8_t *page, const uint8_t *source);

#endif
