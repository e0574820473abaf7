/*
 * bench/limits_cold.c: limits of cold starts: a new sandbox and its first call, of an empty
 * function, where the pool has a VM of another state or another module, where it has none, and
 * another module loaded into a VM that is there. All rows are taken in turns, some samples of each
 * in every round.
 *
 * Rows in bare runs: a run is a KVM_RUN made without libhusk. A run that takes longer than 25 µs on
 * this machine counts as 25 µs, on both sides: see in_runs().
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bare_slots.h"
#include "bare_vm.h"
#include "exits.h"
#include "limits.h"
#include "snapshot.h"

enum { ROUNDS = 60, PER_ROUND = 6, SAMPLES = ROUNDS * PER_ROUND, MEMORY_MIB = 16, PAGES = 16 };
enum { SPARES = 2, SPARE_WAIT_MS = 2000 };
#define RUN_MOST_US 25.0

struct cold;
/* Returns 0, or prints the reason and returns -1. */
typedef int (*cold_fn)(struct cold *cold);

/* Something that is timed. `before` is not. */
struct timed {
    const char *what;
    cold_fn before, run;
    double us[SAMPLES], rounds[ROUNDS]; /* medians of rounds */
    double outside[SAMPLES];            /* of KVM_RUN, us */
    uint32_t count;
};

struct cold {
    struct bare_vm bare;
    struct bare_slots slots;
    husk_engine *pool_engine, *no_pool_engine, *spare_engine;
    husk_image *state[2];  /* two snapshots of a module */
    husk_image *module[2]; /* of two modules: 16 MiB, of which no page is zero; 1 MiB */
    husk_image *small[2];  /* two modules with little memory that is not zero */
    husk_image *fresh;     /* of the engine without a pool */
    husk_image *spare;     /* of one without a pool that keeps spare VMs of it */
    husk_imports *imports; /* what a module wants that has imports: traps */
    husk_sandbox *sandbox;
    uint32_t turn;
};

static int bare_fail(const char *what) {
    fprintf(stderr, "husk_bench: %s: the bare VM did not run: %s\n", what, strerror(errno));
    return -1;
}

static int empty_call(struct cold *cold) {
    struct husk_outcome outcome;
    struct husk_error err;
    outcome.size = sizeof outcome; /* alone: zeroing all of it would be measured, too */
    int status = husk_call(cold->sandbox,
                           &(struct husk_call){.size = sizeof(struct husk_call), .name = "empty"},
                           &outcome, &err);
    return status == 0 && outcome.kind == HUSK_RETURNED
               ? 0
               : bench_fail_outcome("cold start", status, &outcome, &err);
}

static int sandbox_drop(struct cold *cold) {
    husk_sandbox_free(cold->sandbox);
    cold->sandbox = NULL;
    return 0;
}

static int new_and_call(struct cold *cold, husk_image *image) {
    struct husk_error err;
    if (husk_sandbox_new(image, image == cold->small[1] ? cold->imports : NULL, NULL,
                         &cold->sandbox, &err) != 0)
        return bench_fail("new sandbox", &err);
    return empty_call(cold);
}

/* ---- what is timed ---- */

static int bare_run(struct cold *cold) {
    return bare_vm_run(&cold->bare) == 0 ? 0 : bare_fail("bare run");
}

static int slots_drop(struct cold *cold) {
    bare_slots_drop(&cold->slots);
    return 0;
}

static int slots_make(struct cold *cold) {
    return bare_slots_make(&cold->slots) == 0 ? 0 : bare_fail("bare VM");
}

static int slots_make_denying(struct cold *cold) {
    cold->slots.denies_msrs = true;
    const int result = slots_make(cold);
    cold->slots.denies_msrs = false;
    return result;
}

static int new_same(struct cold *cold) {
    return new_and_call(cold, cold->state[0]);
}

static int new_state(struct cold *cold) {
    return new_and_call(cold, cold->state[cold->turn++ % 2]);
}

static int new_small(struct cold *cold) {
    return new_and_call(cold, cold->small[cold->turn++ % 2]);
}

static int new_module(struct cold *cold) {
    return new_and_call(cold, cold->module[cold->turn++ % 2]);
}

static int new_no_pool(struct cold *cold) {
    return new_and_call(cold, cold->fresh);
}

