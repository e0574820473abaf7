/* base/ticks.h: the CPU's counter of time: x86-64's time-stamp counter. Within the functions that
 * every restore runs (base/hot.h). */
#ifndef BASE_TICKS_H
#define BASE_TICKS_H

#include <stdint.h>

static inline uint64_t ticks_now(void) {
    return __builtin_ia32_rdtsc();
}

#endif
