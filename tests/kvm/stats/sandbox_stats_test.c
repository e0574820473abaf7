/*
 * tests/kvm/stats/sandbox_stats_test.c: the parts that belong to a sandbox, not to the loaded
 * image. These are the embedder's pointer, the counters, which count only this sandbox, and the
 * label for them in the Prometheus text.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "harness.h"
#include "layout.h"
#include "literals.h"
#include "prometheus_text.h"
#include "state_guest.h"
#include "wat.h"

#define MEMORY_BYTES (STATE_MEMORY_PAGES * 65536u)

static struct husk_sandbox_stats stats_of(const husk_sandbox *sandbox) {
    struct husk_sandbox_stats stats = HUSK_SANDBOX_STATS_INIT;
    CHECK_EQ_I64(husk_sandbox_stats(sandbox, &stats), 0);
    return stats;
}

static void open_measured(struct state_lab *lab, husk_host_fn fn, void *user) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    options.measure_times = true;
    options.pool_max = 1;
    state_open_with(lab, &options, fn, user);
}

static husk_sandbox *labelled_sandbox(struct state_lab *lab, const char *label) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    husk_sandbox *sandbox;
    options.label = label;
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, &options, &sandbox, &lab->err), lab->err);
    return sandbox;
}

static void set_label(struct state_lab *lab, husk_sandbox *sandbox, const char *label) {
    CHECK_OK(husk_sandbox_set_label(sandbox, label, &lab->err), lab->err);
}

/* ---- Counters ---- */

static uint64_t spin(struct state_lab *lab) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    uint64_t tries = 0;
    for (limits.wall_ns = 20000000; !lab->outcome.is_poisoned; limits.wall_ns *= 4, tries++)
        CHECK_OK(husk_call(lab->sandbox, CALL(.name = "spin", .limits = &limits), &lab->outcome,
                           &lab->err),
                 lab->err);
    return tries;
}

/* Use the sandbox in many ways. Returns the number of deadlines. */
static uint64_t live(struct state_lab *lab) {
    husk_image *snapshot;
    STATE_CALL(lab, "store", 8, 1);
    STATE_CALL(lab, "host", 1);
    STATE_CALL(lab, "grow", 1);
    STATE_RUN(lab, "trap");
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), lab->err);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, snapshot, &lab->err), lab->err);
    husk_interrupt(lab->sandbox);
    STATE_RUN(lab, "store", 8, 2);
    const uint64_t deadlines = spin(lab);
    CHECK_OK(husk_sandbox_load(lab->sandbox, lab->image, lab->imports, &lab->err), lab->err);
    husk_image_unref(snapshot);
    return deadlines;
}

/* With only one sandbox so far, the engine's counts are equal to its counts. */
static void check_like_engine(const struct state_lab *lab) {
    struct husk_stats all = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &all);
    const struct husk_sandbox_stats stats = stats_of(lab->sandbox);
#define STAT(name, metric, label, help)
#define SANDBOX_STAT(name, metric, label, help) CHECK_EQ_U64(stats.name, all.name);
#include "stats.def"
#undef STAT
    CHECK_EQ_U64(stats.restore_ns, all.restore_ns);
    CHECK_EQ_U64(stats.snapshot_ns, all.snapshot_ns);
    CHECK_EQ_U64(stats.call_ns, all.call_ns);
    CHECK_EQ_U64(stats.host_call_ns, all.host_call_ns);
    CHECK_EQ_U64(stats.hot_pages, all.hot_pages);
    CHECK(stats.call_ns > stats.host_call_ns && stats.host_call_ns > 0 && stats.restore_ns > 0);
}

TEST(one_sandbox_is_all_that_the_engine_counts) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    open_measured(&lab, NULL, NULL);
    const uint64_t deadlines = live(&lab);
    check_like_engine(&lab);
    const struct husk_sandbox_stats stats = stats_of(lab.sandbox);
    CHECK_EQ_U64(stats.calls, 5 + deadlines);
    CHECK_EQ_U64(stats.host_calls, 1);
    CHECK_EQ_U64(stats.memory_grows, 1);
    CHECK_EQ_U64(stats.traps, 1);
    CHECK_EQ_U64(stats.interrupts, 1);
    CHECK_EQ_U64(stats.deadlines, deadlines);
    CHECK_EQ_U64(stats.poisonings_deadline, 1);
    CHECK_EQ_U64(stats.snapshots, 1);
    CHECK_EQ_U64(stats.restores, 2);
    CHECK_EQ_U64(stats.loads_new_vm, 1);
    CHECK_EQ_U64(stats.loads_in_place, 1);
    state_close(&lab);
}

