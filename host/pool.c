/* host/pool.c: see pool.h. */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "sandbox_internal.h"

void pool_init(struct pool *pool, uint32_t max) {
    *pool = (struct pool){.max = max};
    pthread_mutex_init(&pool->lock, NULL);
}

void pool_done(struct pool *pool) {
    pthread_mutex_destroy(&pool->lock);
    free(pool->idle);
}

/* Under the lock. */
static husk_sandbox *pool_remove(struct pool *pool, uint32_t idx) {
    husk_sandbox *sandbox = pool->idle[idx];
    pool->count--;
    memmove(&pool->idle[idx], &pool->idle[idx + 1], (pool->count - idx) * sizeof *pool->idle);
    return sandbox;
}

/* Sandboxes are freed outside the lock: destroying a VM takes a millisecond. */
static void trim(struct pool *pool, uint32_t keep) {
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        husk_sandbox *sandbox = pool->count > keep ? pool_remove(pool, 0) : NULL;
        pthread_mutex_unlock(&pool->lock);
        if (sandbox == NULL)
            return;
        engine_ref(sandbox->engine);
        sandbox_destroy(sandbox);
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

void pool_put(struct pool *pool, husk_sandbox *sandbox) {
    husk_engine *engine = sandbox->engine;
    husk_sandbox *dropped = sandbox;
    pthread_mutex_lock(&pool->lock);
    if (pool->idle == NULL && pool->max > 0)
        pool->idle = calloc(pool->max, sizeof(husk_sandbox *));
    if (!pool->is_closed && pool->idle != NULL) {
        dropped = pool->count == pool->max ? pool_remove(pool, 0) : NULL;
        pool->idle[pool->count++] = sandbox;
    }
    pthread_mutex_unlock(&pool->lock);
    if (dropped != NULL) {
        stat_count(dropped->stats, STAT_pool_drops);
        if (dropped != sandbox)
            engine_ref(engine); /* its own was dropped when it was put in */
        sandbox_destroy(dropped);
    }
    if (dropped != sandbox)
        engine_unref(engine);
}

/* Loading keeps the limits, so they must be the same; `size` is what the caller was compiled with. */
static bool has_options(const husk_sandbox *sandbox, const struct husk_sandbox_options *options) {
    const struct husk_sandbox_options *own = &sandbox->options;
    return own->memory_max_bytes == options->memory_max_bytes &&
           own->table_max_entries == options->table_max_entries && own->stack_bytes == options->stack_bytes &&
           own->host_call_depth_max == options->host_call_depth_max;
}

/* 2: holds this very image; 1: one of the same module; 0: another; -1: of no use. */
static int suitability(const husk_sandbox *sandbox, const husk_image *image,
                       const struct husk_sandbox_options *options) {
    if (!has_options(sandbox, options))
        return -1;
    if (sandbox->mapped == NULL || image == NULL)
        return 0;
    return sandbox->mapped == image ? 2 : image_code(sandbox->mapped) == image_code(image);
}

husk_sandbox *pool_take(struct pool *pool, const husk_image *image,
                        const struct husk_sandbox_options *options) {
    int best = -1;
    uint32_t best_idx = 0;
    husk_sandbox *sandbox = NULL;
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = pool->count; i-- > 0 && best < 2;) { /* the newest is the warmest */
        int now = suitability(pool->idle[i], image, options);
        if (now > best) {
            best = now;
            best_idx = i;
        }
    }
    if (best >= 0)
        sandbox = pool_remove(pool, best_idx);
    pthread_mutex_unlock(&pool->lock);
    if (sandbox != NULL)
        engine_ref(sandbox->engine);
    return sandbox;
}
