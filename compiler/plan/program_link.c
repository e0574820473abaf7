/*
 * compiler/plan/program_link.c: several modules → one program (program.h): checks the names, finds
 * what each import is, and merges imports of the image. The parts are in program_join.h.
 */
#include <string.h>

#include "arena.h"
#include "error.h"
#include "limits.h"
#include "name_text.h"
#include "program_join.h"
#include "read.h"
#include "utf8.h"

#define INSTANCES_MAX 1000u /* real components have about ten */
#define NAME_BYTES_MAX 1000u

static const char *show(struct name_text *buffer, struct wasm_bytes name) {
    return name_show(buffer, (const char *)name.data, name.count);
}

/* ---- names ---- */

static int check_names(struct join *join) {
    const struct program_sources *sources = join->sources;
    struct name_text shown;
    if (sources->count == 0 || sources->count > INSTANCES_MAX)
        return error_set(join->err, HUSK_E_INVAL, "%u modules to link; there must be 1 to %u",
                         sources->count, INSTANCES_MAX);
    join->names = wasm_arena_alloc(join->arena, sources->count, sizeof *join->names);
    if (join->names == NULL)
        return join_nomem(join);
    for (uint32_t i = 0; i < sources->count; i++) {
        struct wasm_bytes name = sources->list[i].name;
        if (name.count == 0 || name.count > NAME_BYTES_MAX || !utf8_is_valid(name.data, name.count))
            return error_set(join->err, HUSK_E_INVAL,
                             "module %u has the name \"%s\"; a name is UTF-8 of 1 to %u bytes", i,
                             show(&shown, name), NAME_BYTES_MAX);
        join->names[i] = (struct join_key){.first = name, .value = i};
    }
    join_sort(join->names, sources->count);
    for (uint32_t i = 1; i < sources->count; i++)
        if (join_names_equal(join->names[i - 1].first, join->names[i].first))
            return error_set(join->err, HUSK_E_INVAL, "two modules have the name \"%s\"",
                             show(&shown, join->names[i].first));
    return 0;
}

static int sort_aliases(struct join *join, struct join_instance *instance) {
    const struct program_source *source = instance->source;
    struct name_text shown[3];
    for (uint32_t i = 0; i < source->aliases_count; i++)
        instance->aliases[i] =
            (struct join_key){source->aliases[i].module, source->aliases[i].name, i};
    join_sort(instance->aliases, source->aliases_count);
    for (uint32_t i = 1; i < source->aliases_count; i++)
        if (join_keys_order(&instance->aliases[i - 1], &instance->aliases[i]) == 0)
            return error_set(
                join->err, HUSK_E_INVAL, "\"%s\" has two aliases for its import \"%s.%s\"",
                show(&shown[0], source->name), show(&shown[1], instance->aliases[i].first),
                show(&shown[2], instance->aliases[i].second));
    return 0;
}

/* ---- instances ---- */

static bool space_new(struct join *join, struct join_space *space, uint32_t count,
                      uint32_t imported_count) {
    space->count = count;
    space->imported_count = imported_count;
    space->defs = wasm_arena_alloc(join->arena, count, sizeof *space->defs);
    space->flat = wasm_arena_alloc(join->arena, count, sizeof *space->flat);
    return space->defs != NULL && space->flat != NULL;
}

