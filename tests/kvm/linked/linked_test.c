/*
 * Several instances in one image: what they share, in which order they start, and how snapshots,
 * backtraces and host functions see them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "literals.h"
#include "wat.h"

/* env owns a memory, a table and globals; lib and main share them. */
#define ENV                                                                                        \
    {                                                                                              \
        .name = "env",                                                                             \
        .wat = "(module (memory (export \"memory\") 1 10) (table (export \"table\") 8 20 funcref)" \
               " (global (export \"sp\") (mut i32) (i32.const 1000))"                              \
               " (data (i32.const 0) \"env.\"))"                                                   \
    }
#define LIB                                                                                        \
    {                                                                                              \
        .name = "lib",                                                                             \
        .wat = "(module (import \"env\" \"memory\" (memory 1)) (import \"env\" \"table\""          \
               " (table 4 funcref)) (import \"env\" \"sp\" (global $sp (mut i32)))"                \
               " (type $unary (func (param i32) (result i32)))"                                    \
               " (func $double (export \"double\") (type $unary) (i32.mul (local.get 0)"           \
               "  (i32.const 2)))"                                                                 \
               " (func $push (export \"push\") (type $unary) (global.set $sp (i32.sub"             \
               "  (global.get $sp) (local.get 0))) (global.get $sp))"                              \
               " (func (export \"grow\") (type $unary) (memory.grow (local.get 0)))"               \
               " (func $crash (export \"crash\") (type $unary) (unreachable))"                     \
               " (func (export \"poke\") (param i32 i32) (i32.store (local.get 0) (local.get 1)))" \
               " (func (export \"self\") (result funcref) (ref.func $double))"                     \
               " (data (i32.const 4) \"lib.\") (elem (i32.const 1) func $double $push))"           \
    }
#define MAIN                                                                                       \
    {                                                                                              \
        .name = "main",                                                                            \
        .wat = "(module (import \"env\" \"memory\" (memory 1)) (import \"env\" \"table\""          \
               " (table $t 4 funcref)) (import \"env\" \"sp\" (global $sp (mut i32)))"             \
               " (type $unary (func (param i32) (result i32))) (type $other (func))"               \
               " (import \"lib\" \"double\" (func $double (type $unary)))"                         \
               " (import \"lib\" \"crash\" (func $crash (type $unary)))"                           \
               " (func $negate (type $unary) (i32.sub (i32.const 0) (local.get 0)))"               \
               " (func (export \"twice\") (type $unary) (call $double (call $double"               \
               "  (local.get 0))))"                                                                \
               " (func (export \"indirect\") (param i32 i32) (result i32)"                         \
               "  (call_indirect $t (type $unary) (local.get 1) (local.get 0)))"                   \
               " (func (export \"peek\") (type $unary) (i32.load (local.get 0)))"                  \
               " (func (export \"size\") (type $unary) (memory.size))"                             \
               " (func (export \"sp\") (type $unary) (global.get $sp))"                            \
               " (func $outer (export \"crash\") (type $unary) (call $crash (local.get 0)))"       \
               " (func (export \"entry\") (param i32) (result funcref) (table.get $t"              \
               "  (local.get 0)))"                                                                 \
               " (data (i32.const 8) \"main\") (elem (i32.const 3) func $negate))"                 \
    }
static const struct wat_module three[] = {ENV, LIB, MAIN};

static void open_three(struct wat_lab *lab) {
    wat_lab_init(lab);
    wat_lab_open_linked(lab, three, 3, NULL);
}

