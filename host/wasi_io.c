/*
 * host/wasi_io.c: reading and writing the guest's descriptors, straight from and to guest memory.
 *
 * Blocking. A transfer must end when the call is cut off (deadline, interrupt), and the signal that does it
 * can come just before the system call. So the thread never sleeps in read() or write(): it waits in
 * ops->wait(), which cannot miss the signal, until the descriptor is ready, and moves no more than what then
 * goes without waiting (PIPE_BUF bytes for pipes and terminals; MSG_DONTWAIT for sockets). Descriptors may be
 * blocking or not; their flags are the embedder's and stay as they are.
 *
 * Signals. Writing to a closed pipe or beyond the file size limit raises SIGPIPE or SIGXFSZ in this thread.
 * Sockets have MSG_NOSIGNAL; elsewhere base/signal_guard.h keeps them from the process.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "signal_guard.h"
#include "wasi.h"

#define WINDOW_VECS 64
#define NO_OFFSET (-1)

struct transfer {
    struct wasi_call *call;
    struct wasi_fd *fd;
    off_t offset; /* pread, pwrite; else NO_OFFSET */
    uint64_t total;
    int count;
    struct iovec vecs[WASI_IOVECS_MAX];
};

static bool is_stream(const struct wasi_fd *fd) {
    return fd->filetype != WASI_FILETYPE_REGULAR_FILE && fd->filetype != WASI_FILETYPE_BLOCK_DEVICE &&
           !fd->is_seekable;
}

