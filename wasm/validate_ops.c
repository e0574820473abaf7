/*
 * wasm/validate_ops.c: instructions whose types depend on the module or the stack: variables,
 * tables, references, drop, select (core specification 2.0, sections 3.3.2 to 3.3.6).
 */
#include <stdlib.h>

#include "error.h"
#include "rows.h"
#include "validate.h"

int check_index(struct validator *validator, const char *what, uint32_t idx, uint32_t count) {
    if (idx < count)
        return 0;
    return validator_error(validator, HUSK_E_INVALID_WASM,
                           "unknown %s %u: %s names it, there are %u", what, idx,
                           wasm_opinfo(validator->instr.op)->text, count);
}

/* ---- parametric ---- */

static int validate_drop(struct validator *validator) {
    valtype_t type = 0;
    return stack_pop_any(validator, &type);
}

/* Without a type: numbers and vectors only, and both operands alike as far as they are known. */
static int validate_select(struct validator *validator) {
    valtype_t second = 0;
    valtype_t first = 0;
    int status = stack_pop(validator, WASM_I32);
    if (status == 0)
        status = stack_pop_any(validator, &second);
    if (status == 0)
        status = stack_pop_any(validator, &first);
    if (status != 0)
        return status;
    if (valtype_is_ref(first) || valtype_is_ref(second))
        return validator_error(
            validator, HUSK_E_INVALID_WASM,
            "type mismatch: select without a type takes numbers and vectors, the stack holds %s",
            TYPE_TEXT(valtype_is_ref(second) ? second : first));
    if (first != second && first != WASM_BOTTOM && second != WASM_BOTTOM)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: select between %s and %s", TYPE_TEXT(first),
                               TYPE_TEXT(second));
    return stack_push(validator, first == WASM_BOTTOM ? second : first);
}

static int validate_select_t(struct validator *validator) {
    valtype_t type = validator->instr.type;
    int status = check_type(validator, type);
    if (status == 0)
        status = stack_pop(validator, WASM_I32);
    if (status == 0)
        status = stack_pop(validator, type);
    if (status == 0)
        status = stack_pop(validator, type);
    return status != 0 ? status : stack_push(validator, type);
}

/* ---- references ---- */

static int validate_ref_null(struct validator *validator) {
    int status = check_type(validator, validator->instr.type);
    return status != 0 ? status : stack_push(validator, validator->instr.type);
}

static int validate_ref_is_null(struct validator *validator) {
    valtype_t type = 0;
    int status = stack_pop_ref(validator, &type);
    return status != 0 ? status : stack_push(validator, WASM_I32);
}

/* In a constant expression it is what declares the function (section 3.4.10). */
static int validate_ref_func(struct validator *validator) {
    struct wasm_module *module = validator->module;
    uint32_t func_idx = validator->instr.idx;
    int status = check_index(validator, "function", func_idx, module->funcs_count);
    if (status != 0)
        return status;
    if (validator->func == NULL)
        module->funcs[func_idx].is_declared = true;
    else if (!module->funcs[func_idx].is_declared)
        return validator_error(
            validator, HUSK_E_INVALID_WASM,
            "undeclared function reference: function %u is in no element segment, export or global",
            func_idx);
    return stack_push(validator, wasm_ref_idx(module->funcs[func_idx].type_idx, false));
}

/* ---- variables ---- */

static valtype_t local_type(const struct validator *validator, uint32_t local_idx) {
    if (local_idx < LOCALS_FLAT)
        return validator->locals_flat[local_idx];
    const struct wasm_func *func = validator->func;
    const struct wasm_functype *type = &validator->module->types[func->type_idx];
    if (local_idx < type->params_count)
        return type->params[local_idx];
    const struct rows ends = {.first = validator->run_ends,
                              .count = func->local_runs_count,
                              .row_bytes = sizeof(uint32_t),
                              .key_bytes = sizeof(uint32_t)};
    /* the first run that ends after it */
    return func->local_runs[rows_up_to(&ends, local_idx)].type;
}

/* A local without a default value is set from here to the end of the block. */
static int local_set_init(struct validator *validator, uint32_t local_idx) {
    if (validator->is_init[local_idx] != 0)
        return 0;
    if (validator->inits_count == validator->inits_cap) {
        uint32_t cap = validator->inits_cap != 0 ? validator->inits_cap * 2 : 64;
        uint32_t *inits = realloc(validator->inits, cap * sizeof *inits);
        if (inits == NULL)
            return error_set(validator->err, HUSK_E_NOMEM, "out of memory while validating");
        validator->inits = inits;
        validator->inits_cap = cap;
    }
    validator->inits[validator->inits_count++] = local_idx;
    validator->is_init[local_idx] = 1;
    return 0;
}

static int local_check_init(struct validator *validator, uint32_t local_idx) {
    const struct wasm_functype *type = &validator->module->types[validator->func->type_idx];
    bool is_param = local_idx < type->params_count;
    if (is_param)
        return 0;
    if (validator->instr.op != WASM_OP_LOCAL_GET)
        return local_set_init(validator, local_idx);
    if (validator->is_init[local_idx] == 0)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "uninitialized local: local %u has no default value and is not set",
                               local_idx);
    return 0;
}

static int validate_local(struct validator *validator) {
    uint32_t local_idx = validator->instr.idx;
    int status = check_index(validator, "local", local_idx, validator->func->locals_count);
    if (status != 0)
        return status;
    valtype_t type = local_type(validator, local_idx);
    if (!wasm_is_defaultable(type))
        status = local_check_init(validator, local_idx);
    if (status == 0 && validator->instr.op != WASM_OP_LOCAL_GET)
        status = stack_pop(validator, type);
    return status != 0 || validator->instr.op == WASM_OP_LOCAL_SET ? status
                                                                   : stack_push(validator, type);
}

