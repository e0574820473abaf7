/*
 * compiler/lower/lower_init.c: i0.init, what instantiation has to do at run time because it depends on imports or
 * because its traps are the instance's (core spec 4.5.4): globals, values of element segments, then active
 * segments in order, then the start function. What the image writer has applied already (plan.h: is_static)
 * is left out.
 */
#include "lower.h"

/* The value of a constant expression, computed with the code of ordinary instructions. */
static LLVMValueRef const_value(struct lower_func *lf, struct wasm_bytes expr) {
    static const valtype_t one_result = WASM_I32; /* only the number of results counts: nothing branches */
    struct wasm_functype type = {.results = &one_result, .results_count = 1};
    lower_frame_push(lf, LOWER_BODY, &type);
    if (lower_expr(lf, expr) != 0)
        return NULL;
    return lower_pop(lf);
}

static void init_globals(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    for (uint32_t i = 0; i < lm->wasm->globals_count; i++) {
        if (lm->wasm->globals[i].is_import || lm->plan->global_is_static[i])
            continue;
        LLVMValueRef value = const_value(lf, lm->wasm->globals[i].init);
        if (value == NULL)
            return;
        LLVMBuildStore(lf->builder, value, lower_absolute(lm, "i0.g", i, lm->i64, lm->plan->global_gva[i]));
    }
}

static LLVMValueRef elem_value(struct lower_func *lf, const struct wasm_elem *elem, uint32_t idx) {
    if (elem->func_idxs != NULL)
        return lower_func_ref(lf, elem->func_idxs[idx]);
    return const_value(lf, elem->exprs[idx]);
}

/* The references of a segment, into its array. */
static void init_elem_values(struct lower_func *lf, uint32_t elem_idx) {
    struct lower_module *lm = lf->lm;
    const struct wasm_elem *elem = &lm->wasm->elems[elem_idx];
    LLVMValueRef base = lower_elem_base(lf, elem_idx);
    for (uint32_t i = 0; i < elem->count; i++) {
        LLVMValueRef value = elem_value(lf, elem, i);
        if (value == NULL)
            return;
        LLVMValueRef index = lower_const_i64(lm, i);
        LLVMBuildStore(lf->builder, value, LLVMBuildGEP2(lf->builder, lm->i64, base, &index, 1, ""));
    }
}

static void init_active_elem(struct lower_func *lf, uint32_t elem_idx) {
    const struct wasm_elem *elem = &lf->lm->wasm->elems[elem_idx];
    LLVMValueRef offset = const_value(lf, elem->offset);
    if (offset == NULL)
        return;
    struct lower_span dest = {.idx = elem->table_idx};
    dest.start = lower_zext64(lf, offset);
    dest.count = lower_const_i64(lf->lm, elem->count);
    lower_table_init_range(lf, elem_idx, &dest, lower_const_i64(lf->lm, 0));
    lower_elem_drop(lf, elem_idx);
}

static void init_elems(struct lower_func *lf) {
    const struct wasm_module *wasm = lf->lm->wasm;
    for (uint32_t i = 0; i < wasm->elems_count && lf->status == 0; i++) {
        if (!lf->lm->plan->elems[i].is_static && wasm->elems[i].mode != WASM_SEGMENT_DECLARATIVE)
            init_elem_values(lf, i);
    }
    for (uint32_t i = 0; i < wasm->elems_count && lf->status == 0; i++) {
        if (!lf->lm->plan->elems[i].is_static && wasm->elems[i].mode == WASM_SEGMENT_ACTIVE)
            init_active_elem(lf, i);
    }
}

static void init_datas(struct lower_func *lf) {
    const struct wasm_module *wasm = lf->lm->wasm;
    for (uint32_t i = 0; i < wasm->datas_count && lf->status == 0; i++) {
        const struct wasm_data *data = &wasm->datas[i];
        if (lf->lm->plan->datas[i].is_static || data->mode != WASM_SEGMENT_ACTIVE)
            continue;
        LLVMValueRef offset = const_value(lf, data->offset);
        if (offset == NULL)
            return;
        struct lower_span dest = {.idx = data->memory_idx};
        dest.start = lower_zext64(lf, offset);
        dest.count = lower_const_i64(lf->lm, data->bytes.count);
        lower_memory_init_range(lf, i, &dest, lower_const_i64(lf->lm, 0));
        lower_data_drop(lf, i);
    }
}

int lower_init(struct lower_module *lm) {
    struct lower_func lf;
    static const struct wasm_functype nothing = {0};
    LLVMValueRef fn = LLVMAddFunction(lm->mod, "i0.init", LLVMFunctionType(lm->void_type, NULL, 0, false));
    LLVMSetVisibility(fn, LLVMHiddenVisibility);
    LLVMSetFunctionCallConv(fn, LOWER_CALL_CONV);
    lower_func_begin(&lf, lm, fn, 0);
    init_globals(&lf);
    init_elems(&lf);
    init_datas(&lf);
    if (lm->wasm->has_start && lf.status == 0) {
        lf.instr.offset = 0;
        lower_call_value(&lf, &nothing, lower_func_symbol(lm, lm->wasm->start_func_idx), NULL);
    }
    if (lf.status == 0)
        LLVMBuildRetVoid(lf.builder);
    return lower_func_end(&lf);
}
