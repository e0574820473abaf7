/*
 * tests/kvm/code/traps_asked_test.c: explicit traps, failed host functions and exits are exact at
 * every level: every earlier write is done, and no later one. Each kind of trap stands between two
 * writes of each kind of state, in straight code and as the exit of a loop.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "literals.h"

/* %s: an i32 that is 1 if it is to trap, else 0. */
struct trap {
    const char *code;
    enum husk_trap trap; /* NONE: an exit */
};

static const struct trap traps[] = {
    {"(if %s (then unreachable))", HUSK_TRAP_UNREACHABLE},
    {"(global.set $sink (i32.div_u (i32.const 5) (i32.eqz %s)))", HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO},
    {"(drop (i64.rem_s (i64.const 5) (i64.extend_i32_u (i32.eqz %s))))",
     HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO},
    {"(global.set $sink (i32.div_s (i32.shl (i32.sub (i32.const 2) %s) (i32.const 31)) (i32.const "
     "-1)))",
     HUSK_TRAP_INTEGER_OVERFLOW},
    {"(drop (i32.trunc_f64_s (select (f64.const 1e10) (f64.const 1) %s)))",
     HUSK_TRAP_INTEGER_OVERFLOW},
    {"(global.set $sink (i32.trunc_f32_u (select (f32.const nan) (f32.const 1) %s)))",
     HUSK_TRAP_INVALID_CONVERSION_TO_INTEGER},
    {"(drop (i64.trunc_f64_u (select (f64.const -1) (f64.const 1) %s)))",
     HUSK_TRAP_INTEGER_OVERFLOW},
    {"(drop (table.get $t (i32.mul %s (i32.const 1000))))", HUSK_TRAP_TABLE_OUT_OF_BOUNDS},
    {"(table.set $t (i32.mul %s (i32.const 1000)) (ref.null func))", HUSK_TRAP_TABLE_OUT_OF_BOUNDS},
    {"(table.fill $t (i32.const 3) (ref.null func) (i32.mul %s (i32.const 1000)))",
     HUSK_TRAP_TABLE_OUT_OF_BOUNDS},
    {"(table.copy $t $t (i32.const 3) (i32.const 4) (i32.mul %s (i32.const 1000)))",
     HUSK_TRAP_TABLE_OUT_OF_BOUNDS},
    {"(table.init $t $e (i32.const 3) (i32.const 0) (i32.mul %s (i32.const 1000)))",
     HUSK_TRAP_TABLE_OUT_OF_BOUNDS},
    {"(call_indirect $calls (type $v) (i32.mul %s (i32.const 1000)))", HUSK_TRAP_UNDEFINED_ELEMENT},
    {"(call_indirect $calls (type $v) %s)", HUSK_TRAP_UNINITIALIZED_ELEMENT},
    {"(call_indirect $calls (type $v) (i32.shl %s (i32.const 1)))",
     HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH},
    {"(memory.fill (i32.const 65000) (i32.const 1) (i32.mul %s (i32.const 1000)))",
     HUSK_TRAP_MEMORY_OUT_OF_BOUNDS},
    {"(memory.copy (i32.const 65000) (i32.const 0) (i32.mul %s (i32.const 1000)))",
     HUSK_TRAP_MEMORY_OUT_OF_BOUNDS},
    {"(memory.init $d (i32.const 65000) (i32.const 0) (i32.mul %s (i32.const 1000)))",
     HUSK_TRAP_MEMORY_OUT_OF_BOUNDS},
    {"(if %s (then (call $fail)))", HUSK_TRAP_HOST_FUNCTION},
    {"(if %s (then (call $leave)))", HUSK_TRAP_NONE},
};

/* Two writes that differ, and the value of the first as an i64. */
struct state {
    const char *first, *second, *get;
    int64_t value;
};

