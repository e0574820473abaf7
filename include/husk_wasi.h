/*
 * husk_wasi.h: what a WASI guest gets for one request: standard streams, arguments, environment,
 * clock, random numbers. Part of husk.h.
 *
 * husk_imports_wasi() says how every new sandbox begins. husk_sandbox_set_wasi() replaces parts of
 * it between two calls. So a pool of sandboxes serves each request with its own streams:
 *
 *   restore, husk_sandbox_set_wasi(), husk_call(), husk_sandbox_wasi_output()
 *
 * These parts are the embedder's. Snapshots do not hold them, and a restore keeps them as they are.
 */
#ifndef HUSK_WASI_H
#define HUSK_WASI_H

#include "husk_imports.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Streams ---- */

/* CLOSED: the guest gets EBADF.
 * DESCRIPTOR: a descriptor of the host, as in husk_wasi_options.
 * BYTES: standard input only. The guest reads these bytes, then the end. No system calls.
 * BUFFER: standard output and error only. The library collects what the guest writes, for
 *   husk_sandbox_wasi_output(). No system calls.
 * CALLBACK: functions of the embedder.
 * AWAITED: standard input only. Its data comes later: the first function that wants some (fd_read,
 *   fd_pread, poll_oneoff), under whatever number the guest has the stream, makes the call pending
 *   (HUSK_PENDING) before it does anything. Take a snapshot there, or give another stream and let
 *   husk_call_resume() call the function again. In a call inside another one, which cannot be
 *   pending, the function ends the call with a trap. */
enum husk_wasi_stream_kind {
    HUSK_WASI_CLOSED,
    HUSK_WASI_DESCRIPTOR,
    HUSK_WASI_BYTES,
    HUSK_WASI_BUFFER,
    HUSK_WASI_CALLBACK,
    HUSK_WASI_AWAITED
};

/* Fill `bytes` with up to `count` bytes (at least 1). Return how many; 0: the end. */
typedef int64_t (*husk_wasi_read_fn)(void *user, void *bytes, size_t count);
/* Take up to `count` bytes (at least 1). Return how many; 0: none, now or later, and the guest gets
 * EPIPE. */
typedef int64_t (*husk_wasi_write_fn)(void *user, const void *bytes, size_t count);

/* Callbacks run on the thread that made the guest's call, under the rules of a host function: they
 * may wait, and a deadline or interrupt ends the call when they return. They may call the guest. A
 * negative HUSK_E_… ends the guest's call with the trap HUSK_TRAP_HOST_FUNCTION. So does a result
 * larger than `count`. `bytes` is the guest's memory, and valid until the callback returns. A
 * guest's read or write with several vectors makes one call for each, until one is cut short. A
 * guest that waits (poll_oneoff) is told that the stream is ready.
 *
 * A field that does not belong to the stream's kind must be zero. */
struct husk_wasi_stream {
    size_t size;
    enum husk_wasi_stream_kind kind;
    int fd; /* DESCRIPTOR: borrowed, and examined now; one that is not open is closed */
    /* BYTES: copied. Deliberately not borrowed, because a stream lives until it is replaced, and a
     * later call would show the guest whatever is there by then. */
    const void *bytes;
    size_t bytes_count;
    /* BUFFER: the buffer grows up to this; 0: 1 MiB. At the limit a write is short, and the next
     * one fails with ENOSPC. */
    uint64_t limit_bytes;
    husk_wasi_read_fn read;   /* CALLBACK: NULL: the guest cannot read */
    husk_wasi_write_fn write; /* CALLBACK: NULL: the guest cannot write */
    void *user;               /* CALLBACK: borrowed until the stream is replaced */
    uint32_t rights;          /* DESCRIPTOR: HUSK_WASI_…, or'ed */
    uint32_t reserved;
};
#define HUSK_WASI_STREAM_INIT HUSK_INIT_OF(husk_wasi_stream)

/* ---- Clock ---- */

