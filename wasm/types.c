/*
 * wasm/types.c: names of value types, and subtyping (core specification 3.0, sections 3.3.6 to
 * 3.3.9). Used by the validator and the printer.
 */
#include "types.h"

#include <stdio.h>

static const struct heap_row {
    uint8_t byte, top, parent;
    const char *text, *ref_text;
} heap_rows[] = {
#define HEAPTYPE(name, kind, byte, top, parent, text, ref_text)                                    \
    [(kind)] = {byte, WASM_HEAP_##top, WASM_HEAP_##parent, text, ref_text},
#include "heaptype.def"
#undef HEAPTYPE
};
#define HEAP_ROWS_COUNT (sizeof heap_rows / sizeof heap_rows[0])

static const struct heap_row *heap_row(enum wasm_heap heap) {
    static const struct heap_row none = {.text = "bottom", .ref_text = "(ref null bottom)"};
    return heap < HEAP_ROWS_COUNT && heap_rows[heap].text != NULL ? &heap_rows[heap] : &none;
}

uint32_t wasm_heap_from_byte(uint8_t byte) {
    for (uint32_t kind = VALTYPE_KIND_REFS; kind < HEAP_ROWS_COUNT; kind++)
        if (heap_rows[kind].byte == byte)
            return kind;
    return 0;
}

enum wasm_heap wasm_heap_top(enum wasm_heap heap) {
    return (enum wasm_heap)heap_row(heap)->top;
}

/* ---- names ---- */

const char *wasm_heap_text(valtype_t type, char text[WASM_TYPE_TEXT_BYTES]) {
    if (wasm_has_index(type))
        (void)snprintf(text, WASM_TYPE_TEXT_BYTES, "%u", wasm_type_idx(type));
    else
        (void)snprintf(text, WASM_TYPE_TEXT_BYTES, "%s", heap_row(wasm_heap(type))->text);
    return text;
}

const char *wasm_type_text(valtype_t type, char text[WASM_TYPE_TEXT_BYTES]) {
    char heap[WASM_TYPE_TEXT_BYTES];
    if (wasm_is_packed(type))
        (void)snprintf(text, WASM_TYPE_TEXT_BYTES, "%s",
                       (type & 0xffu) == WASM_PACKED_I8 ? "i8" : "i16");
    else if (!valtype_is_ref(type))
        (void)snprintf(text, WASM_TYPE_TEXT_BYTES, "%s", valtype_name(type));
    else if (wasm_is_nullable(type) && !wasm_has_index(type))
        (void)snprintf(text, WASM_TYPE_TEXT_BYTES, "%s", heap_row(wasm_heap(type))->ref_text);
    else
        (void)snprintf(text, WASM_TYPE_TEXT_BYTES, "(ref %s%.10s)",
                       wasm_is_nullable(type) ? "null " : "", wasm_heap_text(type, heap));
    return text;
}

/* ---- subtyping ---- */

static enum wasm_heap form_heap(const struct wasm_module *module, uint32_t type_idx) {
    switch ((enum wasm_form)module->types[type_idx].form) {
    case WASM_FORM_FUNC: break;
    case WASM_FORM_STRUCT: return WASM_HEAP_STRUCT;
    case WASM_FORM_ARRAY: return WASM_HEAP_ARRAY;
    }
    return WASM_HEAP_FUNC;
}

valtype_t wasm_abi_type(const struct wasm_module *module, valtype_t type) {
    if (!valtype_is_ref(type))
        return type;
    if (wasm_has_index(type)) {
        bool is_func = module == NULL || form_heap(module, wasm_type_idx(type)) == WASM_HEAP_FUNC;
        return is_func ? WASM_FUNCREF : WASM_EXTERNREF;
    }
    enum wasm_heap top = wasm_heap_top(wasm_heap(type));
    return top == WASM_HEAP_FUNC  ? WASM_FUNCREF
           : top == WASM_HEAP_EXN ? WASM_EXNREF
                                  : WASM_EXTERNREF;
}

static bool is_heap_subtype(enum wasm_heap sub, enum wasm_heap super) {
    if (heap_row(sub)->parent == WASM_HEAP_BOTTOM && sub != super)
        return heap_row(sub)->top == heap_row(super)->top &&
               heap_row(super)->parent != WASM_HEAP_BOTTOM;
    while (sub != super && heap_row(sub)->parent != sub)
        sub = (enum wasm_heap)heap_row(sub)->parent;
    return sub == super;
}

/* The canonical types form a forest. validate_types.c numbers it so that the subtypes of a type
 * have the numbers from tree_first to tree_end. */
static bool is_idx_subtype(const struct wasm_module *module, uint32_t sub_idx, uint32_t super_idx) {
    const struct wasm_subtype *sub = &module->subtypes[module->types[sub_idx].canonical_idx];
    const struct wasm_subtype *super = &module->subtypes[module->types[super_idx].canonical_idx];
    return sub->tree_first >= super->tree_first && sub->tree_first < super->tree_end;
}

bool wasm_is_subtype(const struct wasm_module *module, valtype_t sub, valtype_t super) {
    if (sub == super || sub == WASM_BOTTOM)
        return true;
    if (!valtype_is_ref(sub) || !valtype_is_ref(super) ||
        (wasm_is_nullable(sub) && !wasm_is_nullable(super)))
        return false;
    if (wasm_heap(sub) == WASM_HEAP_BOTTOM)
        return true;
    if (wasm_has_index(sub) && wasm_has_index(super))
        return is_idx_subtype(module, wasm_type_idx(sub), wasm_type_idx(super));
    if (wasm_has_index(sub))
        return is_heap_subtype(form_heap(module, wasm_type_idx(sub)), wasm_heap(super));
    if (wasm_has_index(super)) /* only the bottom of the hierarchy is below a type of the module */
        return heap_row(wasm_heap(sub))->parent == WASM_HEAP_BOTTOM &&
               is_heap_subtype(wasm_heap(sub), form_heap(module, wasm_type_idx(super)));
    return is_heap_subtype(wasm_heap(sub), wasm_heap(super));
}

bool wasm_are_subtypes(const struct wasm_module *module, const valtype_t *subs,
                       const valtype_t *supers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!wasm_is_subtype(module, subs[i], supers[i]))
            return false;
    return true;
}
