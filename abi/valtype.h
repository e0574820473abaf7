/*
 * abi/valtype.h: a value type as a 32-bit code. The decoder makes the codes from the binary format,
 * and images hold them. Two types are equal if their codes are equal.
 *
 *   bits 0-7    kind: a row of abi/valtype.def; 0: no type
 *   bit  8      nullable (references only)
 *   bits 9-11   zero
 *   bits 12-31  for a reference to a type of the module: its index, at most 1,048,575; else zero
 *
 * A switch over kinds lists all of them and has no `default:`. So the compiler warns about each
 * switch that lacks a new kind.
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

/* The code of the type that has this number in the binary format and husk.h; 0 if no type has
 * it. */
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

/* The number of a type in the binary format and husk.h (husk_type); 0 if the code is not a type. */
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

/* The type that has this letter in the signatures of wasm/opcode.def; 0 if none has it. */
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

/* The name of a type ("i32", …); "unknown" if the code is not a type. */
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
