/*
 * bench/snapshot_many.c: measures snapshots of instances of several sizes, restores among many live
 * sandboxes, and the memory of a thousand idle sandboxes that keep their VMs.
 */
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

/* ---- snapshots: cost follows the written pages ---- */

enum { SNAPSHOT_PAGES = 64, SNAPSHOT_ROUNDS = 20, SNAPSHOT_PER_ROUND = 10, SIZES = 4 };

static int snapshot_take(struct snapshot_op *op) {
    struct husk_error err;
    return husk_sandbox_snapshot(op->sandbox, &op->made, &err) == 0 ? 0
                                                                    : bench_fail(op->name, &err);
}

static int snapshot_drop(struct snapshot_op *op) {
    husk_image_unref(op->made);
    op->made = NULL;
    return 0;
}

static int sizes_open(const struct bench *bench, struct snapshot_op *ops, husk_image **images) {
    static const uint32_t sizes[SIZES] = {1, 4, 16, 64};
    static char texts[2 * SIZES][64], names[2 * SIZES][32];
    ops[0] = (struct snapshot_op){.name = "kvm_run_sizes",
                                  .text = "bare KVM_RUN, without Husk",
                                  .run = op_bare,
                                  .per_round = 20};
    ops[1] = (struct snapshot_op){.name = "call_sizes",
                                  .text = "call of an empty function",
                                  .run = op_empty,
                                  .per_round = 20};
    for (uint32_t i = 0; i < SIZES; i++) {
        if (image_filled(bench, bench->engine, sizes[i], &images[i]) != 0)
            return -1;
        uint32_t scattered = ((sizes[i] << 8) - 64) / SNAPSHOT_PAGES;
        for (uint32_t k = 0; k < 2; k++) {
            uint32_t at = 2 * i + k;
            snprintf(names[at], sizeof names[at], "snapshot_%u_%s", sizes[i],
                     k == 0 ? "together" : "scattered");
            snprintf(texts[at], sizeof texts[at], "snapshot, 64 written pages %s of %u MiB",
                     k == 0 ? "together" : "scattered", sizes[i]);
            ops[2 + at] = (struct snapshot_op){.name = names[at],
                                               .text = texts[at],
                                               .pages = SNAPSHOT_PAGES,
                                               .stride = k == 0 ? 1 : scattered,
                                               .before = op_restore_touch,
                                               .run = snapshot_take,
                                               .after = snapshot_drop,
                                               .per_round = SNAPSHOT_PER_ROUND};
            if (op_open(&ops[2 + at], bench->engine, images[i]) != 0)
                return -1;
        }
    }
    return op_open_bare(&ops[0]) != 0 ? -1 : op_open(&ops[1], bench->engine, images[0]);
}

int snapshot_sizes(const struct bench *bench) {
    enum { OPS = 2 * SIZES + 2 };
    struct snapshot_op *all = calloc(OPS, sizeof *all), *ops[OPS];
    husk_image *images[SIZES] = {NULL};
    if (all == NULL)
        return -1;
    for (int i = 0; i < OPS; i++)
        ops[i] = &all[i];
    int result = sizes_open(bench, all, images);
    result = result != 0 ? result : ops_run(ops, OPS, SNAPSHOT_ROUNDS);
    if (result == 0)
        ops_print(bench, "snapshots", ops, OPS);
    for (int i = 0; i < OPS; i++)
        op_close(&all[i]);
    for (int i = 0; i < SIZES; i++)
        husk_image_unref(images[i]);
    free(all);
    return result;
}

/* ---- among many ---- */

enum { LIVE_MAX = 400, LIVE_ROUNDS = 6, LIVE_SAMPLES = 200, LIVE_PAGES = 16, LIVE_STEPS = 3 };
static const uint32_t live_counts[LIVE_STEPS] = {1, 100, LIVE_MAX};

struct live {
    struct snapshot_op op; /* whose sandbox is each of them in turn */
    husk_sandbox *sandboxes[LIVE_MAX];
    uint32_t count;
    /* One that is served again and again while the others are idle; each in turn; each in turn, but
     * an empty call without a restore. */
    double same[LIVE_STEPS][LIVE_ROUNDS], turns[LIVE_STEPS][LIVE_ROUNDS],
        calls[LIVE_STEPS][LIVE_ROUNDS];
};

