/*
 * wasm/types.h: the types of WebAssembly 3.0 (core specification 3.0, sections 2.3 and 3.3):
 * references to types of the module, subtyping, canonical types. Value types stay 32-bit codes
 * (abi/valtype.h); this folder has more kinds of them than images have.
 */
#ifndef WASM_TYPES_H
#define WASM_TYPES_H

#include "module.h"

enum wasm_heap {
#define HEAPTYPE(name, kind, byte, top, parent, text, ref_text) WASM_HEAP_##name = (kind),
#include "heaptype.def"
#undef HEAPTYPE
    WASM_HEAP_BOTTOM = 28, /* validator only: below every heap type, in unreachable code */
    WASM_HEAP_INDEX = 29   /* a type of the module; bits 12-31 have its index */
};
_Static_assert((int)WASM_HEAP_FUNC == (int)VALTYPE_FUNCREF, "same kind as in abi/valtype.def");
_Static_assert((int)WASM_HEAP_EXTERN == (int)VALTYPE_EXTERNREF, "same kind as in abi/valtype.def");
_Static_assert((int)WASM_HEAP_EXN == (int)VALTYPE_EXNREF, "same kind as in abi/valtype.def");

/* Storage types of fields (never on the stack), and the mark of a mutable field. */
#define WASM_PACKED_I8 0x06u
#define WASM_PACKED_I16 0x07u
#define WASM_FIELD_MUTABLE 0x200u

/* An index that no module has: limits.h allows fewer types. Larger indices become this one. */
#define WASM_TYPE_IDX_MAX 0xfffffu

static inline enum wasm_heap wasm_heap(valtype_t type) {
    return (enum wasm_heap)(type & 0xffu);
}

static inline bool wasm_has_index(valtype_t type) {
    return wasm_heap(type) == WASM_HEAP_INDEX;
}

static inline uint32_t wasm_type_idx(valtype_t type) {
    return type >> VALTYPE_IDX_SHIFT;
}

/* (ref heap), or (ref null heap) if is_nullable */
static inline valtype_t wasm_ref(enum wasm_heap heap, bool is_nullable) {
    return VALTYPE_CODE(heap, is_nullable);
}

static inline valtype_t wasm_ref_idx(uint32_t type_idx, bool is_nullable) {
    return VALTYPE_CODE(WASM_HEAP_INDEX, is_nullable) | type_idx << VALTYPE_IDX_SHIFT;
}

static inline bool wasm_is_nullable(valtype_t type) {
    return (type & VALTYPE_NULLABLE) != 0;
}

static inline valtype_t wasm_non_null(valtype_t type) {
    return type & ~VALTYPE_NULLABLE;
}

/* Numbers, vectors and nullable references have a default value; so have packed fields. */
static inline bool wasm_is_defaultable(valtype_t type) {
    return !valtype_is_ref(type) || wasm_is_nullable(type);
}

static inline bool wasm_is_packed(valtype_t storage) {
    return (storage & 0xffu) == WASM_PACKED_I8 || (storage & 0xffu) == WASM_PACKED_I16;
}

/* The type on the stack of a field of this storage type. */
static inline valtype_t wasm_unpacked(valtype_t storage) {
    return wasm_is_packed(storage) ? (valtype_t)WASM_I32 : storage & ~WASM_FIELD_MUTABLE;
}

/* The type that images and the public API have for a value: funcref for functions, exnref for
 * exceptions, externref for all other references. NULL for the module: all of its types are
 * functions. */
valtype_t wasm_abi_type(const struct wasm_module *module, valtype_t type);

/* The heap type with this byte in the binary format; 0 if none has it. */
uint32_t wasm_heap_from_byte(uint8_t byte);
/* The largest type of the same hierarchy. `heap` is abstract. */
enum wasm_heap wasm_heap_top(enum wasm_heap heap);

/* A value type as in the text format: "i32", "(ref null 3)", … Returns `text`. */
#define WASM_TYPE_TEXT_BYTES 24
const char *wasm_type_text(valtype_t type, char text[WASM_TYPE_TEXT_BYTES]);
/* The heap type of a reference: "func", "3", … */
const char *wasm_heap_text(valtype_t type, char text[WASM_TYPE_TEXT_BYTES]);
/* The text lives until the block ends. */
#define TYPE_TEXT(type) wasm_type_text(type, (char[WASM_TYPE_TEXT_BYTES]){0})

/* Is every value of type `sub` also one of `super`? For value types and storage types without
 * marks, whose indices exist. Takes constant time. */
bool wasm_is_subtype(const struct wasm_module *module, valtype_t sub, valtype_t super);
/* The same for two lists of one length. */
bool wasm_are_subtypes(const struct wasm_module *module, const valtype_t *subs,
                       const valtype_t *supers, uint32_t count);

/*
 * canonical.c: gives every type of several modules an id. Types have the same id if and only if
 * they are the same (3.0, section 3.3.12: recursion groups are compared by structure). The id is
 * the flat index of the first type of its kind, where flat indices count the types of modules[0],
 * then those of modules[1], ….  ret_ids[m] has modules[m]->types_count elements. The modules need
 * not be valid. Takes n log n time for n bytes of types. HUSK_E_NOMEM.
 */
int wasm_types_canonicalise(const struct wasm_module *const *modules, uint32_t modules_count,
                            uint32_t *const *ret_ids, struct husk_error *err);

#endif
