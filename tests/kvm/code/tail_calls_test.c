/*
 * tests/kvm/code/tail_calls_test.c: tail calls of all kinds, at every level: they need no stack,
 * trap as calls do, and backtraces do not show the functions that they left.
 */
#include <stdlib.h>
#include <string.h>

#include "last_backtrace.h"
#include "levels.h"
#include "literals.h"

#define TEN "i64 i64 i64 i64 i64 i64 i64 i64 i64 i64"
#define FIVES                                                                                      \
    "(i64.const 5) (i64.const 5) (i64.const 5) (i64.const 5) (i64.const 5) (i64.const 5)"          \
    " (i64.const 5) (i64.const 5) (i64.const 5)"

static const char module[] =
    "(module (import \"env\" \"add\" (func $add (param i32 i32) (result i32)))"
    " (import \"env\" \"tenth\" (func $tenth (param " TEN ") (result i64)))"
    " (import \"env\" \"fail\" (func $fail))"
    " (type $step (func (param i64) (result i32)))"
    " (table 4 4 funcref) (elem (i32.const 0) $even $odd $crash)"
    /* small ones, which are inlined where they are called */
    " (func $even (type $step) (if (i64.eqz (local.get 0)) (then (return (i32.const 1))))"
    "  (return_call $odd (i64.sub (local.get 0) (i64.const 1))))"
    " (func $odd (type $step) (if (i64.eqz (local.get 0)) (then (return (i32.const 0))))"
    "  (return_call_indirect (type $step) (i64.sub (local.get 0) (i64.const 1)) (i32.const 0)))"
    " (func $jump (type $step) (return_call $even (local.get 0)))"
    " (func $crash unreachable)"
    " (func $spin (return_call $spin))"
    /* more parameters than registers, in another order each time; the last one is returned */
    " (func $turn (param i32 " TEN ") (result i64)"
    "  (if (i32.eqz (local.get 0)) (then (return (local.get 10))))"
    "  (return_call $turn (i32.sub (local.get 0) (i32.const 1)) (local.get 10) (local.get 1)"
    "   (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)"
    "   (local.get 8) (local.get 9)))"
    /* results: in memory, and three of which LLVM has registers for two */
    " (func $five (export \"five\") (param i32) (result i32 i64 f32 f64 i32)"
    "  (local.get 0) (i64.const -2) (f32.const 3) (f64.const 4) (i32.const 5))"
    " (func $to_five (export \"to five\") (param i32) (result i32 i64 f32 f64 i32)"
    "  (if (local.get 0) (then (return_call $to_five (i32.sub (local.get 0) (i32.const 1)))))"
    "  (return_call $five (i32.const 77)))"
    " (func $floats (param f64 f64 f64) (result f64 f64 f64)"
    "  (local.get 2) (local.get 1) (local.get 0))"
    " (func $to_floats (param i32) (result f64 f64 f64)"
    "  (return_call $floats (f64.const 1) (f64.const 2) (f64.convert_i32_s (local.get 0))))"
    /* backtraces: after and within calls with ten arguments */
    " (func $deep (param i32) (result i64) (call $crash) (i64.const 1))"
    " (func $to_deep (param " TEN ") (result i64) (return_call $deep (i32.const 1)))"
    " (func $ten (param " TEN ") (result i64) (local.get 0))"
    " (func $to_ten (param i64) (result i64) (return_call $ten (local.get 0) " FIVES "))"
    " (func $within (param " TEN ") (result i64)"
    "  (i64.add (i64.const 1) (call $to_deep (local.get 9) " FIVES ")))"
    " (func $after (param i32) (result i64) (local i64)"
    "  (local.set 1 (call $to_ten (i64.extend_i32_s (local.get 0))))"
    "  (if (i64.ne (local.get 1) (i64.const 0)) (then unreachable)) (i64.const 8))"
    " (func (export \"parity\") (param i32) (result i32)"
    "  (call $even (i64.extend_i32_u (local.get 0))))"
    " (func (export \"jumps\") (param i32) (result i32) (local i32)"
    "  (loop (local.set 1 (i32.add (local.get 1) (call $jump (i64.extend_i32_u (local.get 0)))))"
    "   (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 1))"
    " (func (export \"turn\") (param i32) (result i64) (return_call $turn (local.get 0)"
    "  (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)"
    "  (i64.const 7) (i64.const 8) (i64.const 9) (i64.const 10)))"
    " (func (export \"index\") (param i32) (result i32)"
    "  (return_call_indirect (type $step) (i64.const 0) (local.get 0)) (i32.add) (drop))"
    " (func (export \"host\") (param i32) (result i32)"
    "  (return_call $add (local.get 0) (i32.const 5)))"
    " (func (export \"host of ten\") (param i32) (result i64)"
    "  (return_call $tenth " FIVES " (i64.extend_i32_s (local.get 0))))"
    " (func (export \"host fails\") (param i32) (return_call $fail))"
    " (func (export \"floats\") (param i32) (result i32)"
    "  (call $to_floats (local.get 0)) (drop) (drop) (i32.trunc_f64_s))"
    " (func (export \"switch\") (param i32) (result i32)"
    "  (block (block (block (br_table 0 1 2 (local.get 0)))"
    "   (return_call $even (i64.const 3))) (return_call $even (i64.const 4)))"
    "  (loop (br_if 0 (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))"
    "   (i32.const 1))) (return_call $add (local.get 0) (i32.const 10))) (unreachable))"
    " (func (export \"within\") (param i32) (result i64) (i64.mul (i64.const 3)"
    "  (call $within (i64.extend_i32_s (local.get 0)) " FIVES ")))"
    " (func (export \"after\") (param i32) (result i64)"
    "  (i64.mul (i64.const 3) (call $after (local.get 0))))"
    " (func (export \"spin\") (param i32) (return_call $spin)))";

