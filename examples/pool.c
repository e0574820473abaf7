/*
 * pool.c: a worker pool: a guest answers every request (a line), and always starts from the same
 * clean state, which was initialised once. Each worker has one sandbox and restores it between
 * requests. A restore costs as much as the pages that the request wrote.
 *
 *   pool plugin.wasm FUNCTION [THREADS [SOCKET]] <requests      (guests/plugin.c)
 *   pool program.wasm _start [THREADS [SOCKET]] <requests       (any WASI program)
 *
 * A function takes the request's bytes and returns the answer's. A program (_start) has the request
 * on standard input, and its standard output is the answer. Either way, each request has its own
 * standard streams. What the guest writes to standard error, the pool prints if the request fails.
 *
 * Instead of a module, it takes an image (husk compile) or a snapshot (husk snapshot), which is
 * initialised already. Answers go to standard output in the order of the requests. With SOCKET (a
 * path, which the pool creates and removes, or 127.0.0.1:PORT), clients connect and send requests,
 * and their answers go back to them. Each worker serves one connection at a time. A request that
 * takes too long is ended, and the next one still finds a clean guest. The end of the input, SIGINT
 * or SIGTERM ends the pool: it finishes the current requests and prints latencies on standard
 * error.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "example.h"
#include "lines.h"

#define THREADS_MAX 64
#define LATENCIES_MAX 1000000 /* the last ones */
#define REQUEST_NS_MAX 100000000u
#define SILENCE_MS_MAX 30000        /* of a client, that a worker waits for */
#define STREAM_BYTES_MAX (1u << 20) /* of what one request writes to one stream */

struct pool {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *ready; /* the guest after its initialisation */
    const char *function;
    bool is_program;            /* the function is _start */
    int listener;               /* -1: requests are lines of standard input */
    pthread_mutex_t input_lock; /* of the next two */
    struct lines input;
    uint64_t next_request;
    pthread_mutex_t lock; /* of all below */
    int output_errno;     /* why an answer could not be written; 0: they could */
    pthread_cond_t answered;
    uint64_t next_answer;
    uint32_t *latencies_ns;
    uint64_t requests_count, failures_count, latencies_count;
};

struct worker {
    struct pool *pool;
    husk_sandbox *sandbox;
    pthread_t thread;
};

struct answer {
    char *text; /* malloc()ed; NULL: no memory */
    size_t count;
};

/* ---- One request ---- */

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct answer answer_error(const char *why) {
    char text[600];
    int count = snprintf(text, sizeof text, "error: %s", why);
    return (struct answer){strdup(text), count > 0 ? (size_t)count : 0};
}

/* took_ns 0: it never came to a guest. */
static void count_request(struct pool *pool, uint64_t took_ns, bool is_good) {
    pthread_mutex_lock(&pool->lock);
    if (took_ns > 0)
        pool->latencies_ns[pool->latencies_count++ % LATENCIES_MAX] =
            (uint32_t)(took_ns < UINT32_MAX ? took_ns : UINT32_MAX);
    pool->requests_count++;
    pool->failures_count += !is_good;
    pthread_mutex_unlock(&pool->lock);
}

/* Standard input is the request; output and error are collected. */
static int give_streams(struct worker *worker, const char *request, size_t count,
                        struct husk_error *err) {
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request parts = HUSK_WASI_REQUEST_INIT;
    in.kind = HUSK_WASI_BYTES;
    in.bytes = request;
    in.bytes_count = count;
    out.kind = HUSK_WASI_BUFFER;
    out.limit_bytes = STREAM_BYTES_MAX;
    parts.stdin_stream = &in;
    parts.stdout_stream = &out;
    parts.stderr_stream = &out;
    int status = husk_sandbox_set_wasi(worker->sandbox, &parts, err);
    return status == HUSK_E_NOT_FOUND ? 0 : status; /* a guest without WASI */
}

static struct husk_wasi_output output_of(const struct worker *worker, uint32_t stream) {
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    (void)husk_sandbox_wasi_output(worker->sandbox, stream, &output, NULL);
    return output;
}

