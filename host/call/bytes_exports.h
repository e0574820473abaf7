/*
 * host/call/bytes_exports.h: finds the functions of a module that husk_call_bytes() needs: the
 * function to be called, the allocator, and a function that frees blocks.
 */
#ifndef HOST_BYTES_EXPORTS_H
#define HOST_BYTES_EXPORTS_H

#include "guest_bytes.h"
#include "image_internal.h"

/* func: the function to be called. name: its export name; the text may be NULL. HUSK_E_NOT_FOUND,
 * HUSK_E_INVAL, HUSK_E_TYPE. */
int bytes_exports_find(const husk_image *image, husk_func func, const struct image_name *name,
                       struct bytes_exports *ret_exports, struct husk_error *err);

#endif
