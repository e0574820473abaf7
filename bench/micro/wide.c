/* bench/micro/wide.c: loops over arrays behind pointers, of lengths that the compiler does not
 * know: what the check of a 64-bit address costs where loops should be vectorised. */
#include "../kernels/kernel.h"

#define CALLED __attribute__((noinline))

static float xs[16384], ys[16384];
static uint32_t words[16384];

/* Read at every round, so that nothing is known of them. */
static float *volatile xs_at = xs;
static float *volatile ys_at = ys;
static uint32_t *volatile words_at = words;
static volatile size_t length = 16384;

CALLED static void saxpy(float *x, const float *y, float a, size_t count) {
    for (size_t i = 0; i < count; i++)
        x[i] += a * y[i];
}

CALLED static uint32_t sum_bytes(const uint8_t *at, size_t count) {
    uint32_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += at[i];
    return total;
}

CALLED static uint32_t sum_words(const uint32_t *at, uint32_t count) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += at[i];
    return total;
}

CALLED static void fill(uint32_t *at, size_t count, uint32_t value) {
    for (size_t i = 0; i < count; i++)
        at[i] = value + (uint32_t)i;
}

KERNEL(wide) {
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        fill(words_at, length, round);
        sum = sum_mix(sum, sum_words(words_at, (uint32_t)length));
        sum = sum_mix(sum, sum_bytes((const uint8_t *)words_at, 4 * length));
        saxpy(xs_at, ys_at, 1.5f, length);
    }
    return sum_mix_f64(sum, (double)xs[5]);
}
