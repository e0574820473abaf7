/*
 * abi/valtype.h: a value type as a 32-bit code, which decoding makes of the binary format, and
 * which images have. Types are equal if their codes are.
 *
 *   bits 0-7    kind: a row of abi/valtype.def; 0: no type
 *   bit  8      nullable (references only)
 *   bits 9-11   zero
 *   bits 12-31  type index, for references to a type of the module: room for 1,048,576; else zero
 *
 * A switch over kinds lists all of them and has no `default:`, so that the compiler finds each one
 * that a new row of the table concerns.
 */
#ifndef HUSK_ABI_VALTYPE_H
#define HUSK_ABI_VALTYPE_H

#include <stdbool.h>
#include <stdint.h>

#define VALTYPE_NULLABLE 0x100u
#define VALTYPE_IDX_SHIFT 12
#define VALTYPE_KIND_REFS 16 /* kinds from here on are references */
#define VALTYPE_CODE(kind, nullable) ((uint32_t)(kind) | ((nullable) != 0 ? VALTYPE_NULLABLE : 0u))

typedef uint32_t valtype_t;

enum valtype_kind {
    VALTYPE_NONE = 0,
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes) VALTYPE_##name = (kind),
#include "valtype.def"
#undef HUSK_VALTYPE
};

static inline enum valtype_kind valtype_kind(valtype_t type) {
    return (enum valtype_kind)(type & 0xffu);
}

static inline bool valtype_is_ref(valtype_t type) {
    return valtype_kind(type) >= VALTYPE_KIND_REFS;
}

/* The code of a type that the binary format or husk.h has as this number; 0: of none. */
static inline valtype_t valtype_from_byte(uint32_t number) {
    switch (number) {
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes)                              \
    case (byte):                                                                                   \
        return VALTYPE_CODE(kind, nullable);
#include "valtype.def"
#undef HUSK_VALTYPE
    }
    return VALTYPE_NONE;
}

/* The other way, for the public husk_type. 0: no type. */
static inline uint8_t valtype_to_byte(valtype_t type) {
    switch (type) {
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes)                              \
    case VALTYPE_CODE(kind, nullable):                                                             \
        return (byte);
#include "valtype.def"
#undef HUSK_VALTYPE
    }
    return 0;
}

/* The type of a letter in the signatures of wasm/opcode.def; 0: of none. */
static inline valtype_t valtype_from_letter(char sig_letter) {
    switch (sig_letter) {
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes)                              \
    case (letter):                                                                                 \
        return VALTYPE_CODE(kind, nullable);
#include "valtype.def"
#undef HUSK_VALTYPE
    }
    return VALTYPE_NONE;
}

/* "i32", …; "unknown" for what has no name. */
static inline const char *valtype_name(valtype_t type) {
    switch (type) {
#define HUSK_VALTYPE(name, kind, nullable, byte, letter, text, bytes)                              \
    case VALTYPE_CODE(kind, nullable):                                                             \
        return (text);
#include "valtype.def"
#undef HUSK_VALTYPE
    }
    return "unknown";
}

#endif
