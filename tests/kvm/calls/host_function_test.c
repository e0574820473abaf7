/* tests/kvm/calls/host_function_test.c: imports: host functions, globals, memories, tables; linking
 * and its messages; nesting. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "last_backtrace.h"
#include "wat.h"
#include "literals.h"

static int host_mix(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    (void)caller;
    ++*(int *)user;
    results[0].of.f64 =
        args[0].of.i32 + (double)args[1].of.i64 + (double)args[2].of.f32 + args[3].of.f64;
    results[1].of.ref = args[4].of.ref;
    results[2].of.i32 = -7;
    return 0;
}

TEST(typed_arguments_and_results) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    int calls = 0;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "mix", "iIfFe>Fei", host_mix, &calls);
    wat_lab_open(
        &lab,
        "(module (import \"env\" \"mix\" (func $mix (param i32 i64 f32 f64 externref) (result f64 "
        "externref i32)))"
        "(func (export \"f\") (param i32 i64 f32 f64 externref) (result f64 externref i32)"
        "(call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4))))",
        NULL);
    struct husk_value args[5] = {value_i32(-1),
                                 value_i64(1ll << 40),
                                 {.type = HUSK_F32, .of.f32 = 0.5f},
                                 {.type = HUSK_F64, .of.f64 = 0.25},
                                 {.type = HUSK_EXTERNREF, .of.ref = 99}};
    struct husk_value results[3];
    CHECK_OK(wat_call(&lab, "f", args, 5, results, 3), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK(results[0].of.f64 == (double)(1ll << 40) - 0.25);
    CHECK_EQ_U64(results[1].of.ref, 99);
    CHECK_EQ_I64(results[2].of.i32, -7);
    CHECK_EQ_I64(calls, 1);
    wat_lab_close(&lab);
}

static int host_sum(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    (void)caller;
    int n = *(int *)user;
    for (int i = 0; i < n; i++)
        results[n - 1 - i].of.i64 = args[i].of.i64 + 1;
    return 0;
}

TEST(a_thousand_arguments_and_results) {
    SKIP_WITHOUT_COMPILER();
    int n = 1000;
    char *wat = malloc(200000), *types = malloc(2100);
    size_t used = 0;
#define EMIT(...) used += (size_t)snprintf(wat + used, 200000 - used, __VA_ARGS__)
    EMIT("(module (type $t (func (param");
    for (int i = 0; i < n; i++)
        EMIT(" i64");
    EMIT(") (result");
    for (int i = 0; i < n; i++)
        EMIT(" i64");
    EMIT("))) (import \"env\" \"sum\" (func $sum (type $t))) (func (export \"f\") (type $t)");
    for (int i = 0; i < n; i++)
        EMIT(" local.get %d", i);
    EMIT(" call $sum))");
#undef EMIT
    memset(types, 'I', 2001);
    types[1000] = '>';
    types[2001] = 0;
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "sum", types, host_sum, &n);
    wat_lab_open(&lab, wat, NULL);
    struct husk_value *values = calloc((size_t)n, sizeof *values);
    for (int i = 0; i < n; i++)
        values[i] = value_i64(i);
    CHECK_OK(wat_call(&lab, "f", values, (size_t)n, values, (size_t)n), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    for (int i = 0; i < n; i++)
        CHECK_EQ_I64(values[i].of.i64, n - i);
    wat_lab_close(&lab);
    free(values);
    free(wat);
    free(types);
}

/* Runs a module's "f" from a host function, one level deeper each time. */
static int host_deeper(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    struct wat_lab *lab = user;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    if (args[0].of.i32 == 0)
        return 0;
    struct husk_value arg = value_i32(args[0].of.i32 - 1);
    int status = husk_call(husk_caller_sandbox(caller),
                           CALL(.name = "f", .args = &arg, .args_count = 1, .results = &results[0],
                                .results_count = 1),
                           &outcome, &err);
    lab->err = status != 0 ? err : lab->err;
    if (status != 0)
        return status;
    return outcome.kind == HUSK_RETURNED ? 0 : husk_caller_fail(caller, "%.200s", outcome.message);
}

static const char deeper_wat[] =
    "(module (import \"env\" \"deeper\" (func $deeper (param i32) (result i32)))"
    "(global $traps (export \"traps\") (mut i32) (i32.const -1))"
    "(func $f (export \"f\") (param i32) (result i32) (local $keep i64)"
    "  (local.set $keep (i64.mul (i64.extend_i32_s (local.get 0)) (i64.const 0x100000001)))"
    "  (if (i32.eq (local.get 0) (global.get $traps)) (then unreachable))"
    "  (i32.add (call $deeper (local.get 0)) (i32.add (i32.const 1) (i32.wrap_i64 (i64.sub "
    "(local.get $keep)"
    "     (i64.mul (i64.extend_i32_s (local.get 0)) (i64.const 0x100000001))))))))";

