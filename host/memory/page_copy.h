/*
 * host/memory/page_copy.h: making one page equal to its source, writing no more of it than differs:
 * what leaves the first-level cache here is missed by the next call, and a page that was equal
 * stays clean.
 */
#ifndef HOST_PAGE_COPY_H
#define HOST_PAGE_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* page, source: page-aligned, HUSK_PAGE_SIZE bytes; source NULL: zeros. True: the page differed,
 * and is equal from now on. */
typedef bool (*page_copy_fn)(uint8_t *page, const uint8_t *source);

/* The start of the pair that is next: the CPU's own prefetching ends with a page, so the next one
 * would begin by waiting (a restore of 16 pages on Zen 5: 1.6 us without, 1.5 with; four lines or
 * more of each gain no more). A hint: it cannot fault. */
static inline void page_copy_prefetch(const uint8_t *page, const uint8_t *source) {
    enum { LINE_BYTES = 64 };
    __builtin_prefetch(page);
    __builtin_prefetch(page + LINE_BYTES);
    if (source != NULL) {
        __builtin_prefetch(source);
        __builtin_prefetch(source + LINE_BYTES);
    }
}

/* The fastest that this CPU can run. */
page_copy_fn page_copy_best(void);

/* Each of them, for tests; page_copy_avx2 only where the CPU has AVX2. */
bool page_copy_sse2(uint8_t *page, const uint8_t *source);
bool page_copy_avx2(uint8_t *page, const uint8_t *source);

#endif
