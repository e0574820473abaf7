/*
 * wasm/validate_exceptions.c: tags, and the instructions that throw and catch: those of the core
 * specification 3.0 (sections 3.2.10 and 3.4.4), and the older ones of the legacy proposal.
 */
#include <string.h>

#include "validate.h"

/* ---- tags ---- */

int validate_tags(struct validator *validator) {
    const struct wasm_module *module = validator->module;
    for (uint32_t i = 0; i < module->tags_count; i++) {
        const struct wasm_tag *tag = &module->tags[i];
        if (tag->type_idx >= module->types_count)
            return wasm_error(validator->err, HUSK_E_INVALID_WASM, tag->offset,
                              "unknown type %u of tag %u", tag->type_idx, i);
        if (module->types[tag->type_idx].form != WASM_FORM_FUNC)
            return wasm_error(validator->err, HUSK_E_INVALID_WASM, tag->offset,
                              "type mismatch: type %u of tag %u is no function type", tag->type_idx,
                              i);
        if (module->types[tag->type_idx].results_count != 0)
            return wasm_error(validator->err, HUSK_E_INVALID_WASM, tag->offset,
                              "non-empty tag result type: type %u of tag %u", tag->type_idx, i);
    }
    return 0;
}

/* A tag's parameters: the values that an exception carries. */
static int tag_type(struct validator *validator, uint32_t tag_idx,
                    const struct wasm_functype **ret_type) {
    const struct wasm_module *module = validator->module;
    int status = check_index(validator, "tag", tag_idx, module->tags_count);
    if (status == 0)
        *ret_type = &module->types[module->tags[tag_idx].type_idx];
    return status;
}

/* ---- throwing ---- */

static int validate_throw(struct validator *validator) {
    const struct wasm_functype *type = NULL;
    int status = tag_type(validator, validator->instr.idx, &type);
    if (status == 0)
        status = stack_pop_types(validator, type->params, type->params_count);
    if (status == 0)
        stack_set_unreachable(validator);
    return status;
}

static int validate_throw_ref(struct validator *validator) {
    int status = stack_pop(validator, wasm_ref(WASM_HEAP_EXN, true));
    if (status == 0)
        stack_set_unreachable(validator);
    return status;
}

/* ---- try_table ---- */

/* What the clause passes to its label: the tag's values, and a reference for the _ref forms. */
static int validate_catch_clause(struct validator *validator, const struct wasm_catch *clause) {
    static const struct wasm_functype none = {.params_count = 0};
    const struct wasm_functype *tag = &none;
    const valtype_t *label = NULL;
    uint32_t label_count = 0;
    int status = wasm_catch_has_tag(clause) ? tag_type(validator, clause->tag_idx, &tag) : 0;
    if (status == 0)
        status = label_types(validator, clause->depth, &label, &label_count);
    if (status != 0)
        return status;
    const uint32_t refs_count = wasm_catch_has_ref(clause) ? 1 : 0;
    bool is_match = label_count == tag->params_count + refs_count &&
                    (tag->params_count == 0 ||
                     memcmp(tag->params, label, tag->params_count * sizeof *label) == 0 ||
                     wasm_are_subtypes(validator->module, tag->params, label, tag->params_count));
    if (is_match && refs_count != 0)
        is_match = wasm_is_subtype(validator->module, wasm_ref(WASM_HEAP_EXN, false),
                                   label[label_count - 1]);
    if (!is_match)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: a catch clause of try_table has other values than "
                               "its label %u takes",
                               clause->depth);
    return 0;
}

/* The labels of the clauses do not count the block itself. */
int validate_catches(struct validator *validator) {
    struct wasm_bytes catches = validator->instr.try_table.catches;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < validator->instr.try_table.count; i++) {
        struct wasm_catch clause = {.kind = WASM_CATCH_ALL};
        status = wasm_read_catch(&catches, &clause);
        if (status == 0)
            status = validate_catch_clause(validator, &clause);
    }
    return status;
}

/* ---- legacy ---- */

/* catch and catch_all: the end of the part before, and the beginning of a handler. */
static int validate_catch(struct validator *validator) {
    const enum wasm_op op = validator->instr.op;
    const enum wasm_op before = validator->frames[validator->frames_count - 1].op;
    const struct wasm_functype *tag = NULL;
    struct frame frame;
    if (before != WASM_OP_TRY && before != WASM_OP_CATCH)
        return validator_error(validator, HUSK_E_BAD_WASM, "END opcode expected: %s without try",
                               wasm_opinfo(op)->text);
    int status = frame_pop(validator, &frame);
    if (status == 0 && op == WASM_OP_CATCH)
        status = tag_type(validator, validator->instr.idx, &tag);
    if (status == 0)
        status = frame_push(validator, op, &frame.block);
    return status != 0 || tag == NULL ? status
                                      : stack_push_types(validator, tag->params, tag->params_count);
}

/* Ends its try. The label does not count the try itself. */
static int validate_delegate(struct validator *validator) {
    struct frame frame;
    if (validator->frames[validator->frames_count - 1].op != WASM_OP_TRY)
        return validator_error(validator, HUSK_E_BAD_WASM,
                               "END opcode expected: delegate without try");
    int status = frame_pop(validator, &frame);
    if (status == 0)
        status = check_index(validator, "label", validator->instr.idx, validator->frames_count);
    if (status != 0)
        return status;
    struct wasm_functype type = frame_type(validator, &frame);
    return stack_push_types(validator, type.results, type.results_count);
}

static int validate_rethrow(struct validator *validator) {
    uint32_t depth = validator->instr.idx;
    int status = check_index(validator, "label", depth, validator->frames_count);
    if (status != 0)
        return status;
    enum wasm_op op = validator->frames[validator->frames_count - 1 - depth].op;
    if (op != WASM_OP_CATCH && op != WASM_OP_CATCH_ALL)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "invalid rethrow label %u: not of a catch", depth);
    stack_set_unreachable(validator);
    return 0;
}

int validate_exception(struct validator *validator) {
    switch (validator->instr.op) {
    case WASM_OP_THROW: return validate_throw(validator);
    case WASM_OP_THROW_REF: return validate_throw_ref(validator);
    case WASM_OP_DELEGATE: return validate_delegate(validator);
    case WASM_OP_RETHROW: return validate_rethrow(validator);
    default: return validate_catch(validator); /* catch, catch_all */
    }
}