TEST(nested_calls_up_to_the_limit) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.host_call_depth_max = 5;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "deeper", "i>i", host_deeper, &lab);
    wat_lab_open(&lab, deeper_wat, &options);
    for (int depth = 0; depth <= 5; depth++)
        CHECK_EQ_I64(wat_call_i32(&lab, "f", depth), depth + 1);
    struct husk_value arg = value_i32(6), result;
    CHECK_OK(wat_call(&lab, "f", &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK(!lab.outcome.is_poisoned);
    CHECK_EQ_I64(lab.err.status, HUSK_E_LIMIT);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 3), 4);
    wat_lab_close(&lab);
}

/* A trap in the innermost call is an outcome there; the host function turns it into a failure of
 * its own. */
TEST(traps_in_nested_calls) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "deeper", "i>i", host_deeper, &lab);
    wat_lab_open(&lab, deeper_wat, NULL);
    struct husk_value arg = value_i32(3), result, at = value_i32(1);
    CHECK_OK(husk_global_set(lab.sandbox, "traps", 0, &at, &lab.err), lab.err);
    CHECK_OK(wat_call(&lab, "f", &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_STR(lab.outcome.message, "unreachable");
    const struct husk_backtrace backtrace = last_backtrace(lab.sandbox);
    CHECK_EQ_U64(backtrace.frames_total,
                 2); /* the outer call's own frames: the import, and who called it */
    CHECK_STR(backtrace.frames[0].func_name, "deeper");
    CHECK(backtrace.frames[0].wasm_offset == HUSK_NO_OFFSET);
    CHECK_STR(backtrace.frames[1].func_name, "f");
    at.of.i32 = -1;
    CHECK_OK(husk_global_set(lab.sandbox, "traps", 0, &at, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 3), 4);
    wat_lab_close(&lab);
}

static int host_span(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    (void)user;
    void *span;
    struct husk_error err;
    uint32_t address = (uint32_t)args[0].of.i32, count = (uint32_t)args[1].of.i32;
    if (husk_memory_span(husk_caller_sandbox(caller), RANGE(.addr = address, .count = count), &span,
                         &err) != 0)
        return husk_caller_fail(caller, "%.200s", err.message);
    memset(span, 'x', count);
    results[0].of.i32 = (int32_t)count;
    return 0;
}

TEST(memory_by_checked_span) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "fill", "ii>i", host_span, NULL);
    wat_lab_open(
        &lab,
        "(module (import \"env\" \"fill\" (func $fill (param i32 i32) (result i32))) (memory 1 2)"
        "(func (export \"f\") (param i32) (result i32)"
        " (i32.add (call $fill (local.get 0) (i32.const 10)) (i32.load8_u (i32.add (local.get 0) "
        "(i32.const 9)))))"
        "(func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0))))",
        NULL);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 100), 10 + 'x');
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 65526), 10 + 'x');
    struct husk_value arg = value_i32(65527), result;
    CHECK_OK(wat_call(&lab, "f", &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    arg.of.i32 = -1;
    CHECK_OK(wat_call(&lab, "f", &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 65527), 10 + 'x');
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 2 * 65536 - 10), 10 + 'x');
    void *span;
    CHECK_STATUS(
        husk_memory_span(lab.sandbox, RANGE(.addr = UINT64_MAX, .count = 2), &span, &lab.err),
        HUSK_E_LIMIT);
    CHECK_STATUS(
        husk_memory_span(lab.sandbox, RANGE(.addr = 2, .count = UINT64_MAX), &span, &lab.err),
        HUSK_E_LIMIT);
    CHECK_STATUS(husk_memory_span(lab.sandbox, RANGE(.mem_idx = 1), &span, &lab.err), HUSK_E_LIMIT);
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.addr = 2 * 65536), &span, &lab.err), lab.err);
    wat_lab_close(&lab);
}

/* Fork; in the parent, wait for the child's exit status. */
static int host_fork(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    (void)caller;
    pid_t *child = user;
    int status = -1;
    *child = fork();
    if (*child > 0 && waitpid(*child, &status, 0) == *child)
        results[0].of.i32 = args[0].of.i32 + status;
    return 0;
}

