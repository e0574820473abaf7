/*
 * tests/kvm/snapshots/park_test.c: a parked sandbox has no VM and keeps all the rest. Every
 * function works on it as on others. A call brings it back.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_internal.h"
#include "error.h"
#include "files_in.h"
#include "harness.h"
#include "last_backtrace.h"
#include "literals.h"
#include "sandbox_internal.h"
#include "state_guest.h"
#include "wat.h"

static void park(struct state_lab *lab) {
    CHECK_OK(husk_sandbox_park(lab->sandbox, &lab->err), lab->err);
    CHECK(husk_sandbox_is_parked(lab->sandbox));
}

/* VMs that are given up are destroyed. */
static void open_without_pool(struct state_lab *lab) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    options.pool_max = -1;
    state_open_with(lab, &options, NULL, NULL);
}

static struct husk_stats stats_of(const struct state_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &stats);
    return stats;
}

/* The guest sees the state that the host has. */
static void look(struct state_lab *lab) {
    CHECK_EQ_U64((uint64_t)STATE_CALL(lab, "size"),
                 husk_memory_bytes(lab->sandbox, 0) / HUSK_WASM_PAGE_SIZE);
    CHECK_EQ_U64((uint64_t)STATE_CALL(lab, "tsize"), husk_table_size(lab->sandbox, 0));
    STATE_CALL(lab, "load", (int32_t)husk_memory_bytes(lab->sandbox, 0) - 4);
    STATE_RUN(lab, "load", (int32_t)husk_memory_bytes(lab->sandbox, 0));
    CHECK_EQ_U64(lab->outcome.kind, HUSK_TRAPPED);
}

TEST(it_comes_back_as_it_was) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    uint64_t random = 1;
    open_without_pool(&lab);
    STATE_CALL(&lab, "load", 0);
    const unsigned fds = files_in("/proc/self/fd");
    for (unsigned i = 0; i < 12; i++) {
        state_scramble(&lab, lab.sandbox, &random);
        state_copy_take(lab.sandbox, &copy);
        park(&lab);
        CHECK(files_in("/proc/self/fd") < fds);
        CHECK(state_copy_equal(lab.sandbox, &copy));
        park(&lab); /* again */
        STATE_CALL(&lab, "host", 1);
        CHECK(!husk_sandbox_is_parked(lab.sandbox));
        CHECK_EQ_U64(files_in("/proc/self/fd"), fds);
        state_copy_done(&copy);
        look(&lab);
    }
    const struct husk_stats stats = stats_of(&lab);
    CHECK_EQ_U64(stats.parks, 12);
    CHECK_EQ_U64(stats.unparks, 12);
    CHECK_EQ_U64(stats.vms, 1);
    CHECK_EQ_U64(stats.sandboxes, 1);
    state_close(&lab);
}

TEST(its_pages_are_restored) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    uint64_t random = 7;
    state_open(&lab, NULL, NULL);
    state_copy_take(lab.sandbox, &copy);
    for (unsigned i = 0; i < 24; i++) {
        state_scramble(&lab, lab.sandbox, &random);
        if (i % 2 == 0)
            park(&lab);
        if (i % 3 == 0)
            state_scramble(&lab, lab.sandbox, &random);
        if (i % 4 == 0)
            park(&lab);
        const bool was_parked = husk_sandbox_is_parked(lab.sandbox);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK(husk_sandbox_is_parked(lab.sandbox) == was_parked);
        state_copy_check(lab.sandbox, &copy, "after a restore");
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        state_copy_check(lab.sandbox, &copy, "after another one");
        if (i % 5 == 0)
            look(&lab);
    }
    state_copy_done(&copy);
    state_close(&lab);
}