static int live_grow(struct live *live, uint32_t count) {
    struct husk_error err;
    for (; live->count < count; live->count++)
        if (husk_sandbox_new(live->op.image, NULL, NULL, &live->sandboxes[live->count], &err) != 0)
            return bench_fail("live sandboxes", &err);
    return 0;
}

/* Runs LIVE_SAMPLES sandboxes, one after the other or always the first; ret_us: the median. */
static int live_measure(struct live *live, snapshot_op_fn run, bool in_turn, double *ret_us) {
    double samples[LIVE_SAMPLES];
    uint32_t warming = in_turn ? 3 * live->count : 5;
    for (uint32_t i = 0; i < warming + LIVE_SAMPLES; i++) {
        live->op.sandbox = live->sandboxes[in_turn ? i % live->count : 0];
        uint64_t start = bench_now_ns();
        if (run(&live->op) != 0)
            return -1;
        if (i >= warming)
            samples[i - warming] = (double)(bench_now_ns() - start) / 1e3;
    }
    *ret_us = spread_of(samples, LIVE_SAMPLES).p50;
    return 0;
}

static int live_round(struct live *live, uint32_t round) {
    int result = 0;
    for (uint32_t step = 0; step < LIVE_STEPS && result == 0; step++) {
        result = live_grow(live, live_counts[step]);
        result =
            result != 0 ? result : live_measure(live, op_empty, true, &live->calls[step][round]);
        result = result != 0
                     ? result
                     : live_measure(live, op_restore_touch, true, &live->turns[step][round]);
        result = result != 0
                     ? result
                     : live_measure(live, op_restore_touch, false, &live->same[step][round]);
    }
    while (live->count > 0)
        husk_sandbox_free(live->sandboxes[--live->count]);
    return result;
}

static void live_print(const struct bench *bench, struct live *live) {
    double first = 0;
    printf("\nrestore, call that writes 16 pages, among live sandboxes: µs, medians of %d rounds. "
           "The same one "
           "again and again, the others idle (limit: 1.30 × with 1);\n"
           "each in turn, where caches hold another's memory, beside an empty call without a "
           "restore in turn\n"
           "  %-10s %12s %7s %18s %22s\n",
           LIVE_ROUNDS, "sandboxes", "the same", "ratio", "restore in turn", "empty call in turn");
    for (uint32_t step = 0; step < LIVE_STEPS; step++) {
        double same = spread_of(live->same[step], LIVE_ROUNDS).p50;
        double turns = spread_of(live->turns[step], LIVE_ROUNDS).p50;
        double calls = spread_of(live->calls[step], LIVE_ROUNDS).p50;
        first = step == 0 ? same : first;
        printf("  %-10u %12.2f %7.2f %-4s %13.2f %22.2f\n", live_counts[step], same, same / first,
               same <= 1.3 * first ? "ok" : "OVER", turns, calls);
        fprintf(bench->json,
                "{\"bench\":\"snapshot_live\",\"sandboxes\":%u,\"same_us\":%.6g,\"turns_us\":%.6g,"
                "\"turns_call_us\":%.6g,\"limit\":1.3}\n",
                live_counts[step], same, turns, calls);
    }
}

static int engine_of_pool(int32_t pool_max, husk_engine **ret_engine) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_error err;
    options.pool_max = pool_max;
    return husk_engine_new(&options, ret_engine, &err) == 0 ? 0 : bench_fail("engine", &err);
}

int snapshot_live(const struct bench *bench) {
    struct live *live = calloc(1, sizeof *live);
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    int result = live == NULL ? -1 : engine_of_pool(-1, &engine);
    result = result != 0 ? result : image_filled(bench, engine, 16, &image);
    if (result == 0) {
        live->op.name = "live";
        live->op.pages = LIVE_PAGES;
        result = op_open(&live->op, engine, image);
        op_close(&live->op);
    }
    for (uint32_t round = 0; round < LIVE_ROUNDS && result == 0; round++)
        result = live_round(live, round);
    if (result == 0)
        live_print(bench, live);
    husk_image_unref(image);
    husk_engine_unref(engine);
    free(live);
    return result;
}

/* ---- memory of idle sandboxes with their VMs; limits_parked.c measures parked ones ---- */

enum { IDLE = 1000, IDLE_PAGES = 4 };

/* KiB; of this process, and of the whole machine (which other programs change as well). */
struct memory_use {
    double pss, private_dirty, page_tables;
    double machine_slab, machine_kernel_tables, machine_percpu, machine_used;
};

