/*
 * tests/kvm/calls/unknown_imports_test.c: undefined imports. They are refused, all in one message,
 * or replaced by functions that trap. They are reported before anything is compiled.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "husk_compile.h"
#include "last_backtrace.h"
#include "ready_image.h"
#include "wat.h"

#define MODULE                                                                                     \
    "(module (import \"env\" \"known\" (func $known (result i32)))"                                \
    "(import \"env\" \"one\" (func $one (param i32) (result i32)))"                                \
    "(import \"other\" \"a\\00b\\e2\\80\\ae\" (func $two))"                                        \
    "(func (export \"fine\") (result i32) call $known)"                                            \
    "(func (export \"one\") (result i32) i32.const 1 call $one)"                                   \
    "(func (export \"two\") call $two)"                                                            \
    "(func (export \"nested\") (result i32) call $known))"

static int host_known(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)caller;
    (void)user;
    (void)args;
    results[0].of.i32 = 7;
    return 0;
}

static void check_trap(struct wat_lab *lab, const char *export_name, size_t results_count,
                       const char *import_name) {
    struct husk_value result = value_i32(0);
    CHECK_OK(wat_call(lab, export_name, NULL, 0, &result, results_count), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(lab->outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK(!lab->outcome.is_poisoned);
    CHECK_CONTAINS(lab->outcome.message, import_name);
    CHECK(last_backtrace(lab->sandbox).frames_count >= 1);
}

TEST(functions_trap_only_when_called) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "known", ">i", host_known, NULL);
    CHECK_OK(husk_imports_unknown(lab.imports, HUSK_UNKNOWN_TRAP, &lab.err), lab.err);
    wat_lab_open(&lab, MODULE, NULL);
    for (int i = 0; i < 2; i++) { /* a trap leaves it usable */
        struct husk_value result = value_i32(0);
        CHECK_OK(wat_call(&lab, "fine", NULL, 0, &result, 1), lab.err);
        CHECK_EQ_I64(result.of.i32, 7);
        check_trap(&lab, "one", 1, "\"env.one\"");
        check_trap(&lab, "two", 0, "\"other.a\\00b\\e2\\80\\ae\"");
    }
    wat_lab_close(&lab);
}

