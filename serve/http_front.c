/*
 * serve/http_front.c: connections and requests, by libmicrohttpd. Its threads run these functions.
 * None of them waits: where there is nothing to do, the connection is suspended, and whoever has
 * news resumes it (exchange_resume_locked()).
 *
 *   take_target     a request's first line has come: there is an exchange
 *   take_request    its head; then, as it comes, its body; then, when that has ended, and again
 *                   each time that the connection is resumed, its answer
 *   end_request     all of the answer is sent, or the connection is lost
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "serve.h"

#define HEAD_MAX_BYTES 65536u /* of a request: room that a connection has for it */
#define HEADERS_MAX 128
/* Read and thrown away of a body that is refused: a client that is cut off while it sends may never
 * see the answer. */
#define REFUSED_MAX_BYTES (UINT32_C(1) << 20)
/* The same of one in chunks, which cannot be answered before it has ended. */
#define REFUSED_CHUNKS_MAX_BYTES (UINT32_C(64) << 20)
/* Later versions read heads in another way. */
#define FIRST_STRICT_MHD 0x00097700
#define BACKLOG 4096
#define LISTENERS_MAX 16

static struct {
    struct MHD_Daemon *daemons[LISTENERS_MAX];
    int fds[LISTENERS_MAX];
    bool is_handed[LISTENERS_MAX];
    size_t count;
} front;

/* ---- Connections ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
};

static uint16_t address_text(const union address *address, char *out, size_t out_bytes) {
    const struct in6_addr *v6 = &address->v6.sin6_addr;
    out[0] = '\0';
    if (address->any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &address->v4.sin_addr, out, (socklen_t)out_bytes);
        return ntohs(address->v4.sin_port);
    }
    if (address->any.sa_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(v6))
            (void)inet_ntop(AF_INET, &v6->s6_addr[12], out, (socklen_t)out_bytes);
        else
            (void)inet_ntop(AF_INET6, v6, out, (socklen_t)out_bytes);
        return ntohs(address->v6.sin6_port);
    }
    snprintf(out, out_bytes, "unix:");
    return 0;
}

static struct client *client_new(struct server *server, int fd) {
    struct client *client = calloc(1, sizeof *client);
    union address address = {0};
    socklen_t bytes = sizeof address;
    char unused[64];
    if (client == NULL)
        return NULL;
    client->server = server;
    client->fd = fd;
    if (getpeername(fd, &address.any, &bytes) == 0)
        (void)address_text(&address, client->remote, sizeof client->remote);
    bytes = sizeof address;
    if (getsockname(fd, &address.any, &bytes) == 0)
        client->port = address_text(&address, unused, sizeof unused);
    client_enters(client, CLIENT_HEAD);
    return client;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what) {
    struct server *server = user;
    struct client *client = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        client = info != NULL ? client_new(server, info->connect_fd) : NULL;
        *socket_context = client;
        if (client == NULL)
            return;
        atomic_fetch_add(&server->connections_count, 1);
        atomic_fetch_add(&server->connections_total, 1);
        watch_add(client);
    } else if (client != NULL) {
        watch_remove(client);
        atomic_fetch_sub(&server->connections_count, 1);
        free(client);
        *socket_context = NULL;
    }
}

static struct client *client_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/* ---- A request begins ---- */

/* The result is *context in take_request(). NULL: out of memory; the connection is closed there. */
static void *take_target(void *user, const char *target, struct MHD_Connection *connection) {
    struct server *server = user;
    struct client *client = client_of(connection);
    struct exchange *exchange = client != NULL ? exchange_new() : NULL;
    if (exchange == NULL)
        return NULL;
    exchange->sent_target = strdup(target);
    if (exchange->sent_target == NULL) {
        exchange_unref(exchange);
        return NULL;
    }
    exchange->client = client;
    exchange->connection = connection;
    exchange->begin_ns = now_ns();
    exchange->request = (struct request){
        .method = "-", .version = "HTTP/1.1", .target = exchange->sent_target, .query = ""};
    strcpy(exchange->remote, client->remote);
    exchange->server_port = client->port;
    atomic_fetch_add(&server->exchanges_count, 1);
    atomic_store(&server->last_request_ns, exchange->begin_ns);
    client_enters(client, CLIENT_HEAD);
    watch_request(client, exchange);
    return exchange;
}

