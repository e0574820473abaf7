/*
 * wasm/validate_gc.c: structs and arrays (core specification 3.0, sections 3.4.7 and 3.4.8).
 */
#include "validate.h"

#include "limits.h"

static int error_invalid(struct validator *validator, const char *text) {
    return validator_error(validator, HUSK_E_INVALID_WASM, "%s: %s of type %u", text,
                           wasm_opinfo(validator->instr.op)->text, validator->instr.idx);
}

/* The fields of the struct or array type that the instruction names. */
static int fields_of(struct validator *validator, enum wasm_form form,
                     const struct wasm_functype **ret_type) {
    int status = check_form(validator, validator->instr.idx, form);
    if (status == 0)
        *ret_type = &validator->module->types[validator->instr.idx];
    return status;
}

static int pop_object(struct validator *validator) {
    return stack_pop(validator, wasm_ref_idx(validator->instr.idx, true));
}

static int push_object(struct validator *validator) {
    return stack_push(validator, wasm_ref_idx(validator->instr.idx, false));
}

static int pop_i32s(struct validator *validator, uint32_t count) {
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = stack_pop(validator, WASM_I32);
    return status;
}

static int check_mutable(struct validator *validator, valtype_t field) {
    return (field & WASM_FIELD_MUTABLE) != 0
               ? 0
               : error_invalid(validator, validator->instr.op == WASM_OP_STRUCT_SET
                                              ? "field is immutable"
                                              : "array is immutable");
}

/* get_s and get_u are for packed fields, get for all others. */
static int push_field(struct validator *validator, valtype_t field, bool is_extending) {
    if (wasm_is_packed(field) != is_extending)
        return error_invalid(validator, is_extending ? "type mismatch: the field is not packed"
                                                     : "type mismatch: the field is packed");
    return stack_push(validator, wasm_unpacked(field));
}

/* ---- structs ---- */

static int validate_struct_new(struct validator *validator) {
    const struct wasm_functype *type = NULL;
    int status = fields_of(validator, WASM_FORM_STRUCT, &type);
    for (uint32_t i = status == 0 ? type->params_count : 0; status == 0 && i > 0; i--) {
        valtype_t field = wasm_unpacked(type->params[i - 1]);
        if (validator->instr.op == WASM_OP_STRUCT_NEW)
            status = stack_pop(validator, field);
        else if (!wasm_is_defaultable(field))
            status = error_invalid(validator, "type mismatch: a field has no default value");
    }
    return status != 0 ? status : push_object(validator);
}

static int validate_struct_access(struct validator *validator) {
    const struct wasm_functype *type = NULL;
    const struct wasm_instr *instr = &validator->instr;
    int status = fields_of(validator, WASM_FORM_STRUCT, &type);
    if (status == 0)
        status = check_index(validator, "field", instr->idx2, type->params_count);
    if (status != 0)
        return status;
    valtype_t field = type->params[instr->idx2];
    if (instr->op != WASM_OP_STRUCT_SET) {
        status = pop_object(validator);
        return status != 0 ? status : push_field(validator, field, instr->op != WASM_OP_STRUCT_GET);
    }
    status = check_mutable(validator, field);
    if (status == 0)
        status = stack_pop(validator, wasm_unpacked(field));
    return status != 0 ? status : pop_object(validator);
}

/* ---- arrays ---- */

static int pop_fixed(struct validator *validator, valtype_t elem) {
    int status = 0;
    if (validator->instr.idx2 > WASM_LIMIT_ARRAY_FIXED)
        return validator_error(validator, HUSK_E_LIMIT,
                               "array.new_fixed of %u elements, the limit is %u",
                               validator->instr.idx2, WASM_LIMIT_ARRAY_FIXED);
    for (uint32_t i = 0; status == 0 && i < validator->instr.idx2; i++)
        status = stack_pop(validator, elem);
    return status;
}

static int check_data_source(struct validator *validator, valtype_t field) {
    if (valtype_is_ref(field))
        return error_invalid(validator, "type mismatch: array type is not numeric or vector");
    return check_data_idx(validator, validator->instr.idx2);
}

static int check_elem_source(struct validator *validator, valtype_t field) {
    const struct wasm_module *module = validator->module;
    uint32_t elem_idx = validator->instr.idx2;
    int status = check_index(validator, "elem segment", elem_idx, module->elems_count);
    if (status == 0 &&
        !wasm_is_subtype(module, module->elems[elem_idx].elem_type, field & ~WASM_FIELD_MUTABLE))
        return error_invalid(validator, "type mismatch: the element segment has another type");
    return status;
}

