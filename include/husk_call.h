/*
 * husk_call.h: calls, how they end, and how they are ended. Part of husk.h.
 */
#ifndef HUSK_CALL_H
#define HUSK_CALL_H

#include "husk_imports.h"

#ifdef __cplusplus
extern "C" {
#endif

enum husk_outcome_kind {
    HUSK_RETURNED, /* results are set */
    /* trap and message are set; the instance stays usable (core spec 4.4), but see
     * state_is_exact */
    HUSK_TRAPPED,
    HUSK_EXITED, /* proc_exit: exit_code; the instance stays usable, but nothing was unwound */
    /* a time limit passed; poisoned, unless it passed before the guest ran */
    HUSK_DEADLINE,
    /* husk_interrupt() or husk_cancel_now(); poisoned, unless it came before the guest ran
     * (is_poisoned false) */
    HUSK_INTERRUPTED,
    HUSK_GUEST_VIOLATION, /* the guest's code did what no compiled module does; poisoned */
    /* the call has not ended: a host function has no answer yet; see husk_call_resume() */
    HUSK_PENDING,
    /* An exception that nobody caught: husk_sandbox_exception() has its tag and values. The
     * instance stays usable, but nothing was unwound. */
    HUSK_THREW
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
    HUSK_TRAP_HOST_FUNCTION = 11,
    HUSK_TRAP_NULL_FUNCTION_REFERENCE = 12,
    HUSK_TRAP_NULL_REFERENCE = 13,
    /* linked modules (husk_compile_linked()): a memory or table had not grown to the size that the
     * next instance needs */
    HUSK_TRAP_LINK = 14,
    HUSK_TRAP_NULL_EXCEPTION_REFERENCE = 15,
    /* more exceptions are referred to at once than an instance has room for (abi/exception.h) */
    HUSK_TRAP_EXCEPTION_REFERENCES = 16,
    HUSK_TRAP_UNALIGNED_ATOMIC = 17,
    HUSK_TRAP_EXPECTED_SHARED_MEMORY = 18 /* memory.atomic.wait on a memory that is not shared */
};

/* The limit that ended a call. */
enum husk_limit_kind {
    HUSK_LIMIT_NONE = 0,
    HUSK_LIMIT_WALL = 1,
    HUSK_LIMIT_CPU = 2,
    HUSK_LIMIT_WAIT = 3 /* the call waited longer than a CPU limit alone allows */
};

/*
 * How a call ended. Caller-owned; needs no cleanup.
 *
 * state_is_exact says whether the guest's state is as the standard has it (core spec 4.4) when the
 * call did not return. It is
 *
 *   true for exits, uncaught exceptions, failed host functions, and traps that code asks for:
 *     unreachable, division, conversion, tables, indirect calls, bulk instructions. Memories,
 *     globals and tables hold all changes from before the end, and none from after it. In an image
 *     of the default mode, this needs one condition: no earlier access of the same call was out of
 *     bounds. If nothing needs the value of such an access, the compiler may have dropped or
 *     delayed it, without a trap. Accesses of calls that its host functions made count, too.
 *   false for loads and stores out of bounds and for stack exhaustion in such an image. Nothing
 *     outside the memory was reached, but earlier stores may be missing. More rarely, later stores
 *     may be done.
 *   true for all traps in an image compiled with husk_compile_options.strict or at level 0.
 *   false for deadlines, interrupts and violations, unless the guest had not run yet.
 *
 * Exact or not, the guest's own code did not do what it would have done later. Locks stay locked.
 * The stack pointer of a C or Rust guest, a global, stays where the call moved it, so each such
 * call costs stack for good. If a call ends with any outcome except HUSK_RETURNED, call
 * husk_sandbox_restore() before the next call. It costs about a microsecond.
 */
struct husk_outcome {
    size_t size;
    enum husk_outcome_kind kind;
    enum husk_trap trap;
    /* HUSK_DEADLINE: the limit that passed. It is a limit of this call, of a call around it, or of
     * a call that its host functions made. */
    enum husk_limit_kind limit;
    int32_t exit_code;
    bool is_poisoned;
    /* memories, globals and tables hold all changes from before the end, and no others: see
     * above */
    bool state_is_exact;
    uint8_t reserved[6]; /* 0 */
    /* Time that the call used: wall time, and CPU time of the calling thread (if the call was
     * pending: of all threads that ran it). Everything in the call counts: the module's
     * initialisation if this call ran it, host functions, nested calls. Each time is given if the
     * call had a limit of that kind, or husk_limits.measure; else it is 0. */
    uint64_t wall_ns, cpu_ns;
    char message[256]; /* what happened, one line, NUL-terminated */
};
#define HUSK_OUTCOME_INIT HUSK_INIT_OF(husk_outcome)

struct husk_limits {
    size_t size;
    /* from the start of the call; 0: no limit. Granularity about 1 ms; never early */
    uint64_t wall_ns;
    /* CPU time of the calling thread during the call (if the call is pending in between: of all
     * threads that run it); 0: no limit. Waiting uses no CPU time. So cpu_ns without wall_ns limits
     * waiting, too: to ten times cpu_ns, or to one second if that is more. All waits of the guest
     * in WASI functions, by memory.atomic.wait and for answers (HUSK_PENDING) count together. A
     * call that waits longer ends with HUSK_DEADLINE, too. wall_ns replaces that rule; UINT64_MAX
     * there allows the guest to wait for ever. */
    uint64_t cpu_ns;
    /* The call ends with HUSK_INTERRUPTED once this token is cancelled, and so do calls inside it.
     * NULL: no token. The library keeps a share of the token until the call has ended, pending or
     * not. */
    husk_cancel *cancel;
    /* Called when a limit passes while the call is pending, at most once for each HUSK_PENDING.
     * Then husk_call_resume() will end the call, whatever the answer. This function runs on a
     * thread of the library, and all deadlines of the engine wait for that thread. So only leave a
     * note (write to an eventfd), and call nothing of this library. It is not called after the call
     * was resumed or abandoned. May be NULL. */
    void (*passed)(void *user);
    void *passed_user;
    /* The outcome gives wall_ns and cpu_ns, also without limits. This costs two system calls, which
     * read the thread's CPU clock. */
    bool measure;
    uint8_t reserved[7]; /* 0 */
    /* Called when the run was interrupted; decides whether the call goes on. 0: it does. Any other
     * value: the call ends with HUSK_INTERRUPTED, as if its token was cancelled. NULL: interrupted
     * runs go on.
     *
     * The library calls it on the thread that runs the call, while no guest code runs: soon after a
     * signal of the embedder's interrupted the guest, or its wait in a WASI function or in
     * memory.atomic.wait, and at least once each interrupted_ns. That period is for signals that
     * another thread got, or that came in the moment before the guest ran. The function may also be
     * called for no reason. It runs as part of the call, so limits go on.
     *
     * It is not called while a host function of the embedder's runs, nor while the call is pending.
     * During a call inside this one, it is called, too: first the inner call's function, then those
     * of the calls around it, until one ends its call.
     *
     * It must return (no longjmp(), no C++ exception). It may read the sandbox's memory, use
     * husk_interrupt() and husk_cancel_now(), and use other sandboxes. A call in this sandbox fails
     * with HUSK_E_STATE; change nothing of this sandbox by other functions. */
    int (*interrupted)(void *user);
    void *interrupted_user; /* valid until the call has ended, pending or not */
    /* 0: only after signals. Granularity about 1 ms. A period interrupts the guest, and costs some
     * microseconds each time. Embedder's host functions are not interrupted; at worst a system call
     * at their start is (EINTR, if the kernel cannot restart it). */
    uint64_t interrupted_ns;
};
#define HUSK_LIMITS_INIT HUSK_INIT_OF(husk_limits)

/* Run the module's deferred initialisation and start function, once. If nobody calls this function,
 * the first husk_call() does the same. If the initialisation does not return, the instance is dead:
 * later calls fail with HUSK_E_STATE. */
HUSK_API int husk_sandbox_start(husk_sandbox *sandbox, const struct husk_limits *options,
                                struct husk_outcome *ret_outcome, struct husk_error *err);

/* A call: a function of the sandbox's module, its arguments, room for its results, and limits. The
 * library keeps nothing of it. */
struct husk_call {
    size_t size;
    const char *name;  /* of an export; NULL: `func` is called */
    size_t name_bytes; /* 0: the name ends at its NUL */
    husk_func func;    /* faster than a name: husk_image_func() looks it up once */
    /* One for each parameter of the function, of its type. */
    const struct husk_value *args;
    size_t args_count;
    /* Room for one value for each result of the function. Written only for HUSK_RETURNED, and never
     * after the call was HUSK_PENDING. */
    struct husk_value *results;
    size_t results_count;
    const struct husk_limits *limits; /* NULL: none */
};
#define HUSK_CALL_INIT HUSK_INIT_OF(husk_call)

/* Call an exported function. Returns 0 if the guest ran or was to run; ret_outcome->kind says how
 * the call ended. HUSK_E_INVAL: neither a name nor a function is given, or both are, or the
 * function is of another module. HUSK_E_NOT_FOUND: there is no such export. HUSK_E_TYPE: the
 * arguments, or the number of results, do not fit. HUSK_E_STATE: nothing is loaded, or its
 * initialisation failed. HUSK_E_POISONED, HUSK_E_LIMIT (nested too deep), HUSK_E_SYS. */
HUSK_API int husk_call(husk_sandbox *sandbox, const struct husk_call *call,
                       struct husk_outcome *ret_outcome, struct husk_error *err);

/* Many calls of one function. */
struct husk_many {
    size_t size;
    size_t count; /* of calls; 0: nothing is called */
    /* Set: calls that returned. The function's results are those of so many calls */
    size_t returned;
};
#define HUSK_MANY_INIT HUSK_INIT_OF(husk_many)

/* Make many calls of one function, in few entries of the guest: one entry for as many calls as have
 * room for their values in 65,280 bytes. Each call needs 16 bytes for each argument, or for each
 * result if there are more of those. So a thousand calls of a function with at most four of each
 * enter the guest once. To a call, that adds some 20 to 60 ns to the time of the function.
 *
 * `call` is as for husk_call(), but `args` has the arguments of all calls, call by call. args_count
 * is their number: many->count times the function's parameters. The same holds for results and
 * results_count. `results` may also be NULL, with results_count 0: then nobody gets the results.
 * Arguments and results must not overlap. The limits are for all calls together.
 *
 * The calls are made in order, up to the first that does not return. ret_outcome says how that one
 * ended, as of husk_call(), and many->returned is its index. The calls before it have had all their
 * effects, and gave their results; those after it were not made. HUSK_RETURNED: all have returned.
 * Each call counts as one in all other respects: an exnref that a call returned holds until the
 * next call, and husk_sandbox_backtrace() tells of the call that did not return.
 *
 * If a host function is pending (HUSK_PENDING), only that call goes on: husk_call_resume() gives
 * its results, as of a husk_call(). The calls after it were not made.
 *
 * A host function may use husk_call_many(), too. Inside another husk_call_many() or
 * husk_call_bytes() each of its calls enters the guest on its own, and so do all calls in an image
 * of an older husk.
 *
 * Errors are those of husk_call(), before the first call. HUSK_E_TYPE: an argument of any call, or
 * the number of values, does not fit. HUSK_E_GUEST: the guest's code made another number of calls
 * than it was told, which no compiled module does. After HUSK_E_SYS, HUSK_E_NOMEM and HUSK_E_GUEST,
 * many->returned tells how many calls are known to have returned. */
HUSK_API int husk_call_many(husk_sandbox *sandbox, const struct husk_call *call,
                            struct husk_many *many, struct husk_outcome *ret_outcome,
                            struct husk_error *err);

/* Input and output of a function from bytes to bytes. */
struct husk_bytes {
    size_t size;
    const void *input; /* may be NULL if there are no bytes */
    size_t input_count;
    /* Set if the outcome is HUSK_RETURNED, else untouched. The library allocates it with malloc(),
     * and the caller frees it with free(). A NUL follows the bytes, and is not counted. */
    void *output;
    size_t output_count;
    /* True: the library frees nothing in the guest, which saves entries into it. Set it if you
     * restore the sandbox after the call anyway. The input's block stays for the next input that
     * fits (not with cabi_post_NAME, or malloc alone). A snapshot taken after such a call has that
     * block, so calls after a restore to it do not need the allocator. A snapshot that was saved to
     * a file and opened does not know the block any more. */
    bool keeps;
    uint8_t reserved[7];
};
#define HUSK_BYTES_INIT HUSK_INIT_OF(husk_bytes)

/* Call a function from bytes to bytes: strings, messages, files. The library gets a block of memory
 * from the guest's own allocator, copies the input into it, calls the function, and copies the
 * result out of the guest. `call` has the function, and the limits for all of this together; its
 * args and results must not be set.
 *
 * The function takes (address i32, length i32). It returns the result's place in one of three
 * forms: an i64, address | length << 32; two i32, address and length; or an i32, the address of
 * {address u32, length u32} in memory. If the main instance's memory has 64-bit addresses, all of
 * these are i64 and u64 instead of i32 and u32, also below, and there is no form of one packed i64.
 *
 * The allocator is cabi_realloc (i32, i32, i32, i32) -> i32, or malloc (i32) -> i32. The module's
 * exports decide who frees the two blocks:
 *
 *     cabi_post_NAME, for the function NAME, of type (results of NAME) -> (). This is the canonical
 *         ABI of the component model, as wit-bindgen makes it. NAME owns its input, and frees it.
 *         cabi_post_NAME takes the result back.
 *     free (i32) -> (): the library frees both. The result must be a block of the allocator.
 *     cabi_realloc alone: the library keeps the input's block for the next call's input. So the
 *         module must not empty its heap between the calls. The library shrinks the result's block
 *         with cabi_realloc(address, length, 1, 1), and then asks for no byte. The second call
 *         frees the block if the module's cabi_realloc is made so. Few are. With the others, the
 *         allocator's smallest block, some 16 bytes, stays of each result. Export free, too.
 *     malloc alone: nothing is freed until the sandbox is restored.
 *
 * A result that lies in the input is a part of that block. An empty result below address 16 is no
 * block.
 *
 * All of this is one entry of the guest, and one call in counters, if input and output have no more
 * than 65,280 bytes each. Otherwise the library copies the longer one itself, between two entries;
 * if both are longer, there are three, or two if nothing is freed. A husk_call_bytes() inside
 * another one, or inside a husk_call_many(), has an entry for each call of a function, and so has
 * each one in an image of an older husk. The outcome does not depend on that.
 *
 * Returns 0 as husk_call() does; the outcome is that of the last call into the guest. Errors are
 * those of husk_call(), and these. HUSK_E_GUEST: an address or a length is outside of the guest's
 * memory, or its allocator has nothing left. HUSK_E_TYPE: a function of another type.
 * HUSK_E_NOT_FOUND: no allocator. HUSK_E_LIMIT: 4 GiB of input or more, for a memory with 32-bit
 * addresses. HUSK_E_NOMEM. */
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
    /* number of further frames at the same place of the same function, which are not listed */
    uint32_t repeats;
};

