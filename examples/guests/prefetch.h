/*
 * examples/guests/prefetch.h: makes __builtin_prefetch() a prefetch in Husk. WebAssembly has none,
 * so clang drops it. Compile with -include prefetch.h (docs/guests.md, "Prefetches").
 *
 * Husk's compiler makes a prefetch of a load whose value is dropped. Elsewhere it is a load. As a
 * load may trap and a prefetch must not, addresses beyond the memory are left out.
 */
#ifndef EXAMPLES_GUESTS_PREFETCH_H
#define EXAMPLES_GUESTS_PREFETCH_H

#include <stdint.h>

static inline void guest_prefetch(const volatile void *address) {
    if ((uintptr_t)address >> 16 < __builtin_wasm_memory_size(0))
        (void)*(const volatile char *)address;
}

#define __builtin_prefetch(address, ...) guest_prefetch(address)

#endif
