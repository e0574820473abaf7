/*
 * tests/kvm/snapshots/snapshot_holes_test.c: a large memory with few written pages. The space
 * between the written pages is a hole in every file. It stays one when a file is verified, when
 * layers are merged for mapping, and when the snapshot is saved again. A hole that is read through
 * a mapping takes memory, as long as the image is open.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "image_internal.h"
#include "layout.h"
#include "wat.h"
#include "literals.h"

#define MEMORY_BYTES (64ull << 20)
/* More places than a file has segments of: gaps between them become holes in it. */
#define PLACES 300u
#define PLACE_BYTES (MEMORY_BYTES / PLACES / HUSK_PAGE_SIZE * HUSK_PAGE_SIZE)
/* Both words of every place; tables, note, text. */
#define BYTES_MAX ((2 * PLACES + 200u) * (uint64_t)HUSK_PAGE_SIZE)

static const char module[] = "(module (memory (export \"memory\") 1024) (func (export \"f\")))";

static uint64_t kept_bytes(int fd) {
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

static void write_places(struct wat_lab *lab, husk_sandbox *sandbox, uint64_t offset) {
    for (uint64_t i = 0; i < PLACES; i++) {
        void *span;
        CHECK_OK(husk_memory_span(sandbox, RANGE(.addr = i * PLACE_BYTES + offset, .count = 8),
                                  &span, &lab->err),
                 lab->err);
        memcpy(span, &(uint64_t){i + offset}, 8);
    }
}

static void check_places(struct wat_lab *lab, husk_sandbox *sandbox, uint64_t offset) {
    for (uint64_t i = 0; i < PLACES; i++) {
        void *span;
        uint64_t word;
        CHECK_OK(husk_memory_span(sandbox, RANGE(.addr = i * PLACE_BYTES + offset, .count = 8),
                                  &span, &lab->err),
                 lab->err);
        memcpy(&word, span, 8);
        CHECK_EQ_U64(word, i + offset);
    }
}

static husk_image *save_and_open(struct wat_lab *lab, husk_image *snapshot, const char *path) {
    husk_image *opened = NULL;
    CHECK_OK(husk_image_save(snapshot, path, &lab->err), lab->err);
    CHECK_OK(husk_image_open(lab->engine, path, NULL, &opened, &lab->err), lab->err);
    CHECK(opened->code->file->count > MEMORY_BYTES / 2);
    CHECK_MSG(kept_bytes(opened->code->file->fd) < BYTES_MAX,
              "verifying filled holes: %llu KiB are kept",
              (unsigned long long)kept_bytes(opened->code->file->fd) / 1024);
    return opened;
}

TEST(holes_stay_holes) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    char path[] = "/tmp/husk-holes-XXXXXX";
    husk_image *snapshot = NULL, *second = NULL;
    husk_sandbox *sandbox = NULL;
    int fd = mkstemp(path);
    CHECK(fd >= 0 && close(fd) == 0);
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    write_places(&lab, lab.sandbox, 0);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    husk_image *opened = save_and_open(&lab, snapshot, path);
    CHECK_OK(husk_sandbox_new(opened, NULL, NULL, &sandbox, &lab.err), lab.err);
    check_places(&lab, sandbox, 0);
    write_places(&lab, sandbox, HUSK_PAGE_SIZE);
    CHECK_OK(husk_sandbox_snapshot(sandbox, &second, &lab.err), lab.err);
    husk_sandbox_free(sandbox);
    sandbox = NULL;
    const uint64_t before = kept_bytes(opened->code->file->fd);
    CHECK_OK(husk_sandbox_new(second, NULL, NULL, &sandbox, &lab.err), lab.err);
    CHECK(second->flat_runs_count > 0); /* the layers were merged */
    CHECK(kept_bytes(second->flat_runs[0].file->fd) < BYTES_MAX);
    husk_image *again = save_and_open(&lab, second, path);
    CHECK_EQ_U64(kept_bytes(opened->code->file->fd), before);
    check_places(&lab, sandbox, 0);
    check_places(&lab, sandbox, HUSK_PAGE_SIZE);
    husk_sandbox_free(sandbox);
    CHECK_OK(husk_sandbox_new(again, NULL, NULL, &sandbox, &lab.err), lab.err);
    check_places(&lab, sandbox, 0);
    check_places(&lab, sandbox, HUSK_PAGE_SIZE);
    husk_sandbox_free(sandbox);
    husk_image_unref(again);
    husk_image_unref(second);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
    unlink(path);
}

TEST_MAIN()
