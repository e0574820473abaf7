/*
 * wasm/validate_refs.c: typed function references, casts and the other instructions on references
 * (core specification 3.0, sections 3.4.4 to 3.4.7 and 3.4.12).
 */
#include "validate.h"

static int error_ref(struct validator *validator, const char *what, valtype_t type) {
    return validator_error(validator, HUSK_E_INVALID_WASM,
                           "type mismatch: %s needs %s, the stack holds %s",
                           wasm_opinfo(validator->instr.op)->text, what, TYPE_TEXT(type));
}

int stack_pop_ref(struct validator *validator, valtype_t *ret_type) {
    valtype_t type = WASM_BOTTOM;
    int status = stack_pop_any(validator, &type);
    if (status != 0)
        return status;
    if (type != WASM_BOTTOM && !valtype_is_ref(type))
        return error_ref(validator, "a reference", type);
    *ret_type = type == WASM_BOTTOM ? wasm_ref(WASM_HEAP_BOTTOM, false) : type;
    return 0;
}

/* ---- null ---- */

static int validate_as_non_null(struct validator *validator) {
    valtype_t type = WASM_BOTTOM;
    int status = stack_pop_ref(validator, &type);
    return status != 0 ? status : stack_push(validator, wasm_non_null(type));
}

/* The branch drops the null, otherwise the reference stays. */
static int validate_br_on_null(struct validator *validator) {
    const valtype_t *types = NULL;
    uint32_t count = 0;
    valtype_t type = WASM_BOTTOM;
    int status = label_types(validator, validator->instr.idx, &types, &count);
    if (status == 0)
        status = stack_pop_ref(validator, &type);
    if (status == 0)
        status = stack_pop_types(validator, types, count);
    if (status == 0)
        status = stack_push_types(validator, types, count);
    return status != 0 ? status : stack_push(validator, wasm_non_null(type));
}

/* The types of a label that takes a reference last. */
static int ref_label_types(struct validator *validator, const valtype_t **ret_types,
                           uint32_t *ret_count) {
    uint32_t count = 0;
    int status = label_types(validator, validator->instr.idx, ret_types, &count);
    if (status != 0)
        return status;
    if (count == 0 || !valtype_is_ref((*ret_types)[count - 1]))
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: the label of %s must take a reference last",
                               wasm_opinfo(validator->instr.op)->text);
    *ret_count = count;
    return 0;
}

/* The branch takes the reference `type`, after the label's other types, which stay. */
static int validate_branch_with(struct validator *validator, const valtype_t *types, uint32_t count,
                                valtype_t type) {
    if (!wasm_is_subtype(validator->module, type, types[count - 1]))
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: %s branches with %s, the label takes %s",
                               wasm_opinfo(validator->instr.op)->text, TYPE_TEXT(type),
                               TYPE_TEXT(types[count - 1]));
    int status = stack_pop_types(validator, types, count - 1);
    return status != 0 ? status : stack_push_types(validator, types, count - 1);
}

static int validate_br_on_non_null(struct validator *validator) {
    const valtype_t *types = NULL;
    uint32_t count = 0;
    valtype_t type = WASM_BOTTOM;
    int status = ref_label_types(validator, &types, &count);
    if (status == 0)
        status = stack_pop_ref(validator, &type);
    return status != 0 ? status
                       : validate_branch_with(validator, types, count, wasm_non_null(type));
}

/* ---- calls ---- */

static int validate_call_ref(struct validator *validator) {
    uint32_t type_idx = validator->instr.idx;
    int status = check_form(validator, type_idx, WASM_FORM_FUNC);
    if (status == 0)
        status = stack_pop(validator, wasm_ref_idx(type_idx, true));
    if (status != 0)
        return status;
    return validator->instr.op == WASM_OP_RETURN_CALL_REF
               ? validate_tail_call_type(validator, type_idx)
               : validate_call_type(validator, type_idx);
}

/* ---- casts ---- */

/* The operand is any reference of the same hierarchy. */
static int pop_same_hierarchy(struct validator *validator, valtype_t type) {
    enum wasm_heap heap = wasm_heap(type);
    if (heap == WASM_HEAP_INDEX)
        heap = validator->module->types[wasm_type_idx(type)].form == WASM_FORM_FUNC ? WASM_HEAP_FUNC
                                                                                    : WASM_HEAP_ANY;
    return stack_pop(validator, wasm_ref(wasm_heap_top(heap), true));
}

