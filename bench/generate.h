/*
 * bench/generate.h: generates a large wasm module, so that compile speed can be measured without an
 * extra file.
 */
#ifndef BENCH_GENERATE_H
#define BENCH_GENERATE_H

#include <stddef.h>
#include <stdint.h>

/* Make a module with functions_count functions (i32, i32) -> i32. They have loops, branches, memory
 * accesses and calls of earlier functions; the last function is exported as "run". *ret_wasm is
 * malloc()ed. Returns -1 if out of memory. */
int generate_module(uint32_t functions_count, uint8_t **ret_wasm, size_t *ret_count);

#endif
