/*
 * host/vm/kick.h: gets a thread out of KVM_RUN, or out of a waiting system call (wait.h), from
 * another thread.
 *
 * A kick has two parts: vcpu_ops.kick(), and the kick signal to the thread that is inside KVM_RUN.
 * vcpu_ops.kick() is sticky: the next entry returns at once. `state` says which thread is inside,
 * so a kick never signals a thread that has left. For that, the start (kicker_enter) and the end
 * (kicker_leave) of a call wait for signals that are being sent. The wait is as long as one
 * tgkill(). The kicking side never waits. Each kick sends its own signal. It cannot rely on a
 * signal of another kick: the thread may have handled that one before this kick's flag was set.
 */
#ifndef HOST_KICK_H
#define HOST_KICK_H

#include <stdatomic.h>

#include "hot.h"
#include "husk.h"
#include "vm.h"

/* The calling thread; all 0 until its first kicker_enter(). At a fixed distance from the thread's
 * pointer: otherwise each call would ask the dynamic linker for the place, whose code and data are
 * not in the CPU's caches after an exit. The price: a program that loads the library at run time
 * needs 16 bytes of room, of which the C library reserves some hundreds. */
struct kick_thread {
    uint64_t number; /* the kernel's */
    /* The signals that we made sure are not blocked in it. A blocked kick signal would leave an
     * endless guest running; once per thread is enough to keep sigmask calls off the path. */
    uint64_t unblocked;
};
extern _Thread_local struct kick_thread kick_thread __attribute__((tls_model("initial-exec")));

/* Added to the thread's number for each signal that is being sent. Thread numbers are far smaller
 * (PID_MAX_LIMIT). */
#define KICKER_SENDING (1ull << 32)
#define KICKER_THREAD (KICKER_SENDING - 1)

struct kicker {
    const struct vcpu_ops *ops;
    struct vcpu *_Atomic vcpu; /* NULL: no vCPU yet */
    atomic_uint kicking;       /* number of threads that are about to use `vcpu` */
    int signal;
    /* 0: no thread runs; else the kernel number of the thread that does */
    atomic_uint_least64_t state;
};

/* Install the handler of the kick signal. The signal makes KVM_RUN return with EINTR and ends
 * system calls of wait_syscall() (wait.h); other system calls go on. HUSK_E_INVAL: the process
 * already has another handler for this signal. */
int kick_signal_install(int signal, struct husk_error *err);

void kicker_init(struct kicker *kicker, const struct vcpu_ops *ops, struct vcpu *vcpu, int signal);
/* From now on, kicks go to this vCPU. After the return, no kick uses the previous vCPU, so it may
 * be destroyed. */
void kicker_set_vcpu(struct kicker *kicker, struct vcpu *vcpu);
/* A number that is different in a child made by fork(). Call it once before the first fork that
 * matters. */
uint64_t process_number(void);
/* The same, once that was called. */
extern uint64_t process_forks;
static inline uint64_t process_number_again(void) {
    return process_forks;
}
/* Tell that the calling thread is about to run the vCPU. Calls nest, and another thread may make a
 * nested call on behalf of a host function. Returns the thread that kicks went to until now; give
 * it to kicker_leave(). */
static inline uint64_t kicker_enter(struct kicker *kicker);
static inline void kicker_leave(struct kicker *kicker, uint64_t before);
void kicker_kick(struct kicker *kicker);

/* ---- within the functions that every call runs ---- */

/* Make sure that the signal is not blocked in the calling thread, and learn its number. */
void kicker_prepare_thread(int signal);
/* Another signal is being sent, or somebody else has just entered: try until neither is so. */
uint64_t kicker_switch_later(struct kicker *kicker, uint64_t thread);

/* Returns whose turn it was. */
static inline uint64_t kicker_switch(struct kicker *kicker, uint64_t thread) {
    uint64_t before = atomic_load(&kicker->state) & KICKER_THREAD;
    /* Sequentially consistent: either the kicker sees us running, or we see what it left for us
     * (the vCPU's sticky kick, the interrupt flag, the fired deadline), whose check comes after
     * this exchange. */
    return LIKELY(atomic_compare_exchange_strong(&kicker->state, &before, thread))
               ? before
               : kicker_switch_later(kicker, thread);
}

static inline uint64_t kicker_enter(struct kicker *kicker) {
    const struct kick_thread *thread = &kick_thread;
    if (UNLIKELY(thread->number == 0 || (thread->unblocked & 1ull << (kicker->signal & 63)) == 0))
        kicker_prepare_thread(kicker->signal);
    return kicker_switch(kicker, thread->number);
}

static inline void kicker_leave(struct kicker *kicker, uint64_t before) {
    kicker_switch(kicker, before);
}

#endif