#define HUSK_FRAMES_MAX 32

/* Caller-owned; needs no cleanup. */
struct husk_backtrace {
    size_t size;
    uint32_t frames_count; /* entries of `frames`; never more than `size` has room for */
    /* Frames counted on the guest's stack, repeats included; there may be more */
    uint32_t frames_total;
    struct husk_frame frames[HUSK_FRAMES_MAX];
};
#define HUSK_BACKTRACE_INIT HUSK_INIT_OF(husk_backtrace)

/* Get the place where the last call ended, if it did not return, or where a pending call waits. The
 * backtrace has no frames, which is no error, if the call returned, never ran guest code, or failed
 * with a status (HUSK_E_SYS), or if the sandbox was restored or loaded since. You may ask any
 * number of times until the next call, also of a poisoned sandbox. A refused call (HUSK_E_TYPE, …)
 * does not count. In a host function, the last call is the nested call that it made before. If the
 * call around it then ends without returning, the place is that host function.
 *
 * The stack is walked now. This takes about a millisecond at most, whatever the guest left there:
 * the walk ends at 100,000 frames of one place, at 12,500 that change places, or at the 129th
 * place. A backtrace shows only what the guest left on its stack: never trust it.
 *
 * HUSK_E_BAD_IMAGE: a row or name of the image that the walk needed is impossible
 * (husk_image_check()). HUSK_E_NOMEM.
 * HUSK_E_INVAL, HUSK_E_STATE (nothing is loaded; a forked child). Threads: one at a time, as for
 * all functions of a sandbox. */
