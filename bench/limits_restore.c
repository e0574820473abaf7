/*
 * bench/limits_restore.c: the rows of calls and restores in the table of limits: the time that they
 * take outside KVM_RUN, right after an exit, when code and data have left the caches.
 *
 * A loop makes requests: a call that writes pages, its exit, a restore, the next call. Time stamps
 * at the exit, between the library's functions and at the next entry divide it into steps. The
 * floor is the same loop without Husk: a VM writes as many pages and exits, then the pages are
 * compared with their originals at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bare_vm.h"
#include "compare.h"
#include "exits.h"
#include "limits.h"
#include "snapshot.h"

enum { MEMORY_MIB = 16, BARE_BYTES = 16 << 20 };
/* A batch is some requests in a row, the first of which warm up. If the thread lost its CPU in a
 * batch, it is taken again, a few times at most. */
enum { ROUNDS = 200, BATCH = 8, WARMING = 2, TRIES = 5, SAMPLES = ROUNDS * BATCH };

/* The steps of a request outside KVM_RUN, and inside. */
enum step {
    STEP_RETURN,  /* from the exit until the call has returned */
    STEP_RESTORE, /* the restore; for the floor, from the exit until the pages are compared */
    STEP_ENTER,   /* from the call's beginning until the entry */
    STEP_CALL,    /* the call: both sides of it */
    STEP_ALL,     /* with the restore */
    STEP_INSIDE,  /* KVM_RUN */
    STEPS
};

struct loop {
    uint32_t pages;
    bool is_bare, is_restored;
    compare_fn compare; /* bare, with pages */
    husk_image *image;  /* borrowed */
    husk_sandbox *sandbox;
    struct husk_value args[2];
    struct husk_call call;
    struct bare_vm vm;
    uint32_t count, disturbed;
    double ns[STEPS][SAMPLES];
    double inside[ROUNDS]; /* STEP_INSIDE: the median of each round */
    struct spread spread[STEPS];
};

/* Time stamps of a request, in ticks. */
struct stamps {
    uint64_t begins, entered, left, returned, restored;
};

enum {
    PAGE_COUNTS = 3,
    FLOORS = PAGE_COUNTS - 1,
    LOOP_BARE = 0,
    LOOP_EMPTY = 1,
    LOOP_RESTORES = 2,
    LOOP_FLOORS = LOOP_RESTORES + PAGE_COUNTS,
    LOOPS = LOOP_FLOORS + FLOORS * COMPARE_LOOPS
};
static const uint32_t page_counts[PAGE_COUNTS] = {0, 16, 256};

/* ---- a request ---- */

static int request_husk(struct loop *loop, struct stamps *stamps) {
    struct husk_outcome outcome;
    struct husk_error err;
    outcome.size = sizeof outcome; /* alone: zeroing all of it is not what is measured */
    stamps->begins = exits_now();
    int status = husk_call(loop->sandbox, &loop->call, &outcome, &err);
    stamps->returned = exits_now();
    if (status == 0 && loop->is_restored)
        status = husk_sandbox_restore(loop->sandbox, loop->image, &err);
    stamps->restored = exits_now();
    return status == 0 && outcome.kind == HUSK_RETURNED
               ? 0
               : bench_fail_outcome("limits", status, &outcome, &err);
}

static int request_bare(struct loop *loop, struct stamps *stamps) {
    static volatile uint64_t differing; /* so that nothing is left out */
    stamps->begins = exits_now();
    int result = bare_vm_run(&loop->vm);
    if (loop->compare != NULL)
        differing = loop->compare(loop->vm.memory + BARE_VM_FIRST,
                                  loop->vm.originals + BARE_VM_FIRST, loop->pages);
    stamps->restored = exits_now();
    stamps->returned = exits.ended;
    (void)differing;
    if (result != 0)
        fprintf(stderr, "husk_bench: limits: the bare VM did not run: %s\n", strerror(errno));
    return result;
}

static int request(struct loop *loop, struct stamps *stamps) {
    int result = loop->is_bare ? request_bare(loop, stamps) : request_husk(loop, stamps);
    stamps->entered = exits.began;
    stamps->left = exits.ended;
    return result;
}

