/*
 * sessions.c: many users, each with a guest that remembers what it was told. Most users say nothing
 * for a long time, so only the guests that were called last keep their VMs. The others are parked:
 * they cost their written pages, and nothing of the hypervisor. A call brings them back.
 *
 *   printf 'ann 3\nbob 10\nann 4\n' | sessions [VMS]          (VMS: 4, or up to 64)
 *
 * A line is a name and a number. The user's guest adds the number to its sum, and the answer is the
 * sum. At the end it tells how many sessions there are, and how many VMs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <husk.h>
#include <husk_compile.h>

#define VMS_MAX 64u
#define SESSIONS_MAX 100000u

/* (module (global $sum (mut i32) (i32.const 0)) (func (export "add") (param i32) (result i32)
 *   (global.set $sum (i32.add (global.get $sum) (local.get 0))) (global.get $sum))) */
static const unsigned char wasm[] =
    "\0asm\1\0\0\0\1\6\1\x60\1\x7f\1\x7f\3\2\1\0\6\6\1\x7f\1\x41\0\x0b\7\7\1\3"
    "add\0\0\x0a\x0d\1\x0b\0\x23\0\x20\0\x6a\x24\0\x23\0\x0b";

struct session {
    char name[32];
    husk_sandbox *sandbox;
};

struct server {
    husk_engine *engine;
    husk_image *image;
    struct session *sessions;
    uint32_t count;
    struct session *awake[VMS_MAX]; /* with a VM; the one that was called last comes first */
    uint32_t awake_count, awake_max;
    struct husk_error err;
};

static int server_open(struct server *server) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    int fd;               /* of the image; closed when the program ends */
    options.pool_max = 1; /* the VM that one session gives up, the next one takes */
    server->sessions = calloc(SESSIONS_MAX, sizeof *server->sessions);
    if (server->sessions == NULL) {
        snprintf(server->err.message, sizeof server->err.message, "no memory");
        return -1;
    }
    return husk_engine_new(&options, &server->engine, &server->err) != 0 ||
           husk_compile(wasm, sizeof wasm - 1, NULL, &fd, &server->err) != 0 ||
           husk_image_open_fd(server->engine, fd, NULL, &server->image, &server->err) != 0;
}

static void server_close(struct server *server) {
    for (uint32_t i = 0; i < server->count; i++)
        husk_sandbox_free(server->sessions[i].sandbox);
    free(server->sessions);
    husk_image_unref(server->image);
    husk_engine_unref(server->engine);
}

/* The user's session, or a new one. NULL: there are too many, or no sandbox can be made. */
static struct session *session_of(struct server *server, const char *name) {
    for (uint32_t i = 0; i < server->count; i++)
        if (strcmp(server->sessions[i].name, name) == 0)
            return &server->sessions[i];
    if (server->count == SESSIONS_MAX) {
        snprintf(server->err.message, sizeof server->err.message, "too many sessions");
        return NULL;
    }
    struct session *session = &server->sessions[server->count];
    if (husk_sandbox_new(server->image, NULL, NULL, &session->sandbox, &server->err) != 0)
        return NULL;
    snprintf(session->name, sizeof session->name, "%s", name);
    server->count++;
    return session;
}

/* The session comes first; the one that was called longest ago is parked if there are too many. */
static int wake(struct server *server, struct session *session) {
    uint32_t at = 0;
    while (at < server->awake_count && server->awake[at] != session)
        at++;
    if (at == server->awake_max) {
        at--;
        if (husk_sandbox_park(server->awake[at]->sandbox, &server->err) != 0)
            return -1;
    } else if (at == server->awake_count) {
        server->awake_count++;
    }
    memmove(&server->awake[1], &server->awake[0], at * sizeof server->awake[0]);
    server->awake[0] = session;
    return 0;
}

static int serve(struct server *server, const char *name, int32_t number) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value sum, arg = husk_i32(number);
    struct husk_call call = {.size = sizeof call, .name = "add"};
    call.args = &arg, call.args_count = 1;
    call.results = &sum, call.results_count = 1;
    struct session *session = session_of(server, name);
    if (session == NULL || wake(server, session) != 0 ||
        husk_call(session->sandbox, &call, &outcome, &server->err) != 0)
        return -1;
    if (outcome.kind == HUSK_RETURNED)
        printf("%s %" PRId32 "\n", name, sum.of.i32);
    else
        printf("%s: %s\n", name, outcome.message);
    return 0;
}

int main(int argc, char **argv) {
    struct server server = {.awake_max = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 4};
    struct husk_stats stats = HUSK_STATS_INIT;
    char name[32];
    int32_t number;
    if (argc > 2 || server.awake_max == 0 || server.awake_max > VMS_MAX) {
        fprintf(stderr, "usage: sessions [VMS] <lines of a name and a number\n");
        return 2;
    }
    int result = server_open(&server);
    while (result == 0 && scanf("%31s %" SCNd32, name, &number) == 2)
        result = serve(&server, name, number);
    if (result != 0) {
        fprintf(stderr, "sessions: %s\n", server.err.message);
    } else {
        husk_engine_stats(server.engine, &stats);
        printf("%" PRIu32 " sessions, %" PRIu64 " VMs\n", server.count, stats.vms);
    }
    server_close(&server);
    return result == 0 ? 0 : 1;
}
