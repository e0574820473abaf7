/*
 * A row, which guest and host share. All its types have the same size and alignment in both, and
 * there is no padding.
 */
#ifndef EXAMPLES_GUESTS_UDF_H
#define EXAMPLES_GUESTS_UDF_H

#include <stdint.h>

struct row {
    double price, quantity;
    int32_t region, reserved;
    double total; /* the function's result */
};
_Static_assert(sizeof(struct row) == 32, "rows have one layout on both sides");

#endif
