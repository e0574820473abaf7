/*
 * host/call/bytes_exports.h: finds the functions of a module that husk_call_bytes() needs: the
 * function to be called, the allocator, and a function that frees blocks.
 */
#ifndef HOST_BYTES_EXPORTS_H
#define HOST_BYTES_EXPORTS_H

#include "exchange.h"
#include "image_internal.h"

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
    husk_func func, allocate, release;
    enum bytes_form form; /* of the function's result */
    bool is_64;           /* pointers and sizes are i64: the main instance's memory is 64-bit */
    bool is_by_realloc;   /* `allocate` is cabi_realloc, else malloc */
    enum bytes_release release_kind;
};

/* func: the function to be called. name: its export name; the text may be NULL. HUSK_E_NOT_FOUND,
 * HUSK_E_INVAL, HUSK_E_TYPE. */
int bytes_exports_find(const husk_image *image, husk_func func, const struct image_name *name,
                       struct bytes_exports *ret_exports, struct husk_error *err);

#endif
