/*
 * bench/peers/peers.c: husk_peers, its command line. Wasmtime's library is named by the caller
 * (bench/peers/run). Exits 1 if anything failed or a result differed.
 */
#include "peers.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: husk_peers --wasmtime LIBRARY [options] [module.wasm…]\n"
    "Wasmtime beside Husk and native code: kernels, requests in a clean state, compiling the named "
    "modules.\n"
    "  --parts LIST      of compile,requests,kernels (default: all)\n"
    "  --kernel NAME     only this kernel\n"
    "  --rounds N        counted rounds per kernel (default 7)\n"
    "  --json FILE       JSON lines (default: none)\n"
    "  --scratch FOLDER  for images (default .)\n"
    "  --worker FILE     the compiler's worker program\n"
    "  --revision TEXT   what is measured, for the JSON lines\n";

static const struct part {
    const char *name;
    int (*run)(const struct peers *peers);
} parts[] = {{"compile", peers_compile}, {"requests", peers_requests}, {"kernels", peers_kernels}};
enum { PARTS_COUNT = sizeof parts / sizeof parts[0], PARTS_ALL = (1 << PARTS_COUNT) - 1 };

struct settings {
    const char *library, *revision, *json_path;
    unsigned parts; /* a bit each */
};

static const struct option long_options[] = {{"wasmtime", 1, NULL, 'l'}, {"parts", 1, NULL, 'p'},
                                             {"kernel", 1, NULL, 'k'},   {"rounds", 1, NULL, 'r'},
                                             {"json", 1, NULL, 'j'},     {"scratch", 1, NULL, 'd'},
                                             {"worker", 1, NULL, 'w'},   {"revision", 1, NULL, 'v'},
                                             {"help", 0, NULL, 'h'},     {NULL, 0, NULL, 0}};

/* 0: a name is unknown. */
static unsigned parts_parse(char *list) {
    unsigned result = 0;
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        unsigned before = result;
        for (unsigned i = 0; i < PARTS_COUNT; i++)
            result |= strcmp(name, parts[i].name) == 0 ? 1u << i : 0;
        if (result == before)
            return 0;
    }
    return result;
}

/* False: unknown or unusable. */
static bool option_take(struct peers *peers, struct settings *settings, int option, char *value) {
    switch (option) {
    case 'l': settings->library = value; return true;
    case 'p': settings->parts = parts_parse(value); return settings->parts != 0;
    case 'k': peers->bench.only_kernel = value; return true;
    case 'r':
        peers->bench.rounds = (uint32_t)strtoul(value, NULL, 10);
        return peers->bench.rounds != 0;
    case 'j': settings->json_path = value; return true;
    case 'd': peers->bench.scratch_dir = value; return true;
    case 'w': peers->bench.worker_path = value; return true;
    case 'v': settings->revision = value; return true;
    default: return false;
    }
}

static int parts_run(const struct peers *peers, const struct settings *settings) {
    int result = bench_machine(&peers->bench, settings->revision);
    for (unsigned i = 0; i < PARTS_COUNT; i++)
        if ((settings->parts & 1u << i) != 0)
            result |= parts[i].run(peers);
    return result;
}

static int peers_run(struct peers *peers, const struct settings *settings) {
    struct husk_error err;
    if (wasmtime_open(settings->library, &peers->wt) != 0)
        return -1;
    if (husk_engine_new(NULL, &peers->bench.engine, &err) != 0)
        return bench_fail("engine", &err);
    int result = parts_run(peers, settings);
    husk_engine_unref(peers->bench.engine);
    return result;
}

int main(int argc, char **argv) {
    struct peers peers = {
        .bench = {
            .wasm_dir = HUSK_BENCH_WASM_DIR, .scratch_dir = ".", .rounds = 7, .opt_level = -1}};
    struct settings settings = {
        .revision = "unknown", .json_path = "/dev/null", .parts = PARTS_ALL};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (!option_take(&peers, &settings, option, optarg)) {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (settings.library == NULL) {
        fputs(usage, stderr);
        return 2;
    }
    peers.bench.modules = argv + optind;
    peers.bench.modules_count = (size_t)(argc - optind);
    peers.bench.json = fopen(settings.json_path, "we");
    if (peers.bench.json == NULL) {
        perror(settings.json_path);
        return 1;
    }
    int result = peers_run(&peers, &settings);
    if (fclose(peers.bench.json) != 0) {
        perror(settings.json_path);
        result = -1;
    }
    return result == 0 ? 0 : 1;
}
