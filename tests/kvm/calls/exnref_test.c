/*
 * tests/kvm/calls/exnref_test.c: references to exceptions in the API: as arguments, results, of
 * host functions, in globals and tables, in snapshots; and numbers that are none. The module is in
 * bytes, because not every text assembler knows the proposal.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exception.h"
#include "image_internal.h"
#include "layout.h"
#include "literals.h"
#include "ready_image.h"
#include "thrown.h"

/*
 * (module
 *  (import "env" "pass" (func $pass (param exnref) (result exnref)))
 *  (tag $t (export "t") (param i32 i64))
 *  (tag $wrap (export "wrapped") (param exnref))
 *  (global $g (export "g") (mut exnref) (ref.null exn))
 *  (table $tab (export "tab") 4 8 exnref)
 *  (func $take (export "take") (param i32) (result exnref) (local exnref)
 *   (block $h (result i32 i64 exnref)
 *    (try_table (catch_ref $t $h) (throw $t (local.get 0) (i64.const 7)))
 *    unreachable)
 *   local.set 1 drop drop local.get 1)
 *  (func (export "keep") (param exnref) (global.set $g (local.get 0)))
 *  (func (export "rethrow") (throw_ref (global.get $g)))
 *  (func (export "throw") (param exnref) (throw_ref (local.get 0)))
 *  (func (export "wrap") (param exnref) (throw $wrap (local.get 0)))
 *  (func (export "through_host") (param i32) (throw_ref (call $pass (call $take (local.get 0)))))
 *  (func (export "entry") (param i32) (throw_ref (table.get $tab (local.get 0)))))
 */
static const uint8_t wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x21, 0x07, 0x60, 0x01, 0x69, 0x01, 0x69,
    0x60, 0x02, 0x7f, 0x7e, 0x00, 0x60, 0x01, 0x69, 0x00, 0x60, 0x01, 0x7f, 0x01, 0x69, 0x60, 0x00,
    0x03, 0x7f, 0x7e, 0x69, 0x60, 0x00, 0x00, 0x60, 0x01, 0x7f, 0x00, 0x02, 0x0c, 0x01, 0x03, 0x65,
    0x6e, 0x76, 0x04, 0x70, 0x61, 0x73, 0x73, 0x00, 0x00, 0x03, 0x08, 0x07, 0x03, 0x02, 0x05, 0x02,
    0x02, 0x06, 0x06, 0x04, 0x05, 0x01, 0x69, 0x01, 0x04, 0x08, 0x0d, 0x05, 0x02, 0x00, 0x01, 0x00,
    0x02, 0x06, 0x06, 0x01, 0x69, 0x01, 0xd0, 0x69, 0x0b, 0x07, 0x57, 0x0b, 0x01, 0x74, 0x04, 0x00,
    0x07, 0x77, 0x72, 0x61, 0x70, 0x70, 0x65, 0x64, 0x04, 0x01, 0x01, 0x67, 0x03, 0x00, 0x03, 0x74,
    0x61, 0x62, 0x01, 0x00, 0x04, 0x74, 0x61, 0x6b, 0x65, 0x00, 0x01, 0x04, 0x6b, 0x65, 0x65, 0x70,
    0x00, 0x02, 0x07, 0x72, 0x65, 0x74, 0x68, 0x72, 0x6f, 0x77, 0x00, 0x03, 0x05, 0x74, 0x68, 0x72,
    0x6f, 0x77, 0x00, 0x04, 0x04, 0x77, 0x72, 0x61, 0x70, 0x00, 0x05, 0x0c, 0x74, 0x68, 0x72, 0x6f,
    0x75, 0x67, 0x68, 0x5f, 0x68, 0x6f, 0x73, 0x74, 0x00, 0x06, 0x05, 0x65, 0x6e, 0x74, 0x72, 0x79,
    0x00, 0x07, 0x0a, 0x49, 0x07, 0x1b, 0x01, 0x01, 0x69, 0x02, 0x04, 0x1f, 0x40, 0x01, 0x01, 0x00,
    0x00, 0x20, 0x00, 0x42, 0x07, 0x08, 0x00, 0x0b, 0x00, 0x0b, 0x21, 0x01, 0x1a, 0x1a, 0x20, 0x01,
    0x0b, 0x06, 0x00, 0x20, 0x00, 0x24, 0x00, 0x0b, 0x05, 0x00, 0x23, 0x00, 0x0a, 0x0b, 0x05, 0x00,
    0x20, 0x00, 0x0a, 0x0b, 0x06, 0x00, 0x20, 0x00, 0x08, 0x01, 0x0b, 0x09, 0x00, 0x20, 0x00, 0x10,
    0x01, 0x10, 0x00, 0x0a, 0x0b, 0x07, 0x00, 0x20, 0x00, 0x25, 0x00, 0x0a, 0x0b};

