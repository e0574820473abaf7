/*
 * bench/files_run.c: measures operations on files in a sandbox's directories (of the host, cow,
 * mem) against the same ones done natively in a directory of the same file system, side by side in
 * rounds. The time is this thread's CPU time, the guest's and the kernel's included. Also runs the
 * other parts of the benchmarks of files.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

enum { ROUNDS = 20, WHERE_COUNT = 4, FIRST_DIR = 3 };

/* What is done, natively and by the guest's export of that name. */
struct kind {
    const char *name, *text;
    snapshot_op_fn native;
    uint32_t count;      /* the argument */
    uint32_t operations; /* in one sample */
    uint32_t per_round;
};

static const struct kind kinds[] = {
    {"nothing", "a call that does nothing: close of no descriptor", native_nothing, 1000, 1000, 4},
    {"open_read_close", "open, read 512 bytes, close (1,000 files)", native_open_read_close,
     FILES_SMALL, FILES_SMALL, 2},
    {"create_unlink", "create, write 512 bytes, close, unlink", native_create_unlink, 200, 200, 2},
    {"read_big", "1 MiB read: open, 16 pieces of 64 KiB, close", native_read_big, 4, 4, 4},
    {"write_big", "1 MiB written in place, the same way", native_write_big, 4, 4, 4},
    {"list", "a directory of 1,000 entries read", native_list, FILES_SMALL, 1, 8},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* In this order: natively, and the guest's directories from FIRST_DIR on. */
static const char *const wheres[WHERE_COUNT] = {"native", "host", "cow", "mem"};

struct stage {
    char base[4096], paths[3][4224]; /* of native, host, and the one below cow */
    int fds[3];
    husk_imports *imports;
    husk_sandbox *sandbox;
    struct snapshot_op ops[WHERE_COUNT];
};

int files_open(struct snapshot_op *op, husk_image *image, husk_imports *imports, const char *name) {
    struct husk_error err;
    op->image = image;
    if (husk_image_func(image, "empty", 0, &op->empty, &err) != 0 ||
        husk_image_func(image, name, 0, &op->touch, &err) != 0 ||
        (op->sandbox == NULL && husk_sandbox_new(image, imports, NULL, &op->sandbox, &err) != 0))
        return bench_fail(name, &err);
    return 0;
}

static int imports_open(const struct bench *bench, struct stage *stage) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_error err;
    const uint32_t all = HUSK_WASI_READ | HUSK_WASI_WRITE;
    const struct husk_wasi_dir dirs[] = {
        {.guest_path = "/host",
         .host_path = stage->paths[1],
         .kind = HUSK_WASI_DIR_HOST,
         .rights = all},
        {.guest_path = "/cow",
         .host_path = stage->paths[2],
         .kind = HUSK_WASI_DIR_COW,
         .rights = all},
        {.guest_path = "/mem", .kind = HUSK_WASI_DIR_MEM, .rights = all},
    };
    options.dirs = dirs;
    options.dirs_count = sizeof dirs / sizeof dirs[0];
    if (husk_imports_new(bench->engine, &stage->imports, &err) != 0 ||
        husk_imports_wasi(stage->imports, &options, &err) != 0)
        return bench_fail("files: imports", &err);
    return 0;
}

static int stage_open(const struct bench *bench, struct stage *stage, husk_image *module) {
    struct husk_error err;
    snprintf(stage->base, sizeof stage->base, "%s/filesXXXXXX", bench->scratch_dir);
    if (mkdtemp(stage->base) == NULL) {
        perror(stage->base);
        stage->base[0] = '\0';
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        snprintf(stage->paths[i], sizeof stage->paths[i], "%s/%s", stage->base, wheres[i]);
        stage->fds[i] = native_fill(stage->paths[i]);
        if (stage->fds[i] < 0)
            return -1;
    }
    if (imports_open(bench, stage) != 0)
        return -1;
    if (husk_sandbox_new(module, stage->imports, NULL, &stage->sandbox, &err) != 0)
        return bench_fail("files", &err);
    struct snapshot_op fill = {
        .name = "fill", .sandbox = stage->sandbox, .pages = FILES_SMALL, .stride = FIRST_DIR + 2};
    return files_open(&fill, module, stage->imports, "fill") != 0
               ? -1
               : op_call(&fill, fill.touch, fill.pages);
}

