/* bench/kernels/vec_chacha20.c: ChaCha20, a row of the state in each vector. */
#include "vector.h"

static u32x4 output[256][4];

static void quarter_rounds(u32x4 row[4]) {
    row[0] += row[1];
    row[3] = rotate_left(row[3] ^ row[0], 16);
    row[2] += row[3];
    row[1] = rotate_left(row[1] ^ row[2], 12);
    row[0] += row[1];
    row[3] = rotate_left(row[3] ^ row[0], 8);
    row[2] += row[3];
    row[1] = rotate_left(row[1] ^ row[2], 7);
}

static void block(const u32x4 state[4], u32x4 to[4]) {
    u32x4 row[4] = {state[0], state[1], state[2], state[3]};
    for (int i = 0; i < 10; i++) {
        quarter_rounds(row);
        row[1] = __builtin_shufflevector(row[1], row[1], 1, 2, 3, 0);
        row[2] = __builtin_shufflevector(row[2], row[2], 2, 3, 0, 1);
        row[3] = __builtin_shufflevector(row[3], row[3], 3, 0, 1, 2);
        quarter_rounds(row);
        row[1] = __builtin_shufflevector(row[1], row[1], 3, 0, 1, 2);
        row[2] = __builtin_shufflevector(row[2], row[2], 2, 3, 0, 1);
        row[3] = __builtin_shufflevector(row[3], row[3], 1, 2, 3, 0);
    }
    for (int i = 0; i < 4; i++)
        to[i] ^= row[i] + state[i];
}

KERNEL(vec_chacha20) {
    uint32_t seed = 67;
    u32x4 state[4] = {{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}};
    for (int i = 1; i < 4; i++)
        for (int k = 0; k < 4; k++)
            state[i][k] = rng_next(&seed);
    for (size_t i = 0; i < COUNT_OF(output); i++)
        for (int k = 0; k < 4; k++)
            output[i][k] = splat_u32(0);
    for (uint32_t round = 0; round < n; round++)
        for (size_t i = 0; i < COUNT_OF(output); i++) {
            block(state, output[i]);
            state[3][0]++;
        }
    return sum_bytes(output, sizeof output);
}