/* Until the thread has made as many as are wanted. */
static int spare_wait(struct cold *cold) {
    struct husk_stats stats = HUSK_STATS_INIT;
    sandbox_drop(cold);
    for (uint32_t i = 0; i < SPARE_WAIT_MS; i++) {
        husk_engine_stats(cold->spare_engine, &stats);
        if (stats.spares_made - stats.spares_used >= SPARES)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    fprintf(stderr, "husk_bench: no spare VM was made; %" PRIu64 " tries failed\n",
            stats.spare_failures);
    return -1;
}

static int new_spare(struct cold *cold) {
    return new_and_call(cold, cold->spare);
}

/* The other of the two is in the sandbox. */
static int load_prepare(struct cold *cold) {
    return cold->sandbox != NULL ? 0 : new_and_call(cold, cold->module[cold->turn++ % 2]);
}

static int load_module(struct cold *cold) {
    struct husk_error err;
    if (husk_sandbox_load(cold->sandbox, cold->module[cold->turn++ % 2], NULL, &err) != 0)
        return bench_fail("load", &err);
    return empty_call(cold);
}

enum {
    BARE_RUN,
    BARE_VM,
    BARE_VM_DENYING,
    NEW_SAME,
    NEW_STATE,
    NEW_SMALL,
    NEW_MODULE,
    LOAD,
    NEW_NO_POOL,
    NEW_SPARE,
    TIMED
};

static struct timed all_timed[TIMED] = {
    [BARE_RUN] = {.what = "bare KVM_RUN", .before = NULL, .run = bare_run},
    [BARE_VM] = {.what = "bare VM with a sandbox's slots, made and run once",
                 .before = slots_drop,
                 .run = slots_make},
    [BARE_VM_DENYING] = {.what = "the same that denies MSRs, as a sandbox's VM does",
                         .before = slots_drop,
                         .run = slots_make_denying},
    [NEW_SAME] = {.what = "new sandbox, pool has the same snapshot",
                  .before = sandbox_drop,
                  .run = new_same},
    [NEW_STATE] = {.what = "new sandbox, pool has another snapshot",
                   .before = sandbox_drop,
                   .run = new_state},
    [NEW_SMALL] = {.what = "new sandbox, pool has another module, small ones",
                   .before = sandbox_drop,
                   .run = new_small},
    [NEW_MODULE] = {.what = "new sandbox, pool has another module",
                    .before = sandbox_drop,
                    .run = new_module},
    [LOAD] = {.what = "load another module", .before = load_prepare, .run = load_module},
    [NEW_NO_POOL] = {.what = "new sandbox, no pool", .before = sandbox_drop, .run = new_no_pool},
    [NEW_SPARE] = {.what = "new sandbox, a spare VM is ready",
                   .before = spare_wait,
                   .run = new_spare},
};

/* ---- running them ---- */

static int sample_take(struct cold *cold, struct timed *timed, bool is_counted) {
    if (timed->before != NULL && timed->before(cold) != 0)
        return -1;
    const uint64_t start = bench_now_ns(), start_inside = exits.inside;
    const int result = timed->run(cold);
    const uint64_t end = bench_now_ns();
    const double inside_us = (double)(exits.inside - start_inside) * exits_tick_ns() / 1e3;
    if (is_counted) {
        timed->outside[timed->count] = (double)(end - start) / 1e3 - inside_us;
        timed->us[timed->count++] = (double)(end - start) / 1e3;
    }
    return result;
}

/* The first two samples are not counted: they may find the machine of another row in the pool. */
static int round_take(struct cold *cold, struct timed *timed, uint32_t round) {
    double copy[PER_ROUND];
    for (int i = 0; i < PER_ROUND + 2; i++)
        if (sample_take(cold, timed, i >= 2) != 0)
            return -1;
    memcpy(copy, &timed->us[timed->count - PER_ROUND], sizeof copy);
    timed->rounds[round] = spread_of(copy, PER_ROUND).p50;
    return sandbox_drop(cold);
}

static int rounds_run(struct cold *cold) {
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (int i = 0; i < TIMED; i++)
            if (round_take(cold, &all_timed[i], round) != 0)
                return -1;
    return 0;
}

/* ---- what they run on ---- */

/* The same state, with more pages written. */
static int state_after(husk_image *image, husk_image **ret_image) {
    struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = PAGES},
                                 {.type = HUSK_I32, .of.i32 = 1}};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    husk_sandbox *sandbox = NULL;
    int status = husk_sandbox_new(image, NULL, NULL, &sandbox, &err);
    if (status == 0)
        status = husk_call(
            sandbox,
            &(struct husk_call){
                .size = sizeof(struct husk_call), .name = "touch", .args = args, .args_count = 2},
            &outcome, &err);
    if (status == 0 && outcome.kind != HUSK_RETURNED)
        status = bench_fail_outcome("touch", 0, &outcome, &err);
    else if (status == 0)
        status = husk_sandbox_snapshot(sandbox, ret_image, &err);
    husk_sandbox_free(sandbox);
    return status == 0 ? 0 : bench_fail("another state", &err);
}

static int engine_of_pool(int32_t pool_max, husk_engine **ret_engine) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_error err;
    options.pool_max = pool_max;
    return husk_engine_new(&options, ret_engine, &err) == 0 ? 0 : bench_fail("engine", &err);
}

