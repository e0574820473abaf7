/*
 * tests/kvm/code/inlined_test.c: small functions are inlined where they are called
 * (lower_inline.c). Nobody notices: results, traps and backtraces are those of calls, at every
 * level.
 */
#include <stdlib.h>
#include <string.h>

#include "last_backtrace.h"
#include "levels.h"

static const char module[] =
    "(module (import \"env\" \"fail\" (func $fail))"
    " (memory 1) (global $g (mut i32) (i32.const 0))"
    " (func $get (param i32) (result i32) (i32.load offset=4 (local.get 0)))"
    " (func $next (param i32) (result i32)"
    "  (call $get (i32.add (local.get 0) (i32.const 8))))"
    " (func $check (param i32) (if (local.get 0) (then unreachable)))"
    " (func $divide (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1)))"
    " (func $host (call $fail))"
    " (func $again (param i32) (result i32) (call $other (local.get 0)))"
    " (func $other (param i32) (result i32) (call $again (local.get 0)))"
    " (func $f32 (param f32 f32) (result f32) (f32.add (local.get 0) (local.get 1)))"
    " (func $local (result i32) (local $l i32)"
    "  (local.set $l (i32.add (local.get $l) (i32.const 1))) (local.get $l))"
    " (func $vector (param i32) (result v128) (v128.load (local.get 0)))"
    " (func (export \"dropped\") (param i32)"
    "  (global.set $g (i32.const 1)) (drop (call $get (local.get 0)))"
    "  (global.set $g (i32.const 2)))"
    " (func (export \"nested\") (param i32) (result i32)"
    "  (i32.add (i32.const 1) (call $next (local.get 0))))"
    " (func (export \"check\") (param i32) (result i32)"
    "  (call $check (local.get 0)) (i32.const 5))"
    " (func (export \"divide\") (param i32) (result i32)"
    "  (call $divide (i32.const 7) (local.get 0)))"
    " (func (export \"host\") (param i32) (call $host))"
    /* a load and what uses it become one machine instruction */
    " (func (export \"added\") (param i32) (result i32)"
    "  (i32.add (local.get 0) (call $get (local.get 0))))"
    " (func (export \"lane\") (param i32) (result i32)"
    "  (i32x4.extract_lane 1 (call $vector (local.get 0))))"
    " (func (export \"own lane\") (param i32) (result i32)"
    "  (i32x4.extract_lane 1 (v128.load (local.get 0))))"
    " (func (export \"endless\") (param i32) (result i32) (call $again (local.get 0)))"
    " (func (export \"nan\") (param i32) (result i32) (i32.reinterpret_f32"
    "  (call $f32 (f32.reinterpret_i32 (i32.const 0x7fa00000)) (f32.const -0))))"
    " (func (export \"loop\") (param i32) (result i32) (local i32 i32)"
    "  (loop (local.set 1 (i32.add (local.get 1) (call $local)))"
    "   (br_if 0 (i32.lt_u (local.tee 2 (i32.add (local.get 2) (i32.const 1))) (local.get 0))))"
    "  (local.get 1)))";

enum { FAIL, GET, NEXT, CHECK, DIVIDE, HOST, AGAIN, OTHER, F32, LOCAL, VECTOR };
#define DROPPED (VECTOR + 1)
#define NONE UINT32_MAX

/* The call ends in a trap, in `funcs` from the innermost to the exported function. */
struct ending {
    const char *name;
    int32_t argument;
    enum husk_trap trap;
    uint32_t funcs[4];
};

static const struct ending endings[] = {
    {"dropped", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, {GET, DROPPED, NONE}},
    {"nested", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, {GET, NEXT, DROPPED + 1, NONE}},
    {"check", 1, HUSK_TRAP_UNREACHABLE, {CHECK, DROPPED + 2, NONE}},
    {"divide", 0, HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO, {DIVIDE, DROPPED + 3, NONE}},
    {"host", 0, HUSK_TRAP_HOST_FUNCTION, {FAIL, HOST, DROPPED + 4, NONE}},
    {"added", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, {GET, DROPPED + 5, NONE}},
    {"lane", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, {VECTOR, DROPPED + 6, NONE}},
    {"own lane", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, {DROPPED + 7, NONE}},
};

static void check_ending(struct wat_lab *lab, const struct level *level,
                         const struct ending *ending, struct husk_backtrace *expected) {
    level_call(lab, ending->name, &ending->argument);
    CHECK_MSG(lab->outcome.kind == HUSK_TRAPPED && lab->outcome.trap == ending->trap, "%s, %s: %s",
              level->name, ending->name, lab->outcome.message);
    const struct husk_backtrace backtrace = last_backtrace(lab->sandbox);
    uint32_t count = 0;
    for (; ending->funcs[count] != NONE; count++)
        CHECK_MSG(count < backtrace.frames_count &&
                      backtrace.frames[count].func_idx == ending->funcs[count],
                  "%s, %s: frame %u", level->name, ending->name, count);
    CHECK_EQ_U64(backtrace.frames_total, count);
    /* at level 0, nothing is inlined: its backtrace is the pattern */
    if (level->opt_level == 0 && !level->is_strict)
        *expected = backtrace;
    for (uint32_t i = 0; i < count; i++)
        CHECK_MSG(backtrace.frames[i].wasm_offset == expected->frames[i].wasm_offset,
                  "%s, %s: frame %u is at 0x%llx", level->name, ending->name, i,
                  (unsigned long long)backtrace.frames[i].wasm_offset);
}

static void check_results(struct wat_lab *lab, const struct level *level) {
    const int32_t seven = 7, zero = 0;
    CHECK_MSG(level_call(lab, "nested", &zero) == 1, "%s", level->name);
    CHECK_MSG(level_call(lab, "check", &zero) == 5, "%s", level->name);
    CHECK_MSG(level_call(lab, "divide", &seven) == 1, "%s", level->name);
    CHECK_MSG(level_call(lab, "loop", &seven) == 7, "%s: a local is 0 again", level->name);
    CHECK_MSG(level_call(lab, "nan", &zero) == 0x7fe00000, "%s: a quiet NaN", level->name);
    level_call(lab, "endless", &zero);
    CHECK_MSG(lab->outcome.kind == HUSK_TRAPPED &&
                  lab->outcome.trap == HUSK_TRAP_CALL_STACK_EXHAUSTED,
              "%s: endless recursion", level->name);
}

TEST(results_traps_and_backtraces) {
    SKIP_WITHOUT_LEVELS();
    struct husk_backtrace expected[sizeof endings / sizeof endings[0]];
    struct wat_lab lab;
    size_t count;
    uint8_t *wasm = wat_to_wasm(module, &count);
    wat_lab_init(&lab);
    wat_lab_func(&lab, "fail", ">", wat_host_fail, NULL);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++)
            check_ending(&lab, &levels[i], &endings[k], &expected[k]);
        check_results(&lab, &levels[i]);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