static int64_t call2(struct wat_lab *lab, const char *name, int32_t a, int32_t b) {
    const struct husk_value args[2] = {value_i32(a), value_i32(b)};
    struct husk_value result = value_i32(0);
    CHECK_OK(wat_call(lab, name, args, 2, &result, 1), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return result.of.i32;
}

static void poke(struct wat_lab *lab, int32_t address, int32_t value) {
    const struct husk_value args[2] = {value_i32(address), value_i32(value)};
    CHECK_OK(wat_call(lab, "lib/poke", args, 2, NULL, 0), lab->err);
}

static struct husk_value call_ref(struct wat_lab *lab, const char *name, int32_t argument,
                                  bool has_argument) {
    struct husk_value arg = value_i32(argument), result = {.type = HUSK_FUNCREF};
    CHECK_OK(wat_call(lab, name, &arg, has_argument, &result, 1), lab->err);
    return result;
}

TEST(three_instances_share) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    open_three(&lab);
    CHECK_EQ_I64(wat_call_i32(&lab, "twice", 5), 20);
    CHECK_EQ_I64(wat_call_i32(&lab, "lib/double", 5), 10);
    CHECK_EQ_I64(call2(&lab, "indirect", 1, 4), 8);
    CHECK_EQ_I64(call2(&lab, "indirect", 2, 10), 990); /* push: the shared global */
    CHECK_EQ_I64(call2(&lab, "indirect", 3, 4), -4);
    CHECK_EQ_I64(wat_call_i32(&lab, "sp", 0), 990);
    char text[13] = "";
    CHECK_OK(husk_memory_read(lab.sandbox, &(struct husk_range){.count = 12}, text, &lab.err),
             lab.err);
    CHECK_STR(text, "env.lib.main");
    CHECK_EQ_I64(wat_call_i32(&lab, "lib/grow", 2), 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "size", 0), 3);
    poke(&lab, 150000, 77);
    CHECK_EQ_I64(wat_call_i32(&lab, "peek", 150000), 77);
    const struct husk_value a = call_ref(&lab, "entry", 1, true),
                            b = call_ref(&lab, "lib/self", 0, false);
    CHECK(a.of.ref != 0 && a.of.ref == b.of.ref);
    struct husk_value value;
    CHECK_OK(husk_global_get(lab.sandbox, "env/sp", 0, &value, &lab.err), lab.err);
    CHECK_EQ_I64(value.of.i32, 990);
    uint32_t table_idx = 7;
    CHECK_OK(husk_image_table(lab.image, "env/table", 0, &table_idx, &lab.err), lab.err);
    CHECK_EQ_U64(husk_table_size(lab.sandbox, table_idx), 8);
    wat_lab_close(&lab);
}

TEST(backtraces_name_the_instance) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_value arg = value_i32(0), result;
    open_three(&lab);
    CHECK_OK(wat_call(&lab, "crash", &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_UNREACHABLE);
    CHECK_OK(husk_sandbox_backtrace(lab.sandbox, &backtrace, &lab.err), lab.err);
    CHECK(backtrace.frames_count >= 2);
    CHECK_STR(backtrace.frames[0].func_name, "lib/crash");
    CHECK_STR(backtrace.frames[1].func_name, "main/outer");
    /* offsets in the module, not in all of them */
    CHECK(backtrace.frames[0].wasm_offset > 8 && backtrace.frames[0].wasm_offset < 500);
    CHECK(backtrace.frames[1].wasm_offset > 8 && backtrace.frames[1].wasm_offset < 500);
    wat_lab_close(&lab);
}

/* A state of all three, as a number. */
static int64_t state_of(struct wat_lab *lab) {
    return wat_call_i32(lab, "sp", 0) * 1000 + wat_call_i32(lab, "peek", 200) * 10 +
           wat_call_i32(lab, "size", 0);
}

static void change(struct wat_lab *lab, int32_t number) {
    wat_call_i32(lab, "lib/push", number);
    poke(lab, 200, number);
    wat_call_i32(lab, "lib/grow", 1);
}

TEST(snapshots_cover_all_instances) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL, *saved = NULL;
    husk_sandbox *clone = NULL;
    open_three(&lab);
    change(&lab, 5);
    CHECK_EQ_I64(state_of(&lab), 995052);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    change(&lab, 7);
    CHECK_EQ_I64(state_of(&lab), 988073);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    CHECK_EQ_I64(state_of(&lab), 995052);
    CHECK_EQ_I64(call2(&lab, "indirect", 1, 4), 8);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(state_of(&lab), 1000001);
    char path[] = "/tmp/husk-linked-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    CHECK_OK(husk_image_save(snapshot, path, &lab.err), lab.err);
    CHECK_OK(husk_image_open(lab.engine, path, NULL, &saved, &lab.err), lab.err);
    unlink(path);
    husk_sandbox_free(lab.sandbox); /* its machine goes to the pool, for the next one */
    lab.sandbox = NULL;
    CHECK_OK(husk_sandbox_new(saved, lab.imports, NULL, &lab.sandbox, &lab.err), lab.err);
    CHECK_EQ_I64(state_of(&lab), 995052);
    change(&lab, 7);
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    husk_sandbox *first = lab.sandbox;
    lab.sandbox = clone;
    CHECK_EQ_I64(state_of(&lab), 988073);
    change(&lab, 1);
    lab.sandbox = first;
    CHECK_EQ_I64(state_of(&lab), 988073);
    struct husk_value arg = value_i32(0), result;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    CHECK_OK(wat_call(&lab, "crash", &arg, 1, &result, 1), lab.err);
    CHECK_OK(husk_sandbox_backtrace(lab.sandbox, &backtrace, &lab.err), lab.err);
    CHECK_STR(backtrace.frames[0].func_name, "lib/crash");
    husk_sandbox_free(clone);
    husk_image_unref(snapshot);
    husk_image_unref(saved);
    wat_lab_close(&lab);
}

