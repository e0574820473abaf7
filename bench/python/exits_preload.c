/*
 * bench/python/exits_preload.c: loaded before the C library (LD_PRELOAD), it takes the time of each
 * KVM_RUN of a thread, as bench/exits.h does, and notes why it ended; and it makes calls from C, on
 * a sandbox that Python made. So both sides are measured in one process, in turns.
 */
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "husk.h"

typedef int (*call_fn)(husk_sandbox *sandbox, const struct husk_call *call,
                       struct husk_outcome *ret_outcome, struct husk_error *err);

uint64_t bench_now_ns(void);
uint64_t bench_inside_ns(void);
uint64_t bench_exits(void);
int bench_reason(uint64_t exit);
int bench_host(husk_caller *caller, void *user, const struct husk_value *args,
               struct husk_value *results);
int bench_calls(call_fn call, husk_sandbox *sandbox, husk_func func,
                const struct husk_limits *limits, uint32_t count);

enum { FDS_MAX = 4096, REASONS_MAX = 256 };

static _Thread_local uint64_t inside_ns, exits;
/* Of the last exits: the kernel's reason (KVM_EXIT_MMIO and so on), 256 and the port for
 * KVM_EXIT_IO, or -1: a signal came. */
static _Thread_local int reasons[REASONS_MAX];
/* What a VCPU and its process share, by the VCPU's descriptor. */
static struct kvm_run *runs[FDS_MAX];
static _Atomic(unsigned char) is_vcpu[FDS_MAX];

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

/* Why this thread's exit of that number happened, of the last 256. */
int bench_reason(uint64_t exit) {
    return reasons[exit % REASONS_MAX];
}

int ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (request != KVM_RUN) {
        const int made = (int)syscall(SYS_ioctl, fd, request, arg);
        if (request == KVM_CREATE_VCPU && made >= 0 && made < FDS_MAX)
            is_vcpu[made] = 1;
        return made;
    }
    const uint64_t began = bench_now_ns();
    const int result = (int)syscall(SYS_ioctl, fd, request, arg);
    inside_ns += bench_now_ns() - began;
    const struct kvm_run *run = fd < FDS_MAX ? runs[fd] : NULL;
    int reason = -1;
    if (result == 0 && run != NULL)
        reason = run->exit_reason == KVM_EXIT_IO ? 256 + run->io.port : (int)run->exit_reason;
    reasons[exits++ % REASONS_MAX] = reason;
    return result;
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    void *made = (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
    if (made != MAP_FAILED && fd >= 0 && fd < FDS_MAX && offset == 0 && is_vcpu[fd] != 0) {
        runs[fd] = made;
        is_vcpu[fd] = 0; /* the descriptor's number may be another file's later */
    }
    return made;
}

void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    return mmap(address, bytes, protection, flags, fd, offset);
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
