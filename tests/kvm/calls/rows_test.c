/*
 * tests/kvm/calls/rows_test.c: tables of host functions, definitions made from a module's imports,
 * names with lengths, and the memory that a host function sees.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "literals.h"
#include "wat.h"

static int add_user(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    (void)caller;
    results[0].of.i32 = args[0].of.i32 + *(const int *)user;
    return 0;
}

static void count_free(void *user) {
    ++*(int *)user;
}

static const husk_type one_i32[] = {HUSK_I32};
static const struct husk_functype i32_to_i32 = {one_i32, 1, one_i32, 1};

static const char two_wat[] =
    "(module (import \"env\" \"a\" (func $a (param i32) (result i32)))"
    " (import \"env\" \"b\\00c\" (func $b (param i32) (result i32)))"
    " (func (export \"a\") (param i32) (result i32) (call $a (local.get 0)))"
    " (func (export \"b\\00c\") (param i32) (result i32) (call $b (local.get 0))))";

TEST(a_table_and_names_with_nuls) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    int ten = 10, thousand = 1000;
    wat_lab_init(&lab);
    const struct husk_host_func rows[] = {
        {.module = "env", .name = "a", .type = &i32_to_i32, .fn = add_user, .user = &thousand},
        {.module = "env", .name = "b", .type = &i32_to_i32, .fn = add_user, .user = &ten},
        /* a later row replaces an earlier one */
        {.module = "env", .name = "a", .type = &i32_to_i32, .fn = add_user, .user = &ten},
        {.module = "env??",
         .module_bytes = 3,
         .name = "b\0c",
         .name_bytes = 3,
         .type = &i32_to_i32,
         .fn = add_user,
         .user = &thousand},
    };
    CHECK_OK(husk_imports_funcs(lab.imports, rows, 4, &lab.err), lab.err);
    CHECK_OK(husk_imports_funcs(lab.imports, NULL, 0, &lab.err), lab.err);
    wat_lab_open(&lab, two_wat, NULL);
    CHECK_EQ_I64(wat_call_i32(&lab, "a", 1), 11);
    struct husk_value arg = husk_i32(2), result;
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "b\0c", .name_bytes = 3, .args = &arg, .args_count = 1,
                            .results = &result, .results_count = 1),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_I64(result.of.i32, 1002);
    husk_func func;
    CHECK_STATUS(husk_image_func(lab.image, "b\0c", 0, &func, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_OK(husk_image_func(lab.image, "b\0c", 3, &func, &lab.err), lab.err);
    wat_lab_close(&lab);
}

/* On failure nothing is defined, and the caller still owns `user`. */
static void check_refused(struct wat_lab *lab, const struct husk_host_func *rows, size_t count,
                          const char *what) {
    int frees_before = *(int *)rows[0].user;
    CHECK_STATUS(husk_imports_funcs(lab->imports, rows, count, &lab->err), HUSK_E_INVAL);
    CHECK_CONTAINS(lab->err.message, what);
    CHECK_EQ_I64(*(int *)rows[0].user, frees_before);
    CHECK_STATUS(
        husk_imports_match(lab->imports, EXTERN(FUNC, "env", "a", .func = i32_to_i32), &lab->err),
        HUSK_E_LINK);
}

TEST(all_rows_or_none) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    static const husk_type unknown_type[] = {(husk_type)0x40};
    static const struct husk_functype unknown = {unknown_type, 1, NULL, 0};
    int frees = 0;
    wat_lab_init(&lab);
    struct husk_host_func rows[2] = {{.module = "env",
                                      .name = "a",
                                      .type = &i32_to_i32,
                                      .fn = add_user,
                                      .user = &frees,
                                      .user_free = count_free}};
    rows[1] = rows[0];
    rows[1].fn = NULL;
    check_refused(&lab, rows, 2, "row 1");
    rows[1] = rows[0];
    rows[1].name = NULL;
    check_refused(&lab, rows, 2, "name");
    rows[1] = rows[0];
    rows[1].type = &unknown;
    check_refused(&lab, rows, 2, "not a value type");
    CHECK_STATUS(husk_imports_funcs(lab.imports, NULL, 1, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_imports_funcs(NULL, rows, 1, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_imports_funcs(lab.imports, rows, SIZE_MAX, &lab.err), HUSK_E_LIMIT);
    CHECK_OK(husk_imports_funcs(lab.imports, rows, 1, &lab.err), lab.err);
    CHECK_EQ_I64(frees, 0);
    husk_imports_free(lab.imports);
    CHECK_EQ_I64(frees, 1);
    lab.imports = NULL;
    wat_lab_close(&lab);
}

/* A module may have a million imports, and a host may define them all. */
TEST(many_rows) {
    SKIP_WITHOUT_COMPILER();
    enum { COUNT = 100000 };
    struct wat_lab lab;
    int number = 0;
    struct husk_host_func *rows = calloc(COUNT, sizeof *rows);
    char(*names)[8] = calloc(COUNT, sizeof *names);
    CHECK(rows != NULL && names != NULL);
    wat_lab_init(&lab);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "f%d", i);
        rows[i] = (struct husk_host_func){.module = "env",
                                          .name = names[i],
                                          .type = &i32_to_i32,
                                          .fn = add_user,
                                          .user = &number};
    }
    for (int again = 0; again < 2; again++)
        CHECK_OK(husk_imports_funcs(lab.imports, rows, COUNT, &lab.err), lab.err);
    for (int i = 0; i < COUNT; i += 997)
        CHECK_OK(husk_imports_match(lab.imports, EXTERN(FUNC, "env", names[i], .func = i32_to_i32),
                                    &lab.err),
                 lab.err);
    CHECK_STATUS(husk_imports_match(lab.imports, EXTERN(FUNC, "env", "f100000", .func = i32_to_i32),
                                    &lab.err),
                 HUSK_E_LINK);
    wat_lab_close(&lab);
    free(names);
    free(rows);
}

