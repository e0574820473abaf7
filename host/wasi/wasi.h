/*
 * host/wasi/wasi.h: WASI preview 1 without the VM. struct wasi_host_ops gives access to the guest's
 * memory and tells when to stop. So unit tests can run all of it with a plain buffer.
 * wasi_imports.c connects it to sandboxes.
 *
 * Flow: guest → host call → wasi_imports.c → wasi_dispatch() → wasi_<name>() → errno back to the
 * guest. Every guest pointer goes through wasi_span() or wasi_view() with its length, every
 * structure is copied once, every count has a limit below. The addresses of results are checked
 * before the operation, so a bad pointer loses no data.
 */
#ifndef HOST_WASI_H
#define HOST_WASI_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "husk.h"
#include "wasi_fd.h"
#include "wasi_given.h"

/* Limits on a guest's requests in one call; more in wasi_fd.h. */
#define WASI_TRANSFER_MAX_BYTES (64u << 20) /* per read or write: the rest is a short count */
/* per system call, because a file system may ignore a kick until the call is done */
#define WASI_PIECE_BYTES (1u << 20)
#define WASI_POLL_MAX 1024 /* subscriptions; more is EINVAL */
#define WASI_LISTENERS_MAX 64u

struct privfs;
struct wasi_listing; /* wasi_privlist.c */

/* A directory that the embedder gives. */
struct wasi_dir {
    char *guest_path;
    uint32_t guest_path_bytes;
    uint32_t kind; /* enum husk_wasi_dir_kind */
    /* Of the host: opened with O_PATH, owned. -1: there is none. */
    int host_fd;
    uint64_t host_dev, host_ino;
    bool is_writable;       /* by the guest; of `cow`: the private layer */
    struct wasi_fd preopen; /* its descriptor in a new sandbox; host_fd is borrowed from here */
};

/* The contents of husk_wasi_options. Immutable; all sandboxes of an import set share it. */
struct wasi_config {
    uint32_t refs; /* atomic */
    struct wasi_given start;
    struct wasi_dir *dirs;
    uint32_t dirs_count;
    struct wasi_fd *listeners; /* their descriptors in a new sandbox */
    uint32_t listeners_count;
    uint32_t open_max;
    uint64_t private_max_bytes, private_max_entries;
};

/* The state of one sandbox. A snapshot saves all of it except config and given (wasi_state.c). */
struct wasi_ctx {
    struct wasi_config *config;
    struct wasi_given given;    /* arguments and environment: only if they were replaced */
    struct wasi_fds fds;        /* with room for the streams, preopened directories, listeners */
    struct wasi_fds ahead;      /* what wasi_state_check() opened for wasi_state_load() */
    uint64_t serial[2];         /* of the last file opened: a random number, and a count */
    uint64_t random_state;      /* if given.random_seed */
    uint64_t fixed_ns;          /* a fixed clock: monotonic and CPU time */
    uint64_t fixed_realtime_ns; /*   and real time */
    uint64_t monotonic_base_ns; /* start of the guest's clock, which hides the host's uptime */
    uint64_t cpu_total_ns;      /* CPU clocks: CPU time of the calling thread, */
    uint64_t cpu_last_ns;       /*   added up between queries from the same thread */
    int32_t cpu_last_tid;
    bool owes_sweep;              /* privsweep_run(), since a state was loaded */
    bool was_told_of_threads;     /* the embedder: see thread_spawn() */
    struct wasi_listing *listing; /* a cache, which no snapshot contains; NULL: none */
};

/* The operations of the host that runs the guest, for handlers. */
struct wasi_host_ops {
    /* [addr, addr + count) of the guest's memory 0, or NULL if any byte is outside. count 0: any
     * non-NULL. */
    void *(*span)(void *host, uint32_t addr, uint64_t count);
    /* The same, to read only. */
    const void *(*view)(void *host, uint32_t addr, uint64_t count);
    /* Make a system call that may wait, by the kernel's conventions: it returns -errno on failure.
     * It ends with -EINTR if the guest's call must end; then it did nothing. -EINTR may have
     * another cause, too. Every operation that may wait uses this function. */
    long (*syscall)(void *host, long number, const long args[6]);
    /* Must the guest's call end? Long loops check it. */
    bool (*is_cut)(void *host);
    /* The sandbox's private layer; base NULL: it has none. Limits and time are not set. */
    void (*files)(void *host, struct privfs *ret_files);
};

