/*
 * compiler/plan/program_match.c: may an export stand for an import (core spec 3.2.7, import
 * matching)? See program_join.h. A memory or table that is declared too small may have grown before
 * the importer is instantiated; then the importer's initialisation looks (lower_init.c).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "layout.h"
#include "name_text.h"
#include "program_join.h"
#include "types.h"

#define TYPE_TEXT_BYTES 96

static const char *const kind_names[JOIN_KINDS] = {"function", "table", "memory", "global", "tag"};

/* Everything of something that matching looks at. */
struct described {
    enum wasm_kind kind;
    uint32_t type_idx; /* flat */
    valtype_t type;
    bool is_mutable;
    bool has_byte_pages; /* MEMORY */
    struct wasm_limits limits;
};

/* Of an instance's type: the same with the flat index of the function type that it refers to. */
static valtype_t flat_type(const struct join *join, uint32_t instance, valtype_t type) {
    return wasm_has_index(type) ? wasm_ref_idx(join->instances[instance].types[wasm_type_idx(type)],
                                               wasm_is_nullable(type))
                                : type;
}

/* wasm_is_subtype() for flat types, all of which are functions. */
static bool is_subtype(valtype_t sub, valtype_t super) {
    if (wasm_is_nullable(sub) && !wasm_is_nullable(super))
        return false;
    if (wasm_non_null(sub) == wasm_non_null(super))
        return true;
    enum wasm_heap heap = wasm_heap(super);
    switch (wasm_heap(sub)) {
    case WASM_HEAP_INDEX: return heap == WASM_HEAP_FUNC;
    case WASM_HEAP_NOFUNC: return heap == WASM_HEAP_FUNC || heap == WASM_HEAP_INDEX;
    case WASM_HEAP_NOEXTERN: return heap == WASM_HEAP_EXTERN;
    case WASM_HEAP_NOEXN: return heap == WASM_HEAP_EXN;
    default: return false;
    }
}

static struct described describe(const struct join *join, enum wasm_kind kind,
                                 struct program_def def) {
    const struct wasm_module *module = join_module(join, def.instance);
    struct described item = {.kind = kind};
    switch (kind) {
    case WASM_KIND_FUNC:
        item.type_idx = join->instances[def.instance].types[module->funcs[def.idx].type_idx];
        break;
    case WASM_KIND_TABLE:
        item.type = flat_type(join, def.instance, module->tables[def.idx].elem_type);
        item.limits = module->tables[def.idx].limits;
        break;
    case WASM_KIND_MEMORY:
        item.limits = module->memories[def.idx].limits;
        item.has_byte_pages = module->memories[def.idx].has_byte_pages;
        break;
    case WASM_KIND_GLOBAL:
        item.type = flat_type(join, def.instance, module->globals[def.idx].type);
        item.is_mutable = module->globals[def.idx].is_mutable;
        break;
    case WASM_KIND_TAG:
        item.type_idx = join->instances[def.instance].types[module->tags[def.idx].type_idx];
        break;
    }
    return item;
}

/* ---- texts ---- */

static void append(char text[TYPE_TEXT_BYTES], const char *more) {
    size_t used = strlen(text);
    snprintf(text + used, TYPE_TEXT_BYTES - used, "%s", more);
}

static void append_types(char text[TYPE_TEXT_BYTES], const valtype_t *types, uint32_t count) {
    append(text, "(");
    for (uint32_t i = 0; i < count && i < 8; i++) {
        append(text, i == 0 ? "" : " ");
        append(text, TYPE_TEXT(types[i]));
    }
    append(text, count > 8 ? " …)" : ")");
}

static void type_text(const struct join *join, const struct described *item,
                      char text[TYPE_TEXT_BYTES]) {
    const struct wasm_functype *type = &join->program->types[item->type_idx];
    text[0] = '\0';
    if (item->kind == WASM_KIND_FUNC || item->kind == WASM_KIND_TAG) {
        append_types(text, type->params, type->params_count);
        if (item->kind == WASM_KIND_FUNC) {
            append(text, " -> ");
            append_types(text, type->results, type->results_count);
        }
    } else if (item->kind == WASM_KIND_GLOBAL) {
        snprintf(text, TYPE_TEXT_BYTES, "%s%s", item->is_mutable ? "mutable " : "",
                 TYPE_TEXT(item->type));
    } else if (item->limits.has_max) {
        snprintf(text, TYPE_TEXT_BYTES, "%s%s%" PRIu64 " to %" PRIu64,
                 item->kind == WASM_KIND_TABLE ? TYPE_TEXT(item->type) : "",
                 item->kind == WASM_KIND_TABLE ? ", " : "", item->limits.min, item->limits.max);
    } else {
        snprintf(text, TYPE_TEXT_BYTES, "%s%s%" PRIu64 " or more",
                 item->kind == WASM_KIND_TABLE ? TYPE_TEXT(item->type) : "",
                 item->kind == WASM_KIND_TABLE ? ", " : "", item->limits.min);
    }
    if (item->limits.is_shared)
        append(text, ", shared");
    if (item->has_byte_pages)
        append(text, " pages of one byte");
    if (item->limits.is_64)
        append(text, item->kind == WASM_KIND_TABLE ? ", i64 indices" : ", i64 addresses");
}

