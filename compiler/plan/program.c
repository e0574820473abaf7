/* compiler/plan/program.c: see program.h. */
#include "program.h"

#include "arena.h"
#include "error.h"
#include "layout.h"
#include "program_join.h"

static uint32_t largest(const uint32_t *counts, size_t count) {
    uint32_t most = 0;
    for (size_t i = 0; i < count; i++)
        most = counts[i] > most ? counts[i] : most;
    return most;
}

/* All maps of the only instance say the same, so that one array serves them all; and one all
 * definitions. */
static bool instance_map(struct program *program, struct program_instance *instance) {
    const struct wasm_module *module = instance->module;
    const uint32_t counts[] = {module->funcs_count,   module->tables_count, module->memories_count,
                               module->globals_count, module->tags_count,   module->elems_count,
                               module->datas_count};
    uint32_t most = largest(counts, sizeof counts / sizeof counts[0]);
    uint32_t *same = wasm_arena_alloc(program->arena, most, sizeof same[0]);
    uint32_t *types = wasm_arena_alloc(program->arena, module->types_count, sizeof types[0]);
    struct program_def *defs = wasm_arena_alloc(program->arena, most, sizeof defs[0]);
    if (same == NULL || types == NULL || defs == NULL)
        return false;
    for (uint32_t i = 0; i < most; i++) {
        same[i] = i;
        defs[i].idx = i;
    }
    for (uint32_t i = 0; i < module->types_count; i++)
        types[i] = module->types[i].canonical_idx;
    instance->types = types;
    instance->funcs = instance->tables = instance->memories = instance->globals = same;
    instance->tags = same;
    program->funcs = program->tables = program->memories = program->globals = defs;
    program->tags = program->elems = program->datas = defs;
    return true;
}

/* Two imports of one tag are one tag: whoever defines imports does it by name. */
static bool share_imported_tags(struct program *program, struct program_instance *instance) {
    const struct wasm_module *module = instance->module;
    if (module->imported_tags_count < 2)
        return true;
    struct join_key *keys =
        wasm_arena_alloc(program->arena, module->imported_tags_count, sizeof *keys);
    uint32_t *tags = wasm_arena_alloc(program->arena, module->tags_count, sizeof *tags);
    uint32_t count = 0;
    if (keys == NULL || tags == NULL)
        return false;
    for (uint32_t i = 0; i < module->imports_count; i++)
        if (module->imports[i].kind == WASM_KIND_TAG)
            keys[count++] = (struct join_key){module->imports[i].module, module->imports[i].name,
                                              module->imports[i].idx};
    for (uint32_t i = 0; i < module->tags_count; i++)
        tags[i] = i;
    join_sort(keys, count);
    for (uint32_t i = 1; i < count; i++) {
        uint32_t before = keys[i - 1].value, idx = keys[i].value;
        if (join_keys_order(&keys[i - 1], &keys[i]) == 0 &&
            instance->types[module->tags[before].type_idx] ==
                instance->types[module->tags[idx].type_idx])
            tags[idx] = tags[before];
    }
    instance->tags = tags;
    return true;
}

int program_from_module(const struct wasm_module *module, struct program **ret_program,
                        struct husk_error *err) {
    struct wasm_arena *arena = wasm_arena_new();
    struct program *program = arena == NULL ? NULL : wasm_arena_alloc(arena, 1, sizeof *program);
    struct program_instance *instance =
        program == NULL ? NULL : wasm_arena_alloc(arena, 1, sizeof *instance);
    if (instance != NULL) {
        *instance = (struct program_instance){.module = module, .name = module->name};
        *program = (struct program){.instances = instance,
                                    .types = module->types,
                                    .imports = module->imports,
                                    .exports = module->exports,
                                    .instances_count = 1,
                                    .types_count = module->types_count,
                                    .funcs_count = module->funcs_count,
                                    .tables_count = module->tables_count,
                                    .memories_count = module->memories_count,
                                    .globals_count = module->globals_count,
                                    .tags_count = module->tags_count,
                                    .elems_count = module->elems_count,
                                    .datas_count = module->datas_count,
                                    .imports_count = module->imports_count,
                                    .exports_count = module->exports_count,
                                    .input = module->wasm,
                                    .has_exceptions = program_uses_exceptions(module),
                                    .arena = arena};
    }
    if (instance == NULL || !instance_map(program, instance) ||
        !share_imported_tags(program, instance)) {
        wasm_arena_free(arena);
        return error_set(err, HUSK_E_NOMEM, "no memory for the program's index spaces");
    }
    *ret_program = program;
    return 0;
}

