/*
 * bench/compare.h: reads pages and compares them with their originals: the least work that a
 * restore must do, if it is not told which pages were written.
 */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include <stddef.h>
#include <stdint.h>

/* Compare `count` pages of 4096 bytes, page-aligned, and read all of both. Returns 0 if they are
 * equal. */
typedef uint64_t (*compare_fn)(const uint8_t *pages, const uint8_t *originals, size_t count);

/* Loops that differ in what they fetch ahead. Which is fastest depends on the CPU. */
enum { COMPARE_LOOPS = 3 };
extern const char *const compare_names[COMPARE_LOOPS];
/* The loop with the widest vectors that pay on this CPU. */
compare_fn compare_loop(uint32_t idx);

#endif
