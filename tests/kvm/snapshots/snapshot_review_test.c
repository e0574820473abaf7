/*
 * tests/kvm/snapshots/snapshot_review_test.c: restores work whichever threads call and restore,
 * whatever spans were given out, however memory grew, and even if husk_restored() was interrupted.
 * Also snapshot files with false hot pages.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "image_builder.h"
#include "layout.h"
#include "sandbox_internal.h"
#include "wat.h"
#include "literals.h"

static const char module[] =
    "(module (memory (export \"memory\") 32 1024) (global $n (mut i32) (i32.const 0))"
    " (func (export \"husk_restored\") (param i64 i64) global.get $n i32.const 1 i32.add "
    "global.set $n)"
    " (func (export \"count\") (param i32) (result i32) global.get $n)"
    " (func (export \"grow\") (param i32) (result i32) local.get 0 memory.grow)"
    " (func (export \"load\") (param i32) (result i32) local.get 0 i32.load)"
    " (func (export \"store\") (param i32) (result i32) local.get 0 i32.const 4711 i32.store "
    "local.get 0))";

static int64_t call_on(struct wat_lab *lab, husk_sandbox *sandbox, const char *name,
                       int32_t argument) {
    struct husk_value arg = value_i32(argument), result = {.type = HUSK_I32};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, &lab->err),
             lab->err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "%s: %s", name, outcome.message);
    return result.of.i32;
}

/* ---- A second thread that writes without the first one taking a fault ---- */

struct writer {
    struct wat_lab *lab;
    atomic_int wanted; /* a page to be written; 0: nothing to do; -1: end */
    volatile uint8_t *span;
};

static void *writer_main(void *user) {
    struct writer *writer = user;
    for (;;) {
        int page = atomic_load(&writer->wanted);
        if (page < 0)
            return NULL;
        if (page == 0)
            continue;
        if (writer->span != NULL)
            writer->span[0] = 99;
        else
            call_on(writer->lab, writer->lab->sandbox, "store", page * (int)HUSK_PAGE_SIZE);
        atomic_store(&writer->wanted, 0);
    }
}

static void writer_ask(struct writer *writer, int page) {
    atomic_store(&writer->wanted, page);
    while (atomic_load(&writer->wanted) != 0) {
    }
}

TEST(calls_on_one_thread_and_restores_on_another) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    pthread_t thread;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    static struct writer writer; /* outlives a failed test, as the thread does */
    writer.lab = &lab;
    CHECK_EQ_I64(pthread_create(&thread, NULL, writer_main, &writer), 0);
    for (int page = 1; page <= 60; page++) {
        for (int i = 0; i < 3; i++)
            CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        writer_ask(&writer, page);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        CHECK_EQ_I64(call_on(&lab, lab.sandbox, "load", page * (int)HUSK_PAGE_SIZE), 0);
    }
    atomic_store(&writer.wanted, -1);
    pthread_join(thread, NULL);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* A restore keeps spans, also one that changes what lies below the memory. */
TEST(a_span_is_restored_after_another_image_was_mapped) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    pthread_t thread;
    void *span = NULL;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    call_on(&lab, lab.sandbox, "store", 5 * HUSK_PAGE_SIZE + 8);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.addr = 5 * HUSK_PAGE_SIZE, .count = 4), &span,
                              &lab.err),
             lab.err);
    static struct writer writer;
    writer.lab = &lab;
    writer.span = span;
    CHECK_EQ_I64(pthread_create(&thread, NULL, writer_main, &writer), 0);
    for (int i = 0; i < 20; i++) {
        husk_image *targets[2] = {snapshot, lab.image};
        husk_image *target = targets[i % 2];
        CHECK_OK(husk_sandbox_restore(lab.sandbox, target, &lab.err), lab.err);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, target, &lab.err), lab.err);
        writer_ask(&writer, 1);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, target, &lab.err), lab.err);
        CHECK_EQ_U64(*(volatile uint8_t *)span, 0);
    }
    atomic_store(&writer.wanted, -1);
    pthread_join(thread, NULL);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* Views here and there, as host functions ask for them, do not slow down restores for ever; and
 * what is written through any of them, at any time and by any thread, is undone. */
TEST(spans_of_many_pages_are_restored_and_forgotten) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    pthread_t thread;
    void *spans[300];
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    for (unsigned i = 0; i < 300; i++)
        CHECK_OK(husk_memory_span(lab.sandbox,
                                  RANGE(.addr = i * (uint64_t)HUSK_PAGE_SIZE, .count = 8),
                                  &spans[i], &lab.err),
                 lab.err);
    static struct writer writer;
    writer = (struct writer){.lab = &lab, .span = spans[0]};
    CHECK_EQ_I64(pthread_create(&thread, NULL, writer_main, &writer), 0);
    for (unsigned i = 0; i < 300; i += 7) {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        writer.span = spans[i];
        writer_ask(&writer, 1);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_EQ_U64(*(volatile uint8_t *)spans[i], 0);
    }
    atomic_store(&writer.wanted, -1);
    pthread_join(thread, NULL);
    for (int i = 0; i < 12; i++)
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_MSG(lab.sandbox->machine->hotset.count < 20, "%u pages are compared by every restore",
              lab.sandbox->machine->hotset.count);
    wat_lab_close(&lab);
}

/* They end with the instance: what was written through them is undone, and who has the VM next is
 * not slower for them. */
