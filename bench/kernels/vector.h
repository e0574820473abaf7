/*
 * bench/kernels/vector.h: vectors of 128 bits, for the kernels of group "simd": clang's extensions,
 * from which native code and wasm are built alike.
 */
#ifndef BENCH_VECTOR_H
#define BENCH_VECTOR_H

#include "kernel.h"

typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));

/* At any address. */
static inline u8x16 load_u8(const void *at) {
    u8x16 value;
    __builtin_memcpy(&value, at, 16);
    return value;
}

static inline void store_u8(void *at, u8x16 value) {
    __builtin_memcpy(at, &value, 16);
}

static inline u32x4 splat_u32(uint32_t value) {
    return (u32x4){value, value, value, value};
}

static inline u32x4 rotate_left(u32x4 value, int count) {
    return value << count | value >> (32 - count);
}

static inline uint64_t sum_bytes(const void *at, size_t count) {
    const uint8_t *bytes = at;
    uint64_t sum = SUM_START;
    for (size_t i = 0; i < count; i++)
        sum = sum_mix(sum, bytes[i]);
    return sum;
}

#endif