HUSK_API int husk_sandbox_backtrace(husk_sandbox *sandbox, struct husk_backtrace *ret_backtrace,
                                    struct husk_error *err);

/* The same of the call that stands in a snapshot (husk_image_standing()). Without one there are no
 * frames. No engine is needed. HUSK_E_INVAL. Threads: any. */
HUSK_API int husk_image_backtrace(const husk_image *image, struct husk_backtrace *ret_backtrace,
                                  struct husk_error *err);

/* ---- Exceptions ---- */

/* An exception that ended a call. The library fills it. Strings and types live as long as the
 * image. */
struct husk_exception_info {
    size_t size;
    husk_tag tag; /* for husk_caller_throw() */
    /* The tag's export; if there is none, its import, with `module`; if there is none either, the
     * name is empty. A NUL follows each name, and names may contain more NULs. */
    const char *module; /* NULL: `name` is that of an export */
    size_t module_bytes;
    const char *name;
    size_t name_bytes;
    uint32_t tag_idx;          /* in the image */
    uint32_t reserved;         /* 0 */
    struct husk_functype type; /* `params` are the types of the values */
    /* Valid until the next call in this sandbox, a restore, a load or an unload. */
    const struct husk_value *values;
    size_t values_count;
};
#define HUSK_EXCEPTION_INFO_INIT HUSK_INIT_OF(husk_exception_info)

