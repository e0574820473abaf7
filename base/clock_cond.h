/* base/clock_cond.h: a condition variable whose waits end by CLOCK_MONOTONIC. */
#ifndef BASE_CLOCK_COND_H
#define BASE_CLOCK_COND_H

#include <pthread.h>
#include <time.h>

/* Returns 0 or an errno. */
static inline int clock_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);
    if (rc != 0)
        return rc;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc = pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
    return rc;
}

#endif
