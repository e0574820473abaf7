/*
 * bench/bench.c: husk_bench, the command line of the benchmarks. Runs the parts one after the
 * other; exits 1 if anything failed or a kernel's result differed between native and sandbox.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "v8_beside.h"

static const char usage[] =
    "usage: husk_bench [options] [module.wasm…]\n"
    "Kernels natively and in a sandbox, what calls, restores and files cost, how fast modules "
    "compile (the named ones too).\n"
    "  --parts LIST      of kernels,calls,tries,floor,limits,compile,snapshots,files,wide,tails "
    "(default: all)\n"
    "  --kernel NAME     only this kernel\n"
    "  --limits LIST     only these limits: of restore,calls,cold,touch,parked,open\n"
    "  --rounds N        counted rounds per kernel (default 15)\n"
    "  --opt N           optimisation level of the kernels (default: the compiler's)\n"
    "  --strict          compile with husk_compile_options.strict\n"
    "  --json FILE       JSON lines (default: none)\n"
    "  --scratch FOLDER  for images and files (default .)\n"
    "  --modules FOLDER  where the kernels' modules are\n"
    "  --guests FOLDER   where script.wasm and lua_native are\n"
    "  --v8 NODE         also run the kernels in this program's V8: node, version 24 or later\n"
    "  --worker FILE     the compiler's worker program\n"
    "  --revision TEXT   what is measured, for the JSON lines\n";

enum part {
    PART_KERNELS = 1,
    PART_CALLS = 2,
    PART_FLOOR = 4,
    PART_COMPILE = 8,
    PART_SNAPSHOTS = 16,
    PART_FILES = 32,
    PART_TRIES = 64,
    PART_WIDE = 128,
    PART_TAILS = 256,
    PART_LIMITS = 512
};

static unsigned parts_parse(char *list) {
    static const char *const names[] = {"kernels", "calls", "floor", "compile", "snapshots",
                                        "files",   "tries", "wide",  "tails",   "limits"};
    unsigned parts = 0;
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        unsigned before = parts;
        for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
            parts |= strcmp(name, names[i]) == 0 ? 1u << i : 0;
        if (parts == before)
            return 0;
    }
    return parts;
}

struct settings {
    struct bench bench;
    unsigned parts;
    const char *revision, *json_path, *node;
};

static const struct option long_options[] = {
    {"parts", 1, NULL, 'p'},    {"kernel", 1, NULL, 'k'},  {"rounds", 1, NULL, 'r'},
    {"opt", 1, NULL, 'O'},      {"strict", 0, NULL, 's'},  {"json", 1, NULL, 'j'},
    {"scratch", 1, NULL, 'd'},  {"modules", 1, NULL, 'm'}, {"worker", 1, NULL, 'w'},
    {"revision", 1, NULL, 'v'}, {"v8", 1, NULL, 'n'},      {"guests", 1, NULL, 'g'},
    {"limits", 1, NULL, 'l'},   {"help", 0, NULL, 'h'},    {NULL, 0, NULL, 0}};

/* False: unknown or unusable. */
static bool option_take(struct settings *settings, int option, char *value) {
    struct bench *bench = &settings->bench;
    const char **texts[] = {
        ['k'] = &bench->only_kernel, ['j'] = &settings->json_path, ['d'] = &bench->scratch_dir,
        ['m'] = &bench->wasm_dir,    ['w'] = &bench->worker_path,  ['v'] = &settings->revision,
        ['n'] = &settings->node,     ['g'] = &bench->guests_dir,   ['l'] = &bench->only_limits};
    if ((size_t)option < sizeof texts / sizeof texts[0] && texts[option] != NULL) {
        *texts[option] = value;
        return true;
    }
    switch (option) {
    case 'p': settings->parts = parts_parse(value); return settings->parts != 0;
    case 'r': bench->rounds = (uint32_t)strtoul(value, NULL, 10); return bench->rounds != 0;
    case 'O': bench->opt_level = atoi(value); return true;
    case 's': bench->is_strict = true; return true;
    default: return false;
    }
}

static int parts_run(const struct settings *settings) {
    const struct bench *bench = &settings->bench;
    int result = bench_machine(bench, settings->revision);
    if ((settings->parts & PART_FLOOR) != 0)
        result |= bench_floor(bench);
    if ((settings->parts & PART_LIMITS) != 0)
        result |= bench_limits(bench);
    if ((settings->parts & PART_CALLS) != 0)
        result |= bench_calls(bench);
    if ((settings->parts & PART_TRIES) != 0)
        result |= bench_tries(bench);
    if ((settings->parts & PART_SNAPSHOTS) != 0)
        result |= bench_snapshots(bench);
    if ((settings->parts & PART_FILES) != 0)
        result |= bench_files(bench);
    if ((settings->parts & PART_KERNELS) != 0)
        result |= bench_kernels(bench);
    if ((settings->parts & PART_WIDE) != 0)
        result |= bench_wide(bench) | bench_wide_memory(bench);
    if ((settings->parts & PART_TAILS) != 0)
        result |= bench_tails(bench);
    if ((settings->parts & PART_COMPILE) != 0)
        result |= bench_compile(bench);
    return result;
}

int main(int argc, char **argv) {
    struct settings settings = {.bench = {.wasm_dir = HUSK_BENCH_WASM_DIR,
                                          .scratch_dir = ".",
                                          .rounds = 15,
                                          .opt_level = -1},
                                .parts = PART_KERNELS | PART_CALLS | PART_FLOOR | PART_COMPILE |
                                         PART_SNAPSHOTS | PART_FILES | PART_TRIES | PART_WIDE |
                                         PART_TAILS | PART_LIMITS,
                                .revision = "unknown",
                                .json_path = "/dev/null"};
    struct husk_error err;
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (!option_take(&settings, option, optarg)) {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    settings.bench.modules = argv + optind;
    settings.bench.modules_count = (size_t)(argc - optind);
    settings.bench.json = fopen(settings.json_path, "we");
    if (settings.bench.json == NULL) {
        perror(settings.json_path);
        return 1;
    }
    if (settings.node != NULL) {
        settings.bench.v8 = v8_beside_start(settings.node, settings.bench.wasm_dir);
        if (settings.bench.v8 == NULL)
            return 1;
    }
    int result = husk_engine_new(NULL, &settings.bench.engine, &err);
    if (result != 0) {
        bench_fail("engine", &err);
    } else {
        result = parts_run(&settings);
        husk_engine_unref(settings.bench.engine);
    }
    v8_beside_stop(settings.bench.v8);
    if (fclose(settings.bench.json) != 0) {
        perror(settings.json_path);
        result = -1;
    }
    return result == 0 ? 0 : 1;
}
