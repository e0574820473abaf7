/*
 * compiler/lower/lower_init.c: makes i0.init, the part of instantiation that runs in the guest
 * because it depends on imports or may trap (core spec 4.5.4). It does one instance after the
 * other: globals, tables with an initialiser, values of element segments, then active segments in
 * order, then the start function. It leaves out the items that the image writer has applied
 * (plan.h: is_static). If there are several instances, each has a function, i0.n<instance>, and
 * i0.init calls those.
 */
#include <inttypes.h>
#include <stdio.h>

#include "lower.h"
#include "lower_trap.h"

/* The value of a constant expression, computed with the code of ordinary instructions. */
static LLVMValueRef const_value(struct lower_func *lf, struct wasm_bytes expr) {
    /* only the number of results counts: nothing branches */
    static const valtype_t one_result = WASM_I32;
    struct wasm_functype type = {.results = &one_result, .results_count = 1};
    lower_frame_push(lf, LOWER_BODY, &type);
    if (lower_expr(lf, expr) != 0)
        return NULL;
    return lower_pop(lf);
}

static void init_globals(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    const struct wasm_module *module = lf->instance->module;
    for (uint32_t i = 0; i < module->globals_count; i++) {
        uint32_t global_idx = lf->instance->globals[i];
        if (module->globals[i].is_import || lm->plan->global_is_static[global_idx])
            continue;
        LLVMValueRef value = const_value(lf, module->globals[i].init);
        if (value == NULL)
            return;
        uint32_t gva = lm->plan->global_gva[global_idx];
        LLVMBuildStore(lf->builder, value, lower_absolute(lm, "i0.g", global_idx, lm->i64, gva));
    }
}

static void init_tables(struct lower_func *lf) {
    const struct wasm_module *module = lf->instance->module;
    for (uint32_t i = module->imported_tables_count; i < module->tables_count; i++) {
        if (module->tables[i].init.count == 0)
            continue;
        LLVMValueRef value = const_value(lf, module->tables[i].init);
        if (value == NULL)
            return;
        lower_table_fill(lf, lf->instance->tables[i], value);
    }
}

static LLVMValueRef elem_value(struct lower_func *lf, const struct wasm_elem *elem, uint32_t idx) {
    if (elem->func_idxs != NULL)
        return lower_func_ref(lf, lf->instance->funcs[elem->func_idxs[idx]]);
    return const_value(lf, elem->exprs[idx]);
}

/* The references of a segment, into its array. */
static void init_elem_values(struct lower_func *lf, uint32_t elem_idx) {
    struct lower_module *lm = lf->lm;
    const struct wasm_elem *elem = program_elem(lm->program, elem_idx);
    LLVMValueRef base = lower_elem_base(lf, elem_idx);
    for (uint32_t i = 0; i < elem->count; i++) {
        LLVMValueRef value = elem_value(lf, elem, i);
        if (value == NULL)
            return;
        LLVMValueRef index = lower_const_i64(lm, i);
        LLVMBuildStore(lf->builder, value,
                       LLVMBuildGEP2(lf->builder, lm->i64, base, &index, 1, ""));
    }
}

static void init_active_elem(struct lower_func *lf, uint32_t elem_idx) {
    const struct wasm_elem *elem = program_elem(lf->lm->program, elem_idx);
    LLVMValueRef offset = const_value(lf, elem->offset);
    if (offset == NULL)
        return;
    struct lower_span dest = {.idx = lf->instance->tables[elem->table_idx]};
    dest.start = lower_zext64(lf, offset);
    dest.count = lower_const_i64(lf->lm, elem->count);
    lower_table_init_range(lf, elem_idx, &dest, lower_const_i64(lf->lm, 0));
    lower_elem_drop(lf, elem_idx);
}

static void init_elems(struct lower_func *lf) {
    const struct wasm_module *module = lf->instance->module;
    const struct plan_elem *plans = lf->lm->plan->elems;
    uint32_t first = lf->instance->elems_first, end = first + module->elems_count;
    for (uint32_t i = first; i < end && lf->status == 0; i++)
        if (!plans[i].is_static && module->elems[i - first].mode != WASM_SEGMENT_DECLARATIVE)
            init_elem_values(lf, i);
    for (uint32_t i = first; i < end && lf->status == 0; i++)
        if (!plans[i].is_static && module->elems[i - first].mode == WASM_SEGMENT_ACTIVE)
            init_active_elem(lf, i);
}