TEST(others_are_not_in_it) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    open_measured(&lab, NULL, NULL);
    husk_sandbox *other = state_sandbox(&lab, lab.image);
    live(&lab);
    struct husk_sandbox_stats stats = stats_of(other);
    CHECK_EQ_U64(stats.calls, 0);
    CHECK_EQ_U64(stats.loads_new_vm, 1);
    CHECK_EQ_U64(stats.restores, 0);
    /* nor does a sandbox count that had the VM before */
    husk_sandbox_free(other);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = state_sandbox(&lab, lab.image);
    stats = stats_of(lab.sandbox);
    CHECK_EQ_U64(stats.loads_in_place, 1);
    CHECK_EQ_U64(stats.loads_new_vm, 0);
    CHECK_EQ_U64(stats.restores, 1);
    CHECK_EQ_U64(stats.calls, 0);
    CHECK_EQ_U64(stats.call_ns, 0);
    CHECK_EQ_U64(stats.memory_bytes, MEMORY_BYTES);
    state_close(&lab);
}

TEST(memory_as_it_is) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    CHECK_EQ_U64(stats_of(lab.sandbox).memory_bytes, MEMORY_BYTES);
    STATE_CALL(&lab, "grow", 1);
    CHECK_EQ_U64(stats_of(lab.sandbox).memory_bytes, MEMORY_BYTES + 65536);
    CHECK_OK(husk_memory_grow(lab.sandbox, 0, 1, NULL, &lab.err), lab.err);
    CHECK_EQ_U64(stats_of(lab.sandbox).memory_bytes, MEMORY_BYTES + 131072);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_U64(stats_of(lab.sandbox).memory_bytes, MEMORY_BYTES);
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    CHECK_EQ_U64(stats_of(lab.sandbox).memory_bytes, 0);
    CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
    CHECK_EQ_U64(stats_of(lab.sandbox).memory_bytes, MEMORY_BYTES);
    struct husk_sandbox_stats unset = {0};
    CHECK_EQ_I64(husk_sandbox_stats(lab.sandbox, &unset), HUSK_E_INVAL);
    state_close(&lab);
}

/* ---- The embedder's pointer ---- */

static int host_adds_user(husk_caller *caller, void *user, const struct husk_value *args,
                          struct husk_value *results) {
    (void)user;
    const int32_t *summand = husk_sandbox_user(husk_caller_sandbox(caller));
    results[0].of.i32 = args[0].of.i32 + (summand != NULL ? *summand : -1);
    return 0;
}

TEST(the_embedders_pointer) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_sandbox *clone;
    int32_t ten = 10, twenty = 20;
    state_open(&lab, host_adds_user, NULL);
    CHECK(husk_sandbox_user(lab.sandbox) == NULL);
    husk_sandbox_free(lab.sandbox);
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.user = &ten;
    CHECK_OK(husk_sandbox_new(lab.image, lab.imports, &options, &lab.sandbox, &lab.err), lab.err);
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab.engine, &stats);
    CHECK_EQ_U64(stats.pool_hits, 1); /* `user` is no limit, so the pool's VM fits */
    CHECK_EQ_I64(STATE_CALL(&lab, "host", 1), 11);
    husk_sandbox_set_user(lab.sandbox, &twenty);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "host", 1), 21);
    set_label(&lab, lab.sandbox, "a");
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    CHECK(husk_sandbox_user(clone) == NULL);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, clone, "host", 1), 0);
    prometheus_check(prometheus_read(lab.engine), "husk_sandbox_calls_total", "sandbox=\"a\"", 2);
    husk_sandbox_free(clone);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = state_sandbox(&lab, lab.image); /* the pool keeps no `user` */
    CHECK(husk_sandbox_user(lab.sandbox) == NULL);
    state_close(&lab);
}

/* ---- Labels ---- */

