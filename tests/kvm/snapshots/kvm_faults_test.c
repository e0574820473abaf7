/*
 * tests/kvm/snapshots/kvm_faults_test.c: the tests of tests/fake/snapshot_faults_test.c on a real
 * KVM: the n-th ioctl, mapping or allocation of a snapshot, restore, load, clone, new sandbox or
 * call fails, for every n. Signals arrive during all of them. Afterwards the guest reports what it
 * sees.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault_steps.h"
#include "image_internal.h"
#include "layout.h"
#include "sandbox_internal.h"
#include "wat.h"
#include "literals.h"

/* the argument to a page that it names, and to the global */
static const char module[] =
    "(module (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) "
    "(result i32)))"
    " (memory (export \"memory\") 2 64)"
    " (data (i32.const 100) \"in the image\") (data (i32.const 70000) \"on the second page\")"
    " (table $t (export \"table\") 8 6000 funcref) (elem (table $t) (i32.const 0) func $f)"
    " (global $g (export \"g\") (mut i64) (i64.const 7)) (global $restored (mut i64) (i64.const 0))"
    " (func $f (export \"f\"))"
    " (func (export \"husk_restored\") (param i64 i64)"
    "   global.get $restored i64.const 1 i64.add global.set $restored)"
    " (func (export \"restored\") (param i64) (result i64) global.get $restored)"
    " (func (export \"read\") (param i64) (result i64) local.get 0 i32.wrap_i64 i64.load)"
    " (func (export \"write\") (param i64) (result i64)"
    "   local.get 0 i64.const 32 i64.rem_u i64.const 12 i64.shl i32.wrap_i64 local.get 0 i64.store"
    "   local.get 0 global.set $g local.get 0)"
    " (func (export \"grow\") (param i64) (result i64)"
    "   local.get 0 i32.wrap_i64 memory.grow i64.extend_i32_s)"
    " (func (export \"size\") (param i64) (result i64) memory.size i64.extend_i32_u)"
    " (func (export \"tgrow\") (param i64) (result i64)"
    "   ref.func $f local.get 0 i32.wrap_i64 table.grow $t i64.extend_i32_s)"
    " (func (export \"tsize\") (param i64) (result i64) table.size $t i64.extend_i32_u)"
    " (func (export \"last\") (param i64) (result i64)" /* is the last entry of the table null? */
    "   table.size $t i32.const 1 i32.sub table.get $t ref.is_null i64.extend_i32_u)"
    " (func (export \"draw\") (param i64) (result i64)" /* a random number, through memory */
    "   i32.const 8192 i32.const 8 call $random drop i32.const 8192 i64.load))";

static const char other_module[] =
    "(module (memory (export \"memory\") 1 8) (data (i32.const 64) \"of the other module\")"
    " (func (export \"read\") (param i64) (result i64) local.get 0 i32.wrap_i64 i64.load))";

static int64_t call(struct fault_world *world, husk_sandbox *sandbox, const char *name,
                    int64_t argument) {
    struct husk_value arg = value_i64(argument), result;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &world->outcome, &world->err),
             world->err);
    CHECK_MSG(world->outcome.kind == HUSK_RETURNED, "%s: %s", name, world->outcome.message);
    return result.of.i64;
}

/* Compiled once. */
static husk_image *open_compiled(struct fault_world *world, int which) {
    static const char *const texts[] = {module, other_module};
    static int fds[] = {-1, -1};
    husk_image *image = NULL;
    if (fds[which] < 0)
        fds[which] = wat_compile(texts[which], WAT_WORKER);
    CHECK_OK(husk_image_open_fd(world->engine, fds[which], NULL, &image, &world->err), world->err);
    return image;
}

