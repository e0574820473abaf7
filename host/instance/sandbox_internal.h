/*
 * host/instance/sandbox_internal.h: one instance in a machine of its own (machine.h). sandbox.c
 * makes, loads and frees it; call.c starts calls, run.c runs them, hostcall.c and grow.c serve the
 * guest, trap.c and backtrace.c say how a call ended; snapshot.c takes snapshots; access.c and
 * bytes.c are for the embedder.
 *
 * Used by one thread at a time, except `calls.is_interrupted` and the machine's kicker.
 */
#ifndef HOST_SANDBOX_INTERNAL_H
#define HOST_SANDBOX_INTERNAL_H

#include "call_state.h"
#include "guest_block.h"
#include "linkage.h"
#include "machine.h"

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
    husk_engine *engine;     /* referenced */
    struct machine *machine; /* owned; the same one from husk_sandbox_new() on */
    struct tally *tally;     /* the machine's */

    /* The instance. NULL: nothing is loaded, and the machine's memory is to be made equal to an
     * image before it is used again. */
    husk_image *image;
    struct linkage link;
    struct guest_block spare; /* for the next husk_call_bytes(), see bytes.c */
    bool owes_restored_call;  /* husk_restored() is to be called before the next call */

    enum sandbox_start start;
    bool is_poisoned;
    enum poison_cause poisoned_by;
    struct call_state calls;

    void *user; /* the embedder's */
    struct labelled labelled;
};

/* sandbox.c. With the image loaded, if there is one; takes over its linkage, also on failure.
 * `limits`: every field set. */
int sandbox_new(husk_engine *engine, husk_image *image, struct linkage *take_link,
                const struct husk_sandbox_options *limits, husk_sandbox **ret_sandbox,
                struct husk_error *err);
/* HUSK_E_STATE if a call is running, with the name of what cannot be done, or in a forked child.
 * check_idle: also if a call is pending. check_still: what it asks for would abandon that. */
int sandbox_check_idle(const husk_sandbox *sandbox, const char *what, struct husk_error *err);
int sandbox_check_still(const husk_sandbox *sandbox, const char *what, struct husk_error *err);
/* The end of sandbox_check_usable(). */
int sandbox_unusable(const husk_sandbox *sandbox, struct husk_error *err);
/* HUSK_E_STATE: nothing is loaded. HUSK_E_POISONED. */
static inline int sandbox_check_usable(const husk_sandbox *sandbox, struct husk_error *err) {
    return sandbox->image != NULL && !sandbox->is_poisoned ? 0 : sandbox_unusable(sandbox, err);
}
/* From now on only a restore, an unload or freeing. Counted by its cause, unless it is poisoned
 * already. */
void sandbox_poison(husk_sandbox *sandbox, enum poison_cause cause);

/* Must the running call end? A call inside another one ends when that must end. */
static inline bool sandbox_is_cut(const husk_sandbox *sandbox) {
    const struct call_state *calls = &sandbox->calls;
    return calls_due(calls) != NULL || calls_are_cancelled(calls) ||
           atomic_load(&calls->is_interrupted);
}

/* table_access.c. HUSK_E_TYPE: the value is a funcref of nothing that the module has, and so must
 * not get into the guest. HUSK_E_NOMEM. */
int sandbox_check_ref(const husk_sandbox *sandbox, const struct husk_value *value,
                      struct husk_error *err);

/* access.c: husk_memory_span() for ourselves: for this moment, and this thread, which is the one
 * that made the running or last call. So restores need not look at these pages for ever after. */
int sandbox_span(const husk_sandbox *sandbox, uint32_t mem_idx, uint64_t addr, uint64_t count,
                 uint8_t **ret_span, struct husk_error *err);

/* sandbox_wait.c: wait_syscall() for host functions of ours, which ends when the running call must.
 * On the thread that runs it. */
long sandbox_syscall(husk_sandbox *sandbox, long number, const long args[6]);

/* sandbox_stats.c: the linear memories have other sizes now, or there are none. */
void sandbox_count_memory(const husk_sandbox *sandbox);

/* grow.c: the guest's memory.grow and table.grow. Returns the old size, or UINT64_MAX. */
uint64_t sandbox_memory_grow(husk_sandbox *sandbox, uint64_t mem_idx, uint64_t delta_pages);
uint64_t sandbox_table_grow(husk_sandbox *sandbox, uint64_t table_idx, uint64_t delta_entries);

#endif
