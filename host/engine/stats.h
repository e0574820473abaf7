/*
 * host/engine/stats.h: counters and histograms of an engine. They are spread over shards, each on
 * cache lines of its own, so that sandboxes on different threads do not fight for one line. stats.c
 * sums the shards up when the embedder reads them.
 */
#ifndef HOST_STATS_H
#define HOST_STATS_H

#include <stdatomic.h>

#include "husk.h"

enum engine_stat {
#define STAT(name, metric, label, help) STAT_##name,
#include "stats.def"
#undef STAT
    STAT_COUNTERS,
    STAT_hot_pages = STAT_COUNTERS, /* goes up and down */
    STAT_COUNT
};

/* A histogram of husk.h, for many threads. */
struct duration_counts {
    atomic_uint_least64_t sum_ns;
    atomic_uint_least64_t buckets[HUSK_HISTOGRAM_BUCKETS];
};

#define STAT_SHARDS 16
struct stat_shard {
    _Alignas(64) atomic_uint_least64_t values[STAT_COUNT];
    struct duration_counts durations[HUSK_HISTOGRAM_HOST_CALL + 1];
};

struct stats {
    atomic_uint next_shard;
    struct stat_shard shards[STAT_SHARDS];
};

/* The shard for a new sandbox: each in turn. */
static inline struct stat_shard *stats_next_shard(struct stats *stats) {
    const uint32_t idx = atomic_fetch_add_explicit(&stats->next_shard, 1, memory_order_relaxed);
    return &stats->shards[idx % STAT_SHARDS];
}

static inline void stat_add(struct stat_shard *shard, enum engine_stat stat, uint64_t count) {
    atomic_fetch_add_explicit(&shard->values[stat], count, memory_order_relaxed);
}

static inline void stat_count(struct stat_shard *shard, enum engine_stat stat) {
    stat_add(shard, stat, 1);
}

void stat_measure(struct stat_shard *shard, enum husk_histogram_kind kind, uint64_t ns);

#endif
