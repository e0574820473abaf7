/*
 * tests/kvm/stats/prometheus_test.c: the Prometheus text is well-formed, has the same values as the
 * structs, and can be read while other threads work.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "layout.h"
#include "prometheus_text.h"
#include "state_guest.h"
#include "wat.h"

/* ---- the reader itself ---- */

#define HEADER(name, type) "# HELP " name " A text.\n# TYPE " name " " type "\n"
#define HISTOGRAM(buckets)                                                                         \
    HEADER("h_seconds", "histogram") buckets "h_seconds_sum 1.5\nh_seconds_count 3\n"
#define BUCKETS "h_seconds_bucket{le=\"0.5\"} 1\nh_seconds_bucket{le=\"1\"} 3\n"
#define BUCKET_INF "h_seconds_bucket{le=\"+Inf\"} 3\n"

static const char *const good_texts[] = {
    "",
    HEADER("a_total", "counter") "a_total 7\n",
    HEADER("a_total", "counter") "a_total{b=\"c\"} 7\na_total{b=\"d\",e=\"\"} 0\n" HEADER(
        "g", "gauge") "g 1\n",
    HEADER("a_total", "counter") "a_total{b=\"\\\\c\\\"\\n\"} 7\na_total{b=\"\xc3\xa9\"} 0\n",
    HISTOGRAM(BUCKETS BUCKET_INF),
};
static const char *const bad_texts[] = {
    HEADER("a_total", "counter") "a_total 7",                                /* does not end */
    HEADER("a", "counter") "a 7\n",                                          /* a counter's name */
    HEADER("a_total", "gauge") "a_total 7\n",                                /* a gauge's */
    HEADER("a_total", "number") "a_total 7\n",                               /* no such type */
    "a_total 7\n",                                                           /* no header */
    "# TYPE a_total counter\na_total 7\n",                                   /* no HELP */
    "# HELP a_total A text.\na_total 7\n",                                   /* no TYPE */
    HEADER("a_total", "counter"),                                            /* no sample */
    HEADER("a_total", "counter") "b_total 7\n",                              /* of another */
    HEADER("a_total", "counter") "a_total 7\na_total 8\n",                   /* twice */
    HEADER("a_total", "counter") "a_total{b=\"c\"} 7\na_total{b=\"c\"} 8\n", /* twice */
    HEADER("a_total", "counter") "a_total 7\n" HEADER("a_total", "counter") "a_total{b=\"c\"} 1\n",
    HEADER("a_total", "counter") "a_total 7,5\n", /* another locale's number */
    HEADER("a_total", "counter") "a_total -7\n",
    HEADER("a_total", "counter") "a_total\n",
    HEADER("a_total", "counter") "a_total seven\n",
    HEADER("a_total", "counter") "a-total 7\n",
    HEADER("1_total", "counter") "1_total 7\n",
    HEADER("a_total", "counter") "a_total{b=c} 7\n",
    HEADER("a_total", "counter") "a_total{b=\"c\" 7\n",
    HEADER("a_total", "counter") "a_total{b=\"\\x\"} 7\n",  /* no such escape */
    HEADER("a_total", "counter") "a_total{b=\"\\\"} 7\n",   /* the end is escaped */
    HEADER("a_total", "counter") "a_total{b=\"\xc3\"} 7\n", /* no UTF-8 */
    HEADER("a_total", "counter") "a_total{} 7\n",
    HEADER("a_total", "counter") "\na_total 7\n",
    HISTOGRAM(BUCKETS),                                     /* no +Inf */
    HISTOGRAM(BUCKET_INF BUCKETS),                          /* not ascending */
    HISTOGRAM(BUCKETS "h_seconds_bucket{le=\"+Inf\"} 4\n"), /* not the count */
    HISTOGRAM("h_seconds_bucket{le=\"1\"} 4\n" BUCKET_INF), /* falls */
    HISTOGRAM("h_seconds_bucket{be=\"1\"} 1\n" BUCKET_INF), /* no le */
    HISTOGRAM("h_seconds_bucket{le=\"1,5\"} 1\n" BUCKET_INF),
    HISTOGRAM("h_seconds 1\n" BUCKETS BUCKET_INF),
    HEADER("h_seconds", "histogram") BUCKETS BUCKET_INF "h_seconds_count 3\n", /* no sum */
    HEADER("h_seconds", "histogram") BUCKETS BUCKET_INF "h_seconds_sum 1\n",   /* no count */
};

