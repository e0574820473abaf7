/*
 * serve/http_exchange.h: one request and its answer. Two threads meet here: that of the connection
 * (http_front.c) and the worker with the guest (route_pool.c).
 *
 *   connection:  request, route → queue it → body into `in` … wait … head, bytes of `out` → client
 *   worker:                       take it  → guest reads `in`, writes `out` → how it ended
 *
 * What the request said is set before it is queued, and then only read. Everything below the lock
 * is under it. Each side has a share; whoever drops the last one frees it. A connection that waits
 * is suspended: whoever has news resumes it.
 */
#ifndef SERVE_HTTP_EXCHANGE_H
#define SERVE_HTTP_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "byte_queue.h"
#include "cgi_head.h"
#include "husk.h"

struct route;
struct client;
struct MHD_Connection;

#define EXCHANGE_NO_LENGTH UINT64_MAX

/* What the client sent: strings of one block. */
struct request {
    char *block;
    const char *method, *version;
    const char *target; /* as it was sent, from the path on */
    char *path;         /* of the target, decoded */
    const char *query;  /* without '?'; "" if there is none */
    struct header *headers;
    size_t headers_count;
    uint64_t content_length; /* EXCHANGE_NO_LENGTH: in chunks, and not whole yet */
    bool is_chunked;
    /* the rest of the path behind the route's; points into `path` */
    const char *path_info;
};

/* How the guest's part ended. */
enum exchange_end {
    END_NOT_YET,
    END_GOOD,
    END_TRAPPED,   /* trapped, threw, broke its VM's rules, or exited without an answer */
    END_DEADLINE,  /* out of time */
    END_MALFORMED, /* its answer is not one by CGI's rules */
    END_TOO_LARGE, /* its answer is larger than allowed */
    END_LEFT,      /* the client left; nobody wants the answer */
    END_STOPPED,   /* the server ends */
    END_NO_WORKER, /* none was free in time */
    END_FAILED     /* the server's own fault */
};

struct exchange {
    struct request request;
    struct route *route;   /* which is used until the exchange is freed */
    struct client *client; /* NULL: none. Of the connection's thread alone */
    char remote[64];       /* its address */
    char server_name[256];
    uint16_t server_port;
    uint64_t begin_ns;  /* its first line had come */
    uint64_t queued_ns; /* it was given to the route; from here on its time counts */
    uint64_t max_body_bytes, max_response_bytes;
    struct exchange *next; /* in the route's queue */
    atomic_uint shares;

    /* of the connection's thread alone */
    uint64_t body_bytes, sent_bytes;
    uint64_t held_bytes;   /* of the server's budget for bodies */
    unsigned sent_status;  /* 0: nothing was sent */
    atomic_bool is_queued; /* it was given to the route */
    bool is_refused;       /* by refused_status, once its body is read */
    unsigned refused_status;
    bool has_answered;
    bool has_head_taken; /* the request's head was looked at */
    char *sent_target;   /* as it was sent, until then and after */
    /* as they were when the request ended: a guest whose client has left may end later */
    enum exchange_end end_for_log;
    uint64_t guest_ns_for_log;

    pthread_mutex_t lock;
    pthread_cond_t changed;            /* for the worker */
    struct MHD_Connection *connection; /* NULL: the client is gone */
    bool is_suspended;
    struct bytes in, out;
    bool has_whole_body, is_body_lost; /* all of it is in `in`; it will never come */
    atomic_bool wants_whole_body;      /* `in` has room for all of it */
    husk_sandbox *runs_in;             /* while the guest runs */
    uint64_t started_ns;               /* when a worker took it; 0: none has */
    bool is_cancelled;                 /* the guest is to end: */
    enum exchange_end cancel_reason;
    bool is_flush_wanted; /* the connection takes less than a piece, too */
    bool is_discarded;    /* the client gets no body (HEAD) */
    uint64_t written_ns;  /* when bytes came into `out` that are still there */
    size_t head_seen;     /* of cgi_head_find() */
    bool has_head;
    struct cgi_head head;
    uint64_t written_bytes; /* of the body, by the guest */
    enum exchange_end end;
    const char *malformed; /* why */
    uint64_t guest_ns;     /* what the guest took */
    uint64_t ended_ns;
};

/* NULL: no memory. The caller has the one share. */
struct exchange *exchange_new(void);
struct exchange *exchange_ref(struct exchange *exchange);
void exchange_unref(struct exchange *exchange);

/* ---- The worker's side ---- */

/* Room that the guest's input and output have here: more than that waits for the other side. */
#define EXCHANGE_IN_BYTES 131072u
#define EXCHANGE_OUT_BYTES 131072u
/* An answer is sent in pieces of so much while the guest still writes, or whatever there is once
 * some of it has waited for a while (watch.c). */
#define EXCHANGE_PIECE_BYTES 32768u

/* Read of the request's body: waits until there is some. 0: the end. Negative: HUSK_E_…, the
 * guest's call is to end. */
int64_t exchange_read(struct exchange *exchange, void *to, size_t count, uint64_t deadline_ns);
/* A piece of the answer, head or body. As above; otherwise all of it is taken. */
int64_t exchange_write(struct exchange *exchange, const void *from, size_t count,
                       uint64_t deadline_ns);
/* The same, however large it is, and without waiting. */
int64_t exchange_write_all(struct exchange *exchange, const void *from, size_t count);
/* The guest runs in this sandbox from now on; NULL: it does not any more. */
void exchange_run_in(struct exchange *exchange, husk_sandbox *sandbox);
bool exchange_is_cancelled(struct exchange *exchange);
/* The guest has ended. Exactly once for each exchange that was queued. */
void exchange_end(struct exchange *exchange, enum exchange_end end);
/* The whole body, waited for; false: it does not come. The worker may then look at `in`. */
bool exchange_await_body(struct exchange *exchange, uint64_t deadline_ns);

/* ---- The other side's ---- */

/* End it early, if it has not ended: a guest that runs is interrupted. Under the lock. */
void exchange_cancel_locked(struct exchange *exchange, enum exchange_end reason);
/* Wake the connection, if it waits. Under the lock. */
void exchange_resume_locked(struct exchange *exchange);
/* Is there an answer, or some of it, to be sent now? Under the lock. */
bool exchange_can_answer_locked(const struct exchange *exchange);

#endif