static const char all_kinds_wat[] =
    "(module (import \"m\" \"mem\" (memory 2 5)) (import \"m\" \"tab\" (table 3 9 externref))"
    " (import \"m\" \"g\" (global $g (mut i64)))"
    " (func (export \"sizes\") (param i32) (result i32)"
    "  (i32.add (i32.mul (memory.size) (i32.const 100)) (table.size 0)))"
    " (func (export \"g\") (param i32) (result i32) (i32.wrap_i64 (global.get $g))))";

/* Define exactly the imports that a module declares, without knowing the module. */
TEST(a_modules_imports_are_definitions) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    husk_image *image = wat_image_with(lab.engine, all_kinds_wat, WAT_WORKER);
    const struct husk_value initial = husk_i64(77);
    for (size_t i = 0; i < husk_image_imports_count(image); i++) {
        struct husk_extern item = HUSK_EXTERN_INIT;
        CHECK_EQ_I64(husk_image_import(image, i, &item), 0);
        CHECK_OK(husk_imports_define(lab.imports, &item,
                                     item.kind == HUSK_EXTERN_GLOBAL ? &initial : NULL, &lab.err),
                 lab.err);
    }
    CHECK_OK(husk_sandbox_new(image, lab.imports, NULL, &lab.sandbox, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "sizes", 0), 203);
    CHECK_EQ_I64(wat_call_i32(&lab, "g", 0), 77);
    husk_image_unref(image);
    wat_lab_close(&lab);
}

TEST(definitions_are_checked) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const struct husk_value number = husk_i32(1);
    wat_lab_init(&lab);
    const struct {
        const struct husk_extern *item;
        const struct husk_value *initial;
    } rows[] = {
        {EXTERN(MEMORY, "m", "x", .min = 65537), NULL},
        {EXTERN(MEMORY, "m", "x", .min = 2, .has_max = true, .max = 1), NULL},
        {EXTERN(MEMORY, "m", "x", .min = 1), &number},
        {EXTERN(MEMORY, NULL, "x", .min = 1), NULL},
        {EXTERN(MEMORY, "m", NULL, .min = 1), NULL},
        {EXTERN(TABLE, "m", "x", .type = HUSK_I32), NULL},
        {EXTERN(TABLE, "m", "x", .type = HUSK_FUNCREF, .min = 1ull << 32), NULL},
        {EXTERN(GLOBAL, "m", "x", .type = HUSK_I32), NULL},
        {EXTERN(GLOBAL, "m", "x", .type = HUSK_I64), &number},
        {EXTERN(FUNC, "m", "x", .func = i32_to_i32), NULL},
        {NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int status = husk_imports_define(lab.imports, rows[i].item, rows[i].initial, &lab.err);
        CHECK_MSG(status == HUSK_E_INVAL, "row %zu: %d", i, status);
    }
    wat_lab_close(&lab);
}

/* ---- Calls ---- */

