/* bench/compile_cost.c: see compile_cost.h. */
#include "compile_cost.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "husk_compile.h"

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

int cost_of_job(const char *what, int (*job)(const void *user), const void *user,
                struct cost *ret_cost) {
    struct rusage usage;
    int status;
    fflush(NULL);
    uint64_t start = bench_now_ns();
    pid_t child = fork();
    if (child < 0) {
        perror("husk_bench: fork");
        return -1;
    }
    if (child == 0)
        _exit(job(user) == 0 ? 0 : 1);
    if (wait4(child, &status, 0, &usage) != child || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0) {
        fprintf(stderr, "husk_bench: compiling %s failed\n", what);
        return -1;
    }
    ret_cost->wall_s = (double)(bench_now_ns() - start) / 1e9;
    ret_cost->cpu_s = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    ret_cost->peak_mib = (double)usage.ru_maxrss / 1024;
    return 0;
}

struct compile_job {
    const struct module *module;
    struct husk_compile_options options;
    char path[4096];
};

static int compile_job_run(const void *user) {
    const struct compile_job *job = user;
    struct husk_error err;
    if (husk_compile_to_file(job->module->wasm, job->module->bytes, &job->options, job->path,
                             &err) != 0)
        return bench_fail(job->module->name, &err);
    return 0;
}

static int image_text(const struct bench *bench, const char *path, uint64_t *ret_bytes) {
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    struct husk_error err;
    husk_image *image;
    if (husk_image_open(bench->engine, path,
                        &(struct husk_open_options){.size = sizeof(struct husk_open_options),
                                                    .skips_hash = true},
                        &image, &err) != 0)
        return bench_fail(path, &err);
    husk_image_info(image, &info);
    *ret_bytes = info.text_bytes;
    husk_image_unref(image);
    return 0;
}

int cost_of_compile(const struct bench *bench, const struct module *module, int opt_level,
                    uint32_t threads, struct cost *ret_cost, uint64_t *ret_text_bytes) {
    struct compile_job job = {.module = module, .options = HUSK_COMPILE_OPTIONS_INIT};
    job.options.opt_level = opt_level == 0 ? HUSK_OPT_NONE : opt_level;
    job.options.strict = bench->is_strict;
    job.options.worker_path = bench->worker_path;
    job.options.threads = threads;
    snprintf(job.path, sizeof job.path, "%s/compile.O%d.husk", bench->scratch_dir, opt_level);
    if (cost_of_job(module->name, compile_job_run, &job, ret_cost) != 0)
        return -1;
    int result = ret_text_bytes != NULL ? image_text(bench, job.path, ret_text_bytes) : 0;
    unlink(job.path);
    return result;
}
