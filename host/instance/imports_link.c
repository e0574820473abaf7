/*
 * host/instance/imports_link.c: matches an image's imports with a set's definitions, by name and
 * type (core specification 2.0, section 3.2.7, import matching). Nothing changes here. A sandbox is
 * made only if every import has a matching definition, or a function in its place that traps.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "image_internal.h"
#include "imports.h"
#include "name_text.h"
#include "options.h"
#include "values.h"

#define DESCRIPTION_BYTES 160
#define NAME_PAIR_BYTES (2 * NAME_TEXT_BYTES + 4)
#define MORE_BYTES 48 /* "; also unknown: ", " and 100000 more" */

static const char *const kind_names[] = {"function", "table", "memory", "global", "tag"};

static void describe_limits(char *text, const char *unit, const struct husk_extern *item) {
    const char *width = item->is_64 ? "i64, " : "";
    if (item->has_max)
        snprintf(text, DESCRIPTION_BYTES, "%s%" PRIu64 " to %" PRIu64 " %s", width, item->min,
                 item->max, unit);
    else
        snprintf(text, DESCRIPTION_BYTES, "%sat least %" PRIu64 " %s, no maximum", width, item->min,
                 unit);
}

static void describe_extern(const struct husk_extern *wanted, char *text) {
    switch (wanted->kind) {
    case HUSK_EXTERN_FUNC: functype_format(&wanted->func, text, DESCRIPTION_BYTES); break;
    case HUSK_EXTERN_TAG: params_format(&wanted->func, text, DESCRIPTION_BYTES); break;
    case HUSK_EXTERN_TABLE: describe_limits(text, husk_type_name(wanted->type), wanted); break;
    case HUSK_EXTERN_MEMORY:
        describe_limits(text, wanted->is_shared ? "pages, shared" : "pages", wanted);
        break;
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
                                 .has_max = def->has_max,
                                 .type =
                                     def->kind == HUSK_ABI_TABLE ? def->elem_type : def->value.type,
                                 .is_mutable = def->is_mutable,
                                 .is_shared = def->is_shared,
                                 .is_64 = def->is_64};
    return result;
}

/* Section 3.2.7, limits: n1 >= n2, and if m2 is given, m1 is given and m1 <= m2. The types of
 * addresses are equal. */
static bool limits_match(const struct husk_extern *have, const struct husk_extern *wanted) {
    return have->is_64 == wanted->is_64 && have->min >= wanted->min &&
           (!wanted->has_max || (have->has_max && have->max <= wanted->max));
}

static bool type_matches(const struct husk_extern *have, const struct husk_extern *wanted) {
    switch (wanted->kind) {
    case HUSK_EXTERN_FUNC:
    case HUSK_EXTERN_TAG: return functype_equal(&have->func, &wanted->func);
    case HUSK_EXTERN_TABLE: return have->type == wanted->type && limits_match(have, wanted);
    case HUSK_EXTERN_MEMORY:
        return have->is_shared == wanted->is_shared && limits_match(have, wanted);
    case HUSK_EXTERN_GLOBAL:
        return have->type == wanted->type && have->is_mutable == wanted->is_mutable;
    }
    return false;
}

/* "module.name" of an import, for messages. */
static void format_name(const struct husk_extern *wanted, char *text, size_t text_bytes) {
    struct name_text module, name;
    snprintf(text, text_bytes, "\"%s.%s\"",
             name_show(&module, wanted->module, wanted->module_bytes),
             name_show(&name, wanted->name, wanted->name_bytes));
}

static int error_unknown(const struct husk_extern *wanted, struct husk_error *err) {
    char name[NAME_PAIR_BYTES], type[DESCRIPTION_BYTES];
    format_name(wanted, name, sizeof name);
    describe_extern(wanted, type);
    return error_set(err, HUSK_E_LINK,
                     "unknown import: the module needs %s %s, %s; nothing of that name was defined",
                     kind_names[wanted->kind], name, type);
}

static int error_mismatch(const struct husk_extern *wanted, const struct husk_extern *have,
                          struct husk_error *err) {
    char name[NAME_PAIR_BYTES], wanted_type[DESCRIPTION_BYTES], have_type[DESCRIPTION_BYTES];
    format_name(wanted, name, sizeof name);
    describe_extern(wanted, wanted_type);
    describe_extern(have, have_type);
    return error_set(
        err, HUSK_E_LINK,
        "incompatible import type: the module needs %s %s, %s; what was defined is a %s, %s",
        kind_names[wanted->kind], name, wanted_type, kind_names[have->kind], have_type);
}

