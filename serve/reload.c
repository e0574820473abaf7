/*
 * serve/reload.c: the routes file, read again. All of it is made beside what serves:
 *
 *   read → lines that are as before keep their routes → the others start, with their own workers →
 *   the new table takes the place of the old one → routes that are not in it end
 *
 * If one step fails, the old table stays, and nothing has changed. A request belongs to the route
 * that it found: that ends when none has it any more.
 */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

static struct route *retired; /* of the keeper's thread alone */

/* ---- What has changed ---- */

static bool is_same_list(const char *const *a, const char *const *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

/* Up to NULL. */
static size_t length_of(char *const *list) {
    size_t count = 0;
    while (list[count] != NULL)
        count++;
    return count;
}

/* The same words, and the same in the files that --env-file names. */
static bool is_same_route(const struct route *a, const struct route *b) {
    const struct route_source *x = &a->source, *y = &b->source;
    const size_t args_count = length_of(x->args);
    return x->argc == y->argc && args_count == length_of(y->args) &&
           a->run.env_count == b->run.env_count &&
           is_same_list((const char *const *)x->argv, (const char *const *)y->argv,
                        (size_t)x->argc) &&
           is_same_list((const char *const *)x->args, (const char *const *)y->args, args_count) &&
           is_same_list(a->run.env, b->run.env, a->run.env_count);
}

static struct route *find_path(const struct route_table *table, const char *path) {
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->rows[i]->path, path) == 0)
            return table->rows[i];
    return NULL;
}

static bool has_route(const struct route_table *table, const struct route *route) {
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i] == route)
            return true;
    return false;
}

/* ---- The new table ---- */

/* What is counted of a path goes on. */
static void share_counters(struct route *route, struct route *old) {
    free(route->counters);
    route->counters = old->counters;
    atomic_fetch_add(&old->counters->shares, 1);
}

/* Routes that are as before, and others, which start. False: one does not. */
static bool start_changed(struct server *server, struct route_table *table) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    for (size_t i = 0; i < table->count; i++) {
        struct route *route = table->rows[i], *old = find_path(&server->routes, route->path);
        if (old != NULL && is_same_route(route, old)) {
            route_free(route);
            table->rows[i] = old;
            continue;
        }
        if (old != NULL)
            share_counters(route, old);
        route->has_just_started = true;
        if (route_start(route, &err) != 0) {
            log_say("%s: %s: %s", route->path, route->run.path, err.message);
            return false;
        }
    }
    return true;
}

/* Their VMs are idle now; nobody will want so many. */
static void drop_vms(const struct server *server) {
    (void)husk_engine_trim(server->engine, 0);
}

/* Those of the table that serve stay; the others have no requests. */
static void give_up(struct server *server, struct route_table *table) {
    for (size_t i = 0; i < table->count; i++) {
        if (has_route(&server->routes, table->rows[i]))
            continue;
        route_stop(table->rows[i]);
        route_free(table->rows[i]);
    }
    free(table->rows);
    drop_vms(server);
}

static void retire(struct route *route) {
    route->next_retired = retired;
    retired = route;
}

static void take_place(struct server *server, struct route_table *table) {
    struct route_table old = server->routes;
    pthread_mutex_lock(&server->routes_lock);
    server->routes = *table;
    pthread_mutex_unlock(&server->routes_lock);
    for (size_t i = 0; i < table->count; i++) {
        const struct route *route = table->rows[i];
        if (!route->has_just_started)
            continue;
        atomic_fetch_add(&route->counters->reloads, find_path(&old, route->path) != NULL);
        route_say(route);
    }
    for (size_t i = 0; i < old.count; i++) {
        if (has_route(table, old.rows[i]))
            continue;
        if (find_path(table, old.rows[i]->path) == NULL)
            log_say("%s: is no route any more", old.rows[i]->path);
        retire(old.rows[i]);
    }
    free(old.rows);
}

bool routes_reload(struct server *server) {
    struct route_table table = {0};
    if (is_pipe(server->routes_file)) {
        log_say("%s: is a pipe, which was read once: the routes stay, and their modules are read "
                "again",
                server->routes_file);
        return true;
    }
    bool is_good = routes_read(server, &table) == 0;
    if (is_good && !start_changed(server, &table)) {
        give_up(server, &table);
        is_good = false;
    }
    if (!is_good) {
        atomic_fetch_add(&server->refused_reloads, 1);
        log_say("%s: is not used, and nothing has changed: the old routes go on serving",
                server->routes_file);
        return false;
    }
    take_place(server, &table);
    return true;
}

bool routes_reap(const struct server *server) {
    struct route **at = &retired;
    bool has_ended = false;
    while (*at != NULL) {
        struct route *route = *at;
        if (atomic_load(&route->uses) != 0) {
            at = &route->next_retired;
            continue;
        }
        *at = route->next_retired;
        route_stop(route);
        route_free(route);
        has_ended = true;
    }
    if (has_ended)
        drop_vms(server);
    return retired != NULL;
}
