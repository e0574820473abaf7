/*
 * husk.h: run untrusted WebAssembly, every instance in a virtual machine of its own.
 *
 *   engine (process-wide: /dev/kvm, watchdog)
 *      └── image (compiled module, immutable, shared)
 *             └── sandbox (one instance, one VM)
 *
 * Status. Functions return 0 or a negative HUSK_E… number, and fill the caller's struct husk_error
 * if it is not NULL. On failure outputs are untouched and nothing is leaked. A wasm trap, an exit,
 * a deadline are not errors: they are outcomes of a call (struct husk_outcome).
 *
 * Threads. An engine, an image and a set of imports (once it is no longer changed) may be used by
 * any number of threads. A sandbox is used by one thread at a time, and may move between threads
 * between calls; husk_interrupt() alone may be called on it from any thread at any time.
 *
 * Ownership. What husk_…_new/open returned is released by the matching …_free/_unref, which accept
 * NULL. Input buffers are borrowed for the duration of the call unless the function says otherwise.
 *
 * Versioning. Option structs start with `size`: set it to sizeof (the HUSK_…_INIT macros do that);
 * zero in every other field means the default, and `reserved` must be zero. So a program runs with
 * a library that is newer than the header it was built with, or older: new fields are added at the
 * end, and an option that is set and that the library does not know is refused, as is a size of 0
 * or one that ends inside a field (HUSK_E_INVAL; the message names the struct and the place).
 * Structs that the library fills start with `size`, too, which the caller sets: by the macro, or
 * alone, as nothing else in them is read. The library fills no more than that, and leaves `size` as
 * it is; fields that it does not know become zero. A size that is not set is refused
 * (HUSK_E_INVAL). Structs without a size (husk_error, husk_value, husk_functype, husk_frame) are
 * final.
 *
 * Signals. While a call runs, the library may send its kick signal (SIGRTMIN + 6 unless
 * husk_engine_options.kick_signal says otherwise) to the calling thread, to end a call at its
 * deadline. The handler that it installs ends what the guest waits for, and nothing else: a system
 * call of a host function goes on, as far as the kernel restarts any. A host function that waits
 * blocks its call at its own risk: deadlines and interrupts end the call when it returns. A
 * thread's first call unblocks this signal in that thread; a thread that blocks it again has calls
 * that nothing can cut off. No other signal is touched, but that every write (a WASI write, a
 * snapshot, a file) blocks SIGPIPE and SIGXFSZ in its own thread for its duration, and takes back
 * the one that it raised: it is an error, or an errno for the guest.
 *
 * Processes. All descriptors are close-on-exec. A VM belongs to the process that made it: a child
 * made by fork() has none of its parent's, so calls there are refused (HUSK_E_STATE). It leaves
 * alone what its parent made, and makes an engine of its own. The parent notices nothing.
 *
 * Memory. A restore looks for written pages only if its thread has taken a page fault since the
 * last one. So no other thread, and no other process, may make pages of a live sandbox its own
 * without the guest's writing them: by mlockall(MCL_CURRENT), or MADV_POPULATE_WRITE over all
 * mappings. Do that before sandboxes are made (MCL_FUTURE, too), or in the thread that restores
 * them.
 */
#ifndef HUSK_H
#define HUSK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HUSK_VERSION_MAJOR 0
#define HUSK_VERSION_MINOR 1
#define HUSK_VERSION_PATCH 0

#if defined(__GNUC__)
#define HUSK_API __attribute__((visibility("default")))
#else
#define HUSK_API
#endif

/* The value of the HUSK_…_INIT macros: `size` is set, all else is zero. */
#ifdef __cplusplus
extern "C++" template <class Struct> inline Struct husk_init_of() {
    Struct all_zero = Struct();
    all_zero.size = sizeof all_zero;
    return all_zero;
}
#define HUSK_INIT_OF(name) husk_init_of<struct name>()
#else
#define HUSK_INIT_OF(name)                                                                         \
    { .size = sizeof(struct name) }
#endif

/* "0.1.0"; static storage. */
HUSK_API const char *husk_version(void);

/* ---- Errors ---- */

/* HUSK_STATUS(NAME, stable number, text) */
#define HUSK_STATUS_LIST(HUSK_STATUS)                                                              \
    HUSK_STATUS(INVAL, 1, "invalid argument")                                                      \
    HUSK_STATUS(NOMEM, 2, "out of memory")                                                         \
    HUSK_STATUS(SYS, 3, "system call failed")                                                      \
    HUSK_STATUS(NO_KVM, 4, "no usable KVM")                                                        \
    HUSK_STATUS(KVM_CAP, 5, "the kernel's KVM lacks something that is needed")                     \
    HUSK_STATUS(BAD_WASM, 6, "malformed WebAssembly")                                              \
    HUSK_STATUS(INVALID_WASM, 7, "invalid WebAssembly")                                            \
    HUSK_STATUS(UNSUPPORTED, 8, "not supported")                                                   \
    HUSK_STATUS(LIMIT, 9, "limit exceeded")                                                        \
    HUSK_STATUS(BAD_IMAGE, 10, "damaged or foreign image file")                                    \
    HUSK_STATUS(IMAGE_VERSION, 11, "image of another version")                                     \
    HUSK_STATUS(CPU, 12, "the CPU lacks a feature that the image needs")                           \
    HUSK_STATUS(LINK, 13, "unknown or incompatible import")                                        \
    HUSK_STATUS(NOT_FOUND, 14, "not found")                                                        \
    HUSK_STATUS(TYPE, 15, "wrong type or number of values")                                        \
    HUSK_STATUS(STATE, 16, "not possible in this state")                                           \
    HUSK_STATUS(POISONED, 17, "the sandbox was cut off in mid-call")                               \
    HUSK_STATUS(COMPILER, 18, "the compiler failed")                                               \
    HUSK_STATUS(TIMEOUT, 19, "out of time")                                                        \
    HUSK_STATUS(GUEST, 20, "the guest returned something unusable")

