/* tests/kvm/calls/call_test.c: typed calls of compiled modules: all value types, any arity,
 * references, traps, bytes in and out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "last_backtrace.h"
#include "wat.h"
#include "literals.h"

TEST(all_value_types) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (func (export \"f\") (param i32 i64 f32 f64 externref funcref)"
                 "  (result funcref externref f64 f32 i64 i32)"
                 "  local.get 5 local.get 4 local.get 3 local.get 2 local.get 1 local.get 0))",
                 NULL);
    struct husk_value args[6] = {value_i32(INT32_MIN),
                                 value_i64(INT64_MIN),
                                 {.type = HUSK_F32, .of.f32 = -0.0f},
                                 {.type = HUSK_F64, .of.f64 = 1e300},
                                 {.type = HUSK_EXTERNREF, .of.ref = 0xfedcba9876543210},
                                 {.type = HUSK_FUNCREF, .of.ref = 0}};
    struct husk_value results[6];
    CHECK_OK(wat_call(&lab, "f", args, 6, results, 6), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    for (int i = 0; i < 6; i++)
        CHECK_EQ_U64(results[i].type, args[5 - i].type);
    CHECK_EQ_U64(results[0].of.ref, 0);
    CHECK_EQ_U64(results[1].of.ref, 0xfedcba9876543210);
    CHECK(results[2].of.f64 == 1e300);
    CHECK(results[3].of.f32 == 0 && signbit(results[3].of.f32) != 0);
    CHECK_EQ_I64(results[4].of.i64, INT64_MIN);
    CHECK_EQ_I64(results[5].of.i32, INT32_MIN);
    wat_lab_close(&lab);
}

/* NaN payloads travel unchanged. */
TEST(nan_bits_are_kept) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, "(module (func (export \"f\") (param f32) (result f32) local.get 0))", NULL);
    struct husk_value value = {.type = HUSK_F32}, result;
    uint32_t bits = 0x7fa01234, got;
    memcpy(&value.of.f32, &bits, 4);
    CHECK_OK(wat_call(&lab, "f", &value, 1, &result, 1), lab.err);
    memcpy(&got, &result.of.f32, 4);
    CHECK_EQ_U64(got, bits);
    wat_lab_close(&lab);
}

/* (i64 × n) -> (i64 × n), reversed; then the same through a host function. */
static void check_arity(int n) {
    struct wat_lab lab;
    char *wat = malloc(200000), *types = malloc(4000);
    size_t used = 0;
#define EMIT(...) used += (size_t)snprintf(wat + used, 200000 - used, __VA_ARGS__)
    EMIT("(module (func (export \"f\") (param");
    for (int i = 0; i < n; i++)
        EMIT(" i64");
    EMIT(") (result");
    for (int i = 0; i < n; i++)
        EMIT(" i64");
    EMIT(")");
    for (int i = n - 1; i >= 0; i--)
        EMIT(" local.get %d", i);
    EMIT("))");
#undef EMIT
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, NULL);
    struct husk_value *args = calloc((size_t)n + 1, sizeof *args),
                      *results = calloc((size_t)n + 1, sizeof *results);
    for (int i = 0; i < n; i++)
        args[i] = value_i64(i * 1000003ll);
    CHECK_OK(wat_call(&lab, "f", args, (size_t)n, results, (size_t)n), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    for (int i = 0; i < n; i++)
        CHECK_EQ_I64(results[i].of.i64, (n - 1 - i) * 1000003ll);
    wat_lab_close(&lab);
    free(args);
    free(results);
    free(wat);
    free(types);
}

TEST(any_arity) {
    SKIP_WITHOUT_COMPILER();
    static const int arities[] = {0, 1, 2, 3, 5, 7, 17, 100, 1000};
    for (size_t i = 0; i < sizeof arities / sizeof arities[0]; i++)
        check_arity(arities[i]);
}

