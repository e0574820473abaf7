/*
 * tests/kvm/snapshots/snapshot_forest_test.c: long random histories of many sandboxes and of
 * snapshots of snapshots, with memory images and spans in between, on several threads.
 * HUSK_TEST_ROUNDS sets how long (default 3000).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "harness.h"
#include "helper_thread.h"
#include "layout.h"
#include "state_guest.h"
#include "wat.h"
#include "literals.h"

static unsigned rounds_wanted(void) {
    const char *text = getenv("HUSK_TEST_ROUNDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 3000;
}

#define SANDBOXES 6u
#define NODES 12u
#define MEMORY_IMAGES 4u
#define HELPERS 2u
#define GUEST_PAGES (STATE_MEMORY_PAGES * HUSK_WASM_PAGE_SIZE / HUSK_PAGE_SIZE)

struct node {
    husk_image *image; /* NULL: free */
    struct state_copy copy;
    unsigned depth; /* snapshots below it */
};

struct forest {
    struct state_lab lab;
    uint64_t random;
    husk_sandbox *sandboxes[SANDBOXES];
    unsigned depths[SANDBOXES]; /* of what each was loaded from */
    struct node nodes[NODES];
    husk_memory_image *memory_images[MEMORY_IMAGES];
    unsigned step, deepest;
};

static unsigned pick(struct forest *forest, unsigned count) {
    return (unsigned)(state_random(&forest->random) % count);
}

/* One that is there, or NULL if the dice do not find one. */
static struct node *pick_node(struct forest *forest) {
    struct node *node = &forest->nodes[pick(forest, NODES)];
    return node->image != NULL ? node : NULL;
}

static void node_free(struct node *node) {
    if (node->image == NULL)
        return;
    husk_image_unref(node->image);
    state_copy_done(&node->copy);
    node->image = NULL;
}

static void check_is_node(struct forest *forest, unsigned at, const struct node *node,
                          const char *how) {
    char when[96];
    forest->depths[at] = node->depth;
    snprintf(when, sizeof when, "step %u, sandbox %u, depth %u, %s", forest->step, at, node->depth,
             how);
    state_copy_check(forest->sandboxes[at], &node->copy, when);
}

static void take_snapshot(struct forest *forest, unsigned at) {
    struct state_lab *lab = &forest->lab;
    struct node *node = &forest->nodes[pick(forest, NODES)];
    struct state_copy copy;
    husk_image *image = NULL;
    state_copy_take(forest->sandboxes[at], &copy);
    CHECK_OK(husk_sandbox_snapshot(forest->sandboxes[at], &image, &lab->err), lab->err);
    CHECK(state_copy_equal(forest->sandboxes[at], &copy));
    node_free(node);
    *node = (struct node){image, copy, forest->depths[at] + 1};
    forest->deepest = node->depth > forest->deepest ? node->depth : forest->deepest;
}

static void go_to_node(struct forest *forest, unsigned at) {
    struct state_lab *lab = &forest->lab;
    const struct node *node = pick_node(forest);
    if (node == NULL)
        return;
    const unsigned way = pick(forest, 5);
    if (way < 2) {
        CHECK_OK(husk_sandbox_restore(forest->sandboxes[at], node->image, &lab->err), lab->err);
    } else if (way == 2) {
        CHECK_OK(husk_sandbox_load(forest->sandboxes[at], node->image, lab->imports, &lab->err),
                 lab->err);
    } else if (way == 3) {
        CHECK_OK(husk_sandbox_unload(forest->sandboxes[at], &lab->err), lab->err);
        CHECK_OK(husk_sandbox_load(forest->sandboxes[at], node->image, lab->imports, &lab->err),
                 lab->err);
    } else {
        husk_sandbox_free(forest->sandboxes[at]);
        forest->sandboxes[at] = state_sandbox(lab, node->image);
    }
    check_is_node(forest, at, node, way < 2 ? "restored" : way < 4 ? "loaded" : "made");
}

static void clone_one(struct forest *forest, unsigned at) {
    struct state_lab *lab = &forest->lab;
    const unsigned to = (at + 1 + pick(forest, SANDBOXES - 1)) % SANDBOXES;
    struct state_copy copy;
    husk_sandbox *clone = NULL;
    state_copy_take(forest->sandboxes[at], &copy);
    CHECK_OK(husk_sandbox_clone(forest->sandboxes[at], &clone, &lab->err), lab->err);
    husk_sandbox_free(forest->sandboxes[to]);
    forest->sandboxes[to] = clone;
    forest->depths[to] = forest->depths[at] + 1;
    state_copy_check(clone, &copy, "cloned");
    CHECK(state_copy_equal(forest->sandboxes[at], &copy));
    state_copy_done(&copy);
}