/* Find a matching definition. 0 with *ret_def NULL: there is none, and a function that traps takes
 * its place, or a tag that nobody else knows. */
static int find_match(const husk_imports *imports, const struct husk_extern *wanted,
                      struct import_def **ret_def, struct husk_error *err) {
    struct import_def *def = imports_find(imports, wanted->module, wanted->module_bytes,
                                          wanted->name, wanted->name_bytes);
    *ret_def = def;
    const bool can_stub = wanted->kind == HUSK_EXTERN_FUNC || wanted->kind == HUSK_EXTERN_TAG;
    if (def == NULL && can_stub && imports_unknown(imports) == HUSK_UNKNOWN_TRAP)
        return 0;
    if (def == NULL)
        return error_unknown(wanted, err);
    struct husk_extern have = def_extern(def);
    if (have.kind == wanted->kind && type_matches(&have, wanted))
        return 0;
    return error_mismatch(wanted, &have, err);
}

int husk_imports_match(const husk_imports *imports, const struct husk_extern *item,
                       struct husk_error *err) {
    struct import_def *def = NULL;
    struct husk_extern wanted;
    if (item == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_imports_match: not an import");
    int status = extern_read(item, &wanted, err);
    if (status != 0)
        return status;
    if (wanted.module == NULL || wanted.name == NULL || (unsigned)wanted.kind > HUSK_EXTERN_TAG ||
        (wanted.func.params == NULL && wanted.func.params_count > 0) ||
        (wanted.func.results == NULL && wanted.func.results_count > 0))
        return error_set(err, HUSK_E_INVAL, "husk_imports_match: not an import");
    wanted.module_bytes = name_length(wanted.module, wanted.module_bytes);
    wanted.name_bytes = name_length(wanted.name, wanted.name_bytes);
    return find_match(imports, &wanted, &def, err);
}

static int link_one(const husk_imports *imports, const struct husk_extern *wanted,
                    struct import_def **ret_def, struct husk_error *err) {
    struct import_def *def = NULL;
    int status = find_match(imports, wanted, &def, err);
    if (status != 0)
        return status;
    if (def != NULL) {
        *ret_def = import_def_ref(def);
        return 0;
    }
    if (wanted->kind == HUSK_EXTERN_TAG)
        return import_stub_tag_new(wanted, ret_def, err);
    char name[NAME_PAIR_BYTES], message[NAME_PAIR_BYTES + 64];
    format_name(wanted, name, sizeof name);
    snprintf(message, sizeof message,
             "the module called the unknown import %s, which nobody defined", name);
    return import_stub_new(wanted, message, ret_def, err);
}

/* True: the import is refused because it is missing, and not because of its type. */
static bool is_missing(const husk_imports *imports, const struct husk_extern *wanted) {
    return imports_find(imports, wanted->module, wanted->module_bytes, wanted->name,
                        wanted->name_bytes) == NULL &&
           husk_imports_match(imports, wanted, NULL) != 0;
}

/* The message names the import `first`. Add the other missing imports, as many as fit. */
static void add_missing(const husk_imports *imports, const husk_image *image, uint32_t first,
                        struct husk_error *err) {
    uint32_t unnamed = 0, named = 0;
    size_t used = err == NULL ? 0 : strlen(err->message);
    for (uint32_t i = first + 1; err != NULL && i < image->code->imports_count; i++) {
        struct husk_extern wanted = HUSK_EXTERN_INIT;
        char name[NAME_PAIR_BYTES];
        husk_image_import(image, i, &wanted);
        if (!is_missing(imports, &wanted))
            continue;
        format_name(&wanted, name, sizeof name);
        if (unnamed > 0 || used + strlen(name) + MORE_BYTES > sizeof err->message) {
            unnamed++;
            continue;
        }
        snprintf(err->message + used, sizeof err->message - used, "%s%s",
                 named++ == 0 ? "; also unknown: " : ", ", name);
        used += strlen(err->message + used);
    }
    if (unnamed > 0)
        snprintf(err->message + used, sizeof err->message - used, " and %u more", unnamed);
}

int imports_link(const husk_imports *imports, const husk_image *image, struct import_def **ret_defs,
                 struct husk_error *err) {
    for (uint32_t i = 0; i < image->code->imports_count; i++) {
        struct husk_extern wanted = HUSK_EXTERN_INIT;
        husk_image_import(image, i, &wanted);
        int status = link_one(imports, &wanted, &ret_defs[i], err);
        if (status == 0)
            continue;
        if (status == HUSK_E_LINK && is_missing(imports, &wanted))
            add_missing(imports, image, i, err);
        return status;
    }
    return 0;
}
