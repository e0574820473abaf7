/*
 * compiler/link/unwind_x86_64.h: turns .eh_frame (System V psABI 4.2.4, DWARF 5 section 6.4) into
 * the compact rows of abi/image.h. The host walks the guest's stack with them for backtraces. For
 * programs with exceptions it also gives whole frames, from which throw_link.c makes the tables of
 * the guest's own unwinder.
 */
#ifndef COMPILER_UNWIND_X86_64_H
#define COMPILER_UNWIND_X86_64_H

#include "buf.h"
#include "husk.h"
#include "throw_tables.h"

/* The frames of the code from code_gva on; shape.cfa 0: the unwinding stops here. */
struct unwind_frame {
    uint32_t code_gva;
    uint32_t shape_idx; /* for throw_link.c */
    struct throw_shape shape;
};

/* A function with a language-specific data area (lsda.h). */
struct unwind_func {
    uint32_t start, end;
    uint64_t lsda_address;
    uint32_t object_idx;
};

struct unwind_tables {
    bool wants_frames; /* else only rows are made */
    struct buf rows;   /* struct husk_image_unwind_x86_64 */
    struct buf frames; /* struct unwind_frame */
    struct buf funcs;  /* struct unwind_func, in the order of the FDEs */
};

/* Append to the tables, in the order of the FDEs. `bytes` is the relocated section of this object,
 * and `address` its address. Each function ends with a row and a frame that stop. HUSK_E_COMPILER,
 * HUSK_E_NOMEM. */
int unwind_read(const uint8_t *bytes, size_t count, uint64_t address, uint32_t object_idx,
                struct unwind_tables *tables, struct husk_error *err);
/* Sort rows and frames by address, and drop redundant ones. */
void unwind_finish(struct unwind_tables *tables);
void unwind_done(struct unwind_tables *tables);

#endif
