/*
 * compiler/link/linker.h: links the objects of codegen and the guest runtime to text and rodata at
 * fixed addresses, and makes the tables about them for the image's note. Runs between codegen.h and
 * image_write.h.
 */
#ifndef COMPILER_LINKER_H
#define COMPILER_LINKER_H

#include "codegen.h"
#include "image.h"

enum link_symbol_kind { LINK_FUNC, LINK_THUNK, LINK_INIT, LINK_RUNTIME };

struct link_symbol {
    uint32_t gva;
    uint32_t bytes;
    enum link_symbol_kind kind;
    /* index of the function (LINK_FUNC) or type (LINK_THUNK); flat (program.h), as in the arrays
     * below. LINK_INIT: the instance; UINT32_MAX: all of them */
    uint32_t idx;
    const char *name; /* LINK_RUNTIME; static storage */
};

struct linked {
    uint8_t *text; /* at HUSK_TEXT_GVA */
    uint64_t text_bytes;
    uint8_t *rodata;
    uint32_t rodata_gva;
    uint64_t rodata_bytes;
    uint32_t *func_gva; /* by function index; 0: no code */
    uint32_t *func_bytes;
    uint32_t *thunk_gva;         /* by type index; 0: none */
    uint32_t *instance_init_gva; /* by instance; 0: none */
    uint32_t entry_gva, resume_gva, init_gva, init_thunk_gva;
    uint32_t throw_gva; /* 0: a program without exceptions */
    struct husk_image_routines routines;
    struct link_symbol *symbols; /* ascending by gva */
    uint32_t symbols_count;
    struct husk_image_code_row *code_rows;
    uint32_t code_rows_count;
    struct husk_image_inlined_row *inlined_rows;
    uint32_t inlined_rows_count;
    struct husk_image_inlined_call *inlined_calls;
    uint32_t inlined_calls_count;
    struct husk_image_unwind_x86_64 *unwind_rows;
    uint32_t unwind_rows_count;
};

/* cpu_features chooses the variant of the guest runtime. HUSK_E_COMPILER (this linker does not
 * understand an object), HUSK_E_LIMIT (the code is larger than the text region), HUSK_E_NOMEM. */
int link_objects(const struct plan *plan, const struct codegen_object *objects,
                 uint32_t objects_count, uint64_t cpu_features, struct linked *ret_linked,
                 struct husk_error *err);
void linked_done(struct linked *linked);

#endif
