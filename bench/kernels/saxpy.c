/* bench/kernels/saxpy.c: y = a * x + y over f32 arrays that fit the cache, n times. Vectorises. */
#include "kernel.h"

static float x[8192], y[8192];

static void saxpy(float *restrict to, const float *restrict from, float factor, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        to[i] = factor * from[i] + to[i];
}

KERNEL(saxpy) {
    uint32_t seed = 37;
    for (size_t i = 0; i < COUNT_OF(x); i++) {
        x[i] = (float)(rng_next(&seed) % 1000) / 1000;
        y[i] = 0;
    }
    for (uint32_t round = 0; round < n; round++)
        saxpy(y, x, (round & 1) != 0 ? 0.5f : -0.499f, COUNT_OF(x));
    uint64_t sum = SUM_START;
    for (size_t i = 0; i < COUNT_OF(y); i++)
        sum = sum_mix_f64(sum, (double)y[i]);
    return sum;
}