static int instance_new(struct join *join, uint32_t idx) {
    struct join_instance *instance = &join->instances[idx];
    const struct program_source *source = &join->sources->list[idx];
    const struct wasm_module *module = source->module;
    struct join_space *spaces = instance->spaces;
    instance->source = source;
    instance->types = wasm_arena_alloc(join->arena, module->types_count, sizeof(uint32_t));
    instance->exports =
        wasm_arena_alloc(join->arena, module->exports_count, sizeof *instance->exports);
    instance->aliases =
        wasm_arena_alloc(join->arena, source->aliases_count, sizeof *instance->aliases);
    instance->alias_is_used = wasm_arena_alloc(join->arena, source->aliases_count, sizeof(bool));
    if (instance->types == NULL || instance->exports == NULL || instance->aliases == NULL ||
        instance->alias_is_used == NULL ||
        !space_new(join, &spaces[WASM_KIND_FUNC], module->funcs_count,
                   module->imported_funcs_count) ||
        !space_new(join, &spaces[WASM_KIND_TABLE], module->tables_count,
                   module->imported_tables_count) ||
        !space_new(join, &spaces[WASM_KIND_MEMORY], module->memories_count,
                   module->imported_memories_count) ||
        !space_new(join, &spaces[WASM_KIND_GLOBAL], module->globals_count,
                   module->imported_globals_count) ||
        !space_new(join, &spaces[WASM_KIND_TAG], module->tags_count, module->imported_tags_count))
        return join_nomem(join);
    for (uint32_t kind = 0; kind < JOIN_KINDS; kind++)
        for (uint32_t i = 0; i < spaces[kind].count; i++)
            spaces[kind].defs[i] = (struct program_def){idx, i};
    for (uint32_t i = 0; i < module->exports_count; i++)
        instance->exports[i] = (struct join_key){.first = module->exports[i].name, .value = i};
    join_sort(instance->exports, module->exports_count);
    return sort_aliases(join, instance);
}

/* The limits of one module hold for all together: an image is read with them. */
static int check_totals(struct join *join) {
    enum { TYPES, FUNCS, TABLES, GLOBALS, TAGS, IMPORTS, EXPORTS, ELEMS, DATAS, KINDS_COUNT };
    static const struct {
        const char *what;
        uint64_t limit;
    } kinds[KINDS_COUNT] = {
        [TYPES] = {"types", WASM_LIMIT_TYPES},
        [FUNCS] = {"functions", WASM_LIMIT_FUNCS},
        [TABLES] = {"tables", WASM_LIMIT_TABLES},
        [GLOBALS] = {"globals", WASM_LIMIT_GLOBALS},
        [TAGS] = {"tags", WASM_LIMIT_TAGS},
        [IMPORTS] = {"imports", WASM_LIMIT_IMPORTS},
        [EXPORTS] = {"exports", WASM_LIMIT_EXPORTS},
        [ELEMS] = {"element segments", WASM_LIMIT_ELEMS},
        [DATAS] = {"data segments", WASM_LIMIT_DATAS},
    };
    uint64_t totals[KINDS_COUNT] = {0};
    for (uint32_t i = 0; i < join->sources->count; i++) {
        const struct wasm_module *module = join_module(join, i);
        totals[TYPES] += module->types_count;
        totals[FUNCS] += module->funcs_count;
        totals[TABLES] += module->tables_count;
        totals[GLOBALS] += module->globals_count;
        totals[TAGS] += module->tags_count;
        totals[IMPORTS] += module->imports_count;
        totals[EXPORTS] += module->exports_count;
        totals[ELEMS] += module->elems_count;
        totals[DATAS] += module->datas_count;
    }
    for (int i = 0; i < KINDS_COUNT; i++)
        if (totals[i] > kinds[i].limit)
            return error_set(
                join->err, HUSK_E_LIMIT, "the linked modules have %llu %s together; at most %llu",
                (unsigned long long)totals[i], kinds[i].what, (unsigned long long)kinds[i].limit);
    return 0;
}

/* ---- imports ---- */

/* The name that an import is looked up by. */
struct wanted_name {
    struct wasm_bytes instance, name;
    bool is_alias;
};

static struct wanted_name wanted_name(struct join_instance *instance,
                                      const struct wasm_import *import) {
    const struct join_key *alias =
        join_find(instance->aliases, instance->source->aliases_count, import->module, import->name);
    if (alias == NULL)
        return (struct wanted_name){import->module, import->name, false};
    const struct program_alias *row = &instance->source->aliases[alias->value];
    instance->alias_is_used[alias->value] = true;
    return (struct wanted_name){row->instance, row->export_name, true};
}

