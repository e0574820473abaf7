/*
 * wasm/validate_stack.c: the validator's operand and control stacks (core specification 2.0,
 * appendix "Validation Algorithm").
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "limits.h"
#include "validate.h"

int stack_grow(struct validator *validator, uint32_t count) {
    uint64_t needed = (uint64_t)validator->stack_count + count;
    if (needed > WASM_LIMIT_STACK_HEIGHT)
        return validator_error(validator, HUSK_E_LIMIT,
                               "%s makes an operand stack of %llu values, the limit is %u",
                               wasm_opinfo(validator->instr.op)->text, (unsigned long long)needed,
                               WASM_LIMIT_STACK_HEIGHT);
    uint64_t cap = validator->stack_cap != 0 ? validator->stack_cap : 256;
    while (cap < needed)
        cap *= 2;
    if (cap > validator->stack_cap) {
        valtype_t *stack = realloc(validator->stack, cap * sizeof *stack);
        if (stack == NULL)
            return error_set(validator->err, HUSK_E_NOMEM, "out of memory while validating");
        validator->stack = stack;
        validator->stack_cap = (uint32_t)cap;
    }
    return 0;
}

int stack_pop_subtype(struct validator *validator, valtype_t expected) {
    const char *text = wasm_opinfo(validator->instr.op)->text;
    const struct frame *frame = &validator->frames[validator->frames_count - 1];
    if (validator->stack_count == frame->height)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "type mismatch: %s needs %s, the stack is empty", text,
                               TYPE_TEXT(expected));
    valtype_t type = validator->stack[validator->stack_count - 1];
    if (wasm_is_subtype(validator->module, type, expected)) {
        validator->stack_count--;
        return 0;
    }
    return validator_error(validator, HUSK_E_INVALID_WASM,
                           "type mismatch: %s needs %s, the stack holds %s", text,
                           TYPE_TEXT(expected), TYPE_TEXT(type));
}

int stack_pop_any(struct validator *validator, valtype_t *ret_type) {
    const struct frame *frame = &validator->frames[validator->frames_count - 1];
    if (validator->stack_count > frame->height) {
        *ret_type = validator->stack[--validator->stack_count];
        return 0;
    }
    if (frame->is_unreachable) {
        *ret_type = WASM_BOTTOM;
        return 0;
    }
    return validator_error(validator, HUSK_E_INVALID_WASM,
                           "type mismatch: %s needs a value, the stack is empty",
                           wasm_opinfo(validator->instr.op)->text);
}

/* Equal, as far as the stack's types are known. In blocks of 16, which compilers turn into vector
 * instructions: a hostile br_table has 65,520 labels of 1,000 types each. */
static bool types_match(const valtype_t *stack, const valtype_t *types, uint32_t count) {
    uint32_t i = 0;
    for (; count - i >= 16; i += 16) {
        uint32_t differences = 0;
        for (uint32_t k = i; k < i + 16; k++)
            differences |= (uint32_t)((stack[k] != types[k]) & (stack[k] != WASM_BOTTOM));
        if (differences != 0)
            return false;
    }
    for (; i < count; i++)
        if (stack[i] != types[i] && stack[i] != WASM_BOTTOM)
            return false;
    return true;
}

int stack_pop_types(struct validator *validator, const valtype_t *types, uint32_t count) {
    const struct frame *frame = &validator->frames[validator->frames_count - 1];
    uint32_t available = validator->stack_count - frame->height;
    uint32_t known = count < available ? count : available;
    const valtype_t *top = validator->stack + (validator->stack_count - known);
    const valtype_t *wanted = types + (count - known);
    if ((known == count || frame->is_unreachable) &&
        (types_match(top, wanted, known) ||
         wasm_are_subtypes(validator->module, top, wanted, known))) {
        validator->stack_count -= known;
        return 0;
    }
    int status = 0;
    for (uint32_t i = count; status == 0 && i > 0; i--) { /* finds the one to blame */
        status = stack_pop(validator, types[i - 1]);
    }
    return status;
}

/* What is popped may differ from `types` where the stack holds unknown values; it stays as it
 * was. */
int stack_check_types(struct validator *validator, const valtype_t *types, uint32_t count) {
    uint32_t stack_count = validator->stack_count;
    int status = stack_pop_types(validator, types, count);
    validator->stack_count = stack_count;
    return status;
}

int stack_push_types(struct validator *validator, const valtype_t *types, uint32_t count) {
    if (count > validator->stack_cap - validator->stack_count) {
        int status = stack_grow(validator, count);
        if (status != 0)
            return status;
    }
    if (count != 0) {
        memcpy(validator->stack + validator->stack_count, types, count * sizeof *types);
        validator->stack_count += count;
    }
    return 0;
}

void stack_set_unreachable(struct validator *validator) {
    struct frame *frame = &validator->frames[validator->frames_count - 1];
    validator->stack_count = frame->height;
    frame->is_unreachable = true;
}

/* ---- frames ---- */

struct wasm_functype wasm_block_functype(const struct wasm_functype *types,
                                         const struct wasm_blocktype *block) {
    if (block->is_index)
        return types[block->type_idx];
    return (struct wasm_functype){.params = &block->result,
                                  .results = &block->result,
                                  .results_count = block->result != VALTYPE_NONE ? 1 : 0};
}

struct wasm_functype frame_type(const struct validator *validator, const struct frame *frame) {
    return wasm_block_functype(validator->module->types, &frame->block);
}

int frame_push(struct validator *validator, enum wasm_op op, const struct wasm_blocktype *block) {
    if (validator->frames_count == validator->frames_cap) {
        if (validator->frames_cap > WASM_LIMIT_NESTING)
            return validator_error(validator, HUSK_E_LIMIT,
                                   "blocks are nested deeper than the limit of %u",
                                   WASM_LIMIT_NESTING);
        uint32_t cap = validator->frames_cap != 0 ? validator->frames_cap * 2 : 64;
        if (cap > WASM_LIMIT_NESTING)
            cap = WASM_LIMIT_NESTING + 1; /* the function's own frame does not count */
        struct frame *frames = realloc(validator->frames, cap * sizeof *frames);
        if (frames == NULL)
            return error_set(validator->err, HUSK_E_NOMEM, "out of memory while validating");
        validator->frames = frames;
        validator->frames_cap = cap;
    }
    validator->frames[validator->frames_count++] =
        (struct frame){.op = op,
                       .block = *block,
                       .height = validator->stack_count,
                       .inits_height = validator->inits_count};
    return 0;
}

int frame_pop(struct validator *validator, struct frame *ret_frame) {
    struct frame *frame = &validator->frames[validator->frames_count - 1];
    struct wasm_functype type = frame_type(validator, frame);
    int status = stack_pop_types(validator, type.results, type.results_count);
    if (status != 0)
        return status;
    if (validator->stack_count != frame->height)
        return validator_error(
            validator, HUSK_E_INVALID_WASM, "type mismatch: %u values too many on the stack at %s",
            validator->stack_count - frame->height, wasm_opinfo(validator->instr.op)->text);
    *ret_frame = *frame;
    validator->frames_count--;
    while (validator->inits_count > frame->inits_height)
        validator->is_init[validator->inits[--validator->inits_count]] = 0;
    return 0;
}