enum { ADD, TENTH, FAIL_FUNC, EVEN, ODD, JUMP, CRASH, SPIN, TURN, FIVE, TO_FIVE, FLOATS };
enum { TO_FLOATS = FLOATS + 1, DEEP, TO_DEEP, TEN_FUNC, TO_TEN, WITHIN, AFTER, PARITY, JUMPS };
enum { EXPORT_WITHIN = JUMPS + 8, EXPORT_AFTER };
#define NONE UINT32_MAX
#define MANY 10000000 /* calls; with 16 bytes each, a stack of 1 MiB would hold 65536 */

static int host_add(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    (void)caller, (void)user;
    results[0] = value_i32(args[0].of.i32 + args[1].of.i32);
    return 0;
}

static int host_tenth(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)caller, (void)user;
    results[0] = value_i64(args[9].of.i64 * 1000 + args[8].of.i64);
    return 0;
}

/* Call a function with one argument. */
struct row {
    const char *name;
    int32_t argument;
    int64_t result;
};

static const struct row rows[] = {
    {"parity", 0, 1},     {"parity", 7, 0}, {"parity", MANY, 1}, {"parity", MANY + 1, 0},
    {"jumps", 1000, 500}, {"turn", 0, 10},  {"turn", 3, 7},      {"turn", MANY + 4, 6},
    {"index", 0, 1},      {"index", 1, 0},  {"host", 37, 42},    {"host of ten", -3, -2995},
    {"floats", 9, 9},     {"switch", 0, 0}, {"switch", 1, 1},    {"switch", 50, 11},
};

/* The call ends in a trap, in `funcs` from the innermost to the exported function. */
struct ending {
    const char *name;
    int32_t argument;
    enum husk_trap trap;
    uint32_t funcs[5];
};

static const struct ending endings[] = {
    {"index", 2, HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH, {JUMPS + 2, NONE}},
    {"index", 3, HUSK_TRAP_UNINITIALIZED_ELEMENT, {JUMPS + 2, NONE}},
    {"index", 4, HUSK_TRAP_UNDEFINED_ELEMENT, {JUMPS + 2, NONE}},
    {"host fails", 0, HUSK_TRAP_HOST_FUNCTION, {FAIL_FUNC, NONE}},
    {"within", 1, HUSK_TRAP_UNREACHABLE, {CRASH, DEEP, WITHIN, EXPORT_WITHIN, NONE}},
    {"after", 6, HUSK_TRAP_UNREACHABLE, {AFTER, EXPORT_AFTER, NONE}},
};