TEST(wrong_calls_are_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (func (export \"f\") (param i32) (result i32) local.get 0) (memory "
                 "(export \"m\") 1))",
                 NULL);
    struct husk_value arg = value_i32(1), wide = value_i64(1), result;
    CHECK_STATUS(wat_call(&lab, "g", &arg, 1, &result, 1), HUSK_E_NOT_FOUND);
    CHECK_CONTAINS(lab.err.message, "\"g\"");
    CHECK_STATUS(wat_call(&lab, "m", &arg, 1, &result, 1), HUSK_E_NOT_FOUND);
    CHECK_STATUS(wat_call(&lab, "f", NULL, 0, &result, 1), HUSK_E_TYPE);
    CHECK_STATUS(wat_call(&lab, "f", &arg, 1, &result, 0), HUSK_E_TYPE);
    CHECK_STATUS(wat_call(&lab, "f", &wide, 1, &result, 1), HUSK_E_TYPE);
    CHECK_CONTAINS(lab.err.message, "i64");
    CHECK_STATUS(wat_call(&lab, "f", NULL, 1, &result, 1), HUSK_E_INVAL);
    CHECK_STATUS(husk_call(lab.sandbox,
                           CALL(.name = "f", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1),
                           NULL, &lab.err),
                 HUSK_E_INVAL);
    husk_func func, absent;
    CHECK_OK(husk_image_func(lab.image, "f", 0, &func, &lab.err), lab.err);
    absent = func;
    absent.opaque[1] += 99; /* as one of a damaged copy, or of an image that lies */
    CHECK_STATUS(husk_call(lab.sandbox,
                           CALL(.func = absent, .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1),
                           &lab.outcome, &lab.err),
                 HUSK_E_NOT_FOUND);
    CHECK_STATUS(husk_call(lab.sandbox,
                           CALL(.func = (husk_func){{0, 0}}, .args = &arg, .args_count = 1,
                                .results = &result, .results_count = 1),
                           &lab.outcome, &lab.err),
                 HUSK_E_INVAL);
    CHECK_OK(wat_call(&lab, "f", &arg, 1, &result, 1), lab.err);
    wat_lab_close(&lab);
}

static const char traps_wat[] =
    "(module (memory 1) (table 2 funcref) (elem (i32.const 0) $void)"
    "(type $ii (func (param i32) (result i32)))"
    "(func $void)"
    "(func $inner (param i32) (result i32)"
    "  (if (i32.eq (local.get 0) (i32.const 1)) (then unreachable))"
    "  (if (i32.eq (local.get 0) (i32.const 2)) (then (return (i32.load (i32.const 65536)))))"
    "  (if (i32.eq (local.get 0) (i32.const 3)) (then (return (call_indirect (type $ii) (i32.const "
    "0) "
    "(i32.const 7)))))"
    "  (if (i32.eq (local.get 0) (i32.const 4)) (then (return (call_indirect (type $ii) (i32.const "
    "0) "
    "(i32.const 1)))))"
    "  (if (i32.eq (local.get 0) (i32.const 5)) (then (return (call_indirect (type $ii) (i32.const "
    "0) "
    "(i32.const 0)))))"
    "  (if (i32.eq (local.get 0) (i32.const 6)) (then (return (i32.div_s (i32.const 1) (i32.sub "
    "(local.get "
    "0) (i32.const 6))))))"
    "  (if (i32.eq (local.get 0) (i32.const 7)) (then (return (i32.div_s (i32.const 0x80000000) "
    "(i32.sub "
    "(local.get 0) (i32.const 8))))))"
    "  (if (i32.eq (local.get 0) (i32.const 8)) (then (return (i32.trunc_f32_s (f32.const nan)))))"
    "  (if (i32.eq (local.get 0) (i32.const 9)) (then (return (call $outer (local.get 0)))))"
    "  (if (i32.eq (local.get 0) (i32.const 10)) (then (table.set 0 (i32.const 9) (ref.null "
    "func))))"
    "  (i32.const 77))"
    "(func $outer (export \"f\") (param i32) (result i32) (i32.add (i32.const 1) (call $inner "
    "(local.get "
    "0)))))";

TEST(every_trap_kind) {
    SKIP_WITHOUT_COMPILER();
    static const struct {
        enum husk_trap trap;
        const char *message;
    } expected[] = {{HUSK_TRAP_NONE, ""},
                    {HUSK_TRAP_UNREACHABLE, "unreachable"},
                    {HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "out of bounds memory access"},
                    {HUSK_TRAP_UNDEFINED_ELEMENT, "undefined element"},
                    {HUSK_TRAP_UNINITIALIZED_ELEMENT, "uninitialized element"},
                    {HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH, "indirect call type mismatch"},
                    {HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO, "integer divide by zero"},
                    {HUSK_TRAP_INTEGER_OVERFLOW, "integer overflow"},
                    {HUSK_TRAP_INVALID_CONVERSION_TO_INTEGER, "invalid conversion to integer"},
                    {HUSK_TRAP_CALL_STACK_EXHAUSTED, "call stack exhausted"},
                    {HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "out of bounds table access"}};
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, traps_wat, NULL);
    for (int i = 1; i <= 10; i++) {
        struct husk_value arg = value_i32(i), result = value_i32(-5);
        CHECK_OK(wat_call(&lab, "f", &arg, 1, &result, 1), lab.err);
        CHECK_MSG(lab.outcome.kind == HUSK_TRAPPED, "trap %d: kind %d, %s", i,
                  (int)lab.outcome.kind, lab.outcome.message);
        CHECK_EQ_U64(lab.outcome.trap, expected[i].trap);
        CHECK_CONTAINS(lab.outcome.message, expected[i].message);
        CHECK_EQ_I64(result.of.i32, -5); /* untouched */
        const struct husk_backtrace backtrace = last_backtrace(lab.sandbox);
        CHECK(!lab.outcome.is_poisoned && backtrace.frames_count >= 1);
        const struct husk_frame *last = &backtrace.frames[backtrace.frames_count - 1];
        if (backtrace.frames_total <= HUSK_FRAMES_MAX)
            CHECK_STR(last->func_name, "outer");
        else
            CHECK(backtrace.frames_total > 1000);
        CHECK(backtrace.frames[0].wasm_offset != HUSK_NO_OFFSET);
        CHECK_EQ_I64(wat_call_i32(&lab, "f", 0), 78);
    }
    wat_lab_close(&lab);
}

