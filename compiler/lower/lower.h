/*
 * compiler/lower/lower.h: internal header of lower_*.c, which turn validated wasm into LLVM IR. One
 * struct lower_module is one LLVM module: a chunk of the program's functions, or its stubs, thunks
 * and init function. One struct lower_func is one function that is being made.
 *
 * Each lower_*.c lists the instructions it knows as rows {opcode, function, argument}. lower_ops.c
 * joins them into one table. An instruction without a row is refused, and the message names it. So
 * a new proposal is one file with rows.
 */
#ifndef COMPILER_LOWER_H
#define COMPILER_LOWER_H

#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "codegen.h"
#include "plan.h"

struct lower_func;

struct lower_row {
    uint16_t op;                         /* enum wasm_op */
    void (*emit)(struct lower_func *lf); /* for lf->instr, by lf->row */
    uint32_t arg; /* an argument for emit: an LLVM opcode, a predicate, an intrinsic */
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
    LOWER_PREFETCH,
    LOWER_SMIN,
    LOWER_UMIN,
    LOWER_SMAX,
    LOWER_UMAX,
    LOWER_SADD_SAT,
    LOWER_UADD_SAT,
    LOWER_SSUB_SAT,
    LOWER_USUB_SAT,
    LOWER_ABS,
    LOWER_X86_FIRST, /* single instructions, of fixed types, from here on */
    LOWER_X86_PSHUFB = LOWER_X86_FIRST,
    LOWER_X86_PMULHRSW,
    LOWER_X86_PMADDUBSW,
    LOWER_X86_PMADDWD,
    LOWER_X86_PACKSSWB,
    LOWER_X86_PACKUSWB,
    LOWER_X86_PACKSSDW,
    LOWER_X86_PACKUSDW,
    LOWER_X86_MINPS,
    LOWER_X86_MAXPS,
    LOWER_X86_MINPD,
    LOWER_X86_MAXPD,
    LOWER_X86_CVTTPS2DQ,
    LOWER_X86_CVTTPD2DQ,
    LOWER_INTRINSICS_COUNT
};

/* A function that is inlined where it is called (codegen_small.c). */
struct lower_small {
    uint8_t rank; /* 0: it is not; else above the ranks of the functions inlined into it */
    uint8_t cost; /* of its code with those: machine instructions, roughly */
};

struct lower_pointer_map { /* lower_inline.c */
    struct pointer_entry *entries;
    size_t count, capacity;
};

struct lower_inlining {
    struct lower_pointer_map scopes;  /* subprogram → function */
    struct lower_pointer_map numbers; /* location of a call → number in `calls`, from 1 */
    struct buf wanted;                /* uint32_t: functions called by calls to inline */
    size_t wanted_at;                 /* the next one in it to look at */
    uint32_t copied_bytes;
    struct buf calls; /* struct codegen_inlined */
};

/* How a chunk is compiled. */
enum lower_tier {
    LOWER_TIER_FAST, /* FastISel: for -O0, and for functions that are too big for the other tiers */
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
    LLVMTypeRef v128;  /* <2 x i64> */
    LLVMTypeRef bytes; /* [0 x i8] */
    LLVMTypeRef hostcall_type;
    unsigned intrinsic_ids[LOWER_INTRINSICS_COUNT];
    unsigned absolute_symbol_kind, prof_kind;
    LLVMValueRef unlikely; /* branch weights: the first successor is rarely taken */
    LLVMAttributeRef nomerge;
    enum lower_tier tier;
    uint32_t *tag_stamps, *tag_names; /* per tag: lower_exceptions.c */
    uint32_t tag_stamp, funcs_made;
    bool has_tail_calls;    /* any function of the program: lower_tail.c */
    bool is_strict;         /* every access of state is volatile; always true in the fast tier */
    bool *table_may_change; /* per table: its size is not a constant */
    const bool *is_quiet;   /* per function: it throws nothing; NULL: there are no exceptions */
    const struct lower_small *smalls; /* per function; NULL: nothing is inlined */
    struct lower_inlining inlining;
    struct lower_row rows[WASM_OP_COUNT];
    struct husk_error *err;
    int status;
};

