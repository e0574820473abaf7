/* host/instance/access.c: the embedder's access to linear memory, by checked span, and to exported
 * globals, between calls and during them. */
#include <string.h>

#include "caller.h"
#include "error.h"
#include "image_internal.h"
#include "name_text.h"
#include "sandbox_internal.h"
#include "values.h"

int sandbox_span(const husk_sandbox *sandbox, uint32_t mem_idx, uint64_t addr, uint64_t count,
                 uint8_t **ret_span, struct husk_error *err) {
    if (sandbox->image == NULL)
        return error_set(err, HUSK_E_STATE, "nothing is loaded, so there is no linear memory");
    if (mem_idx >= sandbox->machine->arena.memories_count)
        return error_set(err, HUSK_E_LIMIT, "the module has no memory %u", mem_idx);
    const struct arena_memory *memory = &sandbox->machine->arena.memories[mem_idx];
    if (count > memory->bytes || addr > memory->bytes - count)
        return error_set(err, HUSK_E_LIMIT,
                         "[%llu, %llu + %llu) is outside of memory %u, which has %llu bytes",
                         (unsigned long long)addr, (unsigned long long)addr,
                         (unsigned long long)count, mem_idx, (unsigned long long)memory->bytes);
    *ret_span = memory->hva + addr;
    return 0;
}

int husk_memory_span(husk_sandbox *sandbox, const struct husk_range *range, void **ret_span,
                     struct husk_error *err) {
    uint8_t *span = NULL;
    if (sandbox == NULL || range == NULL || ret_span == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_memory_span: a NULL argument");
    int status = sandbox_span(sandbox, range->mem_idx, range->addr, range->count, &span, err);
    /* The embedder may write there from any thread, so a restore must not rely on its own thread's
     * faults. */
    if (status == 0 && range->count != 0)
        status = hotset_pin(&sandbox->machine->hotset, &sandbox->machine->arena,
                            sandbox->machine->mapped, span, range->count, err);
    if (status == 0)
        *ret_span = span;
    return status;
}

int husk_memory_read(husk_sandbox *sandbox, const struct husk_range *range, void *ret_bytes,
                     struct husk_error *err) {
    uint8_t *span = NULL;
    if (sandbox == NULL || range == NULL || (ret_bytes == NULL && range->count != 0))
        return error_set(err, HUSK_E_INVAL, "husk_memory_read: a NULL argument");
    int status = sandbox_span(sandbox, range->mem_idx, range->addr, range->count, &span, err);
    if (status == 0 && range->count != 0)
        memcpy(ret_bytes, span, range->count);
    return status;
}

int husk_memory_write(husk_sandbox *sandbox, const struct husk_range *range, const void *bytes,
                      struct husk_error *err) {
    uint8_t *span = NULL;
    if (sandbox == NULL || range == NULL || (bytes == NULL && range->count != 0))
        return error_set(err, HUSK_E_INVAL, "husk_memory_write: a NULL argument");
    int status = sandbox_span(sandbox, range->mem_idx, range->addr, range->count, &span, err);
    if (status != 0 || range->count == 0)
        return status;
    hotset_host_writes(&sandbox->machine->hotset, span, range->count);
    memcpy(span, bytes, range->count);
    return 0;
}

void *husk_caller_span(husk_caller *caller, const struct husk_range *range) {
    uint8_t *span = NULL;
    if (range == NULL ||
        sandbox_span(caller->sandbox, range->mem_idx, range->addr, range->count, &span, NULL) != 0)
        return NULL;
    /* The span ends with the host function, so it need not be pinned. */
    hotset_host_writes(&caller->sandbox->machine->hotset, span, range->count);
    return span;
}

uint64_t husk_memory_bytes(const husk_sandbox *sandbox, uint32_t mem_idx) {
    return sandbox->image != NULL && mem_idx < sandbox->machine->arena.memories_count
               ? sandbox->machine->arena.memories[mem_idx].bytes
               : 0;
}

static int global_find(const husk_sandbox *sandbox, const char *name, size_t name_bytes,
                       const struct husk_image_global **ret_global, struct husk_error *err) {
    struct name_text shown;
    if (sandbox == NULL || name == NULL)
        return error_set(err, HUSK_E_INVAL, "a global: a NULL argument");
    const husk_image *image = sandbox->image;
    if (image == NULL)
        return error_set(err, HUSK_E_STATE, "nothing is loaded, so there are no globals");
    const struct image_code *code = image->code;
    const size_t bytes = name_length(name, name_bytes);
    const uint32_t idx = image_export_find(image, name, bytes);
    if (idx == UINT32_MAX || code->exports[idx].kind != HUSK_ABI_GLOBAL)
        return error_set(err, HUSK_E_NOT_FOUND, "the module exports no global named \"%s\"",
                         name_show(&shown, name, bytes));
    *ret_global = &code->globals[code->exports[idx].idx];
    return 0;
}

static struct husk_slot *global_slot(const husk_sandbox *sandbox,
                                     const struct husk_image_global *global) {
    return (struct husk_slot *)(void *)arena_span(&sandbox->machine->arena, global->gva,
                                                  sizeof(struct husk_slot));
}

int husk_global_get(husk_sandbox *sandbox, const char *name, size_t name_bytes,
                    struct husk_value *ret_value, struct husk_error *err) {
    const struct husk_image_global *global = NULL;
    if (ret_value == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_global_get: a NULL argument");
    int status = global_find(sandbox, name, name_bytes, &global, err);
    if (status == 0)
        *ret_value =
            value_from_slot((husk_type)valtype_to_byte(global->type), global_slot(sandbox, global));
    return status;
}

int husk_global_set(husk_sandbox *sandbox, const char *name, size_t name_bytes,
                    const struct husk_value *value, struct husk_error *err) {
    const struct husk_image_global *global = NULL;
    struct name_text shown;
    if (value == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_global_set: a NULL argument");
    int status = global_find(sandbox, name, name_bytes, &global, err);
    if (status != 0)
        return status;
    const size_t bytes = name_length(name, name_bytes);
    if ((global->flags & HUSK_GLOBAL_MUTABLE) == 0)
        return error_set(err, HUSK_E_TYPE, "the global \"%s\" cannot be changed: it is not mutable",
                         name_show(&shown, name, bytes));
    const husk_type type = (husk_type)valtype_to_byte(global->type);
    if (value->type != type)
        return error_set(err, HUSK_E_TYPE, "the global \"%s\" is of type %s; %s given",
                         name_show(&shown, name, bytes), husk_type_name(type),
                         husk_type_name(value->type));
    status = sandbox_check_ref(sandbox, value, err);
    if (status != 0)
        return status;
    struct husk_slot *slot = global_slot(sandbox, global);
    hotset_host_writes(&sandbox->machine->hotset, slot, sizeof *slot);
    value_to_slot(value, slot);
    return 0;
}
