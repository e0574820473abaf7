/* host/instance/values.c: see values.h. */
#include "values.h"

#include <stdio.h>
#include <string.h>

#include "error.h"

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

int values_check(const husk_type *types, size_t types_count, const struct husk_value *values,
                 size_t count, const char *what, struct husk_error *err) {
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

static bool types_equal(const husk_type *a, size_t a_count, const husk_type *b, size_t b_count) {
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count * sizeof *a) == 0);
}

bool functype_equal(const struct husk_functype *a, const struct husk_functype *b) {
    return types_equal(a->params, a->params_count, b->params, b->params_count) &&
           types_equal(a->results, a->results_count, b->results, b->results_count);
}
