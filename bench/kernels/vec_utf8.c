/*
 * bench/kernels/vec_utf8.c: checks the shape of UTF-8 (leading bytes and those that continue them),
 * sixteen bytes at a time, and counts the characters.
 */
#include "vector.h"

#define BYTES 16384

static uint8_t text[BYTES + 32];

static u8x16 is_at_least(const uint8_t *at, uint8_t least) {
    return (u8x16)(load_u8(at) >= least);
}

static uint32_t sum_lanes(u8x16 counts) {
    uint32_t sum = 0;
    for (int i = 0; i < 16; i++)
        sum += counts[i];
    return sum;
}

/* 64 vectors: their counts fit a byte. */
static uint32_t check_block(const uint8_t *bytes, u8x16 *errors) {
    u8x16 characters = {0};
    for (size_t i = 0; i < 1024; i += 16) {
        const uint8_t *at = bytes + i;
        u8x16 here = load_u8(at);
        u8x16 continues = (u8x16)((here & 0xc0) == 0x80);
        u8x16 must =
            is_at_least(at - 1, 0xc0) | is_at_least(at - 2, 0xe0) | is_at_least(at - 3, 0xf0);
        *errors |= continues ^ must;
        *errors |= (u8x16)(here > 0xf4) | (u8x16)(here == 0xc0) | (u8x16)(here == 0xc1);
        characters += continues + 1;
    }
    return sum_lanes(characters);
}

static uint32_t check(const uint8_t *bytes, size_t count) {
    u8x16 errors = {0};
    uint32_t characters = 0;
    for (size_t i = 0; i < count; i += 1024)
        characters += check_block(bytes + i, &errors);
    return sum_lanes(errors & 1) * 0x10000 + characters;
}

KERNEL(vec_utf8) {
    static const char sample[] = "Gr\xc3\xbc\xc3\x9f"
                                 "e, \xe2\x82\xac 5 \xf0\x9f\x98\x80, plain text; ";
    uint8_t *start = text + 16;
    for (size_t i = 0; i < BYTES; i++)
        start[i] = i < BYTES / (sizeof sample - 1) * (sizeof sample - 1)
                       ? (uint8_t)sample[i % (sizeof sample - 1)]
                       : 'x';
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        sum = sum_mix(sum, check(start, BYTES));
        start[round % BYTES] ^= (uint8_t)(round & 1);
    }
    return sum;
}
