/* tests/support/guest_lab.c: see guest_lab.h. */
#include "guest_lab.h"

#include <stdlib.h>
#include <string.h>

#include "guest_image.h"
#include "harness.h"
#include "literals.h"

static int host_doubles(husk_caller *caller, void *user, const struct husk_value *args,
                        struct husk_value *results) {
    (void)caller, (void)user;
    results[0].of.i64 = args[0].of.i64 * 2;
    return 0;
}

void guest_lab_open(struct guest_lab *lab, husk_host_fn fn, void *user,
                    const struct husk_sandbox_options *options) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    memset(lab, 0, sizeof *lab);
    lab->outcome.size = sizeof lab->outcome;
    CHECK_OK(husk_engine_new(NULL, &lab->engine, &lab->err), lab->err);
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    CHECK_OK(husk_image_open_buffer(lab->engine, (struct husk_buffer){bytes, count}, NULL,
                                    &lab->image, &lab->err),
             lab->err);
    free(bytes);
    CHECK_OK(husk_imports_new(lab->engine, &lab->imports, &lab->err), lab->err);
    CHECK_OK(husk_imports_funcs(lab->imports,
                                &(struct husk_host_func){.module = "env",
                                                         .name = "host",
                                                         .type = &type,
                                                         .fn = fn != NULL ? fn : host_doubles,
                                                         .user = user},
                                1, &lab->err),
             lab->err);
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, options, &lab->sandbox, &lab->err),
             lab->err);
}

void guest_lab_close(struct guest_lab *lab) {
    husk_sandbox_free(lab->sandbox);
    husk_imports_free(lab->imports);
    husk_image_unref(lab->image);
    husk_engine_unref(lab->engine);
}

husk_sandbox *guest_lab_sandbox(struct guest_lab *lab) {
    husk_sandbox *sandbox = NULL;
    struct husk_error err;
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, NULL, &sandbox, &err), err);
    return sandbox;
}

int64_t guest_call(husk_sandbox *sandbox, const char *name, int64_t argument,
                   struct husk_outcome *ret_outcome) {
    struct husk_error err;
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = argument},
                      result = {.type = HUSK_I64, .of.i64 = -999};
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       ret_outcome, &err),
             err);
    return result.of.i64;
}

void guest_run(husk_sandbox *sandbox, const char *name, const struct husk_limits *options,
               struct husk_outcome *ret_outcome) {
    struct husk_error err;
    CHECK_OK(husk_call(sandbox, CALL(.name = name, .limits = options), ret_outcome, &err), err);
}