static void check_ending(struct wat_lab *lab, const struct level *level,
                         const struct ending *ending) {
    level_call(lab, ending->name, &ending->argument);
    CHECK_MSG(lab->outcome.kind == HUSK_TRAPPED && lab->outcome.trap == ending->trap, "%s, %s: %s",
              level->name, ending->name, lab->outcome.message);
    const struct husk_backtrace backtrace = last_backtrace(lab->sandbox);
    uint32_t count = 0;
    for (; ending->funcs[count] != NONE; count++)
        CHECK_MSG(count < backtrace.frames_count &&
                      backtrace.frames[count].func_idx == ending->funcs[count],
                  "%s, %s: frame %u is of function %u", level->name, ending->name, count,
                  backtrace.frames[count].func_idx);
    CHECK_EQ_U64(backtrace.frames_total, count);
}

static void check_results(struct wat_lab *lab) {
    struct husk_value results[5];
    const struct husk_value argument = value_i32(1000);
    CHECK_OK(wat_call(lab, "to five", &argument, 1, results, 5), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_RETURNED);
    CHECK(results[0].of.i32 == 77 && results[1].of.i64 == -2 && results[4].of.i32 == 5);
    CHECK(results[2].of.f32 == 3 && results[3].of.f64 == 4);
}

/* Calls that never return end at their limit, and that is no exhausted stack. */
static void check_deadline(struct wat_lab *lab) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    const struct husk_value argument = value_i32(0);
    limits.wall_ns = 30000000;
    CHECK_OK(husk_call(lab->sandbox,
                       CALL(.name = "spin", .args = &argument, .args_count = 1, .limits = &limits),
                       &lab->outcome, &lab->err),
             lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_DEADLINE);
    const struct husk_backtrace backtrace = last_backtrace(lab->sandbox);
    CHECK(backtrace.frames_count == 0 || backtrace.frames[0].func_idx == SPIN);
}

TEST(tail_calls_at_every_level) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count;
    uint8_t *wasm = wat_to_wasm(module, &count);
    wat_lab_init(&lab);
    wat_lab_func(&lab, "add", "ii>i", host_add, NULL);
    wat_lab_func(&lab, "tenth", "IIIIIIIIII>I", host_tenth, NULL);
    wat_lab_func(&lab, "fail", ">", wat_host_fail, NULL);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
            const int64_t result = level_call(&lab, rows[k].name, &rows[k].argument);
            CHECK_MSG(lab.outcome.kind == HUSK_RETURNED && result == rows[k].result,
                      "%s, %s(%d): %lld, %s", levels[i].name, rows[k].name, rows[k].argument,
                      (long long)result, lab.outcome.message);
        }
        check_results(&lab);
        for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++)
            check_ending(&lab, &levels[i], &endings[k]);
        check_deadline(&lab);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/*
 * By reference; in bytes, because not every text assembler knows return_call_ref.
 * (type 0 (func (param i32) (result i32))) (elem declare func 0)
 * (func 0 (export "count") (type 0) returns 42 if its argument is 0; else
 *   (return_call_ref 0 (i32.sub (local.get 0) (i32.const 1)) (ref.func 0)))
 * (func 1 (export "null") (type 0) (return_call_ref 0 (i32.const 1) (ref.null 0)))
 */
static const uint8_t by_reference[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f,
    0x03, 0x03, 0x02, 0x00, 0x00, 0x07, 0x10, 0x02, 0x05, 'c',  'o',  'u',  'n',  't',  0x00, 0x00,
    0x04, 'n',  'u',  'l',  'l',  0x00, 0x01, 0x09, 0x05, 0x01, 0x03, 0x00, 0x01, 0x00, 0x0a, 0x1f,
    0x02, 0x14, 0x00, 0x20, 0x00, 0x45, 0x04, 0x40, 0x41, 0x2a, 0x0f, 0x0b, 0x20, 0x00, 0x41, 0x01,
    0x6b, 0xd2, 0x00, 0x15, 0x00, 0x0b, 0x08, 0x00, 0x41, 0x01, 0xd0, 0x00, 0x15, 0x00, 0x0b};

