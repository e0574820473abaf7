/*
 * compiler/lower/lower.h: validated wasm → LLVM IR, shared by lower_*.c. One struct lower_module is
 * one LLVM module: a chunk of the program's functions, or its stubs, thunks and init function. One
 * struct lower_func is one function while it is made.
 *
 * Each lower_*.c lists the instructions it knows as rows {opcode, function, argument}; lower_ops.c
 * joins them into one table. An instruction without a row is refused by name, so a new proposal is
 * one file with rows.
 */
#ifndef COMPILER_LOWER_H
#define COMPILER_LOWER_H

#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codegen.h"
#include "plan.h"

struct lower_func;

struct lower_row {
    uint16_t op;                         /* enum wasm_op */
    void (*emit)(struct lower_func *lf); /* for lf->instr, by lf->row */
    uint32_t arg; /* whatever emit wants: an LLVM opcode, a predicate, an intrinsic */
    uint32_t arg2;
    valtype_t operand; /* types of the signature (opcode.def), filled in by lower_ops.c; 0: none */
    valtype_t result;
};

enum lower_intrinsic {
    LOWER_CTLZ,
    LOWER_CTTZ,
    LOWER_CTPOP,
    LOWER_FSHL,
    LOWER_FSHR,
    LOWER_FABS,
    LOWER_CEIL,
    LOWER_FLOOR,
    LOWER_TRUNC,
    LOWER_ROUNDEVEN,
    LOWER_SQRT,
    LOWER_MINIMUM,
    LOWER_MAXIMUM,
    LOWER_COPYSIGN,
    LOWER_FPTOSI_SAT,
    LOWER_FPTOUI_SAT,
    LOWER_UBSANTRAP,
    LOWER_INTRINSICS_COUNT
};

/* How a chunk is to be compiled. */
enum lower_tier {
    LOWER_TIER_FAST, /* FastISel: -O0, and what is too big for anything else */
    LOWER_TIER_FULL
};

struct lower_module {
    const struct plan *plan;
    const struct program *program; /* all indices are flat (program.h) */
    LLVMContextRef ctx;
    LLVMModuleRef mod;
    LLVMBuilderRef builder;
    LLVMDIBuilderRef di;
    LLVMMetadataRef di_file, di_functype;
    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr, void_type;
    LLVMTypeRef bytes; /* [0 x i8] */
    LLVMTypeRef hostcall_type;
    unsigned intrinsic_ids[LOWER_INTRINSICS_COUNT];
    unsigned absolute_symbol_kind, prof_kind;
    LLVMValueRef unlikely; /* branch weights: the first successor is not taken */
    LLVMAttributeRef nomerge;
    enum lower_tier tier;
    bool is_strict;         /* every access of state is volatile; always so in the fast tier */
    bool *table_may_change; /* per table: its size is not a constant */
    struct lower_row rows[WASM_OP_COUNT];
    struct husk_error *err;
    int status;
};

/* All but the rows: lower_ops_join(). */
int lower_module_init(struct lower_module *lm, const struct plan *plan,
                      const struct codegen_options *options, enum lower_tier tier,
                      struct husk_error *err);
void lower_module_done(struct lower_module *lm);
/* After the last function and before optimisation. */
void lower_module_finish(struct lower_module *lm);

/* ---- what chunks are made of ---- */

int lower_function(struct lower_module *lm, uint32_t func_idx);
int lower_import_stub(struct lower_module *lm, uint32_t func_idx);
int lower_thunk(struct lower_module *lm, uint32_t type_idx);
int lower_init(struct lower_module *lm);

/* Both with locals in SSA form, before anything else is optimised.
 * lower_strict.c: loads whose value nothing needs become volatile, so that their trap is not lost.
 * lower_nan.c: float operations that would let a signalling NaN through get a fence. */
void lower_keep_loads(struct lower_module *lm);
void lower_quiet_nans(struct lower_module *lm);
/* lower_trap.c: behind all optimisation: traps become the instruction that traps. */
void lower_traps_finish(struct lower_module *lm);

/* lower_widths.c: right before the loop vectoriser: leave it one width of extended counters, that
 * of addresses, because it confuses the run-time checks of different ones. */
void lower_hide_widths(struct lower_module *lm);

/* ---- symbols and types: lower_module.c ---- */

