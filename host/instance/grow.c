/*
 * host/instance/grow.c: memory.grow and table.grow. The guest asks through a service exit, because
 * only the host can map pages. The embedder asks with husk_memory_grow() and husk_table_grow(). A
 * request within the limits succeeds unless the host lacks a resource; that failure is logged. The
 * guest gets -1 for every failure, as the standard allows (core specification 2.0, section 4.4.7).
 */
#include <string.h>

#include "error.h"
#include "image_internal.h"
#include "pages.h"
#include "sandbox_internal.h"

#define GROW_FAILED UINT64_MAX

/* Write a size where the guest reads it. The host never takes a size from there. */
static void write_size(struct machine *machine, uint32_t gva_value, uint64_t size) {
    uint8_t *place = arena_span(&machine->arena, gva_value, sizeof size);
    hotset_host_writes(&machine->hotset, place, sizeof size);
    memcpy(place, &size, sizeof size);
}

/* HUSK_E_LIMIT: the module, or the sandbox's options, allow no more. */
static int check_memory(const husk_sandbox *sandbox, uint64_t mem_idx, uint64_t delta_pages,
                        struct husk_error *err) {
    const struct machine *machine = sandbox->machine;
    if (mem_idx >= sandbox->image->code->memories_count)
        return error_set(err, HUSK_E_LIMIT, "the module has no memory %llu",
                         (unsigned long long)mem_idx);
    const uint64_t old_pages = machine->arena.memories[mem_idx].bytes / HUSK_WASM_PAGE_SIZE;
    if (delta_pages > machine->sizes.memory_max_pages[mem_idx] - old_pages)
        return error_set(err, HUSK_E_LIMIT,
                         "memory %llu has %llu pages and can have %llu, so not %llu more",
                         (unsigned long long)mem_idx, (unsigned long long)old_pages,
                         (unsigned long long)machine->sizes.memory_max_pages[mem_idx],
                         (unsigned long long)delta_pages);
    const uint64_t total_bytes = arena_memories_bytes(&machine->arena);
    if (delta_pages != 0 &&
        delta_pages * HUSK_WASM_PAGE_SIZE > machine->sizes.memory_max_bytes - total_bytes)
        return error_set(
            err, HUSK_E_LIMIT,
            "the memories have %llu bytes together; with %llu more pages that would be "
            "over memory_max_bytes",
            (unsigned long long)total_bytes, (unsigned long long)delta_pages);
    return 0;
}

/* Within the limits. */
static int grow_memory(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t delta_pages,
                       uint64_t *ret_old_pages, struct husk_error *err) {
    struct machine *machine = sandbox->machine;
    const uint64_t old_pages = machine->arena.memories[mem_idx].bytes / HUSK_WASM_PAGE_SIZE;
    int status = delta_pages == 0
                     ? 0
                     : machine_grow(machine, mem_idx, delta_pages * HUSK_WASM_PAGE_SIZE, err);
    if (status != 0)
        return status;
    *ret_old_pages = old_pages;
    if (delta_pages == 0)
        return 0;
    write_size(machine, sandbox->image->code->memories[mem_idx].size_gva, old_pages + delta_pages);
    sandbox_count_memory(sandbox);
    stat_count(sandbox->tally, STAT_memory_grows);
    return 0;
}

uint64_t sandbox_memory_grow(husk_sandbox *sandbox, uint64_t mem_idx, uint64_t delta_pages) {
    uint64_t old_pages = GROW_FAILED;
    struct husk_error err;
    if (check_memory(sandbox, mem_idx, delta_pages, NULL) != 0) {
        stat_count(sandbox->tally, STAT_memory_refusals);
        return GROW_FAILED;
    }
    if (grow_memory(sandbox, (uint32_t)mem_idx, delta_pages, &old_pages, &err) != 0)
        engine_log(sandbox->engine, HUSK_LOG_WARNING, "memory.grow failed: %s", err.message);
    return old_pages;
}

static uint64_t tables_total(const struct machine *machine) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < machine->mapped->code->tables_count; i++)
        total += machine->sizes.table_entries[i];
    return total;
}

