/*
 * compiler/worker/worker_main.c: husk-compile-worker, the process that compiles a module: decode,
 * validate, plan, generate code, link, write the image. On hostile input, LLVM may abort, crash or
 * never end. That costs one process, and worker_run.c turns it into an error. Hostile input may
 * also take LLVM over. So limits are set and the process is contained (contain.h) before it reads
 * the first byte of the module. It reads the request before that; the request comes from the
 * client. This is not a program for people: worker_proto.h is its interface. With an argument it
 * is a client itself, which works in the background: background.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "background.h"
#include "codegen.h"
#include "contain.h"
#include "crew.h"
#include "error.h"
#include "file.h"
#include "image_write.h"
#include "link_input.h"
#include "linker.h"
#include "needs.h"
#include "plan.h"
#include "sanitized.h"
#include "worker_proto.h"

#define OPEN_FILES_MAX 64
/* Of threads that are started before the module is read: no more than its bytes are likely to
 * keep busy, and their stacks take at most half of the memory. */
#define WASM_BYTES_PER_THREAD 16384u

struct job {
    struct worker_request request;
    const uint8_t *input; /* without the request */
    struct program *program;
    struct plan *plan;
    char *cpu, *features;
    uint64_t feature_bits;
    struct crew *crew;
    struct codegen_result code;
    struct linked linked;
    char compiler[96];
};

/* ---- limits ---- */

static int limit(int resource, const char *what, uint64_t soft, uint64_t hard,
                 struct husk_error *err) {
    struct rlimit old, wanted = {.rlim_cur = soft, .rlim_max = hard};
    if (getrlimit((__rlimit_resource_t)resource, &old) != 0)
        return error_sys(err, errno, "cannot read the limit on %s", what);
    /* A tighter limit from outside stays. RLIM_INFINITY is the largest number. */
    if (wanted.rlim_max > old.rlim_max)
        wanted.rlim_max = old.rlim_max;
    if (wanted.rlim_cur > old.rlim_cur)
        wanted.rlim_cur = old.rlim_cur;
    if (setrlimit((__rlimit_resource_t)resource, &wanted) != 0)
        return error_sys(err, errno, "cannot limit %s", what);
    return 0;
}

/* Soft CPU limit: SIGXCPU, which ends the process; hard: SIGKILL, should LLVM ever catch the
 * former. */
static int limits_set(const struct worker_request *request, struct husk_error *err) {
    (void)signal(SIGXFSZ, SIG_IGN); /* an image that is too large is an error that is told */
    uint64_t seconds =
        request->cpu_limit_ns / 1000000000u + (request->cpu_limit_ns % 1000000000u != 0);
    int status = limit(RLIMIT_CPU, "CPU time", seconds, seconds + 2, err);
    /* Address- and ThreadSanitizer reserve terabytes of address space. */
    if (status == 0 && !IS_SANITIZED)
        status = limit(RLIMIT_AS, "memory", request->memory_limit_bytes,
                       request->memory_limit_bytes, err);
    if (status == 0) /* the image is in memory, too, and not in this process's address space */
        status = limit(RLIMIT_FSIZE, "the image", request->image_limit_bytes,
                       request->image_limit_bytes, err);
    if (status == 0)
        status = limit(RLIMIT_CORE, "core files", 0, 0, err);
    if (status == 0)
        status = limit(RLIMIT_NOFILE, "open files", OPEN_FILES_MAX, OPEN_FILES_MAX, err);
    return status;
}

/* The client may die at any time: then nobody wants the image. It may have died before the
 * signal was asked for: then nobody has the other end of the pipe. */
static void attach_to_client(void) {
    struct pollfd status_pipe = {.fd = WORKER_FD_STATUS};
    prctl(PR_SET_NAME, WORKER_PROGRAM);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&status_pipe, 1, 0) > 0 && (status_pipe.revents & POLLERR) != 0)
        _exit(1);
    (void)close_range(WORKER_FD_PROGRAM, ~0u, 0);
}

/* ---- messages ---- */

static void send_message(const struct worker_message *message) {
    if (file_write_all(WORKER_FD_STATUS, message, sizeof *message) != 0)
        _exit(1); /* nobody listens */
}

static void send_progress(void *user, uint32_t done, uint32_t total) {
    (void)user;
    struct worker_message message = {.kind = WORKER_PROGRESS, .done = done, .total = total};
    send_message(&message);
}

/* ---- closing in ---- */

/* Everything that needs more than memory: LLVM's look at the CPU, threads. Then the process is
 * closed in. */
static int prepare(struct job *job, struct husk_error *err) {
    const struct worker_request *request = &job->request;
    int status = codegen_target(request->cpu, &job->cpu, &job->features, &job->feature_bits, err);
    if (status != 0)
        return status;
    codegen_llvm_init();
    if (request->is_idle != 0) /* threads inherit it */
        (void)sched_setscheduler(0, SCHED_IDLE, &(const struct sched_param){0});
    contain_begin();
    uint64_t by_size = request->input_bytes / WASM_BYTES_PER_THREAD + 1;
    uint64_t by_memory = request->memory_limit_bytes / 2 / CREW_STACK_BYTES;
    uint64_t threads = request->threads;
    threads = threads < by_size ? threads : by_size;
    threads = threads < by_memory ? threads : by_memory;
    status = crew_new((uint32_t)threads, &job->crew, err);
    if (status != 0)
        return status;
    status = contain_close(err);
    if (status == 0) {
        const struct worker_message contained = {.kind = WORKER_CONTAINED};
        send_message(&contained);
    }
    return request->allow_uncontained != 0 ? 0 : status;
}

