/*
 * serve/watch.c: looks after the clients, ten times a second while there are any: libmicrohttpd
 * cannot watch a connection that waits for a guest, and begins its own time-out anew with each
 * byte.
 *
 *   slow      a head, a body that no guest reads yet, or an answer that the guest has finished,
 *             takes longer than --client-timeout: the connection is cut
 *   gone      the connection is closed or broken while the guest works: the guest is interrupted
 *   queued    no worker was free within --max-wait or --timeout: 503
 *   written   what a guest wrote a while ago goes to the client, although it is little
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "serve.h"

#define TICK_NS UINT64_C(100000000)
/* A client that has sent all may close its half of the connection, and still read. From here, this
 * looks the same as one that is gone. So it gets its answer if that is soon. */
#define HALF_CLOSED_NS UINT64_C(1000000000)

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct client *first;
    bool is_asleep;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void client_enters(struct client *client, enum client_phase phase) {
    client->progress_bytes = 0;
    atomic_store(&client->since_ns, now_ns());
    atomic_store(&client->phase, phase);
}

void client_moves(struct client *client, uint64_t count) {
    client->progress_bytes += count;
    if (client->progress_bytes < CLIENT_PROGRESS_BYTES)
        return;
    client->progress_bytes = 0;
    atomic_store(&client->since_ns, now_ns());
}

void watch_add(struct client *client) {
    pthread_mutex_lock(&watch.lock);
    client->before = NULL;
    client->next = watch.first;
    if (watch.first != NULL)
        watch.first->before = client;
    watch.first = client;
    if (watch.is_asleep)
        pthread_cond_signal(&watch.changed);
    pthread_mutex_unlock(&watch.lock);
}

void watch_remove(struct client *client) {
    pthread_mutex_lock(&watch.lock);
    if (client->next != NULL)
        client->next->before = client->before;
    if (client->before != NULL)
        client->before->next = client->next;
    else
        watch.first = client->next;
    pthread_mutex_unlock(&watch.lock);
}

void watch_request(struct client *client, struct exchange *exchange) {
    pthread_mutex_lock(&watch.lock);
    client->exchange = exchange;
    client->half_closed_ns = 0;
    pthread_mutex_unlock(&watch.lock);
}

/* ---- One look ---- */

/* HTTP/1.0 has no chunks: there, the end of the connection may be that of a good answer, a reset
 * never is. connect() to nobody makes one, of TCP's connections; close() would come too late, since
 * libmicrohttpd shuts the connection down before. */
void client_reset(struct client *client, const struct exchange *exchange) {
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (exchange != NULL && strcmp(exchange->request.version, "HTTP/1.0") == 0)
        (void)connect(client->fd, &nobody, sizeof nobody);
}

static void cut(struct client *client, enum client_phase phase) {
    atomic_fetch_add(&client->server->slow_clients, 1);
    if (phase == CLIENT_READS)
        client_reset(client, client->exchange);
    (void)shutdown(client->fd, SHUT_RDWR); /* its own thread sees that, and closes it */
    atomic_store(&client->since_ns, now_ns());
}

