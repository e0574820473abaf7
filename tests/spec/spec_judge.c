/* tests/spec/spec_judge.c: see spec_judge.h. */
#include "spec_judge.h"

#include <string.h>

#include "error.h"
#include "module.h"

/* Accepts the `enabled` features only, and refuses as invalid what is older than the others. */
static int judge(const void *wasm, size_t count, wasm_features_t enabled, wasm_features_t invalid,
                 struct husk_error *err) {
    struct wasm_module *module = NULL;
    int status = wasm_decode(wasm, count, &module, err);
    if (status == 0) {
        status = wasm_validate_features(module, enabled, err);
        if (status == 0 && (module->used.set & invalid) != 0)
            status = error_set(err, HUSK_E_INVALID_WASM, "several memories or tables");
        if (status == 0 && (enabled & WASM_FEATURE_BIT(BRANCH_HINTS)) != 0)
            status = wasm_check_branch_hints(module, err);
        wasm_module_free(module);
    }
    return status;
}

int judge_wasm_2_0(const void *wasm, size_t count, struct husk_error *err) {
    return judge(wasm, count, wasm_features_of_2_0(), 0, err);
}

int judge_wasm(const char *group, const void *wasm, size_t count, struct husk_error *err) {
    const wasm_features_t several = WASM_FEATURE_BIT(MULTI_MEMORY) | WASM_FEATURE_BIT(REFTYPES);
    if (strncmp(group, "wg-2.0/", 7) == 0)
        return judge_wasm_2_0(wasm, count, err);
    bool is_threads = strcmp(group, "proposals/threads") == 0;
    return judge(wasm, count, WASM_FEATURES_ALL, is_threads ? several : 0, err);
}