/* ---- start ---- */

#define LOG_OF(name, digit)                                                                        \
    {                                                                                              \
        name,                                                                                      \
            "(module (import \"log\" \"digits\" (global $d (mut i32)))"                            \
            " (func (global.set $d (i32.add (i32.mul (global.get $d) (i32.const 10))"              \
            "  (i32.const " digit ")))) (start 0))",                                               \
            NULL, 0                                                                                \
    }
#define LOG                                                                                        \
    {                                                                                              \
        "log",                                                                                     \
            "(module (global (export \"digits\") (mut i32) (i32.const 0)) (memory"                 \
            " (export \"m\") 1 3))",                                                               \
            NULL, 0                                                                                \
    }

TEST(start_functions_run_in_order) {
    SKIP_WITHOUT_COMPILER();
    static const struct wat_module modules[] = {LOG, LOG_OF("a", "1"), LOG_OF("b", "2"),
                                                LOG_OF("c", "3")};
    struct wat_lab lab;
    struct husk_value value;
    wat_lab_init(&lab);
    wat_lab_open_linked(&lab, modules, 4, NULL);
    CHECK_OK(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_OK(husk_global_get(lab.sandbox, "log/digits", 0, &value, &lab.err), lab.err);
    CHECK_EQ_I64(value.of.i32, 123);
    wat_lab_close(&lab);
}

/* A start function that traps: what came before it stays, what comes after it does not come. */
TEST(a_start_function_that_traps) {
    SKIP_WITHOUT_COMPILER();
    static const struct wat_module modules[] = {
        LOG,
        LOG_OF("a", "1"),
        {"bad",
         "(module (import \"log\" \"m\" (memory 1)) (data (i32.const 0) \"bad\")"
         " (func $boom (unreachable)) (start $boom))",
         NULL, 0},
        {"after", "(module (import \"log\" \"m\" (memory 1)) (data (i32.const 4) \"after\"))", NULL,
         0}};
    struct wat_lab lab;
    char text[10] = "";
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    wat_lab_init(&lab);
    wat_lab_open_linked(&lab, modules, 4, NULL);
    CHECK_OK(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_UNREACHABLE);
    CHECK_OK(husk_memory_read(lab.sandbox, &(struct husk_range){.count = 9}, text, &lab.err),
             lab.err);
    CHECK_MEM(text, "bad\0\0\0\0\0\0", 9);
    CHECK_OK(husk_sandbox_backtrace(lab.sandbox, &backtrace, &lab.err), lab.err);
    CHECK_STR(backtrace.frames[0].func_name, "bad/boom");
    CHECK_STR(backtrace.frames[1].func_name, "bad/(initialisation)");
    CHECK_STATUS(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), HUSK_E_STATE);
    wat_lab_close(&lab);
}

static void check_growth(const char *pages, enum husk_outcome_kind kind) {
    char grow[256];
    snprintf(grow, sizeof grow,
             "(module (import \"log\" \"m\" (memory 1)) (func (drop (memory.grow (i32.const %s))))"
             " (start 0))",
             pages);
    const struct wat_module modules[] = {
        LOG,
        {"grow", grow, NULL, 0},
        {"large", "(module (import \"log\" \"m\" (memory 3)) (data (i32.const 180000) \"x\"))",
         NULL, 0}};
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open_linked(&lab, modules, 3, NULL);
    CHECK_OK(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, kind);
    if (kind == HUSK_TRAPPED)
        CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_LINK);
    wat_lab_close(&lab);
}

TEST(a_memory_that_has_grown) {
    SKIP_WITHOUT_COMPILER();
    check_growth("2", HUSK_RETURNED);
    check_growth("1", HUSK_TRAPPED);
}

/* ---- host functions, bases ---- */

static int note_memory(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)args;
    (void)results;
    uint32_t mem_idx = husk_caller_memory(caller);
    const struct husk_range range = {.count = 1, .mem_idx = mem_idx};
    const char *byte = husk_caller_span(caller, &range);
    CHECK(byte != NULL);
    char *noted = user;
    noted[strlen(noted)] = *byte;
    return 0;
}

