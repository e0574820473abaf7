/* host/instance/linkage.c: see linkage.h. */
#include "linkage.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "error.h"
#include "image_internal.h"
#include "hot.h"
#include "zeroed.h"

/* The first of `count` elements in the block; then those behind them. */
static void *elements_take(uint8_t **block, size_t count, size_t elem_bytes) {
    void *first = *block;
    *block += count * elem_bytes;
    return first;
}

/* One block has all arrays; without imports there is none. */
static int arrays_new(struct linkage *linkage, const husk_image *image, struct husk_error *err) {
    const struct image_code *code = image->code;
    const size_t imports = code->imports_count, funcs = code->imported_count[HUSK_ABI_FUNC],
                 memories = code->imported_count[HUSK_ABI_MEMORY],
                 tables = code->imported_count[HUSK_ABI_TABLE];
    if (imports == 0)
        return 0;
    uint8_t *block =
        zeroed_new(imports * (sizeof *linkage->defs + sizeof *linkage->groups) +
                   memories * sizeof *linkage->memory_defs + tables * sizeof *linkage->table_defs +
                   funcs * sizeof *linkage->linked);
    if (block == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to link the imports");
    linkage->defs_count = code->imports_count;
    linkage->defs = elements_take(&block, imports, sizeof *linkage->defs);
    linkage->groups = elements_take(&block, imports, sizeof *linkage->groups);
    linkage->memory_defs = elements_take(&block, memories, sizeof *linkage->memory_defs);
    linkage->table_defs = elements_take(&block, tables, sizeof *linkage->table_defs);
    linkage->linked = elements_take(&block, funcs, sizeof *linkage->linked);
    return 0;
}

/* Takes a reference to each of `found`. */
static void take_defs(struct linkage *linkage, const husk_image *image,
                      struct import_def *const *found) {
    for (uint32_t i = 0; i < image->code->imports_count; i++) {
        const struct import_def *def = linkage->defs[i] = import_def_ref(found[i]);
        uint32_t idx = image->code->imports[i].idx;
        const uint32_t instance = image->code->imports[i].instance;
        if (def->kind == HUSK_ABI_FUNC)
            linkage->linked[idx] =
                (struct linked_func){.fn = def->fn,
                                     .user = def->user,
                                     .type = &def->func,
                                     .def = def,
                                     .memory_idx = image_instance_memory(image->code, instance)};
        else if (def->kind == HUSK_ABI_MEMORY)
            linkage->memory_defs[idx] = def;
        else if (def->kind == HUSK_ABI_TABLE)
            linkage->table_defs[idx] = def;
    }
}

/* Room for the arguments, results and exceptions of nested host calls, so that a host call never
 * allocates. */
static int make_values(struct linkage *linkage, const husk_image *image, uint32_t depth_max,
                       struct husk_error *err) {
    uint64_t arity = 0;
    for (uint32_t i = 0; i < image->code->imported_count[HUSK_ABI_FUNC]; i++) {
        const struct husk_functype *type = linkage->linked[i].type;
        uint64_t count = type->params_count + type->results_count;
        arity = count > arity ? count : arity;
    }
    const uint32_t thrown_count = image->code->module.exception_values;
    linkage->values_count = (uint32_t)((arity + thrown_count) * (depth_max + 1u));
    if (linkage->defs_count == 0 && thrown_count == 0)
        return 0;
    const size_t count = (size_t)linkage->values_count + thrown_count + 1; /* at least one */
    linkage->values = zeroed_new(count * sizeof *linkage->values);
    if (linkage->values == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the arguments of host calls");
    linkage->thrown = linkage->values + linkage->values_count;
    return 0;
}

/* Make one state per group, for any number of its linked functions. */
static int make_states(struct linkage *linkage, const husk_image *image, struct husk_error *err) {
    for (uint32_t i = 0; i < image->code->imported_count[HUSK_ABI_FUNC]; i++) {
        struct import_group *group = linkage->linked[i].def->group;
        if (group == NULL)
            continue;
        uint32_t at = 0;
        while (at < linkage->groups_count && linkage->groups[at].group != group)
            at++;
        if (at == linkage->groups_count) {
            void *state = NULL;
            int status = group->ops->state_new(group->shared, &state, err);
            if (status != 0)
                return status;
            linkage->groups[at] = (struct group_state){.group = group, .state = state};
            linkage->groups_count++;
        }
        linkage->linked[i].user = linkage->groups[at].state;
    }
    return 0;
}

static int linkage_make(struct linkage *linkage, const husk_image *image,
                        struct import_def *const *found, uint32_t depth_max,
                        struct husk_error *err) {
    int status = arrays_new(linkage, image, err);
    if (status != 0)
        return status;
    take_defs(linkage, image, found);
    status = make_values(linkage, image, depth_max, err);
    return status != 0 ? status : make_states(linkage, image, err);
}

int linkage_init(struct linkage *linkage, const husk_image *image, const husk_imports *imports,
                 uint32_t depth_max, struct husk_error *err) {
    *linkage = (struct linkage){0};
    const uint32_t count = image->code->imports_count;
    struct import_def **found = count > 0 ? zeroed_new(count * sizeof *found) : NULL;
    if (found == NULL && count > 0)
        return error_set(err, HUSK_E_NOMEM, "no memory to link the imports");
    int status = imports_link(imports, image, found, err);
    if (status == 0)
        status = linkage_make(linkage, image, found, depth_max, err);
    for (uint32_t i = 0; i < count; i++)
        import_def_unref(found[i]); /* the linkage holds its references */
    free(found);
    if (status != 0)
        linkage_done(linkage);
    return status;
}

int linkage_copy(struct linkage *linkage, const struct linkage *from, const husk_image *image,
                 uint32_t depth_max, struct husk_error *err) {
    *linkage = (struct linkage){0};
    int status = linkage_make(linkage, image, from->defs, depth_max, err);
    if (status != 0)
        linkage_done(linkage);
    return status;
}

void linkage_done(struct linkage *linkage) {
    for (uint32_t i = 0; i < linkage->groups_count; i++)
        linkage->groups[i].group->ops->state_free(linkage->groups[i].state);
    for (uint32_t i = 0; linkage->defs != NULL && i < linkage->defs_count; i++)
        import_def_unref(linkage->defs[i]);
    free(linkage->defs); /* one block has all arrays */
    free(linkage->values);
    *linkage = (struct linkage){0};
}

uint64_t linkage_files_bytes(const struct linkage *linkage) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < linkage->groups_count; i++) {
        const struct import_group *group = linkage->groups[i].group;
        const uint64_t bytes =
            group->ops->files_bytes != NULL ? group->ops->files_bytes(group->shared) : 0;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Find the saved state of a group; NULL if there is none. Each name occurs once, because a set has
 * no two groups of a family (wasi_imports.c). */
static const uint8_t *find_record(const husk_image *image, const char *name, size_t *ret_bytes) {
    struct image_state record;
    uint32_t at = 0;
    while (image_state_next(image, &at, &record)) {
        if (record.name_bytes == strlen(name) &&
            memcmp(record.name, name, record.name_bytes) == 0) {
            *ret_bytes = record.state_bytes;
            return record.state;
        }
    }
    return NULL;
}

HOT int linkage_check_states(const struct linkage *linkage, const husk_image *image,
                             struct husk_error *err) {
    for (uint32_t i = 0; i < linkage->groups_count; i++) {
        const struct group_state *group = &linkage->groups[i];
        const struct import_group_ops *ops = group->group->ops;
        if (ops->state_check == NULL)
            continue;
        size_t bytes = 0;
        const uint8_t *state = find_record(image, ops->name, &bytes);
        int status = ops->state_check(group->state, state, bytes, err);
        if (status != 0)
            return error_while(err, status, "bringing back the state of %s", ops->name);
    }
    return 0;
}

HOT void linkage_load_states(struct linkage *linkage, const husk_image *image) {
    for (uint32_t i = 0; i < linkage->groups_count; i++) {
        const struct group_state *group = &linkage->groups[i];
        const struct import_group_ops *ops = group->group->ops;
        if (ops->state_load == NULL)
            continue;
        size_t bytes = 0;
        const uint8_t *state = find_record(image, ops->name, &bytes);
        ops->state_load(group->state, state, bytes);
    }
}

int linkage_save_states(const struct linkage *linkage, struct buf *buf, struct husk_error *err) {
    for (uint32_t i = 0; i < linkage->groups_count; i++) {
        const struct group_state *group = &linkage->groups[i];
        const struct import_group_ops *ops = group->group->ops;
        if (ops->state_save == NULL)
            continue;
        size_t header_at = buf->count;
        struct husk_image_host_state record = {.name_bytes = (uint32_t)strlen(ops->name)};
        buf_append(buf, &record, sizeof record);
        buf_append(buf, ops->name, record.name_bytes);
        buf_align(buf, 8);
        size_t state_at = buf->count;
        int status = ops->state_save(group->state, buf, err);
        if (status != 0)
            return error_while(err, status, "saving the state of %s", ops->name);
        if (buf->failed)
            return error_set(err, HUSK_E_NOMEM, "no memory for the state of %s", ops->name);
        record.state_bytes = (uint32_t)(buf->count - state_at);
        memcpy(buf->data + header_at, &record, sizeof record);
        buf_align(buf, 8);
    }
    return buf->failed ? error_set(err, HUSK_E_NOMEM, "no memory for the state of host functions")
                       : 0;
}
