/* base/xxh3.c: see xxh3.h. */
#include "xxh3.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(XXH_VERSION_NUMBER >= 800, "XXH3-128 is final from version 0.8.0 on");
_Static_assert(sizeof(XXH128_canonical_t) == XXH3_128_BYTES, "the size of XXH3-128");

#define LONG_BYTES 4096u /* below that the two do not differ much */

void xxh3_128(const void *bytes, size_t count, uint8_t ret_hash[XXH3_128_BYTES]) {
#if defined(__x86_64__)
    if (count >= LONG_BYTES && __builtin_cpu_supports("avx2")) {
        xxh3_128_avx2(bytes, count, ret_hash);
        return;
    }
#endif
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, count));
    memcpy(ret_hash, &canonical, sizeof canonical);
}
