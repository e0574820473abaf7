/*
 * tests/kvm/snapshots/sandbox_files_test.c: the private layer's region is a part of a sandbox's
 * state: restored, in snapshots and clones, gone for the next tenant, and out of the guest's reach.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files_guest.h"
#include "harness.h"
#include "layout.h"
#include "literals.h"
#include "privfs.h"
#include "sandbox_internal.h"

#define LAYER_BYTES (4ull << 20)
#define CANARY 0x7ac0ffeeu

static husk_image *snapshot_of(struct guest_lab *lab, husk_sandbox *sandbox) {
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &lab->err), lab->err);
    return snapshot;
}

static void restore(struct guest_lab *lab, husk_sandbox *sandbox, husk_image *image) {
    CHECK_OK(husk_sandbox_restore(sandbox, image, &lab->err), lab->err);
}

static struct husk_stats stats_of(const struct guest_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &stats);
    return stats;
}

TEST(a_layer_is_restored) {
    struct guest_lab lab;
    files_lab_open(&lab, LAYER_BYTES);
    for (uint32_t round = 1; round < 30; round++) {
        for (uint32_t page = 0; page < round; page++)
            files_put(lab.sandbox, 3 * page, 100 * round + page);
        for (uint32_t page = 0; page < round; page++)
            CHECK_EQ_U64(files_get(lab.sandbox, 3 * page), 100 * round + page);
        restore(&lab, lab.sandbox, lab.image);
        for (uint32_t page = 0; page < 100; page++)
            CHECK_EQ_U64(files_get(lab.sandbox, page), 0);
    }
    CHECK_EQ_U64(stats_of(&lab).restores_rebuilt, 0);
    guest_lab_close(&lab);
}

/* Each sandbox has as much as the functions ask for, and no more. */
TEST(a_layer_has_room) {
    struct guest_lab lab;
    struct privfs files;
    files_lab_open(&lab, 5 * HUSK_PAGE_SIZE + 1);
    CHECK_EQ_I64(sandbox_files(lab.sandbox, &files), 0);
    CHECK(files.base != NULL);
    CHECK_EQ_U64(files.covered_bytes, 0);
    CHECK_EQ_U64(files.region_bytes, 6 * HUSK_PAGE_SIZE);
    CHECK_EQ_I64(files.cover(&files, 6 * HUSK_PAGE_SIZE + 1), -ENOSPC);
    CHECK_EQ_U64(files.covered_bytes, 0);
    CHECK_EQ_I64(files.cover(&files, 1), 0);
    CHECK_EQ_U64(files.covered_bytes, 6 * HUSK_PAGE_SIZE);
    files_put(lab.sandbox, 5, CANARY);
    CHECK_EQ_U64(files_get(lab.sandbox, 5), CANARY);
    CHECK_EQ_I64(husk_sandbox_unload(lab.sandbox, &lab.err), 0);
    CHECK_EQ_I64(sandbox_files(lab.sandbox, &files), HUSK_E_STATE);
    guest_lab_close(&lab);

    files_lab_open(&lab, 0);
    CHECK_EQ_I64(sandbox_files(lab.sandbox, &files), 0);
    CHECK(files.base == NULL && files.region_bytes == 0);
    guest_lab_close(&lab);
}

TEST(a_layer_cannot_be_larger_than_its_window) {
    struct guest_lab lab;
    husk_sandbox *sandbox = NULL;
    files_lab_open(&lab, HUSK_FILES_MAX_BYTES);
    files_put(lab.sandbox, HUSK_FILES_MAX_BYTES / HUSK_PAGE_SIZE - 1, CANARY);
    restore(&lab, lab.sandbox, lab.image);
    CHECK_EQ_U64(files_get(lab.sandbox, HUSK_FILES_MAX_BYTES / HUSK_PAGE_SIZE - 1), 0);
    files_guest_define(lab.imports, HUSK_FILES_MAX_BYTES + 1);
    CHECK_EQ_I64(husk_sandbox_new(lab.image, lab.imports, NULL, &sandbox, &lab.err), HUSK_E_LIMIT);
    CHECK(strstr(lab.err.message, "8589934593") != NULL);
    guest_lab_close(&lab);
}

#define MODEL_PAGES 64u

struct model {
    uint32_t words[MODEL_PAGES];
};

static void check_model(husk_sandbox *sandbox, const struct model *model) {
    for (uint32_t page = 1; page < MODEL_PAGES; page++)
        CHECK_EQ_U64(files_get(sandbox, page), model->words[page]);
}

static void change(husk_sandbox *sandbox, struct model *model, uint64_t *random) {
    for (uint32_t i = 0; i < 12; i++) {
        *random = *random * 6364136223846793005ull + 1442695040888963407ull;
        const uint32_t page = 1 + (uint32_t)(*random >> 40) % (MODEL_PAGES - 1);
        const uint32_t word = *random >> 61 == 0 ? 0 : (uint32_t)(*random >> 33);
        files_put(sandbox, page, word);
        model->words[page] = word;
    }
}

