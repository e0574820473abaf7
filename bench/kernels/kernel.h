/*
 * bench/kernels/kernel.h: shared by the kernels. A kernel is one file of plain, freestanding C. It
 * is built natively into husk_bench as kernel_<name>(), and to wasm with the export "run". Both
 * return a checksum of all results. So the compiler cannot optimise work away, and the two can be
 * compared.
 */
#ifndef BENCH_KERNEL_H
#define BENCH_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __wasm__
#define KERNEL_ATTR __attribute__((export_name("run")))
#else
#define KERNEL_ATTR
#endif

/* KERNEL(name) { … uses n … } defines uint64_t kernel_<name>(uint32_t n). */
#define KERNEL(name)                                                                               \
    KERNEL_ATTR uint64_t kernel_##name(uint32_t n);                                                \
    uint64_t kernel_##name(uint32_t n)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* xorshift32: the kernels' only source of "random" input. The state must not be 0. */
static inline uint32_t rng_next(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *state = x;
    return x;
}

/* Fold a value into a checksum (FNV-1a, on 64-bit words). */
static inline uint64_t sum_mix(uint64_t sum, uint64_t value) {
    return (sum ^ value) * 0x100000001b3ull;
}

static inline uint64_t sum_mix_f64(uint64_t sum, double value) {
    union {
        double f;
        uint64_t u;
    } bits = {value};
    return sum_mix(sum, bits.u);
}

#define SUM_START 0xcbf29ce484222325ull

#endif
