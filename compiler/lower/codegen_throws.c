/*
 * compiler/lower/codegen_throws.c: finds the functions of a program with exceptions that throw
 * nothing: those that neither throw nor call, and those that call only such ones, in some steps.
 * LLVM turns invokes of these into calls, and code in tries that calls nothing else has no landing
 * pad.
 */
#include <stdlib.h>

#include "codegen_internal.h"
#include "error.h"

#define ROUNDS_MAX 4

/* As far as is known so far. What an import does is the choice of the host. */
static bool may_throw(const bool *is_quiet, const struct wasm_instr *instr) {
    switch (wasm_opinfo(instr->op)->imm) {
    case WASM_IMM_FUNC: return instr->op != WASM_OP_REF_FUNC && !is_quiet[instr->idx];
    case WASM_IMM_CALL_INDIRECT:
    case WASM_IMM_TYPE: /* call_ref */
    case WASM_IMM_TAG: return instr->op != WASM_OP_CATCH;
    default: return instr->op == WASM_OP_THROW_REF || instr->op == WASM_OP_RETHROW;
    }
}

static int read_body(const struct program *program, uint32_t func_idx, const bool *is_quiet,
                     bool *ret_is_quiet, struct husk_error *err) {
    const struct program_instance *instance = program_instance(program, program->funcs[func_idx]);
    struct wasm_reader reader;
    struct wasm_instr instr;
    wasm_reader_init(&reader, program_func(program, func_idx)->code, err);
    while (reader.pos < reader.end) {
        int status = program_read_instr(instance, &reader, &instr);
        if (status != 0)
            return status;
        if (may_throw(is_quiet, &instr))
            return 0;
    }
    *ret_is_quiet = true;
    return 0;
}

int codegen_find_quiet(const struct program *program, bool **ret_is_quiet, struct husk_error *err) {
    bool *is_quiet = calloc(program->funcs_count + 1u, sizeof *is_quiet);
    int status = is_quiet == NULL ? error_set(err, HUSK_E_NOMEM, "out of memory") : 0;
    bool has_more = true;
    for (int round = 0; round < ROUNDS_MAX && has_more && status == 0; round++) {
        has_more = false;
        for (uint32_t i = 0; i < program->funcs_count && status == 0; i++) {
            if (is_quiet[i] || program_func(program, i)->is_import)
                continue;
            status = read_body(program, i, is_quiet, &is_quiet[i], err);
            has_more |= is_quiet[i];
        }
    }
    if (status == 0)
        *ret_is_quiet = is_quiet;
    else
        free(is_quiet);
    return status;
}
