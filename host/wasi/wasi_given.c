/*
 * host/wasi/wasi_given.c: reads a request (husk_wasi.h) into a struct wasi_given, and moves its
 * parts. Everything is checked and copied before anything is replaced.
 */
#include "wasi_given.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "options.h"
#include "wasi_abi.h"

#define OUTPUT_KEPT_BYTES (64u << 10) /* of a buffer that is replaced by a buffer */

static const char *const stream_names[WASI_STREAMS] = {"stdin", "stdout", "stderr"};

/* ---- Strings ---- */

static void strings_done(struct wasi_strings *strings) {
    free(strings->bytes);
    free(strings->offsets);
    *strings = (struct wasi_strings){0};
}

static int strings_size(const char *const *list, size_t count, const char *what, size_t *ret_bytes,
                        struct husk_error *err) {
    size_t total = 0;
    if (count > WASI_STRINGS_MAX_COUNT)
        return error_set(err, HUSK_E_LIMIT, "%zu %s strings; at most %u are possible", count, what,
                         WASI_STRINGS_MAX_COUNT);
    for (size_t i = 0; i < count; i++) {
        if (list[i] == NULL)
            return error_set(err, HUSK_E_INVAL, "%s string %zu is NULL", what, i);
        total += strlen(list[i]) + 1;
        if (total > WASI_STRINGS_MAX_BYTES)
            return error_set(err, HUSK_E_LIMIT, "the %s strings are longer than %u bytes together",
                             what, WASI_STRINGS_MAX_BYTES);
    }
    *ret_bytes = total;
    return 0;
}

