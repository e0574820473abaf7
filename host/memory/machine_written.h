/*
 * host/memory/machine_written.h: what a restore does with the pages that were written, within the
 * function that restores (hot.h). All others call machine_find_written() and machine_copy_hot(),
 * which are the same.
 */
#ifndef MACHINE_WRITTEN_H
#define MACHINE_WRITTEN_H

#include "machine_space.h"
#include "hot.h"

/* machine.c. Whether the process's memory was locked at any time since the machine is there. */
bool machine_is_locked(struct machine *machine);

/* Before the first search nothing needs to be counted. */
static inline uint64_t count_faults(struct machine *machine) {
    if (UNLIKELY(machine->vcpu == NULL)) /* a parked machine's guest takes no faults */
        return VCPU_FAULTS_UNKNOWN;
    const uint64_t faults = machine->vcpu_ops->faults(machine->vcpu);
    machine->has_uncounted_faults = faults == VCPU_FAULTS_UNKNOWN;
    return faults;
}

static inline int written_find(struct machine *machine, struct husk_error *err) {
    bool has_searched = false;
    const uint64_t faults = count_faults(machine);
    if (UNLIKELY(machine->has_uncounted_faults) &&
        (hotset_has_large(&machine->hotset) || machine_is_locked(machine)))
        hotset_doubt(&machine->hotset);
    const struct hot_view view = {.arena = &machine->arena,
                                  .image = machine->mapped,
                                  .pagemap = &machine->engine->pagemap,
                                  .guest_faults = faults};
    int status = hotset_update(&machine->hotset, &view, &has_searched, err);
    if (UNLIKELY(has_searched) && status == 0)
        stat_count(&machine->tally, STAT_memory_searches);
    return status;
}

static inline int written_copy(struct machine *machine, struct hot_counts *ret_counts,
                               struct husk_error *err) {
    *ret_counts = (struct hot_counts){0};
    int status = hotset_restore(&machine->hotset, ret_counts, err);
    if (UNLIKELY(status != 0))
        return status;
    stat_add(&machine->tally, STAT_restore_pages_copied, ret_counts->copied);
    stat_add(&machine->tally, STAT_restore_pages_aged, ret_counts->aged);
    stat_add(&machine->tally, STAT_restore_pages_hot, machine->hotset.count);
    machine_count_hot(machine);
    return 0;
}

#endif
