/*
 * host/memory/machine.h: what stands under an instance, and what the pool keeps: memory (arena),
 * page tables (sys_space), the VM that has both as slots, and what is known of the memory's pages.
 * A machine knows images and sizes; it knows no imports, no calls and no tenant. machine.c builds
 * it, restore.c makes its memory equal to an image in place, machine_space.c has page tables, slots
 * and the VM. Between two sandboxes it is in the engine's pool (pool.c) as it was left; whoever
 * takes it makes it equal to an image, which is when the restore that was put off is done.
 *
 * The folders above see an address space and what runs in it, and may use these alone:
 *   map and unmap   machine_make_equal() to an image; machine_grow(), machine_map() add zero pages.
 *                   Pages are taken away, and rights are given, by machine_make_equal() only
 *   run             machine_set_regs(), machine_run(), machine_get_regs(), machine_renew(),
 *                   `kicker`
 *   host pointers   arena_span()
 * They do not know VM, memory slots and page tables (tools/check-layers), so another hypervisor or
 * a process may stand behind these functions.
 *
 * Used by one thread at a time, except `kicker`.
 */
#ifndef HOST_MACHINE_H
#define HOST_MACHINE_H

#include "arena.h"
#include "engine_internal.h"
#include "hotset.h"
#include "kick.h"
#include "sizing.h"

struct machine {
    /* Borrowed: whoever uses the machine holds the engine, and the pool is emptied before it
     * goes. */
    husk_engine *engine;
    const struct vcpu_ops *vcpu_ops;
    /* Every field set, but user and label, which are NULL: they are the sandbox's. The pool gives
     * the machine to sandboxes with equal ones only. */
    struct husk_sandbox_options limits;

    /* The image that the arena lies over; NULL: there is no memory, perhaps no VM yet. What was
     * written since then is in the hot set, or will be found. */
    husk_image *mapped;
    /* Of what is mapped: tables' entries as they are now, and what everything may grow to. */
    struct sizing sizes;
    struct arena arena;
    struct sys_space *tables; /* this and the next three: machine_space.c's */
    struct vm *vm;            /* NULL: none yet, and no vCPU */
    struct vcpu *vcpu;
    uint32_t next_slot; /* of the VM */
    struct kicker kicker;
    struct hotset hotset;
    bool has_failed_vm; /* running it failed, which no guest can cause: not for the pool */
    /* Changes that were begun since the machine was last whole: what fails before it begins one
     * leaves this number as it was. Not 0 between calls: a change failed half-way, and the machine
     * must be built anew. */
    uint32_t changes_begun;
    struct machine *next_idle; /* in the pool: an older one */
    struct tally tally;        /* of the sandbox that has it */
};

/* pool.c. An idle machine with these limits, best one that holds this image's memory (which may be
 * NULL); else a new one, without memory and VM. NULL: out of memory. */
struct machine *machine_take(husk_engine *engine, const husk_image *image,
                             const struct husk_sandbox_options *limits);
/* Nobody uses it any more: into the pool, dirty, or freed. */
void machine_put(struct machine *machine);
/* machine.c. For pool.c only: one without memory and VM (NULL: out of memory), and its end. */
struct machine *machine_new(husk_engine *engine, const struct husk_sandbox_options *limits);
void machine_free(struct machine *machine);

/* restore.c. Make memory equal to an image of these sizes: in place, if it lies over the same
 * module; else by building it anew. Takes over the sizes on success. A failure leaves everything as
 * it was, or (changes_begun says so) the machine in pieces: then only a load is possible.
 * `is_load`: for the counters; it is a restore otherwise. */
int machine_make_equal(struct machine *machine, husk_image *image, struct sizing *take_sizes,
                       bool is_load, struct husk_error *err);

/* Replace memory and page tables by fresh ones over the image, in the VM if there is one (else in a
 * new one). Fails with everything as it was, or in the middle of a change; then it can be tried
 * again. */
int machine_build(struct machine *machine, husk_image *image, const struct sizing *sizes,
                  struct husk_error *err);
/* Another VM in the place of one that cannot run any more, over the same memory, also in the middle
 * of a call. All is as it was if it fails. Kicks of the old one are lost: look at the flags. */
int machine_renew(struct machine *machine, struct husk_error *err);
/* A memory grows by so many bytes, a multiple of the page size and within what it may grow to. */
int machine_grow(struct machine *machine, uint32_t mem_idx, uint64_t bytes, struct husk_error *err);
/* Give the guest more pages of the arena to read and write: a table that grows. */
int machine_map(struct machine *machine, uint64_t gva_value, uint64_t bytes,
                struct husk_error *err);
/* The hot set has changed: after a load, a restore, and when its memory goes. */
void machine_count_hot(struct machine *machine);

/* The line between what leaves everything as it was when it fails and what does not. */
static inline void machine_change_begin(struct machine *machine) {
    machine->changes_begun++;
}
static inline void machine_change_end(struct machine *machine) {
    machine->changes_begun = 0;
}
static inline bool machine_is_whole(const struct machine *machine) {
    return machine->changes_begun == 0;
}

/* As the operations of vm.h. */
static inline void machine_get_regs(const struct machine *machine, struct vm_regs *ret_regs) {
    machine->vcpu_ops->get_regs(machine->vcpu, ret_regs);
}
static inline void machine_set_regs(struct machine *machine, const struct vm_regs *regs) {
    machine->vcpu_ops->set_regs(machine->vcpu, regs);
}
static inline int machine_run(struct machine *machine, struct vm_exit *ret_exit,
                              struct husk_error *err) {
    return machine->vcpu_ops->run(machine->vcpu, ret_exit, err);
}

#endif