/* The export that a name means, of any instance; NULL: there is none. */
static const struct wasm_export *
find_export(const struct join *join, const struct wanted_name *name, uint32_t *ret_instance) {
    const struct join_key *instance =
        join_find(join->names, join->sources->count, name->instance, (struct wasm_bytes){0});
    if (instance == NULL)
        return NULL;
    const struct wasm_module *module = join_module(join, instance->value);
    const struct join_key *export =
        join_find(join->instances[instance->value].exports, module->exports_count, name->name,
                  (struct wasm_bytes){0});
    *ret_instance = instance->value;
    return export == NULL ? NULL : &module->exports[export->value];
}

static int bad_alias(struct join *join, uint32_t importer, const struct wanted_name *name) {
    struct name_text shown[3];
    const struct join_key *instance =
        join_find(join->names, join->sources->count, name->instance, (struct wasm_bytes){0});
    return error_set(join->err, HUSK_E_LINK,
                     instance == NULL
                         ? "\"%s\" has an alias for \"%s.%s\", but no module has that name"
                         : "\"%s\" has an alias for \"%s.%s\", which that module does not export",
                     show(&shown[0], join->sources->list[importer].name),
                     show(&shown[1], name->instance), show(&shown[2], name->name));
}

static int bad_order(struct join *join, uint32_t importer, const struct wanted_name *name) {
    struct name_text shown[3];
    return error_set(join->err, HUSK_E_LINK,
                     "\"%s\" imports \"%s.%s\", which comes later: a module can import from those "
                     "before it only, so imports cannot go round in a circle",
                     show(&shown[0], join->sources->list[importer].name),
                     show(&shown[1], name->instance), show(&shown[2], name->name));
}

/* A module may have the name of the host module that it wraps: an import by its own name is one of
 * the image. */
static int resolve_import(struct join *join, uint32_t importer, const struct wasm_import *import) {
    struct join_instance *instance = &join->instances[importer];
    const struct wanted_name name = wanted_name(instance, import);
    const struct join_import wanted = {importer, import};
    uint32_t exporter = 0;
    const struct wasm_export *export = find_export(join, &name, &exporter);
    if (export == NULL && name.is_alias)
        return bad_alias(join, importer, &name);
    if (export != NULL && (exporter > importer || (exporter == importer && name.is_alias)))
        return bad_order(join, importer, &name);
    if (export == NULL || exporter == importer) {
        join->imports[join->imports_count++] = wanted;
        return 0;
    }
    int status = join_match(join, wanted, (struct program_def){exporter, export->idx}, export);
    if (status == 0) /* the definition itself: chains of exports of imports stay short */
        instance->spaces[import->kind].defs[import->idx] =
            join->instances[exporter].spaces[import->kind].defs[export->idx];
    return status;
}

static int check_aliases_used(struct join *join, const struct join_instance *instance) {
    struct name_text shown[3];
    for (uint32_t i = 0; i < instance->source->aliases_count; i++) {
        const struct program_alias *alias = &instance->source->aliases[i];
        if (!instance->alias_is_used[i])
            return error_set(join->err, HUSK_E_LINK,
                             "\"%s\" has an alias for \"%s.%s\", which it does not import",
                             show(&shown[0], instance->source->name),
                             show(&shown[1], alias->module), show(&shown[2], alias->name));
    }
    return 0;
}

static int resolve_instance(struct join *join, uint32_t idx) {
    const struct wasm_module *module = join_module(join, idx);
    int status = 0;
    for (uint32_t i = 0; i < module->imports_count && status == 0; i++)
        status = resolve_import(join, idx, &module->imports[i]);
    return status != 0 ? status : check_aliases_used(join, &join->instances[idx]);
}

