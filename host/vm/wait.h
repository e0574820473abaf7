/*
 * host/vm/wait.h: system calls that wait for the world, and that a kick ends. wasi_*.c →
 * sandbox_syscall() → wait_syscall().
 *
 * A kick is a signal to the thread that runs a call, sent after a flag that says why (kick.h). For
 * KVM_RUN that is enough, because vcpu_ops.kick() is sticky. Any other system call could be entered
 * just after the signal came, and then wait for ever. So:
 *
 *   flag looked at ─► [ "did a signal come?" ─► SYSCALL ] ─► result
 *
 * The handler remembers that it ran. If it finds the thread between the brackets, it moves the
 * thread past them: nothing was done, and the result is -EINTR. The kernel puts a thread whose
 * system call is to be restarted back to the SYSCALL instruction, which is between the brackets,
 * too. A system call that has done something already returns what it did. No order of events is
 * left in which the signal comes and the thread waits: there is nothing to time, to poll, or to
 * send twice.
 *
 * The handler may have interrupted another handler, of the embedder's, that lies over the wait.
 * Then it cannot move the thread: it blocks the signal until that handler returns, and sends it
 * again.
 *
 * Only these system calls are ended. Those of the embedder's own functions are restarted
 * (SA_RESTART), as far as the kernel restarts any.
 */
#ifndef HOST_WAIT_H
#define HOST_WAIT_H

#include <stdbool.h>

/* Install the kick signal's handler. 0, or -1 with errno. */
int wait_signal_install(int signal);
/* Is it the handler of a signal, as sigaction() tells it? */
struct sigaction;
bool wait_is_handler(const struct sigaction *action);

/* Send the kick signal to a thread of this process; also from a signal handler. It arrives even if
 * the queue of signals is full. */
void wait_signal_thread(long thread, int signal);

/* One system call by the kernel's conventions; pointers in `args` are cast. Returns the kernel's
 * result, -errno on failure. -EINTR, with nothing done: is_cut(user) was true before, or a signal
 * came, the kick signal or another: look why, and try again or give up. The calling thread must not
 * block the kick signal. */
long wait_syscall(bool (*is_cut)(void *user), void *user, long number, const long args[6]);

#endif