TEST(the_reader_is_strict) {
    static struct prometheus_text text;
    for (size_t i = 0; i < sizeof good_texts / sizeof good_texts[0]; i++)
        CHECK_MSG(prometheus_parse(good_texts[i], &text), "%s: %s", good_texts[i], text.complaint);
    for (size_t i = 0; i < sizeof bad_texts / sizeof bad_texts[0]; i++)
        CHECK_MSG(!prometheus_parse(bad_texts[i], &text) && text.complaint[0] != '\0',
                  "accepted: %s", bad_texts[i]);
}

/* ---- what the engine writes ---- */

static void check_histogram(const struct prometheus_text *text, const husk_engine *engine,
                            enum husk_histogram_kind kind, const char *name) {
    struct husk_histogram histogram = HUSK_HISTOGRAM_INIT;
    char part[PROMETHEUS_NAME_MAX], label[64];
    uint64_t up_to = 0;
    unsigned bounds = 0;
    husk_engine_histogram(engine, kind, &histogram);
    for (unsigned i = 0; i < HUSK_HISTOGRAM_BUCKETS; i++) {
        const uint64_t bound_ns = UINT64_C(2) << i;
        up_to += histogram.buckets[i];
        snprintf(part, sizeof part, "husk_%s_bucket", name);
        snprintf(label, sizeof label, "le=\"%" PRIu64 ".%09" PRIu64 "\"", bound_ns / 1000000000u,
                 bound_ns % 1000000000u);
        if (prometheus_find(text, part, label) == NULL)
            continue;
        bounds++;
        prometheus_check(text, part, label, (double)up_to);
    }
    CHECK(bounds >= 20);
    prometheus_check(text, part, "le=\"+Inf\"", (double)histogram.count);
    snprintf(part, sizeof part, "husk_%s_count", name);
    prometheus_check(text, part, "", (double)histogram.count);
    snprintf(part, sizeof part, "husk_%s_sum", name);
    const struct prometheus_sample *sum = prometheus_find(text, part, "");
    CHECK(sum != NULL && sum->number > 0);
    CHECK_EQ_U64((uint64_t)(sum->number * 1e9 + 0.5), histogram.sum_ns);
}

/* As in the text: without its braces. */
static void check_counter(const struct prometheus_text *text, const char *metric, const char *label,
                          uint64_t number) {
    char name[PROMETHEUS_NAME_MAX], bare[PROMETHEUS_NAME_MAX] = "";
    snprintf(name, sizeof name, "husk_%s", metric);
    if (label[0] == '{')
        snprintf(bare, sizeof bare, "%.*s", (int)strlen(label) - 2, label + 1);
    prometheus_check(text, name, bare, (double)number);
}

TEST(it_says_what_the_structs_say) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_image *snapshot = NULL;
    options.measure_times = true;
    state_open_with(&lab, &options, NULL, NULL);
    husk_sandbox_free(state_sandbox(&lab, lab.image));
    for (int i = 0; i < 20; i++) {
        STATE_CALL(&lab, "host", i);
        CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        husk_image_unref(snapshot);
    }
    const struct prometheus_text *text = prometheus_read(lab.engine);
    husk_engine_stats(lab.engine, &stats);
    CHECK_EQ_U64(stats.restores, 20);
