/*
 * host/instance/grow.c: memory.grow and table.grow. The guest asks through a service exit; only the
 * host can map pages. Whether a request within the limits succeeds does not depend on chance:
 * failure is -1 for the guest, as the standard allows (core specification 2.0, section 4.4.7), and
 * is logged when the host itself was out of something.
 */
#include <string.h>

#include "image_internal.h"
#include "pages.h"
#include "sandbox_internal.h"

#define GROW_FAILED UINT64_MAX

/* Sizes are the guest's to read: its copy is written, never read back. */
static void write_size(struct machine *machine, uint32_t gva_value, uint64_t size) {
    memcpy(arena_span(&machine->arena, gva_value, sizeof size), &size, sizeof size);
}

static uint64_t memories_total_bytes(const struct machine *machine) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < machine->arena.memories_count; i++)
        total += machine->arena.memories[i].bytes;
    return total;
}

uint64_t sandbox_memory_grow(husk_sandbox *sandbox, uint64_t mem_idx, uint64_t delta_pages) {
    if (mem_idx >= sandbox->image->code->memories_count)
        return GROW_FAILED;
    struct machine *machine = sandbox->machine;
    uint32_t idx = (uint32_t)mem_idx;
    struct arena_memory *memory = &machine->arena.memories[idx];
    uint64_t old_pages = memory->bytes / HUSK_WASM_PAGE_SIZE;
    if (delta_pages == 0)
        return old_pages;
    if (delta_pages > machine->sizes.memory_max_pages[idx] - old_pages)
        return GROW_FAILED;
    uint64_t delta_bytes = delta_pages * HUSK_WASM_PAGE_SIZE;
    if (delta_bytes > machine->sizes.memory_max_bytes - memories_total_bytes(machine))
        return GROW_FAILED;
    struct husk_error err;
    if (machine_grow(machine, idx, delta_bytes, &err) != 0) {
        engine_log(sandbox->engine, HUSK_LOG_WARNING, "memory.grow failed: %s", err.message);
        return GROW_FAILED;
    }
    write_size(machine, sandbox->image->code->memories[idx].size_gva, old_pages + delta_pages);
    stat_count(sandbox->stats, STAT_memory_grows);
    return old_pages;
}

static uint64_t tables_total(const struct machine *machine) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < machine->mapped->code->tables_count; i++)
        total += machine->sizes.table_entries[i];
    return total;
}

uint64_t sandbox_table_grow(husk_sandbox *sandbox, uint64_t table_idx, uint64_t delta_entries) {
    if (table_idx >= sandbox->image->code->tables_count)
        return GROW_FAILED;
    struct machine *machine = sandbox->machine;
    const struct husk_image_table *table = &sandbox->image->code->tables[table_idx];
    uint64_t old_entries = machine->sizes.table_entries[table_idx];
    if (delta_entries == 0)
        return old_entries;
    if (delta_entries > machine->sizes.table_max_entries[table_idx] - old_entries ||
        delta_entries > machine->sizes.table_max_total - tables_total(machine))
        return GROW_FAILED;
    uint64_t from = page_up(table->base_gva + 8 * old_entries);
    uint64_t to = page_up(table->base_gva + 8 * (old_entries + delta_entries));
    struct husk_error err;
    if (machine_map(machine, from, to - from, &err) != 0) {
        engine_log(sandbox->engine, HUSK_LOG_WARNING, "table.grow failed: %s", err.message);
        return GROW_FAILED;
    }
    machine->sizes.table_entries[table_idx] = old_entries + delta_entries;
    /* The old last page may hold what a misbehaving guest wrote beyond the old end; null is what
     * was promised. Pages that were not mapped until now are zero. */
    uint64_t old_end = table->base_gva + 8 * old_entries;
    uint64_t stale_bytes = from - old_end < 8 * delta_entries ? from - old_end : 8 * delta_entries;
    memset(arena_span(&machine->arena, old_end, stale_bytes), 0, stale_bytes);
    write_size(machine, table->size_gva, old_entries + delta_entries);
    return old_entries;
}