TEST(function_references_round_trip) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(
        &lab,
        "(module (table 1 funcref) (type $t (func (result i32))) (elem declare func $f)"
        "(func $f (type $t) i32.const 4711)"
        "(func (export \"give\") (result funcref) ref.func $f)"
        "(func (export \"take\") (param funcref) (result i32)"
        "  (table.set 0 (i32.const 0) (local.get 0)) (call_indirect (type $t) (i32.const 0))))",
        NULL);
    struct husk_value ref, result;
    CHECK_OK(wat_call(&lab, "give", NULL, 0, &ref, 1), lab.err);
    CHECK_EQ_U64(ref.type, HUSK_FUNCREF);
    CHECK(ref.of.ref != 0);
    CHECK_OK(wat_call(&lab, "take", &ref, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i32, 4711);
    ref.of.ref = 0;
    CHECK_OK(wat_call(&lab, "take", &ref, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_UNINITIALIZED_ELEMENT);
    wat_lab_close(&lab);
}

/* A made-up function reference is the embedder's mistake, and costs the guest only. */
TEST(wild_function_references_end_in_a_violation) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(
        &lab,
        "(module (table 1 funcref) (type $t (func (result i32)))"
        "(func (export \"take\") (param funcref) (result i32)"
        "  (table.set 0 (i32.const 0) (local.get 0)) (call_indirect (type $t) (i32.const 0))))",
        NULL);
    struct husk_value ref = {.type = HUSK_FUNCREF}, result;
    for (uint64_t type_id = 1; type_id < 4 && lab.outcome.kind != HUSK_GUEST_VIOLATION; type_id++) {
        ref.of.ref = type_id << 32 | 0x1234;
        CHECK_OK(wat_call(&lab, "take", &ref, 1, &result, 1), lab.err);
        CHECK(lab.outcome.kind == HUSK_GUEST_VIOLATION ||
              lab.outcome.trap == HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH);
    }
    CHECK_EQ_U64(lab.outcome.kind, HUSK_GUEST_VIOLATION);
    CHECK(lab.outcome.is_poisoned);
    wat_lab_close(&lab);
}

TEST(start_functions_run_once) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    static const char wat[] =
        "(module (global $n (export \"n\") (mut i32) (i32.const 0))"
        "(func $s (global.set $n (i32.add (global.get $n) (i32.const 1)))) (start $s)"
        "(func (export \"f\") (param i32) (result i32) global.get $n))";
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, NULL);
    struct husk_value n;
    CHECK_OK(husk_global_get(lab.sandbox, "n", 0, &n, &lab.err), lab.err);
    CHECK_EQ_I64(n.of.i32, 0); /* no guest code runs when a sandbox is made */
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 0), 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 0), 1);
    CHECK_OK(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 0), 1);
    wat_lab_close(&lab);
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, NULL);
    CHECK_OK(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 0), 1);
    wat_lab_close(&lab);
}

