/* bench/kernels/vec_matmul.c: multiplies f32 matrices, blocks of 4 x 8 in registers. */
#include "vector.h"

#define SIZE 128

static float a[SIZE][SIZE];
static f32x4 b[SIZE][SIZE / 4], c[SIZE][SIZE / 4];

static void block(size_t row, size_t column) {
    f32x4 sums[4][2] = {{{0}}};
    for (size_t k = 0; k < SIZE; k++)
        for (size_t i = 0; i < 4; i++) {
            float factor = a[row + i][k];
            f32x4 factors = {factor, factor, factor, factor};
            sums[i][0] += factors * b[k][column];
            sums[i][1] += factors * b[k][column + 1];
        }
    for (size_t i = 0; i < 4; i++) {
        c[row + i][column] = sums[i][0];
        c[row + i][column + 1] = sums[i][1];
    }
}

KERNEL(vec_matmul) {
    uint32_t seed = 53;
    for (size_t i = 0; i < SIZE; i++)
        for (size_t k = 0; k < SIZE; k++) {
            a[i][k] = (float)(rng_next(&seed) % 1000) / 1000;
            b[i][k / 4][k % 4] = (float)(rng_next(&seed) % 1000) / 1000;
        }
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        for (size_t row = 0; row < SIZE; row += 4)
            for (size_t column = 0; column < SIZE / 4; column += 2)
                block(row, column);
        a[round % SIZE][0] += 1;
        sum = sum_mix_f64(sum, (double)c[round % SIZE][round % (SIZE / 4)][1]);
    }
    return sum;
}
