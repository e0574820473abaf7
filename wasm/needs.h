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

#endif
