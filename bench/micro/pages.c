/*
 * bench/micro/pages.c: a module that writes a given number of pages, for the snapshot benchmarks.
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
enum { PAGE_BYTES = 4096, FIRST = 1 << 17 };

EXPORT(empty) void empty(void);
void empty(void) {
}

/* One word in each of `count` pages, `stride` pages apart, at an offset that differs from page to
 * page. */
EXPORT(touch) void touch(int32_t count, int32_t stride);
void touch(int32_t count, int32_t stride) {
    uint32_t at = FIRST;
    for (int32_t i = 0; i < count; i++) {
        *(volatile uint32_t *)(uintptr_t)(at + ((uint32_t)i * 576u) % PAGE_BYTES) += 1;
        at += (uint32_t)stride * PAGE_BYTES;
    }
}

/* 1 MiB of memory becomes `mib` MiB, none of whose pages from FIRST on is zero. Returns the size in
 * MiB. */
EXPORT(fill) int32_t fill(int32_t mib);
int32_t fill(int32_t mib) {
    uintptr_t have = __builtin_wasm_memory_size(0);
    uintptr_t want = (uintptr_t)mib * 16;
    if (want > have && __builtin_wasm_memory_grow(0, want - have) == (uintptr_t)-1)
        return -1;
    uintptr_t bytes = __builtin_wasm_memory_size(0) << 16;
    for (uintptr_t at = FIRST; at < bytes; at += 8)
        *(volatile uint64_t *)at = 0x9e3779b97f4a7c15u * (at + 1);
    return (int32_t)(bytes >> 20);
}
