/*
 * abi/image.h: the image file. It is an ELF64 x86-64 ET_EXEC file (System V gABI ch. 4-5) that
 * holds the complete address space of a fresh instance. The compiler writes it and libhusk reads
 * it. The reader trusts no byte of it.
 *
 * Program headers: PT_LOAD for text (R X), rodata (R), data (R W; first the fixed part, then one
 * segment per growable table whose initial size is not 0), linear memories (R W; p_filesz =
 * initialised bytes, p_memsz = initial size); in snapshots, the private layer of the files between
 * memory 0 and the others. Offsets and addresses are multiples of
 * HUSK_PAGE_SIZE. So are p_filesz and p_memsz of writable segments. p_filesz may be 0. An
 * image has no mailbox and no stack: they start as zeros. Only a snapshot with a standing call has
 * a part of the stack, before memory 0. e_entry is the dispatcher (guest/entry.S). One PT_NOTE has
 * the name "husk" and the type HUSK_NOTE_TYPE. Its descriptor
 * holds, in this order:
 *
 *   struct husk_image_header
 *   header.records_count times struct husk_image_record: the table of records
 *   the rows of each record, starting at a multiple of 8
 *
 * Section headers and .symtab exist for debuggers and other tools. The reader ignores them.
 *
 * How the format grows without breaking anything:
 *   A new record has a new name. A reader that does not know the record skips it if it is
 *   HUSK_RECORD_SKIPPABLE. Otherwise it refuses the image and names the record.
 *   A new field is appended to a row. Zero in it has the meaning that the row had without the
 *   field. A reader accepts a row that is longer than it knows if the extra bytes are zero, and
 *   refuses it otherwise. It reads a shorter row, by an older writer, as if zeros followed. A row
 *   is never shorter than in the first version of the format. The header and the table of records
 *   grow in the same way. The fields of a row are 4 or 8 bytes long, or arrays of bytes. The length
 *   of a row is a multiple of 4. Rows that are single bytes ("strings", "host_state") do not grow.
 *   Older readers refuse a new flag or a new kind. Additions to rows and new records change neither
 *   HUSK_IMAGE_FORMAT nor HUSK_ABI_VERSION, even if readers must know the record.
 * HUSK_IMAGE_FORMAT changes only if these rules do. HUSK_ABI_VERSION changes with the layout of the
 * address space, the mailbox or the ports. It does not change if pages are appended to the mailbox
 * which are used only through a record that may be skipped.
 */
#ifndef HUSK_ABI_IMAGE_H
#define HUSK_ABI_IMAGE_H

#include <stdint.h>

#include "valtype.h"

#define HUSK_NOTE_NAME "husk"
#define HUSK_NOTE_TYPE 0x4b535548              /* "HUSK" */
#define HUSK_IMAGE_MAGIC 0x31474d494b535548ull /* "HUSKIMG1" */
#define HUSK_IMAGE_FORMAT 2

/* Codes of value types, for programs that write images by hand. */
enum husk_abi_type {
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes)                              \
    HUSK_ABI_##name = VALTYPE_CODE(kind, nullable),
#include "valtype.def"
#undef HUSK_VALTYPE
};

/* Kinds of imports and exports, as in the wasm binary format (section 5.5.5). */
enum husk_abi_kind {
    HUSK_ABI_FUNC = 0,
    HUSK_ABI_TABLE = 1,
    HUSK_ABI_MEMORY = 2,
    HUSK_ABI_GLOBAL = 3,
    HUSK_ABI_TAG = 4
};

enum husk_image_record_id { /* for programs; a file identifies a record by its name */
#define HUSK_IMAGE_RECORD(id, name, row, first_bytes, flags) HUSK_REC_##id,
#include "image_records.def"
#undef HUSK_IMAGE_RECORD
                            HUSK_REC_COUNT
};

#define HUSK_RECORD_NAME_BYTES 24
#define HUSK_RECORD_SKIPPABLE 1u /* the image means the same without it */

