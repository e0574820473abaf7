/*
 * host/wasi/wasi_host_io.c: reads and writes the host's descriptors, directly to and from guest
 * memory.
 *
 * Blocking. A transfer must end when the call must end (deadline, interrupt). The thread waits in
 * the read or write itself, which a kick ends (ops->syscall()). Deliberately not in poll() until
 * the descriptor is ready: another user of a pipe can fill or drain it after poll(). Also, POLLOUT
 * promises room for PIPE_BUF bytes only, and for a terminal not even that. The embedder's
 * descriptors may be blocking or not; their flags stay as they are. If a descriptor is not
 * blocking, the thread waits until it is ready and tries again.
 *
 * Pieces. A file system may ignore signals until a call is done, so one system call moves only a
 * piece.
 *
 * Signals. Writing to a closed pipe or beyond the file size limit raises SIGPIPE or SIGXFSZ in this
 * thread. Sockets use MSG_NOSIGNAL. For other descriptors, base/signal_guard.h keeps the signals
 * from the process.
 */
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "signal_guard.h"
#include "wasi.h"
#include "wasi_abi.h"

/* The next piece of a transfer: vecs[first] and so on. */
struct piece {
    int count;
    uint64_t bytes;
    size_t withheld; /* of the last vector: beyond the piece */
};

/* How a kind of descriptor moves bytes. */
struct manner {
    /* One system call for the next `count` vectors. Returns the count of bytes, or -errno. */
    long (*move)(const struct wasi_transfer *transfer, int count);
    uint64_t piece_bytes;
    bool is_stream;    /* it becomes ready; a file always is, and a short count is its end */
    bool is_impatient; /* the guest wants EAGAIN rather than to wait */
    bool is_single;    /* one piece is all */
    bool can_signal;
};

/* ---- Pieces ---- */

static void piece_begin(struct wasi_transfer *transfer, struct piece *piece, uint64_t limit) {
    *piece = (struct piece){0};
    while (transfer->first + piece->count < transfer->count && piece->bytes < limit)
        piece->bytes += transfer->vecs[transfer->first + piece->count++].iov_len;
    if (piece->bytes > limit) {
        piece->withheld = (size_t)(piece->bytes - limit);
        transfer->vecs[transfer->first + piece->count - 1].iov_len -= piece->withheld;
        piece->bytes = limit;
    }
}

