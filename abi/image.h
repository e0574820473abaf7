/*
 * abi/image.h: the image file. An ELF64 x86-64 ET_EXEC file (System V gABI ch. 4-5) that is the complete address space
 * of a fresh instance. The compiler writes it, libhusk reads it, and the reader trusts no byte of it.
 *
 * Program headers: PT_LOAD for text (R X), rodata (R), data (R W; the fixed part first, then one per growable table whose
 * initial size is not 0), linear memories (R W; p_filesz = initialised bytes, p_memsz = initial size); offsets and
 * addresses are multiples of HUSK_PAGE_SIZE, p_filesz and p_memsz of a data or memory segment too. p_filesz may be 0. Mailbox and stack are not in a
 * compiled image (all zero). e_entry is the dispatcher (guest/entry.S). One PT_NOTE, name "husk", type HUSK_NOTE_TYPE,
 * whose descriptor starts with struct husk_image_note; all offsets in the note count from the descriptor's start.
 * Section headers and .symtab exist for people's tools only; the reader does not look at them.
 *
 * An image can hold several linked instances: entities carry an instance index (0 for now).
 */
#ifndef HUSK_ABI_IMAGE_H
#define HUSK_ABI_IMAGE_H

#include <stdint.h>

#include "valtype.h"

#define HUSK_NOTE_NAME "husk"
#define HUSK_NOTE_TYPE 0x4b535548              /* "HUSK" */
#define HUSK_IMAGE_MAGIC 0x31474d494b535548ull /* "HUSKIMG1" */
#define HUSK_IMAGE_FORMAT 1

/* Value types, encoded as in the wasm binary format (core spec 2.0, section 5.3). */
enum husk_abi_type {
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes) HUSK_ABI_##name = (byte),
#include "valtype.def"
#undef HUSK_VALTYPE
};

/* Kinds of imports and exports, as in the wasm binary format (section 5.5.5). */
enum husk_abi_kind { HUSK_ABI_FUNC = 0, HUSK_ABI_TABLE = 1, HUSK_ABI_MEMORY = 2, HUSK_ABI_GLOBAL = 3 };

/* One array in the note. elem_bytes lets an older reader refuse, and a newer one extend, a row. */
struct husk_image_array {
    uint32_t offset; /* from the descriptor's start, a multiple of 8 */
    uint32_t count;  /* elements */
    uint32_t elem_bytes;
    uint32_t pad;
};

enum husk_image_array_id {
    HUSK_ARR_STRINGS,      /* bytes; names refer to it by (offset, length); UTF-8, may hold NUL */
    HUSK_ARR_VALTYPES,     /* uint8_t enum husk_abi_type; types refer to ranges of it */
    HUSK_ARR_TYPES,        /* struct husk_image_type: canonical function types; type id = index + 1 */
    HUSK_ARR_FUNCS,        /* struct husk_image_func: all functions, imported ones first */
    HUSK_ARR_IMPORTS,      /* struct husk_image_import */
    HUSK_ARR_EXPORTS,      /* struct husk_image_export */
    HUSK_ARR_MEMORIES,     /* struct husk_image_memory, imported ones first */
    HUSK_ARR_TABLES,       /* struct husk_image_table, imported ones first */
    HUSK_ARR_GLOBALS,      /* struct husk_image_global, imported ones first */
    HUSK_ARR_CODE_MAP,     /* struct husk_image_code_row, ascending by code_gva: where traps may happen */
    HUSK_ARR_UNWIND,       /* struct husk_image_unwind_row, ascending by code_gva */
    HUSK_ARR_FILES,        /* struct husk_image_str: source file names, from the module's DWARF */
    HUSK_ARR_LINES,        /* struct husk_image_line_row, ascending by wasm_offset */
    HUSK_ARR_MEMORY_SIZES, /* snapshots: uint64_t, current size of every memory in wasm pages */
    HUSK_ARR_TABLE_SIZES,  /* snapshots: uint64_t, current size of every table in entries */
    HUSK_ARR_HOST_STATE,   /* snapshots: bytes; records of struct husk_image_host_state */
    HUSK_ARR_HOT_PAGES, /* snapshots: uint64_t, ascending: pages that its sandboxes are known to write (may be empty) */
    HUSK_ARR_COUNT
};