/* One record of the note: an array of rows. */
struct husk_image_record {
    char name[HUSK_RECORD_NAME_BYTES]; /* printable ASCII, then at least one NUL */
    uint32_t flags;                    /* HUSK_RECORD_… */
    uint32_t row_bytes;
    uint64_t offset; /* of the first row, from the start of the descriptor; a multiple of 8 */
    uint64_t count;  /* rows */
};

/* Snapshots: a call that stands at a host function, which has not done anything yet. Its stack is a
 * segment: whole pages from that of stack_gva up to HUSK_STACK_TOP_GVA. It goes on at the module's
 * resume_gva with stack_gva in RSP and `kept` in RBX, RBP, R12 to R15, when the host has put the
 * results into the mailbox. The types are those of the two functions. */
struct husk_image_standing {
    uint64_t stack_gva; /* 8 less than a multiple of 16: the return address lies there */
    uint64_t kept[6];
    uint32_t func_idx;      /* the function that the embedder called */
    uint32_t host_func_idx; /* the imported function at which it stands */
};

/* A value, as in a slot of the mailbox (abi/mailbox.h). */
struct husk_image_slot {
    uint8_t bytes[16];
};

/* The state that a family of host functions (WASI) keeps for the instance. The name follows, then
 * the bytes of the state. Each is padded with zeros to a multiple of 8. The next such structure
 * comes after them. */
struct husk_image_host_state {
    uint32_t name_bytes;
    uint32_t state_bytes;
};

struct husk_image_str {
    uint32_t offset; /* in "strings" */
    uint32_t bytes;
};

/* init_gva must run before the first call (start function, segments that depend on imports, …). It
 * has no parameters and no results, and may trap. */
#define HUSK_IMAGE_NEEDS_INIT 1u

/* The image is a snapshot: an instance as it was between two calls, or while a call stood at a host
 * function (struct husk_image_standing). Initialisation is done. "memory_sizes" and "table_sizes"
 * give the sizes, and the segments hold the memory. The mailbox is zero, and so is the stack
 * without a standing call. */
#define HUSK_IMAGE_SNAPSHOT 2u

/* The code makes every memory access, in order, so a trap leaves the state that the standard
 * requires (husk_compile_options.strict, or level 0). Libhusk only reports this flag, in outcomes.
 * A false flag misleads only the users of that image. */
#define HUSK_IMAGE_STRICT 4u

/* The snapshot has a private layer (host/files/privfs.h): its segments lie in the window of
 * HUSK_FILES_GVA, R W like those of memories. */
#define HUSK_IMAGE_FILES 8u

/* The length of the header, and of a row of the table of records, in the first version of the
 * format. */
#define HUSK_IMAGE_HEADER_FIRST_BYTES 88u
#define HUSK_IMAGE_RECORD_FIRST_BYTES 48u

/* magic, format and abi have the same place in every format. */
struct husk_image_header {
    uint64_t magic;
    uint32_t header_bytes; /* of this structure; the table of records follows it */
    uint16_t format;       /* HUSK_IMAGE_FORMAT */
    uint16_t abi;          /* HUSK_ABI_VERSION */
    uint8_t wasm_sha256[32];
    uint8_t content_sha256[32]; /* SHA-256 of the whole file with this field zero. Zero: none */
    uint32_t records_count;
    uint32_t record_bytes; /* of a row of the table of records */
    /* base/content_hash.h: of the whole file with this field zero. Zero: there is content_sha256,
     * which files of older versions have. */
    uint8_t content_hash[16];
};

struct husk_image_module {
    uint64_t cpu_features;   /* bits of abi/cpu_features.def */
    uint32_t flags;          /* HUSK_IMAGE_… */
    uint32_t entry_gva;      /* = e_entry: the dispatcher */
    uint32_t resume_gva;     /* where a host call resumes after a nested call */
    uint32_t init_gva;       /* 0, or the init function (called like a function of type () -> ()) */
    uint32_t init_thunk_gva; /* call thunk of type () -> () for it */
    uint32_t opt_level;
    struct husk_image_str compiler;   /* e.g. "husk 0.1.0 LLVM 22.1.8" */
    struct husk_image_str target_cpu; /* e.g. "znver3", "x86-64-v2" */
    struct husk_image_str name;       /* from the name section, or empty */
    /* Exceptions (abi/exception.h); all 0 if the code has none. A host call resumes at throw_gva to
     * throw the pending exception; 0: host functions cannot throw */
    uint32_t throw_gva;
    uint32_t exception_gva;    /* the pending exception, in the fixed part of data; % 16 == 0 */
    uint32_t exception_values; /* it has room for so many */
    /* HUSK_EXCEPTION_SLOTS exceptions of the same size, in data; 0: nothing takes references */
    uint32_t exception_slots_gva;
};