enum husk_status {
    HUSK_OK = 0,
#define HUSK_STATUS_ENUM(name, number, text) HUSK_E_##name = -(number),
    HUSK_STATUS_LIST(HUSK_STATUS_ENUM)
#undef HUSK_STATUS_ENUM
};

#define HUSK_NO_OFFSET UINT64_MAX

/* Caller-owned; needs no cleanup. */
struct husk_error {
    int status;        /* HUSK_E_… */
    int sys_errno;     /* errno of the failed system call, or 0 */
    uint64_t offset;   /* byte offset in the input (wasm or image), or HUSK_NO_OFFSET */
    char message[488]; /* NUL-terminated UTF-8: what was wrong, where, what to do */
};

/* "HUSK_E_…" and the text of a status; static storage, never NULL. */
HUSK_API const char *husk_status_name(int status);
HUSK_API const char *husk_status_text(int status);

/* A name from a module (struct husk_extern, struct husk_frame) for a person or a terminal, as all
 * messages of this library show names: on one line, and with nothing that is not seen. As in a
 * string of the text format: \\ and \" stand for a backslash and a quotation mark, and \hh for each
 * byte of control characters, white space other than U+0020, zero-width, bidirectional and other
 * ignorable characters, and what is not UTF-8. Letters that look alike are not told apart. Writes
 * at most out_bytes - 1 bytes, never half an escape or character, and a NUL; out may be NULL if
 * out_bytes is 0. Returns the bytes of the whole, without the NUL. Any thread. */
HUSK_API size_t husk_name_escape(const char *name, size_t name_bytes, char *out, size_t out_bytes);

/* Gets what a function of this library writes, in pieces and in order, on the thread that called
 * that function. Returns 0 to go on. Any other number ends the writing, and that function returns
 * it. */
typedef int (*husk_write_fn)(void *user, const void *bytes, size_t count);

/* ---- Values ---- */

/* Numbers as in the wasm binary format (core specification 2.0, section 5.3). */
typedef enum husk_type {
    HUSK_I32 = 0x7f,
    HUSK_I64 = 0x7e,
    HUSK_F32 = 0x7d,
    HUSK_F64 = 0x7c,
    HUSK_V128 = 0x7b,
    HUSK_FUNCREF = 0x70,
    HUSK_EXTERNREF = 0x6f
} husk_type;

struct husk_value {
    husk_type type;
    union {
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        uint8_t v128[16]; /* little-endian */
        /* 0 is null. externref: the embedder's own handle, which comes back from a snapshot or its
         * file as a number: do not follow it unchecked; funcref: opaque, of this sandbox only, and
         * whatever the guest put there: husk_func_from_ref() checks it */
        uint64_t ref;
    } of;
};

/* "i32", …; "?" for an unknown number. */
HUSK_API const char *husk_type_name(husk_type type);

struct husk_functype {
    const husk_type *params;
    size_t params_count;
    const husk_type *results;
    size_t results_count;
};

/* ---- Engine ---- */

typedef struct husk_engine husk_engine;

enum husk_log_level { HUSK_LOG_ERROR, HUSK_LOG_WARNING, HUSK_LOG_INFO, HUSK_LOG_DEBUG };
typedef void (*husk_log_fn)(void *user, enum husk_log_level level, const char *message);

struct husk_engine_options {
    size_t size;
    const char *kvm_path; /* "/dev/kvm" */
    husk_log_fn log;      /* called from any thread of the library; NULL: no log */
    void *log_user;
    int kick_signal; /* SIGRTMIN + 6 */
    /* idle VMs kept for new sandboxes with the same options; 0: the default, 8; -1: none */
    int32_t pool_max;
    bool measure_times; /* histograms of calls and host calls (two clock reads each) */
    uint8_t reserved[7];
};
#define HUSK_ENGINE_OPTIONS_INIT HUSK_INIT_OF(husk_engine_options)

/* Opens KVM and checks what it can do. `options` may be NULL.
 * HUSK_E_NO_KVM (no device, no permission; the message says which and how to get it),
 * HUSK_E_KVM_CAP, HUSK_E_NOMEM. */
HUSK_API int husk_engine_new(const struct husk_engine_options *options, husk_engine **ret_engine,
                             struct husk_error *err);

/* Images, imports and sandboxes keep the engine alive; this drops the caller's share. */
HUSK_API void husk_engine_free(husk_engine *engine);

