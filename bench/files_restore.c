/*
 * bench/files_restore.c: measures the restore of a private layer after a guest changed files in it,
 * and whether a private layer that nobody touches costs anything. Every row restores; the guest's
 * call before it is timed only where the text says so.
 */
#include <stdlib.h>

#include "files.h"

enum { ROUNDS = 40, FILES = 256, MEM_DIR = 3 };

struct row {
    const char *name, *text, *export_name;
    uint32_t count;
    bool has_layer, is_whole; /* is_whole: restore and call together */
    uint32_t per_round;
};

/* The same 16 pages of memory, with and without a private layer: equal, but for noise. */
static const struct row beside[] = {
    {"whole_16_without", "restore, call that writes 16 pages; no private layer", "touch", 16, false,
     true, 40},
    {"whole_16_with", "the same; a private layer of 512 files, not touched", "touch", 16, true,
     true, 40},
};
static const struct row alone[] = {
    {"pages_16_without", "16 pages of memory written; no private layer", "touch", 16, false, false,
     20},
    {"pages_16_with", "16 pages of memory written; no file touched", "touch", 16, true, false, 20},
    {"rewritten_256", "256 pages of memory written whole", "rewrite", 256, true, false, 20},
    {"rewritten_calls_256", "the same, then 768 calls of WASI that do nothing", "rewrite_calls",
     256, true, false, 4},
    {"files_0", "nothing written", "touch", 0, true, false, 20},
    {"overwritten_1", "1 file of a page overwritten", "overwrite", 1, true, false, 20},
    {"overwritten_16", "16 files overwritten", "overwrite", 16, true, false, 8},
    {"overwritten_256", "256 files overwritten", "overwrite", 256, true, false, 4},
    {"created_1", "1 file of a page created", "create", 1, true, false, 20},
    {"created_16", "16 files created", "create", 16, true, false, 8},
    {"created_256", "256 files created", "create", 256, true, false, 4},
};
enum { BESIDE = sizeof beside / sizeof beside[0], ALONE = sizeof alone / sizeof alone[0] };

struct grounds {
    husk_imports *without, *with;
    husk_image *bare, *filled; /* snapshots */
};

static int call_only(struct snapshot_op *op) {
    return op_call(op, op->touch, op->pages);
}

static int restore_call(struct snapshot_op *op) {
    return op_restore(op) != 0 ? -1 : call_only(op);
}

static int imports_open(const struct bench *bench, bool has_dir, husk_imports **ret_imports) {
    const struct husk_wasi_dir dir = {
        .guest_path = "/", .kind = HUSK_WASI_DIR_MEM, .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_error err;
    options.dirs = has_dir ? &dir : NULL;
    options.dirs_count = has_dir;
    options.private_max_bytes = has_dir ? 64u << 20 : 0;
    if (husk_imports_new(bench->engine, ret_imports, &err) != 0 ||
        husk_imports_wasi(*ret_imports, &options, &err) != 0)
        return bench_fail("files: imports", &err);
    return 0;
}

/* A snapshot of the module, with or without files. */
static int snapshot_make(husk_image *module, husk_imports *imports, uint32_t files,
                         husk_image **ret_image) {
    struct snapshot_op op = {.name = "fill", .pages = files, .stride = MEM_DIR};
    struct husk_error err;
    int result = files_open(&op, module, imports, files > 0 ? "fill" : "touch");
    if (result == 0)
        result = call_only(&op);
    if (result == 0 && husk_sandbox_snapshot(op.sandbox, ret_image, &err) != 0)
        result = bench_fail("files: snapshot", &err);
    op_close(&op);
    return result;
}

static int grounds_open(const struct bench *bench, struct grounds *grounds, husk_image *module) {
    int result = imports_open(bench, false, &grounds->without);
    result = result != 0 ? result : imports_open(bench, true, &grounds->with);
    result = result != 0 ? result : snapshot_make(module, grounds->without, 0, &grounds->bare);
    return result != 0 ? result : snapshot_make(module, grounds->with, FILES, &grounds->filled);
}

static void grounds_close(struct grounds *grounds) {
    husk_image_unref(grounds->bare);
    husk_image_unref(grounds->filled);
    husk_imports_free(grounds->without);
    husk_imports_free(grounds->with);
}

static int row_open(struct grounds *grounds, const struct row *row, struct snapshot_op *op) {
    *op = (struct snapshot_op){.name = row->name,
                               .text = row->text,
                               .pages = row->count,
                               .stride = MEM_DIR,
                               .before = row->is_whole ? NULL : call_only,
                               .run = row->is_whole ? restore_call : op_restore,
                               .per_round = row->per_round};
    return files_open(op, row->has_layer ? grounds->filled : grounds->bare,
                      row->has_layer ? grounds->with : grounds->without, row->export_name);
}

static void rows_print(const struct bench *bench, const char *title, const struct snapshot_op *all,
                       size_t count) {
    printf("\n%s: µs, and × the first row: median of the rounds' ratios (p10-p90)\n"
           "  %-56s %9s %9s %9s\n",
           title, "", "p10", "median", "p90");
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_op *op = &all[i];
        printf("  %-56s %9.2f %9.2f %9.2f %7.3f (%.3f-%.3f)\n", op->text, op->us.p10, op->us.p50,
               op->us.p90, op->ratio.p50, op->ratio.p10, op->ratio.p90);
        fprintf(bench->json, "{\"bench\":\"files_restore\",\"name\":\"%s\",\"samples\":%u,",
                op->name, op->samples_count);
        json_spread(bench->json, "us", op->us);
        fputc(',', bench->json);
        json_spread(bench->json, "ratio", op->ratio);
        fputs("}\n", bench->json);
    }
    fflush(stdout);
}

static int rows_run(const struct bench *bench, struct grounds *grounds, const char *title,
                    const struct row *rows, size_t count) {
    struct snapshot_op *all = calloc(count, sizeof *all), *ops[ALONE];
    int result = all != NULL ? 0 : -1;
    for (size_t i = 0; i < count && result == 0; i++) {
        ops[i] = &all[i];
        result = row_open(grounds, &rows[i], &all[i]);
    }
    result = result != 0 ? result : ops_run(ops, count, ROUNDS);
    if (result == 0)
        rows_print(bench, title, all, count);
    for (size_t i = 0; i < count && all != NULL; i++)
        op_close(&all[i]);
    free(all);
    return result;
}

int files_restore(const struct bench *bench, husk_image *module) {
    struct grounds grounds = {0};
    int result = grounds_open(bench, &grounds, module);
    if (result == 0)
        result = rows_run(bench, &grounds, "restore and call, beside each other", beside, BESIDE) |
                 rows_run(bench, &grounds, "restore alone, after a call", alone, ALONE);
    grounds_close(&grounds);
    return result;
}