/* Returns what it gets, and remembers it; or returns another number. */
struct passer {
    uint64_t got, gives;
};

static int host_pass(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct passer *passer = user;
    (void)caller;
    CHECK(args[0].type == HUSK_EXNREF && results[0].type == HUSK_EXNREF);
    passer->got = args[0].of.ref;
    results[0].of.ref = passer->gives != 0 ? passer->gives : passer->got;
    return 0;
}

static void lab_open(struct wat_lab *lab, struct passer *passer) {
    *passer = (struct passer){.got = 0};
    wat_lab_init(lab);
    wat_lab_func(lab, "pass", "x>x", host_pass, passer);
    int fd = ready_image_open(wasm, sizeof wasm);
    if (fd < 0)
        fd = ready_image_compile(wasm, sizeof wasm, wasm, sizeof wasm, WAT_WORKER);
    CHECK_OK(husk_image_open_fd(lab->engine, fd, NULL, &lab->image, &lab->err), lab->err);
    close(fd);
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, NULL, &lab->sandbox, &lab->err), lab->err);
}

static struct husk_value exnref(uint64_t number) {
    return (struct husk_value){.type = HUSK_EXNREF, .of.ref = number};
}

static struct husk_value take(struct wat_lab *lab, int32_t number) {
    const struct husk_value argument = value_i32(number);
    struct husk_value ref;
    CHECK_OK(wat_call(lab, "take", &argument, 1, &ref, 1), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_RETURNED);
    CHECK(ref.type == HUSK_EXNREF && ref.of.ref != 0);
    return ref;
}

/* A call that throws the exception that take() made of the number. */
static void check_throws(struct wat_lab *lab, const char *name, const struct husk_value *argument,
                         int32_t number) {
    CHECK_OK(wat_call(lab, name, argument, argument != NULL, NULL, 0), lab->err);
    const struct husk_exception_info info = exception_of(lab);
    CHECK_STR(info.name, "t");
    CHECK_EQ_I64(info.values[0].of.i32, number);
    CHECK_EQ_I64(info.values[1].of.i64, 7);
}

static void check_traps(struct wat_lab *lab, const char *name, const struct husk_value *argument) {
    CHECK_OK(wat_call(lab, name, argument, argument != NULL, NULL, 0), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(lab->outcome.trap, HUSK_TRAP_NULL_EXCEPTION_REFERENCE);
}

TEST(references_go_out_and_come_back) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct passer passer;
    lab_open(&lab, &passer);
    for (int32_t i = 0; i < 10000; i++) { /* more than there are slots */
        const struct husk_value ref = take(&lab, i);
        check_throws(&lab, "throw", &ref, i);
    }
    const struct husk_value null = exnref(0), ref = take(&lab, 11);
    check_traps(&lab, "throw", &null);
    CHECK_OK(wat_call(&lab, "wrap", &ref, 1, NULL, 0), lab.err);
    const struct husk_exception_info info = exception_of(&lab);
    CHECK_STR(info.name, "wrapped");
    CHECK(info.values[0].type == HUSK_EXNREF && info.values[0].of.ref == ref.of.ref);
    CHECK_CONTAINS(lab.outcome.message, "tag \"wrapped\" (exnref 0x");
    check_throws(&lab, "throw", &info.values[0], 11); /* it was the pending exception's */
    wat_lab_close(&lab);
}

TEST(references_pass_through_host_functions) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct passer passer;
    lab_open(&lab, &passer);
    const struct husk_value number = value_i32(21);
    check_throws(&lab, "through_host", &number, 21);
    CHECK(passer.got != 0);
    passer.gives = 1;
    check_traps(&lab, "through_host", &number);
    wat_lab_close(&lab);
}

