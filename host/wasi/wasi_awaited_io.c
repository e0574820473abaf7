/*
 * host/wasi/wasi_awaited_io.c: standard input whose data comes later (HUSK_WASI_AWAITED). The
 * function that wants it does nothing, and makes the guest's call pending (wasi_imports.c). Later,
 * in this sandbox or in one that a snapshot brought to the same place, it is called again, with
 * another stream.
 */
#include <errno.h>

#include "wasi.h"
#include "wasi_state.h"

/* A read of nothing wants no data. */
static long awaited_transfer(struct wasi_transfer *transfer) {
    if (transfer->total == 0)
        return 0;
    transfer->call->is_pending = true;
    return -EAGAIN; /* which nobody sees */
}

const struct wasi_fd_ops wasi_awaited_ops = {.transfer = awaited_transfer,
                                             .saved_kind = WASI_SAVED_STREAM};
