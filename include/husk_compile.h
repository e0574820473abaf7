/*
 * husk_compile.h: WebAssembly bytes to image files (libhusk-compile).
 *
 * The library does not link LLVM. It compiles in a child process, the program
 * `husk-compile-worker`, which has limits of CPU time, memory and files. If LLVM crashes there, the
 * caller gets an error. The process gives up its rights before it looks at the module
 * (docs/trust.md), so a module that takes over LLVM reaches no file, socket or process. Programs
 * that only run images do not need this library. Any thread may call its functions.
 */
#ifndef HUSK_COMPILE_H
#define HUSK_COMPILE_H

#include "husk.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * strict: traps exactly as in the standard (core spec 4.4). Every load and store is done in program
 * order. After a trap, memories, globals and tables hold all that came before it, and nothing else.
 * Loops are not vectorised, so some take 2 to 8 times as long; other code is as fast. Level 0 is
 * always strict.
 *
 * In the default mode LLVM may drop a load or store that is out of bounds, if nothing needs its
 * value. It may have dropped or delayed other stores when one traps, or when the stack is
 * exhausted. Code never reaches anything outside the guest's memory. Traps that the code asks for
 * are exact in both modes (struct husk_outcome, state_is_exact).
 */
#define HUSK_OPT_NONE (-1)
struct husk_compile_options {
    size_t size;
    const char *cpu; /* LLVM CPU name; NULL or "native": this machine; "x86-64-v2": portable */
    /* NULL: where `make install` put it, else relative to the library or program. Other users must
     * not be able to write it or its folder (HUSK_E_NOT_FOUND; the message says so). */
    const char *worker_path;
    const char *cache_dir; /* for husk_compile_cached() alone; the others refuse it */
    /* Features of WebAssembly that no module may use, with commas: "simd,multi-memory" (the names
     * are in docs/guests.md). A module that uses one is refused: HUSK_E_UNSUPPORTED. NULL: none. */
    const char *disable;
    void (*progress)(void *user, uint32_t done,
                     uint32_t total); /* functions compiled; from the calling thread */
    void *progress_user;
    uint64_t cpu_limit_ns;       /* CPU time of the worker; 0: 10 minutes */
    uint64_t memory_limit_bytes; /* address space of the worker, and size of the image; 0: 8 GiB */
    uint32_t threads;            /* 0: one per core, at most 8 */
    int opt_level;               /* 1 … 3; 0: the default, 2; HUSK_OPT_NONE: level 0 */
    bool strict;                 /* traps exactly as in the standard; see above */
    /* Compile also if the kernel, or a sandbox around this process, has no seccomp filters. Then a
     * module that takes over LLVM has this user's rights, so it is for trusted modules. false:
     * HUSK_E_SYS there. It changes nothing if there are filters. */
    bool allow_uncontained;
    /* For husk_compile_cached() and its like: give an image of level 0 now, and have this level's
     * made behind it, for a later call; see "Optimised in the background" below. */
    bool optimise_in_background;
    uint8_t reserved[5];
    const char *label; /* of a background job, such as the module's file; NULL: none; cut to fit */
    /* Of the files in cache_dir, on the disk. 0: what husk_cache_set_limit() set for the folder,
     * else HUSK_CACHE_DEFAULT_LIMIT_BYTES. */
    uint64_t cache_limit_bytes;
    /* Called on the calling thread while the worker works: soon after a signal of the embedder's
     * interrupted the thread's wait, and at least once each interrupted_ns, for signals that
     * another thread got. 0: compiling goes on. Any other value: the worker is killed, and the
     * status is HUSK_E_TIMEOUT. It must return (no longjmp(), no C++ exception). NULL: nobody is
     * asked. Jobs in the background ask nobody. */
    int (*interrupted)(void *user);
    void *interrupted_user;
    uint64_t interrupted_ns; /* 0: only after signals; granularity 1 ms */
};
#define HUSK_COMPILE_OPTIONS_INIT HUSK_INIT_OF(husk_compile_options)

/* Does it start with "\0asm", as a wasm binary does? */
HUSK_API bool husk_is_wasm(const void *bytes, size_t count);

/* Decode and validate (core specification 3.0, sections 3 and 5, and finished proposals), without
 * compiling. A valid module may use more than husk_compile() supports: husk_compile_check().
 * HUSK_E_BAD_WASM, HUSK_E_INVALID_WASM, HUSK_E_UNSUPPORTED (a proposal that is not known),
 * HUSK_E_LIMIT with err->offset, HUSK_E_NOMEM. */
