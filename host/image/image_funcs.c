/*
 * host/image/image_funcs.c: the values that stand for functions between embedder, host and guest:
 * handles (husk_func), and funcrefs (abi/mailbox.h). Funcrefs come from guest memory and are
 * hostile.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "image_internal.h"
#include "name_text.h"
#include "rows.h"

/* ---- handles ---- */

husk_func image_func_make(const struct image_code *code, uint32_t func_idx) {
    return (husk_func){{image_module_mark(code), IMAGE_FUNC_IS_SET | func_idx}};
}

int image_func_refuse(const struct image_code *code, husk_func func, struct husk_error *err) {
    if (func.opaque[1] >> 32 != IMAGE_FUNC_IS_SET >> 32)
        return error_set(err, HUSK_E_INVAL, "this husk_func was never set (husk_image_func())");
    if (func.opaque[0] != image_module_mark(code))
        return error_set(err, HUSK_E_INVAL,
                         "the husk_func is of another module than the one in the sandbox; find it "
                         "in an image of the sandbox's module");
    if ((uint32_t)func.opaque[1] >= code->funcs_count)
        return error_set(err, HUSK_E_NOT_FOUND, "function %u does not exist; the module has %u",
                         (uint32_t)func.opaque[1], code->funcs_count);
    return error_set(err, HUSK_E_NOT_FOUND,
                     "function %u cannot be called from outside: the module does not export it",
                     (uint32_t)func.opaque[1]);
}

int husk_image_func(const husk_image *image, const char *name, size_t name_bytes,
                    husk_func *ret_func, struct husk_error *err) {
    struct name_text shown;
    if (image == NULL || name == NULL || ret_func == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_func: a NULL argument");
    const struct image_code *code = image->code;
    const size_t bytes = name_length(name, name_bytes);
    uint32_t idx = image_export_find(image, name, bytes);
    if (idx == UINT32_MAX)
        return error_set(err, HUSK_E_NOT_FOUND, "the module exports nothing named \"%s\"",
                         name_show(&shown, name, bytes));
    if (code->exports[idx].kind != HUSK_ABI_FUNC)
        return error_set(err, HUSK_E_NOT_FOUND, "the export \"%s\" is not a function",
                         name_show(&shown, name, bytes));
    *ret_func = image_func_make(code, code->exports[idx].idx);
    return 0;
}

int husk_image_func_type(const husk_image *image, husk_func func, struct husk_functype *ret_type,
                         struct husk_error *err) {
    if (image == NULL || ret_type == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_func_type: a NULL argument");
    const struct husk_image_func *row = image_func_row(image->code, func);
    if (row == NULL)
        return image_func_refuse(image->code, func, err);
    *ret_type = image_functype(image->code, row->type_idx);
    return 0;
}

void image_find_restored(const husk_image *image, struct image_code *code) {
    static const char name[] = "husk_restored";
    const uint32_t idx = image_export_find(image, name, sizeof name - 1);
    code->restored_idx = UINT32_MAX;
    if (idx == UINT32_MAX || code->exports[idx].kind != HUSK_ABI_FUNC)
        return;
    const uint32_t func_idx = code->exports[idx].idx;
    const struct husk_functype type = image_functype(code, code->funcs[func_idx].type_idx);
    if (type.params_count == 2 && type.params[0] == HUSK_I64 && type.params[1] == HUSK_I64 &&
        type.results_count == 0)
        code->restored_idx = func_idx;
}

/* ---- funcrefs ---- */

/* A type's id is its index + 1, so that 0 is null. */
uint64_t image_funcref(const struct husk_image_func *row) {
    return row->code_gva == 0 ? 0 : ((uint64_t)row->type_idx + 1) << 32 | row->code_gva;
}

static int compare_refs(const void *left, const void *right) {
    const struct image_funcref *a = left, *b = right;
    return a->ref < b->ref ? -1 : a->ref > b->ref;
}

/* Make the sorted list, once. If two threads make it at the same time, the first one counts. NULL:
 * no memory. */
static const struct image_funcref *funcrefs_of(struct image_code *code) {
    struct image_funcref *made = atomic_load_explicit(&code->funcrefs, memory_order_acquire), *none;
    if (made != NULL)
        return made;
    made = calloc(code->funcs_count + 1u, sizeof *made);
    if (made == NULL)
        return NULL;
    for (uint32_t i = 0; i < code->funcs_count; i++)
        made[i] = (struct image_funcref){image_funcref(&code->funcs[i]), i};
    qsort(made, code->funcs_count, sizeof *made, compare_refs);
    none = NULL;
    if (atomic_compare_exchange_strong(&code->funcrefs, &none, made))
        return made;
    free(made);
    return none;
}

int image_funcref_find(struct image_code *code, uint64_t ref, uint32_t *ret_func_idx,
                       struct husk_error *err) {
    const struct image_funcref *refs = funcrefs_of(code);
    if (refs == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the functions of an image");
    if (ref == 0)
        return error_set(err, HUSK_E_NOT_FOUND, "the reference is null, so there is no function");
    const struct image_funcref *row = rows_last_up_to(ROWS(refs, code->funcs_count, ref), ref);
    if (row == NULL || row->ref != ref)
        return error_set(err, HUSK_E_GUEST, "0x%llx refers to no function of the module",
                         (unsigned long long)ref);
    *ret_func_idx = row->func_idx;
    return 0;
}

uint32_t image_main_memory(const struct image_code *code) {
    const uint32_t count = code->instances_count;
    return count == 0 || code->instances[count - 1].memory_idx == UINT32_MAX
               ? 0
               : code->instances[count - 1].memory_idx;
}

uint32_t image_instance_memory(const struct image_code *code, uint32_t instance) {
    return instance >= code->instances_count || code->instances[instance].memory_idx == UINT32_MAX
               ? image_main_memory(code)
               : code->instances[instance].memory_idx;
}
