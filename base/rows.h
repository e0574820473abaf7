/*
 * base/rows.h: searches arrays of structs that ascend by an unsigned key, a field of 4 or 8 bytes.
 * Keys may repeat. (For exact searches by another order, use bsearch(3).)
 */
#ifndef BASE_ROWS_H
#define BASE_ROWS_H

#include <stddef.h>
#include <stdint.h>

struct rows {
    const void *first; /* borrowed; may be NULL if there are none */
    uint32_t count;
    uint32_t row_bytes;
    uint32_t key_offset; /* in a row */
    uint32_t key_bytes;  /* 4 or 8 */
};

/* Describes an array and its key field. The struct lives until the end of the block. */
#define ROWS(array, rows_count, field)                                                             \
    (&(const struct rows){.first = (array),                                                        \
                          .count = (rows_count),                                                   \
                          .row_bytes = sizeof *(array),                                            \
                          .key_offset = offsetof(__typeof__(*(array)), field),                     \
                          .key_bytes = sizeof(array)->field})

/* The number of rows with a smaller key: the first place where a row with this key may stand. */
uint32_t rows_below(const struct rows *rows, uint64_t key);
/* The number of rows with this key or a smaller one. */
uint32_t rows_up_to(const struct rows *rows, uint64_t key);
/* The last row with this key or a smaller one; NULL if there is none. */
const void *rows_last_up_to(const struct rows *rows, uint64_t key);

#endif
