/*
 * host/instance/imports.c: sets of definitions that modules may import; see imports.h. A set is a
 * list with hash chains. The definitions (imports_define.c makes them) are shared with the
 * sandboxes that linked them.
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

#define NO_DEF UINT32_MAX

struct husk_imports {
    husk_engine *engine;
    struct import_def **defs;
    uint32_t *next;    /* in the same bucket */
    uint32_t *buckets; /* as many as there is room for definitions: a power of two */
    uint32_t count, capacity;
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

void import_def_discard(struct import_def *def) {
    if (def == NULL)
        return;
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
    import_def_discard(def);
}

int husk_imports_new(husk_engine *engine, husk_imports **ret_imports, struct husk_error *err) {
    if (engine == NULL || ret_imports == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_imports_new: a NULL argument");
    husk_imports *imports = calloc(1, sizeof *imports);
    if (imports == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a set of imports");
    imports->engine = engine_ref(engine);
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
    free(imports->buckets);
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

static bool name_is(const char *have, size_t have_bytes, const char *wanted, size_t wanted_bytes) {
    return have_bytes == wanted_bytes && memcmp(have, wanted, wanted_bytes) == 0;
}

/* Of a set that has room. */
static uint32_t *bucket_of(const husk_imports *imports, uint32_t hash) {
    return &imports->buckets[hash & (imports->capacity - 1)];
}

static void bucket_put(husk_imports *imports, uint32_t idx) {
    uint32_t *bucket = bucket_of(imports, imports->defs[idx]->hash);
    imports->next[idx] = *bucket;
    *bucket = idx;
}

/* Every definition goes into its bucket again: their number has changed. */
static void buckets_fill(husk_imports *imports) {
    for (uint32_t i = 0; i < imports->capacity; i++)
        imports->buckets[i] = NO_DEF;
    for (uint32_t i = 0; i < imports->count; i++)
        bucket_put(imports, i);
}

static uint32_t find_idx(const husk_imports *imports, uint32_t hash, struct husk_extern wanted) {
    if (imports->capacity == 0)
        return NO_DEF;
    for (uint32_t i = *bucket_of(imports, hash); i != NO_DEF; i = imports->next[i]) {
        const struct import_def *def = imports->defs[i];
        if (def->hash == hash &&
            name_is(def->name, def->name_bytes, wanted.name, wanted.name_bytes) &&
            name_is(def->module, def->module_bytes, wanted.module, wanted.module_bytes))
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

int imports_reserve(husk_imports *imports, uint32_t more, struct husk_error *err) {
    if (more > LIMIT_IMPORTS - imports->count)
        return error_set(err, HUSK_E_LIMIT, "more than %u definitions in one set", LIMIT_IMPORTS);
    uint32_t capacity = imports->capacity == 0 ? 32 : imports->capacity;
    while (capacity - imports->count < more)
        capacity *= 2;
    if (capacity == imports->capacity)
        return 0;
    struct import_def **defs = realloc(imports->defs, capacity * sizeof *defs);
    if (defs != NULL)
        imports->defs = defs;
    uint32_t *next = defs == NULL ? NULL : realloc(imports->next, capacity * sizeof *next);
    if (next != NULL)
        imports->next = next;
    uint32_t *buckets = next == NULL ? NULL : malloc(capacity * sizeof *buckets);
    if (buckets == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for an import definition");
    free(imports->buckets);
    imports->buckets = buckets;
    imports->capacity = capacity;
    buckets_fill(imports);
    return 0;
}

int imports_add(husk_imports *imports, struct import_def *def, struct husk_error *err) {
    struct husk_extern wanted = {.module = def->module,
                                 .module_bytes = def->module_bytes,
                                 .name = def->name,
                                 .name_bytes = def->name_bytes};
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
    imports->defs[imports->count] = def;
    bucket_put(imports, imports->count++);
    return 0;
}

int imports_move(husk_imports *imports, husk_imports *from, struct husk_error *err) {
    int status = imports_reserve(imports, from->count, err);
    for (uint32_t i = 0; status == 0 && i < from->count; i++)
        status = imports_add(imports, from->defs[i], err); /* cannot fail: there is room */
    if (status == 0) {
        from->count = 0;
        buckets_fill(from);
    }
    return status;
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
