/*
 * host/wasi/wasi_io.c: fd_read, fd_write, fd_pread, fd_pwrite: copies and checks the vectors. The
 * kind of descriptor transfers them (wasi_fd_ops.transfer).
 */
#include <string.h>

#include "wasi.h"
#include "wasi_abi.h"

/* Copies the guest's iovec array and checks every range; empty ones are dropped, and what is over
 * the limit is cut off. */
uint16_t wasi_transfer_init(struct wasi_transfer *transfer, uint64_t iovs_addr,
                            uint32_t iovs_count) {
    const struct wasi_call *call = transfer->call;
    transfer->total = 0;
    transfer->count = 0;
    if (iovs_count > WASI_IOVECS_MAX)
        return WASI_EINVAL;
    const uint8_t *iovs = wasi_view(call, iovs_addr, (uint64_t)iovs_count * WASI_IOVEC_BYTES);
    if (iovs == NULL)
        return WASI_EFAULT;
    for (uint32_t i = 0; i < iovs_count; i++) {
        uint32_t iov[2]; /* buf, buf_len */
        memcpy(iov, iovs + (size_t)i * WASI_IOVEC_BYTES, sizeof iov);
        void *span = transfer->is_write ? (void *)(uintptr_t)wasi_view(call, iov[0], iov[1])
                                        : wasi_span(call, iov[0], iov[1]);
        if (span == NULL)
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

/* ---- Functions: (fd, iovs, iovs_count[, offset], ret_count) ---- */

static bool is_directory(const struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    return wasi_fd_arg(call, 0, 0, &fd) == WASI_SUCCESS && fd->ops->dir != NULL;
}

static uint16_t transfer_run(struct wasi_call *call, uint64_t right, bool is_positioned) {
    struct wasi_transfer transfer = {
        .call = call, .is_write = right == WASI_RIGHT_FD_WRITE, .offset = WASI_NO_OFFSET};
    uint64_t out = call->args[is_positioned ? 4 : 3];
    uint16_t wasi_err = is_positioned
                            ? wasi_fd_get_seekable(call, right | WASI_RIGHT_FD_SEEK, &transfer.fd)
                            : wasi_fd_arg(call, 0, right, &transfer.fd);
    if (wasi_err == WASI_ENOTCAPABLE && is_directory(call))
        wasi_err = transfer.is_write ? WASI_EBADF : WASI_EISDIR; /* as in POSIX */
    if (wasi_err != 0)
        return wasi_err;
    if (is_positioned && call->args[3] > INT64_MAX)
        return WASI_EINVAL;
    if (is_positioned)
        transfer.offset = call->args[3];
    wasi_err = wasi_transfer_init(&transfer, call->args[1], wasi_arg32(call, 2));
    if (wasi_err == 0 && wasi_span(call, out, 4) == NULL)
        wasi_err = WASI_EFAULT;
    if (wasi_err != 0)
        return wasi_err;
    const long moved = transfer.fd->ops->transfer(&transfer);
    if (call->is_pending)
        return WASI_SUCCESS;
    return moved < 0 ? wasi_errno_of((int)-moved) : wasi_put_u32(call, out, (uint32_t)moved);
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
