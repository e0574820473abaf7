/*
 * wasm/validate.c: the second step from bytes to an instance. It validates the module outside the
 * bodies (core specification 2.0, sections 3.2 and 3.4), then the bodies. Only modules that pass
 * are compiled.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "limits.h"
#include "read.h"
#include "validate.h"

static int error_index(struct validator *validator, uint64_t offset, const char *what,
                       uint32_t idx) {
    return wasm_error(validator->err, HUSK_E_INVALID_WASM, offset, "unknown %s %u", what, idx);
}

/* ---- types, functions, tables, memories ---- */

bool wasm_functype_has(const struct wasm_functype *functype, valtype_t type) {
    bool has = false;
    for (uint32_t i = 0; i < functype->params_count; i++)
        has |= functype->params[i] == type;
    for (uint32_t i = 0; i < functype->results_count; i++)
        has |= functype->results[i] == type;
    return has;
}

/* Where a function is declared, for messages: its import or its body. */
static uint64_t func_offset(const struct wasm_module *module, uint32_t func_idx) {
    for (uint32_t i = 0; func_idx < module->imported_funcs_count && i < module->imports_count; i++)
        if (module->imports[i].kind == WASM_KIND_FUNC && module->imports[i].idx == func_idx)
            return module->imports[i].module.offset;
    return module->funcs[func_idx].body_offset;
}

static int validate_func_types(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    for (uint32_t i = 0; i < module->funcs_count; i++) {
        uint32_t type_idx = module->funcs[i].type_idx;
        if (type_idx >= module->types_count)
            return wasm_error(validator->err, HUSK_E_INVALID_WASM, func_offset(module, i),
                              "unknown type %u of function %u", type_idx, i);
        if (module->types[type_idx].form != WASM_FORM_FUNC)
            return wasm_error(validator->err, HUSK_E_INVALID_WASM, func_offset(module, i),
                              "type %u of function %u is not a function type", type_idx, i);
    }
    return 0;
}

int validate_limits(struct validator *validator, const struct wasm_limits *limits, uint64_t offset,
                    const char *what) {
    if (limits->has_max && limits->min > limits->max)
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, offset,
                          "size minimum must not be greater than maximum: %s of %llu to %llu", what,
                          (unsigned long long)limits->min, (unsigned long long)limits->max);
    return 0;
}

/* The initialiser sees imported globals only: the section of globals comes later. */
static int validate_table_init(struct validator *validator, const struct wasm_table *table) {
    if (table->init.count == 0 && !table->is_import && !wasm_is_defaultable(table->elem_type))
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, table->offset,
                          "type mismatch: a table of %s needs an initialiser",
                          TYPE_TEXT(table->elem_type));
    if (table->init.count == 0)
        return 0;
    int status = use_feature(validator, WASM_FEATURE_FUNCTION_REFS, table->offset,
                             "a table with an initialiser");
    validator->const_globals_count = validator->module->imported_globals_count;
    return status != 0 ? status : validate_const_expr(validator, table->init, table->elem_type);
}

static int validate_tables(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    int status = 0;
    if (module->tables_count > 1 && !validator_has(validator, WASM_FEATURE_REFTYPES))
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, module->tables[1].offset,
                          "multiple tables: %u", module->tables_count);
    if (module->tables_count > 1)
        wasm_use(&validator->module->used, WASM_FEATURE_REFTYPES, module->tables[1].offset,
                 "a second table");
    for (uint32_t i = 0; status == 0 && i < module->tables_count; i++) {
        const struct wasm_table *table = &module->tables[i];
        status = check_type_at(validator, table->elem_type, table->offset);
        if (status == 0 && !table->limits.is_64 &&
            (table->limits.min > UINT32_MAX || table->limits.max > UINT32_MAX))
            return wasm_error(validator->err, HUSK_E_INVALID_WASM, table->offset,
                              "table size must be at most 4294967295 entries");
        if (status == 0)
            status = validate_limits(validator, &table->limits, table->offset, "table");
        if (status == 0)
            status = validate_table_init(validator, table);
    }
    return status;
}

/* ---- globals and segments ---- */

