/*
 * host/call/sandbox_wait.c: system calls that wait, made for the guest (WASI, memory.atomic.wait).
 * The running call's deadline, its cancel token or an interrupt ends them. A signal interrupts
 * them, and the embedder is asked whether to go on (husk_limits.interrupted). If a call has a CPU
 * limit alone, its waiting time is counted. Otherwise it could wait without end, because waiting
 * uses no CPU time (watchdog.h).
 */
#include <errno.h>
#include <sys/syscall.h>

#include "clock.h"
#include "sandbox_internal.h"
#include "wait.h"

static bool is_stopped(void *user) {
    const husk_sandbox *sandbox = user;
    return sandbox_is_cut(sandbox) || calls_must_ask(&sandbox->calls);
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
        atomic_store(&frame->watch.wait_end_ns, clock_later(now, frame->watch.wait_left_ns));
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
    struct call_state *calls = &sandbox->calls;
    const bool has_to_ask = calls_have_to_ask(calls);
    const uint64_t begin_ns = wait_begin(sandbox);
    if (has_to_ask)
        atomic_store(&calls->is_inside, true);
    const long result = wait_syscall(is_stopped, sandbox, number, args);
    if (has_to_ask)
        atomic_store(&calls->is_inside, false);
    if (begin_ns != 0)
        wait_end(sandbox, begin_ns);
    if (has_to_ask && result == -EINTR && !sandbox_is_cut(sandbox))
        calls_ask(calls);
    return result;
}

bool sandbox_ask_and_is_cut(husk_sandbox *sandbox) {
    if (calls_must_ask(&sandbox->calls) && !sandbox_is_cut(sandbox))
        calls_ask(&sandbox->calls);
    return sandbox_is_cut(sandbox);
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
