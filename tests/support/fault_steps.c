/* tests/support/fault_steps.c: see fault_steps.h. */
#include "fault_steps.h"

#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "image_internal.h"
#include "sandbox_internal.h"
#include "literals.h"

/* ---- How a step finds the sandbox ---- */

static void load(struct fault_world *world, husk_image *image) {
    CHECK_OK(husk_sandbox_load(world->sandbox, image, world->imports, &world->err), world->err);
}

static void scramble(struct fault_world *world) {
    world->lane->scramble(world, world->sandbox, ++world->rounds);
}

/* Written to, grown. */
static void begin_used(struct fault_world *world) {
    load(world, world->image);
    scramble(world);
}

static void begin_parked(struct fault_world *world) {
    begin_used(world);
    CHECK_OK(husk_sandbox_park(world->sandbox, &world->err), world->err);
}

static void begin_parked_without_idle(struct fault_world *world) {
    begin_parked(world);
    husk_engine_trim(world->engine, 0);
}

static void begin_on_snapshot(struct fault_world *world) {
    load(world, world->snapshot);
    scramble(world);
}

/* In new memory, in which nothing has ever grown. */
static void begin_fresh(struct fault_world *world) {
    load(world, world->other);
    load(world, world->image);
}

static void begin_on_other(struct fault_world *world) {
    load(world, world->other);
}

static void begin_unloaded(struct fault_world *world) {
    begin_used(world);
    CHECK_OK(husk_sandbox_unload(world->sandbox, &world->err), world->err);
}

static void begin_overlaid(struct fault_world *world) {
    begin_used(world);
    CHECK_OK(husk_memory_image_new(world->sandbox, RANGE(.count = 8192), &world->memory_image,
                                   &world->err),
             world->err);
    CHECK_OK(husk_memory_image_map(world->sandbox, RANGE(.addr = 16384, .count = 8192),
                                   world->memory_image, 0, &world->err),
             world->err);
    world->lane->scramble(world, world->sandbox, ++world->rounds);
}

/* The next restore discards pages that were not written any more. */
static void begin_aged(struct fault_world *world) {
    begin_used(world);
    for (unsigned i = 0; i < HOT_AGE_MAX; i++)
        CHECK_OK(husk_sandbox_restore(world->sandbox, world->image, &world->err), world->err);
}

/* A snapshot of many runs, which are merged when it is first mapped. */
static void begin_layered(struct fault_world *world) {
    begin_used(world);
    CHECK_OK(husk_sandbox_snapshot(world->sandbox, &world->taken, &world->err), world->err);
    CHECK_MSG(world->taken->runs_count > IMAGE_RUNS_MAPPED_MAX, "only %u runs",
              world->taken->runs_count);
    fault_state_free(world->states[HOLDS_TAKEN]);
    world->states[HOLDS_TAKEN] = fault_state_of(world->sandbox);
    load(world, world->image);
    scramble(world);
}

/* A restore has failed half-way. */
static void begin_broken(struct fault_world *world) {
    begin_used(world);
    fault_arm(FAULT_ONCE, 1, "mmap");
    int status = husk_sandbox_restore(world->sandbox, world->snapshot, &world->err);
    fault_disarm();
    CHECK_STATUS(status, HUSK_E_NOMEM);
    CHECK_CONTAINS(world->err.message, "must be restored again");
    CHECK(world->sandbox->is_poisoned);
}

static void begin_without_idle(struct fault_world *world) {
    begin_used(world);
    husk_engine_trim(world->engine, 0);
}

static void leave_idle(struct fault_world *world, husk_image *image) {
    begin_without_idle(world);
    CHECK_OK(husk_sandbox_new(image, world->imports, NULL, &world->second, &world->err),
             world->err);
    husk_sandbox_free(world->second);
    world->second = NULL;
}

static void begin_with_idle(struct fault_world *world) {
    leave_idle(world, world->image);
}

static void begin_with_other_idle(struct fault_world *world) {
    leave_idle(world, world->other);
}

static void begin_empty(struct fault_world *world) {
    begin_without_idle(world);
    CHECK_OK(husk_sandbox_new_empty(world->engine, NULL, &world->second, &world->err), world->err);
}

static void begin_memory_image(struct fault_world *world) {
    begin_used(world);
    CHECK_OK(husk_memory_image_new(world->sandbox, RANGE(.count = 8192), &world->memory_image,
                                   &world->err),
             world->err);
}