/* One of several linked instances. Then the input, which wasm_sha256 and all fields named
 * wasm_offset are of, holds all modules, with their names and aliases. */
struct husk_image_instance {
    struct husk_image_str name;
    uint32_t wasm_offset; /* of its module in the input */
    uint32_t init_gva;    /* 0, or its part of the init function, of type () -> () */
    /* the memory that host functions use for it; UINT32_MAX: it has none */
    uint32_t memory_idx;
    uint32_t flags; /* 0 */
};

struct husk_image_type {
    uint32_t valtypes_idx; /* params, then results, in "valtypes" */
    uint32_t params_count;
    uint32_t results_count;
    /* call thunk: reads call_slots, calls the function, writes call_slots; 0 if none was needed */
    uint32_t thunk_gva;
};

struct husk_image_func {
    uint32_t type_idx; /* in "types" */
    /* for an import: its stub. 0 if the module never calls the function or uses it as a value */
    uint32_t code_gva;
    uint32_t code_bytes;
    uint32_t wasm_offset;       /* of the body in the input; 0 for an import */
    struct husk_image_str name; /* name section, else export name, else empty */
    uint32_t instance;          /* here and below: in "instances"; 0 if that has no rows */
};

struct husk_image_import {
    struct husk_image_str module;
    struct husk_image_str name;
    uint32_t kind; /* enum husk_abi_kind */
    uint32_t idx;  /* index into "funcs", "tables", "memories", "globals" or "tags" */
    uint32_t instance;
};

struct husk_image_export {
    struct husk_image_str name;
    uint32_t kind;
    uint32_t idx;
    uint32_t instance;
};

#define HUSK_LIMIT_HAS_MAX 1u
#define HUSK_LIMIT_IS_64 2u /* addresses, or indices, are i64 */
/* Memories: declared as shared (threads). Such a memory matches imports that are shared, and code
 * may wait on it. */
#define HUSK_LIMIT_SHARED 4u

struct husk_image_memory {
    uint64_t min_pages; /* wasm pages, as declared */
    /* as declared; if none, HUSK_MAX_MEM_PAGES, or HUSK_MAX_MEM64_PAGES. With 64-bit addresses, it
     * may be more than that. With 32-bit addresses, it may be a page less than was declared:
     * HUSK_MEM_BELOW_BYTES (abi/layout.h) */
    uint64_t max_pages;
    uint32_t flags; /* HUSK_LIMIT_… */
    /* uint64_t in data: the current size in wasm pages. The host writes it on growth */
    uint32_t size_gva;
    uint32_t instance;
    uint32_t zero;
};

struct husk_image_table {
    uint64_t min_entries;
    uint64_t max_entries; /* as declared; UINT32_MAX if none. More only with 64-bit indices */
    uint32_t flags;
    uint32_t elem_type; /* abi/valtype.h */
    /* uint64_t[reserve_entries] in data. Mapped up to the initial size; the host maps more on
     * growth */
    uint32_t base_gva;
    uint32_t reserve_entries;
    uint32_t size_gva; /* uint64_t in data: the current size in entries */
    uint32_t instance;
};

#define HUSK_GLOBAL_MUTABLE 1u

struct husk_image_global {
    /* the value: a 16-byte slot in data. The host writes the slot of an imported global before
     * init */
    uint32_t gva;
    uint32_t type; /* abi/valtype.h */
    uint32_t flags;
    uint32_t instance;
};

struct husk_image_tag {
    uint32_t type_idx; /* in "types"; the parameters are the values, and there are no results */
    uint32_t instance;
};

