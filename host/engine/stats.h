/*
 * host/engine/stats.h: counters and histograms of an engine, and counters of each sandbox. The
 * engine's counters are spread over shards. Each shard has its own cache lines, so that sandboxes
 * on different threads do not fight for a line. stats.c sums up the shards when the embedder reads
 * them.
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

/* A histogram of husk.h that many threads may add to. */
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

/* The counters of a machine's work: a shard of the engine, and the numbers of the sandbox that has
 * the machine. One thread at a time writes the sandbox's numbers, and any thread may read them. */
struct tally {
    struct stat_shard *shard;
    /* Counted since tally_begin(), except STAT_hot_pages, which is the current number. */
    atomic_uint_least64_t values[STAT_COUNT];
    atomic_uint_least64_t durations_ns[STAT_DURATIONS];
    atomic_uint_least64_t memory_bytes; /* current size of all linear memories */
};

/* Deliberately not a fetch_add: it would lock the bus, and there is no second writer. */
static inline void tally_add(atomic_uint_least64_t *number, uint64_t count) {
    const uint64_t old = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, old + count, memory_order_relaxed);
}

/* Init the tally of a new machine. Machines take the shards in turn. */
static inline void tally_init(struct tally *zeroed_tally, struct stats *stats) {
    const uint32_t idx = atomic_fetch_add_explicit(&stats->next_shard, 1, memory_order_relaxed);
    zeroed_tally->shard = &stats->shards[idx % STAT_SHARDS];
}
/* Begin again: another sandbox has the machine from now on. */
void tally_begin(struct tally *tally);

/* Count in the shard and in the tally. */
static inline void stat_add(struct tally *tally, enum engine_stat stat, uint64_t count) {
    if (count == 0)
        return;
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
