/*
 * compiler/lower/lower_dominators.c: see lower_dominators.h. The algorithm is that of Cooper,
 * Harvey and Kennedy ("A simple, fast dominance algorithm", 2001): the immediate dominator of a
 * block is the common ancestor of its predecessors, in the tree that is known so far. Code from
 * wasm has no loops with two entries, so two rounds are enough. A hostile module can make the tree
 * deep and each search in it long, therefore the steps are limited.
 */
#include "lower_dominators.h"

#include <stdlib.h>

#define BLOCKS_MAX 100000
#define STEPS_PER_BLOCK 64
#define STEPS_MORE 100000
#define ROUNDS_MAX 8

/* ---- places by block ---- */

static uint32_t slot_of(const struct dominators *dominators, LLVMBasicBlockRef block) {
    uint64_t hash = (uint64_t)(uintptr_t)block * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t slot = (uint32_t)(hash >> 32) & dominators->slots_mask;
    while (dominators->slots[slot] != 0 && dominators->order[dominators->slots[slot] - 1] != block)
        slot = (slot + 1) & dominators->slots_mask;
    return slot;
}

uint32_t dominators_place(const struct dominators *dominators, LLVMBasicBlockRef block) {
    return dominators->slots[slot_of(dominators, block)] - 1; /* 0 - 1: UINT32_MAX */
}

/* ---- the order: reverse postorder ---- */

struct visit {
    LLVMBasicBlockRef block;
    LLVMValueRef terminator;
    uint32_t next; /* the successor to go to */
};

/* While the order is made, slots number the blocks as they are found, and `order` holds them so. */
static void visit_push(struct dominators *dominators, struct visit *stack, uint32_t *depth,
                       LLVMBasicBlockRef block) {
    uint32_t slot = slot_of(dominators, block);
    if (dominators->slots[slot] != 0)
        return;
    dominators->order[dominators->count] = block;
    dominators->slots[slot] = ++dominators->count;
    stack[(*depth)++] = (struct visit){block, LLVMGetBasicBlockTerminator(block), 0};
}

static void order_find(struct dominators *dominators, struct visit *stack,
                       LLVMBasicBlockRef *postorder, LLVMBasicBlockRef entry) {
    uint32_t depth = 0, done = 0;
    visit_push(dominators, stack, &depth, entry);
    while (depth > 0) {
        struct visit *top = &stack[depth - 1];
        if (top->next < LLVMGetNumSuccessors(top->terminator)) {
            LLVMBasicBlockRef successor = LLVMGetSuccessor(top->terminator, top->next++);
            visit_push(dominators, stack, &depth, successor);
        } else {
            postorder[done++] = top->block;
            depth--;
        }
    }
    for (uint32_t i = 0; i <= dominators->slots_mask; i++)
        dominators->slots[i] = 0;
    for (uint32_t i = 0; i < done; i++)
        dominators->order[i] = NULL; /* slot_of() compares with these */
    for (uint32_t i = 0; i < done; i++) {
        dominators->order[i] = postorder[done - 1 - i];
        dominators->slots[slot_of(dominators, dominators->order[i])] = i + 1;
    }
}

/* ---- predecessors, as lists of edges ---- */

struct edges {
    uint32_t *start; /* of a place's predecessors; one more than there are places */
    uint32_t *from;
};

static bool edges_init(struct edges *edges, const struct dominators *dominators) {
    const uint32_t count = dominators->count;
    edges->from = NULL;
    edges->start = calloc(count + 2u, sizeof *edges->start);
    if (edges->start == NULL)
        return false;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < count; i++) {
            LLVMValueRef terminator = LLVMGetBasicBlockTerminator(dominators->order[i]);
            for (unsigned k = 0; k < LLVMGetNumSuccessors(terminator); k++) {
                uint32_t to = dominators_place(dominators, LLVMGetSuccessor(terminator, k));
                if (pass == 0)
                    edges->start[to + 2]++;
                else
                    edges->from[edges->start[to + 1]++] = i;
            }
        }
        if (pass != 0)
            break;
        for (uint32_t i = 2; i < count + 2; i++)
            edges->start[i] += edges->start[i - 1];
        edges->from = calloc(edges->start[count + 1] + 1u, sizeof *edges->from);
        if (edges->from == NULL)
            return false;
    }
    return true;
}

/* ---- the tree ---- */

struct search {
    const struct edges *edges;
    uint64_t steps_left;
};

