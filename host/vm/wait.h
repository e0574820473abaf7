/*
 * host/vm/wait.h: waiting system calls that a kick can end. wasi_*.c → sandbox_syscall() →
 * wait_syscall().
 *
 * A kick sets a flag, then sends a signal to the thread that runs a call (kick.h). For KVM_RUN that
 * is enough, because vcpu_ops.kick() is sticky. Any other system call may start just after the
 * signal arrived, and then wait for ever. So:
 *
 *   check the flag ─► [ "did a signal arrive?" ─► SYSCALL ] ─► result
 *
 * The handler records that it ran. If the thread is between the brackets, the handler moves it past
 * them. Then the system call did nothing, and the result is -EINTR. If the kernel restarts a system
 * call, it moves the thread back to the SYSCALL instruction, which is between the brackets, too. A
 * system call that has done part of its work returns that result. So in every order of events, the
 * signal ends the wait. Nothing needs timing, polling or a second signal.
 *
 * The handler may interrupt another handler, of the embedder, which itself interrupted the wait.
 * Then it cannot move the thread. It blocks the signal until that handler returns, and sends it
 * again.
 *
 * Only these system calls end. System calls of the embedder's functions are restarted (SA_RESTART),
 * if the kernel can restart them.
 */
#ifndef HOST_WAIT_H
#define HOST_WAIT_H

#include <stdbool.h>

/* Install the kick signal's handler. 0, or -1 with errno. */
int wait_signal_install(int signal);
/* Is this action, from sigaction(), the kick signal's handler? */
struct sigaction;
bool wait_is_handler(const struct sigaction *action);

/* Send the kick signal to a thread of this process. Safe in a signal handler. The signal arrives
 * even if the queue of signals is full. */
void wait_signal_thread(long thread, int signal);

/* Make a system call by the kernel's conventions; pointers in `args` are cast. Returns the kernel's
 * result, which is -errno on failure. -EINTR: the call did nothing, because is_cut(user) was true
 * before, or because the kick signal or another signal arrived. Then find the reason, and retry or
 * give up. The calling thread must not block the kick signal. */
long wait_syscall(bool (*is_cut)(void *user), void *user, long number, const long args[6]);

#endif
