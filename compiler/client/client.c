/*
 * compiler/client/client.c: the functions of husk_compile.h, except the cache (cache.c). It does
 * not link LLVM: worker_run.c starts the process that uses LLVM.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auto.h"
#include "client.h"
#include "error.h"
#include "file.h"
#include "module.h"
#include "needs.h"
#include "options.h"

#define DEFAULT_OPT_LEVEL 2
#define DEFAULT_CPU_LIMIT_NS (600ull * 1000000000u)
/* 31 years; ten times that is a deadline that must not overflow */
#define CPU_LIMIT_MAX_NS 1000000000000000000ull
#define DEFAULT_MEMORY_LIMIT_BYTES (8ull << 30)
#define THREADS_DEFAULT_MAX 8
#define THREADS_MAX 256

bool husk_is_wasm(const void *bytes, size_t count) {
    return count >= 4 && memcmp(bytes, "\0asm", 4) == 0;
}

int husk_validate(const void *wasm, size_t count, struct husk_error *err) {
    struct wasm_module *module = NULL;
    if (wasm == NULL && count > 0)
        return error_set(err, HUSK_E_INVAL, "no module given");
    int status = wasm_decode(wasm, count, &module, err);
    if (status != 0)
        return status;
    status = wasm_validate(module, err);
    wasm_module_free(module);
    return status;
}

int husk_compile_check(const void *wasm, size_t count, const struct husk_compile_options *options,
                       struct husk_error *err) {
    struct husk_compile_options full;
    struct wasm_module *module = NULL;
    wasm_features_t disabled = 0;
    if (wasm == NULL)
        return error_set(err, HUSK_E_INVAL, "no module given");
    int status = client_options(options, &full, err);
    if (status == 0)
        status = wasm_features_parse(full.disable, &disabled, err);
    if (status == 0)
        status = wasm_read_supported(wasm, count, WASM_FEATURES_ALL & ~disabled, &module, err);
    wasm_module_free(module);
    return status;
}

static uint32_t default_threads(void) {
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return count < 1 ? 1 : count > THREADS_DEFAULT_MAX ? THREADS_DEFAULT_MAX : (uint32_t)count;
}

int client_options(const struct husk_compile_options *options,
                   struct husk_compile_options *ret_options, struct husk_error *err) {
    struct husk_compile_options full;
    int status = compile_options_read(options, &full, err);
    if (status != 0)
        return status;
    if (full.opt_level < HUSK_OPT_NONE || full.opt_level > 3)
        return error_set(err, HUSK_E_INVAL,
                         "optimisation level %d; there are 1 to 3, HUSK_OPT_NONE, and 0 for the "
                         "default",
                         full.opt_level);
    if (full.threads > THREADS_MAX)
        return error_set(err, HUSK_E_INVAL, "%u threads; at most %u", full.threads, THREADS_MAX);
    full.opt_level = full.opt_level == 0               ? DEFAULT_OPT_LEVEL
                     : full.opt_level == HUSK_OPT_NONE ? 0
                                                       : full.opt_level;
    full.cpu = full.cpu == NULL ? "native" : full.cpu;
    full.threads = full.threads == 0 ? default_threads() : full.threads;
    full.cpu_limit_ns = full.cpu_limit_ns == 0                 ? DEFAULT_CPU_LIMIT_NS
                        : full.cpu_limit_ns > CPU_LIMIT_MAX_NS ? CPU_LIMIT_MAX_NS
                                                               : full.cpu_limit_ns;
    full.memory_limit_bytes =
        full.memory_limit_bytes == 0 ? DEFAULT_MEMORY_LIMIT_BYTES : full.memory_limit_bytes;
    *ret_options = full;
    return 0;
}

/* Who sets a cache folder expects that it is used. */
static int options_without_cache(const struct husk_compile_options *options,
                                 struct husk_compile_options *ret_options, struct husk_error *err) {
    int status = client_options(options, ret_options, err);
    if (status == 0 && ret_options->cache_dir != NULL)
        status = error_set(err, HUSK_E_INVAL,
                           "cache_dir is set; husk_compile_cached() is what uses a cache");
    if (status == 0 && ret_options->optimise_in_background)
        status = error_set(err, HUSK_E_INVAL,
                           "optimise_in_background is set; that needs a cache: "
                           "husk_compile_cached()");
    return status;
}

int husk_compile(const void *wasm, size_t count, const struct husk_compile_options *options,
                 int *ret_fd, struct husk_error *err) {
    struct husk_compile_options full;
    uint64_t bytes;
    if (wasm == NULL || ret_fd == NULL)
        return error_set(err, HUSK_E_INVAL, "no module or no place for the result");
    int status = options_without_cache(options, &full, err);
    return status == 0 ? worker_run(&(struct worker_job){.bytes = wasm, .count = count}, &full,
                                    ret_fd, &bytes, err)
                       : status;
}

int husk_compile_to_file(const void *wasm, size_t count, const struct husk_compile_options *options,
                         const char *path, struct husk_error *err) {
    struct husk_compile_options full;
    uint64_t bytes = 0;
    if (wasm == NULL || path == NULL)
        return error_set(err, HUSK_E_INVAL, "no module or no path");
    int status = options_without_cache(options, &full, err);
    if (status != 0)
        return status;
    auto_fd fd = -1;
    status =
        worker_run(&(struct worker_job){.bytes = wasm, .count = count}, &full, &fd, &bytes, err);
    return status == 0 ? file_replace(path, fd, bytes, err) : status;
}

static int compile_linked(const struct husk_module *modules, size_t count, bool is_staged,
                          const struct husk_compile_options *full, int *ret_fd,
                          struct husk_error *err) {
    struct worker_job job = {0};
    uint64_t bytes;
    int status = link_job_make(modules, count, &job, err);
    job.is_staged = is_staged;
    if (status == 0)
        status = worker_run(&job, full, ret_fd, &bytes, err);
    worker_job_done(&job);
    return status;
}

int husk_compile_linked(const struct husk_module *modules, size_t count,
                        const struct husk_compile_options *options, int *ret_fd,
                        struct husk_error *err) {
    struct husk_compile_options full;
    if (ret_fd == NULL)
        return error_set(err, HUSK_E_INVAL, "no place for the result");
    int status = options_without_cache(options, &full, err);
    return status == 0 ? compile_linked(modules, count, false, &full, ret_fd, err) : status;
}

int compile_staged(const struct husk_module *modules, size_t count,
                   const struct husk_compile_options *options, int *ret_fd,
                   struct husk_error *err) {
    struct husk_compile_options full;
    int status = options_without_cache(options, &full, err);
    return status == 0 ? compile_linked(modules, count, true, &full, ret_fd, err) : status;
}
