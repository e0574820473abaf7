/*
 * compiler/lower/codegen_internal.h: shared by codegen*.c: how a program is cut into chunks, and
 * how one chunk becomes an object.
 */
#ifndef COMPILER_CODEGEN_INTERNAL_H
#define COMPILER_CODEGEN_INTERNAL_H

#include <llvm-c/TargetMachine.h>

#include "codegen.h"
#include "lower.h"

enum item_kind { ITEM_FUNC, ITEM_IMPORT_STUB, ITEM_THUNK, ITEM_INIT };

struct item {
    enum item_kind kind;
    uint32_t idx;    /* function, or type of a thunk: flat (program.h) */
    uint32_t weight; /* about the bytes of wasm it stands for */
    enum lower_tier tier;
};

struct chunk {
    enum lower_tier tier;
    uint32_t first, count; /* in items */
    uint32_t funcs_count;
};

struct chunks {
    struct item *items;
    uint32_t items_count;
    struct chunk *chunks;
    uint32_t chunks_count;
};

/* codegen_scan.c: reads every body once: refuses what cannot be lowered, and cuts the program into
 * chunks. The cut depends on the program and the level alone, so that the output does not depend on
 * the number of threads. */
int codegen_scan(const struct plan *plan, const struct codegen_options *options,
                 struct chunks *ret_chunks, struct husk_error *err);
void chunks_done(struct chunks *chunks);

/* codegen_passes.c */
LLVMTargetMachineRef codegen_machine_new(const struct codegen_options *options,
                                         enum lower_tier tier);
int codegen_optimise(struct lower_module *lm, LLVMTargetMachineRef machine,
                     const struct codegen_options *options, enum lower_tier tier);

#endif
