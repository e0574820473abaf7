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

bool spec_read_number(char **cursor, size_t *ret_number) {
    const char *word = spec_word(cursor);
    if (word == NULL)
        return false;
    *ret_number = strtoul(word, NULL, 10);
    return true;
}

bool spec_read_values(char **cursor, struct spec_values *ret_values) {
    size_t count = 0;
    if (!spec_read_number(cursor, &count) || count > SPEC_VALUES_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        ret_values->words[i] = spec_word(cursor);
        if (ret_values->words[i] == NULL)
            return false;
    }
    ret_values->count = count;
    return true;
}

/* ---- words ---- */

/* Is the word of this type? *ret_rest is what follows the colon. */
static bool is_of_type(const char *word, const char *type, const char **ret_rest) {
    size_t length = strlen(type);
    if (strncmp(word, type, length) != 0 || word[length] != ':')
        return false;
    *ret_rest = word + length + 1;
    return true;
}

static bool number_type(const char *word, husk_type *ret_type, const char **ret_rest) {
    static const husk_type types[] = {HUSK_I32, HUSK_I64, HUSK_F32, HUSK_F64, HUSK_V128};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (is_of_type(word, husk_type_name(types[i]), ret_rest)) {
            *ret_type = types[i];
            return true;
        }
    }
    return false;
}

static const struct lane {
    const char *name;
    unsigned bytes, count;
    bool is_float;
} lanes[] = {
    {"i8", 1, 16, false}, {"i16", 2, 8, false}, {"i32", 4, 4, false},
    {"i64", 8, 2, false}, {"f32", 4, 4, true},  {"f64", 8, 2, true},
};

static const struct lane *find_lane(const char *text, const char **ret_rest) {
    for (size_t i = 0; i < sizeof lanes / sizeof lanes[0]; i++)
        if (is_of_type(text, lanes[i].name, ret_rest))
            return &lanes[i];
    return NULL;
}

/* The suite's externref 0 is not null, Husk's is: count from 1. */
static uint64_t ref_of(const char *text) {
    return strcmp(text, "null") == 0 ? 0 : strtoull(text, NULL, 10) + 1;
}

/* ---- arguments ---- */

static bool parse_v128(const char *text, uint8_t *ret_bytes) {
    const struct lane *lane = find_lane(text, &text);
    for (unsigned i = 0; lane != NULL && i < lane->count; i++) {
        char *end = NULL;
        /* little-endian host: the low bytes are the narrow value */
        uint64_t bits = strtoull(text, &end, 16);
        if (end == text || *end != (i + 1 < lane->count ? ',' : '\0'))
            return false;
        memcpy(ret_bytes + (size_t)i * lane->bytes, &bits, lane->bytes);
        text = end + 1;
    }
    return lane != NULL;
}

bool spec_parse_value(const char *word, struct husk_value *ret_value) {
    const char *text = NULL;
    struct husk_value value = {.type = HUSK_I32};
    if (number_type(word, &value.type, &text)) {
        uint64_t bits = strtoull(text, NULL, 16);
        if (strncmp(text, "nan:", 4) == 0 ||
            (value.type == HUSK_V128 && !parse_v128(text, value.of.v128)))
            return false;
        if (value.type != HUSK_V128)
            memcpy(&value.of, &bits, sizeof bits);
    } else if (is_of_type(word, "externref", &text)) {
        value.type = HUSK_EXTERNREF;
        value.of.ref = ref_of(text);
    } else if (is_of_type(word, "funcref", &text) || is_of_type(word, "exnref", &text)) {
        value.type = word[0] == 'f' ? HUSK_FUNCREF : HUSK_EXNREF; /* the suite has only null */
        value.of.ref = ref_of(text);
    } else {
        return false;
    }
    *ret_value = value;
    return true;
}

/* ---- results ---- */

static bool nan_matches(const char *pattern, uint64_t bits, bool is_f64) {
    uint64_t quiet = is_f64 ? 0x7ff8000000000000u : 0x7fc00000u;
    uint64_t magnitude = bits & (is_f64 ? 0x7fffffffffffffffu : 0x7fffffffu);
    if (strncmp(pattern, "nan:canonical", 13) == 0)
        return magnitude == quiet;
    return strncmp(pattern, "nan:arithmetic", 14) == 0 && (bits & quiet) == quiet;
}

