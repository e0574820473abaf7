/*
 * bench/snapshot.h: shared by the files of the snapshot benchmarks: operations that are timed side
 * by side, in rounds.
 */
#ifndef BENCH_SNAPSHOT_H
#define BENCH_SNAPSHOT_H

#include "bench.h"

enum { SERIES_SAMPLES_MAX = 2048, SERIES_ROUNDS_MAX = 64 };

struct snapshot_op;
/* Returns 0, or prints the reason and returns -1. */
typedef int (*snapshot_op_fn)(struct snapshot_op *op);

/* One row. `ready` runs before each round, `before` and `after` before and after each sample. Only
 * `run` is timed: by `now`, or (NULL) by bench_now_ns(). */
struct snapshot_op {
    const char *name, *text;
    double limit; /* as a multiple of the first row; 0: none */
    uint32_t pages, stride;
    snapshot_op_fn ready, before, run, after; /* all but run may be NULL */
    uint32_t per_round;
    uint64_t (*now)(void);

    husk_engine *engine;
    husk_image *image, *other;
    husk_sandbox *sandbox;
    husk_image *made; /* a snapshot that run() took */
    husk_func empty, touch;
    char *const *command;
    struct bare_vm *bare; /* for rows without Husk */
    uint8_t *saved;       /* a copy of all memory; for a bare VM, the memory to restore */
    uint64_t saved_bytes;

    /* rounds: the median of each round */
    double samples[SERIES_SAMPLES_MAX], rounds[SERIES_ROUNDS_MAX];
    uint32_t samples_count, rounds_count;
    uint64_t faults;                    /* minor page faults in all samples */
    double outside[SERIES_SAMPLES_MAX]; /* ticks of each sample outside KVM_RUN (exits.h) */
    uint64_t exits;                     /* of all samples */
    struct spread us, outside_ns, ratio, call_ratio;
};

/* Run all operations in turns. Fills us, ratio (to the first row) and call_ratio (to the
 * second). */
int ops_run(struct snapshot_op *const *ops, size_t count, uint32_t rounds);
/* Print a table under a title, and JSON lines. The first two rows are the bare KVM_RUN and the
 * empty call. */
void ops_print(const struct bench *bench, const char *title, struct snapshot_op *const *ops,
               size_t count);

/* Make a call, which must return. */
int op_call(struct snapshot_op *op, husk_func func, uint32_t pages);
int op_restore(struct snapshot_op *op);
int op_empty(struct snapshot_op *op);
int op_restore_touch(struct snapshot_op *op);
/* Make the row's sandbox, and find the module's exports. */
int op_open(struct snapshot_op *op, husk_engine *engine, husk_image *image);
/* Make a VM without Husk. If the row has pages, KVM keeps a dirty log. */
int op_open_bare(struct snapshot_op *op);
int op_bare(struct snapshot_op *op);
/* Close the row's VM; make another one and run it. */
int op_bare_drop(struct snapshot_op *op);
int op_bare_new(struct snapshot_op *op);
int op_dirty_log(struct snapshot_op *op);
void op_close(struct snapshot_op *op);

/* Make a snapshot of a pages module with `mib` MiB of memory, every page of it written. */
int image_filled(const struct bench *bench, husk_engine *engine, uint32_t mib,
                 husk_image **ret_image);
/* Load a module of the micro folder into any engine. */
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
int snapshot_idle(const struct bench *bench);

#endif
