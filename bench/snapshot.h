/*
 * bench/snapshot.h: what the files of the snapshot benchmarks share: operations that are timed side
 * by side, in rounds.
 */
#ifndef BENCH_SNAPSHOT_H
#define BENCH_SNAPSHOT_H

#include "bench.h"

enum { SERIES_SAMPLES_MAX = 2048, SERIES_ROUNDS_MAX = 64 };

struct snapshot_op;
/* Each returns 0, or -1 after saying why. */
typedef int (*snapshot_op_fn)(struct snapshot_op *op);

/* One row. `ready` is done before each round, `before` and `after` around each sample; only `run`
 * is timed. */
struct snapshot_op {
    const char *name, *text;
    double limit; /* × the first row; 0: none */
    uint32_t pages, stride;
    snapshot_op_fn ready, before, run, after; /* all but run may be NULL */
    uint32_t per_round;

    husk_engine *engine;
    husk_image *image, *other;
    husk_sandbox *sandbox;
    husk_image *made; /* a snapshot that run() took */
    husk_func empty, touch;
    char *const *command;
    struct bare_vm *bare; /* of rows without Husk */
    uint8_t *saved;       /* for copying everything; a bare VM's memory as it is to be */
    uint64_t saved_bytes;

    double samples[SERIES_SAMPLES_MAX], rounds[SERIES_ROUNDS_MAX]; /* of each round: the median */
    uint32_t samples_count, rounds_count;
    uint64_t faults; /* minor page faults in all samples */
    struct spread us, ratio, call_ratio;
};

/* Run all of them in turns. Fills us, ratio (to the first row) and call_ratio (to the second). */
int ops_run(struct snapshot_op *const *ops, size_t count, uint32_t rounds);
/* Table and JSON lines, under a title; the first two rows are the bare KVM_RUN and the empty
 * call. */
void ops_print(const struct bench *bench, const char *title, struct snapshot_op *const *ops,
               size_t count);

/* A call that must return. */
int op_call(struct snapshot_op *op, husk_func func, uint32_t pages);
int op_restore(struct snapshot_op *op);
int op_empty(struct snapshot_op *op);
int op_restore_touch(struct snapshot_op *op);
/* A sandbox, and the module's exports. */
int op_open(struct snapshot_op *op, husk_engine *engine, husk_image *image);
/* A VM without Husk; with pages, KVM keeps a dirty log of it. */
int op_open_bare(struct snapshot_op *op);
int op_bare(struct snapshot_op *op);
/* The row's VM goes; another is made and run. */
int op_bare_drop(struct snapshot_op *op);
int op_bare_new(struct snapshot_op *op);
int op_dirty_log(struct snapshot_op *op);
void op_close(struct snapshot_op *op);

/* A snapshot of a pages module with `mib` MiB of memory, every page of it written. */
int image_filled(const struct bench *bench, husk_engine *engine, uint32_t mib,
                 husk_image **ret_image);
/* A module of the micro folder in any engine. */
int image_load(const struct bench *bench, husk_engine *engine, const char *name,
               husk_image **ret_image);

/* A point of the plot. */
struct plot_point {
    double pages, us;
};
struct plot_series {
    const char *name, *color;
    struct plot_point points[8];
    size_t count;
};
int plot_write(const char *path, const struct plot_series *series, size_t count, double bare_us);

int snapshot_sizes(const struct bench *bench);
int snapshot_live(const struct bench *bench);
int snapshot_parked(const struct bench *bench);

#endif
