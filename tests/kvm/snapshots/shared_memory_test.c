/*
 * tests/kvm/snapshots/shared_memory_test.c: a shared memory is as any memory: it grows, and
 * snapshots, restores and saved snapshots contain it. Imports and exports say that it is shared.
 */
#include <stdio.h>
#include <unistd.h>

#include "literals.h"
#include "wat.h"

static const char imported[] =
    "(module (import \"env\" \"memory\" (memory 1 4 shared))"
    " (export \"memory\" (memory 0))"
    " (data (i32.const 16) \"\\07\")"
    " (func (export \"add\") (param i32) (result i32)"
    "   i32.const 16 local.get 0 i32.atomic.rmw.add)"
    " (func (export \"grow\") (param i32) (result i32) local.get 0 memory.grow)"
    " (func (export \"last\") (param i32) (result i32)" /* the word at the end of the memory */
    "   memory.size i32.const 65536 i32.mul i32.const 4 i32.sub"
    "   local.get 0 i32.atomic.rmw.xchg)"
    " (func (export \"wait\") (param i32) (result i32)"
    "   i32.const 16 local.get 0 i64.const 0 memory.atomic.wait32))";

static void lab_open(struct wat_lab *lab) {
    wat_lab_init(lab);
    CHECK_OK(husk_imports_define(lab->imports,
                                 EXTERN(MEMORY, "env", "memory", .min = 1, .has_max = true,
                                        .max = 3, .is_shared = true),
                                 NULL, &lab->err),
             lab->err);
    wat_lab_open(lab, imported, NULL);
}

static void check_grown(struct wat_lab *lab) {
    CHECK_EQ_I64(wat_call_i32(lab, "add", 0), 12);
    CHECK_EQ_I64(wat_call_i32(lab, "last", 5), 9);
    CHECK_EQ_I64(wat_call_i32(lab, "wait", 12), 2);
    CHECK_EQ_I64(wat_call_i32(lab, "grow", 1), 2);
    CHECK_EQ_I64(wat_call_i32(lab, "grow", 1), -1); /* the definition's maximum */
}

static void check_types(const husk_image *image) {
    struct husk_extern item = HUSK_EXTERN_INIT;
    CHECK(husk_image_import(image, 0, &item) == 0 && item.kind == HUSK_EXTERN_MEMORY);
    CHECK(item.is_shared && item.has_max && item.max == 4);
    CHECK(husk_image_export(image, 0, &item) == 0 && item.kind == HUSK_EXTERN_MEMORY);
    CHECK(item.is_shared);
    CHECK(husk_image_export(image, 1, &item) == 0 && !item.is_shared);
}

TEST(snapshots_contain_a_shared_memory) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL, *saved = NULL;
    husk_sandbox *other = NULL;
    FILE *file = tmpfile();
    lab_open(&lab);
    check_types(lab.image);
    CHECK_EQ_I64(wat_call_i32(&lab, "add", 5), 7);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "last", 9), 0);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    for (int i = 0; i < 3; i++) {
        check_grown(&lab);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    }
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "add", 0), 7);
    CHECK(file != NULL);
    CHECK_OK(husk_image_save_fd(snapshot, fileno(file), &lab.err), lab.err);
    CHECK_OK(husk_image_open_fd(lab.engine, fileno(file), NULL, &saved, &lab.err), lab.err);
    check_types(saved);
    CHECK_OK(husk_sandbox_new(saved, lab.imports, NULL, &other, &lab.err), lab.err);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = other;
    check_grown(&lab);
    fclose(file);
    husk_image_unref(saved);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST(only_a_memory_with_a_maximum_can_be_shared) {
    SKIP_WITHOUT_KVM();
    struct wat_lab lab;
    wat_lab_init(&lab);
    CHECK_STATUS(husk_imports_define(lab.imports,
                                     EXTERN(MEMORY, "env", "m", .min = 1, .is_shared = true), NULL,
                                     &lab.err),
                 HUSK_E_INVAL);
    CHECK_CONTAINS(lab.err.message, "shared");
    CHECK_STATUS(husk_imports_define(lab.imports,
                                     EXTERN(TABLE, "env", "t", .type = HUSK_FUNCREF, .min = 1,
                                            .has_max = true, .max = 2, .is_shared = true),
                                     NULL, &lab.err),
                 HUSK_E_INVAL);
    wat_lab_close(&lab);
}

TEST_MAIN()