/* What a family of host functions (WASI) keeps for the instance. The name, then the state's bytes follow, each padded with zeros to
 * a multiple of 8; then the next record. */
struct husk_image_host_state {
    uint32_t name_bytes;
    uint32_t state_bytes;
};

struct husk_image_str {
    uint32_t offset; /* in HUSK_ARR_STRINGS */
    uint32_t bytes;
};

#define HUSK_IMAGE_NEEDS_INIT                                                                                \
    1u /* init_gva must run before the first call (start function, segments that
                                    depend on imports, …); it takes and returns nothing and may trap */

/* An instance as it was between two calls: initialisation is done, sizes are those of HUSK_ARR_…_SIZES, and the segments hold its
 * memory. Mailbox and stack are zero. */
#define HUSK_IMAGE_SNAPSHOT 2u

/* Every access is made, in order: a trap leaves the state as the standard has it
 * (husk_compile_options.strict, or level 0). Libhusk only passes it on, in outcomes: an image
 * that lies here misleads nobody but its own users. */
#define HUSK_IMAGE_STRICT 4u

struct husk_image_note {
    uint64_t magic;
    uint32_t note_bytes; /* sizeof(struct husk_image_note) */
    uint16_t format;     /* HUSK_IMAGE_FORMAT */
    uint16_t abi;        /* HUSK_ABI_VERSION */
    uint8_t wasm_sha256[32];
    uint8_t content_sha256[32]; /* SHA-256 of the whole file with this field zero */
    uint64_t cpu_features;      /* bits of abi/cpu_features.def */
    uint32_t flags;             /* HUSK_IMAGE_… */
    uint32_t entry_gva;         /* = e_entry: the dispatcher */
    uint32_t resume_gva;        /* where a host call resumes after a nested call */
    uint32_t init_gva;          /* 0, or the init function (called like a function of type () -> ()) */
    uint32_t init_thunk_gva;    /* call thunk of type () -> () for it */
    uint32_t opt_level;
    struct husk_image_str compiler;    /* e.g. "husk 0.1.0 LLVM 22.1.8" */
    struct husk_image_str target_cpu;  /* e.g. "znver3", "x86-64-v2" */
    struct husk_image_str module_name; /* from the name section, or empty */
    struct husk_image_array arrays[HUSK_ARR_COUNT];
};

struct husk_image_type {
    uint32_t valtypes_idx; /* params, then results, in HUSK_ARR_VALTYPES */
    uint32_t params_count;
    uint32_t results_count;
    uint32_t
        thunk_gva; /* call thunk: reads call_slots, calls the function, writes call_slots; 0 if none was needed */
};

struct husk_image_func {
    uint32_t type_idx; /* in HUSK_ARR_TYPES */
    uint32_t code_gva; /* for an import: its stub. 0 if the function was never needed as a value or callee */
    uint32_t code_bytes;
    uint32_t wasm_offset;       /* of the body in the module; 0 for an import */
    struct husk_image_str name; /* name section, else export name, else empty */
    uint32_t instance;
    uint32_t pad;
};

struct husk_image_import {
    struct husk_image_str module;
    struct husk_image_str name;
    uint32_t kind; /* enum husk_abi_kind */
    uint32_t idx;  /* index into FUNCS, TABLES, MEMORIES or GLOBALS */
    uint32_t instance;
    uint32_t pad;
};

struct husk_image_export {
    struct husk_image_str name;
    uint32_t kind;
    uint32_t idx;
    uint32_t instance;
    uint32_t pad;
};

#define HUSK_LIMIT_HAS_MAX 1u

