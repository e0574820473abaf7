/* SHA-256 against the examples of FIPS 180-4 / NIST's CAVP, in one go and in pieces of every
 * size. */
#include "sha256.h"

#include <stdlib.h>
#include <string.h>

#include "harness.h"

static void check_digest(const void *bytes, size_t count, const char *expected) {
    uint8_t digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    sha256_bytes(bytes, count, digest);
    sha256_hex(digest, hex);
    CHECK_STR(hex, expected);
}

TEST(published_examples) {
    check_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    check_digest(two, strlen(two),
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    CHECK(million != NULL);
    memset(million, 'a', 1000000);
    check_digest(million, 1000000,
                 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

/* Small updates take the plain code, one big one the CPU's instructions (where it has them): they
 * must agree. */
TEST(pieces_agree_with_the_whole) {
    static uint8_t bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + 7);
    for (size_t count = 0; count < sizeof bytes; count += 37) {
        uint8_t whole[SHA256_BYTES], pieces[SHA256_BYTES];
        sha256_bytes(bytes, count, whole);
        for (size_t piece = 1; piece < 130; piece += 21) {
            struct sha256 hash;
            sha256_init(&hash);
            for (size_t at = 0; at < count; at += piece)
                sha256_update(&hash, bytes + at, count - at < piece ? count - at : piece);
            sha256_final(&hash, pieces);
            CHECK_MEM(pieces, whole, SHA256_BYTES);
        }
    }
}

TEST_MAIN()