HUSK_API int husk_validate(const void *wasm, size_t count, struct husk_error *err);

/* Would husk_compile() take the module? Validates it, and looks whether it uses only features that
 * the compiler supports and that options->disable does not name. Errors of husk_validate();
 * HUSK_E_UNSUPPORTED for a valid module names all that is missing, and how to build without it.
 * husk_compile() may still refuse a size (HUSK_E_LIMIT), or an imported memory with pages of one
 * byte, which only another instance can provide. `options` may be NULL. */
HUSK_API int husk_compile_check(const void *wasm, size_t count,
                                const struct husk_compile_options *options, struct husk_error *err);

/* ---- Looking into a module, without compiling ---- */

struct husk_wasm_info {
    size_t size;
    /* imported ones included */
    uint64_t types_count, funcs_count, tables_count, memories_count, globals_count;
    uint64_t elems_count, datas_count, customs_count;
    uint64_t code_bytes, data_bytes; /* function bodies, data segments */
    bool has_start;                  /* a start function */
    bool has_names;                  /* some function has a name in the name section */
    bool has_dwarf;                  /* a .debug_line section: backtraces can name source lines */
    bool uses_simd;
    char module_name[128]; /* from the name section, cut to fit; or "" */
    char features[512];    /* what it uses, as in husk_compile_options.disable, with spaces */
    uint8_t reserved[4];   /* 0 */
    uint64_t tags_count;   /* imported ones included */
};
#define HUSK_WASM_INFO_INIT HUSK_INIT_OF(husk_wasm_info)

/* Decode, validate and count. Errors of husk_validate(). */
HUSK_API int husk_wasm_describe(const void *wasm, size_t count, struct husk_wasm_info *ret_info,
                                struct husk_error *err);

/* Call visit once per import and export, in the module's order. `item`, and all that it points to,
 * is valid during that call only. This costs a small part of husk_wasm_describe(): the sections are
 * decoded, and function bodies not looked at. So a module that passes need not be valid;
 * husk_compile() finds that. HUSK_E_INVALID_WASM only if an import or export has a type, or
 * is something, that does not exist; else HUSK_E_BAD_WASM, HUSK_E_UNSUPPORTED, HUSK_E_LIMIT,
 * HUSK_E_NOMEM, before anything is visited. With husk_imports_match() it tells what a module lacks
 * before it is compiled. */
HUSK_API int husk_wasm_interface(const void *wasm, size_t count,
                                 void (*visit)(void *user, bool is_import,
                                               const struct husk_extern *item),
                                 void *user, struct husk_error *err);

/* Write a module as text, close to the text format, with the byte offset of every instruction.
 * `write` gets UTF-8. The module must be well-formed, but need not be valid. Errors are those of
 * husk_validate() except HUSK_E_INVALID_WASM, and the number that `write` returned. */
HUSK_API int husk_wasm_print(const void *wasm, size_t count, husk_write_fn write, void *user,
                             struct husk_error *err);

/* ---- Compiling ---- */

/* Compile to an image in an anonymous file (memfd). The caller owns *ret_fd, which is positioned at
 * 0 and close-on-exec. Errors are those of husk_validate(), and HUSK_E_COMPILER, HUSK_E_TIMEOUT,
 * HUSK_E_INVAL, HUSK_E_NOT_FOUND (no worker), HUSK_E_SYS. */
HUSK_API int husk_compile(const void *wasm, size_t count,
                          const struct husk_compile_options *options, int *ret_fd,
                          struct husk_error *err);

/* Compile to a file. It appears at once and durably, as by husk_image_save(). */
HUSK_API int husk_compile_to_file(const void *wasm, size_t count,
                                  const struct husk_compile_options *options, const char *path,
                                  struct husk_error *err);

struct husk_compiled {
    size_t size;
    int fd; /* as of husk_compile() */
    bool was_cached;
    uint8_t reserved[3];
    /* Why the result could not be cached; status 0: nothing was wrong. */
    struct husk_error warning;
    /* enum husk_background: with optimise_in_background, what is known of the optimised image.
     * HUSK_BACKGROUND_NONE: this is it, or none was asked for. Otherwise this one has level 0. */
    uint32_t background;
    uint32_t background_done, background_total; /* functions, while the job works */
    uint8_t reserved2[4];
    uint64_t background_end_s;          /* when it failed or was stopped; seconds since 1970 */
    struct husk_error background_error; /* why it failed, or was refused */
};
#define HUSK_COMPILED_INIT HUSK_INIT_OF(husk_compiled)

