/*
 * host/call/sandbox_wait.c: system calls that wait, made for the guest (WASI, memory.atomic.wait).
 * The running call's deadline, its cancel token or an interrupt ends them. If a call has a CPU
 * limit alone, its waiting time is counted. Otherwise it could wait without end, because waiting
 * uses no CPU time (watchdog.h).
 */
#include <errno.h>
#include <sys/syscall.h>

#include "clock.h"
#include "sandbox_internal.h"
#include "wait.h"

static bool is_cut(void *sandbox) {
    return sandbox_is_cut(sandbox);
}

static bool counts_waits(const struct call_frame *frame) {
    return frame->is_watched && frame->watch.wait_left_ns != UINT64_MAX;
}

/* Begin a wait. Outer calls wait, too. Returns the time, or 0 if no call counts it. */
static uint64_t wait_begin(husk_sandbox *sandbox) {
    uint64_t now = 0;
    for (struct call_frame *frame = sandbox->calls.frame; frame != NULL; frame = frame->parent) {
        if (!counts_waits(frame))
            continue;
        now = now == 0 ? clock_ns(CLOCK_MONOTONIC) : now;
        const uint64_t left = frame->watch.wait_left_ns;
        atomic_store(&frame->watch.wait_end_ns, left > UINT64_MAX - now ? UINT64_MAX : now + left);
    }
    return now;
}

static void wait_end(husk_sandbox *sandbox, uint64_t begin_ns) {
    const uint64_t took = clock_ns(CLOCK_MONOTONIC) - begin_ns;
    for (struct call_frame *frame = sandbox->calls.frame; frame != NULL; frame = frame->parent) {
        if (!counts_waits(frame))
            continue;
        atomic_store(&frame->watch.wait_end_ns, UINT64_MAX);
        frame->watch.wait_left_ns -=
            took < frame->watch.wait_left_ns ? took : frame->watch.wait_left_ns;
    }
}

long sandbox_syscall(husk_sandbox *sandbox, long number, const long args[6]) {
    const uint64_t begin_ns = wait_begin(sandbox);
    const long result = wait_syscall(is_cut, sandbox, number, args);
    if (begin_ns != 0)
        wait_end(sandbox, begin_ns);
    return result;
}

void sandbox_sleep(husk_sandbox *sandbox, int64_t timeout_ns) {
    if (timeout_ns == 0)
        return;
    const uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
    long result;
    do {
        const uint64_t slept_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
        const uint64_t wanted_ns = (uint64_t)timeout_ns;
        struct timespec rest = clock_timespec(slept_ns < wanted_ns ? wanted_ns - slept_ns : 0);
        const long args[6] = {0, 0, timeout_ns < 0 ? 0 : (long)&rest};
        result = sandbox_syscall(sandbox, SYS_ppoll, args);
    } while (result == -EINTR && !sandbox_is_cut(sandbox));
}
