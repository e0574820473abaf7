/*
 * tests/kvm/snapshots/uniqueness_test.c: husk_restored() gets fresh entropy exactly once after each
 * restore or load of a snapshot, before the first call. A function with that name and another type
 * is ignored.
 */

#include "harness.h"
#include "wat.h"
#include "literals.h"

#define MODULE(params)                                                                             \
    "(module (memory 1) (global $n (mut i32) (i32.const 0)) (global $a (mut i64) (i64.const 0))"   \
    " (global $b (mut i64) (i64.const 0))"                                                         \
    " (func (export \"husk_restored\") " params ")"                                                \
    " (func (export \"count\") (result i32) global.get $n)"                                        \
    " (func (export \"spin\") (loop br 0))"                                                        \
    " (func (export \"a\") (result i64) global.get $a) (func (export \"b\") (result i64) "         \
    "global.get $b))"

static const char good_module[] =
    MODULE("(param i64 i64) global.get $n i32.const 1 i32.add global.set $n"
           " local.get 0 global.set $a local.get 1 global.set $b");
static const char other_module[] =
    MODULE("(param i64) (result i32) global.get $n i32.const 1 i32.add global.set $n i32.const 0");
static const char trap_module[] = MODULE("(param i64 i64) unreachable");

static int64_t call(struct wat_lab *lab, husk_sandbox *sandbox, const char *name) {
    struct husk_value result = {.type = HUSK_I64};
    CHECK_OK(husk_call(sandbox, CALL(.name = name, .results = &result, .results_count = 1),
                       &lab->outcome, &lab->err),
             lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return result.type == HUSK_I32 ? result.of.i32 : result.of.i64;
}

TEST(fresh_entropy_once_per_restore) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    husk_sandbox *fresh[4] = {0};
    int64_t seen[40];
    wat_lab_init(&lab);
    wat_lab_open(&lab, good_module, NULL);
    CHECK_EQ_I64(call(&lab, lab.sandbox, "count"), 0); /* nothing was restored */
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_EQ_I64(call(&lab, lab.sandbox, "count"), 0); /* the snapshot's own sandbox goes on */
    for (int i = 0; i < 16; i++) {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        if (i % 3 == 0)
            CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err),
                     lab.err); /* not called in between: once */
        CHECK_EQ_I64(call(&lab, lab.sandbox, "count"), 1);
        CHECK_EQ_I64(call(&lab, lab.sandbox, "count"), 1);
        seen[2 * i] = call(&lab, lab.sandbox, "a");
        seen[2 * i + 1] = call(&lab, lab.sandbox, "b");
    }
    for (int i = 0; i < 4; i++) {
        CHECK_OK(husk_sandbox_new(snapshot, NULL, NULL, &fresh[i], &lab.err), lab.err);
        CHECK_EQ_I64(call(&lab, fresh[i], "count"), 1);
        seen[32 + 2 * i] = call(&lab, fresh[i], "a");
        seen[33 + 2 * i] = call(&lab, fresh[i], "b");
    }
    for (int i = 0; i < 40; i++)
        for (int k = 0; k < i; k++)
            CHECK_MSG(seen[i] != seen[k], "the same entropy was given twice (%d, %d)", i, k);
    for (int i = 0; i < 4; i++)
        husk_sandbox_free(fresh[i]);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST(a_snapshot_taken_after_it_owes_it_again) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *first = NULL, *second = NULL;
    wat_lab_init(&lab);
    wat_lab_open(&lab, good_module, NULL);
    CHECK_OK(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &first, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_load(lab.sandbox, first, NULL, &lab.err), lab.err);
    CHECK_EQ_I64(call(&lab, lab.sandbox, "count"), 1);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &second, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, second, &lab.err), lab.err);
    CHECK_EQ_I64(call(&lab, lab.sandbox, "count"), 2);
    husk_image_unref(first);
    husk_image_unref(second);
    wat_lab_close(&lab);
}

TEST(another_type_is_not_called) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    wat_lab_init(&lab);
    wat_lab_open(&lab, other_module, NULL);
    call(&lab, lab.sandbox, "count");
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    CHECK_EQ_I64(call(&lab, lab.sandbox, "count"), 0);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* Its trap is the call's outcome: the caller must know that the guest did not take the entropy. */
TEST(a_trap_in_it_is_the_calls) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    struct husk_value result;
    wat_lab_init(&lab);
    wat_lab_open(&lab, trap_module, NULL);
    call(&lab, lab.sandbox, "count");
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    for (int i = 0; i < 2; i++) { /* and the next one's: nothing runs on old entropy */
        CHECK_OK(husk_call(lab.sandbox,
                           CALL(.name = "count", .results = &result, .results_count = 1),
                           &lab.outcome, &lab.err),
                 lab.err);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
        CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_UNREACHABLE);
    }
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST_MAIN()
