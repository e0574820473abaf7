/*
 * bench/kernels/libc.c: functions that clang may call in freestanding wasm, linked into every
 * kernel's module. Copies and fills are memory.copy and memory.fill (bulk memory) and need no
 * function. The functions work on a word at a time, because the native side has the fast functions
 * of the C library.
 */
#include <stddef.h>
#include <stdint.h>

int memcmp(const void *a, const void *b, size_t count);
size_t strlen(const char *text);

int memcmp(const void *a, const void *b, size_t count) {
    const unsigned char *x = a;
    const unsigned char *y = b;
    for (; count >= 8; count -= 8, x += 8, y += 8) {
        uint64_t p, q;
        __builtin_memcpy(&p, x, 8);
        __builtin_memcpy(&q, y, 8);
        if (p != q)
            break;
    }
    for (; count > 0; count--, x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}

size_t strlen(const char *text) {
    const char *at = text;
    for (; ((uintptr_t)at & 7) != 0; at++)
        if (*at == '\0')
            return (size_t)(at - text);
    for (;; at += 8) {
        uint64_t word;
        __builtin_memcpy(&word, at, 8);
        if (((word - 0x0101010101010101ull) & ~word & 0x8080808080808080ull) != 0)
            break;
    }
    while (*at != '\0')
        at++;
    return (size_t)(at - text);
}
