/*
 * tests/kvm/wasi/wasi_wait_test.c: two sandboxes share one stream and compete for the little data
 * on it; then there is no more data. Both calls still end: at a deadline, at an interrupt, and with
 * only a CPU limit. If a call does not end, an alarm ends the suite.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "wat.h"
#include "literals.h"

#define MS 1000000ull
#define TENANTS 2
#define ALARM_SECONDS 120
#define ROUNDS (HARNESS_SANITIZED ? 40 : 120)

/* ---- The guest ---- */

/* Each function waits for the world without end, or does as much of it in one call of WASI as it
 * can: over and over, until there is an errno, which is the result. One vector at 8; from 16 on the
 * most that a write takes, all empty; at 24 a subscription to a clock. */
static const char guest_wat[] =
    "(module"
    " (import \"wasi_snapshot_preview1\" \"fd_read\""
    "  (func $fd_read (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_write\""
    "  (func $fd_write (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"poll_oneoff\""
    "  (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"random_get\""
    "  (func $random_get (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $sched_yield (result i32)))"
    " (memory (export \"memory\") 272)"
    " (func (export \"read\") (result i32) (local $e i32)"
    "  (i32.store (i32.const 8) (i32.const 65536)) (i32.store (i32.const 12) (i32.const 10))"
    "  (loop $l (local.set $e (call $fd_read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const "
    "0)))"
    "   (br_if $l (i32.eqz (local.get $e)))) (local.get $e))"
    " (func (export \"write\") (result i32) (local $e i32)"
    "  (i32.store (i32.const 8) (i32.const 65536)) (i32.store (i32.const 12) (i32.const 1048576))"
    "  (loop $l (local.set $e (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const "
    "0)))"
    "   (br_if $l (i32.eqz (local.get $e)))) (local.get $e))"
    " (func (export \"message\") (result i32) (local $e i32)"
    "  (i32.store (i32.const 8) (i32.const 65536)) (i32.store (i32.const 12) (i32.const 1000))"
    "  (loop $l (local.set $e (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const "
    "0)))"
    "   (br_if $l (i32.eqz (local.get $e)))) (local.get $e))"
    " (func (export \"sleep\") (result i32) (local $e i32)"
    "  (i32.store (i32.const 40) (i32.const 1)) (i32.store (i32.const 52) (i32.const 0x10000000))"
    "  (loop $l (local.set $e (call $poll_oneoff (i32.const 24) (i32.const 200) (i32.const 1) "
    "(i32.const 0)))"
    "   (br_if $l (i32.eqz (local.get $e)))) (local.get $e))"
    " (func (export \"naps\") (result i32) (local $e i32)"
    "  (i32.store (i32.const 40) (i32.const 1)) (i32.store (i32.const 48) (i32.const 50000000))"
    "  (loop $l (local.set $e (call $poll_oneoff (i32.const 24) (i32.const 200) (i32.const 1) "
    "(i32.const 0)))"
    "   (br_if $l (i32.eqz (local.get $e)))) (local.get $e))"
    " (func (export \"many\") (result i32) (local $e i32)"
    "  (loop $l (local.set $e (call $fd_write (i32.const 2) (i32.const 16) (i32.const 1024) "
    "(i32.const 0)))"
    "   (br_if $l (i32.eqz (local.get $e)))) (local.get $e))"
    " (func (export \"random\") (result i32) (local $e i32)"
    "  (loop $l (local.set $e (call $random_get (i32.const 65536) (i32.const 16777216)))"
    "   (br_if $l (i32.eqz (local.get $e)))) (local.get $e))"
    " (func (export \"yield\") (result i32) (local $e i32)"
    "  (loop $l (local.set $e (call $sched_yield))"
    "   (br_if $l (i32.eqz (local.get $e)))) (local.get $e)))";

/* ---- What is behind the stream ---- */

