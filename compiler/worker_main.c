/*
 * compiler/worker_main.c: husk-compile-worker, the process in which a module is compiled: decode, validate,
 * plan, generate code, link, write the image. LLVM may abort, crash or never end on hostile input; here that
 * is one dead process, which client.c turns into an error. Limits are set before the first byte of input is
 * looked at. Not a program for people: worker_proto.h is its interface.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codegen.h"
#include "error.h"
#include "file.h"
#include "image_write.h"
#include "linker.h"
#include "plan.h"
#include "worker_proto.h"

#define OPEN_FILES_MAX 64

struct job {
    struct worker_request request;
    const uint8_t *wasm;
    struct wasm_module *module;
    struct plan *plan;
    char *cpu, *features;
    uint64_t feature_bits;
    struct codegen_result code;
    struct linked linked;
    char compiler[96];
};

/* ---- limits -------------------------------------------------------------------------------------------- */

static int limit(int resource, const char *what, uint64_t soft, uint64_t hard, struct husk_error *err) {
    struct rlimit old, wanted = {.rlim_cur = soft, .rlim_max = hard};
    if (getrlimit((__rlimit_resource_t)resource, &old) != 0)
        return error_sys(err, errno, "cannot read the limit on %s", what);
    if (old.rlim_max != RLIM_INFINITY && wanted.rlim_max > old.rlim_max)
        wanted.rlim_max = old.rlim_max; /* a tighter limit from outside stays */
    if (wanted.rlim_cur > wanted.rlim_max)
        wanted.rlim_cur = wanted.rlim_max;
    if (setrlimit((__rlimit_resource_t)resource, &wanted) != 0)
        return error_sys(err, errno, "cannot limit %s", what);
    return 0;
}

/* Address- and ThreadSanitizer reserve terabytes of address space: such builds cannot be limited in it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#define IS_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define IS_SANITIZED 0
#endif

/* Soft CPU limit: SIGXCPU, which ends the process; hard: SIGKILL, should LLVM ever catch the former. */
static int limits_set(const struct worker_request *request, struct husk_error *err) {
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of the caller's (ulimit -f) is an error that is told */
    uint64_t seconds = request->cpu_limit_ns / 1000000000u + (request->cpu_limit_ns % 1000000000u != 0);
    int status = limit(RLIMIT_CPU, "CPU time", seconds, seconds + 2, err);
    if (status == 0 && !IS_SANITIZED)
        status = limit(RLIMIT_AS, "memory", request->memory_limit_bytes, request->memory_limit_bytes, err);
    if (status == 0)
        status = limit(RLIMIT_CORE, "core files", 0, 0, err);
    if (status == 0)
        status = limit(RLIMIT_NOFILE, "open files", OPEN_FILES_MAX, OPEN_FILES_MAX, err);
    return status;
}

/* The client may die at any time: then nobody wants the image. */
static void attach_to_client(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static void send_message(const struct worker_message *message) {
    if (file_write_all(WORKER_FD_STATUS, message, sizeof *message) != 0)
        _exit(1); /* nobody listens */
}

static void send_progress(void *user, uint32_t done, uint32_t total) {
    (void)user;
    struct worker_message message = {.kind = WORKER_PROGRESS, .done = done, .total = total};
    send_message(&message);
}

/* ---- the job ------------------------------------------------------------------------------------------- */

static int read_request(struct job *job, struct husk_error *err) {
    struct stat st;
    if (pread(WORKER_FD_INPUT, &job->request, sizeof job->request, 0) != sizeof job->request ||
        job->request.magic != WORKER_MAGIC || job->request.version != WORKER_VERSION ||
        job->request.request_bytes != sizeof job->request ||
        job->request.cpu[sizeof job->request.cpu - 1] != 0)
        return error_set(err, HUSK_E_COMPILER, "the worker is of another version than the library");
    if (fstat(WORKER_FD_INPUT, &st) != 0 ||
        (uint64_t)st.st_size != sizeof job->request + job->request.wasm_bytes)
        return error_set(err, HUSK_E_COMPILER, "the worker got an incomplete job");
    return 0;
}

static int map_wasm(struct job *job, struct husk_error *err) {
    size_t bytes = sizeof job->request + job->request.wasm_bytes;
    const uint8_t *input = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, WORKER_FD_INPUT, 0);
    if (input == MAP_FAILED)
        return error_sys(err, errno, "cannot map the module");
    job->wasm = input + sizeof job->request;
    return 0;
}

static int compile(struct job *job, struct husk_error *err) {
    const struct worker_request *request = &job->request;
    int status = wasm_decode(job->wasm, request->wasm_bytes, &job->module, err);
    if (status == 0)
        status = wasm_validate(job->module, err);
    if (status == 0)
        status = plan_new(job->module, &job->plan, err);
    if (status == 0)
        status = codegen_target(request->cpu, &job->cpu, &job->features, &job->feature_bits, err);
    if (status != 0)
        return status;
    struct codegen_options options = {.opt_level = request->opt_level,
                                      .cpu = job->cpu,
                                      .features = job->features,
                                      .strict = request->strict != 0,
                                      .threads = request->threads,
                                      .progress = send_progress};
    status = codegen_run(job->plan, &options, &job->code, err);
    if (status == 0)
        status = link_objects(job->plan, job->code.objects, job->code.objects_count, job->feature_bits,
                              &job->linked, err);
    return status;
}

static int write_image(struct job *job, uint64_t *ret_bytes, struct husk_error *err) {
    snprintf(job->compiler, sizeof job->compiler, "husk %d.%d.%d LLVM %s", HUSK_VERSION_MAJOR,
             HUSK_VERSION_MINOR, HUSK_VERSION_PATCH, codegen_llvm_version());
    struct image_input input = {.plan = job->plan,
                                .linked = &job->linked,
                                .cpu_features = job->feature_bits,
                                .opt_level = job->request.opt_level,
                                .target_cpu = job->cpu,
                                .compiler = job->compiler};
    return image_write(&input, WORKER_FD_OUTPUT, ret_bytes, err);
}

int main(void) {
    static struct job job;
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
        result.status = map_wasm(&job, &result.error);
    if (result.status == 0)
        result.status = compile(&job, &result.error);
    if (result.status == 0)
        result.status = write_image(&job, &result.image_bytes, &result.error);
    send_message(&result);
    /* What the job owns goes with the process: freeing LLVM's memory piece by piece only takes time. */
    _exit(0);
}
