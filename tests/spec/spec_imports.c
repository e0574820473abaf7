/*
 * tests/spec/spec_imports.c: "spectest" as the suite's README and interpreter define it: functions
 * that print, four constants, a table of 10 to 20, a memory of 1 to 2 pages. The functions do
 * nothing here, because the suite never checks what they print.
 */
#include "spec_imports.h"
#include "literals.h"

static int ignore_args(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)caller;
    (void)user;
    (void)args;
    (void)results;
    return 0;
}

static int add_functions(husk_imports *imports, struct husk_error *err) {
    static const husk_type i32[] = {HUSK_I32};
    static const husk_type i64[] = {HUSK_I64};
    static const husk_type f32[] = {HUSK_F32};
    static const husk_type f64[] = {HUSK_F64};
    static const husk_type i32_f32[] = {HUSK_I32, HUSK_F32};
    static const husk_type f64_f64[] = {HUSK_F64, HUSK_F64};
    static const struct {
        const char *name;
        struct husk_functype type;
    } functions[] = {
        {"print", {.params = NULL, .params_count = 0}},
        {"print_i32", {.params = i32, .params_count = 1}},
        {"print_i64", {.params = i64, .params_count = 1}},
        {"print_f32", {.params = f32, .params_count = 1}},
        {"print_f64", {.params = f64, .params_count = 1}},
        {"print_i32_f32", {.params = i32_f32, .params_count = 2}},
        {"print_f64_f64", {.params = f64_f64, .params_count = 2}},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        int status = husk_imports_funcs(imports,
                                        &(struct husk_host_func){.module = "spectest",
                                                                 .name = functions[i].name,
                                                                 .type = &functions[i].type,
                                                                 .fn = ignore_args},
                                        1, err);
        if (status != 0)
            return status;
    }
    return 0;
}

static int add_globals(husk_imports *imports, struct husk_error *err) {
    static const struct {
        const char *name;
        struct husk_value value;
    } globals[] = {
        {"global_i32", {.type = HUSK_I32, .of.i32 = 666}},
        {"global_i64", {.type = HUSK_I64, .of.i64 = 666}},
        {"global_f32", {.type = HUSK_F32, .of.f32 = 666.6f}},
        {"global_f64", {.type = HUSK_F64, .of.f64 = 666.6}},
    };
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        int status = husk_imports_define(
            imports, EXTERN(GLOBAL, "spectest", globals[i].name, .type = globals[i].value.type),
            &globals[i].value, err);
        if (status != 0)
            return status;
    }
    return 0;
}

int spec_imports_new(husk_engine *engine, husk_imports **ret_imports, struct husk_error *err) {
    husk_imports *imports = NULL;
    int status = husk_imports_new(engine, &imports, err);
    if (status == 0)
        status = add_functions(imports, err);
    if (status == 0)
        status = add_globals(imports, err);
    if (status == 0)
        status = husk_imports_define(imports,
                                     EXTERN(TABLE, "spectest", "table", .type = HUSK_FUNCREF,
                                            .min = 10, .has_max = true, .max = 20),
                                     NULL, err);
    if (status == 0)
        status = husk_imports_define(imports,
                                     EXTERN(TABLE, "spectest", "table64", .type = HUSK_FUNCREF,
                                            .min = 10, .has_max = true, .max = 20, .is_64 = true),
                                     NULL, err);
    if (status == 0)
        status = husk_imports_define(
            imports, EXTERN(MEMORY, "spectest", "memory", .min = 1, .has_max = true, .max = 2),
            NULL, err);
    if (status == 0)
        status = husk_imports_define(imports,
                                     EXTERN(MEMORY, "spectest", "shared_memory", .min = 1,
                                            .has_max = true, .max = 2, .is_shared = true),
                                     NULL, err);
    if (status != 0) {
        husk_imports_free(imports);
        return status;
    }
    *ret_imports = imports;
    return 0;
}
