/* bench/kernels/sum.c: reductions: a byte sum, a 32-bit maximum, a conditional count and a 64-bit
 * dot product, n times. */
#include "kernel.h"

static uint8_t bytes[16384];
static uint32_t words[4096];

static uint32_t bytes_sum(const uint8_t *at, uint32_t count) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += at[i];
    return total;
}

static uint32_t words_max(const uint32_t *at, uint32_t count) {
    uint32_t max = 0;
    for (uint32_t i = 0; i < count; i++)
        max = at[i] > max ? at[i] : max;
    return max;
}

static uint32_t words_above(const uint32_t *at, uint32_t count, uint32_t limit) {
    uint32_t above = 0;
    for (uint32_t i = 0; i < count; i++)
        above += at[i] > limit;
    return above;
}

static uint64_t words_dot(const uint32_t *at, uint32_t count) {
    uint64_t total = 0;
    for (uint32_t i = 0; i + 1 < count; i++)
        total += (uint64_t)at[i] * at[i + 1];
    return total;
}

KERNEL(sum) {
    uint32_t seed = 43;
    for (size_t i = 0; i < COUNT_OF(bytes); i++)
        bytes[i] = (uint8_t)rng_next(&seed);
    for (size_t i = 0; i < COUNT_OF(words); i++)
        words[i] = rng_next(&seed);
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        bytes[round & 16383]++;
        words[round & 4095] ^= round;
        sum = sum_mix(sum, bytes_sum(bytes, COUNT_OF(bytes)));
        sum = sum_mix(sum, words_max(words, COUNT_OF(words)));
        sum = sum_mix(sum, words_above(words, COUNT_OF(words), round << 20));
        sum = sum_mix(sum, words_dot(words, COUNT_OF(words)));
    }
    return sum;
}
