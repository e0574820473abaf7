/* tests/spec/spec_judge.c: see spec_judge.h. */
#include "spec_judge.h"

#include "module.h"

int judge_wasm_2_0(const void *wasm, size_t count, struct husk_error *err) {
    struct wasm_module *module = NULL;
    int status = wasm_decode(wasm, count, &module, err);
    if (status == 0) {
        status = wasm_validate_features(module, wasm_features_of_2_0(), err);
        wasm_module_free(module);
    }
    return status;
}
