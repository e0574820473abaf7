/* compiler/link/symbols.c: symbol look-up of the linker; see symbols.h. */
#include "symbols.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "layout.h"

static size_t symbol_hash(const char *name) { /* FNV-1a */
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return (size_t)(hash ^ hash >> 32);
}

/* The entry of this name, or the empty one where it belongs. */
static struct symbol_entry *symbol_slot(const struct symbols *symbols, const char *name) {
    size_t i = symbol_hash(name) & (symbols->capacity - 1);
    while (symbols->entries[i].name != NULL && strcmp(symbols->entries[i].name, name) != 0)
        i = (i + 1) & (symbols->capacity - 1);
    return &symbols->entries[i];
}

static bool symbols_grow(struct symbols *symbols) {
    struct symbols bigger = {.capacity = symbols->capacity == 0 ? 1024 : symbols->capacity * 2,
                             .count = symbols->count};
    bigger.entries = calloc(bigger.capacity, sizeof bigger.entries[0]);
    if (bigger.entries == NULL)
        return false;
    for (size_t i = 0; i < symbols->capacity; i++)
        if (symbols->entries[i].name != NULL)
            *symbol_slot(&bigger, symbols->entries[i].name) = symbols->entries[i];
    free(symbols->entries);
    *symbols = bigger;
    return true;
}

int symbols_add(struct symbols *symbols, const char *name, uint64_t value, struct husk_error *err) {
    if (symbols->count * 2 >= symbols->capacity && !symbols_grow(symbols))
        return error_set(err, HUSK_E_NOMEM, "no memory to link");
    struct symbol_entry *entry = symbol_slot(symbols, name);
    if (entry->name != NULL)
        return error_set(err, HUSK_E_COMPILER, "symbol %s is defined twice", name);
    *entry = (struct symbol_entry){.name = name, .value = value};
    symbols->count++;
    return 0;
}

bool symbols_find(const struct symbols *symbols, const char *name, uint64_t *ret_value) {
    if (symbols->capacity == 0)
        return false;
    const struct symbol_entry *entry = symbol_slot(symbols, name);
    if (entry->name == NULL)
        return false;
    *ret_value = entry->value;
    return true;
}

void symbols_done(struct symbols *symbols) {
    free(symbols->entries);
    *symbols = (struct symbols){0};
}

bool symbol_split(const char *name, char ret_kind[8], uint32_t *ret_idx) {
    if (strncmp(name, "i0.", 3) != 0)
        return false;
    name += 3;
    size_t letters = strspn(name, "abcdefghijklmnopqrstuvwxyz");
    if (letters == 0 || letters >= 8)
        return false;
    const char *digits = name + letters;
    size_t digits_count = strspn(digits, "0123456789");
    if (digits_count == 0 || digits_count > 9 || digits[digits_count] != '\0' ||
        (digits[0] == '0' && digits_count > 1))
        return false;
    memcpy(ret_kind, name, letters);
    ret_kind[letters] = 0;
    *ret_idx = (uint32_t)strtoul(digits, NULL, 10);
    return true;
}

/* In the order of the table in symbol_absolute(). */
enum absolute_kind {
    ABS_MEM,
    ABS_G,
    ABS_TAB,
    ABS_TABSIZE,
    ABS_MEMSIZE,
    ABS_DSIZE,
    ABS_E,
    ABS_ESIZE,
    ABS_MBYTES,
    ABS_TAG
};

static uint64_t symbol_of_kind(const struct plan *plan, enum absolute_kind kind, uint32_t idx) {
    switch (kind) {
    case ABS_MEM: return husk_mem_gva(idx);
    case ABS_G: return plan->global_gva[idx];
    case ABS_TAB: return plan->tables[idx].base_gva;
    case ABS_TABSIZE: return plan->tables[idx].size_gva;
    case ABS_MEMSIZE: return plan->mem_size_gva[idx];
    case ABS_MBYTES: return plan->mem_bytes_gva[idx];
    case ABS_TAG: return (uint64_t)idx + 1; /* in the tables of types that are caught */
    case ABS_DSIZE: return plan->datas[idx].size_gva;
    case ABS_E: return plan->elems[idx].base_gva;
    default: return plan->elems[idx].size_gva;
    }
}

static bool symbol_named(const struct plan *plan, const char *name, uint64_t *ret_value) {
    const struct {
        const char *name;
        uint64_t value;
    } known[] = {{"i0.mem", HUSK_MEM0_GVA},
                 {"husk.mailbox", HUSK_MAILBOX_GVA},
                 {"husk.exception", plan->exception_gva},
                 {"husk.personality", HUSK_TEXT_GVA}}; /* of call frames: nobody calls it */
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i].name) != 0)
            continue;
        *ret_value = known[i].value;
        return true;
    }
    return false;
}

bool symbol_absolute(const struct plan *plan, const char *name, uint64_t *ret_value) {
    const struct program *program = plan->program;
    char kind[8];
    uint32_t idx;
    if (symbol_named(plan, name, ret_value))
        return true;
    if (!symbol_split(name, kind, &idx))
        return false;
    const struct {
        const char *kind;
        uint32_t count;
    } kinds[] = {{"mem", program->memories_count},     {"g", program->globals_count},
                 {"tab", program->tables_count},       {"tabsize", program->tables_count},
                 {"memsize", program->memories_count}, {"dsize", program->datas_count},
                 {"e", program->elems_count},          {"esize", program->elems_count},
                 {"mbytes", program->memories_count},  {"tag", program->tags_count}};
    size_t i = 0;
    while (i < sizeof kinds / sizeof kinds[0] && strcmp(kinds[i].kind, kind) != 0)
        i++;
    if (i == sizeof kinds / sizeof kinds[0] || idx >= kinds[i].count)
        return false;
    *ret_value = symbol_of_kind(plan, (enum absolute_kind)i, idx);
    return true;
}
