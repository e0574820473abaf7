/*
 * serve/route_pool.c: the workers of a route: threads with a sandbox each, which stays with its
 * thread, because some kernels take milliseconds to move a VM to another one. A request waits in
 * the route's queue for the first worker that is free. After it, the worker makes its sandbox clean
 * at once, and before it, if that failed or there is a new generation. A worker that can have no
 * sandbox leaves the requests to those that have one, and tries again now and then.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serve.h"

/* ---- Generations ---- */

struct generation *route_generation(struct route *route) {
    pthread_mutex_lock(&route->lock);
    struct generation *generation = generation_ref(route->generation);
    pthread_mutex_unlock(&route->lock);
    return generation;
}

void route_set_generation(struct route *route, struct generation *generation) {
    pthread_mutex_lock(&route->lock);
    struct generation *old = route->generation;
    route->generation = generation;
    pthread_cond_broadcast(&route->changed);
    pthread_mutex_unlock(&route->lock);
    generation_unref(old);
}

void route_accept_unoptimised(struct route *route) {
    struct generation *generation = route_generation(route);
    atomic_store(&generation->is_unoptimised, false);
    generation_unref(generation);
}

/* ---- The queue ---- */

void route_submit(struct route *route, struct exchange *exchange) {
    exchange_ref(exchange);
    exchange->next = NULL;
    pthread_mutex_lock(&route->lock);
    if (route->last != NULL)
        route->last->next = exchange;
    else
        route->first = exchange;
    route->last = exchange;
    route->queued_count++;
    pthread_cond_signal(&route->changed);
    pthread_mutex_unlock(&route->lock);
}

bool route_withdraw(struct route *route, struct exchange *exchange, enum exchange_end reason) {
    struct exchange **at = &route->first, *before = NULL;
    pthread_mutex_lock(&route->lock);
    while (*at != NULL && *at != exchange) {
        before = *at;
        at = &(*at)->next;
    }
    const bool is_there = *at != NULL;
    if (is_there) {
        *at = exchange->next;
        if (route->last == exchange)
            route->last = before;
        route->queued_count--;
    }
    pthread_mutex_unlock(&route->lock);
    if (!is_there)
        return false;
    exchange_end(exchange, reason);
    exchange_unref(exchange);
    return true;
}

static bool works_locked(const struct route *route) {
    for (unsigned i = 0; i < route->workers_count && route->workers != NULL; i++)
        if (!route->workers[i].has_failed)
            return true;
    return false;
}

static struct exchange *take_first_locked(struct route *route) {
    struct exchange *exchange = route->first;
    if (exchange == NULL)
        return NULL;
    route->first = exchange->next;
    if (route->first == NULL)
        route->last = NULL;
    route->queued_count--;
    return exchange;
}

/* The next one; NULL: there is a new generation, the route stops, or the request is for a worker
 * that has a sandbox. Its share is the caller's. */
static struct exchange *next_exchange(struct worker *worker) {
    struct route *route = worker->route;
    struct exchange *exchange = NULL;
    pthread_mutex_lock(&route->lock);
    while (route->first == NULL && !route->is_stopping &&
           (worker->generation == route->generation || worker->has_failed))
        pthread_cond_wait(&route->changed, &route->lock);
    if (worker->has_failed && works_locked(route))
        pthread_cond_signal(&route->changed); /* it was woken instead of another one */
    else
        exchange = take_first_locked(route);
    pthread_mutex_unlock(&route->lock);
    return exchange;
}

/* ---- A worker's sandbox ---- */

static int new_sandbox(struct worker *worker, struct generation *generation,
                       struct husk_error *err) {
    struct husk_sandbox_options options = worker->route->run.sandbox_options;
    options.label = worker->route->path;
    return husk_sandbox_new(generation->ready, generation->imports, &options, &worker->sandbox,
                            err);
}

/* Into the VM that is there; else into a new one. */
static int load(struct worker *worker, struct generation *generation, struct husk_error *err) {
    if (worker->sandbox != NULL &&
        husk_sandbox_load(worker->sandbox, generation->ready, generation->imports, err) == 0)
        return 0;
    husk_sandbox_free(worker->sandbox);
    worker->sandbox = NULL;
    return new_sandbox(worker, generation, err);
}

/* The sandbox is as the route's snapshot. False: there is none, which is logged. */
static bool make_clean(struct worker *worker) {
    struct generation *generation = route_generation(worker->route);
    struct husk_error err;
    int status = 0;
    if (worker->sandbox == NULL || generation != worker->generation) {
        status = load(worker, generation, &err);
        generation_unref(worker->generation);
        worker->generation = generation_ref(generation);
    } else if (!worker->is_clean) {
        status = husk_sandbox_restore(worker->sandbox, generation->ready, &err);
        if (status != 0)
            status = load(worker, generation, &err);
    }
    worker->is_clean = status == 0;
    const bool had_failed = atomic_exchange(&worker->has_failed, status != 0);
    if (status != 0 && !had_failed)
        log_say("%s: there is no sandbox for a request: %s", worker->route->path, err.message);
    generation_unref(generation);
    return status == 0;
}

