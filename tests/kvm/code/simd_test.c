/*
 * tests/kvm/code/simd_test.c: v128 wherever a value may be, at every level: locals, blocks, loops,
 * calls with many arguments and results, host functions, nested calls, globals, snapshots and saved
 * snapshots. The instructions themselves are tried by the official suite.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "levels.h"
#include "literals.h"

static struct husk_value vector(uint8_t first) {
    struct husk_value value = {.type = HUSK_V128};
    for (uint8_t i = 0; i < 16; i++)
        value.of.v128[i] = (uint8_t)(first + i);
    return value;
}

static void check_vector(const struct husk_value *value, uint8_t first) {
    struct husk_value expected = vector(first);
    CHECK_EQ_U64(value->type, HUSK_V128);
    CHECK_MSG(memcmp(value->of.v128, expected.of.v128, 16) == 0, "expected %u …, got %u, %u …",
              first, value->of.v128[0], value->of.v128[1]);
}

static const char *const module_text =
    "(module"
    " (import \"env\" \"swap\" (func $swap (param v128 i32 v128) (result v128 i32 v128)))"
    " (import \"env\" \"again\" (func $again (param v128) (result v128)))"
    " (memory 1) (global $g (export \"g\") (mut v128) (v128.const i8x16 9 10 11 12 13 14 15 16 17 "
    "18 19 20 21 "
    "22 23 24))"
    " (table funcref (elem $add))"
    " (type $vv (func (param v128 v128) (result v128)))"
    " (func $add (export \"add\") (type $vv) (i8x16.add (local.get 0) (local.get 1)))"
    /* through a table, a block with parameters, a loop, select, br_table and a local */
    " (func (export \"flow\") (param $v v128) (param $n i32) (result v128) (local $s v128)"
    "  (local.get $v)"
    "  (block (param v128) (result v128)"
    "   (loop $l (param v128) (result v128)"
    "    (i8x16.splat (i32.const 1)) (call_indirect (type $vv) (i32.const 0))"
    "    (local.set $s) (local.set $n (i32.sub (local.get $n) (i32.const 1)))"
    "    (local.get $s) (br_if $l (local.get $n)))"
    "   (br_table 0 0 (local.get $n)))"
    "  (local.get $v) (local.get $n) (i32.eqz) (select (result v128)))"
    /* results in registers, and in memory */
    " (func $two (param v128) (result v128 v128) (local.get 0) (call $add (local.get 0) "
    "(i8x16.splat "
    "(i32.const 1))))"
    " (func (export \"five\") (param v128) (result v128 i32 v128 f64 v128) (local $w v128)"
    "  (call $two (local.get 0)) (local.set $w) (i32.const 7) (local.get $w) (f64.const 0.5)"
    "  (call $two (local.get $w)) (local.set $w) (drop) (local.get $w))"
    " (func (export \"ten\") (param v128 v128 v128 v128 v128 v128 v128 v128 v128 v128) (result "
    "v128)"
    "  (call $ten (local.get 9) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get "
    "5)"
    "   (local.get 6) (local.get 7) (local.get 8) (local.get 0)))"
    " (func $ten (param v128 v128 v128 v128 v128 v128 v128 v128 v128 v128) (result v128)"
    "  (i8x16.sub (local.get 9) (i8x16.sub (local.get 0) (local.get 8))))"
    " (func (export \"host\") (param v128 i32 v128) (result v128 i32 v128)"
    "  (call $swap (local.get 0) (local.get 1) (local.get 2)))"
    " (func (export \"nest\") (param v128) (result v128) (call $again (local.get 0)))"
    " (func (export \"set\") (param v128) (global.set $g (local.get 0))"
    "  (v128.store offset=7 (i32.const 0) (local.get 0)))"
    " (func (export \"get\") (result v128 v128) (global.get $g) (v128.load (i32.const 7))))";

static int host_swap(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    (void)caller;
    (void)user;
    results[0].of = args[2].of;
    results[1].of.i32 = args[1].of.i32 + 1;
    results[2].of = args[0].of;
    return 0;
}

