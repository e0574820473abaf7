/* base/clock.h: time in nanoseconds. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_NS_PER_SECOND UINT64_C(1000000000)

/* Times before 1970 are 0. */
static inline uint64_t clock_ns_of(struct timespec time) {
    return time.tv_sec < 0 ? 0
                           : (uint64_t)time.tv_sec * CLOCK_NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

static inline struct timespec clock_timespec(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / CLOCK_NS_PER_SECOND),
                             .tv_nsec = (long)(ns % CLOCK_NS_PER_SECOND)};
}

/* 0 if the clock cannot be read, such as the CPU clock of a thread that has ended. */
static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec now = {0};
    (void)clock_gettime(clock, &now);
    return clock_ns_of(now);
}

/* So much after a moment; UINT64_MAX, which is never, if that is beyond all moments. */
static inline uint64_t clock_later(uint64_t ns, uint64_t count_ns) {
    return count_ns > UINT64_MAX - ns ? UINT64_MAX : ns + count_ns;
}

#endif