/* Snapshots of snapshots, restored in any order. */
TEST(any_state_comes_back) {
    enum { STATES = 6 };
    struct guest_lab lab;
    husk_image *images[STATES];
    struct model models[STATES] = {0}, now = {0};
    uint64_t random = 7;
    files_lab_open(&lab, LAYER_BYTES);
    images[0] = husk_image_ref(lab.image);
    for (uint32_t i = 1; i < STATES; i++) {
        change(lab.sandbox, &now, &random);
        images[i] = snapshot_of(&lab, lab.sandbox);
        models[i] = now;
    }
    for (uint32_t round = 0; round < 200; round++) {
        const uint32_t state = (uint32_t)(random >> 35) % STATES;
        restore(&lab, lab.sandbox, images[state]);
        now = models[state];
        if (round % 3 == 0)
            check_model(lab.sandbox, &now);
        change(lab.sandbox, &now, &random);
        check_model(lab.sandbox, &now);
    }
    CHECK_EQ_U64(stats_of(&lab).restores_rebuilt, 0);
    for (uint32_t i = 0; i < STATES; i++) {
        husk_sandbox *fresh = NULL;
        CHECK_OK(husk_sandbox_new(images[i], lab.imports, NULL, &fresh, &lab.err), lab.err);
        check_model(fresh, &models[i]);
        husk_sandbox_free(fresh);
        husk_image_unref(images[i]);
    }
    guest_lab_close(&lab);
}

TEST(a_clone_has_a_layer_of_its_own) {
    struct guest_lab lab;
    husk_sandbox *clone = NULL;
    files_lab_open(&lab, LAYER_BYTES);
    files_put(lab.sandbox, 9, 1);
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    CHECK_EQ_U64(files_get(clone, 9), 1);
    files_put(clone, 9, 2);
    files_put(clone, 900, 2);
    CHECK_EQ_U64(files_get(lab.sandbox, 9), 1);
    CHECK_EQ_U64(files_get(lab.sandbox, 900), 0);
    husk_sandbox_free(clone);
    guest_lab_close(&lab);
}

/* The layer grows, in this order, in the sandbox, in the image, and in neither. */
TEST(growth_is_restored) {
    struct guest_lab lab;
    files_lab_open(&lab, LAYER_BYTES);
    files_put(lab.sandbox, 1, 1);
    husk_image *small = snapshot_of(&lab, lab.sandbox);
    files_put(lab.sandbox, 800, 2);
    husk_image *large = snapshot_of(&lab, lab.sandbox);
    husk_sandbox *other = NULL;
    CHECK_OK(husk_sandbox_new(small, lab.imports, NULL, &other, &lab.err), lab.err);
    for (int round = 0; round < 20; round++) {
        restore(&lab, other, large);
        CHECK_EQ_U64(files_get(other, 1), 1);
        CHECK_EQ_U64(files_get(other, 800), 2);
        files_put(other, 1000, 3);
        restore(&lab, other, small);
        CHECK_EQ_U64(files_get(other, 1), 1);
        CHECK_EQ_U64(files_get(other, 800), 0);
        CHECK_EQ_U64(files_get(other, 1000), 0);
    }
    husk_sandbox_free(other);
    husk_image_unref(small);
    husk_image_unref(large);
    guest_lab_close(&lab);
}

static unsigned canaries_in_arena(const husk_sandbox *sandbox) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t count = arena_regions(&sandbox->machine->arena, regions);
    unsigned found = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint64_t at = 0; at < regions[i].bytes; at += sizeof(uint32_t))
            found += memcmp(regions[i].hva + at, &(uint32_t){CANARY}, sizeof(uint32_t)) == 0;
    return found;
}

/* The machine goes from one to the next: with the same limits, with others, and without a layer. */
TEST(the_next_tenant_finds_nothing) {
    static const uint64_t layers[] = {LAYER_BYTES, LAYER_BYTES, 0, LAYER_BYTES, LAYER_BYTES / 2};
    struct guest_lab lab;
    files_lab_open(&lab, LAYER_BYTES);
    const uint64_t vms_made = stats_of(&lab).vms_made;
    for (uint32_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        if (i > 0 && layers[i - 1] > 0) {
            for (uint32_t page = 0; page < 200; page++)
                files_put(lab.sandbox, page, CANARY);
            CHECK_EQ_U64(canaries_in_arena(lab.sandbox), 200);
        }
        husk_sandbox_free(lab.sandbox);
        files_guest_define(lab.imports, layers[i]);
        lab.sandbox = guest_lab_sandbox(&lab);
        CHECK_EQ_U64(canaries_in_arena(lab.sandbox), 0);
        for (uint32_t page = 0; page < 200; page++)
            CHECK_EQ_U64(files_get(lab.sandbox, page), 0);
    }
    CHECK_EQ_U64(stats_of(&lab).vms_made, vms_made);
    guest_lab_close(&lab);
}