/* Get the exception that ended the last call (HUSK_THREW). You may ask any number of times until
 * the next call, as for husk_sandbox_backtrace(), which then has the place of the throw. A host
 * function so learns what a call that it made threw. It may go on, which catches the exception, or
 * throw it again (husk_caller_throw()). The guest chose the values: check them.
 *
 * HUSK_E_NOT_FOUND: the last call did not end so, or the sandbox was restored or loaded since.
 * HUSK_E_INVAL, HUSK_E_STATE (nothing is loaded; a forked child). Threads: one at a time, as for
 * all functions of a sandbox. */
HUSK_API int husk_sandbox_exception(husk_sandbox *sandbox, struct husk_exception_info *ret_info,
                                    struct husk_error *err);

/* ---- Calls that wait ---- */

/*
 * A host function that has no answer yet returns husk_caller_pending(caller). Then husk_call() (or
 * husk_sandbox_start(), husk_call_many(), husk_call_bytes()) returns 0 with the outcome
 * HUSK_PENDING. The guest stands still, and no thread waits. When the answer is there,
 * husk_call_resume() goes on with the call:
 *
 *     husk_call() ──► HUSK_PENDING ──► husk_call_resume() ──► HUSK_RETURNED, HUSK_TRAPPED, …
 *                          ▲                    │
 *                          └────────────────────┘ another host function was pending
 *
 * While a call is pending,
 *
 *   memories, globals and tables are there as in the host function. A husk_call() on the sandbox is
 *     a call inside the pending one (to the guest's allocator, say). If such a call is cut off in
 *     mid-call, the sandbox is poisoned, and the pending call ends in the same way when it is
 *     resumed;
 *   husk_sandbox_restore(), _load(), _unload() and _free() abandon the call: they do what they
 *     always do, and the call never ends. If one fails and leaves the sandbox as it was, the call
 *     stays pending;
 *   husk_sandbox_snapshot() and _clone() have the call, too, if it is one of husk_call(). Whatever
 *     sandbox gets that state has the call as a pending one. There husk_call_resume() goes on with
 *     an answer, or calls the host function again (husk_answer.is_again);
 *   its wall time goes on; its CPU time stands still, whichever thread resumes it. If a CPU limit
 *     alone bounds waiting, the pending time counts as waiting. If a limit passes,
 *     husk_limits.passed is called. The call then ends with HUSK_DEADLINE when it is resumed, as if
 *     the guest had run until then. In the same way, husk_interrupt() and husk_cancel_now() end it
 *     with HUSK_INTERRUPTED when it is resumed; they do not call husk_limits.passed.
 *
 * Only the outermost call can be pending. A host function may serve a call inside another one (made
 * by a host function, or inside a pending call). It must have its answer at once; else the guest's
 * call ends with HUSK_TRAP_HOST_FUNCTION. husk_call_bytes() can be pending in each of its calls;
 * the library then copies the part of its input that it still needs. husk_call_many() ends at the
 * call that is pending, which goes on alone.
 *
 * A call that a snapshot brought (husk_sandbox_snapshot()) is pending in every sandbox that gets
 * the snapshot, with these differences. It has no limits until it is resumed, and then those of
 * husk_answer.limits. husk_sandbox_set_wasi() may give it other streams before that. If the module
 * exports husk_restored(), that function is called first, inside the pending call, also by a
 * husk_call(). If it does not return, husk_call_resume() gives its outcome, and the call stands as
 * before; if it is cut off, the call ends with it.
 */

