/*
 * compiler/plan/program.h: the instances of modules that are compiled into one image, with one
 * index space per kind for all of them ("flat" indices). It is the first step of a compile. Plan,
 * lowering, linking and image writing know flat indices only. program_read_instr() and the maps of
 * an instance turn a module's indices into flat ones.
 *
 * Flat order: first the imports of the image, then the definitions of the instances, in the order
 * of the instances. An import from another instance has the flat index of the definition.
 */
#ifndef COMPILER_PROGRAM_H
#define COMPILER_PROGRAM_H

#include "module.h"

struct program_instance {
    const struct wasm_module *module;
    struct wasm_bytes name;
    /* Index in the module → flat index. For a type: the flat index of the first type with the same
     * structure. */
    const uint32_t *types, *funcs, *tables, *memories, *globals, *tags;
    uint32_t elems_first, datas_first; /* flat index of the first segment; the others follow it */
    /* Of the module in the program's input. An offset in the module plus this is one in the input;
     * code rows and source lines hold those, so they tell instances apart. */
    uint32_t input_offset;
    /* Flat: the memory that it exports as "memory", else its first one; UINT32_MAX: none. Host
     * functions that it imports work on this memory. */
    uint32_t memory_idx;
};

/* The instance that defines an item, and the item's index in the module. For an import of the
 * image: the instance that imports it. */
struct program_def {
    uint32_t instance, idx;
};

struct program {
    const struct program_instance *instances; /* in order of instantiation */
    const struct wasm_functype *types;        /* canonical_idx is flat */
    const struct program_def *funcs, *tables, *memories, *globals, *tags, *elems, *datas;
    const struct wasm_import *imports; /* of the image; idx is flat, as in exports */
    const struct wasm_export *exports;
    const uint32_t *export_instances; /* by export: whose it is; NULL: there is one instance */
    uint32_t instances_count, types_count, funcs_count, tables_count, memories_count, globals_count,
        tags_count, elems_count, datas_count, imports_count, exports_count;
    struct wasm_bytes input; /* the input that everything was made from */
    /* Each instance is initialised when the host says so, and calls run in between. So nothing that
     * an instance writes to another one's memories and tables is known before. */
    bool is_staged;
    /* A module uses exceptions. Then a function may be left by a throw, also one of a module that
     * does not use them. */
    bool has_exceptions;
    struct wasm_arena *arena;
};

/* Make a program with one instance of a valid module. Flat indices equal the module's indices. The
 * module must outlive the program. HUSK_E_NOMEM. */
int program_from_module(const struct wasm_module *module, struct program **ret_program,
                        struct husk_error *err);

/* ---- several modules ---- */

/* Import `module`.`name` is export `export_name` of instance `instance`. */
struct program_alias {
    struct wasm_bytes module, name, instance, export_name;
};

struct program_source {
    const struct wasm_module *module; /* valid */
    struct wasm_bytes name;
    const struct program_alias *aliases;
    uint32_t aliases_count;
    uint32_t input_offset; /* see struct program_instance */
};

struct program_sources {
    const struct program_source *list; /* in order of instantiation; the last one is the main one */
    uint32_t count;
    struct wasm_bytes input;
    bool is_staged;
};

/* Link modules to one program. An import is what its alias says; else the export of the earlier
 * instance that has the name of the import's module; else an import of the image. Instances that
 * import one memory, table, global or tag of the image share it. The exports of the program are
 * those of the last instance, and those of the others as "instance/name". Everything that the
 * sources point to must outlive the program.
 * HUSK_E_LINK: an import does not match; the message names both sides. HUSK_E_INVAL: names or
 * aliases that are not possible. HUSK_E_LIMIT: too much of something in all modules together.
 * HUSK_E_NOMEM. */
int program_link(const struct program_sources *sources, struct program **ret_program,
                 struct husk_error *err);

void program_free(struct program *program);

/* Does a valid module have tags, or code that throws or catches? */
bool program_uses_exceptions(const struct wasm_module *module);

/* wasm_read_instr() for an instance's code. All indices except those of locals and labels become
 * flat. */
int program_read_instr(const struct program_instance *instance, struct wasm_reader *reader,
                       struct wasm_instr *ret_instr);
/* The same for wasm_read_catch(): the tag becomes flat. */
int program_read_catch(const struct program_instance *instance, struct wasm_bytes *catches,
                       struct wasm_catch *ret_catch);
/* Does any code make references to exceptions? A catch clause that passes one on does, and a legacy
 * catch_all whose exception is rethrown. Reads all bodies. */
bool program_takes_references(const struct program *program);

/* ---- by flat index ---- */

static inline const struct program_instance *program_instance(const struct program *program,
                                                              struct program_def def) {
    return &program->instances[def.instance];
}

/* The instance that gives the image its name. */
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

/* Does this memory never have the last HUSK_MEM_BELOW_BYTES of 4 GiB? Then its maximum in the image
 * says so, and code relies on it (lower_facts.c). No for memories with 64-bit addresses, that are
 * imported, that have all 4 GiB from the start, or that have pages of one byte. */
bool program_memory_ends_early(const struct program *program, uint32_t memory_idx);

static inline const struct wasm_global *program_global(const struct program *program,
                                                       uint32_t global_idx) {
    struct program_def def = program->globals[global_idx];
    return &program_instance(program, def)->module->globals[def.idx];
}

static inline const struct wasm_tag *program_tag(const struct program *program, uint32_t tag_idx) {
    struct program_def def = program->tags[tag_idx];
    return &program_instance(program, def)->module->tags[def.idx];
}

static inline uint32_t program_tag_type_idx(const struct program *program, uint32_t tag_idx) {
    const struct wasm_tag *tag = program_tag(program, tag_idx);
    return program_instance(program, program->tags[tag_idx])->types[tag->type_idx];
}

/* Its parameters are the values of the exception. */
static inline const struct wasm_functype *program_tag_type(const struct program *program,
                                                           uint32_t tag_idx) {
    return &program->types[program_tag_type_idx(program, tag_idx)];
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

/* Does an instance need a memory or table that is larger than declared? It can only have grown. */
static inline bool program_memory_may_be_small(const struct program *program,
                                               const struct program_instance *instance,
                                               uint32_t memory_idx) {
    return program_memory(program, instance->memories[memory_idx])->limits.min <
           instance->module->memories[memory_idx].limits.min;
}

static inline bool program_table_may_be_small(const struct program *program,
                                              const struct program_instance *instance,
                                              uint32_t table_idx) {
    return program_table(program, instance->tables[table_idx])->limits.min <
           instance->module->tables[table_idx].limits.min;
}

static inline uint32_t program_func_type_idx(const struct program *program, uint32_t func_idx) {
    const struct wasm_func *func = program_func(program, func_idx);
    return program_instance(program, program->funcs[func_idx])->types[func->type_idx];
}

static inline const struct wasm_functype *program_func_type(const struct program *program,
                                                            uint32_t func_idx) {
    return &program->types[program_func_type_idx(program, func_idx)];
}

/* The offset of a function's body in the input; 0 for an import. */
static inline uint32_t program_func_offset(const struct program *program, uint32_t func_idx) {
    const struct wasm_func *func = program_func(program, func_idx);
    uint32_t start = program_instance(program, program->funcs[func_idx])->input_offset;
    return func->is_import ? 0 : start + (uint32_t)func->body_offset;
}

/* The id of a function type, for the upper half of a funcref; null has 0. */
static inline uint32_t program_type_id(uint32_t type_idx) {
    return type_idx + 1;
}

#endif
