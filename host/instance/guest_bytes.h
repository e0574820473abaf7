/*
 * host/instance/guest_bytes.h: how a function of a module takes and gives bytes: the functions that
 * husk_call_bytes() calls, as host/call/bytes_exports.c has found them. A sandbox remembers those
 * of the last call.
 */
#ifndef HOST_GUEST_BYTES_H
#define HOST_GUEST_BYTES_H

#include <stdbool.h>
#include <stdint.h>

#include "exchange.h"
#include "husk.h"

enum bytes_form {
    BYTES_PACKED_I64 = HUSK_FORM_PACKED,    /* 32-bit memories only */
    BYTES_POINTER_TO_PAIR = HUSK_FORM_PAIR, /* of numbers of a pointer's size */
    BYTES_TWO_NUMBERS = HUSK_FORM_TWO,
    BYTES_FORMS_COUNT
};

enum bytes_release {
    BYTES_RELEASE_NONE = HUSK_RELEASE_NONE, /* the module exports no such function */
    /* cabi_post_NAME(result): the canonical ABI. The called function owns its input and frees it,
     * so nobody else may. */
    BYTES_RELEASE_POST = HUSK_RELEASE_POST,
    BYTES_RELEASE_FREE = HUSK_RELEASE_FREE,
    BYTES_RELEASE_REALLOC = HUSK_RELEASE_REALLOC
};

struct bytes_exports {
    bool is_known; /* of what a sandbox remembers: there is something */
    husk_func func, allocate, release;
    enum bytes_form form; /* of the function's result */
    bool is_64;           /* pointers and sizes are i64: the main instance's memory is 64-bit */
    bool is_by_realloc;   /* `allocate` is cabi_realloc, else malloc */
    enum bytes_release release_kind;
    /* for the guest's routine (abi/exchange.h) */
    bool has_targets; /* all of the functions can be called, and there is a main memory */
    uint32_t memory_idx;
    struct husk_exchange_func call_target, allocate_target, release_target;
    uint64_t size_gva; /* of the memory's size word */
};

#endif
