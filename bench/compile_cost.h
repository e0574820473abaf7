/*
 * bench/compile_cost.h: what a compilation costs. Each runs in a child process, so that wait4()
 * gives the CPU time and the peak memory of the child and of its own children.
 */
#ifndef BENCH_COMPILE_COST_H
#define BENCH_COMPILE_COST_H

#include "bench.h"

struct module {
    const char *name;
    uint8_t *wasm;
    size_t bytes;
};

struct cost {
    double cpu_s, wall_s, peak_mib;
};

/* Run job() in a child; it returns 0, or prints why it failed. Returns 0 or -1 after a message. */
int cost_of_job(const char *what, int (*job)(const void *user), const void *user,
                struct cost *ret_cost);
/* Compile with Husk to a file that is removed again. threads: 0 is the compiler's choice.
 * ret_text_bytes, the size of the machine code, may be NULL. */
int cost_of_compile(const struct bench *bench, const struct module *module, int opt_level,
                    uint32_t threads, struct cost *ret_cost, uint64_t *ret_text_bytes);

#endif