TEST(a_failed_start_is_final) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, "(module (func $s unreachable) (start $s) (func (export \"f\")))", NULL);
    CHECK_OK(wat_call(&lab, "f", NULL, 0, NULL, 0), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
    CHECK_STR(last_backtrace(lab.sandbox).frames[0].func_name, "s");
    CHECK_STATUS(wat_call(&lab, "f", NULL, 0, NULL, 0), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), HUSK_E_STATE);
    wat_lab_close(&lab);
}

/* An allocator that only goes up; "up" gives the input in capitals, "lie" points outside of
 * memory. */
static const char bytes_wat[] =
    "(module (memory (export \"memory\") 1) (global $top (mut i32) (i32.const 16)) (global $freed "
    "(export "
    "\"freed\") (mut i32) (i32.const 0))"
    "(func $malloc (export \"malloc\") (param i32) (result i32)"
    "  global.get $top (global.set $top (i32.add (global.get $top) (local.get 0)))"
    "  (if (i32.gt_u (global.get $top) (i32.const 60000)) (then (return (i32.const 0)))))"
    "(func (export \"free\") (param i32) (global.set $freed (i32.add (global.get $freed) "
    "(i32.const 1))))"
    "(func $upper (param $p i32) (param $n i32) (local $i i32)"
    "  (block $done (loop $next (br_if $done (i32.ge_u (local.get $i) (local.get $n)))"
    "    (i32.store8 (i32.add (local.get $p) (local.get $i)) (i32.and (i32.const 0xdf) "
    "(i32.load8_u (i32.add "
    "(local.get $p) (local.get $i)))))"
    "    (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $next))))"
    "(func (export \"packed\") (param i32 i32) (result i64) (call $upper (local.get 0) (local.get "
    "1))"
    "  (i64.or (i64.extend_i32_u (local.get 0)) (i64.shl (i64.extend_i32_u (local.get 1)) "
    "(i64.const 32))))"
    "(func (export \"two\") (param i32 i32) (result i32 i32) (call $upper (local.get 0) (local.get "
    "1)) "
    "local.get 0 local.get 1)"
    "(func (export \"pair\") (param i32 i32) (result i32) (call $upper (local.get 0) (local.get 1))"
    "  (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1)) (i32.const "
    "0))"
    "(func (export \"lie\") (param i32 i32) (result i32 i32) i32.const 65530 i32.const 7)"
    "(func (export \"lie_pair\") (param i32 i32) (result i32) i32.const 65529)"
    "(func (export \"traps\") (param i32 i32) (result i64) unreachable)"
    "(func (export \"other\") (param i32) (result i64) i64.const 0))";

TEST(bytes_in_bytes_out) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, bytes_wat, NULL);
    static const char *const forms[] = {"packed", "two", "pair"};
    struct husk_bytes bytes;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(wat_call_bytes(&lab, forms[i], "hello", 5, &bytes), lab.err);
        CHECK_EQ_U64(bytes.output_count, 5);
        CHECK_STR((char *)bytes.output, "HELLO");
        free(bytes.output);
    }
    struct husk_value freed;
    CHECK_OK(husk_global_get(lab.sandbox, "freed", 0, &freed, &lab.err), lab.err);
    CHECK_EQ_I64(freed.of.i32, 3);
    CHECK_OK(wat_call_bytes(&lab, "two", NULL, 0, &bytes), lab.err);
    CHECK_EQ_U64(bytes.output_count, 0);
    free(bytes.output);
    CHECK_STATUS(wat_call_bytes(&lab, "lie", "x", 1, &bytes), HUSK_E_GUEST);
    CHECK_STATUS(wat_call_bytes(&lab, "lie_pair", "x", 1, &bytes), HUSK_E_GUEST);
    CHECK_STATUS(wat_call_bytes(&lab, "other", "x", 1, &bytes), HUSK_E_TYPE);
    CHECK_STATUS(wat_call_bytes(&lab, "nix", "x", 1, &bytes), HUSK_E_NOT_FOUND);
    CHECK_OK(wat_call_bytes(&lab, "traps", "x", 1, &bytes), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_UNREACHABLE);
    static char large[70000];
    CHECK_STATUS(wat_call_bytes(&lab, "two", large, sizeof large, &bytes), HUSK_E_GUEST);
    CHECK(bytes.output == NULL);
    wat_lab_close(&lab);
}

TEST_MAIN()
