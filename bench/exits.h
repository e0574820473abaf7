/*
 * bench/exits.h: when each KVM_RUN began and ended. The benchmark's own ioctl() stands before the
 * C library's and takes the time (-Wl,--wrap=ioctl), for libhusk as for VMs made without it. So
 * libhusk is measured as it is, and the time outside KVM_RUN is not a difference of long times.
 */
#ifndef BENCH_EXITS_H
#define BENCH_EXITS_H

#include <stdint.h>

/* What an exit costs on hardware KVM, about. */
#define HARDWARE_EXIT_NS 1500.0

/* KVM_RUNs of this thread. Times are in ticks: the CPU's time stamp counter. */
struct exits {
    uint64_t began, ended; /* the last one */
    uint64_t inside;       /* the sum of all */
    uint64_t count;
};
extern _Thread_local struct exits exits;

/* Now. Everything before it in the program is done, nothing after it has begun. */
uint64_t exits_now(void);
/* The length of a tick. Takes 50 ms the first time. */
double exits_tick_ns(void);

#endif
