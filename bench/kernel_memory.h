/*
 * bench/kernel_memory.h: what the kernel's memory is used for, by kind: the caches of slab, the
 * callers of vmalloc, and rows of /proc/meminfo. All of it is machine-wide, except page tables of
 * this process. slabinfo and vmallocinfo are for root alone.
 */
#ifndef BENCH_KERNEL_MEMORY_H
#define BENCH_KERNEL_MEMORY_H

#include "bench.h"

enum { KERNEL_KINDS_MAX = 1024 };

struct kernel_kind {
    char name[64];
    double kib;
};

struct kernel_memory {
    struct kernel_kind kinds[KERNEL_KINDS_MAX];
    uint32_t count;
    bool has_slab, has_vmalloc; /* false: it cannot be read */
};

/* The memory of now. */
void kernel_memory_read(struct kernel_memory *ret_memory);
/* KiB of this kind; 0: there is none. */
double kernel_memory_of(const struct kernel_memory *memory, const char *name);
/* All kernel memory of these, without what is counted twice: Slab, KernelStack, PageTables of this
 * process, SecPageTables, Percpu and vmalloc. */
double kernel_memory_total(const struct kernel_memory *memory);

#endif
