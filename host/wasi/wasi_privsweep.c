/*
 * host/wasi/wasi_privsweep.c: releases files of a private layer that have neither a name nor a
 * descriptor. After a load, when the layer is used first.
 */
#include <stdlib.h>

#include "buf.h"
#include "wasi_priv.h"
#include "wasi_state.h"

static int compare_ids(const void *a, const void *b) {
    const struct privfs_id *left = a, *right = b;
    return left->ino != right->ino
               ? (left->ino > right->ino) - (left->ino < right->ino)
               : (left->generation > right->generation) - (left->generation < right->generation);
}

/* The inodes without a name that descriptors of any directory are open on, in order, once each. */
static void list_nameless(const struct priv *priv, struct buf *ret_ids) {
    const struct wasi_fds *fds = &priv->call->ctx->fds;
    struct privfs_stat st;
    for (uint32_t i = 0; i < fds->count; i++) {
        const struct wasi_fd *fd = wasi_fds_at(fds, i);
        if (fd != NULL && fd->ops->saved_kind == WASI_SAVED_PRIVATE && fd->privfile != NULL &&
            !fd->privfile->is_below && privfs_stat(&priv->fs, fd->privfile->id, &st) == 0 &&
            st.links == 0)
            buf_append(ret_ids, &fd->privfile->id, sizeof fd->privfile->id);
    }
    struct privfs_id *ids = (void *)ret_ids->data;
    const size_t count = ret_ids->count / sizeof *ids;
    size_t kept = 0;
    if (count > 0)
        qsort(ids, count, sizeof *ids, compare_ids);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || compare_ids(&ids[kept - 1], &ids[i]) != 0)
            ids[kept++] = ids[i];
    ret_ids->count = kept * sizeof *ids;
}

static bool is_listed(void *user, struct privfs_id id) {
    const struct buf *ids = user;
    return ids->count > 0 &&
           bsearch(&id, ids->data, ids->count / sizeof id, sizeof id, compare_ids) != NULL;
}

void privsweep_run(struct priv *priv) {
    struct privfs_usage usage;
    struct buf ids = {0};
    list_nameless(priv, &ids);
    privfs_usage(&priv->fs, &usage);
    if (!ids.failed && ids.count / sizeof(struct privfs_id) < usage.nameless)
        privfs_sweep(&priv->fs, is_listed, &ids);
    buf_done(&ids);
}
