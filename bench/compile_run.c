/*
 * bench/compile_run.c: measures compilation. Each compilation runs in a separate child process. So
 * wait4() gives the CPU time and the peak memory of the child and of its worker.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "generate.h"
#include "husk_compile.h"

enum { GENERATED_FUNCTIONS = 2000 };

struct module {
    const char *name;
    uint8_t *wasm;
    size_t bytes;
};

struct cost {
    double cpu_s, wall_s, peak_mib;
    uint64_t text_bytes;
};

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* In the child: never returns. */
static void child_compile(const struct bench *bench, const struct module *module, int opt_level,
                          const char *path) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_error err;
    options.opt_level = opt_level == 0 ? HUSK_OPT_NONE : opt_level;
    options.strict = bench->is_strict;
    options.worker_path = bench->worker_path;
    if (husk_compile_to_file(module->wasm, module->bytes, &options, path, &err) != 0) {
        bench_fail(module->name, &err);
        _exit(1);
    }
    _exit(0);
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

static int compile_measure(const struct bench *bench, const struct module *module, int opt_level,
                           struct cost *ret_cost) {
    char path[4096];
    struct rusage usage;
    int status;
    snprintf(path, sizeof path, "%s/compile.O%d.husk", bench->scratch_dir, opt_level);
    fflush(NULL);
    uint64_t start = bench_now_ns();
    pid_t child = fork();
    if (child < 0) {
        perror("husk_bench: fork");
        return -1;
    }
    if (child == 0)
        child_compile(bench, module, opt_level, path);
    if (wait4(child, &status, 0, &usage) != child || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0) {
        fprintf(stderr, "husk_bench: compiling %s at -O%d failed\n", module->name, opt_level);
        return -1;
    }
    ret_cost->wall_s = (double)(bench_now_ns() - start) / 1e9;
    ret_cost->cpu_s = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    ret_cost->peak_mib = (double)usage.ru_maxrss / 1024;
    int result = image_text(bench, path, &ret_cost->text_bytes);
    unlink(path);
    return result;
}

static int module_report(const struct bench *bench, const struct module *module, int opt_level) {
    struct cost cost;
    if (compile_measure(bench, module, opt_level, &cost) != 0)
        return -1;
    double mb = (double)module->bytes / 1e6;
    double code_ratio = (double)cost.text_bytes / (double)module->bytes;
    printf("  %-16s -O%d %8.2f MB %8.2f %8.2f %9.1f %9.2f %9.2f %9.2f\n", module->name, opt_level,
           mb, cost.cpu_s, cost.wall_s, cost.peak_mib, cost.cpu_s / mb, cost.peak_mib / mb,
           code_ratio);
    fflush(stdout);
    fputs("{\"bench\":\"compile\",\"name\":", bench->json);
    json_string(bench->json, module->name);
    fprintf(bench->json,
            ",\"opt_level\":%d,\"wasm_bytes\":%zu,\"cpu_s\":%.4g,\"wall_s\":%.4g,\"peak_mib\":%.4g,"
            "\"text_"
            "bytes\":%llu}\n",
            opt_level, module->bytes, cost.cpu_s, cost.wall_s, cost.peak_mib,
            (unsigned long long)cost.text_bytes);
    return 0;
}

static int module_measure(const struct bench *bench, const struct module *module) {
    int result = 0;
    static const int levels[] = {0, 2};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        result |= module_report(bench, module, levels[i]);
    return result;
}

int bench_compile(const struct bench *bench) {
    struct module module = {.name = "generated"};
    int result = 0;
    printf(
        "\ncompile: seconds and MiB; per MB of wasm: CPU seconds, peak MiB, MB of machine code\n");
    printf("  %-16s %3s %11s %8s %8s %9s %9s %9s %9s\n", "module", "", "wasm", "CPU s", "wall s",
           "peak MiB", "CPU s/MB", "MiB/MB", "code/MB");
    if (generate_module(GENERATED_FUNCTIONS, &module.wasm, &module.bytes) != 0) {
        fprintf(stderr, "husk_bench: out of memory\n");
        return -1;
    }
    result |= module_measure(bench, &module);
    free(module.wasm);
    for (size_t i = 0; i < bench->modules_count; i++) {
        const char *slash = strrchr(bench->modules[i], '/');
        module.name = slash != NULL ? slash + 1 : bench->modules[i];
        if (module_read(bench->modules[i], &module.wasm, &module.bytes) != 0) {
            result = -1;
            continue;
        }
        result |= module_measure(bench, &module);
        free(module.wasm);
    }
    return result;
}
