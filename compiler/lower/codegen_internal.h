/*
 * compiler/lower/codegen_internal.h: internal header of codegen*.c: cuts a program into chunks, and
 * makes an object from one chunk.
 */
#ifndef COMPILER_CODEGEN_INTERNAL_H
#define COMPILER_CODEGEN_INTERNAL_H

#include <llvm-c/TargetMachine.h>

#include "codegen.h"
#include "lower.h"

enum item_kind { ITEM_FUNC, ITEM_IMPORT_STUB, ITEM_THUNK, ITEM_INIT };

struct item {
    enum item_kind kind;
    /* function, or type of a thunk: flat (program.h); of an init function: see lower_init() */
    uint32_t idx;
    uint32_t weight; /* its size, roughly in bytes of wasm */
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
    bool has_tail_calls;        /* any function of the program */
    bool *is_quiet;             /* per function, by codegen_find_quiet(); NULL: no exceptions */
    struct lower_small *smalls; /* per function, by codegen_find_small(); NULL: level 0 */
};

/* codegen_scan.c: reads every body once, refuses code that cannot be lowered, and cuts the program
 * into chunks. The cut depends only on the program and the level, so the output does not depend on
 * the number of threads. */
int codegen_scan(const struct plan *plan, const struct codegen_options *options,
                 struct chunks *ret_chunks, struct husk_error *err);
void chunks_done(struct chunks *chunks);
/* How many blocks the checks of an instruction make. */
uint32_t codegen_check_blocks(enum wasm_op op);

/* codegen_small.c: the functions to inline; chunks_done() frees the array. */
int codegen_find_small(const struct program *program, struct lower_small **ret_smalls,
                       struct husk_error *err);

/* codegen_throws.c: the functions that throw nothing; chunks_done() frees the array. */
int codegen_find_quiet(const struct program *program, bool **ret_is_quiet, struct husk_error *err);

/* codegen_parts.c: the functions of a module that a pipeline is for. begin() hides the others from
 * LLVM's passes until end(); false: there is none. Those that may be vectorised, and of these those
 * that compute in floating point, and those that do not; those that lower_reroll() changed. */
enum codegen_part { CODEGEN_VECTORS, CODEGEN_FLOATS, CODEGEN_NO_FLOATS, CODEGEN_REROLLED };
bool codegen_part_begin(struct lower_module *lm, enum codegen_part part);
void codegen_part_end(struct lower_module *lm);

/* codegen_passes.c */
LLVMTargetMachineRef codegen_machine_new(const struct codegen_options *options,
                                         enum lower_tier tier);
int codegen_optimise(struct lower_module *lm, LLVMTargetMachineRef machine,
                     const struct codegen_options *options, enum lower_tier tier);

#endif