/* ---- Steps ---- */

static int step_snapshot(struct fault_world *world) {
    return husk_sandbox_snapshot(world->sandbox, &world->taken, &world->err);
}
static int step_restore_image(struct fault_world *world) {
    return husk_sandbox_restore(world->sandbox, world->image, &world->err);
}
static int step_restore_snapshot(struct fault_world *world) {
    return husk_sandbox_restore(world->sandbox, world->snapshot, &world->err);
}
static int step_restore_taken(struct fault_world *world) {
    return husk_sandbox_restore(world->sandbox, world->taken, &world->err);
}
static int step_load_image(struct fault_world *world) {
    return husk_sandbox_load(world->sandbox, world->image, world->imports, &world->err);
}
static int step_load_snapshot(struct fault_world *world) {
    return husk_sandbox_load(world->sandbox, world->snapshot, world->imports, &world->err);
}
static int step_load_taken(struct fault_world *world) {
    return husk_sandbox_load(world->sandbox, world->taken, world->imports, &world->err);
}
static int step_load_other(struct fault_world *world) {
    return husk_sandbox_load(world->sandbox, world->other, world->imports, &world->err);
}
static int step_load_second(struct fault_world *world) {
    return husk_sandbox_load(world->second, world->image, world->imports, &world->err);
}
static int step_new(struct fault_world *world) {
    return husk_sandbox_new(world->image, world->imports, NULL, &world->second, &world->err);
}
static int step_new_from_snapshot(struct fault_world *world) {
    return husk_sandbox_new(world->snapshot, world->imports, NULL, &world->second, &world->err);
}
static int step_clone(struct fault_world *world) {
    return husk_sandbox_clone(world->sandbox, &world->second, &world->err);
}
/* As a call of a parked sandbox begins. */
static int step_unpark(struct fault_world *world) {
    const bool was_parked = husk_sandbox_is_parked(world->sandbox);
    const int status = machine_unpark(world->sandbox->machine, false, &world->err);
    CHECK(husk_sandbox_is_parked(world->sandbox) == (was_parked && status != 0));
    return status;
}
/* It has no result. What cannot go to the pool is destroyed. */
static int step_park(struct fault_world *world) {
    return husk_sandbox_park(world->sandbox, &world->err);
}
static int step_memory_image(struct fault_world *world) {
    return husk_memory_image_new(world->sandbox, RANGE(.addr = 4096, .count = 8192),
                                 &world->memory_image, &world->err);
}
/* Of what is there already: the contents do not change. */
static int step_memory_map(struct fault_world *world) {
    return husk_memory_image_map(world->sandbox, RANGE(.count = 8192), world->memory_image, 0,
                                 &world->err);
}

struct step {
    const char *name;
    void (*begin)(struct fault_world *world);
    int (*run)(struct fault_world *world);
    /* afterwards; HOLDS_SAME for the second sandbox: a copy of the first */
    enum fault_holds holds, second_holds;
    /* what a call says if the step fails half-way; 0: it leaves everything as it was */
    int broken_status;
};

