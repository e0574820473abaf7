/*
 * host/vm/kick.h: getting a thread out of KVM_RUN, or out of a system call that waits (wait.h),
 * from another thread.
 *
 * A kick is two things: vcpu_ops.kick() (sticky in the vCPU: the next entry returns at once) and
 * the kick signal to the thread that is inside KVM_RUN now. `state` says which thread that is, so
 * that no kick is sent to a thread that has left: a call's start (kicker_enter) and end
 * (kicker_leave) wait for signals that are being sent, which takes as long as one tgkill(). The
 * kicking side never waits. Each kick sends a signal of its own: another's, which is under way, may
 * have been taken already, before the flag of this one could be seen.
 */
#ifndef HOST_KICK_H
#define HOST_KICK_H

#include <stdatomic.h>

#include "husk.h"
#include "vm.h"

/* Added to the thread's number for each signal that is under way. Thread numbers are far below
 * (PID_MAX_LIMIT). */
#define KICKER_SENDING (1ull << 32)
#define KICKER_THREAD (KICKER_SENDING - 1)

struct kicker {
    const struct vcpu_ops *ops;
    struct vcpu *_Atomic vcpu; /* NULL: none yet */
    atomic_uint kicking;       /* those that are about to use `vcpu` */
    int signal;
    atomic_uint_least64_t state; /* 0: nobody runs; else the thread's kernel number */
};

/* The handler: KVM_RUN returns with EINTR, system calls made by wait_syscall() end (wait.h), others
 * go on. Refuses a signal that somebody else handles: HUSK_E_INVAL. */
int kick_signal_install(int signal, struct husk_error *err);

void kicker_init(struct kicker *kicker, const struct vcpu_ops *ops, struct vcpu *vcpu, int signal);
/* From now on kicks go to this vCPU. Afterwards nobody uses the one before, which may be
 * destroyed. */
void kicker_set_vcpu(struct kicker *kicker, struct vcpu *vcpu);
/* Another one in a child made by fork(). To be asked for before the first fork that matters. */
uint64_t process_number(void);
/* The calling thread is about to run the vCPU. Calls nest, and a nested one may be made by another
 * thread (a host function may have one of its own do it): returns which thread a kick went to until
 * now, to be given back to kicker_leave(). */
uint64_t kicker_enter(struct kicker *kicker);
void kicker_leave(struct kicker *kicker, uint64_t before);
void kicker_kick(struct kicker *kicker);

#endif
