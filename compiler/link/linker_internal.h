/*
 * compiler/link/linker_internal.h: the state of one link, for the files that it is made of:
 * linker.c, link_place.c, relocate.c, link_frames.c.
 */
#ifndef COMPILER_LINKER_INTERNAL_H
#define COMPILER_LINKER_INTERNAL_H

#include "elfobj.h"
#include "error.h"
#include "linker.h"
#include "symbols.h"
#include "throw_link.h"
#include "unwind_x86_64.h"

struct linker {
    const struct plan *plan;
    const struct codegen_object *objects;
    struct elfobj *objs; /* guest_count of the guest runtime, then codegen's */
    uint32_t objs_count, guest_count;
    char (*labels)[24];
    struct symbols symbols;
    uint32_t *data_gva; /* "i0.d<idx>" */
    uint64_t text_end, rodata_start, rodata_end;
    uint64_t runtime_start, runtime_end; /* the memory functions */
    struct unwind_tables unwind;
    struct throw_image throw_image; /* of a program with exceptions */
    uint64_t throw_gva;             /* its place in rodata */
    struct linked *out;
    struct husk_error *err;
};

#define LSDA_SECTION ".gcc_except_table"

enum place {
    PLACE_NONE,
    PLACE_TEXT,
    PLACE_RODATA,
    PLACE_EH_FRAME,
    PLACE_LSDA,
    PLACE_DEBUG,
    PLACE_BAD
};

/* link_place.c */
enum place section_place(const struct elfobj_section *section);

static inline int linker_no_memory(const struct linker *linker) {
    return error_set(linker->err, HUSK_E_NOMEM, "no memory to link");
}

/* ---- relocate.c ---- */

/* The address of a symbol that its own object defines; false if it is undefined or in a section
 * that was dropped. */
bool linker_local_address(const struct elfobj *obj, const Elf64_Sym *symbol, uint64_t *ret_address);
/* Apply all relocations of a section to its bytes (section->image). */
int linker_relocate(struct linker *linker, const struct elfobj *obj,
                    struct elfobj_section *section);

/* ---- link_frames.c ---- */

/* Once the text is placed: read all call frames, and the handlers of exceptions, into
 * linker->unwind and linker->throw_image. Their sections do not get into the image. */
int link_frames(struct linker *linker);

#endif
