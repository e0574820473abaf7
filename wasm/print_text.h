/*
 * wasm/print_text.h: what print.c is written with: buffered text, names, instructions.
 */
#ifndef WASM_PRINT_TEXT_H
#define WASM_PRINT_TEXT_H

#include "print.h"

struct printer {
    bool with_code;
    husk_write_fn write;
    void *user;
    int status; /* what `write` returned if not 0; nothing is written after that */
    size_t used;
    char buffer[4096];
};

void print_format(struct printer *printer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void print_flush(struct printer *printer);
/* In quotes, escaped as husk_name_escape() does. */
void print_name(struct printer *printer, struct wasm_bytes name);
/* The instruction with its immediates, without offset or newline. */
void print_instr(struct printer *printer, const struct wasm_instr *instr);

#endif
