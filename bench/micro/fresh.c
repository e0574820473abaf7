/*
 * bench/micro/fresh.c: writes memory for the first time: pages that the module has as zeros, or
 * that memory.grow gives. The module is linked with more memory than is written.
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
enum { PAGE_BYTES = 4096, WASM_PAGE_BYTES = 65536, FIRST = 4 << 20 };

static void write_pages(uint8_t *at, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        *(volatile uint8_t *)(at + (uintptr_t)i * PAGE_BYTES) = 1;
}

/* Write a byte of each of `count` pages that are zeros. */
EXPORT(zeros) void zeros(int32_t count);
void zeros(int32_t count) {
    write_pages((uint8_t *)(uintptr_t)FIRST, (uint32_t)count);
}

/* The same in memory that is added for it, all at once. Traps if there is none. */
EXPORT(grown) void grown(int32_t count);
void grown(int32_t count) {
    const uintptr_t bytes = (uintptr_t)count * PAGE_BYTES;
    const uintptr_t old = __builtin_wasm_memory_grow(0, bytes / WASM_PAGE_BYTES);
    if (old == (uintptr_t)-1)
        __builtin_trap();
    write_pages((uint8_t *)(old * WASM_PAGE_BYTES), (uint32_t)count);
}
