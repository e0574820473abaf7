/* bench/kernels/vec_sha256.c: SHA-256 of four messages at a time, one in each lane. */
#include <stdbool.h>

#include "vector.h"

static uint32_t constants[64];
static u32x4 message[64][16];

/* The fraction's first 32 bits of the cube root of a small number (FIPS 180-4, section 4.2.2). */
static uint32_t cube_root_fraction(uint32_t number) {
    uint64_t root = 0; /* times 2^32 */
    for (uint64_t bit = UINT64_C(1) << 35; bit != 0; bit >>= 1) {
        double longer = (double)(root | bit) / 4294967296.0;
        root |= longer * longer * longer <= number ? bit : 0;
    }
    return (uint32_t)root;
}

static bool is_prime(uint32_t number) {
    for (uint32_t i = 2; i * i <= number; i++)
        if (number % i == 0)
            return false;
    return true;
}

static void make_constants(void) {
    uint32_t number = 2;
    for (size_t i = 0; i < 64; number++)
        if (is_prime(number))
            constants[i++] = cube_root_fraction(number);
}

static u32x4 extend(const u32x4 *w) {
    u32x4 early = w[1], late = w[14];
    u32x4 s0 = rotate_left(early, 25) ^ rotate_left(early, 14) ^ early >> 3;
    u32x4 s1 = rotate_left(late, 15) ^ rotate_left(late, 13) ^ late >> 10;
    return w[0] + s0 + w[9] + s1;
}

static void compress(u32x4 state[8], const u32x4 words[16]) {
    u32x4 w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = words[i];
    for (int i = 16; i < 64; i++)
        w[i] = extend(w + i - 16);
    for (int i = 0; i < 8; i++)
        v[i] = state[i];
    for (int i = 0; i < 64; i++) {
        u32x4 e = v[4], a = v[0];
        u32x4 s1 = rotate_left(e, 26) ^ rotate_left(e, 21) ^ rotate_left(e, 7);
        u32x4 t1 = v[7] + s1 + ((e & v[5]) ^ (~e & v[6])) + splat_u32(constants[i]) + w[i];
        u32x4 s0 = rotate_left(a, 30) ^ rotate_left(a, 19) ^ rotate_left(a, 10);
        u32x4 t2 = s0 + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        for (int k = 7; k > 0; k--)
            v[k] = v[k - 1];
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

KERNEL(vec_sha256) {
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint32_t seed = 61;
    u32x4 state[8];
    make_constants();
    for (size_t i = 0; i < COUNT_OF(message); i++)
        for (size_t k = 0; k < 16; k++)
            for (int lane = 0; lane < 4; lane++)
                message[i][k][lane] = rng_next(&seed);
    for (size_t i = 0; i < 8; i++)
        state[i] = splat_u32(first[i]);
    for (uint32_t round = 0; round < n; round++)
        for (size_t i = 0; i < COUNT_OF(message); i++)
            compress(state, message[i]);
    return sum_bytes(state, sizeof state);
}
