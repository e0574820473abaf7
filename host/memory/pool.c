/*
 * host/memory/pool.c: an engine's idle machines (machine.h), as they were left. The pool is
 * bounded: the machine that was put in first is removed to make room. The list is a part of the
 * engine, which outlives every machine. The engine does not know the contents of a machine, so the
 * two public functions that free machines are here.
 */
#include "image_internal.h"
#include "machine.h"
#include "spare.h"

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

/* It is worth keeping, whatever failed, unless that was running its VM, or nobody knows any more
 * what its memory was made of. */
void machine_put(struct machine *machine) {
    struct pool *pool = &machine->engine->pool;
    if (machine->vm == NULL || machine->has_failed_vm ||
        image_check_keeps(machine->mapped, NULL) != 0) {
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
    if (keep == 0 && engine->vm_ops->drop_kept != NULL)
        engine->vm_ops->drop_kept(engine->backend);
}

/* Idle and spare machines hold images, and those the engine: the pool is emptied, and takes no
 * more, before the last of the embedder's shares goes. */
void husk_engine_unref(husk_engine *engine) {
    if (engine == NULL)
        return;
    if (atomic_fetch_sub(&engine->shares, 1) == 1) {
        pthread_mutex_lock(&engine->pool.lock);
        engine->pool.max = 0;
        pthread_mutex_unlock(&engine->pool.lock);
        husk_engine_trim(engine, 0);
        spares_close(engine);
    }
    engine_unref(engine);
}

/* ---- out ---- */

/* 3: holds this very image; 2: one of the same module; 1: another; 0: of no use. */
#define SUITS_BEST 3
#define SUITS_ANY 1
static int machine_suits(const struct machine *machine, const husk_image *image,
                         const struct husk_sandbox_options *limits) {
    if (!machine_limits_equal(&machine->limits, limits))
        return 0;
    if (machine->mapped == NULL || image == NULL)
        return 1;
    return machine->mapped == image ? SUITS_BEST : 1 + (machine->mapped->code == image->code);
}

/* One that suits at least so well. Of equals the one that was put in last: it is the warmest. */
static struct machine *pool_take(struct pool *pool, const husk_image *image,
                                 const struct husk_sandbox_options *limits, int least) {
    struct machine **best_link = NULL, *machine = NULL;
    int best = least - 1;
    pthread_mutex_lock(&pool->lock);
    for (struct machine **link = &pool->newest; *link != NULL && best < SUITS_BEST;
         link = &(*link)->next_idle) {
        const int suits = machine_suits(*link, image, limits);
        if (suits > best) {
            best = suits;
            best_link = link;
        }
    }
    if (best_link != NULL) {
        machine = *best_link;
        *best_link = machine->next_idle;
        pool->count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return machine;
}

struct machine *machine_take_bare(husk_engine *engine) {
    struct pool *pool = &engine->pool;
    pthread_mutex_lock(&pool->lock);
    struct machine **link = &pool->newest;
    while (*link != NULL && (*link)->mapped != NULL)
        link = &(*link)->next_idle;
    struct machine *machine = *link;
    if (machine != NULL) {
        *link = machine->next_idle;
        pool->count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return machine;
}

bool pool_has_room(husk_engine *engine) {
    pthread_mutex_lock(&engine->pool.lock);
    const bool has_room = engine->pool.count < engine->pool.max;
    pthread_mutex_unlock(&engine->pool.lock);
    return has_room;
}

struct machine *machine_take(husk_engine *engine, const husk_image *image,
                             const struct husk_sandbox_options *limits) {
    struct machine *machine = pool_take(&engine->pool, image, limits, SUITS_BEST);
    const bool is_spare =
        machine == NULL && image != NULL && (machine = spares_take(engine, image, limits)) != NULL;
    if (machine == NULL)
        machine = pool_take(&engine->pool, image, limits, SUITS_ANY);
    const enum engine_stat stat = machine != NULL ? STAT_pool_hits : STAT_pool_misses;
    if (machine == NULL)
        machine = machine_new(engine, limits);
    if (machine == NULL)
        return NULL;
    tally_begin(&machine->tally);
    stat_count(&machine->tally, stat);
    stat_add(&machine->tally, STAT_spares_used, is_spare);
    return machine;
}
