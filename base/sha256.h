/* base/sha256.h: SHA-256 (FIPS 180-4), streaming and in one go. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

struct sha256 {
    uint32_t state[8];
    uint64_t total_bytes;
    uint8_t block[64];
};

void sha256_init(struct sha256 *hash);
void sha256_update(struct sha256 *hash, const void *bytes, size_t count);
/* Initialise the struct again before you use it again. */
void sha256_final(struct sha256 *hash, uint8_t ret_digest[SHA256_BYTES]);

void sha256_bytes(const void *bytes, size_t count, uint8_t ret_digest[SHA256_BYTES]);
/* Lower-case hexadecimal, NUL-terminated. */
void sha256_hex(const uint8_t digest[SHA256_BYTES], char ret_hex[2 * SHA256_BYTES + 1]);

#endif
