/*
 * pool.c: a worker pool: every request (a line) is answered by a guest that starts from the same clean state, initialised once. Each
 * worker has one sandbox; between requests it is restored, which costs the pages that the request wrote.
 *
 *   pool plugin.wasm FUNCTION [THREADS [SOCKET]] <requests      (guests/plugin.c)
 *
 * Answers go to standard output in the order of the requests; with SOCKET (a path, created) requests come from whoever connects to
 * it, one connection per worker at a time, and answers go back there. At the end: latencies, on standard error.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "example.h"

#define THREADS_MAX 64
#define LATENCIES_MAX 1000000

struct pool {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *ready; /* the guest after its initialisation */
    const char *function;
    int listener;         /* -1: requests are lines of standard input */
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t answered;
    uint64_t next_request, next_answer;
    uint32_t *latencies_ns;
    size_t latencies_count;
    unsigned failures;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* One request in a clean state. The answer is malloc()ed: what the guest said, or why it said nothing. */
static char *serve(struct pool *pool, husk_sandbox *sandbox, const char *request, size_t bytes) {
    struct husk_call_options limits = HUSK_CALL_OPTIONS_INIT;
    struct husk_outcome outcome;
    struct husk_error err;
    void *result = NULL;
    size_t result_bytes = 0;
    limits.wall_ns = 100000000; /* 100 ms */
    uint64_t start = now_ns();
    int status = husk_sandbox_restore(sandbox, pool->ready, &err); /* heals one that was cut off, too */
    if (!status)
        status = husk_call_bytes(sandbox, pool->function, request, bytes, &result, &result_bytes, &limits,
                                 &outcome, &err);
    uint64_t took = now_ns() - start;
    bool is_good = !status && outcome.kind == HUSK_RETURNED;
    pthread_mutex_lock(&pool->lock);
    if (pool->latencies_count < LATENCIES_MAX)
        pool->latencies_ns[pool->latencies_count++] = (uint32_t)(took < UINT32_MAX ? took : UINT32_MAX);
    pool->failures += !is_good;
    pthread_mutex_unlock(&pool->lock);
    if (is_good)
        return result;
    free(result);
    char text[600];
    snprintf(text, sizeof(text), "error: %s", status ? err.message : outcome.message);
    return strdup(text);
}

static size_t line_bytes(const char *line, ssize_t count) {
    return (size_t)count - (count > 0 && line[count - 1] == '\n');
}

/* Standard input: whoever has the lock takes the next line; answers wait for their turn. */
static void serve_input(struct pool *pool, husk_sandbox *sandbox) {
    char *line = NULL;
    size_t room = 0;
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        ssize_t count = getline(&line, &room, stdin);
        uint64_t number = pool->next_request++;
        pthread_mutex_unlock(&pool->lock);
        if (count < 0)
            break;
        char *answer = serve(pool, sandbox, line, line_bytes(line, count));
        pthread_mutex_lock(&pool->lock);
        while (pool->next_answer != number)
            pthread_cond_wait(&pool->answered, &pool->lock);
        puts(answer ? answer : "error: out of memory");
        pool->next_answer++;
        pthread_cond_broadcast(&pool->answered);
        pthread_mutex_unlock(&pool->lock);
        free(answer);
    }
    free(line);
}

/* A line "quit" ends the pool. */
static void serve_socket(struct pool *pool, husk_sandbox *sandbox) {
    char *line = NULL;
    size_t room = 0;
    bool has_quit = false;
    while (!has_quit) {
        int fd = accept(pool->listener, NULL, NULL);
        FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");
        if (!stream)
            break;
        ssize_t count;
        while (!has_quit && (count = getline(&line, &room, stream)) >= 0) {
            has_quit = strcmp(line, "quit\n") == 0;
            char *answer = has_quit ? strdup("bye") : serve(pool, sandbox, line, line_bytes(line, count));
            dprintf(fd, "%s\n", answer ? answer : "error: out of memory");
            free(answer);
        }
        fclose(stream);
    }
    shutdown(pool->listener, SHUT_RDWR); /* wakes the other workers */
    free(line);
}

