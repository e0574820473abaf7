/* host/engine/pool.c: see pool.h. */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

void pool_init(struct pool *pool, uint32_t max) {
    *pool = (struct pool){.max = max};
    pthread_mutex_init(&pool->lock, NULL);
}

void pool_done(struct pool *pool) {
    pthread_mutex_destroy(&pool->lock);
    free(pool->idle);
}

/* Under the lock. */
static struct machine *pool_remove(struct pool *pool, uint32_t idx) {
    struct machine *machine = pool->idle[idx];
    pool->count--;
    memmove(&pool->idle[idx], &pool->idle[idx + 1], (pool->count - idx) * sizeof *pool->idle);
    return machine;
}

/* Machines are freed outside the lock: destroying a VM takes a millisecond. */
void pool_trim(struct pool *pool, uint32_t keep) {
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        struct machine *machine = pool->count > keep ? pool_remove(pool, 0) : NULL;
        void (*const free_machine)(struct machine *) = pool->free_machine;
        pthread_mutex_unlock(&pool->lock);
        if (machine == NULL)
            return;
        free_machine(machine);
    }
}

void pool_close(struct pool *pool) {
    pthread_mutex_lock(&pool->lock);
    pool->is_closed = true;
    pthread_mutex_unlock(&pool->lock);
    pool_trim(pool, 0);
}

struct machine *pool_put(struct pool *pool, struct machine *machine,
                         void (*free_machine)(struct machine *machine)) {
    struct machine *dropped = machine;
    pthread_mutex_lock(&pool->lock);
    pool->free_machine = free_machine;
    if (pool->idle == NULL && pool->max > 0)
        pool->idle = calloc(pool->max, sizeof(struct machine *));
    if (!pool->is_closed && pool->idle != NULL) {
        dropped = pool->count == pool->max ? pool_remove(pool, 0) : NULL;
        pool->idle[pool->count++] = machine;
    }
    pthread_mutex_unlock(&pool->lock);
    return dropped;
}

struct machine *pool_take(struct pool *pool, pool_suits_fn suits, const void *wanted) {
    int best = -1;
    uint32_t best_idx = 0;
    struct machine *machine = NULL;
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = pool->count; i-- > 0 && best < POOL_BEST;) { /* the newest is the warmest */
        int now = suits(pool->idle[i], wanted);
        if (now > best) {
            best = now;
            best_idx = i;
        }
    }
    if (best >= 0)
        machine = pool_remove(pool, best_idx);
    pthread_mutex_unlock(&pool->lock);
    return machine;
}
