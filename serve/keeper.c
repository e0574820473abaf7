/*
 * serve/keeper.c: a thread that makes new generations, beside the workers: at SIGHUP, because files
 * may have changed (the routes file, too: reload.c), and when an image that is optimised in the
 * background is ready. The old generation serves until the new one is; if that cannot be made, it
 * goes on serving.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "serve.h"

#define LOOK_SECONDS 2 /* how often for optimised images, and for routes that have ended */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_reload_wanted;
} keeper = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void keeper_reload(void) {
    pthread_mutex_lock(&keeper.lock);
    keeper.is_reload_wanted = true;
    pthread_cond_signal(&keeper.changed);
    pthread_mutex_unlock(&keeper.lock);
}

/* Another module is for a reload to take. */
static bool is_of_same_file(struct route *route, const struct stat *file) {
    struct generation *old = route_generation(route);
    const bool is_same = generation_is_of(old, file);
    generation_unref(old);
    return is_same;
}

static void renew(struct route *route, bool is_reload) {
    struct generation *generation = NULL;
    struct husk_error err;
    if (generation_make(route, &generation, &err) != 0) {
        atomic_fetch_add(&route->counters->reload_failures, 1);
        log_say("%s: %s: cannot %s: %s; the old one goes on serving", route->path, route->run.path,
                is_reload ? "be reloaded" : "go on with the optimised image", err.message);
        return;
    }
    if (!is_reload && !is_of_same_file(route, &generation->file)) {
        generation_unref(generation);
        return;
    }
    const bool is_unoptimised = atomic_load(&generation->is_unoptimised);
    route_set_generation(route, generation);
    atomic_fetch_add(&route->counters->reloads, 1);
    log_say("%s: %s: %s%s", route->path, route->run.path,
            is_reload ? "reloaded" : "goes on with the optimised image",
            is_unoptimised ? ", unoptimised for now" : "");
}

/* Is the module still the one that serves? If not, nothing is awaited any more. */
static bool is_unchanged(struct route *route, const struct input *input) {
    struct stat file;
    if (input->fd < 0 || fstat(input->fd, &file) != 0)
        return false;
    if (is_of_same_file(route, &file))
        return true;
    log_say("%s: %s has changed, which a reload (SIGHUP) takes over: until then the old one goes "
            "on, unoptimised",
            route->path, route->run.path);
    route_accept_unoptimised(route);
    return false;
}

/* Is its image there? The compiler is not waited for. Where the image will never come, this is said
 * once, and the route goes on with what it has. Without a cache that can be written, there is no
 * job, and each look would compile anew: then the next generation is compiled optimised. */
static bool is_optimised(struct route *route) {
    struct husk_compile_options options = route->run.compile.options;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    struct husk_error err;
    struct input input;
    char dir[4096];
    if (!cache_dir(dir, sizeof dir) || input_peek(route->run.path, &input, &err) != 0)
        return false;
    options.cache_dir = dir;
    options.optimise_in_background = true;
    const bool is_found = is_unchanged(route, &input) &&
                          husk_compile_cached_fd(input.fd, &options, &compiled, &err) == 0;
    input_done(&input);
    if (!is_found)
        return false;
    close(compiled.fd);
    if (compiled.background == HUSK_BACKGROUND_REFUSED && compiled.warning.status != 0) {
        log_say("%s: the optimised image is made here: %s", route->path, compiled.warning.message);
        route->run.compile.is_in_background = false; /* of this thread alone, from here on */
        return true;
    }
    if (compiled.background == HUSK_BACKGROUND_FAILED ||
        compiled.background == HUSK_BACKGROUND_STOPPED) {
        log_say("%s: %s stays unoptimised: %s", route->path, route->run.path,
                compiled.background_error.message);
        route_accept_unoptimised(route);
    }
    return compiled.background == HUSK_BACKGROUND_NONE;
}

static bool is_unoptimised(struct route *route) {
    struct generation *generation = route_generation(route);
    const bool is_so = atomic_load(&generation->is_unoptimised);
    generation_unref(generation);
    return is_so;
}

/* True: a signal asked for a reload. False: look again. */
static bool wait_for_work(const struct server *server) {
    struct timespec until;
    bool is_awaiting = routes_reap(server);
    for (size_t i = 0; i < server->routes.count; i++)
        is_awaiting |= is_unoptimised(server->routes.rows[i]);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOOK_SECONDS;
    pthread_mutex_lock(&keeper.lock);
    while (!keeper.is_reload_wanted) {
        if (!is_awaiting)
            pthread_cond_wait(&keeper.changed, &keeper.lock);
        else if (pthread_cond_timedwait(&keeper.changed, &keeper.lock, &until) == ETIMEDOUT)
            break;
    }
    const bool is_reload = keeper.is_reload_wanted;
    keeper.is_reload_wanted = false;
    pthread_mutex_unlock(&keeper.lock);
    return is_reload;
}

static void log_usage(const char *text) {
    log_say("%s", text);
}

static void *keep(void *argument) {
    struct server *server = argument;
    server->report.take = log_usage; /* of routes that are made from here on */
    for (;;) {
        const bool is_reload = wait_for_work(server);
        if (is_reload && server->routes_file != NULL && !routes_reload(server))
            continue;
        for (size_t i = 0; i < server->routes.count; i++) {
            struct route *route = server->routes.rows[i];
            if (route->has_just_started)
                route->has_just_started = false;
            else if (is_reload)
                renew(route, true);
            else if (is_unoptimised(route) && is_optimised(route))
                renew(route, false);
        }
    }
    return NULL;
}

void keeper_start(struct server *server) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, keep, server) != 0)
        log_say("no thread for reloads can be started");
    else
        pthread_detach(thread);
}
