/*
 * bench/limits_touch.c: the rows of memory that is written for the first time, in the table of
 * limits. Beside each stands the same work natively: mmap(), and a write to each page. In turns, in
 * one thread. The kernel gives native code no large pages, unless it gives them to everybody.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "limits.h"

enum { PAGE_BYTES = 4096, RUN_PAGES = 16384, REQUEST_PAGES = 4096, SMALL_PAGES = 16 };
enum { ROUNDS = 12, LATER = 12, SMALL = 200, SAMPLES = ROUNDS * LATER };

enum row { ROW_RUN_GROWN, ROW_RUN_ZEROS, ROW_FIRST, ROW_GROWN, ROW_LATER, ROW_LATER_GROWN, ROWS };

static const struct {
    const char *name;
    double limit;
} texts[ROWS] = {
    [ROW_RUN_GROWN] = {"first write of 64 MiB that memory.grow gave, as husk run does it", 1.5},
    [ROW_RUN_ZEROS] = {"first write of 64 MiB of the module's zeros, as husk run does it", 1.5},
    [ROW_FIRST] = {"in a pool: first request of a snapshot, writes 16 MiB of zeros", 3},
    [ROW_GROWN] = {"in a pool: the first request that grows by 16 MiB and writes it", 3},
    [ROW_LATER] = {"in a pool: restore, request that writes the same 16 MiB", 3},
    [ROW_LATER_GROWN] = {"in a pool: restore, request that grows by 16 MiB and writes it", 3},
};

struct touch {
    husk_engine *engine;
    husk_image *image;
    husk_func zeros, grown;
    struct {
        double ratio[SAMPLES], ns[SAMPLES];
        uint32_t count;
    } rows[ROWS];
    double faults[SAMPLES];
    uint32_t faults_count;
};

/* Nanoseconds, or negative. The memory is given back outside, as a sandbox's is. */
static double native_ns(uint32_t pages) {
    const size_t bytes = (size_t)pages * PAGE_BYTES;
    const uint64_t start = bench_now_ns();
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    for (uint32_t i = 0; i < pages; i++)
        *(volatile uint8_t *)(memory + (size_t)i * PAGE_BYTES) = 1;
    const uint64_t end = bench_now_ns();
    munmap(memory, bytes);
    return (double)(end - start);
}

static int sample_add(struct touch *touch, enum row row, double ns, uint32_t pages) {
    const double native = native_ns(pages);
    const uint32_t idx = touch->rows[row].count++;
    touch->rows[row].ratio[idx] = ns / native;
    touch->rows[row].ns[idx] = ns / pages;
    return native > 0 ? 0 : -1;
}

static int write_pages(husk_sandbox *sandbox, husk_func func, uint32_t pages,
                       struct husk_error *err) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    const struct husk_value arg = {.type = HUSK_I32, .of.i32 = (int32_t)pages};
    const struct husk_call call = {
        .size = sizeof call, .func = func, .args = &arg, .args_count = 1};
    int status = husk_call(sandbox, &call, &outcome, err);
    return status == 0 && outcome.kind == HUSK_RETURNED
               ? 0
               : bench_fail_outcome("first writes", status, &outcome, err);
}

static int sandbox_make(husk_image *image, enum husk_large_pages large_pages,
                        husk_sandbox **ret_sandbox, struct husk_error *err) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.large_pages = large_pages;
    return husk_sandbox_new(image, NULL, &options, ret_sandbox, err);
}

/* A new sandbox, one call. */
static int run_once(struct touch *touch, enum row row, husk_func func, struct husk_error *err) {
    husk_sandbox *sandbox = NULL;
    int status = sandbox_make(touch->image, HUSK_LARGE_PAGES_ALWAYS, &sandbox, err);
    const uint64_t start = bench_now_ns();
    if (status == 0)
        status = write_pages(sandbox, func, RUN_PAGES, err);
    if (status == 0)
        status = sample_add(touch, row, (double)(bench_now_ns() - start), RUN_PAGES);
    husk_sandbox_free(sandbox);
    return status;
}

/* Page faults of the thread; a search means that the guest took some. */
static double faults_now(husk_engine *engine) {
    struct rusage usage = {0};
    struct husk_stats stats = HUSK_STATS_INIT;
    getrusage(RUSAGE_THREAD, &usage);
    husk_engine_stats(engine, &stats);
    return (double)usage.ru_minflt + (double)stats.memory_searches;
}

/* The first request, then later ones. Each of them is a restore and a call. */
static int requests(struct touch *touch, husk_sandbox *sandbox, husk_image *snapshot, bool is_grown,
                    struct husk_error *err) {
    const husk_func func = is_grown ? touch->grown : touch->zeros;
    int status = 0;
    for (int i = 0; i <= LATER && status == 0; i++) {
        const double faults = faults_now(touch->engine);
        const uint64_t start = bench_now_ns();
        if (i > 0)
            status = husk_sandbox_restore(sandbox, snapshot, err);
        if (status == 0)
            status = write_pages(sandbox, func, REQUEST_PAGES, err);
        const double ns = (double)(bench_now_ns() - start);
        if (i > 1 && !is_grown) /* the first restore still searches for the first request's pages */
            touch->faults[touch->faults_count++] = faults_now(touch->engine) - faults;
        enum row row = is_grown ? ROW_GROWN : ROW_FIRST;
        if (i > 0)
            row = is_grown ? ROW_LATER_GROWN : ROW_LATER;
        if (status == 0)
            status = sample_add(touch, row, ns, REQUEST_PAGES);
    }
    return status;
}

