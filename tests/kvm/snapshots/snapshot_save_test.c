/*
 * tests/kvm/snapshots/snapshot_save_test.c: saving in large cases: tables that have grown, many
 * threads that save at the same time.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness.h"
#include "state_guest.h"
#include "wat.h"
#include "literals.h"

static void temp_path(char path[64]) {
    strcpy(path, "/tmp/husk-save-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
}

/* ---- Thousands of tables ---- */

#define TABLES 4500

/* Every hundredth starts with 3 entries and grows by 595, the others with none and grow by 2. */
static char *tables_text(void) {
    char *text = malloc(TABLES * 160 + 1000);
    size_t at = 0;
    CHECK(text != NULL);
    at += (size_t)sprintf(text + at,
                          "(module (func $one (result i32) i32.const 1) (elem declare func $one)");
    for (int i = 0; i < TABLES; i++)
        at += (size_t)sprintf(text + at, " (table $t%d %d 600 funcref)", i, i % 100 == 0 ? 3 : 0);
    at += (size_t)sprintf(text + at, " (func (export \"grow\") (param i32) (result i32)");
    for (int i = 0; i < TABLES; i++)
        at += (size_t)sprintf(text + at, " (drop (table.grow $t%d (ref.func $one) (i32.const %d)))",
                              i, i % 100 == 0 ? 595 : 2);
    at += (size_t)sprintf(
        text + at, " i32.const 0) (func (export \"sum\") (param i32) (result i32) i32.const 0");
    for (int i = 0; i < TABLES; i++)
        at += (size_t)sprintf(text + at, " table.size $t%d i32.add", i);
    sprintf(text + at, ") (func (export \"call\") (param i32) (result i32)"
                       " (call_indirect $t4400 (result i32) (local.get 0))))");
    return text;
}

TEST(thousands_of_grown_tables) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    char path[64], *text = tables_text();
    husk_image *snapshot = NULL, *opened = NULL;
    temp_path(path);
    wat_lab_init(&lab);
    wat_lab_open(&lab, text, NULL);
    free(text);
    wat_call_i32(&lab, "grow", 0);
    const int64_t sum = wat_call_i32(&lab, "sum", 0);
    CHECK_EQ_I64(sum, 2 * TABLES + TABLES / 100 * (3 + 595 - 2));
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_image_save(snapshot, path, &lab.err), lab.err);
    CHECK_OK(husk_image_open(lab.engine, path, NULL, &opened, &lab.err), lab.err);
    for (int i = 0; i < 2; i++) { /* from memory, and from the file */
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = NULL;
        CHECK_OK(husk_sandbox_new(i == 0 ? snapshot : opened, NULL, NULL, &lab.sandbox, &lab.err),
                 lab.err);
        CHECK_EQ_I64(wat_call_i32(&lab, "sum", 0), sum);
        CHECK_EQ_I64(wat_call_i32(&lab, "call", 597), 1);
    }
    unlink(path);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* ---- Threads: snapshots of one module, saved and learned from at the same time ---- */

#define THREADS 4

struct worker {
    struct state_lab lab; /* its own err and outcome; the rest is shared */
    char path[80];
    int32_t number;
    bool is_right;
};

/* A sandbox of the module, changed; a snapshot of it, in a file; a sandbox of that. */
static bool work(struct worker *worker, int32_t round) {
    struct state_lab *lab = &worker->lab;
    husk_sandbox *sandbox = NULL;
    husk_image *snapshot = NULL, *opened = NULL;
    const int32_t number = worker->number * 1000 + round;
    if (husk_sandbox_new(lab->image, lab->imports, NULL, &sandbox, &lab->err) != 0)
        return false;
    state_run(lab, sandbox, "store", STATE_ARGS(8192 * (round % 8), number));
    bool is_right = husk_sandbox_snapshot(sandbox, &snapshot, &lab->err) == 0;
    /* the image, of which the others take snapshots, learns its pages */
    husk_sandbox_free(sandbox);
    sandbox = NULL;
    is_right = is_right && husk_image_save(snapshot, worker->path, &lab->err) == 0 &&
               husk_image_open(lab->engine, worker->path, NULL, &opened, &lab->err) == 0 &&
               husk_sandbox_new(opened, lab->imports, NULL, &sandbox, &lab->err) == 0 &&
               state_run(lab, sandbox, "load", STATE_ARGS(8192 * (round % 8))) == number;
    husk_sandbox_free(sandbox);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
    return is_right;
}

static void *worker_main(void *argument) {
    struct worker *worker = argument;
    worker->is_right = true;
    for (int32_t round = 0; round < 25 && worker->is_right; round++)
        worker->is_right = work(worker, round);
    return NULL;
}

TEST(many_threads_save_snapshots_of_one_module) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    char path[64];
    temp_path(path);
    state_open(&lab, NULL, NULL);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.lab = lab, .number = i};
        snprintf(workers[i].path, sizeof workers[i].path, "%s.%d", path, i);
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, worker_main, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_MSG(workers[i].is_right, "thread %d: %s", i, workers[i].lab.err.message);
        unlink(workers[i].path);
    }
    unlink(path);
    state_close(&lab);
}

/* ---- The process's file size limit ---- */

/* It counts for anonymous files, too: an error, not the signal that would end the program. */
TEST(the_file_size_limit_is_an_error) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    struct rlimit before, small;
    char path[64];
    husk_image *snapshot = NULL, *opened = NULL;
    husk_memory_image *memory_image = NULL;
    husk_sandbox *clone = NULL;
    temp_path(path);
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "store", 8, 4711);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    STATE_CALL(&lab, "fill", 0, 0x41, 2 * 65536);
    state_copy_take(lab.sandbox, &copy);
    void *bytes = calloc(1, 1 << 20);
    CHECK(bytes != NULL && getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = (struct rlimit){.rlim_cur = 8192, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    int statuses[] = {
        husk_sandbox_snapshot(lab.sandbox, &opened, &lab.err),
        husk_sandbox_clone(lab.sandbox, &clone, &lab.err),
        husk_memory_image_new(lab.sandbox, RANGE(.count = 65536), &memory_image, &lab.err),
        husk_image_save(snapshot, path, &lab.err),
        husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, 1 << 20}, SKIP_HASH, &opened,
                               &lab.err),
    };
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        CHECK_MSG(statuses[i] == HUSK_E_SYS, "step %zu: status %d", i, statuses[i]);
    CHECK(opened == NULL && clone == NULL && memory_image == NULL);
    CHECK(state_copy_equal(lab.sandbox, &copy));
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 8), 4711);
    free(bytes);
    husk_image_unref(snapshot);
    state_copy_done(&copy);
    state_close(&lab);
    unlink(path);
}

TEST_MAIN()
