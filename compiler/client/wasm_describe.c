/*
 * compiler/client/wasm_describe.c: husk_wasm_describe() and husk_wasm_interface(): the imports and
 * exports of a module as the public API shows them.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "husk_compile.h"
#include "module.h"
#include "name_text.h"
#include "options.h"
#include "types.h"

struct name_buffer { /* names in the module have no NUL behind them */
    char *bytes;
    size_t capacity;
};

struct describer {
    const struct wasm_module *module;
    void (*visit)(void *user, bool is_import, const struct husk_extern *item);
    void *user;
    struct name_buffer name, from;
    husk_type *types;
    size_t types_capacity;
};

static const char *name_copy(struct name_buffer *buffer, struct wasm_bytes name) {
    if ((size_t)name.count + 1 > buffer->capacity) {
        char *grown = realloc(buffer->bytes, (size_t)name.count + 1);
        if (grown == NULL)
            return NULL;
        buffer->bytes = grown;
        buffer->capacity = (size_t)name.count + 1;
    }
    if (name.count != 0)
        memcpy(buffer->bytes, name.data, name.count);
    buffer->bytes[name.count] = 0;
    return buffer->bytes;
}

static husk_type public_type(const struct describer *describer, valtype_t type) {
    return (husk_type)valtype_to_byte(wasm_abi_type(describer->module, type));
}

static bool describe_func(struct describer *describer, uint32_t type_idx,
                          struct husk_functype *ret_type) {
    const struct wasm_functype *type = &describer->module->types[type_idx];
    size_t total = (size_t)type->params_count + type->results_count;
    husk_type *types = describer->types;
    if (types == NULL || total > describer->types_capacity) {
        types = realloc(types, (total + 1) * sizeof *types); /* never zero bytes */
        if (types == NULL)
            return false;
        describer->types = types;
        describer->types_capacity = total;
    }
    for (uint32_t i = 0; i < type->params_count; i++)
        types[i] = public_type(describer, type->params[i]);
    for (uint32_t i = 0; i < type->results_count; i++)
        types[type->params_count + i] = public_type(describer, type->results[i]);
    *ret_type = (struct husk_functype){types, type->params_count, types + type->params_count,
                                       type->results_count};
    return true;
}

static void describe_limits(const struct wasm_limits *limits, struct husk_extern *item) {
    item->min = limits->min;
    item->has_max = limits->has_max;
    item->max = limits->has_max ? limits->max : UINT64_MAX;
    item->is_64 = limits->is_64;
}

/* The parts of an extern that depend on its kind; false: out of memory. */
static bool describe_kind(struct describer *describer, enum wasm_kind kind, uint32_t idx,
                          struct husk_extern *item) {
    const struct wasm_module *module = describer->module;
    item->idx = idx;
    switch (kind) {
    case WASM_KIND_FUNC:
        item->kind = HUSK_EXTERN_FUNC;
        return describe_func(describer, module->funcs[idx].type_idx, &item->func);
    case WASM_KIND_TABLE:
        item->kind = HUSK_EXTERN_TABLE;
        item->type = public_type(describer, module->tables[idx].elem_type);
        describe_limits(&module->tables[idx].limits, item);
        return true;
    case WASM_KIND_MEMORY:
        item->kind = HUSK_EXTERN_MEMORY;
        describe_limits(&module->memories[idx].limits, item);
        item->min = wasm_memory_chunks(&module->memories[idx], item->min);
        if (item->has_max)
            item->max = wasm_memory_chunks(&module->memories[idx], item->max);
        item->is_shared = module->memories[idx].limits.is_shared;
        return true;
    case WASM_KIND_GLOBAL:
        item->kind = HUSK_EXTERN_GLOBAL;
        item->type = public_type(describer, module->globals[idx].type);
        item->is_mutable = module->globals[idx].is_mutable;
        return true;
    case WASM_KIND_TAG:
        item->kind = HUSK_EXTERN_TAG;
        return describe_func(describer, module->tags[idx].type_idx, &item->func);
    }
    return true;
}

static bool describe_import(struct describer *describer, const struct wasm_import *import) {
    struct husk_extern item = {.size = sizeof item,
                               .module_bytes = import->module.count,
                               .name_bytes = import->name.count};
    item.module = name_copy(&describer->from, import->module);
    item.name = name_copy(&describer->name, import->name);
    if (item.module == NULL || item.name == NULL ||
        !describe_kind(describer, import->kind, import->idx, &item))
        return false;
    describer->visit(describer->user, true, &item);
    return true;
}

static bool describe_export(struct describer *describer, const struct wasm_export *export) {
    struct husk_extern item = {.size = sizeof item, .name_bytes = export->name.count};
    item.name = name_copy(&describer->name, export->name);
    if (item.name == NULL || !describe_kind(describer, export->kind, export->idx, &item))
        return false;
    describer->visit(describer->user, false, &item);
    return true;
}

static bool describe_all(struct describer *describer) {
    const struct wasm_module *module = describer->module;
    bool is_good = true;
    for (uint32_t i = 0; is_good && i < module->imports_count; i++)
        is_good = describe_import(describer, &module->imports[i]);
    for (uint32_t i = 0; is_good && i < module->exports_count; i++)
        is_good = describe_export(describer, &module->exports[i]);
    free(describer->name.bytes);
    free(describer->from.bytes);
    free(describer->types);
    return is_good;
}