static unsigned status_of_connection(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS);
    return info != NULL ? info->http_status : 0;
}

static void end_request(void *user, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode how) {
    struct server *server = user;
    struct exchange *exchange = *context;
    (void)how;
    *context = NULL;
    if (exchange == NULL)
        return;
    if (exchange->sent_status == 0) /* MHD refused it by itself: a head that is too large, say */
        exchange->sent_status = status_of_connection(connection);
    client_enters(exchange->client, CLIENT_HEAD);
    watch_request(exchange->client, NULL);
    pthread_mutex_lock(&exchange->lock);
    exchange->connection = NULL;
    exchange->is_body_lost = !exchange->has_whole_body;
    const bool has_left = exchange->end == END_NOT_YET && atomic_load(&exchange->is_queued);
    exchange_cancel_locked(exchange, END_LEFT);
    exchange->end_for_log = has_left ? END_LEFT : exchange->end;
    exchange->guest_ns_for_log = exchange->guest_ns;
    pthread_cond_broadcast(&exchange->changed);
    pthread_mutex_unlock(&exchange->lock);
    if (has_left)
        (void)route_withdraw(exchange->route, exchange, END_LEFT);
    atomic_fetch_sub(&server->held_bytes, exchange->held_bytes);
    metrics_count(server, exchange);
    access_log(server, exchange);
    atomic_store(&server->last_request_ns, now_ns());
    atomic_fetch_sub(&server->exchanges_count, 1);
    exchange_unref(exchange);
}

/* ---- Its head ---- */

struct header_list {
    struct header rows[HEADERS_MAX];
    size_t count;
    bool has_more;
};

static enum MHD_Result add_header(void *user, enum MHD_ValueKind kind, const char *name,
                                  const char *value) {
    struct header_list *list = user;
    (void)kind;
    if (list->count == HEADERS_MAX) {
        list->has_more = true;
        return MHD_NO;
    }
    list->rows[list->count++] = (struct header){name, value != NULL ? value : ""};
    return MHD_YES;
}

/* Ends of lines between what ends with this NUL and `next`: each is CR LF, or LF alone. */
static bool has_ends(const char *text, uintptr_t next, size_t lines) {
    const uintptr_t at = (uintptr_t)text + strlen(text);
    return next > at && (next - at == 2 * lines || next - at == lines);
}

/* Is each line of the head what libmicrohttpd 0.9.75 told of it? They are in its buffer, from the
 * method on, with NULs for their ends. It
 * - takes a line that begins with ':' or a NUL for the empty one, so that lines behind it would be
 *   the next request;
 * - adds a line that is continued (RFC 9112, section 5.2) to the name, which it moves elsewhere:
 *   "Content-Length:", " 5" is "Content-Length5", and the body would be the next request;
 * - ends a target or a value at a NUL. */
static bool has_clear_lines(const struct exchange *exchange, const char *method,
                            const char *version, const struct header_list *list) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *last = version;
    if (MHD_VERSION >= FIRST_STRICT_MHD)
        return true;
    if (info == NULL || method + strlen(method) + strlen(exchange->sent_target) + 2 != version)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (!has_ends(last, (uintptr_t)list->rows[i].name, 1))
            return false;
        last = list->rows[i].value;
    }
    return has_ends(last, (uintptr_t)method + info->header_size, 2);
}

/* "example.org:8080" → "example.org". Whoever sent it may send anything: a name that is none is the
 * listener's. */
static void take_host(struct exchange *exchange) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_:[]";
    const char *host = request_header(&exchange->request, "Host");
    size_t bytes = host != NULL ? strlen(host) : 0;
    if (bytes == 0 || bytes >= sizeof exchange->server_name || strspn(host, allowed) != bytes) {
        strcpy(exchange->server_name, "localhost");
        return;
    }
    const char *colon = strrchr(host, ':'), *bracket = strchr(host, ']');
    if (colon != NULL && (host[0] != '[' || (bracket != NULL && colon > bracket)))
        bytes = (size_t)(colon - host);
    memcpy(exchange->server_name, host, bytes);
    exchange->server_name[bytes] = '\0';
}

