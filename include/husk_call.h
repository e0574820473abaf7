/*
 * husk_call.h: calls, how they end, and how they are ended. Part of husk.h.
 */
#ifndef HUSK_CALL_H
#define HUSK_CALL_H

#include "husk_image.h"

#ifdef __cplusplus
extern "C" {
#endif

enum husk_outcome_kind {
    HUSK_RETURNED, /* results are set */
    /* trap, message; the instance stays usable (core spec 4.4), but see state_is_exact */
    HUSK_TRAPPED,
    HUSK_EXITED, /* proc_exit: exit_code; the instance stays usable, but nothing was unwound */
    /* cut off by a limit of time; poisoned, unless that had passed before the guest ran */
    HUSK_DEADLINE,
    /* husk_interrupt() or husk_cancel_now(); poisoned, unless it came before the guest ran
     * (is_poisoned false) */
    HUSK_INTERRUPTED,
    HUSK_GUEST_VIOLATION, /* the guest's code did what no compiled module does; poisoned */
    /* no end: a host function has no answer yet; see husk_call_resume() */
    HUSK_PENDING
};

enum husk_trap {
    HUSK_TRAP_NONE = 0,
    HUSK_TRAP_UNREACHABLE = 1,
    HUSK_TRAP_MEMORY_OUT_OF_BOUNDS = 2,
    HUSK_TRAP_TABLE_OUT_OF_BOUNDS = 3,
    HUSK_TRAP_UNDEFINED_ELEMENT = 4,
    HUSK_TRAP_UNINITIALIZED_ELEMENT = 5,
    HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH = 6,
    HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO = 7,
    HUSK_TRAP_INTEGER_OVERFLOW = 8,
    HUSK_TRAP_INVALID_CONVERSION_TO_INTEGER = 9,
    HUSK_TRAP_CALL_STACK_EXHAUSTED = 10,
    HUSK_TRAP_HOST_FUNCTION = 11
};

/* Which limit ended a call. */
enum husk_limit_kind {
    HUSK_LIMIT_NONE = 0,
    HUSK_LIMIT_WALL = 1,
    HUSK_LIMIT_CPU = 2,
    HUSK_LIMIT_WAIT = 3 /* it waited for longer than a CPU limit alone allows */
};

/*
 * How a call ended. Caller-owned; needs no cleanup.
 *
 * Is the guest's state as the standard has it (core spec 4.4) when the call did not return?
 * state_is_exact is
 *
 *   true for exits, failed host functions, and traps that code asks for: unreachable, division,
 *     conversion, tables, indirect calls, bulk instructions. All that came before is in memories,
 *     globals and tables, and nothing that came after. In an image of the default mode this holds
 *     as long as no access of the same call was out of bounds before: one whose value nothing needs
 *     may have been dropped or delayed, without a trap; accesses of calls that its host functions
 *     made count, too.
 *   false for loads and stores out of bounds and for stack exhaustion in such an image: nothing
 *     outside the memory was reached, but stores before may be missing or, more rarely, later ones
 *     be done.
 *   true for all traps in an image compiled with husk_compile_options.strict or at level 0.
 *   false for deadlines, interrupts and violations, unless the guest had not run yet.
 *
 * Exact or not, what the guest's own code would have done later is not done: locks stay locked, and
 * a C or Rust guest's stack pointer, a global, stays where the call had moved it, so that each such
 * call costs stack for good. After anything but HUSK_RETURNED, call husk_sandbox_restore() before
 * the next call; it costs about a microsecond.
 */
struct husk_outcome {
    size_t size;
    enum husk_outcome_kind kind;
    enum husk_trap trap;
    /* HUSK_DEADLINE: the limit that had passed, of this call, of one around it, or of one that its
     * host functions made */
    enum husk_limit_kind limit;
    int32_t exit_code;
    bool is_poisoned;
    /* memories, globals and tables hold all that came before the end, and nothing else: see
     * above */
    bool state_is_exact;
    uint8_t reserved[6]; /* 0 */
    /* What the call used: time on the clock, and CPU time of the calling thread (of all that ran
     * it, if it was pending). All that it did counts: the module's initialisation if it ran that,
     * host functions, nested calls. Each is given if the call had a limit of that kind, or
     * husk_limits.measure; else it is 0. */
    uint64_t wall_ns, cpu_ns;
    char message[256]; /* what happened, one line, NUL-terminated */
};
#define HUSK_OUTCOME_INIT HUSK_INIT_OF(husk_outcome)

struct husk_limits {
    size_t size;
    /* from the start of the call; 0: no limit. Granularity about 1 ms: never early */
    uint64_t wall_ns;
    /* CPU time of the calling thread during the call (of all that run it, if it is pending in
     * between); 0: no limit. Waiting uses none: so with cpu_ns and without wall_ns, what the guest
     * waits in WASI functions and for answers (HUSK_PENDING) may take ten times cpu_ns altogether,
     * but one second at least; then the call ends with HUSK_DEADLINE, too. wall_ns replaces that
     * rule; UINT64_MAX there allows to wait for ever. */
    uint64_t cpu_ns;
    /* The call ends with HUSK_INTERRUPTED once this is cancelled, and so do calls inside it. NULL:
     * no token. The library keeps a share of it until the call has ended, pending or not. */
    husk_cancel *cancel;
    /* Called when a limit passes while the call is pending, at most once for each HUSK_PENDING.
     * Then husk_call_resume() will end the call, whatever the answer. Runs on a thread of the
     * library that all deadlines of the engine wait for: note it (write to an eventfd), and call
     * nothing of this library. Not called any more once the call was resumed or abandoned. May be
     * NULL. */
    void (*passed)(void *user);
    void *passed_user;
    /* The outcome gives wall_ns and cpu_ns, limited or not. Costs two system calls, which read the
     * thread's CPU clock. */
    bool measure;
    uint8_t reserved[7];
};
#define HUSK_LIMITS_INIT HUSK_INIT_OF(husk_limits)

/* Run the module's deferred initialisation and start function, once. The first husk_call() does it
 * if nobody has. If it does not return, the instance is dead: later calls fail with
 * HUSK_E_STATE. */
HUSK_API int husk_sandbox_start(husk_sandbox *sandbox, const struct husk_limits *options,
                                struct husk_outcome *ret_outcome, struct husk_error *err);

/* A call: a function of the sandbox's module, with what, and within which limits. The library keeps
 * nothing of it. */
struct husk_call {
    size_t size;
    const char *name;  /* of an export; NULL: `func` is called */
    size_t name_bytes; /* 0: the name ends at its NUL */
    husk_func func;    /* faster than a name: husk_image_func() looks it up once */
    /* As many as the function has parameters, of their types. */
    const struct husk_value *args;
    size_t args_count;
    /* Room for as many as the function has results. Written only for HUSK_RETURNED, and not any
     * more once the call was HUSK_PENDING. */
    struct husk_value *results;
    size_t results_count;
    const struct husk_limits *limits; /* NULL: none */
};
#define HUSK_CALL_INIT HUSK_INIT_OF(husk_call)

/* Call an exported function. Returns 0 whenever the guest ran or was to run: ret_outcome->kind says
 * how that ended. HUSK_E_INVAL: neither a name nor a function is given, or both are, or the
 * function is of another module. HUSK_E_NOT_FOUND: there is no such export. HUSK_E_TYPE: the
 * arguments, or the number of results, do not fit. HUSK_E_STATE: nothing is loaded, or its
 * initialisation failed. HUSK_E_POISONED, HUSK_E_LIMIT (nested too deep), HUSK_E_SYS. */
HUSK_API int husk_call(husk_sandbox *sandbox, const struct husk_call *call,
                       struct husk_outcome *ret_outcome, struct husk_error *err);

/* What goes into a function from bytes to bytes, and what comes out. */
struct husk_bytes {
    size_t size;
    const void *input; /* NULL if there are none */
    size_t input_count;
    /* Set if the outcome is HUSK_RETURNED, else untouched: malloc()ed, with a NUL behind it that is
     * not counted; the caller frees it with free(). */
    void *output;
    size_t output_count;
    /* Nothing is freed in the guest, which saves entries into it: for who restores the sandbox
     * after the call anyway. The input's block stays for the next input that fits (not with
     * cabi_post_NAME, or malloc alone). A snapshot taken after such a call has that block, so
     * calls that are each restored to it enter the guest once; to its file, twice. */
    bool keeps;
    uint8_t reserved[7];
};
#define HUSK_BYTES_INIT HUSK_INIT_OF(husk_bytes)

/* Call a function from bytes to bytes: strings, messages, files. The library gets a block of memory
 * from the guest's own allocator, copies the input into it, calls, and copies the result out of the
 * guest. `call` says which function and within which limits, for all of this together; its args and
 * results must not be set.
 *
 * The function takes (address i32, length i32). It returns the result's place as an i64, address |
 * length << 32; or as two i32; or as the address, i32, of {address u32, length u32} in memory.
 *
 * The allocator is cabi_realloc (i32, i32, i32, i32) -> i32, or malloc (i32) -> i32. Who frees the
 * two blocks follows from what the module exports:
 *
 *     cabi_post_NAME, for the function NAME, of type (what NAME returns) -> (). This is the
 *         canonical ABI of the component model, as wit-bindgen makes it: NAME owns its input, and
 *         frees that; cabi_post_NAME takes the result back.
 *     free (i32) -> (): the library frees both. The result must be a block of the allocator's.
 *     cabi_realloc alone: the library keeps the input's block for the next call's input, so the
 *         module must not empty its heap in between. It shrinks the result's block by
 *         cabi_realloc(address, length, 1, 1), and asks for no byte of it then, which frees it if
 *         the module's cabi_realloc is made so. Few are: then the smallest block that the allocator
 *         has, some 16 bytes, stays of each result. Export free, too.
 *     malloc alone: nothing is freed until the sandbox is restored.
 *
 * A result that lies in the input is a part of that block. An empty result below address 16 is no
 * block.
 *
 * Returns 0 as husk_call() does; how any of the calls into the guest ended is the outcome. Errors
 * are those of husk_call(), and HUSK_E_GUEST: an address or a length is outside of the guest's
 * memory, or its allocator has nothing left; HUSK_E_TYPE: a function of another type;
 * HUSK_E_NOT_FOUND: no allocator; HUSK_E_LIMIT: 4 GiB of input or more; HUSK_E_NOMEM. */
HUSK_API int husk_call_bytes(husk_sandbox *sandbox, const struct husk_call *call,
                             struct husk_bytes *bytes, struct husk_outcome *ret_outcome,
                             struct husk_error *err);

/* ---- Backtraces ---- */

/* One frame, innermost first. Strings live as long as the image. */
struct husk_frame {
    uint32_t func_idx;
    /* "" if the module does not name it; husk_name_escape() makes it printable */
    const char *func_name;
    size_t func_name_bytes; /* without the NUL behind it; the name may hold more NULs */
    uint64_t wasm_offset;   /* byte offset in the module, or HUSK_NO_OFFSET */
    const char *file;       /* NULL if not known */
    uint32_t line, column;  /* 0 if not known */
    /* so many frames behind this one are the same function at the same place, and not listed */
    uint32_t repeats;
};

#define HUSK_FRAMES_MAX 32

/* Caller-owned; needs no cleanup. */
struct husk_backtrace {
    size_t size;
    uint32_t frames_count; /* in frames; never more than `size` has room for */
    /* Counted on the guest's stack, repeats included; there may be more */
    uint32_t frames_total;
    struct husk_frame frames[HUSK_FRAMES_MAX];
};
#define HUSK_BACKTRACE_INIT HUSK_INIT_OF(husk_backtrace)

/* Where the last call that ran was, if it did not return; of a pending one, where it waits. No
 * frames, which is no error, if it returned or never ran guest code, if it failed with a status
 * (HUSK_E_SYS), or if the sandbox was restored or loaded since. Ask as often as you like, until the
 * next call, also of a poisoned sandbox; a call that is refused (HUSK_E_TYPE, …) does not count. In
 * a host function, the last call is the nested one that it made before; the call around it then
 * ends at that function.
 *
 * The stack is walked now, which takes about a millisecond at most, whatever the guest left there:
 * the walk ends at 100,000 frames of one place, at 12,500 that change places, or at the 129th
 * place. The guest's own doing is all that a backtrace tells: never trust it.
 *
 * HUSK_E_INVAL, HUSK_E_STATE (nothing is loaded; a forked child). Threads: as all of a sandbox. */
HUSK_API int husk_sandbox_backtrace(husk_sandbox *sandbox, struct husk_backtrace *ret_backtrace,
                                    struct husk_error *err);

/* ---- Calls that wait ---- */

/*
 * A host function that has no answer yet returns husk_caller_pending(caller). Then husk_call() (or
 * husk_sandbox_start(), husk_call_bytes()) returns 0 with the outcome HUSK_PENDING: the guest
 * stands still, and no thread waits. When the answer is there, husk_call_resume() goes on with the
 * call:
 *
 *     husk_call() ──► HUSK_PENDING ──► husk_call_resume() ──► HUSK_RETURNED, HUSK_TRAPPED, …
 *                          ▲                    │
 *                          └────────────────────┘ another host function was pending
 *
 * While a call is pending,
 *
 *   memories, globals and tables are there as in the host function, and a husk_call() on the
 *     sandbox is a call inside the pending one (to the guest's allocator, say). If that is cut off
 *     in mid-call, the sandbox is poisoned, and the pending call ends in the same way when it is
 *     resumed;
 *   husk_sandbox_restore(), _load(), _unload() and _free() abandon the call: the sandbox is what
 *     they say, and the call never ends. One that fails and leaves the sandbox as it was leaves the
 *     call pending. husk_sandbox_snapshot() and _clone() fail with HUSK_E_STATE;
 *   its wall time goes on; its CPU time stands still, whichever thread resumes it. Where a CPU
 *     limit alone bounds waiting, this is waiting. If a limit passes, husk_limits.passed tells, and
 *     the call ends with HUSK_DEADLINE when it is resumed, as if the guest had run until then. So
 *     it is with HUSK_INTERRUPTED for husk_interrupt() and husk_cancel_now(): they tell nobody.
 *
 * Only the outermost call can be pending. A host function that serves a call inside another one (of
 * a host function, or inside a pending call) must have its answer; else the guest's call ends with
 * HUSK_TRAP_HOST_FUNCTION. husk_call_bytes() can be pending in each of its calls: what it needs of
 * its input is copied then.
 */

/* What a pending host function answers. */
struct husk_answer {
    size_t size;
    /* its results, of the declared types */
    const struct husk_value *values;
    size_t values_count;
    /* With a status: what the trap says, one line; NULL: a text of the library's. Copied. */
    const char *message;
    /* Where the call's results go if it returns now, as many as the export has (0 for
     * husk_sandbox_start()). Those that were given to husk_call() are not written any more. */
    struct husk_value *results;
    size_t results_count;
    /* For a pending husk_call_bytes(), instead of results: its output is set if the call returns.
     * Else NULL. */
    struct husk_bytes *bytes;
    /* 0, or a negative HUSK_E_…: the function failed (HUSK_TRAP_HOST_FUNCTION), and only `message`
     * counts */
    int status;
    uint8_t reserved[4];
};
#define HUSK_ANSWER_INIT HUSK_INIT_OF(husk_answer)

/* Go on with the pending call; ret_outcome is as of husk_call(). Any thread, one at a time, after
 * the call returned HUSK_PENDING. It should be the one that ran the sandbox before: some kernels
 * take milliseconds to move a VM to another thread.
 * HUSK_E_TYPE (an answer of other types; room for other results), HUSK_E_INVAL, HUSK_E_STATE
 * (nothing is pending, or a call inside the pending one runs): nothing has changed, the call is
 * still pending. HUSK_E_SYS (the VM failed), and HUSK_E_GUEST and HUSK_E_NOMEM of
 * husk_call_bytes(): the call has ended. */
HUSK_API int husk_call_resume(husk_sandbox *sandbox, const struct husk_answer *answer,
                              struct husk_outcome *ret_outcome, struct husk_error *err);

/* ---- Ending calls ---- */

/* A token that ends the calls which carry it (husk_limits.cancel), and no others: whoever cancels a
 * request need not know whether it has begun, runs or has ended, nor whether its sandbox serves
 * another one by now. A token may serve any number of calls, one after the other, inside each other
 * and in several sandboxes at once. Once cancelled it stays so. It belongs to the process that made
 * it: in a forked child it is of no use (HUSK_E_STATE). HUSK_E_NOMEM. */
HUSK_API int husk_cancel_new(husk_cancel **ret_cancel, struct husk_error *err);
/* One more share of it, and one less. NULL is fine. Any thread. */
HUSK_API husk_cancel *husk_cancel_ref(husk_cancel *cancel);
HUSK_API void husk_cancel_unref(husk_cancel *cancel);
/* End all calls that carry the token, and those that will: these end at once, and their guest does
 * not run. Any thread, at any time, also when the sandboxes are gone. Takes a lock for a moment, so
 * it is not for signal handlers. NULL is fine. */
HUSK_API void husk_cancel_now(husk_cancel *cancel);

/* End the call that runs or is pending in this sandbox, or, if there is none, the next one: sticky
 * until a call consumes it, or a restore, load or unload takes it back. So it may hit another call
 * than was meant; husk_cancel_now() does not. Any thread, also in a signal handler; never blocks.
 * The sandbox must not be freed at the same time. */
HUSK_API void husk_interrupt(husk_sandbox *sandbox);

#ifdef __cplusplus
}
#endif
#endif
