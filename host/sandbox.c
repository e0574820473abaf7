/*
 * host/sandbox.c: making and freeing sandboxes. Everything is validated and linked first; then memory, page tables and VM
 * are made; then imports are written into the new instance. No guest code runs here.
 */
#include "sandbox_internal.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "values.h"

#define PAGE_BYTES ((uint64_t)HUSK_PAGE_SIZE)

static uint64_t page_up(uint64_t bytes) {
    return (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static int options_copy(const struct husk_sandbox_options *options, struct husk_sandbox_options *ret_copy,
                        struct husk_error *err) {
    struct husk_sandbox_options copy = HUSK_SANDBOX_OPTIONS_INIT;
    if (options != NULL) {
        if (options->size < sizeof(size_t))
            return error_set(err, HUSK_E_INVAL,
                             "husk_sandbox_options.size is not set (use HUSK_SANDBOX_OPTIONS_INIT)");
        memcpy(&copy, options, options->size < sizeof copy ? options->size : sizeof copy);
    }
    if (copy.stack_bytes == 0)
        copy.stack_bytes = HUSK_STACK_DEFAULT_BYTES;
    if (copy.stack_bytes < HUSK_STACK_MIN_BYTES || copy.stack_bytes > HUSK_STACK_MAX_BYTES)
        return error_set(err, HUSK_E_INVAL, "stack_bytes is %llu; it must be %u to %u",
                         (unsigned long long)copy.stack_bytes, HUSK_STACK_MIN_BYTES, HUSK_STACK_MAX_BYTES);
    copy.stack_bytes = page_up(copy.stack_bytes);
    if (copy.host_call_depth_max == 0)
        copy.host_call_depth_max = LIMIT_HOST_CALL_DEPTH_DEFAULT;
    if (copy.host_call_depth_max > LIMIT_HOST_CALL_DEPTH_MAX)
        return error_set(err, HUSK_E_INVAL, "host_call_depth_max is %u; it must be at most %u",
                         copy.host_call_depth_max, LIMIT_HOST_CALL_DEPTH_MAX);
    *ret_copy = copy;
    return 0;
}

/* calloc(0) may give NULL: ask for one more. */
static void *array_new(size_t count, size_t elem_bytes) {
    return calloc(count + 1, elem_bytes);
}

static int arrays_new(husk_sandbox *sandbox, struct husk_error *err) {
    const husk_image *image = sandbox->image;
    sandbox->memory_max_pages = array_new(image->memories_count, sizeof(uint64_t));
    sandbox->table_entries = array_new(image->tables_count, sizeof(uint64_t));
    sandbox->table_max_entries = array_new(image->tables_count, sizeof(uint64_t));
    sandbox->defs = array_new(image->imports_count, sizeof *sandbox->defs);
    sandbox->memory_defs = array_new(image->imported_count[HUSK_ABI_MEMORY], sizeof *sandbox->memory_defs);
    sandbox->table_defs = array_new(image->imported_count[HUSK_ABI_TABLE], sizeof *sandbox->table_defs);
    sandbox->linked = array_new(image->imported_count[HUSK_ABI_FUNC], sizeof *sandbox->linked);
    sandbox->groups = array_new(image->imports_count, sizeof *sandbox->groups);
    if (sandbox->memory_max_pages == NULL || sandbox->table_entries == NULL ||
        sandbox->table_max_entries == NULL || sandbox->defs == NULL || sandbox->memory_defs == NULL ||
        sandbox->table_defs == NULL || sandbox->linked == NULL || sandbox->groups == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox");
    return 0;
}

static int link_imports(husk_sandbox *sandbox, const husk_imports *imports, struct husk_error *err) {
    const husk_image *image = sandbox->image;
    struct import_def **found = array_new(image->imports_count, sizeof *found);
    if (found == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to link the imports");
    int status = imports_link(imports, image, found, err);
    for (uint32_t i = 0; status == 0 && i < image->imports_count; i++) {
        const struct import_def *def = sandbox->defs[i] = import_def_ref(found[i]);
        uint32_t idx = image->imports[i].idx;
        if (def->kind == HUSK_ABI_FUNC)
            sandbox->linked[idx] =
                (struct linked_func){.fn = def->fn, .user = def->user, .type = &def->func, .def = def};
        else if (def->kind == HUSK_ABI_MEMORY)
            sandbox->memory_defs[idx] = def;
        else if (def->kind == HUSK_ABI_TABLE)
            sandbox->table_defs[idx] = def;
    }
    free(found);
    return status;
}

/* Sizes of the memories: declared, or of the definition if imported; bounded by the option. */
static int size_memories(husk_sandbox *sandbox, uint64_t *initial, uint64_t *reserve,
                         struct husk_error *err) {
    const husk_image *image = sandbox->image;
    uint64_t total = 0;
    for (uint32_t i = 0; i < image->memories_count; i++) {
        const struct import_def *def =
            i < image->imported_count[HUSK_ABI_MEMORY] ? sandbox->memory_defs[i] : NULL;
        uint64_t pages = def != NULL ? def->min : image->memories[i].min_pages;
        uint64_t max_pages =
            def != NULL ? min_u64(def->max, HUSK_MAX_MEM_PAGES) : image->memories[i].max_pages;
        initial[i] = pages * HUSK_WASM_PAGE_SIZE;
        total += initial[i];
        sandbox->memory_max_pages[i] = min_u64(max_pages, sandbox->memory_max_bytes / HUSK_WASM_PAGE_SIZE);
        reserve[i] = sandbox->memory_max_pages[i] * HUSK_WASM_PAGE_SIZE;
    }
    if (total > sandbox->memory_max_bytes)
        return error_set(err, HUSK_E_LIMIT,
                         "the module starts with %llu bytes of linear memory; memory_max_bytes is %llu",
                         (unsigned long long)total, (unsigned long long)sandbox->memory_max_bytes);
    return 0;
}

static int size_tables(husk_sandbox *sandbox, uint64_t option, uint64_t *ret_data_bytes,
                       struct husk_error *err) {
    const husk_image *image = sandbox->image;
    uint64_t total = 0, data_end = HUSK_DATA_GVA;
    for (uint32_t i = 0; i < image->data_segments_count; i++)
        data_end = image->segments[i].gva + image->segments[i].mem_bytes;
    for (uint32_t i = 0; i < image->tables_count; i++) {
        const struct husk_image_table *table = &image->tables[i];
        const struct import_def *def =
            i < image->imported_count[HUSK_ABI_TABLE] ? sandbox->table_defs[i] : NULL;
        sandbox->table_entries[i] = def != NULL ? def->min : table->min_entries;
        if (sandbox->table_entries[i] > table->reserve_entries)
            return error_set(err, HUSK_E_LIMIT,
                             "imported table %u starts with %llu entries; the image has room for %u", i,
                             (unsigned long long)sandbox->table_entries[i], table->reserve_entries);
        total += sandbox->table_entries[i];
    }
    if (option != 0 && total > option)
        return error_set(err, HUSK_E_LIMIT,
                         "the module starts with %llu table entries; table_max_entries is %llu",
                         (unsigned long long)total, (unsigned long long)option);
    sandbox->table_max_total = option != 0 ? option : LIMIT_TABLE_ENTRIES_DEFAULT;
    if (sandbox->table_max_total < total)
        sandbox->table_max_total = total;
    for (uint32_t i = 0; i < image->tables_count; i++) {
        const struct husk_image_table *table = &image->tables[i];
        const struct import_def *def =
            i < image->imported_count[HUSK_ABI_TABLE] ? sandbox->table_defs[i] : NULL;
        uint64_t max = def != NULL ? def->max : table->max_entries;
        max = min_u64(max, min_u64(table->reserve_entries, sandbox->table_max_total));
        sandbox->table_max_entries[i] = max < sandbox->table_entries[i] ? sandbox->table_entries[i] : max;
        uint64_t end = page_up(table->base_gva + 8 * sandbox->table_max_entries[i]);
        data_end = end > data_end ? end : data_end;
    }
    *ret_data_bytes = page_up(data_end - HUSK_DATA_GVA);
    return 0;
}

static void add_mapping(struct page_mapping *mappings, size_t *count, uint64_t gva_value, uint64_t bytes,
                        uint32_t prot) {
    if (bytes == 0)
        return;
    mappings[(*count)++] = (struct page_mapping){
        .gva = gva(gva_value), .gpa = gpa_of_gva(gva(gva_value)), .bytes = bytes, .prot = prot};
}

/* The page mappings that a sandbox of these sizes starts with. */
static size_t list_mappings(const husk_sandbox *sandbox, struct page_mapping *mappings) {
    const husk_image *image = sandbox->image;
    const uint32_t rw = PAGE_READ | PAGE_WRITE;
    size_t count = 0;
    add_mapping(mappings, &count, HUSK_TEXT_GVA, image->text_bytes, PAGE_READ | PAGE_EXEC);
    add_mapping(mappings, &count, image->rodata_gva, image->rodata_bytes, PAGE_READ);
    for (uint32_t i = 0; i < image->data_segments_count; i++)
        add_mapping(mappings, &count, image->segments[i].gva, image->segments[i].mem_bytes, rw);
    for (uint32_t i = 0; i < image->tables_count; i++) { /* imported ones may start larger than declared */
        const struct husk_image_table *table = &image->tables[i];
        if (sandbox->table_entries[i] == table->min_entries)
            continue;
        uint64_t from = page_up(table->base_gva + 8 * table->min_entries);
        uint64_t to = page_up(table->base_gva + 8 * sandbox->table_entries[i]);
        add_mapping(mappings, &count, from, to - from, rw);
    }
    add_mapping(mappings, &count, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES, rw);
    add_mapping(mappings, &count, HUSK_STACK_TOP_GVA - sandbox->arena.stack_bytes, sandbox->arena.stack_bytes,
                rw);
    for (uint32_t i = 0; i < image->memories_count; i++)
        add_mapping(mappings, &count, husk_mem_gva(i), sandbox->arena.memories[i].bytes, rw);
    return count;
}

static int template_make(const husk_sandbox *sandbox, struct sys_template **ret_template,
                         struct husk_error *err) {
    const husk_image *image = sandbox->image;
    size_t most = 4u + image->data_segments_count + image->tables_count + image->memories_count;
    struct page_mapping *mappings = array_new(most, sizeof *mappings);
    if (mappings == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the list of mappings");
    size_t count = list_mappings(sandbox, mappings);
    int status = sys_template_new(mappings, count, ret_template, err);
    free(mappings);
    return status;
}

static bool has_default_sizes(const husk_sandbox *sandbox) {
    const husk_image *image = sandbox->image;
    if (sandbox->arena.stack_bytes != HUSK_STACK_DEFAULT_BYTES)
        return false;
    for (uint32_t i = 0; i < image->memories_count; i++) {
        if (sandbox->arena.memories[i].bytes != image->memories[i].min_pages * HUSK_WASM_PAGE_SIZE)
            return false;
    }
    for (uint32_t i = 0; i < image->tables_count; i++) {
        if (sandbox->table_entries[i] != image->tables[i].min_entries)
            return false;
    }
    return true;
}

/* Sandboxes with the default sizes share one template per image; others get their own. */
static int template_get(husk_sandbox *sandbox, struct husk_error *err) {
    husk_image *image = sandbox->image;
    if (!has_default_sizes(sandbox))
        return template_make(sandbox, &sandbox->template, err);
    pthread_mutex_lock(&image->template_lock);
    int status = image->default_template != NULL ? 0 : template_make(sandbox, &image->default_template, err);
    if (status == 0)
        sandbox->template = sys_template_ref(image->default_template);
    pthread_mutex_unlock(&image->template_lock);
    return status;
}

static int make_memory(husk_sandbox *sandbox, const struct husk_sandbox_options *options,
                       struct husk_error *err) {
    uint64_t initial[HUSK_MAX_MEMORIES], reserve[HUSK_MAX_MEMORIES];
    struct arena_sizes sizes = {
        .stack_bytes = options->stack_bytes, .memory_bytes = initial, .memory_reserve_bytes = reserve};
    sandbox->memory_max_bytes = options->memory_max_bytes != 0 ? options->memory_max_bytes : UINT64_MAX;
    int status = size_memories(sandbox, initial, reserve, err);
    if (status == 0)
        status = size_tables(sandbox, options->table_max_entries, &sizes.data_bytes, err);
    if (status == 0)
        status = arena_init(&sandbox->arena, sandbox->image, &sizes, err);
    if (status == 0)
        status = template_get(sandbox, err);
    return status;
}

static int make_vm(husk_sandbox *sandbox, struct husk_error *err) {
    husk_engine *engine = sandbox->engine;
    int status = sys_space_new(sandbox->template, ARENA_SLOT_SYS, &sandbox->space, err);
    if (status != 0)
        return status;
    struct vm_config config = {.cpu_features = sandbox->image->note.cpu_features,
                               .page_root = sys_space_page_root(sandbox->space),
                               .exception_stack_top = sys_space_exception_stack_top(sandbox->space)};
    status = sandbox->ops->create(engine->backend, &config, &sandbox->vm, err);
    if (status != 0)
        return status;
    engine_count(engine, sandbox->stat_shard, STAT_vms_made);
    kicker_init(&sandbox->kicker, sandbox->ops, sandbox->vm, engine->kick_signal);
    status = arena_attach(&sandbox->arena, sandbox->image, sandbox->ops, sandbox->vm, err);
    if (status == 0)
        status = sys_space_attach(sandbox->space, sandbox->ops, sandbox->vm, err);
    return status;
}

/* Only if it is not so already: an untouched page stays shared with the image. */
static void write_word(husk_sandbox *sandbox, uint32_t gva_value, uint64_t word) {
    if (image_data_u64(sandbox->image, gva_value) != word)
        memcpy(arena_span(&sandbox->arena, gva_value, sizeof word), &word, sizeof word);
}

static void apply_imports(husk_sandbox *sandbox) {
    const husk_image *image = sandbox->image;
    for (uint32_t i = 0; i < image->memories_count; i++)
        write_word(sandbox, image->memories[i].size_gva,
                   sandbox->arena.memories[i].bytes / HUSK_WASM_PAGE_SIZE);
    for (uint32_t i = 0; i < image->tables_count; i++)
        write_word(sandbox, image->tables[i].size_gva, sandbox->table_entries[i]);
    for (uint32_t i = 0; i < image->imports_count; i++) {
        const struct husk_image_import *import = &image->imports[i];
        if (import->kind != HUSK_ABI_GLOBAL)
            continue;
        void *place = arena_span(&sandbox->arena, image->globals[import->idx].gva, sizeof(struct husk_slot));
        value_to_slot(&sandbox->defs[i]->value, place);
    }
}

/* One state per group, however many of its functions are linked. */
static int make_group_states(husk_sandbox *sandbox, struct husk_error *err) {
    for (uint32_t i = 0; i < sandbox->image->imported_count[HUSK_ABI_FUNC]; i++) {
        struct import_group *group = sandbox->linked[i].def->group;
        if (group == NULL)
            continue;
        uint32_t at = 0;
        while (at < sandbox->groups_count && sandbox->groups[at].group != group)
            at++;
        if (at == sandbox->groups_count) {
            void *state = NULL;
            int status = group->ops->state_new(group->shared, &state, err);
            if (status != 0)
                return status;
            sandbox->groups[at] = (struct group_state){.group = group, .state = state};
            sandbox->groups_count++;
        }
        sandbox->linked[i].user = sandbox->groups[at].state;
    }
    return 0;
}

void *sandbox_group_state(const husk_sandbox *sandbox, const struct import_group_ops *ops) {
    for (uint32_t i = 0; i < sandbox->groups_count; i++) {
        if (sandbox->groups[i].group->ops == ops)
            return sandbox->groups[i].state;
    }
    return NULL;
}

/* Room for the arguments and results of nested host calls, so that a host call never allocates. */
static int make_values(husk_sandbox *sandbox, struct husk_error *err) {
    uint64_t arity = 0;
    for (uint32_t i = 0; i < sandbox->image->imported_count[HUSK_ABI_FUNC]; i++) {
        const struct husk_functype *type = sandbox->linked[i].type;
        uint64_t count = type->params_count + type->results_count;
        arity = count > arity ? count : arity;
    }
    sandbox->values_count = (uint32_t)(arity * (sandbox->depth_max + 1u));
    sandbox->values = array_new(sandbox->values_count, sizeof *sandbox->values);
    return sandbox->values != NULL
               ? 0
               : error_set(err, HUSK_E_NOMEM, "no memory for the arguments of host calls");
}

static int sandbox_make(husk_sandbox *sandbox, const husk_imports *imports,
                        const struct husk_sandbox_options *options, struct husk_error *err) {
    int status = arrays_new(sandbox, err);
    if (status == 0)
        status = link_imports(sandbox, imports, err);
    if (status == 0)
        status = make_values(sandbox, err);
    if (status == 0)
        status = make_memory(sandbox, options, err);
    if (status == 0)
        status = make_vm(sandbox, err);
    if (status == 0)
        status = make_group_states(sandbox, err);
    if (status == 0)
        apply_imports(sandbox);
    return status;
}

/* Half-built sandboxes are fine. The VM goes before the memory that it maps. */
static void sandbox_destroy(husk_sandbox *sandbox) {
    if (sandbox->vm != NULL) {
        sandbox->ops->destroy(sandbox->vm);
        engine_count(sandbox->engine, sandbox->stat_shard, STAT_vms_freed);
    }
    sys_space_free(sandbox->space);
    sys_template_unref(sandbox->template);
    arena_done(&sandbox->arena);
    for (uint32_t i = 0; i < sandbox->groups_count; i++)
        sandbox->groups[i].group->ops->state_free(sandbox->groups[i].state);
    for (uint32_t i = 0; sandbox->defs != NULL && i < sandbox->image->imports_count; i++)
        import_def_unref(sandbox->defs[i]);
    free(sandbox->memory_max_pages);
    free(sandbox->table_entries);
    free(sandbox->table_max_entries);
    free(sandbox->defs);
    free(sandbox->memory_defs);
    free(sandbox->table_defs);
    free(sandbox->linked);
    free(sandbox->groups);
    free(sandbox->values);
    husk_image_unref(sandbox->image);
    engine_unref(sandbox->engine);
    free(sandbox);
}

int husk_sandbox_new(husk_engine *engine, husk_image *image, const husk_imports *imports,
                     const struct husk_sandbox_options *options, husk_sandbox **ret_sandbox,
                     struct husk_error *err) {
    struct husk_sandbox_options copy;
    if (engine == NULL || image == NULL || ret_sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_new: a NULL argument");
    if (image->engine != engine)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_new: the image was opened by another engine");
    int status = options_copy(options, &copy, err);
    if (status != 0)
        return status;
    husk_sandbox *sandbox = calloc(1, sizeof *sandbox);
    if (sandbox == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox");
    sandbox->engine = engine_ref(engine);
    sandbox->image = husk_image_ref(image);
    sandbox->ops = engine->ops;
    sandbox->depth_max = copy.host_call_depth_max;
    sandbox->stat_shard =
        atomic_fetch_add_explicit(&engine->next_shard, 1, memory_order_relaxed) % STAT_SHARDS;
    atomic_init(&sandbox->is_interrupted, false);
    status = sandbox_make(sandbox, imports, &copy, err);
    if (status != 0) {
        sandbox_destroy(sandbox);
        return error_while(err, status, "making a sandbox");
    }
    engine_count(engine, sandbox->stat_shard, STAT_sandboxes_made);
    *ret_sandbox = sandbox;
    return 0;
}

void husk_sandbox_free(husk_sandbox *sandbox) {
    if (sandbox == NULL)
        return;
    engine_count(sandbox->engine, sandbox->stat_shard, STAT_sandboxes_freed);
    sandbox_destroy(sandbox);
}