/* As husk_compile(), through a cache folder: options->cache_dir. It is made if it does not exist;
 * the caller chooses it, e.g. $XDG_CACHE_HOME/husk. The key is the hash of the wasm, the options
 * that matter, the CPU and the compiler's version. Safe for concurrent processes. An unwritable
 * folder, a disk that is full even without the folder's older files, or an image that is larger
 * than the folder's limit costs the caching, never the result: ret_compiled->warning tells why. */
HUSK_API int husk_compile_cached(const void *wasm, size_t count,
                                 const struct husk_compile_options *options,
                                 struct husk_compiled *ret_compiled, struct husk_error *err);

/* The same for a file, from its start, whatever its position, which may move. The cache then notes
 * which file it was: device, inode, size, times. So husk_cache_find() finds the image without
 * reading the file, as long as it is the same. Files that were changed in the last seconds, and
 * those of network file systems, are not noted. */
HUSK_API int husk_compile_cached_fd(int fd, const struct husk_compile_options *options,
                                    struct husk_compiled *ret_compiled, struct husk_error *err);
/* Find the image of a file that husk_compile_cached_fd() has noted, with the same options.
 * HUSK_E_NOT_FOUND: compile it. The image has not been checked: open it with its hash compared
 * (husk_open_options), and compile if that fails, which makes it anew. As for make and git, a file
 * is the same if its times are; a program that writes to it through a shared mapping may change it
 * without changing these. */
HUSK_API int husk_cache_find(int fd, const struct husk_compile_options *options,
                             struct husk_compiled *ret_compiled, struct husk_error *err);

/* ---- The cache folder ----
 *
 * It holds images, and notes about modules' files and jobs. When something is stored, and they take
 * more of the disk than the folder's limit, those that were not used for the longest time are
 * removed, down to nine tenths of the limit. So a folder may be larger than its limit by the image
 * that is being stored. The time of a use is known to the hour; it is the file's mtime. The
 * descriptor of an image that is removed stays as it is, and so does what is mapped. Notes of jobs
 * that wait or work, and other files in the folder, are never removed. Any thread and any process
 * may call these functions at any time, and compile meanwhile. A folder that does not exist has no
 * files. */

#define HUSK_CACHE_DEFAULT_LIMIT_BYTES (5ull << 30)
#define HUSK_CACHE_UNLIMITED UINT64_MAX

/* Set the folder's limit, durably, for whoever sets no husk_compile_options.cache_limit_bytes. The
 * folder is made if it does not exist. 0: the default again. Nothing is removed before something is
 * stored, or husk_cache_clean() is called. HUSK_E_INVAL, HUSK_E_SYS, HUSK_E_NOMEM. */
HUSK_API int husk_cache_set_limit(const char *cache_dir, uint64_t limit_bytes,
                                  struct husk_error *err);

struct husk_cache_info {
    size_t size;
    uint64_t limit_bytes; /* that was set for the folder, or the default */
    uint64_t bytes;       /* of all that is counted below, on the disk */
    uint64_t images_count, images_bytes;
    uint64_t notes_count;     /* about modules' files and jobs that make images */
    uint64_t leftovers_count; /* files that a process is writing, or that killed processes left */
};
#define HUSK_CACHE_INFO_INIT HUSK_INIT_OF(husk_cache_info)
/* Reads the folder. HUSK_E_INVAL, HUSK_E_SYS, HUSK_E_NOMEM. */
HUSK_API int husk_cache_info(const char *cache_dir, struct husk_cache_info *ret_info,
                             struct husk_error *err);

/* An image in a cache folder. All of it is as its file says, which may be damaged; texts may hold
 * any bytes except NUL. */
struct husk_cache_entry {
    size_t size;
    const char *name;        /* of its file in the folder: the key, and ".husk" */
    const char *module_path; /* a file that was such a module when it was noted; or "" */
    const char *module_name; /* from the name section, cut to fit; or "" */
    const char *target_cpu, *compiler;
    uint64_t bytes; /* on the disk */
    int64_t used_s; /* the last use, in seconds since 1970 */
    uint8_t wasm_sha256[32];
    int opt_level; /* 0 … 3 */
    bool is_strict;
    /* false: not an image that this library can read; it is damaged, or of another version of Husk.
     * Texts are "" then, and the hash and the level are 0. */
    bool is_usable;
    uint8_t reserved[2];
};
typedef int (*husk_cache_entry_fn)(void *user, const struct husk_cache_entry *entry);
/* Call `visit` for each image, from the last used one to the one that is removed first. `entry`,
 * and all that it points to, is valid during that call only. If the callback returns another value
 * than 0, the listing ends, and err->status is its number. An image that is removed meanwhile is
 * left out. HUSK_E_INVAL, HUSK_E_SYS, HUSK_E_NOMEM. */
