/*
 * host/files/privfs_key.c: names of entries, and their keys: SipHash-2-4 (Aumasson and Bernstein,
 * "SipHash: a fast short-input PRF") under the layer's secret, so that a guest cannot choose names
 * whose keys meet.
 */
#include <errno.h>
#include <string.h>

#include "privfs_internal.h"

static uint64_t rotate(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned count) {
    for (; count > 0; count--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

uint64_t key_siphash(const uint64_t secret[2], const void *bytes, size_t count) {
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575ull, secret[1] ^ 0x646f72616e646f6dull,
                     secret[0] ^ 0x6c7967656e657261ull, secret[1] ^ 0x7465646279746573ull};
    const uint8_t *at = bytes;
    const uint64_t last_byte = (uint64_t)count << 56;
    for (; count >= 8; at += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    uint64_t last = 0;
    if (count > 0)
        memcpy(&last, at, count);
    last |= last_byte;
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t privfs_key_of(const struct privfs *fs, const char *name, size_t name_bytes) {
    static const uint64_t none[2];
    const uint64_t *secret = space_is_empty(fs) ? none : space_super(fs)->secret;
    /* Positive as an int64_t, too: some guests keep places of directories in one. */
    const uint64_t hash = key_siphash(secret, name, name_bytes) >> 1;
    const uint64_t key = hash & ~(uint64_t)(TREE_KEY_PROBES - 1);
    return key < TREE_KEY_MIN ? key + TREE_KEY_MIN : key;
}

int name_check(const char *name, size_t name_bytes) {
    if (name_bytes > PRIVFS_NAME_MAX_BYTES)
        return -ENAMETOOLONG;
    if (name_bytes == 0 || memchr(name, '/', name_bytes) != NULL ||
        memchr(name, '\0', name_bytes) != NULL ||
        (name[0] == '.' && (name_bytes == 1 || (name_bytes == 2 && name[1] == '.'))))
        return -EINVAL;
    return 0;
}

bool name_is_path(const char *path, size_t bytes) {
    while (bytes > 0) {
        const char *slash = memchr(path, '/', bytes);
        const size_t name_bytes = slash != NULL ? (size_t)(slash - path) : bytes;
        if (name_check(path, name_bytes) != 0)
            return false;
        if (slash == NULL)
            break;
        path = slash + 1;
        bytes -= name_bytes + 1;
        if (bytes == 0)
            return false;
    }
    return true;
}
