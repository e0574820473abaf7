/*
 * wasm/validate_memory.c: memories, and the instructions on them (core specification 3.0, sections
 * 3.2.8 and 3.4.11). The type of an address is the memory's: i32 or i64.
 */
#include "error.h"
#include "layout.h"
#include "validate.h"

static int check_memory(struct validator *validator, uint32_t memory_idx) {
    return check_index(validator, "memory", memory_idx, validator->module->memories_count);
}

valtype_t memory_address(const struct validator *validator, uint32_t memory_idx) {
    return wasm_address_type(&validator->module->memories[memory_idx].limits);
}

int validate_memarg(struct validator *validator) {
    const struct wasm_instr *instr = &validator->instr;
    uint32_t natural = wasm_op_access_log2(instr->op);
    int status = check_memory(validator, instr->mem.memory_idx);
    if (status != 0)
        return status;
    if (instr->mem.align_log2 > natural)
        return validator_error(
            validator, HUSK_E_INVALID_WASM,
            "alignment must not be larger than natural: %s has 2^%u, the access is 2^%u bytes",
            wasm_opinfo(instr->op)->text, instr->mem.align_log2, natural);
    if (wasm_opinfo(instr->op)->feature == WASM_FEATURE_THREADS && instr->mem.align_log2 != natural)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "atomic alignment must be natural: %s has 2^%u, needs 2^%u bytes",
                               wasm_opinfo(instr->op)->text, instr->mem.align_log2, natural);
    if (instr->mem.offset > UINT32_MAX &&
        memory_address(validator, instr->mem.memory_idx) == WASM_I32)
        return validator_error(validator, HUSK_E_INVALID_WASM,
                               "offset out of range: %s at +%llu of a memory with i32 addresses",
                               wasm_opinfo(instr->op)->text, (unsigned long long)instr->mem.offset);
    return 0;
}

static int validate_size(struct validator *validator) {
    int status = check_memory(validator, validator->instr.idx);
    return status != 0 ? status
                       : stack_push(validator, memory_address(validator, validator->instr.idx));
}

static int validate_grow(struct validator *validator) {
    int status = check_memory(validator, validator->instr.idx);
    if (status != 0)
        return status;
    valtype_t address = memory_address(validator, validator->instr.idx);
    status = stack_pop(validator, address);
    return status != 0 ? status : stack_push(validator, address);
}

static int validate_fill(struct validator *validator) {
    int status = check_memory(validator, validator->instr.idx);
    if (status != 0)
        return status;
    valtype_t address = memory_address(validator, validator->instr.idx);
    const valtype_t operands[3] = {address, WASM_I32, address};
    return stack_pop_types(validator, operands, 3);
}

static int validate_init(struct validator *validator) {
    int status = check_memory(validator, validator->instr.idx2);
    if (status == 0)
        status = check_data_idx(validator, validator->instr.idx);
    if (status != 0)
        return status;
    const valtype_t operands[3] = {memory_address(validator, validator->instr.idx2), WASM_I32,
                                   WASM_I32};
    return stack_pop_types(validator, operands, 3);
}

/* The length has the smaller of the two address types. */
static int validate_copy(struct validator *validator) {
    int status = check_memory(validator, validator->instr.idx);
    if (status == 0)
        status = check_memory(validator, validator->instr.idx2);
    if (status != 0)
        return status;
    valtype_t to = memory_address(validator, validator->instr.idx);
    valtype_t from = memory_address(validator, validator->instr.idx2);
    const valtype_t operands[3] = {to, from, smaller_address(to, from)};
    return stack_pop_types(validator, operands, 3);
}

int validate_memory_op(struct validator *validator) {
    switch (validator->instr.op) {
    case WASM_OP_MEMORY_SIZE: return validate_size(validator);
    case WASM_OP_MEMORY_GROW: return validate_grow(validator);
    case WASM_OP_MEMORY_FILL: return validate_fill(validator);
    case WASM_OP_MEMORY_INIT: return validate_init(validator);
    default: return validate_copy(validator); /* memory.copy */
    }
}

/* ---- the memory types of a module ---- */

static int validate_memory_type(struct validator *validator, const struct wasm_memory *memory) {
    const struct wasm_limits *limits = &memory->limits;
    const uint64_t most = wasm_memory_pages_max(memory);
    if (memory->page_log2 != 0 && memory->page_log2 != 16)
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, memory->offset,
                          "invalid custom page size of 2^%u bytes: there are 1 and 65536",
                          memory->page_log2);
    if (limits->min > most || limits->max > most)
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, memory->offset,
                          "memory size must be at most %llu pages (%s), not %llu to %llu",
                          (unsigned long long)most, limits->is_64 ? "16EiB" : "4GiB",
                          (unsigned long long)limits->min, (unsigned long long)limits->max);
    if (limits->is_shared && !limits->has_max)
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, memory->offset,
                          "shared memory must have maximum");
    return validate_limits(validator, limits, memory->offset, "memory");
}

int validate_memories(struct validator *validator) {
    struct wasm_module *module = validator->module;
    int status = 0;
    if (module->memories_count > 1)
        wasm_use(&module->used, WASM_FEATURE_MULTI_MEMORY, module->memories[1].offset,
                 "a second memory");
    if (module->memories_count > 1 && !validator_has(validator, WASM_FEATURE_MULTI_MEMORY))
        return wasm_error(validator->err, HUSK_E_INVALID_WASM, module->memories[1].offset,
                          "multiple memories: %u", module->memories_count);
    for (uint32_t i = 0; status == 0 && i < module->memories_count; i++)
        status = validate_memory_type(validator, &module->memories[i]);
    return status;
}
