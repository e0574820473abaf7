/*
 * host/instance/imports.c: sets of definitions that modules may import; see imports.h. A set is a
 * list with hash chains; the definitions are shared with the sandboxes that linked them.
 */
#include "imports.h"

#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "error.h"
#include "host_limits.h"
#include "image.h"
#include "layout.h"
#include "name_text.h"
#include "values.h"

#define BUCKETS 256u
#define NO_DEF UINT32_MAX

struct husk_imports {
    husk_engine *engine;
    struct import_def **defs;
    uint32_t *next; /* in the same bucket */
    uint32_t count, capacity;
    uint32_t buckets[BUCKETS];
    enum husk_unknown unknown;
};

int import_group_new(const struct import_group_ops *ops, void *shared,
                     struct import_group **ret_group, struct husk_error *err) {
    struct import_group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for imports of %s", ops->name);
    atomic_init(&group->refs, 1);
    group->ops = ops;
    group->shared = shared;
    *ret_group = group;
    return 0;
}

struct import_group *import_group_ref(struct import_group *group) {
    atomic_fetch_add_explicit(&group->refs, 1, memory_order_relaxed);
    return group;
}

void import_group_unref(struct import_group *group) {
    if (group == NULL || atomic_fetch_sub_explicit(&group->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (group->ops->shared_free != NULL)
        group->ops->shared_free(group->shared);
    free(group);
}

/* Without calling user_free: for a definition that its maker still answers for. */
static void def_discard(struct import_def *def) {
    import_group_unref(def->group);
    free(def->module);
    free(def->name);
    free(def->types);
    free(def);
}

struct import_def *import_def_ref(struct import_def *def) {
    atomic_fetch_add_explicit(&def->refs, 1, memory_order_relaxed);
    return def;
}

void import_def_unref(struct import_def *def) {
    if (def == NULL || atomic_fetch_sub_explicit(&def->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (def->user_free != NULL)
        def->user_free(def->user);
    def_discard(def);
}

int husk_imports_new(husk_engine *engine, husk_imports **ret_imports, struct husk_error *err) {
    if (engine == NULL || ret_imports == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_imports_new: a NULL argument");
    husk_imports *imports = calloc(1, sizeof *imports);
    if (imports == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a set of imports");
    imports->engine = engine_ref(engine);
    for (uint32_t i = 0; i < BUCKETS; i++)
        imports->buckets[i] = NO_DEF;
    *ret_imports = imports;
    return 0;
}

int imports_new_like(const husk_imports *imports, husk_imports **ret_imports,
                     struct husk_error *err) {
    return husk_imports_new(imports->engine, ret_imports, err);
}

void husk_imports_free(husk_imports *imports) {
    if (imports == NULL)
        return;
    for (uint32_t i = 0; i < imports->count; i++)
        import_def_unref(imports->defs[i]);
    free(imports->defs);
    free(imports->next);
    engine_unref(imports->engine);
    free(imports);
}

/* FNV-1a over module, a separator, name. */
static uint32_t name_hash(const char *module, size_t module_bytes, const char *name,
                          size_t name_bytes) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < module_bytes; i++)
        hash = (hash ^ (uint8_t)module[i]) * 16777619u;
    hash = (hash ^ 0xffu) * 16777619u;
    for (size_t i = 0; i < name_bytes; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash;
}

/* C strings in the set; the image's names may hold NULs, and then match nothing. */
static bool name_is(const char *have, const char *wanted, size_t wanted_bytes) {
    return strlen(have) == wanted_bytes && memcmp(have, wanted, wanted_bytes) == 0;
}

static uint32_t find_idx(const husk_imports *imports, uint32_t hash, struct husk_extern wanted) {
    for (uint32_t i = imports->buckets[hash % BUCKETS]; i != NO_DEF; i = imports->next[i]) {
        const struct import_def *def = imports->defs[i];
        if (def->hash == hash && name_is(def->name, wanted.name, wanted.name_bytes) &&
            name_is(def->module, wanted.module, wanted.module_bytes))
            return i;
    }
    return NO_DEF;
}

struct import_def *imports_find(const husk_imports *imports, const char *module,
                                size_t module_bytes, const char *name, size_t name_bytes) {
    if (imports == NULL)
        return NULL;
    struct husk_extern wanted = {
        .module = module, .module_bytes = module_bytes, .name = name, .name_bytes = name_bytes};
    uint32_t idx = find_idx(imports, name_hash(module, module_bytes, name, name_bytes), wanted);
    return idx == NO_DEF ? NULL : imports->defs[idx];
}

/* Room for `more` definitions. */
static int imports_reserve(husk_imports *imports, uint32_t more, struct husk_error *err) {
    uint32_t capacity = imports->capacity == 0 ? 32 : imports->capacity;
    while (capacity - imports->count < more && capacity <= LIMIT_IMPORTS)
        capacity *= 2;
    if (capacity == imports->capacity)
        return 0;
    if (capacity > LIMIT_IMPORTS)
        return error_set(err, HUSK_E_LIMIT, "more than %u definitions in one set",
                         imports->capacity);
    struct import_def **defs = realloc(imports->defs, capacity * sizeof *defs);
    if (defs != NULL)
        imports->defs = defs;
    uint32_t *next = defs == NULL ? NULL : realloc(imports->next, capacity * sizeof *next);
    if (next == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for an import definition");
    imports->next = next;
    imports->capacity = capacity;
    return 0;
}

/* Takes over the definition on success. */
static int imports_add(husk_imports *imports, struct import_def *def, struct husk_error *err) {
    struct husk_extern wanted = {.module = def->module,
                                 .module_bytes = strlen(def->module),
                                 .name = def->name,
                                 .name_bytes = strlen(def->name)};
    def->hash = name_hash(def->module, wanted.module_bytes, def->name, wanted.name_bytes);
    uint32_t idx = find_idx(imports, def->hash, wanted);
    if (idx != NO_DEF) {
        import_def_unref(imports->defs[idx]);
        imports->defs[idx] = def;
        return 0;
    }
    int status = imports_reserve(imports, 1, err);
    if (status != 0)
        return status;
    uint32_t *bucket = &imports->buckets[def->hash % BUCKETS];
    imports->defs[imports->count] = def;
    imports->next[imports->count] = *bucket;
    *bucket = imports->count++;
    return 0;
}

int imports_move(husk_imports *imports, husk_imports *from, struct husk_error *err) {
    int status = imports_reserve(imports, from->count, err);
    for (uint32_t i = 0; status == 0 && i < from->count; i++)
        status = imports_add(imports, from->defs[i], err); /* cannot fail: there is room */
    if (status == 0) {
        from->count = 0;
        for (uint32_t i = 0; i < BUCKETS; i++)
            from->buckets[i] = NO_DEF;
    }
    return status;
}

static int def_new(const husk_imports *imports, const char *module, const char *name, uint32_t kind,
                   struct import_def **ret_def, struct husk_error *err) {
    if (imports == NULL || module == NULL || name == NULL)
        return error_set(err, HUSK_E_INVAL,
                         "an import definition needs a set, a module name and a name");
    struct import_def *def = calloc(1, sizeof *def);
    if (def == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the definition of %s.%s",
                         NAME_SHOWN(module), NAME_SHOWN(name));
    atomic_init(&def->refs, 1);
    def->kind = kind;
    def->module = strdup(module);
    def->name = strdup(name);
    if (def->module == NULL || def->name == NULL) {
        def_discard(def);
        return error_set(err, HUSK_E_NOMEM, "no memory for the definition of %s.%s",
                         NAME_SHOWN(module), NAME_SHOWN(name));
    }
    *ret_def = def;
    return 0;
}

/* Adds it, or discards it and passes the failure on. */
static int def_finish(husk_imports *imports, struct import_def *def, int status,
                      struct husk_error *err) {
    if (status == 0)
        status = imports_add(imports, def, err);
    if (status != 0)
        def_discard(def);
    return status;
}

static int def_set_functype(struct import_def *def, const struct husk_functype *type,
                            struct husk_error *err) {
    if (type->params_count > LIMIT_ARITY || type->results_count > LIMIT_ARITY)
        return error_set(err, HUSK_E_INVAL, "%s.%s: more than %u parameters or results",
                         NAME_SHOWN(def->module), NAME_SHOWN(def->name), LIMIT_ARITY);
    def->types = calloc(type->params_count + type->results_count + 1, sizeof *def->types);
    if (def->types == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the type of %s.%s",
                         NAME_SHOWN(def->module), NAME_SHOWN(def->name));
    if (type->params_count > 0)
        memcpy(def->types, type->params, type->params_count * sizeof *def->types);
    if (type->results_count > 0)
        memcpy(def->types + type->params_count, type->results,
               type->results_count * sizeof *def->types);
    for (size_t i = 0; i < type->params_count + type->results_count; i++)
        if (!type_is_known(def->types[i]))
            return error_set(err, HUSK_E_INVAL, "%s.%s: 0x%x is not a value type",
                             NAME_SHOWN(def->module), NAME_SHOWN(def->name),
                             (unsigned)def->types[i]);
    def->func = (struct husk_functype){.params = def->types,
                                       .params_count = type->params_count,
                                       .results = def->types + type->params_count,
                                       .results_count = type->results_count};
    return 0;
}

static const struct husk_functype empty_type;

int husk_imports_func(husk_imports *imports, const char *module, const char *name,
                      const struct husk_functype *type, husk_host_fn fn, void *user,
                      void (*user_free)(void *user), struct husk_error *err) {
    struct import_def *def = NULL;
    if (fn == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_imports_func: fn is NULL");
    int status = def_new(imports, module, name, HUSK_ABI_FUNC, &def, err);
    if (status != 0)
        return status;
    status = def_set_functype(def, type != NULL ? type : &empty_type, err);
    def->fn = fn;
    def->user = user;
    def->user_free = user_free;
    return def_finish(imports, def, status, err);
}

int imports_func_grouped(husk_imports *imports, const char *module, const char *name,
                         const struct husk_functype *type, husk_host_fn fn,
                         struct import_group *group, struct husk_error *err) {
    struct import_def *def = NULL;
    int status = def_new(imports, module, name, HUSK_ABI_FUNC, &def, err);
    if (status != 0)
        return status;
    status = def_set_functype(def, type, err);
    def->fn = fn;
    def->group = import_group_ref(group);
    return def_finish(imports, def, status, err);
}

int husk_imports_global(husk_imports *imports, const char *module, const char *name,
                        bool is_mutable, const struct husk_value *initial, struct husk_error *err) {
    struct import_def *def = NULL;
    if (initial == NULL || !type_is_known(initial->type))
        return error_set(err, HUSK_E_INVAL,
                         "husk_imports_global: no value, or one of an unknown type");
    if (initial->type == HUSK_FUNCREF && initial->of.ref != 0)
        return error_set(err, HUSK_E_INVAL,
                         "husk_imports_global: a function reference belongs to one sandbox; a "
                         "global that several share can only be null");
    int status = def_new(imports, module, name, HUSK_ABI_GLOBAL, &def, err);
    if (status != 0)
        return status;
    def->value = *initial;
    def->is_mutable = is_mutable;
    return def_finish(imports, def, 0, err);
}

int husk_imports_memory(husk_imports *imports, const char *module, const char *name,
                        uint64_t min_pages, uint64_t max_pages, struct husk_error *err) {
    struct import_def *def = NULL;
    if (min_pages > HUSK_MAX_MEM_PAGES || max_pages < min_pages ||
        (max_pages != UINT64_MAX && max_pages > HUSK_MAX_MEM_PAGES))
        return error_set(err, HUSK_E_INVAL,
                         "husk_imports_memory: impossible limits (at most %u pages)",
                         HUSK_MAX_MEM_PAGES);
    int status = def_new(imports, module, name, HUSK_ABI_MEMORY, &def, err);
    if (status != 0)
        return status;
    def->min = min_pages;
    def->max = max_pages;
    return def_finish(imports, def, 0, err);
}

int husk_imports_table(husk_imports *imports, const char *module, const char *name,
                       husk_type elem_type, uint64_t min_entries, uint64_t max_entries,
                       struct husk_error *err) {
    struct import_def *def = NULL;
    if (elem_type != HUSK_FUNCREF && elem_type != HUSK_EXTERNREF)
        return error_set(err, HUSK_E_INVAL, "husk_imports_table: tables hold funcref or externref");
    if (min_entries > UINT32_MAX || max_entries < min_entries ||
        (max_entries != UINT64_MAX && max_entries > UINT32_MAX))
        return error_set(err, HUSK_E_INVAL, "husk_imports_table: impossible limits");
    int status = def_new(imports, module, name, HUSK_ABI_TABLE, &def, err);
    if (status != 0)
        return status;
    def->elem_type = elem_type;
    def->min = min_entries;
    def->max = max_entries;
    return def_finish(imports, def, 0, err);
}

int husk_imports_unknown(husk_imports *imports, enum husk_unknown unknown, struct husk_error *err) {
    if (imports == NULL || (unknown != HUSK_UNKNOWN_REFUSED && unknown != HUSK_UNKNOWN_TRAP))
        return error_set(err, HUSK_E_INVAL, "husk_imports_unknown: no set, or an unknown choice");
    imports->unknown = unknown;
    return 0;
}

enum husk_unknown imports_unknown(const husk_imports *imports) {
    return imports == NULL ? HUSK_UNKNOWN_REFUSED : imports->unknown;
}

static int stub_called(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)args;
    (void)results;
    return husk_caller_fail(caller, "%s", (const char *)user);
}

int import_stub_new(const struct husk_extern *wanted, const char *message,
                    struct import_def **ret_def, struct husk_error *err) {
    struct import_def *def = calloc(1, sizeof *def);
    if (def == NULL)
        return error_set(err, HUSK_E_NOMEM,
                         "no memory for a function that stands for an unknown import");
    atomic_init(&def->refs, 1);
    def->kind = HUSK_ABI_FUNC;
    def->fn = stub_called;
    def->user_free = free;
    def->user = strdup(message);
    def->module = strdup(wanted->module); /* up to a NUL: for messages only, nobody looks it up */
    def->name = strdup(wanted->name);
    int status = 0;
    if (def->user == NULL || def->module == NULL || def->name == NULL)
        status = error_set(err, HUSK_E_NOMEM,
                           "no memory for a function that stands for an unknown import");
    if (status == 0)
        status = def_set_functype(def, &wanted->func, err);
    if (status != 0)
        import_def_unref(def);
    else
        *ret_def = def;
    return status;
}
