/*
 * base/signal_guard.h: lets a thread write to files without signals. A write beyond the file size
 * limit (RLIMIT_FSIZE) raises SIGXFSZ. A write to a pipe without a reader raises SIGPIPE. Each ends
 * a process that does not handle it. A library must report an errno instead. So the guard blocks
 * both signals in this thread during the write, and removes the one that the write raised.
 */
#ifndef BASE_SIGNAL_GUARD_H
#define BASE_SIGNAL_GUARD_H

#include <signal.h>

struct signal_guard {
    sigset_t before, pending;
};

void signal_guard_begin(struct signal_guard *guard);
/* host_errno: the errno of the failed write, or 0. errno is kept. */
void signal_guard_end(const struct signal_guard *guard, int host_errno);

#endif
