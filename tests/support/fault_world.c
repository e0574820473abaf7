/* tests/support/fault_world.c: see fault_world.h. */
#include "fault_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files_in.h"
#include "harness.h"
#include "image_internal.h"
#include "sandbox_internal.h"
#include "state_guest.h"
#include "wasi.h"

/* ---- What a sandbox is ---- */

struct fault_state {
    const husk_image *image; /* NULL: nothing is loaded, and nothing below counts */
    struct state_copy copy;
    uint64_t table_entries;
    bool has_wasi, is_poisoned, owes_restored_call;
    bool is_pending; /* a call stands at a host function with one argument: */
    int64_t asked;
    struct wasi_ctx wasi; /* its descriptors are here: */
    struct wasi_fd wasi_rows[WASI_STREAMS];
    enum sandbox_start start;
};

static const struct wasi_ctx *wasi_of(const husk_sandbox *sandbox) {
    for (uint32_t i = 0; i < sandbox->link.groups_count; i++)
        if (strcmp(sandbox->link.groups[i].group->ops->name, "wasi") == 0)
            return sandbox->link.groups[i].state;
    return NULL;
}

static void wasi_copy(struct fault_state *state, const struct wasi_ctx *wasi) {
    CHECK(wasi->fds.count <= WASI_STREAMS);
    memcpy(&state->wasi, wasi, sizeof state->wasi);
    memcpy(state->wasi_rows, wasi->fds.rows, wasi->fds.count * sizeof *wasi->fds.rows);
    state->wasi.fds.rows = state->wasi_rows;
}

/* Each sandbox has its streams somewhere else. */
static bool fd_is_same(const struct wasi_fd *fd, const struct wasi_fd *then) {
    struct wasi_fd now;
    memcpy(&now, fd, sizeof now);
    now.given = then->given;
    return memcmp(&now, then, sizeof now) == 0;
}

static bool fds_are_same(const struct wasi_ctx *wasi, const struct fault_state *state) {
    bool is_same = wasi->fds.count == state->wasi.fds.count;
    for (uint32_t i = 0; is_same && i < wasi->fds.count; i++)
        is_same = fd_is_same(&wasi->fds.rows[i], &state->wasi_rows[i]);
    return is_same;
}

static bool wasi_is_same(const struct wasi_ctx *wasi, const struct fault_state *state) {
    struct wasi_ctx now;
    memcpy(&now, wasi, sizeof now);
    now.fds.rows = state->wasi.fds.rows;
    now.ahead = state->wasi.ahead; /* what a failed load had prepared; no guest sees it */
    return memcmp(&now, &state->wasi, sizeof now) == 0 && fds_are_same(wasi, state);
}

static int64_t asked_of(const husk_sandbox *sandbox) {
    return sandbox->calls.is_pending ? sandbox->link.values[0].of.i64 : 0;
}

static bool stands_alike(const husk_sandbox *sandbox, const struct fault_state *state) {
    return sandbox->calls.is_pending == state->is_pending && asked_of(sandbox) == state->asked;
}

struct fault_state *fault_state_of(const husk_sandbox *sandbox) {
    struct fault_state *state = calloc(1, sizeof *state);
    CHECK(state != NULL);
    state->image = sandbox->image;
    if (sandbox->image == NULL)
        return state;
    state_copy_take(sandbox, &state->copy);
    state->table_entries =
        sandbox->image->code->tables_count > 0 ? sandbox->machine->sizes.table_entries[0] : 0;
    state->has_wasi = wasi_of(sandbox) != NULL;
    if (state->has_wasi)
        wasi_copy(state, wasi_of(sandbox));
    state->is_pending = sandbox->calls.is_pending;
    state->asked = asked_of(sandbox);
    state->start = sandbox->start;
    state->is_poisoned = sandbox->is_poisoned;
    state->owes_restored_call = sandbox->owes_restored_call;
    return state;
}

void fault_state_free(struct fault_state *state) {
    if (state == NULL)
        return;
    state_copy_done(&state->copy);
    free(state);
}

bool fault_state_is_loaded(const struct fault_state *state) {
    return state->image != NULL;
}

bool fault_state_is_poisoned(const struct fault_state *state) {
    return state->is_poisoned;
}

bool fault_is_copy(const husk_sandbox *sandbox, const struct fault_state *state) {
    return state_copy_equal(sandbox, &state->copy) && stands_alike(sandbox, state) &&
           (state->table_entries == 0 ||
            sandbox->machine->sizes.table_entries[0] == state->table_entries);
}

bool fault_is_same(const husk_sandbox *sandbox, const struct fault_state *state) {
    if (sandbox->image != state->image || state->image == NULL)
        return sandbox->image == state->image;
    return fault_is_copy(sandbox, state) && sandbox->start == state->start &&
           sandbox->is_poisoned == state->is_poisoned &&
           sandbox->owes_restored_call == state->owes_restored_call &&
           (!state->has_wasi || wasi_is_same(wasi_of(sandbox), state));
}

