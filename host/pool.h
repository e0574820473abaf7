/*
 * host/pool.h: an engine's idle machines (machine.h). A freed sandbox's machine is kept here as it is, dirty; whoever takes it makes it equal to
 * an image, which is when the restore that was put off is done. Bounded: the one that was put in first makes room.
 */
#ifndef HOST_POOL_H
#define HOST_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "husk.h"

#define POOL_DEFAULT_MAX 8u

struct machine;

struct pool {
    pthread_mutex_t lock;
    struct machine **idle; /* oldest first; `max` of them fit */
    uint32_t max;
    atomic_uint count; /* statistics read it without the lock */
    bool is_closed;
};

void pool_init(struct pool *pool, uint32_t max);
void pool_done(struct pool *pool); /* of a closed pool */
/* Free all that is idle and take no more. */
void pool_close(struct pool *pool);

/* Keep a machine that nobody uses. Frees it, or another, if there is no room. */
void pool_put(struct pool *pool, struct machine *machine);
/* An idle machine with these limits, best one that holds this image's memory; NULL if there is none. */
struct machine *pool_take(struct pool *pool, const husk_image *image,
                          const struct husk_sandbox_options *limits);

#endif