static void use_memory_image(struct forest *forest, unsigned at) {
    struct state_lab *lab = &forest->lab;
    husk_memory_image **image = &forest->memory_images[pick(forest, MEMORY_IMAGES)];
    const uint64_t pages = 1 + pick(forest, 4), from = pick(forest, GUEST_PAGES - 4);
    if (*image == NULL) {
        CHECK_OK(
            husk_memory_image_new(forest->sandboxes[at],
                                  RANGE(.addr = from * HUSK_PAGE_SIZE, .count = 4 * HUSK_PAGE_SIZE),
                                  image, &lab->err),
            lab->err);
        return;
    }
    CHECK_OK(
        husk_memory_image_map(forest->sandboxes[at],
                              RANGE(.addr = from * HUSK_PAGE_SIZE, .count = pages * HUSK_PAGE_SIZE),
                              *image, 0, &lab->err),
        lab->err);
    if (pick(forest, 3) == 0) {
        husk_memory_image_unref(*image);
        *image = NULL;
    }
}

static void write_through_span(struct forest *forest, unsigned at) {
    struct state_lab *lab = &forest->lab;
    const uint64_t from = (uint64_t)pick(forest, GUEST_PAGES) * HUSK_PAGE_SIZE;
    void *span;
    CHECK_OK(husk_memory_span(forest->sandboxes[at], RANGE(.addr = from, .count = 100), &span,
                              &lab->err),
             lab->err);
    memset(span, (int)pick(forest, 256), 100);
}

static void forest_step(void *user) {
    struct forest *forest = user;
    const unsigned at = pick(forest, SANDBOXES);
    switch (pick(forest, 12)) {
    case 0:
    case 1: take_snapshot(forest, at); break;
    case 2:
    case 3:
    case 4:
    case 5: go_to_node(forest, at); break;
    case 6: clone_one(forest, at); break;
    case 7: use_memory_image(forest, at); break;
    case 8: write_through_span(forest, at); break;
    case 9:
        if (pick(forest, 4) == 0)
            node_free(&forest->nodes[pick(forest, NODES)]);
        break;
    default: state_scramble(&forest->lab, forest->sandboxes[at], &forest->random); break;
    }
}

/* Snapshots of snapshots, more than ten deep, of and in any sandbox, used and freed in any order,
 * each step on any of three threads. */
static void forest_run(uint64_t random, bool has_scan) {
    static struct forest forest; /* outlives a failed test, as the helpers do */
    static struct helper_thread helpers[HELPERS];
    const unsigned steps = rounds_wanted();
    forest = (struct forest){.random = random};
    state_open(&forest.lab, NULL, NULL);
    forest.lab.engine->pagemap.has_scan &= has_scan;
    forest.sandboxes[0] = forest.lab.sandbox;
    for (unsigned i = 1; i < SANDBOXES; i++)
        forest.sandboxes[i] = state_sandbox(&forest.lab, forest.lab.image);
    for (unsigned i = 0; i < HELPERS; i++)
        helper_start(&helpers[i]);
    for (forest.step = 0; forest.step < steps; forest.step++) {
        const unsigned thread = pick(&forest, HELPERS + 1);
        if (thread < HELPERS)
            helper_run(&helpers[thread], forest_step, &forest);
        else
            forest_step(&forest);
    }
    for (unsigned i = 0; i < HELPERS; i++)
        helper_stop(&helpers[i]);
    CHECK_MSG(steps < 1000 || forest.deepest >= 10, "only %u deep", forest.deepest);
    for (unsigned i = 0; i < MEMORY_IMAGES; i++)
        husk_memory_image_unref(forest.memory_images[i]);
    for (unsigned i = 0; i < NODES; i++)
        node_free(&forest.nodes[i]);
    for (unsigned i = 1; i < SANDBOXES; i++)
        husk_sandbox_free(forest.sandboxes[i]);
    forest.lab.sandbox = forest.sandboxes[0];
    state_close(&forest.lab);
}

TEST(a_forest_of_snapshots) {
    SKIP_WITHOUT_COMPILER();
    forest_run(11, true);
}

/* As on kernels before 6.7. */
TEST(a_forest_of_snapshots_without_pagemap_scan) {
    SKIP_WITHOUT_COMPILER();
    forest_run(12, false);
}

TEST_MAIN()
