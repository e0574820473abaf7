/* bench/kernels/sort.c: quicksort with insertion sort at the leaves, then a heap sort of the same
 * numbers, n rounds. */
#include "kernel.h"

enum { ITEMS = 40000 };
static uint32_t items[ITEMS];

static void insertion_sort(uint32_t *a, int32_t count) {
    for (int32_t i = 1; i < count; i++) {
        uint32_t item = a[i];
        int32_t k = i;
        for (; k > 0 && a[k - 1] > item; k--)
            a[k] = a[k - 1];
        a[k] = item;
    }
}

static void quick_sort(uint32_t *a, int32_t count) {
    while (count > 16) {
        uint32_t pivot = a[count / 2];
        int32_t low = 0, high = count - 1;
        while (low <= high) {
            while (a[low] < pivot)
                low++;
            while (a[high] > pivot)
                high--;
            if (low <= high) {
                uint32_t swap = a[low];
                a[low++] = a[high];
                a[high--] = swap;
            }
        }
        quick_sort(a, high + 1);
        a += low;
        count -= low;
    }
    insertion_sort(a, count);
}

static void heap_sink(uint32_t *a, uint32_t at, uint32_t count) {
    uint32_t item = a[at];
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && a[child + 1] > a[child])
            child++;
        if (a[child] <= item)
            break;
        a[at] = a[child];
    }
    a[at] = item;
}

static void heap_sort(uint32_t *a, uint32_t count) {
    for (uint32_t i = count / 2; i-- > 0;)
        heap_sink(a, i, count);
    for (uint32_t end = count - 1; end > 0; end--) {
        uint32_t top = a[0];
        a[0] = a[end];
        a[end] = top;
        heap_sink(a, 0, end);
    }
}

static uint64_t items_sum(void) {
    uint64_t sum = SUM_START;
    for (uint32_t i = 0; i < ITEMS; i += 7)
        sum = sum_mix(sum, items[i]);
    return sum;
}

KERNEL(sort) {
    uint32_t seed = 31;
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        for (uint32_t i = 0; i < ITEMS; i++)
            items[i] = rng_next(&seed);
        quick_sort(items, ITEMS);
        sum = sum_mix(sum, items_sum());
        for (uint32_t i = 0; i < ITEMS; i++)
            items[i] = rng_next(&seed) >> 8;
        heap_sort(items, ITEMS);
        sum = sum_mix(sum, items_sum());
    }
    return sum;
}
