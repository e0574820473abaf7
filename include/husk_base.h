/*
 * husk_base.h: versions, errors, values and handles. Part of husk.h.
 */
#ifndef HUSK_BASE_H
#define HUSK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HUSK_VERSION_MAJOR 0
#define HUSK_VERSION_MINOR 1
#define HUSK_VERSION_PATCH 0

#if defined(__GNUC__)
#define HUSK_API __attribute__((visibility("default")))
#else
#define HUSK_API
#endif

/* The value of the HUSK_…_INIT macros. Only `size` is set; all other fields are zero. */
#ifdef __cplusplus
extern "C++" template <class Struct> inline Struct husk_init_of() {
    Struct all_zero = Struct();
    all_zero.size = sizeof all_zero;
    return all_zero;
}
#define HUSK_INIT_OF(name) husk_init_of<struct name>()
#else
#define HUSK_INIT_OF(name)                                                                         \
    { .size = sizeof(struct name) }
#endif

/* "0.1.0"; static storage. */
HUSK_API const char *husk_version(void);

/* ---- Errors ---- */

/* HUSK_STATUS(NAME, stable number, text) */
#define HUSK_STATUS_LIST(HUSK_STATUS)                                                              \
    HUSK_STATUS(INVAL, 1, "invalid argument")                                                      \
    HUSK_STATUS(NOMEM, 2, "out of memory")                                                         \
    HUSK_STATUS(SYS, 3, "system call failed")                                                      \
    HUSK_STATUS(NO_HYPERVISOR, 4, "no usable KVM")                                                 \
    HUSK_STATUS(HYPERVISOR_CAP, 5, "the kernel's KVM lacks something that is needed")              \
    HUSK_STATUS(BAD_WASM, 6, "malformed WebAssembly")                                              \
    HUSK_STATUS(INVALID_WASM, 7, "invalid WebAssembly")                                            \
    HUSK_STATUS(UNSUPPORTED, 8, "not supported")                                                   \
    HUSK_STATUS(LIMIT, 9, "limit exceeded")                                                        \
    HUSK_STATUS(BAD_IMAGE, 10, "damaged or foreign image file")                                    \
    HUSK_STATUS(IMAGE_VERSION, 11, "image of another version")                                     \
    HUSK_STATUS(CPU, 12, "the CPU lacks a feature that the image needs")                           \
    HUSK_STATUS(LINK, 13, "unknown or incompatible import")                                        \
    HUSK_STATUS(NOT_FOUND, 14, "not found")                                                        \
    HUSK_STATUS(TYPE, 15, "wrong type or number of values")                                        \
    HUSK_STATUS(STATE, 16, "not possible in this state")                                           \
    HUSK_STATUS(POISONED, 17, "the sandbox was cut off in mid-call")                               \
    HUSK_STATUS(COMPILER, 18, "the compiler failed")                                               \
    HUSK_STATUS(TIMEOUT, 19, "out of time")                                                        \
    HUSK_STATUS(GUEST, 20, "the guest returned something unusable")

enum husk_status {
    HUSK_OK = 0,
#define HUSK_STATUS_ENUM(name, number, text) HUSK_E_##name = -(number),
    HUSK_STATUS_LIST(HUSK_STATUS_ENUM)
#undef HUSK_STATUS_ENUM
};

#define HUSK_NO_OFFSET UINT64_MAX

/* Caller-owned; needs no cleanup. */
struct husk_error {
    int status;        /* HUSK_E_… */
    int sys_errno;     /* errno of the failed system call, or 0 */
    uint64_t offset;   /* byte offset in the input (wasm or image), or HUSK_NO_OFFSET */
    char message[488]; /* NUL-terminated UTF-8: what was wrong, where, what to do */
};

/* "HUSK_E_…" and the text of a status; static storage, never NULL. */
HUSK_API const char *husk_status_name(int status);
HUSK_API const char *husk_status_text(int status);

/* Make a name from a module printable (struct husk_extern, struct husk_frame), as all messages of
 * this library show names: on one line, without invisible characters. Escapes are those of the wasm
 * text format. \\ and \" stand for a backslash and a quotation mark. \hh stands for each byte of
 * other characters that are not shown: control characters, white space other than U+0020,
 * zero-width, bidirectional and other ignorable characters, and bytes that are not UTF-8. Letters
 * that look alike are not told apart.
 *
 * Writes at most out_bytes - 1 bytes, never half an escape or character, and a NUL. `out` may be
 * NULL if out_bytes is 0. Returns the length of the whole text without the NUL. Any thread. */
HUSK_API size_t husk_name_escape(const char *name, size_t name_bytes, char *out, size_t out_bytes);

/* The library calls it with the bytes that it writes: in pieces, in order, on the thread that
 * called the library. Return 0 to go on. Any other number ends the writing, and the library's
 * function returns it. */
typedef int (*husk_write_fn)(void *user, const void *bytes, size_t count);

/* ---- Values ---- */

/* Numbers as in the wasm binary format (core specification 2.0, section 5.3). */
typedef enum husk_type {
    HUSK_I32 = 0x7f,
    HUSK_I64 = 0x7e,
    HUSK_F32 = 0x7d,
    HUSK_F64 = 0x7c,
    HUSK_V128 = 0x7b,
    HUSK_FUNCREF = 0x70,
    HUSK_EXTERNREF = 0x6f,
    HUSK_EXNREF = 0x69
} husk_type;

struct husk_value {
    husk_type type;
    union {
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        uint8_t v128[16]; /* little-endian */
        /* 0 is null. An externref is the embedder's handle. Snapshots keep it as a number, so check
         * it before you follow it. A funcref is opaque and belongs to this sandbox. The guest may
         * forge it; husk_func_from_ref() checks it. A reference to a function type, (ref null? $t),
         * is a funcref, too: if the guest calls null or a function of another type, it traps.
         *
         * An exnref is opaque, belongs to this sandbox, and is for passing back. The guest's slot
         * that it names is in use as long as the guest refers to it (a global, a table, a call that
         * runs), and until the next call if the call returned it. After that, and after a restore,
         * it may name another exception, or none; then throw_ref traps. So does a number that
         * somebody made up. */
        uint64_t ref;
    } of;
};

/* Values of the four number types. */
static inline struct husk_value husk_i32(int32_t number) {
    struct husk_value value = {HUSK_I32, {0}};
    value.of.i32 = number;
    return value;
}
static inline struct husk_value husk_i64(int64_t number) {
    struct husk_value value = {HUSK_I64, {0}};
    value.of.i64 = number;
    return value;
}
static inline struct husk_value husk_f32(float number) {
    struct husk_value value = {HUSK_F32, {0}};
    value.of.f32 = number;
    return value;
}
static inline struct husk_value husk_f64(double number) {
    struct husk_value value = {HUSK_F64, {0}};
    value.of.f64 = number;
    return value;
}

/* "i32", …; "?" for an unknown number. */
HUSK_API const char *husk_type_name(husk_type type);

struct husk_functype {
    const husk_type *params;
    size_t params_count;
    const husk_type *results;
    size_t results_count;
};

/* [addr, addr + count) of linear memory mem_idx. The layout is final. */
struct husk_range {
    uint64_t addr, count; /* bytes */
    uint32_t mem_idx;
};

/* ---- Handles ---- */

typedef struct husk_engine husk_engine;
typedef struct husk_image husk_image;
typedef struct husk_imports husk_imports;
typedef struct husk_sandbox husk_sandbox;
typedef struct husk_memory_image husk_memory_image;
typedef struct husk_cancel husk_cancel;

#ifdef __cplusplus
}
#endif
#endif
