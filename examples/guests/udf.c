/*
 * A function over rows of a table, like a user-defined function of a database. It works on rows in
 * place, any number of them in one call; or on the numbers of one row.
 *
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -O2 -g -c udf.c
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -mexec-model=reactor udf.o \
 *       -o udf.wasm
 */
#include "udf.h"

#include <stdlib.h>

#define EXPORT(name) __attribute__((export_name(name)))

/* Make room for so many rows. NULL: there is none. */
EXPORT("rows_new") struct row *rows_new(uint32_t count) {
    return calloc(count, sizeof(struct row));
}

EXPORT("total_of") double total_of(double price, double quantity, int32_t region) {
    static const double taxes[] = {1.0, 1.07, 1.19};
    return price * quantity * taxes[(uint32_t)region % 3];
}

EXPORT("total") void total(struct row *rows, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        rows[i].total = total_of(rows[i].price, rows[i].quantity, rows[i].region);
}