static int check_table(const husk_sandbox *sandbox, uint64_t table_idx, uint64_t delta_entries,
                       struct husk_error *err) {
    const struct machine *machine = sandbox->machine;
    if (table_idx >= sandbox->image->code->tables_count)
        return error_set(err, HUSK_E_LIMIT, "the module has no table %llu",
                         (unsigned long long)table_idx);
    const uint64_t old_entries = machine->sizes.table_entries[table_idx];
    if (delta_entries > machine->sizes.table_max_entries[table_idx] - old_entries)
        return error_set(err, HUSK_E_LIMIT,
                         "table %llu has %llu entries and can have %llu, so not %llu more",
                         (unsigned long long)table_idx, (unsigned long long)old_entries,
                         (unsigned long long)machine->sizes.table_max_entries[table_idx],
                         (unsigned long long)delta_entries);
    if (delta_entries != 0 &&
        delta_entries > machine->sizes.table_max_total - tables_total(machine))
        return error_set(err, HUSK_E_LIMIT,
                         "the tables have %llu entries together; with %llu more that would be over "
                         "table_max_entries",
                         (unsigned long long)tables_total(machine),
                         (unsigned long long)delta_entries);
    return 0;
}

/* Within the limits. */
static int grow_table(husk_sandbox *sandbox, uint32_t table_idx, uint64_t delta_entries,
                      uint64_t *ret_old_entries, struct husk_error *err) {
    struct machine *machine = sandbox->machine;
    const struct husk_image_table *table = &sandbox->image->code->tables[table_idx];
    const uint64_t old_entries = machine->sizes.table_entries[table_idx];
    const uint64_t from = page_up(table->base_gva + 8 * old_entries);
    const uint64_t to = page_up(table->base_gva + 8 * (old_entries + delta_entries));
    int status = machine_map(machine, from, to - from, err);
    if (status != 0)
        return status;
    *ret_old_entries = old_entries;
    if (delta_entries == 0)
        return 0;
    machine->sizes.table_entries[table_idx] = old_entries + delta_entries;
    /* A misbehaving guest may have written beyond the old end, in the old last page; the new
     * entries must be null. Pages that were not mapped until now are zero. */
    const uint64_t old_end = table->base_gva + 8 * old_entries;
    const uint64_t stale_bytes =
        from - old_end < 8 * delta_entries ? from - old_end : 8 * delta_entries;
    uint8_t *stale = arena_span(&machine->arena, old_end, stale_bytes);
    hotset_host_writes(&machine->hotset, stale, stale_bytes);
    memset(stale, 0, stale_bytes);
    write_size(machine, table->size_gva, old_entries + delta_entries);
    return 0;
}

uint64_t sandbox_table_grow(husk_sandbox *sandbox, uint64_t table_idx, uint64_t delta_entries) {
    uint64_t old_entries = GROW_FAILED;
    struct husk_error err;
    if (check_table(sandbox, table_idx, delta_entries, NULL) != 0)
        return GROW_FAILED;
    if (grow_table(sandbox, (uint32_t)table_idx, delta_entries, &old_entries, &err) != 0)
        engine_log(sandbox->engine, HUSK_LOG_WARNING, "table.grow failed: %s", err.message);
    return old_entries;
}

/* ---- the embedder ---- */

/* The VM belongs to one process, and a sandbox cut off in mid-call must not grow. */
static int check_growable(const husk_sandbox *sandbox, struct husk_error *err) {
    if (sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "the sandbox is NULL");
    int status = sandbox_check_usable(sandbox, err);
    return status != 0 ? status : engine_check_process(sandbox->engine, err);
}

int husk_memory_grow(husk_sandbox *sandbox, uint32_t mem_idx, uint64_t delta_pages,
                     uint64_t *ret_old_pages, struct husk_error *err) {
    uint64_t old_pages = 0;
    int status = check_growable(sandbox, err);
    if (status == 0)
        status = check_memory(sandbox, mem_idx, delta_pages, err);
    if (status == 0)
        status = grow_memory(sandbox, mem_idx, delta_pages, &old_pages, err);
    if (status == 0 && ret_old_pages != NULL)
        *ret_old_pages = old_pages;
    return status;
}

int husk_table_grow(husk_sandbox *sandbox, uint32_t table_idx, uint64_t delta_entries,
                    uint64_t *ret_old_entries, struct husk_error *err) {
    uint64_t old_entries = 0;
    int status = check_growable(sandbox, err);
    if (status == 0)
        status = check_table(sandbox, table_idx, delta_entries, err);
    if (status == 0)
        status = grow_table(sandbox, table_idx, delta_entries, &old_entries, err);
    if (status == 0 && ret_old_entries != NULL)
        *ret_old_entries = old_entries;
    return status;
}
