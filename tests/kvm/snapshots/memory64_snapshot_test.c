/*
 * tests/kvm/snapshots/memory64_snapshot_test.c: snapshots of a memory of 6 GiB of which a few pages
 * are written. They, and restores, cost what was written, not what the memory has.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "layout.h"
#include "wat.h"

#define GIB (1ll << 30)
#define PAGES_OF_6_GIB 98304

static const char large[] =
    "(module (memory (export \"mem\") i64 1)"
    " (func (export \"grow\") (param i64) (result i64) local.get 0 memory.grow)"
    " (func (export \"get\") (param i64) (result i64) local.get 0 i64.load)"
    " (func (export \"put\") (param i64 i64) (result i64)"
    "   local.get 0 local.get 1 i64.store i64.const 0))";

static int64_t call(struct wat_lab *lab, const char *name, int64_t a, int64_t b, size_t count) {
    const struct husk_value args[2] = {value_i64(a), value_i64(b)};
    struct husk_value result = value_i64(0);
    CHECK_OK(wat_call(lab, name, args, count, &result, 1), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return result.of.i64;
}

static int64_t get(struct wat_lab *lab, int64_t address) {
    return call(lab, "get", address, 0, 1);
}

static void put(struct wat_lab *lab, int64_t address, int64_t value) {
    call(lab, "put", address, value, 2);
}

static void check_contents(struct wat_lab *lab, int64_t at_5_gib, int64_t at_end) {
    CHECK_EQ_I64(get(lab, 5 * GIB), at_5_gib);
    CHECK_EQ_I64(get(lab, 6 * GIB - 8), at_end);
    CHECK_EQ_I64(get(lab, 3 * GIB), 0);
    CHECK_EQ_U64(husk_memory_bytes(lab->sandbox, 0), (uint64_t)(6 * GIB));
}

/* Open the image, saved, in the place of the sandbox's own. */
static void check_saved(struct wat_lab *lab, husk_image *snapshot) {
    char path[] = "/tmp/husk-test-XXXXXX";
    husk_image *opened = NULL;
    struct stat info;
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    CHECK_OK(husk_image_save(snapshot, path, &lab->err), lab->err);
    CHECK(stat(path, &info) == 0);
    CHECK_MSG(info.st_size < 1 << 20, "%lld bytes", (long long)info.st_size);
    CHECK_OK(husk_image_open(lab->engine, path, NULL, &opened, &lab->err), lab->err);
    unlink(path);
    CHECK_OK(husk_sandbox_load(lab->sandbox, opened, NULL, &lab->err), lab->err);
    check_contents(lab, 55, 66);
    put(lab, 5 * GIB + 4096, 9);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, opened, &lab->err), lab->err);
    CHECK_EQ_I64(get(lab, 5 * GIB + 4096), 0);
    check_contents(lab, 55, 66);
    husk_image_unref(opened);
}

TEST(a_page_at_5_gib_is_saved_and_restored) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    wat_lab_init(&lab);
    wat_lab_open(&lab, large, NULL);
    CHECK_EQ_I64(call(&lab, "grow", PAGES_OF_6_GIB - 1, 0, 1), 1);
    put(&lab, 5 * GIB, 55);
    put(&lab, 6 * GIB - 8, 66);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    put(&lab, 5 * GIB, 1);
    put(&lab, 6 * GIB - 8, 2);
    put(&lab, 3 * GIB, 3);
    CHECK_EQ_I64(call(&lab, "grow", 1, 0, 1), PAGES_OF_6_GIB);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        check_contents(&lab, 55, 66);
        put(&lab, 5 * GIB, i);
        put(&lab, 3 * GIB, i);
    }
    check_saved(&lab, snapshot);
    /* the module as it was compiled: of 64 KiB */
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), HUSK_WASM_PAGE_SIZE);
    CHECK_EQ_I64(call(&lab, "grow", PAGES_OF_6_GIB - 1, 0, 1), 1);
    check_contents(&lab, 0, 0);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST_MAIN()