void program_free(struct program *program) {
    if (program != NULL)
        wasm_arena_free(program->arena);
}

/* ---- instructions ---- */

enum space {
    SPACE_NONE,
    SPACE_TYPES,
    SPACE_FUNCS,
    SPACE_TABLES,
    SPACE_MEMORIES,
    SPACE_GLOBALS,
    SPACE_TAGS,
    SPACE_ELEMS,
    SPACE_DATAS
};

/* What idx and idx2 of an instruction count, by its immediates; those that are not here count
 * nothing that an instance has. */
static const struct immediate_spaces {
    uint8_t idx, idx2; /* enum space */
} immediate_spaces[WASM_IMM_LAST + 1] = {
    [WASM_IMM_FUNC] = {SPACE_FUNCS, SPACE_NONE},
    [WASM_IMM_CALL_INDIRECT] = {SPACE_TYPES, SPACE_TABLES},
    [WASM_IMM_TYPE] = {SPACE_TYPES, SPACE_NONE},
    [WASM_IMM_TYPE2] = {SPACE_TYPES, SPACE_TYPES},
    [WASM_IMM_TYPE_FIELD] = {SPACE_TYPES, SPACE_NONE},
    [WASM_IMM_TYPE_COUNT] = {SPACE_TYPES, SPACE_NONE},
    [WASM_IMM_TYPE_DATA] = {SPACE_TYPES, SPACE_DATAS},
    [WASM_IMM_TYPE_ELEM] = {SPACE_TYPES, SPACE_ELEMS},
    [WASM_IMM_GLOBAL] = {SPACE_GLOBALS, SPACE_NONE},
    [WASM_IMM_TABLE] = {SPACE_TABLES, SPACE_NONE},
    [WASM_IMM_TABLE2] = {SPACE_TABLES, SPACE_TABLES},
    [WASM_IMM_TABLE_INIT] = {SPACE_ELEMS, SPACE_TABLES},
    [WASM_IMM_ELEM] = {SPACE_ELEMS, SPACE_NONE},
    [WASM_IMM_MEMORY] = {SPACE_MEMORIES, SPACE_NONE},
    [WASM_IMM_MEMORY2] = {SPACE_MEMORIES, SPACE_MEMORIES},
    [WASM_IMM_MEMORY_INIT] = {SPACE_DATAS, SPACE_MEMORIES},
    [WASM_IMM_DATA] = {SPACE_DATAS, SPACE_NONE},
    [WASM_IMM_TAG] = {SPACE_TAGS, SPACE_NONE},
};

static uint32_t flat_idx(const struct program_instance *instance, enum space space, uint32_t idx) {
    switch (space) {
    case SPACE_NONE: break;
    case SPACE_TYPES: return instance->types[idx];
    case SPACE_FUNCS: return instance->funcs[idx];
    case SPACE_TABLES: return instance->tables[idx];
    case SPACE_MEMORIES: return instance->memories[idx];
    case SPACE_GLOBALS: return instance->globals[idx];
    case SPACE_TAGS: return instance->tags[idx];
    case SPACE_ELEMS: return instance->elems_first + idx;
    case SPACE_DATAS: return instance->datas_first + idx;
    }
    return idx;
}

