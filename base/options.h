/*
 * base/options.h: reads the option structs that callers give (options.def). A caller may be built
 * against an older header, with a shorter struct, or a newer header, with a longer struct. The
 * field `size` gives the length.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stddef.h>

#include "husk.h"
#include "husk_compile.h"

/* A larger `size` is taken as not set. */
#define OPTIONS_BYTES_MAX 4096

/* int limits_read(given, ret_options, err), and one such function for each struct. Copies the
 * caller's options into this library's version of the struct. Fields that the caller's struct lacks
 * are 0, the default. If `given` is NULL, all options are 0. HUSK_E_INVAL, with *ret_options
 * untouched: `size` is too small for itself, beyond OPTIONS_BYTES_MAX, or ends inside a field; a
 * reserved byte is set, or a byte that this library does not know. The values of the fields are not
 * checked. */
#define BEGIN(name)                                                                                \
    int name##_read(const struct husk_##name *given, struct husk_##name *ret_options,              \
                    struct husk_error *err);
#include "options.def"

/* ---- Structs that the library fills ---- */

/* Check that the caller set the size at the start of `ret`; HUSK_E_INVAL if not. `name` is the name
 * of the struct. */
int output_check(const char *name, const void *ret, struct husk_error *err);
/* Copy whole[0 … bytes), this library's version of the struct, to a checked `ret`, as far as there
 * is room. Zero the rest of `ret`. The size in `ret` stays. */
void output_fill(void *ret, const void *whole, size_t bytes);

#endif
