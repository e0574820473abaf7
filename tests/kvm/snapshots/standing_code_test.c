/*
 * tests/kvm/snapshots/standing_code_test.c: a standing call in an image of several instances, and
 * at another level of one module.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "levels.h"
#include "literals.h"
#include "wat.h"

static const char guest[] = "(module (import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
                            " (func (export \"run\") (param i32) (result i32)"
                            "  (i32.add (call $ask (local.get 0)) (local.get 0))))";

static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    const bool *has_answer = user;
    results[0].of.i32 = args[0].of.i32 + 1;
    return *has_answer ? 0 : husk_caller_pending(caller);
}

struct rig {
    struct wat_lab wat;
    bool has_answer;
};

static void define(struct rig *rig) {
    memset(rig, 0, sizeof *rig);
    wat_lab_init(&rig->wat);
    wat_lab_func(&rig->wat, "ask", "i>i", host_ask, &rig->has_answer);
}

static husk_image *stands(struct rig *rig, const char *name) {
    husk_image *snapshot = NULL;
    struct husk_value result;
    const struct husk_value arg = value_i32(6);
    rig->has_answer = false;
    CHECK_OK(wat_call(&rig->wat, name, &arg, 1, &result, 1), rig->wat.err);
    CHECK_MSG(rig->wat.outcome.kind == HUSK_PENDING, "%s", rig->wat.outcome.message);
    CHECK_OK(husk_sandbox_snapshot(rig->wat.sandbox, &snapshot, &rig->wat.err), rig->wat.err);
    rig->has_answer = true;
    return snapshot;
}

/* The stack has addresses of the text. */
TEST(another_level_is_refused) {
    SKIP_WITHOUT_LEVELS();
    struct rig rig;
    struct wat_lab other;
    size_t count = 0;
    define(&rig);
    wat_lab_open(&rig.wat, guest, NULL);
    husk_image *snapshot = stands(&rig, "run");
    uint8_t *wasm = wat_to_wasm(guest, &count);
    other = rig.wat;
    level_open(&other, &levels[0], wasm, count);
    free(wasm);
    CHECK_STATUS(husk_sandbox_restore(other.sandbox, snapshot, &rig.wat.err), HUSK_E_INVAL);
    CHECK_CONTAINS(rig.wat.err.message, "compiled in another way");
    CHECK_OK(husk_sandbox_load(other.sandbox, snapshot, rig.wat.imports, &rig.wat.err),
             rig.wat.err); /* its own text comes with it */
    CHECK_EQ_I64(wat_again(&rig.wat, other.sandbox, HUSK_RETURNED), 13);
    level_close(&other);
    husk_image_unref(snapshot);
    wat_lab_close(&rig.wat);
}

TEST(several_instances) {
    SKIP_WITHOUT_COMPILER();
    static const struct wat_module modules[] = {
        {"lib",
         "(module (import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
         " (memory (export \"memory\") 1 4) (global $g (mut i32) (i32.const 5))"
         " (func (export \"deep\") (param i32) (result i32)"
         "  (global.set $g (i32.add (global.get $g) (i32.const 1)))"
         "  (i32.store (i32.const 8) (local.get 0)) (drop (memory.grow (i32.const 1)))"
         "  (i32.add (i32.mul (call $ask (local.get 0)) (global.get $g))"
         "   (i32.load (i32.const 8)))))",
         NULL, 0},
        {"main",
         "(module (import \"lib\" \"deep\" (func $deep (param i32) (result i32)))"
         " (memory (export \"memory\") 1)"
         " (func (export \"go\") (param i32) (result i32)"
         "  (i32.store (i32.const 8) (i32.const 1000))"
         "  (i32.add (call $deep (local.get 0)) (i32.load (i32.const 8)))))",
         NULL, 0}};
    struct rig rig;
    husk_sandbox *clone = NULL, *sandbox = NULL;
    define(&rig);
    wat_lab_open_linked(&rig.wat, modules, 2, NULL);
    husk_image *snapshot = stands(&rig, "go");
    husk_image *file = wat_saved(&rig.wat, snapshot);
    CHECK_OK(husk_sandbox_clone(rig.wat.sandbox, &clone, &rig.wat.err), rig.wat.err);
    CHECK_OK(husk_sandbox_new(file, rig.wat.imports, NULL, &sandbox, &rig.wat.err), rig.wat.err);
    CHECK_EQ_I64(wat_again(&rig.wat, clone, HUSK_RETURNED), 7 * 6 + 6 + 1000);
    CHECK_EQ_I64(wat_again(&rig.wat, sandbox, HUSK_RETURNED), 7 * 6 + 6 + 1000);
    CHECK_EQ_I64(wat_again(&rig.wat, rig.wat.sandbox, HUSK_RETURNED), 7 * 6 + 6 + 1000);
    husk_sandbox_free(sandbox);
    husk_sandbox_free(clone);
    husk_image_unref(file);
    husk_image_unref(snapshot);
    wat_lab_close(&rig.wat);
}

TEST_MAIN()
