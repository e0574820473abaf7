/* tests/support/damage.h: bytes that LLVM or another tool wrote, damaged in many ways, for a reader
 * of them. */
#ifndef TESTS_SUPPORT_DAMAGE_H
#define TESTS_SUPPORT_DAMAGE_H

#include <string.h>

#include "harness.h"

/* Calls `read` with every beginning of the bytes, with each bit flipped, and 20,000 times with a
 * few bytes at random. At most 512 bytes. */
static inline void damage(const uint8_t *bytes, size_t count, uint32_t seed,
                          void (*read)(const uint8_t *bytes, size_t count)) {
    uint8_t copy[512];
    uint32_t random = seed;
    CHECK(count <= sizeof copy);
    for (size_t cut = 0; cut < count; cut++)
        read(bytes, cut);
    for (size_t bit = 0; bit < count * 8; bit++) {
        memcpy(copy, bytes, count);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        read(copy, count);
    }
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, bytes, count);
        for (int flips = 0; flips <= round % 4; flips++) {
            random = random * 1664525 + 1013904223;
            copy[(random >> 8) % count] = (uint8_t)(random >> 24);
        }
        read(copy, count);
    }
}

#endif
