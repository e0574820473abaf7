/*
 * husk_memory.h: a guest's memories, globals, tables and references. Part of husk.h.
 */
#ifndef HUSK_MEMORY_H
#define HUSK_MEMORY_H

#include "husk_call.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All functions here work between calls, while a call is pending, and in a host function on the
 * sandbox that called it. */

/* Copy bytes out of the guest's memory, or into it. If any byte is out of bounds, nothing is copied
 * (HUSK_E_LIMIT). These functions do not make restores slower, as husk_memory_span() can. The
 * sandbox may be poisoned. HUSK_E_STATE: nothing is loaded. */
HUSK_API int husk_memory_read(husk_sandbox *sandbox, const struct husk_range *range,
                              void *ret_bytes, struct husk_error *err);
HUSK_API int husk_memory_write(husk_sandbox *sandbox, const struct husk_range *range,
                               const void *bytes, struct husk_error *err);

/* Grow a memory by delta_pages wasm pages (64 KiB) of zeros, as the guest's memory.grow does. (A
 * memory with pages of one byte has its size rounded up to 64 KiB for the host, here and below. Its
 * guest sees only what it asked for itself, so this does not grow it for the guest.) Spans
 * stay valid. *ret_old_pages is the size before; ret_old_pages may be NULL. HUSK_E_LIMIT: there is
 * no such memory, or the new size is above its maximum or memory_max_bytes. HUSK_E_STATE,
 * HUSK_E_POISONED, HUSK_E_NOMEM, HUSK_E_SYS. On failure nothing has changed. */
HUSK_API int husk_memory_grow(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t delta_pages,
                              uint64_t *ret_old_pages, struct husk_error *err);

/* Check a range, and give a pointer to it: *ret_span points into the sandbox's memory. It stays
 * valid until the sandbox is freed, unloaded, or loaded into. Spans survive a restore, with two
 * exceptions, which remap memory: the first restore to a reopened image, and a retry after a
 * restore failed half-way. Do not use bytes that a restore put out of bounds. Any thread may write
 * to it, but not while the sandbox is being restored. The guest can change it whenever it runs.
 * Restores look at these pages from now on; in a host function husk_caller_span() avoids that.
 * HUSK_E_LIMIT if any byte is out of bounds. */
HUSK_API int husk_memory_span(husk_sandbox *sandbox, const struct husk_range *range,
                              void **ret_span, struct husk_error *err);
/* The size in bytes; 0 if there is no such memory. */
HUSK_API uint64_t husk_memory_bytes(const husk_sandbox *sandbox, uint32_t mem_idx);
/* Read and write an exported global. name_bytes 0: the name ends at its NUL. HUSK_E_NOT_FOUND.
 * HUSK_E_STATE: nothing is loaded. HUSK_E_TYPE (writing): a value of another type, an immutable
 * global, or a funcref that is no function of this module. A funcref of another module may happen
 * to be one here; then it means that function. */
HUSK_API int husk_global_get(husk_sandbox *sandbox, const char *name, size_t name_bytes,
                             struct husk_value *ret_value, struct husk_error *err);
HUSK_API int husk_global_set(husk_sandbox *sandbox, const char *name, size_t name_bytes,
                             const struct husk_value *value, struct husk_error *err);

/* The number of entries; 0 if there is no such table. */
HUSK_API uint64_t husk_table_size(const husk_sandbox *sandbox, uint32_t table_idx);
/* Read and write an entry of a table, a reference. HUSK_E_LIMIT: there is no such
 * table or entry. HUSK_E_STATE, HUSK_E_POISONED. HUSK_E_TYPE (writing): a value of another type, or
 * a funcref that is no function of this module, as of husk_global_set(). */
HUSK_API int husk_table_get(husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                            struct husk_value *ret_value, struct husk_error *err);
HUSK_API int husk_table_set(husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx,
                            const struct husk_value *value, struct husk_error *err);
/* Grow a table by delta_entries null entries, as the guest's table.grow does. *ret_old_entries is
 * the size before; ret_old_entries may be NULL. Errors as of husk_memory_grow(); the limit is
 * table_max_entries. */
HUSK_API int husk_table_grow(husk_sandbox *sandbox, uint32_t table_idx, uint64_t delta_entries,
                             uint64_t *ret_old_entries, struct husk_error *err);

/* Get the function that a funcref refers to, for husk_call(). So a program can call a table entry,
 * also in a host function (emscripten's invoke_…()). The guest may forge funcrefs in its tables,
 * globals and results; one that is not exactly a function of the module is refused. ret_type may be
 * NULL; its arrays live as long as the image. HUSK_E_NOT_FOUND: the funcref is null. HUSK_E_GUEST:
 * it refers to no function. HUSK_E_TYPE: the value is not a funcref. HUSK_E_STATE, HUSK_E_NOMEM. */
HUSK_API int husk_func_from_ref(husk_sandbox *sandbox, const struct husk_value *ref,
                                husk_func *ret_func, struct husk_functype *ret_type,
                                struct husk_error *err);
/* Get the funcref of a function, for tables, globals and arguments of this sandbox. HUSK_E_INVAL:
 * the function belongs to another module. HUSK_E_NOT_FOUND, HUSK_E_STATE. */
HUSK_API int husk_func_to_ref(husk_sandbox *sandbox, husk_func func, struct husk_value *ret_ref,
                              struct husk_error *err);

#ifdef __cplusplus
}
#endif
#endif
