/*
 * compiler/link/lsda.h: reads the exception tables of compiled code (.gcc_except_table: one
 * "language-specific data area" for each function that catches something; Itanium C++ ABI,
 * "Exception Handling Tables"), as LLVM writes them for static x86-64 code. The result are the
 * handlers of throw_tables.h. A malformed table is HUSK_E_COMPILER, never a crash.
 */
#ifndef COMPILER_LSDA_H
#define COMPILER_LSDA_H

#include "buf.h"
#include "unwind_x86_64.h"

/* The relocated bytes of a section, and its address. */
struct lsda_section {
    const uint8_t *bytes;
    size_t count;
    uint64_t address;
};

struct lsda_tables {
    struct buf handlers;   /* struct throw_handler */
    struct buf clauses;    /* uint32_t */
    struct buf clauses_at; /* private: by action of one function */
    uint32_t any_idx;      /* private: of the clause list that catches all, + 1 */
};

/* Append the handlers of a function, whose LSDA is in the section. A type in its type table is 0
 * (catches all) or the flat index of a tag + 1. */
int lsda_read(const struct unwind_func *func, const struct lsda_section *section,
              uint32_t tags_count, struct lsda_tables *tables, struct husk_error *err);
/* Sort the handlers by address. */
int lsda_finish(struct lsda_tables *tables, struct husk_error *err);
void lsda_done(struct lsda_tables *tables);

#endif
