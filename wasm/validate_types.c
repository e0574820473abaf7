/*
 * wasm/validate_types.c: the type section (core specification 3.0, sections 3.2.9 to 3.2.13), and
 * whether the types exist that the rest of the module names.
 */
#include <stdlib.h>

#include "error.h"
#include "limits.h"
#include "validate.h"

/* ---- features ---- */

int use_feature(struct validator *validator, enum wasm_feature feature, uint64_t offset,
                const char *what) {
    wasm_use(&validator->module->used, feature, offset, what);
    if (!validator_has(validator, feature))
        return wasm_error(validator->err, HUSK_E_UNSUPPORTED, offset,
                          "uses %s (%s), which is not enabled", wasm_feature_rows[feature].text,
                          what);
    return 0;
}

/* The feature that brought a reference type, except funcref and externref. */
static enum wasm_feature ref_feature(valtype_t type) {
    enum wasm_heap heap = wasm_heap(type);
    if (heap == WASM_HEAP_FUNC || heap == WASM_HEAP_EXTERN || heap == WASM_HEAP_INDEX)
        return WASM_FEATURE_FUNCTION_REFS;
    return heap == WASM_HEAP_EXN || heap == WASM_HEAP_NOEXN ? WASM_FEATURE_EXCEPTIONS
                                                            : WASM_FEATURE_GC;
}

/* ---- types that are named ---- */

static int check_below(struct validator *validator, valtype_t type, uint32_t types_count,
                       uint64_t offset) {
    if (!valtype_is_ref(type) || type == WASM_FUNCREF || type == WASM_EXTERNREF)
        return 0;
    if (wasm_has_index(type) && wasm_type_idx(type) >= types_count)
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, offset, "unknown type %u",
                          wasm_type_idx(type));
    return use_feature(validator, ref_feature(type), offset, "a reference type");
}

int check_type_at(struct validator *validator, valtype_t type, uint64_t offset) {
    return check_below(validator, type, validator->module->types_count, offset);
}

int check_form(struct validator *validator, uint32_t type_idx, enum wasm_form form) {
    static const char *const form_names[] = {"a function", "a struct", "an array"};
    const struct wasm_module *module = validator->module;
    int status = check_index(validator, "type", type_idx, module->types_count);
    if (status == 0 && module->types[type_idx].form != form)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: %s needs %s type, type %u is %s",
                               wasm_opinfo(validator->instr.op)->text, form_names[form], type_idx,
                               form_names[module->types[type_idx].form]);
    return status;
}

/* ---- the type section ---- */

/* Fields and parameters may name all types of the group. */
static int validate_parts(struct validator *validator, uint32_t type_idx) {
    struct wasm_module *module = validator->module;
    const struct wasm_functype *type = &module->types[type_idx];
    const struct wasm_subtype *subtype = &module->subtypes[type_idx];
    uint32_t known = subtype->group_first + subtype->group_count;
    int status = 0;
    if (type->form != WASM_FORM_FUNC || type->is_open || subtype->has_super)
        status = use_feature(validator, WASM_FEATURE_GC, subtype->offset,
                             type->form != WASM_FORM_FUNC ? "a struct or array type"
                                                          : "a type with subtypes");
    for (uint32_t i = 0; status == 0 && i < type->params_count; i++)
        status =
            check_below(validator, type->params[i] & ~WASM_FIELD_MUTABLE, known, subtype->offset);
    for (uint32_t i = 0; status == 0 && i < type->results_count; i++)
        status = check_below(validator, type->results[i], known, subtype->offset);
    return status;
}

/* Mutable fields are equal in both; what can only be read may be a subtype. */
static bool is_field_match(const struct wasm_module *module, valtype_t sub, valtype_t super) {
    if ((sub & WASM_FIELD_MUTABLE) != (super & WASM_FIELD_MUTABLE))
        return false;
    valtype_t sub_type = sub & ~WASM_FIELD_MUTABLE;
    valtype_t super_type = super & ~WASM_FIELD_MUTABLE;
    return wasm_is_subtype(module, sub_type, super_type) &&
           ((sub & WASM_FIELD_MUTABLE) == 0 || wasm_is_subtype(module, super_type, sub_type));
}

