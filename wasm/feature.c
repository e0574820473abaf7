/*
 * wasm/feature.c: the names of the features, from feature.def.
 */
#include "feature.h"

const struct wasm_feature_row wasm_feature_rows[WASM_FEATURE_COUNT] = {
#define FEATURE(name, text, option, in_2_0, is_lowered, without)                                   \
    [WASM_FEATURE_##name] = {text, option, without},
#include "feature.def"
#undef FEATURE
};
