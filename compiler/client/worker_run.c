/*
 * compiler/client/worker_run.c: the client's side of a compile: starts husk-compile-worker, gives
 * it one job and waits for the result. The worker inherits only its descriptors (worker_proto.h)
 * and a stderr that this file reads. It gets no environment. It gets a separate process group, so
 * ^C reaches only the client; PR_SET_PDEATHSIG ends the worker with the client. The worker contains
 * itself (contain.h), but this file does not depend on that. The worker may send anything, close
 * its pipes, or never stop writing. This file waits until the worker's limit, then kills the whole
 * group.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auto.h"
#include "client.h"
#include "clock.h"
#include "error.h"
#include "feature.h"
#include "file.h"
#include "worker_proto.h"

#define STDERR_BYTES_MAX 8192
#define READS_PER_ROUND 256 /* more than a full pipe holds; then the clock is looked at again */

/* Linux 6.9, pidfd_send_signal(2). */
#define SIGNAL_PROCESS_GROUP 4u

struct worker {
    const struct husk_compile_options *options;
    int input_fd, output_fd;
    int status_fd, stderr_fd;               /* our ends */
    int worker_status_fd, worker_stderr_fd; /* the worker's */
    struct worker_program program;
    pid_t pid;
    int pid_fd;                    /* -1: this system has none */
    uint64_t deadline_ns;          /* wall clock, monotonic */
    uint64_t ask_at_ns;            /* when to ask the embedder whether to go on; or UINT64_MAX */
    struct worker_message message; /* being read */
    size_t message_bytes;
    struct worker_message result;
    bool has_result, was_contained;
    char stderr_text[STDERR_BYTES_MAX + 1];
    size_t stderr_bytes;
    bool is_over_wall_limit;
    bool was_interrupted;
};

static void close_fd(int *fd) {
    auto_close_fd(fd);
    *fd = -1;
}

/* ---- before ---- */

