/*
 * host/wasi/wasi_privfile.c: open files of private directories. A file is an inode of the layer,
 * or a file below until somebody writes to it; then all descriptors of the guest that are open on
 * it get the copy. Each descriptor has its own position.
 *
 * A descriptor that comes from a snapshot opens its file below when it is first used, and only if
 * it is the same file. If not, or if the layer does not have the inode, it reads as closed
 * (-EBADF).
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "clock.h"
#include "wasi_abi.h"
#include "wasi_priv.h"
#include "wasi_state.h"

/* ---- The file below ---- */

static int host_open(const struct priv *priv, struct wasi_privfile *file) {
    struct stat st;
    if (file->host_fd >= 0)
        return 0;
    int status = below_stat(priv, file->lower, &st);
    if (status == 0 && !S_ISREG(st.st_mode))
        status = -ENOENT;
    const int host_fd = status != 0 ? status : below_open_file(priv, file->lower, &st);
    if (host_fd < 0)
        return host_fd == -ENOENT || host_fd == -ENXIO ? -EBADF : host_fd;
    if (st.st_dev != file->identity.dev || st.st_ino != file->identity.ino) {
        close(host_fd);
        return -EBADF;
    }
    file->host_fd = host_fd;
    return 0;
}

/* Get the file into the layer, as far as max_bytes, and its inode. */
static int file_lift(struct priv *priv, const struct wasi_fd *fd, uint64_t max_bytes,
                     struct privfs_id *ret_id) {
    struct priv_node node;
    int status = privnode_of_fd(priv, fd, &node);
    if (status == 0 && node.is_below && node.kind == PRIVFS_FILE)
        status = host_open(priv, fd->privfile);
    if (status == 0)
        status = privcopy_lift(priv, &node, fd->privfile != NULL ? fd->privfile->host_fd : -1,
                               max_bytes);
    if (status == 0)
        *ret_id = node.id;
    return status;
}

/* ---- Reading and writing ---- */

/* Where the next byte goes. A file that is appended to has no other place, as in Linux. */
static int layer_offset(const struct wasi_transfer *transfer, const struct priv *priv,
                        uint64_t *ret_offset) {
    const struct wasi_privfile *file = transfer->fd->privfile;
    struct privfs_stat st;
    if (!transfer->is_write || (transfer->fd->flags & WASI_FDFLAG_APPEND) == 0) {
        *ret_offset = transfer->offset != WASI_NO_OFFSET ? transfer->offset : file->offset;
        return 0;
    }
    const int status = privfs_stat(&priv->fs, file->id, &st);
    if (status == 0)
        *ret_offset = st.bytes;
    return status;
}

/* As much of the next vector as one look at the clock allows. */
static int64_t layer_piece(struct wasi_transfer *transfer, struct priv *priv, uint64_t offset) {
    struct iovec *vec = &transfer->vecs[transfer->first];
    const uint64_t bytes = vec->iov_len < WASI_PIECE_BYTES ? vec->iov_len : WASI_PIECE_BYTES;
    const struct privfs_id id = transfer->fd->privfile->id;
    const int64_t moved = transfer->is_write
                              ? privfs_write(&priv->fs, id, offset, vec->iov_base, bytes)
                              : privfs_read(&priv->fs, id, offset, vec->iov_base, bytes);
    if (moved <= 0)
        return moved;
    vec->iov_base = (char *)vec->iov_base + moved;
    vec->iov_len -= (size_t)moved;
    transfer->first += vec->iov_len == 0;
    return moved;
}

static long layer_transfer(struct wasi_transfer *transfer, struct priv *priv) {
    uint64_t begin = 0, done = 0, looked = 0;
    int64_t moved = layer_offset(transfer, priv, &begin);
    while (moved >= 0 && done < transfer->total) {
        if (done - looked >= WASI_PIECE_BYTES) {
            looked = done;
            if (transfer->call->ops->is_cut(transfer->call->host))
                break;
        }
        moved = layer_piece(transfer, priv, begin + done);
        if (moved <= 0)
            break;
        done += (uint64_t)moved;
    }
    if (done == 0)
        return moved;
    if (transfer->offset == WASI_NO_OFFSET)
        transfer->fd->privfile->offset = begin + done;
    return (long)done;
}

