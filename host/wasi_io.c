/*
 * host/wasi_io.c: reading and writing the guest's descriptors, straight from and to guest memory.
 *
 * Blocking. A transfer must end when the call is cut off (deadline, interrupt). Deliberately not by waiting in poll() until the descriptor
 * is ready: whoever shares a pipe can fill or drain it meanwhile, and POLLOUT promises no more room than for PIPE_BUF bytes, of a terminal
 * not even that. The thread waits in the read or write itself, which a kick ends (ops->syscall()). Descriptors may be blocking or not; their
 * flags are the embedder's and stay as they are. If the embedder's is not blocking, the thread waits until it is ready and tries again.
 *
 * Pieces. A file system may look at no signal before it is done, so there is an end to what one system call does.
 *
 * Signals. Writing to a closed pipe or beyond the file size limit raises SIGPIPE or SIGXFSZ in this thread.
 * Sockets have MSG_NOSIGNAL; elsewhere base/signal_guard.h keeps them from the process.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "signal_guard.h"
#include "wasi.h"

#define NO_OFFSET UINT64_MAX

struct transfer {
    struct wasi_call *call;
    struct wasi_fd *fd;
    bool is_write;
    uint64_t offset; /* pread, pwrite: of the next byte; else NO_OFFSET */
    uint64_t total;
    int first, count; /* vecs[first] is the next one */
    struct iovec vecs[WASI_IOVECS_MAX];
};

/* The next piece of a transfer: vecs[first] and so on. */
struct piece {
    int count;
    uint64_t bytes;
    size_t withheld; /* of the last vector: beyond the piece */
};

/* The guest wants EAGAIN rather than to wait. */
static bool is_impatient(const struct transfer *transfer) {
    return transfer->fd->is_stream && (transfer->fd->flags & WASI_FDFLAG_NONBLOCK) != 0;
}

/* Copies the guest's iovec array and checks every range; empty ones are dropped, and what is over the
 * limit is cut off. */
static uint16_t transfer_init(struct transfer *transfer, uint64_t iovs_addr, uint32_t iovs_count) {
    const struct wasi_call *call = transfer->call;
    transfer->total = 0;
    transfer->count = 0;
    if (iovs_count > WASI_IOVECS_MAX)
        return WASI_EINVAL;
    const uint8_t *iovs = wasi_span(call, iovs_addr, (uint64_t)iovs_count * WASI_IOVEC_BYTES);
    if (!iovs)
        return WASI_EFAULT;
    for (uint32_t i = 0; i < iovs_count; i++) {
        uint32_t iov[2]; /* buf, buf_len */
        memcpy(iov, iovs + (size_t)i * WASI_IOVEC_BYTES, sizeof(iov));
        void *span = wasi_span(call, iov[0], iov[1]);
        if (!span)
            return WASI_EFAULT;
        uint64_t room = WASI_TRANSFER_MAX_BYTES - transfer->total;
        size_t bytes = iov[1] < room ? iov[1] : room;
        if (bytes == 0)
            continue;
        transfer->vecs[transfer->count++] = (struct iovec){.iov_base = span, .iov_len = bytes};
        transfer->total += bytes;
    }
    return WASI_SUCCESS;
}

/* ---- Pieces ---- */

static uint64_t piece_limit(const struct transfer *transfer) {
    if (transfer->fd->is_socket)
        return WASI_TRANSFER_MAX_BYTES;                          /* a datagram is one message */
    return is_impatient(transfer) ? PIPE_BUF : WASI_PIECE_BYTES; /* POLLOUT promises a pipe's PIPE_BUF */
}

static void piece_begin(struct transfer *transfer, struct piece *piece) {
    const uint64_t limit = piece_limit(transfer);
    *piece = (struct piece){0};
    while (transfer->first + piece->count < transfer->count && piece->bytes < limit)
        piece->bytes += transfer->vecs[transfer->first + piece->count++].iov_len;
    if (piece->bytes > limit) {
        piece->withheld = (size_t)(piece->bytes - limit);
        transfer->vecs[transfer->first + piece->count - 1].iov_len -= piece->withheld;
        piece->bytes = limit;
    }
}

static void piece_end(struct transfer *transfer, const struct piece *piece, size_t moved) {
    transfer->vecs[transfer->first + piece->count - 1].iov_len += piece->withheld;
    if (transfer->offset != NO_OFFSET)
        transfer->offset += moved;
    while (moved > 0) {
        struct iovec *vec = &transfer->vecs[transfer->first];
        const size_t bytes = moved < vec->iov_len ? moved : vec->iov_len;
        vec->iov_base = (char *)vec->iov_base + bytes;
        vec->iov_len -= bytes;
        moved -= bytes;
        transfer->first += vec->iov_len == 0;
    }
}

/* ---- System calls. Each returns the count, or -errno; -EINTR: the call is to be cut off. ---- */

static long transfer_message(const struct transfer *transfer, int count) {
    struct msghdr message = {.msg_iov = (struct iovec *)transfer->vecs, .msg_iovlen = (size_t)count};
    const int flags = MSG_DONTWAIT | (transfer->is_write ? MSG_NOSIGNAL : 0);
    return WASI_SYSCALL(transfer->call, transfer->is_write ? SYS_sendmsg : SYS_recvmsg, transfer->fd->host_fd,
                        (long)&message, flags);
}

/* Pipes of older kernels, and terminals, know no RWF_NOWAIT: then whoever shares one can make an impatient guest wait. */
static long transfer_impatient(const struct transfer *transfer, const struct iovec *vecs, int count) {
    const long number = transfer->is_write ? SYS_pwritev2 : SYS_preadv2;
    const long moved =
        WASI_SYSCALL(transfer->call, number, transfer->fd->host_fd, (long)vecs, count, -1, -1, RWF_NOWAIT);
    if (moved != -EOPNOTSUPP)
        return moved;
    return WASI_SYSCALL(transfer->call, transfer->is_write ? SYS_writev : SYS_readv, transfer->fd->host_fd,
                        (long)vecs, count);
}

