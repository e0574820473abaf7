/*
 * husk_imports.h: what the host gives a module: functions, globals, memories, tables, tags, WASI.
 * Part of husk.h.
 */
#ifndef HUSK_IMPORTS_H
#define HUSK_IMPORTS_H

#include "husk_image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A host function's handle of the guest's call. It is valid until the host function returns. */
typedef struct husk_caller husk_caller;

/* A host function. `args` are as many values as it has parameters, of the declared types. `results`
 * has room for its results, and holds zeros of the declared types. It runs on the thread that made
 * the call. Return 0, or a negative HUSK_E_… (or husk_caller_fail()) to end the guest's call with
 * the trap HUSK_TRAP_HOST_FUNCTION. That poisons nothing and unwinds nothing: the guest's functions
 * do not give back their part of the guest's own stack, until a restore does (struct husk_outcome).
 *
 * It may call the guest (husk_call() on husk_caller_sandbox()), up to the limit of
 * host_call_depth_max. It may also wait for another thread that does so. Or it has no answer yet,
 * and returns husk_caller_pending(). Or it throws an exception, which the guest may catch
 * (husk_caller_throw()). */
typedef int (*husk_host_fn)(husk_caller *caller, void *user, const struct husk_value *args,
                            struct husk_value *results);

/* Make an empty set, and free a set. Sandboxes keep the definitions that they use. HUSK_E_INVAL,
 * HUSK_E_NOMEM. */
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

/* Define a table of functions: all of them or, on failure, none. A later definition replaces an
 * earlier one of the same names. Names and types are copied. The library calls user_free with
 * `user` when no set and no sandbox refers to the function any more, but not on failure.
 * HUSK_E_INVAL, HUSK_E_NOMEM, HUSK_E_LIMIT. */
HUSK_API int husk_imports_funcs(husk_imports *imports, const struct husk_host_func *rows,
                                size_t count, struct husk_error *err);
/* Define a memory, a table, a global or a tag by its names, kind and type; `idx` is ignored. Every
 * sandbox gets its own, of a shared memory, too: it is shared with no other sandbox. With is_64, a
 * memory can start with 8 GiB, and the maximum may be anything. The result of husk_image_import()
 * can be passed on. `initial` is the value of a global, and NULL otherwise. A reference to a
 * function or an exception belongs to one sandbox, so such a global starts as null. HUSK_E_INVAL,
 * HUSK_E_NOMEM, HUSK_E_LIMIT. */
HUSK_API int husk_imports_define(husk_imports *imports, const struct husk_extern *item,
                                 const struct husk_value *initial, struct husk_error *err);

/* How to treat imports that the set does not define, when a sandbox is made or loaded.
 *
 * REFUSED, the default: the function fails with HUSK_E_LINK.
 * TRAP: the library defines a function of the type that the module declares. A call of it ends the
 * guest's call with HUSK_TRAP_HOST_FUNCTION, and the message names the import. So a module that
 * never calls the import runs. The library also defines an unknown tag: only the module itself, and
 * host functions that look for it, can throw it. Unknown globals, memories and tables are still
 * refused, because the module would compute something wrong with a value that somebody made up. An
 * import that the set defines with another type is refused, too. */
enum husk_unknown { HUSK_UNKNOWN_REFUSED, HUSK_UNKNOWN_TRAP };
HUSK_API int husk_imports_unknown(husk_imports *imports, enum husk_unknown unknown,
                                  struct husk_error *err);

/* Check whether the set defines an import of a module. With husk_wasm_interface() of husk_compile.h
 * this works before a module is compiled. `imports` may be NULL. HUSK_E_LINK: the import is
 * missing, or of another type; the message says which. HUSK_E_INVAL: `item` is NULL, has no size,
 * or is not an import. */
HUSK_API int husk_imports_match(const husk_imports *imports, const struct husk_extern *item,
                                struct husk_error *err);

HUSK_API husk_sandbox *husk_caller_sandbox(husk_caller *caller);
/* The index of the memory of the instance that imports the function, whoever calls it: the memory
 * that the instance exports as "memory", else its first one. In images of one module it is 0;
 * husk_compile_linked() links several. */
HUSK_API uint32_t husk_caller_memory(const husk_caller *caller);
/* A pointer to a range of the guest's memory, for the duration of the host function; NULL if any
 * byte is out of bounds. Call it on the thread that made the guest's call; any thread may write to
 * the range. Unlike husk_memory_span() it does not make restores slower. */
