/*
 * tests/kvm/code/quiet_nan_computed_test.c: no signalling NaN passes through arithmetic (core spec
 * 4.3.3) whose other operand LLVM can compute or find in memory, and then remove as neutral. The
 * operand is 0 or 1 made of other constants, an integer with some known bits, or a value of a
 * block. Or a promotion ends at a demotion.
 */
#include <stdio.h>
#include <stdlib.h>

#include "levels.h"

#define SIGNALLING 0x7fa00000u

/* Bodies of functions (bits of a signalling NaN, 1) -> bits of the result. */
static const char *const bodies[] = {
    "(local f32) (local.set 2 (block $b (result f32) (br_if $b (f32.const -0) (local.get 1)) "
    "drop (f32.const 0))) (call $q (f32.add (f32.reinterpret_i32 (local.get 0)) (local.get "
    "2)))",
    "(block $b (result f32 f32) (f32.reinterpret_i32 (local.get 0)) (f32.const 1) (br_if $b "
    "(local.get 1)) drop (f32.const -1)) f32.mul call $q",
    "(local i32) (f32.reinterpret_i32 (local.get 0)) (f32.const -0) (loop $l (param f32 f32) "
    "(result f32 f32) (local.set 2 (i32.add (local.get 2) (i32.const 1))) (br_if $l "
    "(i32.lt_u (local.get 2) (i32.const 3)))) f32.add call $q",
    "(i32.store (i32.const 8) (select (i32.const 0x80000000) (i32.const 0) (local.get 1))) "
    "(call $q (f32.add (f32.reinterpret_i32 (local.get 0)) (f32.load (i32.const 8))))",
    "(local i32) (if (local.get 1) (then (local.set 2 (i32.const 0x80000000))) (else "
    "(local.set 2 (i32.const 5)))) (i32.store (i32.const 8) (local.get 2)) (if (result i32) "
    "(local.get 1) (then (call $q (f32.add (f32.reinterpret_i32 (local.get 0)) (f32.load "
    "(i32.const 8))))) (else (i32.const 0x7fc00000)))",
    "(i32.store (i32.const 8) (select (i32.const 0x3f800000) (i32.const 0xbf800000) "
    "(local.get 1))) (call $q (f32.mul (f32.reinterpret_i32 (local.get 0)) (f32.load "
    "(i32.const 8))))",
    "(f32.store (i32.const 8) (f32.const 0.5)) (f32.store (i32.const 12) (f32.const -0.5)) "
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.add (f32.load (i32.const 8)) "
    "(f32.load (i32.const 12)))))",
    "(f32.store (i32.const 8) (f32.const 0.5)) (f32.store (i32.const 12) (f32.const 2)) "
    "(call $q (f32.mul (f32.reinterpret_i32 (local.get 0)) (f32.mul (f32.load (i32.const 8)) "
    "(f32.load (i32.const 12)))))",
    "(f32.store (i32.const 8) (f32.const 0.5)) (call $q (f32.sub (f32.reinterpret_i32 "
    "(local.get 0)) (f32.floor (f32.load (i32.const 8)))))",
    "(f32.store (i32.const 8) (f32.const 0.75)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.nearest (f32.load (i32.const 8)))))",
    "(f32.store (i32.const 8) (f32.const 0.75)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.max (f32.const 1) (f32.load (i32.const 8)))))",
    "(f32.store (i32.const 8) (f32.const 2.5)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.min (f32.load (i32.const 8)) (f32.const 1))))",
    "(f64.store (i32.const 8) (f64.const 1)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.demote_f64 (f64.load (i32.const 8)))))",
    "(f64.store (i32.const 8) (f64.const 1.5)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.convert_i32_s (i32.trunc_f64_s (f64.load (i32.const 8))))))",
    "(i32.store (i32.const 8) (i32.const 7)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.convert_i32_s (i32.div_u (i32.load (i32.const 8)) (i32.const 7)))))",
    "(i32.store8 (i32.const 8) (i32.const 1)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.convert_i32_s (i32.load8_u (i32.const 8)))))",
    "(i64.store (i32.const 8) (i64.const 0x3f80000000000000)) (call $q (f32.mul "
    "(f32.reinterpret_i32 (local.get 0)) (f32.load (i32.const 12))))",
    "(i32.store16 (i32.const 8) (i32.const 0)) (i32.store16 (i32.const 10) (i32.const "
    "0x3f80)) (call $q (f32.mul (f32.reinterpret_i32 (local.get 0)) (f32.load (i32.const "
    "8))))",
    "(i32.store (i32.const 8) (i32.const 0x7f000000)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.reinterpret_i32 (i32.shr_u (i32.load (i32.const 8)) (i32.const "
    "1)))))",
    "(i32.store (i32.const 8) (i32.const 0x3f800001)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.reinterpret_i32 (i32.and (i32.load (i32.const 8)) (i32.const "
    "0xfffffffe)))))",
    "(i32.store (i32.const 8) (i32.const 0x12345678)) (call $q (f32.add (f32.reinterpret_i32 "
    "(local.get 0)) (f32.reinterpret_i32 (i32.xor (i32.load (i32.const 8)) (i32.const "
    "0x92345678)))))",
    "(memory.fill (i32.const 8) (i32.const 0) (i32.const 16)) (call $q (f32.sub "
    "(f32.reinterpret_i32 (local.get 0)) (f32.load (i32.const 12))))",
    "(memory.fill (i32.const 8) (i32.const 0) (i32.const 16)) (call $q (f32.sub "
    "(f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_u (i32.load (i32.const 12)))))",
    "(f32.store (i32.const 8) (f32.const 4)) (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get 0)) (f32.sqrt (f32.div (f32.load (i32.const 8)) (f32.const 4)))))",
    "(local f32) (local.set 2 (f32.load (i32.const 8))) (call $q (f32.mul "
    "(f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_u (i32.eq (local.get 1) (local.get "
    "1)))))",
    "(local f32 f32) (local.set 2 (f32.load (i32.const 80))) (if (i32.eqz "
    "(i32.reinterpret_f32 (local.get 2))) (then (local.set 3 (f32.sub (f32.reinterpret_i32 "
    "(local.get 0)) (local.get 2))))) (call $q (local.get 3))",
    "(local i32 f32) (if (i32.eq (local.tee 2 (i32.load (i32.const 80))) (i32.const 0)) "
    "(then (local.set 3 (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.reinterpret_i32 "
    "(local.get 2)))))) (call $q (local.get 3))",
    "(call $q (f32.demote_f64 (f64.mul (f64.promote_f32 (f32.reinterpret_i32 (local.get 0))) "
    "(f64.const 1))))",
    "(local f64) (f64.store (i32.const 8) (f64.promote_f32 (f32.reinterpret_i32 (local.get "
    "0)))) (call $q (f32.demote_f64 (f64.load (i32.const 8))))",
    "(i64.store (i32.const 8) (i64.reinterpret_f64 (f64.promote_f32 (f32.reinterpret_i32 "
    "(local.get 0))))) (call $q (f32.demote_f64 (f64.load (i32.const 8))))",
    "(call $q (f32.demote_f64 (f64.reinterpret_i64 (i64.reinterpret_f64 (f64.promote_f32 "
    "(f32.reinterpret_i32 (local.get 0)))))))",
    "(call $q (f32.demote_f64 (f64.abs (f64.promote_f32 (f32.reinterpret_i32 (local.get "
    "0))))))",
    "(call $q (f32.demote_f64 (f64.copysign (f64.promote_f32 (f32.reinterpret_i32 (local.get "
    "0))) (f64.const -1))))",
    "(call $q (f32.demote_f64 (f64.floor (f64.promote_f32 (f32.reinterpret_i32 (local.get "
    "0))))))",
    "(call $q (f32.demote_f64 (f64.min (f64.promote_f32 (f32.reinterpret_i32 (local.get 0))) "
    "(f64.const 3))))",
    "(call $q (f32.demote_f64 (f64.sqrt (f64.promote_f32 (f32.reinterpret_i32 (local.get "
    "0))))))",
    "(local i32) (local.set 2 (f32.gt (f32.load (i32.const 60)) (f32.const 3))) (call $q "
    "(f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_s (i32.and (local.get 2) "
    "(i32.const 2)))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_s (i32.and "
    "(local.get 1) (i32.const 0)))))",
    "(call $q (f32.mul (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_s (i32.or "
    "(local.get 1) (i32.const -1)))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_s (i32.shr_u "
    "(i32.load8_u (i32.const 4)) (i32.const 8)))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_s (i32.sub "
    "(local.get 1) (local.get 1)))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.reinterpret_i32 (i32.mul "
    "(local.get 1) (i32.const 0)))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_s (i32.rem_u "
    "(local.get 1) (i32.const 1)))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_s (i32.shr_s "
    "(i32.load16_u (i32.const 4)) (i32.const 31)))))",
    "(local f32) (call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.trunc (f32.div "
    "(f32.convert_i32_u (i32.load8_u (i32.const 4))) (f32.const 1000)))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.reinterpret_i32 (i32.eq "
    "(local.get 1) (i32.add (local.get 1) (i32.const 1))))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_u (i32.ctz "
    "(i32.const 1)))))",
    "(call $q (f32.mul (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_u (i32.popcnt "
    "(i32.shl (i32.const 1) (local.get 1))))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i64_u (i64.shr_u "
    "(i64.extend_i32_u (local.get 1)) (i64.const 32)))))",
    "(call $q (f32.sub (f32.reinterpret_i32 (local.get 0)) (f32.convert_i32_u (i32.wrap_i64 "
    "(i64.shr_u (i64.extend_i32_u (local.get 1)) (i64.const 32))))))",
    /* what is at most 1 and at least 1 */
    "(local $y f32) (local.set $y (f32.convert_i32_s (local.get 1))) (if (result i32) (i32.and "
    "(f32.le (local.get $y) (f32.const 1)) (f32.ge (local.get $y) (f32.const 1))) (then (call $q "
    "(f32.mul (f32.reinterpret_i32 (local.get 0)) (local.get $y)))) (else (i32.const 0)))"};

