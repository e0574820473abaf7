/*
 * compiler/client/worker_result.c: explains why a worker failed or died without a result. LLVM
 * aborts on its fatal errors and on lack of memory, and says so on stderr. Limits end the worker by
 * a signal. The module may have taken the worker over. So its text is passed on without control
 * characters, and its status must be one of the list.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "client.h"
#include "error.h"
#include "worker_proto.h"

/* Control characters, those of UTF-8's second row (C1) included, become '?'. */
static void make_printable(char *text) {
    for (unsigned char *pos = (unsigned char *)text; *pos != 0; pos++)
        if (*pos < 0x20 || *pos == 0x7f || (pos[0] == 0xc2 && pos[1] >= 0x80 && pos[1] < 0xa0))
            *pos = '?';
}

static bool is_status(int status) {
    switch (status) {
#define HUSK_STATUS_CASE(name, number, text) case HUSK_E_##name:
        HUSK_STATUS_LIST(HUSK_STATUS_CASE)
#undef HUSK_STATUS_CASE
        return true;
    default: return false;
    }
}

/* The line of stderr that matters: LLVM's error if there is one, else the first that is not
 * empty. */
static void telling_line(const char *text, char line[200]) {
    const char *start = strstr(text, "LLVM ERROR");
    if (start == NULL)
        start = text + strspn(text, " \n\r\t");
    size_t bytes = strcspn(start, "\n\r");
    snprintf(line, 200, "%.*s", (int)(bytes < 199 ? bytes : 199), start);
    make_printable(line);
}

static bool says_out_of_memory(const char *text) {
    static const char *const phrases[] = {"out of memory",
                                          "bad_alloc",
                                          "Out of memory",
                                          "Allocation failed",
                                          "Buffer allocation failed",
                                          "Resource temporarily unavailable"};
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (strstr(text, phrases[i]) != NULL)
            return true;
    return false;
}

/* The worker's limit is the lower one of the options' and of this process's own, which it
 * inherits. */
static int time_error(const struct husk_compile_options *options, const char *what,
                      struct husk_error *err) {
    struct rlimit own;
    if (getrlimit(RLIMIT_CPU, &own) == 0 && own.rlim_cur < options->cpu_limit_ns / 1000000000u)
        return error_set(
            err, HUSK_E_TIMEOUT,
            "compiling took more than the %llu seconds of %s that this process may use (ulimit -t)",
            (unsigned long long)own.rlim_cur, what);
    return error_set(err, HUSK_E_TIMEOUT,
                     "compiling took more than %.6g seconds of %s: try a lower optimisation level "
                     "or a higher limit (husk: --compile-cpu-limit; libhusk_compile: cpu_limit_ns)",
                     (double)options->cpu_limit_ns / 1e9, what);
}

/* The worker's limit is the lower one of both, as that on CPU time. */
int worker_memory_error(const struct husk_compile_options *options, struct husk_error *err) {
    struct rlimit own;
    if (getrlimit(RLIMIT_AS, &own) == 0 && own.rlim_cur < options->memory_limit_bytes)
        return error_set(err, HUSK_E_LIMIT,
                         "the compiler needed more than the %llu MiB of address space that this "
                         "process may use: raise that limit (ulimit -v)",
                         (unsigned long long)(own.rlim_cur >> 20));
    return error_set(
        err, HUSK_E_LIMIT,
        "the compiler needed more than its %llu MiB of memory: try a lower optimisation level or a "
        "higher limit (husk: --compile-memory-limit; libhusk_compile: memory_limit_bytes)",
        (unsigned long long)(options->memory_limit_bytes >> 20));
}

uint64_t worker_image_limit(const struct husk_compile_options *options) {
    return options->memory_limit_bytes < CLIENT_IMAGE_BYTES_MAX ? options->memory_limit_bytes
                                                                : CLIENT_IMAGE_BYTES_MAX;
}

