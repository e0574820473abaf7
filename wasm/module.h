/*
 * wasm/module.h: a decoded WebAssembly module. decode.c makes it; the validator and the compiler
 * read it. This folder uses no LLVM, no KVM and no globals. Its input is hostile. It follows the
 * core specification 3.0, section 5.5 (binary format, modules).
 *
 * The module's arena owns all decoded arrays (types, indices, …). Ranges of bytes (bodies, constant
 * expressions, names, segment data) point into the caller's wasm bytes, which must outlive the
 * module. Each index space has its imports first. All offsets count from the start of the module.
 */
#ifndef WASM_MODULE_H
#define WASM_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feature.h"
#include "husk.h"
#include "valtype.h"

/* The codes of abi/valtype.h. */
enum wasm_type {
    WASM_BOTTOM = 0, /* validator only: unknown type in unreachable code */
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes)                              \
    WASM_##name = VALTYPE_CODE(kind, nullable),
#include "valtype.def"
#undef HUSK_VALTYPE
};

struct wasm_bytes {
    const uint8_t *data;
    uint32_t count;
    uint64_t offset; /* of data in the module */
};

enum wasm_form { WASM_FORM_FUNC, WASM_FORM_STRUCT, WASM_FORM_ARRAY };

/* A type of the module, most often of a function. Structs and arrays have storage types
 * (wasm/types.h) in `params`, and no results; an array has one. */
struct wasm_functype {
    const valtype_t *params;
    const valtype_t *results;
    uint32_t params_count;
    uint32_t results_count;
    uint32_t canonical_idx; /* lowest type index with the same structure */
    uint8_t form;           /* enum wasm_form */
    bool is_open;           /* not final: other types may be its subtypes */
};

/* What only the decoder and the validator need to know of a type. */
struct wasm_subtype {
    uint32_t super_idx;
    bool has_super;
    uint8_t depth;                     /* number of supertypes above it */
    uint32_t group_first, group_count; /* of its recursion group */
    uint64_t offset;
    /* of canonical types: its number in the forest of supertypes, and the first number after those
     * of its subtypes; set by the validator */
    uint32_t tree_first, tree_end;
};

struct wasm_limits {
    uint64_t min, max; /* without has_max, max is the most that the address type allows */
    bool has_max;
    bool is_64;     /* addresses are i64 (memory64) */
    bool is_shared; /* memories only (threads) */
};

/* The type of addresses in a memory, and of indices in a table. */
static inline valtype_t wasm_address_type(const struct wasm_limits *limits) {
    return limits->is_64 ? WASM_I64 : WASM_I32;
}

enum wasm_kind {
    WASM_KIND_FUNC,
    WASM_KIND_TABLE,
    WASM_KIND_MEMORY,
    WASM_KIND_GLOBAL,
    WASM_KIND_TAG
};

struct wasm_import {
    struct wasm_bytes module, name;
    enum wasm_kind kind;
    uint32_t idx; /* in the index space of its kind */
};

struct wasm_export {
    struct wasm_bytes name;
    enum wasm_kind kind;
    uint32_t idx;
};

struct wasm_local_run { /* `count` locals of one type, in the body's order */
    uint32_t count;
    valtype_t type;
};

struct wasm_func {
    uint32_t type_idx;
    bool is_import;
    /* ref.func may name it: it occurs in an element segment, export, or global initialiser */
    bool is_declared;
    struct wasm_bytes code; /* the expression after the locals, including the final `end` */
    uint64_t body_offset;   /* of the body, after its size field */
    const struct wasm_local_run *local_runs; /* not including parameters */
    uint32_t local_runs_count;
    uint32_t locals_count;  /* parameters included */
    struct wasm_bytes name; /* name section; count 0 if none */
};

struct wasm_table {
    struct wasm_limits limits;
    valtype_t elem_type;
    bool is_import;
    struct wasm_bytes init; /* constant expression for all entries; empty: null */
    uint64_t offset;        /* of its type, here and in the next structs; for messages */
};

struct wasm_memory {
    struct wasm_limits limits; /* pages */
    bool has_byte_pages;       /* pages of one byte (custom page sizes), else of 65536 */
    uint32_t page_log2;        /* of a page's bytes, for the validator: 16, or as declared */
    bool is_import;
    uint64_t offset;
};

