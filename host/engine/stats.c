/*
 * host/engine/stats.c: sums up the tallies of all machines for the embedder. Reading stops no
 * thread, so rows may be a moment apart. prometheus.c makes text of them.
 */
#include "engine_internal.h"
#include "hot.h"
#include "layout.h"
#include "options.h"

static uint64_t read_number(const atomic_uint_least64_t *number) {
    return atomic_load_explicit(number, memory_order_relaxed);
}

/* Add the numbers of a tally to others. */
static void tally_sum(struct tally *sum, const struct tally *tally, unsigned values_count) {
    for (unsigned i = 0; i < values_count; i++)
        tally_add(&sum->values[i], read_number(&tally->values[i]));
    for (unsigned i = 0; i < STAT_DURATIONS; i++) {
        tally_add(&sum->durations[i].sum_ns, read_number(&tally->durations[i].sum_ns));
        atomic_store_explicit(&sum->durations[i].used,
                              read_number(&sum->durations[i].used) |
                                  read_number(&tally->durations[i].used),
                              memory_order_relaxed);
        for (unsigned k = 0; k < HUSK_HISTOGRAM_BUCKETS; k++)
            tally_add(&sum->durations[i].buckets[k], read_number(&tally->durations[i].buckets[k]));
    }
}

/* Of all machines, those that are gone included. */
static void stats_sum(const husk_engine *engine, struct tally *ret_sum) {
    struct stats *stats = (struct stats *)&engine->stats; /* only the lock changes */
    *ret_sum = (struct tally){0};
    pthread_mutex_lock(&stats->lock);
    tally_sum(ret_sum, &stats->gone, STAT_COUNT);
    for (const struct tally *tally = stats->tallies; tally != NULL; tally = tally->next)
        tally_sum(ret_sum, tally, STAT_COUNT);
    pthread_mutex_unlock(&stats->lock);
}

void stats_init(struct stats *zeroed_stats) {
    pthread_mutex_init(&zeroed_stats->lock, NULL);
}

void stats_done(struct stats *stats) {
    pthread_mutex_destroy(&stats->lock);
}

void tally_init(struct tally *zeroed_tally, struct stats *stats) {
    zeroed_tally->stats = stats;
    pthread_mutex_lock(&stats->lock);
    zeroed_tally->next = stats->tallies;
    zeroed_tally->link = &stats->tallies;
    if (zeroed_tally->next != NULL)
        zeroed_tally->next->link = &zeroed_tally->next;
    stats->tallies = zeroed_tally;
    pthread_mutex_unlock(&stats->lock);
}

/* What is not 0 goes to `to`. Most numbers are 0, and each line of the cache counts. */
static void number_move(atomic_uint_least64_t *from, atomic_uint_least64_t *to) {
    const uint64_t number = read_number(from);
    if (number == 0)
        return;
    tally_add(to, number);
    atomic_store_explicit(from, 0, memory_order_relaxed);
}

static void durations_move(struct duration_counts *from, struct duration_counts *to) {
    uint64_t used = read_number(&from->used);
    if (used == 0)
        return;
    atomic_store_explicit(&to->used, read_number(&to->used) | used, memory_order_relaxed);
    atomic_store_explicit(&from->used, 0, memory_order_relaxed);
    number_move(&from->sum_ns, &to->sum_ns);
    for (; used != 0; used &= used - 1) {
        const unsigned bucket = (unsigned)__builtin_ctzll(used);
        number_move(&from->buckets[bucket], &to->buckets[bucket]);
    }
}

void tally_begin(struct tally *tally) {
    struct tally *gone = &tally->stats->gone;
    pthread_mutex_lock(&tally->stats->lock);
    for (unsigned i = 0; i < STAT_COUNTERS; i++) /* hot pages stay with the machine */
        number_move(&tally->values[i], &gone->values[i]);
    for (unsigned i = 0; i < STAT_DURATIONS; i++)
        durations_move(&tally->durations[i], &gone->durations[i]);
    pthread_mutex_unlock(&tally->stats->lock);
    stat_set_memory(tally, 0);
}

void tally_done(struct tally *tally) {
    pthread_mutex_lock(&tally->stats->lock);
    tally_sum(&tally->stats->gone, tally, STAT_COUNT);
    *tally->link = tally->next;
    if (tally->next != NULL)
        tally->next->link = tally->link;
    pthread_mutex_unlock(&tally->stats->lock);
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
    struct tally sum;
    int status = engine == NULL ? HUSK_E_INVAL : output_check("husk_stats", ret_stats, NULL);
    if (status != 0)
        return status;
    stats_sum(engine, &sum);
#define STAT(name, metric, label, help) stats.name = read_number(&sum.values[STAT_##name]);
#include "stats.def"
#undef STAT
    stats.snapshot_bytes = stats.snapshot_pages * HUSK_PAGE_SIZE;
    stats.restore_bytes_copied = stats.restore_pages_copied * HUSK_PAGE_SIZE;
#define DURATION(KIND, name, help)                                                                 \
    stats.name##_ns = read_number(&sum.durations[HUSK_HISTOGRAM_##KIND].sum_ns);
#include "durations.def"
    stats.sandboxes = difference(stats.sandboxes_made, stats.sandboxes_freed);
    stats.pool_idle = atomic_load_explicit(&engine->pool.count, memory_order_relaxed);
    stats.vms = difference(stats.vms_made, stats.vms_freed);
    stats.hot_pages = read_number(&sum.values[STAT_hot_pages]);
    output_fill(ret_stats, &stats, sizeof stats);
    return 0;
}

int husk_engine_histogram(const husk_engine *engine, enum husk_histogram_kind kind,
                          struct husk_histogram *ret_histogram) {
    if (engine == NULL || (unsigned)kind > HUSK_HISTOGRAM_HOST_CALL)
        return HUSK_E_INVAL;
    struct husk_histogram histogram = HUSK_HISTOGRAM_INIT;
    struct tally sum;
    int status = output_check("husk_histogram", ret_histogram, NULL);
    if (status != 0)
        return status;
    stats_sum(engine, &sum);
    const struct duration_counts *counts = &sum.durations[kind];
    histogram.sum_ns = read_number(&counts->sum_ns);
    for (unsigned k = 0; k < HUSK_HISTOGRAM_BUCKETS; k++) {
        histogram.buckets[k] = read_number(&counts->buckets[k]);
        histogram.count += histogram.buckets[k];
    }
    output_fill(ret_histogram, &histogram, sizeof histogram);
    return 0;
}