/* One number, up to a comma or the end. */
static bool bits_match(const char *text, uint64_t bits, unsigned bytes) {
    if (strncmp(text, "nan:", 4) == 0)
        return nan_matches(text, bits, bytes == 8);
    uint64_t expected = strtoull(text, NULL, 16);
    return memcmp(&expected, &bits, bytes) == 0;
}

static bool v128_matches(const char *text, const uint8_t *bytes) {
    const struct lane *lane = find_lane(text, &text);
    for (unsigned i = 0; lane != NULL && i < lane->count; i++) {
        uint64_t bits = 0;
        memcpy(&bits, bytes + (size_t)i * lane->bytes, lane->bytes);
        if (*text == '\0' || !bits_match(text, bits, lane->bytes))
            return false;
        text += strcspn(text, ",");
        text += *text == ',' ? 1 : 0;
    }
    return lane != NULL;
}

static bool is_ref(husk_type type) {
    return type != HUSK_I32 && type != HUSK_I64 && type != HUSK_F32 && type != HUSK_F64 &&
           type != HUSK_V128;
}

/* The type of the word may be a subtype of the result's: "nullref:any" matches an anyref. Types of
 * functions, of host values and of exceptions have no common subtypes with others. */
static bool ref_matches(const char *word, const struct husk_value *value) {
    const char *text = strchr(word, ':');
    bool is_func = strstr(word, "func") != NULL;
    bool is_extern = strstr(word, "extern") != NULL;
    bool is_exn = strstr(word, "exn") != NULL;
    if (text == NULL || !is_ref(value->type) || (value->type != HUSK_FUNCREF && is_func) ||
        (value->type != HUSK_EXNREF && is_exn) || (value->type != HUSK_EXTERNREF && is_extern))
        return false;
    text++;
    if (strcmp(text, "any") != 0)
        return value->of.ref == ref_of(text);
    bool is_null = strncmp(word, "null", 4) == 0 || strncmp(word, "refnull", 7) == 0;
    return (value->of.ref == 0) == is_null;
}

static bool word_matches(const char *word, const struct husk_value *value) {
    husk_type type = HUSK_I32;
    const char *text = NULL;
    if (!number_type(word, &type, &text))
        return ref_matches(word, value);
    if (type != value->type)
        return false;
    if (type == HUSK_V128)
        return v128_matches(text, value->of.v128);
    unsigned bytes = type == HUSK_I64 || type == HUSK_F64 ? 8 : 4;
    uint64_t bits = 0;
    memcpy(&bits, &value->of, bytes);
    return bits_match(text, bits, bytes);
}

bool spec_value_matches(const char *word, const struct husk_value *value) {
    const char *choices = NULL;
    if (!is_of_type(word, "either", &choices))
        return word_matches(word, value);
    while (*choices != '\0') {
        char choice[1024];
        size_t length = strcspn(choices, "|");
        (void)snprintf(choice, sizeof choice, "%.*s", (int)length, choices);
        if (word_matches(choice, value))
            return true;
        choices += length + (choices[length] == '|' ? 1 : 0);
    }
    return false;
}

void spec_print_value(const struct husk_value *value, char *text, size_t text_bytes) {
    uint64_t bits[2] = {0};
    bool is_narrow = value->type == HUSK_I32 || value->type == HUSK_F32;
    memcpy(bits, &value->of, is_narrow ? 4 : value->type == HUSK_V128 ? 16 : 8);
    if (value->type == HUSK_V128)
        (void)snprintf(text, text_bytes, "v128:i64:%" PRIx64 ",%" PRIx64, bits[0], bits[1]);
    else
        (void)snprintf(text, text_bytes, "%s:%" PRIx64, husk_type_name(value->type), bits[0]);
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
    /* bulk64 says less, of memories. */
    return strcmp(text, "out of bounds") == 0 ? HUSK_TRAP_MEMORY_OUT_OF_BOUNDS : HUSK_TRAP_NONE;
}
