/* tests/support/levels.c: see levels.h. */
#include "levels.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "file.h"
#include "husk_compile.h"
#include "literals.h"

const struct level levels[LEVELS_COUNT] = {
    {"-O0", 0, false, true},         {"-O1", 1, false, false},
    {"-O2", 2, false, false},        {"-O3", 3, false, false},
    {"-O0 --strict", 0, true, true}, {"-O1 --strict", 1, true, true},
    {"-O2 --strict", 2, true, true}, {"-O3 --strict", 3, true, true},
};

uint8_t *level_wasm(const char *name, size_t *ret_count) {
    char path[512];
    uint8_t *text = NULL;
    size_t count = 0;
    struct husk_error err;
    snprintf(path, sizeof path, "%s/tests/kvm/code/wat/%s.wat", HUSK_TEST_SOURCE_DIR, name);
    CHECK_OK(file_read(path, 1u << 20, &text, &count, &err), err);
    char *terminated = realloc(text, count + 1);
    CHECK(terminated != NULL);
    terminated[count] = 0;
    uint8_t *wasm = wat_to_wasm(terminated, ret_count);
    free(terminated);
    return wasm;
}

void level_open(struct wat_lab *lab, const struct level *level, const uint8_t *wasm, size_t count) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    int fd = -1;
    options.opt_level = level->opt_level == 0 ? HUSK_OPT_NONE : level->opt_level;
    options.strict = level->is_strict;
    options.worker_path = WAT_WORKER;
    CHECK_OK(husk_compile(wasm, count, &options, &fd, &lab->err), lab->err);
    CHECK_OK(husk_image_open_fd(lab->engine, fd, NULL, &lab->image, &lab->err), lab->err);
    close(fd);
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, NULL, &lab->sandbox, &lab->err), lab->err);
}

void level_close(struct wat_lab *lab) {
    husk_sandbox_free(lab->sandbox);
    husk_image_unref(lab->image);
    lab->sandbox = NULL;
    lab->image = NULL;
}

void level_lab_open(struct wat_lab *lab, const struct level *level, const char *wat) {
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    wat_lab_init(lab);
    level_open(lab, level, wasm, count);
    free(wasm);
}

int64_t level_call(struct wat_lab *lab, const char *name, const int32_t *args) {
    struct husk_functype type;
    struct husk_value values[4], result = value_i64(0);
    husk_func func;
    CHECK_OK(husk_image_func(lab->image, name, 0, &func, &lab->err), lab->err);
    CHECK_OK(husk_image_func_type(lab->image, func, &type, &lab->err), lab->err);
    CHECK(type.params_count <= 4 && type.results_count <= 1);
    for (size_t i = 0; i < type.params_count; i++)
        values[i] = value_i32(args[i]);
    CHECK_OK(husk_call(lab->sandbox,
                       CALL(.func = func, .args = values, .args_count = type.params_count,
                            .results = &result, .results_count = type.results_count),
                       &lab->outcome, &lab->err),
             lab->err);
    if (lab->outcome.kind != HUSK_RETURNED || type.results_count == 0)
        return 0;
    return result.type == HUSK_I64 ? result.of.i64 : result.of.i32;
}

void level_restore(struct wat_lab *lab) {
    CHECK_OK(husk_sandbox_restore(lab->sandbox, lab->image, &lab->err), lab->err);
}
