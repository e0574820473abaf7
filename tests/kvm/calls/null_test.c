/*
 * tests/kvm/calls/null_test.c: functions that return a status refuse NULL, kinds that do not exist
 * and lengths that no name has, where a program could pass them by mistake.
 */
#include <string.h>

#include "literals.h"
#include "wat.h"

static int ignore(void *user, const void *bytes, size_t count) {
    (void)user;
    (void)bytes;
    (void)count;
    return 0;
}

/* No number of such a struct has a message: there is no `err`. */
TEST(what_the_library_fills) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_host_info host = HUSK_HOST_INFO_INIT;
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    struct husk_extern item = HUSK_EXTERN_INIT;
    struct husk_stats stats = HUSK_STATS_INIT;
    struct husk_sandbox_stats sandbox_stats = HUSK_SANDBOX_STATS_INIT;
    struct husk_histogram histogram = HUSK_HISTOGRAM_INIT;
    wat_lab_init(&lab);
    wat_lab_open(&lab, "(module (global (export \"g\") (mut i32) (i32.const 1)))", NULL);
    CHECK_EQ_I64(husk_engine_host_info(NULL, &host), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_engine_host_info(lab.engine, NULL), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_image_info(NULL, &info), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_image_info(lab.image, NULL), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_image_import(NULL, 0, &item), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_image_export(NULL, 0, &item), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_image_export(lab.image, 0, NULL), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_engine_stats(NULL, &stats), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_engine_stats(lab.engine, NULL), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_sandbox_stats(NULL, &sandbox_stats), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_sandbox_stats(lab.sandbox, NULL), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_engine_histogram(NULL, HUSK_HISTOGRAM_CALL, &histogram), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_engine_histogram(lab.engine, HUSK_HISTOGRAM_CALL, NULL), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_engine_histogram(lab.engine, (enum husk_histogram_kind)4, &histogram),
                 HUSK_E_INVAL);
    CHECK_EQ_I64(husk_engine_prometheus(NULL, ignore, NULL), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_engine_prometheus(lab.engine, NULL, NULL), HUSK_E_INVAL);
    CHECK_STATUS(husk_global_get(lab.sandbox, "g", 0, NULL, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_global_set(lab.sandbox, "g", 0, NULL, &lab.err), HUSK_E_INVAL);
    wat_lab_close(&lab);
}

TEST(what_a_set_of_imports_takes) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const struct husk_functype no_params = {NULL, 1, NULL, 0}, no_results = {NULL, 0, NULL, 1};
    struct husk_host_func row = {
        .module = "env", .name = "f", .type = &no_params, .fn = wat_host_fail};
    wat_lab_init(&lab);
    CHECK_STATUS(husk_imports_funcs(lab.imports, &row, 1, &lab.err), HUSK_E_INVAL);
    row.type = &no_results;
    CHECK_STATUS(husk_imports_funcs(lab.imports, &row, 1, &lab.err), HUSK_E_INVAL);
    row.type = NULL;
    row.name_bytes = SIZE_MAX;
    CHECK_STATUS(husk_imports_funcs(lab.imports, &row, 1, &lab.err), HUSK_E_LIMIT);
    row.name_bytes = 1;
    row.module_bytes = SIZE_MAX;
    CHECK_STATUS(husk_imports_funcs(lab.imports, &row, 1, &lab.err), HUSK_E_LIMIT);
    row.module_bytes = 3;
    CHECK_OK(husk_imports_funcs(lab.imports, &row, 1, &lab.err), lab.err);
    CHECK_STATUS(
        husk_imports_match(lab.imports, EXTERN(FUNC, "env", "f", .func = no_params), &lab.err),
        HUSK_E_INVAL);
    CHECK_STATUS(
        husk_imports_match(lab.imports, EXTERN(FUNC, "env", "f", .func = no_results), &lab.err),
        HUSK_E_INVAL);
    struct husk_extern item = HUSK_EXTERN_INIT;
    item.module = "env";
    item.name = "f";
    item.kind = (enum husk_extern_kind)5;
    CHECK_STATUS(husk_imports_match(lab.imports, &item, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_imports_match(NULL, &item, &lab.err), HUSK_E_INVAL);
    wat_lab_close(&lab);
}

TEST_MAIN()