/* What the host writes and makes grow while there is no VM, the guest sees. */
TEST(the_host_works_on_it) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    const uint32_t word = 4711;
    uint32_t back = 0;
    void *span = NULL;
    uint64_t old_bytes = 0, old_entries = 0;
    struct husk_value value = value_i64(-5);
    STATE_CALL(&lab, "store", 8, 1);
    park(&lab);
    CHECK_OK(husk_memory_write(lab.sandbox, RANGE(.addr = 8, .count = 4), &word, &lab.err),
             lab.err);
    CHECK_OK(husk_memory_read(lab.sandbox, RANGE(.addr = 8, .count = 4), &back, &lab.err), lab.err);
    CHECK_EQ_U64(back, word);
    CHECK_OK(husk_memory_grow(lab.sandbox, 0, 3, &old_bytes, &lab.err), lab.err);
    CHECK_OK(husk_table_grow(lab.sandbox, 0, 2000, &old_entries, &lab.err), lab.err);
    CHECK_OK(husk_global_set(lab.sandbox, "g", 0, &value, &lab.err), lab.err);
    CHECK_OK(
        husk_memory_span(lab.sandbox, RANGE(.addr = 4 * 65536, .count = 4096), &span, &lab.err),
        lab.err);
    memset(span, 1, 4);
    CHECK(husk_sandbox_is_parked(lab.sandbox));
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 8), word);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 4 * 65536), 0x01010101);
    CHECK_EQ_I64(STATE_CALL(&lab, "gget"), -5);
    CHECK_EQ_I64(STATE_CALL(&lab, "tsize"), 2000 + STATE_TABLE_ENTRIES);
    look(&lab);
    CHECK_EQ_I64(STATE_CALL(&lab, "grow", 20), 5); /* further slots go on behind the merged one */
    park(&lab);
    look(&lab);
    STATE_CALL(&lab, "store", 24 * 65536, 6);
    state_close(&lab);
}

TEST(snapshots_and_clones_are_taken_of_it) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    husk_image *snapshot = NULL;
    husk_sandbox *clone = NULL;
    uint64_t random = 3;
    state_open(&lab, NULL, NULL);
    state_scramble(&lab, lab.sandbox, &random);
    state_copy_take(lab.sandbox, &copy);
    park(&lab);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    CHECK(husk_sandbox_is_parked(lab.sandbox) && !husk_sandbox_is_parked(clone));
    CHECK(state_copy_equal(clone, &copy));
    STATE_CALL_ON(&lab, clone, "store", 0, 99);
    husk_sandbox_free(clone);
    state_scramble(&lab, lab.sandbox, &random);
    park(&lab);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    CHECK(husk_sandbox_is_parked(lab.sandbox));
    state_copy_check(lab.sandbox, &copy, "after a restore to its snapshot");
    look(&lab);
    state_copy_done(&copy);
    husk_image_unref(snapshot);
    state_close(&lab);
}

TEST(memory_images_are_mapped_into_it) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_memory_image *image = NULL;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "store", 4096, 31);
    park(&lab);
    CHECK_OK(
        husk_memory_image_new(lab.sandbox, RANGE(.addr = 4096, .count = 4096), &image, &lab.err),
        lab.err);
    CHECK_OK(
        husk_memory_image_map(lab.sandbox, RANGE(.addr = 65536, .count = 4096), image, 0, &lab.err),
        lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 65536), 31);
    park(&lab);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 65536), 0);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 4096), 0);
    husk_memory_image_unref(image);
    state_close(&lab);
}

/* A load in place leaves it parked; one that makes new memory gets a VM for it. */
TEST(images_are_loaded_into_it) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    husk_image *other = wat_image_with(
        lab.engine, "(module (memory 1) (func (export \"size\") (result i32) memory.size))",
        WAT_WORKER);
    for (unsigned i = 0; i < 4; i++) {
        STATE_CALL(&lab, "store", 8, 5);
        park(&lab);
        if (i % 2 == 1)
            CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
        CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
        CHECK(husk_sandbox_is_parked(lab.sandbox));
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 8), 0);
        park(&lab);
        CHECK_OK(husk_sandbox_load(lab.sandbox, other, NULL, &lab.err), lab.err);
        CHECK(!husk_sandbox_is_parked(lab.sandbox));
        CHECK_EQ_I64(STATE_CALL(&lab, "size"), 1);
        park(&lab);
        CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
        CHECK_EQ_I64(STATE_CALL(&lab, "size"), STATE_MEMORY_PAGES);
    }
    husk_image_unref(other);
    state_close(&lab);
}

