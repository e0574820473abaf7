/* host/vm/kick.c: see kick.h. */
#include "kick.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "wait.h"
#include "hot.h"

int kick_signal_install(int signal, struct husk_error *err) {
    struct sigaction old;
    if (sigaction(signal, NULL, &old) != 0)
        return error_sys(err, errno, "cannot examine signal %d", signal);
    const bool is_unused = (old.sa_flags & SA_SIGINFO) == 0 &&
                           (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN);
    if (!is_unused && !wait_is_handler(&old))
        return error_set(err, HUSK_E_INVAL,
                         "signal %d is used by this process already; choose another in "
                         "husk_engine_options.kick_signal",
                         signal);
    if (wait_signal_install(signal) != 0)
        return error_sys(err, errno, "cannot install the handler of signal %d", signal);
    return 0;
}

_Thread_local struct kick_thread kick_thread __attribute__((tls_model("initial-exec")));

/* How many forks lie between the process that loaded the library and this one: a number that no
 * ancestor of it has. */
uint64_t process_forks;

/* In the child of a fork(), before anything else runs there. Its thread has another kernel number,
 * too. */
static void process_begin(void) {
    process_forks++;
    kick_thread.number = 0;
}

static void process_watch(void) {
    pthread_atfork(NULL, NULL, process_begin);
}

static void process_prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, process_watch);
}

void kicker_init(struct kicker *kicker, const struct vcpu_ops *ops, struct vcpu *vcpu, int signal) {
    process_prepare();
    kicker->ops = ops;
    kicker->signal = signal;
    atomic_store(&kicker->state, 0);
    /* last: an empty sandbox may be interrupted while it is loaded */
    atomic_store(&kicker->vcpu, vcpu);
}

/* Who counted itself before the exchange may use the old vCPU, and is waited for; who did so after
 * it takes the new one. */
void kicker_set_vcpu(struct kicker *kicker, struct vcpu *vcpu) {
    atomic_store(&kicker->vcpu, vcpu);
    while (atomic_load(&kicker->kicking) != 0)
        sched_yield();
}

HOT uint64_t process_number(void) {
    process_prepare();
    return process_forks;
}

RARE void kicker_prepare_thread(int signal) {
    kick_thread.number = (uint64_t)syscall(SYS_gettid);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    kick_thread.unblocked |= 1ull << (signal & 63);
}

RARE uint64_t kicker_switch_later(struct kicker *kicker, uint64_t thread) {
    uint64_t before = atomic_load(&kicker->state) & KICKER_THREAD;
    while (!atomic_compare_exchange_weak(&kicker->state, &before, thread)) {
        before &= KICKER_THREAD;
        sched_yield(); /* a signal is being sent */
    }
    return before;
}

void kicker_kick(struct kicker *kicker) {
    atomic_fetch_add(&kicker->kicking, 1);
    struct vcpu *vcpu = atomic_load(&kicker->vcpu);
    if (vcpu != NULL)
        kicker->ops->kick(vcpu);
    atomic_fetch_sub(&kicker->kicking, 1);
    if (vcpu == NULL)
        return; /* an empty sandbox has no vCPU yet; the request waits in its flag */
    uint64_t state = atomic_load(&kicker->state);
    do
        if ((state & KICKER_THREAD) == 0)
            return; /* whoever enters looks at the flag */
    while (!atomic_compare_exchange_weak(&kicker->state, &state, state + KICKER_SENDING));
    wait_signal_thread((long)(state & KICKER_THREAD), kicker->signal);
    atomic_fetch_sub(&kicker->state, KICKER_SENDING);
}