static const struct step steps[] = {
    {"snapshot", begin_used, step_snapshot, HOLDS_SAME, HOLDS_SAME, 0},
    {"snapshot with memory images mapped", begin_overlaid, step_snapshot, HOLDS_SAME, HOLDS_SAME,
     0},
    {"restore", begin_used, step_restore_image, HOLDS_IMAGE, HOLDS_SAME, HUSK_E_POISONED},
    {"restore of a larger snapshot", begin_fresh, step_restore_snapshot, HOLDS_SNAPSHOT, HOLDS_SAME,
     HUSK_E_POISONED},
    {"restore of the image", begin_on_snapshot, step_restore_image, HOLDS_IMAGE, HOLDS_SAME,
     HUSK_E_POISONED},
    {"restore of many runs", begin_layered, step_restore_taken, HOLDS_TAKEN, HOLDS_SAME,
     HUSK_E_POISONED},
    {"restore under memory images", begin_overlaid, step_restore_image, HOLDS_IMAGE, HOLDS_SAME,
     HUSK_E_POISONED},
    {"restore of a snapshot under memory images", begin_overlaid, step_restore_snapshot,
     HOLDS_SNAPSHOT, HOLDS_SAME, HUSK_E_POISONED},
    {"restore that discards pages", begin_aged, step_restore_image, HOLDS_IMAGE, HOLDS_SAME,
     HUSK_E_POISONED},
    {"restore after a failed one", begin_broken, step_restore_snapshot, HOLDS_SNAPSHOT, HOLDS_SAME,
     HUSK_E_POISONED},
    {"load of what is loaded", begin_used, step_load_image, HOLDS_IMAGE, HOLDS_SAME, HUSK_E_STATE},
    {"load of a snapshot", begin_used, step_load_snapshot, HOLDS_SNAPSHOT, HOLDS_SAME,
     HUSK_E_STATE},
    {"load of many runs", begin_layered, step_load_taken, HOLDS_TAKEN, HOLDS_SAME, HUSK_E_STATE},
    {"load of another module", begin_used, step_load_other, HOLDS_OTHER, HOLDS_SAME, HUSK_E_STATE},
    {"load over another module", begin_on_other, step_load_snapshot, HOLDS_SNAPSHOT, HOLDS_SAME,
     HUSK_E_STATE},
    {"load after a failed restore", begin_broken, step_load_image, HOLDS_IMAGE, HOLDS_SAME,
     HUSK_E_STATE},
    {"load of another module after one", begin_broken, step_load_other, HOLDS_OTHER, HOLDS_SAME,
     HUSK_E_STATE},
    {"load after an unload", begin_unloaded, step_load_snapshot, HOLDS_SNAPSHOT, HOLDS_SAME,
     HUSK_E_STATE},
    {"load into an empty sandbox", begin_empty, step_load_second, HOLDS_SAME, HOLDS_IMAGE, 0},
    {"new", begin_without_idle, step_new, HOLDS_SAME, HOLDS_IMAGE, 0},
    {"new with an idle VM", begin_with_idle, step_new_from_snapshot, HOLDS_SAME, HOLDS_SNAPSHOT, 0},
    {"new with another's idle VM", begin_with_other_idle, step_new_from_snapshot, HOLDS_SAME,
     HOLDS_SNAPSHOT, 0},
    {"clone", begin_used, step_clone, HOLDS_SAME, HOLDS_SAME, 0},
    {"parking", begin_used, step_park, HOLDS_SAME, HOLDS_SAME, 0},
    {"parking without a pool", begin_without_idle, step_park, HOLDS_SAME, HOLDS_SAME, 0},
    {"bringing back a parked sandbox", begin_parked, step_unpark, HOLDS_SAME, HOLDS_SAME, 0},
    {"bringing it back with a new VM", begin_parked_without_idle, step_unpark, HOLDS_SAME,
     HOLDS_SAME, 0},
    {"snapshot of a parked sandbox", begin_parked, step_snapshot, HOLDS_SAME, HOLDS_SAME, 0},
    {"restore of a parked sandbox", begin_parked, step_restore_snapshot, HOLDS_SNAPSHOT, HOLDS_SAME,
     HUSK_E_POISONED},
    {"load into a parked sandbox", begin_parked, step_load_image, HOLDS_IMAGE, HOLDS_SAME,
     HUSK_E_STATE},
    {"load of another module into a parked sandbox", begin_parked, step_load_other, HOLDS_OTHER,
     HOLDS_SAME, HUSK_E_STATE},
    {"clone of a parked sandbox", begin_parked, step_clone, HOLDS_SAME, HOLDS_SAME, 0},
    {"memory image", begin_used, step_memory_image, HOLDS_SAME, HOLDS_SAME, 0},
    {"mapping a memory image", begin_memory_image, step_memory_map, HOLDS_SAME, HOLDS_SAME, 0},
};
#define STEPS (sizeof steps / sizeof steps[0])

/* ---- What must be true afterwards ---- */

/* A call that changes nothing. */
static int probe(struct fault_world *world, husk_sandbox *sandbox) {
    struct husk_value address = {.type = HUSK_I64}, word;
    return husk_call(sandbox,
                     CALL(.name = "read", .args = &address, .args_count = 1, .results = &word,
                          .results_count = 1),
                     &world->outcome, &world->err);
}

