/* tests/support/wat_text.h: wasm text that a suite makes from templates. */
#ifndef TESTS_SUPPORT_WAT_TEXT_H
#define TESTS_SUPPORT_WAT_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct wat_text {
    char *at;
    size_t used, size;
};

/* Ends the test if out of memory; wat_text_finish() frees it. */
struct wat_text wat_text_new(void);
void wat_text_put(struct wat_text *text, const char *part, size_t count);
__attribute__((format(printf, 2, 3))) void wat_text_format(struct wat_text *text,
                                                           const char *format, ...);
/* Capital letters behind a $ are holes, which put_hole() fills; small ones are names of wasm's. */
void wat_text_template(struct wat_text *text, const char *template,
                       void (*put_hole)(struct wat_text *, char letter, const void *kind),
                       const void *kind);
/* The module, malloc()ed. */
uint8_t *wat_text_finish(struct wat_text *text, size_t *ret_count);

#endif