LLVMTypeRef lower_type(const struct lower_module *lm, valtype_t type);
/* Results of a function type: none, one value, a structure of up to LOWER_STRUCT_RESULTS, or else
 * memory that the caller gives as the first parameter (16 bytes each). */
#define LOWER_STRUCT_RESULTS 3
#define LOWER_RESULT_BYTES 16
bool lower_results_in_memory(const struct wasm_functype *type);
LLVMTypeRef lower_functype(const struct lower_module *lm, const struct wasm_functype *type);
/* Declared when first asked for. */
LLVMValueRef lower_func_symbol(struct lower_module *lm, uint32_t func_idx);
/* idx UINT32_MAX: the name has no number. A type of i64 tells LLVM that the word is always there;
 * `bytes` tells it nothing, which memories need: their loads must not be done early. */
LLVMValueRef lower_absolute(struct lower_module *lm, const char *stem, uint32_t idx,
                            LLVMTypeRef type, uint64_t address);
LLVMValueRef lower_linker_symbol(struct lower_module *lm, const char *stem, uint32_t idx);
LLVMValueRef lower_runtime_func(struct lower_module *lm, const char *name);
LLVMValueRef lower_mailbox_field(struct lower_module *lm, uint32_t offset);
void lower_func_attributes(struct lower_module *lm, LLVMValueRef fn);
#define LOWER_CALL_CONV 8 /* fastcc */
#define LOWER_ATTRIBUTES ((LLVMAttributeIndex)LLVMAttributeFunctionIndex)
LLVMValueRef lower_const_i32(const struct lower_module *lm, uint32_t value);
LLVMValueRef lower_const_i64(const struct lower_module *lm, uint64_t value);

/* ---- inside a function: lower_emit.c, lower_func.c ---- */

enum lower_frame_kind { LOWER_BLOCK, LOWER_LOOP, LOWER_IF, LOWER_BODY };

struct lower_frame {
    enum lower_frame_kind kind;
    bool is_dead; /* opened in unreachable code: nothing was emitted */
    bool has_else;
    uint32_t stack_height; /* of the operand stack below the block's parameters */
    uint32_t params_count, results_count;
    const valtype_t *params, *results;
    valtype_t result;         /* of one result a copy: `results` may point into an instruction */
    LLVMBasicBlockRef label;  /* where a branch goes; NULL until the first one (except loops) */
    LLVMValueRef *label_phis; /* one per label value */
    LLVMBasicBlockRef else_block;
    LLVMValueRef *else_params; /* the block's parameters, for the else branch */
    uint64_t stamp;            /* br_table: last one that met this frame */
    LLVMBasicBlockRef stamp_block;
};

struct lower_func {
    struct lower_module *lm;
    LLVMBuilderRef builder;
    LLVMValueRef fn;
    const struct program_instance *instance; /* whose code it is; stubs and thunks have none */
    const struct wasm_functype *type;
    LLVMBasicBlockRef entry; /* allocas and their first values; gets its terminator at the end */
    LLVMMetadataRef di_scope;
    LLVMValueRef results_area; /* parameter, if results go to memory */
    LLVMValueRef call_area;    /* alloca for callees' results in memory */
    uint32_t call_area_count;
    LLVMValueRef *locals; /* allocas, made when first used */
    valtype_t *local_types;
    uint32_t locals_count;
    LLVMValueRef *stack;
    uint32_t stack_count, stack_cap;
    struct lower_frame *frames;
    uint32_t frames_count, frames_cap;
    bool is_reachable;
    /* the one in hand; before the first, only its offset counts: the body's */
    struct wasm_instr instr;
    const struct lower_row *row;
    uint64_t stamp;
    int status;
};

void lower_push(struct lower_func *lf, LLVMValueRef value);
LLVMValueRef lower_pop(struct lower_func *lf);
LLVMBasicBlockRef lower_new_block(struct lower_func *lf, const char *name);
void lower_enter_block(struct lower_func *lf, LLVMBasicBlockRef block);
/* Give what is emitted next the line of the present instruction: everything that can trap or call
 * needs it. */
void lower_locate(struct lower_func *lf);
LLVMValueRef lower_local(struct lower_func *lf, uint32_t local_idx);
LLVMValueRef lower_alloca(struct lower_func *lf, LLVMTypeRef type, uint32_t count);
int lower_fail(struct lower_func *lf, int status, const char *what);

