/*
 * serve/http_answer.c: from an exchange to what libmicrohttpd sends.
 */
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "serve.h"

#define RETRY_AFTER_SECONDS "1"

static const char *status_text(unsigned status) {
    const char *text = MHD_get_reason_phrase_for(status);
    return text != NULL ? text : "Error";
}

/* Nobody knows where the next request begins behind one that was refused. Of a body in chunks, the
 * next server may know another end: libmicrohttpd 0.9.75 takes a lone LF for the end of a chunk's
 * size and its extensions, and a trailer that begins with a NUL for the last line. */
static bool has_clear_next(const struct exchange *exchange, unsigned status) {
    return (status != 400 || exchange->is_queued) && !exchange->request.is_chunked;
}

/* While the server ends, a connection ends with its answer. */
static int queue(struct exchange *exchange, unsigned status, struct MHD_Response *response) {
    const struct server *server = exchange->client->server;
    if (response == NULL)
        return MHD_NO;
    if (atomic_load(&server->is_draining) || !has_clear_next(exchange, status))
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    const enum MHD_Result result = MHD_queue_response(exchange->connection, status, response);
    MHD_destroy_response(response);
    if (result == MHD_NO)
        return MHD_NO;
    exchange->has_answered = true;
    exchange->sent_status = status;
    client_enters(exchange->client, CLIENT_READS);
    return MHD_YES;
}

int answer_text(struct exchange *exchange, unsigned status, const char *text) {
    const size_t count = strlen(text);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(count, (void *)text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                  "text/plain; charset=utf-8");
    if (status == 503)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, RETRY_AFTER_SECONDS);
    if (status == 405)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW,
                                      "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    exchange->sent_bytes = strcmp(exchange->request.method, "HEAD") != 0 ? count : 0;
    return queue(exchange, status, response);
}

/* Nothing of why: that is in the log. */
int answer_status(struct exchange *exchange, unsigned status) {
    char text[96];
    snprintf(text, sizeof text, "%u %s\n", status, status_text(status));
    return answer_text(exchange, status, text);
}

static unsigned status_of(enum exchange_end end) {
    switch (end) {
    case END_DEADLINE: return 504;
    case END_MALFORMED:
    case END_TOO_LARGE: return 502;
    case END_STOPPED:
    case END_NO_WORKER: return 503;
    case END_NOT_YET:
    case END_GOOD:
    case END_LEFT:
    case END_TRAPPED:
    case END_FAILED: break;
    }
    return 500;
}

/* ---- The guest's answer, piece by piece ---- */

/* The rest of an answer that the guest did not end well must not look whole. */
static ssize_t end_of_body(const struct exchange *exchange) {
    if (exchange->end == END_GOOD)
        return MHD_CONTENT_READER_END_OF_STREAM;
    client_reset(exchange->client, exchange);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static ssize_t read_answer(void *user, uint64_t at, char *to, size_t count) {
    struct exchange *exchange = user;
    ssize_t got = 0;
    (void)at;
    pthread_mutex_lock(&exchange->lock);
    const bool is_good = exchange->end == END_NOT_YET || exchange->end == END_GOOD;
    if (exchange->out.count != 0 && is_good) {
        got = (ssize_t)bytes_take(&exchange->out, to, count);
        exchange->sent_bytes += (uint64_t)got;
        if (exchange->end == END_NOT_YET)
            pthread_cond_signal(&exchange->changed);
    } else if (exchange->end != END_NOT_YET) {
        got = end_of_body(exchange);
    } else if (exchange->connection != NULL) {
        exchange->is_suspended = true;
        MHD_suspend_connection(exchange->connection);
    }
    pthread_mutex_unlock(&exchange->lock);
    if (got > 0)
        client_moves(exchange->client, (uint64_t)got);
    return got;
}

static void drop_share(void *user) {
    exchange_unref(user);
}

static bool is_bodiless(unsigned status) {
    return status == 204 || status == 205 || status == 304;
}

static bool has_no_body(const struct exchange *exchange) {
    return is_bodiless(exchange->head.status) || strcmp(exchange->request.method, "HEAD") == 0;
}

/* What is to be sent, as it was at one moment: MHD has locks of its own, and none of those of
 * answers is taken while the exchange's is held. */
struct plan {
    enum exchange_end end;
    uint64_t length; /* MHD sends no body where there is none, whatever this says */
    bool is_small;   /* all of it is in `out`, which does not change any more */
};

static struct plan make_plan(struct exchange *exchange) {
    pthread_mutex_lock(&exchange->lock);
    struct plan plan = {.end = exchange->end, .length = exchange->head.content_length};
    const bool has_ended = exchange->end != END_NOT_YET;
    if (has_ended && plan.length == CGI_NO_LENGTH)
        plan.length = exchange->is_discarded ? exchange->written_bytes : exchange->out.count;
    else if (plan.length == CGI_NO_LENGTH)
        plan.length = MHD_SIZE_UNKNOWN;
    if (has_no_body(exchange)) { /* nobody takes it */
        exchange->is_discarded = true;
        bytes_drop(&exchange->out, exchange->out.count);
        pthread_cond_signal(&exchange->changed);
    }
    plan.is_small = has_ended && !exchange->is_discarded &&
                    exchange->out.count <= CLIENT_PROGRESS_BYTES &&
                    exchange->out.count == plan.length;
    pthread_mutex_unlock(&exchange->lock);
    return plan;
}

/* Of 304, it is the length of the body that the client has (RFC 9110, section 8.6). */
static bool is_length_said(const struct cgi_head *head) {
    return !is_bodiless(head->status) ||
           (head->status == 304 && head->content_length != CGI_NO_LENGTH);
}

static struct MHD_Response *make_response(struct exchange *exchange, const struct plan *plan) {
    if (!is_length_said(&exchange->head))
        return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (plan->is_small) { /* the exchange outlives the request */
        exchange->sent_bytes = exchange->out.count;
        return MHD_create_response_from_buffer(
            exchange->out.count, (void *)bytes_front(&exchange->out), MHD_RESPMEM_PERSISTENT);
    }
    struct MHD_Response *response = MHD_create_response_from_callback(
        plan->length, EXCHANGE_PIECE_BYTES, read_answer, exchange, drop_share);
    if (response == NULL)
        return NULL;
    (void)exchange_ref(exchange);
    /* libmicrohttpd would end a body in chunks that HEAD does not have */
    if (plan->length == MHD_SIZE_UNKNOWN && has_no_body(exchange))
        (void)MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    return response;
}

int answer_exchange(struct exchange *exchange) {
    const struct cgi_head *head = &exchange->head;
    const struct plan plan = make_plan(exchange);
    if (plan.end == END_LEFT)
        return MHD_NO;
    if (plan.end != END_NOT_YET && plan.end != END_GOOD)
        return answer_status(exchange, status_of(plan.end));
    struct MHD_Response *response = make_response(exchange, &plan);
    if (response == NULL)
        return MHD_NO;
    for (size_t i = 0; i < head->headers_count; i++) {
        const char *name = head->headers[i].name, *value = head->headers[i].value;
        /* libmicrohttpd takes no empty value; a blank is none to the client */
        if (MHD_add_response_header(response, name, value[0] != '\0' ? value : " ") == MHD_NO)
            log_say("%s: %s: a header of the answer is left out: %s", exchange->route->path,
                    exchange->request.target, name);
    }
    return queue(exchange, head->status, response);
}
