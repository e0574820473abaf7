/*
 * bench/limits_compile.c: the limits of compiling: SQLite by Husk, and by clang -O2 to native code
 * from the same source, in turns. So the rows are ratios, and hold on any CPU. The module is
 * sqlite.wasm, and the source lies where tools/build-guests unpacks it.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compile_cost.h"
#include "limits.h"

enum { ROUNDS = 3, THREADS = 2 };

/*
 * CPU time of Husk in per cent of that of clang, and the peak memory with two threads, as measured
 * on Emerald Rapids with LLVM 22.1.8 at revision 9c6d6e0. The limits are the share of them that
 * must suffice.
 */
static const double default_before = 101, default_share = 0.75;
static const double unoptimised_before = 9.4, unoptimised_share = 0.7;
static const double memory_before_mib = 165;

struct rounds {
    double optimised[ROUNDS], unoptimised[ROUNDS], memory_mib[ROUNDS];
};

/* In the child: becomes the compiler. */
static int clang_job(const void *user) {
    execl(HUSK_BENCH_CLANG, HUSK_BENCH_CLANG, "-O2", "-march=native", "-w", "-DSQLITE_THREADSAFE=0",
          "-DSQLITE_OMIT_LOAD_EXTENSION", "-DSQLITE_OMIT_WAL", "-c", (const char *)user, "-o",
          "/dev/null", (char *)NULL);
    perror(HUSK_BENCH_CLANG);
    return -1;
}

static int round_run(const struct bench *bench, const struct module *module, const char *source,
                     struct rounds *rounds, uint32_t i) {
    struct cost native, optimised, unoptimised;
    if (cost_of_job(source, clang_job, source, &native) != 0 ||
        cost_of_compile(bench, module, 2, THREADS, &optimised, NULL) != 0 ||
        cost_of_compile(bench, module, 0, THREADS, &unoptimised, NULL) != 0)
        return -1;
    rounds->optimised[i] = 100 * optimised.cpu_s / native.cpu_s;
    rounds->unoptimised[i] = 100 * unoptimised.cpu_s / native.cpu_s;
    rounds->memory_mib[i] = optimised.peak_mib;
    return 0;
}

static void rows_print(const struct bench *bench, struct rounds *rounds) {
    char text[2][64];
    snprintf(text[0], sizeof text[0], "%.2f of %.0f before", default_share, default_before);
    snprintf(text[1], sizeof text[1], "%.2f of %.1f before", unoptimised_share, unoptimised_before);
    const struct limit_row rows[] = {
        {.name = "SQLite, -O2: CPU time / clang -O2 of its source",
         .unit = "% of clang",
         .spread = spread_of(rounds->optimised, ROUNDS),
         .limit = default_share * default_before,
         .limit_text = text[0]},
        {.name = "SQLite, -O0: CPU time / clang -O2 of its source",
         .unit = "% of clang",
         .spread = spread_of(rounds->unoptimised, ROUNDS),
         .limit = unoptimised_share * unoptimised_before,
         .limit_text = text[1]},
        {.name = "SQLite, -O2, two threads: peak memory",
         .unit = "MiB",
         .spread = spread_of(rounds->memory_mib, ROUNDS),
         .limit = memory_before_mib},
    };
    limits_head("limits of compiling");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        limits_print(bench, &rows[i]);
}

int limits_compile(const struct bench *bench) {
    char path[4096], source[4096];
    struct module module = {.name = "sqlite.wasm"};
    struct rounds rounds;
    int result = 0;
    if (bench->guests_dir == NULL)
        return 0;
    snprintf(path, sizeof path, "%s/sqlite.wasm", bench->guests_dir);
    snprintf(source, sizeof source, "%s/../guest-src/sqlite-build/sqlite3.c", bench->guests_dir);
    if (access(path, R_OK) != 0 || access(source, R_OK) != 0) {
        printf("  limits of compiling: skipped, no %s or no %s (tools/build-guests)\n", path,
               source);
        return 0;
    }
    if (module_read(path, &module.wasm, &module.bytes) != 0)
        return -1;
    for (uint32_t i = 0; i < ROUNDS && result == 0; i++)
        result = round_run(bench, &module, source, &rounds, i);
    free(module.wasm);
    if (result == 0)
        rows_print(bench, &rounds);
    return result;
}