struct wasi_call {
    struct wasi_ctx *ctx;
    const struct wasi_host_ops *ops;
    void *host;
    const uint64_t *args; /* i32 zero-extended */
    bool is_unstable;     /* called through "wasi_unstable" */
    int status;           /* HUSK_E_…: a callback failed, which ends the guest's call */
    bool is_pending;      /* it did nothing: its input is awaited (wasi_awaited_io.c) */
    bool has_exited;      /* set by proc_exit, with exit_code */
    uint32_t exit_code;
};

enum wasi_func_id {
#define WASI_FUNC(name, params, has_result, in_unstable) WASI_ID_##name,
#include "wasi.def"
#undef WASI_FUNC
    WASI_FUNCS_COUNT
};

struct wasi_func {
    const char *name;
    const char *params;
    bool has_result, in_unstable;
    uint16_t (*handler)(struct wasi_call *call);
};

/* ---- wasi.c: configuration and context; wasi_funcs.c: dispatch ---- */
int wasi_config_new(const struct husk_wasi_options *options, struct wasi_config **ret_config,
                    struct husk_error *err);
struct wasi_config *wasi_config_ref(struct wasi_config *config);
void wasi_config_unref(struct wasi_config *config);
/* HUSK_E_NOMEM. wasi_ctx_done() closes all descriptors, and drops the context's reference to the
 * config. */
int wasi_ctx_init(struct wasi_ctx *ctx, struct wasi_config *config, struct husk_error *err);
/* Reset the context to that of a new sandbox. Keeps what the embedder gave it since. Cannot
 * fail. */
void wasi_ctx_reset(struct wasi_ctx *ctx);
/* The same of random numbers and clocks alone. */
void wasi_ctx_restart(struct wasi_ctx *ctx);
/* Replace parts of what the guest gets. Takes over `from`. Cannot fail. */
void wasi_ctx_give(struct wasi_ctx *ctx, struct wasi_given *from);
static inline const struct wasi_strings *wasi_ctx_args(const struct wasi_ctx *ctx) {
    return (ctx->given.parts & WASI_PART_ARGS) != 0 ? &ctx->given.args : &ctx->config->start.args;
}
static inline const struct wasi_strings *wasi_ctx_env(const struct wasi_ctx *ctx) {
    return (ctx->given.parts & WASI_PART_ENV) != 0 ? &ctx->given.env : &ctx->config->start.env;
}
void wasi_ctx_done(struct wasi_ctx *ctx);
/* Give a file that is being opened its serial. */
void wasi_ctx_serial(struct wasi_ctx *ctx, struct wasi_fd *fd);
extern const struct wasi_func wasi_funcs[WASI_FUNCS_COUNT];
/* Returns the guest's errno (0 for functions without a result). */
uint16_t wasi_dispatch(struct wasi_call *call, uint32_t func_id);

/* ---- wasi_mem.c: guest memory and errno ---- */
/* To write, and to read only; NULL: outside of the memory. A view costs restores nothing. */
void *wasi_span(const struct wasi_call *call, uint64_t addr, uint64_t count);
const void *wasi_view(const struct wasi_call *call, uint64_t addr, uint64_t count);
uint16_t wasi_put_u32(const struct wasi_call *call, uint64_t addr, uint32_t value);
uint16_t wasi_put_u64(const struct wasi_call *call, uint64_t addr, uint64_t value);
uint16_t wasi_errno_of(int host_errno);

static inline uint32_t wasi_arg32(const struct wasi_call *call, unsigned idx) {
    return (uint32_t)call->args[idx];
}

/* ---- wasi_wait.c: waiting for the world ---- */
/* ops->syscall(), repeated if an unrelated signal ended it. So -EINTR means that the guest's call
 * must end. */
