/* compiler/plan/program_flat.c: the flat index spaces of linked modules; see program_join.h. */
#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "error.h"
#include "limits.h"
#include "name_text.h"
#include "program_join.h"

#define MEMORY_NAME "memory"

/* A flat index space while it is filled. */
struct flat_space {
    struct program_def *defs;
    uint32_t count;
};

static void place(struct join *join, struct flat_space *flat, enum wasm_kind kind,
                  struct program_def def) {
    join->instances[def.instance].spaces[kind].flat[def.idx] = flat->count;
    flat->defs[flat->count++] = def;
}

/* ---- memories ---- */

/* The index of the memory that host functions use for an instance, in its module; UINT32_MAX:
 * none. */
static uint32_t own_memory(const struct wasm_module *module) {
    for (uint32_t i = 0; i < module->exports_count; i++) {
        const struct wasm_export *export = &module->exports[i];
        if (export->kind == WASM_KIND_MEMORY && export->name.count == sizeof MEMORY_NAME - 1 &&
            memcmp(export->name.data, MEMORY_NAME, sizeof MEMORY_NAME - 1) == 0)
            return export->idx;
    }
    return module->memories_count > 0 ? 0 : UINT32_MAX;
}

static uint64_t code_bytes(const struct wasm_module *module) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < module->funcs_count; i++)
        bytes += module->funcs[i].code.count;
    return bytes;
}

/* Memory 0 has the fastest code. It is the main instance's, because embedders look there, or else
 * that of the instance with the most code. False: there is no memory. */
static bool first_memory(const struct join *join, struct program_def *ret_def) {
    uint32_t best = join->sources->count - 1;
    uint64_t best_bytes = UINT64_MAX;
    if (own_memory(join_module(join, best)) == UINT32_MAX)
        best_bytes = 0;
    for (uint32_t i = 0; i < join->sources->count; i++) {
        uint64_t bytes = code_bytes(join_module(join, i)) + 1;
        if (own_memory(join_module(join, i)) == UINT32_MAX || bytes <= best_bytes)
            continue;
        best = i;
        best_bytes = bytes;
    }
    if (best_bytes == 0)
        return false;
    *ret_def = join_definition(join, WASM_KIND_MEMORY,
                               (struct program_def){best, own_memory(join_module(join, best))});
    return true;
}

/* ---- indices ---- */

static void place_imports(struct join *join, struct flat_space flat[JOIN_KINDS]) {
    for (uint32_t i = 0; i < join->imports_count; i++) {
        const struct wasm_import *import = join->imports[i].import;
        place(join, &flat[import->kind], import->kind,
              (struct program_def){join->imports[i].instance, import->idx});
    }
}

static void place_definitions(struct join *join, struct flat_space *flat, enum wasm_kind kind) {
    struct program_def first = {UINT32_MAX, 0};
    if (kind == WASM_KIND_MEMORY && first_memory(join, &first)) {
        if (first.idx < join->instances[first.instance].spaces[kind].imported_count)
            first.instance = UINT32_MAX; /* an import of the image has its place */
        else
            place(join, flat, kind, first);
    }
    for (uint32_t i = 0; i < join->sources->count; i++) {
        const struct join_space *space = &join->instances[i].spaces[kind];
        for (uint32_t k = space->imported_count; k < space->count; k++)
            if (i != first.instance || k != first.idx)
                place(join, flat, kind, (struct program_def){i, k});
    }
}

static void map_imports(struct join *join, enum wasm_kind kind) {
    for (uint32_t i = 0; i < join->sources->count; i++) {
        const struct join_space *space = &join->instances[i].spaces[kind];
        for (uint32_t k = 0; k < space->imported_count; k++) {
            struct program_def def = join_definition(join, kind, (struct program_def){i, k});
            space->flat[k] = join->instances[def.instance].spaces[kind].flat[def.idx];
        }
    }
}

