/* host/engine/stopwatch_x86_64.c: see stopwatch.h. Constant rate: SDM vol. 3B, section 19.17.1. */
#include <cpuid.h>

#include "clock.h"
#include "stopwatch.h"

/* The rate is known after this time, to 1 in 10,000: the reads of counter and clock may lie a
 * microsecond apart. */
#define CALIBRATION_NS UINT64_C(10000000)

#define CPUID_POWER 0x80000007u
#define POWER_EDX_INVARIANT_TSC (1u << 8)

static bool has_constant_counter(void) {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(CPUID_POWER, &eax, &ebx, &ecx, &edx) != 0 &&
           (edx & POWER_EDX_INVARIANT_TSC) != 0;
}

void stopwatch_init(struct stopwatch *stopwatch) {
    stopwatch->has_counter = has_constant_counter();
    stopwatch->first_ticks = __builtin_ia32_rdtsc();
    stopwatch->first_ns = clock_ns(CLOCK_MONOTONIC);
    atomic_init(&stopwatch->scale, 0);
}

/* Also learn the rate, if the time since stopwatch_init() is long enough. */
RARE struct stopwatch_start stopwatch_begin_by_clock(struct stopwatch *watch) {
    const uint64_t ticks = __builtin_ia32_rdtsc() - watch->first_ticks;
    const uint64_t now = clock_ns(CLOCK_MONOTONIC), ns = now - watch->first_ns;
    if (watch->has_counter && ns >= CALIBRATION_NS && ticks >= ns >> 8) /* the scale fits */
        atomic_store_explicit(&watch->scale, (uint64_t)(((unsigned __int128)ns << 32) / ticks),
                              memory_order_relaxed);
    return (struct stopwatch_start){now, 0};
}

RARE uint64_t stopwatch_end_by_clock(struct stopwatch_start start) {
    return clock_ns(CLOCK_MONOTONIC) - start.at;
}
