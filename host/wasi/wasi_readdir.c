/*
 * host/wasi/wasi_readdir.c: what a guest learns of its directories: which ones it was given, and
 * what is in them.
 */
#include <errno.h>
#include <string.h>

#include "wasi_abi.h"
#include "wasi_dir.h"

/* ---- The directories that were given ---- */

/* wasi-libc asks descriptor after descriptor, from 3 on, until EBADF. */
static uint16_t preopen_arg(const struct wasi_call *call, const struct wasi_dir **ret_dir) {
    struct wasi_fd *fd = NULL;
    if (wasi_fd_arg(call, 0, 0, &fd) != WASI_SUCCESS || !fd->is_preopen)
        return WASI_EBADF;
    *ret_dir = &call->ctx->config->dirs[fd->dir];
    return WASI_SUCCESS;
}

uint16_t wasi_fd_prestat_get(struct wasi_call *call) {
    const struct wasi_dir *dir = NULL;
    const uint16_t wasi_err = preopen_arg(call, &dir);
    if (wasi_err != 0)
        return wasi_err;
    uint8_t *out = wasi_span(call, call->args[1], WASI_PRESTAT_BYTES);
    if (out == NULL)
        return WASI_EFAULT;
    memset(out, 0, WASI_PRESTAT_BYTES);
    out[0] = WASI_PREOPENTYPE_DIR;
    memcpy(out + 4, &dir->guest_path_bytes, 4);
    return WASI_SUCCESS;
}

/* (fd, buf, buf_bytes). The name has no NUL. */
uint16_t wasi_fd_prestat_dir_name(struct wasi_call *call) {
    const struct wasi_dir *dir = NULL;
    const uint16_t wasi_err = preopen_arg(call, &dir);
    if (wasi_err != 0)
        return wasi_err;
    if (wasi_arg32(call, 2) < dir->guest_path_bytes)
        return WASI_ENAMETOOLONG;
    void *out = wasi_span(call, call->args[1], dir->guest_path_bytes);
    if (out == NULL)
        return WASI_EFAULT;
    memcpy(out, dir->guest_path, dir->guest_path_bytes);
    return WASI_SUCCESS;
}

/* ---- Entries ---- */

struct output {
    uint8_t *bytes;
    uint32_t count, room;
};

static void put(struct output *out, const void *bytes, uint32_t count) {
    const uint32_t left = out->room - out->count;
    const uint32_t taken = count < left ? count : left;
    memcpy(out->bytes + out->count, bytes, taken);
    out->count += taken;
}

/* An entry that does not fit is cut off, and fills the buffer: so the guest knows that there is
 * more. */
static bool put_entry(void *user, const struct wasi_dirent *entry) {
    struct output *out = user;
    uint8_t head[WASI_DIRENT_BYTES] = {0};
    memcpy(head, &entry->next, 8);
    memcpy(head + 8, &entry->ino, 8);
    memcpy(head + 16, &entry->name_bytes, 4);
    head[20] = entry->filetype;
    put(out, head, sizeof head);
    put(out, entry->name, entry->name_bytes);
    return out->count < out->room;
}

/* (fd, buf, buf_bytes, cookie, ret_count) */
uint16_t wasi_fd_readdir(struct wasi_call *call) {
    struct wasi_fd *fd = NULL;
    struct output out = {.room = wasi_arg32(call, 2)};
    const uint16_t wasi_err = wasi_fd_arg(call, 0, 0, &fd);
    if (wasi_err != 0)
        return wasi_err;
    if (fd->ops->dir == NULL)
        return WASI_ENOTDIR;
    if ((fd->rights & WASI_RIGHT_FD_READDIR) == 0)
        return WASI_ENOTCAPABLE;
    out.bytes = wasi_span(call, call->args[1], out.room);
    if (out.bytes == NULL || wasi_span(call, call->args[4], 4) == NULL)
        return WASI_EFAULT;
    const int status =
        out.room > 0 ? fd->ops->dir->list(call, fd, call->args[3], put_entry, &out) : 0;
    return status != 0 ? wasi_errno_of(-status) : wasi_put_u32(call, call->args[4], out.count);
}
