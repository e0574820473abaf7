/*
 * bench/bench.h: shared by the parts of husk_bench: options, time, percentiles, and the two
 * outputs: a table for people on stdout, and a file for programs with one JSON object per line.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "husk.h"

struct bench {
    husk_engine *engine;
    FILE *json;
    const char *wasm_dir;    /* kernels and micro modules */
    const char *scratch_dir; /* for the images of the compile benchmark */
    const char *worker_path; /* NULL: the library searches for it */
    const char *guests_dir;  /* interpreters for files_script(); NULL: none */
    const char *only_kernel; /* NULL: all */
    const char *only_limits; /* names of groups, see limits.c; NULL: all */
    struct v8_beside *v8;    /* NULL: V8 is not measured beside Husk */
    char *const *modules;    /* more modules for the compile benchmark */
    size_t modules_count;
    uint32_t rounds;
    int opt_level;
    bool is_strict;
};

/* p10, median, p90 of some samples, in the samples' unit. */
struct spread {
    double p10, p50, p90;
};

uint64_t bench_now_ns(void);
/* CPU time of this thread, including the guest's. On a busy machine, only shared caches and cores
 * disturb it. */
uint64_t bench_cpu_ns(void);
/* Get the spread of samples, and sort them. count must not be 0. */
struct spread spread_of(double *samples, size_t count);
double geomean_of(const double *values, size_t count);

/* Print "name":{"p10":…,"p50":…,"p90":…} */
void json_spread(FILE *json, const char *name, struct spread spread);
/* Print a JSON string with its quotes. */
void json_string(FILE *json, const char *text);

/* Print what failed and the library's message; returns -1. */
int bench_fail(const char *what, const struct husk_error *err);
/* The same for a call. Every outcome other than HUSK_RETURNED is a failure. */
int bench_fail_outcome(const char *what, int status, const struct husk_outcome *outcome,
                       const struct husk_error *err);

/* Read a whole file; *ret_bytes is malloc()ed. */
int module_read(const char *path, uint8_t **ret_bytes, size_t *ret_count);
/* Compile wasm_dir/<name>.wasm with the benchmark's options and open the image. */
int bench_load(const struct bench *bench, const char *name, husk_image **ret_image);

/* The parts. Each returns 0, or prints the reason and returns -1. */
int bench_machine(const struct bench *bench, const char *revision);
int bench_kernels(const struct bench *bench);
int bench_wide(const struct bench *bench);
int bench_tails(const struct bench *bench);
int bench_wide_memory(const struct bench *bench);
int bench_calls(const struct bench *bench);
int bench_tries(const struct bench *bench);
int bench_floor(const struct bench *bench);
int bench_limits(const struct bench *bench);
int bench_compile(const struct bench *bench);
int bench_snapshots(const struct bench *bench);
int bench_files(const struct bench *bench);

#endif
