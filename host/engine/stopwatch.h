/*
 * host/engine/stopwatch.h: measures durations by the CPU's time-stamp counter, where it runs at a
 * constant rate. Right after an exit of the guest a read of CLOCK_MONOTONIC takes 0.2 us, because
 * the kernel's code and data for it are not in the CPU's caches; the counter takes 0.02 us. Only
 * for statistics: a process that was moved to another machine may read wrong durations.
 */
#ifndef HOST_STOPWATCH_H
#define HOST_STOPWATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hot.h"
#include "ticks.h"

struct stopwatch {
    bool has_counter; /* else the clock is read */
    /* Nanoseconds of a tick, times 2^32. 0: not known yet, so the clock is read. Set once. */
    atomic_uint_least64_t scale;
    uint64_t first_ticks, first_ns; /* both at stopwatch_init() */
};

struct stopwatch_start {
    uint64_t at; /* in ticks or, if `scale` is 0, in nanoseconds */
    uint64_t scale;
};

void stopwatch_init(struct stopwatch *stopwatch);
/* The rare cases of the next two. */
struct stopwatch_start stopwatch_begin_by_clock(struct stopwatch *watch);
uint64_t stopwatch_end_by_clock(struct stopwatch_start start);

/* Threads: any. */
static inline struct stopwatch_start stopwatch_begin(struct stopwatch *stopwatch) {
    const uint64_t scale = atomic_load_explicit(&stopwatch->scale, memory_order_relaxed);
    return LIKELY(scale != 0) ? (struct stopwatch_start){ticks_now(), scale}
                              : stopwatch_begin_by_clock(stopwatch);
}

/* Nanoseconds since then. */
static inline uint64_t stopwatch_end(struct stopwatch_start start) {
    if (UNLIKELY(start.scale == 0))
        return stopwatch_end_by_clock(start);
    const uint64_t now = ticks_now();
    if (UNLIKELY(now <= start.at))
        return 0; /* the counters of two cores may be some ticks apart */
    return (uint64_t)(((unsigned __int128)(now - start.at) * start.scale) >> 32);
}

#endif