TEST(spans_end_when_the_instance_does) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    pthread_t thread;
    void *span;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    static struct writer writer;
    writer = (struct writer){.lab = &lab};
    atomic_store(&writer.wanted, 0);
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t bytes = (i % 2 == 0 ? 1 : 100) * (uint64_t)HUSK_PAGE_SIZE;
        CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = bytes), &span, &lab.err), lab.err);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        writer.span = (uint8_t *)span + bytes - 8;
        CHECK_EQ_I64(pthread_create(&thread, NULL, writer_main, &writer), 0);
        writer_ask(&writer, 1);
        atomic_store(&writer.wanted, -1);
        pthread_join(thread, NULL);
        atomic_store(&writer.wanted, 0);
        if (i < 2)
            CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
        CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, NULL, &lab.err), lab.err);
        CHECK_EQ_U64(*writer.span, 0);
        CHECK(!lab.sandbox->machine->hotset.must_scan &&
              lab.sandbox->machine->hotset.pinned_count == 0);
    }
    wat_lab_close(&lab);
}

/* Memory that grew in one large step is taken away in the middle of it, in place. */
TEST(a_restore_to_a_size_within_a_large_page_keeps_spans) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    struct husk_stats before = HUSK_STATS_INIT, after = HUSK_STATS_INIT;
    husk_sandbox *maker = NULL;
    void *span = NULL, *again = NULL;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    call_on(&lab, lab.sandbox, "grow", 10); /* 2.6 MiB */
    call_on(&lab, lab.sandbox, "store", 41 * (int)HUSK_WASM_PAGE_SIZE);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    maker = lab.sandbox; /* the other one's page tables have not seen that size */
    CHECK_OK(husk_sandbox_new(lab.image, NULL, NULL, &lab.sandbox, &lab.err), lab.err);
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = 4), &span, &lab.err), lab.err);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ_I64(call_on(&lab, lab.sandbox, "grow", 200), 32);
        for (int32_t page = 0; page < 232; page++)
            call_on(&lab, lab.sandbox, "store", page * (int)HUSK_WASM_PAGE_SIZE);
        husk_engine_stats(lab.engine, &before);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, i % 2 == 0 ? snapshot : lab.image, &lab.err),
                 lab.err);
        husk_engine_stats(lab.engine, &after);
        CHECK_EQ_U64(after.restores_rebuilt, before.restores_rebuilt);
        const int pages = i % 2 == 0 ? 42 : 32;
        CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), (uint64_t)pages * HUSK_WASM_PAGE_SIZE);
        for (int32_t page = 0; page < pages; page++)
            CHECK_EQ_I64(call_on(&lab, lab.sandbox, "load", page * (int)HUSK_WASM_PAGE_SIZE),
                         page == 41 ? 4711 : 0);
        struct husk_value arg = value_i32(pages * (int)HUSK_WASM_PAGE_SIZE), result;
        CHECK_OK(husk_call(lab.sandbox,
                           CALL(.name = "load", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1),
                           &lab.outcome, &lab.err),
                 lab.err);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
        CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = 4), &again, &lab.err), lab.err);
        CHECK(again == span);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    husk_sandbox_free(maker);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* The entropy that did not arrive is still owed. */
TEST(an_interrupt_before_husk_restored_does_not_cancel_it) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    struct husk_value arg = value_i32(0), result;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    husk_interrupt(lab.sandbox);
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "count", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
    CHECK(!lab.outcome.is_poisoned);
    CHECK_EQ_I64(call_on(&lab, lab.sandbox, "count", 0), 1);
    CHECK_EQ_I64(call_on(&lab, lab.sandbox, "count", 0), 1);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* ---- Hostile files ---- */

struct file_bytes {
    uint8_t *bytes;
    size_t count;
};

static struct file_bytes read_file(const char *path) {
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    fseek(file, 0, SEEK_END);
    struct file_bytes result = {.count = (size_t)ftell(file)};
    rewind(file);
    result.bytes = malloc(result.count);
    CHECK(fread(result.bytes, 1, result.count, file) == result.count);
    fclose(file);
    return result;
}

TEST(hot_pages_of_a_file_are_checked) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL, *opened = NULL;
    char path[] = "/tmp/husk-hot-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    for (int32_t page = 1; page < 5; page++)
        call_on(&lab, lab.sandbox, "store", page * (int)HUSK_PAGE_SIZE);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_image_save(snapshot, path, &lab.err), lab.err);
    struct file_bytes file = read_file(path);
    uint64_t hot_count = 0;
    uint8_t *hot =
        image_note_rows(image_note_find(file.bytes, file.count), HUSK_REC_HOT_PAGES, &hot_count);
    CHECK(hot_count >= 2);
    uint64_t rows[2], last = HUSK_MEM0_GVA + 32ull * HUSK_WASM_PAGE_SIZE - 8;
    CHECK_OK(husk_image_open_buffer(lab.engine, (struct husk_buffer){file.bytes, file.count}, NULL,
                                    &opened, &lab.err),
             lab.err);
    husk_image_unref(opened);
    memcpy(rows, hot, sizeof rows);
    const uint64_t bad[][2] = {
        {rows[1], rows[0]}, {rows[0], rows[0]}, {rows[0] + 1, rows[1]}, {last, rows[1]}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memcpy(hot, bad[i], sizeof bad[i]);
        CHECK_EQ_I64(husk_image_open_buffer(lab.engine,
                                            (struct husk_buffer){file.bytes, file.count}, SKIP_HASH,
                                            &opened, &lab.err),
                     HUSK_E_BAD_IMAGE);
        CHECK_CONTAINS(lab.err.message, "hot page");
    }
    free(file.bytes);
    unlink(path);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST_MAIN()
