/*
 * serve/serve.h: the parts of husk-serve, from the client to the guest:
 *
 *   http_front.c, http_answer.c   connections (libmicrohttpd), requests, answers
 *   backlog.c                     clients that were not accepted when the server ends
 *   watch.c                       clients that are slow or gone, requests that wait too long
 *   http_exchange.c               one request and its answer, between two threads
 *   route_pool.c                  the workers of a route: threads with a sandbox each, and a queue
 *   handler.c, handler_cgi.c      one request in one sandbox
 *   generation.c                  a route's module: compiled, initialised, as a snapshot
 *   keeper.c                      new generations: reloads, optimised images
 *   reload.c                      the routes file, read again
 *   log.c, access_log.c, metrics.c
 *   serve_main.c, serve_options.c, routes.c, listeners.c   the process and its command line
 *
 * Locks, in the order in which they are taken: of the list of connections, of the routes, of a
 * route, of an exchange.
 */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "http_exchange.h"
#include "run.h"

struct MHD_Daemon;

/* ---- log.c: two streams, written by a thread, so that nobody waits for a reader ---- */
/* A stream that is not read, or a full disk, costs lines and no requests. */
void log_start(void);
/* Write what is there, for a moment at most. */
void log_finish(void);
/* A line on standard error: "husk serve: …"; control characters are escaped. Any thread. */
void log_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Lines, as they are: on standard error, or on standard output (the access log). */
void log_put(bool is_access, const char *bytes, size_t count);

/* ---- generation.c ---- */
/* How a guest gets a request. */
enum guest_kind {
    GUEST_CGI,      /* _start, from its beginning: CGI */
    GUEST_STANDING, /* a program that stands at its first read: the request there, as text */
    GUEST_BYTES     /* an exported function from bytes to bytes: the request, as text */
};
struct generation {
    atomic_uint shares;
    enum guest_kind kind;
    husk_image *ready; /* a snapshot, from which each request starts */
    husk_imports *imports;
    husk_func func;
    atomic_bool is_unoptimised; /* an optimised image is awaited */
    struct stat file;           /* it was made from */
};
/* Was it made from this file, which nobody has changed since? */
bool generation_is_of(const struct generation *generation, const struct stat *file);
/* A file that cannot be read a second time, and may make its reader wait. */
bool is_pipe(const char *path);
/* Compile or open the route's module, initialise it, take the snapshot. */
int generation_make(struct route *route, struct generation **ret_generation,
                    struct husk_error *err);
struct generation *generation_ref(struct generation *generation);
void generation_unref(struct generation *generation);

/* ---- routes ---- */
#define STATUS_MAX 600
#define ROUTE_BUCKETS 24 /* powers of two, of microseconds */
/* Of a path: routes of one path that follow each other share them. */
struct route_counters {
    atomic_uint shares;
    atomic_ullong by_status[STATUS_MAX]; /* [0]: the client left before it got one */
    atomic_ullong by_end[END_FAILED + 1];
    atomic_ullong duration_buckets[ROUTE_BUCKETS];
    atomic_ullong duration_ns, in_bytes, out_bytes, reloads, reload_failures;
    atomic_uint in_flight;
};

struct worker {
    struct route *route;
    pthread_t thread;
    bool has_thread;
    husk_sandbox *sandbox;
    struct generation *generation; /* that the sandbox has */
    bool is_clean;                 /* the sandbox is as the snapshot */
    atomic_bool has_failed;        /* there is no sandbox, for a reason that was logged */
    /* of the request that it works on */
    struct exchange *exchange;
    uint64_t deadline_ns; /* its wait in the queue is a part of its time */
};

/* Where a route's words are: on the command line, or in a line of the routes file. */
struct route_source {
    char *path;
    int argc; /* those from the program's name on, up to "--" */
    char **argv;
    char **args;         /* those behind "--", and NULL */
    char *line, **words; /* what all of this points into, if it is the route's own; else NULL */
};
struct route {
    struct route_source source;
    struct run run; /* module, environment, directories, limits */
    const char *path;
    size_t path_bytes; /* without a '/' at its end: "" for "/" */
    struct server *server;
    const char *handler; /* --handler; NULL: husk_handle, if there is no _start */
    const char *warm;    /* --warm; NULL: none */
    bool is_until_stdin, is_reused, passes_authorization;
    uint64_t init_ns, max_body_bytes, max_response_bytes;
    unsigned workers_count;
    bool is_of_file; /* the words that are read are of the routes file */
    struct route_counters *counters;
    atomic_uint uses;           /* exchanges that have it */
    bool has_just_started;      /* by a reload: its module was read a moment ago */
    struct route *next_retired; /* reload.c */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct exchange *first, *last; /* the queue */
    unsigned queued_count;
    bool is_stopping;
    struct generation *generation;
    struct worker *workers;
};