/* Before the tables, whose initialisers may get imported globals. */
static int validate_global_types(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    for (uint32_t i = 0; i < module->globals_count; i++) {
        const struct wasm_global *global = &module->globals[i];
        int status = check_type_at(validator, global->type, global->offset);
        if (status != 0)
            return error_while(validator->err, status, "validating global %u", i);
    }
    return 0;
}

static int validate_globals(struct validator *validator) {
    struct wasm_module *module = validator->module;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < module->globals_count; i++) {
        const struct wasm_global *global = &module->globals[i];
        if (!global->is_import) {
            validator->const_globals_count = validator_has(validator, WASM_FEATURE_EXTENDED_CONST)
                                                 ? i
                                                 : module->imported_globals_count;
            status = validate_const_expr(validator, global->init, global->type);
        }
        if (status != 0)
            return error_while(validator->err, status, "validating global %u", i);
    }
    validator->const_globals_count = validator_has(validator, WASM_FEATURE_EXTENDED_CONST)
                                         ? module->globals_count
                                         : module->imported_globals_count;
    return status;
}

/* The active mode: a table of the right type and an i32 offset. */
static int validate_elem_target(struct validator *validator, const struct wasm_elem *elem) {
    const struct wasm_module *module = validator->module;
    if (elem->table_idx >= module->tables_count)
        return error_index(validator, elem->offset.offset, "table", elem->table_idx);
    if (!wasm_is_subtype(module, elem->elem_type, module->tables[elem->table_idx].elem_type))
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, elem->offset.offset,
                          "type mismatch: elements of %s for table %u of %s",
                          TYPE_TEXT(elem->elem_type), elem->table_idx,
                          TYPE_TEXT(module->tables[elem->table_idx].elem_type));
    return validate_const_expr(validator, elem->offset, table_address(validator, elem->table_idx));
}

static int validate_elem(struct validator *validator, const struct wasm_elem *elem) {
    struct wasm_module *module = validator->module;
    int status =
        elem->exprs != NULL ? check_type_at(validator, elem->elem_type, elem->segment_offset) : 0;
    if (status == 0 && elem->mode == WASM_SEGMENT_ACTIVE)
        status = validate_elem_target(validator, elem);
    for (uint32_t i = 0; status == 0 && i < elem->count; i++)
        if (elem->exprs != NULL)
            status = validate_const_expr(validator, elem->exprs[i], elem->elem_type);
        else if (elem->func_idxs[i] < module->funcs_count)
            module->funcs[elem->func_idxs[i]].is_declared = true;
        else
            status = error_index(validator, elem->segment_offset, "function", elem->func_idxs[i]);
    return status;
}

static int validate_elems(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    for (uint32_t i = 0; i < module->elems_count; i++) {
        int status = validate_elem(validator, &module->elems[i]);
        if (status != 0)
            return error_while(validator->err, status, "validating element segment %u", i);
    }
    return 0;
}

static int validate_datas(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    for (uint32_t i = 0; i < module->datas_count; i++) {
        const struct wasm_data *data = &module->datas[i];
        int status = 0;
        if (data->mode == WASM_SEGMENT_ACTIVE)
            status = data->memory_idx < module->memories_count
                         ? validate_const_expr(validator, data->offset,
                                               memory_address(validator, data->memory_idx))
                         : error_index(validator, data->offset.offset, "memory", data->memory_idx);
        if (status != 0)
            return error_while(validator->err, status, "validating data segment %u", i);
    }
    return 0;
}

/* ---- start and exports ---- */

static int validate_start(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    if (!module->has_start)
        return 0;
    if (module->start_func_idx >= module->funcs_count)
        return error_index(validator, module->start_offset, "function", module->start_func_idx);
    const struct wasm_functype *type =
        &module->types[module->funcs[module->start_func_idx].type_idx];
    if (type->params_count != 0 || type->results_count != 0)
        return wasm_error(
            validator->err, HUSK_E_INVALID_WASM, module->start_offset,
            "start function %u must take and return nothing, but has %u parameters and %u results",
            module->start_func_idx, type->params_count, type->results_count);
    return 0;
}