static int validate_cast(struct validator *validator) {
    valtype_t type = validator->instr.type;
    bool is_test =
        validator->instr.op == WASM_OP_REF_TEST || validator->instr.op == WASM_OP_REF_TEST_NULL;
    int status = check_type(validator, type);
    if (status == 0)
        status = pop_same_hierarchy(validator, type);
    return status != 0 ? status : stack_push(validator, is_test ? (valtype_t)WASM_I32 : type);
}

/* br_on_cast branches with the target's type, br_on_cast_fail with the rest of the source's. */
static int validate_br_on_cast(struct validator *validator) {
    valtype_t source = validator->instr.type;
    valtype_t target = validator->instr.cast_type;
    const valtype_t *types = NULL;
    uint32_t count = 0;
    int status = check_type(validator, source);
    if (status == 0)
        status = check_type(validator, target);
    if (status == 0 && !wasm_is_subtype(validator->module, target, source))
        return validator_error(
            validator, HUSK_E_INVALID_WASM, "type mismatch: %s to %s, which is not a subtype of %s",
            wasm_opinfo(validator->instr.op)->text, TYPE_TEXT(target), TYPE_TEXT(source));
    if (status == 0)
        status = ref_label_types(validator, &types, &count);
    if (status == 0)
        status = stack_pop(validator, source);
    valtype_t rest = wasm_is_nullable(target) ? wasm_non_null(source) : source;
    bool is_fail = validator->instr.op == WASM_OP_BR_ON_CAST_FAIL;
    if (status == 0)
        status = validate_branch_with(validator, types, count, is_fail ? rest : target);
    return status != 0 ? status : stack_push(validator, is_fail ? target : rest);
}

/* ---- numbers and hosts ---- */

static int validate_convert(struct validator *validator, enum wasm_heap from, enum wasm_heap to) {
    valtype_t type = WASM_BOTTOM;
    int status = stack_pop_ref(validator, &type);
    if (status == 0 && !wasm_is_subtype(validator->module, type, wasm_ref(from, true)))
        return error_ref(validator, TYPE_TEXT(wasm_ref(from, true)), type);
    return status != 0 ? status : stack_push(validator, wasm_ref(to, wasm_is_nullable(type)));
}

static int validate_one(struct validator *validator, valtype_t operand, valtype_t result) {
    int status = stack_pop(validator, operand);
    return status != 0 ? status : stack_push(validator, result);
}

static int validate_ref_eq(struct validator *validator) {
    int status = stack_pop(validator, wasm_ref(WASM_HEAP_EQ, true));
    return status != 0 ? status : validate_one(validator, wasm_ref(WASM_HEAP_EQ, true), WASM_I32);
}

int validate_ref(struct validator *validator) {
    switch (validator->instr.op) {
    case WASM_OP_CALL_REF:
    case WASM_OP_RETURN_CALL_REF: return validate_call_ref(validator);
    case WASM_OP_REF_AS_NON_NULL: return validate_as_non_null(validator);
    case WASM_OP_BR_ON_NULL: return validate_br_on_null(validator);
    case WASM_OP_BR_ON_NON_NULL: return validate_br_on_non_null(validator);
    case WASM_OP_REF_EQ: return validate_ref_eq(validator);
    case WASM_OP_REF_TEST:
    case WASM_OP_REF_TEST_NULL:
    case WASM_OP_REF_CAST:
    case WASM_OP_REF_CAST_NULL: return validate_cast(validator);
    case WASM_OP_BR_ON_CAST:
    case WASM_OP_BR_ON_CAST_FAIL: return validate_br_on_cast(validator);
    case WASM_OP_ANY_CONVERT_EXTERN:
        return validate_convert(validator, WASM_HEAP_EXTERN, WASM_HEAP_ANY);
    case WASM_OP_EXTERN_CONVERT_ANY:
        return validate_convert(validator, WASM_HEAP_ANY, WASM_HEAP_EXTERN);
    case WASM_OP_REF_I31: return validate_one(validator, WASM_I32, wasm_ref(WASM_HEAP_I31, false));
    case WASM_OP_I31_GET_S:
    case WASM_OP_I31_GET_U: return validate_one(validator, wasm_ref(WASM_HEAP_I31, true), WASM_I32);
    default: return validate_gc(validator);
    }
}
