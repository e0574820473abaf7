/*
 * base/xxh3_avx2.c: XXH3-128 for CPUs with AVX2. This file alone is compiled for them (-mavx2):
 * the header chooses its vectors when it is compiled. xxh3.c asks the CPU.
 */
#include "xxh3.h"

#if defined(__AVX2__)
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

void xxh3_128_avx2(const void *bytes, size_t count, uint8_t ret_hash[XXH3_128_BYTES]) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, count));
    memcpy(ret_hash, &canonical, sizeof canonical);
}
#endif