/* Integers that comparisons many steps away show to be 1: the default mode's liberty, not
 * strict's. */
static const char *const strict_bodies[] = {
    "(if (result i32) (i32.eq (i32.xor (i32.add (i32.xor (i32.add (local.get 1) (i32.const 1)) "
    "(i32.const "
    "5)) "
    "(i32.const 7)) (i32.const 9)) (i32.const 7)) (then (call $q (f32.mul (f32.reinterpret_i32 "
    "(local.get "
    "0)) "
    "(f32.convert_i32_s (local.get 1))))) (else (i32.const 0)))",
    "(if (result i32) (i32.eq (i32.rotl (i32.xor (i32.rotl (local.get 1) (i32.const 3)) (i32.const "
    "5)) "
    "(i32.const 4)) (i32.const 208)) (then (call $q (f32.div (f32.reinterpret_i32 (local.get 0)) "
    "(f32.convert_i32_s (local.get 1))))) (else (i32.const 0)))"};

enum {
    BODIES_COUNT = sizeof bodies / sizeof bodies[0],
    STRICT_BODIES_COUNT = sizeof strict_bodies / sizeof strict_bodies[0]
};

static uint8_t *make_module(size_t *ret_count) {
    size_t size = 1u << 16, used;
    char *text = malloc(size);
    CHECK(text != NULL);
    used = (size_t)snprintf(
        text, size,
        "(module (memory 1) (func $q (param f32) (result i32) (i32.reinterpret_f32 "
        "(local.get 0)))");
    for (int i = 0; i < BODIES_COUNT + STRICT_BODIES_COUNT; i++) {
        const char *body = i < BODIES_COUNT ? bodies[i] : strict_bodies[i - BODIES_COUNT];
        used +=
            (size_t)snprintf(text + used, size - used,
                             "(func (export \"f%d\") (param i32 i32) (result i32) %s)", i, body);
        CHECK(used < size - 1);
    }
    text[used] = ')';
    text[used + 1] = 0;
    uint8_t *wasm = wat_to_wasm(text, ret_count);
    free(text);
    return wasm;
}

