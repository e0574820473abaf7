/* host/instance/values.c: see values.h. */
#include "values.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "hot.h"

const char *husk_type_name(husk_type type) {
    switch (type) {
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes)                              \
    case HUSK_##name:                                                                              \
        return text;
#include "valtype.def"
#undef HUSK_VALTYPE
    }
    return "?";
}

bool type_is_known(husk_type type) {
    return husk_type_name(type)[0] != '?';
}

void value_to_slot(const struct husk_value *value, struct husk_slot *slot) {
    switch (value->type) { /* bits, so that a NaN's payload is kept */
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, value_bytes)                        \
    case HUSK_##name:                                                                              \
        memcpy(slot->bytes, &value->of, value_bytes);                                              \
        break;
#include "valtype.def"
#undef HUSK_VALTYPE
    }
}

struct husk_value value_from_slot(husk_type type, const struct husk_slot *slot) {
    struct husk_value value;
    memset(&value, 0, sizeof value);
    value.type = type;
    switch (type) {
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, value_bytes)                        \
    case HUSK_##name:                                                                              \
        memcpy(&value.of, slot->bytes, value_bytes);                                               \
        break;
#include "valtype.def"
#undef HUSK_VALTYPE
    }
    return value;
}

HOT int values_check_all(const husk_type *types, size_t types_count,
                         const struct husk_value *values, size_t count, const char *what,
                         struct husk_error *err) {
    if (count != types_count)
        return error_set(err, HUSK_E_TYPE, "%zu %ss given; the function has %zu", count, what,
                         types_count);
    for (size_t i = 0; i < count; i++)
        if (values[i].type != types[i])
            return error_set(err, HUSK_E_TYPE, "%s %zu is of type %s; expected %s", what, i,
                             husk_type_name(values[i].type), husk_type_name(types[i]));
    return 0;
}

static size_t types_format(const husk_type *types, size_t count, char *text, size_t bytes,
                           size_t used) {
    for (size_t i = 0; i <= count && used < bytes; i++) {
        const char *before = i == 0 ? "(" : i < count ? ", " : "";
        int wrote = snprintf(text + used, bytes - used, "%s%s", before,
                             i < count ? husk_type_name(types[i]) : ")");
        used += wrote < 0 ? 0 : (size_t)wrote;
    }
    return used;
}

void functype_format(const struct husk_functype *type, char *text, size_t bytes) {
    size_t used = types_format(type->params, type->params_count, text, bytes, 0);
    if (used < bytes) {
        snprintf(text + used, bytes - used, " -> ");
        used += 4;
    }
    types_format(type->results, type->results_count, text, bytes, used);
}

void params_format(const struct husk_functype *type, char *text, size_t bytes) {
    types_format(type->params, type->params_count, text, bytes, 0);
}

/* The longest: "externref 0x" and 16 digits, or "v128 0x" and 32. */
#define VALUE_TEXT_BYTES 48

static void value_format(const struct husk_value *value, char text[VALUE_TEXT_BYTES]) {
    const char *name = husk_type_name(value->type);
    uint64_t halves[2];
    switch (value->type) {
    case HUSK_I32: snprintf(text, VALUE_TEXT_BYTES, "%s %" PRId32, name, value->of.i32); break;
    case HUSK_I64: snprintf(text, VALUE_TEXT_BYTES, "%s %" PRId64, name, value->of.i64); break;
    case HUSK_F32: snprintf(text, VALUE_TEXT_BYTES, "%s %.9g", name, (double)value->of.f32); break;
    case HUSK_F64: snprintf(text, VALUE_TEXT_BYTES, "%s %.17g", name, value->of.f64); break;
    case HUSK_V128:
        memcpy(halves, value->of.v128, sizeof halves);
        snprintf(text, VALUE_TEXT_BYTES, "%s 0x%016" PRIx64 "%016" PRIx64, name, halves[1],
                 halves[0]);
        break;
    case HUSK_FUNCREF:
    case HUSK_EXTERNREF:
    case HUSK_EXNREF:
        if (value->of.ref == 0)
            snprintf(text, VALUE_TEXT_BYTES, "%s null", name);
        else
            snprintf(text, VALUE_TEXT_BYTES, "%s 0x%" PRIx64, name, value->of.ref);
        break;
    }
}

#define MORE_VALUES ", …)"

void values_format(const struct husk_value *values, size_t count, char *text, size_t bytes) {
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        char shown[VALUE_TEXT_BYTES] = "";
        value_format(&values[i], shown);
        if (used + strlen(shown) + 2 + sizeof MORE_VALUES > bytes) {
            if (used + sizeof MORE_VALUES <= bytes)
                memcpy(text + used, MORE_VALUES, sizeof MORE_VALUES);
            return;
        }
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", i == 0 ? " (" : ", ", shown);
    }
    if (count > 0)
        snprintf(text + used, bytes - used, ")");
}

static bool types_equal(const husk_type *a, size_t a_count, const husk_type *b, size_t b_count) {
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count * sizeof *a) == 0);
}

bool functype_equal(const struct husk_functype *a, const struct husk_functype *b) {
    return types_equal(a->params, a->params_count, b->params, b->params_count) &&
           types_equal(a->results, a->results_count, b->results, b->results_count);
}
