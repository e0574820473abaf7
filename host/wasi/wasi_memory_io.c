/*
 * host/wasi/wasi_memory_io.c: standard streams in memory: input is bytes of the embedder, output is
 * collected in a buffer (wasi_given.h). No system calls.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wasi.h"
#include "wasi_state.h"

#define OUTPUT_FIRST_BYTES 4096u /* the first allocation of a buffer */

/* ---- Input ---- */

static uint64_t bytes_left(const struct wasi_call *call, const struct wasi_fd *fd) {
    (void)call;
    return fd->given->count - fd->given->at;
}

static long bytes_transfer(struct wasi_transfer *transfer) {
    struct wasi_stream *stream = transfer->fd->given;
    size_t done = 0;
    for (int i = 0; i < transfer->count && stream->at < stream->count; i++) {
        const struct iovec *vec = &transfer->vecs[i];
        const size_t left = stream->count - stream->at;
        const size_t bytes = vec->iov_len < left ? vec->iov_len : left;
        memcpy(vec->iov_base, stream->bytes + stream->at, bytes);
        stream->at += bytes;
        done += bytes;
    }
    return (long)done;
}

const struct wasi_fd_ops wasi_bytes_ops = {
    .transfer = bytes_transfer, .readable_bytes = bytes_left, .saved_kind = WASI_SAVED_STREAM};

/* ---- Output ---- */

/* Make room for `more` bytes, within the limit. Returns how many have room. */
static size_t buffer_reserve(struct wasi_stream *stream, size_t more) {
    const size_t rest = stream->limit_bytes - stream->count;
    const size_t wanted = stream->count + (more < rest ? more : rest);
    size_t capacity = stream->capacity > 0 ? stream->capacity : OUTPUT_FIRST_BYTES;
    while (capacity < wanted)
        capacity *= 2;
    if (capacity > stream->limit_bytes)
        capacity = stream->limit_bytes;
    if (capacity > stream->capacity) {
        uint8_t *bytes = realloc(stream->bytes, capacity);
        if (bytes == NULL)
            return stream->capacity - stream->count;
        stream->bytes = bytes;
        stream->capacity = capacity;
    }
    return wanted - stream->count;
}

static long buffer_transfer(struct wasi_transfer *transfer) {
    struct wasi_stream *stream = transfer->fd->given;
    size_t room = transfer->total == 0 ? 0 : buffer_reserve(stream, (size_t)transfer->total);
    size_t done = 0;
    if (room > transfer->total)
        room = (size_t)transfer->total;
    for (int i = 0; i < transfer->count && done < room; i++) {
        const struct iovec *vec = &transfer->vecs[i];
        const size_t bytes = vec->iov_len < room - done ? vec->iov_len : room - done;
        memcpy(stream->bytes + stream->count, vec->iov_base, bytes);
        stream->count += bytes;
        done += bytes;
    }
    if (done == transfer->total)
        return (long)done;
    stream->has_lost = true;
    return done > 0 ? (long)done : -ENOSPC;
}

const struct wasi_fd_ops wasi_buffer_ops = {.transfer = buffer_transfer,
                                            .saved_kind = WASI_SAVED_STREAM};
