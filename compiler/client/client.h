/*
 * compiler/client/client.h: internal header of libhusk_compile: options with their defaults, one
 * run of the worker, and the checks of the cache.
 */
#ifndef COMPILER_CLIENT_H
#define COMPILER_CLIENT_H

#include <sys/types.h>

#include "husk_compile.h"

#define CLIENT_IMAGE_BYTES_MAX (16ull << 30) /* libhusk opens no larger images */

/* Copy the options and fill in the defaults. `options` may be NULL, or a struct of another version
 * (base/options.h). HUSK_E_INVAL. */
int client_options(const struct husk_compile_options *options,
                   struct husk_compile_options *ret_options, struct husk_error *err);

/* worker_path.c: finds the worker program. HUSK_E_NOT_FOUND: the message names the places that were
 * searched, or says why the program that was found is not trusted. */
struct worker_program {
    char *path; /* malloc()ed, absolute, without symbolic links */
    int fd;     /* O_PATH */
};
int worker_locate(const char *wanted, struct worker_program *ret_program, struct husk_error *err);
void worker_program_done(struct worker_program *program);

/* worker_spawn.c: starts the program. It gets the descriptors *fds[0] … as its 2, 3, …, and behind
 * them its own program; 0 and 1 are /dev/null. The numbers of *fds[i] here may change. */
struct worker_spawn {
    struct worker_program *program;
    int *const *fds;
    size_t fds_count;     /* at most 7 */
    const char *argument; /* NULL: none */
    bool is_session;      /* in a session of its own, without a terminal */
};
int worker_spawn(const struct worker_spawn *spawn, pid_t *ret_pid, struct husk_error *err);

/* The input of a compile: one module, or several (worker_proto.h). */
struct worker_job {
    const void *bytes;
    size_t count;
    uint32_t modules_count; /* 0: one module */
    /* The host initialises each instance by itself, with calls in between (the runner of the
     * standard's test suite). */
    bool is_staged;
    bool is_idle;           /* the worker runs only when nothing else does */
    uint64_t wall_limit_ns; /* 0: ten times the CPU time's, and a minute */
    void *owned;            /* of worker_job_done(); or NULL */
};

/* link_job.c. A single module without aliases is compiled as by husk_compile(). HUSK_E_INVAL,
 * HUSK_E_LIMIT, HUSK_E_NOMEM. */
int link_job_make(const struct husk_module *modules, size_t count, struct worker_job *ret_job,
                  struct husk_error *err);
void worker_job_done(struct worker_job *job);

/* worker_run.c: compiles in a worker process. `options` come from client_options(). */
int worker_run(const struct worker_job *job, const struct husk_compile_options *options,
               int *ret_fd, uint64_t *ret_bytes, struct husk_error *err);
/* client.c: husk_compile_linked() for sandbox_start_instance() (host/call/call.h). */
int compile_staged(const struct husk_module *modules, size_t count,
                   const struct husk_compile_options *options, int *ret_fd, struct husk_error *err);

/* worker_result.c: makes an error for a worker that died without a result. */
struct worker_death {
    int wait_status;         /* of waitpid(); -1 if unknown */
    uint64_t cpu_ns;         /* CPU time it used */
    bool is_over_wall_limit; /* this process killed it */
    bool was_contained;      /* it had contained itself (contain.h) */
    const char *stderr_text; /* its output on stderr */
};
int worker_death_error(const struct worker_death *death, const struct husk_compile_options *options,
                       struct husk_error *err);
/* The error for a worker that reached its memory limit. */
int worker_memory_error(const struct husk_compile_options *options, struct husk_error *err);
/* The error for a result that reports one. The worker may have been taken over, so every field is
 * checked. Always returns a negative status. */
struct worker_message;
int worker_result_error(const struct worker_message *result,
                        const struct husk_compile_options *options, struct husk_error *err);
/* The largest image that a worker may write. */
uint64_t worker_image_limit(const struct husk_compile_options *options);

/* image_verify.c: is this file a complete image of this module, in this library's format? Reads the
 * whole file (content hash). Its offset is 0 afterwards if it is. */
bool image_verify(int fd, const uint8_t wasm_sha256[32]);
/* By its header alone. ret_offset: where that is in the file. */
struct husk_image_header;
bool image_is_of(int fd, const uint8_t wasm_sha256[32], struct husk_image_header *ret_header,
                 uint64_t *ret_offset);

/* What an image in a cache says of itself. Texts are cut to fit, and may hold any bytes except
 * NUL. */
struct image_summary {
    uint8_t wasm_sha256[32];
    char compiler[64], target_cpu[64], module_name[128];
    int opt_level;
    bool is_strict;
};
/* False: it is no image that this library can read. Not all of it is checked. */
bool image_summarize(int fd, struct image_summary *ret_summary);

/* cpu_identity.c: a short name of this machine's CPU, which determines the code for "native". Made
 * without LLVM. */
void cpu_identity(char ret_text[96]);

#endif
