/*
 * wasm/print.h: prints a decoded module as text for people: a summary, and the functions with one
 * instruction per line and its byte offset. The text is close to the standard's text format, but
 * linear. It is not meant to be parsed again.
 */
#ifndef WASM_PRINT_H
#define WASM_PRINT_H

#include "module.h"

struct wasm_print_options {
    bool with_code;      /* print the bodies, too, not only the summary */
    husk_write_fn write; /* gets UTF-8, with names escaped */
    void *user;
};

/* Print a module, which need not be valid: indices are printed as they are. If `write` returns a
 * value other than 0, printing stops and returns that value. HUSK_E_BAD_WASM: a body is malformed;
 * the text ends there. */
int wasm_print(const struct wasm_module *module, const struct wasm_print_options *options,
               struct husk_error *err);

#endif