/* These only get or ask for something: a step in which one of them fails has changed nothing. */
static bool is_harmless(const char *name) {
    static const char *const names[] = {
        "malloc",        "calloc",        "realloc",         "strdup",         "strndup",
        "aligned_alloc", "mprotect",      "memfd_create",    "ftruncate",      "writev",
        "lseek",         "pread",         "fcntl",           "fstat",          "open",
        "PAGEMAP_SCAN",  "KVM_CREATE_VM", "KVM_CREATE_VCPU", "KVM_SET_CPUID2", "KVM_GET_SREGS",
        "KVM_SET_SREGS", "KVM_SET_XCRS",  "ioctl",           "create",         "vcpu"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void check_done(struct fault_world *world, const struct step *step,
                       struct fault_state *before, const char *when) {
    if (step->holds == HOLDS_SAME)
        CHECK_MSG(fault_is_same(world->sandbox, before), "%s: the sandbox has changed", when);
    else
        fault_check_holds(world, world->sandbox, step->holds, when);
    if (world->second != NULL && step->second_holds != HOLDS_SAME)
        fault_check_holds(world, world->second, step->second_holds, when);
    else if (world->second != NULL)
        CHECK_MSG(fault_is_copy(world->second, before), "%s: the clone differs", when);
    if (step->run != step_snapshot)
        return;
    CHECK_MSG(husk_sandbox_restore(world->sandbox, world->taken, &world->err) == 0,
              "%s: restoring what was taken: %s", when, world->err.message);
    CHECK_MSG(fault_is_copy(world->sandbox, before), "%s: the snapshot differs", when);
}

/* Nothing but a restore or a load makes it usable. */
static void check_refuses(struct fault_world *world, int status, const char *when) {
    husk_image *none = NULL;
    for (int i = 0; i < 2; i++) {
        CHECK_MSG(husk_sandbox_snapshot(world->sandbox, &none, &world->err) == status &&
                      none == NULL,
                  "%s: a snapshot of it: %s", when, world->err.message);
        CHECK_MSG(probe(world, world->sandbox) == status, "%s: a call: %s", when,
                  world->err.message);
    }
    if (status == HUSK_E_STATE)
        CHECK_MSG(husk_sandbox_restore(world->sandbox, world->image, &world->err) == HUSK_E_STATE,
                  "%s: restoring what is not loaded: %s", when, world->err.message);
}

/* As it was, or as documented. */
static void check_failed(struct fault_world *world, const struct step *step,
                         struct fault_state *before, struct fault_counts *counts,
                         const char *when) {
    const int status = world->err.status;
    CHECK_MSG(status == HUSK_E_SYS || status == HUSK_E_NOMEM, "%s: status %d: %s", when, status,
              world->err.message);
    char message[sizeof world->err.message];
    strcpy(message, world->err.message);
    const bool was_same = fault_is_same(world->sandbox, before);
    const int expected = !fault_state_is_loaded(before)    ? HUSK_E_STATE
                         : fault_state_is_poisoned(before) ? HUSK_E_POISONED
                                                           : 0;
    const int got = probe(world, world->sandbox);
    if (got == expected && was_same) {
        counts->unchanged++;
        CHECK_MSG(got == HUSK_E_POISONED || strstr(message, "must be restored again") == NULL,
                  "%s: \"%s\"", when, message);
        CHECK_MSG(got == HUSK_E_STATE || step->broken_status != HUSK_E_STATE ||
                      strstr(message, "it still has what it had") != NULL,
                  "%s: \"%s\"", when, message);
        if (got != 0)
            check_refuses(world, got, when);
        return;
    }
    CHECK_MSG(got != 0, "%s: it can be called, and is not as it was", when);
    CHECK_MSG(!is_harmless(fault_name()), "%s: nothing was changed yet, but a call says %d: %s",
              when, got, world->err.message);
    CHECK_MSG(got == step->broken_status, "%s: a call says %d: %s", when, got, world->err.message);
    check_refuses(world, got, when);
    if (got == HUSK_E_POISONED)
        CHECK_MSG(strstr(message, "must be restored again") != NULL, "%s: \"%s\"", when, message);
    else
        CHECK_MSG(strstr(message, "nothing is loaded") != NULL, "%s: \"%s\"", when, message);
    counts->poisoned += got == HUSK_E_POISONED;
    counts->unloaded += got == HUSK_E_STATE;
}

/* The second sandbox of a step that failed: there is none, or it is empty. */
static void check_second(struct fault_world *world, const struct step *step, const char *when) {
    CHECK_MSG((world->second != NULL) == (step->run == step_load_second), "%s: gave a sandbox",
              when);
    if (world->second != NULL)
        CHECK_MSG(probe(world, world->second) == HUSK_E_STATE, "%s: the empty sandbox: %s", when,
                  world->err.message);
    CHECK_MSG(step->run != step_snapshot || world->taken == NULL, "%s: gave a snapshot", when);
    CHECK_MSG(step->run != step_memory_image || world->memory_image == NULL,
              "%s: gave a memory image", when);
}

/* In turn: the same again, and other ways to a sandbox that is usable. */
static void check_heals(struct fault_world *world, const struct step *step,
                        struct fault_state *before, unsigned way, const char *when) {
    const bool is_loaded = world->sandbox->image != NULL;
    if (way % 4 == 0 || step->broken_status == 0) {
        CHECK_MSG(step->run(world) == 0, "%s, again: %s", when, world->err.message);
        check_done(world, step, before, when);
    } else if (way % 4 == 1) {
        CHECK_MSG(step_load_image(world) == 0, "%s, then a load: %s", when, world->err.message);
        fault_check_holds(world, world->sandbox, HOLDS_IMAGE, when);
    } else if (way % 4 == 2) {
        CHECK_OK(husk_sandbox_unload(world->sandbox, &world->err), world->err);
        CHECK_MSG(step_load_other(world) == 0, "%s, then unload and load: %s", when,
                  world->err.message);
        fault_check_holds(world, world->sandbox, HOLDS_OTHER, when);
    } else if (is_loaded && world->sandbox->image->code == world->snapshot->code) {
        CHECK_MSG(step_restore_snapshot(world) == 0, "%s, then a restore: %s", when,
                  world->err.message);
        fault_check_holds(world, world->sandbox, HOLDS_SNAPSHOT, when);
    }
}

/* Returns whether the n-th operation was reached. */
static bool run_step(struct fault_world *world, const struct step *step, enum fault_mode mode,
                     unsigned nth, struct fault_counts *counts) {
    char when[256];
    step->begin(world);
    struct fault_state *before = fault_state_of(world->sandbox);
    const uint64_t vms = fault_vms_alive(world);
    const bool is_parking = step->run == step_park || step->run == step_unpark;
    world->err = (struct husk_error){0};
    fault_arm(mode, nth, NULL);
    const int status = step->run(world);
    fault_disarm();
    const bool has_fired = fault_has_fired();
    snprintf(when, sizeof when, "%s: operation %u (%s) %s", step->name, nth, fault_name(),
             fault_mode_names[mode]);
    CHECK_MSG(fault_vms_alive(world) >= vms || is_parking, "%s: a VM was lost", when);
    if (has_fired)
        fault_count(counts);
    if (status != 0) {
        CHECK_MSG(has_fired && (mode <= FAULT_EVER), "%s: %s", when, world->err.message);
        CHECK_EQ_I64(world->err.status, status);
        check_failed(world, step, before, counts, when);
        check_second(world, step, when);
        check_heals(world, step, before, nth, when);
        CHECK_MSG(fault_vms_alive(world) >= vms || is_parking, "%s: a VM was lost later", when);
    } else {
        counts->succeeded += has_fired;
        check_done(world, step, before, when);
    }
    fault_state_free(before);
    fault_world_tidy(world);
    return has_fired;
}

/* ---- All of it ---- */

void fault_steps_once(struct fault_world *world) {
    struct fault_counts counts = {0};
    for (size_t i = 0; i < STEPS; i++)
        run_step(world, &steps[i], FAULT_ONCE, FAULT_NEVER, &counts);
}

/* Once before anything is counted: what the process keeps for good (a thread's stack, stdio's
 * buffers) is there then. */
static void warm_up(const struct fault_lane *lane) {
    struct fault_world world;
    fault_world_open(&world, lane);
    fault_steps_once(&world);
    fault_world_close(&world);
}

void fault_steps_run(const struct fault_lane *lane, enum fault_mode mode,
                     struct fault_counts *counts) {
    warm_up(lane);
    for (size_t i = 0; i < STEPS; i++) {
        struct fault_world world;
        const struct fault_usage before = fault_usage_now();
        fault_world_open(&world, lane);
        for (unsigned nth = 1; run_step(&world, &steps[i], mode, nth, counts);
             nth += FAULT_STRIDE) {
        }
        fault_world_close(&world);
        fault_check_usage(&before, steps[i].name, mode);
    }
}