static void serve(struct worker *worker, struct exchange *exchange) {
    pthread_mutex_lock(&exchange->lock);
    exchange->started_ns = now_ns();
    const bool is_wanted = !exchange->is_cancelled;
    pthread_mutex_unlock(&exchange->lock);
    if (!is_wanted)
        exchange_end(exchange, END_LEFT);
    else if (exchange->started_ns - exchange->queued_ns >= worker->route->run.limits.wall_ns)
        exchange_end(exchange, END_NO_WORKER);
    else if (!make_clean(worker))
        exchange_end(exchange, END_FAILED);
    else
        handler_run(worker, exchange);
    exchange_unref(exchange);
}

static bool is_stopping(struct route *route) {
    pthread_mutex_lock(&route->lock);
    const bool is_so = route->is_stopping && route->first == NULL;
    pthread_mutex_unlock(&route->lock);
    return is_so;
}

/* ---- Warming up: the pages of a request are known, and mapped, before the first one comes ---- */

static void warm_up(struct worker *worker) {
    struct exchange *exchange = exchange_for_path(worker->route, worker->route->warm);
    if (exchange == NULL)
        return;
    exchange_ref(exchange); /* handler_run() gives the answer to nobody */
    serve(worker, exchange);
    if (exchange->end != END_GOOD)
        log_say("%s: the warm-up request ended with: %s", worker->route->path,
                end_name(exchange->end));
    exchange_unref(exchange);
}

static void worker_done(struct worker *worker) {
    husk_sandbox_free(worker->sandbox);
    generation_unref(worker->generation);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    const struct generation *warmed = NULL;
    const struct timespec moment = {.tv_sec = 1};
    while (!is_stopping(worker->route)) {
        if (!make_clean(worker) && route_works(worker->route)) {
            nanosleep(&moment, NULL);
            continue;
        }
        if (worker->route->warm != NULL && worker->sandbox != NULL &&
            worker->generation != warmed) {
            warmed = worker->generation;
            warm_up(worker);
            continue;
        }
        struct exchange *exchange = next_exchange(worker);
        if (exchange != NULL)
            serve(worker, exchange);
    }
    worker_done(worker);
    return NULL;
}

/* ---- All of them ---- */

int route_start(struct route *route, struct husk_error *err) {
    struct generation *generation = NULL;
    int status = generation_make(route, &generation, err);
    if (status != 0)
        return status;
    route->generation = generation;
    route->workers = calloc(route->workers_count, sizeof *route->workers);
    if (route->workers == NULL)
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    for (unsigned i = 0; i < route->workers_count; i++) {
        struct worker *worker = &route->workers[i];
        worker->route = route;
        /* here, so that what cannot be is said when the server starts */
        if (i == 0)
            status = new_sandbox(worker, generation, err);
        if (status != 0)
            return status;
        if (i == 0)
            worker->generation = generation_ref(generation);
        worker->has_thread = pthread_create(&worker->thread, NULL, work, worker) == 0;
        if (!worker->has_thread)
            return cli_error(err, HUSK_E_SYS, "no thread can be started");
    }
    return 0;
}

void route_stop(struct route *route) {
    pthread_mutex_lock(&route->lock);
    route->is_stopping = true;
    pthread_cond_broadcast(&route->changed);
    pthread_mutex_unlock(&route->lock);
    for (unsigned i = 0; i < route->workers_count && route->workers != NULL; i++) {
        if (route->workers[i].has_thread)
            pthread_join(route->workers[i].thread, NULL);
        else
            worker_done(&route->workers[i]);
    }
    free(route->workers);
    route->workers = NULL;
    generation_unref(route->generation);
    route->generation = NULL;
}

bool route_works(struct route *route) {
    pthread_mutex_lock(&route->lock);
    const bool works = works_locked(route);
    pthread_mutex_unlock(&route->lock);
    return works;
}

void route_say(const struct route *route) {
    static const char *const kinds[] = {[GUEST_CGI] = "a program, by CGI",
                                        [GUEST_STANDING] = "a program that stands at its input",
                                        [GUEST_BYTES] = "a function"};
    log_say("%s = %s: %s, %u worker%s%s", route->path, route->run.path,
            kinds[route->generation->kind], route->workers_count,
            route->workers_count == 1 ? "" : "s",
            atomic_load(&route->generation->is_unoptimised) ? ", unoptimised for now" : "");
}