static int number_entities(struct join *join) {
    struct flat_space flat[JOIN_KINDS] = {{0}};
    struct program *program = join->program;
    for (uint32_t kind = 0; kind < JOIN_KINDS; kind++) {
        uint64_t total = 0;
        for (uint32_t i = 0; i < join->sources->count; i++)
            total += join->instances[i].spaces[kind].count;
        flat[kind].defs = wasm_arena_alloc(join->arena, total, sizeof *flat[kind].defs);
        if (flat[kind].defs == NULL)
            return join_nomem(join);
    }
    place_imports(join, flat);
    for (uint32_t kind = 0; kind < JOIN_KINDS; kind++) {
        place_definitions(join, &flat[kind], (enum wasm_kind)kind);
        map_imports(join, (enum wasm_kind)kind);
    }
    program->funcs = flat[WASM_KIND_FUNC].defs;
    program->funcs_count = flat[WASM_KIND_FUNC].count;
    program->tables = flat[WASM_KIND_TABLE].defs;
    program->tables_count = flat[WASM_KIND_TABLE].count;
    program->memories = flat[WASM_KIND_MEMORY].defs;
    program->memories_count = flat[WASM_KIND_MEMORY].count;
    program->globals = flat[WASM_KIND_GLOBAL].defs;
    program->globals_count = flat[WASM_KIND_GLOBAL].count;
    program->tags = flat[WASM_KIND_TAG].defs;
    program->tags_count = flat[WASM_KIND_TAG].count;
    if (program->memories_count > WASM_LIMIT_MEMORIES)
        return error_set(join->err, HUSK_E_LIMIT,
                         "the linked modules have %u memories together; at most %u",
                         program->memories_count, WASM_LIMIT_MEMORIES);
    return 0;
}

/* The segments of all instances, one kind at a time. */
static struct program_def *number_segments(struct join *join, uint32_t *ret_count, bool are_elems) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < join->sources->count; i++)
        total += are_elems ? join_module(join, i)->elems_count : join_module(join, i)->datas_count;
    struct program_def *defs = wasm_arena_alloc(join->arena, total, sizeof *defs);
    uint32_t used = 0;
    for (uint32_t i = 0; i < join->sources->count && defs != NULL; i++) {
        const struct wasm_module *module = join_module(join, i);
        uint32_t count = are_elems ? module->elems_count : module->datas_count;
        for (uint32_t k = 0; k < count; k++)
            defs[used++] = (struct program_def){i, k};
    }
    *ret_count = used;
    return defs;
}

static int make_instances(struct join *join) {
    struct program *program = join->program;
    uint32_t elems_first = 0, datas_first = 0;
    struct program_instance *instances =
        wasm_arena_alloc(join->arena, join->sources->count, sizeof *instances);
    if (instances == NULL)
        return join_nomem(join);
    for (uint32_t i = 0; i < join->sources->count; i++) {
        const struct join_space *spaces = join->instances[i].spaces;
        const struct program_source *source = &join->sources->list[i];
        uint32_t memory = own_memory(source->module);
        instances[i] = (struct program_instance){
            .module = source->module,
            .name = source->name,
            .types = join->instances[i].types,
            .funcs = spaces[WASM_KIND_FUNC].flat,
            .tables = spaces[WASM_KIND_TABLE].flat,
            .memories = spaces[WASM_KIND_MEMORY].flat,
            .globals = spaces[WASM_KIND_GLOBAL].flat,
            .tags = spaces[WASM_KIND_TAG].flat,
            .elems_first = elems_first,
            .datas_first = datas_first,
            .input_offset = source->input_offset,
            .memory_idx = memory == UINT32_MAX ? memory : spaces[WASM_KIND_MEMORY].flat[memory]};
        elems_first += source->module->elems_count;
        datas_first += source->module->datas_count;
        program->has_exceptions |= program_uses_exceptions(source->module);
    }
    program->instances = instances;
    program->instances_count = join->sources->count;
    return 0;
}

