/*
 * abi/exception.h: how exceptions look in guest data. All of it is guest data, so snapshots and
 * restores cover it, and the host trusts none of it.
 *
 * A program with tags has one struct husk_exception at husk_image_module.exception_gva: the pending
 * exception, from the throw until a handler has read it. It has room for as many values as the tag
 * with the most parameters has. A value lies in a slot, as in the mailbox (abi/mailbox.h).
 *
 * An exnref is the address of an exception in the program's exception slots, or 0 for null. Slots
 * have the size of the pending exception. Only the catch clauses that take a reference fill one
 * (guest/throw.c).
 */
#ifndef HUSK_ABI_EXCEPTION_H
#define HUSK_ABI_EXCEPTION_H

/* Slots of a program. A page of slots is touched only if the program uses it. */
#define HUSK_EXCEPTION_SLOTS 4096

/* Tag index in a handler's list: it catches all. */
#define HUSK_TAG_ANY 0xffffffff

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

#include "mailbox.h"

struct husk_exception {
    uint32_t tag;  /* flat index + 1; 0: a free slot, or nothing is pending */
    uint32_t mark; /* this and `link`: how guest/throw.c manages the slots */
    uint64_t link;
    struct husk_slot values[];
};

_Static_assert(sizeof(struct husk_exception) == HUSK_SLOT_BYTES, "exception layout");
#endif
#endif