/* The most pages that the addresses reach: the whole address space; of one-byte pages, one less,
 * because memory.size could not tell the number. */
static inline uint64_t wasm_memory_pages_max(const struct wasm_memory *memory) {
    const uint64_t most = memory->limits.is_64 ? UINT64_MAX : UINT32_MAX;
    return memory->has_byte_pages ? most : (most >> 16) + 1;
}

/* The bytes of a number of pages, of which there are fewer than 2^48. */
static inline uint64_t wasm_memory_bytes(const struct wasm_memory *memory, uint64_t pages) {
    return memory->has_byte_pages ? pages : pages << 16;
}

/* How many times 64 KiB that is, rounded up: the unit of the host. */
static inline uint64_t wasm_memory_chunks(const struct wasm_memory *memory, uint64_t pages) {
    return memory->has_byte_pages ? (pages >> 16) + ((pages & 0xffff) != 0 ? 1 : 0) : pages;
}

struct wasm_global {
    valtype_t type;
    bool is_mutable;
    bool is_import;
    uint64_t offset;
    struct wasm_bytes init; /* constant expression including `end`; empty for imports */
};

struct wasm_tag {
    uint32_t type_idx; /* a function type: its parameters are what an exception carries */
    bool is_import;
    uint64_t offset;
};

enum wasm_segment_mode { WASM_SEGMENT_ACTIVE, WASM_SEGMENT_PASSIVE, WASM_SEGMENT_DECLARATIVE };

struct wasm_elem {
    enum wasm_segment_mode mode;
    valtype_t elem_type;
    uint32_t table_idx;
    uint64_t segment_offset;        /* of the segment in the module */
    struct wasm_bytes offset;       /* constant expression (active) */
    uint32_t count;                 /* elements */
    const uint32_t *func_idxs;      /* elements given as function indices, or NULL */
    const struct wasm_bytes *exprs; /* elements given as constant expressions, or NULL */
};

struct wasm_data {
    enum wasm_segment_mode mode;
    uint32_t memory_idx;
    struct wasm_bytes offset; /* constant expression (active) */
    struct wasm_bytes bytes;
};

struct wasm_custom {
    struct wasm_bytes name, bytes;
};

struct wasm_module {
    struct wasm_bytes wasm; /* the whole */
    struct wasm_functype *types;
    struct wasm_subtype *subtypes; /* one for each type */
    struct wasm_func *funcs;
    struct wasm_table *tables;
    struct wasm_memory *memories;
    struct wasm_global *globals;
    struct wasm_tag *tags;
    struct wasm_import *imports;
    struct wasm_export *exports;
    struct wasm_elem *elems;
    struct wasm_data *datas;
    struct wasm_custom *customs; /* all custom sections, in order ("name", ".debug_line", …) */
    uint32_t types_count, funcs_count, tables_count, memories_count, globals_count, imports_count,
        exports_count, elems_count, datas_count, customs_count;
    uint32_t imported_funcs_count, imported_tables_count, imported_memories_count,
        imported_globals_count, tags_count, imported_tags_count;
    bool has_start;
    uint32_t start_func_idx;
    uint64_t start_offset;
    bool has_data_count;
    /* limits that WebAssembly 2.0 cannot encode: more than 32 bits; 0: none */
    uint64_t wide_limits_offset;
    /* of the code section's contents; addresses in wasm DWARF count from here */
    uint64_t code_section_offset;
    struct wasm_bytes name; /* module name, from the name section */
    /* the decoder and the validator fill it; complete after wasm_validate() */
    struct wasm_features_used used;
    struct wasm_arena *arena;
};

/* Decode a module. Checks structure, counts, LEBs, UTF-8 and the limits of wasm/limits.h. Does not
 * read function bodies. HUSK_E_BAD_WASM, HUSK_E_UNSUPPORTED, HUSK_E_LIMIT (all with the byte
 * offset), HUSK_E_NOMEM. */
int wasm_decode(const void *wasm, size_t count, struct wasm_module **ret_module,
                struct husk_error *err);
void wasm_module_free(struct wasm_module *module);

/* Validate the module and every body (section 3). Errors as above and HUSK_E_INVALID_WASM.
 * Malformed instructions in bodies are found here, too: HUSK_E_BAD_WASM. Completes module->used and
 * sets funcs[].is_declared. */
int wasm_validate(struct wasm_module *module, struct husk_error *err);

