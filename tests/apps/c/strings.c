/*
 * tests/apps/c/strings.c: the string functions against loops over bytes: every alignment, lengths
 * around the blocks, differences at every place, and strings that end where the memory ends.
 * Prints one line of sums, or the first wrong result.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTHS = 70, OFFSETS = 17, AREA = 256 };

static unsigned long checks;
static uint64_t sum = 1;

static void check(const char *what, long got, long expected, int offset, int length) {
    checks++;
    sum = sum * 31 + (uint64_t)expected;
    if (got == expected)
        return;
    printf("%s: %ld, expected %ld, at %d, length %d\n", what, got, expected, offset, length);
    exit(1);
}

static int sign(int value) {
    return (value > 0) - (value < 0);
}

/* Hidden from the compiler, which would compute results itself. */
static size_t (*volatile len)(const char *) = strlen;
static int (*volatile cmp)(const char *, const char *) = strcmp;
static int (*volatile ncmp)(const char *, const char *, size_t) = strncmp;
static int (*volatile mcmp)(const void *, const void *, size_t) = memcmp;
static char *(*volatile chr)(const char *, int) = strchr;
static void *(*volatile mchr)(const void *, int, size_t) = memchr;

static int slow_compare(const unsigned char *a, const unsigned char *b, size_t count, int ends) {
    for (; count > 0; count--, a++, b++)
        if (*a != *b || (ends && *a == 0))
            return *a < *b ? -1 : *a > *b;
    return 0;
}

static long slow_find(const unsigned char *at, int byte, long count) {
    for (long i = 0; i < count; i++)
        if (at[i] == (unsigned char)byte)
            return i;
    return -1;
}

static long place(const void *found, const char *start) {
    return found == NULL ? -1 : (long)((const char *)found - start);
}

/* One string, with neighbours that would be found if a function looked too far. */
static void searches(char *text, int offset, int length) {
    static const int bytes[] = {'a', 'q', 0xe9, 0, 'Z'};
    check("strlen", (long)len(text), length, offset, length);
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        const unsigned char *at = (const unsigned char *)text;
        check("strchr", place(chr(text, bytes[i]), text), slow_find(at, bytes[i], length + 1),
              offset, length);
        for (int count = 0; count <= length + 1; count += 1 + length / 9)
            check("memchr", place(mchr(text, bytes[i], (size_t)count), text),
                  slow_find(at, bytes[i], count), offset, count);
        if (slow_find(at, bytes[i], length + 1) >= 0)
            check("memchr without end", place(mchr(text, bytes[i], SIZE_MAX), text),
                  slow_find(at, bytes[i], length + 1), offset, length);
    }
}

static void compare_all(const char *a, const char *b, int offset, int length) {
    const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
    check("strcmp", sign(cmp(a, b)), slow_compare(x, y, SIZE_MAX, 1), offset, length);
    for (int count = 0; count <= length + 1; count++) {
        check("strncmp", sign(ncmp(a, b, (size_t)count)), slow_compare(x, y, (size_t)count, 1),
              offset, count);
        check("memcmp", sign(mcmp(a, b, (size_t)count)), slow_compare(x, y, (size_t)count, 0),
              offset, count);
    }
}

/* Two strings that are equal, then differ in one byte, then end at different places. */
static void comparisons(char *a, char *b, int offset, int length) {
    memcpy(b, a, (size_t)length + 1);
    compare_all(a, b, offset, length);
    for (int at = 0; at < length; at += 1 + length / 11) {
        const char kept = b[at];
        b[at] = (char)(kept ^ 0x80);
        compare_all(a, b, offset, length);
        b[at] = 0;
        compare_all(a, b, offset, length);
        compare_all(b, a, offset, length);
        b[at] = kept;
    }
}

static void text_fill(char *text, int length) {
    for (int i = 0; i < length; i++)
        text[i] = "abcdefghijklm\xe9pqr"[(i * 7 + length) % 17];
    text[length] = '\0';
}

/* `end` is where the memory, or a page of it, ends; the strings end right before it. */
static void at_end(char *other, char *end) {
    for (int length = 0; length < LENGTHS; length++) {
        char *text = end - length - 1;
        text_fill(text, length);
        searches(text, -1, length);
        comparisons(text, other, -1, length);
        comparisons(text, other + 5, -1, length);
        compare_all(other, text, -1, length);
    }
}

static char *memory_end(void) {
#ifdef __wasm__
    return (char *)(__builtin_wasm_memory_size(0) << 16);
#else
    static char area[4096];
    return area + sizeof area;
#endif
}

int main(void) {
    static char first[AREA], second[AREA], pages[3 * 65536];
    for (int offset = 0; offset < OFFSETS; offset++) {
        for (int length = 0; length < LENGTHS; length++) {
            memset(first, 'q', sizeof first);
            memset(second, 'a', sizeof second);
            text_fill(first + offset, length);
            searches(first + offset, offset, length);
            comparisons(first + offset, second + (offset * 5) % OFFSETS, offset, length);
        }
    }
    at_end(first, memory_end());
    at_end(first, (char *)(((uintptr_t)pages + 2 * 65536) & ~(uintptr_t)65535) + 9);
    printf("%lu checks, %016llx\n", checks, (unsigned long long)sum);
    return 0;
}
