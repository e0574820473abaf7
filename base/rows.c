/* base/rows.c: binary search; see rows.h. */
#include "rows.h"

#include <stdbool.h>
#include <string.h>

static const uint8_t *row_at(const struct rows *rows, uint32_t idx) {
    return (const uint8_t *)rows->first + (size_t)idx * rows->row_bytes;
}

static uint64_t key_at(const struct rows *rows, uint32_t idx) {
    const uint8_t *field = row_at(rows, idx) + rows->key_offset;
    uint32_t narrow;
    uint64_t wide;
    if (rows->key_bytes == sizeof narrow) {
        memcpy(&narrow, field, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, field, sizeof wide);
    return wide;
}

static uint32_t search(const struct rows *rows, uint64_t key, bool with_equal) {
    uint32_t low = 0, high = rows->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const uint64_t found = key_at(rows, middle);
        if (found < key || (with_equal && found == key))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t rows_below(const struct rows *rows, uint64_t key) {
    return search(rows, key, false);
}

uint32_t rows_up_to(const struct rows *rows, uint64_t key) {
    return search(rows, key, true);
}

const void *rows_last_up_to(const struct rows *rows, uint64_t key) {
    const uint32_t count = rows_up_to(rows, key);
    return count == 0 ? NULL : row_at(rows, count - 1);
}