static int strings_init(struct wasi_strings *strings, const char *const *list, size_t count,
                        const char *what, struct husk_error *err) {
    size_t bytes = 0, at = 0;
    if (count > 0 && list == NULL)
        return error_set(err, HUSK_E_INVAL, "%zu %s strings, but no array", count, what);
    int status = strings_size(list, count, what, &bytes, err);
    if (status != 0)
        return status;
    strings->bytes = malloc(bytes + 1); /* never zero bytes */
    strings->offsets = malloc((count + 1) * sizeof *strings->offsets);
    if (strings->bytes == NULL || strings->offsets == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory for the %s", what);
    for (size_t i = 0; i < count; i++) {
        size_t string_bytes = strlen(list[i]) + 1;
        memcpy(strings->bytes + at, list[i], string_bytes);
        strings->offsets[i] = (uint32_t)at;
        at += string_bytes;
    }
    strings->bytes_count = (uint32_t)bytes;
    strings->count = (uint32_t)count;
    return 0;
}

/* ---- Streams ---- */

static bool has_descriptor(const struct husk_wasi_stream *stream) {
    return stream->fd > 0 || stream->rights != 0;
}

static bool has_bytes(const struct husk_wasi_stream *stream) {
    return stream->bytes != NULL || stream->bytes_count != 0;
}

static bool has_callbacks(const struct husk_wasi_stream *stream) {
    return stream->read != NULL || stream->write != NULL || stream->user != NULL;
}

/* A field of another kind is most likely a forgotten kind. */
static int stream_check(const struct husk_wasi_stream *stream, uint32_t idx,
                        struct husk_error *err) {
    const uint32_t way = HUSK_WASI_READ | HUSK_WASI_WRITE, more = HUSK_WASI_SEEK | HUSK_WASI_RESIZE;
    const enum husk_wasi_stream_kind kind = stream->kind;
    const char *name = stream_names[idx];
    if ((unsigned)kind > HUSK_WASI_AWAITED)
        return error_set(err, HUSK_E_INVAL, "the stream for %s is of the unknown kind %u", name,
                         (unsigned)kind);
    if ((has_descriptor(stream) && kind != HUSK_WASI_DESCRIPTOR) ||
        (has_bytes(stream) && kind != HUSK_WASI_BYTES) ||
        (stream->limit_bytes != 0 && kind != HUSK_WASI_BUFFER) ||
        (has_callbacks(stream) && kind != HUSK_WASI_CALLBACK))
        return error_set(err, HUSK_E_INVAL,
                         "the stream for %s has a field set that does not belong to its kind (%u)",
                         name, (unsigned)kind);
    if (kind == HUSK_WASI_DESCRIPTOR &&
        ((stream->rights & ~(way | more)) != 0 || (stream->rights & way) == 0))
        return error_set(err, HUSK_E_INVAL,
                         "the stream for %s has the rights 0x%x; it wants HUSK_WASI_READ or "
                         "HUSK_WASI_WRITE, and HUSK_WASI_… only",
                         name, stream->rights);
    const bool is_for_input = kind == HUSK_WASI_BYTES || kind == HUSK_WASI_AWAITED;
    if ((is_for_input && idx != 0) || (kind == HUSK_WASI_BUFFER && idx == 0))
        return error_set(err, HUSK_E_INVAL,
                         "the stream for %s cannot be of this kind (%u): bytes and awaited data "
                         "are for standard input, a buffer for output and error",
                         name, (unsigned)kind);
    if (stream->bytes == NULL && stream->bytes_count > 0)
        return error_set(err, HUSK_E_INVAL, "the stream for %s has %zu bytes, which are NULL", name,
                         stream->bytes_count);
    if (kind == HUSK_WASI_CALLBACK && stream->read == NULL && stream->write == NULL)
        return error_set(err, HUSK_E_INVAL, "the stream for %s has no callback", name);
    return 0;
}

/* What every descriptor of an open stream has, besides reading or writing. */
static void stream_open(struct wasi_stream *stream, const struct wasi_fd_ops *ops,
                        uint64_t rights) {
    stream->fd.ops = ops;
    stream->fd.filetype = WASI_FILETYPE_UNKNOWN; /* as a pipe */
    wasi_fd_grant(&stream->fd,
                  rights | WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_FILESTAT_GET |
                      WASI_RIGHT_POLL_FD_READWRITE,
                  0);
}

static int bytes_open(struct wasi_stream *stream, const void *bytes, size_t count,
                      struct husk_error *err) {
    stream->bytes = malloc(count + 1); /* never zero bytes */
    if (stream->bytes == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for %zu bytes of standard input", count);
    if (count > 0)
        memcpy(stream->bytes, bytes, count);
    stream->count = count;
    stream->capacity = count + 1;
    stream_open(stream, &wasi_bytes_ops, WASI_RIGHT_FD_READ);
    return 0;
}

static int stream_make(struct wasi_stream *stream, uint8_t idx,
                       const struct husk_wasi_stream *options, struct husk_error *err) {
    switch (options->kind) {
    case HUSK_WASI_CLOSED: return 0;
    case HUSK_WASI_DESCRIPTOR:
        wasi_host_fd_init(&stream->fd, idx, options->fd, options->rights);
        return 0;
    case HUSK_WASI_BYTES: return bytes_open(stream, options->bytes, options->bytes_count, err);
    case HUSK_WASI_BUFFER:
        stream->limit_bytes = options->limit_bytes == 0 ? WASI_OUTPUT_DEFAULT_BYTES
                              : options->limit_bytes < WASI_OUTPUT_MAX_BYTES
                                  ? (size_t)options->limit_bytes
                                  : WASI_OUTPUT_MAX_BYTES;
        stream_open(stream, &wasi_buffer_ops, WASI_RIGHT_FD_WRITE);
        return 0;
    case HUSK_WASI_CALLBACK:
        stream->read = options->read;
        stream->write = options->write;
        stream->user = options->user;
        stream_open(stream, &wasi_callback_ops,
                    (stream->read != NULL ? WASI_RIGHT_FD_READ : 0) |
                        (stream->write != NULL ? WASI_RIGHT_FD_WRITE : 0));
        return 0;
    case HUSK_WASI_AWAITED: stream_open(stream, &wasi_awaited_ops, WASI_RIGHT_FD_READ); return 0;
    }
    return 0;
}

static int stream_init(struct wasi_stream *stream, uint8_t idx,
                       const struct husk_wasi_stream *given, struct husk_error *err) {
    struct husk_wasi_stream options;
    int status = wasi_stream_read(given, &options, err);
    if (status == 0)
        status = stream_check(&options, idx, err);
    if (status == 0)
        status = stream_make(stream, idx, &options, err);
    if (status != 0)
        return status;
    if (stream->fd.ops == NULL) {
        stream->fd.ops = &wasi_vacant_ops;
        wasi_fd_grant(&stream->fd, 0, 0);
    }
    stream->fd.stream = idx;
    return 0;
}

static void stream_done(struct wasi_stream *stream) {
    if (stream->capacity > 0)
        free(stream->bytes);
    *stream = (struct wasi_stream){0};
}

/* A small buffer goes on to the next request, so that most requests need no allocation. */
static void stream_take(struct wasi_stream *stream, struct wasi_stream *from) {
    if (from->limit_bytes > 0 && stream->limit_bytes > 0 && from->capacity == 0 &&
        stream->capacity <= OUTPUT_KEPT_BYTES && stream->capacity <= from->limit_bytes) {
        from->bytes = stream->bytes;
        from->capacity = stream->capacity;
        stream->capacity = 0;
    }
    stream_done(stream);
    *stream = *from;
    *from = (struct wasi_stream){0};
    stream->fd.given = stream;
}

/* ---- All parts ---- */

static int clock_init(struct wasi_given *given, const struct husk_wasi_clock *clock,
                      struct husk_error *err) {
    struct husk_wasi_clock options;
    int status = wasi_clock_read(clock, &options, err);
    if (status != 0)
        return status;
    if ((unsigned)options.kind > HUSK_WASI_CLOCK_FIXED)
        return error_set(err, HUSK_E_INVAL, "husk_wasi_clock.kind is %u, which is unknown",
                         (unsigned)options.kind);
    if (options.kind == HUSK_WASI_CLOCK_HOST && (options.realtime_ns | options.step_ns) != 0)
        return error_set(err, HUSK_E_INVAL,
                         "husk_wasi_clock: the host's clock has no realtime_ns and no step_ns");
    if ((options.realtime_ns | options.step_ns) >> 63 != 0)
        return error_set(err, HUSK_E_INVAL, "husk_wasi_clock: times are at most 2^63 - 1 ns");
    given->is_clock_fixed = options.kind == HUSK_WASI_CLOCK_FIXED;
    given->realtime_ns = options.realtime_ns;
    given->step_ns = options.step_ns;
    given->parts |= WASI_PART_CLOCK;
    return 0;
}

static int parts_init(struct wasi_given *given, const struct husk_wasi_request *request,
                      struct husk_error *err) {
    const struct husk_wasi_stream *const streams[WASI_STREAMS] = {
        request->stdin_stream, request->stdout_stream, request->stderr_stream};
    int status = 0;
    for (uint8_t i = 0; i < WASI_STREAMS && status == 0; i++) {
        if (streams[i] == NULL)
            continue;
        status = stream_init(&given->streams[i], i, streams[i], err);
        given->parts |= 1u << i;
    }
    if (status == 0 && (request->args != NULL || request->args_count > 0)) {
        status = strings_init(&given->args, request->args, request->args_count, "argument", err);
        given->parts |= WASI_PART_ARGS;
    }
    if (status == 0 && (request->env != NULL || request->env_count > 0)) {
        status = strings_init(&given->env, request->env, request->env_count, "environment", err);
        given->parts |= WASI_PART_ENV;
    }
    if (status == 0 && request->clock != NULL)
        status = clock_init(given, request->clock, err);
    if (status == 0 && request->random_seed != NULL) {
        given->random_seed = *request->random_seed;
        given->parts |= WASI_PART_SEED;
    }
    return status;
}

int wasi_given_init(struct wasi_given *given, const struct husk_wasi_request *request,
                    struct husk_error *err) {
    struct husk_wasi_request options;
    *given = (struct wasi_given){0};
    int status = wasi_request_read(request, &options, err);
    if (status == 0)
        status = parts_init(given, &options, err);
    if (status != 0)
        wasi_given_done(given);
    return status;
}

void wasi_given_borrow(struct wasi_given *given, const struct wasi_given *start) {
    *given = *start;
    given->parts = 0;
    given->args = given->env = (struct wasi_strings){0};
    for (uint32_t i = 0; i < WASI_STREAMS; i++) {
        given->streams[i].capacity = 0;
        given->streams[i].fd.given = &given->streams[i];
    }
}

static void strings_take(struct wasi_strings *strings, struct wasi_strings *from) {
    strings_done(strings);
    *strings = *from;
    *from = (struct wasi_strings){0};
}

void wasi_given_take(struct wasi_given *given, struct wasi_given *from) {
    for (uint32_t i = 0; i < WASI_STREAMS; i++)
        if ((from->parts & 1u << i) != 0)
            stream_take(&given->streams[i], &from->streams[i]);
    if ((from->parts & WASI_PART_ARGS) != 0)
        strings_take(&given->args, &from->args);
    if ((from->parts & WASI_PART_ENV) != 0)
        strings_take(&given->env, &from->env);
    if ((from->parts & WASI_PART_CLOCK) != 0) {
        given->is_clock_fixed = from->is_clock_fixed;
        given->realtime_ns = from->realtime_ns;
        given->step_ns = from->step_ns;
    }
    if ((from->parts & WASI_PART_SEED) != 0)
        given->random_seed = from->random_seed;
    given->parts |= from->parts;
    from->parts = 0;
}

void wasi_given_done(struct wasi_given *given) {
    for (uint32_t i = 0; i < WASI_STREAMS; i++)
        stream_done(&given->streams[i]);
    strings_done(&given->args);
    strings_done(&given->env);
    given->parts = 0;
}
