/*
 * tests/kvm/snapshots/snapshot_test.c: snapshots: the state that they keep. They are independent of
 * all later changes, of each other, and of the order in which they are used and freed.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "files_in.h"
#include "harness.h"
#include "image_internal.h"
#include "state_guest.h"
#include "wat.h"
#include "literals.h"

static husk_image *snapshot_of(struct state_lab *lab, husk_sandbox *sandbox) {
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &lab->err), lab->err);
    return snapshot;
}

TEST(keeps_a_changed_table) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "tset", 1);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    STATE_CALL(&lab, "tnull", 1);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "tcall", 1), 1002);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "tcall", 1), 1001);
    husk_image_unref(snapshot);
    state_close(&lab);
}

TEST(keeps_a_grown_table) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "tgrow", 3000);
    STATE_CALL(&lab, "tset", 2000);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "tsize"), 8);
    husk_sandbox *fresh = state_sandbox(&lab, snapshot);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    husk_sandbox *both[2] = {fresh, lab.sandbox};
    for (int i = 0; i < 2; i++) {
        CHECK_EQ_I64(STATE_CALL_ON(&lab, both[i], "tsize"), 3008);
        CHECK_EQ_I64(STATE_CALL_ON(&lab, both[i], "tcall", 3007), 1001);
        CHECK_EQ_I64(STATE_CALL_ON(&lab, both[i], "tcall", 2000), 1002);
        CHECK_EQ_I64(STATE_CALL_ON(&lab, both[i], "tgrow", 100), 3008);
    }
    husk_sandbox_free(fresh);
    husk_image_unref(snapshot);
    state_close(&lab);
}

#define CHAIN 10

/* Each link is the one before and something more; used in any order, in several sandboxes; freed in
 * any order. */
TEST(chains_are_independent) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_image *links[CHAIN];
    struct state_copy copies[CHAIN];
    uint64_t random = 3;
    state_open(&lab, NULL, NULL);
    husk_sandbox *second = state_sandbox(&lab, lab.image);
    for (int i = 0; i < CHAIN; i++) {
        state_scramble(&lab, lab.sandbox, &random);
        STATE_CALL(&lab, "store", 4096 * i, i + 1);
        links[i] = snapshot_of(&lab, lab.sandbox);
        CHECK(husk_image_is_snapshot(links[i]));
        state_copy_take(lab.sandbox, &copies[i]);
    }
    CHECK(!husk_image_is_snapshot(lab.image));
    for (int round = 0; round < 400; round++) {
        unsigned at = (unsigned)(state_random(&random) % CHAIN);
        husk_sandbox *sandbox = state_random(&random) % 2 == 0 ? lab.sandbox : second;
        if (links[at] == NULL)
            continue;
        state_scramble(&lab, sandbox, &random);
        CHECK_OK(husk_sandbox_restore(sandbox, links[at], &lab.err), lab.err);
        char when[64];
        snprintf(when, sizeof when, "round %d, link %u", round, at);
        state_copy_check(sandbox, &copies[at], when);
        if (round % 60 == 59) {
            husk_image_unref(links[at]);
            links[at] = NULL;
        }
    }
    for (int i = 0; i < CHAIN; i++) {
        husk_image_unref(links[i]);
        state_copy_done(&copies[i]);
    }
    husk_sandbox_free(second);
    state_close(&lab);
}

/* A snapshot from a restored state, many times, each with a page and a table's growth of its own:
 * the depth of the chain must cost neither descriptors nor mappings. */
TEST(long_chains_stay_flat) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_image *last = NULL;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "grow", 20);
    const unsigned fds_before = files_in("/proc/self/fd");
    for (int i = 0; i < 300; i++) {
        STATE_CALL(&lab, "store", 4096 * (i * 7 % 300), i);
        STATE_CALL(&lab, "tgrow", 16);
        husk_image *next = snapshot_of(&lab, lab.sandbox);
        husk_image_unref(last);
        last = next;
        CHECK_OK(husk_sandbox_restore(lab.sandbox, last, &lab.err), lab.err);
    }
    CHECK_MSG(files_in("/proc/self/fd") <= fds_before + 40, "%u descriptors, %u before",
              files_in("/proc/self/fd"), fds_before);
    CHECK(last->data_segments_count <= lab.image->data_segments_count + 1);
    husk_sandbox *fresh = state_sandbox(&lab, last);
    for (int i = 0; i < 300; i++)
        CHECK_EQ_I64(STATE_CALL_ON(&lab, fresh, "load", 4096 * (i * 7 % 300)), i);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, fresh, "tsize"), 8 + 300 * 16);
    husk_sandbox_free(fresh);
    husk_image_unref(last);
    state_close(&lab);
}