static void piece_end(struct wasi_transfer *transfer, const struct piece *piece, size_t moved) {
    transfer->vecs[transfer->first + piece->count - 1].iov_len += piece->withheld;
    if (transfer->offset != WASI_NO_OFFSET)
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

/* ---- System calls ---- */

static long move_message(const struct wasi_transfer *transfer, int count) {
    struct msghdr message = {.msg_iov = (struct iovec *)&transfer->vecs[transfer->first],
                             .msg_iovlen = (size_t)count};
    const int flags =
        MSG_DONTWAIT | (transfer->is_write ? MSG_NOSIGNAL : 0) | (transfer->is_peek ? MSG_PEEK : 0);
    return WASI_SYSCALL(transfer->call, transfer->is_write ? SYS_sendmsg : SYS_recvmsg,
                        transfer->fd->host_fd, (long)&message, flags);
}

static long move_here(const struct wasi_transfer *transfer, int count) {
    return WASI_SYSCALL(transfer->call, transfer->is_write ? SYS_writev : SYS_readv,
                        transfer->fd->host_fd, (long)&transfer->vecs[transfer->first], count);
}

static long move_at_offset(const struct wasi_transfer *transfer, int count) {
    return WASI_SYSCALL(transfer->call, transfer->is_write ? SYS_pwritev : SYS_preadv,
                        transfer->fd->host_fd, (long)&transfer->vecs[transfer->first], count,
                        (long)transfer->offset, 0);
}

/* Pipes of older kernels, and terminals, know no RWF_NOWAIT: then whoever shares one can make an
 * impatient guest wait. */
static long move_now(const struct wasi_transfer *transfer, int count) {
    const long moved = WASI_SYSCALL(transfer->call, transfer->is_write ? SYS_pwritev2 : SYS_preadv2,
                                    transfer->fd->host_fd, (long)&transfer->vecs[transfer->first],
                                    count, -1, -1, RWF_NOWAIT);
    return moved == -EOPNOTSUPP ? move_here(transfer, count) : moved;
}

/* A pipe whose reader goes away in the middle of a write raises SIGPIPE, and tells what was written
 * before. */
static long move_piece(const struct wasi_transfer *transfer, const struct manner *manner,
                       const struct piece *piece) {
    struct signal_guard guard;
    if (!manner->can_signal)
        return manner->move(transfer, piece->count);
    signal_guard_begin(&guard);
    const long moved = manner->move(transfer, piece->count);
    signal_guard_end(&guard, moved < 0 ? (int)-moved : (uint64_t)moved < piece->bytes ? EPIPE : 0);
    return moved;
}

/* ---- A whole transfer ---- */

/* Until the stream is ready; POLLERR, POLLHUP: the transfer will say what it is. */
static long wait_ready(const struct wasi_transfer *transfer, uint64_t timeout_ns) {
    struct pollfd pollfd = {.fd = transfer->fd->host_fd,
                            .events = transfer->is_write ? POLLOUT : POLLIN};
    const int ready = wasi_wait(transfer->call, &pollfd, 1, timeout_ns);
    return ready == 0 ? -EAGAIN : ready;
}

/* A stream that is ready may be filled or drained by somebody else before us: then all over again.
 * Every round looks whether the call is cut off. */
static long transfer_once(struct wasi_transfer *transfer, const struct manner *manner,
                          uint64_t *ret_bytes) {
    const bool waits = manner->is_stream && !manner->is_impatient;
    long moved = manner->is_impatient ? wait_ready(transfer, 0) : 0;
    struct piece piece;
    if (moved < 0)
        return moved;
    do {
        piece_begin(transfer, &piece, manner->piece_bytes);
        moved = move_piece(transfer, manner, &piece);
        piece_end(transfer, &piece, moved < 0 ? 0 : (size_t)moved);
        if (moved != -EAGAIN || !waits)
            break;
        moved = wait_ready(transfer, UINT64_MAX);
    } while (moved >= 0);
    *ret_bytes = piece.bytes;
    return moved;
}

/* Transfer everything. If an error comes after the first piece, this transfer has a short count,
 * and the next transfer gets the error. */
static long transfer_all(struct wasi_transfer *transfer, const struct manner *manner) {
    uint64_t done = 0, piece_bytes = 0;
    while (done < transfer->total) {
        const long moved = transfer_once(transfer, manner, &piece_bytes);
        if (moved < 0)
            return done > 0 ? (long)done : moved;
        done += (uint64_t)moved;
        if (moved == 0 || manner->is_single ||
            (!manner->is_stream && (uint64_t)moved < piece_bytes))
            break;
    }
    return (long)done;
}

long wasi_file_transfer(struct wasi_transfer *transfer) {
    const struct manner manner = {.move = transfer->offset == WASI_NO_OFFSET ? move_here
                                                                             : move_at_offset,
                                  .piece_bytes = WASI_PIECE_BYTES,
                                  .can_signal = transfer->is_write};
    return transfer_all(transfer, &manner);
}

/* A read takes what there is, a write writes all. POLLOUT promises a pipe's PIPE_BUF. */
long wasi_stream_transfer(struct wasi_transfer *transfer) {
    const bool is_impatient = (transfer->fd->flags & WASI_FDFLAG_NONBLOCK) != 0;
    const struct manner manner = {.move = is_impatient ? move_now : move_here,
                                  .piece_bytes = is_impatient ? PIPE_BUF : WASI_PIECE_BYTES,
                                  .is_stream = true,
                                  .is_impatient = is_impatient,
                                  .is_single = !transfer->is_write,
                                  .can_signal = transfer->is_write};
    return transfer_all(transfer, &manner);
}

/* One message, for a datagram cannot be cut; or of a connection all that was asked for. */
long wasi_socket_transfer(struct wasi_transfer *transfer) {
    const struct manner manner = {.move = move_message,
                                  .piece_bytes = WASI_TRANSFER_MAX_BYTES,
                                  .is_stream = true,
                                  .is_impatient = (transfer->fd->flags & WASI_FDFLAG_NONBLOCK) != 0,
                                  .is_single = !transfer->is_all};
    return transfer_all(transfer, &manner);
}