/* A program's answer. */
static int call_program(struct worker *worker, struct husk_call *call, struct husk_outcome *outcome,
                        struct answer *answer, struct husk_error *err) {
    int status = husk_call(worker->sandbox, call, outcome, err);
    const struct husk_wasi_output output = output_of(worker, 1);
    if (status != 0)
        return status;
    answer->count = output.count;
    answer->text = malloc(output.count + 1);
    if (answer->text != NULL && output.count > 0)
        memcpy(answer->text, output.bytes, output.count);
    if (output.count > 0 && output.bytes[output.count - 1] == '\n')
        answer->count--;
    if (outcome->kind == HUSK_EXITED && outcome->exit_code == 0)
        outcome->kind = HUSK_RETURNED;
    else if (outcome->kind == HUSK_EXITED)
        snprintf(outcome->message, sizeof outcome->message, "exit code %d", outcome->exit_code);
    return 0;
}

static int call_function(struct worker *worker, struct husk_call *call, struct husk_bytes *bytes,
                         struct husk_outcome *outcome, struct answer *answer,
                         struct husk_error *err) {
    int status = husk_call_bytes(worker->sandbox, call, bytes, outcome, err);
    answer->text = bytes->output;
    answer->count = bytes->output_count;
    return status;
}

static void print_error(const struct worker *worker) {
    const struct husk_wasi_output output = output_of(worker, 2);
    if (output.count > 0)
        fwrite(output.bytes, 1, output.count, stderr);
}

/* In a clean state: what the guest says, or why it says nothing. */
static struct answer serve(struct worker *worker, const char *request, size_t count) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    struct answer answer = {0};
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    limits.wall_ns = REQUEST_NS_MAX;
    call.name = worker->pool->function;
    call.limits = &limits;
    bytes.input = request;
    bytes.input_count = count;
    bytes.keeps = true; /* the next restore takes it all back */
    uint64_t start_ns = now_ns();
    int status = husk_sandbox_restore(worker->sandbox, worker->pool->ready, &err); /* heals, too */
    if (status == 0)
        status = give_streams(worker, request, count, &err);
    if (status == 0)
        status = worker->pool->is_program
                     ? call_program(worker, &call, &outcome, &answer, &err)
                     : call_function(worker, &call, &bytes, &outcome, &answer, &err);
    uint64_t took_ns = now_ns() - start_ns;
    bool is_good = status == 0 && outcome.kind == HUSK_RETURNED;
    count_request(worker->pool, took_ns, is_good);
    if (!is_good) {
        print_error(worker);
        free(answer.text);
        return answer_error(status != 0 ? err.message : outcome.message);
    }
    for (size_t i = 0; i < answer.count; i++) /* one line, or the guest could answer for others */
        if (answer.text[i] == '\n')
            answer.text[i] = ' ';
    return answer;
}

static struct answer answer_line(struct worker *worker, enum line_kind kind, const char *line,
                                 size_t count) {
    if (kind == LINE_READ)
        return serve(worker, line, count);
    count_request(worker->pool, 0, false);
    return answer_error(kind == LINE_TOO_LONG ? "the request is too long" : "out of memory");
}

/* ---- Standard input: whoever has the lock takes the next line; answers wait for their turn
 * ---- */

static void put_answer(struct pool *pool, uint64_t number, const struct answer *answer) {
    pthread_mutex_lock(&pool->lock);
    while (pool->next_answer != number)
        pthread_cond_wait(&pool->answered, &pool->lock);
    const char *text = answer->text != NULL ? answer->text : "error: out of memory";
    size_t count = answer->text != NULL ? answer->count : strlen(text);
    if (fwrite(text, 1, count, stdout) != count || putchar('\n') == EOF || fflush(stdout) != 0) {
        pool->output_errno = pool->output_errno != 0 ? pool->output_errno : errno;
        stop_serving();
    }
    pool->next_answer++;
    pthread_cond_broadcast(&pool->answered);
    pthread_mutex_unlock(&pool->lock);
}

static void serve_input(struct worker *worker) {
    struct pool *pool = worker->pool;
    for (;;) {
        char *line = NULL;
        size_t count = 0;
        pthread_mutex_lock(&pool->input_lock);
        enum line_kind kind = is_stopping() ? LINE_END : lines_next(&pool->input, &line, &count);
        uint64_t number = kind == LINE_END ? 0 : pool->next_request++;
        pthread_mutex_unlock(&pool->input_lock);
        if (kind == LINE_END)
            return;
        struct answer answer = answer_line(worker, kind, line, count);
        put_answer(pool, number, &answer);
        free(answer.text);
        free(line);
    }
}

/* ---- Sockets ---- */

