/*
 * host/engine/stats.c: counters and histograms as the embedder reads them: as structs and as
 * Prometheus text. Nobody is stopped for reading, so rows may be a moment apart.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine_internal.h"
#include "layout.h"
#include "options.h"

static uint64_t stat_sum(const husk_engine *engine, enum engine_stat stat) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < STAT_SHARDS; i++)
        sum += atomic_load_explicit(&engine->stats.shards[i].values[stat], memory_order_relaxed);
    return sum;
}

static uint64_t duration_sum_ns(const husk_engine *engine, enum husk_histogram_kind kind) {
    uint64_t sum_ns = 0;
    for (uint32_t i = 0; i < STAT_SHARDS; i++)
        sum_ns += atomic_load_explicit(&engine->stats.shards[i].durations[kind].sum_ns,
                                       memory_order_relaxed);
    return sum_ns;
}

/* What is alive. The rows were read a moment apart. */
static uint64_t difference(uint64_t made, uint64_t freed) {
    return made > freed ? made - freed : 0;
}

/* Every row of the struct is set below: so many counters, and so many others. */
_Static_assert(sizeof(struct husk_stats) ==
                   (STAT_COUNTERS + 10) * sizeof(uint64_t) + sizeof(size_t),
               "a row is missing");

int husk_engine_stats(const husk_engine *engine, struct husk_stats *ret_stats) {
    struct husk_stats stats;
    int status = output_check("husk_stats", ret_stats, NULL);
    if (status != 0)
        return status;
#define STAT(name, metric, label, help) stats.name = stat_sum(engine, STAT_##name);
#include "stats.def"
#undef STAT
    stats.snapshot_bytes = stats.snapshot_pages * HUSK_PAGE_SIZE;
    stats.restore_bytes_copied = stats.restore_pages_copied * HUSK_PAGE_SIZE;
    stats.restore_ns = duration_sum_ns(engine, HUSK_HISTOGRAM_RESTORE);
    stats.snapshot_ns = duration_sum_ns(engine, HUSK_HISTOGRAM_SNAPSHOT);
    stats.call_ns = duration_sum_ns(engine, HUSK_HISTOGRAM_CALL);
    stats.host_call_ns = duration_sum_ns(engine, HUSK_HISTOGRAM_HOST_CALL);
    stats.sandboxes = difference(stats.sandboxes_made, stats.sandboxes_freed);
    stats.pool_idle = atomic_load_explicit(&engine->pool.count, memory_order_relaxed);
    stats.vms = difference(stats.vms_made, stats.vms_freed);
    stats.hot_pages = stat_sum(engine, STAT_hot_pages);
    output_fill(ret_stats, &stats, sizeof stats);
    return 0;
}

static unsigned bucket_of(uint64_t ns) {
    unsigned bucket = ns <= 2 ? 0 : 63u - (unsigned)__builtin_clzll(ns - 1);
    return bucket < HUSK_HISTOGRAM_BUCKETS ? bucket : HUSK_HISTOGRAM_BUCKETS - 1;
}

void stat_measure(struct tally *tally, enum husk_histogram_kind kind, uint64_t ns) {
    struct duration_counts *counts = &tally->shard->durations[kind];
    atomic_fetch_add_explicit(&counts->sum_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->buckets[bucket_of(ns)], 1, memory_order_relaxed);
    tally_add(&tally->durations_ns[kind], ns);
}

void tally_begin(struct tally *tally) {
    for (unsigned i = 0; i < STAT_COUNTERS; i++)
        atomic_store_explicit(&tally->values[i], 0, memory_order_relaxed);
    for (unsigned i = 0; i < STAT_DURATIONS; i++)
        atomic_store_explicit(&tally->durations_ns[i], 0, memory_order_relaxed);
    stat_set_memory(tally, 0);
}

int husk_engine_histogram(const husk_engine *engine, enum husk_histogram_kind kind,
                          struct husk_histogram *ret_histogram) {
    struct husk_histogram histogram = {.sum_ns = duration_sum_ns(engine, kind)};
    int status = output_check("husk_histogram", ret_histogram, NULL);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < STAT_SHARDS; i++) {
        const struct duration_counts *counts = &engine->stats.shards[i].durations[kind];
        for (unsigned k = 0; k < HUSK_HISTOGRAM_BUCKETS; k++)
            histogram.buckets[k] += atomic_load_explicit(&counts->buckets[k], memory_order_relaxed);
    }
    for (unsigned k = 0; k < HUSK_HISTOGRAM_BUCKETS; k++)
        histogram.count += histogram.buckets[k];
    output_fill(ret_histogram, &histogram, sizeof histogram);
    return 0;
}

/* ---- Prometheus text format: https://prometheus.io/docs/instrumenting/exposition_formats/ ---- */

