/*
 * wasm/needs.c: see needs.h.
 */
#include "needs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "read.h"

static bool has(wasm_features_t set, unsigned feature) {
    return (set >> feature & 1) != 0;
}

__attribute__((format(printf, 2, 3))) static void append(struct husk_error *err, const char *format,
                                                         ...) {
    size_t used = strlen(err->message);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message + used, sizeof err->message - used, format, args);
    va_end(args);
}

/* "; the module needs A, B and C: build it without (x; y)". */
static void append_needs(struct husk_error *err, wasm_features_t set) {
    const char *separator = "; the module needs ";
    for (unsigned i = 0; i < WASM_FEATURE_COUNT; i++) {
        if (has(set, i)) {
            append(err, "%s%s", separator, wasm_feature_rows[i].text);
            wasm_features_t rest = set >> i >> 1;
            separator = (rest & (rest - 1)) != 0 ? ", " : " and ";
        }
    }
    separator = ": build it without (";
    const char *last = "";
    for (unsigned i = 0; i < WASM_FEATURE_COUNT; i++) {
        const char *without = wasm_feature_rows[i].without;
        if (has(set, i) && without != NULL && strcmp(without, last) != 0) {
            append(err, "%s%s", separator, without);
            separator = "; ";
            last = without;
        }
    }
    append(err, "%s", separator[0] == ';' ? ")" : "");
}

int wasm_check_supported(const struct wasm_module *module, wasm_features_t enabled,
                         struct husk_error *err) {
    const wasm_features_t lowered = wasm_features_lowered();
    const wasm_features_t missing =
        module->used.set & ~(enabled & lowered) & (WASM_FEATURE_BIT(MVP) - 1);
    unsigned first = WASM_FEATURE_COUNT;
    for (unsigned i = 0; i < WASM_FEATURE_COUNT; i++)
        if (has(missing, i) && (first == WASM_FEATURE_COUNT ||
                                module->used.first[i].offset < module->used.first[first].offset))
            first = i;
    if (first == WASM_FEATURE_COUNT)
        return 0;
    (void)wasm_error(err, HUSK_E_UNSUPPORTED, module->used.first[first].offset, "uses %s (%s), %s",
                     wasm_feature_rows[first].text, module->used.first[first].what,
                     has(lowered, first) ? "which is disabled" : "not supported yet");
    if (err != NULL)
        append_needs(err, missing);
    return HUSK_E_UNSUPPORTED;
}

int wasm_read_supported(const void *wasm, size_t count, wasm_features_t enabled,
                        struct wasm_module **ret_module, struct husk_error *err) {
    int status = wasm_decode(wasm, count, ret_module, err);
    if (status == 0)
        status = wasm_validate(*ret_module, err);
    return status == 0 ? wasm_check_supported(*ret_module, enabled, err) : status;
}