/* ---- batches ---- */

static void sample_note(struct loop *loop, uint32_t idx, const struct stamps *stamps,
                        double tick_ns) {
    const uint64_t ticks[STEPS] = {[STEP_RETURN] = stamps->returned - stamps->left,
                                   [STEP_RESTORE] = stamps->restored - stamps->returned,
                                   [STEP_ENTER] = stamps->entered - stamps->begins,
                                   [STEP_INSIDE] = stamps->left - stamps->entered};
    for (uint32_t step = 0; step < STEPS; step++)
        loop->ns[step][idx] = (double)ticks[step] * tick_ns;
    loop->ns[STEP_CALL][idx] = loop->ns[STEP_RETURN][idx] + loop->ns[STEP_ENTER][idx];
    loop->ns[STEP_ALL][idx] = loop->ns[STEP_CALL][idx] + loop->ns[STEP_RESTORE][idx];
}

/* How often this thread gave its CPU away, or lost it. */
static uint64_t switches(void) {
    struct rusage usage = {0};
    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_nvcsw + (uint64_t)usage.ru_nivcsw;
}

static int batch_take(struct loop *loop, double tick_ns, bool *ret_is_disturbed) {
    struct stamps stamps[WARMING + BATCH];
    const uint64_t switches_before = switches(), exits_before = exits.count;
    for (uint32_t i = 0; i < WARMING + BATCH; i++)
        if (request(loop, &stamps[i]) != 0)
            return -1;
    if (exits.count == exits_before) {
        fputs("husk_bench: limits: no KVM_RUN was seen: it is made without ioctl()\n", stderr);
        return -1;
    }
    *ret_is_disturbed =
        switches() != switches_before || exits.count - exits_before != WARMING + BATCH;
    for (uint32_t i = 0; i < BATCH; i++)
        sample_note(loop, loop->count + i, &stamps[WARMING + i], tick_ns);
    return 0;
}

static uint64_t searches(const struct bench *bench) {
    struct husk_stats stats = HUSK_STATS_INIT;
    return husk_engine_stats(bench->engine, &stats) == 0 ? stats.memory_searches : 0;
}

/* ret_searches: in all samples but the first, how often a restore searched memory. */
/* A batch in every loop. */
static int round_run(struct loop *const *loops, uint32_t round, double tick_ns) {
    for (uint32_t i = 0; i < LOOPS; i++) {
        struct loop *loop = loops[i];
        double inside[BATCH];
        bool is_disturbed = true;
        for (uint32_t tries = 0; tries < TRIES && is_disturbed; tries++)
            if (batch_take(loop, tick_ns, &is_disturbed) != 0)
                return -1;
        memcpy(inside, &loop->ns[STEP_INSIDE][loop->count], sizeof inside);
        loop->inside[round] = spread_of(inside, BATCH).p50;
        loop->count += BATCH;
        loop->disturbed += is_disturbed;
    }
    return 0;
}

static int loops_run(const struct bench *bench, struct loop *const *loops, double tick_ns,
                     uint64_t *ret_searches) {
    uint64_t searches_before = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        if (round_run(loops, round, tick_ns) != 0)
            return -1;
        searches_before = round == 0 ? searches(bench) : searches_before;
    }
    *ret_searches = searches(bench) - searches_before;
    for (uint32_t i = 0; i < LOOPS; i++)
        for (uint32_t step = 0; step < STEPS; step++)
            loops[i]->spread[step] = spread_of(loops[i]->ns[step], loops[i]->count);
    return 0;
}

/* ---- the loops ---- */

static int husk_open(struct loop *loop, husk_image *image) {
    struct husk_error err;
    loop->image = image;
    loop->args[0] = (struct husk_value){.type = HUSK_I32, .of.i32 = (int32_t)loop->pages};
    loop->args[1] = (struct husk_value){.type = HUSK_I32, .of.i32 = 1};
    loop->call = (struct husk_call){.size = sizeof loop->call};
    if (loop->pages != 0) {
        loop->call.args = loop->args;
        loop->call.args_count = 2;
    }
    if (husk_image_func(image, loop->pages == 0 ? "empty" : "touch", 0, &loop->call.func, &err) !=
            0 ||
        husk_sandbox_new(image, NULL, NULL, &loop->sandbox, &err) != 0)
        return bench_fail("limits", &err);
    return 0;
}

