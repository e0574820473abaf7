/*
 * host/wasi/wasi_callback_io.c: standard streams that are functions of the embedder
 * (husk_wasi_read_fn, husk_wasi_write_fn). They get the guest's memory itself, which was checked.
 *
 * A callback may call the guest, which may close descriptors. So the descriptor is not looked at
 * again after a callback has run; the stream stays, because nobody replaces it during a call.
 */
#include <errno.h>

#include "wasi.h"
#include "wasi_state.h"

/* One vector. Returns the count of bytes. A failure ends the guest's call. */
static long callback_move(struct wasi_transfer *transfer, const struct wasi_stream *stream,
                          const struct iovec *vec) {
    const int64_t moved = transfer->is_write
                              ? stream->write(stream->user, vec->iov_base, vec->iov_len)
                              : stream->read(stream->user, vec->iov_base, vec->iov_len);
    if (moved >= 0 && (uint64_t)moved <= vec->iov_len)
        return (long)moved;
    transfer->call->status = moved < 0 && moved >= INT32_MIN ? (int)moved : HUSK_E_INVAL;
    return -EIO;
}

static long callback_transfer(struct wasi_transfer *transfer) {
    const struct wasi_stream *stream = transfer->fd->given;
    struct wasi_call *call = transfer->call;
    long done = 0;
    for (int i = 0; i < transfer->count; i++) {
        if (call->ops->is_cut(call->host))
            return done > 0 ? done : -EINTR;
        const long moved = callback_move(transfer, stream, &transfer->vecs[i]);
        if (moved < 0)
            return moved;
        done += moved;
        if ((size_t)moved < transfer->vecs[i].iov_len)
            break;
    }
    return done == 0 && transfer->is_write && transfer->count > 0 ? -EPIPE : done;
}

/* Nobody knows how much there is; a guest that is told 0 takes it for the end. */
static uint64_t callback_readable(const struct wasi_call *call, const struct wasi_fd *fd) {
    (void)call;
    (void)fd;
    return 1;
}

const struct wasi_fd_ops wasi_callback_ops = {.transfer = callback_transfer,
                                              .readable_bytes = callback_readable,
                                              .saved_kind = WASI_SAVED_STREAM};
