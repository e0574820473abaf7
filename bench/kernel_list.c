/* bench/kernel_list.c: see kernel_list.h. */
#include "kernel_list.h"

#define HUSK_KERNEL(name, n, group) uint64_t kernel_##name(uint32_t n_value);
#include "kernels.def"
#undef HUSK_KERNEL

const struct kernel kernels[KERNELS_COUNT] = {
#define HUSK_KERNEL(kernel_name, kernel_n, kernel_group)                                           \
    {.name = #kernel_name,                                                                         \
     .group = (kernel_group),                                                                      \
     .n = (kernel_n),                                                                              \
     .native = kernel_##kernel_name},
#include "kernels.def"
#undef HUSK_KERNEL
};
