/*
 * tests/kvm/snapshots/pool_test.c: new sandboxes reuse the VMs of freed ones. The pool is bounded
 * and can be trimmed. A reused VM holds nothing of its earlier user. Another module searches for
 * remains, and so does the host, in all memory that a guest can reach.
 */
#include <pthread.h>
#include <string.h>

#include "harness.h"
#include "sandbox_internal.h"
#include "state_guest.h"
#include "wat.h"
#include "literals.h"

static struct husk_stats stats_of(const struct state_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &stats);
    return stats;
}

TEST(a_new_sandbox_takes_an_idle_vm) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    CHECK_EQ_U64(stats_of(&lab).pool_misses, 1);
    for (int i = 0; i < 30; i++) {
        STATE_CALL(&lab, "store", 4096, 42);
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = state_sandbox(&lab, lab.image);
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 4096), 0);
        CHECK_EQ_I64(STATE_CALL(&lab, "deep", 10), 55);
    }
    struct husk_stats stats = stats_of(&lab);
    CHECK_EQ_U64(stats.vms_made, 1);
    CHECK_EQ_U64(stats.pool_hits, 30);
    CHECK_EQ_U64(stats.restores, 30);
    CHECK_EQ_U64(stats.sandboxes_made, 31);
    state_close(&lab);
}

TEST(the_pool_is_bounded_and_trimmed) {
    SKIP_WITHOUT_COMPILER();
    for (int max = -1; max <= 3; max++) {
        struct state_lab lab;
        struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
        husk_sandbox *sandboxes[12];
        const uint64_t kept = max == -1 ? 0 : max == 0 ? 8 : (uint64_t)max;
        options.pool_max = max;
        state_open_with(&lab, &options, NULL, NULL);
        for (int i = 0; i < 12; i++)
            sandboxes[i] = state_sandbox(&lab, lab.image);
        for (int i = 0; i < 12; i++)
            husk_sandbox_free(sandboxes[i]);
        struct husk_stats stats = stats_of(&lab);
        CHECK_EQ_U64(stats.vms_made - stats.vms_freed, 1 + kept);
        CHECK_EQ_U64(stats.pool_drops, 12 - kept);
        husk_engine_trim(lab.engine, 2);
        stats = stats_of(&lab);
        CHECK_EQ_U64(stats.vms_made - stats.vms_freed, 1 + (kept < 2 ? kept : 2));
        husk_engine_trim(lab.engine, 0);
        husk_engine_trim(lab.engine, 0);
        stats = stats_of(&lab);
        CHECK_EQ_U64(stats.vms_made - stats.vms_freed, 1);
        state_close(&lab);
    }
}

/* Limits belong to the sandbox, so a VM with others is not taken. */
TEST(limits_are_not_mixed_up) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    state_open(&lab, NULL, NULL);
    for (int round = 0; round < 4; round++) {
        husk_sandbox *small = NULL;
        options.memory_max_bytes = 3 * 65536;
        options.stack_bytes = 64 * 1024;
        CHECK_OK(husk_sandbox_new(lab.image, lab.imports, &options, &small, &lab.err), lab.err);
        CHECK_EQ_I64(STATE_CALL_ON(&lab, small, "grow", 2), -1);
        CHECK_EQ_I64(STATE_CALL_ON(&lab, small, "grow", 1), 2);
        state_run(&lab, small, "deep", STATE_ARGS(20000));
        CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
        husk_sandbox *large = state_sandbox(&lab, lab.image);
        CHECK_EQ_I64(STATE_CALL_ON(&lab, large, "grow", 20), 2);
        CHECK_EQ_I64(STATE_CALL_ON(&lab, large, "deep", 8000), 32004000);
        husk_sandbox_free(large);
        husk_sandbox_free(small);
    }
    state_close(&lab);
}

