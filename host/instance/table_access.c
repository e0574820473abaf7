/*
 * host/instance/table_access.c: the embedder's access to tables, and to functions by reference.
 * Table entries are guest memory. So an entry is read once, and a funcref is used for a call only
 * after it was found among the image's functions (image_funcs.c).
 */
#include <string.h>

#include "error.h"
#include "image_internal.h"
#include "name_text.h"
#include "sandbox_internal.h"

int husk_image_table(const husk_image *image, const char *name, size_t name_bytes,
                     uint32_t *ret_table_idx, struct husk_error *err) {
    struct name_text shown;
    if (image == NULL || name == NULL || ret_table_idx == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_table: a NULL argument");
    const size_t bytes = name_length(name, name_bytes);
    const uint32_t idx = image_export_find(image, name, bytes);
    if (idx == UINT32_MAX || image->code->exports[idx].kind != HUSK_ABI_TABLE)
        return error_set(err, HUSK_E_NOT_FOUND, "the module exports no table named \"%s\"",
                         name_show(&shown, name, bytes));
    *ret_table_idx = image->code->exports[idx].idx;
    return 0;
}

uint64_t husk_table_size(const husk_sandbox *sandbox, uint32_t table_idx) {
    return sandbox->image != NULL && table_idx < sandbox->image->code->tables_count
               ? sandbox->machine->sizes.table_entries[table_idx]
               : 0;
}

static husk_type elem_type(const husk_sandbox *sandbox, uint32_t table_idx) {
    return (husk_type)valtype_to_byte(sandbox->image->code->tables[table_idx].elem_type);
}

static int find_entry(const husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                      void **ret_entry, struct husk_error *err) {
    int status = sandbox_check_usable(sandbox, err);
    if (status != 0)
        return status;
    if (table_idx >= sandbox->image->code->tables_count)
        return error_set(err, HUSK_E_LIMIT, "the module has no table %u", table_idx);
    const struct husk_image_table *table = &sandbox->image->code->tables[table_idx];
    const uint64_t entries = sandbox->machine->sizes.table_entries[table_idx];
    if (entry_idx >= entries)
        return error_set(err, HUSK_E_LIMIT, "table %u has %llu entries, so no entry %llu",
                         table_idx, (unsigned long long)entries, (unsigned long long)entry_idx);
    *ret_entry = arena_span(&sandbox->machine->arena, table->base_gva + 8 * entry_idx, 8);
    return 0;
}

int husk_table_get(husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                   struct husk_value *ret_value, struct husk_error *err) {
    void *entry = NULL;
    if (sandbox == NULL || ret_value == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_table_get: a NULL argument");
    int status = find_entry(sandbox, table_idx, entry_idx, &entry, err);
    if (status != 0)
        return status;
    struct husk_value value;
    memset(&value, 0, sizeof value);
    value.type = elem_type(sandbox, table_idx);
    memcpy(&value.of.ref, entry, sizeof value.of.ref);
    *ret_value = value;
    return 0;
}

int husk_table_set(husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                   const struct husk_value *value, struct husk_error *err) {
    void *entry = NULL;
    if (sandbox == NULL || value == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_table_set: a NULL argument");
    int status = find_entry(sandbox, table_idx, entry_idx, &entry, err);
    if (status == 0 && value->type != elem_type(sandbox, table_idx))
        status =
            error_set(err, HUSK_E_TYPE, "table %u is of %s; %s given", table_idx,
                      husk_type_name(elem_type(sandbox, table_idx)), husk_type_name(value->type));
    if (status == 0)
        status = sandbox_check_ref(sandbox, value, err);
    if (status != 0)
        return status;
    hotset_host_writes(&sandbox->machine->hotset, entry, sizeof value->of.ref);
    memcpy(entry, &value->of.ref, sizeof value->of.ref);
    return 0;
}

/* ---- references ---- */

int sandbox_check_ref(const husk_sandbox *sandbox, const struct husk_value *value,
                      struct husk_error *err) {
    uint32_t idx;
    if (value->type != HUSK_FUNCREF || value->of.ref == 0)
        return 0;
    int status = image_funcref_find(sandbox->image->code, value->of.ref, &idx, err);
    return status == HUSK_E_GUEST
               ? error_set(err, HUSK_E_TYPE, "the funcref 0x%llx is of no function of this module",
                           (unsigned long long)value->of.ref)
               : status;
}

int husk_func_from_ref(husk_sandbox *sandbox, const struct husk_value *ref, husk_func *ret_func,
                       struct husk_functype *ret_type, struct husk_error *err) {
    uint32_t idx = 0;
    if (sandbox == NULL || ref == NULL || ret_func == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_func_from_ref: a NULL argument");
    if (ref->type != HUSK_FUNCREF)
        return error_set(err, HUSK_E_TYPE, "the value is of type %s, not a funcref",
                         husk_type_name(ref->type));
    if (sandbox->image == NULL)
        return sandbox_unusable(sandbox, err);
    struct image_code *code = sandbox->image->code;
    int status = image_funcref_find(code, ref->of.ref, &idx, err);
    if (status != 0)
        return status;
    *ret_func = image_func_make(code, idx);
    if (ret_type != NULL)
        *ret_type = image_functype(code, code->funcs[idx].type_idx);
    return 0;
}

int husk_func_to_ref(husk_sandbox *sandbox, husk_func func, struct husk_value *ret_ref,
                     struct husk_error *err) {
    if (sandbox == NULL || ret_ref == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_func_to_ref: a NULL argument");
    if (sandbox->image == NULL)
        return sandbox_unusable(sandbox, err);
    const struct husk_image_func *row = image_func_row(sandbox->image->code, func);
    if (row == NULL || row->code_gva == 0)
        return image_func_refuse(sandbox->image->code, func, err);
    struct husk_value value;
    memset(&value, 0, sizeof value);
    value.type = HUSK_FUNCREF;
    value.of.ref = image_funcref(row);
    *ret_ref = value;
    return 0;
}
