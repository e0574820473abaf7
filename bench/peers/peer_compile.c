/*
 * bench/peers/peer_compile.c: compile time of the named modules: Husk, and Wasmtime's Cranelift and
 * Winch with epochs, which a deadline needs there. A child process for each, so CPU seconds count
 * all threads. Children are forked before anything is compiled here.
 */
#include <stdlib.h>
#include <string.h>

#include "compile_cost.h"
#include "peers.h"

struct wasmtime_job {
    const struct peers *peers;
    const struct module *module;
    enum wasmtime_strategy strategy;
};

/* In the child: what it makes ends with it. */
static int wasmtime_job_run(const void *user) {
    const struct wasmtime_job *job = user;
    const struct wasmtime *wt = &job->peers->wt;
    const struct wasmtime_settings settings = {.strategy = job->strategy, .has_epochs = true};
    struct wasmtime_module *module;
    struct wasm_engine *engine = wasmtime_engine_new(wt, &settings);
    if (engine == NULL)
        return -1;
    struct wasmtime_error *error =
        wt->wasmtime_module_new(engine, job->module->wasm, job->module->bytes, &module);
    return wasmtime_succeeded(wt, error, NULL, job->module->name) ? 0 : -1;
}

enum compiler { HUSK_O2, HUSK_O1, HUSK_O0, CRANELIFT, WINCH, COMPILERS };
static const char *const names[COMPILERS] = {"Husk -O2", "Husk -O1", "Husk -O0", "Cranelift",
                                             "Winch"};

static int cost_get(const struct peers *peers, const struct module *module, enum compiler compiler,
                    struct cost *ret_cost) {
    static const int levels[] = {[HUSK_O2] = 2, [HUSK_O1] = 1, [HUSK_O0] = 0};
    if (compiler <= HUSK_O0)
        return cost_of_compile(&peers->bench, module, levels[compiler], 0, ret_cost, NULL);
    const struct wasmtime_job job = {.peers = peers,
                                     .module = module,
                                     .strategy =
                                         compiler == WINCH ? WASMTIME_WINCH : WASMTIME_CRANELIFT};
    return cost_of_job(module->name, wasmtime_job_run, &job, ret_cost);
}

static void row_print(const struct peers *peers, const struct module *module,
                      const struct cost costs[COMPILERS]) {
    FILE *json = peers->bench.json;
    printf("  %-20s %8.2f", module->name, (double)module->bytes / 1e6);
    fputs("{\"bench\":\"peer_compile\",\"name\":", json);
    json_string(json, module->name);
    fprintf(json, ",\"wasm_bytes\":%zu", module->bytes);
    for (int i = 0; i < COMPILERS; i++) {
        printf(" %8.3f /%7.3f", costs[i].cpu_s, costs[i].wall_s);
        fprintf(json, ",\"%s\":{\"cpu_s\":%.4g,\"wall_s\":%.4g,\"peak_mib\":%.4g}", names[i],
                costs[i].cpu_s, costs[i].wall_s, costs[i].peak_mib);
    }
    printf("  -O2 %.2f, -O0 %.2f\n", costs[HUSK_O2].cpu_s / costs[CRANELIFT].cpu_s,
           costs[HUSK_O0].cpu_s / costs[CRANELIFT].cpu_s);
    fflush(stdout);
    fputs("}\n", json);
}

static int module_measure(const struct peers *peers, const char *path) {
    const char *slash = strrchr(path, '/');
    struct module module = {.name = slash != NULL ? slash + 1 : path};
    struct cost costs[COMPILERS];
    int result = 0;
    if (module_read(path, &module.wasm, &module.bytes) != 0)
        return -1;
    for (int i = 0; i < COMPILERS && result == 0; i++)
        result = cost_get(peers, &module, (enum compiler)i, &costs[i]);
    if (result == 0)
        row_print(peers, &module, costs);
    free(module.wasm);
    return result;
}

int peers_compile(const struct peers *peers) {
    int result = 0;
    if (peers->bench.modules_count == 0) {
        printf("\ncompile: skipped, no modules were named\n");
        return 0;
    }
    printf("\ncompile: CPU s / wall s; last, CPU time of Husk / that of Cranelift\n  %-20s %8s", "",
           "MB");
    for (int i = 0; i < COMPILERS; i++)
        printf(" %17s", names[i]);
    putchar('\n');
    for (size_t i = 0; i < peers->bench.modules_count; i++)
        result |= module_measure(peers, peers->bench.modules[i]);
    return result;
}
