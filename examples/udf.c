/*
 * udf.c: applies an untrusted function to the rows of a table. The host writes the rows directly
 * into the guest's memory, a thousand at a time, and one call works on all of them. So a thousand
 * rows share the cost of one entry into a virtual machine, and nothing is copied.
 *
 * A function that knows no rows, only the numbers of one, is called a thousand times by one
 * husk_call_many(). That is one entry, too.
 *
 *   udf udf.wasm      (guests/udf.c)
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "example.h"
#include "guests/udf.h"

#define ROWS_COUNT 1000u
#define BATCH_NS_MAX 100000000 /* 100 ms; so the query goes on, whatever the guest does */

struct udf {
    husk_sandbox *sandbox;
    husk_func total, total_of;
    uint32_t rows_addr; /* address in the guest */
    struct row *rows;   /* their host address; the guest can write there */
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int fail(struct husk_error *err, const char *what) {
    snprintf(err->message, sizeof err->message, "%s", what);
    return HUSK_E_GUEST;
}

/* Make a call that must return. If it ended in any other way, the guest would have to be
 * restored. */
static int call(husk_sandbox *sandbox, struct husk_call *call, struct husk_error *err) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    limits.wall_ns = BATCH_NS_MAX;
    call->limits = &limits;
    int status = husk_call(sandbox, call, &outcome, err);
    if (status == 0 && outcome.kind != HUSK_RETURNED)
        return fail(err, outcome.message);
    return status;
}

/* Get room for the rows in the guest, and a view of it. Once for each sandbox. */
static int prepare(struct udf *udf, const husk_image *image, struct husk_error *err) {
    struct husk_call start = HUSK_CALL_INIT, rows_new = HUSK_CALL_INIT;
    const struct husk_value count = husk_i32(ROWS_COUNT);
    struct husk_value addr;
    void *span = NULL;
    start.name = "_initialize";
    rows_new.name = "rows_new";
    rows_new.args = &count;
    rows_new.args_count = 1;
    rows_new.results = &addr;
    rows_new.results_count = 1;
    int status = husk_image_func(image, "total", 0, &udf->total, err);
    if (status == 0)
        status = husk_image_func(image, "total_of", 0, &udf->total_of, err);
    if (status == 0)
        status = call(udf->sandbox, &start, err);
    if (status == 0)
        status = call(udf->sandbox, &rows_new, err);
    if (status != 0)
        return status;
    udf->rows_addr = (uint32_t)addr.of.i32;
    /* The guest chose the address: it must be aligned, and husk_memory_span() checks that all rows
     * lie in the guest's memory. */
    if (udf->rows_addr == 0 || udf->rows_addr % _Alignof(struct row) != 0)
        return fail(err, "the guest has no room for the rows");
    const struct husk_range range = {.addr = udf->rows_addr,
                                     .count = ROWS_COUNT * sizeof *udf->rows};
    status = husk_memory_span(udf->sandbox, &range, &span, err);
    udf->rows = span;
    return status;
}

/* Apply the function to rows[first … first + count). */
static int apply(const struct udf *udf, uint32_t first, uint32_t count, struct husk_error *err) {
    struct husk_call total = HUSK_CALL_INIT;
    const uint32_t addr = udf->rows_addr + first * (uint32_t)sizeof *udf->rows;
    const struct husk_value args[2] = {husk_i32((int32_t)addr), husk_i32((int32_t)count)};
    total.func = udf->total;
    total.args = args;
    total.args_count = 2;
    return call(udf->sandbox, &total, err);
}