TEST(a_call_names_one_function) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_func func;
    struct husk_functype type;
    wat_lab_init(&lab);
    wat_lab_open(&lab, "(module (func (export \"f\") (result i32) i32.const 7))", NULL);
    struct husk_value result = husk_i32(0);
    CHECK_OK(husk_image_func(lab.image, "f", 0, &func, &lab.err), lab.err);
    CHECK_OK(husk_image_func_type(lab.image, func, &type, &lab.err), lab.err);
    CHECK_EQ_U64(type.params_count, 0);
    CHECK_EQ_U64(type.results_count, 1);
    CHECK_STATUS(husk_image_func_type(lab.image, (husk_func){{0, 0}}, &type, &lab.err),
                 HUSK_E_INVAL);
    CHECK_STATUS(husk_call(lab.sandbox, CALL(.results = &result, .results_count = 1), &lab.outcome,
                           &lab.err),
                 HUSK_E_INVAL);
    CHECK_STATUS(husk_call(lab.sandbox,
                           CALL(.name = "f", .func = func, .results = &result, .results_count = 1),
                           &lab.outcome, &lab.err),
                 HUSK_E_INVAL);
    CHECK_STATUS(
        husk_call(lab.sandbox, CALL(.func = func, .results_count = 1), &lab.outcome, &lab.err),
        HUSK_E_INVAL);
    CHECK_STATUS(husk_call(lab.sandbox, NULL, &lab.outcome, &lab.err), HUSK_E_INVAL);
    CHECK_EQ_I64(result.of.i32, 0);
    CHECK_OK(husk_call(lab.sandbox, CALL(.func = func, .results = &result, .results_count = 1),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_I64(result.of.i32, 7);
    wat_lab_close(&lab);
}

/* `name` in a block of its own, without a NUL: AddressSanitizer sees a read beyond. */
static char *name_alone(const char *name) {
    char *copy = malloc(strlen(name));
    CHECK(copy != NULL);
    return memcpy(copy, name, strlen(name));
}

TEST(names_with_lengths_need_no_nul) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_func func;
    wat_lab_init(&lab);
    wat_lab_open(&lab, "(module (func (export \"f\")))", NULL);
    char *known = name_alone("f"), *unknown = name_alone("nosuch");
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct husk_value value = husk_i32(0);
    CHECK_OK(husk_call(lab.sandbox, CALL(.name = known, .name_bytes = 1), &lab.outcome, &lab.err),
             lab.err);
    CHECK_STATUS(
        husk_call(lab.sandbox, CALL(.name = unknown, .name_bytes = 6), &lab.outcome, &lab.err),
        HUSK_E_NOT_FOUND);
    CHECK_CONTAINS(lab.err.message, "calling \"nosuch\"");
    CHECK_STATUS(husk_call(lab.sandbox, CALL(.name = known, .name_bytes = 1, .results_count = 1),
                           &lab.outcome, &lab.err),
                 HUSK_E_INVAL);
    CHECK_STATUS(husk_call_bytes(lab.sandbox, CALL(.name = known, .name_bytes = 1), &bytes,
                                 &lab.outcome, &lab.err),
                 HUSK_E_TYPE);
    CHECK_CONTAINS(lab.err.message, "calling \"f\" with bytes");
    CHECK_STATUS(husk_image_func(lab.image, unknown, 6, &func, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_STATUS(husk_global_get(lab.sandbox, unknown, 6, &value, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_STATUS(husk_global_set(lab.sandbox, unknown, 6, &value, &lab.err), HUSK_E_NOT_FOUND);
    free(unknown);
    free(known);
    wat_lab_close(&lab);
}

/* ---- Memory in a host function ---- */

static const char span_wat[] =
    "(module (import \"env\" \"fill\" (func $fill (param i32) (result i32)))"
    " (memory (export \"memory\") 1) (memory 1)"
    " (func (export \"fill\") (param i32) (result i32) (call $fill (local.get 0)))"
    " (func (export \"load\") (param i32) (result i32) (i32.load (local.get 0))))";

static int fill(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    (void)user;
    const struct husk_range range = {(uint32_t)args[0].of.i32, 8, 0};
    void *span = husk_caller_span(caller, &range);
    results[0].of.i32 = span != NULL;
    if (span != NULL)
        memset(span, 5, 8);
    results[0].of.i32 += 2 * (husk_caller_span(caller, RANGE(0, 8, 1)) != NULL);
    results[0].of.i32 += 4 * (husk_caller_span(caller, RANGE(0, 8, 2)) != NULL);
    results[0].of.i32 += 8 * (husk_caller_span(caller, RANGE(UINT64_MAX, 8, 0)) != NULL);
    results[0].of.i32 += 16 * (husk_caller_span(caller, RANGE(8, UINT64_MAX - 4, 0)) != NULL);
    results[0].of.i32 += 32 * (husk_caller_span(caller, NULL) != NULL);
    return 0;
}

TEST(a_host_functions_span) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "fill", "i>i", fill, NULL);
    wat_lab_open(&lab, span_wat, NULL);
    for (int i = 0; i < 20; i++) {
        const int32_t at = 4096 * (i % 15);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", at), 0);
        CHECK_EQ_I64(wat_call_i32(&lab, "fill", at), 3);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", at), 0x05050505);
        /* a restore finds the write, wherever it was */
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    CHECK_EQ_I64(wat_call_i32(&lab, "fill", 65536 - 8), 3);
    CHECK_EQ_I64(wat_call_i32(&lab, "fill", 65536 - 7), 2);
    CHECK_EQ_I64(wat_call_i32(&lab, "fill", -1), 2);
    wat_lab_close(&lab);
}

TEST_MAIN()