/* Initialise everything except the rows; lower_ops_join() does those. */
int lower_module_init(struct lower_module *lm, const struct plan *plan,
                      const struct codegen_options *options, enum lower_tier tier,
                      struct husk_error *err);
void lower_module_done(struct lower_module *lm);
/* Call it after the last function and before optimisation. */
void lower_module_finish(struct lower_module *lm);

/* ---- what chunks are made of ---- */

int lower_function(struct lower_module *lm, uint32_t func_idx);
int lower_import_stub(struct lower_module *lm, uint32_t func_idx);
int lower_thunk(struct lower_module *lm, uint32_t type_idx);
/* An init function: that of an instance, or LOWER_INIT_ALL, which calls those of all instances. A
 * program of one instance has the latter alone. */
#define LOWER_INIT_ALL UINT32_MAX
int lower_init(struct lower_module *lm, uint32_t instance_idx);

/* lower_inline.c, in the order of use. begin: a function's code begins. call: may mark a call for
 * inlining. next: after the chunk's functions; the next one of another chunk that the caller must
 * lower, too. It may want others, which follow.
 * finish: after all optimisation; gives inlined code the numbers of its calls. done: frees. */
void lower_inline_begin(struct lower_func *lf, uint32_t func_idx);
void lower_inline_call(struct lower_func *lf, uint32_t func_idx, LLVMValueRef call);
bool lower_inline_next(struct lower_module *lm, uint32_t *ret_func_idx);
int lower_inline_finish(struct lower_module *lm);
void lower_inline_done(struct lower_module *lm);

/* Both run when locals are in SSA form, before any other optimisation.
 * lower_strict.c: loads whose value is not needed become volatile, so that their trap is not lost.
 * lower_nan.c: float operations that could let a signalling NaN through get a fence. */
void lower_keep_loads(struct lower_module *lm);
void lower_quiet_nans(struct lower_module *lm);

/* lower_clamps.c: when selects and constants are there, before instcombine. */
void lower_keep_clamps(struct lower_module *lm);

/* lower_facts.c: in SSA form, too, and after unrolling: addresses that cannot wrap are added up in
 * 64 bits. */
void lower_use_facts(struct lower_module *lm);

/* lower_indices.c: after the passes: indices that loops carry become 64 bits wide. */
void lower_widen_indices(struct lower_module *lm);

/* lower_folds.c: before the passes, which fold loads, too, and after them for code generation. */
void lower_locate_folds(struct lower_module *lm);
/* lower_trap.c: after all optimisation, turns traps into the instruction that traps. */
void lower_traps_finish(struct lower_module *lm);

/* lower_tail.c. mark: makes a call a tail call; its return follows. was: was the instruction one,
 * before inlining made it a call? finish: after all optimisation, makes tail calls ready for code
 * generation. */
void lower_mark_tail_call(struct lower_module *lm, LLVMValueRef call);
bool lower_was_tail_call(LLVMValueRef instruction);
void lower_tails_finish(struct lower_module *lm);

/* lower_widths.c: right before the loop vectoriser, hides extended counters of all widths except
 * that of addresses. The vectoriser confuses run-time checks of different widths. Functions with
 * too many get the attribute, and must not be vectorised; so do those with too many loops in one
 * nest (lower_control.c). */
#define LOWER_NOT_VECTORISED "husk-not-vectorised"
void lower_hide_widths(struct lower_module *lm);

/* reroll.h: right before that, makes loops that the guest's compiler unrolled loops of one round
 * again. Functions with such loops get the attribute, and vectors of up to 512 bits, if they may be
 * so wide. Returns whether there were any loops; simplifycfg must follow in these functions. */
#define LOWER_REROLLED "husk-rerolled"
bool lower_reroll(struct lower_module *lm, bool may_be_wide);

/* ---- symbols and types: lower_module.c ---- */

LLVMTypeRef lower_type(const struct lower_module *lm, valtype_t type);
/* The results of a function are none, one value, or a structure of up to LOWER_STRUCT_RESULTS
 * values. More results go to memory that the caller gives as the first parameter (16 bytes
 * each). In a program with tail calls, so do results that LLVM has no registers for. */
