/*
 * guest/throw_tables.h: the tables by which the guest unwinds its stack when something is thrown.
 * The linker makes them (compiler/link/throw_link.c) and puts them into rodata; guest/throw.c reads
 * them. No host code looks at them. Addresses are 64 bits wide for the tests, which run throw.c
 * natively.
 */
#ifndef GUEST_THROW_TABLES_H
#define GUEST_THROW_TABLES_H

#include <stdint.h>

/* The registers that functions preserve: rbx rbp r12 r13 r14 r15, in this order everywhere. */
#define THROW_REGS 6
#define THROW_REG_RBP 1

#define THROW_HAS_HANDLERS 0x80000000u

/* The code from code_gva to the next row's code_gva. */
struct throw_row {
    uint32_t code_gva;
    uint32_t shape; /* index in the shapes; THROW_HAS_HANDLERS: some of this code has a handler */
};

/* A frame: CFA = (cfa & 1 ? rbp : rsp) + (cfa >> 1). The return address is at CFA - 8, and the
 * caller's register i is at CFA - saved[i], or still in the register if that is 0. cfa 0: there is
 * no caller. args_bytes: arguments that were pushed for a call here; a landing pad expects the
 * stack without them. */
struct throw_shape {
    uint32_t cfa;
    uint32_t args_bytes;
    uint32_t saved[THROW_REGS];
};

/* Calls that return to an address in (start, end] have this landing pad for the tags of these
 * clauses (flat indices, or HUSK_TAG_ANY). Ranges ascend and do not overlap. */
struct throw_handler {
    uint32_t start, end;
    uint32_t landing_pad;
    uint32_t clauses_first, clauses_count;
};

/* Words that may be references to exceptions. */
struct throw_root {
    uint64_t first;    /* address of the first word */
    uint64_t count_at; /* address of a uint64_t with their number; 0: it is `count` */
    uint64_t count;
};

/* At the symbol husk.throw_tables. */
struct throw_tables {
    uint64_t pending;    /* struct husk_exception */
    uint64_t slots;      /* the first slot; 0: the program has none */
    uint64_t slot_bytes; /* of a slot, and of the pending exception */
    uint64_t stack_top;
    uint64_t rows, rows_count; /* at least one row */
    uint64_t shapes;
    uint64_t handlers, handlers_count;
    uint64_t clauses; /* uint32_t[] */
    uint64_t roots, roots_count;
    uint64_t tag_values; /* uint32_t[]: the number of values, by flat index of the tag */
};

#endif
