/*
 * tests/support/helper_thread.h: a second thread that does single jobs and takes no page fault
 * between them. For tests of behaviour that must not depend on the thread.
 */
#ifndef TESTS_SUPPORT_HELPER_THREAD_H
#define TESTS_SUPPORT_HELPER_THREAD_H

#include <pthread.h>
#include <stdatomic.h>

typedef void (*helper_job)(void *argument);

/* Make it static: like the thread, it must outlive a test that fails. */
struct helper_thread {
    pthread_t thread;
    _Atomic(helper_job) job; /* NULL: nothing to do */
    void *argument;
    atomic_bool is_ending;
};

void helper_start(struct helper_thread *helper);
/* Run the job in the helper thread, and wait until it is done. */
void helper_run(struct helper_thread *helper, helper_job job, void *argument);
void helper_stop(struct helper_thread *helper);

#endif
