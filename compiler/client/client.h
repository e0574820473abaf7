/*
 * compiler/client/client.h: inside libhusk_compile: options with their defaults filled in, one run
 * of the worker, and the checks of the cache.
 */
#ifndef COMPILER_CLIENT_H
#define COMPILER_CLIENT_H

#include "husk_compile.h"

#define CLIENT_IMAGE_BYTES_MAX (16ull << 30) /* libhusk opens no larger images */

/* Every default filled in. `options` may be NULL or of an older, smaller size. HUSK_E_INVAL. */
int client_options(const struct husk_compile_options *options,
                   struct husk_compile_options *ret_options, struct husk_error *err);

/* worker_path.c: the worker program. HUSK_E_NOT_FOUND names the places that were looked at, or
 * says why the program that was found is not to be trusted. */
struct worker_program {
    char *path; /* malloc()ed, absolute, without symbolic links */
    int fd;     /* O_PATH */
};
int worker_locate(const char *wanted, struct worker_program *ret_program, struct husk_error *err);
void worker_program_done(struct worker_program *program);

/* worker_run.c: compile in a worker process. `options` as client_options() made them. */
int worker_run(const void *wasm, size_t count, const struct husk_compile_options *options,
               int *ret_fd, uint64_t *ret_bytes, struct husk_error *err);

/* worker_result.c: what a worker that died without a result means. */
struct worker_death {
    int wait_status;         /* of waitpid(); -1 if unknown */
    uint64_t cpu_ns;         /* CPU time it used */
    bool is_over_wall_limit; /* killed by us */
    bool was_contained;      /* it had closed itself in */
    const char *stderr_text; /* what it said */
};
int worker_death_error(const struct worker_death *death, const struct husk_compile_options *options,
                       struct husk_error *err);
/* The worker ran into its memory limit. */
int worker_memory_error(const struct husk_compile_options *options, struct husk_error *err);
/* A result that is an error, which may come from a worker that was taken over. Returns a
 * negative status in any case. */
struct worker_message;
int worker_result_error(const struct worker_message *result,
                        const struct husk_compile_options *options, struct husk_error *err);
/* The largest image that a worker may write. */
uint64_t worker_image_limit(const struct husk_compile_options *options);

/* image_verify.c: is this file a whole image of this module and of this library's format? Reads all
 * of it (content hash). */
bool image_verify(int fd, const uint8_t wasm_sha256[32]);

/* cpu_identity.c: what "native" means on this machine, in few bytes, without LLVM. */
void cpu_identity(char ret_text[96]);

#endif