TEST(a_layer_needs_directories_with_room) {
    struct guest_lab lab;
    husk_sandbox *sandbox = NULL;
    files_lab_open(&lab, LAYER_BYTES);
    files_put(lab.sandbox, 900, 1);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    files_guest_define(lab.imports, 65536);
    CHECK_EQ_I64(husk_sandbox_new(snapshot, lab.imports, NULL, &sandbox, &lab.err), HUSK_E_LIMIT);
    CHECK_MSG(strstr(lab.err.message, "may have 65536") != NULL, "%s", lab.err.message);
    CHECK_EQ_I64(husk_sandbox_load(lab.sandbox, snapshot, lab.imports, &lab.err), HUSK_E_LIMIT);
    CHECK_EQ_U64(files_get(lab.sandbox, 900), 1);
    files_guest_define(lab.imports, 0);
    CHECK_EQ_I64(husk_sandbox_new(snapshot, lab.imports, NULL, &sandbox, &lab.err), HUSK_E_LIMIT);
    CHECK_MSG(strstr(lab.err.message, "no private directory") != NULL, "%s", lab.err.message);
    husk_image_unref(snapshot);
    guest_lab_close(&lab);
}

static bool is_hot(const husk_sandbox *sandbox, uint64_t gva_value) {
    const struct hotset *hotset = &sandbox->machine->hotset;
    for (uint32_t i = 0; i < hotset->count; i++)
        if (arena_gva_of(&sandbox->machine->arena, hotset->pages[i].hva) == gva_value)
            return true;
    return false;
}

/* Pages of the layer that every request writes are learned, and private from the start in a new
 * sandbox. */
TEST(pages_of_the_layer_are_learned) {
    const uint64_t written_gva = HUSK_FILES_GVA + 9 * HUSK_PAGE_SIZE;
    struct guest_lab lab;
    files_lab_open(&lab, LAYER_BYTES);
    files_put(lab.sandbox, 9, 1);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    husk_engine_trim(lab.engine, 0);
    for (int i = 0; i < 2; i++) {
        husk_sandbox *sandbox = NULL;
        CHECK_OK(husk_sandbox_new(snapshot, lab.imports, NULL, &sandbox, &lab.err), lab.err);
        for (uint32_t round = 0; round < 2; round++) {
            files_put(sandbox, 9, 10 + round);
            restore(&lab, sandbox, snapshot);
        }
        husk_sandbox_free(sandbox);
        husk_engine_trim(lab.engine, 0);
    }
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_sandbox_new(snapshot, lab.imports, NULL, &sandbox, &lab.err), lab.err);
    CHECK(is_hot(sandbox, written_gva));
    CHECK_EQ_U64(files_get(sandbox, 9), 1);
    husk_sandbox_free(sandbox);
    husk_image_unref(snapshot);
    guest_lab_close(&lab);
}

struct restore_cost {
    uint64_t copied, hot;
};

/* Of a restore after a request that only reads, in a layer of so many pages, which were all written
 * once. It reads a zero, so that the mailbox is the same. */
static struct restore_cost cost_with(uint32_t pages) {
    struct guest_lab lab;
    files_lab_open(&lab, LAYER_BYTES);
    for (uint32_t page = 1; page < pages; page++)
        files_put(lab.sandbox, page, 1);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    for (int i = 0; i < 20; i++) {
        files_get(lab.sandbox, 301);
        restore(&lab, lab.sandbox, snapshot);
    }
    const uint64_t copied = stats_of(&lab).restore_pages_copied;
    files_get(lab.sandbox, 301);
    restore(&lab, lab.sandbox, snapshot);
    const struct restore_cost cost = {stats_of(&lab).restore_pages_copied - copied,
                                      lab.sandbox->machine->hotset.count};
    CHECK_EQ_U64(files_get(lab.sandbox, 299), pages == 300);
    husk_image_unref(snapshot);
    guest_lab_close(&lab);
    return cost;
}

/* A request that touches no file copies no page of the layer back. Once its pages have aged, none
 * is compared. */
TEST(an_untouched_layer_costs_nothing) {
    const struct restore_cost without = cost_with(0), with = cost_with(300);
    CHECK_EQ_U64(with.copied, without.copied);
    CHECK_EQ_U64(with.hot, without.hot);
}

/* From inside, by any address of the window: the host alone has it. */
TEST(the_guest_cannot_reach_it) {
    static const uint64_t offsets[] = {0, 5 * HUSK_PAGE_SIZE, LAYER_BYTES,
                                       HUSK_FILES_MAX_BYTES - 8};
    struct guest_lab lab;
    files_lab_open(&lab, LAYER_BYTES);
    husk_image *image = husk_image_ref(lab.image);
    for (uint32_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        for (uint32_t page = 0; page < 20; page++)
            files_put(lab.sandbox, page, CANARY);
        CHECK(arena_span(&lab.sandbox->machine->arena, HUSK_FILES_GVA + offsets[i], 1) == NULL);
        guest_call(lab.sandbox, "read", (int64_t)(HUSK_FILES_GVA + offsets[i] - HUSK_MEM0_GVA),
                   &lab.outcome);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_GUEST_VIOLATION);
        restore(&lab, lab.sandbox, image);
    }
    husk_image_unref(image);
    guest_lab_close(&lab);
}

TEST_MAIN()