static int validate_export(struct validator *validator, const struct wasm_export *export) {
    static const char *const kind_names[] = {"function", "table", "memory", "global", "tag"};
    struct wasm_module *module = validator->module;
    const uint32_t counts[] = {module->funcs_count, module->tables_count, module->memories_count,
                               module->globals_count, module->tags_count};
    if (export->idx >= counts[export->kind])
        return error_index(validator, export->name.offset, kind_names[export->kind], export->idx);
    if (export->kind == WASM_KIND_FUNC)
        module->funcs[export->idx].is_declared = true;
    return 0;
}

static int export_compare(const void *left, const void *right) {
    const struct wasm_export *a = *(const struct wasm_export *const *)left;
    const struct wasm_export *b = *(const struct wasm_export *const *)right;
    if (a->name.count != b->name.count)
        return a->name.count < b->name.count ? -1 : 1;
    int order = memcmp(a->name.data, b->name.data, a->name.count);
    return order != 0 ? order : (a > b) - (a < b);
}

/* By sorting: a hash table would let a hostile module choose its collisions. */
static int validate_export_names(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    const struct wasm_export **sorted =
        calloc((size_t)module->exports_count + 1, sizeof(const struct wasm_export *));
    if (sorted == NULL)
        return error_set(validator->err, HUSK_E_NOMEM, "out of memory while validating");
    for (uint32_t i = 0; i < module->exports_count; i++)
        sorted[i] = &module->exports[i];
    qsort(sorted, module->exports_count, sizeof(const struct wasm_export *), export_compare);
    int status = 0;
    for (uint32_t i = 1; status == 0 && i < module->exports_count; i++) {
        const struct wasm_bytes *name = &sorted[i]->name;
        if (name->count == sorted[i - 1]->name.count &&
            memcmp(name->data, sorted[i - 1]->name.data, name->count) == 0)
            status = wasm_error(validator->err, HUSK_E_INVALID_WASM, name->offset,
                                "duplicate export name: exports %zu and %zu",
                                (size_t)(sorted[i - 1] - module->exports),
                                (size_t)(sorted[i] - module->exports));
    }
    free(sorted);
    return status;
}

static int validate_exports(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < module->exports_count; i++)
        status = validate_export(validator, &module->exports[i]);
    return status != 0 ? status : validate_export_names(validator);
}

/* ---- bodies ---- */

static int validate_funcs(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    for (uint32_t i = module->imported_funcs_count; i < module->funcs_count; i++) {
        int status = validate_func(validator, &module->funcs[i]);
        if (status != 0)
            return error_while(validator->err, status, "validating function %u", i);
    }
    return 0;
}

int wasm_validate_features(struct wasm_module *module, wasm_features_t enabled,
                           struct husk_error *err) {
    /* In this order: function types before anything that uses them, everything that declares
     * functions before the bodies. */
    static int (*const steps[])(struct validator *) = {
        validate_types,    validate_func_types, validate_global_types, validate_tables,
        validate_memories, validate_tags,       validate_globals,      validate_elems,
        validate_datas,    validate_start,      validate_exports,      validate_funcs,
    };
    const wasm_features_t decoded =
        module->used.set & ~WASM_FEATURE_BIT(MULTI_MEMORY) & ~WASM_FEATURE_BIT(EXTENDED_CONST);
    for (unsigned i = 0; i < WASM_FEATURE_COUNT; i++)
        if ((decoded & ~enabled) >> i & 1)
            return wasm_error(err, HUSK_E_UNSUPPORTED, module->used.first[i].offset,
                              "uses %s (%s), which is not enabled", wasm_feature_rows[i].text,
                              module->used.first[i].what);
    if (module->wide_limits_offset != 0 && (enabled & WASM_FEATURE_BIT(MEMORY64)) == 0)
        return wasm_error(err, HUSK_E_BAD_WASM, module->wide_limits_offset,
                          "limits: integer too large");
    struct validator validator = {.module = module, .enabled = enabled, .err = err};
    int status = stack_grow(&validator, 1); /* so that its address is never NULL */
    for (size_t i = 0; status == 0 && i < sizeof steps / sizeof steps[0]; i++)
        status = steps[i](&validator);
    free(validator.stack);
    free(validator.frames);
    free(validator.run_ends);
    free(validator.inits);
    free(validator.is_init);
    return status;
}

int wasm_validate(struct wasm_module *module, struct husk_error *err) {
    return wasm_validate_features(module, WASM_FEATURES_ALL, err);
}
