/* host/instance/access.c: what the embedder may look at and change between and during calls: linear
 * memory by checked span, exported globals. */
#include <string.h>

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

int husk_memory_span(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t addr, uint64_t count,
                     void **ret_span, struct husk_error *err) {
    uint8_t *span = NULL;
    int status = sandbox_span(sandbox, mem_idx, addr, count, &span, err);
    /* The embedder may write there from any thread: a restore must not rely on its own thread's
     * faults. */
    if (status == 0 && count != 0)
        status = hotset_pin(&sandbox->machine->hotset, &sandbox->machine->arena,
                            sandbox->machine->mapped, span, count, err);
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
    hotset_written_here(&sandbox->machine->hotset);
    memcpy(span, bytes, range->count);
    return 0;
}

uint64_t husk_memory_bytes(const husk_sandbox *sandbox, uint32_t mem_idx) {
    return sandbox->image != NULL && mem_idx < sandbox->machine->arena.memories_count
               ? sandbox->machine->arena.memories[mem_idx].bytes
               : 0;
}

/* NULL: not found, err is set. */
static const struct husk_image_global *
global_find(const husk_sandbox *sandbox, const char *export_name, struct husk_error *err) {
    const husk_image *image = sandbox->image;
    if (image == NULL) {
        error_set(err, HUSK_E_STATE, "nothing is loaded, so there are no globals");
        return NULL;
    }
    const struct image_code *code = image->code;
    uint32_t idx = image_export_find(image, export_name, strlen(export_name));
    if (idx != UINT32_MAX && code->exports[idx].kind == HUSK_ABI_GLOBAL)
        return &code->globals[code->exports[idx].idx];
    error_set(err, HUSK_E_NOT_FOUND, "the module exports no global named \"%s\"",
              NAME_SHOWN(export_name));
    return NULL;
}

int husk_global_get(husk_sandbox *sandbox, const char *export_name, struct husk_value *ret_value,
                    struct husk_error *err) {
    const struct husk_image_global *global = global_find(sandbox, export_name, err);
    if (global == NULL)
        return sandbox->image == NULL ? HUSK_E_STATE : HUSK_E_NOT_FOUND;
    const void *place = arena_span(&sandbox->machine->arena, global->gva, sizeof(struct husk_slot));
    *ret_value = value_from_slot((husk_type)valtype_to_byte(global->type), place);
    return 0;
}

int husk_global_set(husk_sandbox *sandbox, const char *export_name, const struct husk_value *value,
                    struct husk_error *err) {
    const struct husk_image_global *global = global_find(sandbox, export_name, err);
    if (global == NULL)
        return sandbox->image == NULL ? HUSK_E_STATE : HUSK_E_NOT_FOUND;
    if ((global->flags & HUSK_GLOBAL_MUTABLE) == 0)
        return error_set(err, HUSK_E_TYPE, "the global \"%s\" cannot be changed: it is not mutable",
                         NAME_SHOWN(export_name));
    if (value->type != (husk_type)valtype_to_byte(global->type))
        return error_set(
            err, HUSK_E_TYPE, "the global \"%s\" is of type %s; %s given", NAME_SHOWN(export_name),
            husk_type_name((husk_type)valtype_to_byte(global->type)), husk_type_name(value->type));
    int status = sandbox_check_ref(sandbox, value, err);
    if (status != 0)
        return status;
    hotset_written_here(&sandbox->machine->hotset);
    value_to_slot(value, (struct husk_slot *)(void *)arena_span(
                             &sandbox->machine->arena, global->gva, sizeof(struct husk_slot)));
    return 0;
}