static long below_read(struct wasi_transfer *transfer, const struct priv *priv) {
    struct wasi_privfile *file = transfer->fd->privfile;
    const bool is_positioned = transfer->offset != WASI_NO_OFFSET;
    const int status = host_open(priv, file);
    if (status != 0)
        return status;
    if (!is_positioned)
        transfer->offset = file->offset;
    transfer->fd->host_fd = file->host_fd;
    const long moved = wasi_file_transfer(transfer);
    transfer->fd->host_fd = -1;
    if (!is_positioned && moved > 0)
        file->offset += (uint64_t)moved;
    return moved;
}

static long file_transfer(struct wasi_transfer *transfer) {
    struct priv priv;
    struct privfs_id id;
    int status = priv_begin(&priv, transfer->call, transfer->fd);
    if (status != 0)
        return status;
    if (transfer->fd->privfile->is_below && !transfer->is_write)
        return below_read(transfer, &priv);
    if (transfer->total == 0)
        return 0; /* writing nothing copies nothing */
    status = file_lift(&priv, transfer->fd, UINT64_MAX, &id);
    return status != 0 ? status : layer_transfer(transfer, &priv);
}

/* ---- Other operations ---- */

int privfile_stat(const struct wasi_call *call, const struct wasi_fd *fd, struct stat *ret_stat) {
    struct priv priv;
    struct priv_node node;
    struct stat st;
    int status = priv_begin(&priv, call, fd);
    if (status == 0)
        status = privnode_of_fd(&priv, fd, &node);
    if (status == 0 && node.is_below && node.kind == PRIVFS_FILE) {
        status = host_open(&priv, fd->privfile);
        if (status == 0 && fstat(fd->privfile->host_fd, &st) != 0)
            status = -errno;
        st.st_dev = priv.root + 1;
    } else if (status == 0) {
        status = privnode_stat(&priv, &node, &st);
    }
    if (status != 0)
        return status;
    *ret_stat = st;
    if (node.is_lost)
        ret_stat->st_nlink = 0;
    return 0;
}

static int64_t file_seek(const struct wasi_call *call, struct wasi_fd *fd, int64_t offset,
                         int whence) {
    struct stat st = {0};
    const int status = whence == SEEK_END ? privfile_stat(call, fd, &st) : 0;
    const int64_t base = whence == SEEK_SET   ? 0
                         : whence == SEEK_CUR ? (int64_t)fd->privfile->offset
                                              : st.st_size;
    if (status != 0)
        return status;
    if (offset < -base)
        return -EINVAL;
    if (offset > INT64_MAX - base)
        return -EOVERFLOW;
    fd->privfile->offset = (uint64_t)(base + offset);
    return base + offset;
}

static int file_set_flags(const struct wasi_fd *fd, uint16_t flags) {
    (void)fd;
    (void)flags;
    return 0;
}

int privfile_touch(const struct wasi_call *call, const struct wasi_fd *fd,
                   const struct timespec times[2]) {
    struct priv priv;
    struct privfs_id id;
    int status = priv_begin(&priv, call, fd);
    if (status == 0)
        status = file_lift(&priv, fd, UINT64_MAX, &id);
    return status != 0 ? status : privfile_set_times(&priv, id, times);
}

static int file_resize(const struct wasi_call *call, const struct wasi_fd *fd, int64_t bytes) {
    struct priv priv;
    struct privfs_id id;
    if ((uint64_t)bytes > PRIVFS_FILE_MAX_BYTES)
        return -EFBIG;
    int status = priv_begin(&priv, call, fd);
    if (status == 0)
        status = file_lift(&priv, fd, (uint64_t)bytes, &id);
    return status != 0 ? status : privfs_resize(&priv.fs, id, (uint64_t)bytes);
}