/* ---- imports and exports ---- */

static int list_imports(struct join *join) {
    struct wasm_import *imports =
        wasm_arena_alloc(join->arena, join->imports_count, sizeof *imports);
    if (imports == NULL)
        return join_nomem(join);
    for (uint32_t i = 0; i < join->imports_count; i++) {
        const struct join_import *item = &join->imports[i];
        imports[i] = *item->import;
        imports[i].idx =
            join->instances[item->instance].spaces[item->import->kind].flat[item->import->idx];
    }
    join->program->imports = imports;
    join->program->imports_count = join->imports_count;
    return 0;
}

/* "instance/name" */
static bool long_name(struct join *join, struct wasm_bytes instance, struct wasm_bytes name,
                      struct wasm_bytes *ret_name) {
    size_t bytes = (size_t)instance.count + 1 + name.count;
    uint8_t *text = wasm_arena_alloc(join->arena, bytes, 1);
    if (text == NULL)
        return false;
    memcpy(text, instance.data, instance.count);
    text[instance.count] = '/';
    if (name.count > 0)
        memcpy(text + instance.count + 1, name.data, name.count);
    *ret_name = (struct wasm_bytes){.data = text, .count = (uint32_t)bytes};
    return true;
}

static int check_export_names(struct join *join, const struct wasm_export *exports,
                              uint32_t count) {
    struct name_text shown;
    struct join_key *keys = wasm_arena_alloc(join->arena, count, sizeof *keys);
    if (keys == NULL)
        return join_nomem(join);
    for (uint32_t i = 0; i < count; i++)
        keys[i] = (struct join_key){.first = exports[i].name, .value = i};
    join_sort(keys, count);
    for (uint32_t i = 1; i < count; i++)
        if (join_names_equal(keys[i - 1].first, keys[i].first))
            return error_set(
                join->err, HUSK_E_INVAL,
                "two exports of the linked modules are named \"%s\": give a module "
                "another name",
                name_show(&shown, (const char *)keys[i].first.data, keys[i].first.count));
    return 0;
}

/* The main instance's come first: a function's first export names it. */
static int list_exports(struct join *join) {
    uint32_t main_idx = join->sources->count - 1, used = 0;
    uint64_t total = 0;
    for (uint32_t i = 0; i <= main_idx; i++)
        total += join_module(join, i)->exports_count;
    struct wasm_export *exports = wasm_arena_alloc(join->arena, total, sizeof *exports);
    uint32_t *instances = wasm_arena_alloc(join->arena, total, sizeof *instances);
    if (exports == NULL || instances == NULL)
        return join_nomem(join);
    for (uint32_t order = 0; order <= main_idx; order++) {
        uint32_t i = order == 0 ? main_idx : order - 1;
        const struct wasm_module *module = join_module(join, i);
        for (uint32_t k = 0; k < module->exports_count; k++) {
            struct wasm_export *export = &exports[used];
            instances[used++] = i;
            *export = module->exports[k];
            export->idx = join->instances[i].spaces[export->kind].flat[export->idx];
            if (i != main_idx && !long_name(join, join->sources->list[i].name,
                                            module->exports[k].name, &export->name))
                return join_nomem(join);
        }
    }
    join->program->exports = exports;
    join->program->exports_count = used;
    join->program->export_instances = instances;
    return check_export_names(join, exports, used);
}

int join_flatten(struct join *join) {
    struct program *program = join->program;
    int status = number_entities(join);
    if (status != 0)
        return status;
    program->elems = number_segments(join, &program->elems_count, true);
    program->datas = number_segments(join, &program->datas_count, false);
    status =
        program->elems == NULL || program->datas == NULL ? join_nomem(join) : make_instances(join);
    if (status == 0)
        status = list_imports(join);
    return status != 0 ? status : list_exports(join);
}
