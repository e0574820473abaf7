/*
 * base/options.h: reading the option structs that callers give (options.def). A caller may be built
 * against an older header, with a shorter struct, or a newer one, with a longer one: `size` tells.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stddef.h>

#include "husk.h"
#include "husk_compile.h"

/* A `size` above this was not set. */
#define OPTIONS_BYTES_MAX 4096

/* int limits_read(given, ret_options, err), and so for each struct: the caller's options as
 * a struct of this library's. Fields that the caller's struct does not have are 0, the default,
 * and so are all if `given` is NULL. HUSK_E_INVAL, with *ret_options untouched: `size` is 0 or
 * beyond OPTIONS_BYTES_MAX, or ends inside a field; a reserved byte is set, or a byte of what this
 * library does not know. Does not look at what the fields say. */
#define BEGIN(name)                                                                                \
    int name##_read(const struct husk_##name *given, struct husk_##name *ret_options,              \
                    struct husk_error *err);
#include "options.def"

/* ---- Structs that the library fills ---- */

/* Does `ret` begin with a size that the caller set? Else HUSK_E_INVAL. name: of the struct. */
int output_check(const char *name, const void *ret, struct husk_error *err);
/* Copies as much of whole[0 … bytes), a struct of this library, as a checked `ret` has room for,
 * and zeroes what is behind that. Its size stays. */
void output_fill(void *ret, const void *whole, size_t bytes);

#endif
