/*
 * bench/limits.h: the table of limits: what a call, a restore and a start must cost at most on any
 * CPU, each beside what it cost in this run. A limit is a goal: nothing fails when one is missed.
 */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

#include "bench.h"

/* A row of the table: what is measured, and what it must reach. */
struct limit_row {
    const char *name;       /* "restore, 16 pages" */
    const char *unit;       /* "ns", "x bare run", "x native", "ms", "KiB" */
    struct spread spread;   /* in that unit */
    double limit;           /* 0: none */
    const char *limit_text; /* how the limit came about, e.g. "floor + 1.2 us"; NULL: the number
                               itself */
};

/* Print the row, in the table and as JSON; "reached" if the median is within the limit. */
void limits_print(const struct bench *bench, const struct limit_row *row);

/* Print what the columns are. */
void limits_head(const char *title);

/* Rows behind other tables: kernels of plain C at the default level and at level 0; what compiling
 * SQLite costs, with the modules in hand. */
struct kernel_ratios;
void limits_kernels(const struct bench *bench, const struct kernel_ratios *plain,
                    const struct kernel_ratios *unoptimised);
int limits_compile(const struct bench *bench);

/* The rows of a group; each returns 0, or prints the reason and returns -1. */
int limits_restore(const struct bench *bench);  /* calls and restores, right after an exit */
int limits_calls(const struct bench *bench);    /* bytes in and out, many calls in one entry */
int limits_cold(const struct bench *bench);     /* new sandboxes, other modules */
int limits_open(const struct bench *bench);     /* saved snapshots, CPython */
int limits_touch(const struct bench *bench);    /* memory that is written for the first time */
int limits_parked(const struct bench *bench);   /* sandboxes that wait */
int limits_standing(const struct bench *bench); /* a call that stands in a snapshot */

#endif
