/*
 * host/wasi/wasi_path.c: functions for files, directories and new sockets, which a guest cannot
 * have. No descriptor is a directory, so every path function fails as the standard requires: EBADF
 * for a descriptor that is not open, ENOTCAPABLE for one without a right to paths. The path itself
 * is ignored.
 */
#include "wasi.h"
#include "wasi_abi.h"

static uint16_t refuse(const struct wasi_call *call, unsigned fd_arg, uint16_t wasi_errno_if_open) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, fd_arg, 0, &fd);
    return wasi_err != 0 ? wasi_err : wasi_errno_if_open;
}

/* wasi-libc asks descriptor after descriptor, from 3 on, for preopened directories, until EBADF. */
uint16_t wasi_fd_prestat_get(struct wasi_call *call) {
    (void)call;
    return WASI_EBADF;
}

uint16_t wasi_fd_prestat_dir_name(struct wasi_call *call) {
    (void)call;
    return WASI_EBADF;
}

uint16_t wasi_fd_readdir(struct wasi_call *call) {
    return refuse(call, 0, WASI_ENOTDIR);
}

uint16_t wasi_path_create_directory(struct wasi_call *call) {
    return refuse(call, 0, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_filestat_get(struct wasi_call *call) {
    return refuse(call, 0, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_filestat_set_times(struct wasi_call *call) {
    return refuse(call, 0, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_link(struct wasi_call *call) {
    uint16_t wasi_err = refuse(call, 4, WASI_SUCCESS); /* the new path's descriptor */
    return wasi_err != 0 ? wasi_err : refuse(call, 0, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_open(struct wasi_call *call) {
    return refuse(call, 0, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_readlink(struct wasi_call *call) {
    return refuse(call, 0, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_remove_directory(struct wasi_call *call) {
    return refuse(call, 0, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_rename(struct wasi_call *call) {
    uint16_t wasi_err = refuse(call, 3, WASI_SUCCESS);
    return wasi_err != 0 ? wasi_err : refuse(call, 0, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_symlink(struct wasi_call *call) {
    return refuse(call, 2, WASI_ENOTCAPABLE);
}

uint16_t wasi_path_unlink_file(struct wasi_call *call) {
    return refuse(call, 0, WASI_ENOTCAPABLE);
}

/* A standard stream that is a socket is read and written with fd_read and fd_write; it stays the
 * host's to shut down. */
static uint16_t refuse_socket(const struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    uint16_t wasi_err = wasi_fd_arg(call, 0, 0, &fd);
    if (wasi_err != 0)
        return wasi_err;
    bool is_socket =
        fd->filetype == WASI_FILETYPE_SOCKET_STREAM || fd->filetype == WASI_FILETYPE_SOCKET_DGRAM;
    return is_socket ? WASI_ENOTSUP : WASI_ENOTSOCK;
}

uint16_t wasi_sock_accept(struct wasi_call *call) {
    return refuse_socket(call);
}

uint16_t wasi_sock_recv(struct wasi_call *call) {
    return refuse_socket(call);
}

uint16_t wasi_sock_send(struct wasi_call *call) {
    return refuse_socket(call);
}

uint16_t wasi_sock_shutdown(struct wasi_call *call) {
    return refuse_socket(call);
}
