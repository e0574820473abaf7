/*
 * host/wasi/wasi_listener.c: sockets: listeners, which the embedder gives, and the connections that
 * a guest accepts on them. A listener is borrowed. A connection is the sandbox's own: it is closed
 * with its descriptor, or when the sandbox is reset, restored or freed. wasi_host_io.c reads and
 * writes connections.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "wasi.h"
#include "wasi_abi.h"
#include "wasi_state.h"

#define RIGHTS_ALWAYS                                                                              \
    (WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_POLL_FD_READWRITE)
/* To wait for a connection is an event of reading. */
#define RIGHTS_LISTENER (RIGHTS_ALWAYS | WASI_RIGHT_FD_READ | WASI_RIGHT_SOCK_ACCEPT)

static int socket_poll_fd(const struct wasi_fd *fd) {
    return fd->host_fd;
}

/* ---- Connections ---- */

static uint64_t connection_readable_bytes(const struct wasi_call *call, const struct wasi_fd *fd) {
    int available = 0;
    (void)call;
    return ioctl(fd->host_fd, FIONREAD, &available) != 0 || available < 0 ? 0 : (uint64_t)available;
}

static int connection_shutdown(const struct wasi_fd *fd, int how) {
    return shutdown(fd->host_fd, how) == 0 ? 0 : -errno;
}

static int connection_save(const struct wasi_ctx *ctx, const struct wasi_fd *fd, struct buf *body,
                           struct husk_error *err) {
    (void)ctx;
    (void)fd;
    (void)body;
    return error_set(err, HUSK_E_STATE,
                     "it is a connection, which no snapshot can hold; the guest must close it");
}

static void connection_close(struct wasi_fd *fd) {
    close(fd->host_fd);
}

static const struct wasi_sock_ops connection_sock_ops = {.shutdown = connection_shutdown};
static const struct wasi_fd_ops connection_ops = {.transfer = wasi_socket_transfer,
                                                  .poll_fd = socket_poll_fd,
                                                  .readable_bytes = connection_readable_bytes,
                                                  .close = connection_close,
                                                  .sock = &connection_sock_ops,
                                                  .save = connection_save};

/* ---- Listeners ---- */

/* POSIX: a listener is not connected. */
static long listener_transfer(struct wasi_transfer *transfer) {
    (void)transfer;
    return -ENOTCONN;
}

/* Not known how many; one at least if it is ready. */
static uint64_t listener_readable_bytes(const struct wasi_call *call, const struct wasi_fd *fd) {
    (void)call;
    (void)fd;
    return 1;
}

static long listener_wait(const struct wasi_call *call, const struct wasi_fd *fd,
                          uint64_t timeout_ns) {
    struct pollfd pollfd = {.fd = fd->host_fd, .events = POLLIN};
    const int ready = wasi_wait(call, &pollfd, 1, timeout_ns);
    return ready == 0 ? -EAGAIN : ready;
}

/* Many sandboxes may share a listener: another one can take the connection after poll(). Then a
 * patient guest waits again. An impatient one waits, too, if the embedder's descriptor is blocking.
 * A connection inherits SO_LINGER, which would make closing it wait. */
static int listener_accept(const struct wasi_call *call, const struct wasi_fd *fd,
                           struct wasi_fd *ret_connection) {
    const bool is_impatient = (fd->flags & WASI_FDFLAG_NONBLOCK) != 0;
    const struct linger no_linger = {0};
    long accepted = is_impatient ? listener_wait(call, fd, 0) : 0;
    while (accepted >= 0) {
        accepted = WASI_SYSCALL(call, SYS_accept4, fd->host_fd, 0, 0, SOCK_CLOEXEC);
        if (accepted != -EAGAIN || is_impatient)
            break;
        accepted = listener_wait(call, fd, UINT64_MAX);
    }
    if (accepted < 0)
        return (int)accepted;
    (void)setsockopt((int)accepted, SOL_SOCKET, SO_LINGER, &no_linger, sizeof no_linger);
    ret_connection->ops = &connection_ops;
    ret_connection->host_fd = (int)accepted;
    ret_connection->filetype = WASI_FILETYPE_SOCKET_STREAM;
    return 0;
}