/* Whose it is. 0, or the status with which it is refused. */
static unsigned take_route(struct server *server, struct exchange *exchange) {
    struct request *request = &exchange->request;
    if (strcmp(request->method, "CONNECT") == 0 || strcmp(request->method, "TRACE") == 0)
        return 405;
    struct route *route = exchange->route = routes_take(server, request->path);
    if (route == NULL)
        return 404;
    request->path_info = request->path + route->path_bytes;
    exchange->max_body_bytes = route->max_body_bytes;
    exchange->max_response_bytes = route->max_response_bytes;
    exchange->is_discarded = strcmp(request->method, "HEAD") == 0;
    struct generation *generation = route_generation(route);
    exchange->wants_whole_body = generation->kind != GUEST_CGI;
    generation_unref(generation);
    if (request->content_length != EXCHANGE_NO_LENGTH &&
        request->content_length > route->max_body_bytes)
        return 413;
    return 0;
}

/* Of the server's own path, if no route but the one for all paths takes it. */
static bool is_for_health(struct server *server, const struct request *request) {
    if (server->health == NULL || strcmp(request->path, server->health) != 0)
        return false;
    struct route *route = routes_take(server, request->path);
    const bool is_so = route == NULL || route->path_bytes == 0;
    route_release(route);
    return is_so;
}

/* Refused now, or once its body is read. */
static int refuse(struct exchange *exchange, unsigned status) {
    const struct request *request = &exchange->request;
    const bool is_long = request->block == NULL || request->content_length == EXCHANGE_NO_LENGTH ||
                         request->content_length > REFUSED_MAX_BYTES;
    if (is_long || request_header(request, "Expect") != NULL)
        return answer_status(exchange, status);
    exchange->is_refused = true;
    exchange->refused_status = status;
    return MHD_YES;
}

static int take_head(struct server *server, struct exchange *exchange, const char *method,
                     const char *version) {
    struct header_list list = {.count = 0};
    struct request_parts parts = {.version = version, .method = method};
    (void)MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, add_header, &list);
    exchange->has_head_taken = true;
    parts.target = exchange->sent_target;
    parts.headers = list.rows;
    parts.headers_count = list.count;
    unsigned status = list.has_more ? 431
                      : has_clear_lines(exchange, method, version, &list)
                          ? request_make(&exchange->request, &parts)
                          : 400;
    if (status != 0)
        return answer_status(exchange, status);
    take_host(exchange);
    if (is_for_health(server, &exchange->request)) {
        const char *text = health_text(server, &status);
        return exchange->request.content_length != 0 ? refuse(exchange, 413)
                                                     : answer_text(exchange, status, text);
    }
    status = take_route(server, exchange);
    if (status != 0)
        return refuse(exchange, status);
    client_enters(exchange->client, CLIENT_BODY);
    return MHD_YES;
}

/* ---- Its body ---- */

static void queue_once(struct exchange *exchange) {
    if (atomic_load(&exchange->is_queued))
        return;
    exchange->queued_ns = now_ns();
    atomic_store(&exchange->is_queued, true);
    atomic_fetch_add(&exchange->route->counters->in_flight, 1);
    client_enters(exchange->client, CLIENT_WAITS);
    route_submit(exchange->route, exchange);
}

/* As much as there is room for. What a guest will not read any more is thrown away. */
static size_t put_body(struct exchange *exchange, const char *bytes, size_t count) {
    size_t taken = count;
    pthread_mutex_lock(&exchange->lock);
    const bool is_wanted = exchange->end == END_NOT_YET && !exchange->is_cancelled;
    const uint64_t most = exchange->wants_whole_body ? exchange->max_body_bytes : EXCHANGE_IN_BYTES;
    if (is_wanted) {
        const uint64_t room = most > exchange->in.count ? most - exchange->in.count : 0;
        taken = count < room ? count : (size_t)room;
        if (!bytes_put(&exchange->in, bytes, taken))
            exchange_cancel_locked(exchange, END_FAILED);
        pthread_cond_signal(&exchange->changed);
    }
    pthread_mutex_unlock(&exchange->lock);
    return taken;
}

