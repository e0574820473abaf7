/*
 * tests/spec/spec_values.c: see spec_values.h. It compares bits, never floats: the suite
 * distinguishes NaNs and zeros.
 */
#include "spec_values.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *spec_word(char **cursor) {
    char *word = *cursor;
    while (*word == ' ')
        word++;
    if (*word == '\0')
        return NULL;
    char *end = word + strcspn(word, " ");
    *cursor = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

static int hex_digit(char c) {
    return isdigit((unsigned char)c) != 0 ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool spec_unhex(char *word, char **ret_text, size_t *ret_bytes) {
    if (word == NULL || (word[0] != 'x' && strcmp(word, "-") != 0))
        return false;
    if (word[0] == '-') {
        *ret_text = NULL;
        *ret_bytes = 0;
        return true;
    }
    size_t count = 0;
    for (const char *digit = word + 1; *digit != '\0'; digit += 2) {
        int high = hex_digit(digit[0]);
        int low = high < 0 ? -1 : hex_digit(digit[1]);
        if (low < 0)
            return false;
        word[count++] = (char)(high << 4 | low);
    }
    word[count] = '\0';
    *ret_text = word;
    *ret_bytes = count;
    return true;
}

bool spec_read_values(char **cursor, struct spec_values *ret_values) {
    const char *count_word = spec_word(cursor);
    size_t count = count_word != NULL ? strtoul(count_word, NULL, 10) : SIZE_MAX;
    if (count > SPEC_VALUES_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        ret_values->words[i] = spec_word(cursor);
        if (ret_values->words[i] == NULL)
            return false;
    }
    ret_values->count = count;
    return true;
}

static bool parse_type(const char *word, husk_type *ret_type, const char **ret_rest) {
    static const struct {
        const char *name;
        husk_type type;
    } types[] = {{"i32:", HUSK_I32}, {"i64:", HUSK_I64},         {"f32:", HUSK_F32},
                 {"f64:", HUSK_F64}, {"funcref:", HUSK_FUNCREF}, {"externref:", HUSK_EXTERNREF}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t length = strlen(types[i].name);
        if (strncmp(word, types[i].name, length) == 0) {
            *ret_type = types[i].type;
            *ret_rest = word + length;
            return true;
        }
    }
    return false;
}

/* The suite's externref 0 is not null, Husk's is: count from 1. */
static uint64_t ref_of(const char *text) {
    return strcmp(text, "null") == 0 ? 0 : strtoull(text, NULL, 10) + 1;
}

bool spec_parse_value(const char *word, struct husk_value *ret_value) {
    husk_type type = HUSK_I32;
    const char *text = NULL;
    if (!parse_type(word, &type, &text))
        return false;
    struct husk_value value = {.type = type};
    if (type == HUSK_EXTERNREF || type == HUSK_FUNCREF) {
        value.of.ref = ref_of(text);
    } else if (strncmp(text, "nan:", 4) == 0) {
        return false;
    } else {
        /* little-endian host: the low bytes are the narrow value */
        uint64_t bits = strtoull(text, NULL, 16);
        memcpy(&value.of, &bits, sizeof bits);
    }
    *ret_value = value;
    return true;
}

static bool nan_matches(const char *pattern, uint64_t bits, bool is_f64) {
    uint64_t quiet = is_f64 ? 0x7ff8000000000000u : 0x7fc00000u;
    uint64_t magnitude = bits & (is_f64 ? 0x7fffffffffffffffu : 0x7fffffffu);
    if (strcmp(pattern, "nan:canonical") == 0)
        return magnitude == quiet;
    return strcmp(pattern, "nan:arithmetic") == 0 && (bits & quiet) == quiet;
}

bool spec_value_matches(const char *word, const struct husk_value *value) {
    husk_type type = HUSK_I32;
    const char *text = NULL;
    if (!parse_type(word, &type, &text) || type != value->type)
        return false;
    if (strcmp(text, "any") == 0)
        return value->of.ref != 0;
    if (type == HUSK_EXTERNREF || type == HUSK_FUNCREF)
        return value->of.ref == ref_of(text);
    bool is_wide = type == HUSK_I64 || type == HUSK_F64;
    uint64_t bits = 0;
    memcpy(&bits, &value->of, is_wide ? 8 : 4);
    if (strncmp(text, "nan:", 4) == 0)
        return nan_matches(text, bits, is_wide);
    uint64_t expected = strtoull(text, NULL, 16);
    return bits == (is_wide ? expected : (uint32_t)expected);
}

void spec_print_value(const struct husk_value *value, char *text, size_t text_bytes) {
    uint64_t bits = 0;
    memcpy(&bits, &value->of, value->type == HUSK_I32 || value->type == HUSK_F32 ? 4 : 8);
    (void)snprintf(text, text_bytes, "%s:%" PRIx64, husk_type_name(value->type), bits);
}

enum husk_trap spec_trap(const char *text) {
    static const struct {
        const char *text;
        enum husk_trap trap;
    } traps[] = {
#define HUSK_TRAP(name, number, message) {message, HUSK_TRAP_##name},
#include "trap.def"
#undef HUSK_TRAP
    };
    /* The suite sometimes says more ("uninitialized element 2"). */
    for (size_t i = 0; i < sizeof traps / sizeof traps[0]; i++)
        if (strncmp(text, traps[i].text, strlen(traps[i].text)) == 0)
            return traps[i].trap;
    return HUSK_TRAP_NONE;
}
