/*
 * tests/kvm/wasi/wasi_server_test.c: a C guest that serves requests on a listener of the
 * embedder's: several sandboxes on one listener, restored after each request; deadlines, peers that
 * say nothing, and snapshots while a connection lives.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "c_guest.h"
#include "clock.h"
#include "wat.h"

#define MS 1000000ull
#define SERVERS 2
#define REQUESTS (HARNESS_SANITIZED ? 20 : 100)
#define LISTENER 3 /* the guest's number */

/* serve: answers one request with its first line and the number of requests so far. */
static const char guest_c[] =
    "#include <errno.h>\n"
    "#include <poll.h>\n"
    "#include <stdio.h>\n"
    "#include <string.h>\n"
    "#include <sys/socket.h>\n"
    "#include <unistd.h>\n"
    "#define EXPORT(name) __attribute__((export_name(name)))\n"
    "static int served;\n"
    "EXPORT(\"serve\") int serve(int listener) {\n"
    "  char request[1024], answer[1200];\n"
    "  int count = 0, fd = accept(listener, NULL, NULL);\n"
    "  struct pollfd ready = {.fd = fd, .events = POLLRDNORM};\n"
    "  if (fd < 0) return -errno;\n"
    "  do {\n"
    "    if (poll(&ready, 1, -1) != 1) return -1000;\n"
    "    int got = recv(fd, request + count, sizeof request - 1 - count, 0);\n"
    "    if (got <= 0) break;\n"
    "    count += got;\n"
    "    request[count] = 0;\n"
    "  } while (strstr(request, \"\\r\\n\\r\\n\") == NULL);\n"
    "  request[strcspn(request, \"\\r\")] = 0;\n"
    "  count = snprintf(answer, sizeof answer, \"HTTP/1.0 200 OK\\r\\n\\r\\n%s: %d\\n\", request,\n"
    "                   ++served);\n"
    "  if (send(fd, answer, count, 0) != count || shutdown(fd, SHUT_WR) != 0) return -2000;\n"
    "  return close(fd) == 0 ? served : -3000;\n"
    "}\n"
    "EXPORT(\"hold\") int hold(int listener) {\n"
    "  int held = accept(listener, NULL, NULL);\n"
    "  return held < 0 ? -errno : held;\n"
    "}\n"
    "EXPORT(\"let_go\") int let_go(int fd) { return close(fd); }\n";

struct house {
    struct wat_lab lab;
    int listener;
};

static void house_open(struct house *house) {
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct husk_wasi_listener row = {.rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wat_lab *lab = &house->lab;
    house->listener = row.host_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(row.host_fd, (const struct sockaddr *)&any, sizeof any) == 0 &&
          listen(row.host_fd, 16) == 0);
    options.listeners = &row;
    options.listeners_count = 1;
    wat_lab_init(lab);
    lab->image = c_guest_image(lab->engine, guest_c, "", WAT_WORKER);
    if (lab->image == NULL)
        SKIP("no clang with wasi-libc to compile guests");
    CHECK_OK(husk_imports_wasi(lab->imports, &options, &lab->err), lab->err);
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, NULL, &lab->sandbox, &lab->err), lab->err);
    CHECK_OK(wat_call(lab, "_initialize", NULL, 0, NULL, 0), lab->err);
}

static void house_close(struct house *house) {
    wat_lab_close(&house->lab);
    close(house->listener);
}

static int dial(const struct house *house) {
    struct sockaddr_in address;
    socklen_t bytes = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(getsockname(house->listener, (struct sockaddr *)&address, &bytes) == 0);
    CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, bytes) == 0);
    return fd;
}

/* All that the server says, until it ends. */
static void hear(int fd, char *answer, size_t answer_bytes) {
    size_t count = 0;
    ssize_t got;
    while ((got = recv(fd, answer + count, answer_bytes - 1 - count, 0)) > 0)
        count += (size_t)got;
    answer[count] = '\0';
}

static void say(int fd, const char *text) {
    CHECK(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
}

TEST(requests_are_served_and_forgotten) {
    struct house house;
    husk_image *ready = NULL;
    char answer[256];
    SKIP_WITHOUT_COMPILER();
    house_open(&house);
    struct wat_lab *lab = &house.lab;
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &ready, &lab->err), lab->err);
    for (int i = 0; i < 4; i++) {
        const int fd = dial(&house);
        say(fd, "GET /hello HTTP/1.0\r\n\r\n");
        CHECK_EQ_I64(wat_call_i32(lab, "serve", LISTENER), i % 2 + 1);
        hear(fd, answer, sizeof answer);
        CHECK_STR(answer, i % 2 == 0 ? "HTTP/1.0 200 OK\r\n\r\nGET /hello HTTP/1.0: 1\n"
                                     : "HTTP/1.0 200 OK\r\n\r\nGET /hello HTTP/1.0: 2\n");
        close(fd);
        if (i % 2 == 1)
            CHECK_OK(husk_sandbox_restore(lab->sandbox, ready, &lab->err), lab->err);
    }
    husk_image_unref(ready);
    house_close(&house);
}

