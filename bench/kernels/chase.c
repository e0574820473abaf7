/* bench/kernels/chase.c: follows a linked list, in random order over 1 MiB, n times round: only
 * dependent loads. */
#include "kernel.h"

struct node {
    struct node *next;
    uint32_t value;
};

static struct node nodes[65536];
static uint32_t order[COUNT_OF(nodes)];

static void list_make(void) {
    uint32_t seed = 17;
    for (uint32_t i = 0; i < COUNT_OF(nodes); i++) {
        order[i] = i;
        nodes[i].value = rng_next(&seed);
    }
    for (uint32_t i = COUNT_OF(nodes) - 1; i > 0; i--) {
        uint32_t k = rng_next(&seed) % (i + 1);
        uint32_t swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    for (uint32_t i = 0; i < COUNT_OF(nodes); i++)
        nodes[order[i]].next = &nodes[order[(i + 1) % COUNT_OF(nodes)]];
}

KERNEL(chase) {
    list_make();
    const struct node *at = &nodes[0];
    uint64_t sum = SUM_START;
    for (uint32_t i = 0; i < n * COUNT_OF(nodes); i++) {
        sum += at->value ^ i;
        at = at->next;
    }
    return sum;
}