TEST(tail_calls_by_reference) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    const int32_t many = MANY;
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], by_reference, sizeof by_reference);
        CHECK_EQ_I64(level_call(&lab, "count", &many), 42);
        level_call(&lab, "null", &many);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
        CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_NULL_FUNCTION_REFERENCE);
        level_close(&lab);
    }
    wat_lab_close(&lab);
}

/* From one instance to another and back, by an import and through a shared table. */
TEST(tail_calls_between_instances) {
    SKIP_WITHOUT_COMPILER();
    static const struct wat_module modules[] = {
        {.name = "lib",
         .wat = "(module (table (export \"table\") 1 funcref)"
                " (type $step (func (param i32) (result i32)))"
                " (func (export \"ping\") (type $step)"
                "  (if (i32.eqz (local.get 0)) (then (return (i32.const 7))))"
                "  (return_call_indirect (type $step) (i32.sub (local.get 0) (i32.const 1))"
                "   (i32.const 0))))"},
        {.name = "main",
         .wat = "(module (import \"lib\" \"table\" (table 1 funcref))"
                " (import \"lib\" \"ping\" (func $ping (param i32) (result i32)))"
                " (func $pong (export \"pong\") (param i32) (result i32)"
                "  (return_call $ping (local.get 0))) (elem (i32.const 0) $pong))"},
    };
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open_linked(&lab, modules, 2, NULL);
    CHECK_EQ_I64(wat_call_i32(&lab, "pong", 1000000), 7);
    wat_lab_close(&lab);
}

static const char with_exceptions[] =
    "(module (tag $e (param i64)) (type $step (func (param i32 " TEN ") (result i64)))"
    " (table 1 funcref) (elem (i32.const 0) $thrower)"
    " (func $thrower (type $step) (throw $e (local.get 10)))"
    /* the try is left with the function's frame */
    " (func $leaves (type $step) (try (result i64) (do (return_call_indirect (type $step)"
    "  (local.get 0) (local.get 10) (local.get 1) (local.get 2) (local.get 3) (local.get 4)"
    "  (local.get 5) (local.get 6) (local.get 7) (local.get 8) (local.get 9) (i32.const 0)))"
    "  (catch_all (i64.const -1))))"
    " (func $count (type $step) (if (i32.eqz (local.get 0)) (then (return_call $leaves"
    "  (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)"
    "  (local.get 6) (local.get 7) (local.get 8) (local.get 9) (local.get 10))))"
    "  (return_call $count (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2)"
    "   (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 8)"
    "   (local.get 9) (i64.add (local.get 10) (i64.const 1))))"
    /* a small one: inlined, it is a call in its caller's try */
    " (func $small (param i32) (result i64) (return_call $count (local.get 0) " FIVES
    "  (i64.const 7)))"
    " (func (export \"caught\") (param i32) (result i64) (local $kept i64)"
    "  (local.set $kept (i64.extend_i32_u (local.get 0)))"
    "  (i64.add (local.get $kept)"
    "   (try (result i64) (do (call $small (local.get 0))) (catch $e (i64.const 100) (i64.add)))))"
    " (func (export \"uncaught\") (param i32) (result i64) (call $small (local.get 0))))";

/* $leaves turns the values once: what it throws is the last but one, 5. */
TEST(exceptions_do_not_see_the_frames_that_tail_calls_left) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count;
    const int32_t many = MANY;
    uint8_t *wasm = wat_to_wasm(with_exceptions, &count);
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        CHECK_EQ_I64(level_call(&lab, "caught", &many), MANY + 105);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
        level_call(&lab, "uncaught", &many);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_THREW);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
