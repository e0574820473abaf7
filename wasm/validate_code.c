/*
 * wasm/validate_code.c: runs the validator over one body or one constant expression. Most
 * instructions need only their row in opcode.def: the kind of immediate and the signature. The
 * others are in validate_control.c and validate_ops.c.
 */
#include <stdlib.h>

#include "error.h"
#include "limits.h"
#include "validate.h"

/* The first operand of an access to memory is an address, in the signatures i32. */
static valtype_t operand_type(const struct validator *validator, const struct wasm_opinfo *info,
                              uint32_t i) {
    if (i == 0 && (info->imm == WASM_IMM_MEMARG || info->imm == WASM_IMM_MEMARG_LANE))
        return memory_address(validator, validator->instr.mem.memory_idx);
    return valtype_from_letter(info->sig[i]);
}

static int validate_signature(struct validator *validator, const struct wasm_opinfo *info) {
    const char *sig = info->sig;
    uint32_t params_count = 0;
    int status = 0;
    while (sig[params_count] != '>')
        params_count++;
    for (uint32_t i = params_count; status == 0 && i > 0; i--)
        status = stack_pop(validator, operand_type(validator, info, i - 1));
    const char *result = sig + params_count + 1;
    for (; status == 0 && *result != '\0' && *result != '@' && *result != '#'; result++)
        status = stack_push(validator, valtype_from_letter(*result));
    return status;
}

/* ---- immediates of the instructions that have a signature ---- */

static int validate_lane(struct validator *validator, uint8_t lane, uint32_t lanes) {
    if (lane >= lanes)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "invalid lane index %u: %s has %u lanes", lane,
                               wasm_opinfo(validator->instr.op)->text, lanes);
    return 0;
}

static int validate_shuffle(struct validator *validator) {
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < 16; i++)
        status = validate_lane(validator, validator->instr.v128[i], 32);
    return status;
}

/* The data count section exists so that bodies can be checked before the data is seen (section
 * 5.5.16). */
int check_data_idx(struct validator *validator, uint32_t data_idx) {
    if (!validator->module->has_data_count)
        return validator_error(validator, HUSK_E_BAD_WASM, "data count section required by %s",
                               wasm_opinfo(validator->instr.op)->text);
    return check_index(validator, "data segment", data_idx, validator->module->datas_count);
}

static int validate_immediate(struct validator *validator, uint8_t imm) {
    const struct wasm_instr *instr = &validator->instr;
    int status = 0;
    switch (imm) {
    case WASM_IMM_MEMARG: return validate_memarg(validator);
    case WASM_IMM_MEMARG_LANE:
        status = validate_memarg(validator);
        return status != 0 ? status
                           : validate_lane(validator, instr->lane, wasm_op_lanes(instr->op));
    case WASM_IMM_LANE: return validate_lane(validator, instr->lane, wasm_op_lanes(instr->op));
    case WASM_IMM_SHUFFLE: return validate_shuffle(validator);
    case WASM_IMM_DATA: return check_data_idx(validator, instr->idx);
    case WASM_IMM_ELEM:
        return check_index(validator, "elem segment", instr->idx, validator->module->elems_count);
    default: return 0;
    }
}

static int validate_instr(struct validator *validator) {
    const struct wasm_opinfo *info = wasm_opinfo(validator->instr.op);
    wasm_use(&validator->module->used, info->feature, validator->instr.offset, info->text);
    if (!validator_has(validator, (enum wasm_feature)info->feature))
        return validator_error(validator, HUSK_E_UNSUPPORTED, "uses %s (%s), which is not enabled",
                               wasm_feature_rows[info->feature].text, info->text);
    if (info->sig[0] == '*')
        return validate_special(validator);
    if (info->imm != WASM_IMM_NONE) {
        int status = validate_immediate(validator, info->imm);
        if (status != 0)
            return status;
    }
    return validate_signature(validator, info);
}

/* ---- expressions ---- */

/* Section 3.3.10, and extended constant expressions. */
static bool is_const_op(struct validator *validator) {
    const enum wasm_op op = validator->instr.op;
    switch (op) {
    case WASM_OP_I32_CONST:
    case WASM_OP_I64_CONST:
    case WASM_OP_F32_CONST:
    case WASM_OP_F64_CONST:
    case WASM_OP_V128_CONST:
    case WASM_OP_REF_NULL:
    case WASM_OP_REF_FUNC:
    case WASM_OP_GLOBAL_GET:
    case WASM_OP_END: return true;
    case WASM_OP_I32_ADD:
    case WASM_OP_I32_SUB:
    case WASM_OP_I32_MUL:
    case WASM_OP_I64_ADD:
    case WASM_OP_I64_SUB:
    case WASM_OP_I64_MUL:
        wasm_use(&validator->module->used, WASM_FEATURE_EXTENDED_CONST, validator->instr.offset,
                 wasm_opinfo(op)->text);
        return validator_has(validator, WASM_FEATURE_EXTENDED_CONST);
    case WASM_OP_REF_I31:
    case WASM_OP_STRUCT_NEW:
    case WASM_OP_STRUCT_NEW_DEFAULT:
    case WASM_OP_ARRAY_NEW:
    case WASM_OP_ARRAY_NEW_DEFAULT:
    case WASM_OP_ARRAY_NEW_FIXED:
    case WASM_OP_ANY_CONVERT_EXTERN:
    case WASM_OP_EXTERN_CONVERT_ANY: return validator_has(validator, WASM_FEATURE_GC);
    default: return false;
    }
}

