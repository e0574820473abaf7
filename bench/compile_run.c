/* bench/compile_run.c: measures compilation, module by module. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "compile_cost.h"
#include "generate.h"
#include "limits.h"

enum { GENERATED_FUNCTIONS = 2000 };

static int module_report(const struct bench *bench, const struct module *module, int opt_level) {
    struct cost cost;
    uint64_t text_bytes;
    if (cost_of_compile(bench, module, opt_level, 0, &cost, &text_bytes) != 0)
        return -1;
    double mb = (double)module->bytes / 1e6;
    double code_ratio = (double)text_bytes / (double)module->bytes;
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
            (unsigned long long)text_bytes);
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
    return result | limits_compile(bench);
}
