/*
 * host/engine/stats.h: counters and histograms of an engine, and counters of each sandbox. Those of
 * the engine are spread over shards, each on cache lines of its own, so that sandboxes on different
 * threads do not fight for one line. stats.c sums the shards up when the embedder reads them.
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

#define STAT_DURATIONS (HUSK_HISTOGRAM_HOST_CALL + 1)
#define STAT_SHARDS 16
struct stat_shard {
    _Alignas(64) atomic_uint_least64_t values[STAT_COUNT];
    struct duration_counts durations[STAT_DURATIONS];
};

struct stats {
    atomic_uint next_shard;
    struct stat_shard shards[STAT_SHARDS];
};

/* Where a machine's work is counted: in a shard of the engine's, and for the sandbox that has the
 * machine. That one's own numbers are written by one thread at a time, and read by any. */
struct tally {
    struct stat_shard *shard;
    /* Since tally_begin(), but for STAT_hot_pages, which is what there is. */
    atomic_uint_least64_t values[STAT_COUNT];
    atomic_uint_least64_t durations_ns[STAT_DURATIONS];
    atomic_uint_least64_t memory_bytes; /* all linear memories, as they are now */
};

/* Deliberately not a fetch_add, which would lock the bus for a second writer that does not
 * exist. */
static inline void tally_add(atomic_uint_least64_t *number, uint64_t count) {
    const uint64_t old = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, old + count, memory_order_relaxed);
}

/* A new machine's: in a shard, each in turn. */
static inline void tally_init(struct tally *zeroed_tally, struct stats *stats) {
    const uint32_t idx = atomic_fetch_add_explicit(&stats->next_shard, 1, memory_order_relaxed);
    zeroed_tally->shard = &stats->shards[idx % STAT_SHARDS];
}
/* Another sandbox has the machine from now on. */
void tally_begin(struct tally *tally);

/* Count in both. */
static inline void stat_add(struct tally *tally, enum engine_stat stat, uint64_t count) {
    atomic_fetch_add_explicit(&tally->shard->values[stat], count, memory_order_relaxed);
    tally_add(&tally->values[stat], count);
}
static inline void stat_count(struct tally *tally, enum engine_stat stat) {
    stat_add(tally, stat, 1);
}
void stat_measure(struct tally *tally, enum husk_histogram_kind kind, uint64_t ns);

static inline void stat_set_memory(struct tally *tally, uint64_t bytes) {
    atomic_store_explicit(&tally->memory_bytes, bytes, memory_order_relaxed);
}

#endif