static void open_world(struct fault_world *world) {
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    wasi.stdout_fd = STDOUT_FILENO;
    wasi.stdout_rights = HUSK_WASI_WRITE;
    wasi.random_seed = 5;
    CHECK_OK(husk_engine_new(NULL, &world->engine, &world->err), world->err);
    world->image = open_compiled(world, 0);
    world->other = open_compiled(world, 1);
    CHECK_OK(husk_imports_new(world->engine, &world->imports, &world->err), world->err);
    CHECK_OK(husk_imports_wasi(world->imports, &wasi, &world->err), world->err);
}

static void scramble(struct fault_world *world, husk_sandbox *sandbox, unsigned seed) {
    call(world, sandbox, "grow", 1 + seed % 3);
    call(world, sandbox, "tgrow", 1000 + seed % 100);
    for (unsigned page = 0; page < 32; page += 2)
        call(world, sandbox, "write", 64 * seed + page);
    call(world, sandbox, "draw", 0);
}

/* Sizes as the host has them, all of memory there, and nothing behind it. */
static void look(struct fault_world *world, husk_sandbox *sandbox) {
    const uint64_t bytes = sandbox->machine->arena.memories[0].bytes;
    struct husk_value beyond = value_i64((int64_t)bytes), word;
    call(world, sandbox, "read", (int64_t)bytes - 8);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "read", .args = &beyond, .args_count = 1, .results = &word,
                            .results_count = 1),
                       &world->outcome, &world->err),
             world->err);
    CHECK_EQ_I64(world->outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    if (sandbox->image->code->tables_count == 0)
        return;
    CHECK_EQ_U64(call(world, sandbox, "size", 0), bytes / HUSK_WASM_PAGE_SIZE);
    CHECK_EQ_U64(call(world, sandbox, "tsize", 0), sandbox->machine->sizes.table_entries[0]);
    call(world, sandbox, "last", 0);
    CHECK_EQ_I64(call(world, sandbox, "restored", 0), sandbox->image->is_snapshot);
}

static const struct fault_lane lane = {open_world, scramble, look};

TEST(every_operation_may_fail) {
    SKIP_WITHOUT_COMPILER();
    static const char *const names[] = {"malloc",
                                        "calloc",
                                        "realloc",
                                        "mmap",
                                        "mprotect",
                                        "MADV_DONTNEED",
                                        "PAGEMAP_SCAN",
                                        "memfd_create",
                                        "writev",
                                        "ftruncate",
                                        "fcntl",
                                        "KVM_CREATE_VM",
                                        "KVM_SET_CPUID2",
                                        "KVM_CREATE_VCPU",
                                        "KVM_SET_SREGS",
                                        "KVM_GET_SREGS",
                                        "KVM_SET_USER_MEMORY_REGION",
                                        NULL};
    struct fault_counts counts = {0};
    fault_steps_run(&lane, FAULT_ONCE, &counts);
    fault_counts_print(&counts, FAULT_ONCE);
    fault_counts_check_steps(&counts);
    fault_counts_check(&counts, names);
}

TEST(everything_may_fail_from_some_moment_on) {
    SKIP_WITHOUT_COMPILER();
    struct fault_counts counts = {0};
    fault_steps_run(&lane, FAULT_EVER, &counts);
    fault_counts_print(&counts, FAULT_EVER);
    fault_counts_check_steps(&counts);
}

TEST(signals_and_short_transfers_are_no_failures) {
    SKIP_WITHOUT_COMPILER();
    static const char *const interrupted[] = {"KVM_CREATE_VM", "PAGEMAP_SCAN", "writev", NULL};
    for (enum fault_mode mode = FAULT_INTERRUPT; mode < FAULT_MODES; mode++) {
        struct fault_counts counts = {0};
        fault_steps_run(&lane, mode, &counts);
        fault_counts_print(&counts, mode);
        if (mode == FAULT_INTERRUPT)
            fault_counts_check(&counts, interrupted);
    }
}

/* ---- Calls ---- */

/* The first call after a load of a snapshot, with a deadline that never comes: husk_restored()
 * runs, then a function that needs the host. */
