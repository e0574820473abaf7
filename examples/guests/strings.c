/*
 * examples/guests/strings.c: the C library's string functions, 16 bytes at a time. Debian's
 * wasi-libc has loops over bytes and words. Link this file into a program, and the linker does not
 * take the library's (docs/guests.md, "String functions"). The functions have SIMD whatever the
 * options are, so the rest of the program need not be built with -msimd128.
 *
 * Reading beyond the end of a string is harmless as long as it stays inside the memory: its size is
 * a multiple of 64 KiB, so 16 aligned bytes are inside if one of them is, and so are 16 bytes that
 * do not cross a multiple of 64 KiB.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <wasm_simd128.h>

enum { BLOCK = 16, PAGE = 65536, FIRST = 8 };

#pragma clang attribute push(__attribute__((target("simd128"))), apply_to = function)

/* The functions are what the compiler would otherwise turn their loops into. */
#define NO_BUILTIN __attribute__((no_builtin))

typedef const unsigned char bytes_t;

static inline v128_t block_at(bytes_t *at) {
    return wasm_v128_load(at);
}

/* A bit for each byte of the block that is equal to `byte`. */
static inline uint32_t block_find(v128_t block, v128_t byte) {
    return wasm_i8x16_bitmask(wasm_i8x16_eq(block, byte));
}

static inline uintptr_t misalignment(const void *at) {
    return (uintptr_t)at % BLOCK;
}

/* May 16 bytes be read here, in any memory that holds the first? */
static inline int has_block(const void *at) {
    return (uintptr_t)at % PAGE <= PAGE - BLOCK;
}

NO_BUILTIN size_t strlen(const char *text) {
    const v128_t zero = wasm_i8x16_splat(0);
    const uintptr_t skipped = misalignment(text);
    bytes_t *block = (bytes_t *)text - skipped;
    uint32_t found = block_find(block_at(block), zero) >> skipped;
    if (found != 0)
        return (size_t)__builtin_ctz(found);
    do {
        block += BLOCK;
        found = block_find(block_at(block), zero);
    } while (found == 0);
    return (size_t)(block - (bytes_t *)text) + (size_t)__builtin_ctz(found);
}

NO_BUILTIN void *memchr(const void *start, int byte, size_t count) {
    const v128_t wanted = wasm_i8x16_splat((int8_t)byte);
    const uintptr_t skipped = misalignment(start);
    bytes_t *block = (bytes_t *)start - skipped;
    if (count == 0)
        return NULL;
    uint32_t found = block_find(block_at(block), wanted) >> skipped << skipped;
    /* `left` counts from the block's start. A count beyond the address space ends with it. */
    size_t left = count > SIZE_MAX - skipped ? SIZE_MAX : count + skipped;
    while (found == 0 && left > BLOCK) {
        block += BLOCK;
        left -= BLOCK;
        found = block_find(block_at(block), wanted);
    }
    if (found == 0 || (size_t)__builtin_ctz(found) >= left)
        return NULL;
    return (void *)(block + __builtin_ctz(found));
}

/* strchr(), but the end of the string where the byte is not in it. libc calls the first name. */
NO_BUILTIN char *__strchrnul(const char *text, int byte) {
    const v128_t zero = wasm_i8x16_splat(0), wanted = wasm_i8x16_splat((int8_t)byte);
    const uintptr_t skipped = misalignment(text);
    bytes_t *block = (bytes_t *)text - skipped;
    v128_t here = block_at(block);
    uint32_t found = (block_find(here, zero) | block_find(here, wanted)) >> skipped << skipped;
    while (found == 0) {
        block += BLOCK;
        here = block_at(block);
        found = wasm_i8x16_bitmask(
            wasm_v128_or(wasm_i8x16_eq(here, zero), wasm_i8x16_eq(here, wanted)));
    }
    return (char *)(block + __builtin_ctz(found));
}

NO_BUILTIN char *strchrnul(const char *text, int byte) {
    return __strchrnul(text, byte);
}

NO_BUILTIN char *strchr(const char *text, int byte) {
    char *found = __strchrnul(text, byte);
    return (unsigned char)*found == (unsigned char)byte ? found : NULL;
}

/* The difference of the first bytes that differ among `count`, or 0. If `is_text`, a zero in both
 * ends the comparison. */
static inline int compare(bytes_t *a, bytes_t *b, size_t count, int is_text) {
    const v128_t zero = wasm_i8x16_splat(0);
    while (count > 0) {
        if (!has_block(a) || !has_block(b)) {
            if (*a != *b || (is_text && *a == 0))
                return *a - *b;
            a++, b++, count--;
            continue;
        }
        const v128_t x = block_at(a);
        uint32_t stop = block_find(x, block_at(b)) ^ 0xffff;
        if (is_text)
            stop |= block_find(x, zero);
        if (stop != 0) {
            const size_t at = (size_t)__builtin_ctz(stop);
            return at < count ? a[at] - b[at] : 0;
        }
        if (count <= BLOCK)
            return 0;
        a += BLOCK, b += BLOCK, count -= BLOCK;
    }
    return 0;
}

/* Names are short and differ early; a block costs as much as some bytes. */
static inline int compare_text(bytes_t *a, bytes_t *b, size_t count) {
    for (size_t i = 0; i < FIRST; i++) {
        if (i == count)
            return 0;
        if (a[i] != b[i] || a[i] == 0)
            return a[i] - b[i];
    }
    return compare(a + FIRST, b + FIRST, count - FIRST, 1);
}

NO_BUILTIN int strcmp(const char *a, const char *b) {
    return compare_text((bytes_t *)a, (bytes_t *)b, SIZE_MAX);
}

NO_BUILTIN int strncmp(const char *a, const char *b, size_t count) {
    return compare_text((bytes_t *)a, (bytes_t *)b, count);
}

NO_BUILTIN int memcmp(const void *a, const void *b, size_t count) {
    return compare(a, b, count, 0);
}

#pragma clang attribute pop
