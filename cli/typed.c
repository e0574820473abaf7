/*
 * cli/typed.c: typed values as text. Integers: decimal or 0x…, read as signed or unsigned. Floats:
 * the forms of strtod(), `inf`, `nan`, and `nan:0x…` with the payload, as in the text format of
 * wasm. References: `null`, and for externref a number. Vectors: 0x… of up to 32 digits, as they
 * are printed, with lane 0 in the lowest ones; or a shape and its lanes, `i32x4:1,2,3,4`.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define F32_PAYLOAD 0x7fffffu
#define F64_PAYLOAD 0xfffffffffffffull
#define F32_CANONICAL 0x400000u
#define F64_CANONICAL 0x8000000000000ull

/* A number of `bits` bits: -2^(bits-1) … 2^bits - 1. */
static bool parse_int(const char *text, unsigned bits, uint64_t *ret_value) {
    bool is_negative = text[0] == '-';
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    int base = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10;
    uint64_t max = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    char *end = NULL;
    if (digits[0] < '0' || digits[0] > '9')
        return false;
    errno = 0;
    uint64_t magnitude = strtoull(digits, &end, base);
    if (errno != 0 || *end != '\0' || (base == 16 && end == digits + 1))
        return false;
    if (is_negative ? magnitude > UINT64_C(1) << (bits - 1) : magnitude > max)
        return false;
    *ret_value = is_negative ? 0 - magnitude : magnitude;
    return true;
}

/* `nan` or `nan:0x…` after the sign; payload 0 if it is not a NaN. */
static bool parse_nan(const char *text, uint64_t canonical, uint64_t max, uint64_t *ret_payload) {
    char *end = NULL;
    if (strncmp(text, "nan", 3) != 0)
        return false;
    *ret_payload = canonical;
    if (text[3] == '\0')
        return true;
    if (strncmp(text + 3, ":0x", 3) != 0 || text[6] == '\0')
        return false;
    errno = 0;
    *ret_payload = strtoull(text + 4, &end, 16);
    return errno == 0 && *end == '\0' && *ret_payload >= 1 && *ret_payload <= max;
}

static bool parse_float(const char *text, struct husk_value *value) {
    bool is_f32 = value->type == HUSK_F32, is_negative = text[0] == '-';
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    uint64_t payload = 0;
    char *end = NULL;
    if (parse_nan(digits, is_f32 ? F32_CANONICAL : F64_CANONICAL,
                  is_f32 ? F32_PAYLOAD : F64_PAYLOAD, &payload)) {
        uint32_t bits32 = 0x7f800000u | (uint32_t)payload | (is_negative ? 0x80000000u : 0);
        uint64_t bits64 = 0x7ff0000000000000u | payload | (is_negative ? UINT64_C(1) << 63 : 0);
        if (is_f32)
            memcpy(&value->of.f32, &bits32, 4);
        else
            memcpy(&value->of.f64, &bits64, 8);
        return true;
    }
    if (digits[0] == '\0' || digits[0] == 'n' || digits[0] == 'N' || digits[0] == '-' ||
        digits[0] == '+' || digits[0] == ' ')
        return false;
    if (is_f32)
        value->of.f32 = strtof(text, &end); /* rounded once, unlike (float)strtod() */
    else
        value->of.f64 = strtod(text, &end);
    return *end == '\0';
}

static bool parse_ref(const char *text, struct husk_value *value) {
    if (strcmp(text, "null") == 0)
        return true;
    return value->type == HUSK_EXTERNREF && parse_int(text, 64, &value->of.ref);
}

/* 0x…, the highest byte first. */
static bool parse_v128_bits(const char *digits, struct husk_value *value) {
    size_t count = strlen(digits);
    if (count == 0 || count > 32 || strspn(digits, "0123456789abcdefABCDEF") != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        char digit[2] = {digits[count - 1 - i], '\0'};
        value->of.v128[i / 2] |= (uint8_t)(strtoul(digit, NULL, 16) << 4 * (i % 2));
    }
    return true;
}

/* The forms of lanes, as in the text format. */
static const struct shape {
    const char *name;
    husk_type type; /* of a lane; narrow ones are read as i32 */
    unsigned bits;
} shapes[] = {{"i8x16:", HUSK_I32, 8},  {"i16x8:", HUSK_I32, 16}, {"i32x4:", HUSK_I32, 32},
              {"i64x2:", HUSK_I64, 64}, {"f32x4:", HUSK_F32, 32}, {"f64x2:", HUSK_F64, 64}};

static bool parse_lane(const char *text, const struct shape *shape, uint8_t *out) {
    struct husk_value lane = {.type = shape->type};
    uint64_t bits = 0;
    if (shape->type == HUSK_F32 || shape->type == HUSK_F64) {
        if (!parse_float(text, &lane))
            return false;
        memcpy(&bits, &lane.of, shape->bits / 8);
    } else if (!parse_int(text, shape->bits, &bits)) {
        return false;
    }
    memcpy(out, &bits, shape->bits / 8); /* x86 is little-endian */
    return true;
}