static const struct state states[] = {
    {"(i32.store (i32.const 64) (i32.const 11))", "(i32.store (i32.const 64) (i32.const 12))",
     "(i64.load32_u (i32.const 64))", 11},
    {"(i64.store8 (local.get $p) (i64.const 11))", "(i64.store8 (local.get $p) (i64.const 12))",
     "(i64.load8_u (i32.const 70))", 11},
    {"(f64.store $second (i32.const 64) (f64.const 11))",
     "(f64.store $second (i32.const 64) (f64.const 12))",
     "(i64.trunc_f64_s (f64.load $second (i32.const 64)))", 11},
    {"(global.set $own (i32.const 11))", "(global.set $own (i32.const 12))",
     "(i64.extend_i32_s (global.get $own))", 11},
    {"(global.set $exported (i64.const 11))", "(global.set $exported (i64.const 12))",
     "(global.get $exported)", 11},
    {"(global.set $imported (i64.const 11))", "(global.set $imported (i64.const 12))",
     "(global.get $imported)", 11},
    {"(table.set $t (i32.const 1) (ref.func $nop))", "(table.set $t (i32.const 1) (ref.null func))",
     "(i64.extend_i32_u (i32.eqz (ref.is_null (table.get $t (i32.const 1)))))", 1},
    {"(table.fill $t (i32.const 1) (ref.func $nop) (local.get $n))",
     "(table.fill $t (i32.const 1) (ref.null func) (i32.const 2))",
     "(i64.extend_i32_u (i32.eqz (ref.is_null (table.get $t (i32.const 2)))))", 1},
    {"(memory.fill (i32.const 60) (i32.const 11) (i32.const 8))",
     "(memory.fill (i32.const 60) (i32.const 12) (i32.const 8))", "(i64.load8_u (i32.const 67))",
     11},
    {"(memory.copy (local.get $p) (i32.const 96) (i32.const 8))",
     "(memory.copy (local.get $p) (i32.const 104) (i32.const 8))", "(i64.load8_u (i32.const 70))",
     11},
    {"(memory.init $d (i32.const 64) (i32.const 0) (i32.const 4))",
     "(memory.init $d (i32.const 64) (i32.const 1) (i32.const 4))", "(i64.load8_u (i32.const 64))",
     11},
};

enum {
    TRAPS_COUNT = sizeof traps / sizeof traps[0],
    STATES_COUNT = sizeof states / sizeof states[0]
};

struct text {
    char *at;
    size_t used, size;
};

__attribute__((format(printf, 2, 3))) static void emit(struct text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int count = vsnprintf(text->at + text->used, text->size - text->used, format, args);
    va_end(args);
    text->used += (size_t)count;
    CHECK(text->used < text->size);
}

static void emit_trap(struct text *text, const struct trap *trap, const char *condition) {
    const char *hole = strstr(trap->code, "%s");
    emit(text, "%.*s%s%s", (int)(hole - trap->code), trap->code, condition, hole + 2);
}

static void emit_functions(struct text *text) {
    for (int s = 0; s < STATES_COUNT; s++) {
        emit(text, "(func (export \"get%d\") (result i64) %s)\n", s, states[s].get);
        for (int t = 0; t < TRAPS_COUNT; t++) {
            emit(
                text,
                "(func (export \"straight%d_%d\") (param $x i32) (param $p i32) (param $n i32) %s ",
                s, t, states[s].first);
            emit_trap(text, &traps[t], "(local.get $x)");
            emit(text, " %s)\n", states[s].second);
            emit(text,
                 "(func (export \"loop%d_%d\") (param $x i32) (param $p i32) (param $n i32) (local "
                 "$i i32) "
                 "(loop $l %s ",
                 s, t, states[s].second);
            emit(text, "(if (local.get $i) (then %s)) ", states[s].first);
            emit_trap(text, &traps[t], "(i32.eq (local.get $i) (local.get $x))");
            emit(text,
                 " %s (local.set $i (i32.add (local.get $i) (i32.const 1)))"
                 " (br_if $l (i32.ne (local.get $i) (i32.const 5)))) %s)\n",
                 states[s].second, states[s].second);
        }
    }
    /* counters, which LLVM would like to keep in registers */
    for (int t = 0; t < TRAPS_COUNT; t++) {
        emit(text,
             "(func (export \"count%d\") (param $x i32) (param $p i32) (param $n i32) (local $i "
             "i32) (loop $l"
             " (global.set $own (i32.add (global.get $own) (i32.const 1)))"
             " (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))"
             " (i32.store (local.get $p) (local.get $i)) ",
             t);
        emit_trap(text, &traps[t], "(i32.eq (local.get $i) (local.get $x))");
        emit(text, " (local.set $i (i32.add (local.get $i) (i32.const 1)))"
                   " (br_if $l (i32.ne (local.get $i) (i32.const 50)))))\n");
    }
}

