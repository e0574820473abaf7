/* bench/kernels/vec_base64.c: encodes base64, twelve bytes to sixteen letters at a time. */
#include "vector.h"

#define BYTES 12288

static uint8_t input[BYTES + 16], output[BYTES / 3 * 4];

/* Six bits in each byte, to a letter: by ranges. */
static u8x16 letters(u8x16 six) {
    u8x16 result = six + 'A';
    result += (u8x16)(six > 25) & ('a' - 'A' - 26);
    result -= (u8x16)(six > 51) & ('a' - '0' + 26);
    result -= (u8x16)(six > 61) & ('0' - '+' + 10);
    result += (u8x16)(six > 62) & ('/' - '+' - 1);
    return result;
}

static u8x16 encode(u8x16 bytes) {
    u32x4 words = (u32x4)__builtin_shufflevector(bytes, bytes, 2, 1, 0, 0, 5, 4, 3, 3, 8, 7, 6, 6,
                                                 11, 10, 9, 9);
    u32x4 six = (words >> 18 & 0x3f) | (words >> 4 & 0x3f00) | (words << 10 & 0x3f0000) |
                (words << 24 & 0x3f000000);
    return letters((u8x16)six);
}

KERNEL(vec_base64) {
    uint32_t seed = 47;
    for (size_t i = 0; i < BYTES; i++)
        input[i] = (uint8_t)rng_next(&seed);
    for (uint32_t round = 0; round < n; round++) {
        for (size_t i = 0; i < BYTES / 12; i++)
            store_u8(output + 16 * i, encode(load_u8(input + 12 * i)));
        input[round % BYTES] = output[round % sizeof output];
    }
    return sum_bytes(output, sizeof output);
}