static bool parse_lanes(const char *text, const struct shape *shape, struct husk_value *value) {
    char lane[64];
    for (unsigned at = 0; at < 16; at += shape->bits / 8) {
        size_t length = strcspn(text, ",");
        bool is_last = at + shape->bits / 8 == 16;
        if (length >= sizeof lane || (text[length] == '\0') != is_last)
            return false;
        memcpy(lane, text, length);
        lane[length] = '\0';
        if (!parse_lane(lane, shape, value->of.v128 + at))
            return false;
        text += length + 1;
    }
    return true;
}

static bool parse_v128(const char *text, struct husk_value *value) {
    if (strncmp(text, "0x", 2) == 0)
        return parse_v128_bits(text + 2, value);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (strncmp(text, shapes[i].name, strlen(shapes[i].name)) == 0)
            return parse_lanes(text + strlen(shapes[i].name), &shapes[i], value);
    return false;
}

bool parse_value(const char *text, husk_type type, struct husk_value *ret_value) {
    struct husk_value value;
    uint64_t bits = 0;
    bool is_good = false;
    memset(&value, 0, sizeof value);
    value.type = type;
    switch (type) {
    case HUSK_I32:
        is_good = parse_int(text, 32, &bits);
        value.of.i32 = (int32_t)(uint32_t)bits;
        break;
    case HUSK_I64:
        is_good = parse_int(text, 64, &bits);
        value.of.i64 = (int64_t)bits;
        break;
    case HUSK_F32:
    case HUSK_F64: is_good = parse_float(text, &value); break;
    case HUSK_FUNCREF:
    case HUSK_EXNREF:
    case HUSK_EXTERNREF: is_good = parse_ref(text, &value); break;
    case HUSK_V128: is_good = parse_v128(text, &value); break;
    }
    if (is_good)
        *ret_value = value;
    return is_good;
}

/* The shortest decimal that reads back as the same number. */
static void format_float(const struct husk_value *value, char *out, size_t out_bytes) {
    bool is_f32 = value->type == HUSK_F32;
    double number = is_f32 ? (double)value->of.f32 : value->of.f64;
    if (isnan(number)) {
        uint32_t bits32;
        uint64_t bits64;
        memcpy(&bits32, &value->of.f32, 4);
        memcpy(&bits64, &value->of.f64, 8);
        uint64_t payload = is_f32 ? bits32 & F32_PAYLOAD : bits64 & F64_PAYLOAD;
        const char *sign = (is_f32 ? bits32 >> 31 : bits64 >> 63) != 0 ? "-" : "";
        if (payload == (is_f32 ? F32_CANONICAL : F64_CANONICAL))
            snprintf(out, out_bytes, "%snan", sign);
        else
            snprintf(out, out_bytes, "%snan:0x%" PRIx64, sign, payload);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, out_bytes, "%.*g", digits, number);
        if (is_f32 ? strtof(out, NULL) == value->of.f32 : strtod(out, NULL) == number)
            return;
    }
}

static void format_value(const struct husk_value *value, char *out, size_t out_bytes) {
    size_t at = 2;
    switch (value->type) {
    case HUSK_I32: snprintf(out, out_bytes, "%" PRId32, value->of.i32); return;
    case HUSK_I64: snprintf(out, out_bytes, "%" PRId64, value->of.i64); return;
    case HUSK_F32:
    case HUSK_F64: format_float(value, out, out_bytes); return;
    case HUSK_V128:
        snprintf(out, out_bytes, "0x");
        for (int i = 15; i >= 0; i--, at += 2)
            snprintf(out + at, out_bytes - at, "%02x", value->of.v128[i]);
        return;
    case HUSK_FUNCREF:
    case HUSK_EXTERNREF:
    case HUSK_EXNREF:
        if (value->of.ref == 0)
            snprintf(out, out_bytes, "null");
        else
            snprintf(out, out_bytes, "0x%" PRIx64, value->of.ref);
        return;
    }
    snprintf(out, out_bytes, "?");
}

void print_value(FILE *out, const struct husk_value *value) {
    char text[64];
    format_value(value, text, sizeof text);
    fprintf(out, "%s:%s", text, husk_type_name(value->type));
}

/* Numbers that JSON readers keep exactly are numbers; i64, NaN, infinities, vectors and references
 * are strings. */
void print_value_json(FILE *out, const struct husk_value *value) {
    char text[64];
    format_value(value, text, sizeof text);
    bool is_float = value->type == HUSK_F32 || value->type == HUSK_F64;
    bool is_number = value->type == HUSK_I32 || (is_float && strpbrk(text, "in") == NULL);
    fprintf(out, "{\"type\":\"%s\",\"value\":%s%s%s}", husk_type_name(value->type),
            is_number ? "" : "\"", text, is_number ? "" : "\"");
}

static void print_types(FILE *out, const husk_type *types, size_t count) {
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%s", i != 0 ? ", " : "", husk_type_name(types[i]));
}

void print_params(FILE *out, const struct husk_functype *type) {
    fputs("(", out);
    print_types(out, type->params, type->params_count);
    fputs(")", out);
}

void print_functype(FILE *out, const struct husk_functype *type) {
    print_params(out, type);
    fputs(" -> ", out);
    if (type->results_count != 1)
        fputs("(", out);
    print_types(out, type->results, type->results_count);
    if (type->results_count != 1)
        fputs(")", out);
}
