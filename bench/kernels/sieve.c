/* bench/kernels/sieve.c: primes below 400,000 by Eratosthenes on bytes, n times. Strided stores. */
#include "kernel.h"

static uint8_t is_composite[400000];

KERNEL(sieve) {
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        __builtin_memset(is_composite, 0, sizeof is_composite);
        uint32_t primes = 0;
        for (uint32_t i = 2; i < COUNT_OF(is_composite); i++) {
            if (is_composite[i])
                continue;
            primes++;
            for (uint32_t k = 2 * i; k < COUNT_OF(is_composite); k += i)
                is_composite[k] = 1;
        }
        sum = sum_mix(sum, primes + round);
    }
    return sum;
}
