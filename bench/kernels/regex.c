/* bench/kernels/regex.c: a backtracking matcher (characters, '.', '*', '+', '?', '^', '$' and [a-z]
 * sets) over many lines. */
#include "kernel.h"

static char text[32768];
static const char *const patterns[] = {"a.*b.*c", "[a-d]+x?[0-9]*z", "^q[a-z]*[0-9]+$",
                                       "b+a?b+a?b+c", "e.e.e"};

static void text_make(void) {
    static const char letters[] = "abcabcdeeexyzq0123bbab";
    uint32_t seed = 71;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        uint32_t r = rng_next(&seed);
        text[i] = r >> 27 == 0 ? '\0' : letters[(r >> 8) % (sizeof letters - 1)];
    }
    text[sizeof text - 1] = 0;
}

/* Length of one element of a pattern: a set, or a character. */
static uint32_t element_length(const char *pattern) {
    uint32_t length = 1;
    if (*pattern == '[') {
        while (pattern[length] != ']')
            length++;
        length++;
    }
    return length;
}

static int element_matches(const char *pattern, char c) {
    if (c == '\0')
        return 0;
    if (*pattern == '[') {
        for (pattern++; *pattern != ']'; pattern++) {
            if (pattern[1] == '-' && c >= pattern[0] && c <= pattern[2])
                return 1;
            if (*pattern == c)
                return 1;
        }
        return 0;
    }
    return *pattern == '.' || *pattern == c;
}

static int match_here(const char *pattern, const char *at) {
    if (*pattern == '\0')
        return 1;
    if (pattern[0] == '$' && pattern[1] == '\0')
        return *at == '\0';
    uint32_t length = element_length(pattern);
    char repeat = pattern[length];
    if (repeat != '*' && repeat != '+' && repeat != '?')
        return element_matches(pattern, *at) != 0 && match_here(pattern + length, at + 1) != 0;
    const char *from = at;
    uint32_t most = repeat == '?' ? 1 : 1000;
    while (most-- > 0 && element_matches(pattern, *at) != 0)
        at++;
    for (const char *least = from + (repeat == '+'); at >= least; at--)
        if (match_here(pattern + length + 1, at) != 0)
            return 1;
    return 0;
}

static int match(const char *pattern, const char *line) {
    if (*pattern == '^')
        return match_here(pattern + 1, line);
    do {
        if (match_here(pattern, line) != 0)
            return 1;
    } while (*line++ != '\0');
    return 0;
}

KERNEL(regex) {
    uint64_t sum = SUM_START;
    text_make();
    for (uint32_t round = 0; round < n; round++) {
        for (size_t i = 0; i < COUNT_OF(patterns); i++) {
            uint32_t found = 0;
            for (const char *line = text; line < text + sizeof text;) {
                found += (uint32_t)match(patterns[i], line);
                while (*line != '\0')
                    line++;
                line++;
            }
            sum = sum_mix(sum, found);
        }
        text[(round * 331) % (sizeof text - 1)] = 'b';
    }
    return sum;
}