/* ---- the job ---- */

static int read_request(struct job *job, struct husk_error *err) {
    struct stat st;
    if (pread(WORKER_FD_INPUT, &job->request, sizeof job->request, 0) != sizeof job->request ||
        job->request.magic != WORKER_MAGIC || job->request.version != WORKER_VERSION ||
        job->request.request_bytes != sizeof job->request ||
        job->request.cpu[sizeof job->request.cpu - 1] != '\0')
        return error_set(err, HUSK_E_COMPILER, "the worker is of another version than the library");
    if (fstat(WORKER_FD_INPUT, &st) != 0 ||
        (uint64_t)st.st_size != sizeof job->request + job->request.input_bytes)
        return error_set(err, HUSK_E_COMPILER, "the worker got an incomplete job");
    return 0;
}

static int map_input(struct job *job, struct husk_error *err) {
    size_t bytes = sizeof job->request + job->request.input_bytes;
    const uint8_t *input = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, WORKER_FD_INPUT, 0);
    if (input == MAP_FAILED)
        return error_sys(err, errno, "cannot map the module");
    job->input = input + sizeof job->request;
    return 0;
}

static int read_program(struct job *job, struct husk_error *err) {
    const struct worker_request *request = &job->request;
    const wasm_features_t features = WASM_FEATURES_ALL & ~request->disabled;
    struct wasm_module *module = NULL;
    if (request->modules_count == 0) {
        int status = wasm_read_supported(job->input, request->input_bytes, features, &module, err);
        return status == 0 ? program_from_module(module, &job->program, err) : status;
    }
    /* a list of modules has a limit of 1 GiB (husk_compile_linked()) */
    if (request->input_bytes > UINT32_MAX)
        return error_set(err, HUSK_E_COMPILER, "the worker got a damaged list of modules");
    const struct link_input input = {
        .bytes = {.data = job->input, .count = (uint32_t)request->input_bytes},
        .modules_count = request->modules_count,
        .is_staged = request->is_staged != 0,
        .features = features};
    return link_input_read(&input, &job->program, err);
}

static int compile(struct job *job, struct husk_error *err) {
    const struct worker_request *request = &job->request;
    int status = read_program(job, err);
    if (status == 0)
        status = plan_new(job->program, &job->plan, err);
    if (status != 0)
        return status;
    struct codegen_options options = {.opt_level = request->opt_level,
                                      .cpu = job->cpu,
                                      .features = job->features,
                                      .strict = request->strict != 0,
                                      .crew = job->crew,
                                      .progress = send_progress};
    status = codegen_run(job->plan, &options, &job->code, err);
    if (status == 0)
        status = link_objects(job->plan, job->code.objects, job->code.objects_count,
                              job->feature_bits, &job->linked, err);
    return status;
}

static int write_image(struct job *job, uint64_t *ret_bytes, struct husk_error *err) {
    snprintf(job->compiler, sizeof job->compiler, "husk %d.%d.%d LLVM %s", HUSK_VERSION_MAJOR,
             HUSK_VERSION_MINOR, HUSK_VERSION_PATCH, codegen_llvm_version());
    struct image_input input = {.plan = job->plan,
                                .linked = &job->linked,
                                .cpu_features = job->feature_bits,
                                .opt_level = job->request.opt_level,
                                .is_strict =
                                    job->request.strict != 0 || job->request.opt_level == 0,
                                .target_cpu = job->cpu,
                                .compiler = job->compiler};
    return image_write(&input, WORKER_FD_OUTPUT, ret_bytes, err);
}

int main(int argc, char **argv) {
    static struct job job;
    if (argc == 2 && strcmp(argv[1], WORKER_ARGUMENT_BACKGROUND) == 0)
        return background_main();
    struct worker_message result = {.kind = WORKER_RESULT};
    if (fcntl(WORKER_FD_INPUT, F_GETFD) < 0 || fcntl(WORKER_FD_OUTPUT, F_GETFD) < 0 ||
        fcntl(WORKER_FD_STATUS, F_GETFD) < 0) {
        fputs(WORKER_PROGRAM
              ": started by the Husk library, not by hand: see husk_compile.h or `husk compile`\n",
              stderr);
        return 2;
    }
    attach_to_client();
    result.status = read_request(&job, &result.error);
    if (result.status == 0)
        result.status = limits_set(&job.request, &result.error);
    if (result.status == 0)
        result.status = prepare(&job, &result.error);
    if (result.status == 0)
        result.status = map_input(&job, &result.error);
    if (result.status == 0)
        result.status = compile(&job, &result.error);
    if (result.status == 0)
        result.status = write_image(&job, &result.image_bytes, &result.error);
    send_message(&result);
    /* What the job owns goes with the process: freeing LLVM's memory piece by piece only takes
     * time. */
    _exit(0);
}
