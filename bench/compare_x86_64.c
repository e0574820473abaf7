/* bench/compare_x86_64.c: see compare.h. */
#include "compare.h"

#include <immintrin.h>

enum { PAGE = 4096, LINE = 64 };

const char *const compare_names[COMPARE_LOOPS] = {"nothing", "a page's first lines", "a page"};

/* Fetch ahead: `near` lines of the next page before this one, or each line while its neighbour in
 * this page is compared. */
enum ahead { AHEAD_NOTHING, AHEAD_FIRST_LINES, AHEAD_PAGE };

/* Always inlined: gcc sees no effect in a function that only fetches, and drops the calls. */
#define INLINE __attribute__((always_inline)) static inline

INLINE void fetch(const uint8_t *page, const uint8_t *original, size_t at) {
    _mm_prefetch((const char *)page + at, _MM_HINT_T0);
    _mm_prefetch((const char *)original + at, _MM_HINT_T0);
}

INLINE void fetch_ahead(const uint8_t *page, const uint8_t *original, size_t at, enum ahead ahead) {
    if (ahead == AHEAD_PAGE)
        fetch(page + PAGE, original + PAGE, at);
    for (size_t line = 0; ahead == AHEAD_FIRST_LINES && at == 0 && line < 4; line++)
        fetch(page + PAGE, original + PAGE, line * LINE);
}

__attribute__((target("avx2"))) INLINE uint64_t compare_avx2(const uint8_t *pages,
                                                             const uint8_t *originals, size_t count,
                                                             enum ahead ahead) {
    __m256i bits[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t i = 0; i < count; i++) {
        const uint8_t *page = pages + i * PAGE, *original = originals + i * PAGE;
        for (size_t at = 0; at < PAGE; at += LINE) {
            fetch_ahead(page, original, at, i + 1 < count ? ahead : AHEAD_NOTHING);
            for (size_t k = 0; k < 2; k++) {
                const __m256i *a = (const void *)(page + at + 32 * k);
                const __m256i *b = (const void *)(original + at + 32 * k);
                bits[k] = _mm256_or_si256(
                    bits[k], _mm256_xor_si256(_mm256_load_si256(a), _mm256_load_si256(b)));
            }
        }
    }
    const __m256i all = _mm256_or_si256(bits[0], bits[1]);
    return _mm256_testz_si256(all, all) ? 0 : 1;
}

INLINE uint64_t compare_sse2(const uint8_t *pages, const uint8_t *originals, size_t count,
                             enum ahead ahead) {
    __m128i bits = _mm_setzero_si128();
    for (size_t i = 0; i < count; i++) {
        const uint8_t *page = pages + i * PAGE, *original = originals + i * PAGE;
        for (size_t at = 0; at < PAGE; at += LINE) {
            fetch_ahead(page, original, at, i + 1 < count ? ahead : AHEAD_NOTHING);
            for (size_t k = 0; k < LINE; k += 16) {
                const __m128i *a = (const void *)(page + at + k);
                const __m128i *b = (const void *)(original + at + k);
                bits = _mm_or_si128(bits, _mm_xor_si128(_mm_load_si128(a), _mm_load_si128(b)));
            }
        }
    }
    return _mm_movemask_epi8(_mm_cmpeq_epi8(bits, _mm_setzero_si128())) == 0xffff ? 0 : 1;
}

#define LOOPS(kind, attribute)                                                                     \
    attribute static uint64_t kind##_nothing(const uint8_t *pages, const uint8_t *originals,       \
                                             size_t count) {                                       \
        return compare_##kind(pages, originals, count, AHEAD_NOTHING);                             \
    }                                                                                              \
    attribute static uint64_t kind##_lines(const uint8_t *pages, const uint8_t *originals,         \
                                           size_t count) {                                         \
        return compare_##kind(pages, originals, count, AHEAD_FIRST_LINES);                         \
    }                                                                                              \
    attribute static uint64_t kind##_page(const uint8_t *pages, const uint8_t *originals,          \
                                          size_t count) {                                          \
        return compare_##kind(pages, originals, count, AHEAD_PAGE);                                \
    }
LOOPS(sse2, )
LOOPS(avx2, __attribute__((target("avx2"))))

compare_fn compare_loop(uint32_t idx) {
    static const compare_fn narrow[COMPARE_LOOPS] = {sse2_nothing, sse2_lines, sse2_page};
    static const compare_fn wide[COMPARE_LOOPS] = {avx2_nothing, avx2_lines, avx2_page};
    return __builtin_cpu_supports("avx2") ? wide[idx] : narrow[idx];
}