static void serve_client(struct worker *worker, int fd) {
    struct lines lines;
    bool is_there = lines_init(&lines, fd);
    lines.timeout_ms = SILENCE_MS_MAX;
    lines.needs_newline = true;
    while (is_there && !is_stopping()) {
        char *line = NULL;
        size_t count = 0;
        enum line_kind kind = lines_next(&lines, &line, &count);
        if (kind == LINE_END)
            break;
        struct answer answer = answer_line(worker, kind, line, count);
        is_there = answer.text != NULL && lines_send(fd, answer.text, answer.count) &&
                   lines_send(fd, "\n", 1);
        free(answer.text);
        free(line);
    }
    lines_done(&lines);
}

static void serve_socket(struct worker *worker) {
    struct pollfd polls[2] = {{.fd = stop_fd(), .events = POLLIN},
                              {.fd = worker->pool->listener, .events = POLLIN}};
    while (poll(polls, 2, -1) > 0 || errno == EINTR) {
        if (polls[0].revents != 0)
            return;
        int fd = accept(worker->pool->listener, NULL, NULL);
        if (fd >= 0) {
            serve_client(worker, fd);
            close(fd);
        } else if (errno != EAGAIN) {
            /* another worker was faster; or, say, no descriptors: not in a busy loop */
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
    }
}

static void *work(void *argument) {
    struct worker *worker = argument;
    if (worker->pool->listener < 0)
        serve_input(worker);
    else
        serve_socket(worker);
    return NULL;
}

/* ---- All of it ---- */

static int compare(const void *a, const void *b) {
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
    return first < second ? -1 : first > second;
}

static void print_latencies(const struct pool *pool) {
    static const double percents[] = {50, 90, 99, 99.9, 100};
    size_t count =
        pool->latencies_count < LATENCIES_MAX ? (size_t)pool->latencies_count : LATENCIES_MAX;
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(pool->engine, &stats);
    fprintf(stderr,
            "%" PRIu64 " requests, %" PRIu64 " failed, %" PRIu64
            " cut off; %.1f pages restored each; ",
            pool->requests_count, pool->failures_count, stats.poisonings_deadline,
            pool->latencies_count != 0 ? (double)stats.restore_pages_copied / (double)stats.restores
                                       : 0.0);
    fputs(count != 0 ? "restore and call:" : "no latencies\n", stderr);
    qsort(pool->latencies_ns, count, sizeof *pool->latencies_ns, compare);
    for (size_t i = 0; count > 0 && i < sizeof percents / sizeof percents[0]; i++) {
        /* so many are not slower */
        size_t rank = (size_t)((double)count * percents[i] / 100.0 + 0.999999);
        fprintf(stderr, " %g%% %.1f us%s", percents[i], pool->latencies_ns[rank - 1] / 1e3,
                percents[i] < 100 ? "," : "\n");
    }
}

static int fail(struct husk_error *err, int status, const char *what, const char *why) {
    snprintf(err->message, sizeof err->message, "%s%s", what, why);
    return status;
}

static int is_type(const struct husk_functype *type, husk_type first_result, size_t results_count) {
    for (size_t i = 0; i < type->params_count; i++)
        if (type->params[i] != HUSK_I32)
            return 0;
    return type->params_count == 2 && type->results_count == results_count &&
           type->results[0] == first_result && type->results[results_count - 1] == first_result;
}

/* Said once, and not in answer to every request. */
static int check_function(struct pool *pool, const husk_image *image, struct husk_error *err) {
    struct husk_functype type;
    husk_func func;
    if (husk_image_func(image, pool->function, 0, &func, NULL) != 0 ||
        husk_image_func_type(image, func, &type, NULL) != 0)
        return fail(err, HUSK_E_NOT_FOUND, "the module exports no function ", pool->function);
    pool->is_program = strcmp(pool->function, "_start") == 0;
    if (pool->is_program && type.params_count == 0 && type.results_count == 0)
        return 0;
    if (is_type(&type, HUSK_I64, 1) != 0 || is_type(&type, HUSK_I32, 1) != 0 ||
        is_type(&type, HUSK_I32, 2) != 0)
        return 0;
    return fail(err, HUSK_E_TYPE, pool->function,
                " is no function from bytes to bytes, (i32, i32) -> i64, i32 or (i32, i32): see "
                "husk_call_bytes()");
}

/* What no request pays for: initialised once, by the start function or, as WASI's toolchains make
 * libraries, by _initialize(). */
static int initialise(struct pool *pool, husk_image *image, husk_sandbox *sandbox,
                      struct husk_error *err) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    bool has_initialize = husk_image_func(image, "_initialize", 0, &call.func, NULL) == 0;
    int status = has_initialize ? husk_call(sandbox, &call, &outcome, err)
                                : husk_sandbox_start(sandbox, NULL, &outcome, err);
    if (status == 0 && outcome.kind != HUSK_RETURNED)
        return fail(err, HUSK_E_STATE, "initialising the module: ", outcome.message);
    return status != 0 ? status : husk_sandbox_snapshot(sandbox, &pool->ready, err);
}

