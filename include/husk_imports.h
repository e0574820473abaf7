/*
 * husk_imports.h: what the host gives a module: functions, globals, memories, tables, WASI. Part of
 * husk.h.
 */
#ifndef HUSK_IMPORTS_H
#define HUSK_IMPORTS_H

#include "husk_image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a host function gets to reach the calling guest; valid during that call only. */
typedef struct husk_caller husk_caller;

/* A host function. args: params_count values of the declared types. results: results_count
 * values, preset to zero of the declared types. Return 0, or a negative HUSK_E_… (or
 * husk_caller_fail()) to end the guest's call with trap HUSK_TRAP_HOST_FUNCTION; nothing is
 * poisoned, and nothing unwound: what the guest's functions held of their own stack is not given
 * back (see struct husk_outcome; a restore does it). Runs on the thread that made the call. It
 * may call back into the guest (husk_call on husk_caller_sandbox()), up to the limit on depth;
 * or have another thread do so, if it waits for that. */
typedef int (*husk_host_fn)(husk_caller *caller, void *user, const struct husk_value *args,
                            struct husk_value *results);

HUSK_API int husk_imports_new(husk_engine *engine, husk_imports **ret_imports,
                              struct husk_error *err);
HUSK_API void husk_imports_free(husk_imports *imports);

/* A host function that modules may import. An array element: its layout is final. */
struct husk_host_func {
    const char *module;
    size_t module_bytes; /* 0: the name ends at its NUL */
    const char *name;
    size_t name_bytes; /* 0: the name ends at its NUL */
    const struct husk_functype *type;
    husk_host_fn fn;
    void *user;                    /* for fn */
    void (*user_free)(void *user); /* or NULL */
};

/* Define a table of functions: all of them or, on failure, none. A later definition of the same
 * name replaces the earlier. Names and types are copied. user_free is called with `user` once no
 * set and no sandbox refers to the function any more; not on failure. HUSK_E_INVAL, HUSK_E_NOMEM,
 * HUSK_E_LIMIT. */
HUSK_API int husk_imports_funcs(husk_imports *imports, const struct husk_host_func *rows,
                                size_t count, struct husk_error *err);
/* Define a memory, a table or a global, of item->module and item->name, kind and type; `idx` counts
 * for nothing. Every sandbox gets its own. What husk_image_import() gave can be passed on.
 * initial: of a global; NULL otherwise. HUSK_E_INVAL, HUSK_E_NOMEM, HUSK_E_LIMIT. */
HUSK_API int husk_imports_define(husk_imports *imports, const struct husk_extern *item,
                                 const struct husk_value *initial, struct husk_error *err);

/* What becomes of imports that the set does not define when a sandbox is made or loaded. REFUSED,
 * the default: HUSK_E_LINK. TRAP: a function of the type that the module declares takes its place,
 * which ends the guest's call with HUSK_TRAP_HOST_FUNCTION and a message that names the import; a
 * module that never calls it runs. Unknown globals, memories and tables stay refused, because every
 * value that could be made up for them would let the module compute something else. So do imports
 * that the set defines with another type. */
enum husk_unknown { HUSK_UNKNOWN_REFUSED, HUSK_UNKNOWN_TRAP };
HUSK_API int husk_imports_unknown(husk_imports *imports, enum husk_unknown unknown,
                                  struct husk_error *err);

/* Would this import of a module be linked? For modules that are not compiled yet, with
 * husk_wasm_interface() of husk_compile.h. `imports` may be NULL. HUSK_E_LINK: it is missing or of
 * another type; the message says which. HUSK_E_INVAL: `item` is NULL, has no size or is no
 * import. */
HUSK_API int husk_imports_match(const husk_imports *imports, const struct husk_extern *item,
                                struct husk_error *err);

HUSK_API husk_sandbox *husk_caller_sandbox(husk_caller *caller);
/* The guest's memory, checked and without a copy, for the duration of the host function: NULL if
 * any byte of the range is out of bounds. On the thread that made the guest's call. Unlike
 * husk_memory_span() it makes no restore slower. */
HUSK_API void *husk_caller_span(husk_caller *caller, const struct husk_range *range);
/* Fail with a message of your own; returns the status to return. */
HUSK_API int husk_caller_fail(husk_caller *caller, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* End the guest program with an exit code (outcome HUSK_EXITED); returns the status to return. */
HUSK_API int husk_caller_exit(husk_caller *caller, int32_t exit_code);

/* ---- WASI ---- */

/*
 * WASI preview 1 (wasi_snapshot_preview1 and, for old toolchains, wasi_unstable): arguments,
 * environment, clocks, random numbers and three streams. Nothing can be opened.
 *
 * Rights. A stream that is given no right is closed to the guest: that is the default, so an
 * all-zero struct gives nothing. A program wants HUSK_WASI_READ on standard input, and
 * HUSK_WASI_WRITE on standard output and standard error; then it can also wait for them. Whatever
 * is behind a descriptor looks like a pipe to the guest, unless it is a terminal or a socket, even
 * if it is a file. No right reaches further than the descriptor's open mode.
 *
 * Waiting. A read, write, poll or sleep ends at the call's deadline or at husk_interrupt(),
 * whatever is behind the descriptor, blocking or not, shared with other sandboxes or processes or
 * not. The flags of the descriptors stay as they are. The one exception: the kernel lets nobody out
 * of a few waits (of a file system over a network that does not answer, of a disk); docs/trust.md
 * says which.
 */
enum husk_wasi_rights {
    HUSK_WASI_READ = 1,
    HUSK_WASI_WRITE = 2,
    /* With one of those, of a file: seek, read or write at a position, advise; see its kind, size
     * and times. */
    HUSK_WASI_SEEK = 4,
    /* With HUSK_WASI_WRITE: sync; of a file also: set its size and times, allocate. */
    HUSK_WASI_RESIZE = 8
};
struct husk_wasi_options {
    size_t size;
    const char *const *args; /* args[0] is the program name; copied */
    size_t args_count;
    const char *const *env; /* "NAME=value"; copied */
    size_t env_count;
    uint64_t random_seed; /* 0: from the kernel; otherwise a reproducible sequence */
    /* Descriptors of the host, borrowed, examined now. One that is not open is closed to the guest,
     * too. */
    int stdin_fd, stdout_fd, stderr_fd;
    /* HUSK_WASI_…, or'ed; 0: closed to the guest, and the descriptor must be 0 or -1 then */
    uint32_t stdin_rights, stdout_rights, stderr_rights;
};
#define HUSK_WASI_OPTIONS_INIT HUSK_INIT_OF(husk_wasi_options)
/* `options` may be NULL: no streams. HUSK_E_INVAL, HUSK_E_LIMIT (arguments or environment over 16
 * MiB), HUSK_E_NOMEM. */
HUSK_API int husk_imports_wasi(husk_imports *imports, const struct husk_wasi_options *options,
                               struct husk_error *err);

#ifdef __cplusplus
}
#endif
#endif