static uint8_t *make_module(size_t *ret_count) {
    struct text text = {.size = 1u << 20};
    text.at = malloc(text.size);
    CHECK(text.at != NULL);
    emit(&text, "%s",
         "(module (type $v (func)) (import \"env\" \"fail\" (func $fail)) (import \"env\" "
         "\"leave\" (func "
         "$leave))\n"
         "(import \"env\" \"global\" (global $imported (mut i64)))\n"
         "(memory (export \"memory\") 1 1) (memory $second 1 1)\n"
         "(data (i32.const 96) "
         "\"\\0b\\0b\\0b\\0b\\0b\\0b\\0b\\0b\\0c\\0c\\0c\\0c\\0c\\0c\\0c\\0c\")\n"
         "(data $d \"\\0b\\0c\\0d\\0e\\0f\\10\") (elem $e func $nop $nop)\n"
         "(table $t (export \"table\") 8 funcref) (table $calls 3 3 funcref) (elem (table $calls) "
         "(i32.const "
         "0) func $nop)\n"
         "(elem (table $calls) (i32.const 2) func $other) (func $nop) (func $other (param i32))\n"
         "(global $own (mut i32) (i32.const 0)) (global $exported (export \"global\") (mut i64) "
         "(i64.const "
         "0))\n"
         "(global $sink (export \"sink\") (mut i32) (i32.const 0))\n");
    emit_functions(&text);
    emit(&text, ")");
    uint8_t *wasm = wat_to_wasm(text.at, ret_count);
    free(text.at);
    return wasm;
}

static void check_end(struct wat_lab *lab, const struct level *level, const char *name,
                      const struct trap *trap) {
    enum husk_outcome_kind kind = trap->trap == HUSK_TRAP_NONE ? HUSK_EXITED : HUSK_TRAPPED;
    CHECK_MSG(lab->outcome.kind == kind && lab->outcome.trap == trap->trap, "%s %s: %s",
              level->name, name, lab->outcome.message);
    CHECK_MSG(lab->outcome.state_is_exact, "%s %s: the state is not said to be exact", level->name,
              name);
}

static void check_one(struct wat_lab *lab, const struct level *level, const char *form, int s,
                      int t) {
    char name[32], get[32];
    snprintf(name, sizeof name, "%s%d_%d", form, s, t);
    snprintf(get, sizeof get, "get%d", s);
    level_call(lab, name, (const int32_t[]){strcmp(form, "loop") == 0 ? 3 : 1, 70, 2});
    check_end(lab, level, name, &traps[t]);
    int64_t value = level_call(lab, get, NULL);
    CHECK_MSG(value == states[s].value, "%s %s: %s: found %lld, not %lld, after %s", level->name,
              name, states[s].first, (long long)value, (long long)states[s].value, traps[t].code);
    level_restore(lab);
}

static void check_counts(struct wat_lab *lab, const struct level *level, int t) {
    char name[32];
    snprintf(name, sizeof name, "count%d", t);
    level_call(lab, name, (const int32_t[]){40, 128, 2});
    check_end(lab, level, name, &traps[t]);
    int64_t memory = level_call(lab, "get0", NULL), global = level_call(lab, "get3", NULL);
    CHECK_MSG(memory == 41 && global == 41,
              "%s %s: counted %lld in memory, %lld in a global; 41 rounds", level->name, name,
              (long long)memory, (long long)global);
    level_restore(lab);
}

TEST(every_write_before_and_none_after) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = make_module(&count);
    struct husk_value zero = value_i64(0);
    wat_lab_init(&lab);
    wat_lab_func(&lab, "fail", ">", wat_host_fail, NULL);
    wat_lab_func(&lab, "leave", ">", wat_host_leave, NULL);
    CHECK_OK(
        husk_imports_define(lab.imports,
                            EXTERN(GLOBAL, "env", "global", .type = zero.type, .is_mutable = true),
                            &zero, &lab.err),
        lab.err);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        if (levels[i].is_strict && levels[i].opt_level != 2)
            continue; /* what the default mode does at each level, strict does, too */
        level_open(&lab, &levels[i], wasm, count);
        for (int t = 0; t < TRAPS_COUNT; t++) {
            for (int s = 0; s < STATES_COUNT; s++) {
                check_one(&lab, &levels[i], "straight", s, t);
                check_one(&lab, &levels[i], "loop", s, t);
            }
            check_counts(&lab, &levels[i], t);
        }
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