int program_read_instr(const struct program_instance *instance, struct wasm_reader *reader,
                       struct wasm_instr *ret_instr) {
    int status = wasm_read_instr(reader, ret_instr);
    if (status != 0)
        return status;
    enum wasm_imm imm = (enum wasm_imm)wasm_opinfo(ret_instr->op)->imm;
    struct immediate_spaces spaces = immediate_spaces[imm];
    ret_instr->idx = flat_idx(instance, (enum space)spaces.idx, ret_instr->idx);
    ret_instr->idx2 = flat_idx(instance, (enum space)spaces.idx2, ret_instr->idx2);
    if (imm == WASM_IMM_MEMARG || imm == WASM_IMM_MEMARG_LANE)
        ret_instr->mem.memory_idx = instance->memories[ret_instr->mem.memory_idx];
    if (imm == WASM_IMM_BLOCKTYPE && ret_instr->block.is_index)
        ret_instr->block.type_idx = instance->types[ret_instr->block.type_idx];
    if (imm == WASM_IMM_TRY_TABLE && ret_instr->try_table.block.is_index)
        ret_instr->try_table.block.type_idx = instance->types[ret_instr->try_table.block.type_idx];
    return 0;
}

int program_read_catch(const struct program_instance *instance, struct wasm_bytes *catches,
                       struct wasm_catch *ret_catch) {
    int status = wasm_read_catch(catches, ret_catch);
    if (status == 0 && wasm_catch_has_tag(ret_catch))
        ret_catch->tag_idx = instance->tags[ret_catch->tag_idx];
    return status;
}

/* ---- exceptions ---- */

bool program_uses_exceptions(const struct wasm_module *module) {
    return (module->used.set &
            (WASM_FEATURE_BIT(EXCEPTIONS) | WASM_FEATURE_BIT(LEGACY_EXCEPTIONS))) != 0;
}

static bool has_ref_clause(const struct wasm_instr *instr) {
    struct wasm_bytes catches = instr->try_table.catches;
    struct wasm_catch clause;
    for (uint32_t i = 0; i < instr->try_table.count; i++)
        if (wasm_read_catch(&catches, &clause) == 0 && wasm_catch_has_ref(&clause))
            return true;
    return false;
}

/* A rethrow counts if there is any catch_all: it costs nothing but address space. */
static bool body_takes_references(const struct wasm_func *func) {
    struct wasm_reader reader;
    struct wasm_instr instr;
    bool has_catch_all = false, has_rethrow = false;
    wasm_reader_init(&reader, func->code, NULL);
    while (reader.pos < reader.end && wasm_read_instr(&reader, &instr) == 0) {
        has_catch_all |= instr.op == WASM_OP_CATCH_ALL;
        has_rethrow |= instr.op == WASM_OP_RETHROW;
        if (instr.op == WASM_OP_TRY_TABLE && has_ref_clause(&instr))
            return true;
    }
    return has_catch_all && has_rethrow;
}

bool program_takes_references(const struct program *program) {
    for (uint32_t i = 0; program->has_exceptions && i < program->funcs_count; i++) {
        const struct program_instance *instance = program_instance(program, program->funcs[i]);
        if (program_uses_exceptions(instance->module) &&
            body_takes_references(program_func(program, i)))
            return true;
    }
    return false;
}

bool program_memory_ends_early(const struct program *program, uint32_t memory_idx) {
    const struct wasm_memory *memory = program_memory(program, memory_idx);
    const uint64_t most = HUSK_MAX_MEM_PAGES - HUSK_MEM_BELOW_BYTES / HUSK_WASM_PAGE_SIZE;
    if (memory->limits.is_64 || memory->has_byte_pages || memory->limits.min > most)
        return false;
    for (uint32_t i = 0; i < program->imports_count; i++)
        if (program->imports[i].kind == WASM_KIND_MEMORY && program->imports[i].idx == memory_idx)
            return false;
    return true;
}