/* The answer of a pending host function. */
struct husk_answer {
    size_t size;
    /* the function's results, of the declared types */
    const struct husk_value *values;
    size_t values_count;
    /* With a status: the text of the trap, one line; NULL: a text of the library. Copied. */
    const char *message;
    /* Room for the call's results if it returns now, as many as the export has (0 for
     * husk_sandbox_start()). The results given to husk_call() are not written any more. */
    struct husk_value *results;
    size_t results_count;
    /* For a pending husk_call_bytes(), in place of results: its output is set if the call returns.
     * Else NULL. */
    struct husk_bytes *bytes;
    /* 0, or a negative HUSK_E_…: the function failed (HUSK_TRAP_HOST_FUNCTION), and only `message`
     * is used */
    int status;
    /* In place of an answer: the host function is called again, with the arguments as it got them.
     * It has done nothing yet in these surroundings, or knows what it has done. */
    bool is_again;
    uint8_t reserved[3];
    /* In place of values: the function throws this exception. NULL: it does not. */
    const struct husk_throw *exception;
    /* New limits, which begin now. NULL: a call that a snapshot brought has none; others keep
     * theirs. With new limits, those of before end, also if they have passed, and the times of the
     * outcome count from now on. */
    const struct husk_limits *limits;
};
#define HUSK_ANSWER_INIT HUSK_INIT_OF(husk_answer)

