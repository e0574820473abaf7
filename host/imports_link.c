/*
 * host/imports_link.c: match an image's imports with a set's definitions, by name and type (core specification 2.0, section 3.2.7,
 * import matching). Nothing is changed here: a sandbox is made only once all of them match.
 */
#include <inttypes.h>
#include <stdio.h>

#include "error.h"
#include "image_internal.h"
#include "imports.h"
#include "values.h"

#define DESCRIPTION_BYTES 160

static const char *const kind_names[] = {"function", "table", "memory", "global"};

static void describe_limits(char *text, const char *unit, uint64_t min, uint64_t max, bool has_max) {
    if (has_max)
        snprintf(text, DESCRIPTION_BYTES, "%" PRIu64 " to %" PRIu64 " %s", min, max, unit);
    else
        snprintf(text, DESCRIPTION_BYTES, "at least %" PRIu64 " %s, no maximum", min, unit);
}

static void describe_extern(const struct husk_extern *wanted, char *text) {
    switch (wanted->kind) {
    case HUSK_EXTERN_FUNC: functype_format(&wanted->func, text, DESCRIPTION_BYTES); break;
    case HUSK_EXTERN_TABLE:
        describe_limits(text, husk_type_name(wanted->type), wanted->min, wanted->max, wanted->has_max);
        break;
    case HUSK_EXTERN_MEMORY: describe_limits(text, "pages", wanted->min, wanted->max, wanted->has_max); break;
    case HUSK_EXTERN_GLOBAL:
        snprintf(text, DESCRIPTION_BYTES, "%s%s", wanted->is_mutable ? "mutable " : "",
                 husk_type_name(wanted->type));
        break;
    }
}

static struct husk_extern def_extern(const struct import_def *def) {
    struct husk_extern result = {.kind = (enum husk_extern_kind)def->kind,
                                 .func = def->func,
                                 .min = def->min,
                                 .max = def->max,
                                 .has_max = def->max != UINT64_MAX,
                                 .type = def->kind == HUSK_ABI_TABLE ? def->elem_type : def->value.type,
                                 .is_mutable = def->is_mutable};
    return result;
}

/* Section 3.2.7, limits: n1 >= n2, and if m2 is given, m1 is given and m1 <= m2. */
static bool limits_match(const struct husk_extern *have, const struct husk_extern *wanted) {
    return have->min >= wanted->min && (!wanted->has_max || (have->has_max && have->max <= wanted->max));
}

static bool type_matches(const struct husk_extern *have, const struct husk_extern *wanted) {
    switch (wanted->kind) {
    case HUSK_EXTERN_FUNC: return functype_equal(&have->func, &wanted->func);
    case HUSK_EXTERN_TABLE: return have->type == wanted->type && limits_match(have, wanted);
    case HUSK_EXTERN_MEMORY: return limits_match(have, wanted);
    case HUSK_EXTERN_GLOBAL: return have->type == wanted->type && have->is_mutable == wanted->is_mutable;
    }
    return false;
}

static int link_one(const husk_imports *imports, const struct husk_extern *wanted,
                    struct import_def **ret_def, struct husk_error *err) {
    char wanted_text[DESCRIPTION_BYTES], have_text[DESCRIPTION_BYTES];
    struct import_def *def =
        imports_find(imports, wanted->module, wanted->module_bytes, wanted->name, wanted->name_bytes);
    describe_extern(wanted, wanted_text);
    if (def == NULL)
        return error_set(err, HUSK_E_LINK,
                         "unknown import: the module needs %s \"%.60s.%.60s\", %s; nothing of that name was "
                         "defined",
                         kind_names[wanted->kind], wanted->module, wanted->name, wanted_text);
    struct husk_extern have = def_extern(def);
    if (have.kind == wanted->kind && type_matches(&have, wanted)) {
        *ret_def = def;
        return 0;
    }
    describe_extern(&have, have_text);
    return error_set(
        err, HUSK_E_LINK,
        "incompatible import type: the module needs %s \"%.60s.%.60s\", %s; what was defined is a "
        "%s, %s",
        kind_names[wanted->kind], wanted->module, wanted->name, wanted_text, kind_names[have.kind],
        have_text);
}

int imports_link(const husk_imports *imports, const husk_image *image, struct import_def **ret_defs,
                 struct husk_error *err) {
    for (uint32_t i = 0; i < image->imports_count; i++) {
        struct husk_extern wanted;
        husk_image_import(image, i, &wanted);
        int status = link_one(imports, &wanted, &ret_defs[i], err);
        if (status != 0)
            return status;
    }
    return 0;
}
