/*
 * compiler/plan/plan.h: where everything of a program lies, decided before any code is generated,
 * so that globals, tables, sizes and segment state are constants in the code. plan.c makes it;
 * lowering reads it; image writing fills the bytes in.
 *
 * An item is "static" if the image writer can apply it now (its value or offset is a constant, and
 * it fits the declared minimum); the rest is done by the init function, in the order of the
 * standard (section 4.5.4): globals, element segments, data segments, start. From the first segment
 * of a kind that is not static on, all later ones of that kind are not static either (they may
 * overlap); a data segment is static only if all element segments are. Thousands of data segments
 * scattered over gigabytes are not static either: their image would be mostly zeros.
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
    /* active: applied to its table by the image writer. Others: all values are known now */
    bool is_static;
};

struct plan_data {
    /* uint64_t: bytes, or 0 once dropped. The bytes themselves: symbol "i0.d<idx>" in rodata,
     * emitted by the linker when has_symbol is set */
    uint32_t size_gva;
    bool is_static;
    bool has_symbol; /* passive, or active and not static */
};

struct plan {
    const struct program *program; /* all indices are flat */
    uint32_t *global_gva;          /* 16-byte slots */
    bool *global_is_static;        /* imported ones: false, and nothing to do in init */
    uint32_t *mem_size_gva;        /* uint64_t, wasm pages */
    struct plan_table *tables;
    struct plan_elem *elems;
    struct plan_data *datas;
    /* end of the fixed part: all of the above but growable tables, which follow on pages of their
     * own */
    uint32_t fixed_end_gva;
    uint32_t data_end_gva; /* end of all of the above, reserves included */
    /* "i0.init" must exist: something is not static, or there is a start function */
    bool needs_init;
};

/* HUSK_E_LIMIT (too many or too large tables, globals, segments for the data region), HUSK_E_NOMEM.
 * The program must outlive it. */
int plan_new(const struct program *program, struct plan **ret_plan, struct husk_error *err);
void plan_free(struct plan *plan);

/* The value of an instance's constant expression if it needs nothing but constants and earlier
 * static globals. False: not static. */
struct plan_const {
    valtype_t type;
    bool is_func; /* a non-null funcref: func_idx counts */
    uint32_t func_idx;
    uint64_t bits; /* i32 f32: low 32; null references: 0 */
    uint8_t v128[16];
};
bool plan_const_eval(const struct plan *plan, const struct program_instance *instance,
                     struct wasm_bytes expr, struct plan_const *ret_value);

#endif
