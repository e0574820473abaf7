/*
 * host/instance/imports_define.c: makes the definitions of a set of imports (imports.c): host
 * functions, memories, tables, globals, tags. All arguments are checked and copied before the set
 * changes.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "image.h"
#include "imports.h"
#include "layout.h"
#include "name_text.h"
#include "options.h"
#include "values.h"

/* A name of husk.h: `bytes` 0 means up to its NUL. */
static char *name_copy(const char *name, size_t bytes, size_t *ret_bytes) {
    *ret_bytes = name_length(name, bytes);
    char *copy = malloc(*ret_bytes + 1);
    if (copy != NULL) {
        memcpy(copy, name, *ret_bytes);
        copy[*ret_bytes] = 0;
    }
    return copy;
}

/* Make a definition with the names and the kind of `item`. */
static int def_new(const struct husk_extern *item, struct import_def **ret_def,
                   struct husk_error *err) {
    if (item->module == NULL || item->name == NULL)
        return error_set(err, HUSK_E_INVAL, "an import definition needs a module name and a name");
    if (item->module_bytes > UINT32_MAX || item->name_bytes > UINT32_MAX)
        return error_set(err, HUSK_E_LIMIT, "no name of a module has more than %u bytes",
                         UINT32_MAX);
    struct import_def *def = calloc(1, sizeof *def);
    if (def != NULL) {
        atomic_init(&def->refs, 1);
        def->kind = (uint32_t)item->kind;
        def->module = name_copy(item->module, item->module_bytes, &def->module_bytes);
        def->name = name_copy(item->name, item->name_bytes, &def->name_bytes);
    }
    if (def == NULL || def->module == NULL || def->name == NULL) {
        import_def_discard(def);
        return error_set(err, HUSK_E_NOMEM, "no memory for the definition of an import");
    }
    *ret_def = def;
    return 0;
}

/* Add the definition, or discard it and return the failure. */
static int def_finish(husk_imports *imports, struct import_def *def, int status,
                      struct husk_error *err) {
    if (status == 0)
        status = imports_add(imports, def, err);
    if (status != 0)
        import_def_discard(def);
    return status;
}

static int def_set_functype(struct import_def *def, const struct husk_functype *type,
                            struct husk_error *err) {
    const size_t count = type->params_count + type->results_count;
    if (type->params_count > LIMIT_ARITY || type->results_count > LIMIT_ARITY)
        return error_set(err, HUSK_E_INVAL, "%s.%s: more than %u parameters or results",
                         NAME_SHOWN(def->module), NAME_SHOWN(def->name), LIMIT_ARITY);
    if ((type->params == NULL && type->params_count > 0) ||
        (type->results == NULL && type->results_count > 0))
        return error_set(err, HUSK_E_INVAL, "%s.%s: a NULL array of types", NAME_SHOWN(def->module),
                         NAME_SHOWN(def->name));
    def->types = calloc(count + 1, sizeof *def->types);
    if (def->types == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the type of %s.%s",
                         NAME_SHOWN(def->module), NAME_SHOWN(def->name));
    if (type->params_count > 0)
        memcpy(def->types, type->params, type->params_count * sizeof *def->types);
    if (type->results_count > 0)
        memcpy(def->types + type->params_count, type->results,
               type->results_count * sizeof *def->types);
    for (size_t i = 0; i < count; i++)
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

/* ---- functions ---- */

static int def_from_row(const struct husk_host_func *row, struct import_def **ret_def,
                        struct husk_error *err) {
    static const struct husk_functype empty_type;
    const struct husk_extern names = {.module = row->module,
                                      .module_bytes = row->module_bytes,
                                      .name = row->name,
                                      .name_bytes = row->name_bytes};
    if (row->fn == NULL)
        return error_set(err, HUSK_E_INVAL, "a host function is NULL");
    struct import_def *def = NULL;
    int status = def_new(&names, &def, err);
    if (status != 0)
        return status;
    status = def_set_functype(def, row->type != NULL ? row->type : &empty_type, err);
    if (status != 0) {
        import_def_discard(def);
        return status;
    }
    def->fn = row->fn;
    def->user = row->user;
    def->user_free = row->user_free;
    *ret_def = def;
    return 0;
}

int husk_imports_funcs(husk_imports *imports, const struct husk_host_func *rows, size_t count,
                       struct husk_error *err) {
    if (imports == NULL || (rows == NULL && count != 0))
        return error_set(err, HUSK_E_INVAL, "husk_imports_funcs: a NULL argument");
    if (count > LIMIT_IMPORTS)
        return error_set(err, HUSK_E_LIMIT, "%zu host functions; a set has at most %u definitions",
                         count, LIMIT_IMPORTS);
    struct import_def **defs = calloc(count + 1, sizeof(struct import_def *));
    int status = defs == NULL ? error_set(err, HUSK_E_NOMEM, "no memory for import definitions")
                              : imports_reserve(imports, (uint32_t)count, err);
    for (size_t i = 0; status == 0 && i < count; i++) {
        status = def_from_row(&rows[i], &defs[i], err);
        if (status != 0)
            status = error_while(err, status, "defining row %zu of host functions", i);
    }
    /* There is room, so adding cannot fail: all are added or none. */
    for (size_t i = 0; defs != NULL && i < count; i++) {
        if (status == 0)
            imports_add(imports, defs[i], err);
        else
            import_def_discard(defs[i]);
    }
    free(defs);
    return status;
}

int imports_func_grouped(husk_imports *imports, const char *module, const char *name,
                         const struct import_grouped_func *func, struct husk_error *err) {
    struct import_def *def = NULL;
    const struct husk_host_func row = {
        .module = module, .name = name, .type = func->type, .fn = func->fn};
    int status = def_from_row(&row, &def, err);
    if (status != 0)
        return status;
    def->group = import_group_ref(func->group);
    return def_finish(imports, def, 0, err);
}

static int stub_called(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)args;
    (void)results;
    return husk_caller_fail(caller, "%s", (const char *)user);
}