static int bare_open(struct loop *loop) {
    int result = bare_vm_open(&loop->vm, BARE_BYTES, loop->pages, false);
    if (result == 0)
        result = bare_vm_put_in_file(&loop->vm);
    if (result != 0)
        fprintf(stderr, "husk_bench: limits: no bare VM: %s\n", strerror(errno));
    return result;
}

static void loops_plan(struct loop *const *loops) {
    loops[LOOP_BARE]->is_bare = true;
    for (uint32_t i = 0; i < PAGE_COUNTS; i++) {
        loops[LOOP_RESTORES + i]->is_restored = true;
        loops[LOOP_RESTORES + i]->pages = page_counts[i];
    }
    for (uint32_t i = 0; i < FLOORS * COMPARE_LOOPS; i++) {
        struct loop *loop = loops[LOOP_FLOORS + i];
        loop->is_bare = true;
        loop->pages = page_counts[1 + i / COMPARE_LOOPS];
        loop->compare = compare_loop(i % COMPARE_LOOPS);
    }
}

static int loops_open(struct loop *const *loops, husk_image *image) {
    int result = 0;
    loops_plan(loops);
    for (uint32_t i = 0; i < LOOPS && result == 0; i++)
        result = loops[i]->is_bare ? bare_open(loops[i]) : husk_open(loops[i], image);
    return result;
}

static void loops_free(struct loop **loops) {
    for (uint32_t i = 0; i < LOOPS && loops[i] != NULL; i++) {
        husk_sandbox_free(loops[i]->sandbox);
        if (loops[i]->is_bare && loops[i]->vm.memory_bytes != 0)
            bare_vm_close(&loops[i]->vm);
        free(loops[i]);
    }
}

/* ---- the rows ---- */

static void print_ns(const struct bench *bench, const char *name, struct spread ns, double limit,
                     const char *limit_text) {
    limits_print(bench, &(struct limit_row){name, "ns", ns, limit, limit_text});
}

static struct spread minus(struct spread spread, double ns) {
    return (struct spread){spread.p10 - ns, spread.p50 - ns, spread.p90 - ns};
}

/* The parts of a request. Names are unique, for the JSON lines. */
static void print_sides(const struct bench *bench, const struct loop *loop) {
    char kind[32], name[80];
    snprintf(kind, sizeof kind, loop->is_restored ? "restore, %u pages" : "empty call",
             loop->pages);
    snprintf(name, sizeof name, "  %s: from the exit until husk_call() returns", kind);
    print_ns(bench, name, loop->spread[STEP_RETURN], 0, NULL);
    snprintf(name, sizeof name, "  %s: from husk_call() until the entry", kind);
    print_ns(bench, name, loop->spread[STEP_ENTER], 0, NULL);
    const struct spread all = loop->spread[STEP_ALL];
    snprintf(name, sizeof name, "  %s%s, at an exit of 1.5 us", kind,
             loop->is_restored ? " + call" : "");
    limits_print(bench, &(struct limit_row){name,
                                            "us",
                                            {(all.p10 + HARDWARE_EXIT_NS) / 1e3,
                                             (all.p50 + HARDWARE_EXIT_NS) / 1e3,
                                             (all.p90 + HARDWARE_EXIT_NS) / 1e3},
                                            0,
                                            NULL});
}

/* What KVM_RUN takes longer with libhusk's registers and entry page, round by round. */
static struct spread inside_more(const struct loop *empty, const struct loop *bare) {
    double more[ROUNDS];
    for (uint32_t i = 0; i < ROUNDS; i++)
        more[i] = empty->inside[i] - bare->inside[i];
    return spread_of(more, ROUNDS);
}