static int cold_open(const struct bench *bench, struct cold *cold) {
    /* the memory slot of a sandbox of `fresh` (host/memory/machine_space.c) */
    static const uint64_t slots[] = {(uint64_t)(2 + MEMORY_MIB) << 20};
    if (bare_vm_open(&cold->bare, 2 << 20, 0, false) != 0 ||
        bare_slots_init(&cold->slots, slots, sizeof slots / sizeof slots[0]) != 0)
        return bare_fail("cold starts");
    if (engine_of_pool(1, &cold->pool_engine) != 0 ||
        engine_of_pool(-1, &cold->no_pool_engine) != 0 ||
        engine_of_pool(-1, &cold->spare_engine) != 0 ||
        image_filled(bench, cold->spare_engine, MEMORY_MIB, &cold->spare) != 0 ||
        image_filled(bench, cold->pool_engine, MEMORY_MIB, &cold->state[0]) != 0 ||
        image_filled(bench, cold->no_pool_engine, MEMORY_MIB, &cold->fresh) != 0 ||
        image_load(bench, cold->pool_engine, "pages", &cold->small[0]) != 0 ||
        image_load(bench, cold->pool_engine, "micro", &cold->small[1]) != 0 ||
        image_load(bench, cold->pool_engine, "initialised", &cold->module[1]) != 0)
        return -1;
    struct husk_error err;
    if (husk_imports_new(cold->pool_engine, &cold->imports, &err) != 0 ||
        husk_imports_unknown(cold->imports, HUSK_UNKNOWN_TRAP, &err) != 0)
        return bench_fail("imports", &err);
    if (husk_sandbox_prepare(cold->spare, NULL, NULL, SPARES, &err) != 0)
        return bench_fail("spare VMs", &err);
    cold->module[0] = husk_image_ref(cold->state[0]);
    return state_after(cold->state[0], &cold->state[1]);
}

static void cold_close(struct cold *cold) {
    sandbox_drop(cold);
    for (int i = 0; i < 2; i++) {
        husk_image_unref(cold->state[i]);
        husk_image_unref(cold->module[i]);
        husk_image_unref(cold->small[i]);
    }
    husk_image_unref(cold->fresh);
    husk_image_unref(cold->spare);
    husk_imports_free(cold->imports);
    husk_engine_unref(cold->pool_engine);
    husk_engine_unref(cold->no_pool_engine);
    husk_engine_unref(cold->spare_engine);
    bare_slots_done(&cold->slots);
    bare_vm_close(&cold->bare);
}

/* ---- rows ---- */

/* A first call ends with one exit. */
static double in_runs(double us, double run_us) {
    const double unit = run_us < RUN_MOST_US ? run_us : RUN_MOST_US;
    return (us - (run_us - unit)) / unit;
}

static void row_print(const struct bench *bench, const struct timed *timed, double limit,
                      const struct timed *base, const char *unit, const char *limit_text) {
    double values[ROUNDS];
    for (uint32_t i = 0; i < ROUNDS; i++)
        values[i] = base == &all_timed[BARE_RUN] ? in_runs(timed->rounds[i], base->rounds[i])
                                                 : timed->rounds[i] / base->rounds[i];
    const struct limit_row row = {.name = timed->what,
                                  .unit = unit,
                                  .spread = spread_of(values, ROUNDS),
                                  .limit = limit,
                                  .limit_text = limit_text};
    limits_print(bench, &row);
}

static void rows_print(const struct bench *bench) {
    static const char *const units[TIMED] = {
        [BARE_RUN] = "x bare run", [BARE_VM] = "x bare VM", [BARE_VM_DENYING] = "x denying VM"};
    static const char *const limit_texts[TIMED] = {
        [BARE_RUN] = "a run counts as 25 us at most", [BARE_VM] = "with the same slots"};
    static const struct {
        int timed;
        double limit;
        int base;
    } rows[] = {{NEW_SAME, 0, BARE_RUN},     {NEW_STATE, 1.3, BARE_RUN},
                {NEW_SMALL, 5, BARE_RUN},    {NEW_MODULE, 5, BARE_RUN},
                {NEW_NO_POOL, 1.3, BARE_VM}, {NEW_NO_POOL, 0, BARE_VM_DENYING},
                {LOAD, 0.5, BARE_VM},        {NEW_SPARE, 2, BARE_RUN}};
    for (int i = 0; i < TIMED; i++) {
        struct limit_row row = {.name = all_timed[i].what, .unit = "us"};
        row.spread = spread_of(all_timed[i].us, all_timed[i].count);
        limits_print(bench, &row);
        const struct limit_row outside = {.name = "  of it outside of KVM_RUN",
                                          .unit = "us",
                                          .spread =
                                              spread_of(all_timed[i].outside, all_timed[i].count)};
        limits_print(bench, &outside);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        row_print(bench, &all_timed[rows[i].timed], rows[i].limit, &all_timed[rows[i].base],
                  units[rows[i].base], limit_texts[rows[i].base]);
    }
}

int limits_cold(const struct bench *bench) {
    struct cold *cold = calloc(1, sizeof *cold);
    if (cold == NULL)
        return -1;
    int result = cold_open(bench, cold);
    for (int i = 0; i < TIMED; i++)
        all_timed[i].count = 0;
    result = result != 0 ? result : rounds_run(cold);
    if (result == 0)
        rows_print(bench);
    cold_close(cold);
    free(cold);
    return result;
}
