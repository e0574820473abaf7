/*
 * base/xxh3.h: XXH3-128 of xxHash, in its canonical form (big-endian). The library's header is
 * compiled in, so nothing is needed at run time.
 */
#ifndef BASE_XXH3_H
#define BASE_XXH3_H

#include <stddef.h>
#include <stdint.h>

#define XXH3_128_BYTES 16

void xxh3_128(const void *bytes, size_t count, uint8_t ret_hash[XXH3_128_BYTES]);

/* xxh3_avx2.c: the same for a CPU with AVX2; twice as fast. */
void xxh3_128_avx2(const void *bytes, size_t count, uint8_t ret_hash[XXH3_128_BYTES]);

#endif