static int first_call(struct fault_world *world, const char *name, int64_t *ret_result) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    /* more than the VM's slots have room for */
    struct husk_value arg = value_i64(strcmp(name, "grow") == 0 ? 40 : 2), result = value_i64(0);
    options.wall_ns = 3600ull * 1000000000;
    int status = husk_call(world->sandbox,
                           CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1, .limits = &options),
                           &world->outcome, &world->err);
    *ret_result = result.of.i64;
    return status;
}

/* Nothing has happened, or KVM itself has failed under the guest, and that is said. */
static void check_call_failed(struct fault_world *world, const struct fault_state *before,
                              enum fault_mode mode, struct fault_counts *counts, const char *when) {
    const struct husk_value arg = value_i64(0);
    struct husk_value word;
    const bool was_same = fault_is_same(world->sandbox, before);
    const bool is_kvm =
        strcmp(fault_name(), "KVM_RUN") == 0 || strcmp(fault_name(), "KVM_SET_DEBUGREGS") == 0;
    int status = husk_call(
        world->sandbox,
        CALL(.name = "read", .args = &arg, .args_count = 1, .results = &word, .results_count = 1),
        &world->outcome, &world->err);
    CHECK_MSG(status == HUSK_E_POISONED || (status == 0 && was_same), "%s: %d: %s", when, status,
              world->err.message);
    CHECK_MSG(mode == FAULT_EVER || (status != 0) == is_kvm, "%s: %d: %s", when, status,
              world->err.message);
    counts->poisoned += status != 0;
    counts->unchanged += status == 0;
    CHECK_MSG(husk_sandbox_restore(world->sandbox, world->snapshot, &world->err) == 0, "%s: %s",
              when, world->err.message);
    fault_check_holds(world, world->sandbox, HOLDS_SNAPSHOT, when);
}

/* Growth fails for the guest (-1) and changes nothing. */
static void check_call_done(struct fault_world *world, const char *name, int64_t result,
                            int64_t expected, const char *when) {
    const uint64_t bytes = world->sandbox->machine->arena.memories[0].bytes;
    CHECK_MSG(world->outcome.kind == HUSK_RETURNED, "%s: %s", when, world->outcome.message);
    CHECK_MSG(result == expected || (strstr(name, "grow") != NULL && result == -1) ||
                  strcmp(name, "draw") == 0,
              "%s: %lld", when, (long long)result);
    CHECK_EQ_I64(call(world, world->sandbox, "restored", 0), 1);
    CHECK_EQ_U64(call(world, world->sandbox, "size", 0), bytes / HUSK_WASM_PAGE_SIZE);
    CHECK_EQ_U64(call(world, world->sandbox, "tsize", 0),
                 world->sandbox->machine->sizes.table_entries[0]);
    call(world, world->sandbox, "read", (int64_t)bytes - 8);
}

/* In a VM of its own: one that had a larger memory has room for it. */
static void fresh_sandbox(struct fault_world *world) {
    husk_sandbox_free(world->sandbox);
    husk_engine_trim(world->engine, 0);
    CHECK_OK(husk_sandbox_new(world->snapshot, world->imports, NULL, &world->sandbox, &world->err),
             world->err);
}

static bool run_call(struct fault_world *world, const char *name, enum fault_mode mode,
                     unsigned nth, struct fault_counts *counts) {
    char when[256];
    int64_t result, expected;
    fresh_sandbox(world);
    CHECK_OK(first_call(world, name, &expected), world->err);
    fresh_sandbox(world);
    struct fault_state *before = fault_state_of(world->sandbox);
    fault_arm(mode, nth, NULL);
    const int status = first_call(world, name, &result);
    fault_disarm();
    const bool has_fired = fault_has_fired();
    snprintf(when, sizeof when, "calling %s: operation %u (%s) %s", name, nth, fault_name(),
             fault_mode_names[mode]);
    if (has_fired)
        fault_count(counts);
    CHECK_MSG(status == 0 || (has_fired && mode <= FAULT_EVER), "%s: %s", when, world->err.message);
    CHECK_MSG(mode <= FAULT_EVER || result == expected, "%s: %lld", when, (long long)result);
    if (status != 0)
        check_call_failed(world, before, mode, counts, when);
    else
        check_call_done(world, name, result, expected, when);
    counts->succeeded += status == 0 && has_fired;
    fault_state_free(before);
    return has_fired;
}

