/*
 * host/memory/machine.h: a machine: the memory (arena), the page tables (sys_space), the VM that
 * has both as slots, and the hot set of the memory. An instance runs on a machine, and the pool
 * keeps machines. A machine knows images and sizes, but no imports, calls or tenants. machine.c
 * builds it. restore.c makes its memory equal to an image in place. machine_space.c has page
 * tables, slots and the VM. Between two sandboxes, a machine stays in the engine's pool (pool.c) as
 * it was left. The next user makes it equal to an image; that does the deferred restore.
 *
 * The folders above see an address space with a CPU, and may use only these functions:
 *   map and unmap   machine_make_equal() to an image; machine_grow(), machine_map() add zero pages.
 *                   Only machine_make_equal() removes pages and changes rights
 *   run             machine_set_regs(), machine_run(), machine_get_regs(), machine_renew(),
 *                   machine_has_vm(), machine_park(), machine_unpark(), `kicker`
 *   host pointers   arena_span()
 * They do not know VMs, memory slots and page tables (tools/check-layers). So another hypervisor or
 * a process may implement these functions.
 *
 * One thread at a time uses a machine, except `kicker`.
 */
#ifndef HOST_MACHINE_H
#define HOST_MACHINE_H

#include "arena.h"
#include "engine_internal.h"
#include "hotset.h"
#include "kick.h"
#include "sizing.h"

/* A call and a restore run right after the guest, when few of the host's lines are in the CPU's
 * first-level cache. So the fields that they use stand together and come first, and a machine
 * begins at a cache line. */
struct machine {
    _Alignas(64) struct hotset hotset;
    /* Borrowed. Each user of the machine holds the engine, and the engine empties the pool before
     * it ends. */
    husk_engine *engine;
    const struct vcpu_ops *vcpu_ops;
    struct vcpu *vcpu;
    /* The image that the arena maps. NULL: there is no memory, and perhaps no VM. Pages written
     * since it was mapped are in the hot set, or the next scan finds them. */
    husk_image *mapped;
    /* Number of changes begun since the machine was last whole. An operation that fails before its
     * first change does not change this number. If it is not 0 between calls, a change failed
     * half-way, and the machine must be rebuilt. */
    uint32_t changes_begun;
    bool has_failed_vm; /* a run failed, which no guest can cause; the VM must not go to the pool */
    /* the hypervisor does not count the guest's faults, so each run is watched (hotset.h) */
    bool has_uncounted_faults;
    /* memories and tables may have other sizes than machine_make_equal() gave them last */
    bool is_resized;
    bool was_locked; /* machine.c: is_locked() */
    struct kicker kicker;
    struct arena arena;
    struct tally tally; /* of the sandbox that has the machine */

    /* The sizes of the mapped parts: current entries of tables, and the maximum sizes. */
    struct sizing sizes;
    /* Every field is set, except user and label, which are NULL because they belong to the sandbox.
     * The pool gives the machine only to sandboxes with equal limits. */
    struct husk_sandbox_options limits;
    struct sys_space *tables; /* machine_space.c owns this, the VM and its vCPU, and the next one */
    struct vm *vm;            /* NULL: there is no VM and no vCPU; with memory: it is parked */
    uint32_t next_slot;       /* of the VM */
    uint64_t mem0_slot_bytes; /* how much of memory 0 the VM's slots have */
    void *sandbox_room;       /* a freed sandbox's block, for the machine's next one; or NULL */
    struct machine *next_idle; /* in the pool: the next older machine */
    bool is_fresh; /* spare.c: memory is equal to the image, and the machine has no user yet */
};

/* pool.c. Take an idle machine with these limits, preferably one that holds this image's memory, or
 * a spare one of it. `image` may be NULL. If there is none, make a new machine without memory and
 * VM. NULL: out of memory. */
struct machine *machine_take(husk_engine *engine, const husk_image *image,
                             const struct husk_sandbox_options *limits);
/* The machine is no longer used: put it into the pool, dirty, or free it. */
void machine_put(struct machine *machine);
/* Take an idle machine that has a VM and no memory, with any limits. NULL: there is none. */
struct machine *machine_take_bare(husk_engine *engine);
/* Is there room for another idle machine? */
bool pool_has_room(husk_engine *engine);
/* machine.c. For pool.c, park.c and spare.c only: make a machine without memory and VM (NULL: out
 * of memory), and free it. */
struct machine *machine_new(husk_engine *engine, const struct husk_sandbox_options *limits);
void machine_free(struct machine *machine);
/* Free a list of idle or spare machines. Not under a lock: destroying a VM takes a millisecond.
 * is_drop: the pool had no room for them. */
void machines_free(struct machine *list, bool is_drop);
/* Do sandboxes with these limits take the same machines? */
bool machine_limits_equal(const struct husk_sandbox_options *own,
                          const struct husk_sandbox_options *limits);