/* Constant expressions see imported (or, beyond 2.0, earlier) and immutable globals only (section
 * 3.3.10, and the contexts of section 3.4.10). */
static int validate_global_get(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    uint32_t global_idx = validator->instr.idx;
    bool is_const = validator->func == NULL;
    int status = check_index(validator, "global", global_idx,
                             is_const ? validator->const_globals_count : module->globals_count);
    if (status == 0 && is_const && module->globals[global_idx].is_mutable)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "constant expression required: global %u is mutable", global_idx);
    if (status == 0 && is_const && global_idx >= module->imported_globals_count)
        wasm_use(&validator->module->used, WASM_FEATURE_EXTENDED_CONST, validator->instr.offset,
                 "global.get of an own global");
    return status != 0 ? status : stack_push(validator, module->globals[global_idx].type);
}

static int validate_global_set(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    uint32_t global_idx = validator->instr.idx;
    int status = check_index(validator, "global", global_idx, module->globals_count);
    if (status == 0 && !module->globals[global_idx].is_mutable)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "global is immutable: global.set of global %u", global_idx);
    return status != 0 ? status : stack_pop(validator, module->globals[global_idx].type);
}

/* ---- tables ---- */

static int validate_table_access(struct validator *validator, valtype_t type) {
    const valtype_t address = table_address(validator, validator->instr.idx);
    int status = 0;
    switch (validator->instr.op) {
    case WASM_OP_TABLE_SIZE: return stack_push(validator, address);
    case WASM_OP_TABLE_GET:
        status = stack_pop(validator, address);
        return status != 0 ? status : stack_push(validator, type);
    case WASM_OP_TABLE_SET:
        status = stack_pop(validator, type);
        return status != 0 ? status : stack_pop(validator, address);
    case WASM_OP_TABLE_GROW:
        status = stack_pop(validator, address);
        if (status == 0)
            status = stack_pop(validator, type);
        return status != 0 ? status : stack_push(validator, address);
    default: /* table.fill */
        status = stack_pop(validator, address);
        if (status == 0)
            status = stack_pop(validator, type);
        return status != 0 ? status : stack_pop(validator, address);
    }
}

static int validate_table(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    int status = check_index(validator, "table", validator->instr.idx, module->tables_count);
    return status != 0
               ? status
               : validate_table_access(validator, module->tables[validator->instr.idx].elem_type);
}

/* table.init and table.copy: the destination can hold what the source has. */
static int validate_table_copy(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    const struct wasm_instr *instr = &validator->instr;
    bool is_init = instr->op == WASM_OP_TABLE_INIT;
    uint32_t table_idx = is_init ? instr->idx2 : instr->idx;
    uint32_t source_idx = is_init ? instr->idx : instr->idx2;
    int status = check_index(validator, "table", table_idx, module->tables_count);
    if (status == 0)
        status = is_init ? check_index(validator, "elem segment", source_idx, module->elems_count)
                         : check_index(validator, "table", source_idx, module->tables_count);
    if (status != 0)
        return status;
    valtype_t source =
        is_init ? module->elems[source_idx].elem_type : module->tables[source_idx].elem_type;
    valtype_t table = module->tables[table_idx].elem_type;
    if (!wasm_is_subtype(module, source, table))
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: %s from %s to a table of %s",
                               wasm_opinfo(instr->op)->text, TYPE_TEXT(source), TYPE_TEXT(table));
    valtype_t to = table_address(validator, table_idx);
    valtype_t from = is_init ? WASM_I32 : table_address(validator, source_idx);
    const valtype_t operands[3] = {to, from, smaller_address(to, from)};
    return stack_pop_types(validator, operands, 3);
}

int validate_special(struct validator *validator) {
    const struct wasm_opinfo *info = wasm_opinfo(validator->instr.op);
    if (info->feature == WASM_FEATURE_FUNCTION_REFS || info->feature == WASM_FEATURE_GC) {
        int status = use_feature(validator, (enum wasm_feature)info->feature,
                                 validator->instr.offset, info->text);
        return status != 0 ? status : validate_ref(validator);
    }
    switch (validator->instr.op) {
    case WASM_OP_DROP: return validate_drop(validator);
    case WASM_OP_SELECT: return validate_select(validator);
    case WASM_OP_SELECT_T: return validate_select_t(validator);
    case WASM_OP_REF_NULL: return validate_ref_null(validator);
    case WASM_OP_REF_IS_NULL: return validate_ref_is_null(validator);
    case WASM_OP_REF_FUNC: return validate_ref_func(validator);
    case WASM_OP_LOCAL_GET:
    case WASM_OP_LOCAL_SET:
    case WASM_OP_LOCAL_TEE: return validate_local(validator);
    case WASM_OP_GLOBAL_GET: return validate_global_get(validator);
    case WASM_OP_GLOBAL_SET: return validate_global_set(validator);
    case WASM_OP_TABLE_INIT:
    case WASM_OP_TABLE_COPY: return validate_table_copy(validator);
    case WASM_OP_TABLE_GET:
    case WASM_OP_TABLE_SET:
    case WASM_OP_TABLE_SIZE:
    case WASM_OP_TABLE_GROW:
    case WASM_OP_TABLE_FILL: return validate_table(validator);
    case WASM_OP_RETURN_CALL_REF: return validate_ref(validator);
    case WASM_OP_MEMORY_SIZE:
    case WASM_OP_MEMORY_GROW:
    case WASM_OP_MEMORY_FILL:
    case WASM_OP_MEMORY_INIT:
    case WASM_OP_MEMORY_COPY: return validate_memory_op(validator);
    default: return validate_control(validator);
    }
}
