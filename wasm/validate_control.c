/*
 * wasm/validate_control.c: blocks, branches and calls (core specification 2.0, section 3.3.8).
 */
#include "validate.h"

static int validate_block(struct validator *validator) {
    const struct wasm_instr *instr = &validator->instr;
    if (instr->block.is_index) {
        int status = check_form(validator, instr->block.type_idx, WASM_FORM_FUNC);
        if (status != 0)
            return status;
        wasm_use(&validator->module->used, WASM_FEATURE_MULTI_VALUE, instr->offset,
                 "a block with a type index");
    } else if (valtype_is_ref(instr->block.result)) {
        int status = check_type(validator, instr->block.result);
        if (status != 0)
            return status;
    }
    struct wasm_functype type = wasm_block_functype(validator->module->types, &instr->block);
    int status = 0;
    if (instr->op == WASM_OP_IF)
        status = stack_pop(validator, WASM_I32);
    else if (instr->op == WASM_OP_TRY_TABLE)
        status = validate_catches(validator);
    if (status == 0)
        status = stack_pop_types(validator, type.params, type.params_count);
    if (status == 0)
        status = frame_push(validator, instr->op, &instr->block);
    return status != 0 ? status : stack_push_types(validator, type.params, type.params_count);
}

static int validate_else(struct validator *validator) {
    struct frame frame;
    if (validator->frames[validator->frames_count - 1].op != WASM_OP_IF)
        return validator_error(validator, HUSK_E_BAD_WASM, "END opcode expected: else without if");
    int status = frame_pop(validator, &frame);
    if (status == 0)
        status = frame_push(validator, WASM_OP_ELSE, &frame.block);
    if (status != 0)
        return status;
    struct wasm_functype type = frame_type(validator, &frame);
    return stack_push_types(validator, type.params, type.params_count);
}

static int validate_end(struct validator *validator) {
    struct frame frame;
    int status = frame_pop(validator, &frame);
    if (status != 0)
        return status;
    struct wasm_functype type = frame_type(validator, &frame);
    if (frame.op == WASM_OP_IF &&
        (type.params_count != type.results_count ||
         !wasm_are_subtypes(validator->module, type.params, type.results, type.params_count)))
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: an if without else must return what it takes, but "
                               "has %u parameters and %u results",
                               type.params_count, type.results_count);
    return validator->frames_count != 0
               ? stack_push_types(validator, type.results, type.results_count)
               : 0;
}

/* What a branch to the label takes: a loop's parameters, any other block's results. */
int label_types(struct validator *validator, uint32_t depth, const valtype_t **ret_types,
                uint32_t *ret_count) {
    int status = check_index(validator, "label", depth, validator->frames_count);
    if (status != 0)
        return status;
    struct frame *frame = &validator->frames[validator->frames_count - 1 - depth];
    struct wasm_functype type = frame_type(validator, frame);
    bool is_loop = frame->op == WASM_OP_LOOP;
    *ret_types = is_loop ? type.params : type.results;
    *ret_count = is_loop ? type.params_count : type.results_count;
    return 0;
}

static int validate_br(struct validator *validator) {
    const valtype_t *types = NULL;
    uint32_t count = 0;
    int status = label_types(validator, validator->instr.idx, &types, &count);
    if (status == 0)
        status = stack_pop_types(validator, types, count);
    if (status == 0)
        stack_set_unreachable(validator);
    return status;
}

static int validate_br_if(struct validator *validator) {
    const valtype_t *types = NULL;
    uint32_t count = 0;
    int status = label_types(validator, validator->instr.idx, &types, &count);
    if (status == 0)
        status = stack_pop(validator, WASM_I32);
    if (status == 0)
        status = stack_pop_types(validator, types, count);
    return status != 0 ? status : stack_push_types(validator, types, count);
}