enum husk_kvm_kind { HUSK_KVM_UNKNOWN, HUSK_KVM_VMX, HUSK_KVM_SVM, HUSK_KVM_PVM };

/* What husk doctor prints. */
struct husk_host_info {
    size_t size;
    enum husk_kvm_kind kvm_kind;
    int kvm_api_version;
    uint32_t memslots_max;
    uint64_t cpu_features; /* bits of abi/cpu_features.def that images may use here */
    bool has_sync_regs, has_immediate_exit, has_readonly_mem, has_msr_filter;
    char cpu_name[64];
};
#define HUSK_HOST_INFO_INIT HUSK_INIT_OF(husk_host_info)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_engine_host_info(const husk_engine *engine, struct husk_host_info *ret_info);
/* The name of one bit of cpu_features ("avx2", …), or NULL if the bit means nothing; static
 * storage. */
HUSK_API const char *husk_cpu_feature_name(unsigned bit);

/* ---- Images ---- */

typedef struct husk_image husk_image;

/* Open an image that husk_compile() or husk_image_save() wrote. Everything in it is checked; it may
 * come from anyone. `fd` is duplicated. verify: compare the content hash first, which finds any
 * damage and says so: about 1 ms per MiB. Pass true for files; false where your program made the
 * bytes itself a moment ago. Without it nothing is less safe for the host, but what is damaged may
 * compute something else than the module. The hash is no signature: who changes a file on purpose
 * makes a new one. A sparse file with more holes than any image has is not verified:
 * HUSK_E_BAD_IMAGE.
 * engine NULL: to look at it only (husk_image_info and the like; no sandbox can be made), where
 * there is no KVM, too. HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION, HUSK_E_CPU, HUSK_E_SYS,
 * HUSK_E_NOMEM. */
HUSK_API int husk_image_open(husk_engine *engine, const char *path, bool verify,
                             husk_image **ret_image, struct husk_error *err);
HUSK_API int husk_image_open_fd(husk_engine *engine, int fd, bool verify, husk_image **ret_image,
                                struct husk_error *err);
/* The bytes are copied. */
HUSK_API int husk_image_open_buffer(husk_engine *engine, const void *bytes, size_t count,
                                    bool verify, husk_image **ret_image, struct husk_error *err);
HUSK_API husk_image *husk_image_ref(husk_image *image);
HUSK_API void husk_image_unref(husk_image *image);

enum husk_extern_kind {
    HUSK_EXTERN_FUNC,
    HUSK_EXTERN_TABLE,
    HUSK_EXTERN_MEMORY,
    HUSK_EXTERN_GLOBAL
};

/* One import or export. Strings and arrays live as long as the image; names are NUL-terminated, and
 * may hold more NULs. */
struct husk_extern {
    size_t size;
    enum husk_extern_kind kind;
    const char *module; /* imports only */
    size_t module_bytes;
    const char *name;
    size_t name_bytes;
    uint32_t idx;              /* in the index space of its kind */
    struct husk_functype func; /* FUNC */
    uint64_t min, max;         /* TABLE: entries; MEMORY: wasm pages of 64 KiB */
    bool has_max;
    husk_type type; /* TABLE: element type; GLOBAL: value type */
    bool is_mutable;
};
#define HUSK_EXTERN_INIT HUSK_INIT_OF(husk_extern)

HUSK_API size_t husk_image_imports_count(const husk_image *image);
HUSK_API size_t husk_image_exports_count(const husk_image *image);
/* HUSK_E_INVAL: idx is out of range, or ret_extern->size is not set. */
HUSK_API int husk_image_import(const husk_image *image, size_t idx, struct husk_extern *ret_extern);
HUSK_API int husk_image_export(const husk_image *image, size_t idx, struct husk_extern *ret_extern);

struct husk_image_info {
    size_t size;
    const char *target_cpu, *compiler, *module_name; /* as long as the image */
    uint64_t cpu_features;
    uint8_t wasm_sha256[32];
    int opt_level;
    /* memory: initialised bytes in the file */
    uint64_t text_bytes, rodata_bytes, data_bytes, memory_bytes;
    uint64_t functions_count, types_count, memories_count, tables_count, globals_count;
    bool needs_init; /* husk_sandbox_start() will run guest code */
    bool has_lines;  /* backtraces name source lines */
    /* every trap is exact: husk_compile_options.strict or level 0; what the image says */
    bool is_strict;
    /* of all together, as an instance starts: of a snapshot, as it was then */
    uint64_t memory_pages, table_entries;
};
#define HUSK_IMAGE_INFO_INIT HUSK_INIT_OF(husk_image_info)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_image_info(const husk_image *image, struct husk_image_info *ret_info);

/* ---- Imports: what the host gives ---- */

typedef struct husk_imports husk_imports;
typedef struct husk_sandbox husk_sandbox;

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

/* Define what a module may import. A later definition of the same name replaces the earlier. Names
 * are copied. user_free (may be NULL) is called with `user` once no set and no sandbox refers to it
 * any more. */
HUSK_API int husk_imports_func(husk_imports *imports, const char *module, const char *name,
                               const struct husk_functype *type, husk_host_fn fn, void *user,
                               void (*user_free)(void *user), struct husk_error *err);