#define LOWER_STRUCT_RESULTS 3
#define LOWER_RESULT_BYTES 16
bool lower_results_in_memory(const struct lower_module *lm, const struct wasm_functype *type);
LLVMTypeRef lower_functype(const struct lower_module *lm, const struct wasm_functype *type);
/* The parameters of one function so far, for lower_param_in_register(). */
struct lower_registers {
    uint32_t integers, vectors;
};
/* Is the next parameter of a function one of LLVM's function? Always, in a program without tail
 * calls; else if it fits into a register (lower_tail.c). */
struct lower_registers lower_registers_of(const struct lower_module *lm,
                                          const struct wasm_functype *type);
bool lower_param_in_register(const struct lower_module *lm, struct lower_registers *registers,
                             valtype_t type);
/* Where the caller leaves a parameter that is in no register. */
LLVMValueRef lower_param_slot(struct lower_module *lm, uint32_t param_idx);
/* The symbol is declared when it is first asked for. */
LLVMValueRef lower_func_symbol(struct lower_module *lm, uint32_t func_idx);
/* idx UINT32_MAX: the name has no number. The type i64 tells LLVM that the word is always mapped.
 * The type `bytes` does not, so LLVM never makes a load of a memory early. */
LLVMValueRef lower_absolute(struct lower_module *lm, const char *stem, uint32_t idx,
                            LLVMTypeRef type, uint64_t address);
LLVMValueRef lower_linker_symbol(struct lower_module *lm, const char *stem, uint32_t idx);
LLVMValueRef lower_runtime_func(struct lower_module *lm, const char *name);
LLVMValueRef lower_mailbox_field(struct lower_module *lm, uint32_t offset);
void lower_func_attributes(struct lower_module *lm, LLVMValueRef fn);
void lower_set_nounwind(struct lower_module *lm, LLVMValueRef fn);
/* LLVM's calling convention of functions: fastcc, or tailcc in a program with tail calls. */
unsigned lower_call_conv(const struct lower_module *lm);
#define LOWER_ATTRIBUTES ((LLVMAttributeIndex)LLVMAttributeFunctionIndex)
LLVMValueRef lower_const_i32(const struct lower_module *lm, uint32_t value);
LLVMValueRef lower_const_i64(const struct lower_module *lm, uint64_t value);

/* ---- inside a function: lower_emit.c, lower_func.c ---- */

/* A catch clause. */
struct lower_clause {
    enum wasm_catch_kind kind;
    uint32_t tag_idx;        /* flat; without _ALL */
    uint32_t frame_idx;      /* of a try_table: the frame to whose label it goes */
    bool is_rethrown;        /* of a legacy try: a rethrow refers to it */
    LLVMBasicBlockRef block; /* its start; NULL: so far, nothing comes there */
};

/* A block with catch clauses: lower_exceptions.c. */
struct lower_try {
    struct lower_try *outer;         /* who catches what this one does not; NULL: callers */
    struct lower_try *made_before;   /* of the function's */
    uint64_t offset;                 /* of the instruction */
    LLVMBasicBlockRef pad, dispatch; /* NULL: so far, nothing in it throws */
    LLVMValueRef selector;           /* the tag, in dispatch */
    bool is_dispatched, is_legacy;
    uint32_t number; /* in the shared pad; 0: none */
    uint32_t clauses_count;
    struct lower_clause clauses[];
};

enum lower_frame_kind { LOWER_BLOCK, LOWER_LOOP, LOWER_IF, LOWER_BODY };

struct lower_frame {
    enum lower_frame_kind kind;
    bool is_dead; /* opened in unreachable code; nothing is emitted for it */
    bool has_else;
    bool is_in_loop;       /* or a loop itself */
    uint32_t stack_height; /* of the operand stack below the block's parameters */
    uint32_t params_count, results_count;
    const valtype_t *params, *results;
    /* a copy of the single result, because `results` may point into an instruction */
    valtype_t result;
    /* the target of branches; NULL before the first branch (except for loops) */
    LLVMBasicBlockRef label;
    LLVMValueRef *label_phis; /* one per label value */
    LLVMBasicBlockRef else_block;
    LLVMValueRef *else_params; /* the block's parameters, for the else branch */
    uint64_t stamp;            /* the last br_table that had this frame as a target */
    LLVMBasicBlockRef stamp_block;
    struct lower_try *handler; /* where the code directly in this frame throws; NULL: to callers */
    /* of legacy tries: the clauses, how many handlers have begun, and what a rethrow in the last
     * one throws: the values, or for a catch_all the reference */
    struct lower_try *legacy;
    uint32_t clauses_done;
    const struct lower_clause *caught_by;
    LLVMValueRef *caught;
};