/* Still no room: until the guest has read. */
static void wait_for_room(struct exchange *exchange) {
    pthread_mutex_lock(&exchange->lock);
    const bool is_wanted = exchange->end == END_NOT_YET && !exchange->is_cancelled;
    if (is_wanted && !exchange->wants_whole_body && exchange->in.count >= EXCHANGE_IN_BYTES) {
        exchange->is_suspended = true;
        MHD_suspend_connection(exchange->connection);
    }
    pthread_mutex_unlock(&exchange->lock);
}

/* What is left of it is thrown away. */
static int refuse_body(struct exchange *exchange, unsigned status) {
    pthread_mutex_lock(&exchange->lock);
    exchange_cancel_locked(exchange, END_LEFT);
    pthread_mutex_unlock(&exchange->lock);
    exchange->is_refused = true;
    exchange->refused_status = status;
    return MHD_YES;
}

/* Of all bodies together: else many clients with a large one each would take all memory. Whatever
 * a request took of the budget, it gives back at its end. */
static bool has_budget(struct exchange *exchange, size_t count) {
    struct server *server = exchange->client->server;
    exchange->held_bytes += count;
    return atomic_fetch_add(&server->held_bytes, count) + count <= server->max_bodies_bytes;
}

static int take_body(struct exchange *exchange, const char *bytes, size_t *count) {
    if (exchange->is_refused) {
        exchange->body_bytes += *count;
        *count = 0;
        return exchange->body_bytes > REFUSED_CHUNKS_MAX_BYTES ? MHD_NO : MHD_YES;
    }
    if (*count > exchange->max_body_bytes - exchange->body_bytes)
        return refuse_body(exchange, 413); /* in chunks, so that nobody knew it before */
    const size_t taken = put_body(exchange, bytes, *count);
    if (exchange->wants_whole_body && !has_budget(exchange, taken))
        return refuse_body(exchange, 503);
    exchange->body_bytes += taken;
    *count -= taken;
    client_moves(exchange->client, taken);
    if (*count != 0) {
        queue_once(exchange);
        wait_for_room(exchange);
    }
    return MHD_YES;
}

/* ---- Its answer ---- */

static int answer(struct exchange *exchange) {
    if (exchange->is_refused)
        return answer_status(exchange, exchange->refused_status);
    pthread_mutex_lock(&exchange->lock);
    if (!exchange->has_whole_body) {
        exchange->has_whole_body = true;
        pthread_cond_broadcast(&exchange->changed);
    }
    pthread_mutex_unlock(&exchange->lock);
    queue_once(exchange);
    pthread_mutex_lock(&exchange->lock);
    const bool can_answer = exchange_can_answer_locked(exchange);
    if (!can_answer) {
        exchange->is_suspended = true;
        MHD_suspend_connection(exchange->connection);
    }
    pthread_mutex_unlock(&exchange->lock);
    return can_answer ? answer_exchange(exchange) : MHD_YES;
}

static enum MHD_Result take_request(void *user, struct MHD_Connection *connection, const char *path,
                                    const char *method, const char *version, const char *body,
                                    size_t *body_count, void **context) {
    struct exchange *exchange = *context;
    (void)connection, (void)path;
    if (exchange == NULL)
        return MHD_NO;
    if (!exchange->has_head_taken)
        return (enum MHD_Result)take_head(user, exchange, method, version);
    if (*body_count != 0)
        return (enum MHD_Result)take_body(exchange, body, body_count);
    return exchange->has_answered ? MHD_YES : (enum MHD_Result)answer(exchange);
}

/* ---- All of it ---- */

/* What libmicrohttpd says is about clients that do not speak HTTP: nobody can do anything. */
static void ignore_log(void *user, const char *format, va_list args) {
    (void)user, (void)format, (void)args;
}

/* Descriptors that are no connections: the server's own, a worker's, and those of a reload. */
#define OWN_FDS 48u
#define WORKER_FDS 4u
/* Without these, it cannot serve at all. */
#define LEAST_FDS 32u
#define LEAST_WORKER_FDS 3u

/* As many as were asked for, if there are descriptors for them: else clients could take those with
 * which the server reloads a module or makes a sandbox. Routes that a new routes file changes have
 * new workers beside the old ones for a while. */