TEST(it_is_parked_in_every_state) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    state_open(&lab, NULL, NULL);
    husk_sandbox *empty = state_sandbox(&lab, NULL);
    CHECK(husk_sandbox_is_parked(empty));
    CHECK_OK(husk_sandbox_park(empty, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_load(empty, lab.image, lab.imports, &lab.err), lab.err);
    CHECK(!husk_sandbox_is_parked(empty));
    CHECK_OK(husk_sandbox_park(empty, &lab.err), lab.err); /* loaded, and never called */
    CHECK_EQ_I64(STATE_CALL_ON(&lab, empty, "gget"), 7);
    CHECK_OK(husk_sandbox_unload(empty, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_park(empty, &lab.err), lab.err); /* unloaded, and dirty */
    CHECK_STATUS(husk_call(empty, CALL(.name = "gget"), &lab.outcome, &lab.err), HUSK_E_STATE);
    husk_sandbox_free(empty);
    limits.wall_ns = 20000000;
    for (unsigned i = 0; !lab.outcome.is_poisoned && i < 20; i++)
        CHECK_OK(
            husk_call(lab.sandbox, CALL(.name = "spin", .limits = &limits), &lab.outcome, &lab.err),
            lab.err);
    CHECK(lab.outcome.is_poisoned);
    park(&lab);
    CHECK_STATUS(husk_call(lab.sandbox, CALL(.name = "trap"), &lab.outcome, &lab.err),
                 HUSK_E_POISONED);
    CHECK(husk_sandbox_is_parked(lab.sandbox));
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "deep", 10), 55);
    state_close(&lab);
}

/* Also the backtrace of the last call: it lies in memory. */
TEST(what_ended_the_last_call_is_kept) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_RUN(&lab, "trap");
    const struct husk_backtrace before = last_backtrace(lab.sandbox);
    park(&lab);
    const struct husk_backtrace after = last_backtrace(lab.sandbox);
    CHECK(before.frames_count > 0);
    CHECK_EQ_U64(after.frames_count, before.frames_count);
    CHECK_EQ_U64(after.frames[0].func_idx, before.frames[0].func_idx);
    state_close(&lab);
}

/* ---- refused ---- */

static int host_parks(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    struct husk_error *err = user;
    (void)args;
    results[0].of.i32 = husk_sandbox_park(husk_caller_sandbox(caller), err);
    return 0;
}

TEST(a_host_function_cannot_park_its_caller) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_error err = {0};
    state_open(&lab, host_parks, &err);
    CHECK_EQ_I64(STATE_CALL(&lab, "host", 0), HUSK_E_STATE);
    CHECK_CONTAINS(err.message, "parking is not possible from inside a host function");
    CHECK(!husk_sandbox_is_parked(lab.sandbox));
    CHECK_STATUS(husk_sandbox_park(NULL, &err), HUSK_E_INVAL);
    CHECK(!husk_sandbox_is_parked(NULL));
    state_close(&lab);
}

/* The child must not make a VM of the parent's engine. */
static int in_child(struct state_lab *lab, bool is_parked) {
    if (husk_sandbox_is_parked(lab->sandbox) != is_parked)
        return 1;
    if (husk_sandbox_park(lab->sandbox, &lab->err) != HUSK_E_STATE)
        return 2;
    if (husk_call(lab->sandbox, CALL(.name = "spin"), &lab->outcome, &lab->err) != HUSK_E_STATE)
        return 3;
    if (husk_sandbox_is_parked(lab->sandbox) != is_parked)
        return 4;
    husk_sandbox_free(lab->sandbox);
    return 0;
}

TEST(a_forked_child_neither_parks_nor_calls) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    for (int is_parked = 0; is_parked <= 1; is_parked++) {
        if (is_parked)
            park(&lab);
        const pid_t child = fork();
        if (child == 0)
            _exit(in_child(&lab, is_parked));
        int status = -1;
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        CHECK_EQ_I64(status, 0);
    }
    CHECK_EQ_I64(STATE_CALL(&lab, "deep", 5), 15);
    state_close(&lab);
}

/* ---- failures ---- */

static int create_fails(struct vm_backend *backend, struct vm **ret_vm, struct husk_error *err) {
    (void)backend, (void)ret_vm;
    return error_set(err, HUSK_E_SYS, "no VM today");
}

