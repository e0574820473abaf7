/*
 * bench/generate.h: a large wasm module made on the spot, so that compile speed can be measured
 * without a file from elsewhere.
 */
#ifndef BENCH_GENERATE_H
#define BENCH_GENERATE_H

#include <stddef.h>
#include <stdint.h>

/* functions_count functions of (i32, i32) -> i32 with loops, branches, memory accesses and calls of
 * earlier ones, all exported through one; malloc()ed. -1 if there is no memory. */
int generate_module(uint32_t functions_count, uint8_t **ret_wasm, size_t *ret_count);

#endif
