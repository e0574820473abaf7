/* bench/kernels/blur.c: a 3 × 3 box blur of an 8-bit picture, back and forth, n times. Widening
 * byte arithmetic. */
#include "kernel.h"

enum { WIDTH = 512, HEIGHT = 256 };
static uint8_t pictures[2][HEIGHT][WIDTH];

static void picture_blur(uint8_t (*to)[WIDTH], uint8_t (*from)[WIDTH]) {
    for (int row = 1; row < HEIGHT - 1; row++) {
        for (int column = 1; column < WIDTH - 1; column++) {
            uint32_t total = 0;
            for (int dy = -1; dy <= 1; dy++)
                total += (uint32_t)from[row + dy][column - 1] + from[row + dy][column] +
                         from[row + dy][column + 1];
            to[row][column] = (uint8_t)((total * 7282u) >> 16);
        }
    }
}

KERNEL(blur) {
    uint32_t seed = 41;
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++) {
            pictures[0][row][column] = (uint8_t)rng_next(&seed);
            pictures[1][row][column] = pictures[0][row][column];
        }
    }
    for (uint32_t round = 0; round < n; round++)
        picture_blur(pictures[(round + 1) & 1], pictures[round & 1]);
    uint64_t sum = SUM_START;
    for (int row = 0; row < HEIGHT; row++)
        for (int column = 0; column < WIDTH; column++)
            sum = sum_mix(sum, pictures[n & 1][row][column]);
    return sum;
}
