/* bench/micro/large.c: writes into n pages, spread over the end of a memory of any size. */
#include "../kernels/kernel.h"

KERNEL(large) {
    uint8_t *const end = (uint8_t *)(__builtin_wasm_memory_size(0) << 16);
    for (uint32_t i = 1; i <= n; i++)
        end[-(ptrdiff_t)(i * 16384)] ^= 0x55;
    return SUM_START;
}
