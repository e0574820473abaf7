/*
 * host/stats.c: counters and histograms as the embedder reads them: as structs and as Prometheus text. Nobody is stopped for
 * reading, so rows may be a moment apart.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine_internal.h"

static uint64_t stat_sum(const husk_engine *engine, enum engine_stat stat) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < STAT_SHARDS; i++)
        sum += atomic_load_explicit(&engine->stats[i].values[stat], memory_order_relaxed);
    return sum;
}

void husk_engine_stats(const husk_engine *engine, struct husk_stats *ret_stats) {
#define STAT_COPY(name) ret_stats->name = stat_sum(engine, STAT_##name);
    HUSK_STAT_LIST(STAT_COPY)
#undef STAT_COPY
}

static unsigned bucket_of(uint64_t ns) {
    unsigned bucket = ns < 2 ? 0 : 63u - (unsigned)__builtin_clzll(ns);
    return bucket < HUSK_HISTOGRAM_BUCKETS ? bucket : HUSK_HISTOGRAM_BUCKETS - 1;
}

void engine_measure(husk_engine *engine, enum husk_histogram_kind kind, uint64_t ns) {
    struct duration_counts *counts = &engine->durations[kind];
    atomic_fetch_add_explicit(&counts->sum_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->buckets[bucket_of(ns)], 1, memory_order_relaxed);
}

void husk_engine_histogram(const husk_engine *engine, enum husk_histogram_kind kind,
                           struct husk_histogram *ret_histogram) {
    const struct duration_counts *counts = &engine->durations[kind];
    struct husk_histogram histogram = {.sum_ns = atomic_load_explicit(&counts->sum_ns, memory_order_relaxed)};
    for (unsigned i = 0; i < HUSK_HISTOGRAM_BUCKETS; i++) {
        histogram.buckets[i] = atomic_load_explicit(&counts->buckets[i], memory_order_relaxed);
        histogram.count += histogram.buckets[i];
    }
    *ret_histogram = histogram;
}

/* ---- Prometheus text format: https://prometheus.io/docs/instrumenting/exposition_formats/ ---- */

struct text_writer {
    int (*write)(void *user, const char *text, size_t count);
    void *user;
    int status; /* the first negative result */
};

__attribute__((format(printf, 2, 3))) static void text_put(struct text_writer *writer, const char *format,
                                                           ...) {
    char line[256];
    if (writer->status < 0)
        return;
    va_list args;
    va_start(args, format);
    int count = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    int status = writer->write(writer->user, line, (size_t)count);
    if (status < 0)
        writer->status = status;
}

static void put_histogram(struct text_writer *writer, const husk_engine *engine,
                          enum husk_histogram_kind kind, const char *name) {
    struct husk_histogram histogram;
    husk_engine_histogram(engine, kind, &histogram);
    text_put(writer, "# TYPE husk_%s_seconds histogram\n", name);
    uint64_t below = 0;
    for (unsigned i = 0; i + 1 < HUSK_HISTOGRAM_BUCKETS; i++) {
        below += histogram.buckets[i];
        if (histogram.buckets[i] != 0)
            text_put(writer, "husk_%s_seconds_bucket{le=\"%.9g\"} %" PRIu64 "\n", name,
                     (double)(2ull << i) * 1e-9, below);
    }
    text_put(writer, "husk_%s_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, histogram.count);
    text_put(writer, "husk_%s_seconds_sum %.9g\n", name, (double)histogram.sum_ns * 1e-9);
    text_put(writer, "husk_%s_seconds_count %" PRIu64 "\n", name, histogram.count);
}

int husk_engine_prometheus(const husk_engine *engine,
                           int (*write)(void *user, const char *text, size_t count), void *user) {
    struct text_writer writer = {.write = write, .user = user};
    struct husk_stats stats;
    husk_engine_stats(engine, &stats);
#define STAT_PUT(name)                                                                                       \
    text_put(&writer, "# TYPE husk_%s_total counter\nhusk_%s_total %" PRIu64 "\n", #name, #name, stats.name);
    HUSK_STAT_LIST(STAT_PUT)
#undef STAT_PUT
    text_put(&writer, "# TYPE husk_vms gauge\nhusk_vms %" PRIu64 "\n", stats.vms_made - stats.vms_freed);
    text_put(&writer, "# TYPE husk_pool_idle gauge\nhusk_pool_idle %u\n",
             __atomic_load_n(&engine->pool.count, __ATOMIC_RELAXED));
    put_histogram(&writer, engine, HUSK_HISTOGRAM_RESTORE, "restore");
    put_histogram(&writer, engine, HUSK_HISTOGRAM_SNAPSHOT, "snapshot");
    put_histogram(&writer, engine, HUSK_HISTOGRAM_CALL, "call");
    put_histogram(&writer, engine, HUSK_HISTOGRAM_HOST_CALL, "host_call");
    return writer.status;
}
