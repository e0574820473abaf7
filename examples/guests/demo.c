/*
 * examples/guests/demo.c: a guest program in plain C, for `make demo`. Nothing in it knows that it
 * runs in a virtual machine.
 *
 *   demo words          counts the text on stdin, hashes it (SHA-256), prints the most frequent
 *                       words
 *   demo crash DEPTH    calls itself DEPTH deep, then writes through a wild pointer
 *   demo spin           never ends
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SHA-256, FIPS 180-4. The constants are the fractions of cube and square roots of primes. */
struct sha256 {
    uint32_t state[8];
    uint8_t block[64];
    uint64_t bytes;
};

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

static uint32_t rotate(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

static void sha256_block(struct sha256 *hash) {
    uint32_t w[64];
    uint32_t s[8];
    for (int i = 0; i < 16; i++) {
        const uint8_t *p = hash->block + 4 * i;
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(s, hash->state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
        uint32_t t1 = s[7] + s1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha256_k[i] + w[i];
        uint32_t s0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
        uint32_t t2 = s0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        hash->state[i] += s[i];
}

static void sha256_init(struct sha256 *hash) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, start, sizeof start);
    hash->bytes = 0;
}

static void sha256_add(struct sha256 *hash, const uint8_t *data, size_t count) {
    for (size_t i = 0; i < count; i++) {
        hash->block[hash->bytes++ % 64] = data[i];
        if (hash->bytes % 64 == 0)
            sha256_block(hash);
    }
}

static void sha256_print(struct sha256 *hash) {
    uint64_t bits = hash->bytes * 8;
    sha256_add(hash, (const uint8_t *)"\x80", 1);
    while (hash->bytes % 64 != 56)
        sha256_add(hash, (const uint8_t *)"", 1);
    for (int shift = 56; shift >= 0; shift -= 8) {
        uint8_t byte = (uint8_t)(bits >> shift);
        sha256_add(hash, &byte, 1);
    }
    for (int i = 0; i < 8; i++)
        printf("%08x", (unsigned)hash->state[i]);
    putchar('\n');
}

/* Words: lower-case letters, kept in an open-addressing table that doubles. */
struct word {
    char *text;
    unsigned count;
};

static struct word *table;
static size_t table_size;
static size_t table_used;

static struct word *word_slot(const char *text) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = text; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    size_t i = hash % table_size;
    while (table[i].text != NULL && strcmp(table[i].text, text) != 0)
        i = (i + 1) % table_size;
    return &table[i];
}

static void table_grow(void) {
    struct word *old = table;
    size_t old_size = table_size;
    table_size = old_size == 0 ? 256 : old_size * 2;
    table = calloc(table_size, sizeof *table);
    for (size_t i = 0; i < old_size; i++)
        if (old[i].text != NULL)
            *word_slot(old[i].text) = old[i];
    free(old);
}

static void word_add(const char *text) {
    if (table_used * 2 >= table_size)
        table_grow();
    struct word *word = word_slot(text);
    if (word->text == NULL) {
        word->text = strdup(text);
        table_used++;
    }
    word->count++;
}

static int by_count(const void *left, const void *right) {
    const struct word *a = left;
    const struct word *b = right;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return a->text == NULL || b->text == NULL ? 0 : strcmp(a->text, b->text);
}

static void print_top(void) {
    qsort(table, table_size, sizeof *table, by_count);
    printf("most often:");
    for (size_t i = 0; i < 6 && i < table_used; i++)
        printf(" %s (%u)", table[i].text, table[i].count);
    putchar('\n');
}

static int count_words(void) {
    static char chunk[4096];
    struct sha256 hash;
    char word[64];
    size_t length = 0;
    unsigned lines = 0;
    unsigned words = 0;
    int in_word = 0;
    sha256_init(&hash);
    for (size_t got = fread(chunk, 1, sizeof chunk, stdin); got > 0;
         got = fread(chunk, 1, sizeof chunk, stdin)) {
        sha256_add(&hash, (const uint8_t *)chunk, got);
        for (size_t i = 0; i < got; i++) {
            unsigned char c = (unsigned char)chunk[i];
            lines += c == '\n';
            words += !isspace(c) && in_word == 0;
            in_word = !isspace(c);
            if (isalpha(c) && length + 1 < sizeof word) {
                word[length++] = (char)tolower(c);
            } else if (length > 0) {
                word[length] = '\0';
                word_add(word);
                length = 0;
            }
        }
    }
    printf("%u lines, %u words, %u different\n", lines, words, (unsigned)table_used);
    print_top();
    printf("sha256: ");
    sha256_print(&hash);
    return 0;
}

__attribute__((noinline)) static int write_far_away(int *start, unsigned distance) {
    start[distance / sizeof(int)] = 1;
    return start[0];
}

__attribute__((noinline)) static int descend(int depth, int *start) {
    int below = depth > 0 ? descend(depth - 1, start) : write_far_away(start, 3u << 30);
    return below + depth;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "words";
    if (strcmp(what, "words") == 0)
        return count_words();
    if (strcmp(what, "crash") == 0) {
        static int numbers[4];
        puts("about to write 3 GiB past the end of an array");
        fflush(stdout);
        return descend(argc > 2 ? atoi(argv[2]) : 2, numbers);
    }
    if (strcmp(what, "spin") == 0) {
        for (volatile unsigned i = 0;; i++) {
        }
    }
    fprintf(stderr, "demo: no such job: %s (words, crash, spin)\n", what);
    return 2;
}
