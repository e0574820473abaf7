/* wasm/print_text.h: helpers of print.c: buffered text, names, instructions. */
#ifndef WASM_PRINT_TEXT_H
#define WASM_PRINT_TEXT_H

#include "print.h"

struct printer {
    bool with_code;
    husk_write_fn write;
    void *user;
    int status; /* 0, or what `write` returned; if it is not 0, nothing more is written */
    size_t used;
    char buffer[4096];
};

void print_format(struct printer *printer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void print_flush(struct printer *printer);
/* Print a name in quotes, escaped by husk_name_escape(). */
void print_name(struct printer *printer, struct wasm_bytes name);
/* Print an instruction with its immediates, without offset or newline. */
void print_instr(struct printer *printer, const struct wasm_instr *instr);

#endif