HUSK_API void *husk_caller_span(husk_caller *caller, const struct husk_range *range);
/* End the guest's call with a trap and this message, one line. Returns the status that the host
 * function must return. The message becomes husk_outcome.message as it is: names and texts from the
 * guest want husk_name_escape(). */
HUSK_API int husk_caller_fail(husk_caller *caller, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The function has no answer yet. The call that it serves returns HUSK_PENDING, and goes on with
 * husk_call_resume(). Returns the status that the host function must return; its results do not
 * count. `args` and `caller` are gone after that: keep what the answer needs. */
HUSK_API int husk_caller_pending(husk_caller *caller);
/* Take a snapshot as it is now, with the call that this host function serves
 * (husk_sandbox_snapshot(), which has the errors, too). A sandbox that gets the snapshot has that
 * call as a pending one, and husk_call_resume() calls this host function again, with the same
 * arguments. So take it before the function does anything that is not to be done again. The
 * function then goes on as ever. HUSK_E_STATE: this host function serves a call that a host
 * function made, or one inside a pending call, the module's initialisation, husk_restored(),
 * husk_call_bytes() or husk_call_many(); or it has said already how it ends. HUSK_E_GUEST: the
 * guest's stack pointer is outside of its stack, which no compiled module does. */
HUSK_API int husk_caller_snapshot(husk_caller *caller, husk_image **ret_snapshot,
                                  struct husk_error *err);
/* End the guest program with an exit code (outcome HUSK_EXITED). Returns the status that the host
 * function must return. */
HUSK_API int husk_caller_exit(husk_caller *caller, int32_t exit_code);

/* ---- Exceptions ---- */

/* An exception to throw: a tag of the sandbox's module, and a value for each parameter of its type.
 * Copied. An exception that the guest threw is passed on with the tag and the values of
 * husk_sandbox_exception(). */
struct husk_throw {
    size_t size;
    husk_tag tag;
    const struct husk_value *values;
    size_t values_count;
};
#define HUSK_THROW_INIT HUSK_INIT_OF(husk_throw)

/* Throw an exception from the host function, as if the guest threw it where it calls the function:
 * the guest catches it, or the call ends with HUSK_THREW. Returns the status that the host function
 * must return; its results do not count.
 *
 * An exception that is refused ends the guest's call with HUSK_TRAP_HOST_FUNCTION, and the
 * outcome's message says why. Then the status is HUSK_E_INVAL (NULL; a tag of another module),
 * HUSK_E_TYPE (other values), or HUSK_E_UNSUPPORTED (an image without code for that). Otherwise it
 * is HUSK_E_STATE. */
HUSK_API int husk_caller_throw(husk_caller *caller, const struct husk_throw *exception);

/* ---- WASI ---- */

struct husk_wasi_request; /* husk_wasi.h */

/*
 * WASI preview 1 (wasi_snapshot_preview1 and, for old toolchains, wasi_unstable): arguments,
 * environment, clocks, random numbers, three streams, and the files below the directories that are
 * given. Without a directory nothing can be opened.
 *
 * Rights. A stream without rights is closed to the guest. That is the default, so an all-zero
 * struct gives nothing. Most programs need HUSK_WASI_READ on standard input, and HUSK_WASI_WRITE on
 * standard output and standard error; with these they can also wait for the streams. A terminal and
 * a socket look like what they are. Everything else, also a file, looks like a pipe to the guest.
 * No right goes beyond the open mode of the descriptor.
 *
 * Waiting. A read, write, poll or sleep ends at the call's deadline, at husk_interrupt() and at
 * husk_cancel_now(). It does not matter what is behind the descriptor, whether it blocks, or who
 * shares it. The descriptor's flags do not change. There is one exception: the kernel does not end
 * a few waits (a network file system that does not answer, a disk); docs/trust.md says which.
 */
enum husk_wasi_rights {
    HUSK_WASI_READ = 1,
    HUSK_WASI_WRITE = 2,
    /* With one of the above, on a file: seek, read or write at a position, advise; see the file's
     * kind, size and times. */
    HUSK_WASI_SEEK = 4,
    /* With HUSK_WASI_WRITE: sync. On a file also: set its size and times, allocate. */
    HUSK_WASI_RESIZE = 8
};
/* A directory of the guest's.
 * HOST: a directory of the host, as it is. The kernel resolves the guest's paths below it
 *   (openat2(), Linux 5.6 or later): no path and no symbolic link leads out of it. Devices, pipes
 *   and sockets that lie there cannot be opened, and neither can what is in a proc file system. A
 *   snapshot holds paths, positions and flags of open files, not contents; a sandbox that is
 *   restored to it, or loaded from it, opens them again, and creates and truncates nothing. What
 *   is not there any more, or is another file, is closed to the guest. If the process has no
 *   descriptor left (RLIMIT_NOFILE), the restore or the load fails.
 * COW: a directory of the host that is only read, and above it a private layer that gets all
 *   changes.
 * MEM: a private layer alone, empty at first.
 * A private layer is part of the sandbox's state: a snapshot holds it, a restore brings it back. */
enum husk_wasi_dir_kind { HUSK_WASI_DIR_HOST = 1, HUSK_WASI_DIR_COW = 2, HUSK_WASI_DIR_MEM = 3 };
/* An array element: its layout is final. */
struct husk_wasi_dir {
    const char *guest_path; /* how the guest names it: UTF-8, "/data" or "."; copied */
    /* HOST, COW: the directory, which is opened now; or NULL, and host_fd is it, borrowed until the
     * function returns. MEM: NULL, and host_fd 0 or -1. */
    const char *host_path;
    int host_fd;
    uint32_t kind;     /* enum husk_wasi_dir_kind */
    uint32_t rights;   /* HUSK_WASI_READ, or HUSK_WASI_READ | HUSK_WASI_WRITE */
    uint32_t reserved; /* 0 */
};

/* A socket on which a guest accepts connections. An array element: its layout is final. */
struct husk_wasi_listener {
    /* A stream socket after listen(), borrowed like the standard streams: the embedder closes it,
     * and not before the last sandbox of the set. Its file status flags stay as they are. Make it
     * non-blocking, so that a guest that does not want to wait never does. */
    int host_fd;
    uint32_t rights; /* of each connection: HUSK_WASI_READ, HUSK_WASI_WRITE, or'ed */
};

struct husk_wasi_options {
    size_t size;
    const char *const *args; /* args[0] is the program name; copied */
    size_t args_count;
    const char *const *env; /* "NAME=value"; copied */
    size_t env_count;
    uint64_t random_seed; /* 0: from the kernel; otherwise a reproducible sequence */
    /* Descriptors of the host. They are borrowed, and examined now. One that is not open is closed
     * to the guest, too. */
    int stdin_fd, stdout_fd, stderr_fd;
    /* HUSK_WASI_…, or'ed. 0: closed to the guest; then the descriptor must be 0 or -1. */
    uint32_t stdin_rights, stdout_rights, stderr_rights;
    /* The guest's directories: descriptors 3, 4, … in this order. At most 64, of which no two have
     * the same guest_path. */
    const struct husk_wasi_dir *dirs;
    size_t dirs_count;
    /* Descriptors that a guest may have open, streams and directories included; 0: 1024. At most
     * 65,536. Each open file of the host is one of the process's, too (RLIMIT_NOFILE). */
    uint64_t open_max;
    /* Limits of a sandbox's private layer, for all its COW and MEM directories together: bytes of
     * contents and metadata, in whole pages (0: 1 GiB; at most 8 GiB), and names (0: 1 Mi; at most
     * 16 Mi). */
    uint64_t private_max_bytes, private_max_entries;
    /* Descriptors behind the directories', in this order; at most 64. A guest accepts connections
     * there (sock_accept), and cannot make others. They are closed with the sandbox, and by every
     * restore. While one is open, no snapshot can be taken (HUSK_E_STATE). A snapshot holds
     * listeners by their index. */
    const struct husk_wasi_listener *listeners;
    size_t listeners_count;
    /* How every new sandbox begins (husk_wasi.h): the parts that it names take the place of the
     * fields above. NULL: none. Every sandbox has its own position in bytes, and its own buffer.
     * Callbacks serve all sandboxes, on their threads. */
    const struct husk_wasi_request *request;
};
#define HUSK_WASI_OPTIONS_INIT HUSK_INIT_OF(husk_wasi_options)
/* Define the functions of WASI preview 1, also under the older name wasi_unstable, and
 * wasi.thread-spawn: it fails, because a sandbox has one thread, and the log says so once per
 * sandbox (HUSK_LOG_WARNING). `options` may be NULL: no streams, no directories.
 * husk_sandbox_set_wasi() can give streams later. HUSK_E_INVAL, HUSK_E_LIMIT (arguments or
 * environment over 16 MiB, or a limit above its highest value), HUSK_E_NOMEM, HUSK_E_SYS (a
 * directory cannot be opened), HUSK_E_UNSUPPORTED (the kernel has no openat2()). */
HUSK_API int husk_imports_wasi(husk_imports *imports, const struct husk_wasi_options *options,
                               struct husk_error *err);

#ifdef __cplusplus
}
#endif
#endif
