/*
 * serve/metrics.c: what is counted, in Prometheus' text format: requests by route, beside all that
 * the engine counts. It has a listener of its own, because it is not for the world.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "serve.h"

static unsigned bucket_of(uint64_t us) {
    unsigned bucket = 0;
    while (bucket + 1 < ROUTE_BUCKETS && us > UINT64_C(1) << bucket)
        bucket++;
    return bucket;
}

void metrics_count(struct server *server, const struct exchange *exchange) {
    const uint64_t ns = now_ns() - exchange->begin_ns;
    if (exchange->route == NULL) {
        atomic_fetch_add(&server->unrouted, 1);
        return;
    }
    struct route_counters *counters = exchange->route->counters;
    const unsigned status = exchange->sent_status < STATUS_MAX ? exchange->sent_status : 0;
    atomic_fetch_add(&counters->by_status[status], 1);
    atomic_fetch_add(&counters->by_end[exchange->end_for_log], 1);
    atomic_fetch_add(&counters->duration_buckets[bucket_of(ns / 1000)], 1);
    atomic_fetch_add(&counters->duration_ns, ns);
    atomic_fetch_add(&counters->in_bytes, exchange->body_bytes);
    atomic_fetch_add(&counters->out_bytes, exchange->sent_bytes);
    if (atomic_load(&exchange->is_queued))
        atomic_fetch_sub(&counters->in_flight, 1);
}

/* ---- Text ---- */

static void head_of(FILE *out, const char *name, const char *type, const char *help) {
    fprintf(out, "# HELP husk_serve_%s %s\n# TYPE husk_serve_%s %s\n", name, help, name, type);
}

static void put_requests(FILE *out, const struct server *server) {
    head_of(out, "requests_total", "counter",
            "Requests that have ended, by status; 0: the client left before there was one.");
    for (size_t i = 0; i < server->routes.count; i++)
        for (unsigned status = 0; status < STATUS_MAX; status++) {
            const unsigned long long count =
                atomic_load(&server->routes.rows[i]->counters->by_status[status]);
            if (count != 0)
                fprintf(out, "husk_serve_requests_total{route=\"%s\",code=\"%u\"} %llu\n",
                        server->routes.rows[i]->path, status, count);
        }
    head_of(out, "ends_total", "counter", "Requests that have ended, by how their guest did.");
    for (size_t i = 0; i < server->routes.count; i++)
        for (enum exchange_end end = END_GOOD; end <= END_FAILED; end++)
            fprintf(out, "husk_serve_ends_total{route=\"%s\",end=\"%s\"} %llu\n",
                    server->routes.rows[i]->path, end_name(end),
                    atomic_load(&server->routes.rows[i]->counters->by_end[end]));
}

static void put_durations(FILE *out, const struct server *server) {
    head_of(out, "request_seconds", "histogram",
            "From a request's first line to the last byte of its answer.");
    for (size_t i = 0; i < server->routes.count; i++) {
        const struct route *route = server->routes.rows[i];
        unsigned long long sum = 0;
        for (unsigned bucket = 0; bucket < ROUTE_BUCKETS; bucket++) {
            sum += atomic_load(&route->counters->duration_buckets[bucket]);
            if (bucket + 1 < ROUTE_BUCKETS)
                fprintf(out, "husk_serve_request_seconds_bucket{route=\"%s\",le=\"%g\"} %llu\n",
                        route->path, (double)(UINT64_C(1) << bucket) / 1e6, sum);
        }
        fprintf(out,
                "husk_serve_request_seconds_bucket{route=\"%s\",le=\"+Inf\"} %llu\n"
                "husk_serve_request_seconds_sum{route=\"%s\"} %g\n"
                "husk_serve_request_seconds_count{route=\"%s\"} %llu\n",
                route->path, sum, route->path,
                (double)atomic_load(&route->counters->duration_ns) / 1e9, route->path, sum);
    }
}

static unsigned long long queued_of(struct route *route) {
    pthread_mutex_lock(&route->lock);
    const unsigned long long count = route->queued_count;
    pthread_mutex_unlock(&route->lock);
    return count;
}

/* Rows of a number for each route. */
enum route_row { ROW_IN_FLIGHT, ROW_QUEUED, ROW_WORKERS, ROW_IN, ROW_OUT, ROW_RELOADS, ROW_FAILED };
static const struct {
    const char *name, *type, *help;
} route_rows[] = {
    [ROW_IN_FLIGHT] = {"in_flight", "gauge", "Requests that wait for a guest or have one."},
    [ROW_QUEUED] = {"queued", "gauge", "Requests that wait for a worker."},
    [ROW_WORKERS] = {"workers", "gauge", "Workers."},
    [ROW_IN] = {"body_bytes_total", "counter", "Bytes of requests' bodies."},
    [ROW_OUT] = {"response_bytes_total", "counter", "Bytes of answers' bodies."},
    [ROW_RELOADS] = {"reloads_total", "counter", "New snapshots after the first."},
    [ROW_FAILED] = {"reload_failures_total", "counter", "New snapshots that could not be made."}};