/* An interrupt that came for the one who had the VM before must not end the next one's call. */
/* The machine keeps the block of its last sandbox for the next one. */
TEST(a_new_sandbox_has_nothing_of_the_last_one) {
    SKIP_WITHOUT_COMPILER();
    int mark = 0;
    struct state_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    state_open(&lab, NULL, NULL);
    options.user = &mark;
    options.label = "tenant";
    for (int i = 0; i < 3; i++) {
        husk_sandbox *first = NULL, *second = NULL;
        CHECK_OK(husk_sandbox_new(lab.image, lab.imports, &options, &first, &lab.err), lab.err);
        CHECK(husk_sandbox_user(first) == &mark);
        sandbox_poison(first, POISON_DEADLINE);
        husk_interrupt(first);
        husk_sandbox_free(first);
        CHECK_OK(husk_sandbox_new(lab.image, lab.imports, NULL, &second, &lab.err), lab.err);
        CHECK(second == first);
        CHECK(husk_sandbox_user(second) == NULL);
        CHECK(!second->is_poisoned && second->labelled.label == NULL);
        struct husk_call call = HUSK_CALL_INIT;
        call.name = "deep";
        struct husk_value arg = husk_i32(10), result;
        call.args = &arg;
        call.results = &result;
        call.args_count = call.results_count = 1;
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        CHECK_OK(husk_call(second, &call, &outcome, &lab.err), lab.err);
        CHECK_EQ_U64(outcome.kind, HUSK_RETURNED);
        husk_sandbox_free(second);
    }
    state_close(&lab);
}

TEST(interrupts_do_not_linger) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    for (int i = 0; i < 20; i++) {
        husk_interrupt(lab.sandbox);
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = state_sandbox(&lab, lab.image);
        CHECK_EQ_I64(STATE_CALL(&lab, "deep", 5), 15);
    }
    state_close(&lab);
}

/* ---- Canaries ---- */

#define CANARY 0x7ac0ffeeull
#define CANARY_I32 2059468782 /* the same */

static const char searcher_text[] =
    "(module (memory (export \"memory\") 4 40) (table 100 600 funcref)"
    " (func (export \"find\") (result i32) (local $at i32) (local $end i32)"
    "   memory.size i32.const 16 i32.shl local.set $end"
    "   (loop $more local.get $at i32.load i32.const 2059468782 i32.eq if i32.const 1 return end"
    "     local.get $at i32.const 4 i32.add local.tee $at local.get $end i32.lt_u br_if $more)"
    "   i32.const 0)"
    " (func (export \"grow\") (result i32) i32.const 30 memory.grow))";

static unsigned canaries_in(const uint8_t *bytes, uint64_t count) {
    unsigned found = 0;
    for (uint64_t at = 0; at + 4 <= count; at += 4) {
        uint32_t word;
        memcpy(&word, bytes + at, 4);
        found += word == CANARY;
    }
    return found;
}

/* All of the arena that is accessible. */
static unsigned canaries_reachable(const husk_sandbox *sandbox) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    uint32_t count = arena_regions(&sandbox->machine->arena, regions);
    unsigned found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += canaries_in(regions[i].hva, regions[i].bytes);
    return found;
}

static void spread_canaries(struct state_lab *lab, husk_sandbox *sandbox) {
    STATE_CALL_ON(lab, sandbox, "grow", 4);
    for (int32_t at = 0; at < 6 * 65536; at += 512)
        STATE_CALL_ON(lab, sandbox, "store", at, CANARY_I32);
    STATE_CALL_ON(lab, sandbox, "gset", CANARY_I32);
    STATE_CALL_ON(lab, sandbox, "host", CANARY_I32);
    state_run(lab, sandbox, "deep", STATE_ARGS(300));
    /* traps with it in registers and mailbox */
    state_run(lab, sandbox, "load", STATE_ARGS(CANARY_I32));
    CHECK(canaries_reachable(sandbox) > 700);
}