static int write_job(struct worker *worker, const struct worker_job *job, struct husk_error *err) {
    const struct husk_compile_options *options = worker->options;
    wasm_features_t disabled = 0;
    int status = wasm_features_parse(options->disable, &disabled, err);
    if (status != 0)
        return status;
    struct worker_request request = {.magic = WORKER_MAGIC,
                                     .version = WORKER_VERSION,
                                     .request_bytes = sizeof request,
                                     .opt_level = options->opt_level,
                                     .threads = options->threads,
                                     .strict = options->strict,
                                     .input_bytes = job->count,
                                     .modules_count = job->modules_count,
                                     .is_staged = job->is_staged,
                                     .is_idle = job->is_idle,
                                     .disabled = disabled,
                                     .allow_uncontained = options->allow_uncontained,
                                     .cpu_limit_ns = options->cpu_limit_ns,
                                     .memory_limit_bytes = options->memory_limit_bytes,
                                     .image_limit_bytes = worker_image_limit(options)};
    if (snprintf(request.cpu, sizeof request.cpu, "%s", options->cpu) >= (int)sizeof request.cpu)
        return error_set(err, HUSK_E_INVAL, "no CPU has a name as long as \"%.80s…\"",
                         options->cpu);
    worker->input_fd = memfd_create("husk-wasm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    worker->output_fd = memfd_create("husk-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (worker->input_fd < 0 || worker->output_fd < 0)
        return error_sys(err, errno, "cannot make an anonymous file");
    if (file_write_all(worker->input_fd, &request, sizeof request) != 0 ||
        file_write_all(worker->input_fd, job->bytes, job->count) != 0)
        return error_sys(err, errno, "cannot hand the module to the compiler");
    /* A worker cannot fill memory through its input. */
    if (fcntl(worker->input_fd, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return error_sys(err, errno, "cannot seal the module");
    return 0;
}

static int open_pipes(struct worker *worker, struct husk_error *err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_sys(err, errno, "cannot make a pipe to the compiler");
    worker->status_fd = ends[0];
    worker->worker_status_fd = ends[1];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_sys(err, errno, "cannot make a pipe to the compiler");
    worker->stderr_fd = ends[0];
    worker->worker_stderr_fd = ends[1];
    if (fcntl(worker->status_fd, F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(worker->stderr_fd, F_SETFL, O_NONBLOCK) != 0)
        return error_sys(err, errno, "cannot make a pipe to the compiler");
    return 0;
}

static int spawn(struct worker *worker, struct husk_error *err) {
    int *const fds[] = {&worker->worker_stderr_fd, &worker->input_fd, &worker->output_fd,
                        &worker->worker_status_fd};
    const struct worker_spawn spawn = {
        .program = &worker->program, .fds = fds, .fds_count = sizeof fds / sizeof fds[0]};
    int status = worker_spawn(&spawn, &worker->pid, err);
    close_fd(&worker->worker_status_fd);
    close_fd(&worker->worker_stderr_fd);
    if (status == 0)
        worker->pid_fd = (int)syscall(SYS_pidfd_open, worker->pid, 0); /* O_CLOEXEC by itself */
    return status;
}

/* ---- during ---- */

static void take_message(struct worker *worker) {
    const struct worker_message *message = &worker->message;
    if (message->kind == WORKER_PROGRESS && worker->options->progress != NULL &&
        message->done <= message->total)
        worker->options->progress(worker->options->progress_user, message->done, message->total);
    worker->was_contained |= message->kind == WORKER_CONTAINED;
    if (message->kind == WORKER_RESULT) {
        worker->result = *message;
        worker->has_result = true;
    }
}

/* False at the end of the pipe. */
static bool read_status(struct worker *worker) {
    for (int i = 0; i < READS_PER_ROUND; i++) {
        ssize_t got = read(worker->status_fd, (uint8_t *)&worker->message + worker->message_bytes,
                           sizeof worker->message - worker->message_bytes);
        if (got < 0)
            return errno == EINTR || errno == EAGAIN;
        if (got == 0)
            return false;
        worker->message_bytes += (size_t)got;
        if (worker->message_bytes == sizeof worker->message) {
            worker->message_bytes = 0;
            take_message(worker);
        }
    }
    return true;
}

/* The first kilobytes are kept, the rest is read away so that the worker never blocks. */
static bool read_stderr(struct worker *worker) {
    for (int i = 0; i < READS_PER_ROUND; i++) {
        char bytes[1024];
        ssize_t got = read(worker->stderr_fd, bytes, sizeof bytes);
        if (got < 0)
            return errno == EINTR || errno == EAGAIN;
        if (got == 0)
            return false;
        size_t room = STDERR_BYTES_MAX - worker->stderr_bytes,
               kept = (size_t)got < room ? (size_t)got : room;
        memcpy(worker->stderr_text + worker->stderr_bytes, bytes, kept);
        worker->stderr_bytes += kept;
    }
    return true;
}

/* True: the embedder ends the compiling. It is asked after a signal, and when its period is over,
 * also if the worker has much to say. */
static bool asks_and_ends(struct worker *worker, bool was_signalled) {
    const struct husk_compile_options *options = worker->options;
    const uint64_t now = clock_ns(CLOCK_MONOTONIC);
    if (options->interrupted == NULL || (!was_signalled && now < worker->ask_at_ns))
        return false;
    worker->ask_at_ns =
        options->interrupted_ns == 0 ? UINT64_MAX : clock_later(now, options->interrupted_ns);
    worker->was_interrupted = options->interrupted(options->interrupted_user) != 0;
    return worker->was_interrupted;
}

/* How long to wait for the worker. */
static int wait_ms(const struct worker *worker, uint64_t now) {
    const uint64_t end_ns =
        worker->ask_at_ns < worker->deadline_ns ? worker->ask_at_ns : worker->deadline_ns;
    const uint64_t left_ms = end_ns <= now ? 0 : (end_ns - now) / 1000000 + 1;
    return left_ms > 60000 ? 60000 : (int)left_ms;
}

/* Until the worker is dead, has closed its pipes, or is out of time, or the embedder ends it. A
 * process that it left behind may hold the pipes open. */
static void listen_to(struct worker *worker) {
    bool is_dead = false, was_signalled = true; /* a signal may have come before */
    while (!is_dead && (worker->status_fd >= 0 || worker->stderr_fd >= 0)) {
        struct pollfd fds[3] = {{.fd = worker->status_fd, .events = POLLIN},
                                {.fd = worker->stderr_fd, .events = POLLIN},
                                {.fd = worker->pid_fd, .events = POLLIN}};
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (now >= worker->deadline_ns) {
            worker->is_over_wall_limit = true;
            return;
        }
        if (asks_and_ends(worker, was_signalled))
            return;
        was_signalled = poll(fds, 3, wait_ms(worker, now)) < 0;
        if (was_signalled)
            continue;                  /* EINTR; the other errors cannot be */
        is_dead = fds[2].revents != 0; /* then a round reads all that the pipes hold */
        if ((fds[0].revents != 0 || (is_dead && worker->status_fd >= 0)) && !read_status(worker))
            close_fd(&worker->status_fd);
        if ((fds[1].revents != 0 || (is_dead && worker->stderr_fd >= 0)) && !read_stderr(worker))
            close_fd(&worker->stderr_fd);
    }
}

/* ---- after ---- */

/* The worker and whatever it started and left in its group. One that has exited already keeps
 * its exit status. */
static void kill_group(const struct worker *worker) {
    if (worker->pid_fd >= 0 &&
        syscall(SYS_pidfd_send_signal, worker->pid_fd, SIGKILL, NULL, SIGNAL_PROCESS_GROUP) == 0)
        return;
    if (worker->pid_fd < 0 || errno != ESRCH)
        kill(-worker->pid, SIGKILL); /* not waited for yet: the number is still its own */
}

/* The process is gone afterwards in any case. -1: unknown, because the embedder ignores SIGCHLD or
 * waits for all children itself. */
static struct worker_death reap(struct worker *worker) {
    struct worker_death death = {.wait_status = -1,
                                 .is_over_wall_limit = worker->is_over_wall_limit,
                                 .was_contained = worker->was_contained};
    struct rusage usage = {0};
    int wait_status = 0;
    pid_t pid;
    kill_group(worker);
    do {
        pid = wait4(worker->pid, &wait_status, 0, &usage);
    } while (pid < 0 && errno == EINTR);
    if (pid == worker->pid) {
        death.wait_status = wait_status;
        death.cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
                       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
    }
    worker->pid = -1;
    worker->stderr_text[worker->stderr_bytes] = 0;
    death.stderr_text = worker->stderr_text;
    return death;
}

/* The image is made immutable, so that libhusk may map it. */
static int take_image(struct worker *worker, int *ret_fd, uint64_t *ret_bytes,
                      struct husk_error *err) {
    struct stat st;
    if (fstat(worker->output_fd, &st) != 0)
        return error_sys(err, errno, "cannot read the compiled image");
    if ((uint64_t)st.st_size != worker->result.image_bytes)
        return error_set(err, HUSK_E_COMPILER, "the compiler wrote an incomplete image");
    if (fcntl(worker->output_fd, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return error_sys(err, errno, "cannot seal the compiled image");
    if (lseek(worker->output_fd, 0, SEEK_SET) != 0)
        return error_sys(err, errno, "cannot read the compiled image");
    *ret_bytes = worker->result.image_bytes;
    *ret_fd = take_fd(&worker->output_fd);
    return 0;
}

static int run(struct worker *worker, uint64_t wall_limit_ns, int *ret_fd, uint64_t *ret_bytes,
               struct husk_error *err) {
    int status = open_pipes(worker, err);
    if (status == 0)
        status = spawn(worker, err);
    if (status != 0)
        return status;
    /* CPU time is the real limit; this one ends a worker that hangs without using any. */
    if (wall_limit_ns == 0)
        wall_limit_ns = 60000000000u + 10 * worker->options->cpu_limit_ns;
    worker->deadline_ns = clock_ns(CLOCK_MONOTONIC) + wall_limit_ns;
    worker->ask_at_ns = UINT64_MAX;
    listen_to(worker);
    struct worker_death death = reap(worker);
    if (worker->was_interrupted)
        return error_set(err, HUSK_E_TIMEOUT, "compiling was interrupted");
    if (!worker->has_result)
        return worker_death_error(&death, worker->options, err);
    if (worker->result.status != 0)
        return worker_result_error(&worker->result, worker->options, err);
    return take_image(worker, ret_fd, ret_bytes, err);
}

int worker_run(const struct worker_job *job, const struct husk_compile_options *options,
               int *ret_fd, uint64_t *ret_bytes, struct husk_error *err) {
    struct worker worker = {.options = options,
                            .input_fd = -1,
                            .output_fd = -1,
                            .status_fd = -1,
                            .stderr_fd = -1,
                            .worker_status_fd = -1,
                            .worker_stderr_fd = -1,
                            .pid = -1,
                            .pid_fd = -1};
    int status = worker_locate(options->worker_path, &worker.program, err);
    if (status != 0)
        return status;
    status = write_job(&worker, job, err);
    if (status == 0)
        status = run(&worker, job->wall_limit_ns, ret_fd, ret_bytes, err);
    worker_program_done(&worker.program);
    close_fd(&worker.input_fd);
    close_fd(&worker.output_fd);
    close_fd(&worker.status_fd);
    close_fd(&worker.stderr_fd);
    close_fd(&worker.worker_status_fd);
    close_fd(&worker.worker_stderr_fd);
    close_fd(&worker.pid_fd);
    return status;
}
