/*
 * bench/limits_parked.c: sandboxes that wait: what the kernel has for one with its VM and for a
 * parked one, by kind, and how fast a parked one is back.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel_memory.h"
#include "limits.h"
#include "snapshot.h"

/* Each has three descriptors: VM, vCPU, statistics. */
enum { WAITING = 300, WAITING_PAGES = 4, WARMING = 10 };
#define SHOWN_KIB 1.0

enum duration {
    DURATION_NEW,
    DURATION_PARK,
    DURATION_BACK,
    DURATION_PARK_POOL,
    DURATION_BACK_POOL
};
enum { DURATIONS = DURATION_BACK_POOL + 1 };

/* An engine, an image of it, and its exports. */
struct place {
    husk_engine *engine;
    husk_image *image;
    struct snapshot_op op; /* of the sandbox that is served */
};

struct waiting {
    struct place place;  /* without a pool */
    struct place pooled; /* VMs that are given up go to the pool, and are taken from there */
    husk_sandbox *sandboxes[WAITING];
    husk_sandbox *one; /* of `pooled` */
    uint32_t count;
    double us[DURATIONS][WAITING], ratio[WAITING], ratio_pool[WAITING];
    struct kernel_memory before, with_vm, without;
};

static int place_open(const struct bench *bench, struct place *place, int32_t pool_max) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_error err;
    options.pool_max = pool_max;
    if (husk_engine_new(&options, &place->engine, &err) != 0)
        return bench_fail("engine", &err);
    if (image_filled(bench, place->engine, 16, &place->image) != 0)
        return -1;
    place->op.name = "waiting";
    place->op.pages = WAITING_PAGES;
    int result = op_open(&place->op, place->engine, place->image);
    op_close(&place->op);
    husk_engine_trim(place->engine, 0);
    return result;
}

static void place_close(struct place *place) {
    husk_image_unref(place->image);
    husk_engine_unref(place->engine);
}

static int make(struct place *place, husk_sandbox **ret_sandbox) {
    struct husk_error err;
    return husk_sandbox_new(place->image, NULL, NULL, ret_sandbox, &err) == 0
               ? 0
               : bench_fail("a new sandbox", &err);
}

static int call(struct place *place, husk_sandbox *sandbox) {
    place->op.sandbox = sandbox;
    return op_call(&place->op, place->op.touch, WAITING_PAGES);
}

static int park(husk_sandbox *sandbox) {
    struct husk_error err;
    return husk_sandbox_park(sandbox, &err) == 0 ? 0 : bench_fail("parking", &err);
}

/* ---- times ---- */

/* µs since *at_ns, which becomes now. */
static double lap(uint64_t *at_ns) {
    const uint64_t before_ns = *at_ns;
    *at_ns = bench_now_ns();
    return (double)(*at_ns - before_ns) / 1e3;
}

/* All in turn, so that the number of live VMs and other work are the same for them. */
static int serve(struct waiting *waiting, uint32_t idx) {
    husk_sandbox **sandbox = &waiting->sandboxes[idx];
    double us[DURATIONS];
    uint64_t at_ns = bench_now_ns();
    int result = make(&waiting->place, sandbox);
    if (result != 0)
        return result;
    waiting->count = idx + 1;
    result |= call(&waiting->place, *sandbox);
    us[DURATION_NEW] = lap(&at_ns);
    result |= park(*sandbox);
    us[DURATION_PARK] = lap(&at_ns);
    result |= call(&waiting->place, *sandbox);
    us[DURATION_BACK] = lap(&at_ns);
    result |= park(waiting->one);
    us[DURATION_PARK_POOL] = lap(&at_ns);
    result |= call(&waiting->pooled, waiting->one);
    us[DURATION_BACK_POOL] = lap(&at_ns);
    for (int i = 0; i < DURATIONS; i++)
        waiting->us[i][idx] = us[i];
    waiting->ratio[idx] = us[DURATION_BACK] / us[DURATION_NEW];
    waiting->ratio_pool[idx] = us[DURATION_BACK_POOL] / us[DURATION_NEW];
    return result;
}

/* Memory that the kernel frees after a grace period is free then. */
static void memory_read(struct kernel_memory *ret_memory) {
    usleep(300000);
    kernel_memory_read(ret_memory);
}

/* The first rounds make the kernel's caches as large as they get by one VM at a time. */
static int measure(struct waiting *waiting) {
    int result = make(&waiting->pooled, &waiting->one);
    result = result != 0 ? result : call(&waiting->pooled, waiting->one);
    for (uint32_t i = 0; i < WARMING && result == 0; i++) {
        result = serve(waiting, 0);
        husk_sandbox_free(waiting->sandboxes[0]);
        waiting->count = 0;
    }
    memory_read(&waiting->before);
    for (uint32_t i = 0; i < WAITING && result == 0; i++)
        result = serve(waiting, i);
    memory_read(&waiting->with_vm);
    for (uint32_t i = 0; i < waiting->count && result == 0; i++)
        result = park(waiting->sandboxes[i]);
    memory_read(&waiting->without);
    return result;
}