struct husk_image_memory {
    uint64_t min_pages; /* wasm pages, as declared */
    uint64_t max_pages; /* as declared; HUSK_MAX_MEM_PAGES if none */
    uint32_t flags;     /* HUSK_LIMIT_… */
    uint32_t size_gva;  /* uint64_t in data: the current size in wasm pages; the host writes it on growth */
    uint32_t instance;
    uint32_t pad;
};

struct husk_image_table {
    uint64_t min_entries;
    uint64_t max_entries; /* as declared; UINT32_MAX if none */
    uint32_t flags;
    uint32_t elem_type; /* enum husk_abi_type */
    uint32_t
        base_gva; /* uint64_t[reserve_entries] in data (mapped up to the initial size; grown by the host) */
    uint32_t reserve_entries;
    uint32_t size_gva; /* uint64_t in data: the current size in entries */
    uint32_t instance;
};

#define HUSK_GLOBAL_MUTABLE 1u

struct husk_image_global {
    uint32_t gva; /* value in data, 16-byte slot. An imported global: the host writes it before init */
    uint32_t type;
    uint32_t flags;
    uint32_t instance;
};

/* A table that can grow (reserve_entries > min_entries, or imported) has pages of its own: base_gva is a page's start, and
 * [base, base + 8 * min_entries) rounded up to pages is mapped at first; the other pages of the reserve are the host's to
 * map. Other tables lie in the fixed part. */

#define HUSK_FUNC_NONE 0xffffffffu /* code row: no trap may come from here (runtime, padding, thunks) */
#define HUSK_FUNC_INIT                                                                                       \
    0xfffffffeu /* code row: the init function, which is not one of the module's functions */

/* Code row: memcpy, memset and so on, into which the compiler turns loops over linear memory, too: a #PF on linear memory is an
 * out-of-bounds trap of the calling frame. */
#define HUSK_FUNC_RUNTIME 0xfffffffdu

/* Code from code_gva up to the next row's: from this wasm offset of this function. func_idx HUSK_FUNC_NONE ends a
 * range. A #PF in the stack's guard is a trap wherever the code is: the runtime and thunks push, too. */
struct husk_image_code_row {
    uint32_t code_gva;
    uint32_t func_idx;
    uint32_t wasm_offset; /* from the start of the module */
};

/* How to leave a frame: CFA = (cfa_base ? rbp : rsp) + cfa_offset; return address at CFA - 8; if rbp_offset != 0, the
 * caller's rbp is at CFA - rbp_offset. cfa_offset 0: no frame here, stop. */
struct husk_image_unwind_row {
    uint32_t code_gva;
    uint32_t cfa_base; /* 0 rsp, 1 rbp */
    uint32_t cfa_offset;
    uint32_t rbp_offset;
};

struct husk_image_line_row {
    uint32_t wasm_offset; /* from the start of the module */
    uint32_t file_idx;    /* in HUSK_ARR_FILES; UINT32_MAX ends a range */
    uint32_t line;        /* 1-based; 0 unknown */
    uint32_t column;
};

_Static_assert(sizeof(struct husk_image_array) == 16, "image format");
_Static_assert(sizeof(struct husk_image_note) == 136 + 16 * HUSK_ARR_COUNT, "image format");
_Static_assert(sizeof(struct husk_image_type) == 16, "image format");
_Static_assert(sizeof(struct husk_image_func) == 32, "image format");
_Static_assert(sizeof(struct husk_image_import) == 32, "image format");
_Static_assert(sizeof(struct husk_image_export) == 24, "image format");
_Static_assert(sizeof(struct husk_image_memory) == 32, "image format");
_Static_assert(sizeof(struct husk_image_table) == 40, "image format");
_Static_assert(sizeof(struct husk_image_global) == 16, "image format");
_Static_assert(sizeof(struct husk_image_code_row) == 12, "image format");
_Static_assert(sizeof(struct husk_image_unwind_row) == 16, "image format");
_Static_assert(sizeof(struct husk_image_line_row) == 16, "image format");
#endif
