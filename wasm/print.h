/*
 * wasm/print.h: a decoded module as text, for people: a summary, and the functions as one
 * instruction a line with its byte offset. Close to the standard's text format, but linear, and not
 * meant to be parsed again.
 */
#ifndef WASM_PRINT_H
#define WASM_PRINT_H

#include "module.h"

struct wasm_print_options {
    bool with_code;      /* bodies too, not only the summary */
    husk_write_fn write; /* gets UTF-8; control characters of names come escaped */
    void *user;
};

/* The module need not be valid: indices are printed as they are. What `write` returned if not 0;
 * HUSK_E_BAD_WASM for a malformed body, printed up to there. */
int wasm_print(const struct wasm_module *module, const struct wasm_print_options *options,
               struct husk_error *err);

#endif
