/*
 * host/sandbox_internal.h: one instance in a VM of its own. sandbox.c makes and frees it; call.c starts calls, run.c runs them,
 * hostcall.c and grow.c serve the guest, trap.c and backtrace.c say how a call ended; access.c and bytes.c are for the embedder.
 *
 * Used by one thread at a time, but for `is_interrupted` and `kicker`.
 */
#ifndef HOST_SANDBOX_INTERNAL_H
#define HOST_SANDBOX_INTERNAL_H

#include <stdatomic.h>

#include "arena.h"
#include "engine_internal.h"
#include "image_internal.h"
#include "imports.h"
#include "kick.h"

/* A host function as linked: what a host call needs, without looking into the definition. */
struct linked_func {
    husk_host_fn fn;
    void *user;
    const struct husk_functype *type;
    const struct import_def *def;
};

struct group_state {
    struct import_group *group;
    void *state;
};

/* A running call. Nested calls (guest → host function → guest) form a chain. */
struct call_frame {
    struct call_frame *parent;
    struct watch watch;
    bool is_watched;
    bool was_nested; /* a nested call ran while this one was in a host function: registers must be put back */
    struct vm_regs regs; /* at the host call that is being served */
};

enum sandbox_start { SANDBOX_NOT_STARTED, SANDBOX_STARTED, SANDBOX_START_FAILED };

struct husk_sandbox {
    husk_engine *engine;
    husk_image *image;
    const struct vm_ops *ops;
    uint32_t stat_shard;

    struct arena arena;
    struct sys_template *template;
    struct sys_space *space;
    struct vm *vm;
    struct kicker kicker;
    atomic_bool is_interrupted;

    uint64_t memory_max_bytes;  /* all memories together */
    uint64_t *memory_max_pages; /* of each */
    uint64_t table_max_total;   /* entries of all tables together */
    uint64_t *table_entries;    /* current; host-side truth, the guest's words are copies */
    uint64_t *table_max_entries;

    struct import_def **defs;                            /* one per import, referenced */
    const struct import_def **memory_defs, **table_defs; /* of the imported ones, by index */
    struct linked_func *linked;                          /* by function index; imported_count[FUNC] of them */
    struct group_state *groups;
    uint32_t groups_count;

    enum sandbox_start start;
    bool is_poisoned;
    enum husk_outcome_kind poisoned_by;
    struct call_frame *frame; /* innermost running call, or NULL */
    uint32_t depth;
    uint32_t depth_max;

    /* arguments and results of host calls in progress, one above the other: depth_max calls of the largest arity */
    struct husk_value *values;
    uint32_t values_used, values_count;
};

/* run.c: must the running call end? For host functions of ours that wait (the kick signal ends a system call, and this says why). */
bool sandbox_is_cut(const husk_sandbox *sandbox);

/* grow.c: the guest's memory.grow and table.grow. Returns the old size, or UINT64_MAX. */
uint64_t sandbox_memory_grow(husk_sandbox *sandbox, uint64_t mem_idx, uint64_t delta_pages);
uint64_t sandbox_table_grow(husk_sandbox *sandbox, uint64_t table_idx, uint64_t delta_entries);

#endif
