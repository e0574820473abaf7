/*
 * base/sha256.c: SHA-256 (FIPS 180-4). Husk identifies image contents, wasm modules and cache
 * entries by it. Uses the CPU's SHA instructions if it has them, because opening an image with
 * verification hashes all of it.
 */
#include "sha256.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* FIPS 180-4, 4.2.2 */
static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate_right(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static void sha256_expand(const uint8_t *block, uint32_t w[64]) {
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | (uint32_t)block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate_right(w[i - 15], 7) ^ rotate_right(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate_right(w[i - 2], 17) ^ rotate_right(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
}

static void sha256_blocks_plain(uint32_t state[8], const uint8_t *blocks, size_t count) {
    for (; count > 0; count--, blocks += 64) {
        uint32_t w[64], s[8];
        sha256_expand(blocks, w);
        memcpy(s, state, sizeof s);
        for (int i = 0; i < 64; i++) {
            uint32_t sum1 = rotate_right(s[4], 6) ^ rotate_right(s[4], 11) ^ rotate_right(s[4], 25);
            uint32_t choose = (s[4] & s[5]) ^ (~s[4] & s[6]);
            uint32_t t1 = s[7] + sum1 + choose + sha256_k[i] + w[i];
            uint32_t sum0 = rotate_right(s[0], 2) ^ rotate_right(s[0], 13) ^ rotate_right(s[0], 22);
            uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
            memmove(s + 1, s, 7 * sizeof s[0]);
            s[4] += t1;
            s[0] = t1 + sum0 + majority;
        }
        for (int i = 0; i < 8; i++)
            state[i] += s[i];
    }
}

#if defined(__x86_64__)
/* Intel SDM vol. 2: SHA256RNDS2 works on the state as {A,B,E,F} and {C,D,G,H}, two rounds a
 * time. */
__attribute__((target("sha,sse4.1,ssse3"))) static void
sha256_blocks_ni(uint32_t state[8], const uint8_t *blocks, size_t count) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
    __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
    for (; count > 0; count--, blocks += 64) {
        __m128i abef_old = abef, cdgh_old = cdgh, m[4];
        for (int i = 0; i < 4; i++)
            m[i] = _mm_shuffle_epi8(
                _mm_loadu_si128((const __m128i *)(const void *)(blocks + 16 * i)), swap);
        for (int i = 0; i < 16; i++) {
            __m128i *w = &m[i & 3];
            __m128i wk = _mm_add_epi32(
                *w, _mm_loadu_si128((const __m128i *)(const void *)(sha256_k + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
            const __m128i *w1 = &m[(i + 1) & 3], *w2 = &m[(i + 2) & 3], *w3 = &m[(i + 3) & 3];
            __m128i next = _mm_sha256msg1_epu32(*w, *w1);
            next = _mm_add_epi32(next, _mm_alignr_epi8(*w3, *w2, 4));
            *w = _mm_sha256msg2_epu32(next, *w3);
        }
        abef = _mm_add_epi32(abef, abef_old);
        cdgh = _mm_add_epi32(cdgh, cdgh_old);
    }
    state[0] = (uint32_t)_mm_extract_epi32(abef, 3);
    state[1] = (uint32_t)_mm_extract_epi32(abef, 2);
    state[4] = (uint32_t)_mm_extract_epi32(abef, 1);
    state[5] = (uint32_t)_mm_extract_epi32(abef, 0);
    state[2] = (uint32_t)_mm_extract_epi32(cdgh, 3);
    state[3] = (uint32_t)_mm_extract_epi32(cdgh, 2);
    state[6] = (uint32_t)_mm_extract_epi32(cdgh, 1);
    state[7] = (uint32_t)_mm_extract_epi32(cdgh, 0);
}

static bool cpu_has_sha(void) {
    unsigned eax = 7, ebx, ecx = 0, edx, max = 0;
    __asm__("cpuid" : "+a"(max), "=b"(ebx), "=c"(ecx), "=d"(edx) : "2"(0));
    if (max < 7)
        return false;
    ecx = 0;
    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return (ebx >> 29 & 1) != 0; /* leaf 7, EBX bit 29; SSE4.1 comes with it on every such CPU */
}
#endif

static void sha256_blocks(uint32_t state[8], const uint8_t *blocks, size_t count) {
#if defined(__x86_64__)
    /* CPUID may trap in a VM (some microseconds): not for small inputs */
    if (count >= 4 && cpu_has_sha()) {
        sha256_blocks_ni(state, blocks, count);
        return;
    }
#endif
    sha256_blocks_plain(state, blocks, count);
}

void sha256_init(struct sha256 *hash) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, initial, sizeof initial);
    hash->total_bytes = 0;
}

void sha256_update(struct sha256 *hash, const void *bytes, size_t count) {
    if (count == 0)
        return;
    const uint8_t *pos = bytes;
    size_t used = hash->total_bytes % 64;
    hash->total_bytes += count;
    if (used > 0) {
        size_t part = 64 - used < count ? 64 - used : count;
        memcpy(hash->block + used, pos, part);
        pos += part;
        count -= part;
        if (used + part < 64)
            return;
        sha256_blocks(hash->state, hash->block, 1);
    }
    if (count >= 64)
        sha256_blocks(hash->state, pos, count / 64);
    memcpy(hash->block, pos + (count & ~(size_t)63), count % 64);
}

void sha256_final(struct sha256 *hash, uint8_t ret_digest[SHA256_BYTES]) {
    uint64_t bits = hash->total_bytes * 8;
    uint8_t tail[72] = {0x80};
    size_t zeroes = (size_t)((119 - hash->total_bytes % 64) % 64);
    for (size_t i = 0; i < 8; i++)
        tail[1 + zeroes + i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_update(hash, tail, 1 + zeroes + 8);
    for (size_t i = 0; i < 32; i++)
        ret_digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

void sha256_bytes(const void *bytes, size_t count, uint8_t ret_digest[SHA256_BYTES]) {
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, bytes, count);
    sha256_final(&hash, ret_digest);
}

void sha256_hex(const uint8_t digest[SHA256_BYTES], char ret_hex[2 * SHA256_BYTES + 1]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        ret_hex[2 * i] = digits[digest[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_hex[2 * SHA256_BYTES] = 0;
}