TEST(outlives_its_sandbox_and_module) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "store", 20000, 321);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    STATE_CALL(&lab, "store", 20000, 1);
    husk_sandbox_free(lab.sandbox);
    husk_engine_trim(lab.engine, 0);
    lab.sandbox = NULL;
    husk_image_unref(lab.image);
    lab.image = snapshot;
    husk_sandbox *fresh = state_sandbox(&lab, snapshot);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, fresh, "load", 20000), 321);
    husk_engine_unref(lab.engine); /* images and sandboxes keep it */
    CHECK_EQ_I64(STATE_CALL_ON(&lab, fresh, "load", 20000), 321);
    lab.engine = NULL;
    husk_sandbox_free(fresh);
    state_close(&lab);
}

TEST(costs_what_was_written) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_stats before = HUSK_STATS_INIT, after = HUSK_STATS_INIT;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "grow", 16);
    husk_image *first = snapshot_of(&lab, lab.sandbox);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, first, &lab.err), lab.err);
    husk_engine_stats(lab.engine, &before);
    for (int i = 0; i < 64; i++)
        STATE_CALL(&lab, "store", 65536 + 4096 * i, i + 1);
    husk_image *second = snapshot_of(&lab, lab.sandbox);
    husk_engine_stats(lab.engine, &after);
    CHECK_EQ_U64(after.snapshots - before.snapshots, 1);
    CHECK(after.snapshot_pages - before.snapshot_pages >= 64);
    CHECK(after.snapshot_pages - before.snapshot_pages <= 68);
    husk_image *third = snapshot_of(&lab, lab.sandbox);
    husk_image_unref(third);
    husk_image_unref(second);
    husk_image_unref(first);
    state_close(&lab);
}

TEST(the_sandbox_is_not_changed) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    uint64_t random = 4;
    state_open(&lab, NULL, NULL);
    for (int round = 0; round < 50; round++) {
        state_scramble(&lab, lab.sandbox, &random);
        state_copy_take(lab.sandbox, &copy);
        husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
        CHECK(state_copy_equal(lab.sandbox, &copy));
        husk_image_unref(snapshot);
        state_copy_done(&copy);
    }
    CHECK_EQ_I64(STATE_CALL(&lab, "deep", 3), 6);
    state_close(&lab);
}

/* A page that is zero in the snapshot but not in the module must come back as zero. */
TEST(zeroed_pages_come_back_as_zeros) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "fill", 0, 0, 2 * 65536);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0x6c6c6568);
    husk_sandbox *fresh = state_sandbox(&lab, snapshot);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, fresh, "load", 100), 0);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0);
    husk_sandbox_free(fresh);
    husk_image_unref(snapshot);
    state_close(&lab);
}

/* ---- Refused from inside ---- */

struct inside {
    struct state_lab *lab;
    int status[6];
    char message[512];
};

static int host_tries_everything(husk_caller *caller, void *user, const struct husk_value *args,
                                 struct husk_value *results) {
    struct inside *inside = user;
    husk_sandbox *sandbox = husk_caller_sandbox(caller), *clone = NULL;
    husk_image *snapshot = NULL;
    struct husk_error err;
    inside->status[0] = husk_sandbox_snapshot(sandbox, &snapshot, &err);
    strcpy(inside->message, err.message);
    inside->status[1] = husk_sandbox_restore(sandbox, inside->lab->image, &err);
    inside->status[2] = husk_sandbox_unload(sandbox, &err);
    inside->status[3] = husk_sandbox_load(sandbox, inside->lab->image, inside->lab->imports, &err);
    inside->status[4] = husk_sandbox_clone(sandbox, &clone, &err);
    inside->status[5] = snapshot == NULL && clone == NULL ? HUSK_E_STATE : 0;
    results[0].of.i32 = args[0].of.i32 * 2;
    return 0;
}

TEST(refused_inside_a_host_function) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct inside inside = {.lab = &lab};
    state_open(&lab, host_tries_everything, &inside);
    CHECK_EQ_I64(STATE_CALL(&lab, "host", 21), 42);
    for (int i = 0; i < 6; i++)
        CHECK_STATUS(inside.status[i], HUSK_E_STATE);
    CHECK_CONTAINS(inside.message, "host function");
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0x6c6c6568);
    state_close(&lab);
}