static unsigned long long row_of(struct route *route, enum route_row row) {
    switch (row) {
    case ROW_IN_FLIGHT: return atomic_load(&route->counters->in_flight);
    case ROW_QUEUED: return queued_of(route);
    case ROW_WORKERS: return route->workers_count;
    case ROW_IN: return atomic_load(&route->counters->in_bytes);
    case ROW_OUT: return atomic_load(&route->counters->out_bytes);
    case ROW_RELOADS: return atomic_load(&route->counters->reloads);
    case ROW_FAILED: break;
    }
    return atomic_load(&route->counters->reload_failures);
}

static void put_rows(FILE *out, const struct server *server) {
    for (enum route_row row = ROW_IN_FLIGHT; row <= ROW_FAILED; row++) {
        head_of(out, route_rows[row].name, route_rows[row].type, route_rows[row].help);
        for (size_t i = 0; i < server->routes.count; i++)
            fprintf(out, "husk_serve_%s{route=\"%s\"} %llu\n", route_rows[row].name,
                    server->routes.rows[i]->path, row_of(server->routes.rows[i], row));
    }
}

static void put_server(FILE *out, struct server *server) {
    head_of(out, "open_connections", "gauge", "Open connections.");
    fprintf(out, "husk_serve_open_connections %u\n", atomic_load(&server->connections_count));
    head_of(out, "connections_total", "counter", "Connections that were accepted.");
    fprintf(out, "husk_serve_connections_total %llu\n", atomic_load(&server->connections_total));
    head_of(out, "slow_clients_total", "counter", "Connections that were cut: --client-timeout.");
    fprintf(out, "husk_serve_slow_clients_total %llu\n", atomic_load(&server->slow_clients));
    head_of(out, "refused_routes_files_total", "counter",
            "Reloads that changed nothing, because the routes file or a new route was wrong.");
    fprintf(out, "husk_serve_refused_routes_files_total %llu\n",
            atomic_load(&server->refused_reloads));
    head_of(out, "unrouted_total", "counter", "Requests that are no route's.");
    fprintf(out, "husk_serve_unrouted_total %llu\n", atomic_load(&server->unrouted));
}

static int write_text(void *user, const void *bytes, size_t count) {
    return fwrite(bytes, 1, count, user) == count ? 0 : -1;
}

static char *metrics_text(struct server *server, size_t *ret_count) {
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_count);
    if (out == NULL)
        return NULL;
    pthread_mutex_lock(&server->routes_lock);
    put_requests(out, server);
    put_durations(out, server);
    put_rows(out, server);
    pthread_mutex_unlock(&server->routes_lock);
    put_server(out, server);
    const int status = husk_engine_prometheus(server->engine, write_text, out);
    if (fclose(out) == 0 && status == 0)
        return text;
    free(text);
    return NULL;
}

const char *health_text(struct server *server, unsigned *ret_status) {
    bool has_workers = true;
    *ret_status = 503;
    if (atomic_load(&server->is_draining))
        return "draining\n";
    pthread_mutex_lock(&server->routes_lock);
    for (size_t i = 0; i < server->routes.count; i++)
        has_workers &= route_works(server->routes.rows[i]);
    pthread_mutex_unlock(&server->routes_lock);
    if (!has_workers)
        return "a route has no worker\n";
    *ret_status = 200;
    return "ok\n";
}

/* ---- The listener ---- */

static enum MHD_Result answer_with(struct MHD_Connection *connection, unsigned status, char *text,
                                   size_t count) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(count, text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                  "text/plain; version=0.0.4; charset=utf-8");
    const enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result take_request(void *user, struct MHD_Connection *connection, const char *path,
                                    const char *method, const char *version, const char *body,
                                    size_t *body_count, void **context) {
    static char not_found[] = "404 Not Found: there are /metrics and /healthz\n",
                not_allowed[] = "405 Method Not Allowed\n";
    struct server *server = user;
    (void)version, (void)body;
    unsigned status = 200;
    if (*context == NULL || *body_count != 0) { /* an answer now would end the connection */
        *context = user;
        *body_count = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer_with(connection, 405, not_allowed, strlen(not_allowed));
    if (strcmp(path, "/healthz") == 0) {
        const char *text = health_text(server, &status);
        return answer_with(connection, status, (char *)text, strlen(text));
    }
    if (strcmp(path, "/metrics") != 0)
        return answer_with(connection, 404, not_found, strlen(not_found));
    size_t count = 0;
    char *text = metrics_text(server, &count);
    if (text == NULL)
        return MHD_NO;
    const enum MHD_Result result = answer_with(connection, status, text, count);
    free(text);
    return result;
}

int metrics_start(struct server *server, struct husk_error *err) {
    struct listeners *listeners = &server->metrics_run.listeners;
    const int status = listeners->count != 0 ? sockets_open(&server->metrics_run, false, err) : 0;
    for (size_t i = 0; i < listeners->count && status == 0; i++)
        if (MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, take_request, server,
                             MHD_OPTION_LISTEN_SOCKET, listeners->rows[i].host_fd,
                             MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_CONNECTION_TIMEOUT, 10u,
                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384,
                             MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END) == NULL)
            return cli_error(err, HUSK_E_SYS, "cannot serve metrics at %s: %s", listeners->texts[i],
                             strerror(errno));
    return status;
}