TEST(results_are_quiet) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = make_module(&count);
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        const int bodies_count = BODIES_COUNT + (levels[i].is_strict ? STRICT_BODIES_COUNT : 0);
        for (int idx = 0; idx < bodies_count; idx++) {
            struct husk_value args[2] = {value_i32((int32_t)SIGNALLING), value_i32(1)}, result;
            char name[16];
            snprintf(name, sizeof name, "f%d", idx);
            CHECK_OK(wat_call(&lab, name, args, 2, &result, 1), lab.err);
            CHECK_MSG(lab.outcome.kind == HUSK_RETURNED, "%s: %s", name, lab.outcome.message);
            CHECK_MSG(((uint32_t)result.of.i32 & 0x7fc00000) == 0x7fc00000,
                      "%s: %s gave 0x%x, which is no quiet NaN", levels[i].name, name,
                      (unsigned)result.of.i32);
        }
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* However often a function has them, hidden constants cost no stack slot each. */
TEST(many_constants_need_no_stack) {
    SKIP_WITHOUT_LEVELS();
    enum { MULTIPLICATIONS = 2000, DEPTH = 2000 };
    static const char head[] =
        "(module (func $f (export \"f\") (param i32 f32) (result i32)"
        " (if (local.get 0) (then (drop (call $f (i32.sub (local.get 0) (i32.const 1))"
        " (local.get 1)))))";
    static const char part[] = " (local.set 1 (f32.mul (local.get 1) (f32.const 1)))";
    size_t size = sizeof head + MULTIPLICATIONS * sizeof part + 64, used = 0, count = 0;
    char *text = malloc(size);
    CHECK(text != NULL);
    used += (size_t)snprintf(text, size, "%s", head);
    for (int i = 0; i < MULTIPLICATIONS; i++)
        used += (size_t)snprintf(text + used, size - used, "%s", part);
    snprintf(text + used, size - used, " (i32.reinterpret_f32 (local.get 1))))");
    uint8_t *wasm = wat_to_wasm(text, &count);
    free(text);
    struct wat_lab lab;
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        struct husk_value args[2] = {value_i32(DEPTH), {.type = HUSK_F32, .of.f32 = 0.5f}}, result;
        level_open(&lab, &levels[i], wasm, count);
        CHECK_OK(wat_call(&lab, "f", args, 2, &result, 1), lab.err);
        CHECK_MSG(lab.outcome.kind == HUSK_RETURNED, "%s: %s", levels[i].name, lab.outcome.message);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