TEST(host_functions_work_on_the_caller_s_memory) {
    SKIP_WITHOUT_COMPILER();
#define CALLER(letter)                                                                             \
    "(module (import \"env\" \"note\" (func $note)) (memory (export \"memory\") 1)"                \
    " (data (i32.const 0) \"" letter "\") (func (export \"run\") (call $note)))"
    static const struct wat_module modules[] = {
        {"a", CALLER("A"), NULL, 0}, {"b", CALLER("B"), NULL, 0}, {"c", CALLER("C"), NULL, 0}};
    struct wat_lab lab;
    char noted[4] = "";
    wat_lab_init(&lab);
    wat_lab_func(&lab, "note", ">", note_memory, noted);
    wat_lab_open_linked(&lab, modules, 3, NULL);
    CHECK_OK(wat_call(&lab, "b/run", NULL, 0, NULL, 0), lab.err);
    CHECK_OK(wat_call(&lab, "run", NULL, 0, NULL, 0), lab.err);
    CHECK_OK(wat_call(&lab, "a/run", NULL, 0, NULL, 0), lab.err);
    CHECK_STR(noted, "BCA");
    CHECK_OK(husk_memory_read(lab.sandbox, &(struct husk_range){.count = 1}, noted, &lab.err),
             lab.err);
    CHECK(noted[0] == 'C'); /* memory 0 is the main one's */
    wat_lab_close(&lab);
}

/* Whoever calls it, also through a table: a caller cannot know that it calls a host function. */
TEST(a_host_function_that_is_exported_again) {
    SKIP_WITHOUT_COMPILER();
    static const struct wat_module modules[] = {
        {.name = "a",
         .wat = "(module (import \"env\" \"note\" (func $note)) (memory 1)"
                " (data (i32.const 0) \"A\") (export \"note\" (func $note)))"},
        {.name = "b",
         .wat = "(module (import \"a\" \"note\" (func $note)) (memory 1) (table 1 funcref)"
                " (data (i32.const 0) \"B\") (elem (i32.const 0) $note) (func (export \"run\")"
                " (call $note) (call_indirect (i32.const 0))))"}};
    struct wat_lab lab;
    char noted[4] = "";
    wat_lab_init(&lab);
    wat_lab_func(&lab, "note", ">", note_memory, noted);
    wat_lab_open_linked(&lab, modules, 2, NULL);
    CHECK_OK(wat_call(&lab, "run", NULL, 0, NULL, 0), lab.err);
    CHECK_STR(noted, "AA");
    wat_lab_close(&lab);
}