enum place { PIPE, FIFO, SOCKET, DATAGRAMS, TERMINAL, PLACES };
static const char *const place_names[PLACES] = {"pipe", "FIFO", "socket", "datagrams", "terminal"};

/* The guest's end is blocking, the other one is not. */
struct stream {
    int guest_fd, other_fd, third_fd;
};

static void fifo_open(struct stream *stream) {
    char folder[] = "/tmp/husk-wait-XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK(mkfifo(path, 0600) == 0);
    stream->guest_fd = open(path, O_RDWR | O_CLOEXEC);
    stream->other_fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    unlink(path);
    rmdir(folder);
}

static void terminal_open(struct stream *stream) {
    stream->other_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (stream->other_fd < 0)
        SKIP("no terminals here: %s", strerror(errno));
    CHECK(stream->other_fd >= 0 && grantpt(stream->other_fd) == 0 &&
          unlockpt(stream->other_fd) == 0);
    stream->guest_fd = open(ptsname(stream->other_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static void stream_open(struct stream *stream, enum place place, bool is_output) {
    int fds[2];
    stream->third_fd = -1;
    switch (place) {
    case PIPE:
        CHECK(pipe(fds) == 0);
        stream->guest_fd = fds[is_output];
        stream->other_fd = fds[!is_output];
        break;
    case FIFO: fifo_open(stream); break;
    case SOCKET:
    case DATAGRAMS:
        CHECK(socketpair(AF_UNIX, place == SOCKET ? SOCK_STREAM : SOCK_DGRAM, 0, fds) == 0);
        stream->guest_fd = fds[0];
        stream->other_fd = fds[1];
        break;
    default: terminal_open(stream);
    }
    CHECK(stream->guest_fd >= 0 && stream->other_fd >= 0);
    CHECK(fcntl(stream->other_fd, F_SETFL, O_NONBLOCK) == 0);
}

static void stream_close(struct stream *stream) {
    close(stream->guest_fd);
    close(stream->other_fd);
}

/* A little of what the tenants wait for. */
static void stream_move(struct stream *stream, bool is_output) {
    char bytes[4096];
    if (is_output)
        (void)!read(stream->other_fd, bytes, sizeof bytes);
    else
        (void)!write(stream->other_fd, "\n", 1);
}

/* ---- Tenants ---- */

struct tenant {
    pthread_t thread;
    husk_sandbox *sandbox;
    const char *function;
    struct husk_limits options;
    struct husk_outcome outcome;
    struct husk_error err;
    int status;
    uint64_t took_ns;
    struct husk_value result;
};

static void *tenant_main(void *user) {
    struct tenant *tenant = user;
    const uint64_t start = clock_ns(CLOCK_MONOTONIC);
    tenant->status = husk_call(tenant->sandbox,
                               CALL(.name = tenant->function, .results = &tenant->result,
                                    .results_count = 1, .limits = &tenant->options),
                               &tenant->outcome, &tenant->err);
    tenant->took_ns = clock_ns(CLOCK_MONOTONIC) - start;
    return NULL;
}

struct house {
    struct wat_lab lab;
    struct stream stream;
    struct tenant tenants[TENANTS];
    bool is_output;
};

static void on_alarm(int signal) {
    static const char text[] = "wasi_wait: a call is still there long after its end\n";
    (void)signal;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

static void house_open(struct house *house) {
    memset(house, 0, sizeof *house);
    wat_lab_init(&house->lab);
    house->lab.image = wat_image_with(house->lab.engine, guest_wat, WAT_WORKER);
    signal(SIGALRM, on_alarm);
    alarm(ALARM_SECONDS);
}

static void house_close(struct house *house) {
    wat_lab_close(&house->lab);
    alarm(0);
    signal(SIGALRM, SIG_DFL);
}

static void tenants_begin(struct house *house, const char *function, uint64_t wall_ns,
                          uint64_t cpu_ns) {
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    wasi.stdin_fd = wasi.stdout_fd = house->stream.guest_fd;
    wasi.stderr_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    wasi.stdin_rights = HUSK_WASI_READ;
    wasi.stdout_rights = wasi.stderr_rights = HUSK_WASI_WRITE;
    house->stream.third_fd = wasi.stderr_fd;
    CHECK_OK(husk_imports_wasi(house->lab.imports, &wasi, &house->lab.err), house->lab.err);
    for (int i = 0; i < TENANTS; i++) {
        struct tenant *tenant = &house->tenants[i];
        *tenant = (struct tenant){
            .function = function, .options = HUSK_LIMITS_INIT, .outcome = HUSK_OUTCOME_INIT};
        tenant->options.wall_ns = wall_ns;
        tenant->options.cpu_ns = cpu_ns;
        CHECK_OK(husk_sandbox_new(house->lab.image, house->lab.imports, NULL, &tenant->sandbox,
                                  &house->lab.err),
                 house->lab.err);
        CHECK_EQ_I64(pthread_create(&tenant->thread, NULL, tenant_main, tenant), 0);
    }
}

/* What each call came to. */
static void tenants_end(struct house *house, enum husk_outcome_kind kind, const char *where) {
    close(house->stream.third_fd);
    for (int i = 0; i < TENANTS; i++)
        pthread_join(house->tenants[i].thread, NULL);
    for (int i = 0; i < TENANTS; i++) {
        struct tenant *tenant = &house->tenants[i];
        husk_sandbox_free(tenant->sandbox);
        CHECK_OK(tenant->status, tenant->err);
        CHECK_MSG(tenant->outcome.kind == kind, "%s, %s: %s (%d)", where, tenant->function,
                  tenant->outcome.message, tenant->result.of.i32);
    }
}

static const char *function_for(enum place place, bool is_output) {
    return !is_output ? "read" : place == DATAGRAMS ? "message" : "write";
}

/* ---- Rounds ---- */

static void pause_ns(uint64_t count) {
    struct timespec pause = {.tv_nsec = (long)count};
    nanosleep(&pause, NULL);
}

/* Moves something now and then for most of the time, and nothing in the end. */
static void round_run(struct house *house, enum place place, bool is_interrupted,
                      uint64_t limit_ns) {
    const uint64_t end = clock_ns(CLOCK_MONOTONIC) + limit_ns;
    stream_open(&house->stream, place, house->is_output);
    tenants_begin(house, function_for(place, house->is_output), is_interrupted ? 0 : limit_ns, 0);
    while (clock_ns(CLOCK_MONOTONIC) + limit_ns / 10 < end) {
        stream_move(&house->stream, house->is_output);
        pause_ns(100000);
    }
    while (is_interrupted && clock_ns(CLOCK_MONOTONIC) < end)
        pause_ns(10000);
    for (int i = 0; i < TENANTS && is_interrupted; i++)
        husk_interrupt(house->tenants[i].sandbox);
    tenants_end(house, is_interrupted ? HUSK_INTERRUPTED : HUSK_DEADLINE, place_names[place]);
    CHECK((fcntl(house->stream.guest_fd, F_GETFL) & O_NONBLOCK) == 0); /* as the embedder left it */
    stream_close(&house->stream);
}

static void check_rounds(bool is_output, bool is_interrupted) {
    struct house house;
    unsigned seed = 1;
    house_open(&house);
    house.is_output = is_output;
    for (int i = 0; i < ROUNDS; i++)
        round_run(&house, (enum place)(i % TERMINAL), is_interrupted,
                  3 * MS + (unsigned)rand_r(&seed) % (4 * MS));
    for (int i = 0; i < ROUNDS / 4; i++) /* last: they may be skipped */
        round_run(&house, TERMINAL, is_interrupted, 3 * MS + (unsigned)rand_r(&seed) % (4 * MS));
    house_close(&house);
}

TEST(a_deadline_ends_reads_of_what_another_drains) {
    SKIP_WITHOUT_COMPILER();
    check_rounds(false, false);
}

TEST(a_deadline_ends_writes_to_what_another_fills) {
    SKIP_WITHOUT_COMPILER();
    check_rounds(true, false);
}

TEST(an_interrupt_ends_reads_of_what_another_drains) {
    SKIP_WITHOUT_COMPILER();
    check_rounds(false, true);
}

TEST(an_interrupt_ends_writes_to_what_another_fills) {
    SKIP_WITHOUT_COMPILER();
    check_rounds(true, true);
}

/* ---- A CPU limit alone ---- */

static void check_waited(struct house *house, const char *where) {
    tenants_end(house, HUSK_DEADLINE, where);
    for (int i = 0; i < TENANTS; i++) {
        const struct tenant *tenant = &house->tenants[i];
        CHECK_MSG(tenant->took_ns >= 1000 * MS && tenant->took_ns < 20000 * MS,
                  "%s: %s took %llu ms", where, tenant->function,
                  (unsigned long long)(tenant->took_ns / MS));
        CHECK_CONTAINS(tenant->outcome.message, "waited longer than its CPU limit allows");
        CHECK_EQ_I64(tenant->outcome.limit, HUSK_LIMIT_WAIT);
    }
}

/* A second, because 10 times the limit is less. */
TEST(a_cpu_limit_alone_bounds_waiting) {
    struct house house;
    SKIP_WITHOUT_COMPILER();
    house_open(&house);
    for (enum place place = PIPE; place < PLACES; place++) {
        house.is_output = place % 2 == 0;
        stream_open(&house.stream, place, house.is_output);
        tenants_begin(&house, function_for(place, house.is_output), 0, 95 * MS);
        check_waited(&house, place_names[place]);
        stream_close(&house.stream);
    }
    house_close(&house);
}

TEST(a_cpu_limit_alone_bounds_many_short_waits_together) {
    struct house house;
    SKIP_WITHOUT_COMPILER();
    house_open(&house);
    stream_open(&house.stream, PIPE, false);
    tenants_begin(&house, "sleep", 0, 95 * MS);
    check_waited(&house, "no stream");
    tenants_begin(&house, "naps", 0, 95 * MS);
    check_waited(&house, "no stream");
    stream_close(&house.stream);
    house_close(&house);
}

/* With a limit of wall time, that decides. */
TEST(wall_time_can_be_allowed_for_waiting) {
    static const uint64_t walls_ns[] = {60000 * MS, UINT64_MAX};
    struct house house;
    SKIP_WITHOUT_COMPILER();
    house_open(&house);
    for (int i = 0; i < 2; i++) {
        stream_open(&house.stream, PIPE, true);
        signal(SIGPIPE, SIG_DFL);
        tenants_begin(&house, "write", walls_ns[i], 100 * MS);
        usleep(1500000);
        close(house.stream.other_fd); /* EPIPE for both */
        tenants_end(&house, HUSK_RETURNED, "pipe");
        close(house.stream.guest_fd);
    }
    house_close(&house);
}

/* ---- Much work in one call ---- */

TEST(a_deadline_ends_much_work_in_wasi) {
    static const char *const functions[] = {"many", "random", "yield", "sleep"};
    struct house house;
    SKIP_WITHOUT_COMPILER();
    house_open(&house);
    stream_open(&house.stream, PIPE, true);
    for (int i = 0; i < 4; i++) {
        tenants_begin(&house, functions[i], 20 * MS, 0);
        usleep(1000);
        tenants_end(&house, HUSK_DEADLINE, "no stream");
        for (int k = 0; k < TENANTS; k++)
            CHECK_MSG(house.tenants[k].took_ns < 5000 * MS, "%s took %llu ms", functions[i],
                      (unsigned long long)(house.tenants[k].took_ns / MS));
    }
    stream_close(&house.stream);
    house_close(&house);
}

TEST_MAIN()
