/* bench/kernels/mix.c: many independent xorshift and multiply streams over an array; compilers may
 * vectorise it. */
#include "kernel.h"

static uint32_t lanes[4096];

KERNEL(mix) {
    uint32_t seed = 99;
    for (size_t i = 0; i < COUNT_OF(lanes); i++)
        lanes[i] = rng_next(&seed);
    for (uint32_t round = 0; round < n; round++) {
        for (size_t i = 0; i < COUNT_OF(lanes); i++) {
            uint32_t x = lanes[i];
            x ^= x >> 16;
            x *= 0x85ebca6bu;
            x ^= x >> 13;
            x *= 0xc2b2ae35u;
            x ^= x >> 16;
            lanes[i] = x + round;
        }
    }
    uint64_t sum = SUM_START;
    for (size_t i = 0; i < COUNT_OF(lanes); i++)
        sum = sum_mix(sum, lanes[i]);
    return sum;
}
