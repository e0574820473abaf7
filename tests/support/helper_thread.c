/* tests/support/helper_thread.c: see helper_thread.h. */
#include "helper_thread.h"

#include <sched.h>
#include <string.h>

#include "harness.h"

static void *helper_main(void *user) {
    struct helper_thread *helper = user;
    while (!atomic_load(&helper->is_ending)) {
        helper_job job = atomic_load(&helper->job);
        if (job == NULL) {
            sched_yield();
            continue;
        }
        job(helper->argument);
        atomic_store(&helper->job, NULL);
    }
    return NULL;
}

void helper_start(struct helper_thread *helper) {
    memset(helper, 0, sizeof *helper);
    CHECK_EQ_I64(pthread_create(&helper->thread, NULL, helper_main, helper), 0);
}

void helper_run(struct helper_thread *helper, helper_job job, void *argument) {
    helper->argument = argument;
    atomic_store(&helper->job, job);
    while (atomic_load(&helper->job) != NULL)
        sched_yield();
}

void helper_stop(struct helper_thread *helper) {
    atomic_store(&helper->is_ending, true);
    pthread_join(helper->thread, NULL);
}