/* route_pool.c */
int route_start(struct route *route, struct husk_error *err);
/* Queue an exchange, with a share of it. */
void route_submit(struct route *route, struct exchange *exchange);
/* Take one back that no worker has taken; it ends for this reason. False: one has. */
bool route_withdraw(struct route *route, struct exchange *exchange, enum exchange_end reason);
void route_set_generation(struct route *route, struct generation *generation);
struct generation *route_generation(struct route *route); /* a share */
/* The optimised image will not come. */
void route_accept_unoptimised(struct route *route);
/* End the workers, once the queue is empty. A route that did not start can be stopped, too. */
void route_stop(struct route *route);
bool route_works(struct route *route);
void route_say(const struct route *route); /* what it is: to the log */

/* handler.c: one request in a clean sandbox; how it ended. handler_cgi.c: what the guest gets. */
void handler_run(struct worker *worker, struct exchange *exchange);
/* How a call ended, with a backtrace, and what the guest wrote to standard error: to the log. */
void handler_log_output(const struct route *route, husk_sandbox *sandbox, uint32_t stream);
void handler_log_outcome(const struct route *route, husk_sandbox *sandbox,
                         const struct husk_outcome *outcome, const char *what);
#define HANDLER_STDERR_MAX_BYTES 65536u
/* The environment: CGI's variables behind the route's own. NULL: no memory. To be freed with one
 * free(). */
const char **cgi_environment(const struct exchange *exchange, size_t *ret_count);
/* The request as HTTP/1.1 text, without its body. False: no memory. */
bool request_text(const struct exchange *exchange, struct bytes *ret_text);

/* request.c */
struct request_parts {
    const char *method, *version, *target;
    const struct header *headers;
    size_t headers_count;
};
/* Copy and check a request. 0, or the status of HTTP with which it is refused; then nothing is to
 * be freed. */
unsigned request_make(struct request *ret_request, const struct request_parts *parts);
/* The first header of this name, or NULL. */
const char *request_header(const struct request *request, const char *name);
/* The server's own: GET of a path, for warming up. NULL: no memory, or no such path. */
struct exchange *exchange_for_path(struct route *route, const char *target);

/* ---- serve_options.c, routes.c ---- */
struct route_table {
    struct route **rows;
    size_t count;
};
enum access_format { ACCESS_NONE, ACCESS_COMMON, ACCESS_JSON };
struct server {
    struct report report;
    struct run run, metrics_run; /* for --listen, --metrics */
    const char *health;          /* path; NULL: none */
    const char *routes_file;     /* NULL: none */
    int argc;                    /* the words of the command line, up to "--" */
    char **argv;
    enum access_format access_format;
    uint64_t max_wait_ns, client_ns, drain_ns;
    uint64_t max_bodies_bytes;
    uint32_t max_connections, http_threads;
    pthread_mutex_t routes_lock; /* of `routes`, which the keeper alone changes */
    struct route_table routes;
    husk_engine *engine;
    atomic_bool is_draining;
    atomic_ullong held_bytes;    /* of requests' bodies, in memory */
    atomic_uint exchanges_count; /* requests whose first line has come, and that have not ended */
    atomic_ullong last_request_ns;
    atomic_uint connections_count;
    atomic_ullong connections_total, slow_clients, unrouted;
    atomic_ullong refused_reloads; /* of the routes file */
};
/* *ret_is_done: help was asked for, and printed. Returns an exit code. */
int server_take_options(struct server *server, int argc, char **argv, bool *ret_is_done);
void server_options_done(struct server *server);
/* The routes file, as routes that have not started. On failure, the table is empty. */
int routes_read(struct server *server, struct route_table *ret_table);
/* False: no memory. */
bool routes_add(struct route_table *table, struct route *route);
/* Of routes that did not start. */
void routes_done(struct route_table *table);
/* The route of a path, which cannot go away until route_release(). NULL: there is none. */
struct route *routes_take(struct server *server, const char *path);
struct route *route_use(struct route *route);
void route_release(struct route *route);
/* One route, from the command line's options and its own. What its words point into is the route's
 * from here on, also on failure. */