static void check_calls(const struct state_lab *lab, const char *label, double calls) {
    char labels[PROMETHEUS_LABELS_MAX];
    snprintf(labels, sizeof labels, "sandbox=\"%s\"", label);
    prometheus_check(prometheus_read(lab->engine), "husk_sandbox_calls_total", labels, calls);
}

static bool has_label(const struct state_lab *lab, const char *label) {
    char labels[PROMETHEUS_LABELS_MAX];
    snprintf(labels, sizeof labels, "sandbox=\"%s\"", label);
    return prometheus_find(prometheus_read(lab->engine), "husk_sandbox_calls_total", labels) !=
           NULL;
}

/* Check a row of struct husk_sandbox_stats in the text. */
static void check_row(const struct prometheus_text *text, const char *metric, const char *label,
                      uint64_t number) {
    char name[PROMETHEUS_NAME_MAX], labels[PROMETHEUS_LABELS_MAX];
    snprintf(name, sizeof name, "husk_sandbox_%s", metric);
    snprintf(labels, sizeof labels, "sandbox=\"a\"%s%.*s", label[0] == '{' ? "," : "",
             label[0] == '{' ? (int)strlen(label) - 2 : 0, label + 1);
    prometheus_check(text, name, labels, (double)number);
}

TEST(the_text_says_what_the_struct_says) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    open_measured(&lab, NULL, NULL);
    const size_t without = prometheus_read(lab.engine)->samples_count;
    live(&lab);
    set_label(&lab, lab.sandbox, "a"); /* it has the counts made without a label */
    const struct husk_sandbox_stats stats = stats_of(lab.sandbox);
    const struct prometheus_text *text = prometheus_read(lab.engine);
    size_t rows = 0;
#define STAT(name, metric, label, help)
#define SANDBOX_STAT(name, metric, label, help) rows++, check_row(text, metric, label, stats.name);
#include "stats.def"
#undef STAT
    check_row(text, "memory_bytes", "", stats.memory_bytes);
    check_row(text, "hot_bytes", "", stats.hot_pages * HUSK_PAGE_SIZE);
    const struct prometheus_sample *sample =
        prometheus_find(text, "husk_sandbox_call_seconds_total", "sandbox=\"a\"");
    CHECK(sample != NULL);
    CHECK_EQ_U64((uint64_t)(sample->number * 1e9 + 0.5), stats.call_ns);
    CHECK_EQ_U64(text->samples_count, without + rows + 6);
    state_close(&lab);
}

TEST(sandboxes_of_one_label_are_one) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    open_measured(&lab, NULL, NULL);
    char label[] = "a";
    husk_sandbox *first = labelled_sandbox(&lab, label), *second = labelled_sandbox(&lab, label);
    label[0] = 'x'; /* it was copied */
    STATE_CALL_ON(&lab, first, "store", 8, 1);
    STATE_CALL_ON(&lab, second, "store", 8, 1);
    STATE_CALL_ON(&lab, second, "store", 8, 1);
    STATE_CALL(&lab, "store", 8, 1);
    check_calls(&lab, "a", 3);
    prometheus_check(prometheus_read(lab.engine), "husk_sandbox_memory_bytes", "sandbox=\"a\"",
                     2 * MEMORY_BYTES);
    husk_sandbox_free(second); /* a counter does not fall */
    check_calls(&lab, "a", 3);
    prometheus_check(prometheus_read(lab.engine), "husk_sandbox_memory_bytes", "sandbox=\"a\"",
                     MEMORY_BYTES);
    husk_sandbox_free(first);
    check_calls(&lab, "a", 3);
    first = labelled_sandbox(&lab, "a");
    STATE_CALL_ON(&lab, first, "store", 8, 1);
    check_calls(&lab, "a", 4);
    husk_sandbox_free(first);
    state_close(&lab);
}

TEST(another_label) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "store", 8, 1);
    set_label(&lab, lab.sandbox, "a");
    STATE_CALL(&lab, "store", 8, 1);
    set_label(&lab, lab.sandbox, "a");
    check_calls(&lab, "a", 2);
    set_label(&lab, lab.sandbox, "b");
    STATE_CALL(&lab, "store", 8, 1);
    check_calls(&lab, "a", 2);
    check_calls(&lab, "b", 1);
    set_label(&lab, lab.sandbox, NULL);
    STATE_CALL(&lab, "store", 8, 1);
    check_calls(&lab, "b", 1);
    set_label(&lab, lab.sandbox, "c");
    check_calls(&lab, "c", 1);
    set_label(&lab, lab.sandbox, "");
    check_calls(&lab, "c", 1);
    CHECK_EQ_U64(stats_of(lab.sandbox).calls, 4);
    CHECK(!has_label(&lab, ""));
    state_close(&lab);
}