TEST(without_a_vm_it_stays_parked_and_whole) {
    SKIP_WITHOUT_COMPILER();
    static struct vm_ops ops;
    struct state_lab lab;
    struct state_copy copy;
    uint64_t random = 11;
    open_without_pool(&lab);
    state_scramble(&lab, lab.sandbox, &random);
    park(&lab);
    state_copy_take(lab.sandbox, &copy);
    const struct vm_ops *real = lab.engine->vm_ops;
    ops = *real;
    ops.create = create_fails;
    lab.engine->vm_ops = &ops;
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(husk_call(lab.sandbox, CALL(.name = "mdrop"), &lab.outcome, &lab.err),
                     HUSK_E_SYS);
        CHECK_CONTAINS(lab.err.message, "no VM today");
        CHECK_CONTAINS(lab.err.message, "parked sandbox, which is as it was");
        CHECK(husk_sandbox_is_parked(lab.sandbox));
    }
    lab.engine->vm_ops = real;
    CHECK(state_copy_equal(lab.sandbox, &copy));
    CHECK_EQ_U64(stats_of(&lab).vms, 0);
    look(&lab);
    state_copy_done(&copy);
    state_close(&lab);
}

/* ---- the pool ---- */

/* The VMs of parked sandboxes go to the pool while it has room, and come back from there. */
TEST(a_few_vms_serve_many_sandboxes) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    husk_sandbox *sandboxes[6];
    options.pool_max = 2;
    state_open_with(&lab, &options, NULL, NULL);
    park(&lab);
    for (int i = 0; i < 6; i++) {
        sandboxes[i] = state_sandbox(&lab, lab.image);
        STATE_CALL_ON(&lab, sandboxes[i], "gset", i);
    }
    CHECK_EQ_U64(stats_of(&lab).vms_made, 6); /* the first took what was parked */
    for (int i = 0; i < 6; i++)
        CHECK_OK(husk_sandbox_park(sandboxes[i], &lab.err), lab.err);
    CHECK_EQ_U64(stats_of(&lab).vms, 2);
    CHECK_EQ_U64(stats_of(&lab).pool_idle, 2);
    for (int i = 0; i < 30; i++) {
        CHECK_EQ_I64(STATE_CALL_ON(&lab, sandboxes[i % 6], "gget"), i % 6);
        CHECK_EQ_U64(stats_of(&lab).pool_idle, 1);
        state_run(&lab, sandboxes[i % 6], "load", STATE_ARGS(-8));
        CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        CHECK_OK(husk_sandbox_park(sandboxes[i % 6], &lab.err), lab.err);
    }
    CHECK_EQ_U64(stats_of(&lab).vms_made, 6);
    husk_engine_trim(lab.engine, 0);
    CHECK_EQ_U64(stats_of(&lab).vms, 0);
    for (int i = 0; i < 6; i++)
        husk_sandbox_free(sandboxes[i]);
    CHECK_EQ_I64(STATE_CALL(&lab, "gget"), 7);
    state_close(&lab);
}

/* An idle machine with memory is for new sandboxes. */
TEST(only_vms_without_memory_are_taken) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    husk_sandbox_free(state_sandbox(&lab, lab.image));
    CHECK_EQ_U64(stats_of(&lab).pool_idle, 1);
    park(&lab);
    CHECK_EQ_U64(stats_of(&lab).pool_idle, 2);
    for (int i = 0; i < 3; i++) {
        STATE_CALL(&lab, "load", 8);
        CHECK_EQ_U64(stats_of(&lab).pool_idle, 1);
        park(&lab);
    }
    const uint64_t made = stats_of(&lab).vms_made;
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = state_sandbox(&lab, lab.image); /* from the one with memory: the warmest */
    CHECK_EQ_U64(stats_of(&lab).loads_in_place, 1);
    STATE_CALL(&lab, "load", 8);
    CHECK_EQ_U64(stats_of(&lab).vms_made, made);
    state_close(&lab);
}

/* A freed sandbox that was parked has no VM to give. */
TEST(a_parked_one_is_freed) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    open_without_pool(&lab);
    for (unsigned i = 0; i < 3; i++) {
        STATE_CALL(&lab, "store", 8, 1);
        park(&lab);
        husk_sandbox_free(lab.sandbox);
        CHECK_EQ_U64(stats_of(&lab).vms, 0);
        CHECK_EQ_U64(stats_of(&lab).pool_idle, 0);
        lab.sandbox = state_sandbox(&lab, lab.image);
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 8), 0);
    }
    state_close(&lab);
}

TEST_MAIN()