/* Go on with the pending call; ret_outcome is as for husk_call(). Any thread, one at a time, after
 * the call returned HUSK_PENDING. Prefer the thread that ran the sandbox before: some kernels take
 * milliseconds to move a VM to another thread.
 * HUSK_E_TYPE (an answer or an exception of other types; room for other results), HUSK_E_INVAL,
 * HUSK_E_UNSUPPORTED (as of husk_caller_throw()), HUSK_E_STATE (nothing is pending, or a call
 * inside the pending one runs): nothing has changed, and the call is still pending; so it is after
 * HUSK_E_SYS if this thread has no CPU clock. If new limits cannot begin (HUSK_E_SYS), it is
 * pending, too, without limits. HUSK_E_SYS (the VM failed), and HUSK_E_GUEST and
 * HUSK_E_NOMEM of husk_call_bytes(): the call has ended. */
HUSK_API int husk_call_resume(husk_sandbox *sandbox, const struct husk_answer *answer,
                              struct husk_outcome *ret_outcome, struct husk_error *err);

/* ---- Ending calls ---- */

/* A token ends the calls that carry it (husk_limits.cancel), and no others. Whoever cancels a
 * request need not know whether it has begun, runs or has ended, or whether its sandbox serves
 * another request by now. A token may serve any number of calls: one after another, inside each
 * other, and in several sandboxes at once. A cancelled token stays cancelled. A token belongs to
 * the process that made it: a forked child cannot use it (HUSK_E_STATE). HUSK_E_NOMEM. */
HUSK_API int husk_cancel_new(husk_cancel **ret_cancel, struct husk_error *err);
/* Add a share of the token, and drop one. NULL is fine. Any thread. */
HUSK_API husk_cancel *husk_cancel_ref(husk_cancel *cancel);
HUSK_API void husk_cancel_unref(husk_cancel *cancel);
/* End all calls that carry the token, now and later: a later call ends at once, and its guest does
 * not run. Any thread, at any time, also when the sandboxes are gone. This function takes a lock
 * for a moment, so it is not for signal handlers. NULL is fine. */
HUSK_API void husk_cancel_now(husk_cancel *cancel);

/* End the call that runs or is pending in this sandbox. If there is none, the next call ends: the
 * interrupt stays until a call consumes it, or a restore, load or unload removes it. So it may hit
 * another call than was meant; husk_cancel_now() does not. Any thread, also in a signal handler;
 * never blocks. The sandbox must not be freed at the same time. */
HUSK_API void husk_interrupt(husk_sandbox *sandbox);

#ifdef __cplusplus
}
#endif
#endif
