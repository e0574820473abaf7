/* tests/kvm/calls/exception_test.c: exceptions that nobody catches, as outcomes of calls; names and
 * handles of tags; restores after a throw. */
#include <stdio.h>
#include <string.h>

#include "last_backtrace.h"
#include "literals.h"
#include "thrown.h"

#define ALL_TYPES "i32 i64 f32 f64 v128 funcref externref"

static void check_counted_once(const struct wat_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    struct husk_sandbox_stats of_sandbox = HUSK_SANDBOX_STATS_INIT;
    CHECK_EQ_I64(husk_engine_stats(lab->engine, &stats), 0);
    CHECK_EQ_I64(husk_sandbox_stats(lab->sandbox, &of_sandbox), 0);
    CHECK(stats.uncaught_exceptions == 1 && of_sandbox.uncaught_exceptions == 1);
    CHECK(stats.traps == 0 && of_sandbox.traps == 0);
}

TEST(an_exception_that_nobody_catches_is_an_outcome) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (global $count (mut i32) (i32.const 0))"
                 " (func (export \"count\") (param i32) (result i32) (global.get $count))"
                 " (tag $all (export \"all\") (param " ALL_TYPES "))"
                 " (func $thrower (param externref) (global.set $count (i32.const 1))"
                 "  (throw $all (i32.const -5) (i64.const 0x123456789abcdef) (f32.const 0.5)"
                 "   (f64.const -0.25) (v128.const i64x2 1 2) (ref.func 0) (local.get 0))"
                 "  (global.set $count (i32.const 2)))"
                 " (elem declare func 0)"
                 " (func $deep (param externref) (call $thrower (local.get 0))"
                 "  (global.set $count (i32.const 3)))"
                 " (func (export \"f\") (param externref) (call $deep (local.get 0)))"
                 " (func (export \"same\") (param i32) (result i32) (local.get 0)))",
                 NULL);
    const struct husk_value handle = {.type = HUSK_EXTERNREF, .of.ref = 0xfedcba9876543210};
    CHECK_OK(wat_call(&lab, "f", &handle, 1, NULL, 0), lab.err);
    const struct husk_exception_info info = exception_of(&lab);
    CHECK(lab.outcome.state_is_exact && !lab.outcome.is_poisoned);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_NONE);
    CHECK_CONTAINS(lab.outcome.message,
                   "uncaught exception: tag \"all\" (i32 -5, i64 81985529216486895, f32 0.5, f64 "
                   "-0.25, v128 0x00000000000000020000000000000001, funcref 0x");
    CHECK_CONTAINS(lab.outcome.message, ", externref 0xfedcba9876543210)");
    CHECK_STR(info.name, "all");
    CHECK(info.name_bytes == 3 && info.module == NULL && info.module_bytes == 0);
    const husk_tag tag = tag_of(&lab, "all");
    CHECK(memcmp(&info.tag, &tag, sizeof tag) == 0);
    CHECK(info.type.params_count == 7 && info.type.results_count == 0 && info.values_count == 7);
    for (size_t i = 0; i < info.values_count; i++)
        CHECK_EQ_U64(info.values[i].type, info.type.params[i]);
    CHECK_EQ_I64(info.values[0].of.i32, -5);
    CHECK_EQ_I64(info.values[1].of.i64, 0x123456789abcdef);
    CHECK(info.values[2].of.f32 == 0.5f && info.values[3].of.f64 == -0.25);
    CHECK(info.values[4].of.v128[0] == 1 && info.values[4].of.v128[8] == 2);
    husk_func func;
    CHECK_OK(husk_func_from_ref(lab.sandbox, &info.values[5], &func, NULL, &lab.err), lab.err);
    CHECK_EQ_U64(info.values[6].of.ref, 0xfedcba9876543210);
    const struct husk_backtrace backtrace = last_backtrace(lab.sandbox);
    CHECK(backtrace.frames_total >= 2);
    CHECK_STR(backtrace.frames[0].func_name, "thrower");
    CHECK_EQ_I64(wat_call_i32(&lab, "count", 0), 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "same", 7), 7); /* the instance stays usable */
    check_no_exception(&lab);
    check_counted_once(&lab);
    wat_lab_close(&lab);
}

