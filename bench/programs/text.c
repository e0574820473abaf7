/*
 * bench/programs/text.c: the C library's string functions: `text LENGTH BYTES` compares, measures
 * and searches strings of LENGTH bytes, until BYTES have been seen; 0 bytes: what starting costs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 64, LENGTH_MAX = 4096 };

/* Hidden from the compiler, which knows what the functions do. */
static size_t (*volatile len)(const char *) = strlen;
static int (*volatile cmp)(const char *, const char *) = strcmp;
static int (*volatile mcmp)(const void *, const void *, size_t) = memcmp;
static void *(*volatile chr)(const void *, int, size_t) = memchr;

static unsigned long round_run(char *const texts[2][COUNT], size_t length) {
    unsigned long sum = 0;
    for (int i = 0; i < COUNT; i++) {
        const char *a = texts[0][i], *b = texts[1][(i * 7 + 1) % COUNT];
        sum += len(a);
        sum += cmp(a, b) == 0;
        sum += mcmp(a, b, length) == 0;
        sum += chr(a, 'z', length) == NULL;
    }
    return sum;
}

/* Equal strings, at all kinds of addresses. */
static char *text_new(int i, size_t length) {
    char *text = malloc(length + 32);
    if (text == NULL)
        exit(1);
    text += i * 5 % 16;
    for (size_t at = 0; at < length; at++)
        text[at] = (char)('a' + at * 11 % 25);
    text[length] = '\0';
    return text;
}

int main(int argc, char **argv) {
    const size_t length = argc > 1 ? (size_t)atoi(argv[1]) : 8;
    const double bytes = argc > 2 ? atof(argv[2]) : 0;
    char *texts[2][COUNT];
    unsigned long sum = 0;
    if (length == 0 || length > LENGTH_MAX)
        return 2;
    for (int i = 0; i < COUNT; i++) {
        texts[0][i] = text_new(i, length);
        texts[1][i] = text_new(i + 3, length);
    }
    for (double seen = 0; seen < bytes; seen += 4.0 * COUNT * (double)length)
        sum += round_run(texts, length);
    printf("%lu\n", sum);
    return 0;
}