/* The connection that another call left is closed by the restore, and the peer learns it. */
TEST(a_live_connection_blocks_snapshots) {
    struct house house;
    husk_image *ready = NULL, *second = NULL;
    char answer[256];
    SKIP_WITHOUT_COMPILER();
    house_open(&house);
    struct wat_lab *lab = &house.lab;
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &ready, &lab->err), lab->err);
    int fd = dial(&house);
    const int64_t held = wat_call_i32(lab, "hold", LISTENER);
    CHECK(held >= 0);
    CHECK_STATUS(husk_sandbox_snapshot(lab->sandbox, &second, &lab->err), HUSK_E_STATE);
    CHECK_CONTAINS(lab->err.message, "connection");
    CHECK_OK(husk_sandbox_restore(lab->sandbox, ready, &lab->err), lab->err);
    hear(fd, answer, sizeof answer);
    CHECK_STR(answer, "");
    close(fd);
    fd = dial(&house);
    CHECK_EQ_I64(wat_call_i32(lab, "hold", LISTENER), held);
    CHECK_EQ_I64(wat_call_i32(lab, "let_go", (int32_t)held), 0);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &second, &lab->err), lab->err);
    close(fd);
    husk_image_unref(ready);
    husk_image_unref(second);
    house_close(&house);
}

static void serve_until(struct wat_lab *lab, uint64_t wall_ns) {
    husk_func func;
    const struct husk_value argument = value_i32(LISTENER);
    struct husk_value result;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.wall_ns = wall_ns;
    CHECK_OK(husk_image_func(lab->image, "serve", 0, &func, &lab->err), lab->err);
    const struct husk_call call = {.size = sizeof call,
                                   .func = func,
                                   .args = &argument,
                                   .args_count = 1,
                                   .results = &result,
                                   .results_count = 1,
                                   .limits = &limits};
    lab->outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call(lab->sandbox, &call, &lab->outcome, &lab->err), lab->err);
}

TEST(deadlines_end_the_wait_for_peers) {
    struct house house;
    husk_image *ready = NULL;
    char answer[256];
    SKIP_WITHOUT_COMPILER();
    house_open(&house);
    struct wat_lab *lab = &house.lab;
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &ready, &lab->err), lab->err);
    serve_until(lab, 20 * MS); /* nobody comes */
    CHECK_EQ_I64(lab->outcome.kind, HUSK_DEADLINE);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, ready, &lab->err), lab->err);
    int fd = dial(&house);
    say(fd, "GET /never"); /* half a request, and no more */
    serve_until(lab, 20 * MS);
    CHECK_EQ_I64(lab->outcome.kind, HUSK_DEADLINE);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, ready, &lab->err), lab->err);
    CHECK(recv(fd, answer, sizeof answer, 0) <= 0); /* cut off, perhaps by a reset */
    close(fd);
    fd = dial(&house);
    say(fd, "GET /again\r\n\r\n");
    CHECK_EQ_I64(wat_call_i32(lab, "serve", LISTENER), 1);
    close(fd);
    husk_image_unref(ready);
    house_close(&house);
}

/* ---- Several servers ---- */

struct server {
    struct house *house;
    husk_image *ready;
    pthread_t thread;
    int served;
    husk_sandbox *sandbox;
};

/* Serves until a deadline says that there was nothing more to do. */
static void *server_main(void *user) {
    struct server *server = user;
    struct wat_lab lab = server->house->lab;
    lab.sandbox = server->sandbox;
    do {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, server->ready, &lab.err), lab.err);
        serve_until(&lab, 1000 * MS);
        server->served += lab.outcome.kind == HUSK_RETURNED;
    } while (lab.outcome.kind == HUSK_RETURNED);
    return NULL;
}

TEST(servers_share_a_listener) {
    struct house house;
    struct server servers[SERVERS];
    husk_image *ready = NULL;
    char answer[256];
    int served = 0;
    SKIP_WITHOUT_COMPILER();
    house_open(&house);
    struct wat_lab *lab = &house.lab;
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &ready, &lab->err), lab->err);
    for (int i = 0; i < SERVERS; i++) {
        servers[i] = (struct server){.house = &house, .ready = ready};
        CHECK_OK(husk_sandbox_new(ready, lab->imports, NULL, &servers[i].sandbox, &lab->err),
                 lab->err);
        CHECK(pthread_create(&servers[i].thread, NULL, server_main, &servers[i]) == 0);
    }
    for (int i = 0; i < REQUESTS; i++) {
        const int fd = dial(&house);
        say(fd, "GET /many\r\n\r\n");
        hear(fd, answer, sizeof answer);
        CHECK_STR(answer, "HTTP/1.0 200 OK\r\n\r\nGET /many: 1\n");
        close(fd);
    }
    for (int i = 0; i < SERVERS; i++) {
        CHECK(pthread_join(servers[i].thread, NULL) == 0);
        husk_sandbox_free(servers[i].sandbox);
        served += servers[i].served;
    }
    CHECK_EQ_I64(served, REQUESTS);
    husk_image_unref(ready);
    house_close(&house);
}

TEST_MAIN()