static void limit_connections(struct server *server) {
    const size_t listeners = server->run.listeners.count;
    struct rlimit limit;
    rlim_t own = OWN_FDS;
    if (listeners == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    for (size_t i = 0; i < server->routes.count; i++)
        own += (server->routes_file != NULL ? 2 : 1) * WORKER_FDS *
               server->routes.rows[i]->workers_count;
    const rlim_t most =
        (limit.rlim_cur > 2 * own ? limit.rlim_cur - own : limit.rlim_cur / 2) / listeners;
    if (server->max_connections <= most)
        return;
    log_say("--max-connections is %llu instead of %u: there are %llu descriptors (ulimit -n)",
            (unsigned long long)most, server->max_connections, (unsigned long long)limit.rlim_cur);
    server->max_connections = most > 1 ? (uint32_t)most : 1;
}

/* A server that has none left accepts nobody, and says nothing. */
static int check_descriptors(const struct server *server, struct husk_error *err) {
    struct rlimit limit;
    rlim_t least = LEAST_FDS;
    for (size_t i = 0; i < server->routes.count; i++)
        least += LEAST_WORKER_FDS * server->routes.rows[i]->workers_count;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= least)
        return 0;
    return cli_error(err, HUSK_E_LIMIT,
                     "there are %llu descriptors (ulimit -n), and all routes' workers need %llu "
                     "(--workers)",
                     (unsigned long long)limit.rlim_cur, (unsigned long long)least);
}

/* Of a listener. */
static unsigned connections_max(const struct server *server) {
    return server->max_connections > server->http_threads ? server->max_connections
                                                          : server->http_threads;
}

static struct MHD_Daemon *start_daemon(struct server *server, int fd) {
    const unsigned threads = server->http_threads;
    const unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem pool[] = {{MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL},
                                    {MHD_OPTION_END, 0, NULL}};
    return MHD_start_daemon(
        flags, 0, NULL, NULL, take_request, server, MHD_OPTION_EXTERNAL_LOGGER, ignore_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, connections_max(server),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MAX_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_URI_LOG_CALLBACK, take_target, server,
        MHD_OPTION_NOTIFY_COMPLETED, end_request, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_ARRAY, threads > 1 ? pool : pool + 1, MHD_OPTION_END);
}

int front_start(struct server *server, struct husk_error *err) {
    struct listeners *listeners = &server->run.listeners;
    int status = check_descriptors(server, err);
    if (status == 0)
        status = sockets_open(&server->run, true, err);
    if (status != 0)
        return status;
    if (listeners->count > LISTENERS_MAX)
        return cli_error(err, HUSK_E_LIMIT, "there are more than %d listeners", LISTENERS_MAX);
    limit_connections(server);
    for (size_t i = 0; i < listeners->count; i++) {
        const int fd = listeners->rows[i].host_fd;
        (void)listen(fd, BACKLOG);
        struct MHD_Daemon *daemon = start_daemon(server, fd);
        if (daemon == NULL)
            return cli_error(err, HUSK_E_SYS, "cannot serve at %s: %s", listeners->texts[i],
                             strerror(errno));
        front.daemons[front.count] = daemon;
        front.is_handed[front.count] = listener_is_handed(listeners, i);
        front.fds[front.count++] = fd;
    }
    return 0;
}

void front_quiesce(struct server *server) {
    const unsigned most = connections_max(server);
    bool is_quiet[LISTENERS_MAX];
    atomic_store(&server->is_draining, true);
    atomic_store(&server->last_request_ns, now_ns());
    for (size_t i = 0; i < front.count; i++) {
        if (!front.is_handed[i])
            backlog_close(front.fds[i]);
        is_quiet[i] = MHD_quiesce_daemon(front.daemons[i]) != MHD_INVALID_SOCKET;
    }
    backlog_settle();
    for (size_t i = 0; i < front.count; i++)
        if (is_quiet[i])
            backlog_accept(server, front.daemons[i], front.fds[i], most);
    listeners_done(&server->run);
}

void front_stop(void) {
    for (size_t i = 0; i < front.count; i++)
        MHD_stop_daemon(front.daemons[i]);
    front.count = 0;
}
