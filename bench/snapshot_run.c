/*
 * bench/snapshot_run.c: measures restore and call, and compares them with the bare call (the least
 * cost), with rejected designs, and with a process per request. The same run makes the plot of
 * restore time against written pages.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot.h"

extern char **environ;

enum { PAGE = 4096, MEMORY_MIB = 16, ROUNDS = 40, PER_ROUND = 40 };
/* Where bench/micro/pages.c starts to write. */
enum { FIRST = 1 << 17 };

/* ---- the operations ---- */

/* A large request, and enough small ones for it to be forgotten. */
static int large_then_small(struct snapshot_op *op) {
    if (op_restore(op) != 0 || op_call(op, op->touch, 1024) != 0)
        return -1;
    for (int i = 0; i < 12; i++)
        if (op_restore_touch(op) != 0)
            return -1;
    return 0;
}

static int renew(struct snapshot_op *op) {
    struct husk_error err;
    husk_sandbox_free(op->sandbox);
    op->sandbox = NULL;
    if (husk_sandbox_new(op->image, NULL, NULL, &op->sandbox, &err) != 0)
        return bench_fail(op->name, &err);
    return 0;
}

static int renew_touch(struct snapshot_op *op) {
    return renew(op) != 0 ? -1 : op_call(op, op->touch, op->pages);
}

static int drop(struct snapshot_op *op) {
    husk_sandbox_free(op->sandbox);
    op->sandbox = NULL;
    return 0;
}

/* Two modules in turns in one VM. */
static int load_other(struct snapshot_op *op) {
    struct husk_error err;
    husk_image *image = op->other;
    op->other = op->image;
    op->image = image;
    if (husk_sandbox_load(op->sandbox, image, NULL, &err) != 0 ||
        husk_image_func(image, "empty", 0, &op->empty, &err) != 0)
        return bench_fail(op->name, &err);
    return op_empty(op);
}

static int memory_span(struct snapshot_op *op, uint64_t bytes, void **ret_span) {
    struct husk_error err;
    return husk_memory_span(op->sandbox, &(struct husk_range){.count = bytes}, ret_span, &err) == 0
               ? 0
               : bench_fail(op->name, &err);
}

/* Rejected: throw the written pages away; the next request takes its faults again. */
static int discard_touch(struct snapshot_op *op) {
    void *span;
    if (memory_span(op, (uint64_t)MEMORY_MIB << 20, &span) != 0)
        return -1;
    if (madvise((uint8_t *)span + FIRST, (size_t)op->pages * PAGE, MADV_DONTNEED) != 0) {
        perror("madvise");
        return -1;
    }
    return op_call(op, op->touch, op->pages);
}

/* Rejected: copy all memory back, whatever was written. */
static int copy_ready(struct snapshot_op *op) {
    void *span;
    if (op->saved != NULL)
        return 0;
    op->saved_bytes = (uint64_t)MEMORY_MIB << 20;
    op->saved = malloc(op->saved_bytes);
    if (op->saved == NULL || memory_span(op, op->saved_bytes, &span) != 0)
        return -1;
    memcpy(op->saved, span, op->saved_bytes);
    return 0;
}

static int copy_touch(struct snapshot_op *op) {
    void *span;
    if (memory_span(op, op->saved_bytes, &span) != 0)
        return -1;
    memcpy(span, op->saved, op->saved_bytes);
    return op_call(op, op->touch, op->pages);
}

static int process_run(struct snapshot_op *op) {
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int wait_status = -1;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    int rc = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    rc = rc != 0 ? rc : posix_spawn(&pid, op->command[0], &actions, NULL, op->command, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0 || waitpid(pid, &wait_status, 0) != pid || wait_status != 0) {
        fprintf(stderr, "husk_bench: %s: %s failed (%d)\n", op->name, op->command[0], wait_status);
        return -1;
    }
    return 0;
}

/* ---- the rows ---- */

/* Which image and engine a row stands on. */
enum ground { ON_READY, ON_ZEROS, ON_INITIALISED, ON_NO_POOL, ON_BARE_VM, ON_NOTHING };

struct row {
    const char *name, *text;
    double limit;
    uint32_t pages;
    snapshot_op_fn ready, before, run, after;
    enum ground ground;
    uint32_t per_round;
};