void fault_check_holds(struct fault_world *world, husk_sandbox *sandbox, enum fault_holds holds,
                       const char *when) {
    const struct fault_state *state = world->states[holds];
    state_copy_check(sandbox, &state->copy, when);
    CHECK_MSG(state->table_entries == 0 ||
                  sandbox->machine->sizes.table_entries[0] == state->table_entries,
              "%s: the table has another size", when);
    CHECK(!sandbox->is_poisoned);
    CHECK_MSG(stands_alike(sandbox, state), "%s: the pending call", when);
    const struct wasi_ctx *wasi = wasi_of(sandbox);
    CHECK(state->has_wasi == (wasi != NULL));
    CHECK_MSG(wasi == NULL || fds_are_same(wasi, state), "%s: WASI's descriptors", when);
    CHECK_MSG(wasi == NULL || wasi->random_state == state->wasi.random_state,
              "%s: WASI's random numbers", when);
    if (world->lane->look != NULL)
        world->lane->look(world, sandbox);
}

/* ---- The world ---- */

uint64_t fault_vms_alive(const struct fault_world *world) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(world->engine, &stats);
    return stats.vms_made - stats.vms_freed;
}

void fault_world_open(struct fault_world *world, const struct fault_lane *lane) {
    *world = (struct fault_world){.lane = lane, .outcome = HUSK_OUTCOME_INIT};
    lane->open(world);
    CHECK_OK(husk_sandbox_new(world->image, world->imports, NULL, &world->sandbox, &world->err),
             world->err);
    world->states[HOLDS_IMAGE] = fault_state_of(world->sandbox);
    lane->scramble(world, world->sandbox, ++world->rounds);
    CHECK_OK(husk_sandbox_snapshot(world->sandbox, &world->snapshot, &world->err), world->err);
    CHECK_OK(husk_sandbox_load(world->sandbox, world->snapshot, world->imports, &world->err),
             world->err);
    world->states[HOLDS_SNAPSHOT] = fault_state_of(world->sandbox);
    CHECK_OK(husk_sandbox_load(world->sandbox, world->other, world->imports, &world->err),
             world->err);
    world->states[HOLDS_OTHER] = fault_state_of(world->sandbox);
    strcpy(world->folder, "/tmp/husk-faults-XXXXXX");
    CHECK(mkdtemp(world->folder) != NULL);
    snprintf(world->path, sizeof world->path, "%s/saved", world->folder);
}

void fault_world_tidy(struct fault_world *world) {
    husk_sandbox_free(world->second);
    husk_image_unref(world->taken);
    husk_memory_image_unref(world->memory_image);
    world->second = NULL;
    world->taken = NULL;
    world->memory_image = NULL;
}

void fault_world_close(struct fault_world *world) {
    fault_world_tidy(world);
    husk_sandbox_free(world->sandbox);
    husk_imports_free(world->imports);
    husk_image_unref(world->snapshot);
    husk_image_unref(world->other);
    husk_image_unref(world->image);
    for (size_t i = 0; i < sizeof world->states / sizeof world->states[0]; i++)
        fault_state_free(world->states[i]);
    husk_engine_trim(world->engine, 0);
    CHECK_EQ_U64(fault_vms_alive(world), 0);
    husk_engine_unref(world->engine);
    CHECK_MSG(rmdir(world->folder) == 0, "something was left in %s", world->folder);
}

/* ---- What is left, and what was made to fail ---- */

struct fault_usage fault_usage_now(void) {
    return (struct fault_usage){fault_live_blocks(), fault_live_mapped(),
                                files_in("/proc/self/fd")};
}

void fault_check_usage(const struct fault_usage *before, const char *what, enum fault_mode mode) {
    const struct fault_usage now = fault_usage_now();
    CHECK_MSG(now.blocks == before->blocks && now.mapped == before->mapped &&
                  now.fds == before->fds,
              "%s, the n-th operation %s: %ld blocks, %ld mapped bytes, %d descriptors are left",
              what, fault_mode_names[mode], now.blocks - before->blocks,
              now.mapped - before->mapped, (int)now.fds - (int)before->fds);
}

void fault_count(struct fault_counts *counts) {
    counts->fired++;
    for (unsigned i = 0; i < counts->names_count; i++)
        if (strcmp(counts->names[i], fault_name()) == 0)
            return;
    CHECK(counts->names_count < sizeof counts->names / sizeof counts->names[0]);
    counts->names[counts->names_count++] = fault_name();
}

void fault_counts_check(const struct fault_counts *counts, const char *const *names) {
    /* else not each operation had its turn */
    for (; *names != NULL && FAULT_STRIDE == 1; names++) {
        unsigned i = 0;
        while (i < counts->names_count && strcmp(counts->names[i], *names) != 0)
            i++;
        CHECK_MSG(i < counts->names_count,
                  "%s was never made to fail; is the suite linked with --wrap?", *names);
    }
}

void fault_counts_check_steps(const struct fault_counts *counts) {
    /* Which operations have a turn is chance where not each of them has one. */
    const unsigned unchanged = FAULT_STRIDE == 1 ? 300 : 30, broken = FAULT_STRIDE == 1 ? 20 : 1;
    CHECK_MSG(counts->unchanged >= unchanged && counts->poisoned >= broken &&
                  counts->unloaded >= broken,
              "%u failures changed nothing, %u poisoned, %u unloaded", counts->unchanged,
              counts->poisoned, counts->unloaded);
}

void fault_counts_print(const struct fault_counts *counts, enum fault_mode mode) {
    printf("  the n-th operation %s: %u; %u failures changed nothing, %u poisoned, %u unloaded, %u "
           "came "
           "after all was done; %u successes\n",
           fault_mode_names[mode], counts->fired, counts->unchanged, counts->poisoned,
           counts->unloaded, counts->replaced, counts->succeeded);
}