/* ---- the tables ---- */

static double each(double now, double before) {
    return (now - before) / (double)WAITING;
}

static void print_kind(const struct bench *bench, const char *name, double with_vm,
                       double without) {
    printf("    %-60s %10.1f %10.1f\n", name, with_vm, without);
    fputs("{\"bench\":\"kernel_memory\",\"name\":", bench->json);
    json_string(bench->json, name);
    fprintf(bench->json, ",\"sandboxes\":%d,\"kib_with_vm\":%.5g,\"kib_parked\":%.5g}\n", WAITING,
            with_vm, without);
}

/* Kinds that parking gives back, and large ones that it does not. So most of what other programs
 * did meanwhile is left out. */
static void print_kinds(const struct bench *bench, const struct waiting *waiting) {
    const struct kernel_memory *now = &waiting->with_vm;
    printf("    kernel memory by kind, KiB for each of %d sandboxes, machine-wide%s\n"
           "    %-60s %10s %10s\n",
           WAITING,
           now->has_slab && now->has_vmalloc ? ""
                                             : " (slabinfo and vmallocinfo are for root alone)",
           "", "with VM", "parked");
    for (uint32_t i = 0; i < now->count; i++) {
        const char *name = now->kinds[i].name;
        const double before = kernel_memory_of(&waiting->before, name);
        const double with_vm = each(now->kinds[i].kib, before);
        const double without = each(kernel_memory_of(&waiting->without, name), before);
        if (with_vm - without >= SHOWN_KIB || (with_vm >= SHOWN_KIB && without >= SHOWN_KIB))
            print_kind(bench, name, with_vm, without);
    }
}

static void print_memory(const struct bench *bench, const struct waiting *waiting) {
    const double before = kernel_memory_total(&waiting->before);
    const double with_vm = each(kernel_memory_total(&waiting->with_vm), before);
    const double without = each(kernel_memory_total(&waiting->without), before);
    const struct limit_row rows[] = {{.name = "kernel memory of a sandbox that waits with its VM",
                                      .unit = "KiB",
                                      .spread = {with_vm, with_vm, with_vm}},
                                     {.name = "kernel memory of a parked sandbox",
                                      .unit = "KiB",
                                      .spread = {without, without, without}}};
    limits_print(bench, &rows[0]);
    limits_print(bench, &rows[1]);
}

static void print_times(const struct bench *bench, struct waiting *waiting) {
    static const char *const names[DURATIONS] = {
        [DURATION_NEW] = "new sandbox without a pool, first call",
        [DURATION_PARK] = "parking, the VM is destroyed",
        [DURATION_BACK] = "call of a parked sandbox, with a new VM",
        [DURATION_PARK_POOL] = "parking, the VM goes to the pool",
        [DURATION_BACK_POOL] = "call of a parked sandbox, with a VM of the pool"};
    for (int i = 0; i < DURATIONS; i++)
        limits_print(bench, &(struct limit_row){.name = names[i],
                                                .unit = "us",
                                                .spread = spread_of(waiting->us[i], WAITING)});
    limits_print(bench, &(struct limit_row){.name = names[DURATION_BACK],
                                            .unit = "x new",
                                            .spread = spread_of(waiting->ratio, WAITING),
                                            .limit = 1.5,
                                            .limit_text = "new sandboxes without a pool"});
    limits_print(bench, &(struct limit_row){.name = names[DURATION_BACK_POOL],
                                            .unit = "x new",
                                            .spread = spread_of(waiting->ratio_pool, WAITING)});
}

int limits_parked(const struct bench *bench) {
    struct waiting *waiting = calloc(1, sizeof *waiting);
    if (waiting == NULL)
        return -1;
    int result = place_open(bench, &waiting->place, -1);
    result = result != 0 ? result : place_open(bench, &waiting->pooled, 4);
    result = result != 0 ? result : measure(waiting);
    if (result == 0) {
        print_memory(bench, waiting);
        print_times(bench, waiting);
        print_kinds(bench, waiting);
    }
    for (uint32_t i = 0; i < waiting->count; i++)
        husk_sandbox_free(waiting->sandboxes[i]);
    husk_sandbox_free(waiting->one);
    place_close(&waiting->place);
    place_close(&waiting->pooled);
    free(waiting);
    return result;
}
