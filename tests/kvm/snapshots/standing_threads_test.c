/*
 * tests/kvm/snapshots/standing_threads_test.c: many threads serve requests from one snapshot that
 * holds a standing call, and from the file of it. Each has sandboxes of its own, which it restores,
 * loads, clones, parks, frees and makes anew, and of which it takes snapshots. Every request gets
 * its own answer.
 */
#include <pthread.h>
#include <stdlib.h>

#include "harness.h"
#include "literals.h"
#include "wat.h"

enum { THREADS = 6, REQUESTS = 60 };

/* run: asks with 5 below ten frames, each of which adds its depth; then asks with what came. */
static const char guest[] =
    "(module (import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
    " (memory (export \"memory\") 4)"
    " (func $deep (param i32) (result i32)"
    "  (if (i32.eqz (local.get 0)) (then (return (call $ask (i32.const 5)))))"
    "  (i32.store (i32.mul (local.get 0) (i32.const 4096)) (local.get 0))"
    "  (i32.add (local.get 0) (call $deep (i32.sub (local.get 0) (i32.const 1)))))"
    " (func (export \"run\") (result i32) (local $sum i32)"
    "  (local.set $sum (call $deep (i32.const 10)))"
    "  (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (local.get $sum)))"
    "  (i32.add (i32.load (i32.const 4096)) (call $ask (local.get $sum)))))";

/* The sandbox's request is its user pointer; without one the call waits. */
static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    const int32_t *request = husk_sandbox_user(husk_caller_sandbox(caller));
    (void)user;
    if (request == NULL)
        return husk_caller_pending(caller);
    results[0].of.i32 = args[0].of.i32 + *request;
    return 0;
}

/* ask(5) and the depths 1 to 10; 1 was stored at 4096; ask() of the sum. */
static int32_t answer_to(int32_t request) {
    const int32_t sum = 5 + request + 55;
    return 1 + sum + sum + request;
}

struct shared {
    struct wat_lab wat;
    husk_image *images[2]; /* in memory, and the file */
};

struct server {
    struct shared *shared;
    uint32_t number;
    int32_t request;
    husk_sandbox *sandbox;
    husk_image *own; /* a snapshot that it took itself */
    struct husk_error err;
};

static void goes_on(struct server *server, husk_sandbox *sandbox, int32_t request) {
    struct husk_value result = value_i32(0);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.is_again = true;
    answer.results = &result;
    answer.results_count = 1;
    server->request = request;
    husk_sandbox_set_user(sandbox, &server->request);
    CHECK_OK(husk_call_resume(sandbox, &answer, &outcome, &server->err), server->err);
    husk_sandbox_set_user(sandbox, NULL);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "%s", outcome.message);
    CHECK_EQ_I64(result.of.i32, answer_to(request));
}

static void make_anew(struct server *server, husk_image *image) {
    husk_sandbox_free(server->sandbox);
    CHECK_OK(
        husk_sandbox_new(image, server->shared->wat.imports, NULL, &server->sandbox, &server->err),
        server->err);
}

static void serve_clone(struct server *server, int32_t request) {
    husk_sandbox *clone = NULL;
    CHECK_OK(husk_sandbox_clone(server->sandbox, &clone, &server->err), server->err);
    goes_on(server, clone, request + 1);
    husk_sandbox_free(clone);
}

static void take_own(struct server *server) {
    husk_image_unref(server->own);
    server->own = NULL;
    CHECK_OK(husk_sandbox_snapshot(server->sandbox, &server->own, &server->err), server->err);
}

static void *serve(void *user) {
    struct server *server = user;
    struct husk_error *err = &server->err;
    for (int32_t i = 0; i < REQUESTS; i++) {
        const uint32_t way = ((uint32_t)i + server->number) % 7;
        husk_image *image =
            server->own != NULL && i % 5 == 4 ? server->own : server->shared->images[i % 2];
        if (server->sandbox == NULL || way == 0)
            make_anew(server, image);
        else if (way == 1)
            CHECK_OK(husk_sandbox_load(server->sandbox, image, server->shared->wat.imports, err),
                     *err);
        else
            CHECK_OK(husk_sandbox_restore(server->sandbox, image, err), *err);
        if (way == 2)
            CHECK_OK(husk_sandbox_park(server->sandbox, err), *err);
        if (way == 3)
            serve_clone(server, i);
        if (way == 4)
            take_own(server);
        goes_on(server, server->sandbox, i + (int32_t)(server->number * 1000));
    }
    husk_image_unref(server->own);
    husk_sandbox_free(server->sandbox);
    return NULL;
}

TEST(many_threads_serve_from_one_snapshot) {
    SKIP_WITHOUT_COMPILER();
    struct shared shared = {.images = {NULL}};
    struct server servers[THREADS];
    pthread_t threads[THREADS];
    struct husk_value result;
    struct wat_lab *wat = &shared.wat;
    wat_lab_init(wat);
    wat_lab_func(wat, "ask", "i>i", host_ask, NULL);
    wat_lab_open(wat, guest, NULL);
    CHECK_OK(wat_call(wat, "run", NULL, 0, &result, 1), wat->err);
    CHECK_EQ_U64(wat->outcome.kind, HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(wat->sandbox, &shared.images[0], &wat->err), wat->err);
    shared.images[1] = wat_saved(wat, shared.images[0]);
    for (uint32_t i = 0; i < THREADS; i++) {
        servers[i] = (struct server){.shared = &shared, .number = i};
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, serve, &servers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    husk_image_unref(shared.images[0]);
    husk_image_unref(shared.images[1]);
    wat_lab_close(wat);
}

TEST_MAIN()