static void print_call(const struct bench *bench, struct loop *const *loops) {
    const struct loop *bare = loops[LOOP_BARE], *empty = loops[LOOP_EMPTY];
    print_ns(bench, "bare KVM_RUN", bare->spread[STEP_INSIDE], 0, NULL);
    print_ns(bench, "  bare KVM_RUN: outside of it, in a loop of them", bare->spread[STEP_ALL], 0,
             NULL);
    print_ns(bench, "call of an empty function, added to that outside of KVM_RUN",
             minus(empty->spread[STEP_CALL], bare->spread[STEP_ALL].p50), 700, NULL);
    print_sides(bench, empty);
    print_ns(bench, "  empty call: added inside KVM_RUN, by what the guest does, too",
             inside_more(empty, bare), 0, NULL);
}

/* The fastest of the loops. */
static struct spread floor_of(struct loop *const *loops, uint32_t floor, const char **ret_ahead) {
    struct spread least = {0};
    for (uint32_t i = 0; i < COMPARE_LOOPS; i++) {
        const struct loop *loop = loops[LOOP_FLOORS + floor * COMPARE_LOOPS + i];
        if (i != 0 && loop->spread[STEP_RESTORE].p50 >= least.p50)
            continue;
        least = loop->spread[STEP_RESTORE];
        *ret_ahead = compare_names[i];
    }
    return least;
}

/* Returns the limit. */
static double print_floor(const struct bench *bench, struct loop *const *loops, uint32_t idx) {
    char name[80];
    const char *ahead = "";
    struct spread floor = floor_of(loops, idx - 1, &ahead);
    snprintf(name, sizeof name, "restore_floor, %u pages (fetching %s ahead)", page_counts[idx],
             ahead);
    print_ns(bench, name, floor, 0, NULL);
    return page_counts[idx] <= 16 ? floor.p50 + 1200 : 1.15 * floor.p50;
}

static void print_restore(const struct bench *bench, struct loop *const *loops, uint32_t idx) {
    static const char *const limits[PAGE_COUNTS] = {NULL, "floor + 1.2 us", "1.15 x floor"};
    const struct loop *loop = loops[LOOP_RESTORES + idx];
    char name[80];
    if (idx == 0)
        print_ns(bench, "restore_floor, 0 pages", loops[LOOP_BARE]->spread[STEP_RESTORE], 0, NULL);
    const double limit = idx > 0 ? print_floor(bench, loops, idx) : 1200;
    snprintf(name, sizeof name, "restore, %u pages", loop->pages);
    print_ns(bench, name, loop->spread[STEP_RESTORE], limit, limits[idx]);
    print_sides(bench, loop);
}

static void rows_print(const struct bench *bench, struct loop *const *loops,
                       uint64_t searches_count) {
    uint32_t disturbed = 0;
    print_call(bench, loops);
    for (uint32_t i = 0; i < PAGE_COUNTS; i++)
        print_restore(bench, loops, i);
    for (uint32_t i = 0; i < LOOPS; i++)
        disturbed += loops[i]->disturbed;
    if (disturbed != 0)
        printf("  (in %u of %u batches the thread lost its CPU every time)\n", disturbed,
               LOOPS * ROUNDS);
    if (searches_count != 0)
        printf("  (%llu restores searched memory for written pages)\n",
               (unsigned long long)searches_count);
}

int limits_restore(const struct bench *bench) {
    struct loop *loops[LOOPS] = {NULL};
    husk_image *image = NULL;
    uint64_t searches_count = 0;
    const double tick_ns = exits_tick_ns();
    int result = image_filled(bench, bench->engine, MEMORY_MIB, &image);
    for (uint32_t i = 0; i < LOOPS && result == 0; i++) {
        loops[i] = calloc(1, sizeof *loops[i]);
        result = loops[i] != NULL ? 0 : -1;
    }
    result = result != 0 ? result : loops_open(loops, image);
    result = result != 0 ? result : loops_run(bench, loops, tick_ns, &searches_count);
    if (result == 0)
        rows_print(bench, loops, searches_count);
    loops_free(loops);
    husk_image_unref(image);
    return result;
}