static void run_calls(enum fault_mode mode, unsigned first, struct fault_counts *counts) {
    static const char *const functions[] = {"write", "grow", "tgrow", "draw"};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        struct fault_world world;
        fault_world_open(&world, &lane);
        for (unsigned nth = first; run_call(&world, functions[i], mode, nth, counts); nth++) {
        }
        fault_world_close(&world);
    }
}

TEST(calls_may_fail_and_be_interrupted) {
    SKIP_WITHOUT_COMPILER();
    for (enum fault_mode mode = 0; mode <= FAULT_INTERRUPT; mode++) {
        static const char *const names[] = {"KVM_RUN", "getrandom", "mprotect",
                                            "KVM_SET_USER_MEMORY_REGION", NULL};
        static const char *const interrupted[] = {"KVM_RUN", NULL};
        struct fault_counts counts = {0};
        run_calls(mode, FAULT_NEVER, &counts);
        const struct fault_usage before = fault_usage_now();
        run_calls(mode, 1, &counts);
        fault_check_usage(&before, "calls", mode);
        fault_counts_print(&counts, mode);
        if (mode != FAULT_EVER)
            fault_counts_check(&counts, mode == FAULT_INTERRUPT ? interrupted : names);
    }
}

/* ---- Real signals ---- */

/* Some for every step, so that it ends however slow the machine is; not one after the other, so
 * that they come everywhere. */
struct sender {
    pthread_t target;
    atomic_bool is_stopping;
    atomic_uint wanted, sent;
};

static void handle_nothing(int signal) {
    (void)signal;
}

static void *sender_main(void *user) {
    struct sender *sender = user;
    unsigned pause_us = 1;
    while (!atomic_load(&sender->is_stopping)) {
        if (atomic_load(&sender->sent) < atomic_load(&sender->wanted)) {
            pthread_kill(sender->target, SIGUSR1);
            atomic_fetch_add(&sender->sent, 1);
        }
        usleep(pause_us);
        pause_us = pause_us * 7 % 997 + 1;
    }
    return NULL;
}

TEST(signals_may_arrive_at_any_time) {
    SKIP_WITHOUT_COMPILER();
    static struct sender sender; /* outlives a failed test, as the thread does */
    struct fault_world world;
    struct sigaction old, action = {.sa_handler = handle_nothing}; /* no SA_RESTART */
    pthread_t thread;
    int64_t result;
    CHECK(sigaction(SIGUSR1, &action, &old) == 0);
    sender.target = pthread_self();
    fault_world_open(&world, &lane);
    CHECK_EQ_I64(pthread_create(&thread, NULL, sender_main, &sender), 0);
    for (int round = 0; round < 5; round++) {
        atomic_fetch_add(&sender.wanted, 400);
        fault_steps_once(&world);
        CHECK_OK(husk_image_save(world.snapshot, world.path, &world.err), world.err);
        CHECK(unlink(world.path) == 0);
        CHECK_OK(husk_sandbox_load(world.sandbox, world.image, world.imports, &world.err),
                 world.err);
        CHECK_OK(first_call(&world, "grow", &result), world.err);
        CHECK_EQ_I64(result, 2);
    }
    atomic_store(&sender.is_stopping, true);
    pthread_join(thread, NULL);
    printf("  %u signals\n", atomic_load(&sender.sent));
    fault_world_close(&world);
    CHECK(sigaction(SIGUSR1, &old, NULL) == 0);
}

TEST_MAIN()