static int image_size_error(const struct husk_compile_options *options, struct husk_error *err) {
    struct rlimit own;
    uint64_t limit = worker_image_limit(options);
    if (getrlimit(RLIMIT_FSIZE, &own) == 0 && own.rlim_cur < limit)
        return error_set(err, HUSK_E_LIMIT,
                         "the image is larger than this process's limit on file sizes, %llu KiB: "
                         "raise it (ulimit -f)",
                         (unsigned long long)(own.rlim_cur >> 10));
    return error_set(
        err, HUSK_E_LIMIT,
        "the image is larger than the compiler's limit of %llu MiB: set a higher memory limit",
        (unsigned long long)(limit >> 20));
}

/* In the worker, lack of memory (or of address space for a thread's stack: EAGAIN) means its
 * limit, not the machine's. */
int worker_result_error(const struct worker_message *result,
                        const struct husk_compile_options *options, struct husk_error *err) {
    int sys_errno = result->error.sys_errno;
    if (!is_status(result->status))
        return error_set(err, HUSK_E_COMPILER, "the compiler reported nonsense (status %d)",
                         result->status);
    if (result->status == HUSK_E_NOMEM ||
        (result->status == HUSK_E_SYS && (sys_errno == EAGAIN || sys_errno == ENOMEM)))
        return worker_memory_error(options, err);
    if (result->status == HUSK_E_SYS && sys_errno == EFBIG)
        return image_size_error(options, err);
    if (err != NULL) {
        *err = result->error;
        err->message[sizeof err->message - 1] = 0;
        make_printable(err->message);
        err->status = result->status;
    }
    return result->status;
}

int worker_death_error(const struct worker_death *death, const struct husk_compile_options *options,
                       struct husk_error *err) {
    char line[200];
    telling_line(death->stderr_text, line);
    if (death->is_over_wall_limit)
        return error_set(
            err, HUSK_E_TIMEOUT,
            "the compiler used too little of its CPU time (%.6g seconds) in many times "
            "as long, and was ended",
            (double)options->cpu_limit_ns / 1e9);
    if (death->wait_status == -1)
        return error_set(err, HUSK_E_COMPILER, "the compiler ended without a result%s%s",
                         line[0] != '\0' ? ": " : "", line);
    int number = WIFSIGNALED(death->wait_status) ? WTERMSIG(death->wait_status) : 0;
    bool used_its_time = death->cpu_ns >= options->cpu_limit_ns;
    if (number == SIGXCPU || (number == SIGKILL && used_its_time))
        return time_error(options, "CPU time", err);
    if (says_out_of_memory(death->stderr_text))
        return worker_memory_error(options, err);
    if (number == SIGSYS && !death->was_contained)
        return error_set(
            err, HUSK_E_SYS,
            "a seccomp filter around this program ended the compiler's process while it started: "
            "that filter must allow, or refuse with an errno, seccomp, landlock_create_ruleset and "
            "landlock_restrict_self (in systemd: SystemCallFilter=)");
    if (number == SIGSYS)
        return error_set(err, HUSK_E_COMPILER,
                         "the compiler was ended: it asked the system for something that compiling "
                         "does not need; the module may have taken it over: please report it");
    if (number == SIGKILL)
        return error_set(
            err, HUSK_E_COMPILER,
            "the compiler was killed from outside (by the kernel for lack of memory?)");
    if (number != 0)
        return error_set(err, HUSK_E_COMPILER, "the compiler crashed (signal %d%s%s)%s%s", number,
                         sigabbrev_np(number) != NULL ? ", SIG" : "",
                         sigabbrev_np(number) != NULL ? sigabbrev_np(number) : "",
                         line[0] != '\0' ? ": " : "", line);
    return error_set(err, HUSK_E_COMPILER, "the compiler ended with exit code %d and no result%s%s",
                     WIFEXITED(death->wait_status) ? WEXITSTATUS(death->wait_status) : -1,
                     line[0] != '\0' ? ": " : "", line);
}