/* The pages are made zeros here, so the call may have to end before a large range is done. Then the
 * file has its old size again. */
static int allocate_pieces(struct priv *priv, struct privfs_id id, uint64_t offset,
                           uint64_t bytes) {
    struct privfs_stat before;
    int status = privfs_stat(&priv->fs, id, &before);
    if (status == 0)
        status = privfs_can_allocate(&priv->fs, id, offset, bytes);
    if (status != 0)
        return status;
    for (uint64_t done = 0; done < bytes && status == 0; done += WASI_PIECE_BYTES) {
        const uint64_t left = bytes - done;
        status = done > 0 && priv->call->ops->is_cut(priv->call->host)
                     ? -EINTR
                     : privfs_allocate(&priv->fs, id, offset + done,
                                       left < WASI_PIECE_BYTES ? left : WASI_PIECE_BYTES);
    }
    if (status != 0 && before.bytes < offset + bytes) {
        (void)privfs_resize(&priv->fs, id, before.bytes);
        (void)privfs_set_times(&priv->fs, id, before.atime_ns, before.mtime_ns);
    }
    return status;
}

static int file_allocate(const struct wasi_call *call, const struct wasi_fd *fd, int64_t offset,
                         int64_t bytes) {
    struct priv priv;
    struct privfs_id id;
    if (offset > (int64_t)PRIVFS_FILE_MAX_BYTES || bytes > (int64_t)PRIVFS_FILE_MAX_BYTES - offset)
        return -EFBIG;
    int status = priv_begin(&priv, call, fd);
    if (status == 0)
        status = file_lift(&priv, fd, UINT64_MAX, &id);
    return status != 0 ? status : allocate_pieces(&priv, id, (uint64_t)offset, (uint64_t)bytes);
}

static int file_advise(const struct wasi_fd *fd, int64_t offset, int64_t bytes, int advice) {
    (void)fd;
    (void)offset;
    (void)bytes;
    (void)advice;
    return 0;
}

/* Nothing is on a disk. */
int privfile_sync(const struct wasi_call *call, const struct wasi_fd *fd, bool is_data_only) {
    (void)call;
    (void)fd;
    (void)is_data_only;
    return 0;
}

static uint64_t file_readable_bytes(const struct wasi_call *call, const struct wasi_fd *fd) {
    struct stat st;
    if (privfile_stat(call, fd, &st) != 0 || (uint64_t)st.st_size < fd->privfile->offset)
        return 0;
    return (uint64_t)st.st_size - fd->privfile->offset;
}

void privfile_release(const struct wasi_call *call, struct wasi_fd *fd) {
    struct priv priv;
    struct privfs_stat st;
    if (fd->privfile == NULL || fd->privfile->is_below || priv_begin(&priv, call, fd) != 0)
        return;
    const struct privfs_id id = fd->privfile->id;
    if (privfs_stat(&priv.fs, id, &st) == 0 && st.links == 0 && !privfile_is_open(&priv, id, fd))
        privfs_release(&priv.fs, id);
}

void privfile_close(struct wasi_fd *fd) {
    privfile_free(fd->privfile);
    fd->privfile = NULL;
}

static uint64_t file_position(const struct wasi_fd *fd) {
    return fd->privfile->offset;
}

static void file_set_position(struct wasi_fd *fd, uint64_t position) {
    fd->privfile->offset = position;
}

const struct wasi_fd_ops privfile_ops = {.transfer = file_transfer,
                                         .seek = file_seek,
                                         .set_flags = file_set_flags,
                                         .stat = privfile_stat,
                                         .set_times = privfile_touch,
                                         .resize = file_resize,
                                         .allocate = file_allocate,
                                         .advise = file_advise,
                                         .sync = privfile_sync,
                                         .readable_bytes = file_readable_bytes,
                                         .release = privfile_release,
                                         .close = privfile_close,
                                         .saved_kind = WASI_SAVED_PRIVATE,
                                         .save = privstate_save,
                                         .is_as_saved = privstate_is_as_saved,
                                         .position = file_position,
                                         .set_position = file_set_position};
