/*
 * tests/kvm/snapshots/working_set_test.c: the pages that a new sandbox starts with: those that
 * sandboxes of its image write each time. Pages that one sandbox wrote once do not count, and
 * neither do pages that were written before the snapshot was taken.
 */
#include <inttypes.h>
#include <string.h>

#include "harness.h"
#include "image_internal.h"
#include "layout.h"
#include "sandbox_internal.h"
#include "wat.h"

static const char module[] = "(module (memory (export \"memory\") 1024)"
                             " (func (export \"store\") (param i32) (result i32) local.get 0 "
                             "i32.const 4711 i32.store local.get 0))";

static void open_without_pool(struct wat_lab *lab) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    options.pool_max = -1;
    memset(lab, 0, sizeof *lab);
    lab->outcome.size = sizeof lab->outcome;
    CHECK_OK(husk_engine_new(&options, &lab->engine, &lab->err), lab->err);
    wat_lab_open(lab, module, NULL);
}

static void write_pages(struct wat_lab *lab, int32_t first, int32_t count) {
    for (int32_t i = first; i < first + count; i++)
        wat_call_i32(lab, "store", i * (int32_t)HUSK_WASM_PAGE_SIZE);
}

/* Another sandbox instead of the one that is there. */
static void renew(struct wat_lab *lab, husk_image *image) {
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
}

/* Some requests that write the first pages, each from the image. */
static void serve(struct wat_lab *lab, husk_image *image, int32_t pages) {
    for (int i = 0; i < 4; i++) {
        write_pages(lab, 0, pages);
        CHECK_OK(husk_sandbox_restore(lab->sandbox, image, &lab->err), lab->err);
    }
}

static bool starts_with(const struct wat_lab *lab, int32_t page) {
    const uint8_t *hva =
        lab->sandbox->machine->arena.memories[0].hva + (size_t)page * HUSK_WASM_PAGE_SIZE;
    for (uint32_t i = 0; i < lab->sandbox->machine->hotset.count; i++)
        if (lab->sandbox->machine->hotset.pages[i].hva == hva)
            return true;
    return false;
}

TEST(what_each_request_writes_is_there) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    open_without_pool(&lab);
    for (int i = 0; i < 3; i++) {
        serve(&lab, lab.image, 10);
        renew(&lab, lab.image);
        CHECK(starts_with(&lab, 0) && starts_with(&lab, 9) && !starts_with(&lab, 10));
    }
    wat_lab_close(&lab);
}

TEST(one_large_request_is_not_for_all) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    open_without_pool(&lab);
    serve(&lab, lab.image, 10);
    renew(&lab, lab.image);
    write_pages(&lab, 0, 900); /* and small ones after it */
    serve(&lab, lab.image, 10);
    renew(&lab, lab.image);
    CHECK(starts_with(&lab, 9) && !starts_with(&lab, 500));
    write_pages(&lab, 0, 900); /* and none after it */
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    renew(&lab, lab.image);
    CHECK(starts_with(&lab, 9) && !starts_with(&lab, 500));
    CHECK_MSG(lab.sandbox->machine->hotset.count < 20, "a new sandbox starts with %u pages",
              lab.sandbox->machine->hotset.count);
    wat_lab_close(&lab);
}

/* What was written before a snapshot is in it, and need not be private in all that are made from
 * it. */
TEST(what_an_initialisation_wrote_is_shared) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    open_without_pool(&lab);
    write_pages(&lab, 100, 800);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    renew(&lab, snapshot);
    CHECK_MSG(lab.sandbox->machine->hotset.count < 10, "a new sandbox starts with %u pages",
              lab.sandbox->machine->hotset.count);
    CHECK(lab.sandbox->machine->hotset.count > 0); /* the mailbox, which each call needs */
    for (int i = 0; i < 3; i++) {
        serve(&lab, snapshot, 10);
        renew(&lab, snapshot);
    }
    CHECK(starts_with(&lab, 9) && !starts_with(&lab, 200));
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* The same in a VM that another sandbox has left: a load there is a restore, but no request. */
TEST(what_an_initialisation_in_a_used_vm_wrote_is_shared) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    serve(&lab, lab.image, 2);
    renew(&lab, lab.image);
    write_pages(&lab, 100, 800);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_MSG(snapshot->hot_count < 10, "a snapshot begins with %u pages", snapshot->hot_count);
    serve(&lab, snapshot, 10);
    husk_image_unref(snapshot);
    write_pages(&lab, 0, 10);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_MSG(snapshot->hot_count >= 10 && snapshot->hot_count < 30, "after a request: %u pages",
              snapshot->hot_count);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* What is known to be written is private before the first run, alone or with neighbours. */
TEST(known_pages_are_private_at_first) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    open_without_pool(&lab);
    serve(&lab, lab.image, 10);
    for (int32_t at = 64; at < 74; at++) /* neighbours */
        wat_call_i32(&lab, "store", at * (int32_t)HUSK_PAGE_SIZE);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    renew(&lab, lab.image);
    struct hotset *hotset = &lab.sandbox->machine->hotset;
    const uint32_t known = hotset->count;
    CHECK_MSG(known >= 10, "%u pages", known);
    hotset->count = 0; /* as if nothing were known: a search finds them */
    wat_call_i32(&lab, "store", 0);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_MSG(hotset->count >= known, "%u of %u pages are private", hotset->count, known);
    wat_lab_close(&lab);
}

/* As a count of references is: the page is equal after each run, and written by each. To forget it
 * every few restores would cost a fault and a search each time. Without large pages, of which all
 * parts come and go at once. */
TEST(what_each_request_writes_and_undoes_stays) {
    SKIP_WITHOUT_COMPILER();
    static const char small[] = "(module (memory (export \"memory\") 4)"
                                " (func (export \"undo\") (param i32) (result i32)"
                                " (i32.store (local.get 0) (i32.const 1))"
                                " (i32.store (local.get 0) (i32.const 0)) (local.get 0)))";
    struct wat_lab lab;
    struct husk_stats before = HUSK_STATS_INIT, after = HUSK_STATS_INIT;
    memset(&lab, 0, sizeof lab);
    lab.outcome.size = sizeof lab.outcome;
    CHECK_OK(husk_engine_new(NULL, &lab.engine, &lab.err), lab.err);
    wat_lab_open(&lab, small, NULL);
    husk_engine_stats(lab.engine, &before);
    for (int i = 0; i < 400; i++) {
        wat_call_i32(&lab, "undo", 3 * (int32_t)HUSK_WASM_PAGE_SIZE);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    husk_engine_stats(lab.engine, &after);
    const uint64_t aged = after.restore_pages_aged - before.restore_pages_aged;
    CHECK_MSG(aged >= 1 && aged <= 12, "%" PRIu64 " pages left", aged);
    /* and what is not written any more leaves in the end */
    for (int i = 0; i < 600; i++)
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK(!starts_with(&lab, 3));
    wat_lab_close(&lab);
}

TEST_MAIN()
