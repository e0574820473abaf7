/*
 * wasm/needs.h: finds everything that a module uses and Husk does not support, for the message that
 * refuses the module.
 */
#ifndef WASM_NEEDS_H
#define WASM_NEEDS_H

#include "module.h"

/* Returns `status`, the status of an error that is set. If it is HUSK_E_UNSUPPORTED, everything
 * unsupported that the module uses, including SIMD, is added to the message, and how to build
 * without it. It reads as much of the module as it can, and never fails. */
int wasm_error_needs(struct wasm_bytes wasm, int status, struct husk_error *err);

/* HUSK_E_UNSUPPORTED if the validated module uses a feature that is not in `enabled`, or that the
 * compiler does not support. The message names the first use in the module, all such features, and
 * how to build without them. */
int wasm_check_supported(const struct wasm_module *module, wasm_features_t enabled,
                         struct husk_error *err);

#endif