/* A growable table (reserve_entries > min_entries, or imported) has its own pages. Its base_gva is
 * the start of a page. [base, base + 8 * min_entries), rounded up to pages, is mapped at first. The
 * host maps the other pages of the reserve on growth. Other tables lie in the fixed part of
 * data. */

/* code row: code that must not trap (runtime, padding, thunks) */
#define HUSK_FUNC_NONE 0xffffffffu
/* code row: the init function, which is not one of the module's functions */
#define HUSK_FUNC_INIT 0xfffffffeu

/* code row: memcpy, memset and the like. The compiler also turns loops over linear memory into
 * calls of them. So a #PF on linear memory here is an out-of-bounds trap of the calling frame. */
#define HUSK_FUNC_RUNTIME 0xfffffffdu

/* The code from code_gva to the next row's code_gva was compiled from this wasm offset of this
 * function. func_idx HUSK_FUNC_NONE ends a range. A #PF in the stack's guard is a trap in any code,
 * because the runtime and the thunks push, too. */
struct husk_image_code_row {
    uint32_t code_gva;
    uint32_t func_idx;
    uint32_t wasm_offset; /* from the start of the input */
};

/* The code from code_gva to the next row's code_gva came in by this inlined call. A backtrace has
 * more frames there: those of the calls, from the inner one to the outer one. */
struct husk_image_inlined_row {
    uint32_t code_gva;
    uint32_t call; /* index in "inlined_calls" + 1; 0: the code was not inlined */
};

struct husk_image_inlined_call {
    uint32_t func_idx;    /* the function that calls */
    uint32_t wasm_offset; /* of the call, from the start of the module */
    /* index + 1 of the call by which the calling function was inlined itself; 0: it was not */
    uint32_t outer;
};

/* How to unwind a frame: CFA = (cfa_base ? rbp : rsp) + cfa_offset.
 * The return address is at CFA - 8. If rbp_offset != 0, the caller's rbp is at CFA - rbp_offset.
 * cfa_offset 0: the unwinding stops here. */
struct husk_image_unwind_x86_64 {
    uint32_t code_gva;
    uint32_t cfa_base; /* 0 rsp, 1 rbp */
    uint32_t cfa_offset;
    uint32_t rbp_offset;
};

/* Routines of guest/exchange.c (abi/exchange.h), which the host enters in place of a call thunk. 0:
 * a routine is not there. */
struct husk_image_routines {
    uint32_t many_gva;
    uint32_t bytes_gva;
};

struct husk_image_line_row {
    uint32_t wasm_offset; /* from the start of the input */
    uint32_t file_idx;    /* in "source_files"; UINT32_MAX ends a range */
    uint32_t line;        /* 1-based; 0 unknown */
    uint32_t column;
};

_Static_assert(sizeof(struct husk_image_record) >= HUSK_IMAGE_RECORD_FIRST_BYTES, "image format");
_Static_assert(sizeof(struct husk_image_header) >= HUSK_IMAGE_HEADER_FIRST_BYTES, "image format");
_Static_assert(sizeof(struct husk_image_module) == 72, "image format");
_Static_assert(sizeof(struct husk_image_instance) == 24, "image format");
_Static_assert(sizeof(struct husk_image_type) == 16, "image format");
_Static_assert(sizeof(struct husk_image_func) == 28, "image format");
_Static_assert(sizeof(struct husk_image_import) == 28, "image format");
_Static_assert(sizeof(struct husk_image_export) == 20, "image format");
_Static_assert(sizeof(struct husk_image_memory) == 32, "image format");
_Static_assert(sizeof(struct husk_image_table) == 40, "image format");
_Static_assert(sizeof(struct husk_image_global) == 16, "image format");
_Static_assert(sizeof(struct husk_image_tag) == 8, "image format");
_Static_assert(sizeof(struct husk_image_code_row) == 12, "image format");
_Static_assert(sizeof(struct husk_image_inlined_row) == 8, "image format");
_Static_assert(sizeof(struct husk_image_inlined_call) == 12, "image format");
_Static_assert(sizeof(struct husk_image_routines) == 8, "image format");
_Static_assert(sizeof(struct husk_image_unwind_x86_64) == 16, "image format");
_Static_assert(sizeof(struct husk_image_line_row) == 16, "image format");
#endif
