/* bench/kernels/queens.c: all solutions of the n queens problem by bit masks: recursion with few
 * live values. */
#include "kernel.h"

static uint32_t solutions_count(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
    if (columns == all)
        return 1;
    uint32_t count = 0;
    for (uint32_t open = all & ~(columns | left | right); open != 0; open &= open - 1) {
        uint32_t bit = open & (0 - open);
        count += solutions_count(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return count;
}

KERNEL(queens) {
    return sum_mix(SUM_START, solutions_count((1u << n) - 1, 0, 0, 0));
}