static int make_snapshot(struct pool *pool, husk_image *image, struct husk_error *err) {
    husk_sandbox *sandbox = NULL;
    if (husk_image_is_snapshot(image)) { /* initialised before it was taken */
        pool->ready = husk_image_ref(image);
        return 0;
    }
    int status = husk_sandbox_new(image, pool->imports, NULL, &sandbox, err);
    if (status == 0)
        status = initialise(pool, image, sandbox, err);
    husk_sandbox_free(sandbox);
    return status;
}

static int make_ready(struct pool *pool, const char *path, struct husk_error *err) {
    int status = husk_engine_new(NULL, &pool->engine, err);
    if (status == 0)
        status = husk_imports_new(pool->engine, &pool->imports, err);
    if (status == 0)
        status = husk_imports_wasi(pool->imports, NULL, err);
    if (status != 0)
        return status;
    husk_image *image = example_load(pool->engine, path);
    if (image == NULL)
        return fail(err, HUSK_E_INVAL, "there is nothing to serve with", "");
    status = check_function(pool, image, err);
    if (status == 0)
        status = make_snapshot(pool, image, err);
    husk_image_unref(image);
    return status;
}

static int run(struct pool *pool, size_t threads_count, struct husk_error *err) {
    struct worker workers[THREADS_MAX] = {0};
    size_t started = 0;
    int status = 0;
    for (size_t i = 0; i < threads_count && status == 0; i++) {
        workers[i].pool = pool;
        status = husk_sandbox_new(pool->ready, pool->imports, NULL, &workers[i].sandbox, err);
    }
    while (status == 0 && started < threads_count &&
           pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0)
        started++;
    if (status == 0 && started == 0)
        status = fail(err, HUSK_E_SYS, "no thread can be started", "");
    for (size_t i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < threads_count; i++)
        husk_sandbox_free(workers[i].sandbox);
    return status;
}

/* A stream that is closed must not become the number of a file that is opened here. What takes the
 * place cannot be read or written. */
static void reserve_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv) {
    struct pool pool = {.listener = -1,
                        .input_lock = PTHREAD_MUTEX_INITIALIZER,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .answered = PTHREAD_COND_INITIALIZER};
    struct husk_error err;
    char *end = "";
    const char *place = argc > 4 ? argv[4] : NULL;
    long threads_count = argc > 3 ? strtol(argv[3], &end, 10) : 2;
    if (argc < 3 || argc > 5 || *end != '\0' || threads_count < 1 || threads_count > THREADS_MAX) {
        fprintf(stderr,
                "usage: pool plugin.wasm|.husk FUNCTION [THREADS [SOCKET]]   (1 to %d threads)\n",
                THREADS_MAX);
        return 2;
    }
    reserve_standard_streams();
    pool.function = argv[2];
    pool.latencies_ns = calloc(LATENCIES_MAX, sizeof *pool.latencies_ns);
    int status = pool.latencies_ns != NULL && stop_init() && lines_init(&pool.input, STDIN_FILENO)
                     ? make_ready(&pool, argv[1], &err)
                     : fail(&err, HUSK_E_NOMEM, "out of memory or descriptors", "");
    if (status == 0 && place != NULL && (pool.listener = listen_at(place)) < 0)
        status = fail(&err, HUSK_E_SYS, "there is nowhere to serve at", "");
    if (status == 0)
        status = run(&pool, (size_t)threads_count, &err);
    if (status != 0)
        fprintf(stderr, "pool: %s\n", err.message);
    else
        print_latencies(&pool);
    if (pool.output_errno != 0)
        fprintf(stderr, "pool: the answers cannot be written: %s\n", strerror(pool.output_errno));
    if (pool.listener >= 0) {
        if (listens_at_path(place))
            unlink(place);
        close(pool.listener);
    }
    husk_image_unref(pool.ready);
    husk_imports_free(pool.imports);
    husk_engine_unref(pool.engine);
    lines_done(&pool.input);
    free(pool.latencies_ns);
    return status != 0 || pool.output_errno != 0 ? 1 : 0;
}
