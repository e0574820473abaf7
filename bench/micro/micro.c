/*
 * bench/micro/micro.c: a module of small exports for the call benchmarks: nothing to do, a host
 * call, a call back, growth, a trap.
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("bench"), import_name(#name)))

IMPORT(host) int32_t host_add(int32_t a, int32_t b);
IMPORT(nest) int32_t host_nest(int32_t depth);

EXPORT(empty) void empty(void);
void empty(void) {
}

EXPORT(add) int32_t add(int32_t a, int32_t b);
int32_t add(int32_t a, int32_t b) {
    return a + b;
}

/* `count` host calls. */
EXPORT(host_calls) int32_t host_calls(int32_t count);
int32_t host_calls(int32_t count) {
    int32_t total = 0;
    for (int32_t i = 0; i < count; i++)
        total = host_add(total, i);
    return total;
}

/* A host call that calls nested() again until depth is 0. */
EXPORT(nested) int32_t nested(int32_t depth);
int32_t nested(int32_t depth) {
    return depth == 0 ? 1 : host_nest(depth - 1) + 1;
}

EXPORT(grow) int32_t grow(int32_t pages);
int32_t grow(int32_t pages) {
    return (int32_t)__builtin_wasm_memory_grow(0, (uintptr_t)(uint32_t)pages);
}

EXPORT(trap) int32_t trap(int32_t depth);
int32_t trap(int32_t depth) {
    if (depth == 0)
        __builtin_trap();
    return trap(depth - 1) + 1;
}
