/*
 * serve/serve_main.c: husk-serve, which husk serve executes: a program of its own, so that husk
 * itself needs no HTTP library. It starts, waits for signals, and ends:
 *
 *   SIGTERM, SIGINT   no new connections; what was accepted is finished; a second one ends at once
 *   SIGHUP            the routes file and the modules are read again, and begin to serve when they
 *                     are ready
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "serve.h"

/* A connection that was opened just before the end may not have sent its request. */
#define QUIET_NS UINT64_C(200000000)
#define LOOK_MS 20
#define CANCEL_NS UINT64_C(2000000000)

int standard_stream(int fd) { /* of husk's main.c; nobody here asks */
    return fd;
}

static void log_engine(void *user, enum husk_log_level level, const char *message) {
    (void)user;
    if (level <= HUSK_LOG_WARNING)
        log_say("%s", message);
}

static void raise_open_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* What takes the place of a stream that is closed cannot be read or written. */
static void reserve_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* Before any thread starts: they inherit it. */
static sigset_t block_signals(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    return signals;
}

/* ---- Signals: a thread takes them, and passes them on once the server has started ---- */

static int signal_pipe[2] = {-1, -1};
static atomic_bool has_started;

static void *take_signals(void *argument) {
    const sigset_t *signals = argument;
    for (;;) {
        const int got = sigwaitinfo(signals, NULL);
        const unsigned char byte = (unsigned char)got;
        if (got > 0 && !atomic_load(&has_started) && got != SIGHUP)
            _exit(128 + got); /* compiling may take minutes */
        if (got > 0)
            (void)!write(signal_pipe[1], &byte, 1);
    }
    return NULL;
}

static bool start_signals(const sigset_t *signals) {
    pthread_t thread;
    if (pipe2(signal_pipe, O_CLOEXEC) != 0 ||
        pthread_create(&thread, NULL, take_signals, (void *)signals) != 0)
        return false;
    pthread_detach(thread);
    return true;
}

/* The next signal; 0: none came in time. timeout_ms -1: wait for one. */
static int next_signal(int timeout_ms) {
    struct pollfd state = {.fd = signal_pipe[0], .events = POLLIN};
    unsigned char byte = 0;
    if (poll(&state, 1, timeout_ms) <= 0 || read(signal_pipe[0], &byte, 1) != 1)
        return 0;
    return byte;
}

/* ---- Starting ---- */

/* The routes first: whoever can connect is served. */
static int start(struct server *server) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    options.log = log_engine;
    if (husk_engine_new(&options, &server->engine, &err) != 0)
        return report_error(&server->report, NULL, &err);
    for (size_t i = 0; i < server->routes.count; i++)
        if (route_start(server->routes.rows[i], &err) != 0)
            return report_error(&server->report, server->routes.rows[i]->run.path, &err);
    log_start();
    for (size_t i = 0; i < server->routes.count; i++)
        route_say(server->routes.rows[i]);
    watch_start();
    if (metrics_start(server, &err) != 0 || front_start(server, &err) != 0) {
        log_finish(); /* what was said before stands before */
        return report_error(&server->report, NULL, &err);
    }
    keeper_start(server);
    return CLI_OK;
}

/* ---- Ending ---- */

/* True: a second signal has come. */
static bool wait_a_moment(void) {
    const int got = next_signal(LOOK_MS);
    return got == SIGTERM || got == SIGINT;
}

static bool is_quiet(struct server *server) {
    return atomic_load(&server->exchanges_count) == 0 &&
           now_ns() - atomic_load(&server->last_request_ns) > QUIET_NS;
}

/* *ret_lost: requests that were not finished. True: at once, please. */
static bool drain(struct server *server, unsigned *ret_lost) {
    uint64_t until_ns = now_ns() + server->drain_ns;
    bool is_hurried = false;
    while (!is_quiet(server) && now_ns() < until_ns && !is_hurried)
        is_hurried = wait_a_moment();
    *ret_lost = atomic_load(&server->exchanges_count);
    if (is_hurried || *ret_lost == 0)
        return is_hurried;
    watch_cancel_all(END_STOPPED);
    until_ns = now_ns() + CANCEL_NS;
    while (atomic_load(&server->exchanges_count) != 0 && now_ns() < until_ns && !is_hurried)
        is_hurried = wait_a_moment();
    return is_hurried;
}

static int serve(struct server *server) {
    unsigned lost = 0;
    int got;
    atomic_store(&has_started, true);
    while ((got = next_signal(-1)) != SIGTERM && got != SIGINT)
        if (got == SIGHUP)
            keeper_reload();
    log_say("ends: %u request%s under way", atomic_load(&server->exchanges_count),
            atomic_load(&server->exchanges_count) == 1 ? "" : "s");
    front_quiesce(server);
    const bool is_hurried = drain(server, &lost);
    if (lost != 0)
        log_say("%u request%s not finished%s", lost, lost == 1 ? " was" : "s were",
                is_hurried ? "" : " in time (--drain-timeout)");
    if (atomic_load(&server->exchanges_count) == 0)
        front_stop();
    listeners_done(&server->metrics_run);
    log_finish();
    return is_hurried ? 128 + SIGTERM : CLI_OK;
}

int main(int argc, char **argv) {
    static struct server server = {.report = {.command = "serve"},
                                   .run = {.report = {.command = "serve"}},
                                   .metrics_run = {.report = {.command = "serve"}},
                                   .routes_lock = PTHREAD_MUTEX_INITIALIZER};
    bool is_done = false;
    reserve_standard_streams();
    static sigset_t signals;
    signals = block_signals();
    int code = server_take_options(&server, argc, argv, &is_done);
    if (code == 0 && is_done) {
        fputs(help_serve, stdout);
        code = finish_output(&server.report, CLI_OK);
    } else if (code == 0) {
        raise_open_limit();
        code = start_signals(&signals) ? start(&server)
                                       : report_usage(&server.report, "no thread can be started");
        if (code == 0)
            code = serve(&server);
        log_finish();
        /* Not exit(): workers, the keeper and libmicrohttpd's threads may still run, and what they
         * use must stay. All of it ends with the process. */
        _exit(code);
    }
    server_options_done(&server);
    return code;
}
