/*
 * host/engine/pool.h: an engine's idle machines (machine.h), as they were left. Bounded: the one
 * that was put in first makes room. The pool knows no more of a machine than how to free it; what
 * suits whom is said by machine.c.
 */
#ifndef HOST_POOL_H
#define HOST_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define POOL_DEFAULT_MAX 8u

struct machine;

struct pool {
    pthread_mutex_t lock;
    struct machine **idle; /* oldest first; `max` of them fit */
    uint32_t max;
    atomic_uint count; /* statistics read it without the lock */
    bool is_closed;
    void (*free_machine)(struct machine *machine); /* of those in it */
};

void pool_init(struct pool *pool, uint32_t max);
void pool_done(struct pool *pool); /* of a closed pool */
/* Free all but the last `keep`. */
void pool_trim(struct pool *pool, uint32_t keep);
/* Free all that is idle and take no more. */
void pool_close(struct pool *pool);

/* Returns the machine that there is no room for: this one or another, the caller's to free; or
 * NULL. */
struct machine *pool_put(struct pool *pool, struct machine *machine,
                         void (*free_machine)(struct machine *machine));
/* What a machine is worth to whoever asks: POOL_BEST at most; -1: nothing. */
#define POOL_BEST 2
typedef int (*pool_suits_fn)(const struct machine *machine, const void *wanted);
/* The best machine, of equals the one put in last; NULL if none suits. */
struct machine *pool_take(struct pool *pool, pool_suits_fn suits, const void *wanted);

#endif
