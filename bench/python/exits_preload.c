/*
 * bench/python/exits_preload.c: loaded before the C library (LD_PRELOAD), it takes the time of each
 * KVM_RUN of a thread, as bench/exits.h does; and it makes calls from C, on a sandbox that Python
 * made. So both sides are measured in one process, in turns.
 */
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "husk.h"

typedef int (*call_fn)(husk_sandbox *sandbox, const struct husk_call *call,
                       struct husk_outcome *ret_outcome, struct husk_error *err);

uint64_t bench_now_ns(void);
uint64_t bench_inside_ns(void);
uint64_t bench_exits(void);
int bench_host(husk_caller *caller, void *user, const struct husk_value *args,
               struct husk_value *results);
int bench_calls(call_fn call, husk_sandbox *sandbox, husk_func func,
                const struct husk_limits *limits, uint32_t count);

static _Thread_local uint64_t inside_ns, exits;

uint64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How long the KVM_RUNs of this thread took. */
uint64_t bench_inside_ns(void) {
    return inside_ns;
}

uint64_t bench_exits(void) {
    return exits;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (request != KVM_RUN)
        return (int)syscall(SYS_ioctl, fd, request, arg);
    const uint64_t began = bench_now_ns();
    const int result = (int)syscall(SYS_ioctl, fd, request, arg);
    inside_ns += bench_now_ns() - began;
    exits++;
    return result;
}

/* The host function of the guest: a + b. */
int bench_host(husk_caller *caller, void *user, const struct husk_value *args,
               struct husk_value *results) {
    (void)caller, (void)user;
    results[0].of.i32 = args[0].of.i32 + args[1].of.i32;
    return 0;
}

/* func(1, 2), `count` times. -1, and a message, if one did not return. */
int bench_calls(call_fn call, husk_sandbox *sandbox, husk_func func,
                const struct husk_limits *limits, uint32_t count) {
    const struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = 1},
                                       {.type = HUSK_I32, .of.i32 = 2}};
    struct husk_value result;
    const struct husk_call made = {.size = sizeof made,
                                   .func = func,
                                   .args = args,
                                   .args_count = 2,
                                   .results = &result,
                                   .results_count = 1,
                                   .limits = limits};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    for (uint32_t i = 0; i < count; i++) {
        const int status = call(sandbox, &made, &outcome, &err);
        if (status != 0 || outcome.kind != HUSK_RETURNED) {
            fprintf(stderr, "a call from C: %s\n", status != 0 ? err.message : outcome.message);
            return -1;
        }
    }
    return 0;
}
