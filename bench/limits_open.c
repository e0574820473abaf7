/*
 * bench/limits_open.c: the rows of whole processes in the table of limits, from exec to exit: husk
 * run of a saved snapshot, and of programs that the cache has. In turns, beside the smallest
 * process that the command can be.
 */
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "limits.h"
#include "snapshot.h"

extern char **environ;

enum { MEMORY_MIB = 16, ROUNDS = 40, SETTLE_SECONDS = 5, WORDS_MAX = 10, PATH_BYTES = 4096 };

struct process {
    const char *name;
    double limit; /* ms */
    const char *words[WORDS_MAX];
    double ms[ROUNDS];
};

static int process_run(const struct process *process) {
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int wait_status = -1;
    char *argv[WORDS_MAX];
    memcpy(argv, process->words, sizeof argv);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    int rc = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", 1, 0);
    rc = rc != 0 ? rc : posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0 || waitpid(pid, &wait_status, 0) != pid || wait_status != 0) {
        fprintf(stderr, "husk_bench: %s failed (%d)\n", process->name, wait_status);
        return -1;
    }
    return 0;
}

/* Once to compile, and once more when the module's file is old enough for the cache to know it
 * without reading it. */
static int processes_begin(struct process *processes, size_t count) {
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < count; k++)
            if (process_run(&processes[k]) != 0)
                return -1;
        if (i == 0)
            sleep(SETTLE_SECONDS);
    }
    return 0;
}

static int processes_measure(const struct bench *bench, struct process *processes, size_t count) {
    for (size_t i = 0; i < ROUNDS; i++) {
        for (size_t k = 0; k < count; k++) {
            const uint64_t start = bench_now_ns();
            if (process_run(&processes[k]) != 0)
                return -1;
            processes[k].ms[i] = (double)(bench_now_ns() - start) / 1e6;
        }
    }
    for (size_t k = 0; k < count; k++) {
        const struct limit_row row = {.name = processes[k].name,
                                      .unit = "ms",
                                      .spread = spread_of(processes[k].ms, ROUNDS),
                                      .limit = processes[k].limit};
        limits_print(bench, &row);
    }
    return 0;
}

static int snapshot_save(const struct bench *bench, const char *path) {
    struct husk_error err;
    husk_image *image = NULL;
    if (image_filled(bench, bench->engine, MEMORY_MIB, &image) != 0)
        return -1;
    int status = husk_image_save(image, path, &err);
    husk_image_unref(image);
    return status == 0 ? 0 : bench_fail("save", &err);
}

/* CPython is only measured where tools/build-guests has fetched it. */
static bool find_python(const struct bench *bench, char path[PATH_BYTES]) {
    if (bench->guests_dir == NULL)
        return false;
    snprintf(path, PATH_BYTES, "%s/python.wasm", bench->guests_dir);
    return access(path, R_OK) == 0;
}

int limits_open(const struct bench *bench) {
    char saved[PATH_BYTES], small[PATH_BYTES], python[PATH_BYTES], cache[PATH_BYTES];
    snprintf(saved, sizeof saved, "%s/limits.husk", bench->scratch_dir);
    snprintf(small, sizeof small, "%s/pages.wasm", bench->wasm_dir);
    snprintf(cache, sizeof cache, "%s/limits-cache", bench->scratch_dir);
    struct process processes[] = {
        {"husk --version, whole process", 0, {HUSK_BENCH_COMMAND, "--version"}, {0}},
        {"husk run of a small module, cached, whole process",
         0,
         {HUSK_BENCH_COMMAND, "run", "-O2", "--invoke", "touch", small, "4", "1"},
         {0}},
        {"open a saved snapshot of 16 MiB, first call, whole process",
         12,
         {HUSK_BENCH_COMMAND, "run", "--invoke", "touch", saved, "4", "1"},
         {0}},
        {"the same with --no-verify",
         0,
         {HUSK_BENCH_COMMAND, "run", "--no-verify", "--invoke", "touch", saved, "4", "1"},
         {0}},
        {"CPython 3.12, cached, -c pass, whole process",
         60,
         {HUSK_BENCH_COMMAND, "run", "-O2", "--compile-cpu-limit", "60m", python, "-c", "pass"},
         {0}},
    };
    const size_t all = sizeof processes / sizeof processes[0];
    const bool has_python = find_python(bench, python);
    const size_t count = has_python ? all : all - 1;
    if (!has_python)
        printf("  (no CPython: tools/build-guests BUILD python)\n");
    if (setenv("HUSK_CACHE_DIR", cache, 1) != 0 || snapshot_save(bench, saved) != 0 ||
        processes_begin(processes, count) != 0)
        return -1;
    return processes_measure(bench, processes, count);
}