TEST(nothing_is_left_for_the_next_one) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    husk_image *searcher = wat_image_with(lab.engine, searcher_text, WAT_WORKER);
    for (int round = 0; round < 12; round++) {
        struct husk_value result;
        spread_canaries(&lab, lab.sandbox);
        if (round % 4 == 3) { /* cut off in mid-call, parked poisoned */
            struct husk_limits options = HUSK_LIMITS_INIT;
            /* long enough that the guest runs, on a busy machine too */
            options.wall_ns = 100000000;
            CHECK_OK(husk_call(lab.sandbox, CALL(.name = "spin", .limits = &options), &lab.outcome,
                               &lab.err),
                     lab.err);
            CHECK(lab.outcome.is_poisoned);
        }
        if (round % 2 == 0) {
            husk_sandbox_free(lab.sandbox);
            husk_sandbox *next = NULL;
            CHECK_OK(husk_sandbox_new(searcher, NULL, NULL, &next, &lab.err), lab.err);
            lab.sandbox = next;
        } else {
            CHECK_OK(husk_sandbox_load(lab.sandbox, searcher, NULL, &lab.err), lab.err);
        }
        CHECK_EQ_U64(canaries_reachable(lab.sandbox), 0);
        for (int i = 0; i < 2; i++) {
            CHECK_OK(husk_call(lab.sandbox,
                               CALL(.name = "find", .results = &result, .results_count = 1),
                               &lab.outcome, &lab.err),
                     lab.err);
            CHECK_EQ_I64(result.of.i32, 0);
            CHECK_OK(husk_call(lab.sandbox,
                               CALL(.name = "grow", .results = &result, .results_count = 1),
                               &lab.outcome, &lab.err),
                     lab.err);
            CHECK_EQ_I64(result.of.i32, i == 0 ? 4 : -1); /* 64 pages are too many */
        }
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = state_sandbox(&lab, lab.image);
        CHECK_EQ_U64(canaries_reachable(lab.sandbox), 0);
    }
    CHECK_EQ_U64(stats_of(&lab).vms_made, 1);
    husk_image_unref(searcher);
    state_close(&lab);
}

/* The same module again, and snapshots of it: restored in place. */
TEST(nothing_is_left_in_place) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_image *snapshot = NULL;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "grow", 1);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    for (int round = 0; round < 30; round++) {
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = state_sandbox(&lab, round % 2 == 0 ? snapshot : lab.image);
        CHECK_EQ_U64(canaries_reachable(lab.sandbox), 0);
        spread_canaries(&lab, lab.sandbox);
    }
    CHECK_EQ_U64(stats_of(&lab).vms_made, 1);
    husk_image_unref(snapshot);
    state_close(&lab);
}

/* ---- Threads ---- */

static void *churn(void *argument) {
    struct state_lab lab = *(struct state_lab *)argument;
    for (int i = 0; i < 150; i++) {
        husk_sandbox *sandbox = NULL;
        if (husk_sandbox_new(lab.image, lab.imports, NULL, &sandbox, &lab.err) != 0)
            return "no sandbox";
        struct husk_value args[2] = {value_i32(8192), value_i32(1)}, result = value_i32(-1);
        int status = husk_call(sandbox,
                               CALL(.name = "load", .args = args, .args_count = 1,
                                    .results = &result, .results_count = 1),
                               &lab.outcome, &lab.err);
        if (status != 0 || result.of.i32 != 0)
            return "not clean";
        husk_call(sandbox, CALL(.name = "store", .args = args, .args_count = 2), &lab.outcome,
                  &lab.err);
        husk_sandbox_free(sandbox);
        if (i % 40 == 39)
            husk_engine_trim(lab.engine, 1);
    }
    return NULL;
}

TEST(threads_share_the_pool) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    pthread_t threads[6];
    state_open(&lab, NULL, NULL);
    for (int i = 0; i < 6; i++)
        CHECK(pthread_create(&threads[i], NULL, churn, &lab) == 0);
    for (int i = 0; i < 6; i++) {
        void *complaint = NULL;
        pthread_join(threads[i], &complaint);
        CHECK_MSG(complaint == NULL, "%s", (const char *)complaint);
    }
    husk_engine_trim(lab.engine, 0);
    struct husk_stats stats = stats_of(&lab);
    CHECK_EQ_U64(stats.vms_made - stats.vms_freed, 1);
    state_close(&lab);
}

TEST_MAIN()
