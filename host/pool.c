/* host/pool.c: see pool.h. */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "machine.h"

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
static void trim(struct pool *pool, uint32_t keep) {
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        struct machine *machine = pool->count > keep ? pool_remove(pool, 0) : NULL;
        pthread_mutex_unlock(&pool->lock);
        if (machine == NULL)
            return;
        machine_free(machine);
    }
}

void husk_engine_trim(husk_engine *engine, uint32_t keep) {
    trim(&engine->pool, keep);
}

void pool_close(struct pool *pool) {
    pthread_mutex_lock(&pool->lock);
    pool->is_closed = true;
    pthread_mutex_unlock(&pool->lock);
    trim(pool, 0);
}

void pool_put(struct pool *pool, struct machine *machine) {
    struct machine *dropped = machine;
    pthread_mutex_lock(&pool->lock);
    if (pool->idle == NULL && pool->max > 0)
        pool->idle = calloc(pool->max, sizeof *pool->idle);
    if (!pool->is_closed && pool->idle != NULL) {
        dropped = pool->count == pool->max ? pool_remove(pool, 0) : NULL;
        pool->idle[pool->count++] = machine;
    }
    pthread_mutex_unlock(&pool->lock);
    if (dropped != NULL) {
        stat_count(dropped->stats, STAT_pool_drops);
        machine_free(dropped);
    }
}

/* `size` is what the caller was compiled with. */
static bool has_limits(const struct machine *machine, const struct husk_sandbox_options *limits) {
    const struct husk_sandbox_options *own = &machine->limits;
    return own->memory_max_bytes == limits->memory_max_bytes &&
           own->table_max_entries == limits->table_max_entries && own->stack_bytes == limits->stack_bytes &&
           own->host_call_depth_max == limits->host_call_depth_max;
}

/* 2: holds this very image; 1: one of the same module; 0: another; -1: of no use. */
static int suitability(const struct machine *machine, const husk_image *image,
                       const struct husk_sandbox_options *limits) {
    if (!has_limits(machine, limits))
        return -1;
    if (machine->mapped == NULL || image == NULL)
        return 0;
    return machine->mapped == image ? 2 : image_code(machine->mapped) == image_code(image);
}

struct machine *pool_take(struct pool *pool, const husk_image *image,
                          const struct husk_sandbox_options *limits) {
    int best = -1;
    uint32_t best_idx = 0;
    struct machine *machine = NULL;
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = pool->count; i-- > 0 && best < 2;) { /* the newest is the warmest */
        int now = suitability(pool->idle[i], image, limits);
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