TEST(labels_are_escaped) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    set_label(&lab, lab.sandbox, "a \\n \"quoted\" {b=c} \xc3\xa9");
    check_calls(&lab, "a \\\\n \\\"quoted\\\" {b=c} \xc3\xa9", 0);
    char most[LIMIT_LABEL_BYTES + 1], escaped[2 * LIMIT_LABEL_BYTES + 1];
    memset(most, '"', sizeof most);
    most[sizeof most - 1] = 0;
    for (size_t i = 0; i < sizeof escaped; i++)
        escaped[i] = i % 2 == 0 ? '\\' : '"';
    escaped[sizeof escaped - 1] = 0;
    set_label(&lab, lab.sandbox, most);
    check_calls(&lab, escaped, 0);
    char any[64]; /* an escaped name is a label */
    husk_name_escape("a\nb\xff", 4, any, sizeof any);
    set_label(&lab, lab.sandbox, any);
    check_calls(&lab, "a\\\\0ab\\\\ff", 0);
    state_close(&lab);
}

static void check_refused(struct state_lab *lab, const char *label, int status, const char *why) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    husk_sandbox *none = NULL;
    CHECK_STATUS(husk_sandbox_set_label(lab->sandbox, label, &lab->err), status);
    CHECK_CONTAINS(lab->err.message, why);
    options.label = label;
    CHECK_STATUS(husk_sandbox_new(lab->image, lab->imports, &options, &none, &lab->err), status);
    CHECK_CONTAINS(lab->err.message, why);
    CHECK(none == NULL);
    STATE_CALL(lab, "store", 8, 1);
}

TEST(what_is_no_label) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    char long_label[LIMIT_LABEL_BYTES + 2];
    memset(long_label, 'a', sizeof long_label);
    long_label[sizeof long_label - 1] = 0;
    state_open(&lab, NULL, NULL);
    set_label(&lab, lab.sandbox, "a");
    check_refused(&lab, long_label, HUSK_E_LIMIT, "more than 128 bytes");
    check_refused(&lab, "one\ntwo", HUSK_E_INVAL, "\"one\\0atwo\" has at byte 3");
    check_refused(&lab, "\xff", HUSK_E_INVAL, "byte 0");
    check_refused(&lab, "a\xc3", HUSK_E_INVAL, "byte 1");
    check_refused(&lab, "\xe2\x80\xae turned", HUSK_E_INVAL, "husk_name_escape()");
    CHECK_STATUS(husk_sandbox_set_label(NULL, "a", &lab.err), HUSK_E_INVAL);
    check_calls(&lab, "a", 5); /* it still has its label */
    CHECK_EQ_U64(lab.engine->labels.count, 1);
    state_close(&lab);
}

/* An embedder that labels every request anew does not fill the memory. */
TEST(old_labels_are_forgotten) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct label_sum *sums;
    uint32_t count;
    char label[32];
    const unsigned more = 10;
    state_open(&lab, NULL, NULL);
    husk_sandbox *kept = labelled_sandbox(&lab, "kept");
    for (unsigned i = 0; i <= LIMIT_LABELS_IDLE + more; i++) {
        snprintf(label, sizeof label, "request %04u", i * 7919 % 10000);
        set_label(&lab, lab.sandbox, label);
    }
    CHECK_EQ_I64(labels_sum(&lab.engine->labels, &sums, &count), 0);
    CHECK_EQ_U64(count, LIMIT_LABELS_IDLE + 2); /* two are in use */
    CHECK_EQ_U64(lab.engine->labels.idle_count, LIMIT_LABELS_IDLE);
    CHECK_STR(sums[0].text, "kept");
    for (uint32_t i = 1; i < count; i++) {
        CHECK(strcmp(sums[i - 1].text, sums[i].text) < 0);
        for (unsigned k = 0; k < more; k++) { /* the oldest */
            snprintf(label, sizeof label, "request %04u", k * 7919 % 10000);
            CHECK_MSG(strcmp(sums[i].text, label) != 0, "%s", label);
        }
    }
    free(sums);
    husk_sandbox_free(kept);
    state_close(&lab);
}