/* A snapshot of which nothing is known yet. */
static int pool_once(struct touch *touch, bool is_grown, struct husk_error *err) {
    husk_sandbox *sandbox = NULL;
    husk_image *snapshot = NULL;
    int status = sandbox_make(touch->image, HUSK_LARGE_PAGES_AUTO, &sandbox, err);
    if (status == 0)
        status = husk_sandbox_snapshot(sandbox, &snapshot, err);
    husk_sandbox_free(sandbox);
    sandbox = NULL;
    if (status == 0)
        status = sandbox_make(snapshot, HUSK_LARGE_PAGES_AUTO, &sandbox, err);
    if (status == 0)
        status = requests(touch, sandbox, snapshot, is_grown, err);
    husk_sandbox_free(sandbox);
    husk_image_unref(snapshot);
    return status;
}

static void rows_print(const struct bench *bench, struct touch *touch) {
    for (enum row row = 0; row < ROWS; row++) {
        const struct limit_row times = {
            .name = texts[row].name,
            .unit = "x native",
            .spread = spread_of(touch->rows[row].ratio, touch->rows[row].count),
            .limit = texts[row].limit};
        limits_print(bench, &times);
        limits_print(bench, &(struct limit_row){
                                .name = "    the same",
                                .unit = "ns a page",
                                .spread = spread_of(touch->rows[row].ns, touch->rows[row].count)});
    }
    limits_print(bench,
                 &(struct limit_row){.name = "    page faults and searches of later requests",
                                     .unit = "",
                                     .spread = spread_of(touch->faults, touch->faults_count),
                                     .limit = 0.5,
                                     .limit_text = "none"});
}

/* ---- an ordinary pool: small requests must not notice ---- */

/* ns of a restore after a call that writes few pages of zeros, in a sandbox that served some. */
static int small_requests(husk_image *image, enum husk_large_pages large_pages, double *ret_ns,
                          struct husk_error *err) {
    static double ns[SMALL];
    husk_sandbox *sandbox = NULL;
    husk_func zeros;
    int status = husk_image_func(image, "zeros", 0, &zeros, err);
    if (status == 0)
        status = sandbox_make(image, large_pages, &sandbox, err);
    for (int i = 0; i < SMALL && status == 0; i++) {
        status = write_pages(sandbox, zeros, SMALL_PAGES, err);
        const uint64_t start = bench_now_ns();
        if (status == 0)
            status = husk_sandbox_restore(sandbox, image, err);
        ns[i] = (double)(bench_now_ns() - start);
    }
    husk_sandbox_free(sandbox);
    *ret_ns = spread_of(ns, SMALL).p50;
    return status;
}

static int small_measure(const struct bench *bench, husk_image *image, struct husk_error *err) {
    static double ratio[ROUNDS];
    int status = 0;
    for (int i = 0; i < ROUNDS && status == 0; i++) {
        double ns, never_ns;
        status = small_requests(image, HUSK_LARGE_PAGES_AUTO, &ns, err);
        if (status == 0)
            status = small_requests(image, HUSK_LARGE_PAGES_NEVER, &never_ns, err);
        ratio[i] = status == 0 ? ns / never_ns : 0;
    }
    if (status == 0)
        limits_print(bench,
                     &(struct limit_row){.name = "restore after 16 pages of zeros, large pages by "
                                                 "default",
                                         .unit = "x never",
                                         .spread = spread_of(ratio, ROUNDS),
                                         .limit = 1.05});
    return status;
}

int limits_touch(const struct bench *bench) {
    static struct touch touch;
    struct husk_error err;
    memset(&touch, 0, sizeof touch);
    touch.engine = bench->engine;
    if (bench_load(bench, "fresh", &touch.image) != 0)
        return -1;
    int status = husk_image_func(touch.image, "zeros", 0, &touch.zeros, &err);
    if (status == 0)
        status = husk_image_func(touch.image, "grown", 0, &touch.grown, &err);
    for (int i = 0; i < ROUNDS && status == 0; i++) {
        status = run_once(&touch, ROW_RUN_GROWN, touch.grown, &err);
        if (status == 0)
            status = run_once(&touch, ROW_RUN_ZEROS, touch.zeros, &err);
        if (status == 0)
            status = pool_once(&touch, false, &err);
        if (status == 0)
            status = pool_once(&touch, true, &err);
    }
    if (status == 0) {
        rows_print(bench, &touch);
        status = small_measure(bench, touch.image, &err);
    }
    husk_image_unref(touch.image);
    return status == 0 ? 0 : bench_fail("first writes", &err);
}
