/*
 * The guest runtime's memory functions, built natively under other names: every length and
 * alignment against plain byte loops, including overlaps. An unmapped page follows the buffers, so
 * an access outside the range crashes.
 */
#ifndef HUSK_VECTOR
#define HUSK_VECTOR 0
#endif
#if HUSK_VECTOR >= 1 && defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#elif HUSK_VECTOR >= 1
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define memcpy rt_memcpy
#define memmove rt_memmove
#define memset rt_memset
#define memcmp rt_memcmp
#define bcmp rt_bcmp
#define strlen rt_strlen
#include "../../guest/runtime.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef bcmp
#undef strlen
#if HUSK_VECTOR >= 1 && defined(__clang__)
#pragma clang attribute pop
#elif HUSK_VECTOR >= 1
#pragma GCC pop_options
#endif

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "harness.h"

#define ROOM 16384 /* `rep` starts far above it: TEST(very_large) */

static uint8_t *page_end(void) { /* ROOM bytes that end at an unmapped page */
    uint8_t *room =
        mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED);
    CHECK(munmap(room + ROOM, 4096) == 0);
    return room + ROOM;
}

static size_t length_at(int i) { /* all small ones, then some around every threshold */
    return i < 600 ? (size_t)i : (size_t)600 + (size_t)(i - 600) * 97;
}
#define LENGTHS 690

static bool cpu_runs_this(void) {
    return HUSK_VECTOR == 0 || __builtin_cpu_supports("avx2");
}

TEST(move_all_lengths_and_overlaps) {
    if (!cpu_runs_this())
        SKIP("this CPU has no AVX2");
    uint8_t *end = page_end(), *start = end - ROOM;
    static uint8_t expected[ROOM];
    static const int distances[] = {0, 1, 3, 15, 16, 31, 33, 64, 129, 1000, 5000};
    for (int i = 0; i < LENGTHS; i++) {
        for (size_t d = 0; d < sizeof distances / sizeof distances[0]; d++) {
            size_t count = length_at(i), distance = (size_t)distances[d];
            if (count + distance > ROOM)
                continue;
            for (int up = 0; up < 2; up++) {
                uint8_t *low = end - count - distance, *high = end - count;
                for (size_t k = 0; k < ROOM; k++)
                    start[k] = (uint8_t)(k * 7 + (k >> 8));
                memcpy(expected, start, ROOM);
                uint8_t *to = up != 0 ? high : low, *from = up != 0 ? low : high;
                memmove(expected + (to - start), expected + (from - start), count);
                CHECK(rt_memmove(to, from, count) == to);
                CHECK_MEM(start, expected, ROOM);
            }
        }
    }
}

TEST(set_all_lengths) {
    if (!cpu_runs_this())
        SKIP("this CPU has no AVX2");
    uint8_t *end = page_end(), *start = end - ROOM;
    static uint8_t expected[ROOM];
    for (int i = 0; i < LENGTHS; i++) {
        for (size_t gap = 0; gap < 40; gap += 13) {
            size_t count = length_at(i);
            memset(start, 0x11, ROOM);
            memset(expected, 0x11, ROOM);
            memset(expected + ROOM - count - gap, 0xa5, count);
            CHECK(rt_memset(end - count - gap, 0x7a5, count) == end - count - gap);
            CHECK_MEM(start, expected, ROOM);
        }
    }
}

TEST(very_large) {
    if (!cpu_runs_this())
        SKIP("this CPU has no AVX2");
    const size_t bytes = (5u << 20) + 3;
    uint8_t *from = malloc(bytes + 1), *to = malloc(bytes + 1);
    CHECK(from != NULL && to != NULL);
    for (size_t i = 0; i < bytes; i++)
        from[i] = (uint8_t)(i * 13 + (i >> 9));
    from[bytes] = 1;
    to[bytes] = 2;
    CHECK(rt_memmove(to, from, bytes) == to);
    CHECK_MEM(to, from, bytes);
    CHECK(to[bytes] == 2);
    CHECK(rt_memmove(from + 1, from, bytes) == from + 1); /* overlapping */
    CHECK_MEM(from + 1, to, bytes);
    CHECK(rt_memset(to, 9, bytes) == to);
    CHECK(to[0] == 9 && to[bytes - 1] == 9 && to[bytes] == 2 &&
          rt_memcmp(to, to + 1, bytes - 1) == 0);
    free(from);
    free(to);
}

static int sign(int x) {
    return (x > 0) - (x < 0);
}

TEST(compare_all_lengths_and_first_differences) {
    uint8_t *left = page_end(), *right = page_end();
    memset(left - ROOM, 0x42, ROOM);
    memset(right - ROOM, 0x42, ROOM);
    for (size_t count = 0; count < 300; count += count < 140 ? 1 : 7) {
        CHECK(rt_memcmp(left - count, right - count, count) == 0);
        CHECK(rt_bcmp(left - count, right - count, count) == 0);
        for (size_t at = 0; at < count; at++) {
            for (int later = 0; later < 2; later++) {
                uint8_t *l = left - count, *r = right - count;
                l[at] = later != 0 ? 0x80 : 0x41;
                r[count - 1] ^= later != 0 ? 0xff : 0;
                CHECK_EQ_I64(sign(rt_memcmp(l, r, count)), sign(memcmp(l, r, count)));
                CHECK((rt_bcmp(l, r, count) != 0) == (memcmp(l, r, count) != 0));
                l[at] = 0x42;
                r[count - 1] = 0x42;
            }
        }
    }
}

TEST(strlen_up_to_the_page_end) {
    uint8_t *end = page_end();
    memset(end - ROOM, 'x', ROOM);
    end[-1] = 0;
    for (size_t count = 0; count < 100; count++)
        CHECK_EQ_U64(rt_strlen((const char *)(end - 1 - count)), count);
}

TEST_MAIN()