static double file_kib(const char *path, const char *key) {
    char line[256];
    double kib = 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = strtod(line + strlen(key), NULL);
            break;
        }
    }
    if (file != NULL)
        fclose(file);
    return kib;
}

static struct memory_use memory_now(void) {
    static const char meminfo[] = "/proc/meminfo";
    struct memory_use use;
    use.pss = file_kib("/proc/self/smaps_rollup", "Pss:");
    use.private_dirty = file_kib("/proc/self/smaps_rollup", "Private_Dirty:");
    use.page_tables = file_kib("/proc/self/status", "VmPTE:");
    use.machine_slab = file_kib(meminfo, "Slab:");
    use.machine_kernel_tables = file_kib(meminfo, "SecPageTables:");
    use.machine_percpu = file_kib(meminfo, "Percpu:");
    use.machine_used = file_kib(meminfo, "MemTotal:") - file_kib(meminfo, "MemFree:") -
                       file_kib(meminfo, "Buffers:") - file_kib(meminfo, "Cached:");
    return use;
}

static void idle_print(const struct bench *bench, const struct memory_use *a,
                       const struct memory_use *b, uint32_t count) {
    const struct {
        const char *name, *text;
        double before, after;
    } lines[] = {
        {"pss", "user memory: PSS of this process", a->pss, b->pss},
        {"private_dirty", "  of it private and written", a->private_dirty, b->private_dirty},
        {"page_tables", "page tables of this process (VmPTE)", a->page_tables, b->page_tables},
        {"slab", "slab, machine-wide", a->machine_slab, b->machine_slab},
        {"kvm_tables", "page tables of KVM (SecPageTables), machine-wide", a->machine_kernel_tables,
         b->machine_kernel_tables},
        {"percpu", "per-CPU memory, machine-wide", a->machine_percpu, b->machine_percpu},
        {"machine", "all memory in use but page cache, machine-wide", a->machine_used,
         b->machine_used}};
    const double limit = IDLE_PAGES * 4 + 64;
    printf("\nmemory of %u idle sandboxes of one snapshot, with their VMs, each had a call that "
           "wrote %d "
           "pages: KiB each\n",
           count, IDLE_PAGES);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        double each = (lines[i].after - lines[i].before) / count;
        printf("  %-52s %9.1f", lines[i].text, each);
        if (i == 0)
            printf("  limit %.0f %s", limit, each <= limit ? "ok" : "OVER");
        putchar('\n');
        fprintf(
            bench->json,
            "{\"bench\":\"snapshot_memory\",\"name\":\"%s\",\"sandboxes\":%u,\"kib_each\":%.5g}\n",
            lines[i].name, count, each);
    }
}

/* They live at once, then are freed at once into a pool that has room for all. */
static int make_idle(struct snapshot_op *op, husk_sandbox **sandboxes, uint32_t *ret_count) {
    struct husk_error err;
    uint32_t count = 0;
    int result = 0;
    for (; count < IDLE && result == 0; count++) {
        if (husk_sandbox_new(op->image, NULL, NULL, &sandboxes[count], &err) != 0) {
            result = bench_fail("idle sandboxes", &err);
            break;
        }
        op->sandbox = sandboxes[count];
        result = op_call(op, op->touch, op->pages);
    }
    *ret_count = count;
    return result;
}

int snapshot_idle(const struct bench *bench) {
    struct snapshot_op *op = calloc(1, sizeof *op);
    husk_sandbox **sandboxes = calloc(IDLE, sizeof(husk_sandbox *));
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    uint32_t count = 0;
    int result = op == NULL || sandboxes == NULL ? -1 : engine_of_pool(IDLE, &engine);
    result = result != 0 ? result : image_filled(bench, engine, 16, &image);
    if (result == 0) {
        op->name = "idle";
        op->pages = IDLE_PAGES;
        result = op_open(op, engine, image);
        op_close(op);
        husk_engine_trim(engine, 0);
        struct memory_use before = memory_now();
        result = result != 0 ? result : make_idle(op, sandboxes, &count);
        for (uint32_t i = 0; i < count; i++)
            husk_sandbox_free(sandboxes[i]);
        struct memory_use after = memory_now();
        if (result == 0)
            idle_print(bench, &before, &after, count);
    }
    husk_image_unref(image);
    husk_engine_unref(engine);
    free(sandboxes);
    free(op);
    return result;
}
