/* bench/kernels/bignum.c: modular exponentiation of 512-bit numbers (Montgomery) on 32-bit limbs:
 * 64-bit multiply and carry chains. */
#include "kernel.h"

enum { LIMBS = 16 };
typedef uint32_t number[LIMBS];

static number modulus;
static uint32_t modulus_inverse; /* -1 / modulus mod 2^32 */

static void modulus_make(uint32_t *seed) {
    for (int i = 0; i < LIMBS; i++)
        modulus[i] = rng_next(seed);
    modulus[0] |= 1;
    modulus[LIMBS - 1] |= 0x80000000u;
    uint32_t inverse = 1;
    for (int i = 0; i < 5; i++)
        inverse *= 2 - modulus[0] * inverse;
    modulus_inverse = 0 - inverse;
}

/* to -= modulus if it is not less. */
static void reduce(uint32_t *to, uint32_t carry) {
    number difference;
    uint64_t borrow = 0;
    for (int i = 0; i < LIMBS; i++) {
        uint64_t d = (uint64_t)to[i] - modulus[i] - borrow;
        difference[i] = (uint32_t)d;
        borrow = d >> 63;
    }
    if (carry != 0 || borrow == 0)
        __builtin_memcpy(to, difference, sizeof difference);
}

static void multiply(uint32_t *to, const uint32_t *a, const uint32_t *b) {
    uint32_t t[LIMBS + 2] = {0};
    for (int i = 0; i < LIMBS; i++) {
        uint64_t carry = 0;
        for (int k = 0; k < LIMBS; k++) {
            carry += (uint64_t)a[i] * b[k] + t[k];
            t[k] = (uint32_t)carry;
            carry >>= 32;
        }
        carry += t[LIMBS];
        t[LIMBS] = (uint32_t)carry;
        t[LIMBS + 1] = (uint32_t)(carry >> 32);
        uint32_t factor = t[0] * modulus_inverse;
        carry = ((uint64_t)factor * modulus[0] + t[0]) >> 32;
        for (int k = 1; k < LIMBS; k++) {
            carry += (uint64_t)factor * modulus[k] + t[k];
            t[k - 1] = (uint32_t)carry;
            carry >>= 32;
        }
        carry += t[LIMBS];
        t[LIMBS - 1] = (uint32_t)carry;
        t[LIMBS] = t[LIMBS + 1] + (uint32_t)(carry >> 32);
    }
    uint32_t top = t[LIMBS];
    __builtin_memcpy(to, t, sizeof(number));
    reduce(to, top);
}

KERNEL(bignum) {
    uint32_t seed = 73;
    number base, power;
    modulus_make(&seed);
    for (int i = 0; i < LIMBS; i++) {
        base[i] = rng_next(&seed);
        power[i] = i == 0;
    }
    base[LIMBS - 1] &= 0x7fffffff;
    for (uint32_t round = 0; round < n; round++) {
        for (uint32_t bit = 0; bit < 512; bit++) {
            multiply(power, power, power);
            if ((rng_next(&seed) & 1) != 0)
                multiply(power, power, base);
        }
    }
    uint64_t sum = SUM_START;
    for (int i = 0; i < LIMBS; i++)
        sum = sum_mix(sum, power[i]);
    return sum;
}
