/* bench/kernels/search.c: searches a text for words by skipping (Horspool) and by brute force, and
 * counts lines. */
#include "kernel.h"

static char text[131072];
static const char *const words[] = {"serpentine", "lantern", "quartz",
                                    "a long phrase that is not there"};
static const char syllables[16][4] = {"ser", "pen", "ti", "ne ", "lan", "te",  "rn ", "qua",
                                      "rt",  "z ",  "a ", "on",  "\n",  "ed ", "il",  "mo"};

static uint32_t text_length(const char *at) {
    uint32_t count = 0;
    while (at[count] != '\0')
        count++;
    return count;
}

static uint32_t text_make(void) {
    uint32_t seed = 59, at = 0;
    while (at < sizeof text - 8) {
        const char *syllable = syllables[rng_next(&seed) >> 28];
        for (; *syllable != '\0'; syllable++)
            text[at++] = *syllable;
    }
    text[at] = 0;
    return at;
}

static uint32_t find_skipping(const char *word, uint32_t word_length, uint32_t length) {
    uint32_t skips[256], found = 0;
    for (int i = 0; i < 256; i++)
        skips[i] = word_length;
    for (uint32_t i = 0; i + 1 < word_length; i++)
        skips[(uint8_t)word[i]] = word_length - 1 - i;
    for (uint32_t at = 0; at + word_length <= length;
         at += skips[(uint8_t)text[at + word_length - 1]]) {
        uint32_t i = word_length;
        while (i > 0 && text[at + i - 1] == word[i - 1])
            i--;
        found += i == 0;
    }
    return found;
}

static uint32_t find_plainly(const char *word, uint32_t length) {
    uint32_t found = 0;
    for (uint32_t at = 0; at < length; at++) {
        uint32_t i = 0;
        while (word[i] != '\0' && text[at + i] == word[i])
            i++;
        found += word[i] == '\0';
    }
    return found;
}

static uint32_t lines_count(uint32_t length) {
    uint32_t lines = 0;
    for (uint32_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    return lines;
}

KERNEL(search) {
    uint32_t length = text_make();
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        text[round & 0xffff] = 'z';
        for (size_t i = 0; i < COUNT_OF(words); i++) {
            sum = sum_mix(sum, find_skipping(words[i], text_length(words[i]), length));
            sum = sum_mix(sum, find_plainly(words[i], length));
        }
        sum = sum_mix(sum, lines_count(length));
    }
    return sum;
}
