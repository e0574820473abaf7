/* bench/kernels/crc32.c: CRC-32 of n times 64 KiB, four tables at a time, and popcounts and bit
 * scans of the same words. */
#include "kernel.h"

static uint32_t tables[4][256];
static uint32_t words[16384];

static void tables_make(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
        tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int t = 1; t < 4; t++) {
            uint32_t before = tables[t - 1][i];
            tables[t][i] = (before >> 8) ^ tables[0][before & 255];
        }
    }
}

KERNEL(crc32) {
    uint32_t seed = 7;
    tables_make();
    for (size_t i = 0; i < COUNT_OF(words); i++)
        words[i] = rng_next(&seed);
    uint32_t crc = ~0u;
    uint32_t bits = 0;
    for (uint32_t round = 0; round < n; round++) {
        for (size_t i = 0; i < COUNT_OF(words); i++) {
            uint32_t x = crc ^ words[i];
            crc = tables[3][x & 255] ^ tables[2][(x >> 8) & 255] ^ tables[1][(x >> 16) & 255] ^
                  tables[0][x >> 24];
            bits += (uint32_t)__builtin_popcount(crc) +
                    (uint32_t)__builtin_clz(x | 1) * (uint32_t)__builtin_ctz(crc | 0x10000);
        }
    }
    return sum_mix(sum_mix(SUM_START, crc), bits);
}