struct text_writer {
    husk_write_fn write;
    void *user;
    int status;         /* the first one that is not 0 */
    const char *metric; /* the one that has its header */
};

/* Numbers are whole ones: a decimal point of printf() is the locale's. */
__attribute__((format(printf, 2, 3))) static void text_put(struct text_writer *writer,
                                                           const char *format, ...) {
    char line[256];
    if (writer->status != 0)
        return;
    va_list args;
    va_start(args, format);
    int count = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    /* help is what we wrote, and short */
    size_t bytes = (size_t)count < sizeof line ? (size_t)count : sizeof line - 1;
    writer->status = writer->write(writer->user, line, bytes);
}

/* A metric's rows stand together, below one header. */
static void put_header(struct text_writer *writer, const char *metric, const char *type,
                       const char *help) {
    if (writer->metric != NULL && strcmp(writer->metric, metric) == 0)
        return;
    writer->metric = metric;
    text_put(writer, "# HELP husk_%s %s\n# TYPE husk_%s %s\n", metric, help, metric, type);
}

static void put_counter(struct text_writer *writer, const char *metric, const char *label,
                        const char *help, uint64_t number) {
    put_header(writer, metric, "counter", help);
    text_put(writer, "husk_%s%s %" PRIu64 "\n", metric, label, number);
}

static void put_gauge(struct text_writer *writer, const char *metric, const char *help,
                      uint64_t number) {
    put_header(writer, metric, "gauge", help);
    text_put(writer, "husk_%s %" PRIu64 "\n", metric, number);
}

#define SECONDS_FORMAT "%" PRIu64 ".%09" PRIu64
#define SECONDS_OF(ns) (ns) / 1000000000u, (ns) % 1000000000u

/* Bounds from 128 ns to 69 s, always the same ones: a series that comes and goes breaks what is
 * computed from it. */
#define PROMETHEUS_BUCKET_FIRST 6u
#define PROMETHEUS_BUCKET_LAST 35u

static void put_histogram(struct text_writer *writer, const husk_engine *engine,
                          enum husk_histogram_kind kind, const char *metric, const char *help) {
    struct husk_histogram histogram = HUSK_HISTOGRAM_INIT;
    husk_engine_histogram(engine, kind, &histogram);
    put_header(writer, metric, "histogram", help);
    uint64_t up_to = 0;
    for (unsigned i = 0; i <= PROMETHEUS_BUCKET_LAST; i++) {
        up_to += histogram.buckets[i];
        if (i >= PROMETHEUS_BUCKET_FIRST)
            text_put(writer, "husk_%s_bucket{le=\"" SECONDS_FORMAT "\"} %" PRIu64 "\n", metric,
                     SECONDS_OF(UINT64_C(2) << i), up_to);
    }
    text_put(writer, "husk_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", metric, histogram.count);
    text_put(writer, "husk_%s_sum " SECONDS_FORMAT "\n", metric, SECONDS_OF(histogram.sum_ns));
    text_put(writer, "husk_%s_count %" PRIu64 "\n", metric, histogram.count);
}

static void put_gauges(struct text_writer *writer, const struct husk_stats *stats) {
    put_gauge(writer, "sandboxes", "Sandboxes in use.", stats->sandboxes);
    put_gauge(writer, "pool_idle", "Idle virtual machines in the pool.", stats->pool_idle);
    put_gauge(writer, "vms", "Virtual machines, in use and idle.", stats->vms);
    put_gauge(writer, "hot_bytes", "Memory that sandboxes keep private from one run to the next.",
              stats->hot_pages * HUSK_PAGE_SIZE);
}

int husk_engine_prometheus(const husk_engine *engine, husk_write_fn write, void *user) {
    struct text_writer writer = {.write = write, .user = user};
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(engine, &stats);
#define STAT(name, metric, label, help) put_counter(&writer, metric, label, help, stats.name);
#include "stats.def"
#undef STAT
    put_counter(&writer, "snapshot_bytes_total", "", "Bytes that snapshots wrote.",
                stats.snapshot_bytes);
    put_counter(&writer, "restore_copied_bytes_total", "", "Bytes that restores copied back.",
                stats.restore_bytes_copied);
    put_gauges(&writer, &stats);
    put_histogram(&writer, engine, HUSK_HISTOGRAM_RESTORE, "restore_seconds", "Time of restores.");
    put_histogram(&writer, engine, HUSK_HISTOGRAM_SNAPSHOT, "snapshot_seconds",
                  "Time of taking snapshots.");
    put_histogram(&writer, engine, HUSK_HISTOGRAM_CALL, "call_seconds",
                  "Time of calls, host calls included; measured on request.");
    put_histogram(&writer, engine, HUSK_HISTOGRAM_HOST_CALL, "host_call_seconds",
                  "Time of host calls; measured on request.");
    return writer.status;
}
