/*
 * bench/exits_x86_64.c: see exits.h. Intel SDM vol. 3B 18.17 (time stamp counter), vol. 2B RDTSCP:
 * it waits for all earlier instructions; the LFENCE keeps later ones behind it.
 */
#include "exits.h"

#include <linux/kvm.h>
#include <stdarg.h>
#include <x86intrin.h>

#include "bench.h"

#define TICKS_MEASURED_NS 50000000u

_Thread_local struct exits exits;

static inline uint64_t now(void) {
    unsigned cpu;
    uint64_t ticks = __rdtscp(&cpu);
    _mm_lfence();
    return ticks;
}

uint64_t exits_now(void) {
    return now();
}

double exits_tick_ns(void) {
    static double tick_ns;
    if (tick_ns > 0)
        return tick_ns;
    const uint64_t start_ns = bench_now_ns(), start = now();
    uint64_t end_ns;
    do {
        end_ns = bench_now_ns();
    } while (end_ns - start_ns < TICKS_MEASURED_NS);
    tick_ns = (double)(end_ns - start_ns) / (double)(now() - start);
    return tick_ns;
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (request != KVM_RUN)
        return __real_ioctl(fd, request, arg);
    const uint64_t began = now();
    const int result = __real_ioctl(fd, request, arg);
    const uint64_t ended = now();
    exits.began = began;
    exits.ended = ended;
    exits.inside += ended - began;
    exits.count++;
    return result;
}
