/*
 * host/wasi/wasi_wait.c: waits on behalf of a guest, until the awaited event comes or the call must
 * end.
 */
#include <errno.h>
#include <sys/syscall.h>

#include "clock.h"
#include "wasi.h"

#define KERNEL_SIGSET_BYTES 8

long wasi_syscall(const struct wasi_call *call, long number, const long args[6]) {
    long result;
    do
        result = call->ops->syscall(call->host, number, args);
    while (result == -EINTR && !call->ops->is_cut(call->host));
    return result;
}

int wasi_wait(const struct wasi_call *call, struct pollfd *fds, nfds_t count, uint64_t timeout_ns) {
    int ready = poll(fds, count, 0); /* mostly something is ready, or nobody wants to wait */
    if (ready > 0 || timeout_ns == 0 || (ready < 0 && errno != EINTR))
        return ready < 0 ? -errno : ready;
    const uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    const uint64_t end = clock_later(begin, timeout_ns);
    long result;
    do {
        uint64_t now = clock_ns(CLOCK_MONOTONIC), rest = end > now ? end - now : 0;
        struct timespec timeout = clock_timespec(rest);
        const long args[6] = {(long)fds, (long)count, end == UINT64_MAX ? 0 : (long)&timeout, 0,
                              KERNEL_SIGSET_BYTES};
        result = call->ops->syscall(call->host, SYS_ppoll, args);
    } while (result == -EINTR && !call->ops->is_cut(call->host));
    return (int)result;
}