/* Backtraces of inlined calls name both instances. */
TEST(an_inlined_call_of_another_instance) {
    SKIP_WITHOUT_COMPILER();
    static const struct wat_module modules[] = {
        {.name = "lib",
         .wat = "(module (func (export \"div\") (param i32 i32) (result i32)"
                " (i32.div_u (local.get 0) (local.get 1))))"},
        {.name = "main",
         .wat = "(module (import \"lib\" \"div\" (func $div (param i32 i32) (result i32)))"
                " (func $outer (export \"crash\") (param i32) (result i32)"
                "  (call $div (i32.const 7) (local.get 0))))"}};
    struct wat_lab lab;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_value arg = value_i32(0), result;
    wat_lab_init(&lab);
    wat_lab_open_linked(&lab, modules, 2, NULL);
    CHECK_OK(wat_call(&lab, "crash", &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO);
    CHECK_OK(husk_sandbox_backtrace(lab.sandbox, &backtrace, &lab.err), lab.err);
    CHECK_EQ_U64(backtrace.frames_total, 2);
    CHECK_STR(backtrace.frames[0].func_name, "lib/div");
    CHECK_STR(backtrace.frames[1].func_name, "main/outer");
    wat_lab_close(&lab);
}

/* The memory, the table and the global are the embedder's. Two instances import the same ones. */
TEST(imports_of_the_image_are_shared) {
    SKIP_WITHOUT_COMPILER();
#define SHARER(at)                                                                                 \
    "(module (import \"env\" \"m\" (memory 1 4)) (import \"env\" \"t\" (table $t 2 8 funcref))"    \
    " (import \"env\" \"g\" (global $g i32)) (import \"env\" \"n\" (global $n (mut i32)))"         \
    " (func (global.set $n (i32.add (i32.mul (global.get $n) (i32.const 10)) (i32.const " at       \
    ")))) (start 0) (func $f (result i32) (i32.const " at "))"                                     \
    " (data (global.get $g) \"" at "\") (elem (i32.const " at ") func $f)"                         \
    " (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0)))"               \
    " (func (export \"entry\") (param i32) (result i32) (call_indirect (result i32)"               \
    "  (local.get 0)))"                                                                            \
    " (func (export \"load\") (param i32) (result i32) (i32.load (local.get 0)))"                  \
    " (func (export \"count\") (param i32) (result i32) (global.get $n))"                          \
    " (func (export \"size\") (param i32) (result i32) (memory.size)))"
    static const struct wat_module modules[] = {{"a", SHARER("0"), NULL, 0},
                                                {"b", SHARER("1"), NULL, 0}};
    const struct husk_value g = value_i32(65537), n = value_i32(7);
    struct wat_lab lab;
    wat_lab_init(&lab);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(MEMORY, "env", "m", .min = 2, .has_max = true, .max = 4),
                                 NULL, &lab.err),
             lab.err);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(TABLE, "env", "t", .type = HUSK_FUNCREF, .min = 3,
                                        .has_max = true, .max = 8),
                                 NULL, &lab.err),
             lab.err);
    CHECK_OK(
        husk_imports_define(lab.imports, EXTERN(GLOBAL, "env", "g", .type = g.type), &g, &lab.err),
        lab.err);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(GLOBAL, "env", "n", .type = n.type, .is_mutable = true), &n,
                                 &lab.err),
             lab.err);
    wat_lab_open_linked(&lab, modules, 2, NULL);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ_I64(wat_call_i32(&lab, "a/size", 0), 2);
        CHECK_EQ_I64(wat_call_i32(&lab, "a/count", 0), 701);
        CHECK_EQ_I64(wat_call_i32(&lab, "a/load", 65537), '1');
        CHECK_EQ_I64(wat_call_i32(&lab, "a/entry", 1), 1);
        CHECK_EQ_I64(wat_call_i32(&lab, "entry", 0), 0);
        CHECK_EQ_I64(wat_call_i32(&lab, "a/grow", 2), 2);
        CHECK_EQ_I64(wat_call_i32(&lab, "size", 0), 4);
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), -1);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    wat_lab_close(&lab);
}

/* Two instances of one side module, each with its own bases. */
TEST(side_modules_with_bases) {
    SKIP_WITHOUT_COMPILER();
#define SIDE                                                                                       \
    "(module (import \"env\" \"memory\" (memory 1)) (import \"env\" \"table\" (table 4 funcref))"  \
    " (import \"env\" \"__memory_base\" (global $m i32))"                                          \
    " (import \"env\" \"__table_base\" (global $t i32))"                                           \
    " (func $base (export \"base\") (result i32) (global.get $m))"                                 \
    " (data (global.get $m) \"here\") (elem (global.get $t) func $base))"
    static const struct husk_alias one[] = {{"env", "__memory_base", "env", "m1"},
                                            {"env", "__table_base", "env", "t1"}},
                                   two[] = {{"env", "__memory_base", "env", "m2"},
                                            {"env", "__table_base", "env", "t2"}};
    static const struct wat_module modules[] = {
        {"env",
         "(module (memory (export \"memory\") 1) (table (export \"table\") 4 funcref)"
         " (global (export \"m1\") i32 (i32.const 100)) (global (export \"m2\") i32"
         "  (i32.const 200)) (global (export \"t1\") i32 (i32.const 1))"
         " (global (export \"t2\") i32 (i32.const 2)))",
         NULL, 0},
        {"one", SIDE, one, 2},
        {"two", SIDE, two, 2},
        {"main",
         "(module (import \"env\" \"table\" (table 4 funcref)) (import \"env\" \"memory\""
         " (memory 1)) (type $get (func (result i32)))"
         " (func (export \"ask\") (param i32) (result i32) (call_indirect (type $get)"
         "  (local.get 0))))",
         NULL, 0}};
    struct wat_lab lab;
    char text[5] = "";
    wat_lab_init(&lab);
    wat_lab_open_linked(&lab, modules, 4, NULL);
    CHECK_EQ_I64(wat_call_i32(&lab, "ask", 1), 100);
    CHECK_EQ_I64(wat_call_i32(&lab, "ask", 2), 200);
    CHECK_OK(husk_memory_read(lab.sandbox, &(struct husk_range){.addr = 200, .count = 4}, text,
                              &lab.err),
             lab.err);
    CHECK_STR(text, "here");
    wat_lab_close(&lab);
}

TEST_MAIN()
