/* bench/kernels/matmul_f32.c: 256 × 256 f32 matrices multiplied n times, row order (i, k, j): the
 * inner loop vectorises. */
#include "kernel.h"

enum { SIZE = 256 };
static float a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

static void matrices_make(void) {
    uint32_t seed = 11;
    for (int i = 0; i < SIZE; i++) {
        for (int k = 0; k < SIZE; k++) {
            a[i][k] = (float)(rng_next(&seed) % 1000) / 1000;
            b[i][k] = (float)(rng_next(&seed) % 1000) / 1000;
            c[i][k] = 0;
        }
    }
}

static void matrices_multiply(void) {
    for (int i = 0; i < SIZE; i++) {
        for (int k = 0; k < SIZE; k++) {
            float factor = a[i][k];
            for (int j = 0; j < SIZE; j++)
                c[i][j] += factor * b[k][j];
        }
    }
}

KERNEL(matmul_f32) {
    matrices_make();
    for (uint32_t round = 0; round < n; round++)
        matrices_multiply();
    uint64_t sum = SUM_START;
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++)
            sum = sum_mix_f64(sum, c[i][j]);
    return sum;
}
