/*
 * compiler/link/symbols.h: finds the values of symbols: a hash table of the objects' definitions,
 * and the absolute symbols that the plan defines (codegen.h lists them).
 */
#ifndef COMPILER_SYMBOLS_H
#define COMPILER_SYMBOLS_H

#include "plan.h"

struct symbol_entry {
    const char *name; /* borrowed from the object */
    uint64_t value;
};

struct symbols {
    struct symbol_entry *entries;
    size_t capacity; /* a power of two */
    size_t count;
};

/* HUSK_E_NOMEM; HUSK_E_COMPILER if the name is defined already. */
int symbols_add(struct symbols *symbols, const char *name, uint64_t value, struct husk_error *err);
bool symbols_find(const struct symbols *symbols, const char *name, uint64_t *ret_value);
void symbols_done(struct symbols *symbols);

/* Split "i0.<letters><decimal>" into the letters and the number. False for any other form. */
bool symbol_split(const char *name, char ret_kind[8], uint32_t *ret_idx);
/* The address of an absolute symbol: "i0.mem", "i0.g3", "husk.mailbox", …. False for other
 * names. */
bool symbol_absolute(const struct plan *plan, const char *name, uint64_t *ret_value);

#endif
