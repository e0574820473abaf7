/*
 * host/engine/stats.h: counters and histograms. Each machine counts for itself, in its tally: so no
 * two threads write a cache line, and a call or restore touches no lines besides its machine's.
 * stats.c sums up all tallies when the embedder asks.
 */
#ifndef HOST_STATS_H
#define HOST_STATS_H

#include <pthread.h>
#include <stdatomic.h>

#include "hot.h"
#include "husk.h"

enum engine_stat {
#define STAT(name, metric, label, help) STAT_##name,
#include "stats.def"
#undef STAT
    STAT_COUNTERS,
    STAT_hot_pages = STAT_COUNTERS, /* goes up and down */
    STAT_COUNT
};

/* A histogram of husk.h. */
struct duration_counts {
    atomic_uint_least64_t sum_ns;
    atomic_uint_least64_t used; /* a bit for each bucket that is not 0 */
    atomic_uint_least64_t buckets[HUSK_HISTOGRAM_BUCKETS];
};

_Static_assert(HUSK_HISTOGRAM_BUCKETS <= 64, "a bit for each bucket");

#define STAT_DURATIONS (HUSK_HISTOGRAM_HOST_CALL + 1)

/* The counters of a machine's work. One thread at a time writes the numbers, and any thread may
 * read them. */
struct tally {
    /* Counted since tally_begin(), except STAT_hot_pages, which is the current number. */
    atomic_uint_least64_t values[STAT_COUNT];
    atomic_uint_least64_t memory_bytes; /* current size of all linear memories */
    struct duration_counts durations[STAT_DURATIONS];
    struct stats *stats;
    struct tally *next, **link; /* in the list of stats, under its lock */
};

struct stats {
    pthread_mutex_t lock;
    struct tally *tallies;
    /* under the lock: what was in tallies that began again, or are gone */
    struct tally gone;
};

void stats_init(struct stats *zeroed_stats);
void stats_done(struct stats *stats);

/* Deliberately not a fetch_add: it would lock the bus, and there is no second writer. */
static inline void tally_add(atomic_uint_least64_t *number, uint64_t count) {
    const uint64_t old = atomic_load_explicit(number, memory_order_relaxed);
    atomic_store_explicit(number, old + count, memory_order_relaxed);
}

/* The tally of a new machine. */
void tally_init(struct tally *zeroed_tally, struct stats *stats);
/* Begin again: another sandbox has the machine from now on. */
void tally_begin(struct tally *tally);
/* The machine is gone, and has no hot pages. */
void tally_done(struct tally *tally);

static inline void stat_add(struct tally *tally, enum engine_stat stat, uint64_t count) {
    if (count != 0)
        tally_add(&tally->values[stat], count);
}
static inline void stat_count(struct tally *tally, enum engine_stat stat) {
    stat_add(tally, stat, 1);
}

static inline unsigned stat_bucket_of(uint64_t ns) {
    unsigned bucket = UNLIKELY(ns <= 2) ? 0 : 63u - (unsigned)__builtin_clzll(ns - 1);
    return bucket < HUSK_HISTOGRAM_BUCKETS ? bucket : HUSK_HISTOGRAM_BUCKETS - 1;
}

static inline void stat_measure(struct tally *tally, enum husk_histogram_kind kind, uint64_t ns) {
    struct duration_counts *counts = &tally->durations[kind];
    const unsigned bucket = stat_bucket_of(ns);
    const uint64_t used = atomic_load_explicit(&counts->used, memory_order_relaxed);
    tally_add(&counts->sum_ns, ns);
    tally_add(&counts->buckets[bucket], 1);
    if (UNLIKELY((used & 1ull << bucket) == 0))
        atomic_store_explicit(&counts->used, used | 1ull << bucket, memory_order_relaxed);
}

static inline void stat_set_memory(struct tally *tally, uint64_t bytes) {
    atomic_store_explicit(&tally->memory_bytes, bytes, memory_order_relaxed);
}

#endif
