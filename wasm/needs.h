/*
 * wasm/needs.h: all that a module uses and Husk does not support, for the message of a module that
 * is refused for one of it.
 */
#ifndef WASM_NEEDS_H
#define WASM_NEEDS_H

#include "module.h"

/* `status`, of an error that was set; if it is HUSK_E_UNSUPPORTED, its message is extended by
 * everything that the module uses and that is not supported, SIMD included, and how to build
 * without it. Reads what can be read; never fails. */
int wasm_error_needs(struct wasm_bytes wasm, int status, struct husk_error *err);

#endif
