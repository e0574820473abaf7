/*
 * host/instance/sandbox_internal.h: a sandbox: one instance on a machine (machine.h). sandbox.c
 * makes, loads and frees it. call.c starts calls, and run.c runs them. hostcall.c and grow.c serve
 * the guest. trap.c and backtrace.c say how a call ended. snapshot.c takes snapshots. access.c and
 * bytes.c are for the embedder.
 *
 * One thread at a time uses a sandbox, except `calls.is_interrupted` and the machine's kicker.
 */
#ifndef HOST_SANDBOX_INTERNAL_H
#define HOST_SANDBOX_INTERNAL_H

#include "call_state.h"
#include "guest_block.h"
#include "guest_bytes.h"
#include "linkage.h"
#include "machine.h"

/* The cause of a poisoning. After it only a restore, a load, an unload or freeing is possible. */
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
    struct machine *machine; /* owned; never replaced */
    struct tally *tally;     /* the machine's */

    /* The instance. NULL: nothing is loaded. Then the machine's memory must be made equal to an
     * image before its next use. */
    husk_image *image;
    enum sandbox_start start;
    enum poison_cause poisoned_by;
    bool is_poisoned;
    bool owes_restored_call;  /* the next call must call husk_restored() first */
    bool was_restored;        /* since it was loaded */
    struct guest_block spare; /* for the next husk_call_bytes(), see bytes.c */
    struct call_state calls;
    struct linkage link;

    void *user; /* the embedder's */
    struct labelled labelled;
    struct bytes_exports bytes_exports; /* of the last husk_call_bytes() by a husk_func */
};

/* sandbox.c. Make a sandbox, and load the image unless it is NULL. Takes over the linkage, also on
 * failure. `limits`: every field is set. */
int sandbox_new(husk_engine *engine, husk_image *image, struct linkage *take_link,
                const struct husk_sandbox_options *limits, husk_sandbox **ret_sandbox,
                struct husk_error *err);
/* HUSK_E_STATE if a call is running, or in a forked child. `what` names the refused action for the
 * message. sandbox_check_idle() also refuses if a call is pending. sandbox_check_still() does not:
 * it is for actions that abandon a pending call. */
int sandbox_check_idle(const husk_sandbox *sandbox, const char *what, struct husk_error *err);
int sandbox_check_still(const husk_sandbox *sandbox, const char *what, struct husk_error *err);
/* The part of sandbox_check_usable() that makes the error. */
int sandbox_unusable(const husk_sandbox *sandbox, struct husk_error *err);
/* Check the arguments of a function that tells more of how the last call ended: `ret` is a struct
 * of this name. HUSK_E_INVAL (its size), HUSK_E_STATE (nothing is loaded; a forked child). */
int sandbox_check_question(const husk_sandbox *sandbox, const char *name, const void *ret,
                           struct husk_error *err);
/* Another call, or none, will have the vCPU: keep the registers of the innermost call, if there is
 * one. Its host function's answer puts them back. */
static inline void sandbox_keep_regs(husk_sandbox *sandbox) {
    struct call_frame *frame = sandbox->calls.frame;
    if (LIKELY(frame == NULL || frame->was_nested))
        return;
    machine_get_regs(sandbox->machine, &frame->regs);
    frame->was_nested = true;
}
/* HUSK_E_STATE: nothing is loaded. HUSK_E_POISONED. */
static inline int sandbox_check_usable(const husk_sandbox *sandbox, struct husk_error *err) {
    return LIKELY(sandbox->image != NULL && !sandbox->is_poisoned) ? 0
                                                                   : sandbox_unusable(sandbox, err);
}
/* Poison a sandbox: from now on only a restore, a load, an unload or freeing is possible. Counted
 * under its cause, unless the sandbox is poisoned already. */
void sandbox_poison(husk_sandbox *sandbox, enum poison_cause cause);

/* True: the running call must end. A call must also end when a call around it must. */
static inline bool sandbox_is_cut(const husk_sandbox *sandbox) {
    const struct call_state *calls = &sandbox->calls;
    return calls_due(calls) != NULL || calls_are_cancelled(calls) ||
           atomic_load(&calls->is_interrupted);
}

/* table_access.c. Check a value before it gets into the guest. HUSK_E_TYPE: it is a funcref, but of
 * no function of the module. HUSK_E_NOMEM. */
int sandbox_check_ref(const husk_sandbox *sandbox, const struct husk_value *value,
                      struct husk_error *err);

/* access.c: husk_memory_span() for the library itself. Use the span at once, and only on this
 * thread, which must be the one that made the running or last call. So restores need not look at
 * these pages for ever after. */
int sandbox_span(const husk_sandbox *sandbox, uint32_t mem_idx, uint64_t addr, uint64_t count,
                 uint8_t **ret_span, struct husk_error *err);

/* sandbox_files.c. The private layer of the sandbox's files, at its present place, for functions of
 * a group with `files_bytes`. A layer without room has the base NULL. The caller sets the limits
 * and the time. Use it at once, on the thread that runs the call, and not after the next load,
 * restore or unload. HUSK_E_STATE: nothing is loaded. */
struct privfs;
int sandbox_files(husk_sandbox *sandbox, struct privfs *ret_files);
/* How many bytes of the layer a snapshot must have: all that is in use lies below. A page
 * multiple. */
uint64_t sandbox_files_end(const husk_sandbox *sandbox);
/* Is it the address of a free page of the layer? Nobody reads it before it is written anew. */
bool sandbox_files_is_free(const struct machine *machine, uint64_t gva_value);

/* sandbox_wait.c: wait_syscall() for the library's own host functions. It ends when the running
 * call must end. Call it on the thread that runs the call. -EINTR: try again, unless it must. */
long sandbox_syscall(husk_sandbox *sandbox, long number, const long args[6]);
/* The same for memory.atomic.wait: do nothing for so long; below 0: until the call must end. */
void sandbox_sleep(husk_sandbox *sandbox, int64_t timeout_ns);
/* True: the running call must end. The embedder is asked if it is time. For functions that take
 * long without a wait, on the thread that runs the call. */
bool sandbox_ask_and_is_cut(husk_sandbox *sandbox);

/* Update the counter of memory bytes, after a memory changed its size, a load or an unload. */
static inline void sandbox_count_memory(const husk_sandbox *sandbox) {
    stat_set_memory(sandbox->tally,
                    sandbox->image != NULL ? arena_memories_bytes(&sandbox->machine->arena) : 0);
}

/* grow.c: memory.grow and table.grow of the guest. They return the old size, or UINT64_MAX on
 * failure. */
uint64_t sandbox_memory_grow(husk_sandbox *sandbox, uint64_t mem_idx, uint64_t delta_pages);
uint64_t sandbox_table_grow(husk_sandbox *sandbox, uint64_t table_idx, uint64_t delta_entries);

#endif