/* lower_trap.c: trap with a kind of abi/trap.def if the i1 is true; without a condition, the
 * code that follows is unreachable. */
void lower_trap_if(struct lower_func *lf, LLVMValueRef condition, uint8_t kind);
void lower_trap(struct lower_func *lf, uint8_t kind);
/* An i32 used as a truth value. */
LLVMValueRef lower_truth(struct lower_func *lf, LLVMValueRef value);
LLVMValueRef lower_from_truth(struct lower_func *lf, LLVMValueRef bit);
LLVMValueRef lower_zext64(struct lower_func *lf, LLVMValueRef value);
/* Of memories, globals, tables, and what is left of segments: all that a trap must leave behind
 * as it was. */
LLVMValueRef lower_state_load(struct lower_func *lf, LLVMTypeRef type, LLVMValueRef pointer);
LLVMValueRef lower_state_store(struct lower_func *lf, LLVMValueRef value, LLVMValueRef pointer);
/* The same of a memset, memcpy or memmove. */
void lower_state_bulk(struct lower_func *lf, LLVMValueRef call);
/* lower_nan.c: the same value, but no constant. */
LLVMValueRef lower_fence(struct lower_func *lf, LLVMValueRef value);
LLVMValueRef lower_intrinsic_call(struct lower_func *lf, enum lower_intrinsic intrinsic,
                                  LLVMTypeRef *overloads, LLVMValueRef *args, uint32_t args_count);

/* Open and close a function by hand: stubs, thunks, init. */
int lower_func_begin(struct lower_func *lf, struct lower_module *lm, LLVMValueRef fn,
                     uint64_t offset);
int lower_func_end(struct lower_func *lf);
/* Emit an expression up to its final `end`; its results are on the operand stack, or returned if it
 * is a body. */
int lower_expr(struct lower_func *lf, struct wasm_bytes code);

/* lower_control.c */
void lower_frame_push(struct lower_func *lf, enum lower_frame_kind kind,
                      const struct wasm_functype *type);
void lower_frames_free(struct lower_func *lf);
void lower_return(struct lower_func *lf);
bool lower_skip_dead(struct lower_func *lf);

/* lower_call.c: the call itself; pops nothing, pushes the results. */
void lower_call_value(struct lower_func *lf, const struct wasm_functype *type, LLVMValueRef callee,
                      const LLVMValueRef *args);

/* lower_memory.c, lower_table.c: also used by init. Values are i64. */
struct lower_span {
    uint32_t idx;       /* memory, table */
    LLVMValueRef start; /* i64, from an i32 */
    LLVMValueRef count; /* i64, from an i32 */
};
LLVMValueRef lower_memory_pointer(struct lower_func *lf, uint32_t memory_idx, LLVMValueRef index64,
                                  uint64_t offset);
/* The operands of memory.init and table.init. */
struct lower_span lower_pop_init(struct lower_func *lf, LLVMValueRef *ret_source);
void lower_memory_init_range(struct lower_func *lf, uint32_t data_idx,
                             const struct lower_span *dest, LLVMValueRef source);
void lower_data_drop(struct lower_func *lf, uint32_t data_idx);
void lower_table_init_range(struct lower_func *lf, uint32_t elem_idx, const struct lower_span *dest,
                            LLVMValueRef source);
void lower_elem_drop(struct lower_func *lf, uint32_t elem_idx);
LLVMValueRef lower_elem_base(struct lower_func *lf, uint32_t elem_idx);
LLVMValueRef lower_func_ref(struct lower_func *lf, uint32_t func_idx);
LLVMValueRef lower_table_base(struct lower_func *lf, uint32_t table_idx);
LLVMValueRef lower_table_size(struct lower_func *lf, uint32_t table_idx);
LLVMValueRef lower_service(struct lower_func *lf, uint32_t op, uint32_t idx, LLVMValueRef delta64);

/* The tables of rows. */
struct lower_rows {
    const struct lower_row *rows;
    size_t count;
};
extern const struct lower_rows lower_control_rows, lower_call_rows, lower_integer_rows,
    lower_float_rows, lower_convert_rows, lower_memory_rows, lower_table_rows, lower_variable_rows;
/* lower_ops.c */
void lower_ops_join(struct lower_row *ret_rows);

#endif