static const struct wasi_sock_ops listener_sock_ops = {.accept = listener_accept};
static const struct wasi_fd_ops listener_ops = {.transfer = listener_transfer,
                                                .poll_fd = socket_poll_fd,
                                                .readable_bytes = listener_readable_bytes,
                                                .sock = &listener_sock_ops,
                                                .saved_kind = WASI_SAVED_LISTENER};

/* ---- The configuration's table ---- */

static bool is_listening(int host_fd) {
    int type = 0, is_accepting = 0;
    socklen_t type_bytes = sizeof type, accepting_bytes = sizeof is_accepting;
    return getsockopt(host_fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) == 0 &&
           type == SOCK_STREAM &&
           getsockopt(host_fd, SOL_SOCKET, SO_ACCEPTCONN, &is_accepting, &accepting_bytes) == 0 &&
           is_accepting != 0;
}

static uint64_t connection_rights(uint32_t given) {
    return RIGHTS_ALWAYS | WASI_RIGHT_SOCK_SHUTDOWN |
           ((given & HUSK_WASI_READ) != 0 ? WASI_RIGHT_FD_READ : 0) |
           ((given & HUSK_WASI_WRITE) != 0 ? WASI_RIGHT_FD_WRITE : 0);
}

static int listener_init(struct wasi_fd *fd, size_t idx, const struct husk_wasi_listener *given,
                         struct husk_error *err) {
    if (given->rights == 0 || (given->rights & ~(uint32_t)(HUSK_WASI_READ | HUSK_WASI_WRITE)) != 0)
        return error_set(err, HUSK_E_INVAL,
                         "listener %zu: rights are HUSK_WASI_READ, HUSK_WASI_WRITE or both, not %u",
                         idx, given->rights);
    if (!is_listening(given->host_fd))
        return error_set(err, HUSK_E_INVAL,
                         "listener %zu: descriptor %d is no stream socket after listen()", idx,
                         given->host_fd);
    *fd = (struct wasi_fd){.ops = &listener_ops,
                           .host_fd = given->host_fd,
                           .filetype = WASI_FILETYPE_SOCKET_STREAM,
                           .dir = (uint16_t)idx};
    wasi_fd_grant(fd, RIGHTS_LISTENER, connection_rights(given->rights));
    return 0;
}

int wasi_listeners_init(struct wasi_config *config, const struct husk_wasi_options *options,
                        struct husk_error *err) {
    if (options->listeners_count > WASI_LISTENERS_MAX)
        return error_set(err, HUSK_E_LIMIT, "%zu listeners; at most %u are possible",
                         options->listeners_count, WASI_LISTENERS_MAX);
    if (options->listeners_count != 0 && options->listeners == NULL)
        return error_set(err, HUSK_E_INVAL, "listeners is NULL and listeners_count is %zu",
                         options->listeners_count);
    if (config->open_max < WASI_STREAMS + config->dirs_count + options->listeners_count)
        return error_set(err, HUSK_E_INVAL,
                         "open_max is %u, less than the streams, directories and "
                         "listeners together",
                         config->open_max);
    config->listeners = calloc(options->listeners_count + 1, sizeof *config->listeners);
    if (config->listeners == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the listeners");
    config->listeners_count = (uint32_t)options->listeners_count;
    for (size_t i = 0; i < options->listeners_count; i++) {
        const int status = listener_init(&config->listeners[i], i, &options->listeners[i], err);
        if (status != 0)
            return status;
    }
    return 0;
}

void wasi_listeners_done(struct wasi_config *config) {
    free(config->listeners);
}

int wasi_listener_check(struct wasi_ctx *ctx, const struct wasi_saved_fd *row, const uint8_t *body,
                        struct wasi_fd *ret_fd, struct husk_error *err) {
    (void)body;
    if (row->body_bytes != 0 || (row->flags & ~WASI_FDFLAG_NONBLOCK) != 0)
        return wasi_state_damaged(err, "flags or size of a listener", row->number);
    if (row->idx < ctx->config->listeners_count)
        *ret_fd = ctx->config->listeners[row->idx];
    ret_fd->flags = row->flags;
    return 0;
}