static const struct row rows[] = {
    {"kvm_run", "bare KVM_RUN, without Husk", 0, 0, NULL, NULL, op_bare, NULL, ON_BARE_VM,
     PER_ROUND},
    {"call", "call of an empty function", 0, 0, NULL, NULL, op_empty, NULL, ON_READY, PER_ROUND},
    {"restore_0", "restore, call that writes no page", 0, 0, NULL, NULL, op_restore_touch, NULL,
     ON_READY, PER_ROUND},
    {"restore_1", "restore, call that writes 1 page", 0, 1, NULL, NULL, op_restore_touch, NULL,
     ON_READY, PER_ROUND},
    {"restore_16", "restore, call that writes 16 pages", 1.10, 16, NULL, NULL, op_restore_touch,
     NULL, ON_READY, PER_ROUND},
    {"restore_16_zeros", "restore, call that writes 16 pages of zeros", 1.10, 16, NULL, NULL,
     op_restore_touch, NULL, ON_ZEROS, PER_ROUND},
    {"restore_64", "restore, call that writes 64 pages", 0, 64, NULL, NULL, op_restore_touch, NULL,
     ON_READY, PER_ROUND},
    {"restore_256", "restore, call that writes 256 pages", 2.6, 256, NULL, NULL, op_restore_touch,
     NULL, ON_READY, PER_ROUND},
    {"restore_1024", "restore, call that writes 1024 pages", 0, 1024, NULL, NULL, op_restore_touch,
     NULL, ON_READY, 16},
    {"restore_1_after_1024", "the same with 1 page, some requests after one that wrote 1024", 1.10,
     1, large_then_small, NULL, op_restore_touch, NULL, ON_READY, PER_ROUND},
    {"restore_initialised", "1 MiB of initialised memory, 4 pages of it written", 1.10, 4, NULL,
     NULL, op_restore_touch, NULL, ON_INITIALISED, PER_ROUND},
    {"new_pool", "free, new sandbox from the snapshot, warm pool, call: 4 pages", 1.6, 4, NULL,
     NULL, renew_touch, NULL, ON_READY, PER_ROUND},
    {"new_pool_second", "second run in such a sandbox: restore, call: 4 pages", 0, 4, NULL,
     renew_touch, op_restore_touch, NULL, ON_READY, PER_ROUND},
    {"new_no_pool", "new sandbox from the snapshot, no pool, call: 4 pages", 0, 4, NULL, drop,
     renew_touch, NULL, ON_NO_POOL, 4},
    {"new_vm", "bare VM made and run once, without Husk", 0, 0, NULL, op_bare_drop, op_bare_new,
     NULL, ON_BARE_VM, 4},
    {"load_other", "load another module into a used VM, empty call", 0, 0, NULL, NULL, load_other,
     NULL, ON_READY, 8},
    {"process", "a process per request: husk run on the saved snapshot, 4 pages", 0, 4, NULL, NULL,
     process_run, NULL, ON_NOTHING, 1},
    {"discard_1", "rejected: discard and fault again, 1 page", 0, 1, NULL, NULL, discard_touch,
     NULL, ON_READY, 16},
    {"discard_16", "rejected: discard and fault again, 16 pages", 0, 16, NULL, NULL, discard_touch,
     NULL, ON_READY, 16},
    {"discard_64", "rejected: discard and fault again, 64 pages", 0, 64, NULL, NULL, discard_touch,
     NULL, ON_READY, 8},
    {"discard_256", "rejected: discard and fault again, 256 pages", 0, 256, NULL, NULL,
     discard_touch, NULL, ON_READY, 4},
    {"discard_1024", "rejected: discard and fault again, 1024 pages", 0, 1024, NULL, NULL,
     discard_touch, NULL, ON_READY, 2},
    {"log_1", "rejected: KVM's dirty log, 1 page", 0, 1, NULL, NULL, op_dirty_log, NULL, ON_BARE_VM,
     16},
    {"log_16", "rejected: KVM's dirty log, 16 pages", 0, 16, NULL, NULL, op_dirty_log, NULL,
     ON_BARE_VM, 16},
    {"log_64", "rejected: KVM's dirty log, 64 pages", 0, 64, NULL, NULL, op_dirty_log, NULL,
     ON_BARE_VM, 8},
    {"log_256", "rejected: KVM's dirty log, 256 pages", 0, 256, NULL, NULL, op_dirty_log, NULL,
     ON_BARE_VM, 4},
    {"log_1024", "rejected: KVM's dirty log, 1024 pages", 0, 1024, NULL, NULL, op_dirty_log, NULL,
     ON_BARE_VM, 2},
    {"copy_16", "rejected: copy all 16 MiB, 16 pages", 0, 16, copy_ready, NULL, copy_touch, NULL,
     ON_READY, 2},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

struct grounds {
    husk_engine *no_pool_engine;
    husk_image *ready, *zeros, *initialised, *no_pool_ready;
    char saved_path[4096];
    char *command[8];
};

static int grounds_open(const struct bench *bench, struct grounds *grounds) {
    static char run[] = "run", invoke[] = "--invoke", touch[] = "touch", four[] = "4", one[] = "1";
    static char program[] = HUSK_BENCH_COMMAND;
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_error err;
    options.pool_max = -1;
    if (husk_engine_new(&options, &grounds->no_pool_engine, &err) != 0)
        return bench_fail("engine", &err);
    if (image_filled(bench, bench->engine, MEMORY_MIB, &grounds->ready) != 0 ||
        image_filled(bench, grounds->no_pool_engine, MEMORY_MIB, &grounds->no_pool_ready) != 0 ||
        image_load(bench, bench->engine, "pages", &grounds->zeros) != 0 ||
        image_load(bench, bench->engine, "initialised", &grounds->initialised) != 0)
        return -1;
    snprintf(grounds->saved_path, sizeof grounds->saved_path, "%s/ready.husk", bench->scratch_dir);
    if (husk_image_save(grounds->ready, grounds->saved_path, &err) != 0)
        return bench_fail("save", &err);
    char *command[8] = {program, run, invoke, touch, grounds->saved_path, four, one, NULL};
    memcpy(grounds->command, command, sizeof command);
    return 0;
}

static void grounds_close(struct grounds *grounds) {
    husk_image_unref(grounds->ready);
    husk_image_unref(grounds->zeros);
    husk_image_unref(grounds->initialised);
    husk_image_unref(grounds->no_pool_ready);
    husk_engine_unref(grounds->no_pool_engine);
}

static int row_open(const struct bench *bench, struct grounds *grounds, const struct row *row,
                    struct snapshot_op *op) {
    *op = (struct snapshot_op){.name = row->name,
                               .text = row->text,
                               .limit = row->limit,
                               .pages = row->pages,
                               .stride = 1,
                               .ready = row->ready,
                               .before = row->before,
                               .run = row->run,
                               .after = row->after,
                               .per_round = row->per_round,
                               .other = grounds->initialised,
                               .command = grounds->command};
    switch (row->ground) {
    case ON_READY: return op_open(op, bench->engine, grounds->ready);
    case ON_ZEROS: return op_open(op, bench->engine, grounds->zeros);
    case ON_INITIALISED: return op_open(op, bench->engine, grounds->initialised);
    case ON_NO_POOL: return op_open(op, grounds->no_pool_engine, grounds->no_pool_ready);
    case ON_BARE_VM: return op_open_bare(op);
    case ON_NOTHING: break;
    }
    return 0;
}

/* The line of the plot that a row belongs to, or -1. */
static int plot_line(const struct row *row) {
    if (row->run == op_dirty_log)
        return 2;
    if (row->run == discard_touch)
        return 1;
    bool is_restore = row->run == op_restore_touch && row->ground == ON_READY &&
                      row->ready == NULL && row->before == NULL && row->pages > 0;
    return is_restore ? 0 : -1;
}

static void plot_make(const struct bench *bench, struct snapshot_op *const *ops) {
    struct plot_series series[] = {{.name = "restore, call", .color = "#1f6f8b"},
                                   {.name = "discard and fault again, call", .color = "#c0563b"},
                                   {.name = "KVM's dirty log, run", .color = "#8a6d1f"}};
    char path[4096];
    for (int i = 0; i < ROWS; i++) {
        int line = plot_line(&rows[i]);
        if (line >= 0)
            series[line].points[series[line].count++] =
                (struct plot_point){rows[i].pages, ops[i]->us.p50};
    }
    snprintf(path, sizeof path, "%s/restore.svg", bench->scratch_dir);
    if (plot_write(path, series, sizeof series / sizeof series[0], ops[0]->us.p50) == 0)
        printf("  plot: %s\n", path);
}

static int rows_run(const struct bench *bench, struct grounds *grounds) {
    struct snapshot_op *all = calloc(ROWS, sizeof *all), *ops[ROWS];
    if (all == NULL)
        return -1;
    int result = 0;
    for (int i = 0; i < ROWS && result == 0; i++) {
        ops[i] = &all[i];
        result = row_open(bench, grounds, &rows[i], ops[i]);
    }
    result = result != 0 ? result : ops_run(ops, ROWS, ROUNDS);
    if (result == 0) {
        ops_print(bench, "restore", ops, ROWS);
        plot_make(bench, ops);
    }
    for (int i = 0; i < ROWS; i++)
        op_close(&all[i]);
    free(all);
    return result;
}

int bench_snapshots(const struct bench *bench) {
    struct grounds grounds = {0};
    int result = grounds_open(bench, &grounds);
    result = result != 0 ? result : rows_run(bench, &grounds);
    grounds_close(&grounds);
    result |= snapshot_sizes(bench);
    result |= snapshot_live(bench);
    result |= snapshot_idle(bench);
    return result;
}
