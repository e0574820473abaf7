/*
 * wasm/feature.c: the names of the features, from feature.def, and sets of them as text.
 */
#include "feature.h"

#include <stdio.h>
#include <string.h>

#include "error.h"

const struct wasm_feature_row wasm_feature_rows[WASM_FEATURE_COUNT] = {
#define FEATURE(name, text, option, in_2_0, is_lowered, without)                                   \
    [WASM_FEATURE_##name] = {text, option, without},
#include "feature.def"
#undef FEATURE
};

static bool find_option(const char *name, size_t bytes, wasm_features_t *ret_bit) {
    for (unsigned i = 0; i < WASM_FEATURE_COUNT; i++) {
        const char *option = wasm_feature_rows[i].option;
        if (strlen(option) == bytes && memcmp(option, name, bytes) == 0) {
            *ret_bit = UINT32_C(1) << i;
            return true;
        }
    }
    return false;
}

int wasm_features_parse(const char *list, wasm_features_t *ret_set, struct husk_error *err) {
    wasm_features_t set = 0;
    const char *at = list != NULL ? list : "";
    while (*at != '\0') {
        size_t bytes = strcspn(at, ",");
        wasm_features_t bit = 0;
        if (!find_option(at, bytes, &bit)) {
            char all[512];
            wasm_features_print(WASM_FEATURES_ALL, all, sizeof all);
            return error_set(err, HUSK_E_INVAL, "there is no feature \"%.*s\"; there are %s",
                             bytes < 40 ? (int)bytes : 40, at, all);
        }
        set |= bit;
        at += bytes;
        at += *at == ',' ? 1 : 0;
    }
    *ret_set = set;
    return 0;
}

void wasm_features_print(wasm_features_t set, char *text, size_t text_bytes) {
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < WASM_FEATURE_COUNT && used < text_bytes; i++)
        if ((set >> i & 1) != 0)
            used += (size_t)snprintf(text + used, text_bytes - used, "%s%s", used != 0 ? " " : "",
                                     wasm_feature_rows[i].option);
}