/* Broken, or closed for long enough. */
static bool is_gone(struct client *client, uint64_t now) {
    struct pollfd state = {.fd = client->fd, .events = POLLRDHUP};
    if (poll(&state, 1, 0) <= 0)
        return false;
    if ((state.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
        return true;
    if ((state.revents & POLLRDHUP) != 0 && client->half_closed_ns == 0)
        client->half_closed_ns = now;
    return client->half_closed_ns != 0 && now - client->half_closed_ns > HALF_CLOSED_NS;
}

/* No worker was free in time. */
static bool has_waited(const struct exchange *exchange, uint64_t now) {
    const struct route *route = exchange->route;
    const uint64_t max_wait_ns = route->server->max_wait_ns, wall_ns = route->run.limits.wall_ns;
    const uint64_t most_ns = max_wait_ns < wall_ns ? max_wait_ns : wall_ns;
    return now > exchange->queued_ns && now - exchange->queued_ns > most_ns;
}

/* libmicrohttpd is told once of bytes and of the end behind them. If it reads just the bytes, it
 * waits for more of the body, and keeps the connection. */
static void wake_for_end(struct client *client) {
    int unread = 0;
    if (ioctl(client->fd, FIONREAD, &unread) == 0 && unread == 0)
        (void)shutdown(client->fd, SHUT_RDWR);
}

/* A request for which a guest works, or should. */
static void look_at_request(struct client *client, struct exchange *exchange, uint64_t now) {
    const bool is_away = is_gone(client, now);
    pthread_mutex_lock(&exchange->lock);
    const bool has_begun = exchange->started_ns != 0;
    const bool is_over = exchange->end != END_NOT_YET;
    const bool has_body = exchange->has_whole_body;
    if (is_away)
        exchange_cancel_locked(exchange, END_LEFT);
    if (!is_over && exchange->has_whole_body && exchange->written_ns != 0 &&
        now > exchange->written_ns && now - exchange->written_ns > TICK_NS) {
        exchange->is_flush_wanted = true; /* from now on, whatever it writes is sent at once */
        if (exchange_can_answer_locked(exchange))
            exchange_resume_locked(exchange);
    }
    pthread_mutex_unlock(&exchange->lock);
    if (is_away && !has_body)
        wake_for_end(client);
    if (!is_over && !has_begun && atomic_load(&exchange->is_queued) &&
        (is_away || has_waited(exchange, now)))
        (void)route_withdraw(exchange->route, exchange, is_away ? END_LEFT : END_NO_WORKER);
}

static bool has_ended(struct exchange *exchange) {
    pthread_mutex_lock(&exchange->lock);
    const bool is_so = exchange->end != END_NOT_YET;
    pthread_mutex_unlock(&exchange->lock);
    return is_so;
}

/* The answer waits, and the client still sends what nobody wants any more. */
static bool is_late_body(struct exchange *exchange, uint64_t now, uint64_t limit_ns) {
    pthread_mutex_lock(&exchange->lock);
    const bool is_so = exchange->end != END_NOT_YET && !exchange->has_whole_body &&
                       now > exchange->ended_ns && now - exchange->ended_ns > limit_ns;
    pthread_mutex_unlock(&exchange->lock);
    return is_so;
}

static void look_at(struct client *client, uint64_t now) {
    struct exchange *exchange = client->exchange;
    const enum client_phase phase = (enum client_phase)atomic_load(&client->phase);
    const uint64_t since = atomic_load(&client->since_ns);
    bool is_slow = now > since && now - since > client->server->client_ns;
    if (exchange != NULL && (phase == CLIENT_WAITS || phase == CLIENT_READS))
        look_at_request(client, exchange, now);
    if (exchange != NULL && phase == CLIENT_BODY && is_gone(client, now))
        wake_for_end(client);
    if (phase == CLIENT_WAITS)
        is_slow = exchange != NULL && is_late_body(exchange, now, client->server->client_ns);
    if (phase == CLIENT_READS && exchange != NULL && exchange->is_queued && is_slow &&
        !has_ended(exchange)) {
        atomic_store(&client->since_ns, now); /* the guest's time */
        is_slow = false;
    }
    if (is_slow)
        cut(client, phase);
}

static void *look_after(void *argument) {
    const struct timespec tick = {.tv_nsec = (long)TICK_NS};
    for (;;) {
        pthread_mutex_lock(&watch.lock);
        while (watch.first == NULL) {
            watch.is_asleep = true;
            pthread_cond_wait(&watch.changed, &watch.lock);
        }
        watch.is_asleep = false;
        const uint64_t now = now_ns();
        for (struct client *client = watch.first; client != NULL; client = client->next)
            look_at(client, now);
        pthread_mutex_unlock(&watch.lock);
        nanosleep(&tick, NULL);
    }
    return argument;
}

void watch_start(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, look_after, NULL) != 0)
        log_say("no thread can be started that looks after slow clients");
    else
        pthread_detach(thread);
}

void watch_cancel_all(enum exchange_end reason) {
    pthread_mutex_lock(&watch.lock);
    for (struct client *client = watch.first; client != NULL; client = client->next) {
        struct exchange *exchange = client->exchange;
        if (exchange == NULL || !exchange->is_queued)
            continue;
        pthread_mutex_lock(&exchange->lock);
        exchange_cancel_locked(exchange, reason);
        pthread_mutex_unlock(&exchange->lock);
        (void)route_withdraw(exchange->route, exchange, reason);
    }
    pthread_mutex_unlock(&watch.lock);
}