HUSK_API int husk_cache_list(const char *cache_dir, husk_cache_entry_fn visit, void *user,
                             struct husk_error *err);

struct husk_cache_clean_options {
    size_t size;
    uint64_t limit_bytes; /* 0: that was set for the folder, or the default */
    /* Remove files until they take no more than this, those first that were not used for the
     * longest time. 0: nine tenths of the folder's limit, if they take more than that limit;
     * HUSK_CACHE_UNLIMITED: remove none for that. */
    uint64_t to_bytes;
    uint64_t unused_seconds; /* remove those that were not used for so long; 0: none for that */
    bool removes_unusable;   /* images that this library cannot read (husk_cache_entry.is_usable) */
    bool removes_all;        /* all images and notes, and unfinished files */
    uint8_t reserved[6];
};
#define HUSK_CACHE_CLEAN_OPTIONS_INIT HUSK_INIT_OF(husk_cache_clean_options)
struct husk_cache_cleaned {
    size_t size;
    uint64_t removed_count, removed_bytes;
    uint64_t left_count, left_bytes; /* files of the cache */
    uint64_t failed_count;           /* files that could not be removed, and are left */
    struct husk_error failure;       /* of the first of them; status 0: there was none */
};
#define HUSK_CACHE_CLEANED_INIT HUSK_INIT_OF(husk_cache_cleaned)
/* Remove images and notes, and files that killed processes left more than an hour ago. `options`
 * and `ret_cleaned` may be NULL. A file that cannot be removed is not an error of the call. For two
 * seconds at most it waits for another process that cleans. HUSK_E_INVAL, HUSK_E_SYS,
 * HUSK_E_NOMEM. */
HUSK_API int husk_cache_clean(const char *cache_dir, const struct husk_cache_clean_options *options,
                              struct husk_cache_cleaned *ret_cleaned, struct husk_error *err);

/* ---- Optimised in the background ---- */

/*
 * With optimise_in_background, husk_compile_cached(), husk_compile_cached_fd() and
 * husk_compile_linked_cached() do not wait for an image that the cache does not have. They give one
 * of level 0, from the cache or compiled now, and begin a job that makes the one of opt_level. Once
 * it is there, the next call finds it, and so does husk_cache_find(), which finds no other. Who
 * holds an image keeps it: a program goes over to the new one by opening it and making new
 * sandboxes. A snapshot belongs to the image that it was taken of. Modules of less than 4 KiB are
 * compiled at opt_level at once, which takes no longer.
 *
 * A job is a process that outlives the caller. It is not the caller's child, and has no terminal
 * and none of the caller's descriptors. Its priority is the lowest. It keeps the limits of the
 * options, cpu_limit_ns and memory_limit_bytes, and takes at most three quarters of the machine's
 * memory. Each image has at most one. In a cache folder one works at a time, 15 more wait, and
 * others are refused.
 *
 * A job that fails is not begun again for a day; one that met a limit, until a limit is higher; one
 * that was stopped, until that is forgotten. One that was ended from outside is begun again, twice.
 * The caller gets the reason each time. Compiling without optimise_in_background makes the image in
 * any case.
 */
enum husk_background {
    HUSK_BACKGROUND_NONE = 0,
    HUSK_BACKGROUND_BEGUN = 1,   /* this call began the job */
    HUSK_BACKGROUND_WAITS = 2,   /* there is a job, which waits for another one */
    HUSK_BACKGROUND_WORKS = 3,   /* there is a job */
    HUSK_BACKGROUND_FAILED = 4,  /* the error says how */
    HUSK_BACKGROUND_STOPPED = 5, /* by husk_background_stop() */
    /* There is no job: the folder cannot be written (warning, or the error), or has too many. */
    HUSK_BACKGROUND_REFUSED = 6
};

