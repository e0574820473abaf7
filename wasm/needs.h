/*
 * wasm/needs.h: refuses a valid module that uses something that Husk does not support, or that is
 * disabled.
 */
#ifndef WASM_NEEDS_H
#define WASM_NEEDS_H

#include "module.h"

/* HUSK_E_UNSUPPORTED if the validated module uses a feature that is not in `enabled`, or that the
 * compiler does not support. The message names the first use in the module, all such features, and
 * how to build without them. */
int wasm_check_supported(const struct wasm_module *module, wasm_features_t enabled,
                         struct husk_error *err);

/* Decode and validate a module, and check that it uses only what wasm_check_supported() allows. The
 * caller frees what was decoded, on failure, too. Errors of wasm_decode(), wasm_validate() and
 * wasm_check_supported(). */
int wasm_read_supported(const void *wasm, size_t count, wasm_features_t enabled,
                        struct wasm_module **ret_module, struct husk_error *err);

#endif