int import_stub_tag_new(const struct husk_extern *wanted, struct import_def **ret_def,
                        struct husk_error *err) {
    struct import_def *def = NULL;
    int status = def_new(wanted, &def, err);
    if (status == 0)
        status = def_set_functype(def, &wanted->func, err);
    if (status != 0)
        import_def_discard(def);
    else
        *ret_def = def;
    return status;
}

int import_stub_new(const struct husk_extern *wanted, const char *message,
                    struct import_def **ret_def, struct husk_error *err) {
    char *copy = strdup(message);
    if (copy == NULL)
        return error_set(err, HUSK_E_NOMEM,
                         "no memory for a function that stands for an unknown import");
    const struct husk_host_func row = {.module = wanted->module,
                                       .module_bytes = wanted->module_bytes,
                                       .name = wanted->name,
                                       .name_bytes = wanted->name_bytes,
                                       .type = &wanted->func,
                                       .fn = stub_called,
                                       .user = copy,
                                       .user_free = free};
    int status = def_from_row(&row, ret_def, err);
    if (status != 0)
        free(copy);
    return status;
}

/* ---- memories, tables, globals, tags ---- */

static int check_global(const struct husk_extern *item, const struct husk_value *initial,
                        struct husk_error *err) {
    if (initial == NULL || !type_is_known(initial->type))
        return error_set(err, HUSK_E_INVAL,
                         "a global needs an initial value, of a type that is known");
    if (item->type != initial->type)
        return error_set(err, HUSK_E_INVAL,
                         "the global is of type %s, its initial value of type %s",
                         husk_type_name(item->type), husk_type_name(initial->type));
    if ((initial->type == HUSK_FUNCREF || initial->type == HUSK_EXNREF) && initial->of.ref != 0)
        return error_set(err, HUSK_E_INVAL,
                         "a reference of type %s belongs to one sandbox; a global that several "
                         "share can only be null",
                         husk_type_name(initial->type));
    return 0;
}

/* `most`: of a minimum; with 32-bit addresses of a maximum, too. */
static int check_limits(const struct husk_extern *item, uint64_t most, struct husk_error *err) {
    if (item->min <= most &&
        (!item->has_max || (item->max >= item->min && (item->is_64 || item->max <= most))))
        return 0;
    return error_set(err, HUSK_E_INVAL, "impossible limits of a %s (at most %llu %s)",
                     item->kind == HUSK_EXTERN_MEMORY ? "memory" : "table",
                     (unsigned long long)most,
                     item->kind == HUSK_EXTERN_MEMORY ? "pages" : "entries");
}

static int check_tag(const struct husk_extern *item, struct husk_error *err) {
    if (item->func.results_count == 0)
        return 0;
    return error_set(err, HUSK_E_INVAL, "a tag has values (its parameters), and no results");
}

static int check_item(const struct husk_extern *item, const struct husk_value *initial,
                      struct husk_error *err) {
    if (item->kind == HUSK_EXTERN_GLOBAL)
        return check_global(item, initial, err);
    if (initial != NULL)
        return error_set(err, HUSK_E_INVAL, "only a global has an initial value");
    if (item->is_shared && (item->kind != HUSK_EXTERN_MEMORY || !item->has_max))
        return error_set(err, HUSK_E_INVAL, "only a memory that has a maximum can be shared");
    if (item->kind == HUSK_EXTERN_TAG)
        return check_tag(item, err);
    if (item->kind == HUSK_EXTERN_MEMORY)
        return check_limits(item, item->is_64 ? HUSK_MAX_MEM64_PAGES : HUSK_MAX_MEM_PAGES, err);
    if (item->kind != HUSK_EXTERN_TABLE)
        return error_set(
            err, HUSK_E_INVAL,
            "not a memory, table, global or tag; husk_imports_funcs() defines functions");
    if (item->type != HUSK_FUNCREF && item->type != HUSK_EXTERNREF && item->type != HUSK_EXNREF)
        return error_set(err, HUSK_E_INVAL, "tables hold references");
    return check_limits(item, UINT32_MAX, err);
}

int husk_imports_define(husk_imports *imports, const struct husk_extern *item,
                        const struct husk_value *initial, struct husk_error *err) {
    struct husk_extern copy;
    struct import_def *def = NULL;
    if (imports == NULL || item == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_imports_define: a NULL argument");
    int status = extern_read(item, &copy, err);
    if (status == 0)
        status = def_new(&copy, &def, err);
    if (status != 0)
        return status;
    status = check_item(&copy, initial, err);
    if (status == 0 && copy.kind == HUSK_EXTERN_TAG)
        status = def_set_functype(def, &copy.func, err);
    if (status != 0) {
        status = error_while(err, status, "defining %s.%s", NAME_SHOWN(def->module),
                             NAME_SHOWN(def->name));
        import_def_discard(def);
        return status;
    }
    if (initial != NULL)
        def->value = *initial;
    def->is_mutable = copy.is_mutable;
    def->is_shared = copy.is_shared;
    def->is_64 = copy.is_64;
    def->elem_type = copy.type;
    def->min = copy.min;
    def->has_max = copy.has_max;
    def->max = copy.has_max ? copy.max : UINT64_MAX;
    return def_finish(imports, def, 0, err);
}
