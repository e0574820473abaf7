/*
 * host/engine/stats.c: gives counters and histograms to the embedder. Reading stops no thread, so
 * rows may be a moment apart. prometheus.c makes text of them.
 */
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

/* The number that exist now. The rows were read at different moments. */
static uint64_t difference(uint64_t made, uint64_t freed) {
    return made > freed ? made - freed : 0;
}

/* Every row of the struct is set below: this number of counters, and 10 others. */
_Static_assert(sizeof(struct husk_stats) ==
                   (STAT_COUNTERS + 10) * sizeof(uint64_t) + sizeof(size_t),
               "a row is missing");

int husk_engine_stats(const husk_engine *engine, struct husk_stats *ret_stats) {
    struct husk_stats stats;
    int status = engine == NULL ? HUSK_E_INVAL : output_check("husk_stats", ret_stats, NULL);
    if (status != 0)
        return status;
#define STAT(name, metric, label, help) stats.name = stat_sum(engine, STAT_##name);
#include "stats.def"
#undef STAT
    stats.snapshot_bytes = stats.snapshot_pages * HUSK_PAGE_SIZE;
    stats.restore_bytes_copied = stats.restore_pages_copied * HUSK_PAGE_SIZE;
#define DURATION(KIND, name, help) stats.name##_ns = duration_sum_ns(engine, HUSK_HISTOGRAM_##KIND);
#include "durations.def"
#include "hot.h"
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

HOT void stat_measure(struct tally *tally, enum husk_histogram_kind kind, uint64_t ns) {
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
    if (engine == NULL || (unsigned)kind > HUSK_HISTOGRAM_HOST_CALL)
        return HUSK_E_INVAL;
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