struct lower_func {
    struct lower_module *lm;
    LLVMBuilderRef builder;
    LLVMValueRef fn;
    /* the instance that the code belongs to; NULL for stubs and thunks */
    const struct program_instance *instance;
    const struct wasm_functype *type;
    LLVMBasicBlockRef entry; /* allocas and their first values; gets its terminator at the end */
    LLVMMetadataRef di_scope;
    LLVMValueRef results_area; /* parameter, if results go to memory */
    LLVMValueRef call_area;    /* alloca for results that callees return in memory */
    uint32_t call_area_count;
    LLVMValueRef *locals; /* allocas, made when first used */
    valtype_t *local_types;
    uint32_t *param_places; /* of LLVM's function; UINT32_MAX: in memory */
    uint32_t locals_count;
    LLVMValueRef *stack;
    uint32_t stack_count, stack_cap;
    struct lower_frame *frames;
    uint32_t frames_count, frames_cap;
    uint32_t nest_loops; /* loops of the outermost one that is open, itself included */
    bool is_reachable;
    struct lower_try *tries; /* all */
    uint32_t pads_count;
    LLVMBasicBlockRef shared_pad; /* lower_exceptions.c; NULL: none, like the next ones */
    LLVMValueRef shared_slot, shared_selector, shared_choice;
    uint32_t shared_count;
    uint32_t named_tags;                     /* in its landing pads */
    struct buf legacy_tries, legacy_clauses; /* lower_legacy.c */
    uint8_t small_rank;                      /* struct lower_small; 0 for stubs and thunks */
    uint32_t growth_left;                    /* the cost of what may still be inlined */
    /* the current instruction. Before the first one, only its offset is set: the body's */
    struct wasm_instr instr;
    const struct lower_row *row;
    bool is_dropped;        /* the next instruction drops its value */
    uint32_t touches_count; /* lower_touch.c */
    uint64_t stamp;
    int status;
};

void lower_push(struct lower_func *lf, LLVMValueRef value);
LLVMValueRef lower_pop(struct lower_func *lf);
LLVMBasicBlockRef lower_new_block(struct lower_func *lf, const char *name);
void lower_enter_block(struct lower_func *lf, LLVMBasicBlockRef block);
/* Give the following code the line of the current instruction. All code that can trap or call needs
 * it. */
void lower_locate(struct lower_func *lf);
LLVMValueRef lower_local(struct lower_func *lf, uint32_t local_idx);
LLVMValueRef lower_alloca(struct lower_func *lf, LLVMTypeRef type, uint32_t count);
int lower_fail(struct lower_func *lf, int status, const char *what);

/* lower_pages.c: a memory with pages of one byte: its size; a trap if the current instruction's
 * access at the index is beyond it; memory.grow, which returns the old size, or ~0. */
LLVMValueRef lower_byte_paged_size(struct lower_func *lf, uint32_t memory_idx);
void lower_byte_paged_check(struct lower_func *lf, LLVMValueRef index64);
LLVMValueRef lower_byte_paged_grow(struct lower_func *lf, LLVMValueRef delta64);
/* The number of 64 KiB pages that the host has mapped for a memory. */
LLVMValueRef lower_host_pages(struct lower_func *lf, uint32_t memory_idx);
/* lower_memory64.c: traps if an access at this index of a 64-bit memory is beyond all that the
 * memory can have. Returns the index to use; *offset becomes what is left to add, below 2^32. */
LLVMValueRef lower_memory64_index(struct lower_func *lf, LLVMValueRef index, uint64_t *offset);
/* lower_trap.c: trap with a kind of abi/trap.def if the i1 is true. lower_trap() traps always; the
 * code after it is unreachable. */
