/*
 * host/memory/pool.c: an engine's idle machines (machine.h), as they were left. The pool is
 * bounded: the machine that was put in first is removed to make room. The list is a part of the
 * engine, which outlives every machine. The engine does not know the contents of a machine, so the
 * two public functions that free machines are here.
 */
#include "image_internal.h"
#include "machine.h"

/* ---- in: the newest first ---- */

/* Under the lock: all but the newest `keep` leave the pool. Returns their list. */
static struct machine *pool_cut(struct pool *pool, uint32_t keep) {
    struct machine **link = &pool->newest;
    uint32_t kept = 0;
    for (; *link != NULL && kept < keep; kept++)
        link = &(*link)->next_idle;
    struct machine *rest = *link;
    *link = NULL;
    pool->count = kept;
    return rest;
}

/* Deliberately outside the lock: destroying a VM takes a millisecond. */
static void machines_free(struct machine *machine, bool is_drop) {
    while (machine != NULL) {
        struct machine *next = machine->next_idle;
        stat_add(&machine->tally, STAT_pool_drops, is_drop);
        machine_free(machine);
        machine = next;
    }
}

/* It is worth keeping, whatever failed, unless that was running its VM. */
void machine_put(struct machine *machine) {
    struct pool *pool = &machine->engine->pool;
    if (machine->vm == NULL || machine->has_failed_vm) {
        machine_free(machine);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    machine->next_idle = pool->newest;
    pool->newest = machine;
    struct machine *dropped = pool_cut(pool, pool->max);
    pthread_mutex_unlock(&pool->lock);
    machines_free(dropped, true);
}

void husk_engine_trim(husk_engine *engine, uint32_t keep) {
    pthread_mutex_lock(&engine->pool.lock);
    struct machine *dropped = pool_cut(&engine->pool, keep);
    pthread_mutex_unlock(&engine->pool.lock);
    machines_free(dropped, false);
}

/* Idle machines hold images, and those the engine: the pool is emptied, and takes no more, before
 * the last of the embedder's shares goes. */
void husk_engine_unref(husk_engine *engine) {
    if (engine == NULL)
        return;
    if (atomic_fetch_sub(&engine->shares, 1) == 1) {
        pthread_mutex_lock(&engine->pool.lock);
        engine->pool.max = 0;
        pthread_mutex_unlock(&engine->pool.lock);
        husk_engine_trim(engine, 0);
    }
    engine_unref(engine);
}

/* ---- out ---- */

/* `size` is what the caller was compiled with. */
static bool has_limits(const struct machine *machine, const struct husk_sandbox_options *limits) {
    const struct husk_sandbox_options *own = &machine->limits;
    return own->memory_max_bytes == limits->memory_max_bytes &&
           own->table_max_entries == limits->table_max_entries &&
           own->stack_bytes == limits->stack_bytes && own->large_pages == limits->large_pages &&
           own->host_call_depth_max == limits->host_call_depth_max;
}

/* 3: holds this very image; 2: one of the same module; 1: another; 0: of no use. */
#define SUITS_BEST 3
static int machine_suits(const struct machine *machine, const husk_image *image,
                         const struct husk_sandbox_options *limits) {
    if (!has_limits(machine, limits))
        return 0;
    if (machine->mapped == NULL || image == NULL)
        return 1;
    return machine->mapped == image ? SUITS_BEST : 1 + (machine->mapped->code == image->code);
}

/* Of equals the one that was put in last: it is the warmest. */
static struct machine *pool_take(struct pool *pool, const husk_image *image,
                                 const struct husk_sandbox_options *limits) {
    struct machine **best_link = NULL, *machine = NULL;
    int best = 0;
    pthread_mutex_lock(&pool->lock);
    for (struct machine **link = &pool->newest; *link != NULL && best < SUITS_BEST;
         link = &(*link)->next_idle) {
        const int suits = machine_suits(*link, image, limits);
        if (suits > best) {
            best = suits;
            best_link = link;
        }
    }
    if (best > 0) {
        machine = *best_link;
        *best_link = machine->next_idle;
        pool->count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return machine;
}

struct machine *machine_take(husk_engine *engine, const husk_image *image,
                             const struct husk_sandbox_options *limits) {
    struct machine *machine = pool_take(&engine->pool, image, limits);
    const enum engine_stat stat = machine != NULL ? STAT_pool_hits : STAT_pool_misses;
    if (machine == NULL)
        machine = machine_new(engine, limits);
    if (machine == NULL)
        return NULL;
    tally_begin(&machine->tally);
    stat_count(&machine->tally, stat);
    return machine;
}