struct husk_background_job {
    size_t size;
    char key[65];    /* of the image in the cache: 64 digits */
    char label[256]; /* of the options; printable UTF-8 or not */
    uint8_t reserved[7];
    uint32_t state;          /* enum husk_background: WAITS, WORKS, FAILED or STOPPED */
    int32_t opt_level;       /* 1 … 3 */
    uint32_t pid;            /* of one that waits or works, if that is on this machine; else 0 */
    uint32_t attempts;       /* 2: it was ended from outside once, and begun again */
    uint32_t done, total;    /* functions */
    uint64_t begin_s, end_s; /* seconds since 1970 */
    uint64_t wasm_bytes;
    uint64_t cpu_limit_ns, memory_limit_bytes;
    struct husk_error error; /* of one that failed */
};

/* Call visit once per job of a cache folder: those that wait, work, failed or were stopped. Jobs
 * that succeeded are not listed. `job` is valid during the call. visit may call
 * husk_background_stop(). HUSK_E_SYS: the folder cannot be read; one that does not exist has no
 * jobs; HUSK_E_NOMEM. */
HUSK_API int husk_background_list(const char *cache_dir,
                                  void (*visit)(void *user, const struct husk_background_job *job),
                                  void *user, struct husk_error *err);
/* End a job that waits or works, and wait until it has ended. The image is not made in the
 * background any more. HUSK_E_NOT_FOUND: no such job has this key; HUSK_E_UNSUPPORTED: it is
 * another machine's or container's; HUSK_E_TIMEOUT: it did not end in 30 seconds; HUSK_E_SYS. */
HUSK_API int husk_background_stop(const char *cache_dir, const char *key, struct husk_error *err);
/* Forget that a job failed or was stopped: the next call begins a new one. HUSK_E_NOT_FOUND: there
 * is no job with this key; HUSK_E_INVAL: it waits or works. */
HUSK_API int husk_background_forget(const char *cache_dir, const char *key, struct husk_error *err);

/* ---- Several modules in one image ---- */

/* An import of a module that an export of another instance satisfies. All names are
 * NUL-terminated. */
struct husk_alias {
    const char *module, *name; /* the import */
    const char *instance;      /* an earlier module's name */
    const char *export_name;
};

/* An element of an array; its layout is final. */
struct husk_module {
    const char *name; /* of the instance: UTF-8, not empty, used once */
    const void *wasm;
    size_t count;                     /* bytes of wasm */
    const struct husk_alias *aliases; /* may be NULL if there are none */
    size_t aliases_count;
};

/* Instantiate modules in this order and link them to one image (core specification, section 4.5.4).
 * An import of a module is, in this order: what its alias says; the export of that name of the
 * earlier module whose name is the import's module; an import of the image, as always. Functions,
 * memories, tables and globals are shared, and calls between the instances are direct calls.
 * Instances that import one memory, table or global of the image share that, too. The same module
 * may be given twice, with two names; it is then compiled twice.
 *
 * The last module is the main one: its exports keep their names, those of the others are named
 * "instance/export". Its memory ("memory", else its first one) has the index 0, unless the image
 * imports memories, which come first. Start functions run in order, in husk_sandbox_start() or the
 * first call. If one traps, what earlier instances have written stays, and the sandbox refuses
 * calls. A memory or table that is declared too small for a later import may have grown by then; if
 * not, it is a trap, HUSK_TRAP_LINK. husk_image_info.wasm_sha256 is of all modules, names and
 * aliases.
 *
 * A host function works on the memory of the instance that imports it (husk_caller_memory()); so do
 * those of WASI.
 *
 * HUSK_E_LINK: an import and its export do not match (the message names both), an alias names
 * something that does not exist, a module imports from a later one. HUSK_E_INVAL: no modules, more
 * than 1,000, bad or equal names. HUSK_E_LIMIT: more than 1 GiB of modules, or more functions,
 * memories, … together than one module may have. Others as of husk_compile(); offsets are those in
 * the module that the message names. One module without aliases is compiled as by
 * husk_compile(). */
HUSK_API int husk_compile_linked(const struct husk_module *modules, size_t count,
                                 const struct husk_compile_options *options, int *ret_fd,
                                 struct husk_error *err);
/* The same through a cache folder, as by husk_compile_cached(). */
HUSK_API int husk_compile_linked_cached(const struct husk_module *modules, size_t count,
                                        const struct husk_compile_options *options,
                                        struct husk_compiled *ret_compiled, struct husk_error *err);

#ifdef __cplusplus
}
#endif
#endif