static uint32_t common_ancestor(const uint32_t *parent, struct search *search, uint32_t a,
                                uint32_t b) {
    while (a != b && search->steps_left > 0) {
        search->steps_left--;
        if (a > b)
            a = parent[a];
        else
            b = parent[b];
    }
    return a;
}

static bool parents_round(struct dominators *dominators, struct search *search) {
    bool has_changed = false;
    for (uint32_t i = 1; i < dominators->count; i++) {
        uint32_t found = UINT32_MAX;
        for (uint32_t k = search->edges->start[i]; k < search->edges->start[i + 1]; k++) {
            uint32_t from = search->edges->from[k];
            if (dominators->parent[from] != UINT32_MAX)
                found = found == UINT32_MAX
                            ? from
                            : common_ancestor(dominators->parent, search, found, from);
        }
        has_changed |= dominators->parent[i] != found;
        dominators->parent[i] = found;
    }
    return has_changed;
}

static bool parents_find(struct dominators *dominators, const struct edges *edges) {
    struct search search = {edges, (uint64_t)dominators->count * STEPS_PER_BLOCK + STEPS_MORE};
    for (uint32_t i = 0; i < dominators->count; i++)
        dominators->parent[i] = i == 0 ? 0 : UINT32_MAX;
    int rounds = 0;
    while (parents_round(dominators, &search) && search.steps_left > 0)
        if (++rounds == ROUNDS_MAX)
            return false;
    return search.steps_left > 0;
}

/* A block's last number is the highest first number of those below it. A block stands behind its
 * dominators in the order: sizes of subtrees come from the end, numbers from the start. */
static void numbers_set(struct dominators *dominators) {
    const uint32_t count = dominators->count;
    uint32_t *size = dominators->last, *next = dominators->slots; /* slots: set anew below */
    for (uint32_t i = 0; i < count; i++)
        size[i] = 1;
    for (uint32_t i = count - 1; i > 0; i--)
        size[dominators->parent[i]] += size[i];
    dominators->first[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            dominators->first[i] = next[dominators->parent[i]];
            next[dominators->parent[i]] += size[i];
        }
        next[i] = dominators->first[i] + 1;
    }
    for (uint32_t i = 0; i < count; i++)
        dominators->last[i] = dominators->first[i] + size[i] - 1;
}

static void slots_set(struct dominators *dominators) {
    for (uint32_t i = 0; i <= dominators->slots_mask; i++)
        dominators->slots[i] = 0;
    for (uint32_t i = 0; i < dominators->count; i++)
        dominators->slots[slot_of(dominators, dominators->order[i])] = i + 1;
}

static bool tree_make(struct dominators *dominators, LLVMValueRef fn, uint32_t blocks) {
    struct visit *stack = calloc(blocks, sizeof *stack);
    LLVMBasicBlockRef *postorder = calloc(blocks, sizeof(LLVMBasicBlockRef));
    struct edges edges = {NULL, NULL};
    bool is_made = stack != NULL && postorder != NULL;
    if (is_made) {
        order_find(dominators, stack, postorder, LLVMGetEntryBasicBlock(fn));
        is_made = edges_init(&edges, dominators) && parents_find(dominators, &edges);
    }
    if (is_made) {
        numbers_set(dominators);
        slots_set(dominators);
    }
    free(stack);
    free(postorder);
    free(edges.start);
    free(edges.from);
    return is_made;
}

bool dominators_init(struct dominators *dominators, LLVMValueRef fn) {
    *dominators = (struct dominators){.count = 0};
    const uint32_t blocks = LLVMCountBasicBlocks(fn);
    if (blocks == 0 || blocks > BLOCKS_MAX)
        return false;
    uint32_t slots = 16;
    while (slots < 2 * blocks)
        slots *= 2;
    dominators->slots_mask = slots - 1;
    dominators->slots = calloc(slots, sizeof *dominators->slots);
    dominators->order = calloc(blocks, sizeof(LLVMBasicBlockRef));
    dominators->parent = calloc(blocks, sizeof *dominators->parent);
    dominators->first = calloc(blocks, sizeof *dominators->first);
    dominators->last = calloc(blocks, sizeof *dominators->last);
    bool has_memory = dominators->slots != NULL && dominators->order != NULL &&
                      dominators->parent != NULL && dominators->first != NULL &&
                      dominators->last != NULL;
    if (has_memory && tree_make(dominators, fn, blocks))
        return true;
    dominators_done(dominators);
    return false;
}

void dominators_done(struct dominators *dominators) {
    free(dominators->order);
    free(dominators->parent);
    free(dominators->first);
    free(dominators->last);
    free(dominators->slots);
    *dominators = (struct dominators){.count = 0};
}
