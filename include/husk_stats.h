/*
 * husk_stats.h: counters and histograms. Part of husk.h.
 */
#ifndef HUSK_STATS_H
#define HUSK_STATS_H

#include "husk_base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Counts since the engine was made. Reading them stops nobody, so rows may be a moment apart. */
struct husk_stats {
    size_t size;
    uint64_t sandboxes_made, sandboxes_freed;
    uint64_t vms_made, vms_freed;
    uint64_t calls, host_calls, memory_grows;
    uint64_t traps, exits, deadlines, interrupts, guest_violations; /* how calls ended */
    /* Sandboxes that became poisoned, by cause. If nested calls are cut off together, that counts
     * once. vm_failure: a run of the VM failed, which no guest can cause. restore_failure: a
     * restore failed half-way. */
    uint64_t poisonings_deadline, poisonings_interrupt, poisonings_guest_violation,
        poisonings_vm_failure, poisonings_restore_failure;
    uint64_t snapshots, snapshot_pages; /* pages that snapshots wrote */
    /* How often used memory was made equal to an image: by husk_sandbox_restore(), or by a load
     * after an unload. restores_rebuilt: those that mapped new memory instead of copying pages
     * back. */
    uint64_t restores, restores_rebuilt, restore_failures;
    /* Pages that were copied back, and pages that were discarded after they did not change for many
     * restores. */
    uint64_t restore_pages_copied, restore_pages_aged;
    /* The sum of the hot set's sizes after each restore. Divided by `restores`: the pages that a
     * restore looks at. */
    uint64_t restore_pages_hot;
    /* Loads, also those of new sandboxes and clones: into memory that lies over the same module (a
     * restore in place); into a used VM with new memory; with a new VM. loads_from_snapshot: those
     * whose image was a snapshot. */
    uint64_t loads_in_place, loads_rebuilt, loads_new_vm, loads_from_snapshot;
    /* instances dropped: by husk_sandbox_unload(), a load over them, husk_sandbox_free() */
    uint64_t unloads;
    /* New sandboxes that found an idle VM, and those that did not. VMs for which the pool had no
     * room. */
    uint64_t pool_hits, pool_misses, pool_drops;
    uint64_t memory_images_made, memory_images_mapped;
    uint64_t snapshot_bytes, restore_bytes_copied; /* the pages above, in bytes */
    /* Sums of durations in nanoseconds; husk_engine_histogram() has the distributions. Calls and
     * host calls are measured only with husk_engine_options.measure_times. When no call is running,
     * call_ns - host_call_ns is the guest's time. */
    uint64_t restore_ns, snapshot_ns, call_ns, host_call_ns;
    /* How many there are now: sandboxes in use, idle VMs in the pool, VMs of both, and pages in
     * their hot sets. Pages in the hot set stay private memory from one run to the next; they are
     * counted at the last load or restore. */
    uint64_t sandboxes, pool_idle, vms, hot_pages;
    /* How often a restore, load or snapshot searched all memory for written pages. It does so if
     * the guest took page faults since the last time. Else the pages are known. */
    uint64_t memory_searches;
    uint64_t uncaught_exceptions; /* calls that ended with HUSK_THREW */
    /* VMs that husk_sandbox_park() gave up, and parked sandboxes that a call gave a VM again */
    uint64_t parks, unparks;
    /* husk_sandbox_prepare(): spare VMs made, new sandboxes that found one, and VMs that could not
     * be made. Spare VMs count as VMs (vms_made), and those that were found as pool_hits. */
    uint64_t spares_made, spares_used, spare_failures;
    /* memory.grow of guests that a limit refused: the module's own maximum, or memory_max_bytes */
    uint64_t memory_refusals;
};
#define HUSK_STATS_INIT HUSK_INIT_OF(husk_stats)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_engine_stats(const husk_engine *engine, struct husk_stats *ret_stats);

/* Counts of one sandbox since it was made, whatever was loaded in it. Sandboxes that had its VM
 * before do not count. */
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
    /* Current numbers: bytes of all linear memories (0 if nothing is loaded), and pages in the hot
     * set. */
    uint64_t memory_bytes, hot_pages;
    uint64_t uncaught_exceptions; /* calls that ended with HUSK_THREW */
    uint64_t memory_refusals;
};
#define HUSK_SANDBOX_STATS_INIT HUSK_INIT_OF(husk_sandbox_stats)
/* Any thread, also while a call runs. Nothing is stopped, so rows may be a moment apart. The
 * sandbox must not be freed at the same time. HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_sandbox_stats(const husk_sandbox *sandbox, struct husk_sandbox_stats *ret_stats);

enum husk_histogram_kind {
    HUSK_HISTOGRAM_RESTORE,
    HUSK_HISTOGRAM_SNAPSHOT,
    HUSK_HISTOGRAM_CALL,
    HUSK_HISTOGRAM_HOST_CALL
};
#define HUSK_HISTOGRAM_BUCKETS 40

/* Durations by power of two. buckets[i] counts those above 2^i and up to 2^(i+1) ns; the first
 * bucket also has all shorter ones, the last all longer ones. Calls and host calls are measured
 * only with husk_engine_options.measure_times. */
struct husk_histogram {
    size_t size;
    uint64_t count, sum_ns;
    uint64_t buckets[HUSK_HISTOGRAM_BUCKETS];
};
#define HUSK_HISTOGRAM_INIT HUSK_INIT_OF(husk_histogram)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_engine_histogram(const husk_engine *engine, enum husk_histogram_kind kind,
                                   struct husk_histogram *ret_histogram);

/* Write all of the above in the Prometheus text format (version 0.0.4): counters (husk_…_total),
 * gauges (husk_sandboxes, husk_pool_idle, husk_vms, husk_hot_bytes) and histograms
 * (husk_…_seconds). Sandboxes with labels (husk_sandbox_set_label()) add counters
 * (husk_sandbox_…_total) and gauges (husk_sandbox_memory_bytes, husk_sandbox_hot_bytes) with
 * {sandbox="label"}. `write` may use this library. Returns 0, the number that `write` returned, or
 * HUSK_E_NOMEM (then nothing was written). */
HUSK_API int husk_engine_prometheus(const husk_engine *engine, husk_write_fn write, void *user);

#ifdef __cplusplus
}
#endif
#endif