/* The child has the parent's VM in a page that both share: returning there must change nothing. */
TEST(a_host_function_that_forks) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    pid_t child = -1;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "fork", "i>i", host_fork, &child);
    wat_lab_open(&lab,
                 "(module (import \"env\" \"fork\" (func $fork (param i32) (result i32)))"
                 "(func (export \"f\") (param i32) (result i32)"
                 "(i32.add (call $fork (local.get 0)) (local.get 0))))",
                 NULL);
    struct husk_value arg = value_i32(21), result = value_i32(0);
    for (int i = 0; i < 2; i++) {
        int status = wat_call(&lab, "f", &arg, 1, &result, 1);
        if (child == 0)
            _exit(status == HUSK_E_STATE && wat_call(&lab, "f", &arg, 1, &result, 1) == HUSK_E_STATE
                      ? 0
                      : 1);
        CHECK_OK(status, lab.err);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(result.of.i32, 42);
    }
    wat_lab_close(&lab);
}

static int host_wrong_type(husk_caller *caller, void *user, const struct husk_value *args,
                           struct husk_value *results) {
    (void)caller, (void)user, (void)args;
    results[0] = value_i64(1);
    return 0;
}

TEST(results_of_the_wrong_type_trap) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "bad", ">i", host_wrong_type, NULL);
    wat_lab_open(&lab,
                 "(module (import \"env\" \"bad\" (func $b (result i32))) (func (export \"f\") "
                 "(result i32) call $b))",
                 NULL);
    struct husk_value result;
    CHECK_OK(wat_call(&lab, "f", NULL, 0, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_CONTAINS(lab.outcome.message, "env.bad");
    wat_lab_close(&lab);
}

static const char globals_wat[] =
    "(module (import \"env\" \"g\" (global $g i32)) (import \"env\" \"m\" (global $m (mut i64)))"
    "(import \"env\" \"mem\" (memory 1 4)) (import \"env\" \"tab\" (table 2 10 funcref))"
    "(global $sum i32 (global.get $g)) (data (global.get $g) \"abc\") (elem (global.get $g) $f)"
    "(func $f (export \"f\") (param i32) (result i32) (i32.add (global.get $sum) (i32.load8_u "
    "(global.get "
    "$g))))"
    "(func (export \"size\") (param i32) (result i32) (i32.add (i32.mul (memory.size) (i32.const "
    "100)) "
    "(table.size 0)))"
    "(func (export \"setm\") (param i32) (result i32) (global.set $m (i64.extend_i32_s (local.get "
    "0))) "
    "(i32.wrap_i64 (global.get $m)))"
    "(func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0)))"
    "(func (export \"tgrow\") (param i32) (result i32) (table.grow 0 (ref.null func) (local.get "
    "0))))";

TEST(imported_globals_memories_and_tables) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_value g = value_i32(3), m = value_i64(-9);
    wat_lab_init(&lab);
    CHECK_OK(
        husk_imports_define(lab.imports, EXTERN(GLOBAL, "env", "g", .type = g.type), &g, &lab.err),
        lab.err);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(GLOBAL, "env", "m", .type = m.type, .is_mutable = true), &m,
                                 &lab.err),
             lab.err);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(MEMORY, "env", "mem", .min = 2, .has_max = true, .max = 3),
                                 NULL, &lab.err),
             lab.err);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(TABLE, "env", "tab", .type = HUSK_FUNCREF, .min = 5,
                                        .has_max = true, .max = 8),
                                 NULL, &lab.err),
             lab.err);
    wat_lab_open(&lab, globals_wat, NULL);
    CHECK_EQ_I64(wat_call_i32(&lab, "f", 0), 3 + 'a');
    CHECK_EQ_I64(wat_call_i32(&lab, "size", 0), 205);
    CHECK_EQ_I64(wat_call_i32(&lab, "setm", 12), 12);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 2), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), 2);
    CHECK_EQ_I64(wat_call_i32(&lab, "tgrow", 4), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "tgrow", 3), 5);
    CHECK_EQ_I64(wat_call_i32(&lab, "size", 0), 308);
    wat_lab_close(&lab);
}

/* One definition, the module's wish, and whether they match (core specification 2.0, section
 * 3.2.7). */