void lower_trap_if(struct lower_func *lf, LLVMValueRef condition, uint8_t kind);
void lower_trap(struct lower_func *lf, uint8_t kind);
/* An i32 as a truth value (an i1), and an i1 as an i32. */
LLVMValueRef lower_truth(struct lower_func *lf, LLVMValueRef value);
LLVMValueRef lower_from_truth(struct lower_func *lf, LLVMValueRef bit);
LLVMValueRef lower_zext64(struct lower_func *lf, LLVMValueRef value);
/* lower_memory64.c: an i64 as an address of a memory, or an index of a table: i64 or, cut to 32
 * bits, i32. */
LLVMValueRef lower_to_address(struct lower_func *lf, LLVMValueRef value,
                              const struct wasm_limits *limits);
/* i1: does [start, start + count) reach beyond `size`? `limits`: of what has `start` as its
 * address; NULL: it comes from an i32. */
LLVMValueRef lower_range_is_outside(struct lower_func *lf, const struct wasm_limits *limits,
                                    LLVMValueRef start, LLVMValueRef count, LLVMValueRef size);
/* Access memories, globals, tables, and the sizes of segments: the state that a trap must leave
 * unchanged. */
LLVMValueRef lower_state_load(struct lower_func *lf, LLVMTypeRef type, LLVMValueRef pointer);
LLVMValueRef lower_state_store(struct lower_func *lf, LLVMValueRef value, LLVMValueRef pointer);
/* The same for a memset, memcpy or memmove. */
void lower_state_bulk(struct lower_func *lf, LLVMValueRef call);
LLVMValueRef lower_intrinsic_call(struct lower_func *lf, enum lower_intrinsic intrinsic,
                                  LLVMTypeRef *overloads, LLVMValueRef *args, uint32_t args_count);

/* Open and close a function that is made by hand: stubs, thunks, init. */
int lower_func_begin(struct lower_func *lf, struct lower_module *lm, LLVMValueRef fn,
                     uint64_t offset);
int lower_func_end(struct lower_func *lf);
/* Emit an expression up to its final `end`. Its results stay on the operand stack. If it is a body,
 * the code returns them. */
int lower_expr(struct lower_func *lf, struct wasm_bytes code);

/* lower_control.c */
void lower_frame_push(struct lower_func *lf, enum lower_frame_kind kind,
                      const struct wasm_functype *type);
void lower_frames_free(struct lower_func *lf);
/* The current instruction begins a block of this type. NULL: lf->status says why. */
struct lower_frame *lower_frame_open(struct lower_func *lf, const struct wasm_blocktype *block);
struct lower_frame *lower_frame_at(struct lower_func *lf, uint32_t depth);
/* A copy of the values on top of the operand stack, with room for one more: to be freed. NULL:
 * lf->status says why. */
LLVMValueRef *lower_values_copy(struct lower_func *lf, uint32_t count);
/* The current instruction ends a block. */
void lower_end(struct lower_func *lf);
/* Branch to a label, which takes the values on top of the stack. */
void lower_branch_to(struct lower_func *lf, struct lower_frame *frame);
void lower_return(struct lower_func *lf);
bool lower_skip_dead(struct lower_func *lf);

/* Branch to a label, which takes the values on top of the stack, if the i1 is true. */
void lower_branch_if(struct lower_func *lf, uint32_t depth, LLVMValueRef condition);

/* lower_call.c: call a function of this type with the arguments on the stack. Returns the call, or
 * NULL if out of memory. */
LLVMValueRef lower_call_from_stack(struct lower_func *lf, const struct wasm_functype *type,
                                   LLVMValueRef callee);
/* The same, or a tail call: the current instruction's row says which. */
#define LOWER_TAIL_CALL 1 /* lower_row.arg */
void lower_call_or_tail_call(struct lower_func *lf, const struct wasm_functype *type,
                             LLVMValueRef callee);
/* Trap unless `id` is that of the type: with `null_trap` if it is 0, else for the wrong type. */
void lower_trap_unless_type(struct lower_func *lf, LLVMValueRef id, uint32_t type_idx,
                            uint8_t null_trap);
/* lower_call.c: emits the call, pushes the results and returns the call, or NULL if out of memory.
 * The caller has popped the arguments. */
LLVMValueRef lower_call_value(struct lower_func *lf, const struct wasm_functype *type,
                              LLVMValueRef callee, const LLVMValueRef *args);

