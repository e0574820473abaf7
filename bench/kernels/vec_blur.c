/* bench/kernels/vec_blur.c: a 3 x 3 blur (1 2 1) of a grey picture, eight pixels at a time. */
#include "vector.h"

#define WIDTH 512
#define HEIGHT 256

static uint8_t picture[HEIGHT][WIDTH], blurred[HEIGHT][WIDTH];

static u16x8 wide_low(u8x16 value) {
    return __builtin_convertvector(__builtin_shufflevector(value, value, 0, 1, 2, 3, 4, 5, 6, 7),
                                   u16x8);
}

static u16x8 wide_high(u8x16 value) {
    return __builtin_convertvector(
        __builtin_shufflevector(value, value, 8, 9, 10, 11, 12, 13, 14, 15), u16x8);
}

struct pixels {
    u16x8 low, high;
};

static struct pixels column(const uint8_t *at) {
    u8x16 above = load_u8(at - WIDTH), here = load_u8(at), below = load_u8(at + WIDTH);
    return (struct pixels){wide_low(above) + wide_low(here) * 2 + wide_low(below),
                           wide_high(above) + wide_high(here) * 2 + wide_high(below)};
}

static void blur_row(const uint8_t *from, uint8_t *to) {
    for (uint32_t i = 1; i + 16 < WIDTH; i += 16) {
        struct pixels left = column(from + i - 1), here = column(from + i);
        struct pixels right = column(from + i + 1);
        u16x8 first = (left.low + here.low * 2 + right.low + 8) >> 4;
        u16x8 second = (left.high + here.high * 2 + right.high + 8) >> 4;
        store_u8(to + i, __builtin_shufflevector((u8x16)first, (u8x16)second, 0, 2, 4, 6, 8, 10, 12,
                                                 14, 16, 18, 20, 22, 24, 26, 28, 30));
    }
}

KERNEL(vec_blur) {
    uint32_t seed = 43;
    for (size_t row = 0; row < HEIGHT; row++)
        for (size_t i = 0; i < WIDTH; i++)
            picture[row][i] = (uint8_t)rng_next(&seed);
    for (uint32_t round = 0; round < n; round++) {
        for (size_t row = 1; row + 1 < HEIGHT; row++)
            blur_row(picture[row], blurred[row]);
        picture[round % HEIGHT][round % WIDTH] = blurred[1 + round % 99][77];
    }
    return sum_bytes(blurred, sizeof blurred);
}