/* "module"."name", which is imported or exported. */
struct named_item {
    struct wasm_bytes module, name;
    struct described item;
};

static const char *show(struct name_text *buffer, struct wasm_bytes name) {
    return name_show(buffer, (const char *)name.data, name.count);
}

static int mismatch(struct join *join, uint32_t importer, const struct named_item *wanted,
                    const struct named_item *have) {
    char wanted_type[TYPE_TEXT_BYTES], have_type[TYPE_TEXT_BYTES];
    struct name_text shown[5];
    type_text(join, &wanted->item, wanted_type);
    type_text(join, &have->item, have_type);
    return error_set(join->err, HUSK_E_LINK,
                     "incompatible import type: \"%s\" imports %s \"%s.%s\": %s; \"%s.%s\" is a "
                     "%s: %s",
                     show(&shown[0], join->sources->list[importer].name),
                     kind_names[wanted->item.kind], show(&shown[1], wanted->module),
                     show(&shown[2], wanted->name), wanted_type, show(&shown[3], have->module),
                     show(&shown[4], have->name), kind_names[have->item.kind], have_type);
}

/* ---- matching ---- */

/* Can something have grown before this instance is instantiated? Only in calls and start
 * functions. */
static bool may_have_grown(const struct join *join, uint32_t importer) {
    bool may = join->sources->is_staged;
    for (uint32_t i = 0; i < importer; i++)
        may |= join_module(join, i)->has_start;
    return may;
}

static bool limits_match(const struct join *join, uint32_t importer, const struct described *have,
                         const struct described *wanted) {
    const uint64_t max = have->limits.max; /* the most that its addresses reach, if none is given */
    if (wanted->limits.is_64 != have->limits.is_64 ||
        wanted->limits.is_shared != have->limits.is_shared ||
        wanted->has_byte_pages != have->has_byte_pages)
        return false;
    if (wanted->limits.has_max && (!have->limits.has_max || have->limits.max > wanted->limits.max))
        return false;
    return have->limits.min >= wanted->limits.min ||
           (wanted->limits.min <= max && may_have_grown(join, importer));
}

static bool matches(const struct join *join, uint32_t importer, const struct described *have,
                    const struct described *wanted) {
    if (have->kind != wanted->kind)
        return false;
    switch (wanted->kind) {
    case WASM_KIND_FUNC:
    case WASM_KIND_TAG: return have->type_idx == wanted->type_idx;
    case WASM_KIND_TABLE:
        return have->type == wanted->type && limits_match(join, importer, have, wanted);
    case WASM_KIND_MEMORY: return limits_match(join, importer, have, wanted);
    case WASM_KIND_GLOBAL:
        return have->is_mutable == wanted->is_mutable &&
               (have->type == wanted->type ||
                (!have->is_mutable && is_subtype(have->type, wanted->type)));
    }
    return false;
}

static struct named_item import_item(const struct join *join, struct join_import wanted) {
    struct program_def self = {wanted.instance, wanted.import->idx};
    return (struct named_item){wanted.import->module, wanted.import->name,
                               describe(join, wanted.import->kind, self)};
}

int join_match(struct join *join, struct join_import wanted, struct program_def def,
               const struct wasm_export *export) {
    /* as the definition declares it: an import in between may declare less */
    struct program_def at =
        join_definition(join, export->kind, (struct program_def){def.instance, export->idx});
    const struct named_item have = {join->sources->list[def.instance].name, export->name,
                                    describe(join, export->kind, at)};
    const struct named_item need = import_item(join, wanted);
    return matches(join, wanted.instance, &have.item, &need.item)
               ? 0
               : mismatch(join, wanted.instance, &need, &have);
}

int join_same(struct join *join, struct join_import first, struct join_import second) {
    const struct named_item a = import_item(join, first), b = import_item(join, second);
    if (a.item.type_idx == b.item.type_idx && a.item.type == b.item.type &&
        a.item.has_byte_pages == b.item.has_byte_pages &&
        a.item.limits.is_64 == b.item.limits.is_64 &&
        a.item.limits.is_shared == b.item.limits.is_shared &&
        a.item.is_mutable == b.item.is_mutable && a.item.limits.min == b.item.limits.min &&
        a.item.limits.has_max == b.item.limits.has_max && a.item.limits.max == b.item.limits.max)
        return 0;
    struct name_text shown[4];
    char a_text[TYPE_TEXT_BYTES], b_text[TYPE_TEXT_BYTES];
    type_text(join, &a.item, a_text);
    type_text(join, &b.item, b_text);
    return error_set(join->err, HUSK_E_LINK,
                     "\"%s\" and \"%s\" import the %s \"%s.%s\" in two ways: %s; %s. Link a module "
                     "that exports it",
                     show(&shown[0], join->sources->list[first.instance].name),
                     show(&shown[1], join->sources->list[second.instance].name),
                     kind_names[a.item.kind], show(&shown[2], a.module), show(&shown[3], a.name),
                     a_text, b_text);
}