/* The sandbox has the functions itself: the set is gone, and others are made from the sandbox. */
TEST(clones_and_snapshots_have_them) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_sandbox *clone = NULL;
    husk_image *snapshot = NULL;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "known", ">i", host_known, NULL);
    CHECK_OK(husk_imports_unknown(lab.imports, HUSK_UNKNOWN_TRAP, &lab.err), lab.err);
    wat_lab_open(&lab, MODULE, NULL);
    husk_imports_free(lab.imports);
    lab.imports = NULL;
    CHECK_OK(husk_sandbox_start(lab.sandbox, NULL, &lab.outcome, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    check_trap(&lab, "one", 1, "\"env.one\"");
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = clone;
    check_trap(&lab, "one", 1, "\"env.one\"");
    CHECK_EQ_I64(husk_sandbox_load(lab.sandbox, snapshot, NULL, &lab.err), HUSK_E_LINK);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

static int open_with(const char *wat, enum husk_unknown unknown, struct husk_error *err) {
    struct wat_lab lab;
    wat_lab_init(&lab);
    CHECK_OK(husk_imports_unknown(lab.imports, unknown, err), *err);
    husk_image *image = wat_image_with(lab.engine, wat, WAT_WORKER);
    int status = husk_sandbox_new(image, lab.imports, NULL, &lab.sandbox, err);
    husk_image_unref(image);
    wat_lab_close(&lab);
    return status;
}

TEST(all_that_is_missing_is_in_one_message) {
    SKIP_WITHOUT_COMPILER();
    struct husk_error err;
    CHECK_EQ_I64(open_with(MODULE, HUSK_UNKNOWN_REFUSED, &err), HUSK_E_LINK);
    CHECK_CONTAINS(err.message,
                   "unknown import: the module needs function \"env.known\", () -> (i32)");
    CHECK_CONTAINS(err.message, "also unknown: \"env.one\", \"other.a\\00b\\e2\\80\\ae\"");
    char wat[16384] = "(module";
    for (int i = 0; i < 200; i++)
        snprintf(wat + strlen(wat), 64, "(import \"env\" \"function_%d\" (func))", i);
    strcat(wat, ")");
    CHECK_EQ_I64(open_with(wat, HUSK_UNKNOWN_REFUSED, &err), HUSK_E_LINK);
    CHECK_CONTAINS(err.message, "\"env.function_0\"");
    CHECK_CONTAINS(err.message, "\"env.function_1\", \"env.function_2\"");
    const char *more = strstr(err.message, " and ");
    CHECK(more != NULL);
    int named = 1, unnamed = 0;
    for (const char *at = strstr(err.message, "also unknown"); (at = strstr(at, "\"env.")) != NULL;
         at++)
        named++;
    CHECK(sscanf(more, " and %d more", &unnamed) == 1);
    CHECK_EQ_I64(named + unnamed, 200);
}

TEST(what_is_no_function_stays_refused) {
    SKIP_WITHOUT_COMPILER();
    static const char *const modules[] = {
        "(module (import \"env\" \"x\" (global i32)))",
        "(module (import \"env\" \"x\" (memory 1)))",
        "(module (import \"env\" \"x\" (table 1 funcref)))",
    };
    struct husk_error err;
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        CHECK_EQ_I64(open_with(modules[i], HUSK_UNKNOWN_TRAP, &err), HUSK_E_LINK);
        CHECK_CONTAINS(err.message, "\"env.x\"");
    }
    CHECK_OK(open_with("(module (import \"env\" \"x\" (func)))", HUSK_UNKNOWN_TRAP, &err), err);
    CHECK_EQ_I64(husk_imports_unknown(NULL, HUSK_UNKNOWN_TRAP, &err), HUSK_E_INVAL);
}

/* A function of the set with another type is a mistake, not an unknown import. */
TEST(another_type_stays_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "known", "i>i", host_known, NULL);
    CHECK_OK(husk_imports_unknown(lab.imports, HUSK_UNKNOWN_TRAP, &lab.err), lab.err);
    CHECK_EQ_I64(husk_imports_unknown(lab.imports, (enum husk_unknown)9, &lab.err), HUSK_E_INVAL);
    husk_image *image = wat_image_with(lab.engine, MODULE, WAT_WORKER);
    CHECK_EQ_I64(husk_sandbox_new(image, lab.imports, NULL, &lab.sandbox, &lab.err), HUSK_E_LINK);
    CHECK_CONTAINS(lab.err.message, "incompatible import type");
    CHECK(strstr(lab.err.message, "unknown") == NULL);
    husk_image_unref(image);
    wat_lab_close(&lab);
}

struct matches {
    const husk_imports *imports;
    int good, bad;
    char message[488];
};

static void match_one(void *user, bool is_import, const struct husk_extern *item) {
    struct matches *matches = user;
    struct husk_error err;
    if (!is_import) {
        CHECK_EQ_I64(husk_imports_match(matches->imports, item, &err), HUSK_E_INVAL);
        return;
    }
    int status = husk_imports_match(matches->imports, item, &err);
    matches->good += status == 0;
    if (status != 0) {
        CHECK_EQ_I64(status, HUSK_E_LINK);
        snprintf(matches->message, sizeof matches->message, "%s", err.message);
        matches->bad++;
    }
}

TEST(known_before_compiling) {
    SKIP_WITHOUT_COMPILER();
    if (ready_images_only())
        SKIP("needs wat2wasm, and there are ready images only");
    struct wat_lab lab;
    struct husk_error err;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(MODULE, &count);
    wat_lab_init(&lab);
    wat_lab_func(&lab, "known", ">i", host_known, NULL);
    wat_lab_func(&lab, "one", ">i", host_known, NULL);
    struct matches matches = {.imports = lab.imports};
    CHECK_OK(husk_wasm_interface(wasm, count, match_one, &matches, &err), err);
    CHECK_EQ_I64(matches.good, 1);
    CHECK_EQ_I64(matches.bad, 2);
    CHECK_CONTAINS(matches.message, "a\\00b");
    CHECK_OK(husk_imports_unknown(lab.imports, HUSK_UNKNOWN_TRAP, &err), err);
    matches = (struct matches){.imports = lab.imports};
    CHECK_OK(husk_wasm_interface(wasm, count, match_one, &matches, &err), err);
    CHECK_EQ_I64(matches.good, 2);
    CHECK_CONTAINS(matches.message,
                   "incompatible import type: the module needs function \"env.one\"");
    matches = (struct matches){.imports = NULL};
    CHECK_OK(husk_wasm_interface(wasm, count, match_one, &matches, &err), err);
    CHECK_EQ_I64(matches.bad, 3);
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
