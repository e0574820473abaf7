/*
 * serve/http_exchange.c: where the thread of a connection and a worker meet.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <microhttpd.h>

#include "serve.h"

struct exchange *exchange_new(void) {
    struct exchange *exchange = calloc(1, sizeof *exchange);
    pthread_condattr_t attr;
    if (exchange == NULL)
        return NULL;
    atomic_init(&exchange->shares, 1);
    pthread_mutex_init(&exchange->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&exchange->changed, &attr);
    pthread_condattr_destroy(&attr);
    return exchange;
}

struct exchange *exchange_ref(struct exchange *exchange) {
    atomic_fetch_add(&exchange->shares, 1);
    return exchange;
}

void exchange_unref(struct exchange *exchange) {
    if (exchange == NULL || atomic_fetch_sub(&exchange->shares, 1) != 1)
        return;
    bytes_done(&exchange->in);
    bytes_done(&exchange->out);
    cgi_head_done(&exchange->head);
    route_release(exchange->route);
    free(exchange->request.block);
    free(exchange->sent_target);
    pthread_cond_destroy(&exchange->changed);
    pthread_mutex_destroy(&exchange->lock);
    free(exchange);
}

void exchange_resume_locked(struct exchange *exchange) {
    if (!exchange->is_suspended || exchange->connection == NULL)
        return;
    exchange->is_suspended = false;
    MHD_resume_connection(exchange->connection);
}

void exchange_cancel_locked(struct exchange *exchange, enum exchange_end reason) {
    if (exchange->end != END_NOT_YET || exchange->is_cancelled)
        return;
    exchange->is_cancelled = true;
    exchange->cancel_reason = reason;
    if (exchange->runs_in != NULL)
        husk_interrupt(exchange->runs_in);
    pthread_cond_broadcast(&exchange->changed);
}

bool exchange_can_answer_locked(const struct exchange *exchange) {
    return exchange->end != END_NOT_YET ||
           (exchange->has_head &&
            (exchange->out.count >= EXCHANGE_PIECE_BYTES || exchange->is_flush_wanted));
}

/* false: the guest's time is over, or nobody wants its answer. */
static bool wait_for_change(struct exchange *exchange, uint64_t deadline_ns) {
    const struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                   .tv_nsec = (long)(deadline_ns % 1000000000u)};
    return pthread_cond_timedwait(&exchange->changed, &exchange->lock, &until) != ETIMEDOUT;
}

int64_t exchange_read(struct exchange *exchange, void *to, size_t count, uint64_t deadline_ns) {
    bool has_time = true;
    pthread_mutex_lock(&exchange->lock);
    while (exchange->in.count == 0 && !exchange->has_whole_body && !exchange->is_body_lost &&
           !exchange->is_cancelled && has_time)
        has_time = wait_for_change(exchange, deadline_ns);
    int64_t got = HUSK_E_SYS;
    if (!exchange->is_cancelled && (exchange->in.count != 0 || exchange->has_whole_body))
        got = (int64_t)bytes_take(&exchange->in, to, count);
    if (!exchange->has_whole_body && exchange->in.count < EXCHANGE_IN_BYTES / 2)
        exchange_resume_locked(exchange);
    pthread_mutex_unlock(&exchange->lock);
    return got;
}

bool exchange_await_body(struct exchange *exchange, uint64_t deadline_ns) {
    bool has_time = true;
    pthread_mutex_lock(&exchange->lock);
    exchange->wants_whole_body = true;
    if (!exchange->has_whole_body)
        exchange_resume_locked(exchange);
    while (!exchange->has_whole_body && !exchange->is_body_lost && !exchange->is_cancelled &&
           has_time)
        has_time = wait_for_change(exchange, deadline_ns);
    const bool is_whole = exchange->has_whole_body && !exchange->is_cancelled;
    pthread_mutex_unlock(&exchange->lock);
    return is_whole;
}

/* The guest's answer stops here. */
static int64_t refuse_answer(struct exchange *exchange, enum exchange_end why, const char *text) {
    exchange->malformed = text;
    exchange_cancel_locked(exchange, why);
    return HUSK_E_LIMIT;
}

