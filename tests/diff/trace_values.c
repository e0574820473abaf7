/* trace_values.c: see trace_values.h. */
#include "trace_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    husk_type type;
} type_names[] = {{"i32", HUSK_I32},
                  {"i64", HUSK_I64},
                  {"f32", HUSK_F32},
                  {"f64", HUSK_F64},
                  {"v128", HUSK_V128},
                  {"funcref", HUSK_FUNCREF},
                  {"externref", HUSK_EXTERNREF}};

husk_type value_type(const char *name, size_t bytes) {
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++)
        if (strlen(type_names[i].name) == bytes && memcmp(type_names[i].name, name, bytes) == 0)
            return type_names[i].type;
    return HUSK_I32;
}

struct husk_value value_parse(const char *text, husk_type expected) {
    struct husk_value value = {.type = expected};
    const char *colon = strchr(text, ':');
    if (colon == NULL)
        return value;
    value.type = value_type(text, (size_t)(colon - text));
    uint64_t bits = strtoull(colon + 1, NULL, 16);
    memcpy(&value.of, &bits, sizeof bits); /* little-endian: the low bytes are the 32-bit value */
    return value;
}

void value_print(FILE *out, const struct husk_value *value) {
    const char *name = husk_type_name(value->type);
    uint32_t low;
    uint64_t whole;
    memcpy(&low, &value->of, sizeof low);
    memcpy(&whole, &value->of, sizeof whole);
    if ((value->type == HUSK_F32 && isnan(value->of.f32)) ||
        (value->type == HUSK_F64 && isnan(value->of.f64)))
        fprintf(out, " %s:nan", name);
    else if (value->type == HUSK_I32 || value->type == HUSK_F32)
        fprintf(out, " %s:0x%x", name, low);
    else if (value->type == HUSK_I64 || value->type == HUSK_F64)
        fprintf(out, " %s:0x%llx", name, (unsigned long long)whole);
    else if (value->of.ref == 0)
        fprintf(out, " %s:null", name);
    else if (value->type == HUSK_FUNCREF)
        fprintf(out, " funcref:set");
    else
        fprintf(out, " %s:0x%llx", name, (unsigned long long)whole);
}

static uint32_t mix(uint32_t x) {
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

struct husk_value value_of_stub(husk_type type, uint32_t seed, uint32_t n) {
    struct husk_value value = {.type = type};
    uint32_t r = mix(seed ^ (n + 1) * 0x9e3779b1u);
    uint32_t kind = seed == 0 ? 0 : r & 3;
    bool is_wide = kind == 3;
    uint32_t v = is_wide ? mix(r + 1) : kind == 2 ? (r >> 2 & 15) : 0;
    switch (type) {
    case HUSK_I32: value.of.i32 = (int32_t)v; break;
    case HUSK_I64: value.of.i64 = (int64_t)((uint64_t)(is_wide ? mix(v) : 0) << 32 | v); break;
    case HUSK_F32: value.of.f32 = is_wide ? ((float)(v & 0xffff) - 0x8000) / 16 : (float)v; break;
    case HUSK_F64: value.of.f64 = is_wide ? (double)(int32_t)v / 16 : (double)v; break;
    case HUSK_EXTERNREF: value.of.ref = kind >= 2 ? v : 0; break;
    default: break;
    }
    return value;
}

/* Eight bytes a step: tables[k][b] is the CRC of byte b with k zero bytes behind it. */
static uint32_t crc_tables[8][256];

static void crc_prepare(void) {
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
        crc_tables[0][b] = crc;
    }
    for (uint32_t b = 0; b < 256; b++)
        for (int k = 1; k < 8; k++)
            crc_tables[k][b] =
                crc_tables[k - 1][b] >> 8 ^ crc_tables[0][crc_tables[k - 1][b] & 0xff];
}

uint32_t crc32_of(const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    uint32_t crc = 0xffffffffu;
    if (crc_tables[0][1] == 0)
        crc_prepare();
    for (; count >= 8; count -= 8, at += 8) {
        uint32_t words[2];
        memcpy(words, at, sizeof words);
        words[0] ^= crc;
        crc = 0;
        for (int k = 0; k < 8; k++)
            crc ^= crc_tables[7 - k][words[k / 4] >> (k % 4 * 8) & 0xff];
    }
    for (; count > 0; count--, at++)
        crc = crc >> 8 ^ crc_tables[0][(crc ^ *at) & 0xff];
    return ~crc;
}