/* lower_exceptions.c. A call, or an invoke if the code lies in a try: then the code after it is in
 * another block. Whatever may throw is called by it. */
LLVMValueRef lower_call_or_invoke(struct lower_func *lf, LLVMTypeRef type, LLVMValueRef callee,
                                  LLVMValueRef *args, uint32_t args_count);
/* The caller fills in the clauses. NULL: out of memory. */
struct lower_try *lower_try_new(struct lower_func *lf, uint32_t clauses_count);
void lower_tries_free(struct lower_func *lf);
/* Push the values of the exception that was caught; make a reference to it. The offset is that of
 * the instruction which does. */
void lower_push_caught(struct lower_func *lf, uint32_t tag_idx);
LLVMValueRef lower_take_caught(struct lower_func *lf, uint64_t offset);
/* `values` may lie above the top of the operand stack. */
void lower_throw(struct lower_func *lf, uint32_t tag_idx, const LLVMValueRef *values);
void lower_throw_ref(struct lower_func *lf, LLVMValueRef ref);
/* lower_legacy.c: before the function's first instruction. */
void lower_legacy_scan(struct lower_func *lf, struct wasm_bytes code);

/* lower_memory.c, lower_table.c: also used by init. Values are i64. */
struct lower_span {
    uint32_t idx;       /* memory, table */
    LLVMValueRef start; /* i64; from an i32, or from an i64 of a 64-bit memory or table */
    LLVMValueRef count; /* the same */
};
LLVMValueRef lower_memory_pages(struct lower_func *lf, uint32_t memory_idx);
LLVMValueRef lower_memory_bytes(struct lower_func *lf, uint32_t memory_idx);
LLVMValueRef lower_memory_pointer(struct lower_func *lf, uint32_t memory_idx, LLVMValueRef index64,
                                  uint64_t offset);
/* Pops the index of a load or store. */
LLVMValueRef lower_access_pointer(struct lower_func *lf);
/* The value that a load instruction (lf->row) reads, of any alignment. Pops the index. */
LLVMValueRef lower_memory_load(struct lower_func *lf, LLVMTypeRef type);
/* The operands of memory.init and table.init. */
struct lower_span lower_pop_init(struct lower_func *lf, LLVMValueRef *ret_source);
void lower_memory_init_range(struct lower_func *lf, uint32_t data_idx,
                             const struct lower_span *dest, LLVMValueRef source);
/* lower_touch.c: is the instruction a load of which only the trap is left? Then emits it; bytes: of
 * the memory. */
bool lower_is_touch(const struct lower_func *lf);
void lower_touch(struct lower_func *lf, LLVMValueRef index64, LLVMValueRef pointer,
                 LLVMValueRef bytes);
void lower_data_drop(struct lower_func *lf, uint32_t data_idx);
void lower_table_init_range(struct lower_func *lf, uint32_t elem_idx, const struct lower_span *dest,
                            LLVMValueRef source);
void lower_elem_drop(struct lower_func *lf, uint32_t elem_idx);
LLVMValueRef lower_elem_base(struct lower_func *lf, uint32_t elem_idx);
LLVMValueRef lower_func_ref(struct lower_func *lf, uint32_t func_idx);
LLVMValueRef lower_table_base(struct lower_func *lf, uint32_t table_idx);
LLVMValueRef lower_table_size(struct lower_func *lf, uint32_t table_idx);
/* Set all entries of a table that has its initial size. */
void lower_table_fill(struct lower_func *lf, uint32_t table_idx, LLVMValueRef value);
LLVMValueRef lower_service(struct lower_func *lf, uint32_t op, uint32_t idx, LLVMValueRef delta64);

/* The tables of rows. */
struct lower_rows {
    const struct lower_row *rows;
    size_t count;
};
extern const struct lower_rows lower_control_rows, lower_call_rows, lower_integer_rows,
    lower_float_rows, lower_convert_rows, lower_memory_rows, lower_table_rows, lower_variable_rows,
    lower_simd_rows, lower_simd_memory_rows, lower_simd_integer_rows, lower_simd_float_rows,
    lower_wide_rows, lower_ref_rows, lower_exception_rows, lower_legacy_rows, lower_atomic_rows;
/* lower_ops.c */
void lower_ops_join(struct lower_row *ret_rows);

#endif