long wasi_syscall(const struct wasi_call *call, long number, const long args[6]);
#define WASI_SYSCALL(call, number, ...) wasi_syscall(call, number, (const long[6]){__VA_ARGS__})
/* poll(). timeout_ns UINT64_MAX: no timeout. Returns the number of ready descriptors, or -errno.
 * -EINTR: as above. */
int wasi_wait(const struct wasi_call *call, struct pollfd *fds, nfds_t count, uint64_t timeout_ns);

/* ---- wasi_fd.c ---- */
/* Get the guest's open descriptor `fd`, if it has all of `rights`. EBADF, ENOTCAPABLE. */
uint16_t wasi_fd_get(const struct wasi_call *call, uint32_t fd, uint64_t rights,
                     struct wasi_fd **ret_fd);
/* The same for the number in argument `arg`. */
uint16_t wasi_fd_arg(const struct wasi_call *call, unsigned arg, uint64_t rights,
                     struct wasi_fd **ret_fd);
/* The same for argument 0, which must have a position. ESPIPE if it has none. */
uint16_t wasi_fd_get_seekable(const struct wasi_call *call, uint64_t rights,
                              struct wasi_fd **ret_fd);

/* Write the attributes of a file at `addr`, in the layout of the module that calls. st NULL: only
 * the kind. EFAULT. */
uint16_t wasi_filestat_put(const struct wasi_call *call, uint64_t addr, uint8_t filetype,
                           const struct stat *st);
/* The times to set, from the arguments first … first + 2: atim, mtim, flags. EINVAL. */
uint16_t wasi_times_arg(const struct wasi_call *call, unsigned first, struct timespec times[2]);

/* ---- wasi_io.c ---- */
/* Set a transfer's vectors from the guest's iovecs. EINVAL, EFAULT. */
uint16_t wasi_transfer_init(struct wasi_transfer *transfer, uint64_t iovs_addr,
                            uint32_t iovs_count);

/* ---- wasi_listener.c ---- */
/* The configuration's table of listeners, from options that were read. HUSK_E_INVAL, HUSK_E_LIMIT,
 * HUSK_E_NOMEM. Frees nothing on failure; wasi_listeners_done() does. */
int wasi_listeners_init(struct wasi_config *config, const struct husk_wasi_options *options,
                        struct husk_error *err);
void wasi_listeners_done(struct wasi_config *config);

/* ---- wasi_state.c: the state in a snapshot; wasi_state.h: saved descriptors ---- */
/* An error names the descriptor that cannot be saved. */
int wasi_state_save(const struct wasi_ctx *ctx, struct buf *buf, struct husk_error *err);
/* Check saved bytes, which may be hostile. HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION. HUSK_E_LIMIT: a
 * number that open_max forbids. NULL is allowed. Opens what they name in ctx->ahead (HUSK_E_NOMEM;
 * HUSK_E_SYS: the process or the system has no descriptor left), and changes nothing else. What
 * cannot be opened for another reason is closed afterwards, and no error. */
int wasi_state_check(struct wasi_ctx *ctx, const uint8_t *bytes, size_t count,
                     struct husk_error *err);
/* Load bytes that were checked on this context. NULL: reset the context. Cannot fail, and waits for
 * nothing. */
void wasi_state_load(struct wasi_ctx *ctx, const uint8_t *bytes, size_t count);

/* ---- wasi_clock.c ---- */
/* The time of a clock as the guest sees it. EINVAL: the clock does not exist. Looking does not move
 * a fixed clock. */
uint16_t wasi_clock_now(struct wasi_ctx *ctx, uint32_t clock, uint64_t *ret_ns);
/* Begin with these times of the monotonic clock and the CPU clocks. */
void wasi_clock_begin(struct wasi_ctx *ctx, uint64_t monotonic_ns, uint64_t cpu_ns);
/* Move a fixed clock, which stops at 2^63 - 1 ns. Would it get as far? */
bool wasi_clock_can_advance(const struct wasi_ctx *ctx, uint64_t ns);
void wasi_clock_advance(struct wasi_ctx *ctx, uint64_t ns);

/* ---- handlers ---- */
#define WASI_FUNC(name, params, has_result, in_unstable)                                           \
    uint16_t wasi_##name(struct wasi_call *call);
#include "wasi.def"
#undef WASI_FUNC

#endif