/* A number that the embedder makes up is a null reference, at worst another exception. */
TEST(numbers_that_are_no_references) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct passer passer;
    lab_open(&lab, &passer);
    const struct husk_value ref = take(&lab, 5);
    const struct husk_image_module *module = &lab.image->code->module;
    const uint64_t slots = module->exception_slots_gva;
    const uint64_t bytes = image_exception_bytes(lab.image->code);
    CHECK(slots != 0 && ref.of.ref >= slots && (ref.of.ref - slots) % bytes == 0);
    const uint64_t numbers[] = {1,
                                ref.of.ref + 1,
                                ref.of.ref + 8,
                                ref.of.ref + 16,
                                ref.of.ref | 1ull << 32,
                                ref.of.ref | 1ull << 63,
                                module->exception_gva,
                                module->entry_gva,
                                HUSK_TEXT_GVA,
                                HUSK_SYS_GVA,
                                HUSK_MAILBOX_GVA,
                                HUSK_STACK_TOP_GVA - 64,
                                HUSK_MEM0_GVA,
                                slots - bytes,
                                slots + (HUSK_EXCEPTION_SLOTS - 1) * bytes, /* free */
                                slots + HUSK_EXCEPTION_SLOTS * bytes,
                                UINT64_MAX,
                                UINT64_MAX - 15,
                                1ull << 63};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const struct husk_value made_up = exnref(numbers[i]);
        check_traps(&lab, "throw", &made_up);
        CHECK_OK(husk_global_set(lab.sandbox, "g", 0, &made_up, &lab.err), lab.err);
        check_traps(&lab, "rethrow", NULL);
    }
    check_throws(&lab, "throw", &ref, 5); /* nobody took its slot */
    wat_lab_close(&lab);
}

TEST(globals_and_tables) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct passer passer;
    lab_open(&lab, &passer);
    struct husk_value ref = take(&lab, 31), got, entry = value_i32(2);
    const struct husk_value null = exnref(0), wrong = {.type = HUSK_EXTERNREF};
    CHECK_OK(husk_global_get(lab.sandbox, "g", 0, &got, &lab.err), lab.err);
    CHECK(got.type == HUSK_EXNREF && got.of.ref == 0);
    CHECK_OK(husk_global_set(lab.sandbox, "g", 0, &ref, &lab.err), lab.err);
    CHECK_STATUS(husk_global_set(lab.sandbox, "g", 0, &wrong, &lab.err), HUSK_E_TYPE);
    check_throws(&lab, "rethrow", NULL, 31);
    uint32_t table_idx = 99;
    CHECK_OK(husk_image_table(lab.image, "tab", 0, &table_idx, &lab.err), lab.err);
    CHECK_OK(husk_table_set(lab.sandbox, table_idx, 2, &ref, &lab.err), lab.err);
    CHECK_STATUS(husk_table_set(lab.sandbox, table_idx, 2, &wrong, &lab.err), HUSK_E_TYPE);
    CHECK_OK(husk_table_grow(lab.sandbox, table_idx, 2, NULL, &lab.err), lab.err);
    CHECK_OK(husk_table_get(lab.sandbox, table_idx, 5, &got, &lab.err), lab.err);
    CHECK(got.type == HUSK_EXNREF && got.of.ref == 0);
    CHECK_OK(husk_global_set(lab.sandbox, "g", 0, &null, &lab.err), lab.err);
    for (int32_t i = 0; i < 3 * HUSK_EXCEPTION_SLOTS; i++) /* the table alone keeps it */
        (void)take(&lab, i);
    check_throws(&lab, "entry", &entry, 31);
    entry = value_i32(3);
    check_traps(&lab, "entry", &entry);
    wat_lab_close(&lab);
}

/* A snapshot has the slots: the reference means the same after a restore, in a clone, in another
 * sandbox, and after the snapshot was saved and opened. */
TEST(snapshots_hold_exceptions) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct passer passer;
    husk_image *snapshot = NULL, *opened = NULL;
    husk_sandbox *other = NULL;
    char path[] = "/tmp/husk-test-XXXXXX";
    lab_open(&lab, &passer);
    struct husk_value ref = take(&lab, 41);
    CHECK_OK(wat_call(&lab, "keep", &ref, 1, NULL, 0), lab.err);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    for (int i = 0; i < 3; i++) {
        check_throws(&lab, "rethrow", NULL, 41);
        ref = take(&lab, 42);
        CHECK_OK(wat_call(&lab, "keep", &ref, 1, NULL, 0), lab.err);
        check_throws(&lab, "rethrow", NULL, 42);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    }
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &other, &lab.err), lab.err);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = other;
    check_throws(&lab, "rethrow", NULL, 41);
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_OK(husk_image_save_fd(snapshot, fd, &lab.err), lab.err);
    CHECK_OK(husk_image_open_fd(lab.engine, fd, NULL, &opened, &lab.err), lab.err);
    close(fd);
    unlink(path);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, opened, &lab.err), lab.err);
    check_throws(&lab, "rethrow", NULL, 41);
    husk_sandbox_free(lab.sandbox);
    CHECK_OK(husk_sandbox_new(opened, lab.imports, NULL, &lab.sandbox, &lab.err), lab.err);
    check_throws(&lab, "rethrow", NULL, 41);
    for (int32_t i = 0; i < 2 * HUSK_EXCEPTION_SLOTS; i++)
        (void)take(&lab, i);
    check_throws(&lab, "rethrow", NULL, 41);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST_MAIN()
