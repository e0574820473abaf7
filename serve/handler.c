/*
 * serve/handler.c: one request in one sandbox, which is clean. It gives the guest its streams,
 * makes the call, and says how that ended. What differs between the kinds of guests is in a row of
 * `handlers`; a front for wasi:http would be one more.
 */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* ---- Streams: these run on the worker's thread, in the guest's call ---- */

static int64_t read_body(void *user, void *to, size_t count) {
    struct worker *worker = user;
    return exchange_read(worker->exchange, to, count, worker->deadline_ns);
}

static int64_t write_answer(void *user, const void *from, size_t count) {
    struct worker *worker = user;
    return exchange_write(worker->exchange, from, count, worker->deadline_ns);
}

static struct husk_wasi_stream collected(void) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_BUFFER;
    stream.limit_bytes = HANDLER_STDERR_MAX_BYTES;
    return stream;
}

static struct husk_wasi_stream to_client(struct worker *worker) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_CALLBACK;
    stream.write = write_answer;
    stream.user = worker;
    return stream;
}

/* A module without WASI gets none. */
static int set_wasi(struct worker *worker, const struct husk_wasi_request *request,
                    struct husk_error *err) {
    const int status = husk_sandbox_set_wasi(worker->sandbox, request, err);
    return status == HUSK_E_NOT_FOUND ? 0 : status;
}

/* ---- Kinds ---- */

/* A body that came in chunks, and is here: its length is known now. */
static void know_length(struct exchange *exchange) {
    pthread_mutex_lock(&exchange->lock);
    if (exchange->request.content_length == EXCHANGE_NO_LENGTH && exchange->has_whole_body)
        exchange->request.content_length = exchange->in.count;
    pthread_mutex_unlock(&exchange->lock);
}

static int run_cgi(struct worker *worker, const struct husk_limits *limits,
                   struct husk_outcome *outcome, struct husk_error *err) {
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = to_client(worker), log = collected();
    struct husk_wasi_request parts = HUSK_WASI_REQUEST_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    size_t env_count = 0;
    know_length(worker->exchange);
    const char **env = cgi_environment(worker->exchange, &env_count);
    if (env == NULL)
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    in.kind = HUSK_WASI_CALLBACK;
    in.read = read_body;
    in.user = worker;
    parts.stdin_stream = &in;
    parts.stdout_stream = &out;
    parts.stderr_stream = &log;
    parts.env = env;
    parts.env_count = env_count;
    int status = set_wasi(worker, &parts, err);
    free((void *)env);
    call.func = worker->generation->func;
    call.limits = limits;
    return status == 0 ? husk_call(worker->sandbox, &call, outcome, err) : status;
}

/* The whole request as text, with its body. HUSK_E_STATE: it will not be whole. */
static int whole_text(struct worker *worker, struct bytes *ret_text, struct husk_error *err) {
    struct exchange *exchange = worker->exchange;
    struct bytes text = {0};
    if (!exchange_await_body(exchange, worker->deadline_ns))
        return cli_error(err, HUSK_E_STATE, "the request's body did not come");
    if (!request_text(exchange, &text) ||
        !bytes_put(&text, bytes_front(&exchange->in), exchange->in.count)) {
        bytes_done(&text);
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    }
    *ret_text = text;
    return 0;
}

static int run_standing(struct worker *worker, const struct husk_limits *limits,
                        struct husk_outcome *outcome, struct husk_error *err) {
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = to_client(worker), log = collected();
    struct husk_wasi_request parts = HUSK_WASI_REQUEST_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct bytes text = {0};
    int status = whole_text(worker, &text, err);
    if (status != 0)
        return status;
    in.kind = HUSK_WASI_BYTES;
    in.bytes = bytes_front(&text);
    in.bytes_count = text.count;
    parts.stdin_stream = &in;
    parts.stdout_stream = &out;
    parts.stderr_stream = &log;
    status = set_wasi(worker, &parts, err);
    bytes_done(&text);
    answer.is_again = true;
    answer.limits = limits;
    return status == 0 ? husk_call_resume(worker->sandbox, &answer, outcome, err) : status;
}

/* What such a guest prints is for the log. */
static int run_bytes(struct worker *worker, const struct husk_limits *limits,
                     struct husk_outcome *outcome, struct husk_error *err) {
    struct husk_wasi_stream log = collected();
    struct husk_wasi_request parts = HUSK_WASI_REQUEST_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct bytes text = {0};
    int status = whole_text(worker, &text, err);
    if (status != 0)
        return status;
    parts.stdout_stream = parts.stderr_stream = &log;
    call.func = worker->generation->func;
    call.limits = limits;
    bytes.input = bytes_front(&text);
    bytes.input_count = text.count;
    bytes.keeps = !worker->route->is_reused;
    status = set_wasi(worker, &parts, err);
    if (status == 0)
        status = husk_call_bytes(worker->sandbox, &call, &bytes, outcome, err);
    bytes_done(&text);
    if (status == 0 && outcome->kind == HUSK_RETURNED)
        (void)exchange_write_all(worker->exchange, bytes.output, bytes.output_count);
    free(bytes.output);
    return status;
}

typedef int (*handler_fn)(struct worker *worker, const struct husk_limits *limits,
                          struct husk_outcome *outcome, struct husk_error *err);

static const handler_fn handlers[] = {
    [GUEST_CGI] = run_cgi, [GUEST_STANDING] = run_standing, [GUEST_BYTES] = run_bytes};

/* ---- How it ended ---- */

