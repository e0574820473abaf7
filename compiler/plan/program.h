/*
 * compiler/plan/program.h: what is compiled into one image: instances of modules, with one index
 * space of each kind over all of them. First step of a compile: plan, lowering, linking and image
 * writing know flat indices only. They come from a module's own ones here: program_read_instr(),
 * and the maps of an instance.
 *
 * Flat order: imports of the image first, then what the instances define, in their order. What an
 * instance imports from another one has that one's flat index.
 */
#ifndef COMPILER_PROGRAM_H
#define COMPILER_PROGRAM_H

#include "module.h"

struct program_instance {
    const struct wasm_module *module;
    struct wasm_bytes name;
    /* Index in the module → flat index. Types: of the first one with the same structure. */
    const uint32_t *types, *funcs, *tables, *memories, *globals;
    uint32_t elems_first, datas_first; /* flat index of its first segment; the others follow */
};

/* Which instance defines something, as what index of its module; of an import of the image: which
 * one imports it. */
struct program_def {
    uint32_t instance, idx;
};

struct program {
    const struct program_instance *instances; /* in order of instantiation */
    const struct wasm_functype *types;        /* canonical_idx is flat */
    const struct program_def *funcs, *tables, *memories, *globals, *elems, *datas;
    const struct wasm_import *imports; /* of the image; idx is flat, as in exports */
    const struct wasm_export *exports;
    uint32_t instances_count, types_count, funcs_count, tables_count, memories_count, globals_count,
        elems_count, datas_count, imports_count, exports_count;
    struct wasm_bytes input; /* what all of it was made from */
    struct wasm_arena *arena;
};

/* One instance of a valid module, whose indices stay what they are. The module must outlive the
 * program. HUSK_E_NOMEM. */
int program_from_module(const struct wasm_module *module, struct program **ret_program,
                        struct husk_error *err);
void program_free(struct program *program);

/* wasm_read_instr() of an instance's code; all indices but those of locals and labels become
 * flat. */
int program_read_instr(const struct program_instance *instance, struct wasm_reader *reader,
                       struct wasm_instr *ret_instr);

/* ---- by flat index ---- */

static inline const struct program_instance *program_instance(const struct program *program,
                                                              struct program_def def) {
    return &program->instances[def.instance];
}

/* The one that the image has its name from. */
static inline const struct program_instance *program_main(const struct program *program) {
    return &program->instances[program->instances_count - 1];
}

static inline const struct wasm_func *program_func(const struct program *program,
                                                   uint32_t func_idx) {
    struct program_def def = program->funcs[func_idx];
    return &program_instance(program, def)->module->funcs[def.idx];
}

static inline const struct wasm_table *program_table(const struct program *program,
                                                     uint32_t table_idx) {
    struct program_def def = program->tables[table_idx];
    return &program_instance(program, def)->module->tables[def.idx];
}

static inline const struct wasm_memory *program_memory(const struct program *program,
                                                       uint32_t memory_idx) {
    struct program_def def = program->memories[memory_idx];
    return &program_instance(program, def)->module->memories[def.idx];
}

static inline const struct wasm_global *program_global(const struct program *program,
                                                       uint32_t global_idx) {
    struct program_def def = program->globals[global_idx];
    return &program_instance(program, def)->module->globals[def.idx];
}

static inline const struct wasm_elem *program_elem(const struct program *program,
                                                   uint32_t elem_idx) {
    struct program_def def = program->elems[elem_idx];
    return &program_instance(program, def)->module->elems[def.idx];
}

static inline const struct wasm_data *program_data(const struct program *program,
                                                   uint32_t data_idx) {
    struct program_def def = program->datas[data_idx];
    return &program_instance(program, def)->module->datas[def.idx];
}

static inline uint32_t program_func_type_idx(const struct program *program, uint32_t func_idx) {
    const struct wasm_func *func = program_func(program, func_idx);
    return program_instance(program, program->funcs[func_idx])->types[func->type_idx];
}

static inline const struct wasm_functype *program_func_type(const struct program *program,
                                                            uint32_t func_idx) {
    return &program->types[program_func_type_idx(program, func_idx)];
}

/* What the upper half of a funcref says of its function's type; 0 is null's. */
static inline uint32_t program_type_id(uint32_t type_idx) {
    return type_idx + 1;
}

#endif