/* restore.c. Make memory equal to an image with these sizes. If the arena maps the same module, it
 * does so in place; otherwise it rebuilds the memory. On success it takes over the sizes. On
 * failure everything is as it was, or the machine is incomplete (changes_begun tells), and only a
 * load is possible. `is_load`: count it as a load, else as a restore. */
int machine_make_equal(struct machine *machine, husk_image *image, struct sizing *take_sizes,
                       bool is_load, struct husk_error *err);

/* True: the machine holds this image's memory, and each memory and table has the size that
 * machine_make_equal() gave it last. So the next function makes it equal to the image again. */
static inline bool machine_is_sized_for(const struct machine *machine, const husk_image *image) {
    return machine->mapped == image && machine->vcpu != NULL && !machine->is_resized &&
           machine->changes_begun == 0 && machine->arena.overlays_count == 0;
}
/* restore.c. The short form of a restore: copies the hot pages back. Failures and counts are those
 * of machine_make_equal(). */
int machine_restore(struct machine *machine, struct husk_error *err);

/* Replace memory and page tables by new ones for the image, in the existing VM or in a new one. On
 * failure everything is as it was, or a change is incomplete; then it can be retried. */
int machine_build(struct machine *machine, husk_image *image, const struct sizing *sizes,
                  struct husk_error *err);
/* Replace a VM that cannot run any more by a new one with the same memory, also during a call. On
 * failure everything is as it was. Kicks of the old VM are lost, so check the flags. */
int machine_renew(struct machine *machine, struct husk_error *err);
static inline bool machine_has_vm(const struct machine *machine) {
    return machine->vcpu != NULL;
}
/* park.c. Give the VM up, and keep the memory: the machine is parked. No call may be running; the
 * vCPU's registers are lost. Kicks are harmless. Without a VM this does nothing. */
void machine_park(struct machine *machine);
int machine_unpark_slowly(struct machine *machine, bool needs_new_vm, struct husk_error *err);
/* Get a VM for the memory if the machine is parked. It must be whole. On failure it stays parked.
 * needs_new_vm: the next run may not begin at the entry page. So it must not be in a VM in which
 * somebody else has left something. */
static inline int machine_unpark(struct machine *machine, bool needs_new_vm,
                                 struct husk_error *err) {
    return machine_has_vm(machine) ? 0 : machine_unpark_slowly(machine, needs_new_vm, err);
}
/* Grow a memory by `bytes`, a multiple of the page size. It must not exceed the memory's
 * maximum. */
int machine_grow(struct machine *machine, uint32_t mem_idx, uint64_t bytes, struct husk_error *err);
/* Let the guest read and write more pages of the arena, for a table that grows. */
int machine_map(struct machine *machine, uint64_t gva_value, uint64_t bytes,
                struct husk_error *err);
/* Update the counter of hot pages. Call it after a load, after a restore, and when the memory is
 * freed. */
static inline void machine_count_hot(struct machine *machine) {
    struct tally *tally = &machine->tally;
    const uint64_t counted =
        atomic_load_explicit(&tally->values[STAT_hot_pages], memory_order_relaxed);
    if (machine->hotset.count != counted)
        stat_add(tally, STAT_hot_pages, machine->hotset.count - counted);
}

/* A failure before this call leaves everything as it was; a failure after it does not. */
static inline void machine_change_begin(struct machine *machine) {
    machine->changes_begun++;
}
static inline void machine_change_end(struct machine *machine) {
    machine->changes_begun = 0;
}
static inline bool machine_is_whole(const struct machine *machine) {
    return machine->changes_begun == 0;
}

/* See the operations of vm.h. */
static inline void machine_get_regs(const struct machine *machine, struct vm_regs *ret_regs) {
    machine->vcpu_ops->get_regs(machine->vcpu, ret_regs);
}
static inline void machine_set_regs(struct machine *machine, const struct vm_regs *regs) {
    machine->vcpu_ops->set_regs(machine->vcpu, regs);
}
static inline int machine_run(struct machine *machine, struct vm_exit *ret_exit,
                              struct husk_error *err) {
    const bool is_watched = machine->has_uncounted_faults;
    if (UNLIKELY(machine->hotset.is_watched)) /* what a host function wrote before */
        hotset_unwatch(&machine->hotset);
    if (UNLIKELY(is_watched))
        hotset_watch(&machine->hotset);
    int status = machine->vcpu_ops->run(machine->vcpu, ret_exit, err);
    if (UNLIKELY(is_watched))
        hotset_unwatch(&machine->hotset);
    if (UNLIKELY(status == 0 && ret_exit->kind == VM_EXIT_VIOLATION))
        hotset_doubt(&machine->hotset); /* KVM's emulator writes (REP INS), and counts no fault */
    return status;
}
/* Tell the hot set all pages that were written since the memory was mapped. */
int machine_find_written(struct machine *machine, struct husk_error *err);

#endif