HUSK_API int husk_imports_global(husk_imports *imports, const char *module, const char *name,
                                 bool is_mutable, const struct husk_value *initial,
                                 struct husk_error *err);
/* Every sandbox gets a memory or table of its own of these limits (max UINT64_MAX: none). Sizes:
 * wasm pages, entries. */
HUSK_API int husk_imports_memory(husk_imports *imports, const char *module, const char *name,
                                 uint64_t min_pages, uint64_t max_pages, struct husk_error *err);
HUSK_API int husk_imports_table(husk_imports *imports, const char *module, const char *name,
                                husk_type elem_type, uint64_t min_entries, uint64_t max_entries,
                                struct husk_error *err);

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

HUSK_API husk_sandbox *husk_caller_sandbox(husk_caller *caller);
/* Fail with a message of your own; returns the status to return. */
HUSK_API int husk_caller_fail(husk_caller *caller, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* End the guest program with an exit code (outcome HUSK_EXITED); returns the status to return. */
HUSK_API int husk_caller_exit(husk_caller *caller, int32_t exit_code);

/* ---- Sandboxes ---- */

struct husk_sandbox_options {
    size_t size;
    /* All linear memories together; default: what the module declares (at most 4 GiB each). Zeros
     * of an image's data region count, too, beyond what its tables and globals need, as many bytes
     * as its file has, and 128 KiB: hardly any module has such. */
    uint64_t memory_max_bytes;
    /* all tables together; default 1,000,000, or what the module (not a snapshot of it) starts with
     * if that is more */
    uint64_t table_max_entries;
    uint64_t stack_bytes;         /* native stack; default 1 MiB, 16 KiB … 64 MiB */
    uint32_t host_call_depth_max; /* nested host call → guest call → …; default 16 */
    uint32_t reserved;
};
#define HUSK_SANDBOX_OPTIONS_INIT HUSK_INIT_OF(husk_sandbox_options)

/* A fresh instance of the image in a VM of its own. No guest code runs yet. `imports` may be NULL;
 * what it defines is resolved now (the set may be freed afterwards). HUSK_E_LINK names the imports
 * that are missing, or one of another type. `image` may be a snapshot. NULL: an empty sandbox, to
 * be loaded later (husk_sandbox_load()). */
HUSK_API int husk_sandbox_new(husk_engine *engine, husk_image *image, const husk_imports *imports,
                              const struct husk_sandbox_options *options,
                              husk_sandbox **ret_sandbox, struct husk_error *err);
/* Not while a call runs, so not from a host function that it called. NULL is fine. */
HUSK_API void husk_sandbox_free(husk_sandbox *sandbox);

/* ---- Snapshots and restore ---- */

/*
 * The life of a sandbox:
 *
 *                     husk_sandbox_load
 *        ┌──────────────────────────────────────────────┐
 *        │                                              ▼
 *     EMPTY ◄── (nothing was ever loaded)            LOADED ──── call ends ────► LOADED
 *                                                    │  │  ▲
 *                             husk_sandbox_unload    │  │  │ husk_sandbox_restore, _load
 *        DIRTY ◄─────────────────────────────────────┘  │  │
 *        │                                              │  │
 *        └── husk_sandbox_load: the one restore that ───┼──┘
 *            the unload put off is done here            │
 *                                                       └── call is cut off ──► POISONED
 *                                                           (restore, unload or load heals)
 *
 * When something fails, it has changed nothing: the sandbox is still EMPTY, DIRTY, LOADED (and
 * every byte of it as it was) or POISONED. But memory is made equal to an image in several steps,
 * and what the system refuses in the middle of that (HUSK_E_SYS, HUSK_E_NOMEM; the message says so)
 * leaves neither the old state nor the new one:
 *
 *     husk_sandbox_restore   POISONED: nothing but another restore, a load or an unload is of use
 *     husk_sandbox_load      DIRTY: what was loaded is gone (husk_call(): HUSK_E_STATE); load again
 *
 * Either may be tried again, with any image, and no failure of either costs the VM.
 *
 * An image and a snapshot are one thing: a snapshot is an image taken from a sandbox between two
 * calls. Anything that takes an image takes a snapshot. Nothing here runs guest code or creates a
 * VM where one can be reused.
 */

/* Take a snapshot: the instance as it is now, immutable, independent of this sandbox's later life.
 * Cost follows the pages written since the image it was loaded from and what memory images are
 * mapped, not its size. Stack, mailbox and vCPU registers hold nothing between calls, and are zero
 * in every snapshot. Released with husk_image_unref(). The sandbox is not changed. HUSK_E_STATE (a
 * call is running; nothing is loaded; the module is not initialised: husk_sandbox_start(), or a
 * first call, does that), HUSK_E_POISONED, HUSK_E_NOMEM, HUSK_E_SYS. */
HUSK_API int husk_sandbox_snapshot(husk_sandbox *sandbox, husk_image **ret_snapshot,
                                   struct husk_error *err);

/* Make the sandbox equal to an image of the module that it holds: the one it was loaded from, any
 * snapshot of it, or a snapshot taken from another sandbox of the same module, also after it was
 * saved and opened again (the first restore to what was opened anew maps memory anew, and ends
 * spans, as a load does). Heals a poisoned sandbox. Imports stay as linked. A restore that is
 * rejected (HUSK_E_INVAL: another module; HUSK_E_LIMIT: larger than this sandbox's limits;
 * HUSK_E_STATE: a call is running, or nothing is loaded; HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION:
 * state of WASI's that a file has wrong), or that fails (HUSK_E_SYS, HUSK_E_NOMEM) before anything
 * is changed, changes nothing; one that fails half-way leaves the sandbox poisoned, and may be
 * tried again. */
HUSK_API int husk_sandbox_restore(husk_sandbox *sandbox, husk_image *image, struct husk_error *err);

/* Drop the instance, keep the VM. Restoring is put off until the next load, which does it once;
 * freeing does it never. HUSK_E_STATE if a call is running. Unloading what is not loaded does
 * nothing. */
HUSK_API int husk_sandbox_unload(husk_sandbox *sandbox, struct husk_error *err);

/* Load an image or a snapshot into a sandbox, whatever it held before (a loaded instance is
 * unloaded first). Errors as husk_sandbox_new(): all that can be refused is refused before anything
 * is changed; a load that fails half-way leaves the sandbox unloaded, and may be tried again.
 * `imports` may be NULL. The sandbox keeps its limits. */
HUSK_API int husk_sandbox_load(husk_sandbox *sandbox, husk_image *image,
                               const husk_imports *imports, struct husk_error *err);

/* Another sandbox in the same state, with the same imports and limits: a snapshot, and a new
 * sandbox from it. Errors as of both. The sandbox is not changed. */
HUSK_API int husk_sandbox_clone(husk_sandbox *sandbox, husk_sandbox **ret_clone,
                                struct husk_error *err);

/* Write an image or a snapshot to a file that stands for itself: it can be opened in another
 * process (husk_image_open()), run, inspected. Durably and all at once: a new file beside it
 * (without a name where the file system can do that), synced, renamed, and the folder synced. On
 * failure nothing else is left and a file that was there is as it was; but if the sync of the
 * folder is what fails, the new file is in place and complete, though not sure to outlast a crash
 * of the machine (HUSK_E_SYS; the message says so). Its permissions are kept; those of a new one
 * are 0666 minus umask, and whoever may read it reads the guest's memory. HUSK_E_SYS (sys_errno
 * ENOSPC, EACCES, …), HUSK_E_NOMEM; HUSK_E_INVAL: the path is a device, pipe or symbolic link, or
 * names no file; HUSK_E_LIMIT: more than could be opened (12 GiB of contents). Threads: any number
 * may save one image at once. */
HUSK_API int husk_image_save(const husk_image *image, const char *path, struct husk_error *err);
/* The same bytes to a descriptor, from its position on: a file, a pipe, a socket. Waits as long as
 * it must, so the descriptor should be a blocking one (else HUSK_E_SYS, EAGAIN). Not synced. At the
 * end of a regular file holes are kept, elsewhere they are written as zeros. On failure (sys_errno
 * ENOSPC, EPIPE, …) what was written until then is there. A snapshot that was taken in this process
 * is put together in memory first, as large as what it holds. */
HUSK_API int husk_image_save_fd(const husk_image *image, int fd, struct husk_error *err);
/* The same to a callback, which gets at most 1 MiB at once. When it ends the writing, err->status
 * is its number. */
HUSK_API int husk_image_save_to(const husk_image *image, husk_write_fn write, void *user,
                                struct husk_error *err);
HUSK_API bool husk_image_is_snapshot(const husk_image *image);

/*
 * Uniqueness: sandboxes from one snapshot share everything, the state of the guest's random number
 * generator too. If a module exports `husk_restored` of type (i64, i64) -> (), it is called with
 * 128 bits of fresh entropy before the first call after a restore to a snapshot, a load of one, or
 * a new sandbox from one. If it does not return, its outcome is that call's, and it is called again
 * before the next: nothing else runs before it has returned once.
 */

/* Memory images: a page-aligned range of a sandbox's linear memory, as an object of its own that
 * can be mapped copy-on-write into any sandbox of the same engine at any page-aligned place. addr,
 * bytes, offset: multiples of 4096; bytes > 0. Any number of sandboxes can map one; it may be
 * released while it is mapped. Threads: an image may be used by any number of threads at once. */
typedef struct husk_memory_image husk_memory_image;

/* The range as it is now, also of a poisoned sandbox, whose memory is in the middle of something.
 * It becomes copy-on-write over the image itself: later writes there never change the image.
 * HUSK_E_INVAL (alignment, NULL), HUSK_E_LIMIT (out of bounds of the memory; more than 1024 images
 * are mapped in this sandbox, those that others cover not counted), HUSK_E_STATE (nothing is
 * loaded), HUSK_E_SYS, HUSK_E_NOMEM; nothing has changed then. Threads: as all of a sandbox, by one
 * at a time; while a call runs, by its host functions. */
HUSK_API int husk_memory_image_new(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t addr,
                                   uint64_t bytes, husk_memory_image **ret_image,
                                   struct husk_error *err);
/* [addr, addr + bytes) of memory mem_idx then reads as [offset, offset + bytes) of the image.
 * Errors and threads as above; HUSK_E_LIMIT also out of bounds of the image, HUSK_E_INVAL also for
 * one of another engine. A restore takes the mapping away again. */
HUSK_API int husk_memory_image_map(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t addr,
                                   const husk_memory_image *image, uint64_t offset, uint64_t bytes,
                                   struct husk_error *err);
/* 0 for NULL. */
HUSK_API uint64_t husk_memory_image_bytes(const husk_memory_image *image);
HUSK_API void husk_memory_image_free(husk_memory_image *image);

/* The pool: a freed sandbox's VM is kept, and a new sandbox with equal husk_sandbox_options takes
 * it, preferably one that held the same image; see husk_engine_options.pool_max. Drop idle VMs
 * until at most `keep` are left. */
HUSK_API void husk_engine_trim(husk_engine *engine, uint32_t keep);

/* ---- Calls ---- */

enum husk_outcome_kind {
    HUSK_RETURNED, /* results are set */
    /* trap, message, frames; the instance stays usable (core spec 4.4), but see state_is_exact */
    HUSK_TRAPPED,
    HUSK_EXITED, /* proc_exit: exit_code; the instance stays usable, but nothing was unwound */
    /* cut off by a wall or CPU limit; poisoned, unless the limit had passed before the guest ran */
    HUSK_DEADLINE,
    /* husk_interrupt(); poisoned, unless it came before the guest ran (frames_count 0, is_poisoned
     * false) */
    HUSK_INTERRUPTED,
    HUSK_GUEST_VIOLATION /* the guest's code did what no compiled module does; poisoned */
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

/* One frame of a backtrace, innermost first. Strings live as long as the image. */
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
    int32_t exit_code;
    bool is_poisoned;
    /* memories, globals and tables hold all that came before the end, and nothing else: see
     * above */
    bool state_is_exact;
    uint32_t frames_count; /* in frames */
    /* Counted on the guest's stack, repeats included. The walk takes about a millisecond at most,
     * whatever the guest left there: it ends at 100,000 frames of one place, at 12,500 that change
     * places, or at the 129th place. There may be more. */
    uint32_t frames_total;
    char message[256]; /* what happened, one line, NUL-terminated */
    struct husk_frame frames[HUSK_FRAMES_MAX];
};
#define HUSK_OUTCOME_INIT HUSK_INIT_OF(husk_outcome)

struct husk_call_options {
    size_t size;
    /* from the start of the call; 0: no limit. Granularity about 1 ms: never early */
    uint64_t wall_ns;
    /* CPU time of the calling thread during the call; 0: no limit. Waiting uses none: so with
     * cpu_ns and without wall_ns, what the guest waits in WASI functions may take ten times cpu_ns
     * altogether, but one second at least; then the call ends with HUSK_DEADLINE, too. wall_ns
     * replaces that rule; UINT64_MAX there allows to wait for ever. */
    uint64_t cpu_ns;
};
#define HUSK_CALL_OPTIONS_INIT HUSK_INIT_OF(husk_call_options)

/* Run the module's deferred initialisation and start function, once. The first husk_call() does it
 * if nobody has. If it does not return, the instance is dead: later calls fail with
 * HUSK_E_STATE. */
HUSK_API int husk_sandbox_start(husk_sandbox *sandbox, const struct husk_call_options *options,
                                struct husk_outcome *ret_outcome, struct husk_error *err);

/* Call an exported function by name. args/results: arrays of args_count/results_count values,
 * exactly as many as the function takes and gives, args with matching types (HUSK_E_TYPE
 * otherwise). Returns 0 whenever the guest ran (or was interrupted): look at ret_outcome->kind;
 * results are written only for HUSK_RETURNED. `options` may be NULL. HUSK_E_NOT_FOUND, HUSK_E_TYPE,
 * HUSK_E_STATE, HUSK_E_POISONED, HUSK_E_LIMIT (depth), HUSK_E_SYS. */
HUSK_API int husk_call(husk_sandbox *sandbox, const char *export_name,
                       const struct husk_value *args, size_t args_count, struct husk_value *results,
                       size_t results_count, const struct husk_call_options *options,
                       struct husk_outcome *ret_outcome, struct husk_error *err);

/* The same without the look-up: find the function once, call it often.
 *
 * A husk_func is a value: copy it, keep it as long as you like, free nothing. It belongs to a
 * module. It works on any sandbox of that module: of the image it was found in, of the image's
 * snapshots, and of both when they are saved or compiled and opened again. A sandbox of another
 * module refuses it (HUSK_E_INVAL), as it refuses one that is all zeros. A module is known by its
 * SHA-256 (husk_image_info.wasm_sha256), as the image has it: an image that lies there gets calls
 * of its own functions, and nothing else. Not for the disk: another version may encode it
 * differently. */
typedef struct husk_func {
    uint64_t opaque[2];
} husk_func;
HUSK_API int husk_image_func(const husk_image *image, const char *export_name, husk_func *ret_func,
                             struct husk_functype *ret_type, struct husk_error *err);
/* The same by a name of name_bytes bytes, which may hold NULs. */
HUSK_API int husk_image_func_n(const husk_image *image, const char *name, size_t name_bytes,
                               husk_func *ret_func, struct husk_functype *ret_type,
                               struct husk_error *err);
HUSK_API int husk_call_func(husk_sandbox *sandbox, husk_func func, const struct husk_value *args,
                            size_t args_count, struct husk_value *results, size_t results_count,
                            const struct husk_call_options *options,
                            struct husk_outcome *ret_outcome, struct husk_error *err);

/* String or bytes in, bytes out, over the module's exported allocator (`cabi_realloc`, or `malloc`
 * and `free`). The export takes (ptr i32, len i32) and returns i64 = ptr | len << 32, or i32 = ptr
 * to a {ptr u32, len u32} pair in memory, or two i32. The result is copied to a malloc()ed,
 * NUL-terminated buffer that the caller frees; the guest's buffers are freed if it exports `free`.
 * Everything the guest says is checked: HUSK_E_GUEST if it points outside its memory. */
HUSK_API int husk_call_bytes(husk_sandbox *sandbox, const char *export_name, const void *bytes,
                             size_t count, void **ret_bytes, size_t *ret_count,
                             const struct husk_call_options *options,
                             struct husk_outcome *ret_outcome, struct husk_error *err);

/* End the call that runs in this sandbox, or, if none runs, the next one (sticky until a call
 * consumes it). Any thread; never blocks. The sandbox must not be freed at the same time. */
HUSK_API void husk_interrupt(husk_sandbox *sandbox);

/* ---- Guest memory, globals and tables ---- */

/* All of this works between calls and, on the sandbox of its caller, in a host function. */

/* [addr, addr + count) of linear memory mem_idx. The layout is final. */
struct husk_range {
    uint64_t addr, count; /* bytes */
    uint32_t mem_idx;
};

/* Copy bytes out of the guest's memory, or into it; all of them or, if one is out of bounds
 * (HUSK_E_LIMIT), none. Nothing is kept, so unlike husk_memory_span() it makes no restore slower.
 * Also of a poisoned sandbox, to look at what there is. HUSK_E_STATE: nothing is loaded. */
HUSK_API int husk_memory_read(husk_sandbox *sandbox, const struct husk_range *range,
                              void *ret_bytes, struct husk_error *err);
HUSK_API int husk_memory_write(husk_sandbox *sandbox, const struct husk_range *range,
                               const void *bytes, struct husk_error *err);

/* Do what the guest's memory.grow does: delta_pages wasm pages (64 KiB) of zeros more. Spans stay
 * valid. ret_old_pages (may be NULL): the size before. HUSK_E_LIMIT: no such memory, or more than
 * its maximum or memory_max_bytes; HUSK_E_STATE, HUSK_E_POISONED, HUSK_E_NOMEM, HUSK_E_SYS. Nothing
 * has changed then. */
HUSK_API int husk_memory_grow(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t delta_pages,
                              uint64_t *ret_old_pages, struct husk_error *err);

/* A checked view of [addr, addr + count) of linear memory mem_idx: ret_span points into the
 * sandbox's memory, and stays valid until the sandbox is freed, unloaded, or loaded into. A restore
 * keeps it, but for the two that build the memory anew: the first one to an image of the same
 * module that was opened another time, and one that is tried again after it failed half-way. Bytes
 * that a restore puts out of bounds must not be used. It may be written from any thread, but not
 * while the sandbox is being restored. The guest can change it whenever it runs. HUSK_E_LIMIT if
 * any byte is out of bounds. */
HUSK_API int husk_memory_span(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t addr,
                              uint64_t count, void **ret_span, struct husk_error *err);
/* Bytes; 0 if there is no such memory. */
HUSK_API uint64_t husk_memory_bytes(const husk_sandbox *sandbox, uint32_t mem_idx);
HUSK_API int husk_global_get(husk_sandbox *sandbox, const char *export_name,
                             struct husk_value *ret_value, struct husk_error *err);
HUSK_API int husk_global_set(husk_sandbox *sandbox, const char *export_name,
                             const struct husk_value *value, struct husk_error *err);

/* The index of an exported table (name of name_bytes bytes), for the functions below.
 * HUSK_E_NOT_FOUND. */
HUSK_API int husk_image_table(const husk_image *image, const char *name, size_t name_bytes,
                              uint32_t *ret_table_idx, struct husk_error *err);
/* Entries; 0 if there is no such table. */
HUSK_API uint64_t husk_table_size(const husk_sandbox *sandbox, uint32_t table_idx);
/* An entry: a funcref or an externref, as the table has it. HUSK_E_LIMIT: no such table or entry;
 * HUSK_E_STATE, HUSK_E_POISONED. Setting also HUSK_E_TYPE: a value of another type, or a funcref
 * that is not of this module. */
HUSK_API int husk_table_get(husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                            struct husk_value *ret_value, struct husk_error *err);
HUSK_API int husk_table_set(husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                            const struct husk_value *value, struct husk_error *err);
/* So many null entries more, as by table.grow. ret_old_entries (may be NULL) and errors as of
 * husk_memory_grow(); the limit is table_max_entries. */
HUSK_API int husk_table_grow(husk_sandbox *sandbox, uint32_t table_idx, uint64_t delta_entries,
                             uint64_t *ret_old_entries, struct husk_error *err);

/* The function that a funcref refers to, to be called with husk_call_func(): so a table entry is
 * called, from outside or, as emscripten's invoke_…() want it, from a host function. The guest
 * decides what is in its tables, globals and results, and may forge it: what is not exactly a
 * function of the module is refused. ret_type may be NULL; it lives as long as the image.
 * HUSK_E_NOT_FOUND: it is null; HUSK_E_GUEST: no function; HUSK_E_TYPE: not a funcref;
 * HUSK_E_STATE, HUSK_E_NOMEM. */
HUSK_API int husk_func_from_ref(husk_sandbox *sandbox, const struct husk_value *ref,
                                husk_func *ret_func, struct husk_functype *ret_type,
                                struct husk_error *err);
/* The funcref of a function, for tables, globals and arguments of this sandbox. HUSK_E_INVAL: it is
 * of another module; HUSK_E_NOT_FOUND, HUSK_E_STATE. */
HUSK_API int husk_func_to_ref(husk_sandbox *sandbox, husk_func func, struct husk_value *ret_ref,
                              struct husk_error *err);

/* ---- Counters ---- */

/* Counts since the engine was made; read without stopping anybody, so rows may be a moment
 * apart. */
struct husk_stats {
    size_t size;
    uint64_t sandboxes_made, sandboxes_freed;
    uint64_t vms_made, vms_freed;
    uint64_t calls, host_calls, memory_grows;
    uint64_t traps, exits, deadlines, interrupts, guest_violations; /* how calls ended */
    /* Sandboxes that became poisoned, by cause; what cuts off nested calls counts once. vm_failure:
     * running the VM failed, which no guest can cause. restore_failure: a restore failed
     * half-way. */
    uint64_t poisonings_deadline, poisonings_interrupt, poisonings_guest_violation,
        poisonings_vm_failure, poisonings_restore_failure;
    uint64_t snapshots, snapshot_pages; /* pages that snapshots wrote */
    /* Making used memory equal to an image: by husk_sandbox_restore(), or put off by an unload and
     * done by a load. restores_rebuilt: those of them that mapped new memory instead of copying
     * pages back. */
    uint64_t restores, restores_rebuilt, restore_failures;
    /* aged: found unchanged too often, discarded */
    uint64_t restore_pages_copied, restore_pages_aged;
    /* sizes of the hot set after each, summed up: over `restores`, what one looks at */
    uint64_t restore_pages_hot;
    /* Loads, those of new sandboxes and clones included: into memory mapped on the same module (a
     * restore in place); into a used VM with new memory; with a new VM. loads_from_snapshot: those
     * of these whose image was a snapshot. */
    uint64_t loads_in_place, loads_rebuilt, loads_new_vm, loads_from_snapshot;
    /* instances dropped: by husk_sandbox_unload(), a load over them, husk_sandbox_free() */
    uint64_t unloads;
    /* new sandboxes with and without an idle VM; VMs that the pool had no room for */
    uint64_t pool_hits, pool_misses, pool_drops;
    uint64_t memory_images_made, memory_images_mapped;
    uint64_t snapshot_bytes, restore_bytes_copied; /* the pages above, in bytes */
    /* Sums of durations in nanoseconds; the histograms (husk_engine_histogram()) have the
     * distribution. Calls and host calls only with husk_engine_options.measure_times; call_ns less
     * host_call_ns is the guest's own time, when no call is running. */
    uint64_t restore_ns, snapshot_ns, call_ns, host_call_ns;
    /* Not counts, but how many there are: sandboxes in use, sandboxes idle in the pool, VMs of
     * both, pages in the hot sets of both: memory that is kept private from one run to the next, as
     * of the last load or restore of each. */
    uint64_t sandboxes, pool_idle, vms, hot_pages;
};
#define HUSK_STATS_INIT HUSK_INIT_OF(husk_stats)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_engine_stats(const husk_engine *engine, struct husk_stats *ret_stats);

enum husk_histogram_kind {
    HUSK_HISTOGRAM_RESTORE,
    HUSK_HISTOGRAM_SNAPSHOT,
    HUSK_HISTOGRAM_CALL,
    HUSK_HISTOGRAM_HOST_CALL
};
#define HUSK_HISTOGRAM_BUCKETS 40

/* Durations by power of two: buckets[i] counts those of more than 2^i and at most 2^(i+1) ns (the
 * first also the shorter ones, the last all longer ones). Calls and host calls only with
 * husk_engine_options.measure_times. */
struct husk_histogram {
    size_t size;
    uint64_t count, sum_ns;
    uint64_t buckets[HUSK_HISTOGRAM_BUCKETS];
};
#define HUSK_HISTOGRAM_INIT HUSK_INIT_OF(husk_histogram)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_engine_histogram(const husk_engine *engine, enum husk_histogram_kind kind,
                                   struct husk_histogram *ret_histogram);

/* All of the above in the Prometheus text format (version 0.0.4), names husk_…: counters
 * (husk_…_total), gauges (husk_sandboxes, husk_pool_idle, husk_vms, husk_hot_bytes), histograms
 * (husk_…_seconds). Returns 0, or what `write` returned. */
HUSK_API int husk_engine_prometheus(const husk_engine *engine, husk_write_fn write, void *user);

#ifdef __cplusplus
}
#endif
#endif