static void define_tag(struct wat_lab *lab, const char *name, const husk_type *types,
                       size_t count) {
    const struct husk_functype type = {.params = types, .params_count = count};
    CHECK_OK(
        husk_imports_define(lab->imports, EXTERN(TAG, "env", name, .func = type), NULL, &lab->err),
        lab->err);
}

TEST(tags_are_called_by_export_or_import) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const husk_type i32 = HUSK_I32;
    wat_lab_init(&lab);
    define_tag(&lab, "both", NULL, 0);
    define_tag(&lab, "in\n", &i32, 1);
    wat_lab_open(&lab,
                 "(module (import \"env\" \"both\" (tag $both))"
                 " (import \"env\" \"in\\0a\" (tag $in (param i32))) (tag $none)"
                 " (export \"second\" (tag $both)) (export \"first\" (tag $none))"
                 " (tag $quiet)"
                 " (func (export \"both\") (throw $both)) (func (export \"none\") (throw $quiet))"
                 " (func (export \"in\") (throw $in (i32.const 3))))",
                 NULL);
    CHECK_OK(wat_call(&lab, "both", NULL, 0, NULL, 0), lab.err);
    struct husk_exception_info info = exception_of(&lab);
    CHECK(info.module == NULL && info.values_count == 0);
    CHECK_STR(info.name, "second");
    CHECK_STR(lab.outcome.message, "uncaught exception: tag \"second\"");
    CHECK_OK(wat_call(&lab, "none", NULL, 0, NULL, 0), lab.err);
    info = exception_of(&lab);
    CHECK(info.module == NULL && info.name[0] == '\0' && info.tag_idx == 3);
    CHECK_STR(lab.outcome.message, "uncaught exception: tag 3");
    CHECK_OK(wat_call(&lab, "in", NULL, 0, NULL, 0), lab.err);
    info = exception_of(&lab);
    CHECK_STR(info.module, "env");
    CHECK(info.name_bytes == 3 && memcmp(info.name, "in\n", 3) == 0);
    CHECK_STR(lab.outcome.message, "uncaught exception: tag \"env.in\\0a\" (i32 3)");

    husk_tag tag, other;
    struct husk_functype type;
    CHECK_OK(husk_image_import_tag(lab.image, EXTERN(TAG, "env", "in\n"), &tag, &lab.err), lab.err);
    CHECK(memcmp(&tag, &info.tag, sizeof tag) == 0);
    CHECK_OK(husk_image_tag_type(lab.image, tag, &type, &lab.err), lab.err);
    CHECK(type.params_count == 1 && type.params[0] == HUSK_I32 && type.results_count == 0);
    CHECK_OK(husk_image_import_tag(lab.image, EXTERN(TAG, "env", "both"), &tag, &lab.err), lab.err);
    other = tag_of(&lab, "second");
    CHECK(memcmp(&tag, &other, sizeof tag) == 0);
    CHECK_STATUS(husk_image_tag(lab.image, "both", 0, &tag, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_CONTAINS(lab.err.message, "is not a tag");
    CHECK_STATUS(husk_image_tag(lab.image, "third", 0, &tag, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_STATUS(husk_image_import_tag(lab.image, EXTERN(TAG, "env", "in"), &tag, &lab.err),
                 HUSK_E_NOT_FOUND);
    CHECK_STATUS(husk_image_tag_type(lab.image, (husk_tag){{0, 0}}, &type, &lab.err), HUSK_E_INVAL);
    wat_lab_close(&lab);
}

static int try_link(struct wat_lab *lab) {
    husk_sandbox *sandbox = NULL;
    int status = husk_sandbox_new(lab->image, lab->imports, NULL, &sandbox, &lab->err);
    husk_sandbox_free(sandbox);
    return status;
}

TEST(imported_tags_are_defined_by_name_and_type) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const husk_type types[] = {HUSK_I32, HUSK_F64};
    const struct husk_functype with_results = {.results = types, .results_count = 1};
    const struct husk_value value = value_i32(0);
    wat_lab_init(&lab);
    lab.image = wat_image_with(lab.engine,
                               "(module (import \"env\" \"t\" (tag $t (param i32 f64)))"
                               " (func (export \"f\") (throw $t (i32.const 1) (f64.const 2))))",
                               WAT_WORKER);
    struct husk_extern item = HUSK_EXTERN_INIT;
    CHECK_OK(husk_image_import(lab.image, 0, &item), lab.err);
    CHECK(item.kind == HUSK_EXTERN_TAG && item.func.params_count == 2);
    CHECK_STATUS(try_link(&lab), HUSK_E_LINK);
    CHECK_CONTAINS(lab.err.message, "needs tag \"env.t\", (i32, f64); nothing of that name");
    CHECK_STATUS(husk_imports_match(lab.imports, &item, &lab.err), HUSK_E_LINK);
    CHECK_STATUS(husk_imports_define(lab.imports, EXTERN(TAG, "env", "t", .func = with_results),
                                     NULL, &lab.err),
                 HUSK_E_INVAL);
    CHECK_STATUS(husk_imports_define(lab.imports, &item, &value, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_imports_define(lab.imports, EXTERN(TAG, "env", "t", .func.params_count = 1),
                                     NULL, &lab.err),
                 HUSK_E_INVAL);
    define_tag(&lab, "t", types, 1);
    CHECK_STATUS(try_link(&lab), HUSK_E_LINK);
    CHECK_CONTAINS(lab.err.message,
                   "needs tag \"env.t\", (i32, f64); what was defined is a tag, (i32)");
    CHECK_OK(husk_imports_define(lab.imports, EXTERN(GLOBAL, "env", "t", .type = HUSK_I32), &value,
                                 &lab.err),
             lab.err);
    CHECK_STATUS(try_link(&lab), HUSK_E_LINK);
    CHECK_CONTAINS(lab.err.message, "what was defined is a global");
    CHECK_OK(husk_imports_unknown(lab.imports, HUSK_UNKNOWN_TRAP, &lab.err), lab.err);
    CHECK_STATUS(try_link(&lab), HUSK_E_LINK); /* defined, and of another kind */
    CHECK_OK(husk_imports_define(lab.imports, &item, NULL, &lab.err), lab.err);
    CHECK_OK(husk_imports_match(lab.imports, &item, &lab.err), lab.err);
    CHECK_OK(try_link(&lab), lab.err);
    husk_imports_free(lab.imports);
    CHECK_OK(husk_imports_new(lab.engine, &lab.imports, &lab.err), lab.err);
    CHECK_OK(husk_imports_unknown(lab.imports, HUSK_UNKNOWN_TRAP, &lab.err), lab.err);
    CHECK_OK(husk_imports_match(lab.imports, &item, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_new(lab.image, lab.imports, NULL, &lab.sandbox, &lab.err), lab.err);
    CHECK_OK(wat_call(&lab, "f", NULL, 0, NULL, 0), lab.err);
    CHECK_STR(exception_of(&lab).module, "env");
    wat_lab_close(&lab);
}

/* Tables and globals of references to exceptions. */
TEST(imports_of_references) {
    struct husk_error err;
    husk_engine *engine = NULL;
    husk_imports *imports = NULL;
    SKIP_WITHOUT_KVM();
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    const struct husk_value null = {.type = HUSK_EXNREF}, one = {.type = HUSK_EXNREF, .of.ref = 1};
    const struct husk_extern *global = EXTERN(GLOBAL, "env", "g", .type = HUSK_EXNREF);
    CHECK_OK(husk_imports_define(imports, global, &null, &err), err);
    CHECK_STATUS(husk_imports_define(imports, global, &one, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "a reference of type exnref belongs to one sandbox");
    CHECK_OK(
        husk_imports_define(imports, EXTERN(TABLE, "env", "t", .type = HUSK_EXNREF), NULL, &err),
        err);
    husk_imports_free(imports);
    husk_engine_unref(engine);
}

/* The message has a limit; values are left out, never cut. */
TEST(many_values) {
    SKIP_WITHOUT_COMPILER();
    static char wat[16384];
    size_t used = (size_t)snprintf(wat, sizeof wat, "(module (tag $t (export \"t\") (param");
    for (int i = 0; i < 200; i++)
        used += (size_t)snprintf(wat + used, sizeof wat - used, " i64");
    used += (size_t)snprintf(wat + used, sizeof wat - used, ")) (func (export \"f\")");
    for (int i = 0; i < 200; i++)
        used += (size_t)snprintf(wat + used, sizeof wat - used, " (i64.const %d)", i * 1000);
    snprintf(wat + used, sizeof wat - used, " (throw $t)))");
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, NULL);
    CHECK_OK(wat_call(&lab, "f", NULL, 0, NULL, 0), lab.err);
    const struct husk_exception_info info = exception_of(&lab);
    CHECK_EQ_U64(info.values_count, 200);
    for (int i = 0; i < 200; i++)
        CHECK_EQ_I64(info.values[i].of.i64, i * 1000);
    CHECK_CONTAINS(lab.outcome.message, "tag \"t\" (i64 0, i64 1000, ");
    const size_t length = strlen(lab.outcome.message);
    CHECK(length > 200 && strcmp(lab.outcome.message + length - 6, ", …)") == 0);
    wat_lab_close(&lab);
}

TEST(an_initialisation_that_throws) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (tag $t (param i32)) (func $begin (throw $t (i32.const 1)))"
                 " (start $begin) (func (export \"f\")))",
                 NULL);
    CHECK_OK(wat_call(&lab, "f", NULL, 0, NULL, 0), lab.err);
    CHECK_EQ_I64(exception_of(&lab).values[0].of.i32, 1);
    CHECK_STATUS(wat_call(&lab, "f", NULL, 0, NULL, 0), HUSK_E_STATE);
    CHECK_EQ_I64(exception_of(&lab).values[0].of.i32, 1); /* a refused call does not count */
    wat_lab_close(&lab);
}

TEST(a_restore_after_an_exception) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (tag $t (export \"t\") (param i32)) (global $g (mut i32) (i32.const 0))"
                 " (func (export \"set\") (param i32) (result i32)"
                 "  (global.set $g (local.get 0)) (global.get $g))"
                 " (func (export \"f\") (param i32) (result i32)"
                 "  (global.set $g (i32.add (global.get $g) (local.get 0)))"
                 "  (throw $t (global.get $g))))",
                 NULL);
    CHECK_EQ_I64(wat_call_i32(&lab, "set", 100), 100);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    for (int i = 0; i < 20; i++) {
        const struct husk_value args[1] = {value_i32(i)};
        struct husk_value result = value_i32(-1);
        CHECK_OK(wat_call(&lab, "f", args, 1, &result, 1), lab.err);
        CHECK_EQ_I64(exception_of(&lab).values[0].of.i32, 100 + i);
        CHECK_EQ_I64(result.of.i32, -1); /* untouched */
        if (i % 2 == 0) {
            CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
            check_no_exception(&lab);
        } else {
            CHECK_OK(husk_sandbox_load(lab.sandbox, snapshot, lab.imports, &lab.err), lab.err);
            check_no_exception(&lab);
        }
    }
    /* after a throw between two calls there is nothing that forbids a snapshot */
    const struct husk_value one[1] = {value_i32(1)};
    struct husk_value result;
    CHECK_OK(wat_call(&lab, "f", one, 1, &result, 1), lab.err);
    husk_image_unref(snapshot);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    CHECK_OK(wat_call(&lab, "f", one, 1, &result, 1), lab.err);
    CHECK_EQ_I64(exception_of(&lab).values[0].of.i32, 102);
    husk_image_unref(snapshot);
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    CHECK_STATUS(husk_sandbox_exception(lab.sandbox, &info, &lab.err), HUSK_E_STATE);
    wat_lab_close(&lab);
}

TEST_MAIN()
