/*
 * host/wasi/wasi_clock.c: clocks. The monotonic clock starts near zero with the sandbox, so the
 * guest does not learn the host's uptime. The CPU clocks count the CPU time of the thread that
 * makes the calls, so the guest does not learn about other work of the process. WASI's "process"
 * and "thread" clocks are the same, because a guest has one vCPU. If a sandbox moves to another
 * thread, its CPU clocks continue.
 *
 * A fixed clock (struct husk_wasi_clock) does not look at the host's. It moves when the guest reads
 * it, and to the end of a sleep (wasi_poll.c). Its CPU clocks are its monotonic clock.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "wasi.h"
#include "wasi_abi.h"

static uint64_t cpu_ns(struct wasi_ctx *ctx) {
    int32_t tid = (int32_t)syscall(SYS_gettid);
    uint64_t now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    /* A thread id may be reused by a new thread, whose clock is behind. */
    if (tid == ctx->cpu_last_tid && now >= ctx->cpu_last_ns)
        ctx->cpu_total_ns += now - ctx->cpu_last_ns;
    ctx->cpu_last_tid = tid;
    ctx->cpu_last_ns = now;
    return ctx->cpu_total_ns;
}

static uint16_t fixed_now(const struct wasi_ctx *ctx, uint32_t clock, uint64_t *ret_ns) {
    if (clock > WASI_CLOCK_THREAD_CPUTIME)
        return WASI_EINVAL;
    *ret_ns = clock == WASI_CLOCK_REALTIME ? ctx->fixed_realtime_ns : ctx->fixed_ns;
    return WASI_SUCCESS;
}

uint16_t wasi_clock_now(struct wasi_ctx *ctx, uint32_t clock, uint64_t *ret_ns) {
    if (ctx->given.is_clock_fixed)
        return fixed_now(ctx, clock, ret_ns);
    switch (clock) {
    case WASI_CLOCK_REALTIME: *ret_ns = clock_ns(CLOCK_REALTIME); return WASI_SUCCESS;
    case WASI_CLOCK_MONOTONIC:
        *ret_ns = clock_ns(CLOCK_MONOTONIC) - ctx->monotonic_base_ns;
        return WASI_SUCCESS;
    case WASI_CLOCK_PROCESS_CPUTIME:
    case WASI_CLOCK_THREAD_CPUTIME: *ret_ns = cpu_ns(ctx); return WASI_SUCCESS;
    default: return WASI_EINVAL;
    }
}

/* Half of the range, so that saved times stay valid. */
static uint64_t sum_ns(uint64_t time_ns, uint64_t more_ns) {
    return more_ns < INT64_MAX - time_ns ? time_ns + more_ns : INT64_MAX;
}

bool wasi_clock_can_advance(const struct wasi_ctx *ctx, uint64_t ns) {
    const uint64_t most =
        ctx->fixed_ns > ctx->fixed_realtime_ns ? ctx->fixed_ns : ctx->fixed_realtime_ns;
    return ns <= INT64_MAX - most;
}

void wasi_clock_advance(struct wasi_ctx *ctx, uint64_t ns) {
    ctx->fixed_ns = sum_ns(ctx->fixed_ns, ns);
    ctx->fixed_realtime_ns = sum_ns(ctx->fixed_realtime_ns, ns);
}

/* No clock of the instance goes back. */
void wasi_clock_begin(struct wasi_ctx *ctx, uint64_t monotonic_ns, uint64_t cpu_ns) {
    ctx->fixed_ns = monotonic_ns > cpu_ns ? monotonic_ns : cpu_ns;
    ctx->fixed_realtime_ns = ctx->given.realtime_ns;
    /* unsigned, as the subtraction when it is read */
    ctx->monotonic_base_ns = clock_ns(CLOCK_MONOTONIC) - monotonic_ns;
    ctx->cpu_total_ns = cpu_ns;
    ctx->cpu_last_ns = 0;
    ctx->cpu_last_tid = 0;
}

uint16_t wasi_clock_res_get(struct wasi_call *call) {
    static const clockid_t host_clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC,
                                            CLOCK_THREAD_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    uint32_t clock = wasi_arg32(call, 0);
    struct timespec resolution = {0};
    if (clock >= sizeof host_clocks / sizeof host_clocks[0])
        return WASI_EINVAL;
    (void)clock_getres(host_clocks[clock], &resolution);
    if (call->ctx->given.is_clock_fixed)
        resolution = clock_timespec(call->ctx->given.step_ns > 0 ? call->ctx->given.step_ns : 1);
    return wasi_put_u64(call, call->args[1], clock_ns_of(resolution));
}

/* The precision (argument 1) is the lag that the caller would accept; there is none. */
uint16_t wasi_clock_time_get(struct wasi_call *call) {
    uint64_t now = 0;
    uint16_t wasi_err = wasi_clock_now(call->ctx, wasi_arg32(call, 0), &now);
    if (wasi_err == 0 && call->ctx->given.is_clock_fixed)
        wasi_clock_advance(call->ctx, call->ctx->given.step_ns);
    return wasi_err != 0 ? wasi_err : wasi_put_u64(call, call->args[2], now);
}
