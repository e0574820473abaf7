/*
 * compiler/plan/plan.h: the addresses of everything that a program has. They are chosen before code
 * is generated, so the addresses of globals, tables, sizes and segment state are constants in the
 * code. plan.c makes the plan, lowering reads it, and image writing fills in the bytes.
 *
 * An item is "static" if the image writer can apply it now: its value or offset is a constant, and
 * it fits the declared minimum. The init function does the others, in the order of the standard
 * (section 4.5.4): globals, element segments, data segments, start. After the first active segment
 * that is not static, no later active segment of its kind is static, because the two may overlap. A
 * data segment is static only if all active element segments are. Thousands of data segments
 * scattered over gigabytes are not static either, because their image would be mostly zeros.
 *
 * A segment for another instance's memory or table is static only if no earlier instance has an
 * init function: that may look at the place, fill it, or trap, so that the segment never comes.
 */
#ifndef COMPILER_PLAN_H
#define COMPILER_PLAN_H

#include "program.h"

struct plan_table {
    /* uint64_t[reserve_entries]: funcref = program_type_id() << 32 | code address; 0 null */
    uint32_t base_gva;
    uint32_t reserve_entries;
    uint32_t size_gva; /* uint64_t */
};

struct plan_elem {
    uint32_t base_gva; /* uint64_t[count] in the data region */
    /* uint64_t: count, or 0 once dropped (active and declarative ones: dropped after init) */
    uint32_t size_gva;
    /* active: the image writer applies it to its table. Other segments: all values are known now */
    bool is_static;
};

struct plan_data {
    /* uint64_t: bytes, or 0 once dropped. The bytes themselves are in rodata, at the symbol
     * "i0.d<idx>", which the linker emits if has_symbol is set */
    uint32_t size_gva;
    bool is_static;
    bool has_symbol; /* passive, or active and not static */
};

struct plan {
    const struct program *program; /* all indices are flat */
    uint32_t *global_gva;          /* 16-byte slots */
    bool *global_is_static;        /* false for imported globals; init ignores those */
    uint32_t *mem_size_gva;        /* uint64_t, 64 KiB pages */
    uint32_t *mem_bytes_gva; /* uint64_t, exact; only of memories with one-byte pages, else 0 */
    struct plan_table *tables;
    struct plan_elem *elems;
    struct plan_data *datas;
    /* Of a program with exceptions, else 0: the pending exception (abi/exception.h), which has room
     * for the values of the tag with the most, and the slots that references point to. They have
     * pages of their own at the end; 0 if no code takes references. */
    uint32_t exception_gva;
    uint32_t exception_values;
    uint32_t exception_slots_gva;
    /* end of the fixed part. It holds all of the above except growable tables and exception
     * slots, which follow on their own pages */
    uint32_t fixed_end_gva;
    uint32_t data_end_gva; /* end of all the above, including reserved space */
    /* "i0.init" must exist: something is not static, or there is a start function */
    bool needs_init;
    bool *instance_needs_init; /* the same of each instance; with several, "i0.n<instance>" */
};

/* HUSK_E_LIMIT (too many or too large tables, globals, segments for the data region), HUSK_E_NOMEM.
 * The program must outlive the plan. */
int plan_new(const struct program *program, struct plan **ret_plan, struct husk_error *err);
void plan_free(struct plan *plan);

/* Evaluate a constant expression of an instance. False if the expression is not static: it needs
 * more than constants and earlier static globals. */
struct plan_const {
    valtype_t type;
    bool is_func; /* the value is a non-null funcref to func_idx */
    uint32_t func_idx;
    uint64_t bits; /* i32 f32: low 32; null references: 0 */
    uint8_t v128[16];
};
bool plan_const_eval(const struct plan *plan, const struct program_instance *instance,
                     struct wasm_bytes expr, struct plan_const *ret_value);

#endif
