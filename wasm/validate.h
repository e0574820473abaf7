/*
 * wasm/validate.h: internal header of the validator (validate*.c). The algorithm is in the core
 * specification 2.0, appendix "Validation Algorithm": a stack of operand types and a stack of
 * control frames, without recursion.
 */
#ifndef WASM_VALIDATE_H
#define WASM_VALIDATE_H

#include "read.h"
#include "types.h"

struct frame { /* one open block; frames[0] is the function or the constant expression itself */
    enum wasm_op op; /* of BLOCKTYPE, or ELSE, CATCH, CATCH_ALL: what began this part */
    bool is_unreachable;
    struct wasm_blocktype block;
    uint32_t height; /* of the operand stack at its start */
    uint32_t inits_height;
    uint32_t stamp; /* of the last br_table that had this block as a target */
};

/* the types of the first locals are in an array; the others are found by binary search in the
 * runs */
#define LOCALS_FLAT 128

struct validator {
    struct wasm_module *module;
    wasm_features_t enabled;
    struct husk_error *err; /* may be NULL */
    struct wasm_reader reader;
    struct wasm_instr instr; /* the current one */
    valtype_t *stack;        /* operand types */
    uint32_t stack_count, stack_cap;
    struct frame *frames;
    uint32_t frames_count, frames_cap;
    uint32_t stamp;               /* number of br_tables so far */
    const struct wasm_func *func; /* NULL in constant expressions */
    uint32_t const_globals_count; /* globals that a constant expression may see */
    uint32_t *run_ends;           /* per run of func: index of the first local after it */
    uint32_t run_ends_cap;
    valtype_t locals_flat[LOCALS_FLAT];
    /* Locals without a default value, as (ref func), that the open blocks have set, in order; and
     * a byte for each local of func: is it among them? (3.0, appendix "Validation Algorithm") */
    uint32_t *inits;
    uint8_t *is_init;
    uint32_t inits_count, inits_cap;
};

/* validate_stack.c: operand and control stacks. The errors name validator->instr. */
int stack_grow(struct validator *validator, uint32_t count);
/* Pop a subtype of `expected`, or set the error for a wrong or missing top. */
int stack_pop_subtype(struct validator *validator, valtype_t expected);
int stack_pop_any(struct validator *validator, valtype_t *ret_type);
int stack_pop_types(struct validator *validator, const valtype_t *types, uint32_t count);
/* check the types on top of the stack without popping them */
int stack_check_types(struct validator *validator, const valtype_t *types, uint32_t count);
int stack_push_types(struct validator *validator, const valtype_t *types, uint32_t count);
void stack_set_unreachable(struct validator *validator);
int frame_push(struct validator *validator, enum wasm_op op, const struct wasm_blocktype *block);
int frame_pop(struct validator *validator, struct frame *ret_frame);
struct wasm_functype frame_type(const struct validator *validator, const struct frame *frame);

static inline int stack_push(struct validator *validator, valtype_t type) {
    if (validator->stack_count == validator->stack_cap) {
        int status = stack_grow(validator, 1);
        if (status != 0)
            return status;
    }
    validator->stack[validator->stack_count++] = type;
    return 0;
}

static inline int stack_pop(struct validator *validator, valtype_t expected) {
    const struct frame *frame = &validator->frames[validator->frames_count - 1];
    if (validator->stack_count > frame->height) {
        valtype_t type = validator->stack[validator->stack_count - 1];
        if (type == expected || type == WASM_BOTTOM) {
            validator->stack_count--;
            return 0;
        }
    } else if (frame->is_unreachable) {
        return 0;
    }
    return stack_pop_subtype(validator, expected);
}

/* validate_types.c: the type section, and types of the current instruction or at an offset. */
int validate_types(struct validator *validator);
/* The types that a value type or reference names exist. */
int check_type_at(struct validator *validator, valtype_t type, uint64_t offset);
/* The index of a type of this form. */
int check_form(struct validator *validator, uint32_t type_idx, enum wasm_form form);
/* Notes that the module uses a feature. HUSK_E_UNSUPPORTED if it is not among those allowed. */
int use_feature(struct validator *validator, enum wasm_feature feature, uint64_t offset,
                const char *what);

static inline int check_type(struct validator *validator, valtype_t type) {
    return check_type_at(validator, type, validator->instr.offset);
}

/* validate_refs.c: typed function references, and the other instructions on references. */
int validate_ref(struct validator *validator);
/* Pop a reference of any type; in unreachable code perhaps the bottom reference. */
int stack_pop_ref(struct validator *validator, valtype_t *ret_type);
/* validate_gc.c: structs and arrays. */
int validate_gc(struct validator *validator);
int check_data_idx(struct validator *validator, uint32_t data_idx); /* validate_code.c */
/* validate_control.c */
int label_types(struct validator *validator, uint32_t depth, const valtype_t **ret_types,
                uint32_t *ret_count);
int validate_call_type(struct validator *validator, uint32_t type_idx);
/* The callee's results are those of the caller. */
int validate_tail_call_type(struct validator *validator, uint32_t type_idx);

/* validate.c */
int validate_limits(struct validator *validator, const struct wasm_limits *limits, uint64_t offset,
                    const char *what);

/* validate_memory.c: the memories of the module, and instructions on them. The address type of a
 * memory that exists. */
int validate_memories(struct validator *validator);
valtype_t memory_address(const struct validator *validator, uint32_t memory_idx);
int validate_memarg(struct validator *validator);
int validate_memory_op(struct validator *validator);

static inline valtype_t table_address(const struct validator *validator, uint32_t table_idx) {
    return wasm_address_type(&validator->module->tables[table_idx].limits);
}

static inline valtype_t smaller_address(valtype_t a, valtype_t b) {
    return a == WASM_I64 ? b : a;
}

/* validate_exceptions.c */
int validate_tags(struct validator *validator);
int validate_catches(struct validator *validator); /* of a try_table, before its frame is made */
int validate_exception(struct validator *validator);

/* validate_control.c and validate_ops.c: instructions with a special rule ("*" in opcode.def). */
int validate_control(struct validator *validator);
int validate_special(struct validator *validator);

/* validate_code.c: bodies and constant expressions. */
int validate_func(struct validator *validator, const struct wasm_func *func);
/* Also marks functions as declared if ref.func names them in the expression. */
int validate_const_expr(struct validator *validator, struct wasm_bytes expr, valtype_t type);

static inline bool validator_has(const struct validator *validator, enum wasm_feature feature) {
    return (validator->enabled >> feature & 1) != 0;
}

/* Set an error at the current instruction. */
#define validator_error(validator, status, ...)                                                    \
    wasm_error((validator)->err, status, (validator)->instr.offset, __VA_ARGS__)

/* validate_ops.c: checks an index of the current instruction. */
int check_index(struct validator *validator, const char *what, uint32_t idx, uint32_t count);

#endif
