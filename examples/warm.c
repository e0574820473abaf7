/*
 * warm.c: a program that stands in the middle answers many requests, from the same place each time.
 * Its start-up, its imports and what it compiled are done once, when the snapshot is taken:
 *
 *   husk snapshot python.wasm --until stdin -o warm.husk -- -c 'import json, sys; exec(…)'
 *   warm warm.husk [TIMES [FUNCTION]] <request
 *
 * A request: restore the sandbox to the snapshot, give it the request as standard input, let it go
 * on. Its answer is what it writes to standard output. It is printed once, and must be the same
 * each time. To standard error go the median time, and those that the fastest and the slowest tenth
 * reach. With FUNCTION, the snapshot is one between two calls,
 * and a request is a call of that function.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "example.h"

#define REQUEST_BYTES_MAX (1u << 20)
#define TIMES_MAX 1000000u
#define REQUEST_NS_MAX UINT64_C(60000000000)

struct warm {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image;
    husk_sandbox *sandbox;
    const char *function; /* NULL: the call in the snapshot goes on */
    char *request, *answer;
    size_t request_bytes, answer_bytes;
    uint64_t times, *ns;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- One request ---- */

static int give_streams(const struct warm *warm, struct husk_error *err) {
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request parts = HUSK_WASI_REQUEST_INIT;
    in.kind = HUSK_WASI_BYTES;
    in.bytes = warm->request;
    in.bytes_count = warm->request_bytes;
    out.kind = HUSK_WASI_BUFFER;
    parts.stdin_stream = &in;
    parts.stdout_stream = &out;
    parts.stderr_stream = &out;
    return husk_sandbox_set_wasi(warm->sandbox, &parts, err);
}

/* The function that wanted the request is called again, and now gets it. */
static int go_on(const struct warm *warm, struct husk_outcome *outcome, struct husk_error *err) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    limits.wall_ns = REQUEST_NS_MAX;
    answer.is_again = true;
    answer.limits = call.limits = &limits;
    call.name = warm->function;
    return warm->function != NULL ? husk_call(warm->sandbox, &call, outcome, err)
                                  : husk_call_resume(warm->sandbox, &answer, outcome, err);
}

static int serve(const struct warm *warm, uint64_t *ret_ns, struct husk_error *err) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    const uint64_t begin_ns = now_ns();
    int status = husk_sandbox_restore(warm->sandbox, warm->image, err);
    if (status == 0)
        status = give_streams(warm, err);
    if (status == 0)
        status = go_on(warm, &outcome, err);
    *ret_ns = now_ns() - begin_ns;
    if (status == 0 && outcome.kind != HUSK_RETURNED &&
        !(outcome.kind == HUSK_EXITED && outcome.exit_code == 0))
        status = example_fail(err, "the program failed: ", outcome.message);
    return status;
}

static int take_answer(struct warm *warm, struct husk_error *err) {
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    int status = husk_sandbox_wasi_output(warm->sandbox, 1, &output, err);
    if (status != 0)
        return status;
    const char *bytes = output.count > 0 ? output.bytes : "";
    if (warm->answer == NULL) {
        warm->answer = malloc(output.count + 1);
        warm->answer_bytes = output.count;
        if (warm->answer == NULL)
            return example_fail(err, "out of memory", "");
        memcpy(warm->answer, bytes, output.count);
    }
    if (output.count == warm->answer_bytes && memcmp(bytes, warm->answer, output.count) == 0)
        return 0;
    return example_fail(err, "a later answer is not the first one", "");
}

/* ---- All of them ---- */

static int serve_all(struct warm *warm, struct husk_error *err) {
    int status = husk_imports_new(warm->engine, &warm->imports, err);
    if (status == 0)
        status = husk_imports_wasi(warm->imports, NULL, err);
    if (status == 0)
        status = husk_sandbox_new(warm->image, warm->imports, NULL, &warm->sandbox, err);
    for (uint64_t i = 0; i < warm->times && status == 0; i++) {
        status = serve(warm, &warm->ns[i], err);
        if (status == 0)
            status = take_answer(warm, err);
    }
    return status;
}

static int compare(const void *a, const void *b) {
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void report(struct warm *warm) {
    struct husk_stats stats = HUSK_STATS_INIT;
    fwrite(warm->answer, 1, warm->answer_bytes, stdout);
    qsort(warm->ns, warm->times, sizeof *warm->ns, compare);
    const uint64_t tenth = warm->times / 10;
    fprintf(stderr, "%" PRIu64 " requests: median %.1f us, tenths %.1f and %.1f us", warm->times,
            (double)warm->ns[warm->times / 2] / 1e3, (double)warm->ns[tenth] / 1e3,
            (double)warm->ns[warm->times - 1 - tenth] / 1e3);
    if (husk_engine_stats(warm->engine, &stats) == 0)
        fprintf(stderr, ", %.2f host calls each", (double)stats.host_calls / (double)warm->times);
    fputc('\n', stderr);
}

static int run(struct warm *warm, const char *path) {
    struct husk_error err;
    if (husk_engine_new(NULL, &warm->engine, &err) != 0) {
        fprintf(stderr, "warm: %s\n", err.message);
        return 1;
    }
    warm->image = example_load(warm->engine, path);
    int status = warm->image != NULL ? serve_all(warm, &err) : 0;
    if (status != 0)
        fprintf(stderr, "warm: %s\n", err.message);
    else if (warm->image != NULL)
        report(warm);
    husk_sandbox_free(warm->sandbox);
    const bool is_good = warm->image != NULL && status == 0;
    husk_image_unref(warm->image);
    husk_imports_free(warm->imports);
    husk_engine_unref(warm->engine);
    return is_good ? 0 : 1;
}

int main(int argc, char **argv) {
    struct warm warm = {.times = 1, .function = argc == 4 ? argv[3] : NULL};
    if (argc > 2)
        warm.times = strtoull(argv[2], NULL, 10);
    if (argc < 2 || argc > 4 || warm.times == 0 || warm.times > TIMES_MAX) {
        fprintf(stderr, "usage: warm SNAPSHOT.husk [TIMES [FUNCTION]] <request\n");
        return 2;
    }
    warm.ns = calloc(warm.times, sizeof *warm.ns);
    warm.request = malloc(REQUEST_BYTES_MAX);
    int code = 1;
    if (warm.ns != NULL && warm.request != NULL) {
        warm.request_bytes = fread(warm.request, 1, REQUEST_BYTES_MAX, stdin);
        code = run(&warm, argv[1]);
    }
    free(warm.ns);
    free(warm.request);
    free(warm.answer);
    return code;
}