/* Call the other function for each row. */
static int apply_to_numbers(const struct udf *udf, double *sum, struct husk_error *err) {
    static struct husk_value args[3 * ROWS_COUNT], totals[ROWS_COUNT];
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_call total_of = HUSK_CALL_INIT;
    struct husk_many many = HUSK_MANY_INIT;
    for (uint32_t i = 0; i < ROWS_COUNT; i++) {
        args[3 * i] = husk_f64(udf->rows[i].price);
        args[3 * i + 1] = husk_f64(udf->rows[i].quantity);
        args[3 * i + 2] = husk_i32(udf->rows[i].region);
    }
    limits.wall_ns = BATCH_NS_MAX; /* for all of them */
    total_of.func = udf->total_of;
    total_of.args = args;
    total_of.args_count = 3 * ROWS_COUNT;
    total_of.results = totals;
    total_of.results_count = ROWS_COUNT;
    total_of.limits = &limits;
    many.count = ROWS_COUNT;
    int status = husk_call_many(udf->sandbox, &total_of, &many, &outcome, err);
    if (status == 0 && outcome.kind != HUSK_RETURNED)
        return fail(err, outcome.message); /* many.returned rows have a total */
    for (uint32_t i = 0; i < ROWS_COUNT && status == 0; i++)
        *sum += totals[i].of.f64;
    return status;
}

/* Make the rows. A database would read them from its pages. */
static void fill(struct row *rows, uint32_t batch) {
    for (uint32_t i = 0; i < ROWS_COUNT; i++)
        rows[i] = (struct row){.price = 0.5 + batch % 4, .quantity = i % 10, .region = (int32_t)i};
}

struct query {
    uint32_t batches, step; /* step: rows per call */
    double sum;             /* the sum of all totals */
    uint64_t ns;            /* time of the calls alone */
};

static int run_query(const struct udf *udf, struct query *query, struct husk_error *err) {
    int status = 0;
    for (uint32_t batch = 0; batch < query->batches && status == 0; batch++) {
        fill(udf->rows, batch);
        const uint64_t start_ns = now_ns();
        for (uint32_t first = 0; first < ROWS_COUNT && status == 0; first += query->step)
            status = apply(udf, first, query->step, err);
        query->ns += now_ns() - start_ns;
        for (uint32_t i = 0; i < ROWS_COUNT; i++) /* the guest wrote it: it may be any number */
            query->sum += udf->rows[i].total;
    }
    return status;
}

static int run_query_of_numbers(const struct udf *udf, struct query *query,
                                struct husk_error *err) {
    int status = 0;
    for (uint32_t batch = 0; batch < query->batches && status == 0; batch++) {
        fill(udf->rows, batch);
        const uint64_t start_ns = now_ns();
        status = apply_to_numbers(udf, &query->sum, err);
        query->ns += now_ns() - start_ns;
    }
    return status;
}

static void print(const char *how, const struct query *query) {
    printf("%s: a batch's totals are %.2f; %.1f ns a row\n", how, query->sum / query->batches,
           (double)query->ns / query->batches / ROWS_COUNT);
}

static int run(struct udf *udf, const husk_image *image, struct husk_error *err) {
    struct query queries[] = {{.batches = 400, .step = ROWS_COUNT}, {.batches = 8, .step = 1}};
    int status = prepare(udf, image, err);
    for (size_t i = 0; i < sizeof queries / sizeof queries[0] && status == 0; i++) {
        struct query *query = &queries[i];
        status = run_query(udf, query, err);
        char how[32];
        snprintf(how, sizeof how, "%4" PRIu32 " rows a call", query->step);
        if (status == 0)
            print(how, query);
    }
    struct query numbers = {.batches = 400};
    if (status == 0)
        status = run_query_of_numbers(udf, &numbers, err);
    if (status == 0)
        print("1000 calls at once", &numbers);
    return status;
}

int main(int argc, char **argv) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    struct husk_error err = {0};
    struct udf udf = {0};
    husk_engine *engine = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: udf udf.wasm\n");
        return 2;
    }
    options.memory_max_bytes = 16u << 20;
    int status = husk_engine_new(NULL, &engine, &err);
    husk_image *image = status == 0 ? example_load(engine, argv[1]) : NULL;
    if (image != NULL)
        status = husk_sandbox_new(image, NULL, &options, &udf.sandbox, &err);
    if (image != NULL && status == 0)
        status = run(&udf, image, &err);
    if (status != 0)
        fprintf(stderr, "udf: %s\n", err.message);
    husk_sandbox_free(udf.sandbox);
    husk_image_unref(image);
    husk_engine_unref(engine);
    return image == NULL || status != 0 ? 1 : 0;
}
