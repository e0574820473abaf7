/*
 * base/signal_guard.h: writing without the signals of writing. A write beyond the file size limit
 * (RLIMIT_FSIZE) raises SIGXFSZ, one to a pipe that nobody reads SIGPIPE, and either ends a process
 * that did not expect it. A library reports an errno instead: the two are blocked in this thread
 * meanwhile, and the one that was raised is taken back.
 */
#ifndef BASE_SIGNAL_GUARD_H
#define BASE_SIGNAL_GUARD_H

#include <signal.h>

struct signal_guard {
    sigset_t before, pending;
};

void signal_guard_begin(struct signal_guard *guard);
/* host_errno: what the write failed with, or 0. errno is kept. */
void signal_guard_end(const struct signal_guard *guard, int host_errno);

#endif