TEST(refuses_what_is_not_there) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_image *snapshot = NULL;
    husk_sandbox *clone = NULL;
    state_open(&lab, NULL, NULL);
    CHECK_STATUS(husk_sandbox_snapshot(NULL, &snapshot, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_snapshot(lab.sandbox, NULL, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_clone(lab.sandbox, NULL, &lab.err), HUSK_E_INVAL);
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    CHECK_STATUS(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), HUSK_E_STATE);
    CHECK(snapshot == NULL && clone == NULL);
    state_close(&lab);
}

/* ---- Clones, other sandboxes ---- */

TEST(clones_go_their_own_way) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_sandbox *clone = NULL;
    struct state_copy copy;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "store", 1000, 1);
    STATE_CALL(&lab, "grow", 1);
    state_copy_take(lab.sandbox, &copy);
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    state_copy_check(clone, &copy, "cloned");
    STATE_CALL(&lab, "store", 1000, 2);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, clone, "load", 1000), 1);
    STATE_CALL_ON(&lab, clone, "store", 1000, 3);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 1000), 2);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, clone, "host", 4), 5); /* the same imports */
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = NULL;
    CHECK_EQ_I64(STATE_CALL_ON(&lab, clone, "load", 1000), 3);
    state_copy_done(&copy);
    husk_sandbox_free(clone);
    state_close(&lab);
}

TEST(other_imports_are_refused_by_name) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_imports *empty = NULL, *other = NULL;
    husk_sandbox *none = NULL;
    state_open(&lab, NULL, NULL);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    CHECK_OK(husk_imports_new(lab.engine, &empty, &lab.err), lab.err);
    CHECK_STATUS(husk_sandbox_new(snapshot, empty, NULL, &none, &lab.err), HUSK_E_LINK);
    CHECK_CONTAINS(lab.err.message, "host");
    CHECK_CONTAINS(lab.err.message, "env");
    CHECK_OK(husk_imports_new(lab.engine, &other, &lab.err), lab.err);
    struct husk_value zero = value_i32(0);
    CHECK_OK(husk_imports_define(other, EXTERN(GLOBAL, "env", "host", .type = zero.type), &zero,
                                 &lab.err),
             lab.err);
    STATE_CALL(&lab, "store", 8, 8);
    CHECK_STATUS(husk_sandbox_load(lab.sandbox, snapshot, other, &lab.err), HUSK_E_LINK);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 8), 8); /* still loaded, unchanged */
    CHECK(none == NULL);
    husk_imports_free(empty);
    husk_imports_free(other);
    husk_image_unref(snapshot);
    state_close(&lab);
}

/* ---- Threads ---- */

struct racer {
    struct state_lab lab; /* its own err and outcome; the rest is shared */
    const struct state_copy *copy;
    husk_image *snapshot;
    uint64_t random;
    bool is_right;
};

static void *racer_run(void *argument) {
    struct racer *racer = argument;
    struct state_lab *lab = &racer->lab;
    racer->is_right = true;
    for (int round = 0; round < 60 && racer->is_right; round++) {
        husk_sandbox *sandbox = NULL;
        if (husk_sandbox_new(racer->snapshot, lab->imports, NULL, &sandbox, &lab->err) != 0)
            racer->is_right = false;
        for (int i = 0; i < 3 && racer->is_right; i++) {
            racer->is_right = state_copy_equal(sandbox, racer->copy);
            state_scramble(lab, sandbox, &racer->random);
            if (husk_sandbox_restore(sandbox, racer->snapshot, &lab->err) != 0)
                racer->is_right = false;
        }
        husk_sandbox_free(sandbox);
    }
    return NULL;
}

#define RACERS 6

TEST(many_threads_share_a_snapshot) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    uint64_t random = 9;
    state_open(&lab, NULL, NULL);
    for (int i = 0; i < 10; i++)
        state_scramble(&lab, lab.sandbox, &random);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    state_copy_take(lab.sandbox, &copy);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.lab = lab, .copy = &copy, .snapshot = snapshot, .random = i};
        CHECK(pthread_create(&threads[i], NULL, racer_run, &racers[i]) == 0);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_MSG(racers[i].is_right, "thread %u: %s", i, racers[i].lab.err.message);
    }
    state_copy_done(&copy);
    husk_image_unref(snapshot);
    state_close(&lab);
}

TEST_MAIN()