/* Every label, the default last, against the same operands. */
static int validate_br_table(struct validator *validator) {
    struct wasm_bytes labels = validator->instr.br_table.labels;
    uint32_t targets_count = validator->instr.br_table.count;
    uint32_t arity = 0;
    uint32_t stamp = ++validator->stamp; /* a target often occurs many times: check it once */
    int status = stack_pop(validator, WASM_I32);
    for (uint32_t i = 0; status == 0 && i <= targets_count; i++) {
        const valtype_t *types = NULL;
        uint32_t count = 0;
        uint32_t depth = 0;
        status = wasm_read_label(&labels, &depth);
        if (status == 0)
            status = label_types(validator, depth, &types, &count);
        if (status != 0)
            continue;
        struct frame *frame = &validator->frames[validator->frames_count - 1 - depth];
        if (frame->stamp == stamp)
            continue;
        frame->stamp = stamp;
        if (i > 0 && count != arity)
            return validator_error(validator, HUSK_E_INVALID_WASM,
                                   "type mismatch: the targets of br_table take different numbers "
                                   "of values: %u and %u",
                                   arity, count);
        arity = count;
        status = stack_check_types(validator, types, count);
    }
    if (status == 0)
        stack_set_unreachable(validator);
    return status;
}

static int validate_return(struct validator *validator) {
    struct wasm_functype type = frame_type(validator, &validator->frames[0]);
    int status = stack_pop_types(validator, type.results, type.results_count);
    if (status == 0)
        stack_set_unreachable(validator);
    return status;
}

int validate_call_type(struct validator *validator, uint32_t type_idx) {
    const struct wasm_functype *type = &validator->module->types[type_idx];
    int status = stack_pop_types(validator, type->params, type->params_count);
    return status != 0 ? status : stack_push_types(validator, type->results, type->results_count);
}

int validate_tail_call_type(struct validator *validator, uint32_t type_idx) {
    const struct wasm_functype *type = &validator->module->types[type_idx];
    struct wasm_functype caller = frame_type(validator, &validator->frames[0]);
    if (type->results_count != caller.results_count ||
        !wasm_are_subtypes(validator->module, type->results, caller.results, type->results_count))
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: %s must return what its function returns",
                               wasm_opinfo(validator->instr.op)->text);
    int status = stack_pop_types(validator, type->params, type->params_count);
    if (status == 0)
        stack_set_unreachable(validator);
    return status;
}

static int validate_call(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    uint32_t func_idx = validator->instr.idx;
    int status = check_index(validator, "function", func_idx, module->funcs_count);
    if (status != 0)
        return status;
    return validator->instr.op == WASM_OP_RETURN_CALL
               ? validate_tail_call_type(validator, module->funcs[func_idx].type_idx)
               : validate_call_type(validator, module->funcs[func_idx].type_idx);
}

static int validate_call_indirect(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    uint32_t type_idx = validator->instr.idx;
    uint32_t table_idx = validator->instr.idx2;
    int status = check_form(validator, type_idx, WASM_FORM_FUNC);
    if (status == 0)
        status = check_index(validator, "table", table_idx, module->tables_count);
    if (status == 0 && !wasm_is_subtype(module, module->tables[table_idx].elem_type, WASM_FUNCREF))
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: %s needs a table of funcref, table %u holds %s",
                               wasm_opinfo(validator->instr.op)->text, table_idx,
                               TYPE_TEXT(module->tables[table_idx].elem_type));
    if (status == 0)
        status = stack_pop(validator, table_address(validator, table_idx));
    if (status != 0)
        return status;
    return validator->instr.op == WASM_OP_RETURN_CALL_INDIRECT
               ? validate_tail_call_type(validator, type_idx)
               : validate_call_type(validator, type_idx);
}

int validate_control(struct validator *validator) {
    switch (validator->instr.op) {
    case WASM_OP_BLOCK:
    case WASM_OP_LOOP:
    case WASM_OP_IF:
    case WASM_OP_TRY:
    case WASM_OP_TRY_TABLE: return validate_block(validator);
    case WASM_OP_CATCH:
    case WASM_OP_CATCH_ALL:
    case WASM_OP_DELEGATE:
    case WASM_OP_THROW:
    case WASM_OP_THROW_REF:
    case WASM_OP_RETHROW: return validate_exception(validator);
    case WASM_OP_ELSE: return validate_else(validator);
    case WASM_OP_END: return validate_end(validator);
    case WASM_OP_BR: return validate_br(validator);
    case WASM_OP_BR_IF: return validate_br_if(validator);
    case WASM_OP_BR_TABLE: return validate_br_table(validator);
    case WASM_OP_RETURN: return validate_return(validator);
    case WASM_OP_RETURN_CALL:
    case WASM_OP_CALL: return validate_call(validator);
    case WASM_OP_RETURN_CALL_INDIRECT:
    case WASM_OP_CALL_INDIRECT: return validate_call_indirect(validator);
    default: stack_set_unreachable(validator); return 0; /* unreachable */
    }
}