#define STAT(name, metric, label, help) check_counter(text, metric, label, stats.name);
#include "stats.def"
#undef STAT
    check_counter(text, "snapshot_bytes_total", "", stats.snapshot_bytes);
    check_counter(text, "restore_copied_bytes_total", "", stats.restore_bytes_copied);
    CHECK(stats.sandboxes == 1 && stats.pool_idle == 1 && stats.vms == 2 && stats.hot_pages > 0);
    check_counter(text, "sandboxes", "", 1);
    check_counter(text, "pool_idle", "", 1);
    check_counter(text, "vms", "", 2);
    check_counter(text, "hot_bytes", "", stats.hot_pages * HUSK_PAGE_SIZE);
    check_histogram(text, lab.engine, HUSK_HISTOGRAM_RESTORE, "restore_seconds");
    check_histogram(text, lab.engine, HUSK_HISTOGRAM_SNAPSHOT, "snapshot_seconds");
    check_histogram(text, lab.engine, HUSK_HISTOGRAM_CALL, "call_seconds");
    check_histogram(text, lab.engine, HUSK_HISTOGRAM_HOST_CALL, "host_call_seconds");
    state_close(&lab);
}

/* Whatever happens, the same series are there: one that comes and goes breaks what is computed from
 * it. */
TEST(series_do_not_come_and_go) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    options.measure_times = true;
    state_open_with(&lab, &options, NULL, NULL);
    size_t before = prometheus_read(lab.engine)->samples_count;
    for (int i = 0; i < 20; i++) {
        STATE_CALL(&lab, "host", i);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    CHECK_EQ_U64(prometheus_read(lab.engine)->samples_count, before);
    state_close(&lab);
}

static int fail_third(void *user, const void *bytes, size_t count) {
    unsigned *pieces = user;
    (void)bytes, (void)count;
    return ++*pieces == 3 ? -77 : 0;
}

TEST(a_writer_that_fails_ends_it) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    unsigned pieces = 0;
    state_open(&lab, NULL, NULL);
    CHECK_EQ_I64(husk_engine_prometheus(lab.engine, fail_third, &pieces), -77);
    CHECK_EQ_U64(pieces, 3);
    state_close(&lab);
}

/* ---- while others work ---- */

#define WORKERS 3u

static atomic_uint finished;

static const char *work_rounds(struct state_lab lab) {
    for (int i = 0; i < 60; i++) {
        husk_sandbox *sandbox = NULL;
        if (husk_sandbox_new(lab.image, lab.imports, NULL, &sandbox, &lab.err) != 0)
            return "no sandbox";
        STATE_CALL_ON(&lab, sandbox, "store", 8, i);
        if (husk_sandbox_restore(sandbox, lab.image, &lab.err) != 0)
            return "no restore";
        husk_sandbox_free(sandbox);
    }
    return NULL;
}

static void *work(void *lab) {
    const char *complaint = work_rounds(*(struct state_lab *)lab);
    atomic_fetch_add(&finished, 1);
    return (void *)(uintptr_t)complaint;
}

TEST(read_while_others_work) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    pthread_t threads[WORKERS];
    struct husk_stats stats = HUSK_STATS_INIT;
    state_open(&lab, NULL, NULL);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, &lab) == 0);
    do {
        const struct prometheus_text *text = prometheus_read(lab.engine);
        CHECK(prometheus_find(text, "husk_pool_idle", "")->number <= 8);
        husk_engine_stats(lab.engine, &stats);
        CHECK_MSG(stats.sandboxes <= WORKERS + 1, "%" PRIu64 " sandboxes", stats.sandboxes);
        CHECK_MSG(stats.hot_pages < 10000, "%" PRIu64 " hot pages", stats.hot_pages);
    } while (atomic_load(&finished) < WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        void *complaint = NULL;
        pthread_join(threads[i], &complaint);
        CHECK_MSG(complaint == NULL, "%s", (const char *)complaint);
    }
    husk_engine_stats(lab.engine, &stats);
    CHECK_EQ_U64(stats.sandboxes, 1);
    CHECK_EQ_U64(stats.vms, 1 + stats.pool_idle);
    state_close(&lab);
}

TEST_MAIN()
