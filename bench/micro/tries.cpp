/*
 * bench/micro/tries.cpp: the same loops with and without a try around them or in them, and throws,
 * for the benchmarks of exceptions. C++ without its library: what that has to do for an exception
 * is not measured.
 */
#include <stdint.h>

#define EXPORT(name) extern "C" __attribute__((export_name(#name)))
#define NOINLINE __attribute__((noinline))
#define TAG_CPP 0 /* __builtin_wasm_throw()'s number of the tag of C++ */

/* In libc++abi otherwise. */
__asm__(".globl __cpp_exception\n.tagtype __cpp_exception i32\n__cpp_exception:\n");

extern "C" void *__cxa_begin_catch(void *exception) {
    return exception;
}
extern "C" void __cxa_end_catch(void) {
}

static uint8_t table[4096];
static volatile uint32_t bad = 0xffffffff; /* step() throws there */

/* Every loop starts from the same memory. */
static inline void clear(void) {
    __builtin_memset(table, 0, sizeof table);
}

NOINLINE static uint32_t step(uint32_t x, uint32_t i) {
    if (i == bad)
        __builtin_wasm_throw(TAG_CPP, &table);
    return (x << 5 | x >> 27) ^ i * 0x9e3779b1u;
}

NOINLINE static uint32_t look(const uint8_t *at, uint32_t x) {
    if (x == bad)
        __builtin_wasm_throw(TAG_CPP, &table);
    return at[x % 64] + x % 7;
}

/* A loop of calls. */
static inline uint32_t calls(uint32_t count) {
    uint32_t x = 1;
    for (uint32_t i = 0; i < count; i++)
        x = step(x, i);
    return x;
}

/* A loop of calls and of memory, with more live values than registers. */
static inline uint32_t busy(uint32_t count) {
    clear();
    uint32_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        a += look(table + i % 4000, a);
        b ^= a + table[b % 4096];
        c += b * 3;
        d = d << 3 ^ c;
        e -= d;
        f += e ^ a;
        table[i % 4096] = (uint8_t)f;
        sum += (uint64_t)f * d;
    }
    return a ^ b ^ c ^ d ^ e ^ f ^ (uint32_t)(sum >> 32);
}

/* Work between calls: one of these for 16 bytes. */
static inline uint32_t bytes(uint32_t count) {
    clear();
    uint32_t x = 0;
    for (uint32_t i = 0; i < count; i += 16) {
        for (uint32_t k = 0; k < 16; k++)
            x = x * 31 + table[(i + k) % 4096];
        x = step(x, i);
    }
    return x;
}

#define PAIR(name)                                                                                 \
    EXPORT(name##_plain) uint32_t name##_plain(uint32_t count) {                                   \
        return name(count);                                                                        \
    }                                                                                              \
    EXPORT(name##_try) uint32_t name##_try(uint32_t count) {                                       \
        try {                                                                                      \
            return name(count);                                                                    \
        } catch (...) {                                                                            \
            return 0;                                                                              \
        }                                                                                          \
    }
PAIR(calls)
PAIR(busy)
PAIR(bytes)

/* A try in the loop, in each round. */
EXPORT(inner_plain) uint32_t inner_plain(uint32_t count) {
    clear();
    uint32_t x = 1;
    for (uint32_t i = 0; i < count; i++) {
        x = step(x, i);
        x += table[x % 4096];
    }
    return x;
}
EXPORT(inner_try) uint32_t inner_try(uint32_t count) {
    clear();
    uint32_t x = 1;
    for (uint32_t i = 0; i < count; i++) {
        try {
            x = step(x, i);
        } catch (...) {
            x = 7;
        }
        x += table[x % 4096];
    }
    return x;
}

NOINLINE static uint32_t frames(uint32_t depth, uint32_t x) {
    if (depth == 0)
        __builtin_wasm_throw(TAG_CPP, &table);
    return frames(depth - 1, x * 3 + depth) + x;
}

/* `count` throws, each through the frames of `depth` calls. */
static inline uint32_t throws(uint32_t count, uint32_t depth) {
    uint32_t caught = 0;
    for (uint32_t i = 0; i < count; i++) {
        try {
            caught += frames(depth, i);
        } catch (...) {
            caught++;
        }
    }
    return caught;
}
EXPORT(throws_1) uint32_t throws_1(uint32_t count) {
    return throws(count, 1);
}
EXPORT(throws_10) uint32_t throws_10(uint32_t count) {
    return throws(count, 10);
}
EXPORT(throws_100) uint32_t throws_100(uint32_t count) {
    return throws(count, 100);
}
