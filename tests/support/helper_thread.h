/*
 * tests/support/helper_thread.h: a second thread that does single jobs and takes no page fault in
 * between, for tests of what must not depend on which thread does what.
 */
#ifndef TESTS_SUPPORT_HELPER_THREAD_H
#define TESTS_SUPPORT_HELPER_THREAD_H

#include <pthread.h>
#include <stdatomic.h>

typedef void (*helper_job)(void *argument);

/* Static, so that it outlives a test that fails, as the thread does. */
struct helper_thread {
    pthread_t thread;
    _Atomic(helper_job) job; /* NULL: nothing to do */
    void *argument;
    atomic_bool is_ending;
};

void helper_start(struct helper_thread *helper);
/* The job runs over there; returns when it is done. */
void helper_run(struct helper_thread *helper, helper_job job, void *argument);
void helper_stop(struct helper_thread *helper);

#endif