/* Everything up to the end that closes the outermost frame, which must be the last byte. */
static int validate_expr(struct validator *validator, struct wasm_bytes expr,
                         const struct wasm_blocktype *block) {
    wasm_reader_init(&validator->reader, expr, validator->err);
    validator->reader.enabled = validator->enabled;
    validator->reader.used = &validator->module->used;
    validator->stack_count = 0;
    validator->frames_count = 0;
    validator->instr = (struct wasm_instr){.op = WASM_OP_BLOCK, .offset = expr.offset};
    int status = frame_push(validator, WASM_OP_BLOCK, block);
    while (status == 0 && validator->frames_count != 0) {
        status = wasm_read_instr_into(&validator->reader, &validator->instr);
        if (status == 0 && validator->func == NULL && !is_const_op(validator))
            return validator_error(validator, HUSK_E_INVALID_WASM,
                                   "constant expression required: %s is not allowed in one",
                                   wasm_opinfo(validator->instr.op)->text);
        if (status == 0)
            status = validate_instr(validator);
    }
    if (status == 0 && validator->reader.pos != validator->reader.end)
        return wasm_error(validator->err, HUSK_E_BAD_WASM, wasm_reader_offset(&validator->reader),
                          "unexpected content after the last end of the expression");
    return status;
}

int validate_const_expr(struct validator *validator, struct wasm_bytes expr, valtype_t type) {
    struct wasm_blocktype block = {.result = type};
    validator->func = NULL;
    return validate_expr(validator, expr, &block);
}

static int inits_prepare(struct validator *validator) {
    if (validator->is_init == NULL)
        validator->is_init = calloc(WASM_LIMIT_LOCALS, sizeof *validator->is_init);
    if (validator->is_init == NULL)
        return error_set(validator->err, HUSK_E_NOMEM, "out of memory while validating");
    return 0;
}

/* The types of the first locals in an array, and the ends of the runs for the others. */
static int locals_prepare(struct validator *validator, const struct wasm_func *func,
                          const struct wasm_functype *type) {
    if (func->local_runs_count > validator->run_ends_cap) {
        uint32_t *run_ends =
            realloc(validator->run_ends, func->local_runs_count * sizeof *run_ends);
        if (run_ends == NULL)
            return error_set(validator->err, HUSK_E_NOMEM, "out of memory while validating");
        validator->run_ends = run_ends;
        validator->run_ends_cap = func->local_runs_count;
    }
    uint32_t local_idx = 0;
    for (; local_idx < type->params_count && local_idx < LOCALS_FLAT; local_idx++)
        validator->locals_flat[local_idx] = type->params[local_idx];
    uint32_t end = type->params_count;
    for (uint32_t i = 0; i < func->local_runs_count; i++) {
        const struct wasm_local_run *run = &func->local_runs[i];
        end += run->count;
        validator->run_ends[i] = end;
        int status = check_type_at(validator, run->type, func->body_offset);
        if (status == 0 && !wasm_is_defaultable(run->type))
            status = inits_prepare(validator);
        if (status != 0)
            return status;
        for (; local_idx < end && local_idx < LOCALS_FLAT; local_idx++)
            validator->locals_flat[local_idx] = run->type;
    }
    return 0;
}

int validate_func(struct validator *validator, const struct wasm_func *func) {
    struct wasm_blocktype block = {.is_index = true, .type_idx = func->type_idx};
    validator->func = func;
    int status = locals_prepare(validator, func, &validator->module->types[func->type_idx]);
    return status != 0 ? status : validate_expr(validator, func->code, &block);
}

valtype_t wasm_local_type(const struct wasm_module *module, const struct wasm_func *func,
                          uint32_t local_idx) {
    const struct wasm_functype *type = &module->types[func->type_idx];
    if (local_idx < type->params_count)
        return type->params[local_idx];
    uint32_t left = local_idx - type->params_count;
    uint32_t i = 0;
    while (left >= func->local_runs[i].count)
        left -= func->local_runs[i++].count;
    return func->local_runs[i].type;
}
