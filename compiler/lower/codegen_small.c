/*
 * compiler/lower/codegen_small.c: finds the functions that are inlined where they are called:
 * getters, setters, wrappers, small arithmetic. lower_inline.c inlines them.
 *
 * The module's compiler has inlined what it wanted to inline. It could not reach across linked
 * modules, and some compilers hardly inline. So a function is small only if its code is about as
 * long as the call that it replaces.
 *
 * Deliberately not LLVM's cost model: it wants locals in SSA form, and inlining must come before
 * that (lower_inline.c).
 */
#include <stdlib.h>

#include "codegen_internal.h"
#include "error.h"

/* Costs are machine instructions, roughly. Measured on SQLite, Lua and the kernels of bench/: with
 * more, code grows and does not get faster. */
#define COST_MAX 6
#define CALL_COST 2
#define INDIRECT_COST 6
#define TOUCH_COST 4 /* lower_touch.c, without the load */
/* Operands are free, so a body of the highest cost may still be long. */
#define BODY_BYTES_MAX 300
#define LOCALS_MAX 16
/* Small functions that call small functions, in so many steps; beyond them, and in recursion, calls
 * stay calls. */
#define RANKS_MAX 4
#define RANK_NEVER UINT8_MAX

struct measure {
    const struct program *program;
    const struct lower_small *smalls;
    uint8_t rank; /* that functions get now */
    uint32_t cost;
    bool waits; /* it calls functions that may be small and have no rank yet */
    bool is_after_access;
};

/* Deliberately not made smaller by inlining: lower_call.c marks no tail call for it. */
static uint32_t plain_call_cost(const struct measure *measure, uint32_t func_idx) {
    return CALL_COST + program_func_type(measure->program, func_idx)->params_count;
}

static uint32_t call_cost(struct measure *measure, uint32_t func_idx) {
    const struct lower_small *small = &measure->smalls[func_idx];
    if (small->rank != 0 && small->rank < measure->rank)
        return small->cost;
    measure->waits |= small->rank != RANK_NEVER;
    return plain_call_cost(measure, func_idx);
}

/* UINT32_MAX: a function that has it is not small. So instructions that this file does not know are
 * never inlined. */
static uint32_t instr_cost(struct measure *measure, const struct wasm_instr *instr) {
    switch (wasm_opinfo(instr->op)->imm) {
    case WASM_IMM_NONE:
        return instr->op == WASM_OP_THROW_REF ? UINT32_MAX
                                              : 1 + 2 * codegen_check_blocks(instr->op);
    case WASM_IMM_LOCAL:
    case WASM_IMM_I32:
    case WASM_IMM_I64:
    case WASM_IMM_F32:
    case WASM_IMM_F64: return 0;
    case WASM_IMM_MEMARG: return 1 + 2 * codegen_check_blocks(instr->op);
    case WASM_IMM_GLOBAL:
    case WASM_IMM_LABEL:
    case WASM_IMM_SELECT_T: return 1;
    case WASM_IMM_BLOCKTYPE:
        return instr->op == WASM_OP_BLOCK ? 0 : instr->op == WASM_OP_IF ? 1 : UINT32_MAX;
    case WASM_IMM_CALL_INDIRECT: return INDIRECT_COST;
    case WASM_IMM_FUNC:
        if (instr->op == WASM_OP_RETURN_CALL)
            return plain_call_cost(measure, instr->idx);
        return instr->op == WASM_OP_CALL ? call_cost(measure, instr->idx) : UINT32_MAX;
    default: return UINT32_MAX;
    }
}

static bool is_free(enum wasm_op op) {
    return op == WASM_OP_END || op == WASM_OP_RETURN || op == WASM_OP_DROP || op == WASM_OP_NOP ||
           op == WASM_OP_ELSE;
}

/* More than one result is a structure, through which lower_strict.c does not look. */
static bool is_candidate(const struct program *program, uint32_t func_idx) {
    const struct wasm_func *func = program_func(program, func_idx);
    return !func->is_import && func->code.count <= BODY_BYTES_MAX &&
           func->locals_count <= LOCALS_MAX &&
           program_func_type(program, func_idx)->results_count <= 1;
}

static int measure_body(struct measure *measure, uint32_t func_idx, struct husk_error *err) {
    const struct program *program = measure->program;
    struct wasm_reader reader;
    struct wasm_instr instr;
    measure->cost = 0;
    measure->waits = false;
    wasm_reader_init(&reader, program_func(program, func_idx)->code, err);
    while (reader.pos < reader.end && measure->cost <= COST_MAX) {
        int status = program_read_instr(program_instance(program, program->funcs[func_idx]),
                                        &reader, &instr);
        if (status != 0)
            return status;
        uint32_t cost = is_free(instr.op) ? 0 : instr_cost(measure, &instr);
        if (instr.op == WASM_OP_DROP && measure->is_after_access)
            cost = TOUCH_COST;
        measure->is_after_access = wasm_opinfo(instr.op)->imm == WASM_IMM_MEMARG;
        measure->cost = cost > COST_MAX ? COST_MAX + 1 : measure->cost + cost;
    }
    return 0;
}

/* A function gets its rank when all that it calls have theirs, or in the last round. A call in a
 * small function is inlined only if the function called has a lower rank: growth and recursion end
 * there. */
static int find_rank(const struct program *program, uint8_t rank, struct lower_small *smalls,
                     struct husk_error *err) {
    struct measure measure = {.program = program, .smalls = smalls, .rank = rank};
    for (uint32_t i = 0; i < program->funcs_count; i++) {
        if (smalls[i].rank != 0)
            continue;
        int status = measure_body(&measure, i, err);
        if (status != 0)
            return status;
        if (measure.cost > COST_MAX && !measure.waits)
            smalls[i].rank = RANK_NEVER;
        else if (measure.cost <= COST_MAX && (!measure.waits || rank == RANKS_MAX))
            smalls[i] = (struct lower_small){.rank = rank, .cost = (uint8_t)measure.cost};
    }
    return 0;
}

int codegen_find_small(const struct program *program, struct lower_small **ret_smalls,
                       struct husk_error *err) {
    struct lower_small *smalls = calloc(program->funcs_count + 1u, sizeof *smalls);
    if (smalls == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < program->funcs_count; i++)
        smalls[i].rank = is_candidate(program, i) ? 0 : RANK_NEVER;
    int status = 0;
    for (uint8_t rank = 1; rank <= RANKS_MAX && status == 0; rank++)
        status = find_rank(program, rank, smalls, err);
    for (uint32_t i = 0; i < program->funcs_count; i++)
        if (smalls[i].rank == RANK_NEVER)
            smalls[i].rank = 0;
    if (status != 0) {
        free(smalls);
        return status;
    }
    *ret_smalls = smalls;
    return 0;
}