/* As wasm_validate(), with `enabled` features only: wasm_features_of_2_0() accepts exactly
 * WebAssembly 2.0, for the standard's test suite. A feature that is not enabled is refused as
 * malformed or invalid where 2.0 says so, else as HUSK_E_UNSUPPORTED. */
int wasm_validate_features(struct wasm_module *module, wasm_features_t enabled,
                           struct husk_error *err);

/* HUSK_E_INVALID_WASM, HUSK_E_BAD_WASM: the custom section with branch hints of a validated module
 * is wrong. The module is valid all the same. */
int wasm_check_branch_hints(const struct wasm_module *module, struct husk_error *err);

/* The type at a local index, for validated functions. It walks the runs. (The lowering keeps an
 * array instead.) */
valtype_t wasm_local_type(const struct wasm_module *module, const struct wasm_func *func,
                          uint32_t local_idx);

/* ---- instructions: wasm/opcode.def, one row each ---- */

/*
 * OP(NAME, prefix, code, "text", IMM, "signature", FEATURE)
 *   prefix 0, or 0xfb to 0xfe; IMM one of the kinds below. The signature has the letters of
 *   abi/valtype.def ("ii>i"), or is "*" if the validator has a special rule for the instruction.
 *   After it: "@n": the instruction accesses 1 << n bytes of memory (the natural alignment); "#n":
 *   n lanes.
 *   FEATURE: a row of wasm/feature.def, or MVP.
 */
enum wasm_imm {
    WASM_IMM_NONE,
    WASM_IMM_BLOCKTYPE,     /* .block */
    WASM_IMM_LABEL,         /* .idx: relative depth */
    WASM_IMM_BR_TABLE,      /* .br_table */
    WASM_IMM_FUNC,          /* .idx */
    WASM_IMM_CALL_INDIRECT, /* .idx type, .idx2 table */
    WASM_IMM_SELECT_T,      /* .type */
    WASM_IMM_LOCAL,         /* .idx */
    WASM_IMM_GLOBAL,        /* .idx */
    WASM_IMM_TABLE,         /* .idx */
    WASM_IMM_MEMARG,        /* .mem */
    WASM_IMM_MEMARG_LANE,   /* .mem, .lane */
    WASM_IMM_MEMORY,        /* .idx */
    WASM_IMM_MEMORY2,       /* .idx destination, .idx2 source (memory.copy) */
    WASM_IMM_DATA,          /* .idx segment (data.drop) */
    WASM_IMM_MEMORY_INIT,   /* .idx segment, .idx2 memory */
    WASM_IMM_ELEM,          /* .idx segment (elem.drop) */
    WASM_IMM_TABLE_INIT,    /* .idx segment, .idx2 table */
    WASM_IMM_TABLE2,        /* .idx destination, .idx2 source (table.copy) */
    WASM_IMM_REFTYPE,       /* .type: (ref null heap type) (ref.null, …) */
    WASM_IMM_HEAPTYPE,      /* .type: (ref heap type) (ref.test, ref.cast) */
    WASM_IMM_CAST,          /* .idx label, .type source, .cast_type target (br_on_cast) */
    WASM_IMM_TYPE,          /* .idx */
    WASM_IMM_TYPE2,         /* .idx destination, .idx2 source (array.copy) */
    WASM_IMM_TYPE_FIELD,    /* .idx type, .idx2 field */
    WASM_IMM_TYPE_COUNT,    /* .idx type, .idx2 number of elements (array.new_fixed) */
    WASM_IMM_TYPE_DATA,     /* .idx type, .idx2 segment */
    WASM_IMM_TYPE_ELEM,     /* .idx type, .idx2 segment */
    WASM_IMM_I32,           /* .i32 */
    WASM_IMM_I64,           /* .i64 */
    WASM_IMM_F32,           /* .u32: bits */
    WASM_IMM_F64,           /* .u64: bits */
    WASM_IMM_V128,          /* .v128 */
    WASM_IMM_LANE,          /* .lane */
    WASM_IMM_SHUFFLE,       /* .v128: 16 lane indices */
    WASM_IMM_FENCE,         /* a byte 0 */
    WASM_IMM_TAG,           /* .idx */
    WASM_IMM_TRY_TABLE,     /* .block, .try_table */
    WASM_IMM_LAST = WASM_IMM_TRY_TABLE
};

