/* bench/kernels/alloc.c: a small allocator (size classes with free lists over a bump arena) under
 * binary trees that are built and freed, n rounds. */
#include "kernel.h"

enum { CLASS_COUNT = 8, CLASS_BYTES = 16, DEPTH = 11 };

struct cell {
    struct cell *next;
};

struct tree {
    struct tree *left, *right;
    uint32_t value;
    uint32_t extra_bytes;
};

static uint8_t arena[1 << 20] __attribute__((aligned(16)));
static size_t arena_used;
static struct cell *free_lists[CLASS_COUNT];

static void *cell_alloc(size_t bytes) {
    size_t class_idx = (bytes + CLASS_BYTES - 1) / CLASS_BYTES - 1;
    struct cell *cell = free_lists[class_idx];
    if (cell != NULL) {
        free_lists[class_idx] = cell->next;
        return cell;
    }
    size_t rounded = (class_idx + 1) * CLASS_BYTES;
    if (rounded > sizeof arena - arena_used)
        __builtin_trap();
    void *at = arena + arena_used;
    arena_used += rounded;
    return at;
}

static void cell_free(void *at, size_t bytes) {
    size_t class_idx = (bytes + CLASS_BYTES - 1) / CLASS_BYTES - 1;
    struct cell *cell = at;
    cell->next = free_lists[class_idx];
    free_lists[class_idx] = cell;
}

static struct tree *tree_new(uint32_t depth, uint32_t *seed) {
    uint32_t extra = rng_next(seed) & 63;
    struct tree *tree = cell_alloc(sizeof(struct tree) + extra);
    tree->extra_bytes = extra;
    tree->value = *seed;
    tree->left = depth == 0 ? NULL : tree_new(depth - 1, seed);
    tree->right = depth == 0 ? NULL : tree_new(depth - 1, seed);
    return tree;
}

static uint64_t tree_sum(const struct tree *tree) {
    return tree == NULL ? 1 : tree->value + tree_sum(tree->left) - tree_sum(tree->right);
}

static void tree_free(struct tree *tree) {
    if (tree != NULL) {
        tree_free(tree->left);
        tree_free(tree->right);
        cell_free(tree, sizeof *tree + tree->extra_bytes);
    }
}

KERNEL(alloc) {
    uint32_t seed = 53;
    uint64_t sum = SUM_START;
    arena_used = 0;
    __builtin_memset(free_lists, 0, sizeof free_lists);
    for (uint32_t round = 0; round < n; round++) {
        struct tree *kept = tree_new(DEPTH - 2, &seed);
        struct tree *tree = tree_new(DEPTH, &seed);
        sum = sum_mix(sum, tree_sum(tree));
        tree_free(tree);
        sum = sum_mix(sum, tree_sum(kept));
        tree_free(kept);
    }
    return sum;
}
