/*
 * tests/support/fault_world.h: what a step that fails can see and change: an engine, images, a
 * sandbox; copies of all that a guest can observe of one, to compare; and how many blocks, mappings
 * and descriptors the process has.
 */
#ifndef TESTS_SUPPORT_FAULT_WORLD_H
#define TESTS_SUPPORT_FAULT_WORLD_H

#include "fault_wraps.h"
#include "husk.h"

struct fault_world;

/* ThreadSanitizer is slow, and here to look at threads: every few operations of a step will do. */
#if defined(__SANITIZE_THREAD__)
#define FAULT_STRIDE 5u
#elif defined(__has_feature)
#define FAULT_STRIDE (__has_feature(thread_sanitizer) ? 5u : 1u)
#else
#define FAULT_STRIDE 1u
#endif

/* What a lane brings. */
struct fault_lane {
    /* Engine, imports, and the images of two modules that export "read" (i64) -> i64 and a
     * memory. */
    void (*open)(struct fault_world *world);
    /* Calls that change memory here and there (in more than 13 places), make it grow, and whatever
     * else there is; differently for every seed. */
    void (*scramble)(struct fault_world *world, husk_sandbox *sandbox, unsigned seed);
    /* What the guest sees agrees with what the host has (struct arena, struct sizing); may be
     * NULL. */
    void (*look)(struct fault_world *world, husk_sandbox *sandbox);
};

/* States that the world knows. */
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
    /* What steps make; freed after each. */
    husk_sandbox *second;
    husk_image *taken;
    husk_memory_image *memory_image;
    char folder[64], path[96]; /* of saved images */
    struct fault_state *states[HOLDS_STATES];
    unsigned rounds;
    struct husk_error err;
    struct husk_outcome outcome;
};

/* How failures ended, and which operations were made to fail. */
struct fault_counts {
    unsigned fired, unchanged, poisoned, unloaded, replaced, succeeded;
    const char *names[64];
    unsigned names_count;
};

void fault_world_open(struct fault_world *world, const struct fault_lane *lane);
void fault_world_close(struct fault_world *world);
/* Frees what a step made. */
void fault_world_tidy(struct fault_world *world);
uint64_t fault_vms_alive(const struct fault_world *world);

/* A copy of all that can be observed of a sandbox. */
struct fault_state *fault_state_of(const husk_sandbox *sandbox);
void fault_state_free(struct fault_state *state); /* NULL is fine */
bool fault_state_is_loaded(const struct fault_state *state);
bool fault_state_is_poisoned(const struct fault_state *state);
/* Is the sandbox exactly so still? */
bool fault_is_same(const husk_sandbox *sandbox, const struct fault_state *state);
/* Has it the same memories and tables? */
bool fault_is_copy(const husk_sandbox *sandbox, const struct fault_state *state);
/* Fails the test unless the sandbox is as freshly loaded in this state. */
void fault_check_holds(struct fault_world *world, husk_sandbox *sandbox, enum fault_holds holds,
                       const char *when);

/* Fails the test if one of these (ended by NULL) was never made to fail. */
void fault_counts_check(const struct fault_counts *counts, const char *const *names);
/* Fails the test if there were few failures of one of the kinds that steps can have. */
void fault_counts_check_steps(const struct fault_counts *counts);
void fault_counts_print(const struct fault_counts *counts, enum fault_mode mode);

/* After a failure that was made: count it by the name of what failed. */
void fault_count(struct fault_counts *counts);

struct fault_usage {
    long blocks, mapped;
    unsigned fds;
};
struct fault_usage fault_usage_now(void);
/* Fails the test if anything is left that was not there before. */
void fault_check_usage(const struct fault_usage *before, const char *what, enum fault_mode mode);
unsigned fault_files_in(const char *folder);

#endif