int route_make(struct server *server, const struct route_source *source, struct route **ret_route);
/* It has not started, or was stopped. */
void route_free(struct route *route);

/* reload.c, on the keeper's thread. routes_reload() reads the routes file again; false: it is
 * wrong, which was logged, and nothing has changed. routes_reap() frees the routes that are gone
 * from it and that no request has; true: there are more. */
bool routes_reload(struct server *server);
bool routes_reap(const struct server *server);

/* listeners.c: opens what --listen names, and takes what systemd hands over. */
int sockets_open(struct run *run, bool has_activation, struct husk_error *err);
bool listener_is_handed(const struct listeners *listeners, size_t place);

/* ---- http_front.c ---- */
int front_start(struct server *server, struct husk_error *err);
/* Accept no more, except who has connected already. */
void front_quiesce(struct server *server);
void front_stop(void);

/* ---- backlog.c: the end of a listener ---- */
/* No new connections: who begins one now gets no answer, tries again after a second, and is refused
 * by the kernel then. Otherwise one could come between the last accept and the close, and be reset.
 * Not for sockets that another process goes on with. */
void backlog_close(int fd);
/* Wait a moment: handshakes that were under way, and accepts, have ended then. */
void backlog_settle(void);
/* Give the daemon, which accepts no more, those that have connected, up to `most` connections in
 * all. For whom there is no room, the connection is reset when the listener is closed. */
void backlog_accept(const struct server *server, struct MHD_Daemon *daemon, int fd, unsigned most);

/* ---- watch.c: clients; what each may take its time for ---- */
enum client_phase {
    CLIENT_HEAD,  /* between two requests, or sends one's first lines */
    CLIENT_BODY,  /* sends what the guest waits for */
    CLIENT_WAITS, /* for the guest */
    CLIENT_READS  /* the answer */
};
#define CLIENT_PROGRESS_BYTES 131072u /* in --client-timeout, at least */
struct client {
    struct server *server;
    struct client *next, *before;
    int fd;
    char remote[64];
    uint16_t port; /* ours */
    atomic_uint phase;
    atomic_ullong since_ns;
    uint64_t progress_bytes; /* since then; of the connection's thread */
    /* under the list's lock */
    struct exchange *exchange;
    uint64_t half_closed_ns;
};
void watch_start(void);
void watch_add(struct client *client);
void watch_remove(struct client *client);
/* The request that the client has made; NULL: it has ended. */
void watch_request(struct client *client, struct exchange *exchange);
void client_enters(struct client *client, enum client_phase phase);
/* It has sent or taken so much. */
void client_moves(struct client *client, uint64_t count);
/* The client will not get the rest of this answer: to HTTP/1.0, it must not look as if that was
 * all. */
void client_reset(struct client *client, const struct exchange *exchange);
/* End all that is under way. */
void watch_cancel_all(enum exchange_end reason);

/* ---- http_answer.c: on the thread of the connection ---- */
struct MHD_Connection;
/* These return what MHD's callbacks return: 1, or 0 to close the connection. */
int answer_status(struct exchange *exchange, unsigned status);
int answer_text(struct exchange *exchange, unsigned status, const char *text);
/* It can be answered: exchange_can_answer_locked(). */
int answer_exchange(struct exchange *exchange);

/* ---- metrics.c ---- */
int metrics_start(struct server *server, struct husk_error *err);
/* Of a request that has ended. */
void metrics_count(struct server *server, const struct exchange *exchange);
const char *health_text(struct server *server, unsigned *ret_status);

/* access_log.c: one line for a request that has ended. */
void access_log(const struct server *server, const struct exchange *exchange);
const char *end_name(enum exchange_end end);

/* keeper.c: a thread that makes new generations. */
void keeper_start(struct server *server);
void keeper_reload(void); /* SIGHUP */

#endif
