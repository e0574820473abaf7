/* tests/spec/spec_judge.c: see spec_judge.h. */
#include "spec_judge.h"

#include "module.h"

int judge_wasm_2_0(const void *wasm, size_t count, struct husk_error *err) {
    static const struct wasm_features strict = {.multi_memory = false, .extended_const = false};
    struct wasm_module *module = NULL;
    int status = wasm_decode(wasm, count, &module, err);
    if (status == 0) {
        status = wasm_validate_features(module, &strict, err);
        wasm_module_free(module);
    }
    return status;
}
