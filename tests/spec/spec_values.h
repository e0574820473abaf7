/*
 * tests/spec/spec_values.h: the values of a pack (spec_pack.h): parses arguments, compares results.
 * A value is a word:
 *   i32:HEX            also i64, f32, f64; f32:nan:canonical, f64:nan:arithmetic
 *   v128:LANE:HEX,…    LANE is i8, i16, i32, i64, f32 or f64; lanes of floats may be NaN patterns
 *   TYPE:null          a null reference; TYPE:any: one that is not null; TYPE:N: the host's N
 *   nullTYPE:any       a null reference; refnull:any: of any type
 *   either:WORD|WORD…  one of these (results only)
 */
#ifndef SPEC_VALUES_H
#define SPEC_VALUES_H

#include <stdbool.h>
#include <stddef.h>

#include "husk.h"

#define SPEC_VALUES_MAX 64

/* The next word of a line, cut off in place; NULL at the end. */
char *spec_word(char **cursor);
/* Decode "x0123…" in place; "-" gives NULL. *ret_bytes does not count the NUL that is appended.
 * False for any other word. */
bool spec_unhex(char *word, char **ret_text, size_t *ret_bytes);
/* The next word as a decimal number. False: there is none. */
bool spec_read_number(char **cursor, size_t *ret_number);

/* The VALUES of a line, as words that are not parsed yet. */
struct spec_values {
    char *words[SPEC_VALUES_MAX];
    size_t count;
};
bool spec_read_values(char **cursor, struct spec_values *ret_values);

/* Parse an argument. False if the word is not a value. */
bool spec_parse_value(const char *word, struct husk_value *ret_value);
/* Does the result match the word, including NaN patterns (core spec 2.0, assert_return)? */
bool spec_value_matches(const char *word, const struct husk_value *value);
void spec_print_value(const struct husk_value *value, char *text, size_t text_bytes);

/* The trap for a text of the suite; HUSK_TRAP_NONE if there is none. */
enum husk_trap spec_trap(const char *text);

#endif
