/* bench/kernels/copy.c: copies, moves and fills of mixed sizes, the short ones by hand-written
 * loops, as codecs do. */
#include "kernel.h"

static uint8_t from[262144], to[262144];

static void bytes_copy(uint8_t *d, const uint8_t *s, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        d[i] = s[i];
}

static void words_reverse(uint8_t *d, const uint8_t *s, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t word;
        __builtin_memcpy(&word, s + 4 * i, 4);
        word = __builtin_bswap32(word);
        __builtin_memcpy(d + 4 * (count - 1 - i), &word, 4);
    }
}

KERNEL(copy) {
    uint32_t seed = 5;
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)rng_next(&seed);
    for (uint32_t round = 0; round < n; round++) {
        uint32_t r = rng_next(&seed);
        uint32_t count = (r & 15) == 0 ? r >> 16 : (r >> 20) & 255;
        uint32_t source = rng_next(&seed) & 0x1ffff, target = rng_next(&seed) & 0x1ffff;
        switch (r >> 4 & 3) {
        case 0: __builtin_memcpy(to + target, from + source, count); break;
        case 1: __builtin_memset(to + target, (int)(r & 255), count); break;
        case 2: bytes_copy(to + target, from + source, count); break;
        default: words_reverse(to + target, from + source, count / 4);
        }
    }
    uint64_t sum = SUM_START;
    for (size_t i = 0; i < sizeof to; i += 8) {
        uint64_t word;
        __builtin_memcpy(&word, to + i, 8);
        sum = sum_mix(sum, word);
    }
    return sum;
}
