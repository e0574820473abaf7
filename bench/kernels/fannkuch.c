/* bench/kernels/fannkuch.c: most flips over all permutations of n items. Small arrays, swaps,
 * unpredictable branches. */
#include "kernel.h"

enum { ITEMS_MAX = 12 };

static uint32_t flips_count(const uint32_t *permutation, uint32_t n) {
    uint32_t work[ITEMS_MAX];
    uint32_t flips = 0;
    for (uint32_t i = 0; i < n; i++)
        work[i] = permutation[i];
    for (uint32_t first; (first = work[0]) != 0; flips++) {
        for (uint32_t low = 0, high = first; low < high; low++, high--) {
            uint32_t swap = work[low];
            work[low] = work[high];
            work[high] = swap;
        }
    }
    return flips;
}

/* The next permutation in the order of rotated prefixes; 0 after the last one. */
static int permutation_next(uint32_t *permutation, uint32_t *count, uint32_t n) {
    for (uint32_t r = 1; r < n; r++) {
        uint32_t first = permutation[0];
        for (uint32_t i = 0; i < r; i++)
            permutation[i] = permutation[i + 1];
        permutation[r] = first;
        if (++count[r] <= r)
            return 1;
        count[r] = 0;
    }
    return 0;
}

KERNEL(fannkuch) {
    uint32_t permutation[ITEMS_MAX], count[ITEMS_MAX] = {0};
    uint32_t most = 0, checksum = 0, idx = 0;
    n = n > ITEMS_MAX ? ITEMS_MAX : n;
    for (uint32_t i = 0; i < n; i++)
        permutation[i] = i;
    do {
        uint32_t flips = flips_count(permutation, n);
        most = flips > most ? flips : most;
        checksum += (idx++ & 1) != 0 ? 0 - flips : flips;
    } while (permutation_next(permutation, count, n) != 0);
    return sum_mix(sum_mix(SUM_START, most), checksum);
}
