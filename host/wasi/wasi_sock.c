/*
 * host/wasi/wasi_sock.c: the functions of sockets. A guest makes no sockets: it accepts connections
 * on listeners that the embedder gives. This file checks numbers, rights and arguments; listeners
 * and connections (wasi_listener.c) do the work.
 */
#include <sys/socket.h>

#include "wasi.h"
#include "wasi_abi.h"

/* The socket in argument 0. A standard stream that is a socket is read and written by fd_read and
 * fd_write; it stays the host's to shut down. */
static uint16_t socket_arg(const struct wasi_call *call, struct wasi_fd **ret_fd) {
    uint16_t wasi_err = wasi_fd_arg(call, 0, 0, ret_fd);
    if (wasi_err != 0)
        return wasi_err;
    if ((*ret_fd)->ops->sock != NULL)
        return WASI_SUCCESS;
    const uint8_t type = (*ret_fd)->filetype;
    const bool is_socket =
        type == WASI_FILETYPE_SOCKET_STREAM || type == WASI_FILETYPE_SOCKET_DGRAM;
    return is_socket ? WASI_ENOTSUP : WASI_ENOTSOCK;
}

/* The number is prepared before the connection is taken, so no connection is lost. */
static uint16_t accept_run(const struct wasi_call *call, uint32_t flags, uint32_t *ret_number) {
    struct wasi_fds *fds = &call->ctx->fds;
    struct wasi_fd *listener = NULL, connection = {0};
    const int number = wasi_fds_prepare(fds); /* may move the rows */
    uint16_t wasi_err = number < 0 ? wasi_errno_of(-number)
                                   : wasi_fd_arg(call, 0, WASI_RIGHT_SOCK_ACCEPT, &listener);
    if (wasi_err != 0)
        return wasi_err;
    const int status = listener->ops->sock->accept(call, listener, &connection);
    if (status != 0)
        return wasi_errno_of(-status);
    connection.flags = (uint16_t)flags;
    wasi_ctx_serial(call->ctx, &connection);
    wasi_fd_grant(&connection, listener->inheriting, 0);
    wasi_fds_put(fds, (uint32_t)number, &connection);
    *ret_number = (uint32_t)number;
    return WASI_SUCCESS;
}

/* (fd, flags, ret_fd) */
uint16_t wasi_sock_accept(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    const uint32_t flags = wasi_arg32(call, 1);
    uint32_t number = 0;
    uint16_t wasi_err = socket_arg(call, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if ((flags & ~WASI_FDFLAG_NONBLOCK) != 0 || fd->ops->sock->accept == NULL)
        return WASI_EINVAL;
    if (wasi_span(call, call->args[2], 4) == NULL)
        return WASI_EFAULT;
    wasi_err = accept_run(call, flags, &number);
    return wasi_err != 0 ? wasi_err : wasi_put_u32(call, call->args[2], number);
}

/* A transfer whose result goes to `out`. A listener has nobody to talk to. */
static uint16_t message_run(struct wasi_transfer *transfer, uint64_t right, uint64_t out) {
    const struct wasi_call *call = transfer->call;
    uint16_t wasi_err = WASI_ENOTCONN;
    if (transfer->fd->ops->sock->shutdown != NULL)
        wasi_err = wasi_fd_arg(call, 0, right, &transfer->fd);
    if (wasi_err == 0)
        wasi_err = wasi_transfer_init(transfer, call->args[1], wasi_arg32(call, 2));
    if (wasi_err == 0 && wasi_span(call, out, 4) == NULL)
        wasi_err = WASI_EFAULT;
    if (wasi_err != 0)
        return wasi_err;
    const long moved = transfer->fd->ops->transfer(transfer);
    return moved < 0 ? wasi_errno_of((int)-moved) : wasi_put_u32(call, out, (uint32_t)moved);
}

/* (fd, iovs, iovs_count, flags, ret_count, ret_flags). POSIX lets PEEK end the wait for all. */
uint16_t wasi_sock_recv(struct wasi_call *call) {
    struct wasi_transfer transfer = {.call = call, .offset = WASI_NO_OFFSET};
    const uint32_t flags = wasi_arg32(call, 3);
    uint16_t wasi_err = socket_arg(call, &transfer.fd);
    if (wasi_err != 0)
        return wasi_err;
    if ((flags & ~WASI_RIFLAGS_ALL) != 0)
        return WASI_EINVAL;
    uint8_t *out = wasi_span(call, call->args[5], 2);
    if (out == NULL)
        return WASI_EFAULT;
    transfer.is_peek = (flags & WASI_RIFLAG_PEEK) != 0;
    transfer.is_all = (flags & WASI_RIFLAG_WAITALL) != 0 && !transfer.is_peek;
    wasi_err = message_run(&transfer, WASI_RIGHT_FD_READ, call->args[4]);
    if (wasi_err == 0)
        out[0] = out[1] = 0; /* a stream has no messages that could be truncated */
    return wasi_err;
}

/* (fd, iovs, iovs_count, flags, ret_count). There are no flags. */
uint16_t wasi_sock_send(struct wasi_call *call) {
    struct wasi_transfer transfer = {.call = call, .is_write = true, .offset = WASI_NO_OFFSET};
    uint16_t wasi_err = socket_arg(call, &transfer.fd);
    if (wasi_err == 0 && wasi_arg32(call, 3) != 0)
        wasi_err = WASI_EINVAL;
    return wasi_err != 0 ? wasi_err : message_run(&transfer, WASI_RIGHT_FD_WRITE, call->args[4]);
}

/* (fd, directions) */
uint16_t wasi_sock_shutdown(struct wasi_call *call) {
    static const int directions[] = {-1, SHUT_RD, SHUT_WR, SHUT_RDWR};
    struct wasi_fd *fd = NULL;
    const uint32_t how = wasi_arg32(call, 1);
    uint16_t wasi_err = socket_arg(call, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if (how == 0 || (how & ~WASI_SDFLAGS_ALL) != 0)
        return WASI_EINVAL;
    if (fd->ops->sock->shutdown == NULL)
        return WASI_ENOTCONN;
    wasi_err = wasi_fd_arg(call, 0, WASI_RIGHT_SOCK_SHUTDOWN, &fd);
    return wasi_err != 0 ? wasi_err : wasi_errno_of(-fd->ops->sock->shutdown(fd, directions[how]));
}