enum wasm_op {
#define OP(name, prefix, code, text, imm, sig, feature) WASM_OP_##name,
#include "opcode.def"
#undef OP
    WASM_OP_COUNT
};

struct wasm_opinfo {
    const char *text;
    const char *sig;
    uint8_t prefix;
    uint16_t code;
    uint8_t imm;     /* enum wasm_imm */
    uint8_t feature; /* enum wasm_feature */
};
extern const struct wasm_opinfo wasm_opinfos[WASM_OP_COUNT];
static inline const struct wasm_opinfo *wasm_opinfo(enum wasm_op op) {
    return &wasm_opinfos[op];
}
/* log2 of the natural alignment of a memory access ("@n"), and the number of lanes ("#n"); 0 if the
 * row has none. */
uint32_t wasm_op_access_log2(enum wasm_op op);
uint32_t wasm_op_lanes(enum wasm_op op);

struct wasm_blocktype {
    bool is_index;    /* the type is type_idx; else there are no parameters and 0 or 1 result */
    valtype_t result; /* 0: none */
    uint32_t type_idx;
};

/* A clause of try_table. The numbers are those of the binary format. */
enum wasm_catch_kind { WASM_CATCH, WASM_CATCH_REF, WASM_CATCH_ALL, WASM_CATCH_ALL_REF };

struct wasm_catch {
    enum wasm_catch_kind kind;
    uint32_t tag_idx; /* without _ALL */
    uint32_t depth;   /* of the label, as seen outside the block */
};

static inline bool wasm_catch_has_tag(const struct wasm_catch *clause) {
    return clause->kind == WASM_CATCH || clause->kind == WASM_CATCH_REF;
}

static inline bool wasm_catch_has_ref(const struct wasm_catch *clause) {
    return clause->kind == WASM_CATCH_REF || clause->kind == WASM_CATCH_ALL_REF;
}

struct wasm_memarg {
    uint32_t memory_idx;
    uint32_t align_log2;
    uint64_t offset;
};

struct wasm_instr {
    enum wasm_op op;
    uint64_t offset; /* of the opcode in the module */
    valtype_t type;
    uint8_t lane;
    uint32_t idx, idx2;
    union {
        struct wasm_blocktype block;
        struct {
            struct wasm_blocktype block;
            uint32_t count;
            struct wasm_bytes catches; /* count clauses; read with wasm_read_catch() */
        } try_table;
        struct wasm_memarg mem;
        struct {
            uint32_t count;           /* targets, not counting the default, which follows them */
            struct wasm_bytes labels; /* count + 1 LEBs; read with wasm_read_label() */
        } br_table;
        int32_t i32;
        int64_t i64;
        uint32_t u32;
        uint64_t u64;
        uint8_t v128[16];
        valtype_t cast_type;
    };
};

/* Reads one expression. On validated bodies, where the lowering uses it, it cannot fail. */
struct wasm_reader {
    const uint8_t *start, *pos, *end;
    uint64_t offset;                 /* of start in the module */
    struct husk_error *err;          /* may be NULL */
    wasm_features_t enabled;         /* all, except for strict WebAssembly 2.0 */
    struct wasm_features_used *used; /* where types of later proposals are recorded; may be NULL */
};

void wasm_reader_init(struct wasm_reader *reader, struct wasm_bytes bytes, struct husk_error *err);
/* Read the next instruction. On failure, ret_instr is untouched. HUSK_E_BAD_WASM at the end of the
 * bytes. */
int wasm_read_instr(struct wasm_reader *reader, struct wasm_instr *ret_instr);
/* Read the next label of a br_table and advance `labels`. */
int wasm_read_label(struct wasm_bytes *labels, uint32_t *ret_depth);

/* Read the next clause of a try_table and advance `catches`. */
int wasm_read_catch(struct wasm_bytes *catches, struct wasm_catch *ret_catch);

/* Does the instruction begin a block? Does it end one, or a part of one, as else does? */
bool wasm_op_opens(enum wasm_op op);
bool wasm_op_closes(enum wasm_op op);

/* The type of a block as a function type: one of `types`, or for the short form a type that points
 * to block->result. */
struct wasm_functype wasm_block_functype(const struct wasm_functype *types,
                                         const struct wasm_blocktype *block);
/* Is `type` among the parameters or results? */
bool wasm_functype_has(const struct wasm_functype *functype, valtype_t type);

#endif
