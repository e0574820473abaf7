/*
 * host/memory/page_copy_x86_64.c: see page_copy.h. The speed of the second-level cache bounds the
 * comparison, if the loop is short enough. Unrolled and with 32-byte vectors, it is. With 16-byte
 * vectors it is not quite. 64-byte vectors gain nothing more. The loop has no branches, because
 * most would be mispredicted: written pages have few written blocks.
 */
#include "page_copy.h"

#include <immintrin.h>
#include <stddef.h>

#include "layout.h"
#include "hot.h"

#define BLOCK_BYTES 128u
#define LINE_BYTES 64u
#define BLOCKS (HUSK_PAGE_SIZE / BLOCK_BYTES) /* a bit of a mask each */
#define BLOCKS_AHEAD (PAGE_COPY_AHEAD_BYTES / BLOCK_BYTES)
_Static_assert(BLOCKS == 32, "the masks have 32 bits");

/* The blocks [from, to) of a page, and what to prefetch meanwhile: as many blocks. Where there is
 * no source, that is the page twice. */
struct part {
    struct page_pair pair;
    uint32_t from, to;
    const uint8_t *ahead_page, *ahead_source;
};

static inline struct part first_part(struct page_pair pair) {
    const uint8_t *source = pair.source != NULL ? pair.source : pair.page;
    return (struct part){pair, 0, BLOCKS - BLOCKS_AHEAD, pair.page + PAGE_COPY_AHEAD_BYTES,
                         source + PAGE_COPY_AHEAD_BYTES};
}

static inline struct part last_part(struct page_pair pair, struct page_pair next) {
    return (struct part){pair, BLOCKS - BLOCKS_AHEAD, BLOCKS, next.page,
                         next.source != NULL ? next.source : next.page};
}

PAGE_COPY_INLINE void prefetch_block(const struct part *part, uint32_t block) {
    const size_t at = (size_t)(block - part->from) * BLOCK_BYTES;
    __builtin_prefetch(part->ahead_page + at);
    __builtin_prefetch(part->ahead_page + at + LINE_BYTES);
    __builtin_prefetch(part->ahead_source + at);
    __builtin_prefetch(part->ahead_source + at + LINE_BYTES);
}

/* ---- SSE2: every x86-64 ---- */

#define PARTS16 (BLOCK_BYTES / 16)

static inline __m128i block_bits_sse2(const __m128i *block, const __m128i *source) {
    __m128i bits = _mm_setzero_si128();
#pragma GCC unroll 8
    for (size_t i = 0; i < PARTS16; i++)
        bits = _mm_or_si128(bits, source != NULL ? _mm_xor_si128(block[i], source[i]) : block[i]);
    return bits;
}

static inline uint32_t differing_sse2(struct part part, bool has_source) {
    uint32_t mask = 0;
    for (uint32_t i = part.from; i < part.to; i++) {
        const size_t at = (size_t)i * BLOCK_BYTES;
        const __m128i *from =
            has_source ? (const __m128i *)(const void *)(part.pair.source + at) : NULL;
        prefetch_block(&part, i);
        __m128i bits = block_bits_sse2((const __m128i *)(const void *)(part.pair.page + at), from);
        __m128i is_zero = _mm_cmpeq_epi8(bits, _mm_setzero_si128());
        mask |= (uint32_t)(_mm_movemask_epi8(is_zero) != 0xffff) << i;
    }
    return mask;
}

HOT bool page_copy_sse2(struct page_pair pair, struct page_pair next) {
    const struct part first = first_part(pair), last = last_part(pair, next);
    const uint32_t differing = pair.source != NULL
                                   ? differing_sse2(first, true) | differing_sse2(last, true)
                                   : differing_sse2(first, false) | differing_sse2(last, false);
    for (uint32_t left = differing; left != 0; left &= left - 1) {
        const size_t at = (size_t)__builtin_ctz(left) * BLOCK_BYTES;
        for (size_t i = 0; i < BLOCK_BYTES; i += 16) {
            __m128i bytes = pair.source != NULL
                                ? _mm_load_si128((const void *)(pair.source + at + i))
                                : _mm_setzero_si128();
            _mm_store_si128((void *)(pair.page + at + i), bytes);
        }
    }
    return differing != 0;
}

/* ---- AVX2 ---- */

#define AVX2 __attribute__((target("avx2")))
#define PARTS32 (BLOCK_BYTES / 32)

AVX2 static inline __m256i block_bits_avx2(const __m256i *block, const __m256i *source) {
    __m256i bits = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (size_t i = 0; i < PARTS32; i++)
        bits = _mm256_or_si256(bits,
                               source != NULL ? _mm256_xor_si256(block[i], source[i]) : block[i]);
    return bits;
}

AVX2 static inline uint32_t differing_avx2(struct part part, bool has_source) {
    uint32_t mask = 0;
    for (uint32_t i = part.from; i < part.to; i++) {
        const size_t at = (size_t)i * BLOCK_BYTES;
        const __m256i *from =
            has_source ? (const __m256i *)(const void *)(part.pair.source + at) : NULL;
        prefetch_block(&part, i);
        __m256i bits = block_bits_avx2((const __m256i *)(const void *)(part.pair.page + at), from);
        mask |= (uint32_t)!_mm256_testz_si256(bits, bits) << i;
    }
    return mask;
}

AVX2 HOT bool page_copy_avx2(struct page_pair pair, struct page_pair next) {
    const struct part first = first_part(pair), last = last_part(pair, next);
    const uint32_t differing = pair.source != NULL
                                   ? differing_avx2(first, true) | differing_avx2(last, true)
                                   : differing_avx2(first, false) | differing_avx2(last, false);
    for (uint32_t left = differing; left != 0; left &= left - 1) {
        const size_t at = (size_t)__builtin_ctz(left) * BLOCK_BYTES;
        for (size_t i = 0; i < BLOCK_BYTES; i += 32) {
            __m256i bytes = pair.source != NULL
                                ? _mm256_load_si256((const void *)(pair.source + at + i))
                                : _mm256_setzero_si256();
            _mm256_store_si256((void *)(pair.page + at + i), bytes);
        }
    }
    return differing != 0;
}

HOT page_copy_fn page_copy_best(void) {
    return __builtin_cpu_supports("avx2") ? page_copy_avx2 : page_copy_sse2;
}
