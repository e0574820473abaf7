/* tests/support/wat_text.c: see wat_text.h. */
#include "wat_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "wat.h"

#define TEXT_BYTES_MAX (4u << 20)

struct wat_text wat_text_new(void) {
    struct wat_text text = {.at = malloc(TEXT_BYTES_MAX), .size = TEXT_BYTES_MAX};
    CHECK(text.at != NULL);
    return text;
}

void wat_text_put(struct wat_text *text, const char *part, size_t count) {
    CHECK(count < text->size - text->used);
    memcpy(text->at + text->used, part, count);
    text->used += count;
    text->at[text->used] = 0;
}

void wat_text_format(struct wat_text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    text->used += (size_t)vsnprintf(text->at + text->used, text->size - text->used, format, list);
    va_end(list);
    CHECK(text->used < text->size);
}

void wat_text_template(struct wat_text *text, const char *template,
                       void (*put_hole)(struct wat_text *, char letter, const void *kind),
                       const void *kind) {
    for (const char *at = template; *at != '\0'; at++)
        if (at[0] == '$' && at[1] >= 'A' && at[1] <= 'Z')
            put_hole(text, *++at, kind);
        else
            wat_text_put(text, at, 1);
}

uint8_t *wat_text_finish(struct wat_text *text, size_t *ret_count) {
    uint8_t *wasm = wat_to_wasm(text->at, ret_count);
    free(text->at);
    return wasm;
}
