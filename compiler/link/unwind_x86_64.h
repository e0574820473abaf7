/*
 * compiler/link/unwind_x86_64.h: .eh_frame (System V psABI 4.2.4, DWARF 5 section 6.4) → the
 * compact rows of abi/image.h, with which the host walks the guest's stack for backtraces.
 */
#ifndef COMPILER_UNWIND_X86_64_H
#define COMPILER_UNWIND_X86_64_H

#include "buf.h"
#include "husk.h"

/* Appends struct husk_image_unwind_x86_64 to `rows`, in the order of the FDEs: the section's bytes
 * are relocated and stand at `address`. Each function ends with a row that stops (cfa_offset 0).
 * HUSK_E_COMPILER, HUSK_E_NOMEM. */
int unwind_read(const uint8_t *bytes, size_t count, uint64_t address, struct buf *rows,
                struct husk_error *err);
/* Sort by address, and drop what says nothing new. */
void unwind_finish(struct buf *rows);

#endif
