/*
 * host/wasi/wasi_given.h: what the embedder gives a guest: streams, arguments, environment, clock,
 * seed.
 *
 * A set of imports has one struct wasi_given, with which every new sandbox begins. A sandbox's
 * context (struct wasi_ctx) has its own: streams, because they have a position or a buffer, and the
 * parts that husk_sandbox_set_wasi() replaced. A snapshot holds none of it.
 */
#ifndef HOST_WASI_GIVEN_H
#define HOST_WASI_GIVEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "husk.h"
#include "wasi_fd.h"

#define WASI_STRINGS_MAX_BYTES                                                                     \
    (16u << 20) /* all arguments, or all of the environment: refused when they are given */
#define WASI_STRINGS_MAX_COUNT (1u << 20)
#define WASI_OUTPUT_DEFAULT_BYTES (1u << 20) /* husk_wasi_stream.limit_bytes 0 */
/* Deliberately below 2^63, so that sums with a transfer's bytes do not overflow. */
#define WASI_OUTPUT_MAX_BYTES (1ull << 40)

/* Consecutive NUL-terminated strings: arguments or environment. */
struct wasi_strings {
    char *bytes;
    uint32_t *offsets;
    uint32_t bytes_count;
    uint32_t count;
};

/* A standard stream. */
struct wasi_stream {
    struct wasi_fd fd; /* a new descriptor of it; closed: its ops are wasi_vacant_ops */
    /* Input or output: [0, count). capacity 0: borrowed from the set of imports, or none. */
    uint8_t *bytes;
    size_t count, capacity;
    size_t at;          /* of the next byte of input */
    size_t limit_bytes; /* of output; 0: the stream is no BUFFER */
    bool has_lost;      /* output was cut short */
    husk_wasi_read_fn read;
    husk_wasi_write_fn write;
    void *user;
};

/* The parts that are set. Bit i, below WASI_STREAMS: stream i. */
enum wasi_part {
    WASI_PART_ARGS = 1 << WASI_STREAMS,
    WASI_PART_ENV = WASI_PART_ARGS << 1,
    WASI_PART_CLOCK = WASI_PART_ARGS << 2,
    WASI_PART_SEED = WASI_PART_ARGS << 3
};

struct wasi_given {
    uint32_t parts; /* enum wasi_part */
    bool is_clock_fixed;
    struct wasi_strings args, env;
    struct wasi_stream streams[WASI_STREAMS];
    uint64_t realtime_ns, step_ns; /* of a fixed clock */
    uint64_t random_seed;          /* 0: from the kernel */
};

/* Read a request. On failure `given` holds nothing. HUSK_E_INVAL, HUSK_E_LIMIT, HUSK_E_NOMEM. */
int wasi_given_init(struct wasi_given *given, const struct husk_wasi_request *request,
                    struct husk_error *err);
/* Begin as `start`: streams borrow their input, and arguments and environment are left out. */
void wasi_given_borrow(struct wasi_given *given, const struct wasi_given *start);
/* Move the parts that `from` has to `given`, in place of its own. */
void wasi_given_take(struct wasi_given *given, struct wasi_given *from);
void wasi_given_done(struct wasi_given *given);

/* ---- Kinds of streams without a descriptor of the host ---- */

extern const struct wasi_fd_ops wasi_bytes_ops, wasi_buffer_ops; /* wasi_memory_io.c */
extern const struct wasi_fd_ops wasi_callback_ops;               /* wasi_callback_io.c */
extern const struct wasi_fd_ops wasi_awaited_ops;                /* wasi_awaited_io.c */

#endif