static void *worker(void *argument) {
    struct pool *pool = argument;
    struct husk_error err;
    husk_sandbox *sandbox = NULL;
    if (husk_sandbox_new(pool->engine, pool->ready, pool->imports, NULL, &sandbox, &err) != 0) {
        fprintf(stderr, "pool: %s\n", err.message);
        exit(1);
    }
    if (pool->listener < 0)
        serve_input(pool, sandbox);
    else
        serve_socket(pool, sandbox);
    husk_sandbox_free(sandbox);
    return NULL;
}

static int compare(const void *a, const void *b) {
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
    return first < second ? -1 : first > second;
}

static void print_latencies(const struct pool *pool) {
    static const double percents[] = {50, 90, 99, 99.9, 100};
    size_t count = pool->latencies_count;
    qsort(pool->latencies_ns, count, sizeof(*pool->latencies_ns), compare);
    fprintf(stderr, "%zu requests, %u failed; restore and call:", count, pool->failures);
    for (size_t i = 0; count > 0 && i < sizeof(percents) / sizeof(percents[0]); i++) {
        size_t at = (size_t)((double)(count - 1) * percents[i] / 100.0);
        fprintf(stderr, " %g%% %.1f us%s", percents[i], pool->latencies_ns[at] / 1e3, i < 4 ? "," : "\n");
    }
    if (count == 0)
        fputs(" none\n", stderr);
}

/* Load, initialise, snapshot: what no request pays for. */
static int make_ready(struct pool *pool, const char *path, struct husk_error *err) {
    husk_sandbox *sandbox = NULL;
    struct husk_outcome outcome = {.kind = HUSK_RETURNED};
    husk_image *image = example_load(pool->engine, path);
    if (!image) {
        snprintf(err->message, sizeof(err->message), "there is nothing to serve with");
        return HUSK_E_INVAL;
    }
    int status = husk_sandbox_new(pool->engine, image, pool->imports, NULL, &sandbox, err);
    if (!status)
        status = husk_call(sandbox, "_initialize", NULL, 0, NULL, 0, NULL, &outcome, err);
    if (!status)
        status = husk_sandbox_snapshot(sandbox, &pool->ready, err);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    return status;
}

static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    unlink(path);
    return bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 64) == 0 ? fd : -1;
}

int main(int argc, char **argv) {
    struct pool pool = {
        .listener = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
    pthread_t threads[THREADS_MAX];
    struct husk_error err;
    signal(SIGPIPE, SIG_IGN); /* a client that has gone */
    if (argc < 3 || argc > 5) {
        fprintf(stderr, "usage: pool plugin.wasm FUNCTION [THREADS [SOCKET]]\n");
        return 2;
    }
    long count = argc > 3 ? strtol(argv[3], NULL, 10) : 2;
    count = count < 1 ? 1 : count > THREADS_MAX ? THREADS_MAX : count;
    pool.function = argv[2];
    pool.latencies_ns = calloc(LATENCIES_MAX, sizeof(*pool.latencies_ns));
    int status = pool.latencies_ns ? husk_engine_new(NULL, &pool.engine, &err) : HUSK_E_NOMEM;
    if (!status)
        status = husk_imports_new(pool.engine, &pool.imports, &err);
    if (!status)
        status = husk_imports_wasi(pool.imports, NULL, &err);
    if (!status)
        status = make_ready(&pool, argv[1], &err);
    if (status) {
        fprintf(stderr, "pool: %s\n", status == HUSK_E_NOMEM ? "out of memory" : err.message);
    } else if (argc > 4 && (pool.listener = listen_at(argv[4])) < 0) {
        fprintf(stderr, "pool: cannot listen at %s\n", argv[4]);
        status = HUSK_E_SYS;
    }
    for (long i = 0; !status && i < count; i++)
        if (pthread_create(&threads[i], NULL, worker, &pool) != 0)
            count = i;
    for (long i = 0; !status && i < count; i++)
        pthread_join(threads[i], NULL);
    if (!status)
        print_latencies(&pool);
    if (pool.listener >= 0)
        close(pool.listener);
    husk_image_unref(pool.ready);
    husk_imports_free(pool.imports);
    husk_engine_free(pool.engine);
    free(pool.latencies_ns);
    return status ? 1 : 0;
}