/* Section 3.3.13: parameters contravariant, results covariant; a struct may have more fields. */
static bool is_match(const struct wasm_module *module, const struct wasm_functype *sub,
                     const struct wasm_functype *super) {
    if (sub->form != super->form)
        return false;
    if (sub->form == WASM_FORM_FUNC)
        return sub->params_count == super->params_count &&
               sub->results_count == super->results_count &&
               wasm_are_subtypes(module, super->params, sub->params, sub->params_count) &&
               wasm_are_subtypes(module, sub->results, super->results, sub->results_count);
    bool matches = sub->params_count >= super->params_count;
    for (uint32_t i = 0; matches && i < super->params_count; i++)
        matches = is_field_match(module, sub->params[i], super->params[i]);
    return matches;
}

/* A supertype stands before its subtype, in the same or an earlier group. */
static int validate_super(struct validator *validator, uint32_t type_idx) {
    struct wasm_module *module = validator->module;
    struct wasm_subtype *subtype = &module->subtypes[type_idx];
    if (!subtype->has_super)
        return 0;
    uint32_t super_idx = subtype->super_idx;
    if (super_idx >= type_idx)
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, subtype->offset,
                          "unknown type %u: the supertype of type %u must come before it",
                          super_idx, type_idx);
    if (!module->types[super_idx].is_open)
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, subtype->offset,
                          "sub type %u: its supertype %u is final", type_idx, super_idx);
    if (module->subtypes[super_idx].depth >= WASM_LIMIT_SUBTYPE_DEPTH)
        return wasm_error(validator->err, HUSK_E_LIMIT, subtype->offset,
                          "type %u has more than %u supertypes above it", type_idx,
                          WASM_LIMIT_SUBTYPE_DEPTH);
    subtype->depth = (uint8_t)(module->subtypes[super_idx].depth + 1);
    return 0;
}

/* The supertype of a canonical type, as a canonical index, which is smaller. */
static uint32_t canonical_super(const struct wasm_module *module, uint32_t type_idx) {
    return module->types[module->subtypes[type_idx].super_idx].canonical_idx;
}

/*
 * Numbers the forest of canonical types in preorder: first the size of every tree, from the leaves,
 * then the numbers, from the roots. While numbers are given, tree_end of a type is the next free
 * one among its subtypes. In the end it stands behind the last.
 */
static int number_types(struct validator *validator) {
    struct wasm_module *module = validator->module;
    uint32_t count = module->types_count;
    uint32_t *sizes = calloc((size_t)count + 1, sizeof *sizes);
    if (sizes == NULL)
        return error_set(validator->err, HUSK_E_NOMEM, "out of memory while validating");
    for (uint32_t i = count; i-- > 0;) {
        if (module->types[i].canonical_idx != i)
            continue;
        sizes[i]++;
        if (module->subtypes[i].has_super)
            sizes[canonical_super(module, i)] += sizes[i];
    }
    uint32_t roots_end = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (module->types[i].canonical_idx != i)
            continue;
        struct wasm_subtype *subtype = &module->subtypes[i];
        uint32_t *end = subtype->has_super ? &module->subtypes[canonical_super(module, i)].tree_end
                                           : &roots_end;
        subtype->tree_first = *end;
        subtype->tree_end = *end + 1;
        *end += sizes[i];
    }
    free(sizes);
    return 0;
}

static int validate_matches(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    for (uint32_t i = 0; i < module->types_count; i++) {
        const struct wasm_subtype *subtype = &module->subtypes[i];
        if (subtype->has_super &&
            !is_match(module, &module->types[i], &module->types[subtype->super_idx]))
            return wasm_error(validator->err, HUSK_E_INVALID_WASM, subtype->offset,
                              "sub type %u does not match its supertype %u", i, subtype->super_idx);
    }
    return 0;
}

int validate_types(struct validator *validator) {
    struct wasm_module *module = validator->module;
    int status = 0;
    const enum wasm_feature refs = WASM_FEATURE_FUNCTION_REFS;
    if ((module->used.set >> refs & 1) != 0) /* the decoder saw how types are written */
        status = use_feature(validator, refs, module->used.first[refs].offset,
                             module->used.first[refs].what);
    for (uint32_t i = 0; status == 0 && i < module->types_count; i++) {
        status = validate_parts(validator, i);
        if (status == 0)
            status = validate_super(validator, i);
    }
    if (status == 0)
        status = number_types(validator);
    return status != 0 ? status : validate_matches(validator);
}