static long transfer_vecs(const struct transfer *transfer, int count) {
    const struct iovec *vecs = &transfer->vecs[transfer->first];
    const int host_fd = transfer->fd->host_fd;
    if (is_impatient(transfer))
        return transfer_impatient(transfer, vecs, count);
    if (transfer->offset == NO_OFFSET)
        return WASI_SYSCALL(transfer->call, transfer->is_write ? SYS_writev : SYS_readv, host_fd, (long)vecs,
                            count);
    return WASI_SYSCALL(transfer->call, transfer->is_write ? SYS_pwritev : SYS_preadv, host_fd, (long)vecs,
                        count, (long)transfer->offset, 0);
}

/* A pipe whose reader goes away in the middle of a write raises SIGPIPE, and tells what was written before. */
static long transfer_piece(const struct transfer *transfer, const struct piece *piece) {
    struct signal_guard guard;
    if (transfer->fd->is_socket)
        return transfer_message(transfer, piece->count);
    if (!transfer->is_write)
        return transfer_vecs(transfer, piece->count);
    signal_guard_begin(&guard);
    const long moved = transfer_vecs(transfer, piece->count);
    signal_guard_end(&guard, moved < 0 ? (int)-moved : (uint64_t)moved < piece->bytes ? EPIPE : 0);
    return moved;
}

/* ---- A whole transfer ---- */

/* Until the stream is ready; POLLERR, POLLHUP: the transfer will say what it is. */
static long wait_ready(const struct transfer *transfer, uint64_t timeout_ns) {
    struct pollfd pollfd = {.fd = transfer->fd->host_fd, .events = transfer->is_write ? POLLOUT : POLLIN};
    const int ready = wasi_wait(transfer->call, &pollfd, 1, timeout_ns);
    return ready == 0 ? -EAGAIN : ready;
}

/* A stream that is ready may be filled or drained by somebody else before us: then all over again. Every round looks whether the call is
 * cut off. */
static long transfer_once(struct transfer *transfer, uint64_t *ret_bytes) {
    const bool waits = transfer->fd->is_stream && !is_impatient(transfer);
    long moved = is_impatient(transfer) ? wait_ready(transfer, 0) : 0;
    struct piece piece;
    if (moved < 0)
        return moved;
    do {
        piece_begin(transfer, &piece);
        moved = transfer_piece(transfer, &piece);
        piece_end(transfer, &piece, moved < 0 ? 0 : (size_t)moved);
        if (moved != -EAGAIN || !waits)
            break;
        moved = wait_ready(transfer, UINT64_MAX);
    } while (moved >= 0);
    *ret_bytes = piece.bytes;
    return moved;
}

/* Reads end with what a stream has, writes to one when all is written; a file's with a short count. */
static bool is_over(const struct transfer *transfer, long moved, uint64_t piece_bytes) {
    if (transfer->fd->is_socket || moved == 0)
        return true;
    return transfer->fd->is_stream ? !transfer->is_write : (uint64_t)moved < piece_bytes;
}

static uint16_t transfer_all(struct transfer *transfer, uint32_t *ret_done) {
    uint64_t done = 0, piece_bytes = 0;
    while (done < transfer->total) {
        const long moved = transfer_once(transfer, &piece_bytes);
        if (moved < 0 && done == 0)
            return wasi_errno_of((int)-moved);
        if (moved < 0)
            break; /* a short count; what stopped it comes with the next transfer */
        done += (uint64_t)moved;
        if (is_over(transfer, moved, piece_bytes))
            break;
    }
    *ret_done = (uint32_t)done;
    return WASI_SUCCESS;
}

/* ---- Functions: (fd, iovs, iovs_count[, offset], ret_count) ---- */

static uint16_t transfer_run(struct wasi_call *call, uint64_t right, bool is_positioned) {
    struct transfer transfer = {.call = call, .is_write = right == WASI_RIGHT_FD_WRITE, .offset = NO_OFFSET};
    uint64_t out = call->args[is_positioned ? 4 : 3];
    uint32_t done = 0;
    uint16_t wasi_err = is_positioned ? wasi_fd_get_seekable(call, right | WASI_RIGHT_FD_SEEK, &transfer.fd)
                                      : wasi_fd_get(call, wasi_arg32(call, 0), right, &transfer.fd);
    if (wasi_err)
        return wasi_err;
    if (is_positioned && call->args[3] > INT64_MAX)
        return WASI_EINVAL;
    if (is_positioned)
        transfer.offset = call->args[3];
    wasi_err = transfer_init(&transfer, call->args[1], wasi_arg32(call, 2));
    if (!wasi_err && !wasi_span(call, out, 4))
        wasi_err = WASI_EFAULT;
    if (!wasi_err)
        wasi_err = transfer_all(&transfer, &done);
    return wasi_err ? wasi_err : wasi_put_u32(call, out, done);
}

uint16_t wasi_fd_read(struct wasi_call *call) {
    return transfer_run(call, WASI_RIGHT_FD_READ, false);
}

uint16_t wasi_fd_pread(struct wasi_call *call) {
    return transfer_run(call, WASI_RIGHT_FD_READ, true);
}

uint16_t wasi_fd_write(struct wasi_call *call) {
    return transfer_run(call, WASI_RIGHT_FD_WRITE, false);
}

uint16_t wasi_fd_pwrite(struct wasi_call *call) {
    return transfer_run(call, WASI_RIGHT_FD_WRITE, true);
}
