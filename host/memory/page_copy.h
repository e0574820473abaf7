/*
 * host/memory/page_copy.h: makes one page equal to its source, and writes only the parts that
 * differ. So fewer lines leave the first-level cache, which the next call would miss, and an equal
 * page stays clean.
 *
 * Right after an exit of the guest, most lines are not in the first-level cache. The CPU prefetches
 * by itself only within a page, and begins anew in each one. So these functions prefetch
 * PAGE_COPY_AHEAD_BYTES ahead, and in the last part of a page the start of the next one.
 */
#ifndef HOST_PAGE_COPY_H
#define HOST_PAGE_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With half of it 16 pages take 7 % longer, with twice as much they take as long. */
#define PAGE_COPY_AHEAD_BYTES 1024u

/* Pages are page-aligned and have HUSK_PAGE_SIZE bytes. */
struct page_pair {
    uint8_t *page;
    const uint8_t *source; /* the contents that the page must get; NULL: zeros */
};

/* Returns true if the page differed. The start of `next` is prefetched; `next` may be the same
 * page. A prefetch is a hint: it cannot fault. */
typedef bool (*page_copy_fn)(struct page_pair pair, struct page_pair next);

/* GCC takes a function that only prefetches for one that does nothing, and drops calls of it that
 * it did not inline before. */
#define PAGE_COPY_INLINE static inline __attribute__((always_inline))

/* Prefetch the first `lines` cache lines of the page, and of its source. */
PAGE_COPY_INLINE void page_copy_prefetch(struct page_pair pair, size_t lines) {
    enum { LINE_BYTES = 64 };
    const uint8_t *source = pair.source != NULL ? pair.source : pair.page;
#pragma GCC unroll 4
    for (size_t at = 0; at < lines * LINE_BYTES; at += LINE_BYTES) {
        __builtin_prefetch(pair.page + at);
        __builtin_prefetch(source + at);
    }
}

/* The fastest function that this CPU can run. */
page_copy_fn page_copy_best(void);

/* The functions, for tests. Call page_copy_avx2() only if the CPU has AVX2. */
bool page_copy_sse2(struct page_pair pair, struct page_pair next);
bool page_copy_avx2(struct page_pair pair, struct page_pair next);

#endif
