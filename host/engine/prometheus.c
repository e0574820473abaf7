/*
 * host/engine/prometheus.c: counters and histograms of an engine, and counters of its labelled
 * sandboxes, in Prometheus's text format 0.0.4:
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "layout.h"

struct text_writer {
    husk_write_fn write;
    void *user;
    int status;         /* the first status that is not 0 */
    const char *metric; /* the metric whose header was written last */
};

/* Write text. Numbers must be integers: the decimal point of printf() depends on the locale. */
__attribute__((format(printf, 2, 3))) static void text_put(struct text_writer *writer,
                                                           const char *format, ...) {
    char line[512];
    if (writer->status != 0)
        return;
    va_list args;
    va_start(args, format);
    int count = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    /* our help texts are short, and labels have a limit */
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

/* Bounds are from 128 ns to 69 s, and always the same: a series that comes and goes breaks
 * computations on it. */
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

static void put_engine(struct text_writer *writer, const husk_engine *engine) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(engine, &stats);
#define STAT(name, metric, label, help) put_counter(writer, metric, label, help, stats.name);
#include "stats.def"
#undef STAT
    put_counter(writer, "snapshot_bytes_total", "", "Bytes that snapshots wrote.",
                stats.snapshot_bytes);
    put_counter(writer, "restore_copied_bytes_total", "", "Bytes that restores copied back.",
                stats.restore_bytes_copied);
    put_gauges(writer, &stats);
#define DURATION(KIND, name, help)                                                                 \
    put_histogram(writer, engine, HUSK_HISTOGRAM_##KIND, #name "_seconds", help);
#include "durations.def"
}

/* ---- Labelled sandboxes ---- */

struct sums {
    struct label_sum *rows;
    uint32_t count;
};

/* The rest of a row's labels, after the sandbox's; `label` as in stats.def. */
static const char *labels_rest(const char *label) {
    return label[0] == '{' ? label + 1 : "}";
}

static void put_sandbox_counters(struct text_writer *writer, const struct sums *sums,
                                 enum engine_stat stat, const char *metric, const char *label,
                                 const char *help) {
    put_header(writer, metric, "counter", help);
    for (uint32_t i = 0; i < sums->count; i++)
        text_put(writer, "husk_%s{sandbox=\"%s\"%s%s %" PRIu64 "\n", metric, sums->rows[i].text,
                 label[0] == '{' ? "," : "", labels_rest(label), sums->rows[i].counts.values[stat]);
}

static void put_sandbox_seconds(struct text_writer *writer, const struct sums *sums,
                                enum husk_histogram_kind kind, const char *metric,
                                const char *help) {
    put_header(writer, metric, "counter", help);
    for (uint32_t i = 0; i < sums->count; i++)
        text_put(writer, "husk_%s{sandbox=\"%s\"} " SECONDS_FORMAT "\n", metric, sums->rows[i].text,
                 SECONDS_OF(sums->rows[i].counts.durations_ns[kind]));
}

static void put_sandbox_gauges(struct text_writer *writer, const struct sums *sums) {
    put_header(writer, "sandbox_memory_bytes", "gauge", "Linear memories.");
    for (uint32_t i = 0; i < sums->count; i++)
        text_put(writer, "husk_sandbox_memory_bytes{sandbox=\"%s\"} %" PRIu64 "\n",
                 sums->rows[i].text, sums->rows[i].counts.memory_bytes);
    put_header(writer, "sandbox_hot_bytes", "gauge",
               "Memory that is kept private from one run to the next.");
    for (uint32_t i = 0; i < sums->count; i++)
        text_put(writer, "husk_sandbox_hot_bytes{sandbox=\"%s\"} %" PRIu64 "\n", sums->rows[i].text,
                 sums->rows[i].counts.values[STAT_hot_pages] * HUSK_PAGE_SIZE);
}

static void put_sandboxes(struct text_writer *writer, const struct sums *sums) {
#define STAT(name, metric, label, help)
#define SANDBOX_STAT(name, metric, label, help)                                                    \
    put_sandbox_counters(writer, sums, STAT_##name, "sandbox_" metric, label, help);
#include "stats.def"
#undef STAT
#define DURATION(KIND, name, help)                                                                 \
    put_sandbox_seconds(writer, sums, HUSK_HISTOGRAM_##KIND, "sandbox_" #name "_seconds_total",    \
                        help);
#include "durations.def"
    put_sandbox_gauges(writer, sums);
}

/* All memory is allocated, and the lock of the labels released, before the first piece is written:
 * write() may call this library. */
int husk_engine_prometheus(const husk_engine *engine, husk_write_fn write, void *user) {
    struct text_writer writer = {.write = write, .user = user};
    struct sums sums = {0};
    if (engine == NULL || write == NULL)
        return HUSK_E_INVAL;
    /* only the lock changes */
    int status = labels_sum(&((husk_engine *)engine)->labels, &sums.rows, &sums.count);
    if (status != 0)
        return status;
    put_engine(&writer, engine);
    if (sums.count > 0)
        put_sandboxes(&writer, &sums);
    free(sums.rows);
    return writer.status;
}
