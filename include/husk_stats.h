/*
 * husk_stats.h: counters and histograms. Part of husk.h.
 */
#ifndef HUSK_STATS_H
#define HUSK_STATS_H

#include "husk_base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Counts since the engine was made; read without stopping anybody, so rows may be a moment
 * apart. */
struct husk_stats {
    size_t size;
    uint64_t sandboxes_made, sandboxes_freed;
    uint64_t vms_made, vms_freed;
    uint64_t calls, host_calls, memory_grows;
    uint64_t traps, exits, deadlines, interrupts, guest_violations; /* how calls ended */
    /* Sandboxes that became poisoned, by cause; what cuts off nested calls counts once. vm_failure:
     * running the VM failed, which no guest can cause. restore_failure: a restore failed
     * half-way. */
    uint64_t poisonings_deadline, poisonings_interrupt, poisonings_guest_violation,
        poisonings_vm_failure, poisonings_restore_failure;
    uint64_t snapshots, snapshot_pages; /* pages that snapshots wrote */
    /* Making used memory equal to an image: by husk_sandbox_restore(), or put off by an unload and
     * done by a load. restores_rebuilt: those of them that mapped new memory instead of copying
     * pages back. */
    uint64_t restores, restores_rebuilt, restore_failures;
    /* aged: found unchanged too often, discarded */
    uint64_t restore_pages_copied, restore_pages_aged;
    /* sizes of the hot set after each, summed up: over `restores`, what one looks at */
    uint64_t restore_pages_hot;
    /* Loads, those of new sandboxes and clones included: into memory mapped on the same module (a
     * restore in place); into a used VM with new memory; with a new VM. loads_from_snapshot: those
     * of these whose image was a snapshot. */
    uint64_t loads_in_place, loads_rebuilt, loads_new_vm, loads_from_snapshot;
    /* instances dropped: by husk_sandbox_unload(), a load over them, husk_sandbox_free() */
    uint64_t unloads;
    /* new sandboxes with and without an idle VM; VMs that the pool had no room for */
    uint64_t pool_hits, pool_misses, pool_drops;
    uint64_t memory_images_made, memory_images_mapped;
    uint64_t snapshot_bytes, restore_bytes_copied; /* the pages above, in bytes */
    /* Sums of durations in nanoseconds; the histograms (husk_engine_histogram()) have the
     * distribution. Calls and host calls only with husk_engine_options.measure_times; call_ns less
     * host_call_ns is the guest's own time, when no call is running. */
    uint64_t restore_ns, snapshot_ns, call_ns, host_call_ns;
    /* Not counts, but how many there are: sandboxes in use, sandboxes idle in the pool, VMs of
     * both, pages in the hot sets of both: memory that is kept private from one run to the next, as
     * of the last load or restore of each. */
    uint64_t sandboxes, pool_idle, vms, hot_pages;
};
#define HUSK_STATS_INIT HUSK_INIT_OF(husk_stats)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_engine_stats(const husk_engine *engine, struct husk_stats *ret_stats);

/* The same of one sandbox since it was made, over all that was loaded in it. Other sandboxes that
 * had its VM before are not counted. */
struct husk_sandbox_stats {
    size_t size;
    /* as in struct husk_stats */
    uint64_t calls, host_calls, memory_grows;
    uint64_t traps, exits, deadlines, interrupts, guest_violations;
    uint64_t poisonings_deadline, poisonings_interrupt, poisonings_guest_violation,
        poisonings_vm_failure, poisonings_restore_failure;
    uint64_t snapshots, snapshot_pages;
    uint64_t restores, restore_failures, restore_pages_copied;
    uint64_t loads_in_place, loads_rebuilt, loads_new_vm;
    uint64_t restore_ns, snapshot_ns, call_ns, host_call_ns;
    /* Not counts, but what there is: bytes of all linear memories (0 if nothing is loaded); pages
     * in the hot set. */
    uint64_t memory_bytes, hot_pages;
};
#define HUSK_SANDBOX_STATS_INIT HUSK_INIT_OF(husk_sandbox_stats)
/* Any thread, also while a call runs, which is not stopped: rows may be a moment apart. The sandbox
 * must not be freed at the same time. HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_sandbox_stats(const husk_sandbox *sandbox, struct husk_sandbox_stats *ret_stats);

enum husk_histogram_kind {
    HUSK_HISTOGRAM_RESTORE,
    HUSK_HISTOGRAM_SNAPSHOT,
    HUSK_HISTOGRAM_CALL,
    HUSK_HISTOGRAM_HOST_CALL
};
#define HUSK_HISTOGRAM_BUCKETS 40

/* Durations by power of two: buckets[i] counts those of more than 2^i and at most 2^(i+1) ns (the
 * first also the shorter ones, the last all longer ones). Calls and host calls only with
 * husk_engine_options.measure_times. */
struct husk_histogram {
    size_t size;
    uint64_t count, sum_ns;
    uint64_t buckets[HUSK_HISTOGRAM_BUCKETS];
};
#define HUSK_HISTOGRAM_INIT HUSK_INIT_OF(husk_histogram)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_engine_histogram(const husk_engine *engine, enum husk_histogram_kind kind,
                                   struct husk_histogram *ret_histogram);

/* All of the above in the Prometheus text format (version 0.0.4), names husk_…: counters
 * (husk_…_total), gauges (husk_sandboxes, husk_pool_idle, husk_vms, husk_hot_bytes), histograms
 * (husk_…_seconds). If sandboxes have or had labels (husk_sandbox_set_label()), also, with
 * {sandbox="label"}: counters (husk_sandbox_…_total) and gauges (husk_sandbox_memory_bytes,
 * husk_sandbox_hot_bytes). `write` may use this library. Returns 0, what `write` returned, or
 * HUSK_E_NOMEM: nothing was written. */
HUSK_API int husk_engine_prometheus(const husk_engine *engine, husk_write_fn write, void *user);

#ifdef __cplusplus
}
#endif
#endif