/* Calls back into the guest, which changes every vector register. */
static int host_again(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)user;
    struct husk_value inner[2] = {args[0], vector(1)};
    struct husk_error err = {0};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    return husk_call(
        husk_caller_sandbox(caller),
        CALL(.name = "add", .args = inner, .args_count = 2, .results = results, .results_count = 1),
        &outcome, &err);
}

static void call(struct wat_lab *lab, const char *name, const struct husk_value *args, size_t count,
                 struct husk_value *results, size_t results_count) {
    CHECK_OK(wat_call(lab, name, args, count, results, results_count), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
}

static void check_calls(struct wat_lab *lab) {
    struct husk_value args[10], results[5];
    for (uint8_t i = 0; i < 10; i++)
        args[i] = vector((uint8_t)(10 * i));
    call(lab, "add", args, 2, results, 1);
    for (int i = 0; i < 16; i++)
        CHECK_EQ_U64(results[0].of.v128[i], 10 + 2 * i);
    call(lab, "five", args, 1, results, 5);
    check_vector(&results[0], 0);
    CHECK_EQ_I64(results[1].of.i32, 7);
    check_vector(&results[2], 1);
    CHECK(results[3].of.f64 == 0.5);
    check_vector(&results[4], 2);
    call(lab, "ten", args, 10, results, 1);
    check_vector(&results[0], 246); /* 80 - 90 */
    args[1] = value_i32(3);
    call(lab, "flow", args, 2, results, 1);
    check_vector(&results[0], 3);
    args[0] = vector(5);
    args[2] = vector(77);
    call(lab, "host", args, 3, results, 3);
    check_vector(&results[0], 77);
    CHECK_EQ_I64(results[1].of.i32, 4);
    check_vector(&results[2], 5);
    call(lab, "nest", args, 1, results, 1);
    for (int i = 0; i < 16; i++)
        CHECK_EQ_U64(results[0].of.v128[i], 6 + 2 * i);
}

static void check_state(struct wat_lab *lab, uint8_t first) {
    struct husk_value results[2], global;
    call(lab, "get", NULL, 0, results, 2);
    check_vector(&results[0], first);
    check_vector(&results[1], first);
    CHECK_OK(husk_global_get(lab->sandbox, "g", 0, &global, &lab->err), lab->err);
    check_vector(&global, first);
}

/* In a snapshot, and in one that was saved and opened. */
static void check_snapshots(struct wat_lab *lab) {
    char path[] = "/tmp/husk-test-XXXXXX";
    struct husk_value value = vector(100), other = vector(30);
    husk_image *snapshot, *opened;
    call(lab, "set", &value, 1, NULL, 0);
    check_state(lab, 100);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), lab->err);
    call(lab, "set", &other, 1, NULL, 0);
    check_state(lab, 30);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, snapshot, &lab->err), lab->err);
    check_state(lab, 100);
    CHECK_OK(husk_global_set(lab->sandbox, "g", 0, &other, &lab->err), lab->err);
    CHECK_OK(husk_global_get(lab->sandbox, "g", 0, &value, &lab->err), lab->err);
    check_vector(&value, 30);
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    unlink(path);
    CHECK_OK(husk_image_save(snapshot, path, &lab->err), lab->err);
    CHECK_OK(husk_image_open(lab->engine, path, NULL, &opened, &lab->err), lab->err);
    unlink(path);
    husk_sandbox_free(lab->sandbox);
    CHECK_OK(husk_sandbox_new(opened, lab->imports, NULL, &lab->sandbox, &lab->err), lab->err);
    check_state(lab, 100);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
}

TEST(vectors_are_values) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(module_text, &count);
    wat_lab_init(&lab);
    wat_lab_func(&lab, "swap", "viv>viv", host_swap, NULL);
    wat_lab_func(&lab, "again", "v>v", host_again, NULL);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        struct husk_value global;
        CHECK_OK(husk_global_get(lab.sandbox, "g", 0, &global, &lab.err), lab.err);
        check_vector(&global, 9);
        check_calls(&lab);
        check_snapshots(&lab);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