static void check_link(const char *import, bool matches, const char *const parts[3]) {
    struct wat_lab lab;
    char wat[300];
    struct husk_value g = value_i32(3);
    wat_lab_init(&lab);
    wat_lab_func(&lab, "func", "iI>f", host_mix, NULL);
    CHECK_OK(husk_imports_define(lab.imports, EXTERN(GLOBAL, "env", "global", .type = g.type), &g,
                                 &lab.err),
             lab.err);
    CHECK_OK(husk_imports_define(
                 lab.imports, EXTERN(MEMORY, "env", "memory", .min = 2, .has_max = true, .max = 5),
                 NULL, &lab.err),
             lab.err);
    CHECK_OK(husk_imports_define(lab.imports, EXTERN(MEMORY, "env", "endless", .min = 2), NULL,
                                 &lab.err),
             lab.err);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(MEMORY, "env", "shared", .min = 2, .has_max = true,
                                        .max = 5, .is_shared = true),
                                 NULL, &lab.err),
             lab.err);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(TABLE, "env", "table", .type = HUSK_FUNCREF, .min = 10,
                                        .has_max = true, .max = 20),
                                 NULL, &lab.err),
             lab.err);
    snprintf(wat, sizeof wat, "(module (import \"env\" %s))", import);
    lab.image = wat_image_with(lab.engine, wat, WAT_WORKER);
    int status = husk_sandbox_new(lab.image, lab.imports, NULL, &lab.sandbox, &lab.err);
    CHECK_MSG(status == (matches ? 0 : HUSK_E_LINK), "%s: %d %s", import, status,
              status != 0 ? lab.err.message : "");
    for (int i = 0; parts != NULL && i < 3 && parts[i] != NULL; i++)
        CHECK_CONTAINS(lab.err.message, parts[i]);
    wat_lab_close(&lab);
}

TEST(linking) {
    SKIP_WITHOUT_COMPILER();
    check_link("\"func\" (func (param i32 i64) (result f32))", true, NULL);
    check_link("\"func\" (func (param i32 i64))", false,
               (const char *const[]){"env.func", "(i32, i64) -> ()", "(i32, i64) -> (f32)"});
    check_link("\"func\" (memory 1)", false,
               (const char *const[]){"env.func", "memory", "function"});
    check_link("\"nix\" (func)", false, (const char *const[]){"unknown import", "env.nix", NULL});
    check_link("\"global\" (global i32)", true, NULL);
    check_link("\"global\" (global (mut i32))", false,
               (const char *const[]){"env.global", "mutable i32", NULL});
    check_link("\"global\" (global i64)", false, (const char *const[]){"i64", "i32", NULL});
    check_link("\"memory\" (memory 2)", true, NULL);
    check_link("\"memory\" (memory 1 5)", true, NULL);
    check_link("\"memory\" (memory 1 4)", false,
               (const char *const[]){"1 to 4 pages", "2 to 5 pages", NULL});
    check_link("\"memory\" (memory 3)", false,
               (const char *const[]){"at least 3 pages", NULL, NULL});
    check_link("\"endless\" (memory 0 65536)", false,
               (const char *const[]){"no maximum", NULL, NULL});
    check_link("\"shared\" (memory 1 5 shared)", true, NULL);
    check_link("\"shared\" (memory 1 5)", false,
               (const char *const[]){"1 to 5 pages; ", "2 to 5 pages, shared", NULL});
    check_link("\"memory\" (memory 1 5 shared)", false,
               (const char *const[]){"1 to 5 pages, shared", "2 to 5 pages", NULL});
    check_link("\"table\" (table 10 20 funcref)", true, NULL);
    check_link("\"table\" (table 10 19 funcref)", false, NULL);
    check_link("\"table\" (table 11 funcref)", false, NULL);
    check_link("\"table\" (table 1 externref)", false,
               (const char *const[]){"externref", "funcref", NULL});
}

static void count_free(void *user) {
    ++*(int *)user;
}

TEST(definitions_live_as_long_as_they_are_used) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    int freed[2] = {0, 0};
    const struct husk_functype type = {0};
    wat_lab_init(&lab);
    CHECK_OK(husk_imports_funcs(lab.imports,
                                &(struct husk_host_func){.module = "env",
                                                         .name = "a",
                                                         .type = &type,
                                                         .fn = host_sum,
                                                         .user = &freed[0],
                                                         .user_free = count_free},
                                1, &lab.err),
             lab.err);
    CHECK_OK(husk_imports_funcs(lab.imports,
                                &(struct husk_host_func){.module = "env",
                                                         .name = "a",
                                                         .type = &type,
                                                         .fn = host_sum,
                                                         .user = &freed[1],
                                                         .user_free = count_free},
                                1, &lab.err),
             lab.err);
    CHECK_EQ_I64(freed[0], 1); /* replaced */
    wat_lab_open(&lab, "(module (import \"env\" \"a\" (func $a)) (func (export \"f\") call $a))",
                 NULL);
    husk_imports_free(lab.imports);
    lab.imports = NULL;
    CHECK_EQ_I64(freed[1], 0);
    CHECK_OK(wat_call(&lab, "f", NULL, 0, NULL, 0), lab.err);
    wat_lab_close(&lab);
    CHECK_EQ_I64(freed[1], 1);
}

TEST_MAIN()
