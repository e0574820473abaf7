/*
 * tests/spec/spec_values.h: the values of a pack (spec_pack.h): parsing arguments, comparing
 * results.
 */
#ifndef SPEC_VALUES_H
#define SPEC_VALUES_H

#include <stdbool.h>
#include <stddef.h>

#include "husk.h"

#define SPEC_VALUES_MAX 64

/* The next word of a line, cut off in place; NULL at the end. */
char *spec_word(char **cursor);
/* Decodes "x0123…" in place; "-" gives NULL. *ret_bytes: without the NUL that is put behind. False
 * if it is neither. */
bool spec_unhex(char *word, char **ret_text, size_t *ret_bytes);

/* VALUES of a line: the words, not yet parsed. */
struct spec_values {
    char *words[SPEC_VALUES_MAX];
    size_t count;
};
bool spec_read_values(char **cursor, struct spec_values *ret_values);

/* An argument. False if the word is not a value. */
bool spec_parse_value(const char *word, struct husk_value *ret_value);
/* Does the result match what the word asks for (NaN patterns included; core spec 2.0,
 * assert_return)? */
bool spec_value_matches(const char *word, const struct husk_value *value);
void spec_print_value(const struct husk_value *value, char *text, size_t text_bytes);

/* The trap that a text of the suite means; HUSK_TRAP_NONE if none. */
enum husk_trap spec_trap(const char *text);

#endif
