/* host/vm/wait_x86_64.c: see wait.h. The system call itself is in wait_entry_x86_64.S. */
#include "wait.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

long wait_entry(const volatile uint64_t *kicked_by, long number, const long args[6]);
extern const char wait_entry_begin[], wait_entry_end[], wait_entry_kicked[];

/* The handler runs at any instruction, so no sanitizer may put its own code into it. */
#if defined(__clang__)
#define UNSANITIZED __attribute__((disable_sanitizer_instrumentation))
#else
#define UNSANITIZED __attribute__((no_sanitize_thread, no_sanitize_address, no_sanitize_undefined))
#endif

/* Between this thread and the handler that interrupts it. kicked_by: bit n: signal n + 1, as in the
 * kernel's sets. A thread can get those of several engines, if a host function of one calls
 * another's guest. */
static _Thread_local volatile int is_waiting;
static _Thread_local volatile uint64_t kicked_by;

/* What the kernel keeps of a signal (arch/x86/include/uapi/asm/signal.h). */
struct kernel_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

/* A full queue of signals refuses a real-time signal that tgkill() sends (RLIMIT_SIGPENDING, which
 * all processes of a user share). One that says that it comes from kill() gets through without its
 * siginfo, which nobody reads; a thread may say so to itself alone, to another it must be kill().
 * That is sent to the process, but a thread's number makes it prefer that thread: it is
 * interrupted, which is enough for KVM_RUN. The handler may run in a thread that takes the signal
 * first; a thread that waits then goes on waiting. */
UNSANITIZED void wait_signal_thread(long thread, int signal) {
    const int saved_errno = errno;
    const pid_t process = getpid();
    if (syscall(SYS_tgkill, process, thread, signal) != 0 && errno == EAGAIN) {
        siginfo_t info = {.si_signo = signal, .si_code = SI_USER};
        info.si_pid = process;
        if (syscall(SYS_rt_tgsigqueueinfo, process, thread, signal, &info) != 0)
            (void)syscall(SYS_kill, thread, signal);
    }
    errno = saved_errno;
}

UNSANITIZED static void handle_kick(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    greg_t *rip = &interrupted->uc_mcontext.gregs[REG_RIP];
    (void)info;
    kicked_by |= 1ull << (signal - 1);
    if (!is_waiting)
        return; /* in KVM_RUN, or on the way: somebody looks at the flag before this thread waits */
    if (*rip >= (greg_t)(uintptr_t)wait_entry_begin && *rip < (greg_t)(uintptr_t)wait_entry_end) {
        *rip = (greg_t)(uintptr_t)wait_entry_kicked;
        return;
    }
    /* Right before or after, where kicked_by does it, or in a handler over the wait, which must
     * return first. */
    sigaddset(&interrupted->uc_sigmask, signal);
    wait_signal_thread(syscall(SYS_gettid), signal);
}

bool wait_is_handler(const struct sigaction *action) {
    return (action->sa_flags & SA_SIGINFO) != 0 && action->sa_sigaction == handle_kick;
}

/* ThreadSanitizer puts a handler of its own before ours, and calls ours when it likes: too late for
 * a thread that waits. So the kernel is asked, and told. */
static int install_at_kernel(int signal) {
    struct kernel_sigaction action;
    if (syscall(SYS_rt_sigaction, signal, NULL, &action, sizeof action.mask) != 0)
        return -1;
    if (action.handler == handle_kick)
        return 0;
    action.handler = handle_kick;
    return syscall(SYS_rt_sigaction, signal, &action, NULL, sizeof action.mask) != 0 ? -1 : 0;
}

/* SA_ONSTACK: some embedders' threads (of Go, for one) have too little stack for handlers. */
int wait_signal_install(int signal) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    action.sa_sigaction = handle_kick;
    sigemptyset(&action.sa_mask);
    if (sigaction(signal, &action, NULL) != 0)
        return -1;
    return install_at_kernel(signal);
}

/* The order matters: first forget old kicks, then look at the flag. A kick after that is
 * remembered. */
long wait_syscall(bool (*is_cut)(void *user), void *user, long number, const long args[6]) {
    kicked_by = 0;
    is_waiting = 1;
    atomic_signal_fence(memory_order_seq_cst);
    const long result = is_cut(user) ? -EINTR : wait_entry(&kicked_by, number, args);
    atomic_signal_fence(memory_order_seq_cst);
    is_waiting = 0;
    if (kicked_by != 0) { /* the handler may have blocked them */
        const uint64_t kicks = kicked_by;
        (void)syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &kicks, NULL, sizeof kicks);
    }
    return result;
}
