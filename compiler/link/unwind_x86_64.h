/*
 * compiler/link/unwind_x86_64.h: turns .eh_frame (System V psABI 4.2.4, DWARF 5 section 6.4) into
 * the compact rows of abi/image.h. The host walks the guest's stack with them for backtraces.
 */
#ifndef COMPILER_UNWIND_X86_64_H
#define COMPILER_UNWIND_X86_64_H

#include "buf.h"
#include "husk.h"

/* Append struct husk_image_unwind_x86_64 to `rows`, in the order of the FDEs. `bytes` is the
 * relocated section, and `address` its address. Each function ends with a row that stops
 * (cfa_offset 0). HUSK_E_COMPILER, HUSK_E_NOMEM. */
int unwind_read(const uint8_t *bytes, size_t count, uint64_t address, struct buf *rows,
                struct husk_error *err);
/* Sort the rows by address, and drop redundant rows. */
void unwind_finish(struct buf *rows);

#endif
