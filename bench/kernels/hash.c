/* bench/kernels/hash.c: an open-addressing hash table of 64-bit keys: inserts, look-ups and
 * deletions, n rounds. */
#include "kernel.h"

enum { SLOTS = 1 << 15 };
struct slot {
    uint64_t key; /* 0: free */
    uint32_t value;
    uint32_t is_dead;
};

static struct slot slots[SLOTS];

static uint32_t key_home(uint64_t key) {
    return (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 40) & (SLOTS - 1);
}

/* The key's slot, or the free slot where it belongs. */
static struct slot *slot_find(uint64_t key) {
    uint32_t at = key_home(key);
    while (slots[at].key != 0 && slots[at].key != key)
        at = (at + 1) & (SLOTS - 1);
    return &slots[at];
}

static uint64_t round_run(uint32_t round, uint32_t *seed) {
    uint64_t sum = 0;
    __builtin_memset(slots, 0, sizeof slots);
    for (uint32_t i = 0; i < SLOTS / 2; i++) {
        uint64_t key = (rng_next(seed) % 40000) + 1;
        struct slot *slot = slot_find(key << 7);
        slot->key = key << 7;
        slot->value += i ^ round;
        slot->is_dead = (i & 7) == 0;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        const struct slot *slot = slot_find(((uint64_t)(rng_next(seed) % 40000) + 1) << 7);
        sum += slot->key != 0 && !slot->is_dead ? slot->value : 1;
    }
    return sum;
}

KERNEL(hash) {
    uint32_t seed = 23;
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++)
        sum = sum_mix(sum, round_run(round, &seed));
    return sum;
}
