/* bench/kernels/vec_dot.c: dot products of f32 arrays that fit the cache, four sums at a time. */
#include "vector.h"

static f32x4 x[2048], y[2048];

static float dot(const f32x4 *left, const f32x4 *right, uint32_t count) {
    f32x4 sums[4] = {{0}, {0}, {0}, {0}};
    for (uint32_t i = 0; i < count; i += 4)
        for (uint32_t k = 0; k < 4; k++)
            sums[k] += left[i + k] * right[i + k];
    f32x4 sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

KERNEL(vec_dot) {
    uint32_t seed = 41;
    for (size_t i = 0; i < COUNT_OF(x); i++)
        for (int k = 0; k < 4; k++) {
            x[i][k] = (float)(rng_next(&seed) % 1000) / 1000;
            y[i][k] = (float)(rng_next(&seed) % 1000) / 1000;
        }
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        x[round % COUNT_OF(x)][0] += 1;
        sum = sum_mix_f64(sum, (double)dot(x, y, COUNT_OF(x)));
    }
    return sum;
}