/* Once the head is whole, it leaves `out`, and the body stays. */
static int64_t look_for_head(struct exchange *exchange) {
    struct bytes *out = &exchange->out;
    const size_t count = cgi_head_find(bytes_front(out), out->count, &exchange->head_seen);
    if (count > CGI_HEAD_MAX_BYTES || (count == 0 && out->count > CGI_HEAD_MAX_BYTES))
        return refuse_answer(exchange, END_MALFORMED, "its head has more than 64 KiB");
    if (count == 0)
        return 0;
    const char *why = cgi_head_read(&exchange->head, bytes_front(out), count);
    if (why != NULL)
        return refuse_answer(exchange, END_MALFORMED, why);
    bytes_drop(out, count);
    exchange->has_head = true;
    exchange->written_bytes = out->count;
    return 0;
}

/* Into `out`, which has room. */
static int64_t put_answer(struct exchange *exchange, const void *from, size_t count) {
    const bool was_empty = exchange->out.count == 0;
    const bool is_kept = !exchange->has_head || !exchange->is_discarded;
    if (is_kept && !bytes_put(&exchange->out, from, count))
        return refuse_answer(exchange, END_FAILED, "out of memory");
    if (was_empty)
        exchange->written_ns = now_ns();
    if (exchange->has_head)
        exchange->written_bytes += count;
    else if (look_for_head(exchange) != 0)
        return HUSK_E_LIMIT;
    if (exchange->has_head && exchange->written_bytes > exchange->max_response_bytes)
        return refuse_answer(exchange, END_TOO_LARGE, "it is larger than --max-response");
    if (exchange->has_head && exchange->written_bytes > exchange->head.content_length)
        return refuse_answer(exchange, END_MALFORMED, "it is longer than its Content-Length");
    if (exchange_can_answer_locked(exchange) && exchange->has_whole_body)
        exchange_resume_locked(exchange);
    return (int64_t)count;
}

/* As long as nothing is sent, because the client still sends, the answer has room up to its limit:
 * else a guest that echoes its input, and a client that reads nothing before it has sent all, would
 * wait for each other. */
static bool has_room(const struct exchange *exchange) {
    return exchange->out.count < EXCHANGE_OUT_BYTES || !exchange->has_whole_body;
}

int64_t exchange_write(struct exchange *exchange, const void *from, size_t count,
                       uint64_t deadline_ns) {
    bool has_time = true;
    int64_t done = HUSK_E_SYS;
    pthread_mutex_lock(&exchange->lock);
    while (!has_room(exchange) && !exchange->is_cancelled && has_time) {
        exchange_resume_locked(exchange);
        has_time = wait_for_change(exchange, deadline_ns);
    }
    if (!exchange->is_cancelled && has_room(exchange))
        done = put_answer(exchange, from, count);
    pthread_mutex_unlock(&exchange->lock);
    return done;
}

int64_t exchange_write_all(struct exchange *exchange, const void *from, size_t count) {
    int64_t done = HUSK_E_SYS;
    pthread_mutex_lock(&exchange->lock);
    if (!exchange->is_cancelled)
        done = put_answer(exchange, from, count);
    pthread_mutex_unlock(&exchange->lock);
    return done;
}

void exchange_run_in(struct exchange *exchange, husk_sandbox *sandbox) {
    pthread_mutex_lock(&exchange->lock);
    exchange->runs_in = sandbox;
    if (sandbox != NULL && exchange->is_cancelled)
        husk_interrupt(sandbox);
    pthread_mutex_unlock(&exchange->lock);
}

bool exchange_is_cancelled(struct exchange *exchange) {
    pthread_mutex_lock(&exchange->lock);
    const bool is_so = exchange->is_cancelled;
    pthread_mutex_unlock(&exchange->lock);
    return is_so;
}

/* A body that is shorter than announced; of some answers the client gets none anyway. */
static bool is_short(const struct exchange *exchange) {
    const struct cgi_head *head = &exchange->head;
    return head->content_length != CGI_NO_LENGTH &&
           exchange->written_bytes < head->content_length && head->status != 304 &&
           head->status != 204 && head->status != 205 &&
           strcmp(exchange->request.method, "HEAD") != 0;
}

void exchange_end(struct exchange *exchange, enum exchange_end end) {
    pthread_mutex_lock(&exchange->lock);
    exchange->end = exchange->is_cancelled ? exchange->cancel_reason : end;
    if (exchange->end == END_GOOD && (!exchange->has_head || is_short(exchange))) {
        exchange->end = END_MALFORMED;
        exchange->malformed = exchange->has_head ? "it is shorter than its Content-Length"
                                                 : "it has no head that ends with an empty line";
    }
    exchange->ended_ns = now_ns();
    if (exchange->started_ns != 0)
        exchange->guest_ns = exchange->ended_ns - exchange->started_ns;
    exchange_resume_locked(exchange);
    pthread_mutex_unlock(&exchange->lock);
}
