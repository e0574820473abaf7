/*
 * tests/support/random_below.h: random numbers of a suite that makes programs (xorshift64): the
 * same for the same seed, which is not 0.
 */
#ifndef TESTS_SUPPORT_RANDOM_BELOW_H
#define TESTS_SUPPORT_RANDOM_BELOW_H

#include <stdint.h>

static uint64_t random_state; /* the seed, at first */

static inline uint32_t random_below(uint32_t count) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % count;
}

#endif