static void say_lines(const struct route *route, const char *what, const char *text, size_t count) {
    while (count > 0) {
        const char *end = memchr(text, '\n', count);
        const size_t bytes = end != NULL ? (size_t)(end - text) : count;
        if (bytes != 0)
            log_say("%s: %s%.*s", route->path, what, (int)bytes, text);
        text += bytes + (end != NULL);
        count -= bytes + (end != NULL);
    }
}

void handler_log_output(const struct route *route, husk_sandbox *sandbox, uint32_t stream) {
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    if (husk_sandbox_wasi_output(sandbox, stream, &output, NULL) == 0 && output.count != 0)
        say_lines(route, "guest: ", output.bytes, output.count);
    if (output.has_lost)
        log_say("%s: guest: … it wrote more", route->path);
}

void handler_log_outcome(const struct route *route, husk_sandbox *sandbox,
                         const struct husk_outcome *outcome, const char *what) {
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    char *text = NULL;
    size_t count = 0;
    if (outcome->kind == HUSK_EXITED) {
        log_say("%s: %s: the guest exited with code %d", route->path, what,
                (int)outcome->exit_code);
        return;
    }
    log_say("%s: %s: %s", route->path, what, outcome->message);
    FILE *lines = open_memstream(&text, &count);
    if (lines == NULL)
        return;
    if (husk_sandbox_backtrace(sandbox, &backtrace, NULL) == 0)
        backtrace_text(lines, &backtrace);
    if (fclose(lines) == 0)
        say_lines(route, "", text, count);
    free(text);
}

/* --timeout is over. Whoever had less than half of it, because no worker was free, may come again.
 */
static enum exchange_end out_of_time(const struct worker *worker) {
    const uint64_t had_ns = worker->deadline_ns - worker->exchange->started_ns;
    return had_ns >= worker->route->run.limits.wall_ns / 2 ? END_DEADLINE : END_NO_WORKER;
}

static enum exchange_end judge(struct worker *worker, const struct husk_outcome *outcome) {
    const struct exchange *exchange = worker->exchange;
    switch (outcome->kind) {
    case HUSK_RETURNED: return END_GOOD;
    case HUSK_EXITED:
        /* as other servers do: whoever gave an answer and then exited with a code meant both */
        return outcome->exit_code == 0 || exchange->has_head ? END_GOOD : END_TRAPPED;
    case HUSK_DEADLINE: return out_of_time(worker);
    case HUSK_INTERRUPTED: return END_STOPPED; /* or as it was cancelled */
    case HUSK_TRAPPED:
    case HUSK_GUEST_VIOLATION:
    case HUSK_THREW:
    case HUSK_PENDING: break;
    }
    return now_ns() >= worker->deadline_ns ? out_of_time(worker) : END_TRAPPED;
}

static void log_times(const struct worker *worker) {
    const struct exchange *exchange = worker->exchange;
    log_say("%s: %s: --timeout has passed: %llu ms before a worker was free, %llu ms behind that",
            worker->route->path, exchange->request.target,
            (unsigned long long)((exchange->started_ns - exchange->queued_ns) / 1000000),
            (unsigned long long)((now_ns() - exchange->started_ns) / 1000000));
}

static bool is_worth_a_line(struct exchange *exchange, const struct husk_outcome *outcome) {
    if (outcome->kind == HUSK_RETURNED || (outcome->kind == HUSK_EXITED && outcome->exit_code == 0))
        return false;
    return !exchange_is_cancelled(exchange) || outcome->kind == HUSK_GUEST_VIOLATION;
}

static enum exchange_end finish(struct worker *worker, int status,
                                const struct husk_outcome *outcome, const struct husk_error *err) {
    struct exchange *exchange = worker->exchange;
    const struct route *route = worker->route;
    handler_log_output(route, worker->sandbox, 2);
    if (status != 0 && !exchange_is_cancelled(exchange))
        log_say("%s: %s: %s", route->path, exchange->request.target, err->message);
    if (status != 0)
        return status == HUSK_E_GUEST   ? END_TRAPPED
               : status == HUSK_E_STATE ? END_LEFT
                                        : END_FAILED;
    const enum exchange_end end = judge(worker, outcome);
    if (is_worth_a_line(exchange, outcome)) {
        if (end == END_DEADLINE || end == END_NO_WORKER)
            log_times(worker);
        handler_log_outcome(route, worker->sandbox, outcome, exchange->request.target);
    }
    return end;
}

/* At least what a call needs to see that there is none. */
static uint64_t time_left(const struct worker *worker) {
    const uint64_t now = now_ns();
    return worker->deadline_ns > now ? worker->deadline_ns - now : 1;
}

void handler_run(struct worker *worker, struct exchange *exchange) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_limits limits = worker->route->run.limits;
    struct husk_error err;
    worker->exchange = exchange;
    worker->deadline_ns = exchange->queued_ns + limits.wall_ns;
    limits.wall_ns = time_left(worker);
    worker->is_clean = false;
    exchange_run_in(exchange, worker->sandbox);
    const int status = handlers[worker->generation->kind](worker, &limits, &outcome, &err);
    exchange_run_in(exchange, NULL);
    const enum exchange_end end = finish(worker, status, &outcome, &err);
    /* without a restore: only after a call that returned, and that nobody interrupted */
    worker->is_clean = worker->route->is_reused && status == 0 && end == END_GOOD &&
                       outcome.kind == HUSK_RETURNED && !exchange_is_cancelled(exchange);
    exchange_end(exchange, end);
    if (exchange->malformed != NULL && !worker->is_clean)
        log_say("%s: %s: the answer is not used: %s", worker->route->path, exchange->request.target,
                exchange->malformed);
    worker->exchange = NULL;
}