/* HOST: the host's clocks.
 * FIXED: the realtime clock begins at realtime_ns (since 1970), and again at each restore. The
 *   monotonic clock and the CPU clocks begin at 0, or go on from the snapshot. Each reading of a
 *   clock moves all of them on by step_ns. With 0 they stand still, and a guest that waits in a
 *   loop for a time to come waits for ever. A sleep takes no time, and moves the clocks to its end.
 *   A wait for descriptors of the host does take up to its timeout. With a random_seed, too, runs
 *   are reproducible. */
enum husk_wasi_clock_kind { HUSK_WASI_CLOCK_HOST, HUSK_WASI_CLOCK_FIXED };

struct husk_wasi_clock {
    size_t size;
    uint64_t realtime_ns; /* FIXED */
    uint64_t step_ns;     /* FIXED */
    enum husk_wasi_clock_kind kind;
    uint32_t reserved;
};
#define HUSK_WASI_CLOCK_INIT HUSK_INIT_OF(husk_wasi_clock)

/* ---- Requests ---- */

/* Every pointer may be NULL: that part stays as it is. */
struct husk_wasi_request {
    size_t size;
    const struct husk_wasi_stream *stdin_stream;
    const struct husk_wasi_stream *stdout_stream;
    const struct husk_wasi_stream *stderr_stream;
    const char *const *args; /* args[0] is the program name; copied */
    size_t args_count;
    const char *const *env; /* "NAME=value"; copied */
    size_t env_count;
    const struct husk_wasi_clock *clock;
    /* As husk_wasi_options.random_seed. The sequence begins now, and again at each restore. */
    const uint64_t *random_seed;
};
#define HUSK_WASI_REQUEST_INIT HUSK_INIT_OF(husk_wasi_request)

/* Replace parts of what a sandbox's guest gets: all that the request names or, on failure, none.
 * They last until they are replaced, or until something is loaded or unloaded. A restore keeps
 * them; it does not rewind a stream, and does not empty a buffer. A clone begins as the set of
 * imports says.
 *
 * A descriptor of the guest's that leads to a replaced stream leads to the new one, with the flags
 * that the guest set, and without the rights that it gave up. A stream that the guest closed stays
 * closed until a restore opens it.
 *
 * Possible between calls, and while a call is pending: HUSK_E_STATE in a call, and if nothing is
 * loaded. It is possible in a poisoned sandbox. HUSK_E_NOT_FOUND: the module imports nothing of
 * WASI, so no request makes a difference to it. HUSK_E_INVAL, HUSK_E_LIMIT (as in
 * husk_imports_wasi()), HUSK_E_NOMEM. Threads: as for all functions of a sandbox. */
HUSK_API int husk_sandbox_set_wasi(husk_sandbox *sandbox, const struct husk_wasi_request *request,
                                   struct husk_error *err);

/* What the guest wrote to a stream of the kind BUFFER. The library fills it. */
struct husk_wasi_output {
    size_t size;
    const char *bytes; /* the library's; no NUL is added; NULL if count is 0 */
    size_t count;
    bool has_lost; /* a write was cut short, at the limit or for want of memory */
    uint8_t reserved[7];
};
#define HUSK_WASI_OUTPUT_INIT HUSK_INIT_OF(husk_wasi_output)

/* stream: 1 is standard output, 2 standard error. `bytes` is valid until the next call in this
 * sandbox, until the stream is replaced, and until something is loaded or unloaded. The output
 * grows until the stream is replaced. Also possible in a poisoned sandbox, and in host functions.
 * HUSK_E_INVAL: also if the stream is no BUFFER. HUSK_E_STATE, HUSK_E_NOT_FOUND: as above. */
HUSK_API int husk_sandbox_wasi_output(const husk_sandbox *sandbox, uint32_t stream,
                                      struct husk_wasi_output *ret_output, struct husk_error *err);

#ifdef __cplusplus
}
#endif
#endif
