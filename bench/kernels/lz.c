/* bench/kernels/lz.c: an LZ77 compressor with a hash of four bytes and its decompressor, checked
 * against the input, n rounds. */
#include "kernel.h"

enum { INPUT_BYTES = 65536, HASH_BITS = 12, MATCH_MIN = 4 };
static uint8_t input[INPUT_BYTES], packed[2 * INPUT_BYTES], output[INPUT_BYTES];
static uint32_t last_at[1 << HASH_BITS];

static uint32_t word_at(const uint8_t *at) {
    uint32_t word;
    __builtin_memcpy(&word, at, 4);
    return word;
}

static void input_make(void) {
    uint32_t seed = 61;
    for (uint32_t i = 0; i < INPUT_BYTES;) {
        uint32_t r = rng_next(&seed);
        uint32_t count = (r & 31) + 1;
        uint32_t back = (r >> 8) % (i + 1);
        for (; count > 0 && i < INPUT_BYTES; count--, i++)
            input[i] =
                (r >> 29) < 5 && back > 0 ? input[i - back] : (uint8_t)(rng_next(&seed) & 31);
    }
}

static uint8_t *count_put(uint8_t *to, uint32_t count) {
    for (; count >= 128; count >>= 7)
        *to++ = (uint8_t)(count | 128);
    *to++ = (uint8_t)count;
    return to;
}

static const uint8_t *count_get(const uint8_t *from, uint32_t *ret_count) {
    uint32_t count = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = *from++;
        count |= (uint32_t)(byte & 127) << shift;
        if (byte < 128) {
            *ret_count = count;
            return from;
        }
    }
}

/* Each sequence: literal count, literals, match length, distance. */
static uint32_t input_pack(void) {
    uint8_t *to = packed;
    uint32_t literals_at = 0;
    __builtin_memset(last_at, 0, sizeof last_at);
    for (uint32_t at = 0; at + MATCH_MIN < INPUT_BYTES;) {
        uint32_t hash = (word_at(input + at) * 2654435761u) >> (32 - HASH_BITS);
        uint32_t before = last_at[hash];
        last_at[hash] = at + 1;
        if (before == 0 || word_at(input + before - 1) != word_at(input + at)) {
            at++;
            continue;
        }
        uint32_t from = before - 1, length = MATCH_MIN;
        while (at + length < INPUT_BYTES && input[from + length] == input[at + length])
            length++;
        to = count_put(to, at - literals_at);
        __builtin_memcpy(to, input + literals_at, at - literals_at);
        to = count_put(count_put(to + (at - literals_at), length), at - from);
        at += length;
        literals_at = at;
    }
    to = count_put(to, INPUT_BYTES - literals_at);
    __builtin_memcpy(to, input + literals_at, INPUT_BYTES - literals_at);
    to = count_put(count_put(to + (INPUT_BYTES - literals_at), 0), 0);
    return (uint32_t)(to - packed);
}

static void output_unpack(uint32_t packed_bytes) {
    const uint8_t *from = packed, *end = packed + packed_bytes;
    for (uint32_t at = 0; from < end;) {
        uint32_t literals, length, distance;
        from = count_get(from, &literals);
        for (uint32_t i = 0; i < literals; i++)
            output[at + i] = from[i];
        at += literals;
        from = count_get(count_get(from + literals, &length), &distance);
        for (uint32_t i = 0; i < length; i++)
            output[at + i] = output[at + i - distance];
        at += length;
    }
}

KERNEL(lz) {
    uint64_t sum = SUM_START;
    input_make();
    for (uint32_t round = 0; round < n; round++) {
        input[(round * 977) & (INPUT_BYTES - 1)] ^= (uint8_t)round;
        uint32_t bytes = input_pack();
        output_unpack(bytes);
        sum = sum_mix(sum, bytes);
        sum = sum_mix(sum, (uint64_t)__builtin_memcmp(input, output, INPUT_BYTES) != 0);
    }
    return sum;
}
