/*
 * husk_memory.h: a guest's memories, globals, tables and references. Part of husk.h.
 */
#ifndef HUSK_MEMORY_H
#define HUSK_MEMORY_H

#include "husk_call.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All of this works between calls and, on the sandbox of its caller, in a host function. */

/* Copy bytes out of the guest's memory, or into it; all of them or, if one is out of bounds
 * (HUSK_E_LIMIT), none. Nothing is kept, so unlike husk_memory_span() it makes no restore slower.
 * Also of a poisoned sandbox, to look at what there is. HUSK_E_STATE: nothing is loaded. */
HUSK_API int husk_memory_read(husk_sandbox *sandbox, const struct husk_range *range,
                              void *ret_bytes, struct husk_error *err);
HUSK_API int husk_memory_write(husk_sandbox *sandbox, const struct husk_range *range,
                               const void *bytes, struct husk_error *err);

/* Do what the guest's memory.grow does: delta_pages wasm pages (64 KiB) of zeros more. Spans stay
 * valid. ret_old_pages (may be NULL): the size before. HUSK_E_LIMIT: no such memory, or more than
 * its maximum or memory_max_bytes; HUSK_E_STATE, HUSK_E_POISONED, HUSK_E_NOMEM, HUSK_E_SYS. Nothing
 * has changed then. */
HUSK_API int husk_memory_grow(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t delta_pages,
                              uint64_t *ret_old_pages, struct husk_error *err);

/* A checked view of a range: *ret_span points into the sandbox's memory, and stays valid until the
 * sandbox is freed, unloaded, or loaded into. Spans survive a restore, with two exceptions, which
 * remap memory: the first restore to a reopened image, and a retry after a restore failed half-way.
 * Do not use bytes that a restore put out of bounds. Any thread may write to it, but not while the
 * sandbox is being restored. The guest can change it whenever it runs. Restores look at these pages
 * from then on; in a host function husk_caller_span() avoids that. HUSK_E_LIMIT if any byte is out
 * of bounds. */
HUSK_API int husk_memory_span(husk_sandbox *sandbox, const struct husk_range *range,
                              void **ret_span, struct husk_error *err);
/* Bytes; 0 if there is no such memory. */
HUSK_API uint64_t husk_memory_bytes(const husk_sandbox *sandbox, uint32_t mem_idx);
/* An exported global. HUSK_E_NOT_FOUND; HUSK_E_STATE, HUSK_E_POISONED. Setting also HUSK_E_TYPE: a
 * value of another type, an immutable global, or a funcref that is not of this module. */
HUSK_API int husk_global_get(husk_sandbox *sandbox, const char *name, size_t name_bytes,
                             struct husk_value *ret_value, struct husk_error *err);
HUSK_API int husk_global_set(husk_sandbox *sandbox, const char *name, size_t name_bytes,
                             const struct husk_value *value, struct husk_error *err);

/* Entries; 0 if there is no such table. */
HUSK_API uint64_t husk_table_size(const husk_sandbox *sandbox, uint32_t table_idx);
/* An entry: a funcref or an externref, as the table has it. HUSK_E_LIMIT: no such table or entry;
 * HUSK_E_STATE, HUSK_E_POISONED. Setting also HUSK_E_TYPE: a value of another type, or a funcref
 * that is not of this module. */
HUSK_API int husk_table_get(husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                            struct husk_value *ret_value, struct husk_error *err);
HUSK_API int husk_table_set(husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                            const struct husk_value *value, struct husk_error *err);
/* So many null entries more, as by table.grow. ret_old_entries (may be NULL) and errors as of
 * husk_memory_grow(); the limit is table_max_entries. */
HUSK_API int husk_table_grow(husk_sandbox *sandbox, uint32_t table_idx, uint64_t delta_entries,
                             uint64_t *ret_old_entries, struct husk_error *err);

/* The function that a funcref refers to, to be called with husk_call(): so a table entry is
 * called, from outside or, as emscripten's invoke_…() want it, from a host function. The guest
 * decides what is in its tables, globals and results, and may forge it: what is not exactly a
 * function of the module is refused. ret_type may be NULL; it lives as long as the image.
 * HUSK_E_NOT_FOUND: it is null; HUSK_E_GUEST: no function; HUSK_E_TYPE: not a funcref;
 * HUSK_E_STATE, HUSK_E_NOMEM. */
HUSK_API int husk_func_from_ref(husk_sandbox *sandbox, const struct husk_value *ref,
                                husk_func *ret_func, struct husk_functype *ret_type,
                                struct husk_error *err);
/* The funcref of a function, for tables, globals and arguments of this sandbox. HUSK_E_INVAL: it is
 * of another module; HUSK_E_NOT_FOUND, HUSK_E_STATE. */
HUSK_API int husk_func_to_ref(husk_sandbox *sandbox, husk_func func, struct husk_value *ret_ref,
                              struct husk_error *err);

#ifdef __cplusplus
}
#endif
#endif