static int validate_array_new(struct validator *validator) {
    const struct wasm_functype *type = NULL;
    int status = fields_of(validator, WASM_FORM_ARRAY, &type);
    if (status != 0)
        return status;
    valtype_t field = type->params[0];
    switch (validator->instr.op) {
    case WASM_OP_ARRAY_NEW:
        status = stack_pop(validator, WASM_I32);
        if (status == 0)
            status = stack_pop(validator, wasm_unpacked(field));
        break;
    case WASM_OP_ARRAY_NEW_DEFAULT:
        status = wasm_is_defaultable(wasm_unpacked(field))
                     ? stack_pop(validator, WASM_I32)
                     : error_invalid(validator, "type mismatch: array has no default value");
        break;
    case WASM_OP_ARRAY_NEW_FIXED: status = pop_fixed(validator, wasm_unpacked(field)); break;
    case WASM_OP_ARRAY_NEW_DATA:
        status = check_data_source(validator, field);
        if (status == 0)
            status = pop_i32s(validator, 2);
        break;
    default: /* array.new_elem */
        status = check_elem_source(validator, field);
        if (status == 0)
            status = pop_i32s(validator, 2);
        break;
    }
    return status != 0 ? status : push_object(validator);
}

static int validate_array_get(struct validator *validator) {
    const struct wasm_functype *type = NULL;
    int status = fields_of(validator, WASM_FORM_ARRAY, &type);
    if (status == 0)
        status = stack_pop(validator, WASM_I32);
    if (status == 0)
        status = pop_object(validator);
    return status != 0
               ? status
               : push_field(validator, type->params[0], validator->instr.op != WASM_OP_ARRAY_GET);
}

/* What writes elements: array.set, fill, init_data and init_elem. */
static int validate_array_write(struct validator *validator) {
    const struct wasm_functype *type = NULL;
    enum wasm_op op = validator->instr.op;
    int status = fields_of(validator, WASM_FORM_ARRAY, &type);
    if (status == 0)
        status = check_mutable(validator, type->params[0]);
    if (status == 0 && op == WASM_OP_ARRAY_INIT_DATA)
        status = check_data_source(validator, type->params[0]);
    if (status == 0 && op == WASM_OP_ARRAY_INIT_ELEM)
        status = check_elem_source(validator, type->params[0]);
    if (status == 0 && (op == WASM_OP_ARRAY_INIT_DATA || op == WASM_OP_ARRAY_INIT_ELEM))
        status = pop_i32s(validator, 2);
    if (status == 0 && op == WASM_OP_ARRAY_FILL)
        status = stack_pop(validator, WASM_I32);
    if (status == 0 && (op == WASM_OP_ARRAY_SET || op == WASM_OP_ARRAY_FILL))
        status = stack_pop(validator, wasm_unpacked(type->params[0]));
    if (status == 0)
        status = stack_pop(validator, WASM_I32);
    return status != 0 ? status : pop_object(validator);
}

static int validate_array_copy(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    const struct wasm_functype *type = NULL;
    uint32_t source_idx = validator->instr.idx2;
    int status = fields_of(validator, WASM_FORM_ARRAY, &type);
    if (status == 0)
        status = check_form(validator, source_idx, WASM_FORM_ARRAY);
    if (status == 0)
        status = check_mutable(validator, type->params[0]);
    if (status != 0)
        return status;
    if (!wasm_is_subtype(module, module->types[source_idx].params[0] & ~WASM_FIELD_MUTABLE,
                         type->params[0] & ~WASM_FIELD_MUTABLE))
        return error_invalid(validator, "type mismatch: array types do not match");
    status = pop_i32s(validator, 2);
    if (status == 0)
        status = stack_pop(validator, wasm_ref_idx(source_idx, true));
    if (status == 0)
        status = stack_pop(validator, WASM_I32);
    return status != 0 ? status : pop_object(validator);
}

static int validate_array_len(struct validator *validator) {
    int status = stack_pop(validator, wasm_ref(WASM_HEAP_ARRAY, true));
    return status != 0 ? status : stack_push(validator, WASM_I32);
}

int validate_gc(struct validator *validator) {
    switch (validator->instr.op) {
    case WASM_OP_STRUCT_NEW:
    case WASM_OP_STRUCT_NEW_DEFAULT: return validate_struct_new(validator);
    case WASM_OP_STRUCT_GET:
    case WASM_OP_STRUCT_GET_S:
    case WASM_OP_STRUCT_GET_U:
    case WASM_OP_STRUCT_SET: return validate_struct_access(validator);
    case WASM_OP_ARRAY_NEW:
    case WASM_OP_ARRAY_NEW_DEFAULT:
    case WASM_OP_ARRAY_NEW_FIXED:
    case WASM_OP_ARRAY_NEW_DATA:
    case WASM_OP_ARRAY_NEW_ELEM: return validate_array_new(validator);
    case WASM_OP_ARRAY_GET:
    case WASM_OP_ARRAY_GET_S:
    case WASM_OP_ARRAY_GET_U: return validate_array_get(validator);
    case WASM_OP_ARRAY_COPY: return validate_array_copy(validator);
    case WASM_OP_ARRAY_LEN: return validate_array_len(validator);
    default: return validate_array_write(validator);
    }
}
