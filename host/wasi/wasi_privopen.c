/*
 * host/wasi/wasi_privopen.c: what descriptors of private directories are open on: an inode of the
 * layer, or a place below. And the beginning of each use of a layer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "clock.h"
#include "wasi_abi.h"
#include "wasi_priv.h"

/* ---- One use ---- */

/* The order of names must not be known to whoever chooses them; but it is the same for the same
 * seed. */
static void set_secret(struct priv *priv) {
    const uint64_t seed = priv->call->ctx->given.random_seed;
    uint64_t secret[2] = {seed, ~seed};
    if (seed == 0 && getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret)
        secret[0] = clock_ns(CLOCK_MONOTONIC);
    privfs_set_secret(&priv->fs, secret);
}

int priv_begin(struct priv *priv, const struct wasi_call *call, const struct wasi_fd *fd) {
    const struct wasi_config *config = call->ctx->config;
    const struct wasi_dir *dir = &config->dirs[fd->dir];
    struct privfs_usage usage;
    *priv = (struct priv){.call = call, .root = fd->dir};
    if (call->ops->files != NULL)
        call->ops->files(call->host, &priv->fs);
    if (priv->fs.base == NULL)
        return -EBADF;
    priv->fs.limit_bytes = config->private_max_bytes;
    priv->fs.limit_entries = config->private_max_entries;
    (void)wasi_clock_now(call->ctx, WASI_CLOCK_REALTIME, &priv->fs.now_ns);
    priv->below_fd = dir->kind == HUSK_WASI_DIR_COW ? dir->host_fd : -1;
    privfs_usage(&priv->fs, &usage);
    if (usage.end_bytes == 0)
        set_secret(priv);
    if (call->ctx->owes_sweep && usage.nameless > 0)
        privsweep_run(priv);
    call->ctx->owes_sweep = false;
    return 0;
}

/* ---- Objects ---- */

struct wasi_fd *privfile_next(const struct priv *priv, uint32_t *number) {
    const struct wasi_fds *fds = &priv->call->ctx->fds;
    while (*number < fds->count) {
        struct wasi_fd *fd = wasi_fds_at(fds, (*number)++);
        if (fd != NULL && fd->privfile != NULL && fd->dir == priv->root)
            return fd;
    }
    return NULL;
}

bool privfile_is_open(const struct priv *priv, struct privfs_id id, const struct wasi_fd *except) {
    const struct wasi_fd *fd;
    for (uint32_t number = 0; (fd = privfile_next(priv, &number)) != NULL;)
        if (fd != except && !fd->privfile->is_below && fd->privfile->id.ino == id.ino &&
            fd->privfile->id.generation == id.generation)
            return true;
    return false;
}

struct wasi_privfile *privfile_new(const char *lower, uint32_t lower_bytes) {
    struct wasi_privfile *file = calloc(1, sizeof *file + lower_bytes + 1);
    if (file == NULL)
        return NULL;
    file->is_below = lower != NULL;
    file->host_fd = -1;
    file->lower_bytes = lower_bytes;
    if (lower != NULL)
        memcpy(file->lower, lower, lower_bytes);
    return file;
}

static void host_close(struct wasi_privfile *file) {
    if (file->host_fd >= 0)
        close(file->host_fd);
    file->host_fd = -1;
}

void privfile_become(struct wasi_privfile *file, struct privfs_id id) {
    host_close(file);
    file->is_below = file->is_lost = false;
    file->id = id;
    file->identity = (struct priv_identity){0};
    file->rel_at = file->lower_bytes = 0;
    file->lower[0] = '\0';
}

void privfile_free(struct wasi_privfile *file) {
    if (file != NULL)
        host_close(file);
    free(file);
}

/* UTIME_NOW, UTIME_OMIT. */
static uint64_t time_of(const struct priv *priv, const struct timespec *time) {
    return time->tv_nsec == UTIME_OMIT  ? UINT64_MAX
           : time->tv_nsec == UTIME_NOW ? priv->fs.now_ns
                                        : clock_ns_of(*time);
}

int privfile_set_times(struct priv *priv, struct privfs_id id, const struct timespec times[2]) {
    const uint64_t atime_ns = time_of(priv, &times[0]), mtime_ns = time_of(priv, &times[1]);
    return privfs_set_times(&priv->fs, id, atime_ns, mtime_ns);
}