static void init_datas(struct lower_func *lf) {
    const struct wasm_module *module = lf->instance->module;
    for (uint32_t i = 0; i < module->datas_count && lf->status == 0; i++) {
        const struct wasm_data *data = &module->datas[i];
        uint32_t data_idx = lf->instance->datas_first + i;
        if (lf->lm->plan->datas[data_idx].is_static || data->mode != WASM_SEGMENT_ACTIVE)
            continue;
        LLVMValueRef offset = const_value(lf, data->offset);
        if (offset == NULL)
            return;
        struct lower_span dest = {.idx = lf->instance->memories[data->memory_idx]};
        dest.start = lower_zext64(lf, offset);
        dest.count = lower_const_i64(lf->lm, data->bytes.count);
        lower_memory_init_range(lf, data_idx, &dest, lower_const_i64(lf->lm, 0));
        lower_data_drop(lf, data_idx);
    }
}

static const struct wasm_functype nothing = {0};

/* Is it at least as large as the importer declares it? */
static void trap_if_small(struct lower_func *lf, LLVMValueRef size, uint64_t min) {
    LLVMValueRef is_small =
        LLVMBuildICmp(lf->builder, LLVMIntULT, size, lower_const_i64(lf->lm, min), "");
    lower_trap_if(lf, is_small, TRAP_LINK);
}

/* Memories and tables that had to grow before this instance could import them. */
static void check_imports(struct lower_func *lf) {
    const struct program *program = lf->lm->program;
    const struct wasm_module *module = lf->instance->module;
    for (uint32_t i = 0; i < module->imported_memories_count; i++)
        if (program_memory_may_be_small(program, lf->instance, i))
            trap_if_small(lf, lower_memory_pages(lf, lf->instance->memories[i]),
                          module->memories[i].limits.min);
    for (uint32_t i = 0; i < module->imported_tables_count; i++)
        if (program_table_may_be_small(program, lf->instance, i))
            trap_if_small(lf, lower_table_size(lf, lf->instance->tables[i]),
                          module->tables[i].limits.min);
}

static void init_instance(struct lower_func *lf, const struct program_instance *instance) {
    lf->instance = instance;
    check_imports(lf);
    init_globals(lf);
    init_tables(lf);
    init_elems(lf);
    init_datas(lf);
    if (instance->module->has_start && lf->status == 0) {
        uint32_t start_idx = instance->funcs[instance->module->start_func_idx];
        lf->instr.offset = 0;
        lower_call_value(lf, &nothing, lower_func_symbol(lf->lm, start_idx), NULL);
    }
}

static LLVMValueRef init_symbol(struct lower_module *lm, uint32_t instance_idx) {
    char name[32] = "i0.init";
    if (instance_idx != LOWER_INIT_ALL)
        snprintf(name, sizeof name, "i0.n%" PRIu32, instance_idx);
    LLVMValueRef fn = LLVMGetNamedFunction(lm->mod, name);
    if (fn != NULL)
        return fn;
    fn = LLVMAddFunction(lm->mod, name, LLVMFunctionType(lm->void_type, NULL, 0, false));
    LLVMSetVisibility(fn, LLVMHiddenVisibility);
    LLVMSetFunctionCallConv(fn, lower_call_conv(lm));
    return fn;
}

static void call_instances(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    for (uint32_t i = 0; i < lm->program->instances_count; i++) {
        if (lm->plan->instance_needs_init[i])
            lower_call_value(lf, &nothing, init_symbol(lm, i), NULL);
    }
}

int lower_init(struct lower_module *lm, uint32_t instance_idx) {
    struct lower_func lf;
    lower_func_begin(&lf, lm, init_symbol(lm, instance_idx), 0);
    if (instance_idx != LOWER_INIT_ALL)
        init_instance(&lf, &lm->program->instances[instance_idx]);
    else if (lm->program->instances_count == 1)
        init_instance(&lf, &lm->program->instances[0]);
    else
        call_instances(&lf);
    if (lf.status == 0)
        LLVMBuildRetVoid(lf.builder);
    return lower_func_end(&lf);
}