/* ---- A write callback may use the library ---- */

static int write_and_use(void *user, const void *bytes, size_t count) {
    struct state_lab *lab = user;
    (void)bytes, (void)count;
    set_label(lab, lab->sandbox, "b");
    set_label(lab, lab->sandbox, "a");
    husk_sandbox_free(labelled_sandbox(lab, "c"));
    return 0;
}

TEST(the_writer_may_use_the_library) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    set_label(&lab, lab.sandbox, "a");
    CHECK_EQ_I64(husk_engine_prometheus(lab.engine, write_and_use, &lab), 0);
    CHECK(has_label(&lab, "a") && has_label(&lab, "b") && has_label(&lab, "c"));
    state_close(&lab);
}

/* ---- Read while sandboxes run ---- */

#define WORKERS 3u
#define ROUNDS 60

struct worker {
    struct state_lab lab; /* engine, image, imports: shared */
    const char *label;
    husk_sandbox *kept;
};

static atomic_uint finished;

/* One sandbox lives all the time, and others come and go. */
static void *work(void *user) {
    struct worker *worker = user;
    struct state_lab *lab = &worker->lab;
    for (int i = 0; i < ROUNDS; i++) {
        husk_sandbox *sandbox = labelled_sandbox(lab, worker->label);
        STATE_CALL_ON(lab, sandbox, "store", 8, i);
        STATE_CALL_ON(lab, worker->kept, "host", i);
        STATE_CALL_ON(lab, worker->kept, "grow", i % 2);
        CHECK_OK(husk_sandbox_restore(worker->kept, lab->image, &lab->err), lab->err);
        set_label(lab, sandbox, i % 2 == 0 ? "odd" : worker->label);
        husk_sandbox_free(sandbox);
    }
    atomic_fetch_add(&finished, 1);
    return NULL;
}

/* No counter has fallen. */
static void check_rises(struct husk_sandbox_stats *before, const husk_sandbox *sandbox) {
    const struct husk_sandbox_stats now = stats_of(sandbox);
#define STAT(name, metric, label, help)
#define SANDBOX_STAT(name, metric, label, help)                                                    \
    CHECK_MSG(now.name >= before->name, #name ": %" PRIu64 " after %" PRIu64, now.name,            \
              before->name);
#include "stats.def"
#undef STAT
    CHECK(now.memory_bytes >= MEMORY_BYTES && now.memory_bytes <= MEMORY_BYTES + 65536);
    *before = now;
}

static double calls_of(const struct prometheus_text *text, const char *labels) {
    const struct prometheus_sample *sample =
        prometheus_find(text, "husk_sandbox_calls_total", labels);
    return sample != NULL ? sample->number : 0;
}

TEST(read_while_they_run) {
    SKIP_WITHOUT_COMPILER();
    struct worker workers[WORKERS];
    struct husk_sandbox_stats before[WORKERS] = {{0}};
    pthread_t threads[WORKERS];
    struct state_lab lab;
    double two = 0, sum = 0;
    open_measured(&lab, NULL, NULL);
    atomic_store(&finished, 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){lab, i == 0 ? "one" : "two", NULL};
        workers[i].kept = labelled_sandbox(&lab, workers[i].label);
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    while (atomic_load(&finished) < WORKERS) {
        for (unsigned i = 0; i < WORKERS; i++)
            check_rises(&before[i], workers[i].kept);
        const double now = calls_of(prometheus_read(lab.engine), "sandbox=\"two\"");
        CHECK(now >= two);
        two = now;
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK_EQ_U64(stats_of(workers[i].kept).calls, 2 * ROUNDS);
        husk_sandbox_free(workers[i].kept);
    }
    const struct prometheus_text *text = prometheus_read(lab.engine);
    sum = calls_of(text, "sandbox=\"one\"") + calls_of(text, "sandbox=\"two\"") +
          calls_of(text, "sandbox=\"odd\"");
    CHECK_EQ_U64((uint64_t)sum, 3 * ROUNDS * WORKERS);
    state_close(&lab);
}

TEST_MAIN()
