/*
 * host/sandbox_internal.h: one instance in a VM of its own. sandbox.c makes, loads and frees it on machine.c and restore.c; call.c starts
 * calls, run.c runs them, hostcall.c and grow.c serve the guest, trap.c and backtrace.c say how a call ended; snapshot.c takes
 * snapshots, pool.c keeps idle ones; access.c and bytes.c are for the embedder.
 *
 * Used by one thread at a time, but for `is_interrupted` and `kicker`.
 */
#ifndef HOST_SANDBOX_INTERNAL_H
#define HOST_SANDBOX_INTERNAL_H

#include <stdatomic.h>

#include "arena.h"
#include "engine_internal.h"
#include "hotset.h"
#include "image_internal.h"
#include "kick.h"
#include "linkage.h"
#include "sizing.h"

/* A running call. Nested calls (guest → host function → guest) form a chain. */
#define CUT_LIMIT_BYTES 64u /* ": CPU limit of 1.234567891e+10 s" */

struct call_frame {
    struct call_frame *parent;
    struct watch watch;
    uint64_t kicked_before; /* what kicker_enter() gave */
    bool is_watched;
    bool was_nested; /* a nested call ran while this one was in a host function: registers must be put back */
    struct vm_regs regs;             /* at the host call that is being served */
    char cut_limit[CUT_LIMIT_BYTES]; /* ": limit" whose passing cut off a call inside this one; or "" */
};

/* Why nothing but a restore, an unload or freeing is possible. */
enum poison_cause {
    POISON_DEADLINE,
    POISON_INTERRUPT,
    POISON_GUEST_VIOLATION,
    POISON_VM_FAILURE,
    POISON_RESTORE_FAILURE
};

enum sandbox_start { SANDBOX_NOT_STARTED, SANDBOX_STARTED, SANDBOX_START_FAILED };

struct husk_sandbox {
    husk_engine *engine; /* parked in the pool: not referenced */
    const struct vm_ops *ops;
    struct stat_shard *stats;            /* of the engine's */
    struct husk_sandbox_options options; /* every field set */

    /* The machine (machine.c): memory, page tables, VM. `mapped` is the image that the arena lies over; NULL: there is no memory, perhaps
     * no VM yet. What was written since then is in the hot set, or will be found. */
    husk_image *mapped;
    struct arena arena;
    struct sys_template *template;
    struct sys_space *space;
    struct vm *vm;
    struct kicker kicker;
    struct hotset hotset;
    uint32_t hot_pages_counted; /* of this sandbox in the engine's STAT_hot_pages */
    bool has_failed_vm;         /* running it failed, which no guest can cause: not for the pool */
    /* Changes of the machine that were begun since it was last whole: what fails before it begins one leaves this number as it was. Not
     * 0 between calls: a change failed half-way, and the machine must be built anew. */
    uint32_t changes_begun;

    /* The instance. NULL: nothing is loaded, and what `mapped` has is to be restored before it is used again. */
    husk_image *image;
    struct linkage link;
    struct sizing sizes;
    bool owes_restored_call; /* husk_restored() is to be called before the next call */

    atomic_bool is_interrupted;
    enum sandbox_start start;
    bool is_poisoned;
    enum poison_cause poisoned_by;
    struct call_frame *frame; /* innermost running call, or NULL */
    uint32_t depth;
    uint32_t values_used; /* of link.values */
};

/* machine.c. Replace memory and page tables by fresh ones over the image, in the VM if there is one (else in a new one). Fails with
 * everything as it was, or in the middle of a change; then it can be tried again. */
int machine_build(husk_sandbox *sandbox, husk_image *image, const struct sizing *sizes,
                  struct husk_error *err);
void machine_destroy(husk_sandbox *sandbox);
/* Another VM in the place of one that cannot run any more, over the same memory, also in the middle of a call. All is as it was if it
 * fails. Kicks of the old one are lost: look at the flags. */
int machine_renew(husk_sandbox *sandbox, struct husk_error *err);
/* The line between what leaves everything as it was when it fails and what does not. */
static inline void machine_change_begin(husk_sandbox *sandbox) {
    sandbox->changes_begun++;
}
static inline void machine_change_end(husk_sandbox *sandbox) {
    sandbox->changes_begun = 0;
}
static inline bool machine_is_whole(const husk_sandbox *sandbox) {
    return sandbox->changes_begun == 0;
}

/* The hot set has changed: after a load, a restore, and when its memory goes. */
static inline void sandbox_count_hot(husk_sandbox *sandbox) {
    const uint32_t count = sandbox->hotset.count;
    if (count == sandbox->hot_pages_counted)
        return;
    stat_add(sandbox->stats, STAT_hot_pages, (uint64_t)count - sandbox->hot_pages_counted);
    sandbox->hot_pages_counted = count;
}

/* restore.c. Make memory equal to an image, in place. Fails as machine_build() does; only that can be tried then. */
bool restore_is_possible(const husk_sandbox *sandbox, const husk_image *image, const struct sizing *sizes);
int restore_in_place(husk_sandbox *sandbox, husk_image *image, const struct sizing *sizes,
                     struct husk_error *err);

/* sandbox.c */
int sandbox_load(husk_sandbox *sandbox, husk_image *image, struct linkage *take_link, struct husk_error *err);
void sandbox_unload(husk_sandbox *sandbox);
void sandbox_destroy(husk_sandbox *sandbox);
/* HUSK_E_STATE if a call is running, with the name of what cannot be done, or in a forked child. */
int sandbox_check_idle(const husk_sandbox *sandbox, const char *what, struct husk_error *err);

/* access.c: husk_memory_span() for ourselves: for this moment, and this thread, which is the one that made the running or last call. So restores
 * need not look at these pages for ever after. */
int sandbox_span(const husk_sandbox *sandbox, uint32_t mem_idx, uint64_t addr, uint64_t count,
                 uint8_t **ret_span, struct husk_error *err);

/* run.c: from now on only a restore, an unload or freeing. Counted by its cause, unless it is poisoned already. */
void sandbox_poison(husk_sandbox *sandbox, enum poison_cause cause);

/* run.c: must the running call end? */
bool sandbox_is_cut(const husk_sandbox *sandbox);

/* sandbox_wait.c: wait_syscall() for host functions of ours, which ends when the running call must. On the thread that runs it. */
long sandbox_syscall(husk_sandbox *sandbox, long number, const long args[6]);

/* grow.c: the guest's memory.grow and table.grow. Returns the old size, or UINT64_MAX. */
uint64_t sandbox_memory_grow(husk_sandbox *sandbox, uint64_t mem_idx, uint64_t delta_pages);
uint64_t sandbox_table_grow(husk_sandbox *sandbox, uint64_t table_idx, uint64_t delta_entries);

#endif
