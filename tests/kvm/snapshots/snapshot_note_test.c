/*
 * tests/kvm/snapshots/snapshot_note_test.c: the embedder's note in a snapshot (husk_image_note()):
 * in memory and in the file, beside the state of WASI, replaced, taken away, and refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "literals.h"
#include "wat.h"

static const char guest_wat[] =
    "(module (import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32)"
    "  (result i32)))"
    " (memory (export \"memory\") 1)"
    " (func (export \"close\") (param i32) (result i32) local.get 0 call $close))";

static void check_note(const husk_image *image, const char *text, size_t count) {
    size_t found = 99;
    const void *note = husk_image_note(image, &found);
    CHECK_EQ_U64(found, count);
    CHECK((note == NULL) == (text == NULL));
    CHECK(text == NULL || memcmp(note, text, count) == 0);
}

/* Descriptor 1 is closed in the snapshot: the note does not take the place of WASI's state. */
static void check_state(struct wat_lab *lab, husk_image *image) {
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, lab->imports, NULL, &lab->sandbox, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "close", 1), 8); /* EBADF */
    CHECK_EQ_I64(wat_call_i32(lab, "close", 0), 0);
}

static void lab_open(struct wat_lab *lab) {
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    wasi.stdout_fd = 1;
    wasi.stdin_rights = HUSK_WASI_READ;
    wasi.stdout_rights = HUSK_WASI_WRITE;
    wat_lab_init(lab);
    CHECK_OK(husk_imports_wasi(lab->imports, &wasi, &lab->err), lab->err);
    wat_lab_open(lab, guest_wat, NULL);
    CHECK_EQ_I64(wat_call_i32(lab, "close", 1), 0);
}

TEST(a_note_goes_with_the_snapshot) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL, *opened = NULL, *second = NULL;
    char path[64] = "/tmp/husk-note-XXXXXX";
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    lab_open(&lab);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    check_note(snapshot, NULL, 0);
    CHECK_OK(husk_image_set_note(snapshot, "first", 5, &lab.err), lab.err);
    check_note(snapshot, "first", 5);
    CHECK_OK(husk_image_set_note(snapshot, "a\0longer one", 12, &lab.err), lab.err);
    check_note(snapshot, "a\0longer one", 12);
    CHECK_OK(husk_image_save(snapshot, path, &lab.err), lab.err);
    CHECK_OK(husk_image_open(lab.engine, path, NULL, &opened, &lab.err), lab.err);
    check_note(opened, "a\0longer one", 12);
    check_state(&lab, snapshot);
    check_state(&lab, opened);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &second, &lab.err), lab.err);
    check_note(second, NULL, 0);
    CHECK_OK(husk_image_set_note(snapshot, NULL, 0, &lab.err), lab.err);
    check_note(snapshot, NULL, 0);
    check_state(&lab, snapshot);
    unlink(path);
    husk_image_unref(second);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST(notes_that_are_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    const size_t most = 1u << 20;
    char *large = calloc(most + 1, 1);
    CHECK(large != NULL);
    lab_open(&lab);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_EQ_I64(husk_image_set_note(lab.image, "x", 1, &lab.err), HUSK_E_INVAL);
    CHECK_CONTAINS(lab.err.message, "only a snapshot");
    CHECK_EQ_I64(husk_image_set_note(NULL, "x", 1, &lab.err), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_image_set_note(snapshot, NULL, 1, &lab.err), HUSK_E_INVAL);
    CHECK_OK(husk_image_set_note(snapshot, "kept", 4, &lab.err), lab.err);
    CHECK_EQ_I64(husk_image_set_note(snapshot, large, most + 1, &lab.err), HUSK_E_LIMIT);
    check_note(snapshot, "kept", 4);
    CHECK_OK(husk_image_set_note(snapshot, large, most, &lab.err), lab.err);
    check_note(snapshot, large, most);
    free(large);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST_MAIN()