/* ---- imports of the image ---- */

/* Two imports of one instance, with one name. */
static bool are_one_tag(const struct join *join, struct join_import a, struct join_import b) {
    const struct wasm_tag *tags = join_module(join, a.instance)->tags;
    const uint32_t *types = join->instances[a.instance].types;
    return a.import->kind == WASM_KIND_TAG &&
           types[tags[a.import->idx].type_idx] == types[tags[b.import->idx].type_idx];
}

/* Memories, tables, globals and tags with one name are one. Functions stay apart, because a host
 * function works on the memory of the instance that imports it. */
static int merge_imports(struct join *join) {
    uint32_t count = join->imports_count, kept = 0;
    struct join_key *keys = wasm_arena_alloc(join->arena, count, sizeof *keys);
    bool *is_merged = wasm_arena_alloc(join->arena, count, sizeof *is_merged);
    if (keys == NULL || is_merged == NULL)
        return join_nomem(join);
    for (uint32_t i = 0; i < count; i++)
        keys[i] =
            (struct join_key){join->imports[i].import->module, join->imports[i].import->name, i};
    join_sort(keys, count);
    struct join_import first[JOIN_KINDS];
    bool has_first[JOIN_KINDS] = {false};
    for (uint32_t i = 0; i < count; i++) {
        struct join_import item = join->imports[keys[i].value];
        enum wasm_kind kind = item.import->kind;
        if (i > 0 && join_keys_order(&keys[i - 1], &keys[i]) != 0)
            memset(has_first, 0, sizeof has_first);
        if (kind == WASM_KIND_FUNC || !has_first[kind]) {
            first[kind] = item;
            has_first[kind] = true;
            continue;
        }
        if (item.instance == first[kind].instance && !are_one_tag(join, first[kind], item))
            continue; /* as in an image of one module */
        int status = join_same(join, first[kind], item);
        if (status != 0)
            return status;
        is_merged[keys[i].value] = true;
        join->instances[item.instance].spaces[kind].defs[item.import->idx] =
            (struct program_def){first[kind].instance, first[kind].import->idx};
    }
    for (uint32_t i = 0; i < count; i++)
        if (!is_merged[i])
            join->imports[kept++] = join->imports[i];
    join->imports_count = kept;
    return 0;
}

static int join_run(struct join *join) {
    uint64_t imports_count = 0;
    int status = check_names(join);
    if (status != 0)
        return status;
    join->instances = wasm_arena_alloc(join->arena, join->sources->count, sizeof *join->instances);
    if (join->instances == NULL)
        return join_nomem(join);
    for (uint32_t i = 0; i < join->sources->count && status == 0; i++) {
        status = instance_new(join, i);
        imports_count += join->sources->list[i].module->imports_count;
    }
    if (status == 0)
        status = check_totals(join);
    if (status != 0)
        return status;
    join->imports = wasm_arena_alloc(join->arena, imports_count, sizeof *join->imports);
    if (join->imports == NULL)
        return join_nomem(join);
    status = join_types(join);
    for (uint32_t i = 0; i < join->sources->count && status == 0; i++)
        status = resolve_instance(join, i);
    if (status == 0)
        status = merge_imports(join);
    return status != 0 ? status : join_flatten(join);
}

int program_link(const struct program_sources *sources, struct program **ret_program,
                 struct husk_error *err) {
    struct wasm_arena *arena = wasm_arena_new();
    struct join join = {.sources = sources, .arena = arena, .err = err};
    join.program = arena == NULL ? NULL : wasm_arena_alloc(arena, 1, sizeof *join.program);
    int status = join.program == NULL ? join_nomem(&join) : join_run(&join);
    if (status != 0) {
        wasm_arena_free(arena);
        return status;
    }
    join.program->input = sources->input;
    join.program->is_staged = sources->is_staged;
    join.program->arena = arena;
    *ret_program = join.program;
    return 0;
}
