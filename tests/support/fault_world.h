/*
 * tests/support/fault_world.h: the objects that a failing step can see and change: an engine,
 * images, a sandbox. It also makes copies of everything that a guest can observe, to compare them,
 * and counts the process's blocks, mappings and descriptors.
 */
#ifndef TESTS_SUPPORT_FAULT_WORLD_H
#define TESTS_SUPPORT_FAULT_WORLD_H

#include "fault_wraps.h"
#include "husk.h"

struct fault_world;

/* ThreadSanitizer is slow, and tests threads only. So only every few operations of a step are made
 * to fail. */
#if defined(__SANITIZE_THREAD__)
#define FAULT_STRIDE 5u
#elif defined(__has_feature)
#define FAULT_STRIDE (__has_feature(thread_sanitizer) ? 5u : 1u)
#else
#define FAULT_STRIDE 1u
#endif

/* The functions of a lane. */
struct fault_lane {
    /* Make the engine, the imports, and the images of two modules that export "read" (i64) -> i64
     * and a memory. */
    void (*open)(struct fault_world *world);
    /* Make calls that change memory in more than 13 places, make it grow, and change the other
     * state. Each seed gives different changes. */
    void (*scramble)(struct fault_world *world, husk_sandbox *sandbox, unsigned seed);
    /* Check that the guest sees the state that the host has (struct arena, struct sizing). May be
     * NULL. */
    void (*look)(struct fault_world *world, husk_sandbox *sandbox);
};

/* The states that the world knows. */
enum fault_holds {
    HOLDS_TAKEN,
    HOLDS_IMAGE,
    HOLDS_SNAPSHOT,
    HOLDS_OTHER,
    HOLDS_STATES,
    HOLDS_SAME
};

struct fault_state;

struct fault_world {
    const struct fault_lane *lane;
    husk_engine *engine;
    husk_image *image, *other, *snapshot;
    husk_imports *imports;
    husk_sandbox *sandbox;
    /* Objects that a step makes; freed after it. */
    husk_sandbox *second;
    husk_image *taken;
    husk_memory_image *memory_image;
    char folder[64], path[96]; /* for saved images */
    struct fault_state *states[HOLDS_STATES];
    unsigned rounds;
    struct husk_error err;
    struct husk_outcome outcome;
};

/* The outcomes of failures, and the operations that were made to fail. */
struct fault_counts {
    unsigned fired, unchanged, poisoned, unloaded, replaced, succeeded;
    const char *names[64];
    unsigned names_count;
};

void fault_world_open(struct fault_world *world, const struct fault_lane *lane);
void fault_world_close(struct fault_world *world);
/* Free the objects that a step made. */
void fault_world_tidy(struct fault_world *world);
uint64_t fault_vms_alive(const struct fault_world *world);

/* Copy everything that can be observed of a sandbox. */
struct fault_state *fault_state_of(const husk_sandbox *sandbox);
void fault_state_free(struct fault_state *state); /* NULL is allowed */
bool fault_state_is_loaded(const struct fault_state *state);
bool fault_state_is_poisoned(const struct fault_state *state);
/* Is the sandbox still exactly in this state? */
bool fault_is_same(const husk_sandbox *sandbox, const struct fault_state *state);
/* Does the sandbox have the same memories and tables? */
bool fault_is_copy(const husk_sandbox *sandbox, const struct fault_state *state);
/* Fail the test unless the sandbox is as if freshly loaded in this state. */
void fault_check_holds(struct fault_world *world, husk_sandbox *sandbox, enum fault_holds holds,
                       const char *when);

/* Fail the test if one of these operations (ended by NULL) was never made to fail. */
void fault_counts_check(const struct fault_counts *counts, const char *const *names);
/* Fail the test if an outcome that steps can have was rare. */
void fault_counts_check_steps(const struct fault_counts *counts);
void fault_counts_print(const struct fault_counts *counts, enum fault_mode mode);

/* After an injected failure: count it by the name of the operation that failed. */
void fault_count(struct fault_counts *counts);

struct fault_usage {
    long blocks, mapped;
    unsigned fds;
};
struct fault_usage fault_usage_now(void);
/* Fail the test if the process has more blocks, mappings or descriptors than before. */
void fault_check_usage(const struct fault_usage *before, const char *what, enum fault_mode mode);

#endif