static void describe_info(const struct wasm_module *module, struct husk_wasm_info *info) {
    size_t name_bytes = module->name.count < sizeof info->module_name
                            ? module->name.count
                            : sizeof info->module_name - 1;
    *info = (struct husk_wasm_info){.types_count = module->types_count,
                                    .funcs_count = module->funcs_count,
                                    .tables_count = module->tables_count,
                                    .memories_count = module->memories_count,
                                    .globals_count = module->globals_count,
                                    .tags_count = module->tags_count,
                                    .elems_count = module->elems_count,
                                    .datas_count = module->datas_count,
                                    .customs_count = module->customs_count,
                                    .has_start = module->has_start,
                                    .uses_simd = (module->used.set & WASM_FEATURE_BIT(SIMD)) != 0};
    for (uint32_t i = 0; i < module->funcs_count; i++) {
        info->code_bytes += module->funcs[i].code.count;
        info->has_names |= module->funcs[i].name.count > 0;
    }
    for (uint32_t i = 0; i < module->datas_count; i++)
        info->data_bytes += module->datas[i].bytes.count;
    for (uint32_t i = 0; i < module->customs_count; i++)
        info->has_dwarf |= module->customs[i].name.count == 11 &&
                           memcmp(module->customs[i].name.data, ".debug_line", 11) == 0;
    wasm_features_print(module->used.set & (WASM_FEATURE_BIT(MVP) - 1), info->features,
                        sizeof info->features);
    if (name_bytes != 0)
        memcpy(info->module_name, module->name.data, name_bytes);
}

/* Of a module that was not validated: every index that describe_kind() follows exists. */
static bool type_exists(const struct wasm_module *module, valtype_t type) {
    return !wasm_has_index(type) || wasm_type_idx(type) < module->types_count;
}

static bool functype_exists(const struct wasm_module *module, uint32_t type_idx) {
    if (type_idx >= module->types_count || module->types[type_idx].form != WASM_FORM_FUNC)
        return false;
    const struct wasm_functype *type = &module->types[type_idx];
    bool exists = true;
    for (uint32_t i = 0; i < type->params_count; i++)
        exists &= type_exists(module, type->params[i]);
    for (uint32_t i = 0; i < type->results_count; i++)
        exists &= type_exists(module, type->results[i]);
    return exists;
}

static bool index_exists(const struct wasm_module *module, enum wasm_kind kind, uint32_t idx) {
    switch (kind) {
    case WASM_KIND_FUNC:
        return idx < module->funcs_count && functype_exists(module, module->funcs[idx].type_idx);
    case WASM_KIND_TABLE:
        return idx < module->tables_count && type_exists(module, module->tables[idx].elem_type);
    case WASM_KIND_MEMORY: return idx < module->memories_count;
    case WASM_KIND_GLOBAL:
        return idx < module->globals_count && type_exists(module, module->globals[idx].type);
    case WASM_KIND_TAG:
        return idx < module->tags_count && functype_exists(module, module->tags[idx].type_idx);
    }
    return false;
}

static int check_interface(const struct wasm_module *module, struct husk_error *err) {
    struct name_text shown;
    for (uint32_t i = 0; i < module->imports_count; i++) {
        const struct wasm_import *import = &module->imports[i];
        if (!index_exists(module, import->kind, import->idx))
            return error_at(err, HUSK_E_INVALID_WASM, import->name.offset,
                            "the import \"%s\" has a type that does not exist",
                            name_show(&shown, (const char *)import->name.data, import->name.count));
    }
    for (uint32_t i = 0; i < module->exports_count; i++) {
        const struct wasm_export *export = &module->exports[i];
        if (!index_exists(module, export->kind, export->idx))
            return error_at(err, HUSK_E_INVALID_WASM, export->name.offset,
                            "the export \"%s\" is something that does not exist, or has no type",
                            name_show(&shown, (const char *)export->name.data, export->name.count));
    }
    return 0;
}

int husk_wasm_interface(const void *wasm, size_t count,
                        void (*visit)(void *user, bool is_import, const struct husk_extern *item),
                        void *user, struct husk_error *err) {
    struct wasm_module *module = NULL;
    if (wasm == NULL || visit == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_wasm_interface: a pointer is NULL");
    int status = wasm_decode(wasm, count, &module, err);
    if (status == 0)
        status = check_interface(module, err);
    if (status == 0) {
        struct describer describer = {.module = module, .visit = visit, .user = user};
        if (!describe_all(&describer))
            status = error_set(err, HUSK_E_NOMEM, "out of memory for the names");
    }
    wasm_module_free(module);
    return status;
}

int husk_wasm_describe(const void *wasm, size_t count, struct husk_wasm_info *ret_info,
                       struct husk_error *err) {
    struct wasm_module *module = NULL;
    struct husk_wasm_info info;
    if (wasm == NULL || ret_info == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_wasm_describe: a pointer is NULL");
    int status = output_check("husk_wasm_info", ret_info, err);
    if (status == 0)
        status = wasm_decode(wasm, count, &module, err);
    if (status == 0)
        status = wasm_validate(module, err);
    if (status == 0) {
        describe_info(module, &info);
        output_fill(ret_info, &info, sizeof info);
    }
    wasm_module_free(module);
    return status;
}