static void stage_close(struct stage *stage) {
    husk_sandbox_free(stage->sandbox);
    husk_imports_free(stage->imports);
    for (int i = 0; i < 3; i++)
        if (stage->fds[i] >= 0)
            close(stage->fds[i]);
    if (stage->base[0] != '\0')
        native_remove(stage->base);
}

static int op_export(struct snapshot_op *op) {
    return op_call(op, op->touch, op->pages);
}

static void kind_print(const struct bench *bench, const struct kind *kind, struct stage *stage) {
    printf("  %-48s", kind->text);
    for (int i = 0; i < WHERE_COUNT; i++) {
        const struct snapshot_op *op = &stage->ops[i];
        const double each = 1.0 / kind->operations;
        const struct spread us = {op->us.p10 * each, op->us.p50 * each, op->us.p90 * each};
        if (i == 0)
            printf(" %9.2f", us.p50);
        else
            printf(" | %9.2f %6.2f (%.2f-%.2f)", us.p50, op->ratio.p50, op->ratio.p10,
                   op->ratio.p90);
        fprintf(bench->json,
                "{\"bench\":\"files\",\"name\":\"%s\",\"where\":\"%s\",\"samples\":%u,", kind->name,
                wheres[i], op->samples_count);
        json_spread(bench->json, "us", us);
        fputc(',', bench->json);
        json_spread(bench->json, "ratio", op->ratio);
        fprintf(bench->json, ",\"per_second\":%.6g}\n", 1e6 / us.p50);
    }
    putchar('\n');
    fflush(stdout);
}

static int kind_run(const struct bench *bench, const struct kind *kind, struct stage *stage,
                    husk_image *module) {
    struct snapshot_op *ops[WHERE_COUNT];
    for (int i = 0; i < WHERE_COUNT; i++) {
        struct snapshot_op *op = &stage->ops[i];
        *op = (struct snapshot_op){.name = kind->name,
                                   .pages = kind->count,
                                   .run = i == 0 ? kind->native : op_export,
                                   .per_round = kind->per_round,
                                   .now = bench_cpu_ns};
        op->stride = i == 0 ? (uint32_t)stage->fds[0] : (uint32_t)(FIRST_DIR + i - 1);
        op->sandbox = stage->sandbox;
        if (i > 0 && files_open(op, module, stage->imports, kind->name) != 0)
            return -1;
        ops[i] = op;
    }
    if (ops_run(ops, WHERE_COUNT, ROUNDS) != 0)
        return -1;
    kind_print(bench, kind, stage);
    return 0;
}

int files_ops(const struct bench *bench, husk_image *module) {
    struct stage *stage = calloc(1, sizeof *stage);
    if (stage == NULL)
        return -1;
    memset(stage->fds, -1, sizeof stage->fds);
    int result = stage_open(bench, stage, module);
    if (result == 0)
        printf("\nfiles: µs of CPU time an operation (median), and × native: median of the rounds' "
               "ratios "
               "(p10-p90)\n  %-48s %9s   %-27s   %-27s   %s\n",
               "", "native", "host directory", "cow", "mem");
    for (int i = 0; i < KINDS && result == 0; i++)
        result = kind_run(bench, &kinds[i], stage, module);
    stage_close(stage);
    free(stage);
    return result;
}

int bench_files(const struct bench *bench) {
    husk_image *module = NULL;
    int result = bench_load(bench, "files", &module);
    if (result == 0)
        result = files_ops(bench, module) | files_restore(bench, module);
    husk_image_unref(module);
    return result | files_script(bench);
}