static bool is_socket(const struct wasi_fd *fd) {
    return fd->filetype == WASI_FILETYPE_SOCKET_STREAM || fd->filetype == WASI_FILETYPE_SOCKET_DGRAM;
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

/* Up to limit bytes from byte `done` on. Returns the number of vectors. */
static int transfer_window(const struct transfer *transfer, uint64_t done, size_t limit,
                           struct iovec *ret_window) {
    int count = 0;
    for (int i = 0; i < transfer->count && count < WINDOW_VECS && limit > 0; i++) {
        struct iovec vec = transfer->vecs[i];
        if (done >= vec.iov_len) {
            done -= vec.iov_len;
            continue;
        }
        vec.iov_base = (char *)vec.iov_base + done;
        vec.iov_len -= done;
        if (vec.iov_len > limit)
            vec.iov_len = limit;
        done = 0;
        limit -= vec.iov_len;
        ret_window[count++] = vec;
    }
    return count;
}

/* Until the stream is ready. EAGAIN if the guest asked not to wait, EINTR if the call is cut off. */
static uint16_t wait_ready(const struct transfer *transfer, short events) {
    const struct wasi_call *call = transfer->call;
    struct pollfd pollfd = {.fd = transfer->fd->host_fd, .events = events};
    uint64_t timeout_ns = transfer->fd->flags & WASI_FDFLAG_NONBLOCK ? 0 : UINT64_MAX;
    int ready = call->ops->wait(call->host, &pollfd, 1, timeout_ns);
    if (ready < 0)
        return wasi_errno_of(errno);
    return ready == 0 ? WASI_EAGAIN : WASI_SUCCESS; /* POLLERR, POLLHUP: the transfer will say what it is */
}

/* After a failed transfer: shall it be tried again? A ready stream may be drained by another reader before
 * us. */
static bool should_retry(const struct transfer *transfer, int host_errno) {
    if (host_errno == EINTR)
        return !transfer->call->ops->is_cut(transfer->call->host);
    return host_errno == EAGAIN && is_stream(transfer->fd) && !(transfer->fd->flags & WASI_FDFLAG_NONBLOCK);
}

/* ---- Reading ---- */

static ssize_t read_once(const struct transfer *transfer) {
    const struct wasi_fd *fd = transfer->fd;
    if (transfer->offset != NO_OFFSET)
        return preadv(fd->host_fd, transfer->vecs, transfer->count, transfer->offset);
    if (!is_socket(fd))
        return readv(fd->host_fd, transfer->vecs, transfer->count);
    struct msghdr message = {.msg_iov = (struct iovec *)transfer->vecs,
                             .msg_iovlen = (size_t)transfer->count};
    return recvmsg(fd->host_fd, &message, MSG_DONTWAIT);
}

static uint16_t read_all(const struct transfer *transfer, uint32_t *ret_done) {
    while (transfer->total > 0) {
        uint16_t wasi_err = is_stream(transfer->fd) ? wait_ready(transfer, POLLIN) : WASI_SUCCESS;
        if (wasi_err)
            return wasi_err;
        ssize_t got = read_once(transfer);
        if (got >= 0) {
            *ret_done = (uint32_t)got;
            return WASI_SUCCESS;
        }
        int host_errno = errno;
        if (!should_retry(transfer, host_errno))
            return wasi_errno_of(host_errno);
    }
    *ret_done = 0;
    return WASI_SUCCESS;
}

/* ---- Writing ---- */

/* writev() or pwritev() whose signals do not get out. Returns -errno on failure. */
static ssize_t write_guarded(const struct transfer *transfer, const struct iovec *vecs, int count) {
    struct signal_guard guard;
    signal_guard_begin(&guard);
    int host_fd = transfer->fd->host_fd;
    ssize_t put = transfer->offset != NO_OFFSET ? pwritev(host_fd, vecs, count, transfer->offset)
                                                : writev(host_fd, vecs, count);
    if (put < 0)
        put = -errno;
    signal_guard_end(&guard, put < 0 ? (int)-put : 0);
    return put;
}

static ssize_t write_once(const struct transfer *transfer, uint64_t done) {
    struct iovec window[WINDOW_VECS];
    if (is_socket(transfer->fd)) { /* at once: a datagram is one message */
        struct msghdr message = {.msg_iov = (struct iovec *)transfer->vecs,
                                 .msg_iovlen = (size_t)transfer->count};
        ssize_t put = sendmsg(transfer->fd->host_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        return put < 0 ? -errno : put;
    }
    if (!is_stream(transfer->fd))
        return write_guarded(transfer, transfer->vecs, transfer->count);
    int count = transfer_window(transfer, done, PIPE_BUF, window);
    return write_guarded(transfer, window, count);
}

/* Streams: until all is written, the call is cut off, or the guest asked not to wait; others: what one
 * call writes. */
static uint16_t write_all(const struct transfer *transfer, uint32_t *ret_done) {
    uint64_t done = 0;
    uint16_t wasi_err = WASI_SUCCESS;
    bool is_piecewise = is_stream(transfer->fd) && !is_socket(transfer->fd);
    while (done < transfer->total) {
        wasi_err = is_stream(transfer->fd) ? wait_ready(transfer, POLLOUT) : WASI_SUCCESS;
        if (wasi_err)
            break;
        ssize_t put = write_once(transfer, done);
        if (put < 0 && should_retry(transfer, (int)-put))
            continue;
        if (put < 0) {
            wasi_err = wasi_errno_of((int)-put);
            break;
        }
        done += (uint64_t)put;
        if (!is_piecewise)
            break;
    }
    if (wasi_err && done == 0)
        return wasi_err;
    *ret_done = (uint32_t)done; /* a short count; what stopped it comes with the next write */
    return WASI_SUCCESS;
}

/* ---- Functions: (fd, iovs, iovs_count[, offset], ret_count) ---- */

static uint16_t transfer_run(struct wasi_call *call, uint64_t right, bool is_positioned) {
    struct transfer transfer = {.call = call, .offset = NO_OFFSET};
    uint64_t out = call->args[is_positioned ? 4 : 3];
    uint32_t done = 0;
    uint16_t wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), 0, &transfer.fd);
    if (wasi_err)
        return wasi_err;
    if (is_positioned && !transfer.fd->is_seekable)
        return WASI_ESPIPE;
    wasi_err = wasi_fd_get(call, wasi_arg32(call, 0), right | (is_positioned ? WASI_RIGHT_FD_SEEK : 0),
                           &transfer.fd);
    if (wasi_err)
        return wasi_err;
    if (is_positioned && call->args[3] > INT64_MAX)
        return WASI_EINVAL;
    if (is_positioned)
        transfer.offset = (off_t)call->args[3];
    wasi_err = transfer_init(&transfer, call->args[1], wasi_arg32(call, 2));
    if (!wasi_err && !wasi_span(call, out, 4))
        wasi_err = WASI_EFAULT;
    if (!wasi_err)
        wasi_err = right == WASI_RIGHT_FD_READ ? read_all(&transfer, &done) : write_all(&transfer, &done);
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
