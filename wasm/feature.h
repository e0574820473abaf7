/*
 * wasm/feature.h: the features of wasm/feature.def, as sets, and the record of those that a module
 * uses. The decoder and the validator fill the record; needs.c makes messages from it.
 */
#ifndef WASM_FEATURE_H
#define WASM_FEATURE_H

#include <stddef.h>
#include <stdint.h>

#include "husk.h"

/* WASM_FEATURE_MVP, WebAssembly 1.0, comes last. It is in every set, and has no row. */
enum wasm_feature {
#define FEATURE(name, text, option, in_2_0, is_lowered, without) WASM_FEATURE_##name,
#include "feature.def"
#undef FEATURE
    WASM_FEATURE_MVP,
    WASM_FEATURE_COUNT = WASM_FEATURE_MVP
};

/* A set: bit 1 << enum wasm_feature. The numbers may differ between versions of Husk. */
typedef uint32_t wasm_features_t;
_Static_assert(WASM_FEATURE_MVP < 32, "a set has a bit for each feature");
#define WASM_FEATURE_BIT(name) (UINT32_C(1) << WASM_FEATURE_##name)
#define WASM_FEATURES_ALL UINT32_MAX

static inline wasm_features_t wasm_features_of_2_0(void) {
    return WASM_FEATURE_BIT(MVP)
#define FEATURE(name, text, option, in_2_0, is_lowered, without)                                   \
    | ((in_2_0) != 0 ? WASM_FEATURE_BIT(name) : 0u)
#include "feature.def"
#undef FEATURE
        ;
}

/* Those that the compiler supports. */
static inline wasm_features_t wasm_features_lowered(void) {
    return WASM_FEATURE_BIT(MVP)
#define FEATURE(name, text, option, in_2_0, is_lowered, without)                                   \
    | ((is_lowered) != 0 ? WASM_FEATURE_BIT(name) : 0u)
#include "feature.def"
#undef FEATURE
        ;
}

struct wasm_feature_row {
    const char *text, *option;
    const char *without; /* may be NULL */
};
extern const struct wasm_feature_row wasm_feature_rows[WASM_FEATURE_COUNT];

/* A list of options of feature.def, with commas between them: "simd,threads". NULL or "": none.
 * HUSK_E_INVAL names the one that does not exist. */
int wasm_features_parse(const char *list, wasm_features_t *ret_set, struct husk_error *err);
/* Writes the options of a set, with spaces between them, and a 0. `text` is cut to fit. */
void wasm_features_print(wasm_features_t set, char *text, size_t text_bytes);

/* The features that a module uses, and where each is used first. */
struct wasm_features_used {
    wasm_features_t set;
    struct {
        uint64_t offset;  /* in the module */
        const char *what; /* "v128", the text of an instruction, …; not owned */
    } first[WASM_FEATURE_COUNT];
};

/* Records a use. `used` may be NULL. `what` must outlive the record. */
static inline void wasm_use(struct wasm_features_used *used, enum wasm_feature feature,
                            uint64_t offset, const char *what) {
    if (used == NULL || (used->set >> feature & 1) != 0)
        return;
    used->set |= UINT32_C(1) << feature;
    if (feature < WASM_FEATURE_COUNT) {
        used->first[feature].offset = offset;
        used->first[feature].what = what;
    }
}

#endif
