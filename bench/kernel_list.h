/* bench/kernel_list.h: the kernels of kernels.def, with their native functions. */
#ifndef BENCH_KERNEL_LIST_H
#define BENCH_KERNEL_LIST_H

#include <stddef.h>
#include <stdint.h>

struct kernel {
    const char *name;
    const char *group;
    uint32_t n; /* argument of a run */
    uint64_t (*native)(uint32_t n);
};

#define HUSK_KERNEL(name, n, group) +1
enum {
    KERNELS_COUNT =
#include "kernels.def"
};
#undef HUSK_KERNEL
extern const struct kernel kernels[KERNELS_COUNT];

/* Medians of a run, of one kind of kernels: plain C, or those written with vectors. */
struct kernel_ratios {
    const char *names[KERNELS_COUNT];
    double husk[KERNELS_COUNT], v8[KERNELS_COUNT]; /* to native; V8: zeros if it did not run */
    size_t count;
};

#endif
